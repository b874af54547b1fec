//! The machine's time as translated code reads it: the host's counter, scaled.

use isomorph_engine::host_ticks;
use isomorph_frontend::TimeScale;
use isomorph_machine::{Clock, ClockWatch, Deadline, TimeWatch, Timebase};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The shortest time over which the host counter's rate is measured.
const MEASURE: Duration = Duration::from_millis(20);
/// How often the scale is brought back to the machine's clock.
const RESYNC_NS: u64 = 1_000_000_000;
/// A difference in ticks' time that is jumped, not made good little by little.
const JUMP_NS: u64 = 10_000_000;

/// A reading of both clocks at one moment.
#[derive(Clone, Copy)]
struct Reading {
    raw: u64,
    at: Instant,
}

impl Reading {
    fn now() -> Self {
        Self {
            raw: host_ticks(),
            at: Instant::now(),
        }
    }
}

/// Who is told of a new scale.
pub(crate) trait Listener: Send + Sync {
    /// Time is read with `scale` from now on.
    fn scale_changed(&self, scale: TimeScale);
}

/// How the time is read.
#[derive(Default)]
struct Reads {
    scale: TimeScale,
    /// Ticks at which it stands, while the machine's clock does.
    stopped: Option<u64>,
}

/// The scale in force and how it is kept true.
pub(crate) struct Time {
    base: Arc<Timebase>,
    clock: Arc<dyn Clock>,
    start: Reading,
    reads: Mutex<Reads>,
    key: u64,
    me: Weak<Self>,
    listener: Mutex<Option<Weak<dyn Listener>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ticks of the machine per tick of the host, times 2^32.
fn rate(frequency: u64, raw: u64, ns: u64) -> u64 {
    let product = (u128::from(frequency) << 32) * u128::from(ns) / 1_000_000_000;
    u64::try_from(product / u128::from(raw.max(1))).unwrap_or(u64::MAX)
}

/// The scale with `multiplier` that says `ticks` when the counter is `raw`.
fn through(multiplier: u64, raw: u64, ticks: u64) -> TimeScale {
    let scale = TimeScale {
        multiplier,
        offset: 0,
    };
    TimeScale {
        offset: ticks.wrapping_sub(scale.of(raw)),
        ..scale
    }
}

impl Time {
    /// Measures the host counter's rate, for up to 20 ms.
    pub fn new(base: Arc<Timebase>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let start = Reading::now();
        std::thread::sleep(MEASURE);
        let time = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            key: clock.new_key(),
            base,
            clock,
            start,
            reads: Mutex::default(),
            listener: Mutex::new(None),
        });
        let now = Reading::now();
        lock(&time.reads).scale = through(time.true_rate(now), now.raw, time.base.ticks());
        time
    }

    /// Keeps the scale true from now on, and tells `listener`.
    pub fn keep(&self, listener: Weak<dyn Listener>) {
        *lock(&self.listener) = Some(listener);
        self.base.watch(self.me.clone());
        self.clock.watch(self.me.clone());
        self.rearm();
    }

    fn rearm(&self) {
        let at = self.clock.virtual_ns().saturating_add(RESYNC_NS);
        self.clock.arm(self.key, Some(at), self.me.clone());
    }

    fn true_rate(&self, now: Reading) -> u64 {
        let ns = now.at.duration_since(self.start.at).as_nanos();
        let ns = u64::try_from(ns).unwrap_or(u64::MAX);
        rate(
            self.base.frequency(),
            now.raw.wrapping_sub(self.start.raw),
            ns,
        )
    }

    /// The scale in force.
    pub fn scale(&self) -> TimeScale {
        lock(&self.reads).scale
    }

    /// Ticks now.
    pub fn ticks(&self) -> u64 {
        let reads = lock(&self.reads);
        let stopped = reads.stopped;
        stopped.unwrap_or_else(|| reads.scale.of(host_ticks()))
    }

    /// Nanoseconds of virtual time when the counter reaches `ticks`.
    pub fn when(&self, ticks: u64) -> Option<u64> {
        let left = ticks.saturating_sub(self.ticks());
        let ns = u128::from(left) * 1_000_000_000 / u128::from(self.base.frequency().max(1));
        let ns = u64::try_from(ns).ok()?;
        // A little late rather than early: early would mean once more.
        self.clock.virtual_ns().checked_add(ns.checked_add(1000)?)
    }

    /// Brings the scale back to the machine's clock: by running a little faster or slower for the
    /// next second, or at once if they are far apart (time was set).
    pub fn resync(&self) {
        let mut reads = lock(&self.reads);
        if reads.stopped.is_some() {
            return;
        }
        let now = Reading::now();
        let want = self.base.ticks();
        let frequency = self.base.frequency();
        let rate = self.true_rate(now);
        let have = reads.scale.of(now.raw);
        let far = frequency / (1_000_000_000 / JUMP_NS);
        let apart = want.wrapping_sub(have) as i64;
        reads.scale = if apart.unsigned_abs() > far {
            through(rate, now.raw, want)
        } else {
            // In a second of `frequency` ticks, `apart` more of them.
            let more = i128::from(rate) * i128::from(apart) / i128::from(frequency.max(1));
            let rate = (i128::from(rate) + more).clamp(1, i128::from(u64::MAX)) as u64;
            through(rate, now.raw, have)
        };
        self.tell(&reads);
    }

    /// Tells of the scale, with the lock held: each listener ends with the newest one.
    fn tell(&self, reads: &Reads) {
        let listener = lock(&self.listener).as_ref().and_then(Weak::upgrade);
        if let Some(listener) = listener {
            listener.scale_changed(reads.scale);
        }
    }
}

impl TimeWatch for Time {
    fn time_set(&self) {
        if let Some(stopped) = &mut lock(&self.reads).stopped {
            *stopped = self.base.ticks();
        }
        self.resync();
    }
}

impl ClockWatch for Time {
    /// Goes on from the ticks at which it stopped, which differ from the clock's by what the
    /// scale was to make good: at the clock's it could have gone back.
    fn running_changed(&self, running: bool) {
        let mut reads = lock(&self.reads);
        let raw = host_ticks();
        match reads.stopped {
            None if !running => reads.stopped = Some(reads.scale.of(raw)),
            Some(ticks) if running => {
                reads.stopped = None;
                reads.scale = through(reads.scale.multiplier, raw, ticks);
                self.tell(&reads);
            }
            _ => {}
        }
    }
}

impl Deadline for Time {
    fn expired(&self) {
        self.resync();
        self.rearm();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_machine::HostClock;

    #[test]
    fn a_scale_goes_through_its_point() {
        let rate = rate(10_000_000, 2_000_000_000, 1_000_000_000);
        let scale = through(rate, 123_456_789_000, 42);
        assert_eq!(scale.of(123_456_789_000), 42);
        let second = scale.of(123_456_789_000 + 2_000_000_000) - 42;
        assert!((9_999_999..=10_000_000).contains(&second), "{second}");
    }

    #[test]
    fn time_follows_the_clock_and_does_not_go_back() {
        let clock = HostClock::new().expect("a thread");
        let base = Timebase::new(clock.clone(), 10_000_000);
        let time = Time::new(base.clone(), clock);
        let mut last = time.ticks();
        for _ in 0..50 {
            time.resync();
            let now = time.ticks();
            assert!(now >= last);
            last = now;
        }
        assert!(time.ticks().abs_diff(base.ticks()) < 50_000);
        base.set(1 << 40);
        time.resync();
        assert!(time.ticks() >> 40 == 1);
    }

    #[test]
    fn time_stops_with_the_clock_and_goes_on_from_there() {
        const PAUSE: Duration = Duration::from_millis(50);
        let clock = HostClock::new().expect("a thread");
        let base = Timebase::new(clock.clone(), 10_000_000);
        let time = Time::new(base.clone(), clock.clone());
        time.keep(Weak::<Nobody>::new());
        // Ahead of the clock, but not so far that it jumps.
        lock(&time.reads).scale.offset += 50_000;
        let (start, before) = (Instant::now(), time.ticks());
        clock.set_running(false);
        let stopped = time.ticks();
        assert!(stopped >= before);
        std::thread::sleep(PAUSE);
        time.expired();
        assert_eq!(time.ticks(), stopped);
        clock.set_running(true);
        let after = time.ticks();
        assert!(after >= stopped);
        let ran = start.elapsed().saturating_sub(PAUSE).as_nanos() / 100;
        assert!(u128::from(after - before) <= ran + 1000, "{ran}");
        clock.set_running(false);
        base.set(1 << 40);
        assert_eq!(time.ticks(), base.ticks());
        clock.set_running(true);
        assert_eq!(time.ticks() >> 40, 1);
    }

    struct Nobody;

    impl Listener for Nobody {
        fn scale_changed(&self, _: TimeScale) {}
    }
}
