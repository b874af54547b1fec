//! The translation mode of a machine's code: all of the state that translated code relies on.
//!
//! The lowest two bits are the rounding mode's, as for a program's code.
//!
//! `mstatus.FS` is part of the mode only as far as it is off or not, and not in supervisor mode:
//! there floating-point instructions are few and look at it, so that a kernel's trap handler can
//! switch it off and on without a change of mode.

use super::{HartState, Privilege, envcfg, status, walk};
use crate::translate;

/// A whole machine's code, not a program's.
pub const MACHINE: u32 = 1 << 2;
const PRIVILEGE_SHIFT: u32 = 3;
const FS_SHIFT: u32 = 5;
/// Floating-point state: one of [`FS_OFF`], [`FS_ON`], [`FS_CHECKED`].
pub const FS: u32 = 3 << FS_SHIFT;
/// Floating-point instructions are illegal.
pub const FS_OFF: u32 = 0;
/// Floating-point instructions are legal.
pub const FS_ON: u32 = 1 << FS_SHIFT;
/// Each floating-point instruction looks whether it is legal.
pub const FS_CHECKED: u32 = 2 << FS_SHIFT;
/// From this bit on: `cycle`, `time`, `instret` may be read.
pub(crate) const COUNTERS_SHIFT: u32 = 7;
/// `cbo.inval` is allowed.
pub(crate) const CBI: u32 = 1 << 10;
/// `cbo.clean` and `cbo.flush` are allowed.
pub(crate) const CBCF: u32 = 1 << 11;
/// `cbo.zero` is allowed.
pub(crate) const CBZ: u32 = 1 << 12;
/// Addresses of loads and stores are translated.
pub const DATA_PAGED: u32 = 1 << 13;
/// Addresses of instructions are translated.
pub const CODE_PAGED: u32 = 1 << 14;

/// The privilege of code of this mode.
pub const fn privilege(mode: u32) -> Privilege {
    match mode >> PRIVILEGE_SHIFT & 3 {
        0 => Privilege::User,
        1 => Privilege::Supervisor,
        _ => Privilege::Machine,
    }
}

/// The mode that a hart is in.
pub(crate) fn of(state: &HartState) -> u32 {
    let sys = &state.sys;
    let fs = match (sys.privilege, sys.mstatus & status::FS) {
        (Privilege::Supervisor, _) => FS_CHECKED,
        (_, 0) => FS_OFF,
        _ => FS_ON,
    };
    let environment = sys.environment();
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    translate::mode_of(state.regs.frm)
        | MACHINE
        | (sys.privilege as u32) << PRIVILEGE_SHIFT
        | fs
        | (sys.counters_enabled() as u32) << COUNTERS_SHIFT
        | flag(environment & envcfg::CBIE != 0, CBI)
        | flag(environment & envcfg::CBCFE != 0, CBCF)
        | flag(environment & envcfg::CBZE != 0, CBZ)
        | flag(walk::is_paged(sys, sys.data_privilege()), DATA_PAGED)
        | flag(walk::is_paged(sys, sys.privilege), CODE_PAGED)
}
