//! The tick counter that timers and vCPUs share (riscv64: `mtime`, read by `rdtime`).

use crate::clock::Clock;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Who wants to know that the counter was set: those who read it by other means.
pub trait TimeWatch: Send + Sync {
    /// The counter goes on from another value.
    fn time_set(&self);
}

/// Counts ticks of a fixed frequency in virtual time; the guest may set it.
pub struct Timebase {
    clock: Arc<dyn Clock>,
    frequency: u64,
    /// Ticks to add to those of the clock.
    offset: AtomicU64,
    watch: Mutex<Option<Weak<dyn TimeWatch>>>,
}

impl fmt::Debug for Timebase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timebase({} Hz)", self.frequency)
    }
}

impl Timebase {
    /// A counter of `frequency` ticks per second, from 0.
    pub fn new(clock: Arc<dyn Clock>, frequency: u64) -> Arc<Self> {
        Arc::new(Self {
            clock,
            frequency: frequency.max(1),
            offset: AtomicU64::new(0),
            watch: Mutex::new(None),
        })
    }

    /// The clock behind it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Ticks per second.
    pub fn frequency(&self) -> u64 {
        self.frequency
    }

    /// The counter.
    pub fn ticks(&self) -> u64 {
        let ticks = scale(self.clock.virtual_ns(), self.frequency, NANOS);
        ticks.wrapping_add(self.offset.load(Ordering::Acquire))
    }

    /// Sets the counter.
    pub fn set(&self, ticks: u64) {
        let raw = scale(self.clock.virtual_ns(), self.frequency, NANOS);
        self.offset
            .store(ticks.wrapping_sub(raw), Ordering::Release);
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watch.as_ref().and_then(Weak::upgrade);
        if let Some(watch) = watch {
            watch.time_set();
        }
    }

    /// Calls `watch` whenever the counter is set from now on, instead of who was called so far.
    pub fn watch(&self, watch: Weak<dyn TimeWatch>) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// The virtual time at which the counter reaches `ticks`; `None`: not in 500 years.
    pub fn when(&self, ticks: u64) -> Option<u64> {
        let now = self.ticks();
        let Some(left) = ticks.checked_sub(now).filter(|&left| left != 0) else {
            return Some(self.clock.virtual_ns());
        };
        let ns = u128::from(left) * u128::from(NANOS);
        // Rounded up: at that time the counter has reached it.
        let ns = u64::try_from(ns.div_ceil(u128::from(self.frequency))).ok()?;
        self.clock.virtual_ns().checked_add(ns)
    }
}

const NANOS: u64 = 1_000_000_000;

fn scale(value: u64, by: u64, over: u64) -> u64 {
    (u128::from(value) * u128::from(by) / u128::from(over)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn ticks_follow_virtual_time() {
        let clock = ManualClock::new();
        let base = Timebase::new(clock.clone(), 10_000_000);
        clock.advance(1_000_050);
        assert_eq!(base.ticks(), 10_000);
        assert_eq!(base.when(10_001), Some(1_000_150));
        assert_eq!(base.when(5), Some(1_000_050));
        assert_eq!(base.when(u64::MAX), None);
        base.set(7);
        clock.advance(100);
        assert_eq!(base.ticks(), 8);
        base.set(u64::MAX);
        clock.advance(100);
        assert_eq!(base.ticks(), 0);
    }
}
