//! A virtio device behind either transport, as a driver reaches it (virtio 1.2, §4.1 and §4.2).

use isomorph_devices::pci::PciFunction;
use isomorph_devices::virtio::mmio::VirtioMmio;
use isomorph_devices::virtio::pci::VirtioPci;
use isomorph_softmmu::DmaMemory;

/// Where a driver puts a queue.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Entries.
    pub size: u16,
    /// Guest-physical addresses of the descriptors, the driver's and the device's ring.
    pub at: [u64; 3],
    /// Enabled.
    pub ready: bool,
}

/// A transport.
pub trait Port {
    /// Reads the register block, or the BAR.
    fn read(&self, offset: u64, size: u8) -> u64;
    /// Writes the register block, or the BAR.
    fn write(&self, offset: u64, size: u8, value: u64);
    /// Reads and writes the configuration space, if there is one.
    fn config(&self, offset: u16, size: u8, value: Option<u32>);
    /// Writes the status register.
    fn set_status(&self, status: u8);
    /// Reads the status register.
    fn status(&self) -> u8;
    /// Accepts these of the features that are offered.
    fn set_features(&self, wanted: u64);
    /// Sets a queue up.
    fn set_queue(&self, queue: u16, rings: &Rings);
    /// Rings a queue's doorbell.
    fn notify(&self, queue: u16);
    /// Back to power-on.
    fn reset(&self);
}

impl Port for VirtioMmio<DmaMemory> {
    fn read(&self, offset: u64, size: u8) -> u64 {
        VirtioMmio::read(self, offset % 0x1000, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        VirtioMmio::write(self, offset % 0x1000, size, value);
    }

    fn config(&self, _offset: u16, _size: u8, _value: Option<u32>) {}

    fn set_status(&self, status: u8) {
        VirtioMmio::write(self, 0x70, 4, status.into());
    }

    fn status(&self) -> u8 {
        VirtioMmio::read(self, 0x70, 4) as u8
    }

    fn set_features(&self, wanted: u64) {
        for half in 0..2 {
            VirtioMmio::write(self, 0x14, 4, half);
            VirtioMmio::write(self, 0x24, 4, half);
            let offered = VirtioMmio::read(self, 0x10, 4);
            VirtioMmio::write(self, 0x20, 4, offered & wanted >> (32 * half));
        }
    }

    fn set_queue(&self, queue: u16, rings: &Rings) {
        VirtioMmio::write(self, 0x30, 4, queue.into());
        VirtioMmio::write(self, 0x38, 4, rings.size.into());
        for (register, address) in [0x80, 0x90, 0xa0].into_iter().zip(rings.at) {
            VirtioMmio::write(self, register, 4, address & 0xffff_ffff);
            VirtioMmio::write(self, register + 4, 4, address >> 32);
        }
        VirtioMmio::write(self, 0x44, 4, rings.ready.into());
    }

    fn notify(&self, queue: u16) {
        VirtioMmio::write(self, 0x50, 4, queue.into());
    }

    fn reset(&self) {
        VirtioMmio::reset(self);
    }
}

/// The BAR with the structures, and the page of each.
const BAR: usize = 4;
const BAR_BYTES: u64 = 0x4000;
const NOTIFY: u64 = 0x3000;

impl Port for VirtioPci<DmaMemory> {
    fn read(&self, offset: u64, size: u8) -> u64 {
        self.bar_read(BAR, offset % BAR_BYTES, size)
    }

    fn write(&self, offset: u64, size: u8, value: u64) {
        self.bar_write(BAR, offset % BAR_BYTES, size, value);
    }

    fn config(&self, offset: u16, size: u8, value: Option<u32>) {
        let (offset, size) = (offset % 0x1000, size.min(4));
        match value {
            Some(value) => self.config_write(offset, size, value),
            None => drop(self.config_read(offset, size)),
        }
    }

    fn set_status(&self, status: u8) {
        self.bar_write(BAR, 0x14, 1, status.into());
    }

    fn status(&self) -> u8 {
        self.bar_read(BAR, 0x14, 1) as u8
    }

    fn set_features(&self, wanted: u64) {
        for half in 0..2 {
            self.bar_write(BAR, 0x00, 4, half);
            self.bar_write(BAR, 0x08, 4, half);
            let offered = self.bar_read(BAR, 0x04, 4);
            self.bar_write(BAR, 0x0c, 4, offered & wanted >> (32 * half));
        }
    }

    fn set_queue(&self, queue: u16, rings: &Rings) {
        self.bar_write(BAR, 0x16, 2, queue.into());
        self.bar_write(BAR, 0x18, 2, rings.size.into());
        for (register, address) in [0x20, 0x28, 0x30].into_iter().zip(rings.at) {
            self.bar_write(BAR, register, 8, address);
        }
        self.bar_write(BAR, 0x1c, 2, rings.ready.into());
    }

    fn notify(&self, queue: u16) {
        self.bar_write(BAR, NOTIFY + 4 * u64::from(queue % 0x400), 2, 0);
    }

    fn reset(&self) {
        PciFunction::reset(self);
    }
}
