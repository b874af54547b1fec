//! Format descriptors, and how a bit pattern is taken apart.

use crate::env::Flags;

/// An IEEE 754 binary interchange format of at most 64 bits.
pub(crate) trait Format: Copy {
    /// Width of the exponent field.
    const EXP_BITS: u32;
    /// Width of the trailing significand field.
    const FRAC_BITS: u32;

    /// The sign's position, which is also the width of everything below it.
    const SIGN_SHIFT: u32 = Self::EXP_BITS + Self::FRAC_BITS;
    /// The sign bit.
    const SIGN: u64 = 1 << Self::SIGN_SHIFT;
    /// The trailing significand field.
    const FRAC_MASK: u64 = (1 << Self::FRAC_BITS) - 1;
    /// The exponent field's value for infinities and NaNs.
    const EXP_SPECIAL: u64 = (1 << Self::EXP_BITS) - 1;
    /// Exponent bias; also the largest exponent of a finite number.
    const BIAS: i32 = (1 << (Self::EXP_BITS - 1)) - 1;
    /// Exponent of the smallest normal number.
    const EMIN: i32 = 1 - Self::BIAS;
    /// Positive infinity.
    const INF: u64 = Self::EXP_SPECIAL << Self::FRAC_BITS;
    /// The quiet bit of a NaN.
    const QUIET: u64 = 1 << (Self::FRAC_BITS - 1);
    /// The canonical quiet NaN.
    const NAN: u64 = Self::INF | Self::QUIET;
    /// Bits of a working significand below the result's last place.
    const ROUND_BITS: u32 = LEAD - Self::FRAC_BITS;
}

/// Position of the leading one in a working significand.
pub(crate) const LEAD: u32 = 62;

/// Descriptor of binary16.
#[derive(Clone, Copy)]
pub(crate) struct B16;
/// Descriptor of binary32.
#[derive(Clone, Copy)]
pub(crate) struct B32;
/// Descriptor of binary64.
#[derive(Clone, Copy)]
pub(crate) struct B64;

impl Format for B16 {
    const EXP_BITS: u32 = 5;
    const FRAC_BITS: u32 = 10;
}

impl Format for B32 {
    const EXP_BITS: u32 = 8;
    const FRAC_BITS: u32 = 23;
}

impl Format for B64 {
    const EXP_BITS: u32 = 11;
    const FRAC_BITS: u32 = 52;
}

/// What kind of datum a bit pattern is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Zero,
    /// Finite and not zero: the only kind whose exponent and significand mean something.
    Finite,
    Inf,
    QuietNan,
    SignalingNan,
}

/// A datum taken apart: (-1)^sign × sig × 2^(exp − 62).
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    pub sign: bool,
    pub kind: Kind,
    pub exp: i32,
    /// Leading one at bit [`LEAD`], for subnormal operands too.
    pub sig: u64,
}

impl Parts {
    pub fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::QuietNan | Kind::SignalingNan)
    }

    pub fn is_signaling(&self) -> bool {
        self.kind == Kind::SignalingNan
    }

    pub fn is_zero(&self) -> bool {
        self.kind == Kind::Zero
    }

    pub fn is_inf(&self) -> bool {
        self.kind == Kind::Inf
    }

    pub fn is_finite_nonzero(&self) -> bool {
        self.kind == Kind::Finite
    }
}

/// Takes a bit pattern apart.
#[inline]
pub(crate) fn unpack<F: Format>(bits: u64) -> Parts {
    let sign = bits & F::SIGN != 0;
    let field = (bits >> F::FRAC_BITS) & F::EXP_SPECIAL;
    let frac = bits & F::FRAC_MASK;
    let (kind, exp, sig) = if field == F::EXP_SPECIAL {
        let kind = match frac {
            0 => Kind::Inf,
            f if f & F::QUIET != 0 => Kind::QuietNan,
            _ => Kind::SignalingNan,
        };
        (kind, 0, 0)
    } else if field != 0 {
        let sig = (frac | 1 << F::FRAC_BITS) << F::ROUND_BITS;
        (Kind::Finite, field as i32 - F::BIAS, sig)
    } else if frac == 0 {
        (Kind::Zero, 0, 0)
    } else {
        let shift = frac.leading_zeros() - (63 - LEAD);
        let up = shift as i32 - F::ROUND_BITS as i32;
        (Kind::Finite, F::EMIN - up, frac << shift)
    };
    Parts {
        sign,
        kind,
        exp,
        sig,
    }
}

#[inline]
pub(crate) fn signed<F: Format>(sign: bool, magnitude: u64) -> u64 {
    magnitude | u64::from(sign) << F::SIGN_SHIFT
}

#[inline]
pub(crate) fn is_nan<F: Format>(bits: u64) -> bool {
    bits & !F::SIGN > F::INF
}

#[inline]
pub(crate) fn is_signaling<F: Format>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

/// The result of an operation without a meaningful result.
#[cold]
pub(crate) fn invalid<F: Format>(fl: &mut Flags) -> u64 {
    fl.raise(Flags::NV);
    F::NAN
}

/// The result of an operation with a NaN among its operands: NV only for a signaling one.
#[cold]
pub(crate) fn nan_result<F: Format>(operands: &[Parts], fl: &mut Flags) -> u64 {
    if operands.iter().any(Parts::is_signaling) {
        fl.raise(Flags::NV);
    }
    F::NAN
}
