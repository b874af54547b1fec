//! Printing.

use crate::{
    AtomicOp, Aux, Block, Cond, GlobalTable, Imm, Inst, JumpKind, MemOp, Op, Order, Rm, TrapKind,
    Type, Val,
};
use std::fmt::{self, Display, Formatter};

/// A block's text form, through [`Display`].
#[derive(Clone, Copy, Debug)]
pub struct BlockText<'a> {
    /// The block.
    pub block: &'a Block,
    /// Where the globals' names come from.
    pub table: &'a GlobalTable,
}

/// One operation's text form, without indentation or line end, through [`Display`].
#[derive(Clone, Copy, Debug)]
pub struct InstText<'a> {
    /// The operation.
    pub inst: &'a Inst,
    /// The block it belongs to.
    pub block: &'a Block,
    /// Where the globals' names come from.
    pub table: &'a GlobalTable,
}

impl Block {
    /// The text form of the whole block.
    pub fn text<'a>(&'a self, table: &'a GlobalTable) -> BlockText<'a> {
        BlockText { block: self, table }
    }
}

impl Display for BlockText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Block {
            pc,
            flags,
            insns,
            end,
            ..
        } = self.block;
        writeln!(
            f,
            "block {pc:#x} flags {flags:#x} insns {insns} end {end:#x}"
        )?;
        for inst in &self.block.insts {
            let indent = if inst.op == Op::InsnStart { "" } else { "  " };
            let text = InstText {
                inst,
                block: self.block,
                table: self.table,
            };
            writeln!(f, "{indent}{text}")?;
        }
        Ok(())
    }
}

impl Display for InstText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let inst = self.inst;
        if inst.op == Op::InsnStart {
            return write!(f, "-- {:#x}", inst.pc());
        }
        self.results(f)?;
        f.write_str(inst.op.info().name)?;
        if inst.ty != self.implied_type() {
            write!(f, ".{}", inst.ty.name())?;
        }
        attribute(f, inst.op.info().aux, inst.aux)?;
        attribute(f, inst.op.aux2(), inst.aux2)?;
        if inst.op.info().imm == Imm::Helper {
            write!(f, " #{}", inst.imm)?;
        }
        self.operands(f)?;
        if inst.op.info().imm == Imm::Pc {
            write!(f, " {} {:#x}", pc_mark(inst.op), inst.pc())?;
        }
        Ok(())
    }
}

/// What stands before the program counter of an operation that has one.
pub(super) fn pc_mark(op: Op) -> &'static str {
    if matches!(op, Op::Trap | Op::TrapIf) {
        "@"
    } else {
        "->"
    }
}

/// Whether the operation's first operand is an address, printed in brackets.
pub(super) fn has_address(op: Op) -> bool {
    op.info().aux == Aux::Mem
}

impl InstText<'_> {
    /// The type that is not printed.
    fn implied_type(&self) -> Type {
        if self.inst.op.info().results == 0 {
            return Type::I64;
        }
        self.type_of(self.inst.d).unwrap_or(Type::I64)
    }

    fn type_of(&self, val: Val) -> Option<Type> {
        if val.as_local().is_some() {
            return Some(Type::I64);
        }
        match (val.as_global(), val.as_temp()) {
            (Some(n), _) => self.table.get(n).map(|g| g.ty),
            (_, Some(n)) => self.block.temps.get(n).map(|t| t.ty),
            _ => None,
        }
    }

    fn results(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let results = [self.inst.d, self.inst.d2];
        let count = usize::from(self.inst.op.info().results);
        for (i, &val) in results[..count].iter().enumerate() {
            self.val(f, val)?;
            if let (Some(_), Some(ty)) = (val.as_temp(), self.type_of(val)) {
                write!(f, ":{}", ty.name())?;
            }
            f.write_str(if i + 1 == count { " = " } else { ", " })?;
        }
        Ok(())
    }

    fn operands(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Inst {
            op,
            a,
            b,
            c,
            e,
            imm,
            ..
        } = *self.inst;
        let count = usize::from(op.info().operands);
        for (i, val) in [a, b, c, e].into_iter().take(count).enumerate() {
            f.write_str(if i == 0 { " " } else { ", " })?;
            if i == 0 && has_address(op) {
                self.address(f, val)?;
            } else {
                self.val(f, val)?;
            }
        }
        if op.info().imm == Imm::Val {
            f.write_str(", ")?;
            self.val(f, Val::from_raw(imm as u16))?;
        }
        Ok(())
    }

    fn address(&self, f: &mut Formatter<'_>, base: Val) -> fmt::Result {
        f.write_str("[")?;
        self.val(f, base)?;
        let disp = self.inst.imm;
        if self.inst.op.info().imm == Imm::Disp && disp != 0 {
            let sign = if disp < 0 { '-' } else { '+' };
            write!(f, "{sign}{:#x}", disp.unsigned_abs())?;
        }
        f.write_str("]")
    }

    fn val(&self, f: &mut Formatter<'_>, val: Val) -> fmt::Result {
        if val.is_none() {
            return f.write_str("none");
        }
        if let Some(n) = val.as_temp() {
            return write!(f, "%{n}");
        }
        if let Some(n) = val.as_local() {
            return write!(f, "${n}");
        }
        if let Some(value) = self.block.const_value(val) {
            return constant(f, value);
        }
        match val.as_global().and_then(|n| self.table.get(n)) {
            Some(global) => f.write_str(global.name),
            None => write!(f, "?{val:?}"),
        }
    }
}

/// Small negative numbers keep their sign; everything is hexadecimal.
fn constant(f: &mut Formatter<'_>, value: u64) -> fmt::Result {
    match value as i64 {
        v @ -0x8000_0000..0 => write!(f, "-{:#x}", v.unsigned_abs()),
        _ => write!(f, "{value:#x}"),
    }
}

fn attribute(f: &mut Formatter<'_>, kind: Aux, value: u8) -> fmt::Result {
    let name = match kind {
        Aux::None => return Ok(()),
        Aux::Mem => return write!(f, " {}", MemOp(value)),
        Aux::Number => return write!(f, " {value}"),
        Aux::Cond => Cond::from_u8(value).map(Cond::name),
        Aux::Rm => Rm::from_u8(value).map(Rm::name),
        Aux::Jump => JumpKind::from_u8(value).map(JumpKind::name),
        Aux::Trap => TrapKind::from_u8(value).map(TrapKind::name),
        Aux::Order => Order::from_u8(value).map(Order::name),
        Aux::Type => Type::from_u8(value).map(Type::name),
        Aux::Atomic => AtomicOp::from_u8(value).map(AtomicOp::name),
    };
    match name {
        Some(name) => write!(f, " {name}"),
        None => write!(f, " ?{value}"),
    }
}

impl Display for MemOp {
    /// `u32`, `s16.be`, `u64.seqcst.aligned`: the default of each part is left out.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = if self.signed() { 's' } else { 'u' };
        write!(f, "{sign}{}", u64::from(self.bytes()) * 8)?;
        if self.big_endian() {
            f.write_str(".be")?;
        }
        if self.order() != Order::Relaxed {
            write!(f, ".{}", self.order().name())?;
        }
        if self.aligned() {
            f.write_str(".aligned")?;
        }
        Ok(())
    }
}
