//! Flat storage of a translated block.

use crate::{Op, Type};

/// An operand or result: a global, a local of a region, a temporary, a constant, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(u16);

impl Val {
    /// No operand.
    pub const NONE: Self = Self(0xffff);
    const LOCAL: u16 = 0x3f00;
    const CONST: u16 = 0x4000;
    const TEMP: u16 = 0x8000;

    /// How many locals a region can have.
    pub const LOCALS: usize = (Self::CONST - Self::LOCAL) as usize;

    /// Local number `n` of a [region](crate::Region) (less than [`Val::LOCALS`]).
    pub const fn local(n: u16) -> Self {
        Self(Self::LOCAL | n)
    }

    /// Global number `n` (less than 0x3f00).
    pub const fn global(n: u16) -> Self {
        Self(n)
    }

    /// Constant number `n` of the block (less than 0x4000).
    pub const fn constant(n: u16) -> Self {
        Self(Self::CONST | n)
    }

    /// Temporary number `n` of the block (less than 0x7fff).
    pub const fn temp(n: u16) -> Self {
        Self(Self::TEMP | n)
    }

    /// The global's number, if this is one.
    pub const fn as_global(self) -> Option<usize> {
        if self.0 < Self::LOCAL {
            Some(self.0 as usize)
        } else {
            None
        }
    }

    /// The local's number in its region, if this is one.
    pub const fn as_local(self) -> Option<usize> {
        if self.0 & 0xff00 == Self::LOCAL {
            Some((self.0 & 0xff) as usize)
        } else {
            None
        }
    }

    /// The constant's number in its block, if this is one.
    pub const fn as_const(self) -> Option<usize> {
        if self.0 & 0xc000 == Self::CONST {
            Some((self.0 & 0x3fff) as usize)
        } else {
            None
        }
    }

    /// The temporary's number in its block, if this is one.
    pub const fn as_temp(self) -> Option<usize> {
        if self.0 >= Self::TEMP && self.0 != 0xffff {
            Some((self.0 & 0x7fff) as usize)
        } else {
            None
        }
    }

    /// True for [`Val::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0xffff
    }

    /// The raw number, for storing an operand in `imm`.
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// The operand with this raw number.
    pub const fn from_raw(n: u16) -> Self {
        Self(n)
    }
}

impl std::fmt::Debug for Val {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.as_global(), self.as_const(), self.as_temp()) {
            (Some(n), _, _) => write!(f, "g{n}"),
            (_, Some(n), _) => write!(f, "c{n}"),
            (_, _, Some(n)) => write!(f, "t{n}"),
            _ if self.as_local().is_some() => write!(f, "l{}", self.0 & 0xff),
            _ => write!(f, "none"),
        }
    }
}

/// One operation, 24 bytes. Which fields mean something is in [`Op::info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Inst {
    /// The operation.
    pub op: Op,
    /// Its type.
    pub ty: Type,
    /// Attribute, see [`crate::Aux`].
    pub aux: u8,
    /// Second attribute, see [`Op::aux2`].
    pub aux2: u8,
    /// First result.
    pub d: Val,
    /// Second result.
    pub d2: Val,
    /// First operand.
    pub a: Val,
    /// Second operand.
    pub b: Val,
    /// Third operand.
    pub c: Val,
    /// Fourth operand.
    pub e: Val,
    /// Immediate, see [`crate::Imm`].
    pub imm: i64,
}

impl Inst {
    /// An operation with no operands.
    pub const fn new(op: Op, ty: Type) -> Self {
        Self {
            op,
            ty,
            aux: 0,
            aux2: 0,
            d: Val::NONE,
            d2: Val::NONE,
            a: Val::NONE,
            b: Val::NONE,
            c: Val::NONE,
            e: Val::NONE,
            imm: 0,
        }
    }

    /// The guest program counter in `imm` (operations with [`crate::Imm::Pc`]).
    pub const fn pc(&self) -> u64 {
        self.imm as u64
    }
}

/// A temporary: its type and how many operands read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temp {
    /// Type of its value.
    pub ty: Type,
    /// Number of operand positions that name it, counted while building.
    pub uses: u16,
}

/// A single-entry line of operations. Reused from one translation to the next: clearing it keeps
/// its storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Guest address of the first instruction.
    pub pc: u64,
    /// The translation mode the front end was given (part of the block's key).
    pub flags: u32,
    /// Number of guest instructions.
    pub insns: u32,
    /// One past the highest guest address of an instruction byte in the block.
    pub end: u64,
    /// The operations.
    pub insts: Vec<Inst>,
    /// Constants, by number.
    pub consts: Vec<u64>,
    /// Temporaries, by number.
    pub temps: Vec<Temp>,
}

impl Block {
    /// Empties the block for a translation that starts at `pc`.
    pub fn clear(&mut self, pc: u64, flags: u32) {
        self.pc = pc;
        self.flags = flags;
        self.insns = 0;
        self.end = pc;
        self.insts.clear();
        self.consts.clear();
        self.temps.clear();
    }

    /// The value of a constant operand.
    pub fn const_value(&self, v: Val) -> Option<u64> {
        v.as_const().and_then(|n| self.consts.get(n).copied())
    }
}
