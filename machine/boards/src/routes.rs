//! From the address space to transports that do not know it.

use isomorph_devices::pci::{PciHost, Window};
use isomorph_devices::virtio::mmio::VirtioMmio;
use isomorph_machine::Device;
use isomorph_softmmu::{DmaMemory, Mmio};
use std::sync::Arc;

/// A virtio-mmio transport.
pub struct Transport(pub VirtioMmio<DmaMemory>);

impl Mmio for Transport {
    fn read(&self, offset: u64, size: u32) -> u64 {
        self.0.read(offset, size as u8)
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        self.0.write(offset, size as u8, value);
    }
}

impl Device for Transport {
    fn reset(&self) {
        self.0.reset();
    }
}

/// The configuration space of the PCI bus; resets all of the bus.
pub struct Ecam(pub Arc<PciHost>);

impl Mmio for Ecam {
    fn read(&self, offset: u64, size: u32) -> u64 {
        self.0.ecam_read(offset, size as u8)
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        self.0.ecam_write(offset, size as u8, value);
    }
}

impl Device for Ecam {
    fn reset(&self) {
        self.0.reset();
    }
}

/// A window to the PCI bus.
pub struct PciWindow {
    host: Arc<PciHost>,
    window: Window,
}

impl PciWindow {
    fn new(host: &Arc<PciHost>, window: Window) -> Arc<Self> {
        let host = host.clone();
        Arc::new(Self { host, window })
    }

    /// I/O ports.
    pub fn ports(host: &Arc<PciHost>) -> Arc<Self> {
        Self::new(host, Window::Io)
    }

    /// Memory below 4 GiB.
    pub fn low(host: &Arc<PciHost>) -> Arc<Self> {
        Self::new(host, Window::Memory32)
    }

    /// Memory above RAM.
    pub fn high(host: &Arc<PciHost>) -> Arc<Self> {
        Self::new(host, Window::Memory64)
    }
}

impl Mmio for PciWindow {
    fn read(&self, offset: u64, size: u32) -> u64 {
        self.host.window_read(self.window, offset, size as u8)
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        let size = size as u8;
        self.host.window_write(self.window, offset, size, value);
    }
}
