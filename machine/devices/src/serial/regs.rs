//! Registers of the 16550, by the data sheet's names.

use isomorph_softmmu::AccessRules;

/// Bytes of the register block.
pub const LEN: u64 = 8;
/// An access of any size reads or writes the one register at its address.
pub const RULES: AccessRules = AccessRules {
    min: 1,
    max: 8,
    unaligned: true,
    unit: 8,
};

/// Characters that each FIFO holds.
pub const FIFO: usize = 16;

pub const RBR_THR: u64 = 0;
pub const IER: u64 = 1;
pub const IIR_FCR: u64 = 2;
pub const LCR: u64 = 3;
pub const MCR: u64 = 4;
pub const LSR: u64 = 5;
pub const MSR: u64 = 6;
pub const SCR: u64 = 7;

pub const IER_RX: u8 = 1;
pub const IER_THRE: u8 = 1 << 1;
pub const IER_LINE: u8 = 1 << 2;
pub const IER_MODEM: u8 = 1 << 3;

pub const IIR_NONE: u8 = 1;
pub const IIR_MODEM: u8 = 0;
pub const IIR_THRE: u8 = 2;
pub const IIR_RX: u8 = 4;
pub const IIR_LINE: u8 = 6;
pub const IIR_TIMEOUT: u8 = 0xc;
pub const IIR_FIFO: u8 = 0xc0;

pub const FCR_ENABLE: u8 = 1;
pub const FCR_CLEAR_RX: u8 = 1 << 1;
pub const FCR_CLEAR_TX: u8 = 1 << 2;

pub const LCR_BREAK: u8 = 1 << 6;
pub const LCR_DLAB: u8 = 1 << 7;

pub const MCR_DTR: u8 = 1;
pub const MCR_RTS: u8 = 1 << 1;
pub const MCR_OUT1: u8 = 1 << 2;
pub const MCR_OUT2: u8 = 1 << 3;
pub const MCR_LOOP: u8 = 1 << 4;

pub const LSR_DR: u8 = 1;
pub const LSR_OE: u8 = 1 << 1;
pub const LSR_BI: u8 = 1 << 4;
pub const LSR_THRE: u8 = 1 << 5;
pub const LSR_TEMT: u8 = 1 << 6;
pub const LSR_ERRORS: u8 = 0x1e;

pub const MSR_TERI: u8 = 1 << 2;
pub const MSR_CTS: u8 = 1 << 4;
pub const MSR_DSR: u8 = 1 << 5;
pub const MSR_RI: u8 = 1 << 6;
pub const MSR_DCD: u8 = 1 << 7;
