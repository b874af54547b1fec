//! The flash: modes, programming, erasing, the query table.

use super::*;
use crate::testing::{batter, play};
use isomorph_block::{BlockBackend, BlockError};
use isomorph_machine::Device;
use isomorph_machine::Step::{NoRead, Read, Write};
use isomorph_softmmu::{AddressSpace, Backing, RamBlock, Region, RomSwitch};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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

/// What an image was asked to do; the first megabyte of the flash only.
#[derive(Default)]
struct Image {
    writes: Mutex<Vec<(u64, Vec<u8>)>>,
    flushes: AtomicUsize,
}

impl BlockBackend for Image {
    fn capacity(&self) -> u64 {
        LEN / 2
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> Result<(), BlockError> {
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError> {
        if offset >= self.capacity() {
            return Err(BlockError::ReadOnly);
        }
        self.writes
            .lock()
            .expect("lock")
            .push((offset, data.to_vec()));
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> Result<(), BlockError> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Ok(())
    }
}

#[test]
fn changes_reach_the_image() {
    let (flash, space) = bench(false);
    let image = Arc::new(Image::default());
    let errors = Arc::new(Mutex::new(Vec::new()));
    let seen = errors.clone();
    let on_error = move |error: &BlockError| seen.lock().expect("lock").push(error.to_string());
    flash.write_back(image.clone(), Box::new(on_error));
    play(
        &space,
        &[
            Write(0x1000, 4, 0x40_0040),
            Write(0x1000, 4, 0x1234_5678),
            Write(0x2000, 4, 0xe8_00e8),
            Write(0x2000, 4, 0x02_0002),
            Write(0x2000, 4, 0x1111_1111),
            Write(0x2004, 4, 0x2222_2222),
            Write(0x3000, 4, 0x3333_3333),
            Write(0x2000, 4, 0xd0_00d0),
            Read(0x2000, 4, READY),
            Write(0x4_1234, 4, 0x20_0020),
            Write(0x4_1234, 4, 0xd0_00d0),
            Read(0, 4, READY),
            Write(LEN - 4, 4, 0x40_0040),
            Write(LEN - 4, 4, 0),
            Read(0, 4, 0x90_0090),
        ],
    );
    let words = [0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22].to_vec();
    let want = [
        (0x1000, vec![0x78, 0x56, 0x34, 0x12]),
        (0x2000, words),
        (0x3000, vec![0x33; 4]),
        (BLOCK, vec![0xff; BLOCK as usize]),
    ];
    assert_eq!(*image.writes.lock().expect("lock"), want);
    assert_eq!(*errors.lock().expect("lock"), ["the disk is read-only"]);
    flash.reset();
    assert_eq!(image.flushes.load(Ordering::Relaxed), 1);
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
