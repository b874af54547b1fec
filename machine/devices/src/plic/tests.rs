//! The PLIC, register by register.

use super::regs::LEN;
use super::*;
use crate::testing::{batter, play, space};
use isomorph_machine::Step::{NoRead, NoWrite, Read, Write};
use isomorph_machine::{Device, IrqLatch, IrqLine};
use isomorph_softmmu::AddressSpace;
use std::sync::Arc;

fn bench() -> (Arc<Plic>, Arc<IrqLatch>, Arc<AddressSpace>) {
    let latch = IrqLatch::new();
    let outputs = (0..2).map(|n| IrqLine::new(latch.clone(), n)).collect();
    let plic = Plic::new(95, outputs);
    let space = space(plic.clone(), 0, LEN, RULES);
    (plic, latch, space)
}

#[test]
fn registers_keep_what_they_implement() {
    let (_, _, space) = bench();
    play(
        &space,
        &[
            Write(0, 4, 7),
            Read(0, 4, 0),
            Write(4, 4, 0xffff_ffff),
            Read(4, 4, 7),
            Write(95 * 4, 4, 3),
            Read(95 * 4, 4, 3),
            Write(96 * 4, 4, 3),
            Read(96 * 4, 4, 0),
            Write(0x2000, 4, 0xffff_ffff),
            Read(0x2000, 4, 0xffff_fffe),
            Write(0x2088, 4, 0xffff_ffff),
            Read(0x2088, 4, 0xffff_ffff),
            Write(0x200c, 4, 0xffff_ffff),
            Read(0x200c, 4, 0),
            Write(0x2100, 4, 0xffff_ffff),
            Read(0x2100, 4, 0),
            Write(0x20_1000, 4, 0xff),
            Read(0x20_1000, 4, 7),
            Read(0x20_2000, 4, 0),
            Write(0x1000, 4, 2),
            Read(0x1000, 4, 0),
            Read(0x20_0008, 4, 0),
            NoRead(0, 1),
            NoRead(0, 8),
            NoRead(2, 4),
            NoWrite(4, 2),
        ],
    );
}

#[test]
fn claim_and_complete() {
    let (plic, latch, space) = bench();
    let (ten, eleven) = (plic.line(10), plic.line(11));
    play(
        &space,
        &[
            Write(40, 4, 1),
            Write(44, 4, 1),
            Write(0x2080, 4, 3 << 10),
            Read(0x20_1004, 4, 0),
        ],
    );
    eleven.set(true);
    ten.set(true);
    assert_eq!(latch.levels(), 2);
    play(&space, &[Read(0x1000, 4, 3 << 10), Read(0x20_0004, 4, 0)]);
    play(&space, &[Read(0x20_1004, 4, 10), Read(0x20_1004, 4, 11)]);
    assert_eq!(latch.levels(), 0);
    ten.set(false);
    play(&space, &[Write(0x20_1004, 4, 10), Read(0x20_1004, 4, 0)]);
    play(&space, &[Write(0x20_0004, 4, 11), Read(0x20_1004, 4, 0)]);
    play(&space, &[Write(0x20_1004, 4, 11)]);
    assert_eq!(latch.levels(), 2, "the line is still high");
    play(&space, &[Write(0x20_1000, 4, 1)]);
    assert_eq!(latch.levels(), 0, "not above the threshold");
    play(&space, &[Write(40, 4, 2)]);
    ten.pulse();
    assert_eq!(latch.levels(), 2, "an edge is remembered");
    play(&space, &[Read(0x20_1004, 4, 10), Read(0x20_1004, 4, 11)]);
}

#[test]
fn any_access_and_then_a_reset() {
    let (plic, latch, _) = bench();
    let lines: Vec<_> = (0..2000).map(|n| plic.line(n)).collect();
    batter(&*plic, 0x20_3000);
    lines.iter().for_each(|line| line.set(true));
    batter(&*plic, 0x20_3000);
    lines.iter().for_each(|line| line.set(false));
    plic.reset();
    assert_eq!(latch.levels(), 0);
    assert_eq!(plic.state(), bench().0.state());
    assert!(!Plic::new(1, Vec::new()).restore(plic.state()));
    assert!(plic.restore(plic.state()));
}

#[test]
fn interrupts_are_counted_by_source() {
    let (plic, _, _) = bench();
    let line = plic.line(10);
    line.pulse();
    line.set(true);
    line.set(true);
    plic.line(95).pulse();
    plic.line(200).pulse();
    assert_eq!(plic.raised().collect::<Vec<_>>(), [(10, 2), (95, 1)]);
}
