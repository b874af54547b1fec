//! Comparison, minimum and maximum, classification.

use crate::env::Flags;
use crate::format::{Format, is_nan, is_signaling};

/// Maps non-NaN data to integers of the same order; −0 maps below +0.
#[inline]
fn key<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & !F::SIGN) as i64;
    if bits & F::SIGN != 0 {
        !magnitude
    } else {
        magnitude
    }
}

#[inline]
fn both_zero<F: Format>(a: u64, b: u64) -> bool {
    (a | b) & !F::SIGN == 0
}

/// Whether the operands are unordered, raising NV for a signaling NaN, or for any NaN where
/// `signaling`.
#[inline]
fn unordered<F: Format>(a: u64, b: u64, signaling: bool, fl: &mut Flags) -> bool {
    let nan = is_nan::<F>(a) || is_nan::<F>(b);
    if nan && (signaling || is_signaling::<F>(a) || is_signaling::<F>(b)) {
        fl.raise(Flags::NV);
    }
    nan
}

#[inline]
pub(crate) fn eq<F: Format>(a: u64, b: u64, signaling: bool, fl: &mut Flags) -> bool {
    !unordered::<F>(a, b, signaling, fl) && (a == b || both_zero::<F>(a, b))
}

#[inline]
pub(crate) fn lt<F: Format>(a: u64, b: u64, signaling: bool, fl: &mut Flags) -> bool {
    let ordered = !unordered::<F>(a, b, signaling, fl);
    ordered && key::<F>(a) < key::<F>(b) && !both_zero::<F>(a, b)
}

#[inline]
pub(crate) fn le<F: Format>(a: u64, b: u64, signaling: bool, fl: &mut Flags) -> bool {
    let ordered = !unordered::<F>(a, b, signaling, fl);
    ordered && (key::<F>(a) <= key::<F>(b) || both_zero::<F>(a, b))
}

/// The lesser operand (or the greater, where `greater`), neither of them a NaN.
#[inline]
fn pick<F: Format>(a: u64, b: u64, greater: bool) -> u64 {
    if (key::<F>(a) <= key::<F>(b)) != greater {
        a
    } else {
        b
    }
}

/// minimumNumber or maximumNumber (IEEE 754-2019 §9.6): a number wins over a NaN.
#[inline]
pub(crate) fn min_max_number<F: Format>(a: u64, b: u64, greater: bool, fl: &mut Flags) -> u64 {
    if !unordered::<F>(a, b, false, fl) {
        return pick::<F>(a, b, greater);
    }
    match (is_nan::<F>(a), is_nan::<F>(b)) {
        (true, true) => F::NAN,
        (true, false) => b,
        _ => a,
    }
}

/// minimum or maximum (IEEE 754-2019 §9.6): a NaN wins over a number.
#[inline]
pub(crate) fn min_max<F: Format>(a: u64, b: u64, greater: bool, fl: &mut Flags) -> u64 {
    if unordered::<F>(a, b, false, fl) {
        F::NAN
    } else {
        pick::<F>(a, b, greater)
    }
}

/// RISC-V's `fclass` mask ("FCLASS", unprivileged ISA, "F" chapter): exactly one of ten bits.
#[inline]
pub(crate) fn classify<F: Format>(a: u64) -> u32 {
    let magnitude = a & !F::SIGN;
    if magnitude > F::INF {
        return if is_signaling::<F>(a) { 1 << 8 } else { 1 << 9 };
    }
    let positive = match magnitude {
        0 => 4,
        m if m == F::INF => 7,
        m if m <= F::FRAC_MASK => 5,
        _ => 6,
    };
    if a & F::SIGN != 0 {
        1 << (7 - positive)
    } else {
        1 << positive
    }
}
