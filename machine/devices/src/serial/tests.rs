//! The 16550, register by register.

use super::regs::LEN;
use super::*;
use crate::testing::{batter, play, space};
use isomorph_chardev::Ring;
use isomorph_machine::Step::{NoRead, Read, Write};
use isomorph_machine::{Device, IrqLatch, IrqLine};
use isomorph_softmmu::AddressSpace;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Line {
    sent: Mutex<Vec<u8>>,
    room: AtomicUsize,
}

impl SerialBackend for Line {
    fn send(&self, byte: u8) {
        self.sent.lock().expect("lock").push(byte);
    }

    fn room(&self) {
        self.room.fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    serial: Arc<Serial>,
    line: Arc<Line>,
    latch: Arc<IrqLatch>,
    space: Arc<AddressSpace>,
}

fn bench() -> Bench {
    let line = Arc::new(Line::default());
    let latch = IrqLatch::new();
    let serial = Serial::new(IrqLine::new(latch.clone(), 0), line.clone());
    let space = space(serial.clone(), 0, LEN, RULES);
    Bench {
        serial,
        line,
        latch,
        space,
    }
}

#[test]
fn registers_after_reset() {
    let b = bench();
    let values = [0, 0, 1, 0, 0, 0x60, 0xb0, 0];
    let want: Vec<_> = (0..8).map(|n| Read(n, 1, values[n as usize])).collect();
    play(&b.space, &want);
    play(&b.space, &[NoRead(8, 1), NoRead(7, 2)]);
}

#[test]
fn the_divisor_hides_behind_dlab() {
    let b = bench();
    play(
        &b.space,
        &[
            Write(3, 1, 0x83),
            Write(0, 1, 0x34),
            Write(1, 1, 0x12),
            Read(0, 1, 0x34),
            Read(1, 1, 0x12),
            Write(3, 1, 0x03),
            Read(1, 1, 0),
            Write(7, 1, 0x5a),
            Read(7, 1, 0x5a),
            Write(1, 1, 0xff),
            Read(1, 1, 0x0f),
            Write(4, 1, 0xe3),
            Read(4, 1, 0x03),
        ],
    );
    assert!(b.line.sent.lock().expect("lock").is_empty());
}

#[test]
fn sending_raises_the_transmitter_interrupt() {
    let b = bench();
    play(&b.space, &[Write(0, 4, 0x4142), Read(2, 1, 1)]);
    assert_eq!(*b.line.sent.lock().expect("lock"), [0x42]);
    play(&b.space, &[Write(1, 1, 2)]);
    assert_eq!(b.latch.levels(), 1);
    play(&b.space, &[Read(2, 1, 2), Read(2, 1, 1)]);
    assert_eq!(b.latch.levels(), 0);
    play(&b.space, &[Write(0, 1, 1), Read(2, 1, 2)]);
}

#[test]
fn receiving_with_a_fifo() {
    let b = bench();
    play(&b.space, &[Write(2, 1, 0x81), Write(1, 1, 1)]);
    assert_eq!(b.serial.receive(&[1, 2, 3]), 3);
    assert_eq!(b.latch.levels(), 1);
    play(&b.space, &[Read(2, 1, 0xcc), Read(5, 1, 0x61)]);
    assert_eq!(b.serial.receive(&[4; 20]), 13);
    play(&b.space, &[Read(2, 1, 0xc4), Read(0, 1, 1)]);
    play(&b.space, &[Read(0, 1, 2), Read(0, 1, 3)]);
    assert_eq!(b.line.room.load(Ordering::Relaxed), 0, "not yet empty");
    (0..13).for_each(|_| play(&b.space, &[Read(0, 1, 4)]));
    assert_eq!(b.line.room.load(Ordering::Relaxed), 1);
    assert_eq!(b.serial.receive(&[5; 2]), 2);
    play(&b.space, &[Read(0, 1, 5)]);
    assert_eq!(b.line.room.load(Ordering::Relaxed), 1, "only once");
    play(&b.space, &[Write(2, 1, 0x83), Read(5, 1, 0x60)]);
    assert_eq!(b.latch.levels(), 0);
    assert_eq!(b.serial.receive(&[9; 8]), 8);
    play(&b.space, &[Read(2, 1, 0xc4)]);
}

#[test]
fn receiving_without_a_fifo() {
    let b = bench();
    assert_eq!(b.serial.receive(&[1, 2]), 1);
    play(&b.space, &[Read(5, 1, 0x61), Read(0, 1, 1), Read(0, 1, 0)]);
    b.serial.receive_break();
    play(&b.space, &[Write(1, 1, 4), Read(2, 1, 6)]);
    assert_eq!(b.latch.levels(), 1);
    play(
        &b.space,
        &[Read(5, 1, 0x71), Read(5, 1, 0x61), Read(2, 1, 1)],
    );
}

#[test]
fn loop_back_joins_outputs_and_inputs() {
    let b = bench();
    play(
        &b.space,
        &[Write(4, 1, 0x10), Read(6, 1, 0x0b), Read(6, 1, 0)],
    );
    assert_eq!(b.serial.receive(&[1]), 0);
    play(
        &b.space,
        &[
            Write(4, 1, 0x1f),
            Write(1, 1, 8),
            Read(2, 1, 0),
            Read(6, 1, 0xfb),
            Read(2, 1, 1),
            Write(4, 1, 0x1b),
            Read(6, 1, 0xb4),
            Write(0, 1, 0x77),
            Read(0, 1, 0x77),
            Write(0, 1, 1),
            Write(0, 1, 2),
            Read(5, 1, 0x63),
            Read(0, 1, 2),
            Write(3, 1, 0x40),
            Read(5, 1, 0x71),
            Write(4, 1, 0),
        ],
    );
    assert!(b.line.sent.lock().expect("lock").is_empty());
    assert_eq!(b.line.room.load(Ordering::Relaxed), 1);
}

#[test]
fn a_host_line_brings_no_more_than_fits() {
    let host = Arc::new(Ring::new(100));
    let serial = Serial::new(IrqLine::unconnected(), CharLine::new(host.clone()));
    let space = space(serial.clone(), 0, LEN, RULES);
    let typed: Vec<u8> = (0..100).collect();
    host.input(&typed);
    // One without a FIFO, then a FIFO at a time, which clears it when it is switched on.
    play(&space, &[Read(0, 1, 0), Read(0, 1, 1), Write(2, 1, 1)]);
    let read: Vec<_> = (3..100).map(|value| Read(0, 1, value)).collect();
    play(&space, &read);
    play(
        &space,
        &[Read(5, 1, 0x60), Write(0, 1, 0x41), Write(0, 1, 0x42)],
    );
    assert_eq!(host.take(), b"AB");
    // In loop-back nothing comes, and nothing is lost.
    play(&space, &[Write(4, 1, 0x10)]);
    host.input(&[7]);
    play(&space, &[Read(5, 1, 0x60), Write(4, 1, 0), Read(0, 1, 7)]);
}

#[test]
fn any_access_and_then_a_reset() {
    let b = bench();
    batter(&*b.serial, LEN);
    b.serial.reset();
    assert_eq!(b.serial.state(), SerialState::default());
    assert_eq!(b.latch.levels(), 0);
}

#[test]
fn state_is_data() {
    let b = bench();
    play(&b.space, &[Write(2, 1, 1), Write(1, 1, 1)]);
    b.serial.receive(&[1, 2]);
    let state = b.serial.state();
    let other = bench();
    other.serial.restore(state.clone());
    assert_eq!(other.serial.state(), state);
    assert_eq!(other.latch.levels(), 1);
}
