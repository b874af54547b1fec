//! What a machine is made of: addresses and interrupts, as data.
//!
//! `virt` has the addresses, interrupt numbers and device-tree names that QEMU publishes for its
//! machine of that name: kernels and firmware made for it know them.

/// What lies in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Code that a hart starts with.
    BootRom,
    /// The test finisher.
    Finisher,
    /// The real-time clock.
    Rtc,
    /// Timers and software interrupts.
    Clint,
    /// The window of the PCIe host to I/O ports.
    PciePorts,
    /// The interrupt controller.
    Plic,
    /// The UART, by number.
    Serial(u32),
    /// A virtio-mmio transport, by number.
    VirtioMmio(u32),
    /// Firmware configuration.
    FwCfg,
    /// A flash bank, by number.
    Flash(u32),
    /// Configuration space of the PCIe host.
    PcieEcam,
    /// The window of the PCIe host below 4 GiB.
    PcieLow,
}

/// A range of addresses, and an interrupt source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What lies there.
    pub role: Role,
    /// Name of the region and of the device-tree node (without its unit address).
    pub name: &'static str,
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// Source number at the interrupt controller.
    pub irq: Option<u32>,
}

impl Slot {
    /// Its name, with a number if there are several of the kind.
    pub fn full_name(&self) -> String {
        match self.role {
            Role::Serial(n) | Role::VirtioMmio(n) => format!("{}{n}", self.name),
            _ => self.name.to_owned(),
        }
    }
}

/// The PCIe host beside its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcie {
    /// Sources of INTA to INTD of device 0; the pins of device n are turned by n.
    pub first_irq: u32,
    /// The window above RAM: it starts at a multiple of this, and is as large.
    pub high_window: u64,
}

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineSpec {
    /// Name, as `-machine` has it.
    pub name: &'static str,
    /// Root `compatible` of the device tree.
    pub compatible: &'static str,
    /// Root `model` of the device tree.
    pub model: &'static str,
    /// First address of RAM.
    pub ram_base: u64,
    /// The low end of RAM: the device tree lies below this address.
    pub low_ram_end: u64,
    /// Ticks of `mtime` in a second.
    pub timebase: u64,
    /// Interrupt sources of the controller.
    pub sources: u32,
    /// Input clock of the UART, in hertz.
    pub serial_clock: u32,
    /// Most harts.
    pub harts_max: usize,
    /// The PCIe host.
    pub pcie: Pcie,
    /// All devices.
    pub slots: &'static [Slot],
}

impl MachineSpec {
    /// The slot of a role.
    pub fn slot(&self, role: Role) -> Option<&'static Slot> {
        self.slots.iter().find(|slot| slot.role == role)
    }

    /// The window of the PCIe host above `ram_bytes` of RAM: base and length.
    pub fn pcie_high(&self, ram_bytes: u64) -> (u64, u64) {
        let size = self.pcie.high_window;
        let end = self.ram_base.saturating_add(ram_bytes);
        (end.div_ceil(size).saturating_mul(size), size)
    }
}

const fn slot(role: Role, name: &'static str, base: u64, len: u64, irq: Option<u32>) -> Slot {
    Slot {
        role,
        name,
        base,
        len,
        irq,
    }
}

const fn virtio(number: u32) -> Slot {
    let base = 0x1000_1000 + number as u64 * 0x1000;
    let role = Role::VirtioMmio(number);
    slot(role, "virtio_mmio", base, 0x1000, Some(1 + number))
}

/// The riscv64 `virt` machine.
pub const VIRT: MachineSpec = MachineSpec {
    name: "virt",
    compatible: "riscv-virtio",
    model: "riscv-virtio,qemu",
    ram_base: 0x8000_0000,
    low_ram_end: 0xc000_0000,
    timebase: 10_000_000,
    sources: 95,
    serial_clock: 3_686_400,
    harts_max: 512,
    pcie: Pcie {
        first_irq: 32,
        high_window: 16 << 30,
    },
    slots: &[
        slot(Role::BootRom, "rom", 0x1000, 0xf000, None),
        slot(Role::Finisher, "test", 0x10_0000, 0x1000, None),
        slot(Role::Rtc, "rtc", 0x10_1000, 0x1000, Some(11)),
        slot(Role::Clint, "clint", 0x200_0000, 0x1_0000, None),
        slot(Role::PciePorts, "pcie-pio", 0x300_0000, 0x1_0000, None),
        slot(Role::Plic, "plic", 0xc00_0000, 0x60_0000, None),
        slot(Role::Serial(0), "serial", 0x1000_0000, 0x100, Some(10)),
        virtio(0),
        virtio(1),
        virtio(2),
        virtio(3),
        virtio(4),
        virtio(5),
        virtio(6),
        virtio(7),
        slot(Role::FwCfg, "fw-cfg", 0x1010_0000, 0x18, None),
        slot(Role::Flash(0), "flash", 0x2000_0000, 0x200_0000, None),
        slot(Role::Flash(1), "flash", 0x2200_0000, 0x200_0000, None),
        slot(Role::PcieEcam, "pci", 0x3000_0000, 0x1000_0000, None),
        slot(Role::PcieLow, "pcie-mmio", 0x4000_0000, 0x4000_0000, None),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap_and_interrupts_are_not_shared() {
        for (n, a) in VIRT.slots.iter().enumerate() {
            for b in &VIRT.slots[n + 1..] {
                assert!(a.base + a.len <= b.base || b.base + b.len <= a.base);
                assert!(a.irq.is_none() || a.irq != b.irq, "{a:?} {b:?}");
                assert_ne!(a.role, b.role);
            }
            assert!(a.base + a.len <= VIRT.ram_base);
        }
    }

    #[test]
    fn the_high_window_lies_above_ram() {
        let window = |gib: u64| VIRT.pcie_high(gib << 30).0 >> 30;
        assert_eq!((window(1), window(14), window(15)), (16, 16, 32));
    }
}
