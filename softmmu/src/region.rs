//! What lies in the address space: RAM, ROM, flash, registers of devices.

use crate::error::{BusError, MemoryError};
use crate::ram::RamBlock;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Registers of a device. Accesses come from any thread: the lock is inside.
pub trait Mmio: Send + Sync {
    /// Reads `size` (1, 2, 4 or 8) bytes at `offset` of the region; the rest of the value is zero.
    fn read(&self, offset: u64, size: u32) -> u64;

    /// Writes the low `size` (1, 2, 4 or 8) bytes of `value` at `offset` of the region.
    fn write(&self, offset: u64, size: u32, value: u64);
}

/// Which accesses a device's registers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// Smallest access that is answered, in bytes; a smaller one is a bus error.
    pub min: u32,
    /// Largest access that is answered, in bytes; a larger one is a bus error.
    pub max: u32,
    /// Accesses may be at addresses that are no multiple of their size.
    pub unaligned: bool,
    /// Largest access that reaches the device: a larger one is split, low address first.
    pub unit: u32,
}

impl AccessRules {
    /// Every aligned access, as it is.
    pub const ANY: Self = Self {
        min: 1,
        max: 8,
        unaligned: false,
        unit: 8,
    };

    /// Aligned accesses of `min` to `max` bytes, as they are.
    pub const fn sized(min: u32, max: u32) -> Self {
        Self {
            min,
            max,
            unaligned: false,
            unit: max,
        }
    }

    /// True if an access of `size` bytes at `offset` is answered.
    pub fn allow(&self, offset: u64, size: u32) -> bool {
        (self.min..=self.max).contains(&size)
            && size.is_power_of_two()
            && (self.unaligned || offset.is_multiple_of(size.into()))
    }
}

/// What answers accesses to a region.
#[derive(Clone)]
pub enum Backing {
    /// RAM, from this offset on.
    Ram(Arc<RamBlock>, u64),
    /// Contents that the guest reads and executes but cannot change: writes are ignored.
    Rom(Arc<RamBlock>, u64),
    /// A flash: read and executed from RAM as long as it is in array mode, else answered by the
    /// device; writes always go to the device.
    Flash {
        /// The contents.
        ram: Arc<RamBlock>,
        /// Offset of the region's first byte in `ram`.
        offset: u64,
        /// The command interface.
        device: Arc<dyn Mmio>,
        /// Accesses that it takes.
        rules: AccessRules,
    },
    /// Registers.
    Mmio(Arc<dyn Mmio>, AccessRules),
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram(ram, offset) => write!(f, "ram({ram:?} + {offset:#x})"),
            Self::Rom(ram, offset) => write!(f, "rom({ram:?} + {offset:#x})"),
            Self::Flash { ram, offset, .. } => write!(f, "flash({ram:?} + {offset:#x})"),
            Self::Mmio(_, rules) => write!(f, "mmio({rules:?})"),
        }
    }
}

/// A named range of guest-physical addresses.
#[derive(Debug)]
pub struct Region {
    name: String,
    base: u64,
    len: u64,
    priority: i32,
    backing: Backing,
    /// A flash in array mode.
    pub(crate) direct: AtomicBool,
    accesses: AtomicU64,
}

impl Region {
    /// A region of `len` bytes at `base`; where regions overlap, the higher `priority` answers,
    /// and among equals the one added last.
    ///
    /// # Errors
    /// The range is empty, wraps, or is larger than its backing.
    pub fn new(
        name: &str,
        base: u64,
        len: u64,
        priority: i32,
        backing: Backing,
    ) -> Result<Self, MemoryError> {
        let fits = match &backing {
            Backing::Ram(ram, offset) | Backing::Rom(ram, offset) => {
                offset.checked_add(len).is_some_and(|end| end <= ram.len())
            }
            Backing::Flash { ram, offset, .. } => {
                offset.checked_add(len).is_some_and(|end| end <= ram.len())
            }
            Backing::Mmio(..) => true,
        };
        if len == 0 || base.checked_add(len - 1).is_none() || !fits {
            let name = name.to_owned();
            return Err(MemoryError::Region { name, base, len });
        }
        Ok(Self {
            name: name.to_owned(),
            base,
            len,
            priority,
            backing,
            direct: AtomicBool::new(true),
            accesses: AtomicU64::new(0),
        })
    }

    /// The same region somewhere else, or `None` if it does not fit there.
    pub(crate) fn moved(&self, base: u64) -> Option<Self> {
        let backing = self.backing.clone();
        let moved = Self::new(&self.name, base, self.len, self.priority, backing).ok()?;
        moved.direct.store(self.direct(), Ordering::Relaxed);
        moved.accesses.store(self.accesses(), Ordering::Relaxed);
        Some(moved)
    }

    /// Name of the device or memory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First guest-physical address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Last guest-physical address.
    pub fn last(&self) -> u64 {
        self.base + (self.len - 1)
    }

    /// What wins where regions overlap.
    pub fn priority(&self) -> i32 {
        self.priority
    }

    /// What answers.
    pub fn backing(&self) -> &Backing {
        &self.backing
    }

    /// How many accesses reached the device (not: RAM) so far.
    pub fn accesses(&self) -> u64 {
        self.accesses.load(Ordering::Relaxed)
    }

    /// True unless this is a flash in command mode.
    pub fn direct(&self) -> bool {
        self.direct.load(Ordering::Acquire)
    }

    /// The bytes that reads and fetches come from, if they come from memory.
    pub fn readable(&self) -> Option<(&Arc<RamBlock>, u64)> {
        match &self.backing {
            Backing::Ram(ram, offset) | Backing::Rom(ram, offset) => Some((ram, *offset)),
            Backing::Flash { ram, offset, .. } => self.direct().then_some((ram, *offset)),
            Backing::Mmio(..) => None,
        }
    }

    /// The bytes that writes go to, if they go to memory.
    pub fn writable(&self) -> Option<(&Arc<RamBlock>, u64)> {
        match &self.backing {
            Backing::Ram(ram, offset) => Some((ram, *offset)),
            _ => None,
        }
    }

    /// True if a device answers here, at least to some accesses.
    pub(crate) fn is_device(&self) -> bool {
        self.device().is_some()
    }

    fn device(&self) -> Option<(&Arc<dyn Mmio>, AccessRules)> {
        match &self.backing {
            Backing::Mmio(device, rules) | Backing::Flash { device, rules, .. } => {
                Some((device, *rules))
            }
            _ => None,
        }
    }

    /// Reads inside the region; `offset + size` is no larger than the region.
    pub(crate) fn read(&self, offset: u64, size: u32) -> Result<u64, BusError> {
        let error = BusError {
            address: self.base + offset,
        };
        if let Some((ram, start)) = self.readable() {
            return ram.load(start + offset, size).ok_or(error);
        }
        let (device, rules) = self.device().ok_or(error)?;
        if !rules.allow(offset, size) {
            return Err(error);
        }
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let unit = rules.unit.min(size);
        let mut value = 0;
        for at in (0..size).step_by(unit as usize) {
            let part = device.read(offset + u64::from(at), unit) & mask(unit);
            value |= part << (at * 8);
        }
        Ok(value)
    }

    /// Writes inside the region; `offset + size` is no larger than the region.
    pub(crate) fn write(&self, offset: u64, size: u32, value: u64) -> Result<(), BusError> {
        let error = BusError {
            address: self.base + offset,
        };
        if let Some((ram, start)) = self.writable() {
            let done = ram.store(start + offset, size, value);
            return done.then_some(()).ok_or(error);
        }
        let Some((device, rules)) = self.device() else {
            return Ok(()); // ROM
        };
        if !rules.allow(offset, size) {
            return Err(error);
        }
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let unit = rules.unit.min(size);
        for at in (0..size).step_by(unit as usize) {
            device.write(offset + u64::from(at), unit, value >> (at * 8) & mask(unit));
        }
        Ok(())
    }
}

/// The bits of an access of `size` bytes.
pub(crate) fn mask(size: u32) -> u64 {
    u64::MAX >> (64 - size.clamp(1, 8) * 8)
}
