//! The ACLINT, register by register.

use super::regs::LEN;
use super::*;
use crate::testing::{batter, play, space};
use isomorph_machine::Step::{NoRead, NoWrite, Read, Write};
use isomorph_machine::{Device, IrqLatch, IrqLine, ManualClock, Timebase};
use isomorph_softmmu::AddressSpace;
use std::sync::Arc;

struct Bench {
    clint: Arc<Aclint>,
    clock: Arc<ManualClock>,
    latch: Arc<IrqLatch>,
    space: Arc<AddressSpace>,
}

/// Two harts: software interrupts on bits 0 and 1, timers on bits 4 and 5.
fn bench() -> Bench {
    let clock = ManualClock::new();
    let latch = IrqLatch::new();
    let lines = (0..2).map(|n| HartLines {
        software: IrqLine::new(latch.clone(), n),
        timer: IrqLine::new(latch.clone(), 4 + n),
    });
    let time = Timebase::new(clock.clone(), 10_000_000);
    let clint = Aclint::new(lines.collect(), time);
    let space = space(clint.clone(), 0, LEN, RULES);
    Bench {
        clint,
        clock,
        latch,
        space,
    }
}

#[test]
fn software_interrupts() {
    let b = bench();
    play(
        &b.space,
        &[Write(4, 4, 0xffff_ffff), Read(4, 4, 1), Read(0, 4, 0)],
    );
    assert_eq!(b.latch.levels(), 2);
    play(
        &b.space,
        &[Read(0, 8, 1 << 32), Write(0, 8, 1), Read(4, 4, 0)],
    );
    assert_eq!(b.latch.levels(), 1);
    play(
        &b.space,
        &[Write(8, 4, 1), Read(8, 4, 0), NoRead(0, 1), NoWrite(2, 4)],
    );
}

#[test]
fn the_timer_goes_off_when_it_is_due() {
    let b = bench();
    b.clock.advance(1000);
    play(&b.space, &[Read(0xbff8, 8, 10), Read(0xbffc, 4, 0)]);
    play(&b.space, &[Write(0x4000, 8, 20), Write(0x4008, 8, 15)]);
    b.clock.advance(499);
    assert_eq!(b.latch.levels(), 0);
    b.clock.advance(1);
    assert_eq!(b.latch.levels(), 2 << 4);
    b.clock.advance(500);
    assert_eq!(b.latch.levels(), 3 << 4);
    play(&b.space, &[Write(0x4000, 4, 100), Read(0x4000, 8, 100)]);
    assert_eq!(b.latch.levels(), 2 << 4);
    play(
        &b.space,
        &[Write(0x400c, 4, 1), Read(0x4008, 8, 1 << 32 | 15)],
    );
    assert_eq!(b.latch.levels(), 0);
    play(
        &b.space,
        &[Write(0xbffc, 4, 1), Read(0xbff8, 8, 1 << 32 | 20)],
    );
    assert_eq!(b.latch.levels(), 3 << 4);
    play(&b.space, &[Write(0xbff8, 8, 7), Read(0xbff8, 4, 7)]);
    assert_eq!(b.latch.levels(), 0);
}

#[test]
fn any_access_and_then_a_reset() {
    let b = bench();
    batter(&*b.clint, LEN);
    b.clock.advance(u64::MAX / 2);
    b.clint.reset();
    assert_eq!(b.latch.levels(), 0);
    assert_eq!(b.clint.state(), bench().clint.state());
    assert!(b.clint.restore(bench().clint.state()));
}
