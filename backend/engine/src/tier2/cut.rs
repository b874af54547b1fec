//! Where the blocks of a region end.
//!
//! A block goes on behind conditional exits, as in tier 1, and so into code that another block of
//! the region begins with, or that a recording never came to. The one would be compiled twice, the
//! other for nothing: a block ends where another one begins, and behind the last exit that was
//! taken.

use isomorph_ir::{Block, Op};

/// A way from one block into the next that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    /// The block that was left.
    pub from: u64,
    /// The block that was entered.
    pub to: u64,
    /// By a computed jump or a return.
    pub computed: bool,
}

impl Way {
    /// The number of the operation of `block` that leads there, the last one if there are more.
    fn place(&self, block: &Block) -> Option<usize> {
        block.insts.iter().rposition(|i| match i.op {
            Op::Jump | Op::CallInd => self.computed,
            Op::Exit | Op::ExitIf | Op::Call => !self.computed && i.pc() == self.to,
            _ => false,
        })
    }
}

/// The guest instruction behind the last exit of `block` that `ways` took, if there is one: the
/// block can end before it. `None` also if none of them is known.
pub(crate) fn behind(block: &Block, ways: &[Way]) -> Option<u64> {
    let last = ways.iter().filter_map(|way| way.place(block)).max()?;
    let mut rest = block.insts[last..].iter();
    rest.find(|i| i.op == Op::InsnStart).map(|i| i.pc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_ir::{Inst, Type};

    fn block(ops: &[(Op, i64)]) -> Block {
        let inst = |&(op, imm): &(Op, i64)| Inst {
            imm,
            ..Inst::new(op, Type::I64)
        };
        Block {
            insts: ops.iter().map(inst).collect(),
            ..Block::default()
        }
    }

    fn way(to: u64, computed: bool) -> Way {
        Way {
            from: 0,
            to,
            computed,
        }
    }

    #[test]
    fn a_block_ends_behind_the_last_exit_that_was_taken() {
        use Op::{Exit, ExitIf, InsnStart, Jump};
        let direct = [(InsnStart, 0), (ExitIf, 64), (InsnStart, 4), (ExitIf, 96)];
        let rest = [(InsnStart, 8), (ExitIf, 64), (InsnStart, 12), (Exit, 128)];
        let exits = block(&[direct, rest].concat());
        assert_eq!(behind(&exits, &[way(96, false)]), Some(8));
        assert_eq!(behind(&exits, &[way(96, false), way(64, false)]), Some(12));
        assert_eq!(behind(&exits, &[way(96, false), way(128, false)]), None);
        assert_eq!(behind(&exits, &[]), None);
        // An interrupt.
        assert_eq!(behind(&exits, &[way(512, false)]), None);
        let jump = block(&[(InsnStart, 0), (ExitIf, 64), (InsnStart, 4), (Jump, 0)]);
        assert_eq!(behind(&jump, &[way(64, true)]), None);
        assert_eq!(behind(&jump, &[way(64, false)]), Some(4));
    }
}
