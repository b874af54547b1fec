//! The types that each operation's operands and results have.
//!
//! The rule of implicit truncation: where an integer is wanted, a wider integer will do. Constants
//! are bits: they serve as integers and as floating-point data.

use crate::builder::result_type;
use crate::{Inst, Op, Type};

/// A set of types, as a mask over [`Type`]'s numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeSet(u8);

impl TypeSet {
    const fn of(types: &[Type]) -> Self {
        let (mut mask, mut i) = (0, 0);
        while i < types.len() {
            mask |= 1 << types[i] as u8;
            i += 1;
        }
        Self(mask)
    }

    pub const fn contains(self, ty: Type) -> bool {
        self.0 >> ty as u8 & 1 != 0
    }
}

const ANY: TypeSet = TypeSet(0x7f);
const INT: TypeSet = TypeSet::of(&[Type::I8, Type::I16, Type::I32, Type::I64]);
const SWAPPABLE: TypeSet = TypeSet::of(&[Type::I16, Type::I32, Type::I64]);
const WORD: TypeSet = TypeSet::of(&[Type::I32, Type::I64]);
const I64: TypeSet = TypeSet::of(&[Type::I64]);
const FLOAT: TypeSet = TypeSet::of(&[Type::F32, Type::F64]);
const CASTABLE: TypeSet = TypeSet::of(&[Type::I32, Type::I64, Type::F32, Type::F64]);

/// The types on which `op` is defined.
pub(crate) fn types(op: Op) -> TypeSet {
    match op {
        Op::Mov | Op::Load | Op::Store => ANY,
        Op::MulHiS | Op::MulHiU | Op::MulHiSU | Op::DivS | Op::DivU | Op::RemS | Op::RemU => WORD,
        Op::DivWideU | Op::DivWideS | Op::Clz | Op::Ctz | Op::Popcnt | Op::Select => WORD,
        Op::Bswap => SWAPPABLE,
        Op::Bitcast => CASTABLE,
        Op::Clmul | Op::ClmulHi | Op::CasPair => I64,
        Op::AtomicRmw | Op::Cas | Op::LoadReserved | Op::StoreCond | Op::ExitIf => INT,
        op if (Op::Add..=Op::SetCond).contains(&op) => INT,
        op if (Op::NanBox..=Op::FNarrow).contains(&op) => FLOAT,
        _ => I64,
    }
}

/// What an operand must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A value of this type, or an integer that truncates to it.
    Type(Type),
    /// A constant of the block.
    Const,
    /// An I64 or nothing.
    Optional,
}

/// What operand number `i` (of `a`, `b`, `c`, `e`, and `imm` as the fifth) of `inst` must be.
///
/// `None` where the operation has no such operand, or where its attribute is no type.
pub(crate) fn operand(inst: &Inst, i: usize) -> Option<Want> {
    let op = inst.op;
    let count = usize::from(op.info().operands) + usize::from(op == Op::CasPair);
    if i >= count {
        return None;
    }
    let ty = match op {
        Op::Call => return Some(Want::Const),
        Op::CallInd if i == 1 => return Some(Want::Const),
        Op::CallHelper => return Some(Want::Optional),
        Op::Load | Op::Store | Op::AtomicRmw | Op::Cas | Op::LoadReserved | Op::StoreCond
            if i == 0 =>
        {
            Type::I64
        }
        Op::Sext | Op::Zext | Op::Bitcast => Type::from_u8(inst.aux)?,
        Op::NanBox | Op::FWiden => Type::F32,
        Op::Unbox | Op::FNarrow => Type::F64,
        Op::FFromI32S | Op::FFromI32U => Type::I32,
        Op::FFromI64S | Op::FFromI64U => Type::I64,
        _ => inst.ty,
    };
    Some(Want::Type(ty))
}

/// The type of the results of `inst`.
pub(crate) fn result(inst: &Inst) -> Type {
    result_type(inst.op, inst.ty)
}

/// Whether a value of type `have` may stand where `want` is read.
pub(crate) fn reads_as(have: Type, want: Type) -> bool {
    have == want || have.is_int() && want.is_int() && have.bits() >= want.bits()
}
