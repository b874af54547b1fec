//! State and behaviour of the ACLINT.

use super::regs::*;
use crate::sync::lock;
use isomorph_machine::{Deadline, Device, IrqLine, Timebase};
use isomorph_softmmu::Mmio;
use std::sync::{Arc, Mutex, Weak};

/// The lines to one hart.
#[derive(Clone, Debug, Default)]
pub struct HartLines {
    /// Machine software interrupt.
    pub software: IrqLine,
    /// Machine timer interrupt.
    pub timer: IrqLine,
}

/// Registers of an ACLINT; its counter is the machine's time base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclintState {
    /// By hart.
    mtimecmp: Vec<u64>,
    msip: Vec<bool>,
}

impl AclintState {
    fn new(harts: usize) -> Self {
        Self {
            mtimecmp: vec![u64::MAX; harts],
            msip: vec![false; harts],
        }
    }
}

/// An ACLINT.
pub struct Aclint {
    state: Mutex<AclintState>,
    harts: Vec<HartLines>,
    time: Arc<Timebase>,
    key: u64,
    /// Itself, to be called by the clock.
    weak: Weak<Self>,
}

impl Aclint {
    /// An ACLINT for as many harts as there are lines, at most [`MAX_HARTS`].
    pub fn new(mut harts: Vec<HartLines>, time: Arc<Timebase>) -> Arc<Self> {
        harts.truncate(MAX_HARTS);
        Arc::new_cyclic(|weak| Self {
            state: Mutex::new(AclintState::new(harts.len())),
            harts,
            key: time.clock().new_key(),
            time,
            weak: weak.clone(),
        })
    }

    /// All registers.
    pub fn state(&self) -> AclintState {
        lock(&self.state).clone()
    }

    /// Sets all registers; false if they are those of another number of harts.
    pub fn restore(&self, new: AclintState) -> bool {
        self.change(|state| {
            let same = new.msip.len() == state.msip.len();
            if same {
                *state = new;
            }
            same
        })
    }

    /// Changes the state, drives the lines, and asks for the next deadline.
    fn change<R>(&self, act: impl FnOnce(&mut AclintState) -> R) -> R {
        let mut state = lock(&self.state);
        let result = act(&mut state);
        let now = self.time.ticks();
        let mut next = None;
        for (hart, lines) in self.harts.iter().enumerate() {
            let compare = state.mtimecmp.get(hart).copied().unwrap_or(u64::MAX);
            lines.timer.set(now >= compare);
            lines.software.set(state.msip.get(hart) == Some(&true));
            if now < compare {
                next = Some(next.unwrap_or(u64::MAX).min(compare));
            }
        }
        let weak: Weak<Self> = self.weak.clone();
        let at = next.and_then(|ticks| self.time.when(ticks));
        self.time.clock().arm(self.key, at, weak);
        result
    }
}

impl Deadline for Aclint {
    fn expired(&self) {
        self.change(|_| ());
    }
}

/// The 64-bit register `old` after a write of `size` bytes at `offset` of it.
fn merge(old: u64, offset: u64, size: u32, value: u64) -> u64 {
    match (size, offset & 4) {
        (4, 0) => old & !0xffff_ffff | value & 0xffff_ffff,
        (4, _) => old & 0xffff_ffff | value << 32,
        _ => value,
    }
}

impl Mmio for Aclint {
    fn read(&self, offset: u64, size: u32) -> u64 {
        let state = lock(&self.state);
        let value = match Register::at(offset) {
            // A 64-bit access reads two harts' registers.
            Some(Register::Msip(hart)) => {
                let bit = |hart: usize| u64::from(state.msip.get(hart) == Some(&true));
                bit(hart) | if size == 8 { bit(hart + 1) << 32 } else { 0 }
            }
            Some(Register::MtimeCmp(hart)) => {
                let value = state.mtimecmp.get(hart).copied().unwrap_or(0);
                value >> ((offset & 4) * 8)
            }
            Some(Register::Mtime) => self.time.ticks() >> ((offset & 4) * 8),
            None => 0,
        };
        if size == 8 {
            value
        } else {
            value & 0xffff_ffff
        }
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        match Register::at(offset) {
            Some(Register::Msip(hart)) => self.change(|state| {
                for (n, bits) in [value, value >> 32].iter().enumerate() {
                    let wide = n == 0 || size == 8;
                    if let Some(msip) = state.msip.get_mut(hart + n).filter(|_| wide) {
                        *msip = bits & 1 != 0;
                    }
                }
            }),
            Some(Register::MtimeCmp(hart)) => self.change(|state| {
                if let Some(compare) = state.mtimecmp.get_mut(hart) {
                    *compare = merge(*compare, offset, size, value);
                }
            }),
            Some(Register::Mtime) => self.change(|_| {
                let ticks = merge(self.time.ticks(), offset, size, value);
                self.time.set(ticks);
            }),
            None => {}
        }
    }
}

impl Device for Aclint {
    fn reset(&self) {
        self.time.set(0);
        self.change(|state| *state = AclintState::new(self.harts.len()));
    }
}
