//! The Goldfish clock, register by register.

use super::regs::LEN;
use super::*;
use crate::testing::{batter, play, space};
use isomorph_machine::Step::{NoRead, NoWrite, Read, Write};
use isomorph_machine::{Clock, Device, IrqLatch, IrqLine, ManualClock};
use isomorph_softmmu::AddressSpace;
use std::sync::Arc;

fn bench() -> (Arc<Rtc>, Arc<ManualClock>, Arc<IrqLatch>, Arc<AddressSpace>) {
    let clock = ManualClock::new();
    let latch = IrqLatch::new();
    let rtc = Rtc::new(IrqLine::new(latch.clone(), 0), clock.clone());
    let space = space(rtc.clone(), 0, LEN, RULES);
    (rtc, clock, latch, space)
}

#[test]
fn time_is_read_low_half_first() {
    let (_, clock, _, space) = bench();
    let now = clock.real_ns();
    play(
        &space,
        &[
            Read(4, 4, 0),
            Read(0, 4, now & 0xffff_ffff),
            Read(4, 4, now >> 32),
            Write(4, 4, 2),
            Write(0, 4, 5),
        ],
    );
    clock.advance(3);
    play(&space, &[Read(0, 4, 8), Read(4, 4, 2)]);
    play(&space, &[NoRead(0, 8), NoRead(0x24, 4), NoWrite(1, 1)]);
}

#[test]
fn the_alarm_goes_off_once() {
    let (_, clock, latch, space) = bench();
    play(
        &space,
        &[
            Write(4, 4, 0),
            Write(0, 4, 0),
            Write(0x0c, 4, 0),
            Write(0x08, 4, 100),
            Read(0x18, 4, 1),
            Read(0x08, 4, 100),
            Read(0x0c, 4, 0),
        ],
    );
    clock.advance(100);
    assert_eq!(latch.levels(), 0, "not enabled");
    play(
        &space,
        &[Read(0x18, 4, 0), Write(0x10, 4, 1), Read(0x10, 4, 1)],
    );
    assert_eq!(latch.levels(), 1);
    play(&space, &[Write(0x1c, 4, 1)]);
    assert_eq!(latch.levels(), 0);
    play(&space, &[Write(0x08, 4, 200), Write(0x14, 4, 1)]);
    clock.advance(200);
    assert_eq!(latch.levels(), 0, "taken back");
    play(&space, &[Write(0x08, 4, 5)]);
    assert_eq!(latch.levels(), 1, "in the past");
}

#[test]
fn any_access_and_then_a_reset() {
    let (rtc, clock, latch, _) = bench();
    batter(&*rtc, LEN);
    clock.advance(u64::MAX / 4);
    rtc.reset();
    assert_eq!(latch.levels(), 0);
    rtc.restore(rtc.state());
}
