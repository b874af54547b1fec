//! Delegation, stacking, vectors, priorities, returns.

use super::super::trap::{cause, interrupt, take_trap};
use super::super::{HartState, How, Privilege, RiscvMachine};
use super::inline::run;
use super::{access, get, hart, set};
use isomorph_frontend::SystemGuest;
use isomorph_ir::TrapKind;
use isomorph_ir::interp::Exit;

const U: Privilege = Privilege::User;
const S: Privilege = Privilege::Supervisor;
const M: Privilege = Privilege::Machine;
const ALL: u64 = 0xaaa;

const MRET: u32 = 0x3020_0073;
const SRET: u32 = 0x1020_0073;

/// Returns from a trap; the address, `None` if that is illegal.
fn return_by(state: &mut HartState, insn: u32) -> Option<u64> {
    let (after, exit, _) = run(state, insn, None);
    let Exit::Trap { kind, info, .. } = exit else {
        panic!("{exit:?}");
    };
    if kind == TrapKind::Illegal {
        assert_eq!(after.sys, state.sys);
        return None;
    }
    assert_eq!(kind, TrapKind::Return);
    *state = after;
    Some(info)
}

#[test]
fn delegation() {
    for code in 0..16 {
        let reserved = matches!(code, 10 | 14);
        for (who, delegated) in [(U, true), (S, true), (M, true), (U, false), (S, false)] {
            let mut state = hart();
            set(
                &mut state.sys,
                "medeleg",
                if delegated { u64::MAX } else { 0 },
            );
            set(&mut state.sys, "stvec", 0x1000);
            set(&mut state.sys, "mtvec", 0x2001);
            state.sys.privilege = who;
            take_trap(&mut state, code, 0x77);
            let can = code != cause::ECALL_MACHINE && !reserved;
            let (to, name) = if who != M && delegated && can {
                (S, "s")
            } else {
                (M, "m")
            };
            assert_eq!(state.sys.privilege, to, "{code} {who:?}");
            let at = |register: &str| get(&state.sys, &format!("{name}{register}"));
            assert_eq!(
                (at("cause"), at("epc"), at("tval")),
                (code, 0x8000_0000, 0x77)
            );
            assert_eq!(state.regs.pc, if to == S { 0x1000 } else { 0x2000 });
        }
    }
}

#[test]
fn status_is_stacked_and_restored() {
    for (enabled, who) in [(true, U), (false, U), (true, S), (false, S)] {
        let mut state = hart();
        set(&mut state.sys, "medeleg", 1 << 8);
        set(&mut state.sys, "mstatus", u64::from(enabled) << 1);
        state.sys.privilege = who;
        let before = get(&state.sys, "mstatus");
        take_trap(&mut state, 8, 0);
        let status = get(&state.sys, "sstatus");
        assert_eq!((status >> 5 & 1, status >> 1 & 1), (u64::from(enabled), 0));
        assert_eq!(status >> 8 & 1, who as u64);
        assert_eq!(return_by(&mut state, SRET), Some(0x8000_0000));
        assert_eq!(state.sys.privilege, who);
        // SPIE is set by the return, SPP is the least privilege.
        assert_eq!(get(&state.sys, "mstatus"), before | 1 << 5);
    }
    for who in [U, S, M] {
        let mut state = hart();
        set(&mut state.sys, "mstatus", 1 << 3);
        state.sys.privilege = who;
        take_trap(&mut state, 2, 0);
        let status = get(&state.sys, "mstatus");
        assert_eq!((status >> 7 & 1, status >> 3 & 1), (1, 0));
        assert_eq!(status >> 11 & 3, who as u64);
        set(&mut state.sys, "mstatus", status | 1 << 17);
        assert_eq!(return_by(&mut state, MRET), Some(0x8000_0000));
        assert_eq!(state.sys.privilege, who);
        let status = get(&state.sys, "mstatus");
        assert_eq!((status >> 3 & 1, status >> 11 & 3), (1, 0));
        // MPRV ends with a return to less than machine mode.
        assert_eq!(status >> 17 & 1, u64::from(who == M));
    }
}

#[test]
fn exceptions_of_cache_block_management_are_those_of_stores() {
    for (load, store) in [
        (cause::LOAD_PAGE, cause::STORE_PAGE),
        (cause::LOAD_ACCESS, cause::STORE_ACCESS),
        (cause::BREAKPOINT, cause::BREAKPOINT),
        (cause::INTERRUPT | 9, cause::INTERRUPT | 9),
    ] {
        let mut state = hart();
        state.sys.cache_block = 1;
        for want in [store, load] {
            take_trap(&mut state, load, 0x77);
            assert_eq!(get(&state.sys, "mcause"), want);
        }
    }
}

#[test]
fn trapped_supervisor_return() {
    let mut state = hart();
    // Machine mode is not trapped; the return ends MPRV.
    set(&mut state.sys, "mstatus", 1 << 22 | 1 << 17);
    let mut returned = state;
    assert!(return_by(&mut returned, SRET).is_some());
    assert_eq!(get(&returned.sys, "mstatus") >> 17 & 1, 0);
    state.sys.privilege = S;
    assert_eq!(return_by(&mut state, SRET), None);
    state.sys.privilege = U;
    assert_eq!(return_by(&mut state, SRET), None);
}

#[test]
fn priorities() {
    use interrupt::{MEI, MSI, MTI, SEI, SSI, STI};
    let order = [MEI, MSI, MTI, SEI, SSI, STI];
    for (at, number) in order.into_iter().enumerate() {
        let mut state = hart();
        set(&mut state.sys, "mie", ALL);
        set(&mut state.sys, "mstatus", 1 << 3);
        for lower in &order[at..] {
            let bit = 1 << lower;
            if matches!(*lower, SSI | STI) {
                let _ = access(&mut state.sys, "mip", Some(How::Set), bit);
            } else {
                RiscvMachine::set_pin(&mut state, *lower, true);
            }
        }
        assert_eq!(state.sys.pending_interrupt(), Some(number));
    }
}

#[test]
fn a_delegated_interrupt_gives_way_to_machine_mode() {
    let mut state = hart();
    set(&mut state.sys, "mie", ALL);
    set(&mut state.sys, "mideleg", ALL);
    RiscvMachine::set_pin(&mut state, interrupt::SEI, true);
    RiscvMachine::set_pin(&mut state, interrupt::MTI, true);
    state.sys.privilege = U;
    assert_eq!(state.sys.pending_interrupt(), Some(interrupt::MTI));
    RiscvMachine::set_pin(&mut state, interrupt::MTI, false);
    assert_eq!(state.sys.pending_interrupt(), Some(interrupt::SEI));
}

#[test]
fn enables() {
    // Privilege, MIE, SIE, then whether MTI and a delegated SEI are taken.
    for (who, mie, sie, machine, supervisor) in [
        (M, 0, 0, false, false),
        (M, 0, 1, false, false),
        (M, 1, 1, true, false),
        (S, 0, 0, true, false),
        (S, 1, 0, true, false),
        (S, 0, 1, true, true),
        (U, 0, 0, true, true),
    ] {
        for (pin, want) in [(interrupt::MTI, machine), (interrupt::SEI, supervisor)] {
            let mut state = hart();
            set(&mut state.sys, "mie", ALL);
            set(&mut state.sys, "mideleg", ALL);
            set(&mut state.sys, "mstatus", mie << 3 | sie << 1);
            state.sys.privilege = who;
            RiscvMachine::set_pin(&mut state, pin, true);
            assert!(RiscvMachine::wakes(&state));
            assert_eq!(
                state.sys.pending_interrupt().is_some(),
                want,
                "{who:?} {pin}"
            );
        }
    }
}

#[test]
fn interrupts_use_the_vector_table() {
    let mut state = hart();
    set(&mut state.sys, "mie", ALL);
    set(&mut state.sys, "mideleg", ALL);
    set(&mut state.sys, "stvec", 0x1001);
    state.sys.privilege = U;
    assert!(!RiscvMachine::take_interrupt(&mut state));
    RiscvMachine::set_pin(&mut state, interrupt::SEI, true);
    assert!(RiscvMachine::take_interrupt(&mut state));
    assert_eq!(state.regs.pc, 0x1000 + 4 * 9);
    assert_eq!(get(&state.sys, "scause"), 1 << 63 | 9);
    assert_eq!(get(&state.sys, "stval"), 0);
    assert!(!RiscvMachine::take_interrupt(&mut state));
}

#[test]
fn the_external_pin_is_not_copied_into_the_software_bit() {
    let mut state = hart();
    RiscvMachine::set_pin(&mut state, interrupt::SEI, true);
    let old = access(&mut state.sys, "mip", Some(How::Set), 2);
    assert_eq!(old, Some(1 << 9));
    RiscvMachine::set_pin(&mut state, interrupt::SEI, false);
    assert_eq!(get(&state.sys, "mip"), 2);
    let _ = access(&mut state.sys, "mip", Some(How::Set), 1 << 9);
    assert_eq!(get(&state.sys, "mip"), 2 | 1 << 9);
}

#[test]
fn supervisor_timer() {
    let mut state = hart();
    assert_eq!(RiscvMachine::timer(&state), None);
    set(&mut state.sys, "menvcfg", 1 << 63);
    set(&mut state.sys, "stimecmp", 100);
    assert_eq!(RiscvMachine::timer(&state), Some(100));
    RiscvMachine::set_time(&mut state, 99);
    assert_eq!(get(&state.sys, "mip"), 0);
    RiscvMachine::set_time(&mut state, 100);
    assert_eq!(get(&state.sys, "mip"), 1 << 5);
    assert_eq!(RiscvMachine::timer(&state), None);
    // Software cannot change it while the comparator drives it.
    set(&mut state.sys, "mip", 0);
    assert_eq!(get(&state.sys, "mip"), 1 << 5);
    set(&mut state.sys, "stimecmp", 200);
    assert_eq!(get(&state.sys, "mip"), 0);
    set(&mut state.sys, "menvcfg", 0);
    set(&mut state.sys, "mip", 1 << 5);
    assert_eq!(get(&state.sys, "mip"), 1 << 5);
    // What drives it and what it said go together.
    set(&mut state.sys, "menvcfg", 1 << 63);
    assert_eq!(get(&state.sys, "mip"), 0);
    RiscvMachine::set_time(&mut state, 200);
    assert_eq!(get(&state.sys, "mip"), 1 << 5);
    set(&mut state.sys, "menvcfg", 0);
    assert_eq!(get(&state.sys, "mip"), 0);
    RiscvMachine::set_time(&mut state, 300);
    assert_eq!(get(&state.sys, "mip"), 0);
}
