//! The life of a machine: running, paused, over; and who asked for what.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Why a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The guest powered off; the exit status that it gave (0: all is well).
    Guest(u8),
    /// The user asked.
    Host,
    /// The guest asked for a reset, and the machine is configured to end then.
    InsteadOfReset,
}

impl Shutdown {
    /// Exit status of the emulator.
    pub fn code(self) -> u8 {
        match self {
            Self::Guest(code) => code,
            Self::Host | Self::InsteadOfReset => 0,
        }
    }
}

/// Why a machine starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The guest asked.
    Guest,
    /// The user asked.
    Host,
}

/// What a machine does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// vCPUs run.
    Running,
    /// vCPUs come to stand still, and with the last of them virtual time.
    Paused,
    /// vCPUs stand still until the machine has been reset.
    Resetting(Reset),
    /// It is over.
    Shutdown(Shutdown),
}

/// Who wants to hear of every change at once: the owner of vCPUs, which must be kicked.
pub trait LifeWatch: Send + Sync {
    /// The state is `state` now. Called on the thread that asked, maybe a vCPU's in the middle of
    /// an access to a device: do not wait here.
    fn state_changed(&self, state: RunState);
}

/// The state of one machine, shared by everyone who may ask for a change.
pub struct Life {
    state: Mutex<RunState>,
    changed: Condvar,
    watches: Mutex<Vec<Arc<dyn LifeWatch>>>,
    /// A reset ends the machine instead (`-no-reboot`).
    no_reboot: bool,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Life({:?})", self.state())
    }
}

impl Life {
    /// A paused machine.
    pub fn new(no_reboot: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(RunState::Paused),
            changed: Condvar::new(),
            watches: Mutex::new(Vec::new()),
            no_reboot,
        })
    }

    /// What the machine does now.
    pub fn state(&self) -> RunState {
        *lock(&self.state)
    }

    /// Calls `watch` on every change from now on.
    pub fn watch(&self, watch: Arc<dyn LifeWatch>) {
        lock(&self.watches).push(watch);
    }

    /// Starts or goes on. True if the machine was paused.
    pub fn resume(&self) -> bool {
        self.step(|state| (state == RunState::Paused).then_some(RunState::Running))
    }

    /// Pauses. True if the machine was running.
    pub fn pause(&self) -> bool {
        self.step(|state| (state == RunState::Running).then_some(RunState::Paused))
    }

    /// Asks for the end. Only the first request counts.
    pub fn shutdown(&self, why: Shutdown) {
        self.step(|state| {
            let over = matches!(state, RunState::Shutdown(_));
            (!over).then_some(RunState::Shutdown(why))
        });
    }

    /// Asks for a reset. Only the first request counts, and none after the end.
    pub fn reset(&self, why: Reset) {
        let next = if self.no_reboot {
            RunState::Shutdown(Shutdown::InsteadOfReset)
        } else {
            RunState::Resetting(why)
        };
        self.step(|state| {
            let alive = matches!(state, RunState::Running | RunState::Paused);
            alive.then_some(next)
        });
    }

    /// The reset has been done: the machine runs again. True if there was one to do.
    pub fn reset_done(&self) -> bool {
        self.step(|state| matches!(state, RunState::Resetting(_)).then_some(RunState::Running))
    }

    /// Waits until the state is not `state`, and returns what it is then.
    pub fn wait_while(&self, state: RunState) -> RunState {
        let guard = lock(&self.state);
        let waited = self.changed.wait_while(guard, |now| *now == state);
        *waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, next: impl FnOnce(RunState) -> Option<RunState>) -> bool {
        let mut state = lock(&self.state);
        let Some(next) = next(*state) else {
            return false;
        };
        *state = next;
        drop(state);
        self.changed.notify_all();
        let watches = lock(&self.watches).clone();
        for watch in watches {
            watch.state_changed(next);
        }
        true
    }
}

/// A panic elsewhere does not make the state wrong: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<RunState>>);

    impl LifeWatch for Seen {
        fn state_changed(&self, state: RunState) {
            lock(&self.0).push(state);
        }
    }

    #[test]
    fn a_life() {
        let life = Life::new(false);
        let seen = Arc::new(Seen::default());
        life.watch(seen.clone());
        assert!(!life.pause());
        assert!(life.resume());
        assert!(life.pause());
        life.reset(Reset::Host);
        life.reset(Reset::Guest);
        assert!(!life.resume());
        assert!(life.reset_done());
        assert!(!life.reset_done());
        life.shutdown(Shutdown::Guest(3));
        life.shutdown(Shutdown::Host);
        life.reset(Reset::Guest);
        let end = RunState::Shutdown(Shutdown::Guest(3));
        assert_eq!(life.wait_while(RunState::Running), end);
        let want = [
            RunState::Running,
            RunState::Paused,
            RunState::Resetting(Reset::Host),
            RunState::Running,
            end,
        ];
        assert_eq!(*lock(&seen.0), want);
        assert_eq!(Shutdown::Guest(3).code(), 3);
    }

    #[test]
    fn no_reboot_ends_the_machine() {
        let life = Life::new(true);
        life.resume();
        life.reset(Reset::Guest);
        let end = RunState::Shutdown(Shutdown::InsteadOfReset);
        assert_eq!(life.state(), end);
        assert_eq!(Shutdown::InsteadOfReset.code(), 0);
    }
}
