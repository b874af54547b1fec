//! What tier 2 may take of the process's CPU time: the less, the less came of it so far.

use super::process_time;
use std::sync::atomic::{AtomicU32, Ordering};

/// A share of the process's CPU time, in millionths, between two bounds.
#[derive(Debug)]
struct Share {
    now: AtomicU32,
    bounds: (u32, u32),
}

impl Share {
    fn new(now: u32, bounds: (u32, u32)) -> Self {
        let now = AtomicU32::new(now);
        Self { now, bounds }
    }

    /// Makes it so many hundredths of what it was.
    fn scale(&self, hundredths: u32) {
        let next = self.now.load(Ordering::Relaxed) * hundredths / 100;
        let next = next.clamp(self.bounds.0, self.bounds.1);
        self.now.store(next, Ordering::Relaxed);
    }

    /// Nanoseconds of the process's time until now.
    fn ns(&self) -> f64 {
        let share = f64::from(self.now.load(Ordering::Relaxed)) / 1e6;
        share * process_time().as_nanos() as f64
    }
}

/// What may be spent.
#[derive(Debug)]
pub(crate) struct Budget {
    compiling: Share,
    recording: Share,
}

/// What may be spent on compiling in any case, in nanoseconds.
const COMPILING_NS: f64 = 1.5e6;
/// As `COMPILING_NS`, on recordings.
const RECORDING_NS: f64 = 500_000.0;
/// What a recording takes, about.
const ONE_RECORDING_NS: f64 = 60_000.0;

impl Default for Budget {
    fn default() -> Self {
        Self {
            compiling: Share::new(30_000, (3_000, 100_000)),
            recording: Share::new(5_000, (500, 10_000)),
        }
    }
}

impl Budget {
    /// Whether compiling, which took `spent` nanoseconds so far, may take `more`.
    pub fn compiles(&self, spent: f64, more: f64) -> bool {
        spent + more < COMPILING_NS + self.compiling.ns()
    }

    /// Whether there is time for one more recording after `count`.
    pub fn records(&self, count: u64) -> bool {
        (count + 1) as f64 * ONE_RECORDING_NS < RECORDING_NS + self.recording.ns()
    }

    /// A region was faster than tier 1, or not.
    pub fn tried(&self, gained: bool) {
        self.compiling.scale(if gained { 150 } else { 60 });
    }

    /// A recording showed something worth compiling, or not.
    pub fn recorded(&self, promising: bool) {
        self.recording.scale(if promising { 150 } else { 90 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_gets_less_and_never_nothing() {
        let budget = Budget::default();
        assert!(budget.compiles(0.0, 1e6));
        assert!(budget.records(0));
        let at_first = budget.compiling.ns();
        (0..100).for_each(|_| budget.tried(false));
        assert_eq!(budget.compiling.now.load(Ordering::Relaxed), 3_000);
        (0..100).for_each(|_| budget.tried(true));
        assert_eq!(budget.compiling.now.load(Ordering::Relaxed), 100_000);
        assert!(budget.compiling.ns() > at_first);
        (0..100).for_each(|_| budget.recorded(false));
        assert_eq!(budget.recording.now.load(Ordering::Relaxed), 500);
    }
}
