//! Chapter "Performance Monitoring Unit Extension".

use super::*;

const NUM: (u64, u64) = (PMU, 0);
const INFO: (u64, u64) = (PMU, 1);
const CONFIG: (u64, u64) = (PMU, 2);
const START: (u64, u64) = (PMU, 3);
const STOP: (u64, u64) = (PMU, 4);
const READ: (u64, u64) = (PMU, 5);
const READ_HI: (u64, u64) = (PMU, 6);
const SET_SHMEM: (u64, u64) = (PMU, 7);

const SKIP_MATCH: u64 = 1;
const CLEAR: u64 = 2;
const AUTO_START: u64 = 4;

const CYCLES: u64 = 1;
const INSTRUCTIONS: u64 = 2;
const FIRMWARE: u64 = 0xf_0000;
const SET_TIMER: u64 = FIRMWARE | 5;

/// The counters: `cycle`, `instret`, and those of the firmware.
const HARDWARE: u64 = 0b101;
const ALL_COUNTERS: u64 = (1 << 19) - 1 - 2;
/// The first of the firmware's.
const FIRST: u64 = 3;

/// A machine with all counters stopped, as a kernel makes it.
fn stopped(harts: u32) -> Machine {
    let machine = Machine::new(harts);
    for id in 0..harts {
        machine.call(id, STOP, &[0, HARDWARE, 0]);
    }
    machine
}

fn configure(machine: &Machine, mask: u64, flags: u64, event: u64, data: u64) -> (i64, u64) {
    machine.call(0, CONFIG, &[0, mask, flags, event, data])
}

#[test]
fn counters_and_their_information() {
    let machine = Machine::new(1);
    assert_eq!(machine.call(0, NUM, &[]), (SUCCESS, 19));
    let width = 63 << 12;
    let rows = [
        (0, SUCCESS, width | 0xc00),
        (1, INVALID_PARAM, 0),
        (2, SUCCESS, width | 0xc02),
        (3, SUCCESS, width | 1 << 63),
        (18, SUCCESS, width | 1 << 63),
        (19, INVALID_PARAM, 0),
        (ALL, INVALID_PARAM, 0),
    ];
    for (counter, error, info) in rows {
        let answer = machine.call(0, INFO, &[counter]);
        assert_eq!(answer, (error, info), "{counter:#x}");
    }
}

#[test]
fn events_and_what_counts_them() {
    let rows = [
        (ALL_COUNTERS, CYCLES, 0, SUCCESS, 0),
        (ALL_COUNTERS, INSTRUCTIONS, 0, SUCCESS, 2),
        (ALL_COUNTERS, SET_TIMER, 0, SUCCESS, FIRST),
        (ALL_COUNTERS, FIRMWARE, 0, SUCCESS, FIRST),
        (ALL_COUNTERS, FIRMWARE | 21, 0, SUCCESS, FIRST),
        (0x100, SET_TIMER, 0, SUCCESS, 8),
        // No such event: none, cache references, cache, raw, firmware's reserved, its own,
        // the platform's, more than 20 bits.
        (ALL_COUNTERS, 0, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, 3, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, 10, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, 0x1_0000, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, 0x2_0000, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, FIRMWARE | 22, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, FIRMWARE | 256, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, FIRMWARE | 0xffff, 0, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, 1 << 20 | CYCLES, 0, NOT_SUPPORTED, 0),
        // Data that is reserved.
        (ALL_COUNTERS, CYCLES, 1, NOT_SUPPORTED, 0),
        (ALL_COUNTERS, SET_TIMER, 1, NOT_SUPPORTED, 0),
        // No counter of the set can.
        (0b100, CYCLES, 0, NOT_SUPPORTED, 0),
        (0b001, INSTRUCTIONS, 0, NOT_SUPPORTED, 0),
        (HARDWARE, SET_TIMER, 0, NOT_SUPPORTED, 0),
        (0, CYCLES, 0, NOT_SUPPORTED, 0),
        // Counters that do not exist.
        (0b010, CYCLES, 0, INVALID_PARAM, 0),
        (1 << 19 | 1, CYCLES, 0, INVALID_PARAM, 0),
    ];
    for (mask, event, data, error, counter) in rows {
        let machine = stopped(1);
        let answer = configure(&machine, mask, 0, event, data);
        assert_eq!(answer, (error, counter), "{mask:#x} {event:#x} {data:#x}");
    }
}

#[test]
fn a_set_counts_from_its_base() {
    let machine = stopped(1);
    let rows = [
        (3, 1, SUCCESS, 3),
        (10, 0b110, SUCCESS, 11),
        (18, 1, SUCCESS, 18),
        (18, 2, INVALID_PARAM, 0),
        (ALL, 1, INVALID_PARAM, 0),
        (ALL, 0b10, INVALID_PARAM, 0),
        (ALL, 0, NOT_SUPPORTED, 0),
    ];
    for (base, mask, error, counter) in rows {
        let answer = machine.call(0, CONFIG, &[base, mask, 0, SET_TIMER, 0]);
        assert_eq!(answer, (error, counter), "{base:#x} {mask:#x}");
    }
}

/// Table "PMU Counter Config Match Flags".
#[test]
fn config_flags() {
    let machine = stopped(1);
    // Filters are hints.
    let filters = 0xf8;
    assert_eq!(configure(&machine, 1, filters, CYCLES, 0), (SUCCESS, 0));
    let reserved = configure(&machine, 1, 1 << 8, CYCLES, 0);
    assert_eq!(reserved, (INVALID_PARAM, 0));
    machine.call(0, START, &[0, 1, 1, 77]);
    machine.call(0, STOP, &[0, 1, 0]);
    assert_eq!(csr(&machine, 0, "mcycle"), 77);
    configure(&machine, 1, 0, CYCLES, 0);
    assert_eq!(csr(&machine, 0, "mcycle"), 77);
    configure(&machine, 1, CLEAR, CYCLES, 0);
    assert_eq!(csr(&machine, 0, "mcycle"), 0);
    assert_eq!(csr(&machine, 0, "mcountinhibit"), HARDWARE);
    configure(&machine, 1, AUTO_START, CYCLES, 0);
    assert_eq!(csr(&machine, 0, "mcountinhibit"), 0b100);
    // A started counter is not found, unless it is not to be looked for.
    let found = configure(&machine, 1, 0, CYCLES, 0);
    assert_eq!(found, (NOT_SUPPORTED, 0));
    let skip = |mask, event| configure(&machine, mask, SKIP_MATCH, event, 0);
    assert_eq!(skip(1, CYCLES), (SUCCESS, 0));
    assert_eq!(skip(0b101, INSTRUCTIONS), (NOT_SUPPORTED, 0));
    assert_eq!(skip(0, CYCLES), (NOT_SUPPORTED, 0));
    assert_eq!(skip(0b10, CYCLES), (INVALID_PARAM, 0));
}

#[test]
fn one_that_is_not_configured_comes_first() {
    let machine = stopped(1);
    let set_timer = || configure(&machine, 0b1_1000, 0, SET_TIMER, 0).1;
    assert_eq!([set_timer(), set_timer(), set_timer()], [3, 4, 3]);
}

/// Tables "PMU Counter Start Flags" and "PMU Counter Start Errors".
#[test]
fn start() {
    let machine = stopped(1);
    configure(&machine, 0b1000, 0, SET_TIMER, 0);
    let rows = [
        (0, 0b10, 0, INVALID_PARAM),
        (19, 1, 0, INVALID_PARAM),
        // A firmware counter that counts nothing.
        (0, 0b1_0000, 0, INVALID_PARAM),
        (0, 1, 4, INVALID_PARAM),
        (0, 1, 2, NO_SHMEM),
        (0, 0, 0, SUCCESS),
        (0, 0b1000, 0, SUCCESS),
        (0, 0b1000, 0, ALREADY_STARTED),
        (0, 0b1001, 1, ALREADY_STARTED),
        // The other one has been started.
        (0, 0b0001, 0, ALREADY_STARTED),
        (0, 0b0100, 0, SUCCESS),
    ];
    for (base, mask, flags, error) in rows {
        let answer = machine.call(0, START, &[base, mask, flags, 100]);
        assert_eq!(answer, (error, 0), "{base} {mask:#x} {flags:#x}");
    }
    assert_eq!(csr(&machine, 0, "mcountinhibit"), 0);
    // Only the initial value of a counter that starts is set.
    assert_eq!(csr(&machine, 0, "mcycle"), 100);
    assert_eq!(csr(&machine, 0, "minstret"), 0);
    assert_eq!(machine.call(0, READ, &[3]), (SUCCESS, 0));
}

/// Tables "PMU Counter Stop Flags" and "PMU Counter Stop Errors".
#[test]
fn stop() {
    let machine = Machine::new(1);
    configure(&machine, 0b1000, AUTO_START, SET_TIMER, 0);
    let rows = [
        (0, 0b10, 0, INVALID_PARAM),
        (19, 1, 0, INVALID_PARAM),
        (0, 1, 4, INVALID_PARAM),
        (0, 1, 2, NO_SHMEM),
        (0, 0, 0, SUCCESS),
        // Those of the hardware run from power-on.
        (0, 0b0101, 0, SUCCESS),
        (0, 0b0001, 0, ALREADY_STOPPED),
        (0, 0b1001, 0, ALREADY_STOPPED),
        // The other one has been stopped.
        (0, 0b1000, 0, ALREADY_STOPPED),
    ];
    for (base, mask, flags, error) in rows {
        let answer = machine.call(0, STOP, &[base, mask, flags]);
        assert_eq!(answer, (error, 0), "{base} {mask:#x} {flags:#x}");
    }
    // Its event is forgotten although it was stopped before.
    assert_eq!(machine.call(0, STOP, &[0, 0b1000, 1]), (ALREADY_STOPPED, 0));
    assert_eq!(machine.call(0, START, &[0, 0b1000, 0]), (INVALID_PARAM, 0));
}

#[test]
fn reads_of_firmware_counters() {
    let machine = stopped(1);
    configure(&machine, 0b1000, AUTO_START, SET_TIMER, 0);
    machine.call(0, START, &[4, 1, 1, 0]);
    let rows = [
        (3, SUCCESS),
        (18, SUCCESS),
        (0, INVALID_PARAM),
        (1, INVALID_PARAM),
        (2, INVALID_PARAM),
        (19, INVALID_PARAM),
        (ALL, INVALID_PARAM),
    ];
    for (counter, error) in rows {
        for function in [READ, READ_HI] {
            let answer = machine.call(0, function, &[counter]);
            assert_eq!(answer, (error, 0), "{counter:#x}");
        }
    }
    machine.call(0, STOP, &[3, 1, 0]);
    machine.call(0, START, &[3, 1, 1, ALL - 1]);
    machine.call(0, (TIME, 0), &[0]);
    assert_eq!(machine.call(0, READ, &[3]), (SUCCESS, ALL));
    assert_eq!(machine.call(0, READ_HI, &[3]), (SUCCESS, 0));
    machine.call(0, STOP, &[3, 1, 0]);
    machine.call(0, (TIME, 0), &[0]);
    assert_eq!(machine.call(0, READ, &[3]), (SUCCESS, ALL));
}

#[test]
fn snapshots_are_not_supported() {
    let machine = Machine::new(1);
    for args in [[RAM, 0, 0], [ALL, ALL, 0], [RAM + 1, 0, 0], [RAM, 0, 1]] {
        let answer = machine.call(0, SET_SHMEM, &args);
        assert_eq!(answer, (NOT_SUPPORTED, 0));
    }
}

/// Table "PMU Firmware Events": what one call on hart 0 with three targets makes each hart count.
#[test]
fn firmware_events() {
    const OTHERS: [u64; 3] = [0, 1, 1];
    const SENT: [u64; 3] = [2, 0, 0];
    const NONE: [u64; 3] = [0; 3];
    let fence = [0, ALL, 0x1000, 0x1000, 1];
    type Counts<'a> = &'a [(u64, [u64; 3])];
    let rows: &[((u64, u64), &[u64], Counts<'_>)] = &[
        ((TIME, 0), &[0], &[(5, [1, 0, 0])]),
        ((IPI, 0), &[0, ALL], &[(6, SENT), (7, OTHERS)]),
        ((RFENCE, 0), &fence, &[(8, SENT), (9, OTHERS)]),
        ((RFENCE, 1), &fence, &[(10, SENT), (11, OTHERS)]),
        ((RFENCE, 2), &fence, &[(12, SENT), (13, OTHERS)]),
        ((RFENCE, 3), &fence, &[]),
        ((BASE, 0), &[], &[]),
    ];
    for (function, args, expected) in rows {
        for event in 0..=21 {
            let machine = stopped(3);
            for id in 0..3 {
                let args = [3, 1, AUTO_START, FIRMWARE | event, 0];
                assert_eq!(machine.call(id, CONFIG, &args), (SUCCESS, 3));
            }
            machine.call(0, *function, args);
            let row = expected.iter().find(|row| row.0 == event);
            let expected = row.map_or(NONE, |row| row.1);
            let read = |id| machine.call(id, READ, &[3]).1;
            assert_eq!(
                [read(0), read(1), read(2)],
                expected,
                "{function:x?} {event}"
            );
        }
    }
}

#[test]
fn a_reset_forgets_all() {
    let machine = stopped(1);
    configure(&machine, 0b1000, AUTO_START, SET_TIMER, 0);
    machine.call(0, (TIME, 0), &[0]);
    machine.sbi.reset(&[true]);
    assert_eq!(machine.call(0, READ, &[3]), (SUCCESS, 0));
    assert_eq!(machine.call(0, START, &[3, 1, 0]), (INVALID_PARAM, 0));
}
