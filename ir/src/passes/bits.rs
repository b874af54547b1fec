//! What is known of the bits of a value.
//!
//! A value is 64 bits wide; one of a narrower type is zero-extended, as the interpreter keeps it.

use crate::{Cond, Inst, MemOp, Op, Type, eval};

/// Known bits, and how many of the highest bits are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Bits that are 0.
    pub zero: u64,
    /// Bits that are 1.
    pub one: u64,
    /// The highest `sign` bits (1 to 64) are equal.
    sign: u32,
}

impl Bits {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        zero: 0,
        one: 0,
        sign: 1,
    };

    /// These bits are 0, and those are 1.
    pub const fn of(zero: u64, one: u64) -> Self {
        Self { zero, one, sign: 1 }
    }

    /// Exactly `value`.
    pub const fn exact(value: u64) -> Self {
        Self {
            zero: !value,
            one: value,
            sign: 1,
        }
    }

    /// At most `max`, as an unsigned number.
    pub const fn at_most(max: u64) -> Self {
        Self {
            zero: !(u64::MAX.unbounded_shr(max.leading_zeros())),
            one: 0,
            sign: 1,
        }
    }

    /// The value, if all bits are known.
    pub const fn value(self) -> Option<u64> {
        if self.zero | self.one == u64::MAX {
            Some(self.one)
        } else {
            None
        }
    }

    /// How many of the highest bits are equal.
    pub const fn sign_bits(self) -> u32 {
        let (zeros, ones) = (self.zero.leading_ones(), self.one.leading_ones());
        let known = if zeros > ones { zeros } else { ones };
        if known > self.sign { known } else { self.sign }
    }

    /// The smallest and the largest unsigned number that it may be.
    pub const fn range(self) -> (u64, u64) {
        (self.one, !self.zero)
    }

    /// What is true of both.
    pub const fn meet(self, other: Self) -> Self {
        let (x, y) = (self.sign_bits(), other.sign_bits());
        Self {
            zero: self.zero & other.zero,
            one: self.one & other.one,
            sign: if x < y { x } else { y },
        }
    }

    /// Whether both know the same.
    pub fn says_what(self, other: Self) -> bool {
        (self.zero, self.one, self.sign_bits()) == (other.zero, other.one, other.sign_bits())
    }

    /// The low bits that `ty` holds, zero-extended. Of types that are no integers nothing is known.
    pub fn truncate(self, ty: Type) -> Self {
        if !ty.is_int() {
            return Self::UNKNOWN;
        }
        if ty == Type::I64 {
            return self;
        }
        let mask = eval::zero_extend(ty, u64::MAX);
        Self {
            zero: self.zero | !mask,
            one: self.one & mask,
            sign: 1,
        }
    }

    /// The low bits that `ty` holds, sign-extended to 64.
    pub fn sign_extend(self, ty: Type) -> Self {
        let extra = 64 - ty.bits();
        if self.sign_bits() > extra {
            return self;
        }
        let extend = |x: u64| ((x << extra) as i64 >> extra) as u64;
        Self {
            zero: extend(self.zero),
            one: extend(self.one),
            sign: extra + 1,
        }
    }

    const fn not(self) -> Self {
        Self {
            zero: self.one,
            one: self.zero,
            sign: self.sign,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            zero: self.zero | other.zero,
            one: self.one & other.one,
            sign: self.sign_bits().min(other.sign_bits()),
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn xor(self, other: Self) -> Self {
        Self {
            zero: self.zero & other.zero | self.one & other.one,
            one: self.zero & other.one | self.one & other.zero,
            sign: self.sign_bits().min(other.sign_bits()),
        }
    }

    /// `self + other + carry`: a bit is known where both summands' bits and the carry into it are.
    fn add(self, other: Self, carry: u64) -> Self {
        let most = (!self.zero).wrapping_add(!other.zero).wrapping_add(carry);
        let least = self.one.wrapping_add(other.one).wrapping_add(carry);
        let no_carry = !(most ^ self.zero ^ other.zero);
        let carries = least ^ self.one ^ other.one;
        let known = (self.zero | self.one) & (other.zero | other.one) & (no_carry | carries);
        Self {
            zero: !most & known,
            one: least & known,
            sign: (self.sign_bits().min(other.sign_bits()) - 1).max(1),
        }
    }

    fn mul(self, other: Self) -> Self {
        let low = self.zero.trailing_ones() + other.zero.trailing_ones();
        let high = self.range().1.checked_mul(other.range().1);
        let above = high.map_or(0, |max| Self::at_most(max).zero);
        Self {
            zero: above | !u64::MAX.unbounded_shl(low),
            one: 0,
            sign: 1,
        }
    }

    /// A shift or rotation of type `ty` by a constant.
    fn shift(self, op: Op, ty: Type, count: u32) -> Self {
        match op {
            Op::Shl => Self {
                zero: self.zero << count | !(u64::MAX << count),
                one: self.one << count,
                sign: self.sign_bits().saturating_sub(count).max(1),
            },
            Op::Shr => {
                let narrow = self.truncate(ty);
                Self {
                    zero: narrow.zero >> count | !(u64::MAX >> count),
                    one: narrow.one >> count,
                    sign: 1,
                }
            }
            _ => {
                let wide = self.sign_extend(ty);
                Self {
                    zero: (wide.zero as i64 >> count) as u64,
                    one: (wide.one as i64 >> count) as u64,
                    sign: (wide.sign_bits() + count).min(64),
                }
            }
        }
    }
}

/// Whether `a cond b` holds on type `ty`, if the known bits say so.
pub(crate) fn compare(cond: Cond, ty: Type, a: Bits, b: Bits) -> Option<bool> {
    if !ty.is_int() {
        return None;
    }
    let (a, b) = (a.truncate(ty), b.truncate(ty));
    if let (Some(x), Some(y)) = (a.value(), b.value()) {
        return Some(cond.eval(ty, x, y));
    }
    let ((a_min, a_max), (b_min, b_max)) = (a.range(), b.range());
    let less = if a_max < b_min {
        Some(true)
    } else {
        (a_min >= b_max).then_some(false)
    };
    let greater = if a_min > b_max {
        Some(true)
    } else {
        (a_max <= b_min).then_some(false)
    };
    match cond {
        Cond::Eq | Cond::Ne => {
            let differ = a.zero & b.one | a.one & b.zero != 0;
            differ.then_some(cond == Cond::Ne)
        }
        Cond::TestEq | Cond::TestNe => {
            let (zero, set) = (a.and(b).zero == u64::MAX, a.and(b).one != 0);
            (zero || set).then_some(zero == (cond == Cond::TestEq))
        }
        Cond::LtU => less,
        Cond::GeU => less.map(|v| !v),
        Cond::GtU => greater,
        Cond::LeU => greater.map(|v| !v),
        _ => None,
    }
}

/// What is known of the first result of `inst`, from its operands `a`, `b`, `c`, `e`.
pub(crate) fn result(inst: &Inst, [a, b, c, e]: [Bits; 4]) -> Bits {
    let ty = inst.ty;
    if let Some(bits) = folded(inst, a, b) {
        return bits;
    }
    let wide = match inst.op {
        Op::Mov => a,
        Op::And => a.and(b),
        Op::Or => a.or(b),
        Op::Xor => a.xor(b),
        Op::Andc => a.and(b.not()),
        Op::Add => a.add(b, 0),
        Op::Sub => a.add(b.not(), 1),
        Op::Mul => a.mul(b),
        Op::Shl | Op::Shr | Op::Sar => match b.value() {
            Some(count) => a.shift(inst.op, ty, count as u32 & (ty.bits() - 1)),
            None => Bits::UNKNOWN,
        },
        Op::DivU if b.truncate(ty).range().0 > 0 => Bits::at_most(a.truncate(ty).range().1),
        Op::RemU => Bits::at_most(a.truncate(ty).range().1),
        Op::Sext => extension(inst, a),
        Op::Zext => source(inst).map_or(Bits::UNKNOWN, |from| a.truncate(from)),
        Op::Clz | Op::Ctz | Op::Popcnt => Bits::at_most(64),
        Op::SetCond => {
            let cond = Cond::from_u8(inst.aux).and_then(|cond| compare(cond, ty, a, b));
            return cond.map_or(Bits::at_most(1), |v| Bits::exact(v.into()));
        }
        Op::FCmpEq | Op::FCmpLt | Op::FCmpLe | Op::FCmpLtQ | Op::FCmpLeQ | Op::StoreCond => {
            return Bits::at_most(1);
        }
        Op::Select => match Cond::from_u8(inst.aux).and_then(|cond| compare(cond, ty, a, b)) {
            Some(taken) => [e, c][usize::from(taken)],
            None => c.meet(e),
        },
        Op::Load | Op::AtomicRmw | Op::Cas | Op::LoadReserved => loaded(inst),
        _ => Bits::UNKNOWN,
    };
    wide.truncate(crate::sig::result(inst))
}

/// The result, if the operands are constants.
fn folded(inst: &Inst, a: Bits, b: Bits) -> Option<Bits> {
    let x = a.value()?;
    let one = eval::unary(inst.op, inst.ty, inst.aux, x);
    let two = || eval::binary(inst.op, inst.ty, inst.aux, x, b.value()?);
    one.or_else(two).map(Bits::exact)
}

fn source(inst: &Inst) -> Option<Type> {
    Type::from_u8(inst.aux).filter(|ty| ty.is_int())
}

fn extension(inst: &Inst, a: Bits) -> Bits {
    source(inst).map_or(Bits::UNKNOWN, |from| a.sign_extend(from))
}

fn loaded(inst: &Inst) -> Bits {
    let mem = MemOp(inst.aux);
    let ty = match mem.size_log2() {
        0 => Type::I8,
        1 => Type::I16,
        2 => Type::I32,
        _ => return Bits::UNKNOWN,
    };
    if mem.signed() {
        Bits::UNKNOWN.sign_extend(ty)
    } else {
        Bits::UNKNOWN.truncate(ty)
    }
}
