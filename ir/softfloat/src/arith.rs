//! Addition, multiplication, fused multiply-add, division and square root.

use crate::env::{Flags, Rm};
use crate::format::{Format, LEAD, Parts, invalid, nan_result, signed, unpack};
use crate::round::{cancelled, norm_round_pack, round_pack, shift_right_jam, shift_right_jam128};

#[inline]
pub(crate) fn add<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let (pa, pb) = (unpack::<F>(a), unpack::<F>(b));
    if pa.is_finite_nonzero() && pb.is_finite_nonzero() {
        return add_finite::<F>(&pa, &pb, rm, fl);
    }
    if pa.is_nan() || pb.is_nan() {
        return nan_result::<F>(&[pa, pb], fl);
    }
    match (pa.is_inf(), pb.is_inf()) {
        (true, true) if pa.sign != pb.sign => invalid::<F>(fl),
        (true, _) => a,
        (_, true) => b,
        _ if pa.is_zero() && pb.is_zero() => {
            if pa.sign == pb.sign {
                a
            } else {
                cancelled::<F>(rm)
            }
        }
        _ if pa.is_zero() => b,
        _ => a,
    }
}

/// `a` − `b`: a NaN's sign is never seen, so the sign of `b` may simply be flipped.
#[inline]
pub(crate) fn sub<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    add::<F>(a, b ^ F::SIGN, rm, fl)
}

fn add_finite<F: Format>(a: &Parts, b: &Parts, rm: Rm, fl: &mut Flags) -> u64 {
    let (big, small) = if (a.exp, a.sig) >= (b.exp, b.sig) {
        (a, b)
    } else {
        (b, a)
    };
    let aligned = shift_right_jam(small.sig, (big.exp - small.exp) as u32);
    if a.sign == b.sign {
        return norm_round_pack::<F>(a.sign, big.exp, big.sig + aligned, rm, fl);
    }
    match big.sig - aligned {
        0 => cancelled::<F>(rm),
        sig => norm_round_pack::<F>(big.sign, big.exp, sig, rm, fl),
    }
}

#[inline]
pub(crate) fn mul<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let (pa, pb) = (unpack::<F>(a), unpack::<F>(b));
    let sign = pa.sign != pb.sign;
    if pa.is_finite_nonzero() && pb.is_finite_nonzero() {
        let product = u128::from(pa.sig) * u128::from(pb.sig);
        let sig = shift_right_jam128(product, LEAD) as u64;
        return norm_round_pack::<F>(sign, pa.exp + pb.exp, sig, rm, fl);
    }
    if pa.is_nan() || pb.is_nan() {
        return nan_result::<F>(&[pa, pb], fl);
    }
    match (pa.is_inf() || pb.is_inf(), pa.is_zero() || pb.is_zero()) {
        (true, true) => invalid::<F>(fl),
        (true, false) => signed::<F>(sign, F::INF),
        _ => signed::<F>(sign, 0),
    }
}

/// `a` × `b` + `c` with one rounding. ∞ × 0 + NaN is invalid even for a quiet NaN.
#[inline]
pub(crate) fn fma<F: Format>(a: u64, b: u64, c: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let (pa, pb, pc) = (unpack::<F>(a), unpack::<F>(b), unpack::<F>(c));
    let sign = pa.sign != pb.sign;
    if pa.is_finite_nonzero() && pb.is_finite_nonzero() && pc.is_finite_nonzero() {
        return fma_finite::<F>(&pa, &pb, &pc, rm, fl);
    }
    let inf_times_zero = pa.is_inf() && pb.is_zero() || pa.is_zero() && pb.is_inf();
    if inf_times_zero {
        return invalid::<F>(fl);
    }
    if pa.is_nan() || pb.is_nan() || pc.is_nan() {
        return nan_result::<F>(&[pa, pb, pc], fl);
    }
    if pa.is_inf() || pb.is_inf() {
        if pc.is_inf() && pc.sign != sign {
            return invalid::<F>(fl);
        }
        return signed::<F>(sign, F::INF);
    }
    if pc.is_inf() {
        return c;
    }
    // Whatever is left adds at least one zero, so only one rounding happens.
    if pa.is_zero() || pb.is_zero() {
        return add::<F>(signed::<F>(sign, 0), c, rm, fl);
    }
    mul::<F>(a, b, rm, fl)
}

/// The sum is formed on 128 bits with the leading one of either term at bit 124 or 125. Terms
/// whose exponents differ by at most one lose nothing in alignment (both end in at least twenty
/// zeros); with a larger difference cancellation costs at most one bit, so jamming is safe.
fn fma_finite<F: Format>(a: &Parts, b: &Parts, c: &Parts, rm: Rm, fl: &mut Flags) -> u64 {
    let sign = a.sign != b.sign;
    let mut exp = a.exp + b.exp;
    let mut product = u128::from(a.sig) * u128::from(b.sig);
    let mut addend = u128::from(c.sig) << LEAD;
    if exp >= c.exp {
        addend = shift_right_jam128(addend, (exp - c.exp) as u32);
    } else {
        product = shift_right_jam128(product, (c.exp - exp) as u32);
        exp = c.exp;
    }
    let (sum_sign, sum) = if sign == c.sign {
        (sign, product + addend)
    } else if product >= addend {
        (sign, product - addend)
    } else {
        (c.sign, addend - product)
    };
    if sum == 0 {
        return cancelled::<F>(rm);
    }
    let top = 127 - sum.leading_zeros();
    let sig = if top > LEAD {
        shift_right_jam128(sum, top - LEAD) as u64
    } else {
        (sum as u64) << (LEAD - top)
    };
    round_pack::<F>(sum_sign, exp + top as i32 - 2 * LEAD as i32, sig, rm, fl)
}

#[inline]
pub(crate) fn div<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let (pa, pb) = (unpack::<F>(a), unpack::<F>(b));
    let sign = pa.sign != pb.sign;
    if pa.is_finite_nonzero() && pb.is_finite_nonzero() {
        let sig = quotient::<F>(pa.sig, pb.sig);
        return norm_round_pack::<F>(sign, pa.exp - pb.exp, sig, rm, fl);
    }
    if pa.is_nan() || pb.is_nan() {
        return nan_result::<F>(&[pa, pb], fl);
    }
    match (pa.is_inf() || pb.is_zero(), pa.is_zero() || pb.is_inf()) {
        (true, true) => invalid::<F>(fl),
        (true, false) => {
            if !pa.is_inf() {
                fl.raise(Flags::DZ);
            }
            signed::<F>(sign, F::INF)
        }
        _ => signed::<F>(sign, 0),
    }
}

/// The quotient of two significands, jammed, with its leading one at bit 61 or 62.
///
/// The narrow formats have enough room for a 64-bit division.
#[inline]
fn quotient<F: Format>(a: u64, b: u64) -> u64 {
    if F::FRAC_BITS <= 23 {
        let divisor = b >> F::ROUND_BITS;
        (a / divisor) << F::FRAC_BITS | u64::from(!a.is_multiple_of(divisor))
    } else {
        let (dividend, divisor) = (u128::from(a) << LEAD, u128::from(b));
        let q = dividend / divisor;
        q as u64 | u64::from(q * divisor != dividend)
    }
}

#[inline]
pub(crate) fn sqrt<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let p = unpack::<F>(a);
    if p.is_nan() {
        return nan_result::<F>(&[p], fl);
    }
    if p.is_zero() {
        return a;
    }
    if p.sign {
        return invalid::<F>(fl);
    }
    if p.is_inf() {
        return a;
    }
    round_pack::<F>(false, p.exp >> 1, root::<F>(p.sig, p.exp & 1 != 0), rm, fl)
}

/// The square root of a significand, doubled first where `odd`; jammed, leading one at bit 62.
#[inline]
fn root<F: Format>(sig: u64, odd: bool) -> u64 {
    if F::FRAC_BITS <= 23 {
        let radicand = sig >> (2 - u32::from(odd));
        let r = radicand.isqrt();
        r << 32 | u64::from(r * r != radicand)
    } else {
        let radicand = u128::from(sig) << (LEAD + u32::from(odd));
        let r = radicand.isqrt();
        r as u64 | u64::from(r * r != radicand)
    }
}
