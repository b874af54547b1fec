//! What is known of each value: known bits, forward over a region.

use super::bits::{self, Bits};
use super::edit::{Slots, operands};
use super::{Cfg, Context};
use crate::{Block, Cond, Inst, Op, OpFlags, Region, Type, Val};

/// How often a block is looked at before what still changes there is given up.
const PATIENCE: u32 = 6;

/// What is known at one place of a block.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    slots: Slots,
    /// Globals and locals.
    values: Vec<Bits>,
    temps: Vec<Bits>,
    /// The global that holds the pc: written behind the passes' backs.
    pc: Val,
}

/// What is known at the head of each block; `None` where control never comes.
pub(crate) struct Values {
    slots: Slots,
    pc: Val,
    heads: Vec<Option<Vec<Bits>>>,
}

impl Values {
    pub fn new(region: &Region, cfg: &Cfg, context: &Context) -> Self {
        let slots = Slots::new(region, context.table);
        let mut this = Self {
            slots,
            pc: context.table.pc,
            heads: vec![None; region.blocks.len()],
        };
        let mut visits = vec![0; region.blocks.len()];
        let mut pending = vec![false; region.blocks.len()];
        if let Some(&entry) = cfg.order().first() {
            this.heads[entry] = Some(vec![Bits::UNKNOWN; slots.len()]);
            pending[entry] = true;
        }
        while pending.contains(&true) {
            for &block in cfg.order() {
                if std::mem::take(&mut pending[block]) {
                    visits[block] += 1;
                    this.flow((region, cfg), block, &visits, &mut pending);
                }
            }
        }
        this
    }

    /// Carries what is known through `block` to those that follow it.
    fn flow(
        &mut self,
        (region, cfg): (&Region, &Cfg),
        from: usize,
        visits: &[u32],
        pending: &mut [bool],
    ) {
        let block = &region.blocks[from];
        let mut known = self.head(block, from);
        for (i, inst) in block.insts.iter().enumerate() {
            for to in cfg.targets(from, i) {
                let taken = known.if_taken(block, inst);
                pending[to] |= self.join(to, &taken, visits[to] > PATIENCE);
            }
            known.step(block, inst);
        }
    }

    /// Weakens what is known at the head of `block` by what is known on an edge to it.
    fn join(&mut self, block: usize, edge: &[Bits], give_up: bool) -> bool {
        let Some(head) = &mut self.heads[block] else {
            self.heads[block] = Some(edge.to_vec());
            return true;
        };
        let mut changed = false;
        for (old, &new) in head.iter_mut().zip(edge) {
            if *old == Bits::UNKNOWN {
                continue;
            }
            let met = old.meet(new);
            if !met.says_what(*old) {
                *old = if give_up { Bits::UNKNOWN } else { met };
                changed = true;
            }
        }
        changed
    }

    /// What is known at the head of block number `n`.
    pub fn head(&self, block: &Block, n: usize) -> Known {
        let unknown = || vec![Bits::UNKNOWN; self.slots.len()];
        Known {
            slots: self.slots,
            values: self.heads[n].clone().unwrap_or_else(unknown),
            temps: vec![Bits::UNKNOWN; block.temps.len()],
            pc: self.pc,
        }
    }
}

impl Known {
    /// What is known of `val` as it is read.
    pub fn of(&self, block: &Block, val: Val) -> Bits {
        if let Some(value) = block.const_value(val) {
            return Bits::exact(value);
        }
        if val == self.pc {
            return Bits::UNKNOWN;
        }
        let temp = val.as_temp().and_then(|n| self.temps.get(n));
        let slot = self.slots.of(val).map(|n| &self.values[n]);
        slot.or(temp).copied().unwrap_or(Bits::UNKNOWN)
    }

    /// What is known of the first result of `inst`.
    pub fn result(&self, block: &Block, inst: &Inst) -> Bits {
        let [a, b, c, e, _] = operands(inst);
        bits::result(inst, [a, b, c, e].map(|val| self.of(block, val)))
    }

    /// From what is known before `inst` to what is known after it.
    pub fn step(&mut self, block: &Block, inst: &Inst) {
        let result = self.result(block, inst);
        if inst.op.info().flags.has(OpFlags::CLOBBER) {
            let kept = match inst.op {
                Op::CallHelper => self.slots.globals(),
                _ => 0..self.slots.len(),
            };
            self.values[kept].fill(Bits::UNKNOWN);
        }
        self.set(inst.d, result);
        self.set(inst.d2, Bits::UNKNOWN);
        if let Some((val, bits)) = self.equal(block, inst, Cond::Ne) {
            self.set(val, bits);
        }
    }

    fn set(&mut self, val: Val, bits: Bits) {
        if let Some(n) = self.slots.of(val) {
            self.values[n] = bits;
        } else if let Some(temp) = val.as_temp().and_then(|n| self.temps.get_mut(n)) {
            *temp = bits;
        }
    }

    /// What is known of globals and locals on the edge that `inst` takes.
    fn if_taken(&self, block: &Block, inst: &Inst) -> Vec<Bits> {
        let mut values = self.values.clone();
        if let Some((val, bits)) = self.equal(block, inst, Cond::Eq)
            && let Some(n) = self.slots.of(val)
        {
            values[n] = bits;
        }
        values
    }

    /// What an `exitif` on `cond` tells of its left operand where that is equal to a constant.
    fn equal(&self, block: &Block, inst: &Inst, cond: Cond) -> Option<(Val, Bits)> {
        let fits = inst.op == Op::ExitIf && inst.ty == Type::I64 && inst.aux == cond as u8;
        let right = self.of(block, inst.b).value().filter(|_| fits)?;
        let left = inst.a.as_const().is_none();
        left.then(|| (inst.a, Bits::exact(right)))
    }
}
