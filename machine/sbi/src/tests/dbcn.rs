//! Chapter "Debug Console Extension".

use super::*;

const WRITE: (u64, u64) = (DBCN, 0);
const READ: (u64, u64) = (DBCN, 1);
const WRITE_BYTE: (u64, u64) = (DBCN, 2);
const END: u64 = RAM + RAM_BYTES;

fn written(machine: &Machine) -> Vec<u8> {
    machine.line.out.lock().expect("no panic").split_off(0)
}

fn type_in(machine: &Machine, bytes: &[u8]) {
    machine.line.input.lock().expect("no panic").extend(bytes);
}

#[test]
fn write() {
    let machine = Machine::new(1);
    let text: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    machine.memory.write_bytes(RAM, &text).expect("RAM");
    // Bytes asked for and written.
    for (len, count) in [
        (0, 0),
        (1, 1),
        (4096, 4096),
        (5000, 5000),
        (100_000, 0x1_0000),
    ] {
        assert_eq!(machine.call(0, WRITE, &[len, RAM, 0]), (SUCCESS, count));
        assert_eq!(written(&machine), text[..count as usize]);
    }
    // Up to the last byte; and from memory that cannot be written.
    assert_eq!(machine.call(0, WRITE, &[3, END - 3, 0]), (SUCCESS, 3));
    assert_eq!(machine.call(0, WRITE, &[3, ROM, 0]), (SUCCESS, 3));
}

#[test]
fn read() {
    let machine = Machine::new(1);
    let start = |count: usize| {
        let mut bytes = vec![0; count];
        machine.memory.read_bytes(RAM, &mut bytes).expect("RAM");
        bytes
    };
    assert_eq!(machine.call(0, READ, &[10, RAM, 0]), (SUCCESS, 0));
    assert_eq!(start(1), [0]);
    type_in(&machine, b"hello");
    assert_eq!(machine.call(0, READ, &[0, RAM, 0]), (SUCCESS, 0));
    assert_eq!(machine.call(0, READ, &[3, RAM, 0]), (SUCCESS, 3));
    assert_eq!(start(4), b"hel\0");
    assert_eq!(machine.call(0, READ, &[10, RAM, 0]), (SUCCESS, 2));
    assert_eq!(start(4), b"lol\0");
    type_in(&machine, &[7; 5000]);
    assert_eq!(machine.call(0, READ, &[5000, RAM, 0]), (SUCCESS, 4096));
    assert_eq!(
        machine.call(0, READ, &[5000, END - 5000, 0]),
        (SUCCESS, 904)
    );
}

#[test]
fn write_byte() {
    let machine = Machine::new(1);
    // 8 bits count.
    for byte in [0x41, 0xffff_ffff_ffff_ff42, 0x143] {
        assert_eq!(machine.call(0, WRITE_BYTE, &[byte]), (SUCCESS, 0));
    }
    assert_eq!(written(&machine), b"ABC");
}

/// Section "Shared memory physical address range parameter".
#[test]
fn what_is_not_memory_is_refused() {
    let machine = Machine::new(1);
    type_in(&machine, b"hello");
    // Bytes, low and high half of the address.
    let rows = [
        (1, DEVICE, 0),
        (1, 0, 0),
        (1, RAM, 1),
        (1, RAM, ALL),
        (1, ALL, 0),
        (1, END, 0),
        (4, END - 3, 0),
        (4, RAM - 1, 0),
        (RAM_BYTES + 1, RAM, 0),
        (1 << 63, RAM, 0),
        (ALL, RAM, 0),
        (ALL, 0, 0),
    ];
    for (len, low, high) in rows {
        for function in [WRITE, READ] {
            let answer = machine.call(0, function, &[len, low, high]);
            assert_eq!(answer, (INVALID_PARAM, 0), "{len:#x} {low:#x} {high:#x}");
        }
    }
    // The console's input cannot go to ROM.
    assert_eq!(machine.call(0, READ, &[1, ROM, 0]), (INVALID_PARAM, 0));
    assert_eq!(written(&machine), []);
    assert_eq!(machine.line.input.lock().expect("no panic").len(), 5);
}

#[test]
fn a_broken_console() {
    let machine = Machine::new(1);
    *machine.line.broken.lock().expect("no panic") = true;
    for function in [WRITE, READ] {
        let answer = machine.call(0, function, &[1, RAM, 0]);
        assert_eq!(answer, (FAILED, 0));
    }
    assert_eq!(machine.call(0, WRITE_BYTE, &[0]), (FAILED, 0));
}
