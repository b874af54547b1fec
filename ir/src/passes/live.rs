//! Which values are needed: strong liveness, backward over a region.
//!
//! A value is needed if an operation that is not pure reads it, or a pure one whose result is
//! needed, or if it is in guest state where that is visible. So a chain that only feeds itself or
//! an overwritten global is not needed, even around a loop.

use super::edit::{Slots, operands};
use super::{Cfg, Context, Faults};
use crate::{Inst, Op, OpFlags, Region, Site};

/// The needed values at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// By slot.
    slots: Vec<bool>,
    /// The block's temporaries.
    temps: Vec<bool>,
}

/// What is needed at the head of each block.
#[derive(Debug)]
pub struct Liveness<'a> {
    region: &'a Region,
    cfg: &'a Cfg,
    context: &'a Context<'a>,
    slots: Slots,
    heads: Vec<Vec<bool>>,
}

impl<'a> Liveness<'a> {
    /// What `region` needs, `cfg` being its graph.
    pub fn new(region: &'a Region, cfg: &'a Cfg, context: &'a Context<'a>) -> Self {
        let slots = Slots::new(region, context.table);
        let mut this = Self {
            region,
            cfg,
            context,
            slots,
            heads: vec![vec![false; slots.len()]; region.blocks.len()],
        };
        let reached = cfg.order().iter().rev().copied();
        let others = (0..region.blocks.len()).filter(|&n| !cfg.reachable(n));
        let order: Vec<usize> = reached.chain(others).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for &block in &order {
                let mut live = this.walk(block, |_, _| {}).slots;
                if cfg.is_loop_head(block) {
                    live[slots.globals()].fill(true);
                }
                changed |= live != this.heads[block];
                this.heads[block] = live;
            }
        }
        this
    }

    /// Goes backward through `block`, showing each operation's index and what is needed after it.
    pub fn walk(&self, block: usize, mut seen: impl FnMut(usize, &Live)) -> Live {
        let insts = &self.region.blocks[block].insts;
        let mut live = Live {
            slots: vec![false; self.slots.len()],
            temps: vec![false; self.region.blocks[block].temps.len()],
        };
        for (n, inst) in insts.iter().enumerate().rev() {
            seen(n, &live);
            self.step(Site { block, inst: n }, inst, &mut live);
        }
        live
    }

    /// Whether `val` is among what is needed.
    pub fn needs(&self, live: &Live, val: crate::Val) -> bool {
        live.needs(self.slots, val)
    }

    /// From what is needed after `inst` to what is needed before it.
    fn step(&self, site: Site, inst: &Inst, live: &mut Live) {
        if self.unneeded(inst, live) {
            return;
        }
        for d in [inst.d, inst.d2] {
            live.set(self.slots, d, false);
        }
        match inst.op {
            // What follows a call is entered from outside, where everything is defined.
            Op::Exit | Op::Call => live.slots.fill(false),
            _ => {}
        }
        let mut leaves = self.context.shows_state(inst);
        for to in self.cfg.targets(site.block, site.inst) {
            let more = live.slots.iter_mut().zip(&self.heads[to]);
            more.for_each(|(slot, &needed)| *slot |= needed);
            // A direct exit to a block always goes there; a computed one may leave all the same.
            leaves &= matches!(inst.op, Op::Jump | Op::CallInd);
        }
        if leaves {
            live.slots[self.slots.globals()].fill(true);
        }
        for val in operands(inst) {
            live.set(self.slots, val, true);
        }
    }

    /// Whether `inst` does nothing but compute what is not needed after it.
    pub(crate) fn unneeded(&self, inst: &Inst, live: &Live) -> bool {
        let results = [inst.d, inst.d2];
        inst.op.info().flags.has(OpFlags::PURE)
            && !results.contains(&self.context.table.pc)
            && !results.iter().any(|&d| live.needs(self.slots, d))
    }
}

impl Live {
    fn set(&mut self, slots: Slots, val: crate::Val, needed: bool) {
        if let Some(n) = slots.of(val) {
            self.slots[n] = needed;
        } else if let Some(n) = val.as_temp() {
            self.temps[n] = needed;
        }
    }

    fn needs(&self, slots: Slots, val: crate::Val) -> bool {
        let temp = val.as_temp().is_some_and(|n| self.temps[n]);
        temp || slots.of(val).is_some_and(|n| self.slots[n])
    }
}

impl Context<'_> {
    /// Whether guest state is visible at `inst`, if it leaves the region.
    pub(crate) fn shows_state(&self, inst: &Inst) -> bool {
        match inst.op {
            Op::Fence => false,
            op if op < Op::Load || op > Op::StoreCond => op.info().flags.has(OpFlags::BARRIER),
            _ => self.faults == Faults::Precise,
        }
    }
}
