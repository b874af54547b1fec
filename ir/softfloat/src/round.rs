//! Rounding an exact (or sticky) working significand into a format.

use crate::env::{Flags, Rm};
use crate::format::{Format, LEAD, signed};

/// Shifts right by `n`, keeping whether anything was lost in the lowest bit ("jamming").
#[inline]
pub(crate) fn shift_right_jam(x: u64, n: u32) -> u64 {
    match n {
        0 => x,
        1..64 => x >> n | u64::from(x << (64 - n) != 0),
        _ => u64::from(x != 0),
    }
}

/// [`shift_right_jam`] on 128 bits.
#[inline]
pub(crate) fn shift_right_jam128(x: u128, n: u32) -> u128 {
    match n {
        0 => x,
        1..128 => x >> n | u128::from(x << (128 - n) != 0),
        _ => u128::from(x != 0),
    }
}

/// What to add below the last place before truncating `bits` bits.
///
/// A tie in [`Rm::Rne`] still needs its last place cleared afterwards.
#[inline]
fn increment(sign: bool, bits: u32, rm: Rm) -> u64 {
    let below = (1u64 << bits) - 1;
    match rm {
        Rm::Rne | Rm::Rmm => 1 << (bits - 1),
        Rm::Rtz => 0,
        Rm::Rdn => below * u64::from(sign),
        Rm::Rup => below * u64::from(!sign),
    }
}

/// Drops the format's rounding bits; also says whether the result is inexact.
#[inline]
fn round_off<F: Format>(sign: bool, sig: u64, rm: Rm) -> (u64, bool) {
    let bits = F::ROUND_BITS;
    let low = sig & ((1 << bits) - 1);
    let mut kept = (sig + increment(sign, bits, rm)) >> bits;
    if rm == Rm::Rne && low == 1 << (bits - 1) {
        kept &= !1;
    }
    (kept, low != 0)
}

/// Rounds `sig` × 2^(`exp` − 62) into the format. The leading one is at bit 62; bit 0 may stand
/// for anything non-zero below it.
#[inline]
pub(crate) fn round_pack<F: Format>(sign: bool, exp: i32, sig: u64, rm: Rm, fl: &mut Flags) -> u64 {
    debug_assert!(sig >> LEAD == 1);
    if exp < F::EMIN {
        return round_tiny::<F>(sign, exp, sig, rm, fl);
    }
    let (kept, inexact) = round_off::<F>(sign, sig, rm);
    // The leading one of `kept` adds 1 to the exponent field; so does a carry out of rounding.
    let field = i64::from(exp) + i64::from(F::BIAS) - 1;
    let magnitude = ((field as u64) << F::FRAC_BITS).wrapping_add(kept);
    if exp > F::BIAS || magnitude >= F::INF {
        return overflow::<F>(sign, rm, fl);
    }
    if inexact {
        fl.raise(Flags::NX);
    }
    signed::<F>(sign, magnitude)
}

/// [`round_pack`] below the smallest normal number.
#[cold]
fn round_tiny<F: Format>(sign: bool, exp: i32, sig: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let shifted = shift_right_jam(sig, (F::EMIN - exp) as u32);
    let (kept, inexact) = round_off::<F>(sign, shifted, rm);
    if inexact {
        // Tiny unless rounding with an unbounded exponent range reaches the smallest normal.
        let (unbounded, _) = round_off::<F>(sign, sig, rm);
        let tiny = exp < F::EMIN - 1 || unbounded >> (F::FRAC_BITS + 1) == 0;
        fl.raise(if tiny {
            Flags::NX | Flags::UF
        } else {
            Flags::NX
        });
    }
    signed::<F>(sign, kept)
}

/// An infinity or the largest finite number, as the mode rounds away from or toward zero.
#[cold]
fn overflow<F: Format>(sign: bool, rm: Rm, fl: &mut Flags) -> u64 {
    fl.raise(Flags::OF | Flags::NX);
    let to_infinity = match rm {
        Rm::Rne | Rm::Rmm => true,
        Rm::Rtz => false,
        Rm::Rdn => sign,
        Rm::Rup => !sign,
    };
    signed::<F>(sign, if to_infinity { F::INF } else { F::INF - 1 })
}

/// [`round_pack`] of a non-zero significand whose leading one may be anywhere.
#[inline]
pub(crate) fn norm_round_pack<F: Format>(
    sign: bool,
    exp: i32,
    sig: u64,
    rm: Rm,
    fl: &mut Flags,
) -> u64 {
    let zeros = sig.leading_zeros();
    if zeros == 0 {
        return round_pack::<F>(sign, exp + 1, shift_right_jam(sig, 1), rm, fl);
    }
    let up = zeros - (63 - LEAD);
    round_pack::<F>(sign, exp - up as i32, sig << up, rm, fl)
}

/// The zero that an exact cancellation gives (IEEE 754-2019 §6.3).
#[inline]
pub(crate) fn cancelled<F: Format>(rm: Rm) -> u64 {
    signed::<F>(rm == Rm::Rdn, 0)
}
