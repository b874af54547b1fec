//! Registers, selectors and the DMA descriptor of fw_cfg.

use isomorph_softmmu::AccessRules;

/// Bytes of the register block.
pub const LEN: u64 = 0x18;
/// Accesses of 1 to 8 bytes.
pub const RULES: AccessRules = AccessRules::ANY;

pub const DATA: u64 = 0;
pub const DATA_LAST: u64 = 7;
pub const SELECTOR: u64 = 8;
pub const DMA_HIGH: u64 = 0x10;
pub const DMA_LOW: u64 = 0x14;

/// What the DMA address register reads: "QEMU CFG", big-endian.
pub const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;

pub const DMA_ERROR: u32 = 1;
pub const DMA_READ: u32 = 1 << 1;
pub const DMA_SKIP: u32 = 1 << 2;
pub const DMA_SELECT: u32 = 1 << 3;
pub const DMA_WRITE: u32 = 1 << 4;

/// First selector of the named files.
pub const FILE_FIRST: u16 = 0x20;
/// Most named files.
pub const FILES: usize = 0x1000;
/// Bytes of a file's name, with its end.
pub const FILE_NAME: usize = 56;

/// Items with selectors of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Key {
    /// "QEMU".
    Signature = 0x00,
    /// What the device can do, 32 bits: bit 0 the data register, bit 1 DMA.
    Id = 0x01,
    /// The machine's UUID.
    Uuid = 0x02,
    /// Bytes of RAM, 64 bits.
    RamSize = 0x03,
    /// vCPUs at first, 16 bits.
    NbCpus = 0x05,
    /// Address of the kernel.
    KernelAddr = 0x07,
    /// Bytes of the kernel, 32 bits.
    KernelSize = 0x08,
    /// Address of the initial RAM disk.
    InitrdAddr = 0x0a,
    /// Bytes of the initial RAM disk, 32 bits.
    InitrdSize = 0x0b,
    /// vCPUs at most, 16 bits.
    MaxCpus = 0x0f,
    /// Contents of the kernel.
    KernelData = 0x11,
    /// Contents of the initial RAM disk.
    InitrdData = 0x12,
    /// Bytes of the kernel's command line with its end, 32 bits.
    CmdlineSize = 0x14,
    /// The kernel's command line with its end.
    CmdlineData = 0x15,
    /// The list of named files.
    FileDir = 0x19,
}

/// A file that cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum FwCfgError {
    /// The name is empty, too long, or taken.
    #[error("fw_cfg: `{name}` cannot be the name of a file")]
    Name {
        /// The name.
        name: String,
    },
    /// There are too many files, or the contents are too large.
    #[error("fw_cfg: no room for the file `{name}`")]
    Full {
        /// The name.
        name: String,
    },
}
