//! State and behaviour of fw_cfg.

use super::regs::*;
use crate::sync::lock;
use isomorph_machine::Device;
use isomorph_softmmu::{AddressSpace, BusError, FlatView, Mmio};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// Registers of fw_cfg; its items are the machine's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FwCfgState {
    selector: u16,
    /// Next byte of the selected item.
    offset: u32,
    /// High half of the descriptor's address, until the low half is written.
    dma_high: u32,
}

#[derive(Default)]
struct Items {
    by_selector: BTreeMap<u16, Arc<[u8]>>,
    /// Named files, by name: the directory is sorted.
    files: BTreeMap<String, u16>,
}

struct Inner {
    state: FwCfgState,
    items: Items,
}

/// A fw_cfg device.
pub struct FwCfg {
    inner: Mutex<Inner>,
    /// Where DMA goes.
    space: Weak<AddressSpace>,
}

impl FwCfg {
    /// A device with nothing but its signature.
    pub fn new(space: &Arc<AddressSpace>) -> Arc<Self> {
        let inner = Inner {
            state: FwCfgState::default(),
            items: Items::default(),
        };
        let device = Arc::new(Self {
            inner: Mutex::new(inner),
            space: Arc::downgrade(space),
        });
        device.set(Key::Signature, b"QEMU");
        device.set(Key::Id, &3u32.to_le_bytes());
        device.set(Key::FileDir, &0u32.to_be_bytes());
        device
    }

    /// Sets an item.
    pub fn set(&self, key: Key, bytes: &[u8]) {
        let mut inner = lock(&self.inner);
        inner.items.by_selector.insert(key as u16, bytes.into());
    }

    /// Adds a named file.
    ///
    /// # Errors
    /// The name does not fit or is taken, or there is no room.
    pub fn add_file(&self, name: &str, bytes: &[u8]) -> Result<(), FwCfgError> {
        let mut inner = lock(&self.inner);
        let items = &mut inner.items;
        let name = name.to_owned();
        let bad = name.is_empty() || name.len() >= FILE_NAME || name.contains('\0');
        if bad || items.files.contains_key(&name) {
            return Err(FwCfgError::Name { name });
        }
        if items.files.len() == FILES || u32::try_from(bytes.len()).is_err() {
            return Err(FwCfgError::Full { name });
        }
        let selector = FILE_FIRST + items.files.len() as u16;
        items.files.insert(name, selector);
        items.by_selector.insert(selector, bytes.into());
        let directory = items.directory();
        let key = Key::FileDir as u16;
        items.by_selector.insert(key, directory.into());
        Ok(())
    }

    /// The registers.
    pub fn state(&self) -> FwCfgState {
        lock(&self.inner).state
    }

    /// Sets the registers.
    pub fn restore(&self, state: FwCfgState) {
        lock(&self.inner).state = state;
    }

    /// Does what the descriptor at `address` says and writes back how it went.
    fn dma(&self, address: u64) {
        let Some(view) = self.space.upgrade().map(|space| space.snapshot()) else {
            return;
        };
        let mut descriptor = [0; 16];
        // A descriptor that is not in memory has nowhere to say so.
        let Ok(()) = view.read_memory(address, &mut descriptor) else {
            return;
        };
        let [c0, c1, c2, c3, l0, l1, l2, l3, target @ ..] = descriptor;
        let control = u32::from_be_bytes([c0, c1, c2, c3]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let done = self.transfer(&view, control, length, u64::from_be_bytes(target));
        let result = if done { 0u32 } else { DMA_ERROR };
        let _ = view.write_memory(address, &result.to_be_bytes());
    }

    /// True if all went well.
    fn transfer(&self, view: &FlatView, control: u32, length: u32, target: u64) -> bool {
        let (item, start) = {
            let mut inner = lock(&self.inner);
            if control & DMA_SELECT != 0 {
                inner.select((control >> 16) as u16);
            }
            let start = inner.state.offset;
            if control & (DMA_READ | DMA_SKIP) != 0 {
                inner.state.offset = start.saturating_add(length);
            }
            (inner.selected(), start)
        };
        if control & DMA_READ != 0 {
            return copy_out(view, &item, start, length, target).is_ok();
        }
        // No item can be written.
        control & DMA_WRITE == 0
    }
}

/// Copies bytes of an item to memory; behind its end there are zeros.
fn copy_out(
    view: &FlatView,
    item: &[u8],
    start: u32,
    length: u32,
    target: u64,
) -> Result<(), BusError> {
    let length = u64::from(length);
    let rest = item.get(start as usize..).unwrap_or_default();
    let part = &rest[..rest.len().min(length as usize)];
    view.write_memory(target, part)?;
    let mut done = part.len() as u64;
    while done < length {
        let count = (length - done).min(4096);
        view.write_memory(target.wrapping_add(done), &[0; 4096][..count as usize])?;
        done += count;
    }
    Ok(())
}

impl Items {
    fn directory(&self) -> Vec<u8> {
        let mut bytes = (self.files.len() as u32).to_be_bytes().to_vec();
        for (name, selector) in &self.files {
            let len = self.by_selector.get(selector).map_or(0, |item| item.len());
            bytes.extend((len as u32).to_be_bytes());
            bytes.extend(selector.to_be_bytes());
            bytes.extend([0; 2]);
            let mut field = [0; FILE_NAME];
            field[..name.len()].copy_from_slice(name.as_bytes());
            bytes.extend(field);
        }
        bytes
    }
}

impl Inner {
    fn select(&mut self, selector: u16) {
        self.state.selector = selector;
        self.state.offset = 0;
    }

    fn selected(&self) -> Arc<[u8]> {
        let item = self.items.by_selector.get(&self.state.selector);
        item.cloned().unwrap_or_default()
    }

    /// The next `size` bytes, the first in the lowest: the register keeps their order.
    fn read_data(&mut self, size: u32) -> u64 {
        let item = self.selected();
        let mut bytes = [0; 8];
        for byte in bytes.iter_mut().take(size as usize) {
            *byte = item.get(self.state.offset as usize).copied().unwrap_or(0);
            self.state.offset = self.state.offset.saturating_add(1);
        }
        u64::from_le_bytes(bytes)
    }
}

impl Mmio for FwCfg {
    fn read(&self, offset: u64, size: u32) -> u64 {
        match (offset, size) {
            (DATA..=DATA_LAST, _) => lock(&self.inner).read_data(size),
            (DMA_HIGH, 8) => DMA_SIGNATURE.swap_bytes(),
            (DMA_HIGH, 4) => u64::from(((DMA_SIGNATURE >> 32) as u32).swap_bytes()),
            (DMA_LOW, 4) => u64::from((DMA_SIGNATURE as u32).swap_bytes()),
            _ => 0,
        }
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        match (offset, size) {
            (SELECTOR, 2) => lock(&self.inner).select((value as u16).swap_bytes()),
            (DMA_HIGH, 8) => self.dma(value.swap_bytes()),
            (DMA_HIGH, 4) => lock(&self.inner).state.dma_high = (value as u32).swap_bytes(),
            (DMA_LOW, 4) => {
                let high = std::mem::take(&mut lock(&self.inner).state.dma_high);
                self.dma(u64::from(high) << 32 | u64::from((value as u32).swap_bytes()));
            }
            _ => {}
        }
    }
}

impl Device for FwCfg {
    fn reset(&self) {
        lock(&self.inner).state = FwCfgState::default();
    }
}
