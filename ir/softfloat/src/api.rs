//! The public functions: the generic implementation, named once per format.

use crate::env::{Flags, Rm};
use crate::format::{B16, B32, B64};
use crate::{arith, compare, convert};

/// Arithmetic with one rounding: `name(operands, rm, flags) -> bits`.
macro_rules! rounded {
    ($($(#[$doc:meta])* $op:ident($($x:ident),+): $f16:ident $f32:ident $f64:ident;)+) => {$(
        rounded!(@one $(#[$doc])* $op($($x),+) $f16 u16 B16);
        rounded!(@one $(#[$doc])* $op($($x),+) $f32 u32 B32);
        rounded!(@one $(#[$doc])* $op($($x),+) $f64 u64 B64);
    )+};
    (@one $(#[$doc:meta])* $op:ident($($x:ident),+) $name:ident $bits:ident $format:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $name($($x: $bits,)+ rm: Rm, fl: &mut Flags) -> $bits {
            arith::$op::<$format>($(u64::from($x),)+ rm, fl) as $bits
        }
    };
}

rounded! {
    /// `a` + `b`.
    add(a, b): f16_add f32_add f64_add;
    /// `a` − `b`.
    sub(a, b): f16_sub f32_sub f64_sub;
    /// `a` × `b`.
    mul(a, b): f16_mul f32_mul f64_mul;
    /// `a` ÷ `b`; a finite number divided by zero raises DZ.
    div(a, b): f16_div f32_div f64_div;
    /// √`a`.
    sqrt(a): f16_sqrt f32_sqrt f64_sqrt;
    /// `a` × `b` + `c`, rounded once. ∞ × 0 + quiet NaN raises NV.
    fma(a, b, c): f16_fma f32_fma f64_fma;
}

/// Relations: `name(a, b, flags) -> bool`, false where unordered.
macro_rules! relations {
    ($($(#[$doc:meta])* $op:ident $signaling:literal: $f16:ident $f32:ident $f64:ident;)+) => {$(
        relations!(@one $(#[$doc])* $op $signaling $f16 u16 B16);
        relations!(@one $(#[$doc])* $op $signaling $f32 u32 B32);
        relations!(@one $(#[$doc])* $op $signaling $f64 u64 B64);
    )+};
    (@one $(#[$doc:meta])* $op:ident $signaling:literal $name:ident $bits:ident $f:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(a: $bits, b: $bits, fl: &mut Flags) -> bool {
            compare::$op::<$f>(u64::from(a), u64::from(b), $signaling, fl)
        }
    };
}

relations! {
    /// `a` = `b`; NV for a signaling NaN only.
    eq false: f16_eq_quiet f32_eq_quiet f64_eq_quiet;
    /// `a` = `b`; NV for any NaN.
    eq true: f16_eq_signaling f32_eq_signaling f64_eq_signaling;
    /// `a` < `b`; NV for a signaling NaN only.
    lt false: f16_lt_quiet f32_lt_quiet f64_lt_quiet;
    /// `a` < `b`; NV for any NaN.
    lt true: f16_lt_signaling f32_lt_signaling f64_lt_signaling;
    /// `a` ≤ `b`; NV for a signaling NaN only.
    le false: f16_le_quiet f32_le_quiet f64_le_quiet;
    /// `a` ≤ `b`; NV for any NaN.
    le true: f16_le_signaling f32_le_signaling f64_le_signaling;
}

/// Minima and maxima (IEEE 754-2019 §9.6): `name(a, b, flags) -> bits`.
macro_rules! extrema {
    ($($(#[$doc:meta])* $op:ident $greater:literal: $f16:ident $f32:ident $f64:ident;)+) => {$(
        extrema!(@one $(#[$doc])* $op $greater $f16 u16 B16);
        extrema!(@one $(#[$doc])* $op $greater $f32 u32 B32);
        extrema!(@one $(#[$doc])* $op $greater $f64 u64 B64);
    )+};
    (@one $(#[$doc:meta])* $op:ident $greater:literal $name:ident $bits:ident $f:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(a: $bits, b: $bits, fl: &mut Flags) -> $bits {
            compare::$op::<$f>(u64::from(a), u64::from(b), $greater, fl) as $bits
        }
    };
}

extrema! {
    /// minimumNumber: a number wins over a NaN, −0 < +0; a signaling NaN raises NV.
    min_max_number false: f16_min_number f32_min_number f64_min_number;
    /// maximumNumber: a number wins over a NaN, −0 < +0; a signaling NaN raises NV.
    min_max_number true: f16_max_number f32_max_number f64_max_number;
    /// minimum: a NaN wins over a number, −0 < +0; a signaling NaN raises NV.
    min_max false: f16_min f32_min f64_min;
    /// maximum: a NaN wins over a number, −0 < +0; a signaling NaN raises NV.
    min_max true: f16_max f32_max f64_max;
}

/// Functions of one format alone.
macro_rules! unary {
    ($($bits:ident $format:ident: $classify:ident $round:ident;)+) => {$(
        /// RISC-V's `fclass` mask: bit 0 −∞, 1 negative normal, 2 negative subnormal, 3 −0,
        /// 4 +0, 5 positive subnormal, 6 positive normal, 7 +∞, 8 signaling NaN, 9 quiet NaN.
        #[inline]
        pub fn $classify(a: $bits) -> u32 {
            compare::classify::<$format>(u64::from(a))
        }

        /// Rounds to an integral value in the same format; `exact` raises NX where the value
        /// changes.
        #[inline]
        pub fn $round(a: $bits, rm: Rm, exact: bool, fl: &mut Flags) -> $bits {
            convert::round_to_integral::<$format>(u64::from(a), rm, exact, fl) as $bits
        }
    )+};
}

unary! {
    u16 B16: f16_classify f16_round_to_integral;
    u32 B32: f32_classify f32_round_to_integral;
    u64 B64: f64_classify f64_round_to_integral;
}

/// Conversions between formats. A widening one is exact: its mode does not matter.
macro_rules! formats {
    ($($name:ident: $a:ident $from:ident -> $b:ident $to:ident;)+) => {$(
        /// Converts between formats; a NaN becomes canonical.
        #[inline]
        pub fn $name(a: $a, rm: Rm, fl: &mut Flags) -> $b {
            convert::convert::<$from, $to>(u64::from(a), rm, fl) as $b
        }
    )+};
}

formats! {
    f16_to_f32: u16 B16 -> u32 B32;
    f16_to_f64: u16 B16 -> u64 B64;
    f32_to_f16: u32 B32 -> u16 B16;
    f32_to_f64: u32 B32 -> u64 B64;
    f64_to_f16: u64 B64 -> u16 B16;
    f64_to_f32: u64 B64 -> u32 B32;
}

/// Conversions from and to one integer type.
macro_rules! integers {
    ($($bits:ident $format:ident $int:ident $range:ident: $to:ident $from:ident;)+) => {$(
        /// Converts to an integer: saturates with NV alone where out of range, a NaN gives the
        /// largest value; NX where rounded.
        #[inline]
        pub fn $to(a: $bits, rm: Rm, fl: &mut Flags) -> $int {
            convert::to_int::<$format>(u64::from(a), convert::$range, rm, fl) as $int
        }

        /// Converts from an integer.
        #[inline]
        #[allow(unused_comparisons)] // one text serves the unsigned types too
        pub fn $from(a: $int, rm: Rm, fl: &mut Flags) -> $bits {
            let wide = a as i64;
            let (sign, magnitude) =
                if a < 0 { (true, wide.unsigned_abs()) } else { (false, a as u64) };
            convert::from_int::<$format>(sign, magnitude, rm, fl) as $bits
        }
    )+};
}

integers! {
    u16 B16 i32 I32: f16_to_i32 i32_to_f16;
    u16 B16 u32 U32: f16_to_u32 u32_to_f16;
    u16 B16 i64 I64: f16_to_i64 i64_to_f16;
    u16 B16 u64 U64: f16_to_u64 u64_to_f16;
    u32 B32 i32 I32: f32_to_i32 i32_to_f32;
    u32 B32 u32 U32: f32_to_u32 u32_to_f32;
    u32 B32 i64 I64: f32_to_i64 i64_to_f32;
    u32 B32 u64 U64: f32_to_u64 u64_to_f32;
    u64 B64 i32 I32: f64_to_i32 i32_to_f64;
    u64 B64 u32 U32: f64_to_u32 u32_to_f64;
    u64 B64 i64 I64: f64_to_i64 i64_to_f64;
    u64 B64 u64 U64: f64_to_u64 u64_to_f64;
}

/// RISC-V Zfa's `fcvtmod.w.d`: truncates modulo 2^32, with the flags of a saturating conversion;
/// NaNs and infinities give zero.
#[inline]
pub fn fcvtmod_w_d(a: u64, fl: &mut Flags) -> u32 {
    convert::to_i32_modular(a, fl)
}
