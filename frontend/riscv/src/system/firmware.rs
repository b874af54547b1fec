//! What firmware that is not guest code does to a hart from machine mode: the built-in supervisor
//! binary interface (SBI).

use isomorph_frontend::TlbFlush;

use super::trap::interrupt::{SSI, STI};
use super::{Counter, HartState, System, envcfg};
use crate::state::State;

/// A counter of the hardware that firmware can stop and set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardwareCounter {
    /// `mcycle`
    Cycle,
    /// `minstret`
    Instret,
}

impl HardwareCounter {
    /// Its bit in `mcountinhibit` and `mcounteren`, and its distance from the first counter's
    /// number.
    pub const fn index(self) -> u32 {
        match self {
            Self::Cycle => 0,
            Self::Instret => 2,
        }
    }
}

impl HartState {
    /// Starts a kernel on a hart that may have run before (SBI, "Hart start"): registers as
    /// [`super::RiscvMachine::supervisor_hart`] makes them; what comes from outside — pins, time,
    /// counters — stays.
    pub fn start_supervisor(&mut self, pc: u64, opaque: u64) {
        let sys = &mut self.sys;
        (sys.mie, sys.mip, sys.timer, sys.stimecmp) = (0, 0, 0, u64::MAX);
        (sys.stvec, sys.sscratch, sys.senvcfg) = (0, 0, 0);
        (sys.sepc, sys.scause, sys.stval) = (0, 0, 0);
        sys.scounteren = 0;
        self.regs = State::new();
        self.resume_supervisor(pc, opaque);
    }

    /// Goes on with a kernel after a suspension that keeps no more than it must (SBI, "Hart
    /// suspend"): as at the start, but what is pending and what may wake the hart stays.
    pub fn resume_supervisor(&mut self, pc: u64, opaque: u64) {
        self.sys.enter_supervisor();
        self.regs.pc = pc;
        (self.regs.x[10], self.regs.x[11]) = (self.sys.hart_id, opaque);
    }
}

impl System {
    /// `mhartid`.
    pub fn hart_id(&self) -> u64 {
        self.hart_id
    }

    /// Makes the supervisor timer interrupt pending at `at` and not before; it is `now`, both in
    /// ticks of the machine's counter.
    ///
    /// The hart's comparator drives it, which is there without Sstc too: then the guest cannot
    /// name it.
    pub fn set_timer(&mut self, at: u64, now: u64) {
        self.menvcfg |= envcfg::STCE;
        self.mip &= !(1 << STI);
        self.stimecmp = at;
        self.timer = u64::from(now >= at) << STI;
    }

    /// Makes the supervisor software interrupt pending.
    pub fn raise_software_interrupt(&mut self) {
        self.mip |= 1 << SSI;
    }

    /// Asks the engine to forget translations before the hart goes on.
    pub fn fence(&mut self, flush: TlbFlush) {
        self.request(flush);
    }

    /// Notes what the counters count, before one of them is stopped, set or let go on: cycles and
    /// instructions as translated code reads them.
    pub fn note_counters(&mut self, cycles: u64, instructions: u64) {
        (self.cycle.raw, self.instret.raw) = (cycles, instructions);
    }

    /// Whether the counter stands still.
    pub fn is_stopped(&self, counter: HardwareCounter) -> bool {
        self.mcountinhibit >> counter.index() & 1 != 0
    }

    /// Stops the counter or lets it go on.
    pub fn stop_counter(&mut self, counter: HardwareCounter, stopped: bool) {
        let bit = 1 << counter.index();
        let rest = self.mcountinhibit & !bit;
        self.mcountinhibit = rest | if stopped { bit } else { 0 };
        self.counter(counter).stop(stopped);
    }

    /// Sets the counter.
    pub fn set_counter(&mut self, counter: HardwareCounter, value: u64) {
        self.counter(counter).set(value);
    }

    fn counter(&mut self, counter: HardwareCounter) -> &mut Counter {
        match counter {
            HardwareCounter::Cycle => &mut self.cycle,
            HardwareCounter::Instret => &mut self.instret,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HardwareCounter::{Cycle, Instret};
    use super::*;
    use crate::system::{Privilege, RiscvMachine};
    use isomorph_frontend::SystemGuest;

    fn hart() -> HartState {
        RiscvMachine::default().supervisor_hart(2, 0x8020_0000, 7)
    }

    #[test]
    fn a_timer_is_pending_from_its_time_on() {
        let mut state = hart();
        let due = |state: &HartState| state.sys.pending() >> STI & 1 != 0;
        state.sys.set_timer(100, 99);
        assert!(!due(&state));
        assert_eq!(RiscvMachine::timer(&state), Some(100));
        RiscvMachine::set_time(&mut state, 100);
        assert!(due(&state));
        state.sys.set_timer(u64::MAX, 100);
        assert!(!due(&state));
        assert_eq!(RiscvMachine::timer(&state), None);
        state.sys.set_timer(100, 100);
        assert!(due(&state));
    }

    #[test]
    fn a_hart_starts_afresh_and_keeps_what_is_outside() {
        let mut state = hart();
        RiscvMachine::set_pin(&mut state, 9, true);
        state.sys.set_timer(0, 1);
        state.sys.raise_software_interrupt();
        (state.sys.mie, state.sys.stvec, state.sys.satp) = (0x222, 4, 8 << 60);
        state.sys.privilege = Privilege::User;
        state.regs.x[5] = 5;
        let mut resumed = state;
        resumed.resume_supervisor(0x8030_0000, 8);
        assert_eq!(resumed.sys.pending(), 0x222);
        assert_eq!((resumed.sys.satp, resumed.sys.mie), (0, 0x222));
        assert_eq!(resumed.sys.privilege, Privilege::Supervisor);
        state.start_supervisor(0x8030_0000, 8);
        let fresh = RiscvMachine::default().supervisor_hart(2, 0x8030_0000, 8);
        assert_eq!(state.regs, fresh.regs);
        assert_eq!(state.sys.pending(), 0x200);
        RiscvMachine::set_pin(&mut state, 9, false);
        assert_eq!(state, fresh);
    }

    #[test]
    fn counters_stop_and_are_set() {
        let mut sys = hart().sys;
        sys.note_counters(1000, 100);
        sys.stop_counter(Instret, true);
        assert!(sys.is_stopped(Instret) && !sys.is_stopped(Cycle));
        sys.set_counter(Instret, 5);
        assert_eq!(sys.instret.get(), 5);
        sys.note_counters(2000, 200);
        sys.stop_counter(Instret, false);
        assert!(!sys.is_stopped(Instret));
        sys.note_counters(2000, 203);
        assert_eq!(sys.instret.get(), 8);
    }
}
