//! The flash: modes, programming, erasing, the query table.

use super::*;
use crate::testing::{batter, play};
use isomorph_machine::Device;
use isomorph_machine::Step::{NoRead, Read, Write};
use isomorph_softmmu::{AddressSpace, Backing, RamBlock, Region, RomSwitch};
use std::sync::Arc;

const LEN: u64 = 2 << 20;
const READY: u64 = 0x80_0080;

fn bench(read_only: bool) -> (Arc<Flash>, Arc<AddressSpace>) {
    let ram = RamBlock::new("flash", LEN).expect("memory");
    ram.write(0, &[0xff; LEN as usize]);
    let flash = Flash::new(ram.clone(), 0, LEN, read_only);
    let space = AddressSpace::new();
    let backing = Backing::Flash {
        ram,
        offset: 0,
        device: flash.clone(),
        rules: RULES,
    };
    let id = space.add(Region::new("flash", 0, LEN, 0, backing).expect("region"));
    flash.connect(RomSwitch::new(&space, id));
    (flash, space)
}

#[test]
fn the_query_table_names_the_chips() {
    let (_, space) = bench(false);
    play(
        &space,
        &[
            Read(0x40, 8, u64::MAX),
            Write(0x55 * 4, 4, 0x98_0098),
            Read(0x10 * 4, 4, 0x51_0051),
            Read(0x11 * 4, 2, 0x52),
            Read(0x12 * 4 + 2, 2, 0x59),
            Read(0x13 * 4, 4, 0x01_0001),
            Read(0x27 * 4, 4, 0x14_0014),
            Read(0x2d * 4, 1, 7),
            Read(0x30 * 4, 1, 2),
            Read(0x31 * 4, 1, 0x50),
            Read(0x80 * 4, 4, 0),
            NoRead(0x10, 8),
            Write(0, 4, 0x90_0090),
            Read(0, 4, 0x89_0089),
            Read(4, 4, 0x18_0018),
            Read(8, 4, 0),
            Write(0, 4, 0xff_00ff),
            Read(0, 4, 0xffff_ffff),
        ],
    );
}

#[test]
fn programming_clears_bits_and_erasing_sets_them() {
    let (_, space) = bench(false);
    play(
        &space,
        &[
            Write(0x1000, 4, 0x40_0040),
            Write(0x1000, 4, 0x1234_5678),
            Read(0x1000, 4, READY),
            Write(0x1000, 4, 0x10_0010),
            Write(0x1000, 4, 0x0fff_ffff),
            Write(0x1000, 4, 0xff_00ff),
            Read(0x1000, 4, 0x0234_5678),
            Write(0x1000, 4, 0x20_0020),
            Write(0x1000, 4, 0xd0_00d0),
            Read(0, 4, READY),
            Write(0, 4, 0xff_00ff),
            Read(0x1000, 4, 0xffff_ffff),
            Write(0, 4, 0x20_0020),
            Write(0, 4, 0xff_00ff),
            Read(0, 4, 0xa0_00a0),
            Write(0, 4, 0x50_0050),
            Read(0, 4, READY),
            Write(0, 4, 0x60_0060),
            Write(0, 4, 0xd0_00d0),
            Read(0, 4, READY),
        ],
    );
}

#[test]
fn buffered_writes() {
    let (_, space) = bench(false);
    play(
        &space,
        &[
            Write(0x2000, 4, 0xe8_00e8),
            Read(0x2000, 4, READY),
            Write(0x2000, 4, 0x01_0001),
            Write(0x2000, 4, 0x1111_1111),
            Write(0x2004, 4, 0x2222_2222),
            Write(0x2000, 4, 0xd0_00d0),
            Read(0x2000, 4, READY),
            Write(0, 4, 0xff),
            Read(0x2000, 8, 0x2222_2222_1111_1111),
            Write(0, 4, 0xe8),
            Write(0, 4, 0xffff),
            Read(0, 4, 0x90_0090),
        ],
    );
}

#[test]
fn a_read_only_flash_says_so() {
    let (flash, space) = bench(true);
    play(
        &space,
        &[
            Write(0, 4, 0x40),
            Write(0, 4, 0),
            Read(0, 4, 0x90_0090),
            Write(0, 4, 0x20),
            Write(0, 4, 0xd0),
            Read(0, 4, 0xb0_00b0),
        ],
    );
    flash.reset();
    play(&space, &[Read(0, 4, 0xffff_ffff)]);
}

#[test]
fn any_access() {
    let (flash, space) = bench(false);
    batter(&*flash, LEN);
    let other = bench(false).0;
    other.restore(flash.state());
    assert_eq!(other.state(), flash.state());
    flash.reset();
    assert!(space.read(0, 4).is_ok());
}
