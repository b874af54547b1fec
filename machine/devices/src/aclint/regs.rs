//! Memory map of the CLINT.

use isomorph_softmmu::AccessRules;

/// Bytes of the register block.
pub const LEN: u64 = 0x1_0000;
/// 32- and 64-bit accesses.
pub const RULES: AccessRules = AccessRules::sized(4, 8);
/// Harts that the map has room for.
pub const MAX_HARTS: usize = 4095;

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;

/// A register, of 64 bits but for `Msip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Software interrupt of a hart.
    Msip(usize),
    /// Time compare of a hart.
    MtimeCmp(usize),
    /// The counter.
    Mtime,
}

impl Register {
    /// What lies at `offset`, if anything.
    pub fn at(offset: u64) -> Option<Self> {
        match offset {
            0..MTIMECMP => Some(Self::Msip((offset / 4) as usize)),
            MTIMECMP..MTIME => Some(Self::MtimeCmp(((offset - MTIMECMP) / 8) as usize)),
            MTIME..0xc000 => Some(Self::Mtime),
            _ => None,
        }
    }
}
