//! virtio over MMIO, version 2 (§4.2).

use std::sync::{Arc, Mutex};

use super::core::{Core, VirtioDevice, set_half};
use super::signal::Signals;
use super::{Line, Memory, lock};

/// Bytes that one device takes in the board's address map.
pub const SIZE: u64 = 0x1000;

const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "QEMU", the vendor that drivers of the `virt` boards expect.
const VENDOR: u32 = 0x554d_4551;
const CONFIG: u64 = 0x100;

/// The registers' offsets (§4.2.2).
mod reg {
    pub const MAGIC: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DESC_HIGH: u64 = 0x084;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub const SHM_LEN_LOW: u64 = 0x0b0;
    pub const SHM_BASE_HIGH: u64 = 0x0bc;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
}

/// One virtio-mmio slot, with a device or empty.
pub struct VirtioMmio<M: Memory> {
    slot: Option<(Mutex<Core<M>>, Arc<Signals>)>,
}

impl<M: Memory> VirtioMmio<M> {
    /// A slot with `device` in it, whose interrupt goes to `line`.
    pub fn new(device: Box<dyn VirtioDevice<M>>, memory: Arc<M>, line: Box<dyn Line>) -> Self {
        let (core, signals) = Core::new(device, memory, line);
        VirtioMmio {
            slot: Some((Mutex::new(core), signals)),
        }
    }

    /// A slot with no device: a driver reads device 0 and leaves it alone (§4.2.3.1.1).
    pub fn empty() -> Self {
        VirtioMmio { slot: None }
    }

    /// Reads `size` bytes (1, 2, 4 or 8) at `offset`, little-endian.
    ///
    /// Registers answer to aligned 32-bit reads only; all else below the configuration reads 0.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        let Some((core, signals)) = &self.slot else {
            return read_empty(offset, size);
        };
        if offset >= CONFIG {
            let mut bytes = [0; 8];
            let size = usize::from(size).min(8);
            lock(core).read_config(offset - CONFIG, &mut bytes[..size]);
            return u64::from_le_bytes(bytes);
        }
        if size != 4 {
            return 0;
        }
        u64::from(match offset {
            reg::INTERRUPT_STATUS => u32::from(signals.pending()),
            reg::STATUS => u32::from(signals.status()),
            reg::CONFIG_GENERATION => signals.generation(),
            _ => read_register(&lock(core), offset),
        })
    }

    /// Writes `size` bytes at `offset`; what is not a writable register is ignored.
    pub fn write(&self, offset: u64, size: u8, value: u64) {
        let Some((core, signals)) = &self.slot else {
            return;
        };
        if offset >= CONFIG {
            let size = usize::from(size).min(8);
            let bytes = value.to_le_bytes();
            return lock(core).write_config(offset - CONFIG, &bytes[..size]);
        }
        if size != 4 {
            return;
        }
        let value = value as u32;
        match offset {
            reg::INTERRUPT_ACK => {
                signals.acknowledge(value as u8);
            }
            _ => write_register(&mut lock(core), offset, value),
        }
    }

    /// As at power-on.
    pub fn reset(&self) {
        if let Some((core, _)) = &self.slot {
            lock(core).reset();
        }
    }
}

fn read_empty(offset: u64, size: u8) -> u64 {
    match (offset, size) {
        (reg::MAGIC, 4) => u64::from(MAGIC),
        (reg::VERSION, 4) => u64::from(VERSION),
        (reg::VENDOR_ID, 4) => u64::from(VENDOR),
        _ => 0,
    }
}

fn read_register<M: Memory>(core: &Core<M>, offset: u64) -> u32 {
    match offset {
        reg::MAGIC => MAGIC,
        reg::VERSION => VERSION,
        reg::DEVICE_ID => u32::from(core.device_type()),
        reg::VENDOR_ID => VENDOR,
        reg::DEVICE_FEATURES => core.device_features(),
        reg::QUEUE_NUM_MAX => u32::from(core.queue_max()),
        reg::QUEUE_READY => u32::from(core.place().is_some_and(|place| place.ready)),
        // No shared memory region: length and base read all ones (§4.2.2).
        reg::SHM_LEN_LOW..=reg::SHM_BASE_HIGH => u32::MAX,
        _ => 0,
    }
}

fn write_register<M: Memory>(core: &mut Core<M>, offset: u64, value: u32) {
    match offset {
        reg::DEVICE_FEATURES_SEL => core.device_features_select = value,
        reg::DRIVER_FEATURES => core.set_driver_features(value),
        reg::DRIVER_FEATURES_SEL => core.driver_features_select = value,
        reg::QUEUE_SEL => core.queue_select = u16::try_from(value).unwrap_or(u16::MAX),
        reg::QUEUE_READY => core.set_ready(value & 1 != 0),
        reg::QUEUE_NOTIFY => core.notify(value),
        reg::STATUS => core.set_status(value as u8),
        _ => write_place(core, offset, value),
    }
}

fn write_place<M: Memory>(core: &mut Core<M>, offset: u64, value: u32) {
    let Some(place) = core.place_mut() else {
        return;
    };
    match offset {
        reg::QUEUE_NUM => place.size = u16::try_from(value).unwrap_or(0),
        reg::QUEUE_DESC_LOW => set_half(&mut place.descriptors, false, value),
        reg::QUEUE_DESC_HIGH => set_half(&mut place.descriptors, true, value),
        reg::QUEUE_DRIVER_LOW => set_half(&mut place.driver, false, value),
        reg::QUEUE_DRIVER_HIGH => set_half(&mut place.driver, true, value),
        reg::QUEUE_DEVICE_LOW => set_half(&mut place.device, false, value),
        reg::QUEUE_DEVICE_HIGH => set_half(&mut place.device, true, value),
        _ => {}
    }
}
