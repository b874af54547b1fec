//! The address space: regions that come, go, move and hide each other.

use crate::error::BusError;
use crate::region::Region;
use crate::view::FlatView;
use arc_swap::{ArcSwap, Guard};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Names a region of one address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionId(usize);

/// Who wants to know that addresses are answered differently from now on: the owner of TLBs.
pub trait ViewWatch: Send + Sync {
    /// A new view has been published. Called on the thread that changed it, maybe a vCPU's in
    /// the middle of an access to a device: ask for a flush here, do not wait for it.
    fn view_changed(&self);
}

#[derive(Debug)]
struct Slot {
    region: Arc<Region>,
    enabled: bool,
}

/// The guest-physical address space of a machine.
#[derive(Default)]
pub struct AddressSpace {
    view: ArcSwap<FlatView>,
    /// By id; `None` where a region was removed.
    slots: Mutex<Vec<Option<Slot>>>,
    watches: Mutex<Vec<Arc<dyn ViewWatch>>>,
    generation: AtomicU64,
}

impl fmt::Debug for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.view().parts().map(|(start, last, region)| {
                    format!("{start:#x}..={last:#x} {}", region.name())
                }),
            )
            .finish()
    }
}

impl AddressSpace {
    /// An empty space.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The space as it is now. Cheap; hold it for one access or one page walk.
    #[inline]
    pub fn view(&self) -> Guard<Arc<FlatView>> {
        self.view.load()
    }

    /// The space as it is now, to be kept.
    pub fn snapshot(&self) -> Arc<FlatView> {
        self.view.load_full()
    }

    /// Counts the changes so far.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Calls `watch` after every change from now on.
    pub fn watch(&self, watch: Arc<dyn ViewWatch>) {
        lock(&self.watches).push(watch);
    }

    /// Adds a region.
    pub fn add(&self, region: Region) -> RegionId {
        self.add_as(region, true)
    }

    /// Adds a region that nobody sees before it is enabled (a PCI BAR).
    pub fn add_disabled(&self, region: Region) -> RegionId {
        self.add_as(region, false)
    }

    fn add_as(&self, region: Region, enabled: bool) -> RegionId {
        let mut slots = lock(&self.slots);
        let region = Arc::new(region);
        slots.push(Some(Slot { region, enabled }));
        let id = RegionId(slots.len() - 1);
        if enabled {
            self.publish(slots);
        }
        id
    }

    /// Takes a region away.
    pub fn remove(&self, id: RegionId) {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get_mut(id.0) {
            *slot = None;
            self.publish(slots);
        }
    }

    /// Shows or hides a region.
    pub fn set_enabled(&self, id: RegionId, enabled: bool) {
        self.change(id, |slot| {
            let changed = slot.enabled != enabled;
            slot.enabled = enabled;
            changed
        });
    }

    /// Moves a region to another base; false (and nothing happens) if it does not fit there.
    pub fn relocate(&self, id: RegionId, base: u64) -> bool {
        let mut fits = true;
        self.change(id, |slot| {
            match slot
                .region
                .moved(base)
                .filter(|_| slot.region.base() != base)
            {
                Some(moved) => {
                    slot.region = Arc::new(moved);
                    slot.enabled
                }
                None => {
                    fits = slot.region.base() == base;
                    false
                }
            }
        });
        fits
    }

    /// Puts a flash into array mode (`direct`: reads come from memory) or command mode.
    pub fn set_direct(&self, id: RegionId, direct: bool) {
        self.change(id, |slot| {
            slot.region.direct.swap(direct, Ordering::AcqRel) != direct
        });
    }

    /// The region of that name, wherever it is.
    pub fn find(&self, name: &str) -> Option<(RegionId, Arc<Region>)> {
        let slots = lock(&self.slots);
        slots.iter().enumerate().find_map(|(index, slot)| {
            let region = &slot.as_ref()?.region;
            (region.name() == name).then(|| (RegionId(index), region.clone()))
        })
    }

    /// How many accesses reached each device, by the name of its region.
    pub fn accesses(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for slot in lock(&self.slots).iter().flatten() {
            if slot.region.is_device() {
                *counts.entry(slot.region.name().to_owned()).or_default() += slot.region.accesses();
            }
        }
        counts
    }

    /// Changes one slot and, if `change` says so, publishes.
    fn change(&self, id: RegionId, change: impl FnOnce(&mut Slot) -> bool) {
        let mut slots = lock(&self.slots);
        if let Some(Some(slot)) = slots.get_mut(id.0)
            && change(slot)
        {
            self.publish(slots);
        }
    }

    /// Publishes what the slots say, then tells the watches with no lock held.
    fn publish(&self, slots: MutexGuard<'_, Vec<Option<Slot>>>) {
        let shown = slots.iter().flatten().filter(|slot| slot.enabled);
        let view = FlatView::new(shown.map(|slot| &slot.region));
        self.view.store(Arc::new(view));
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(slots);
        let watches = lock(&self.watches).clone();
        for watch in watches {
            watch.view_changed();
        }
    }

    /// [`FlatView::read`] of the present view.
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, address: u64, size: u32) -> Result<u64, BusError> {
        self.view().read(address, size)
    }

    /// [`FlatView::write`] of the present view.
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, address: u64, size: u32, value: u64) -> Result<(), BusError> {
        self.view().write(address, size, value)
    }

    /// [`FlatView::read_bytes`] of the present view.
    ///
    /// # Errors
    /// As there.
    pub fn read_bytes(&self, address: u64, out: &mut [u8]) -> Result<(), BusError> {
        self.view().read_bytes(address, out)
    }

    /// [`FlatView::write_bytes`] of the present view.
    ///
    /// # Errors
    /// As there.
    pub fn write_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), BusError> {
        self.view().write_bytes(address, bytes)
    }

    /// Copies `len` bytes from one place to another, in pieces.
    ///
    /// # Errors
    /// Something on the way answers not.
    pub fn copy(&self, from: u64, to: u64, len: u64) -> Result<(), BusError> {
        let view = self.view();
        let mut buffer = [0; 4096];
        let mut done = 0;
        while done < len {
            let count = (len - done).min(buffer.len() as u64);
            let part = &mut buffer[..count as usize];
            view.read_bytes(from.wrapping_add(done), part)?;
            view.write_bytes(to.wrapping_add(done), part)?;
            done += count;
        }
        Ok(())
    }
}

/// A flash device's hold on its own region: switches between array and command mode.
#[derive(Clone, Debug, Default)]
pub struct RomSwitch(Option<(Weak<AddressSpace>, RegionId)>);

impl RomSwitch {
    /// The switch of one region.
    pub fn new(space: &Arc<AddressSpace>, id: RegionId) -> Self {
        Self(Some((Arc::downgrade(space), id)))
    }

    /// See [`AddressSpace::set_direct`]. Nothing happens if the space is gone.
    pub fn set_direct(&self, direct: bool) {
        if let Some((space, id)) = &self.0
            && let Some(space) = space.upgrade()
        {
            space.set_direct(*id, direct);
        }
    }
}

/// A panic elsewhere does not make the regions wrong: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
