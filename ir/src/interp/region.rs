//! Running a region: block after block, as its edges say.

use super::{Exit, Helpers, Interp, Memory, StateTooSmall};
use crate::{Op, Region};

impl Interp {
    /// Runs `region` on `state` until control leaves it, or until `stop`, which is asked before
    /// each block, says so: then the exit is a direct one to that block.
    ///
    /// What follows a call in its block is not run: control comes there from outside.
    pub fn run_region<M: Memory, H: Helpers>(
        &mut self,
        region: &Region,
        state: &mut [u8],
        memory: &mut M,
        helpers: &mut H,
        mut stop: impl FnMut(usize) -> bool,
    ) -> Result<Exit, StateTooSmall> {
        let mut at = region.entry;
        loop {
            let block = &region.blocks[at];
            if stop(at) {
                return Ok(Exit::Direct { pc: block.pc });
            }
            let exit = self.run(block, state, memory, helpers)?;
            let next = match exit {
                Exit::Direct { pc } => region.successor(at, pc),
                Exit::Indirect { pc, .. } => region.computed_successor(at, pc),
                Exit::Call { pc, .. } => {
                    let direct = |i: &&crate::Inst| i.op == Op::Call && i.pc() == pc;
                    match block.insts.iter().find(direct) {
                        Some(_) => region.successor(at, pc),
                        None => region.computed_successor(at, pc),
                    }
                }
                Exit::Trap { .. } | Exit::Fault { .. } => None,
            };
            match next {
                Some(next) => at = next,
                None => return Ok(exit),
            }
        }
    }
}
