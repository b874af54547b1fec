//! Time as guests see it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is done when a deadline is reached.
pub trait Deadline: Send + Sync {
    /// The time that was asked for has come, or has been passed. Called on the clock's thread
    /// with no lock held; may ask for the next one.
    fn expired(&self);
}

/// Who counts time by other means than the clock, and has to stop and go on with it.
pub trait ClockWatch: Send + Sync {
    /// Virtual time has stopped, or goes on. Called by [`Clock::set_running`]; do not wait here.
    fn running_changed(&self, running: bool);
}

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Nanoseconds of virtual time since the machine started: stands still while it is paused.
    fn virtual_ns(&self) -> u64;

    /// Nanoseconds since 1970-01-01 UTC, as the guest's calendar should show it.
    fn real_ns(&self) -> u64;

    /// Calls `deadline` once when virtual time reaches `at`; replaces what the same `key` asked
    /// for before. `None` asks for nothing any more.
    fn arm(&self, key: u64, at: Option<u64>, deadline: Weak<dyn Deadline>);

    /// A key that nobody else has.
    fn new_key(&self) -> u64;

    /// Stops or goes on with virtual time, which never goes back by it. Nobody who reads it by
    /// other means runs meanwhile.
    fn set_running(&self, running: bool);

    /// Calls `watch` whenever virtual time stops or goes on from now on.
    fn watch(&self, watch: Weak<dyn ClockWatch>);
}

/// What has been asked for, soonest first is a search: a machine has a handful of timers.
#[derive(Default)]
struct Armed(Vec<(u64, u64, Weak<dyn Deadline>)>);

impl Armed {
    fn arm(&mut self, key: u64, at: Option<u64>, deadline: Weak<dyn Deadline>) {
        self.0.retain(|(other, ..)| *other != key);
        if let Some(at) = at {
            self.0.push((key, at, deadline));
        }
    }

    fn soonest(&self) -> Option<u64> {
        self.0.iter().map(|(_, at, _)| *at).min()
    }

    /// Takes those that `now` has reached, soonest first.
    fn take_due(&mut self, now: u64) -> Vec<Weak<dyn Deadline>> {
        let mut due: Vec<_> = self.0.extract_if(.., |(_, at, _)| *at <= now).collect();
        due.sort_by_key(|(_, at, _)| *at);
        due.into_iter().map(|(_, _, deadline)| deadline).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fire(due: Vec<Weak<dyn Deadline>>) {
    for deadline in due {
        if let Some(deadline) = deadline.upgrade() {
            deadline.expired();
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How virtual time follows the host's, in nanoseconds.
#[derive(Clone, Copy)]
enum Pace {
    /// It runs, so far behind.
    Behind(u64),
    /// It stands at this.
    Stopped(u64),
}

/// The host's time, with a thread that waits for deadlines.
pub struct HostClock {
    armed: Mutex<Armed>,
    changed: Condvar,
    keys: AtomicU64,
    start: Instant,
    /// A lock, so that nobody has read a later time than that at which it stops.
    pace: RwLock<Pace>,
    watches: Mutex<Vec<Weak<dyn ClockWatch>>>,
}

impl fmt::Debug for HostClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostClock({} ns)", self.virtual_ns())
    }
}

impl HostClock {
    /// A clock that runs from 0 on. Its thread ends when the clock is dropped.
    ///
    /// # Errors
    /// The host gives no thread.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let clock = Arc::new(Self {
            armed: Mutex::default(),
            changed: Condvar::new(),
            keys: AtomicU64::new(0),
            start: Instant::now(),
            pace: RwLock::new(Pace::Behind(0)),
            watches: Mutex::default(),
        });
        let weak = Arc::downgrade(&clock);
        thread::Builder::new()
            .name("clock".into())
            .spawn(move || while weak.upgrade().is_some_and(|clock| clock.wait_once()) {})?;
        Ok(clock)
    }

    fn pace(&self) -> Pace {
        *self.pace.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops or goes on; false if it did so before.
    fn change_pace(&self, running: bool) -> bool {
        let mut pace = self.pace.write().unwrap_or_else(PoisonError::into_inner);
        let host = nanos(self.start.elapsed());
        *pace = match *pace {
            Pace::Stopped(at) if running => Pace::Behind(host.saturating_sub(at)),
            Pace::Behind(lost) if !running => Pace::Stopped(host.saturating_sub(lost)),
            _ => return false,
        };
        true
    }

    /// Waits for the next deadline, but never long, so that a dropped clock's thread ends.
    fn wait_once(&self) -> bool {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut armed = lock(&self.armed);
        let running = matches!(self.pace(), Pace::Behind(_));
        let now = self.virtual_ns();
        let due = if running {
            armed.take_due(now)
        } else {
            Vec::new()
        };
        if due.is_empty() {
            let wait = match armed.soonest() {
                Some(at) if running => Duration::from_nanos(at.saturating_sub(now)),
                _ => LONGEST,
            };
            let waited = self.changed.wait_timeout(armed, wait.min(LONGEST));
            drop(waited);
        } else {
            drop(armed);
            fire(due);
        }
        true
    }
}

impl Clock for HostClock {
    fn virtual_ns(&self) -> u64 {
        let pace = self.pace.read().unwrap_or_else(PoisonError::into_inner);
        match *pace {
            Pace::Behind(lost) => nanos(self.start.elapsed()).saturating_sub(lost),
            Pace::Stopped(at) => at,
        }
    }

    fn real_ns(&self) -> u64 {
        nanos(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    fn arm(&self, key: u64, at: Option<u64>, deadline: Weak<dyn Deadline>) {
        let mut armed = lock(&self.armed);
        let before = armed.soonest();
        armed.arm(key, at, deadline);
        // Only an earlier deadline needs the thread's attention.
        if armed
            .soonest()
            .is_some_and(|at| before.is_none_or(|before| at < before))
        {
            self.changed.notify_one();
        }
    }

    fn new_key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    fn set_running(&self, running: bool) {
        // The lock keeps the waiting thread from missing the change.
        let armed = lock(&self.armed);
        let changed = self.change_pace(running);
        drop(armed);
        if !changed {
            return;
        }
        self.changed.notify_one();
        let mut watches = lock(&self.watches);
        watches.retain(|watch| watch.strong_count() != 0);
        let watches = watches.clone();
        for watch in watches.iter().filter_map(Weak::upgrade) {
            watch.running_changed(running);
        }
    }

    fn watch(&self, watch: Weak<dyn ClockWatch>) {
        lock(&self.watches).push(watch);
    }
}

/// A clock that goes on only when told: for tests and for replayed runs.
#[derive(Default)]
pub struct ManualClock {
    now: AtomicU64,
    keys: AtomicU64,
    armed: Mutex<Armed>,
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({} ns)", self.virtual_ns())
    }
}

impl ManualClock {
    /// A clock at 0.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Goes on by `ns`, and fires what that reaches.
    pub fn advance(&self, ns: u64) {
        let now = self.now.fetch_add(ns, Ordering::AcqRel).saturating_add(ns);
        let due = lock(&self.armed).take_due(now);
        fire(due);
    }

    /// The soonest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        lock(&self.armed).soonest()
    }
}

impl Clock for ManualClock {
    fn virtual_ns(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }

    /// Calendar time starts at 2000-01-01 UTC.
    fn real_ns(&self) -> u64 {
        946_684_800_000_000_000 + self.virtual_ns()
    }

    fn arm(&self, key: u64, at: Option<u64>, deadline: Weak<dyn Deadline>) {
        lock(&self.armed).arm(key, at, deadline);
    }

    fn new_key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    fn set_running(&self, _: bool) {}

    fn watch(&self, _: Weak<dyn ClockWatch>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl Deadline for Count {
        fn expired(&self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn weak(count: &Arc<Count>) -> Weak<dyn Deadline> {
        let weak: Weak<Count> = Arc::downgrade(count);
        weak
    }

    #[test]
    fn deadlines_fire_once_when_reached() {
        let clock = ManualClock::new();
        let count = Arc::new(Count::default());
        let key = clock.new_key();
        clock.arm(key, Some(10), weak(&count));
        clock.arm(key, Some(20), weak(&count));
        clock.advance(19);
        assert_eq!(count.0.load(Ordering::Acquire), 0);
        assert_eq!(clock.next_deadline(), Some(20));
        clock.advance(100);
        clock.advance(100);
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        clock.arm(key, Some(300), weak(&count));
        clock.arm(key, None, weak(&count));
        clock.advance(1000);
        assert_eq!(count.0.load(Ordering::Acquire), 1);
    }

    #[test]
    fn the_hosts_clock_fires_and_stands_still() {
        let clock = HostClock::new().expect("a thread");
        let count = Arc::new(Count::default());
        let at = clock.virtual_ns() + 1_000_000;
        clock.arm(clock.new_key(), Some(at), weak(&count));
        let start = Instant::now();
        while count.0.load(Ordering::Acquire) == 0 && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        assert!(clock.virtual_ns() >= at);
        clock.set_running(false);
        let then = clock.virtual_ns();
        thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.virtual_ns(), then);
        clock.set_running(true);
        assert!(clock.real_ns() > 946_684_800_000_000_000);
    }
}
