//! virtio over PCI Express, modern only (§4.1), with INTx.
//!
//! One 64-bit BAR holds the four structures, each in a page of its own.

use std::sync::{Arc, Mutex};

use super::core::{Core, VirtioDevice, set_half};
use super::signal::Signals;
use super::{Line, Memory, lock};
use crate::pci::{Bar, BarKind, ConfigSpace, Identity, PciFunction};

const VENDOR: u16 = 0x1af4;
/// Device numbers are this plus the device type (§4.1.2).
const DEVICE_BASE: u16 = 0x1040;
const SUBSYSTEM: u16 = 0x1100;
const REVISION: u8 = 1;

const BAR: usize = 4;
const BAR_BYTES: u64 = 0x4000;
const PAGE: u64 = 0x1000;
/// Each queue has its own doorbell, this far from the one before.
const NOTIFY_MULTIPLIER: u32 = 4;
const NO_VECTOR: u16 = 0xffff;

/// Kinds of structure, in BAR order from page 0 on (§4.1.4).
const CAP_COMMON: u8 = 1;
const CAP_NOTIFY: u8 = 2;
const CAP_ISR: u8 = 3;
const CAP_DEVICE: u8 = 4;
const CAP_PCI: u8 = 5;
/// The generic "vendor-specific" capability (PCI §6.7).
const VENDOR_CAPABILITY: u8 = 9;

/// Offsets in the common configuration (§4.1.4.3).
mod reg {
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DEVICE_FEATURE: u64 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub const NUM_QUEUES: u64 = 0x12;
    pub const DEVICE_STATUS: u64 = 0x14;
    pub const CONFIG_GENERATION: u64 = 0x15;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
    pub const END: u64 = 0x38;
}

/// A virtio device as a function on the PCI bus.
pub struct VirtioPci<M: Memory> {
    core: Mutex<Core<M>>,
    signals: Arc<Signals>,
    config: Arc<Mutex<ConfigSpace>>,
    line: Arc<dyn Line>,
    identity: Identity,
    window: u16,
}

impl<M: Memory> VirtioPci<M> {
    /// A function for `device`, whose INTA is `line` (see `PciHost::intx`).
    pub fn new(device: Box<dyn VirtioDevice<M>>, memory: Arc<M>, line: Box<dyn Line>) -> Self {
        let identity = identity(device.device_type());
        let (space, window) = space(&identity);
        let config = Arc::new(Mutex::new(space));
        let line: Arc<dyn Line> = Arc::from(line);
        let pin = Pin {
            config: Arc::clone(&config),
            line: Arc::clone(&line),
        };
        let (core, signals) = Core::new(device, memory, Box::new(pin));
        VirtioPci {
            core: Mutex::new(core),
            signals,
            config,
            line,
            identity,
            window,
        }
    }

    fn common_read(&self, offset: u64, size: u8) -> u64 {
        let core = lock(&self.core);
        let place = core.place().copied().unwrap_or_default();
        let exists = core.place().is_some();
        let (base, value) = match offset {
            reg::QUEUE_DESC..reg::QUEUE_DRIVER => (reg::QUEUE_DESC, place.descriptors),
            reg::QUEUE_DRIVER..reg::QUEUE_DEVICE => (reg::QUEUE_DRIVER, place.driver),
            reg::QUEUE_DEVICE..reg::END => (reg::QUEUE_DEVICE, place.device),
            reg::DEVICE_FEATURE_SELECT => (offset, u64::from(core.device_features_select)),
            reg::DEVICE_FEATURE => (offset, u64::from(core.device_features())),
            reg::DRIVER_FEATURE_SELECT => (offset, u64::from(core.driver_features_select)),
            reg::DRIVER_FEATURE => (offset, u64::from(core.driver_features())),
            reg::CONFIG_MSIX_VECTOR | reg::QUEUE_MSIX_VECTOR => (offset, u64::from(NO_VECTOR)),
            reg::NUM_QUEUES => (offset, u64::from(core.queue_count())),
            reg::DEVICE_STATUS => (offset, u64::from(self.signals.status())),
            reg::CONFIG_GENERATION => (offset, u64::from(self.signals.generation() as u8)),
            reg::QUEUE_SELECT => (offset, u64::from(core.queue_select)),
            reg::QUEUE_SIZE => (offset, u64::from(place.size)),
            reg::QUEUE_ENABLE => (offset, u64::from(place.ready)),
            reg::QUEUE_NOTIFY_OFF if exists => (offset, u64::from(core.queue_select)),
            _ => (offset, 0),
        };
        truncate(value >> (8 * (offset - base)), size)
    }

    fn common_write(&self, offset: u64, size: u8, value: u64) {
        let mut core = lock(&self.core);
        let core = &mut *core;
        match offset {
            reg::DEVICE_FEATURE_SELECT => core.device_features_select = value as u32,
            reg::DRIVER_FEATURE_SELECT => core.driver_features_select = value as u32,
            reg::DRIVER_FEATURE => core.set_driver_features(value as u32),
            reg::DEVICE_STATUS => core.set_status(value as u8),
            reg::QUEUE_SELECT => core.queue_select = value as u16,
            // A driver must not write 0 here (§4.1.4.3.2): there is no way back but a reset.
            reg::QUEUE_ENABLE if value == 1 => core.set_ready(true),
            _ => write_place(core, offset, size, value),
        }
    }

    fn device_read(&self, offset: u64, size: u8) -> u64 {
        let mut bytes = [0; 8];
        lock(&self.core).read_config(offset, &mut bytes[..usize::from(size.min(8))]);
        u64::from_le_bytes(bytes)
    }

    /// The window in the PCI configuration capability (§4.1.4.9), as offset and length in the BAR.
    fn window(&self) -> Option<(u64, u8)> {
        let config = lock(&self.config);
        let offset = u64::from(config.read(self.window + 8, 4));
        let length = config.read(self.window + 12, 4);
        let bar = config.read(self.window + 4, 1);
        let aligned = matches!(length, 1 | 2 | 4) && offset % u64::from(length) == 0;
        (bar == BAR as u32 && aligned).then_some((offset, length as u8))
    }

    fn in_window(&self, offset: u16) -> bool {
        offset == self.window + 16
    }
}

fn write_place<M: Memory>(core: &mut Core<M>, offset: u64, size: u8, value: u64) {
    let Some(place) = core.place_mut() else {
        return;
    };
    let (base, register) = match offset {
        reg::QUEUE_SIZE => {
            place.size = value as u16;
            return;
        }
        reg::QUEUE_DESC..reg::QUEUE_DRIVER => (reg::QUEUE_DESC, &mut place.descriptors),
        reg::QUEUE_DRIVER..reg::QUEUE_DEVICE => (reg::QUEUE_DRIVER, &mut place.driver),
        reg::QUEUE_DEVICE..reg::END => (reg::QUEUE_DEVICE, &mut place.device),
        _ => return,
    };
    match (offset - base, size) {
        (0, 8) => *register = value,
        (0, 4) => set_half(register, false, value as u32),
        (4, 4) => set_half(register, true, value as u32),
        _ => {}
    }
}

fn truncate(value: u64, size: u8) -> u64 {
    value & (u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8))))
}

fn identity(device_type: u16) -> Identity {
    // Base class by device type, as the drivers of other systems look for it.
    let class = match device_type {
        1 => 0x02_0000,
        2 => 0x01_0000,
        3 => 0x07_8000,
        _ => 0x00_ff00,
    };
    Identity {
        vendor: VENDOR,
        device: DEVICE_BASE + device_type,
        revision: REVISION,
        class,
        subsystem_vendor: VENDOR,
        subsystem: SUBSYSTEM,
        interrupt_pin: 1,
    }
}

/// The configuration space, and where its PCI configuration capability is.
fn space(identity: &Identity) -> (ConfigSpace, u16) {
    let mut space = ConfigSpace::new(identity);
    space.set_bar(
        BAR,
        Bar {
            kind: BarKind::Memory64,
            size: BAR_BYTES,
            prefetchable: true,
        },
    );
    for (page, kind) in (0u32..).zip([CAP_COMMON, CAP_ISR, CAP_DEVICE, CAP_NOTIFY]) {
        let extra = if kind == CAP_NOTIFY { 4 } else { 0 };
        let mut body = capability(kind, extra, page * PAGE as u32, PAGE as u32);
        if kind == CAP_NOTIFY {
            body.extend(NOTIFY_MULTIPLIER.to_le_bytes());
        }
        space.add_capability(VENDOR_CAPABILITY, &body, &[]);
    }
    let mut body = capability(CAP_PCI, 4, 0, 0);
    body.extend([0; 4]);
    let mut writable = vec![0, 0, 0xff, 0, 0, 0];
    writable.extend([0xff; 8]);
    // The five capabilities take 88 of the header's 192 bytes.
    let window = space
        .add_capability(VENDOR_CAPABILITY, &body, &writable)
        .unwrap_or(0);
    (space, window)
}

/// `struct virtio_pci_cap` behind identifier and link.
fn capability(kind: u8, extra: u8, offset: u32, length: u32) -> Vec<u8> {
    let mut body = vec![16 + extra, kind, BAR as u8, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(length.to_le_bytes());
    body
}

/// The INTx pin: the status register and the wire behind the command register's gate.
struct Pin {
    config: Arc<Mutex<ConfigSpace>>,
    line: Arc<dyn Line>,
}

impl Line for Pin {
    fn set_level(&self, high: bool) {
        let mut config = lock(&self.config);
        let level = config.set_interrupt(high);
        self.line.set_level(level);
    }
}

impl<M: Memory> PciFunction for VirtioPci<M> {
    fn config_read(&self, offset: u16, size: u8) -> u32 {
        if self.in_window(offset)
            && let Some((at, length)) = self.window()
        {
            return self.bar_read(BAR, at, length) as u32;
        }
        lock(&self.config).read(offset, size)
    }

    fn config_write(&self, offset: u16, size: u8, value: u32) {
        if self.in_window(offset) {
            if let Some((at, length)) = self.window() {
                self.bar_write(BAR, at, length, u64::from(value));
            }
            return;
        }
        let mut config = lock(&self.config);
        config.write(offset, size, value);
        self.line.set_level(config.interrupt_level());
    }

    fn mapped(&self, index: usize) -> Option<(Bar, u64)> {
        lock(&self.config).mapped(index)
    }

    fn bar_read(&self, bar: usize, offset: u64, size: u8) -> u64 {
        match (bar, offset / PAGE, offset % PAGE) {
            (BAR, 0, at) => self.common_read(at, size),
            // Reading acknowledges (§4.1.4.5).
            (BAR, 1, 0) => u64::from(self.signals.acknowledge(u8::MAX)),
            (BAR, 2, at) => self.device_read(at, size),
            _ => 0,
        }
    }

    fn bar_write(&self, bar: usize, offset: u64, size: u8, value: u64) {
        match (bar, offset / PAGE, offset % PAGE) {
            (BAR, 0, at) => self.common_write(at, size, value),
            (BAR, 2, at) => {
                let bytes = value.to_le_bytes();
                lock(&self.core).write_config(at, &bytes[..usize::from(size.min(8))]);
            }
            (BAR, 3, at) => {
                let queue = at / u64::from(NOTIFY_MULTIPLIER);
                lock(&self.core).notify(queue as u32);
            }
            _ => {}
        }
    }

    fn reset(&self) {
        lock(&self.core).reset();
        *lock(&self.config) = space(&self.identity).0;
        self.line.set_level(false);
    }
}
