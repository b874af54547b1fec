//! What tier 2 can do better than tier 1, estimated.
//!
//! Tier 1 keeps the guest registers that matter most in host registers everywhere, so that its
//! code for a plain loop is hard to beat. A region gains where computed jumps stay inside of it,
//! and where code works on registers more than on memory: before a memory access, what the access
//! would show and nothing needs any more has to be written.

use isomorph_ir::{Block, Inst, JumpKind, Op};

/// What the operations of a recording are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix {
    ops: u64,
    /// Computed jumps and calls, but for returns.
    computed: u64,
    /// Loads and stores, but for steady ones.
    accesses: u64,
    /// Those that seldom look at a software TLB, as they do each time in tier 1.
    steady: u64,
    /// Divisions, which need no detour in tier 1.
    divisions: u64,
    /// Returns to elsewhere than the last time, which the host foretells in tier 1.
    fickle: u64,
}

/// Accesses among a thousand operations that a region bears, and how many more for each computed
/// jump among them (docs/jit.md).
const ACCESSES: u64 = 170;
const ACCESSES_PER_JUMP: u64 = 6;
/// Divisions among a thousand operations that a region bears.
const DIVISIONS: u64 = 5;
/// As `DIVISIONS`, of returns to elsewhere than the last time, and how many more for a thousand
/// computed jumps.
const FICKLE: u64 = 10;
const FICKLE_PER_JUMP: u64 = 400;

impl Mix {
    /// Adds a block that was recorded `visits` times, from which the way led elsewhere than before
    /// `fickle` times, and some of whose operations are steady accesses.
    pub fn add(
        &mut self,
        block: &Block,
        (visits, fickle): (u32, u32),
        is_steady: impl Fn(usize) -> bool,
    ) {
        let visits = u64::from(visits);
        if block.insts.iter().any(is_return) {
            self.fickle += u64::from(fickle);
        }
        for (n, inst) in block.insts.iter().enumerate() {
            let kind = match inst.op {
                Op::InsnStart | Op::Nop => continue,
                Op::Jump if is_return(inst) => &mut 0,
                Op::Jump | Op::CallInd => &mut self.computed,
                Op::Load | Op::Store if is_steady(n) => &mut self.steady,
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
        let fickle = FICKLE * self.ops + FICKLE_PER_JUMP * self.computed;
        self.accesses <= bears + self.steady
            && self.divisions * 1000 <= DIVISIONS * self.ops
            && self.fickle * 1000 <= fickle
    }
}

fn is_return(inst: &Inst) -> bool {
    inst.op == Op::Jump && inst.aux == JumpKind::Ret as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_ir::Type;

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
            mix.add(&block(ops), (100, 0), |_| false);
            mix.is_promising()
        };
        assert!(promising(&[Op::Add, Op::Xor, Op::ExitIf, Op::Exit]));
        assert!(!promising(&[Op::Load, Op::Add, Op::Exit]));
        assert!(promising(&[Op::Load, Op::Add, Op::Jump]));
        assert!(!promising(&[Op::DivS, Op::Add, Op::Exit]));
    }

    #[test]
    fn returns_that_cannot_be_foretold_count_against_a_region() {
        let mut returns = block(&[Op::Add, Op::Add, Op::Add, Op::Jump]);
        returns.insts[3].aux = JumpKind::Ret as u8;
        let promising = |block: &Block, fickle| {
            let mut mix = Mix::default();
            mix.add(block, (100, fickle), |_| false);
            mix.is_promising()
        };
        assert!(promising(&returns, 2));
        assert!(!promising(&returns, 50));
        returns.insts[3].aux = 0;
        assert!(promising(&returns, 50));
    }
}
