//! Which globals, locals and temporaries are copies of others, forward over a region.

use super::edit::{Slots, type_of};
use super::{Cfg, Context};
use crate::{Block, GlobalTable, Inst, Op, OpFlags, Region, Val};

/// The copies known at one place of a block: (copy, source).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pairs: Vec<(Val, Val)>,
}

/// The copies known at the head of each block.
pub(crate) struct Copies {
    heads: Vec<Known>,
}

/// What a loop does to guest state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// By slot.
    pub slots: Vec<bool>,
    /// Something may have changed every global.
    pub clobbers: bool,
}

impl Written {
    /// What the operations of these blocks write; the global that holds the pc is one of them,
    /// since it is written as a block is left.
    pub fn by(region: &Region, context: &Context, blocks: &[usize]) -> Self {
        let slots = Slots::new(region, context.table);
        let mut this = Self {
            slots: vec![false; slots.len()],
            clobbers: false,
        };
        if let Some(pc) = slots.of(context.table.pc) {
            this.slots[pc] = true;
        }
        for inst in blocks.iter().flat_map(|&n| &region.blocks[n].insts) {
            this.clobbers |= inst.op.info().flags.has(OpFlags::CLOBBER);
            for n in [inst.d, inst.d2].into_iter().filter_map(|d| slots.of(d)) {
                this.slots[n] = true;
            }
        }
        this
    }

    /// Whether `val`, a global or local, is the same all through the loop.
    pub fn keeps(&self, slots: Slots, val: Val) -> bool {
        slots.of(val).is_some_and(|n| !self.slots[n]) && !self.clobbers
    }
}

impl Copies {
    /// One walk in reverse postorder: at a loop's head, what the loop writes is forgotten.
    pub fn new(region: &Region, cfg: &Cfg, context: &Context) -> Self {
        let slots = Slots::new(region, context.table);
        let loops = cfg.loops();
        let mut at: Vec<Option<Known>> = vec![None; region.blocks.len()];
        let mut heads = vec![Known::default(); region.blocks.len()];
        for &n in cfg.order() {
            let mut known = at[n].take().unwrap_or_default();
            if cfg.is_loop_head(n) {
                match cfg.only_loop(&loops, n) {
                    Some(l) => {
                        let written = Written::by(region, context, &l.blocks);
                        let keeps = |v| written.keeps(slots, v);
                        known.pairs.retain(|p| keeps(p.0) && keeps(p.1));
                    }
                    None => known.pairs.clear(),
                }
            }
            if n == region.entry {
                known.pairs.clear();
            }
            heads[n] = known.clone();
            let block = &region.blocks[n];
            for (i, inst) in block.insts.iter().enumerate() {
                for to in cfg.targets(n, i) {
                    let across = known.across();
                    match &mut at[to] {
                        Some(old) => old.pairs.retain(|p| across.pairs.contains(p)),
                        none => *none = Some(across),
                    }
                }
                known.step(block, context.table, inst);
            }
        }
        Self { heads }
    }

    pub fn head(&self, block: usize) -> Known {
        self.heads[block].clone()
    }
}

impl Known {
    /// What `val` is a copy of.
    pub fn source(&self, val: Val) -> Option<Val> {
        self.pairs.iter().find(|p| p.0 == val).map(|p| p.1)
    }

    /// What of it holds in another block.
    fn across(&self) -> Self {
        let local = |v: Val| v.as_temp().is_some();
        let pairs = self.pairs.iter().filter(|p| !local(p.0) && !local(p.1));
        Self {
            pairs: pairs.copied().collect(),
        }
    }

    pub fn step(&mut self, block: &Block, table: &GlobalTable, inst: &Inst) {
        if inst.op.info().flags.has(OpFlags::CLOBBER) {
            let keep = |v: Val| v.as_temp().is_some() || v.as_local().is_some();
            let helper = inst.op == Op::CallHelper;
            self.pairs.retain(|p| helper && keep(p.0) && keep(p.1));
        }
        let source = self.source(inst.a).unwrap_or(inst.a);
        for d in [inst.d, inst.d2] {
            self.pairs.retain(|p| p.0 != d && p.1 != d);
        }
        let (d, ty) = (inst.d, inst.ty);
        let same = |v: Val| v.as_const().is_none() && type_of(block, table, v) == ty;
        let pc = d == table.pc || source == table.pc;
        if inst.op == Op::Mov && d != source && same(d) && same(source) && !pc {
            self.pairs.push((d, source));
        }
    }
}
