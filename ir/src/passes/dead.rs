//! Removing what is not needed.

use super::edit::operands;
use super::live::Liveness;
use super::{Cfg, Changes, Context};
use crate::{Inst, Op, Region, Type, Val};

/// Removes pure writes to guest state that are overwritten before anything can see them.
///
/// Guest state is visible at exits of the region, traps, calls of helpers, the heads of loops
/// (interrupts) and, with [`Faults::Precise`](super::Faults), at every memory access. Relies on
/// globals not overlapping. Never removes or moves an operation that is not pure, and never a
/// write to the global that holds the pc.
pub fn dead_stores(region: &mut Region, context: &Context) -> Changes {
    remove(region, context, |d| d.as_global().is_some())
}

/// Removes pure operations whose results, temporaries or locals, feed nothing that is needed:
/// flags that are computed for a global that is overwritten, and chains of such.
///
/// Relies on temporaries being local to their block. Never removes an operation that is not pure,
/// and leaves writes to guest state to [`dead_stores`].
pub fn dead_values(region: &mut Region, context: &Context) -> Changes {
    remove(region, context, |d| d.as_global().is_none())
}

fn remove(region: &mut Region, context: &Context, wanted: impl Fn(Val) -> bool) -> Changes {
    let cfg = Cfg::new(region);
    let mut dead = Vec::new();
    let liveness = Liveness::new(region, &cfg, context);
    for (n, block) in region.blocks.iter().enumerate() {
        liveness.walk(n, |i, live| {
            let inst = &block.insts[i];
            if liveness.unneeded(inst, live) && wanted(inst.d) {
                dead.push((n, i));
            }
        });
    }
    // A dead value may still be read by a dead store: what is read stays.
    let mut changes = 0;
    for (n, i) in dead {
        let block = &mut region.blocks[n];
        let results = [block.insts[i].d, block.insts[i].d2];
        let read = |d: Val| d.as_temp().is_some_and(|t| block.temps[t].uses > 0);
        if results.into_iter().any(read) {
            continue;
        }
        let dead = std::mem::replace(&mut block.insts[i], Inst::new(Op::Nop, Type::I64));
        for t in operands(&dead).into_iter().filter_map(Val::as_temp) {
            block.temps[t].uses -= 1;
        }
        changes += 1;
    }
    Changes(changes)
}
