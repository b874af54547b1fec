//! fw_cfg: the data register, the directory, DMA and its failures.

use super::*;
use crate::testing::{batter, play};
use isomorph_machine::Device;
use isomorph_machine::Step::{NoRead, NoWrite, Read, Write};
use isomorph_softmmu::{AddressSpace, Backing, RamBlock, Region};
use std::sync::Arc;

const RAM: u64 = 0x8000;

fn bench() -> (Arc<FwCfg>, Arc<AddressSpace>) {
    let space = AddressSpace::new();
    let device = FwCfg::new(&space);
    let backing = Backing::Mmio(device.clone(), RULES);
    space.add(Region::new("fw_cfg", 0, LEN, 0, backing).expect("region"));
    let ram = RamBlock::new("ram", 0x8000).expect("memory");
    let backing = Backing::Ram(ram, 0);
    space.add(Region::new("ram", RAM, 0x8000, 0, backing).expect("region"));
    (device, space)
}

/// Runs a descriptor at the start of RAM; its control field afterwards.
fn dma(space: &AddressSpace, control: u32, length: u32, target: u64) -> u32 {
    let mut bytes = control.to_be_bytes().to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(target.to_be_bytes());
    space.write_bytes(RAM, &bytes).expect("RAM");
    play(space, &[Write(0x10, 8, RAM.swap_bytes())]);
    (space.read(RAM, 4).expect("RAM") as u32).swap_bytes()
}

#[test]
fn items_are_read_byte_by_byte_or_more() {
    let (device, space) = bench();
    device.set(Key::NbCpus, &4u16.to_le_bytes());
    play(
        &space,
        &[
            Read(0, 4, u64::from(u32::from_le_bytes(*b"QEMU"))),
            Read(0, 8, 0),
            Write(8, 2, 0x0100),
            Read(0, 1, 3),
            Read(0, 4, 0),
            Write(8, 2, 0x0500),
            Read(0, 2, 4),
            Write(8, 2, 0xffff),
            Read(0, 8, 0),
            Write(0, 8, 1),
            Read(8, 2, 0),
            NoRead(1, 2),
            NoRead(0x18, 1),
            NoWrite(0x12, 4),
        ],
    );
    device.reset();
    assert_eq!(device.state(), FwCfgState::default());
}

#[test]
fn the_directory_is_sorted() {
    let (device, space) = bench();
    device.add_file("opt/b", b"bb").expect("room");
    device.add_file("etc/a", b"a").expect("room");
    assert!(device.add_file("etc/a", b"").is_err());
    assert!(device.add_file("", b"").is_err());
    assert!(device.add_file(&"x".repeat(56), b"").is_err());
    assert_eq!(dma(&space, 0x0019_000a, 132, RAM + 64), 0);
    let mut bytes = [0; 132];
    space.read_bytes(RAM + 64, &mut bytes).expect("RAM");
    assert_eq!(bytes[..4], [0, 0, 0, 2]);
    assert_eq!(bytes[4..12], [0, 0, 0, 1, 0, 0x21, 0, 0]);
    assert_eq!(&bytes[12..18], b"etc/a\0");
    assert_eq!(bytes[68..76], [0, 0, 0, 2, 0, 0x20, 0, 0]);
    assert_eq!(&bytes[76..82], b"opt/b\0");
}

#[test]
fn dma_reads_skips_and_fails() {
    let (device, space) = bench();
    let signature = [Read(0x10, 8, u64::from_le_bytes(*b"QEMU CFG"))];
    play(&space, &signature);
    device
        .add_file("f", &[1, 2, 3, 4, 5, 6, 7, 8])
        .expect("room");
    assert_eq!(dma(&space, 0x0020_000c, 2, 0), 0);
    assert_eq!(dma(&space, 2, 4, RAM + 0x100), 0);
    assert_eq!(space.read(RAM + 0x100, 8), Ok(0x0605_0403));
    space.write(RAM + 0x100, 8, u64::MAX).expect("RAM");
    assert_eq!(dma(&space, 2, 6, RAM + 0x100), 0);
    assert_eq!(space.read(RAM + 0x100, 8), Ok(0xffff_0000_0000_0807));
    assert_eq!(dma(&space, 0x0020_0018, 4, RAM + 0x100), 1, "no writing");
    assert_eq!(dma(&space, 0x0020_000a, u32::MAX, RAM + 0x100), 1);
    assert_eq!(dma(&space, 0x0020_000a, 8, 0x10_0000), 1);
    assert_eq!(dma(&space, 0, 0, 0), 0);
    play(&space, &[Write(0x10, 4, 0), Write(0x14, 4, 0xffff_ffff)]);
    play(&space, &[Write(0x10, 8, u64::MAX)]);
}

#[test]
fn dma_into_its_own_registers_ends() {
    let (_, space) = bench();
    dma(&space, 0x0000_000a, 24, 0);
    dma(&space, 0x0000_000a, 8, 0x10);
}

#[test]
fn any_access() {
    let (device, _) = bench();
    batter(&*device, LEN);
}
