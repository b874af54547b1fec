//! Interrupts: what a device signals, what a transport remembers, what the board's wire sees.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::lock;

/// Status bit: the driver found the device (§2.1).
pub(crate) const ACKNOWLEDGE: u8 = 1;
/// Status bit: the driver knows how to drive it.
pub(crate) const DRIVER: u8 = 2;
/// Status bit: the driver is ready.
pub(crate) const DRIVER_OK: u8 = 4;
/// Status bit: features are agreed.
pub(crate) const FEATURES_OK: u8 = 8;
/// Status bit: the device met an error that it cannot recover from (§2.1.2).
pub(crate) const NEEDS_RESET: u8 = 0x40;

/// Interrupt status: a used buffer (§4.2.2, §4.1.4.5).
const ISR_QUEUE: u8 = 1;
/// Interrupt status: the configuration changed.
const ISR_CONFIG: u8 = 2;

/// A level-triggered wire of the board. Any `Fn(bool)` is one.
pub trait Line: Send + Sync {
    /// Drives the wire.
    fn set_level(&self, high: bool);
}

impl<F: Fn(bool) + Send + Sync> Line for F {
    fn set_level(&self, high: bool) {
        self(high);
    }
}

/// A wire that leads nowhere.
#[derive(Debug, Default)]
pub struct NoLine;

impl Line for NoLine {
    fn set_level(&self, _high: bool) {}
}

/// What a device tells its driver, from any thread.
pub trait Interrupt: Send + Sync {
    /// A buffer of `queue` was used.
    fn signal_queue(&self, queue: u16);

    /// The configuration space changed.
    fn signal_config(&self);

    /// The device can not go on until it is reset.
    fn needs_reset(&self);

    /// Whether the device waits for a reset.
    fn is_broken(&self) -> bool;
}

/// Interrupt status, device status and configuration generation of one device on one wire.
pub(crate) struct Signals {
    status: AtomicU8,
    generation: AtomicU32,
    pending: Mutex<u8>,
    line: Box<dyn Line>,
}

impl Signals {
    pub(crate) fn new(line: Box<dyn Line>) -> Self {
        Signals {
            status: AtomicU8::new(0),
            generation: AtomicU32::new(0),
            pending: Mutex::new(0),
            line,
        }
    }

    pub(crate) fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    /// Replaces the driver's bits; `DEVICE_NEEDS_RESET` is the device's own.
    pub(crate) fn set_status(&self, bits: u8) {
        let keep = |old: u8| Some((old & NEEDS_RESET) | (bits & !NEEDS_RESET));
        let _ = self
            .status
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, keep);
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn reset(&self) {
        self.status.store(0, Ordering::Release);
        self.acknowledge(u8::MAX);
    }

    pub(crate) fn pending(&self) -> u8 {
        *lock(&self.pending)
    }

    /// Clears `bits` and gives what was pending before.
    pub(crate) fn acknowledge(&self, bits: u8) -> u8 {
        let mut pending = lock(&self.pending);
        let before = *pending;
        *pending &= !bits;
        if before != 0 && *pending == 0 {
            self.line.set_level(false);
        }
        before
    }

    fn raise(&self, bit: u8) {
        let mut pending = lock(&self.pending);
        let before = *pending;
        *pending |= bit;
        if before == 0 {
            self.line.set_level(true);
        }
    }
}

impl Interrupt for Signals {
    fn signal_queue(&self, _queue: u16) {
        self.raise(ISR_QUEUE);
    }

    fn signal_config(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        if self.status() & DRIVER_OK != 0 {
            self.raise(ISR_CONFIG);
        }
    }

    fn needs_reset(&self) {
        let before = self.status.fetch_or(NEEDS_RESET, Ordering::AcqRel);
        if before & (NEEDS_RESET | DRIVER_OK) == DRIVER_OK {
            self.signal_config();
        }
    }

    fn is_broken(&self) -> bool {
        self.status() & NEEDS_RESET != 0
    }
}
