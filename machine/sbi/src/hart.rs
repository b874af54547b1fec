//! What the firmware knows of a hart.

use crate::pmu::{Event, Pmu};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// State of a hart with its number (table "HSM Hart States"). Pending states that would end within
/// the same call do not occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    Started = 0,
    Stopped = 1,
    StartPending = 2,
    Suspended = 4,
}

/// One hart.
#[derive(Debug)]
pub(crate) struct Hart {
    /// A [`Status`].
    status: AtomicU8,
    pmu: Mutex<Pmu>,
}

impl Hart {
    pub fn new(started: bool) -> Self {
        let hart = Self {
            status: AtomicU8::new(Status::Stopped as u8),
            pmu: Mutex::default(),
        };
        hart.reset(started);
        hart
    }

    /// Back to the state after power-on.
    pub fn reset(&self, started: bool) {
        *self.pmu() = Pmu::default();
        self.set_status(if started {
            Status::Started
        } else {
            Status::Stopped
        });
    }

    /// Its state, by number.
    pub fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    pub fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Goes from one state to another; false if it was in neither of the two, or in the other.
    pub fn change_status(&self, from: Status, to: Status) -> bool {
        let (from, to) = (from as u8, to as u8);
        let changed = self
            .status
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        changed.is_ok()
    }

    /// It executes again.
    pub fn resumed(&self) {
        self.change_status(Status::Suspended, Status::Started);
    }

    /// It executes, or does so before long without being started.
    pub fn is_alive(&self) -> bool {
        self.status() != Status::Stopped as u8
    }

    /// Its performance counters.
    pub fn pmu(&self) -> MutexGuard<'_, Pmu> {
        // Each change is complete in itself, also if someone panicked.
        self.pmu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a firmware event.
    pub fn count(&self, event: Event, times: u64) {
        self.pmu().count(event, times);
    }
}
