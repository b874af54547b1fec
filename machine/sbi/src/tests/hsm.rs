//! Chapter "Hart State Management Extension".

use super::*;
use std::thread;

const START: (u64, u64) = (HSM, 0);
const STOP: (u64, u64) = (HSM, 1);
const STATUS: (u64, u64) = (HSM, 2);
const SUSPEND: (u64, u64) = (HSM, 3);

const STARTED: u64 = 0;
const STOPPED: u64 = 1;
const START_PENDING: u64 = 2;
const SUSPENDED: u64 = 4;

const RETENTIVE: u64 = 0;
/// As the ABI extends 32 bits.
const NON_RETENTIVE: u64 = 0xffff_ffff_8000_0000;
const ENTRY: u64 = RAM + 0x4000;

#[test]
fn only_the_first_hart_runs_at_power_on() {
    let machine = Machine::new(3);
    machine.sbi.reset(&[true, false]);
    let states: Vec<_> = (0..3).map(|id| machine.status(id).1).collect();
    assert_eq!(states, [STARTED, STOPPED, STOPPED]);
    let Services { life, memory, .. } = &machine.sbi.services;
    let sbi = Sbi::new(Services {
        harts: 2,
        life: Arc::clone(life),
        memory: Arc::clone(memory),
        console: Arc::new(Line::default()),
    });
    assert_eq!([sbi.harts[0].status(), sbi.harts[1].status()], [0, 1]);
}

/// Table "HSM Hart Start Register State".
#[test]
fn a_hart_starts() {
    let machine = Machine::new(2);
    machine.with(1, |state| {
        state.regs.x[5] = 5;
        state.sys.raise_software_interrupt();
        state.sys.set_timer(0, 1);
    });
    assert_eq!(machine.call_after(1, STOP, &[]), Some(After::Stop));
    assert_eq!(machine.status(1), (SUCCESS, STOPPED));
    assert_eq!(machine.call(0, START, &[1, ENTRY, 0x1234]), (SUCCESS, 0));
    assert_eq!(machine.status(1), (SUCCESS, STARTED));
    let fresh = RiscvMachine::default().supervisor_hart(1, ENTRY, 0x1234);
    assert_eq!(machine.with(1, |state| *state), fresh);
    assert_eq!(fresh.sys.privilege, Privilege::Supervisor);
    assert_eq!((fresh.regs.x[10], fresh.regs.x[11]), (1, 0x1234));
    assert_eq!(csr(&machine, 1, "satp"), 0);
    assert_eq!(csr(&machine, 1, "sstatus") & 2, 0);
}

#[test]
fn starting_errors() {
    let machine = Machine::new(3);
    machine.call_after(1, STOP, &[]);
    machine.call_after(2, SUSPEND, &[RETENTIVE]);
    let rows = [
        (3, ENTRY, INVALID_PARAM),
        (ALL, ENTRY, INVALID_PARAM),
        (1 << 32 | 1, ENTRY, INVALID_PARAM),
        (3, DEVICE, INVALID_PARAM),
        (1, DEVICE, INVALID_ADDRESS),
        (1, 0, INVALID_ADDRESS),
        (1, ENTRY + 1, INVALID_ADDRESS),
        (1, RAM + RAM_BYTES, INVALID_ADDRESS),
        (1, ALL, INVALID_ADDRESS),
        (0, DEVICE, INVALID_ADDRESS),
        (0, ENTRY, ALREADY_AVAILABLE),
        (2, ENTRY, ALREADY_AVAILABLE),
        (1, ENTRY, SUCCESS),
        (1, ENTRY, ALREADY_AVAILABLE),
    ];
    for (id, address, error) in rows {
        let answer = machine.call(0, START, &[id, address, 0]);
        assert_eq!(answer, (error, 0), "{id:#x} {address:#x}");
    }
}

#[test]
fn a_start_is_pending_until_the_hart_does_it() {
    let machine = Machine::new(2);
    machine.call_after(1, STOP, &[]);
    *machine.starts.borrow_mut() = Some(Vec::new());
    assert_eq!(machine.call(0, START, &[1, ENTRY, 0]), (SUCCESS, 0));
    assert_eq!(machine.status(1), (SUCCESS, START_PENDING));
    let again = machine.call(0, START, &[1, ENTRY, 0]);
    assert_eq!(again, (ALREADY_AVAILABLE, 0));
    let held = machine.starts.take().expect("held back");
    for (id, work) in held {
        machine.post(id, work);
    }
    assert_eq!(machine.status(1), (SUCCESS, STARTED));
    assert_eq!(machine.with(1, |state| state.regs.pc), ENTRY);
}

#[test]
fn one_of_many_callers_starts_a_hart() {
    let machine = Machine::new(2);
    machine.call_after(1, STOP, &[]);
    let sbi = &machine.sbi;
    let starts = thread::scope(|scope| {
        let caller = || {
            let machine = Machine::new(2);
            *machine.starts.borrow_mut() = Some(Vec::new());
            let mut state = machine.with(0, |state| *state);
            state.regs.x[10..13].copy_from_slice(&[1, ENTRY, 0]);
            (state.regs.x[17], state.regs.x[16]) = START;
            sbi.call(0, &mut state, &machine);
            let held = machine.starts.take().expect("held back");
            (state.regs.x[10] as i64, held.len())
        };
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(caller)).collect();
        let answers = callers.into_iter().map(|c| c.join().expect("no panic"));
        answers.collect::<Vec<_>>()
    });
    let count = |answer| starts.iter().filter(|a| **a == answer).count();
    assert_eq!(count((SUCCESS, 1)), 1, "{starts:?}");
    assert_eq!(count((ALREADY_AVAILABLE, 0)), 3, "{starts:?}");
}

#[test]
fn status_errors() {
    let machine = Machine::new(2);
    for id in [2, 1 << 32, ALL] {
        assert_eq!(machine.call(0, STATUS, &[id]), (INVALID_PARAM, 0));
    }
}

#[test]
fn a_retentive_suspension() {
    let machine = Machine::new(2);
    // The resume address is not used.
    let after = machine.call_after(1, SUSPEND, &[RETENTIVE, 3, 0x1234]);
    assert_eq!(after, Some(After::Wait));
    assert_eq!(machine.status(1), (SUCCESS, SUSPENDED));
    let regs = machine.with(1, |state| state.regs);
    assert_eq!((regs.pc, regs.x[10], regs.x[11]), (PC + 4, 0, 0));
    assert_eq!((regs.x[12], regs.x[13]), (0x1234, 0x7777));
    machine.sbi.resumed(1);
    assert_eq!(machine.status(1), (SUCCESS, STARTED));
    machine.sbi.resumed(2);
}

#[test]
fn a_suspended_hart_that_calls_is_awake() {
    let machine = Machine::new(2);
    machine.call_after(1, SUSPEND, &[RETENTIVE]);
    machine.call(1, (BASE, 0), &[]);
    assert_eq!(machine.status(1), (SUCCESS, STARTED));
}

/// Table "HSM Hart Resume Register State".
#[test]
fn a_suspension_without_retention() {
    let machine = Machine::new(2);
    machine.with(1, |state| state.sys.raise_software_interrupt());
    let after = machine.call_after(1, SUSPEND, &[NON_RETENTIVE, ENTRY, 0x1234]);
    assert_eq!(after, Some(After::Wait));
    assert_eq!(machine.status(1), (SUCCESS, SUSPENDED));
    let state = machine.with(1, |state| *state);
    assert_eq!((state.regs.pc, state.regs.x[10]), (ENTRY, 1));
    assert_eq!(state.regs.x[11], 0x1234);
    assert_eq!(state.sys.privilege, Privilege::Supervisor);
    assert_eq!(csr(&machine, 1, "satp"), 0);
    assert_eq!(csr(&machine, 1, "sstatus") & 2, 0);
    // What wakes the hart is still there.
    assert!(interrupted(&machine, 1));
}

/// Tables "HSM Hart Suspend Types" and "HSM Hart Suspend Errors".
#[test]
fn suspension_errors() {
    let machine = Machine::new(1);
    let rows = [
        (1, ENTRY, INVALID_PARAM),
        (0x0fff_ffff, ENTRY, INVALID_PARAM),
        (0x1000_0000, ENTRY, INVALID_PARAM),
        (0x7fff_ffff, ENTRY, INVALID_PARAM),
        (0x8000_0001, ENTRY, INVALID_PARAM),
        (0x8fff_ffff, ENTRY, INVALID_PARAM),
        (0x9000_0000, ENTRY, INVALID_PARAM),
        (0xffff_ffff, ENTRY, INVALID_PARAM),
        (NON_RETENTIVE, DEVICE, INVALID_ADDRESS),
        (NON_RETENTIVE, ENTRY + 1, INVALID_ADDRESS),
        (NON_RETENTIVE, 0, INVALID_ADDRESS),
    ];
    for (kind, address, error) in rows {
        let answer = machine.call(0, SUSPEND, &[kind, address, 0]);
        assert_eq!(answer, (error, 0), "{kind:#x} {address:#x}");
        assert_eq!(machine.status(0), (SUCCESS, STARTED));
    }
}
