//! Notices that a machine no longer shows any sign of life.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a machine last showed a sign of life: its console's back ends beat it.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Nanoseconds from `start` to the last beat.
    last: AtomicU64,
}

impl Pulse {
    /// A pulse that beats now for the first time.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        })
    }

    /// The machine lives.
    pub fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// How long it has been quiet.
    pub fn quiet(&self) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(self.last()))
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Gets the text of a dump.
pub type DumpSink = Box<dyn Fn(&str) + Send + Sync>;

/// Has every vCPU describe itself, once in each period without a beat that lasts too long.
pub struct Watchdog {
    after: Duration,
    pulse: Arc<Pulse>,
    sink: DumpSink,
    /// The beat whose silence was reported; [`NONE`]: none yet.
    reported: AtomicU64,
}

/// No beat.
const NONE: u64 = u64::MAX;

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watchdog({:?})", self.after)
    }
}

impl Watchdog {
    /// Gives `sink` a dump when `pulse` has been quiet for `after`, time in which the machine was
    /// paused not counted.
    pub fn new(after: Duration, pulse: Arc<Pulse>, sink: DumpSink) -> Self {
        Self {
            after: after.max(Duration::from_millis(1)),
            pulse,
            sink,
            reported: AtomicU64::new(NONE),
        }
    }

    /// The machine starts or goes on: what was before is no silence.
    pub(crate) fn start(&self) {
        self.pulse.beat();
    }

    /// How long to wait until the next look; zero: there is a silence to report now.
    pub(crate) fn wait(&self) -> Duration {
        if self.reported.load(Ordering::Relaxed) == self.pulse.last() {
            return self.after;
        }
        self.after.saturating_sub(self.pulse.quiet())
    }

    /// Notes that the present silence is being reported; how long it has lasted.
    pub(crate) fn take(&self) -> Duration {
        self.reported.store(self.pulse.last(), Ordering::Relaxed);
        self.pulse.quiet()
    }

    pub(crate) fn report(&self, text: &str) {
        (self.sink)(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_reported_once() {
        let pulse = Pulse::new();
        let dog = Watchdog::new(Duration::from_millis(2), pulse.clone(), Box::new(|_| ()));
        assert!(
            !Watchdog::new(Duration::from_secs(60), pulse.clone(), Box::new(|_| ()))
                .wait()
                .is_zero()
        );
        std::thread::sleep(Duration::from_millis(3));
        assert!(dog.wait().is_zero());
        assert!(dog.take() >= Duration::from_millis(2));
        assert_eq!(dog.wait(), Duration::from_millis(2));
        pulse.beat();
        std::thread::sleep(Duration::from_millis(3));
        assert!(dog.wait().is_zero());
        dog.start();
        assert!(pulse.quiet() < Duration::from_secs(60));
    }
}
