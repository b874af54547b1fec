//! `mstatus` and its view `sstatus` (sections "Machine Status Registers", "Supervisor Status
//! Register").

use super::csr::Inline;
use super::{Privilege, System};

pub(crate) const SIE: u64 = 1 << 1;
pub(crate) const MIE: u64 = 1 << 3;
pub(crate) const SPIE: u64 = 1 << 5;
pub(crate) const MPIE: u64 = 1 << 7;
pub(crate) const SPP_SHIFT: u32 = 8;
pub(crate) const SPP: u64 = 1 << SPP_SHIFT;
pub(crate) const MPP_SHIFT: u32 = 11;
pub(crate) const MPP: u64 = 3 << MPP_SHIFT;
pub(crate) const FS_SHIFT: u32 = 13;
pub(crate) const FS: u64 = 3 << FS_SHIFT;
pub(crate) const MPRV: u64 = 1 << 17;
pub(crate) const SUM: u64 = 1 << 18;
pub(crate) const MXR: u64 = 1 << 19;
pub(crate) const TVM: u64 = 1 << 20;
pub(crate) const TW: u64 = 1 << 21;
pub(crate) const TSR: u64 = 1 << 22;
/// UXL and SXL are 64 bits for good.
const UXL_64: u64 = 2 << 32;
const SXL_64: u64 = 2 << 34;
const UXL: u64 = 3 << 32;
pub(crate) const SD_SHIFT: u32 = 63;
const SD: u64 = 1 << SD_SHIFT;

/// At reset: interrupts off, MPRV off.
pub(crate) const RESET: u64 = UXL_64 | SXL_64;

const S_WRITABLE: u64 = SIE | SPIE | SPP | FS | SUM | MXR;
const S_VISIBLE: u64 = S_WRITABLE | UXL | SD;
const M_WRITABLE: u64 = S_WRITABLE | MIE | MPIE | MPP | MPRV | TVM | TW | TSR;

pub(super) const SSTATUS: Inline = Inline::Status {
    writable: S_WRITABLE,
    visible: S_VISIBLE,
};
pub(super) const MSTATUS: Inline = Inline::Status {
    writable: M_WRITABLE,
    visible: u64::MAX,
};

pub(super) fn mstatus(sys: &System, _: usize) -> u64 {
    let value = sys.mstatus | sys.float_dirty;
    let dirty = value & FS == FS;
    value | if dirty { SD } else { 0 }
}

pub(super) fn sstatus(sys: &System, at: usize) -> u64 {
    mstatus(sys, at) & S_VISIBLE
}

pub(super) fn set_mstatus(sys: &mut System, _: usize, value: u64) {
    write(sys, M_WRITABLE, value);
}

pub(super) fn set_sstatus(sys: &mut System, _: usize, value: u64) {
    write(sys, S_WRITABLE, value);
}

fn write(sys: &mut System, mut mask: u64, value: u64) {
    if Privilege::from_bits(value >> MPP_SHIFT).is_none() {
        mask &= !MPP;
    }
    if !sys.has_float() {
        mask &= !FS;
    }
    let old = sys.mstatus | sys.float_dirty;
    (sys.mstatus, sys.float_dirty) = (old & !mask | value & mask, 0);
}
