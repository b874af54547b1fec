//! Samples of time: every few milliseconds a thread has the vCPUs that are in generated code leave
//! it at their next poll. Where that is, time is spent.
//!
//! The thread is started once something is hot, and rests while no vCPU runs: an idle guest is not
//! woken. No signals and no timers are involved, since both could be the guest's.

use super::process_time;
use super::thread::{Helper, spawn};
use crate::memory::VcpuRef;
use crate::stats::Counter;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Takes samples.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// One of the constants below.
    mode: AtomicU8,
    state: Mutex<State>,
    changed: Condvar,
    /// Microseconds between samples.
    interval: AtomicU32,
    /// Samples in a row that told nothing new.
    quiet: AtomicU32,
    /// Entries of `run` before the thread was started.
    runs: AtomicU32,
    /// Times that the thread woke up.
    pub ticks: Counter,
}

/// What there is to sample.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub vcpus: Vec<VcpuRef>,
    thread: Option<Helper>,
    /// The thread is to end.
    closed: bool,
}

pub(crate) type SamplerGuard<'a> = MutexGuard<'a, State>;

/// Samples are taken.
const AWAKE: u8 = 0;
/// No samples are taken, nor will be.
const OFF: u8 = 1;
/// There is no thread yet.
const UNSTARTED: u8 = 2;
/// The thread waits until it is woken.
const RESTING: u8 = 3;

/// CPU time of a process in which samples are taken, whatever is hot.
const START: Duration = Duration::from_millis(5);
/// How often that time is looked at: once in so many entries of `run`.
const RUNS: u32 = 16;

impl Sampler {
    /// One that may be started, or not.
    pub fn new(enabled: bool) -> Self {
        Self {
            mode: AtomicU8::new(if enabled { UNSTARTED } else { OFF }),
            state: Mutex::default(),
            changed: Condvar::new(),
            interval: AtomicU32::new(0),
            quiet: AtomicU32::new(0),
            runs: AtomicU32::new(0),
            ticks: Counter::default(),
        }
    }

    /// Holds the sampler still.
    pub fn lock(&self) -> SamplerGuard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether there is no thread yet, but there may be.
    pub fn is_unstarted(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == UNSTARTED
    }

    /// A vCPU is about to run.
    #[inline]
    pub fn running(self: &Arc<Self>) {
        if self.mode.load(Ordering::Relaxed) >= UNSTARTED {
            self.wake();
        }
    }

    #[cold]
    fn wake(self: &Arc<Self>) {
        if self.is_unstarted() {
            let runs = self.runs.fetch_add(1, Ordering::Relaxed);
            if runs % RUNS == RUNS - 1 && process_time() >= START {
                self.start();
            }
            return;
        }
        let state = self.lock();
        let rested = (RESTING, AWAKE);
        if self.change(rested) {
            drop(state);
            self.changed.notify_one();
        }
    }

    fn change(&self, (from, to): (u8, u8)) -> bool {
        let order = Ordering::SeqCst;
        self.mode.compare_exchange(from, to, order, order).is_ok()
    }

    /// Starts the thread if there is none yet.
    pub fn start(self: &Arc<Self>) {
        if !self.change((UNSTARTED, AWAKE)) {
            return;
        }
        let sampler = self.clone();
        let thread = spawn("isomorph-sampler", move || sampler.work());
        if thread.is_none() {
            self.mode.store(OFF, Ordering::SeqCst);
        }
        self.lock().thread = thread;
    }

    /// Ends the thread until it is started anew.
    pub fn end(&self) {
        let mut state = self.lock();
        let Some(thread) = state.thread.take() else {
            return;
        };
        state.closed = true;
        drop(state);
        self.changed.notify_all();
        thread.join();
        self.lock().closed = false;
        self.mode.store(UNSTARTED, Ordering::SeqCst);
    }

    /// Nanoseconds that a sample stands for.
    pub fn sample_ns(&self) -> f64 {
        f64::from(self.interval.load(Ordering::Relaxed)) * 1000.0
    }

    /// A sample told something new, or not.
    pub fn told(&self, new: bool) {
        let quiet = match new {
            true => 0,
            false => self.quiet.load(Ordering::Relaxed).saturating_add(1),
        };
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    fn work(&self) {
        let mut rhythm = Rhythm::default();
        let mut pause = Some(rhythm.pause(0));
        loop {
            let go_on = match pause {
                Some(time) => self.sleep(time),
                None => self.rest(&mut rhythm),
            };
            if !go_on {
                return;
            }
            let quiet = self.quiet.load(Ordering::Relaxed);
            pause = rhythm.next(self.take(), quiet);
            let time = pause.unwrap_or_default().as_micros();
            self.interval.store(time as u32, Ordering::Relaxed);
        }
    }

    /// False if the thread is to end.
    fn sleep(&self, time: Duration) -> bool {
        let asleep = |state: &mut State| !state.closed;
        let slept = self.changed.wait_timeout_while(self.lock(), time, asleep);
        let (state, _) = slept.unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    /// Waits until a vCPU runs again. False if the thread is to end.
    fn rest(&self, rhythm: &mut Rhythm) -> bool {
        let state = self.lock();
        self.mode.store(RESTING, Ordering::SeqCst);
        let rests =
            |state: &mut State| !state.closed && self.mode.load(Ordering::SeqCst) == RESTING;
        // One that was about to run may not have seen that it is to wake this thread.
        let late = self.changed.wait_timeout_while(state, REST, rests);
        let (state, late) = late.unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            self.ticks.add(1);
            if state.vcpus.iter().any(VcpuRef::is_running) {
                self.change((RESTING, AWAKE));
            }
        }
        drop(self.changed.wait_while(state, rests));
        self.sleep(rhythm.wake())
    }

    /// Asks for samples. Whether any vCPU is in generated code.
    fn take(&self) -> bool {
        self.ticks.add(1);
        let mut any = false;
        for vcpu in self.lock().vcpus.iter().filter(|vcpu| vcpu.is_running()) {
            vcpu.cell().sample.store(1, Ordering::Relaxed);
            vcpu.irq().store(1, Ordering::SeqCst);
            any = true;
        }
        any
    }
}

impl State {
    /// In the child of a fork: the thread is gone, and all vCPUs but `mine`.
    pub fn orphaned(&mut self, sampler: &Sampler, mine: VcpuRef) {
        self.vcpus.retain(|vcpu| vcpu.same(mine));
        std::mem::forget(self.thread.take()); // it is the parent's
        if sampler.mode.load(Ordering::SeqCst) != OFF {
            sampler.mode.store(UNSTARTED, Ordering::SeqCst);
        }
    }
}

/// Time between samples: at first, as a rule, and where nothing new is told.
const FIRST: Duration = Duration::from_millis(1);
const OFTEN: Duration = Duration::from_millis(4);
const SELDOM: Duration = Duration::from_millis(16);
/// Samples of the first kind; samples that tell nothing before the last kind begins.
const FIRSTS: u32 = 10;
const QUIET: u32 = 48;
/// How long no vCPU is met running before the thread rests.
const REST: Duration = Duration::from_millis(20);
/// How long it sleeps after its rest, and how often that is doubled while it wakes for nothing.
const NAP: Duration = Duration::from_millis(4);
const NAPS: u32 = 8;
/// Samples in a row that show that it does not wake for nothing.
const BUSY: u32 = 4;

/// When samples are taken.
#[derive(Debug, Default)]
struct Rhythm {
    ticks: u32,
    /// Ticks in a row at which a vCPU ran.
    busy: u32,
    /// How long none did.
    idle: Duration,
    /// Rests since it was last busy.
    naps: u32,
}

impl Rhythm {
    /// How long until the next sample, after `quiet` that told nothing new.
    fn pause(&self, quiet: u32) -> Duration {
        match self.ticks {
            0..FIRSTS => FIRST,
            _ if quiet < QUIET => OFTEN,
            _ => SELDOM,
        }
    }

    /// After a sample, at which a vCPU ran or not: how long until the next. `None`: it rests.
    fn next(&mut self, ran: bool, quiet: u32) -> Option<Duration> {
        let pause = self.pause(quiet);
        if ran {
            self.ticks = self.ticks.saturating_add(1);
            self.busy += 1;
            self.idle = Duration::ZERO;
            if self.busy >= BUSY {
                self.naps = 0;
            }
            return Some(pause);
        }
        self.busy = 0;
        self.idle += pause;
        (self.idle < REST).then_some(pause)
    }

    /// How long to sleep after a rest. If nothing runs then, it rests again.
    fn wake(&mut self) -> Duration {
        let nap = NAP * (1 << self.naps.min(NAPS));
        self.naps += 1;
        self.idle = REST;
        nap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_frequent_at_first_and_rare_once_they_tell_nothing() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.next(true, 0), Some(FIRST));
        for _ in 0..FIRSTS {
            assert!(rhythm.next(true, 0).is_some());
        }
        assert_eq!(rhythm.next(true, 0), Some(OFTEN));
        assert_eq!(rhythm.next(true, QUIET), Some(SELDOM));
        assert_eq!(rhythm.next(true, 0), Some(OFTEN));
    }

    #[test]
    fn an_idle_guest_is_left_alone() {
        let mut rhythm = Rhythm::default();
        let ticks = (0..100).take_while(|_| rhythm.next(false, 0).is_some());
        assert!(ticks.count() < 30);
        // One that wakes up for a moment now and then is looked at less and less.
        let mut last = Duration::ZERO;
        for _ in 0..NAPS {
            let nap = rhythm.wake();
            assert!(nap > last);
            last = nap;
            assert_eq!(rhythm.next(false, 0), None);
        }
        assert!(rhythm.wake() >= Duration::from_secs(1));
        // Until it does not go to sleep again.
        (0..BUSY).for_each(|_| assert!(rhythm.next(true, 0).is_some()));
        assert_eq!(rhythm.wake(), NAP);
    }
}
