//! The floating-point environment: rounding modes and exception flags.

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

/// A rounding-direction attribute (IEEE 754-2019 §4.3), numbered as RISC-V's `frm` field.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rm {
    /// To nearest, ties to even.
    #[default]
    Rne = 0,
    /// Toward zero.
    Rtz = 1,
    /// Toward negative infinity.
    Rdn = 2,
    /// Toward positive infinity.
    Rup = 3,
    /// To nearest, ties away from zero.
    Rmm = 4,
}

impl Rm {
    /// Every rounding mode, in the order of its number.
    pub const ALL: [Rm; 5] = [Rm::Rne, Rm::Rtz, Rm::Rdn, Rm::Rup, Rm::Rmm];
}

/// A number that names no rounding mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRm(pub u8);

impl fmt::Display for InvalidRm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a rounding mode (0 to 4 are)", self.0)
    }
}

impl core::error::Error for InvalidRm {}

impl TryFrom<u8> for Rm {
    type Error = InvalidRm;

    fn try_from(n: u8) -> Result<Rm, InvalidRm> {
        Rm::ALL.get(usize::from(n)).copied().ok_or(InvalidRm(n))
    }
}

/// A set of exception flags (IEEE 754-2019 §7), in the bit order of RISC-V's `fflags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// Inexact: the result was rounded.
    pub const NX: Flags = Flags(1);
    /// Underflow: the result is tiny (after rounding) and inexact.
    pub const UF: Flags = Flags(1 << 1);
    /// Overflow: the rounded result exceeds the largest finite number.
    pub const OF: Flags = Flags(1 << 2);
    /// Divide by zero: an exact infinity from finite operands.
    pub const DZ: Flags = Flags(1 << 3);
    /// Invalid operation: there is no useful definable result.
    pub const NV: Flags = Flags(1 << 4);

    /// Adds `other` to the set.
    #[inline]
    pub fn raise(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// Whether every flag of `other` is in the set.
    #[inline]
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.raise(other);
    }
}
