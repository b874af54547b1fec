//! State and behaviour of the Goldfish real-time clock.

use super::regs::*;
use crate::sync::lock;
use isomorph_machine::{Clock, Deadline, Device, IrqLine};
use isomorph_softmmu::Mmio;
use std::sync::{Arc, Mutex, Weak};

/// Registers of the clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtcState {
    /// What the guest's time is ahead of the machine's.
    offset: u64,
    /// Latched when the low half is read.
    time_high: u32,
    alarm_low: u32,
    alarm_high: u32,
    armed: bool,
    enabled: bool,
    pending: bool,
}

impl RtcState {
    fn alarm(&self) -> u64 {
        u64::from(self.alarm_high) << 32 | u64::from(self.alarm_low)
    }
}

/// A Goldfish real-time clock.
pub struct Rtc {
    state: Mutex<RtcState>,
    irq: IrqLine,
    clock: Arc<dyn Clock>,
    key: u64,
    /// Itself, to be called by the clock.
    weak: Weak<Self>,
}

impl Rtc {
    /// A clock that shows the calendar time of `clock` at first.
    pub fn new(irq: IrqLine, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|weak| Self {
            state: Mutex::default(),
            irq,
            key: clock.new_key(),
            clock,
            weak: weak.clone(),
        })
    }

    /// All registers.
    pub fn state(&self) -> RtcState {
        lock(&self.state).clone()
    }

    /// Sets all registers.
    pub fn restore(&self, new: RtcState) {
        self.change(|state| *state = new);
    }

    fn now(&self, state: &RtcState) -> u64 {
        self.clock.real_ns().wrapping_add(state.offset)
    }

    fn change<R>(&self, act: impl FnOnce(&mut RtcState) -> R) -> R {
        let mut state = lock(&self.state);
        let result = act(&mut state);
        let left = state.alarm().saturating_sub(self.now(&state));
        if state.armed && left == 0 {
            state.armed = false;
            state.pending = true;
        }
        let now = self.clock.virtual_ns();
        let at = state.armed.then(|| now.saturating_add(left));
        let weak: Weak<Self> = self.weak.clone();
        self.clock.arm(self.key, at, weak);
        self.irq.set(state.pending && state.enabled);
        result
    }
}

impl Deadline for Rtc {
    fn expired(&self) {
        self.change(|_| ());
    }
}

impl Mmio for Rtc {
    fn read(&self, offset: u64, _: u32) -> u64 {
        let mut state = lock(&self.state);
        let value = match offset {
            TIME_LOW => {
                let now = self.now(&state);
                state.time_high = (now >> 32) as u32;
                now as u32
            }
            TIME_HIGH => state.time_high,
            ALARM_LOW => state.alarm_low,
            ALARM_HIGH => state.alarm_high,
            IRQ_ENABLED => state.enabled.into(),
            ALARM_STATUS => state.armed.into(),
            _ => 0,
        };
        value.into()
    }

    fn write(&self, offset: u64, _: u32, value: u64) {
        let value = value as u32;
        self.change(|state| match offset {
            TIME_LOW => {
                let time = u64::from(state.time_high) << 32 | u64::from(value);
                state.offset = time.wrapping_sub(self.clock.real_ns());
            }
            TIME_HIGH => state.time_high = value,
            ALARM_LOW => {
                state.alarm_low = value;
                state.armed = true;
            }
            ALARM_HIGH => state.alarm_high = value,
            IRQ_ENABLED => state.enabled = value & 1 != 0,
            CLEAR_ALARM => state.armed = false,
            CLEAR_INTERRUPT => state.pending = false,
            _ => {}
        });
    }
}

impl Device for Rtc {
    fn reset(&self) {
        self.change(|state| {
            // A clock with a battery: the time that was set stays.
            let offset = state.offset;
            *state = RtcState {
                offset,
                ..RtcState::default()
            };
        });
    }
}
