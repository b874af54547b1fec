//! Registers of the Goldfish timer.

use isomorph_softmmu::AccessRules;

/// Bytes of the register block.
pub const LEN: u64 = 0x24;
/// Registers are 32 bits wide.
pub const RULES: AccessRules = AccessRules::sized(4, 4);

pub const TIME_LOW: u64 = 0x00;
pub const TIME_HIGH: u64 = 0x04;
pub const ALARM_LOW: u64 = 0x08;
pub const ALARM_HIGH: u64 = 0x0c;
pub const IRQ_ENABLED: u64 = 0x10;
pub const CLEAR_ALARM: u64 = 0x14;
pub const ALARM_STATUS: u64 = 0x18;
pub const CLEAR_INTERRUPT: u64 = 0x1c;
