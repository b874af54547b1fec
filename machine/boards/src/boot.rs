//! Kernel, firmware, initial RAM disk and device tree in memory, and how harts enter them.

use crate::error::BoardError;
use crate::fdt::Chosen;
use crate::image::Image;
use crate::spec::Role;
use crate::virt::Virt;
use isomorph_devices::fw_cfg::Key;

/// What runs before the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware<'a> {
    /// Nothing: harts enter the kernel in machine mode.
    None,
    /// The supervisor binary interface that is built in: harts enter the kernel in supervisor
    /// mode, all but the first stopped until the kernel starts them.
    BuiltIn,
    /// A file, entered in machine mode at the start of RAM, with what OpenSBI's `fw_dynamic`
    /// wants to know about the kernel.
    File(&'a [u8]),
    /// The first flash bank, entered in machine mode.
    Flash,
}

/// What is to be loaded.
#[derive(Clone, Debug, Default)]
pub struct Images<'a> {
    /// The kernel.
    pub kernel: Option<&'a [u8]>,
    /// The initial RAM disk.
    pub initrd: Option<&'a [u8]>,
    /// The kernel's command line.
    pub command_line: Option<&'a str>,
    /// A device tree instead of the machine's own.
    pub device_tree: Option<&'a [u8]>,
    /// Bytes that nobody can guess.
    pub rng_seed: Option<[u8; 32]>,
}

/// How a hart starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Program counter.
    pub pc: u64,
    /// `a0`: the hart id.
    pub a0: u64,
    /// `a1`: where the device tree is.
    pub a1: u64,
    /// Privilege level: 3 machine, 1 supervisor.
    pub level: u8,
    /// False if the hart waits to be started through the SBI.
    pub started: bool,
}

/// Where things have been loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// How each hart starts, by hart id.
    pub harts: Vec<Entry>,
    /// Where the kernel is entered, if there is one.
    pub kernel: Option<u64>,
    /// Where the device tree is.
    pub device_tree: u64,
    /// The initial RAM disk: first address and the one after the last.
    pub initrd: Option<(u64, u64)>,
}

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Alignment of a kernel behind firmware, and of the device tree.
const LARGE_PAGE: u64 = 2 * MIB;
/// Most bytes between the start of a kernel and its initial RAM disk, unless the kernel is larger.
const INITRD_DISTANCE: u64 = 128 * MIB;
const MACHINE: u8 = 3;
const SUPERVISOR: u8 = 1;

/// The code that every hart starts with: `a0` = hart id, `a1` = device tree, `a2` = what follows
/// for `fw_dynamic`, and on to the address behind it (RISC-V unprivileged manual, encodings).
const RESET_CODE: [u32; 8] = [
    0x0000_0297, // auipc t0, 0
    0x0302_8613, // addi a2, t0, 48
    0xf140_2573, // csrr a0, mhartid
    0x0282_b583, // ld a1, 40(t0)
    0x0202_b283, // ld t0, 32(t0)
    0x0002_8067, // jr t0
    0x0000_0013, // nop
    0x0000_0013, // nop
];

/// "OSBI" and version 2 of OpenSBI's `struct fw_dynamic_info`.
const DYNAMIC_MAGIC: u64 = 0x4942_534f;
const DYNAMIC_VERSION: u64 = 2;

fn align_up(value: u64, to: u64) -> u64 {
    value.div_ceil(to).saturating_mul(to)
}

impl Virt {
    /// Loads everything. The machine must not run.
    ///
    /// # Errors
    /// An image is broken or does not fit into RAM.
    pub fn load(&self, firmware: Firmware<'_>, images: &Images<'_>) -> Result<Boot, BoardError> {
        let ram = self.spec().ram_base;
        let mut start = ram;
        // Firmware in the way: the kernel goes to the next large page, as its header wants.
        let mut kernel_base = ram;
        match firmware {
            Firmware::None => {}
            Firmware::BuiltIn | Firmware::Flash => kernel_base = ram + LARGE_PAGE,
            Firmware::File(bytes) => {
                let image = self.load_image("firmware", bytes, ram)?;
                start = image.entry;
                kernel_base = align_up(image.end.max(ram + 1), LARGE_PAGE);
            }
        }
        let mut chosen = Chosen {
            bootargs: images.command_line.map(str::to_owned),
            initrd: None,
            rng_seed: images.rng_seed,
        };
        let mut kernel = None;
        if let Some(bytes) = images.kernel {
            let image = self.load_image("kernel", bytes, kernel_base)?;
            kernel = Some(image.entry);
            if let Some(initrd) = images.initrd {
                // Headers can name any end: then there is no RAM at that address.
                let distance = (self.config().ram_bytes / 2).min(INITRD_DISTANCE);
                let near = kernel_base.saturating_add(distance);
                let at = align_up(near.max(image.end), PAGE);
                self.put("initial RAM disk", at, initrd)?;
                chosen.initrd = Some((at, at.saturating_add(initrd.len() as u64)));
            }
        }
        self.describe(images);
        let device_tree = self.load_device_tree(images, &chosen)?;
        if firmware == Firmware::Flash {
            start = self.spec().slot(Role::Flash(0)).map_or(ram, |s| s.base);
        } else if matches!(firmware, Firmware::None)
            && let Some(entry) = kernel
        {
            start = entry;
        }
        self.load_reset_code(start, device_tree, kernel.unwrap_or(0))?;
        let boot = Boot {
            harts: self.entries(firmware, kernel, device_tree),
            kernel,
            device_tree,
            initrd: chosen.initrd,
        };
        Ok(boot)
    }

    fn entries(&self, firmware: Firmware<'_>, kernel: Option<u64>, tree: u64) -> Vec<Entry> {
        let rom = self.spec().slot(Role::BootRom).map_or(0, |slot| slot.base);
        let harts = 0..self.config().harts as u64;
        let built_in = firmware == Firmware::BuiltIn;
        let entry = |hart| Entry {
            pc: kernel.filter(|_| built_in).unwrap_or(rom),
            a0: if built_in { hart } else { 0 },
            a1: if built_in { tree } else { 0 },
            level: if built_in { SUPERVISOR } else { MACHINE },
            started: !built_in || hart == 0,
        };
        harts.map(entry).collect()
    }

    /// Writes bytes into memory.
    fn put(&self, what: &'static str, address: u64, bytes: &[u8]) -> Result<(), BoardError> {
        let loaded = self.space().view().load_bytes(address, bytes);
        loaded.map_err(|source| BoardError::Room {
            what,
            bytes: bytes.len() as u64,
            address,
            source,
        })
    }

    fn load_image<'a>(
        &self,
        what: &'static str,
        bytes: &'a [u8],
        base: u64,
    ) -> Result<Image<'a>, BoardError> {
        let image = Image::parse(bytes, base);
        let image = image.map_err(|source| BoardError::Image { what, source })?;
        for (address, part) in &image.parts {
            self.put(what, *address, part)?;
        }
        Ok(image)
    }

    /// Tells firmware of the kernel through fw_cfg.
    fn describe(&self, images: &Images<'_>) {
        let size = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
        let fw_cfg = self.fw_cfg();
        if let Some(bytes) = images.kernel {
            fw_cfg.set(Key::KernelSize, &size(bytes));
            fw_cfg.set(Key::KernelData, bytes);
        }
        if let Some(bytes) = images.initrd {
            fw_cfg.set(Key::InitrdSize, &size(bytes));
            fw_cfg.set(Key::InitrdData, bytes);
        }
        if let Some(line) = images.command_line {
            let mut bytes = line.as_bytes().to_vec();
            bytes.push(0);
            fw_cfg.set(Key::CmdlineSize, &size(&bytes));
            fw_cfg.set(Key::CmdlineData, &bytes);
        }
    }

    /// Puts the device tree at the end of low RAM.
    fn load_device_tree(&self, images: &Images<'_>, chosen: &Chosen) -> Result<u64, BoardError> {
        let own;
        let tree = match images.device_tree {
            Some(tree) => tree,
            None => {
                own = self.device_tree(chosen)?;
                &own
            }
        };
        let ram = self.spec().ram_base;
        let end = ram.saturating_add(self.config().ram_bytes);
        let end = end.min(self.spec().low_ram_end);
        let room = align_up(tree.len() as u64, LARGE_PAGE);
        // Without so much RAM the address below it is refused when it is written to.
        let address = end.saturating_sub(room) & !(LARGE_PAGE - 1);
        self.put("device tree", address, tree)?;
        Ok(address)
    }

    fn load_reset_code(&self, start: u64, tree: u64, kernel: u64) -> Result<(), BoardError> {
        let Some(slot) = self.spec().slot(Role::BootRom) else {
            return Ok(());
        };
        let code = RESET_CODE.iter().flat_map(|word| word.to_le_bytes());
        let mut bytes: Vec<u8> = code.collect();
        let mode = u64::from(SUPERVISOR);
        // Start and device tree for the code; then magic, version, next address, next mode,
        // options and boot hart for the firmware.
        let data = [
            start,
            tree,
            DYNAMIC_MAGIC,
            DYNAMIC_VERSION,
            kernel,
            mode,
            0,
            0,
        ];
        data.iter()
            .for_each(|word| bytes.extend(word.to_le_bytes()));
        self.put("reset code", slot.base, &bytes)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
