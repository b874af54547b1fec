//! What tier 2 can do better than tier 1, estimated.
//!
//! Tier 1 keeps the guest registers that matter most in host registers everywhere, so that its
//! code for a plain loop is hard to beat. A region gains where computed jumps stay inside of it,
//! and where code works on registers more than on memory: before a memory access, what the access
//! would show and nothing needs any more has to be written.

use isomorph_ir::{Block, JumpKind, Op};

/// What the operations of a recording are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix {
    ops: u64,
    /// Computed jumps and calls, but for returns.
    computed: u64,
    /// Loads and stores.
    accesses: u64,
    /// Divisions, which need no detour in tier 1.
    divisions: u64,
}

/// Accesses among a thousand operations that a region bears, and how many more for each computed
/// jump among them (docs/jit.md).
const ACCESSES: u64 = 140;
const ACCESSES_PER_JUMP: u64 = 6;
/// Divisions among a thousand operations that a region bears.
const DIVISIONS: u64 = 5;

impl Mix {
    /// Adds a block that was recorded `visits` times.
    pub fn add(&mut self, block: &Block, visits: u32) {
        let visits = u64::from(visits);
        for inst in &block.insts {
            let kind = match inst.op {
                Op::InsnStart | Op::Nop => continue,
                Op::Jump if inst.aux == JumpKind::Ret as u8 => &mut 0,
                Op::Jump | Op::CallInd => &mut self.computed,
                Op::Load | Op::Store => &mut self.accesses,
                Op::DivS | Op::DivU | Op::RemS | Op::RemU => &mut self.divisions,
                _ => &mut 0,
            };
            *kind += visits;
            self.ops += visits;
        }
    }

    /// Whether a region is likely to be faster than tier 1.
    pub fn is_promising(&self) -> bool {
        let bears = ACCESSES * self.ops / 1000 + ACCESSES_PER_JUMP * self.computed;
        self.accesses <= bears && self.divisions * 1000 <= DIVISIONS * self.ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_ir::{Inst, Type};

    fn block(ops: &[Op]) -> Block {
        Block {
            insts: ops.iter().map(|&op| Inst::new(op, Type::I64)).collect(),
            ..Block::default()
        }
    }

    #[test]
    fn memory_counts_against_and_computed_jumps_count_for_a_region() {
        let promising = |ops: &[Op]| {
            let mut mix = Mix::default();
            mix.add(&block(ops), 100);
            mix.is_promising()
        };
        assert!(promising(&[Op::Add, Op::Xor, Op::ExitIf, Op::Exit]));
        assert!(!promising(&[Op::Load, Op::Add, Op::Exit]));
        assert!(promising(&[Op::Load, Op::Add, Op::Jump]));
        assert!(!promising(&[Op::DivS, Op::Add, Op::Exit]));
    }
}
