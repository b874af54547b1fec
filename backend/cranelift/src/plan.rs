//! Which globals are written to memory before an access that may fault on the host.
//!
//! [`Recovery`](crate::Recovery) finds most of the guest state in registers and in the body's
//! frame. It cannot find a global whose value nothing needs any more, unless that value can be
//! computed again from others. Those are foretold here; what the code generator loses beyond them
//! is added before the region is compiled once more.

use crate::flow::Set;
use isomorph_baseline::{Layout, Memory};
use isomorph_ir::passes::{Cfg, Context, Faults, Liveness, operands};
use isomorph_ir::{Block, Op, OpFlags, Region, Site, Val};
use std::collections::HashMap;

/// How many operations a value may be computed again from, one behind the other.
pub(crate) const DEPTH: u32 = 4;

/// By access: the globals that are written before it, if they may be newer than memory.
#[derive(Debug, Default)]
pub(crate) struct Plan(HashMap<Site, Set>);

impl Plan {
    /// What can be foretold.
    pub(crate) fn new(region: &Region, cfg: &Cfg, layout: Layout) -> Self {
        let mut plan = Self::default();
        if layout.memory != Memory::Identity {
            return plan;
        }
        let context = Context {
            table: layout.globals,
            faults: Faults::Recovered,
        };
        let liveness = Liveness::new(region, cfg, &context);
        let named = named(region);
        for &n in cfg.order() {
            let block = &region.blocks[n];
            liveness.walk(n, |inst, live| {
                if !recovers(block.insts[inst].op) {
                    return;
                }
                let lost = named.iter().filter(|&g| {
                    let value = Known {
                        block,
                        access: inst,
                        live: &|v| liveness.needs(live, v),
                    };
                    !value.at(Val::global(g as u16), inst, DEPTH)
                });
                let lost: Set = lost.collect();
                plan.0.insert(Site { block: n, inst }, lost);
            });
        }
        plan
    }

    /// Everything is written before every access.
    pub(crate) fn all(region: &Region, memory: Memory) -> Self {
        let mut plan = Self::default();
        if memory != Memory::Identity {
            return plan;
        }
        let named = named(region);
        for (n, block) in region.blocks.iter().enumerate() {
            for (inst, i) in block.insts.iter().enumerate() {
                if recovers(i.op) {
                    plan.0.insert(Site { block: n, inst }, named.clone());
                }
            }
        }
        plan
    }

    /// Has `global` written before the access too.
    pub(crate) fn add(&mut self, access: Site, global: usize) {
        self.0.entry(access).or_default().insert(global);
    }

    /// What is written before the operation at `site`.
    pub(crate) fn at(&self, site: Site) -> Option<&Set> {
        self.0.get(&site)
    }
}

/// The accesses whose guest state is recovered; atomics are rare and write it.
pub(crate) fn recovers(op: Op) -> bool {
    matches!(op, Op::Load | Op::Store)
}

/// The globals that the region writes.
fn named(region: &Region) -> Set {
    let insts = region.blocks.iter().flat_map(|b| &b.insts);
    let results = insts.flat_map(|i| [i.d, i.d2]);
    results.filter_map(|v| v.as_global()).collect()
}

/// What is known in a block where an access stands.
struct Known<'a> {
    block: &'a Block,
    access: usize,
    /// Whether a value is needed after the access.
    live: &'a dyn Fn(Val) -> bool,
}

impl Known<'_> {
    /// Whether the value that `val` has before operation `place` can be told at the access.
    fn at(&self, val: Val, place: usize, depth: u32) -> bool {
        if val.is_none() || self.block.const_value(val).is_some() {
            return true;
        }
        let access = &self.block.insts[self.access];
        let kept = operands(access).contains(&val) || access.d != val && (self.live)(val);
        if kept && place == self.access {
            return true;
        }
        let def = self.definition(val, place);
        if kept && def == self.definition(val, self.access) {
            return true;
        }
        let Some(def) = def.filter(|_| depth > 0) else {
            return false;
        };
        let inst = &self.block.insts[def];
        let pure = inst.op.info().flags.has(OpFlags::PURE) && computable(inst.op);
        pure && operands(inst).iter().all(|&v| self.at(v, def, depth - 1))
    }

    /// The last operation before `place` that writes `val`.
    fn definition(&self, val: Val, place: usize) -> Option<usize> {
        let before = self.block.insts[..place].iter();
        before.clone().rposition(|i| i.d == val || i.d2 == val)
    }
}

/// Whether CLIF's operation for it is one that [`Recovery`](crate::Recovery) can do.
fn computable(op: Op) -> bool {
    use Op::{Add, And, Andc, Mov, Mul, Or, Rotl, Rotr, Sar, Sext, Shl, Shr, Sub, Xor, Zext};
    matches!(
        op,
        Mov | Sext | Zext | Add | Sub | Mul | And | Or | Xor | Andc | Shl | Shr | Sar | Rotl | Rotr
    )
}
