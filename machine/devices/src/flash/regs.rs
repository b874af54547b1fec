//! Commands, status and the query table.

use isomorph_softmmu::AccessRules;

/// Accesses of 1 to 4 bytes.
pub const RULES: AccessRules = AccessRules::sized(1, 4);
/// Bytes of an erase block of the bank (two chips of 128 KiB).
pub const BLOCK: u64 = 256 << 10;
/// Bytes of a bank's write buffer.
pub const BUFFER: u64 = 1 << (BUFFER_LOG2 + 1);
/// Bytes of one chip's write buffer, as a power of two.
const BUFFER_LOG2: u32 = 11;

pub const READ_ID: u8 = 0x90;
pub const QUERY: u8 = 0x98;
pub const READ_STATUS: u8 = 0x70;
pub const CLEAR_STATUS: u8 = 0x50;
pub const ERASE: u8 = 0x20;
pub const PROGRAM: u8 = 0x40;
pub const PROGRAM_ALTERNATE: u8 = 0x10;
pub const WRITE_BUFFER: u8 = 0xe8;
pub const LOCK_SETUP: u8 = 0x60;
pub const CONFIRM: u8 = 0xd0;

pub const STATUS_READY: u8 = 1 << 7;
pub const STATUS_ERASE_ERROR: u8 = 1 << 5;
pub const STATUS_PROGRAM_ERROR: u8 = 1 << 4;

/// Intel's code as a manufacturer, and a StrataFlash's as a device.
pub const IDS: [u8; 2] = [0x89, 0x18];

/// The query table of one chip of a bank of `bytes`, from word 0x10 on.
pub fn query(bytes: u64) -> Vec<u8> {
    let blocks = (bytes / BLOCK).saturating_sub(1);
    let chip_block = BLOCK / 2 / 256;
    let size = (bytes / 2).checked_ilog2().unwrap_or(0) as u8;
    let [blocks_low, blocks_high, ..] = blocks.to_le_bytes();
    let [block_low, block_high, ..] = chip_block.to_le_bytes();
    let mut table = Vec::from(*b"QRY");
    // Primary command set 1, its table at 0x31; no alternate one.
    table.extend([1, 0, 0x31, 0, 0, 0, 0, 0]);
    // Supply 4.5 to 5.5 V, no programming voltage.
    table.extend([0x45, 0x55, 0, 0]);
    // Typical times (powers of two): program, buffer, erase; none for the chip. Then the longest.
    table.extend([7, 7, 10, 0, 4, 4, 4, 0]);
    // Size, interface x16, write buffer, one erase region.
    table.extend([size, 1, 0, BUFFER_LOG2 as u8, 0, 1]);
    table.extend([blocks_low, blocks_high, block_low, block_high]);
    // Primary extended query, version 1.0, no optional features.
    table.extend(*b"PRI10");
    table.extend([0; 10]);
    table
}
