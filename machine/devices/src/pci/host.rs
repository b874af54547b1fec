//! The host bridge: ECAM (PCI Express §7.2.2), routing of BARs, INTx wires.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use thiserror::Error;

use super::config::{Bar, BarKind, ConfigSpace, Identity};
use crate::virtio::Line;

const SLOTS: usize = 32;
const FUNCTIONS: usize = 8;
const PINS: usize = 4;
/// Red Hat's generic PCI Express host bridge, which the `virt` boards show at 00:00.0.
const BRIDGE: Identity = Identity {
    vendor: 0x1b36,
    device: 0x0008,
    revision: 0,
    class: 0x06_0000,
    subsystem_vendor: 0x1af4,
    subsystem: 0x1100,
    interrupt_pin: 0,
};

/// Why a function cannot be added.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PciError {
    /// There is no such slot or function number.
    #[error("there is no PCI address {slot:02x}.{function}")]
    Address {
        /// Device number.
        slot: u8,
        /// Function number.
        function: u8,
    },
    /// Something is there already.
    #[error("PCI address {slot:02x}.{function} is taken")]
    Taken {
        /// Device number.
        slot: u8,
        /// Function number.
        function: u8,
    },
    /// All 32 slots are taken.
    #[error("no PCI slot is free")]
    Full,
}

/// A function on the bus. It keeps its own lock.
pub trait PciFunction: Send + Sync {
    /// Reads its configuration space.
    fn config_read(&self, offset: u16, size: u8) -> u32;

    /// Writes its configuration space.
    fn config_write(&self, offset: u16, size: u8, value: u32);

    /// BAR `index` and the address it is mapped at, if it is enabled.
    fn mapped(&self, index: usize) -> Option<(Bar, u64)>;

    /// Reads from BAR `bar`.
    fn bar_read(&self, bar: usize, offset: u64, size: u8) -> u64;

    /// Writes to BAR `bar`.
    fn bar_write(&self, bar: usize, offset: u64, size: u8, value: u64);

    /// As at power-on.
    fn reset(&self);
}

/// One of the bridge's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// I/O ports.
    Io,
    /// Memory that 32-bit BARs reach.
    Memory32,
    /// Memory above.
    Memory64,
}

/// Where a window begins on the bus, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First bus address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
}

/// The bus addresses of the three windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// I/O ports.
    pub io: Range,
    /// 32-bit memory.
    pub memory32: Range,
    /// 64-bit memory.
    pub memory64: Range,
}

struct Route {
    io: bool,
    base: u64,
    size: u64,
    slot: usize,
    bar: usize,
}

type Functions = [Option<Arc<dyn PciFunction>>; SLOTS * FUNCTIONS];

/// An ECAM host bridge with one bus.
pub struct PciHost {
    windows: Windows,
    functions: RwLock<Functions>,
    routes: RwLock<Vec<Route>>,
    wires: Arc<Wires>,
}

/// The four wires, each high while any function holds it.
struct Wires {
    lines: [Box<dyn Line>; PINS],
    holders: Mutex<[[u64; PINS]; PINS]>,
}

impl PciHost {
    /// A bridge with `windows`, whose interrupts go to `lines`.
    pub fn new(windows: Windows, lines: [Box<dyn Line>; PINS]) -> Self {
        let wires = Arc::new(Wires {
            lines,
            holders: Mutex::default(),
        });
        let mut functions: Functions = [const { None }; SLOTS * FUNCTIONS];
        functions[0] = Some(Arc::new(Bridge(Mutex::new(ConfigSpace::new(&BRIDGE)))));
        PciHost {
            windows,
            functions: RwLock::new(functions),
            routes: RwLock::default(),
            wires,
        }
    }

    /// The lowest slot without a function.
    ///
    /// # Errors
    /// All are taken.
    pub fn free_slot(&self) -> Result<u8, PciError> {
        let functions = self
            .functions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut slots = functions.chunks(FUNCTIONS);
        let free = slots.position(|slot| slot.iter().all(Option::is_none));
        free.map(|slot| slot as u8).ok_or(PciError::Full)
    }

    /// The wire that the function at `slot`.`function` drives with `pin` (1 for INTA): on the root
    /// bus, pins rotate by slot (PCI-to-PCI Bridge §9.1).
    pub fn intx(&self, slot: u8, function: u8, pin: u8) -> IntxLine {
        let wire = (usize::from(slot) + usize::from(pin.max(1)) - 1) % PINS;
        let holder = usize::from(slot) * FUNCTIONS + usize::from(function);
        IntxLine {
            wires: Arc::clone(&self.wires),
            wire,
            holder,
        }
    }

    /// Puts a function on the bus.
    ///
    /// # Errors
    /// There is no such address, or it is taken.
    pub fn add(
        &self,
        slot: u8,
        function: u8,
        device: Arc<dyn PciFunction>,
    ) -> Result<(), PciError> {
        if usize::from(slot) >= SLOTS || usize::from(function) >= FUNCTIONS {
            return Err(PciError::Address { slot, function });
        }
        let index = usize::from(slot) * FUNCTIONS + usize::from(function);
        let mut functions = self
            .functions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if functions[index].is_some() {
            return Err(PciError::Taken { slot, function });
        }
        functions[index] = Some(device);
        Ok(())
    }

    /// Every function on the bus: slot, function number, vendor and device.
    pub fn functions(&self) -> Vec<(u8, u8, u16, u16)> {
        let functions = self
            .functions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let present = functions.iter().enumerate();
        let describe = |(index, device): (usize, &Option<Arc<dyn PciFunction>>)| {
            let id = device.as_ref()?.config_read(0, 4);
            let address = ((index / FUNCTIONS) as u8, (index % FUNCTIONS) as u8);
            Some((address.0, address.1, id as u16, (id >> 16) as u16))
        };
        present.filter_map(describe).collect()
    }

    fn function(&self, index: usize) -> Option<Arc<dyn PciFunction>> {
        let functions = self
            .functions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        functions.get(index).cloned().flatten()
    }

    /// Reads the ECAM region: 1, 2 or 4 bytes; 8 are two times 4.
    pub fn ecam_read(&self, offset: u64, size: u8) -> u64 {
        if size == 8 {
            return self.ecam_read(offset, 4) | self.ecam_read(offset + 4, 4) << 32;
        }
        let absent = u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 4)));
        match ecam_address(offset).and_then(|(index, at)| Some((self.function(index)?, at))) {
            Some((function, at)) => u64::from(function.config_read(at, size)) & absent,
            None => absent,
        }
    }

    /// Writes the ECAM region.
    pub fn ecam_write(&self, offset: u64, size: u8, value: u64) {
        if size == 8 {
            self.ecam_write(offset, 4, value & 0xffff_ffff);
            return self.ecam_write(offset + 4, 4, value >> 32);
        }
        let Some((index, at)) = ecam_address(offset) else {
            return;
        };
        let Some(function) = self.function(index) else {
            return;
        };
        function.config_write(at, size, value as u32);
        // Command and BARs: what is mapped may have moved.
        if at < 0x28 {
            self.update_routes(index, &*function);
        }
    }

    fn update_routes(&self, slot: usize, function: &dyn PciFunction) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|route| route.slot != slot);
        for bar in 0..6 {
            if let Some((Bar { kind, size, .. }, base)) = function.mapped(bar) {
                routes.push(Route {
                    io: kind == BarKind::Io,
                    base,
                    size,
                    slot,
                    bar,
                });
            }
        }
    }

    fn route(
        &self,
        window: Window,
        offset: u64,
        size: u8,
    ) -> Option<(Arc<dyn PciFunction>, usize, u64)> {
        let range = match window {
            Window::Io => self.windows.io,
            Window::Memory32 => self.windows.memory32,
            Window::Memory64 => self.windows.memory64,
        };
        let address = range.base.checked_add(offset)?;
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let route = routes.iter().find(|route| {
            let inside = address.checked_sub(route.base);
            let fits = |at: u64| at < route.size && u64::from(size) <= route.size - at;
            route.io == (window == Window::Io) && inside.is_some_and(fits)
        })?;
        let (slot, bar, at) = (route.slot, route.bar, address - route.base);
        drop(routes);
        Some((self.function(slot)?, bar, at))
    }

    /// Reads at `offset` of a window.
    pub fn window_read(&self, window: Window, offset: u64, size: u8) -> u64 {
        match self.route(window, offset, size) {
            Some((function, bar, at)) => function.bar_read(bar, at, size),
            None => u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8))),
        }
    }

    /// Writes at `offset` of a window.
    pub fn window_write(&self, window: Window, offset: u64, size: u8, value: u64) {
        if let Some((function, bar, at)) = self.route(window, offset, size) {
            function.bar_write(bar, at, size, value);
        }
    }

    /// As at power-on, every function too.
    pub fn reset(&self) {
        for index in 0..SLOTS * FUNCTIONS {
            if let Some(function) = self.function(index) {
                function.reset();
                self.update_routes(index, &*function);
            }
        }
    }
}

/// Function index and register of an ECAM offset; `None` off bus 0.
fn ecam_address(offset: u64) -> Option<(usize, u16)> {
    let index = usize::try_from(offset >> 12).ok()?;
    (index < SLOTS * FUNCTIONS).then_some((index, (offset & 0xfff) as u16))
}

/// One function's hold on one of the four wires.
pub struct IntxLine {
    wires: Arc<Wires>,
    wire: usize,
    holder: usize,
}

impl Line for IntxLine {
    fn set_level(&self, high: bool) {
        let mut holders = lock(&self.wires.holders);
        let held = &mut holders[self.wire];
        let before = held.iter().any(|&word| word != 0);
        let bit = 1 << (self.holder % 64);
        let word = &mut held[self.holder / 64];
        *word = if high { *word | bit } else { *word & !bit };
        let after = held.iter().any(|&word| word != 0);
        if before != after {
            self.wires.lines[self.wire].set_level(after);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bridge itself, as the function that software finds at 00:00.0.
struct Bridge(Mutex<ConfigSpace>);

impl PciFunction for Bridge {
    fn config_read(&self, offset: u16, size: u8) -> u32 {
        lock(&self.0).read(offset, size)
    }

    fn config_write(&self, offset: u16, size: u8, value: u32) {
        lock(&self.0).write(offset, size, value);
    }

    fn mapped(&self, _index: usize) -> Option<(Bar, u64)> {
        None
    }

    fn bar_read(&self, _bar: usize, _offset: u64, _size: u8) -> u64 {
        u64::MAX
    }

    fn bar_write(&self, _bar: usize, _offset: u64, _size: u8, _value: u64) {}

    fn reset(&self) {
        *lock(&self.0) = ConfigSpace::new(&BRIDGE);
    }
}
