//! Memory map of the PLIC (specification, chapter 3).

use isomorph_softmmu::AccessRules;

/// Bytes of the register block.
pub const LEN: u64 = 0x60_0000;
/// Registers are 32 bits wide.
pub const RULES: AccessRules = AccessRules::sized(4, 4);
/// Most interrupt sources, without source 0, which does not exist.
pub const MAX_SOURCES: u32 = 1023;

pub const PENDING: u64 = 0x1000;
pub const ENABLE: u64 = 0x2000;
pub const ENABLE_STRIDE: u64 = 0x80;
pub const CONTEXT: u64 = 0x20_0000;
pub const CONTEXT_STRIDE: u64 = 0x1000;

/// The priorities that are implemented (WARL).
pub const PRIORITY_MASK: u32 = 7;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Priority of a source.
    Priority(usize),
    /// 32 pending bits, by number of the word.
    Pending(usize),
    /// 32 enable bits of a context: context, number of the word.
    Enable(usize, usize),
    /// Priority threshold of a context.
    Threshold(usize),
    /// Claim (read) and complete (write) of a context.
    Claim(usize),
}

impl Register {
    /// What lies at `offset`, if anything.
    pub fn at(offset: u64) -> Option<Self> {
        let word = |start: u64| ((offset - start) / 4) as usize;
        Some(match offset {
            0..PENDING => Self::Priority(word(0)),
            PENDING..ENABLE => Self::Pending(word(PENDING)),
            ENABLE..CONTEXT => {
                let context = (offset - ENABLE) / ENABLE_STRIDE;
                let start = ENABLE + context * ENABLE_STRIDE;
                Self::Enable(context as usize, word(start))
            }
            CONTEXT..LEN => {
                let context = ((offset - CONTEXT) / CONTEXT_STRIDE) as usize;
                match (offset - CONTEXT) % CONTEXT_STRIDE {
                    0 => Self::Threshold(context),
                    4 => Self::Claim(context),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}
