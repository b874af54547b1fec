//! IEEE 754 arithmetic in integers: every rounding mode, every flag, bit for bit.
//!
//! Values are bit patterns (`u16`, `u32`, `u64` for binary16, binary32, binary64); the host's
//! floating-point unit is never used. Invariants:
//!
//! - Every NaN result is the canonical quiet NaN of its format: `0x7e00`, `0x7fc0_0000`,
//!   `0x7ff8_0000_0000_0000`. No payload is propagated.
//! - Tininess is detected after rounding (IEEE 754-2019 §7.5, the choice of RISC-V and x86).
//! - Flags are only ever raised, never cleared: the caller owns the sticky state.
//! - Every function is total: no bit pattern panics.
//!
//! Inside, one generic implementation over a format descriptor serves all three formats. A finite
//! operand is taken apart into a sign, an exponent and a 64-bit significand with its leading one
//! at bit 62, which leaves at least ten bits below the result's last place for rounding.
#![forbid(unsafe_code)]

mod api;
mod arith;
mod compare;
mod convert;
mod env;
mod format;
mod round;

pub use api::*;
pub use env::{Flags, InvalidRm, Rm};
