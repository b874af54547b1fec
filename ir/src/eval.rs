//! The value of each pure integer operation: shared by the builder's folding and the interpreter.
//!
//! Operands are read truncated to the operation's type; results are zero-extended to 64 bits.

use crate::{Cond, Op, Type};

/// The low bits of `x` that integer type `ty` holds, zero-extended.
#[inline]
pub(crate) fn zero_extend(ty: Type, x: u64) -> u64 {
    let shift = 64 - ty.bits();
    x << shift >> shift
}

/// The low bits of `x` that integer type `ty` holds, sign-extended.
#[inline]
pub(crate) fn sign_extend(ty: Type, x: u64) -> i64 {
    let shift = 64 - ty.bits();
    (x << shift) as i64 >> shift
}

/// A one-operand operation, or `None` if `op` is not a pure integer one.
#[inline]
pub(crate) fn unary(op: Op, ty: Type, aux: u8, x: u64) -> Option<u64> {
    if !ty.is_int() {
        return None;
    }
    let n = ty.bits();
    let z = zero_extend(ty, x);
    let v = match op {
        Op::Mov => x,
        Op::Sext => sign_extend(int_type(aux)?, x) as u64,
        Op::Zext => zero_extend(int_type(aux)?, x),
        Op::Bswap => z.swap_bytes() >> (64 - n),
        Op::Clz => u64::from(z.leading_zeros() - (64 - n)),
        Op::Ctz => u64::from(z.trailing_zeros().min(n)),
        Op::Popcnt => u64::from(z.count_ones()),
        _ => return None,
    };
    Some(zero_extend(ty, v))
}

fn int_type(aux: u8) -> Option<Type> {
    Type::from_u8(aux).filter(|ty| ty.is_int())
}

/// A two-operand operation, or `None` if `op` is not a pure integer one.
#[inline]
pub(crate) fn binary(op: Op, ty: Type, aux: u8, x: u64, y: u64) -> Option<u64> {
    if !ty.is_int() {
        return None;
    }
    let n = ty.bits();
    let (zx, sx) = (zero_extend(ty, x), sign_extend(ty, x));
    let count = y as u32 & (n - 1);
    let v = match op {
        Op::Add => x.wrapping_add(y),
        Op::Sub => x.wrapping_sub(y),
        Op::Mul => x.wrapping_mul(y),
        Op::And => x & y,
        Op::Or => x | y,
        Op::Xor => x ^ y,
        Op::Andc => x & !y,
        Op::Shl => x << count,
        Op::Shr => zx >> count,
        Op::Sar => (sx >> count) as u64,
        Op::Rotl => zx << count | zx >> 1 >> (n - 1 - count),
        Op::Rotr => zx >> count | zx << 1 << (n - 1 - count),
        Op::SetCond => return Some(u64::from(Cond::from_u8(aux)?.eval(ty, x, y))),
        Op::Clmul => carry_less(zx, zero_extend(ty, y)) as u64,
        Op::ClmulHi => (carry_less(zx, zero_extend(ty, y)) >> n) as u64,
        _ => wide(op, ty, x, y)?,
    };
    Some(zero_extend(ty, v))
}

/// High halves of products, quotients and remainders.
fn wide(op: Op, ty: Type, x: u64, y: u64) -> Option<u64> {
    let n = ty.bits();
    let (zx, zy) = (zero_extend(ty, x), zero_extend(ty, y));
    let (sx, sy) = (sign_extend(ty, x), sign_extend(ty, y));
    Some(match op {
        Op::MulHiS => ((i128::from(sx) * i128::from(sy)) >> n) as u64,
        Op::MulHiU => ((u128::from(zx) * u128::from(zy)) >> n) as u64,
        Op::MulHiSU => ((i128::from(sx) * i128::from(zy)) >> n) as u64,
        Op::DivS if sy == 0 => u64::MAX,
        Op::DivS => sx.wrapping_div(sy) as u64,
        Op::DivU => zx.checked_div(zy).unwrap_or(u64::MAX),
        Op::RemS if sy == 0 => zx,
        Op::RemS => sx.wrapping_rem(sy) as u64,
        Op::RemU => zx.checked_rem(zy).unwrap_or(zx),
        _ => return None,
    })
}

fn carry_less(x: u64, y: u64) -> u128 {
    (0..64)
        .filter(|bit| y >> bit & 1 != 0)
        .fold(0, |sum, bit| sum ^ u128::from(x) << bit)
}

/// Quotient and remainder of the double-width `hi:lo` by `by`, or `None` if `op` is another.
pub(crate) fn div_wide(op: Op, ty: Type, lo: u64, hi: u64, by: u64) -> Option<(u64, u64)> {
    let n = ty.bits();
    let low = zero_extend(ty, lo);
    let result = match op {
        Op::DivWideU => {
            let dividend = u128::from(zero_extend(ty, hi)) << n | u128::from(low);
            let by = u128::from(zero_extend(ty, by));
            dividend
                .checked_div(by)
                .filter(|q| q >> n == 0)
                .map(|q| (q as u64, (dividend % by) as u64))
        }
        Op::DivWideS => {
            let dividend = i128::from(sign_extend(ty, hi)) << n | i128::from(low);
            let by = i128::from(sign_extend(ty, by));
            dividend
                .checked_div(by)
                .filter(|&q| q == i128::from(sign_extend(ty, q as u64)))
                .map(|q| (q as u64, (dividend % by) as u64))
        }
        _ => return None,
    };
    let (quotient, remainder) = result.unwrap_or((u64::MAX, low));
    Some((zero_extend(ty, quotient), zero_extend(ty, remainder)))
}
