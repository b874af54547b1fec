//! Accesses off a base whose page was probed before.

use super::copies::Written;
use super::edit::Slots;
use super::{Cfg, Changes, Context};
use crate::{Inst, Op, OpFlags, Region, Reprobe, Site, Type, Val};
use std::collections::HashMap;

/// How far apart the addresses of an access and its leader may be: beyond a page there is no hope.
const MAX_DELTA: u64 = 4096;

/// The number of an unknown value that is 0: a constant address.
const ABSOLUTE: u32 = u32::MAX;

/// A number for an unknown value, and a constant added to it.
type Sum = (u32, i64);

/// Where an unknown value comes from: what a global or local holds at a block's head, or the
/// result of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Head(usize, usize),
    Result(Site, u8),
    /// What a slot holds after an operation that may have changed everything.
    Clobbered(Site, usize),
}

/// An access that ran before, and its address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Leader {
    site: Site,
    op: Op,
    address: Sum,
}

#[derive(Clone, Default)]
struct State {
    sums: Vec<Sum>,
    leaders: Vec<Leader>,
}

/// Notes in [`Region::reprobes`] each `load` and `store` whose address is a constant away from
/// that of an access of the same kind that ran before it on every path, with no call of a helper
/// between, so that the back end can reuse the first one's probe.
///
/// Changes no operation. Relies on the TLB being emptied for this vCPU only by helpers and outside
/// of the region (an interrupt leaves it). Atomics neither lead nor follow.
pub fn probes(region: &mut Region, context: &Context) -> Changes {
    let cfg = Cfg::new(region);
    let mut pass = Pass {
        region,
        slots: Slots::new(region, context.table),
        numbers: HashMap::new(),
        temps: HashMap::new(),
        found: Vec::new(),
    };
    let loops = cfg.loops();
    let mut at: Vec<Option<State>> = vec![None; region.blocks.len()];
    for &n in cfg.order() {
        let mut state = at[n].take().filter(|_| n != region.entry);
        if cfg.is_loop_head(n) {
            let natural = cfg.only_loop(&loops, n);
            state = state.zip(natural).map(|(state, natural)| {
                let written = Written::by(region, context, &natural.blocks);
                pass.round(n, state, &written)
            });
        }
        let mut state = state.unwrap_or_else(|| pass.unknown(n));
        pass.temps.clear();
        // The global that holds the pc is written as the block before is left.
        if let Some(slot) = pass.slots.of(context.table.pc) {
            state.sums[slot] = pass.number(Origin::Head(n, slot));
        }
        for (i, inst) in region.blocks[n].insts.iter().enumerate() {
            let site = Site { block: n, inst: i };
            for to in cfg.targets(n, i) {
                at[to] = Some(match at[to].take() {
                    Some(old) => pass.meet(to, old, &state),
                    None => state.clone(),
                });
            }
            pass.step(site, inst, &mut state);
        }
    }
    region.reprobes = pass.found;
    Changes(region.reprobes.len() as u32)
}

struct Pass<'a> {
    region: &'a Region,
    slots: Slots,
    numbers: HashMap<Origin, u32>,
    /// The temporaries of the block at hand.
    temps: HashMap<Val, Sum>,
    found: Vec<Reprobe>,
}

impl Pass<'_> {
    fn number(&mut self, origin: Origin) -> Sum {
        let next = self.numbers.len() as u32;
        (*self.numbers.entry(origin).or_insert(next), 0)
    }

    fn unknown(&mut self, block: usize) -> State {
        let sums = (0..self.slots.len())
            .map(|slot| self.number(Origin::Head(block, slot)))
            .collect();
        State {
            sums,
            leaders: Vec::new(),
        }
    }

    /// What holds in every round of the loop at `head`.
    fn round(&mut self, head: usize, mut state: State, written: &Written) -> State {
        if written.clobbers {
            return self.unknown(head);
        }
        for slot in 0..self.slots.len() {
            if written.slots[slot] {
                state.sums[slot] = self.number(Origin::Head(head, slot));
            }
        }
        state
    }

    fn meet(&mut self, block: usize, mut old: State, new: &State) -> State {
        for slot in 0..self.slots.len() {
            if old.sums[slot] != new.sums[slot] {
                old.sums[slot] = self.number(Origin::Head(block, slot));
            }
        }
        old.leaders.retain(|l| new.leaders.contains(l));
        old
    }

    fn step(&mut self, site: Site, inst: &Inst, state: &mut State) {
        if matches!(inst.op, Op::Load | Op::Store) {
            self.access(site, inst, state);
        }
        if inst.op.info().flags.has(OpFlags::CLOBBER) {
            state.leaders.clear();
            for slot in 0..self.slots.len() {
                state.sums[slot] = self.number(Origin::Clobbered(site, slot));
            }
        }
        let sum = self.sum(site, inst, state);
        self.set(inst.d, sum, state);
        let second = self.number(Origin::Result(site, 1));
        self.set(inst.d2, second, state);
    }

    fn set(&mut self, val: Val, sum: Sum, state: &mut State) {
        if let Some(slot) = self.slots.of(val) {
            state.sums[slot] = sum;
        } else if val.as_temp().is_some() {
            self.temps.insert(val, sum);
        }
    }

    /// What `val` holds, as it is read.
    fn of(&self, site: Site, val: Val, state: &State) -> Option<Sum> {
        let constant = self.region.blocks[site.block].const_value(val);
        let slot = self.slots.of(val).map(|slot| state.sums[slot]);
        let temp = || self.temps.get(&val).copied();
        constant
            .map(|c| (ABSOLUTE, c as i64))
            .or(slot)
            .or_else(temp)
    }

    /// The first result of `inst`.
    fn sum(&mut self, site: Site, inst: &Inst, state: &State) -> Sum {
        let fresh = self.number(Origin::Result(site, 0));
        let a = self
            .of(site, inst.a, state)
            .filter(|_| inst.ty == Type::I64);
        let Some((root, plus)) = a else { return fresh };
        let block = &self.region.blocks[site.block];
        match (inst.op, block.const_value(inst.b)) {
            (Op::Mov, _) => (root, plus),
            (Op::Add, Some(c)) => (root, plus.wrapping_add(c as i64)),
            (Op::Sub, Some(c)) => (root, plus.wrapping_sub(c as i64)),
            _ => fresh,
        }
    }

    /// Finds the leader of the access `inst`, or makes it one.
    fn access(&mut self, site: Site, inst: &Inst, state: &mut State) {
        let Some((root, plus)) = self.of(site, inst.a, state) else {
            return;
        };
        let address = (root, plus.wrapping_add(inst.imm));
        let delta = |l: &Leader| address.1.wrapping_sub(l.address.1);
        let near = |l: &&Leader| {
            (l.op, l.address.0) == (inst.op, root) && delta(l).unsigned_abs() < MAX_DELTA
        };
        if let Some(leader) = state.leaders.iter().find(near) {
            self.found.push(Reprobe {
                access: site,
                leader: leader.site,
                delta: delta(leader),
            });
            return;
        }
        state.leaders.push(Leader {
            site,
            op: inst.op,
            address,
        });
    }
}
