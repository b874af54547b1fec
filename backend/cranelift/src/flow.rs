//! Which globals a region uses, and which may differ from the guest state in memory.

use crate::plan::{Plan, recovers};
use isomorph_baseline::Memory;
use isomorph_ir::passes::{Cfg, targets};
use isomorph_ir::{Block, Inst, Op, Region, Site, Val};

/// A set of globals, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(Vec<u64>);

impl Set {
    /// Adds `n`; says whether it is new.
    pub(crate) fn insert(&mut self, n: usize) -> bool {
        if self.0.len() <= n / 64 {
            self.0.resize(n / 64 + 1, 0);
        }
        let before = self.0[n / 64];
        self.0[n / 64] |= 1 << (n % 64);
        before != self.0[n / 64]
    }

    /// Takes the other's members out; gives those that were in it.
    pub(crate) fn take(&mut self, other: &Self) -> Self {
        let mut taken = Self::default();
        for (mine, &others) in self.0.iter_mut().zip(&other.0) {
            taken.0.push(*mine & others);
            *mine &= !others;
        }
        taken
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the other's members; says whether any was new.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let mut new = false;
        for n in other.iter() {
            new |= self.insert(n);
        }
        new
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.0.iter().enumerate();
        words.flat_map(|(w, &bits)| {
            let members = (0..64).filter(move |b| bits >> b & 1 != 0);
            members.map(move |b| w * 64 + b)
        })
    }
}

impl Extend<usize> for Set {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, members: I) {
        for n in members {
            self.insert(n);
        }
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(members: I) -> Self {
        let mut set = Self::default();
        set.extend(members);
        set
    }
}

/// What is known of a region's globals.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The globals that reachable blocks name.
    pub(crate) used: Set,
    /// By block: the globals that may be newer than memory where it begins.
    pub(crate) dirty: Vec<Set>,
}

/// Globals that an access with a slow path may leave to that path to write: more are written
/// before it, or else the slow paths would be most of the code.
const MAX_DIRTY: usize = 8;

/// True if all globals in `dirty` are written to memory before this operation, whatever happens
/// in it.
pub(crate) fn syncs(op: Op, memory: Memory, dirty: &Set) -> bool {
    use Op::{AtomicRmw, Cas, CasPair, Load, LoadReserved, Store, StoreCond};
    match op {
        Op::CallHelper => true,
        Load | Store | AtomicRmw | Cas | CasPair | LoadReserved | StoreCond => match memory {
            Memory::Identity => !recovers(op),
            Memory::Tlb { .. } => dirty.iter().count() > MAX_DIRTY,
        },
        _ => false,
    }
}

/// True if what follows the operation in its block is not reached from it.
pub(crate) fn ends(op: Op) -> bool {
    use Op::{Call, CallInd, Exit, Jump, Trap};
    matches!(op, Call | CallInd | Exit | Jump | Trap)
}

/// The operations of a block up to the first that ends it.
pub(crate) fn body(block: &Block) -> &[Inst] {
    let end = block.insts.iter().position(|i| ends(i.op));
    &block.insts[..end.map_or(block.insts.len(), |n| n + 1)]
}

impl Flow {
    pub(crate) fn new(region: &Region, cfg: &Cfg, memory: Memory, plan: &Plan) -> Self {
        let mut flow = Self {
            used: Set::default(),
            dirty: vec![Set::default(); region.blocks.len()],
        };
        for &n in cfg.order() {
            for inst in body(&region.blocks[n]) {
                let mut vals = vec![inst.d, inst.d2, inst.a, inst.b, inst.c, inst.e];
                if inst.op == Op::CasPair {
                    vals.push(Val::from_raw(inst.imm as u16));
                }
                let globals = vals.iter().filter_map(|v| v.as_global());
                flow.used.extend(globals);
            }
        }
        while flow.pass(region, cfg, memory, plan) {}
        flow
    }

    /// Carries what is dirty along every edge once; says whether anything was new.
    fn pass(&mut self, region: &Region, cfg: &Cfg, memory: Memory, plan: &Plan) -> bool {
        let mut new = false;
        for &n in cfg.order() {
            let mut dirty = self.dirty[n].clone();
            for (at, inst) in body(&region.blocks[n]).iter().enumerate() {
                if syncs(inst.op, memory, &dirty) {
                    dirty.clear();
                }
                if let Some(written) = plan.at(Site { block: n, inst: at }) {
                    dirty.take(written);
                }
                for to in targets(region, n, inst) {
                    new |= self.dirty[to].merge(&dirty);
                }
                let results = [inst.d, inst.d2].into_iter();
                let globals = results.filter_map(|v| v.as_global());
                dirty.extend(globals);
            }
        }
        new
    }
}
