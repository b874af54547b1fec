//! Functions that translated code calls for what the IR has no operation for.

use isomorph_frontend::Helper;
use isomorph_ir::Rm as IrRm;
use isomorph_softfloat::{self as soft, Flags, Rm};

use crate::state::State;

/// Index into [`HELPERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum HelperId {
    /// `fcvt.s.h`
    HalfToSingle,
    /// `fcvt.h.s`
    SingleToHalf,
    /// `fcvt.d.h`
    HalfToDouble,
    /// `fcvt.h.d`
    DoubleToHalf,
    /// `fcvtmod.w.d`
    DoubleToWordModular,
    /// The first of [`crate::system`]'s, which only machines have: an access to a control and
    /// status register.
    Csr,
    /// Notes the raw counters for the access that follows.
    NoteCounters,
    /// Whether `wfi` is allowed.
    Wfi,
    /// `sfence.vma` and `sinval.vma`
    FenceVma,
}

/// The helpers of a program.
pub(crate) static HELPERS: &[Helper<State>] = &float_helpers();

/// In the order of [`HelperId`]. Arguments: numbers of rd and rs1, rounding mode (an
/// [`isomorph_ir::Rm`] number). Each writes its destination; the answer is the flags to raise.
pub(crate) const fn float_helpers<S: AsMut<State>>() -> [Helper<S>; 5] {
    [
        Helper {
            name: "fcvt.s.h",
            func: half_to_single,
        },
        Helper {
            name: "fcvt.h.s",
            func: single_to_half,
        },
        Helper {
            name: "fcvt.d.h",
            func: half_to_double,
        },
        Helper {
            name: "fcvt.h.d",
            func: double_to_half,
        },
        Helper {
            name: "fcvtmod.w.d",
            func: double_to_word_modular,
        },
    ]
}

/// The rounding mode; the dynamic one is only asked for while `frm` is one of the host's four.
fn rounding(state: &State, rm: u64) -> Rm {
    let number = if rm == IrRm::Dyn as u64 {
        state.frm
    } else {
        rm
    };
    Rm::try_from(number as u8).unwrap_or_default()
}

fn register(n: u64) -> usize {
    (n & 31) as usize
}

/// A half-precision operand: what is not boxed is the canonical NaN.
fn unbox_half(state: &State, n: u64) -> u16 {
    let bits = state.f[register(n)];
    if bits >> 16 == 0xffff_ffff_ffff {
        bits as u16
    } else {
        0x7e00
    }
}

fn unbox_single(state: &State, n: u64) -> u32 {
    let bits = state.f[register(n)];
    if bits >> 32 == 0xffff_ffff {
        bits as u32
    } else {
        0x7fc0_0000
    }
}

fn set_half(state: &mut State, n: u64, bits: u16) {
    state.f[register(n)] = !0xffff | u64::from(bits);
}

extern "C" fn half_to_single<S: AsMut<State>>(state: &mut S, rd: u64, rs1: u64, rm: u64) -> u64 {
    let state = state.as_mut();
    let mut flags = Flags::default();
    let value = soft::f16_to_f32(unbox_half(state, rs1), rounding(state, rm), &mut flags);
    state.f[register(rd)] = !0xffff_ffff | u64::from(value);
    u64::from(flags.0)
}

extern "C" fn single_to_half<S: AsMut<State>>(state: &mut S, rd: u64, rs1: u64, rm: u64) -> u64 {
    let state = state.as_mut();
    let mut flags = Flags::default();
    let value = soft::f32_to_f16(unbox_single(state, rs1), rounding(state, rm), &mut flags);
    set_half(state, rd, value);
    u64::from(flags.0)
}

extern "C" fn half_to_double<S: AsMut<State>>(state: &mut S, rd: u64, rs1: u64, rm: u64) -> u64 {
    let state = state.as_mut();
    let mut flags = Flags::default();
    let value = soft::f16_to_f64(unbox_half(state, rs1), rounding(state, rm), &mut flags);
    state.f[register(rd)] = value;
    u64::from(flags.0)
}

extern "C" fn double_to_half<S: AsMut<State>>(state: &mut S, rd: u64, rs1: u64, rm: u64) -> u64 {
    let state = state.as_mut();
    let mut flags = Flags::default();
    let bits = state.f[register(rs1)];
    let value = soft::f64_to_f16(bits, rounding(state, rm), &mut flags);
    set_half(state, rd, value);
    u64::from(flags.0)
}

extern "C" fn double_to_word_modular<S: AsMut<State>>(
    state: &mut S,
    rd: u64,
    rs1: u64,
    _: u64,
) -> u64 {
    let state = state.as_mut();
    let mut flags = Flags::default();
    let value = soft::fcvtmod_w_d(state.f[register(rs1)], &mut flags);
    if register(rd) != 0 {
        state.x[register(rd)] = value as i32 as u64;
    }
    u64::from(flags.0)
}
