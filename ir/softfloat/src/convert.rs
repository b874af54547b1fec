//! Conversions between formats and integers, and rounding to integral values.

use crate::env::{Flags, Rm};
use crate::format::{B64, Format, Kind, LEAD, Parts, nan_result, signed, unpack};
use crate::round::{norm_round_pack, round_pack};

/// The range of an integer type, as magnitudes: −`neg` to `pos`.
#[derive(Clone, Copy)]
pub(crate) struct IntRange {
    neg: u64,
    pos: u64,
}

pub(crate) const I32: IntRange = IntRange {
    neg: 1 << 31,
    pos: i32::MAX as u64,
};
pub(crate) const U32: IntRange = IntRange {
    neg: 0,
    pos: u32::MAX as u64,
};
pub(crate) const I64: IntRange = IntRange {
    neg: 1 << 63,
    pos: i64::MAX as u64,
};
pub(crate) const U64: IntRange = IntRange {
    neg: 0,
    pos: u64::MAX,
};

/// From one format to another.
#[inline]
pub(crate) fn convert<A: Format, B: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let p = unpack::<A>(a);
    match p.kind {
        Kind::Finite => round_pack::<B>(p.sign, p.exp, p.sig, rm, fl),
        Kind::Zero => signed::<B>(p.sign, 0),
        Kind::Inf => signed::<B>(p.sign, B::INF),
        Kind::QuietNan | Kind::SignalingNan => nan_result::<B>(&[p], fl),
    }
}

/// The magnitude (-1)^`sign` × `magnitude` rounded into a format.
#[inline]
pub(crate) fn from_int<F: Format>(sign: bool, magnitude: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if magnitude == 0 {
        return 0;
    }
    norm_round_pack::<F>(sign, LEAD as i32, magnitude, rm, fl)
}

/// A magnitude below 2^64 rounded to an integer; the second value says whether it is inexact.
#[inline]
fn round_to_int(p: &Parts, rm: Rm) -> (u64, bool) {
    const HALF: u64 = 1 << 63;
    // `frac` holds the bits below the point, from the top down.
    let (int, frac) = match LEAD as i32 - p.exp {
        -1 => (p.sig << 1, 0),
        0 => (p.sig, 0),
        shift @ 1..64 => (p.sig >> shift, p.sig << (64 - shift)),
        _ => (0, 1),
    };
    let up = match rm {
        Rm::Rne => frac > HALF || frac == HALF && int & 1 != 0,
        Rm::Rtz => false,
        Rm::Rdn => p.sign && frac != 0,
        Rm::Rup => !p.sign && frac != 0,
        Rm::Rmm => frac >= HALF,
    };
    (int + u64::from(up), frac != 0)
}

#[inline]
fn negate_if(sign: bool, magnitude: u64) -> u64 {
    if sign {
        magnitude.wrapping_neg()
    } else {
        magnitude
    }
}

/// To an integer, saturating: out of range is NV alone; a NaN gives the largest value.
///
/// The result is in two's complement on 64 bits.
#[inline]
pub(crate) fn to_int<F: Format>(a: u64, range: IntRange, rm: Rm, fl: &mut Flags) -> u64 {
    let p = unpack::<F>(a);
    let negative = p.sign && !p.is_nan();
    match p.kind {
        Kind::Zero => return 0,
        Kind::Finite if p.exp < 64 => {
            let (int, inexact) = round_to_int(&p, rm);
            if int <= if p.sign { range.neg } else { range.pos } {
                if inexact {
                    fl.raise(Flags::NX);
                }
                return negate_if(p.sign, int);
            }
        }
        _ => {}
    }
    fl.raise(Flags::NV);
    if negative {
        negate_if(true, range.neg)
    } else {
        range.pos
    }
}

/// To an integral value in the same format; `exact` raises NX where the value changes.
#[inline]
pub(crate) fn round_to_integral<F: Format>(a: u64, rm: Rm, exact: bool, fl: &mut Flags) -> u64 {
    let p = unpack::<F>(a);
    if p.is_nan() {
        return nan_result::<F>(&[p], fl);
    }
    if !p.is_finite_nonzero() || p.exp >= F::FRAC_BITS as i32 {
        return a;
    }
    let (int, inexact) = round_to_int(&p, rm);
    if inexact && exact {
        fl.raise(Flags::NX);
    }
    if int == 0 {
        return signed::<F>(p.sign, 0);
    }
    from_int::<F>(p.sign, int, rm, fl)
}

/// RISC-V Zfa's `fcvtmod.w.d`: toward zero, modulo 2^32, with the flags of `fcvt.w.d`.
pub(crate) fn to_i32_modular(a: u64, fl: &mut Flags) -> u32 {
    to_int::<B64>(a, I32, Rm::Rtz, fl);
    let p = unpack::<B64>(a);
    if p.kind != Kind::Finite {
        return 0;
    }
    let magnitude = match p.exp {
        0..=61 => p.sig >> (LEAD as i32 - p.exp),
        62..=93 => p.sig << (p.exp - LEAD as i32),
        // Below one, or a multiple of 2^32: the last place is worth at least 2^42.
        _ => 0,
    };
    negate_if(p.sign, magnitude) as u32
}
