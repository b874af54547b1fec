//! What passes need to read and change operations.

use crate::{Block, GlobalTable, Imm, Inst, Op, Region, Temp, Type, Val};

/// The operands of `inst`, absent ones included.
pub fn operands(inst: &Inst) -> [Val; 5] {
    let fifth = match inst.op.info().imm {
        Imm::Val => Val::from_raw(inst.imm as u16),
        _ => Val::NONE,
    };
    [inst.a, inst.b, inst.c, inst.e, fifth]
}

/// Replaces operand number `i` (as in [`operands`]).
pub(crate) fn set_operand(inst: &mut Inst, i: usize, val: Val) {
    match i {
        0 => inst.a = val,
        1 => inst.b = val,
        2 => inst.c = val,
        3 => inst.e = val,
        _ => inst.imm = i64::from(val.raw()),
    }
}

/// The type of an operand (constants are I64).
pub(crate) fn type_of(block: &Block, table: &GlobalTable, val: Val) -> Type {
    let global = val.as_global().and_then(|n| table.get(n)).map(|g| g.ty);
    let temp = val.as_temp().and_then(|n| block.temps.get(n));
    global.or(temp.map(|t| t.ty)).unwrap_or(Type::I64)
}

/// A constant operand, unless the block is full.
pub(crate) fn constant(block: &mut Block, value: u64) -> Option<Val> {
    let known = block.consts.iter().position(|&c| c == value);
    let n = known.unwrap_or_else(|| {
        block.consts.push(value);
        block.consts.len() - 1
    });
    (n < 0x4000).then(|| Val::constant(n as u16))
}

/// A new temporary, unless the block is full.
pub(crate) fn temp(block: &mut Block, ty: Type) -> Option<Val> {
    let n = block.temps.len();
    (n < 0x7ffe).then(|| {
        block.temps.push(Temp { ty, uses: 0 });
        Val::temp(n as u16)
    })
}

/// `d = a`, of type `ty`.
pub(crate) fn mov(ty: Type, d: Val, a: Val) -> Inst {
    Inst {
        d,
        a,
        ..Inst::new(Op::Mov, ty)
    }
}

/// Counts the uses of each temporary anew, and forgets what was noted about operations.
pub(crate) fn finish(region: &mut Region) {
    region.reprobes.clear();
    for block in &mut region.blocks {
        block.temps.iter_mut().for_each(|t| t.uses = 0);
        for inst in &block.insts {
            for n in operands(inst).into_iter().filter_map(Val::as_temp) {
                block.temps[n].uses += 1;
            }
        }
    }
}

/// Takes out what passes replaced by `nop`.
pub(crate) fn compact(region: &mut Region) {
    region.reprobes.clear();
    for block in &mut region.blocks {
        block.insts.retain(|i| i.op != Op::Nop);
    }
}

/// Globals and locals by one number: the globals come first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    globals: usize,
    locals: usize,
}

impl Slots {
    pub fn new(region: &Region, table: &GlobalTable) -> Self {
        Self {
            globals: table.globals.len(),
            locals: region.locals,
        }
    }

    pub fn len(self) -> usize {
        self.globals + self.locals
    }

    /// The numbers of the globals.
    pub fn globals(self) -> std::ops::Range<usize> {
        0..self.globals
    }

    /// The number of a global or local.
    pub fn of(self, val: Val) -> Option<usize> {
        let local = val.as_local().map(|n| self.globals + n);
        val.as_global().or(local).filter(|&n| n < self.len())
    }
}
