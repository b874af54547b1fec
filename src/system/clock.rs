//! Time as `-rtc` wants it.

use std::sync::{Arc, Weak};

use isomorph_machine::{Clock, ClockWatch, Deadline};

use crate::system::config::RtcBase;

const NANOS: u64 = 1_000_000_000;

/// A clock whose calendar is set apart from the host's.
#[derive(Debug)]
pub struct Calendar {
    clock: Arc<dyn Clock>,
    base: RtcBase,
    /// The host's calendar time at the start, in nanoseconds.
    host_start: u64,
    /// Virtual time at the start.
    virtual_start: u64,
}

impl Calendar {
    /// The calendar of `base` over `clock`, from now on.
    pub fn over(clock: Arc<dyn Clock>, base: RtcBase) -> Arc<dyn Clock> {
        if base == RtcBase::default() {
            return clock;
        }
        Arc::new(Self {
            base,
            host_start: clock.real_ns(),
            virtual_start: clock.virtual_ns(),
            clock,
        })
    }
}

impl Clock for Calendar {
    fn virtual_ns(&self) -> u64 {
        self.clock.virtual_ns()
    }

    fn real_ns(&self) -> u64 {
        let start = self
            .base
            .start
            .map_or(self.host_start, |start| start * NANOS);
        let passed = if self.base.virtual_time {
            self.clock.virtual_ns().saturating_sub(self.virtual_start)
        } else {
            self.clock.real_ns().saturating_sub(self.host_start)
        };
        start.saturating_add(passed)
    }

    fn arm(&self, key: u64, at: Option<u64>, deadline: Weak<dyn Deadline>) {
        self.clock.arm(key, at, deadline);
    }

    fn new_key(&self) -> u64 {
        self.clock.new_key()
    }

    fn set_running(&self, running: bool) {
        self.clock.set_running(running);
    }

    fn watch(&self, watch: Weak<dyn ClockWatch>) {
        self.clock.watch(watch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_machine::ManualClock;

    #[test]
    fn the_calendar_starts_where_it_is_told() {
        let host = ManualClock::new();
        host.advance(5);
        let of = |start, virtual_time| {
            let base = RtcBase {
                start,
                virtual_time,
            };
            Calendar::over(host.clone(), base)
        };
        let clocks = [
            of(Some(100), false),
            of(Some(100), true),
            of(None, true),
            of(None, false),
        ];
        let now = host.real_ns();
        host.advance(7);
        let shown = clocks.map(|clock| clock.real_ns());
        assert_eq!(shown, [100 * NANOS + 7, 100 * NANOS + 7, now + 7, now + 7]);
    }
}
