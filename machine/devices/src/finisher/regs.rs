//! The one register of the finisher.

use isomorph_softmmu::AccessRules;

/// Bytes of the register block.
pub const LEN: u64 = 0x1000;
/// 16- and 32-bit accesses.
pub const RULES: AccessRules = AccessRules::sized(2, 4);

/// In the low half of register 0: the guest failed; the high half is its exit status.
pub const FAIL: u64 = 0x3333;
/// The guest powers off, all is well.
pub const PASS: u64 = 0x5555;
/// The guest wants a reset.
pub const RESET: u64 = 0x7777;
