//! Flat views: who answers where regions overlap, and accesses at edges.

use super::*;
use crate::region::{AccessRules, Backing, Mmio};
use std::sync::Mutex;

/// Remembers accesses; a read gives its offset in every byte.
#[derive(Default)]
struct Probe(Mutex<Vec<(u64, u32, Option<u64>)>>);

impl Mmio for Probe {
    fn read(&self, offset: u64, size: u32) -> u64 {
        self.0.lock().expect("lock").push((offset, size, None));
        0x0101_0101_0101_0101u64.wrapping_mul(offset & 0xff)
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        let mut seen = self.0.lock().expect("lock");
        seen.push((offset, size, Some(value)));
    }
}

fn mmio(name: &str, base: u64, len: u64, priority: i32) -> Arc<Region> {
    let backing = Backing::Mmio(Arc::new(Probe::default()), AccessRules::ANY);
    Arc::new(Region::new(name, base, len, priority, backing).expect("region"))
}

fn shape(view: &FlatView) -> Vec<(u64, u64, &str)> {
    view.parts()
        .map(|(start, last, region)| (start, last, region.name()))
        .collect()
}

#[test]
fn higher_priority_punches_a_hole() {
    let view = FlatView::new(&[mmio("top", 0x40, 0x20, 1), mmio("low", 0, 0x100, 0)]);
    let want = [(0, 0x3f, "low"), (0x40, 0x5f, "top"), (0x60, 0xff, "low")];
    assert_eq!(shape(&view), want);
    assert_eq!(view.lookup(0x60).expect("low").offset, 0x60);
    assert!(view.lookup(0x100).is_none());
}

#[test]
fn among_equals_the_later_wins() {
    let view = FlatView::new(&[mmio("a", 0, 0x20, 0), mmio("b", 0x10, 0x20, 0)]);
    assert_eq!(shape(&view), [(0, 0xf, "a"), (0x10, 0x2f, "b")]);
}

#[test]
fn the_last_address_can_be_used() {
    let view = FlatView::new(&[
        mmio("top", u64::MAX - 7, 8, 1),
        mmio("under", u64::MAX - 15, 16, 0),
    ]);
    let want = [
        (u64::MAX - 15, u64::MAX - 8, "under"),
        (u64::MAX - 7, u64::MAX, "top"),
    ];
    assert_eq!(shape(&view), want);
    assert!(view.read(u64::MAX - 7, 8).is_ok());
    assert!(view.read(u64::MAX - 6, 8).is_err());
    let whole = FlatView::new(&[mmio("a", 0, u64::MAX, 0), mmio("b", 0, u64::MAX, 1)]);
    assert_eq!(shape(&whole), [(0, u64::MAX - 1, "b")]);
}

#[test]
fn flat_views_agree_with_a_scan_of_the_regions() {
    let mut seed = 0x1234_5678_9abc_def1u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..200 {
        let regions: Vec<_> = (0..random(8))
            .map(|n| mmio(&n.to_string(), random(40), 1 + random(30), random(3) as i32))
            .collect();
        let view = FlatView::new(&regions);
        for address in 0..80 {
            let want = regions
                .iter()
                .filter(|r| r.base() <= address && address <= r.last())
                .max_by_key(|region| region.priority());
            let got = view.lookup(address).map(|target| target.region.name());
            assert_eq!(got, want.map(|region| region.name()), "{address}");
        }
    }
}

#[test]
fn devices_get_what_their_rules_say() {
    let device = Arc::new(Probe::default());
    let rules = AccessRules {
        min: 2,
        max: 8,
        unaligned: false,
        unit: 4,
    };
    let backing = Backing::Mmio(device.clone(), rules);
    let region = Arc::new(Region::new("dev", 0x1000, 0x10, 0, backing).expect("region"));
    let view = FlatView::new([&region]);
    assert_eq!(view.read(0x1008, 8), Ok(0x0c0c_0c0c_0808_0808));
    assert_eq!(view.write(0x1000, 8, 0x1122_3344_5566_7788), Ok(()));
    assert_eq!(view.write(0x1002, 2, 0xffff_1234), Ok(()));
    assert_eq!(view.read(0x1002, 4), Err(BusError { address: 0x1002 }));
    assert_eq!(view.read(0x1000, 1), Err(BusError { address: 0x1000 }));
    assert_eq!(view.read(0x100e, 4), Err(BusError { address: 0x1011 }));
    let seen = device.0.lock().expect("lock").clone();
    let want = [
        (8, 4, None),
        (12, 4, None),
        (0, 4, Some(0x5566_7788)),
        (4, 4, Some(0x1122_3344)),
        (2, 2, Some(0x1234)),
    ];
    assert_eq!(seen, want);
    assert_eq!(region.accesses(), 3);
}

#[test]
fn accesses_over_the_end_of_ram_are_split() {
    let one = RamBlock::new("one", 4096).expect("memory");
    let two = RamBlock::new("two", 4096).expect("memory");
    let region = |name, base, ram: &Arc<RamBlock>| {
        let backing = Backing::Ram(ram.clone(), 0);
        Arc::new(Region::new(name, base, 4096, 0, backing).expect("region"))
    };
    let view = FlatView::new(&[region("one", 0, &one), region("two", 4096, &two)]);
    assert_eq!(view.write(4093, 8, 0x0807_0605_0403_0201), Ok(()));
    assert_eq!(view.read(4093, 8), Ok(0x0807_0605_0403_0201));
    assert_eq!(two.load(0, 4), Some(0x0706_0504));
    let mut bytes = [0; 8];
    assert_eq!(view.read_bytes(4093, &mut bytes), Ok(()));
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(view.write_bytes(8190, &bytes).is_err());
    let swapped = view.compare_exchange(4096, 4, 0x0706_0504, 0x0706_0504);
    assert_eq!(swapped, Some(0x0706_0504));
    assert_eq!(view.compare_exchange(8192, 4, 0, 0), None);
    use vm_memory::{Bytes, GuestAddress};
    let dma = view.dma();
    dma.write_slice(&[9; 6], GuestAddress(4093)).expect("RAM");
    assert_eq!(view.read(4092, 8), Ok(0x0709_0909_0909_0900));
    assert!(dma.write_slice(&[9; 6], GuestAddress(8190)).is_err());
}

#[test]
fn rom_ignores_writes_but_can_be_loaded() {
    let ram = RamBlock::new("rom", 4096).expect("memory");
    let backing = Backing::Rom(ram, 0);
    let region = Arc::new(Region::new("rom", 0, 4096, 0, backing).expect("region"));
    let view = FlatView::new([&region]);
    assert_eq!(view.load_bytes(0, &[7; 4]), Ok(()));
    assert_eq!(view.write(0, 4, 1), Ok(()));
    assert_eq!(view.read(0, 4), Ok(0x0707_0707));
    let mut bytes = [0; 4];
    assert_eq!(view.read_memory(1, &mut bytes), Ok(()));
    assert_eq!(bytes, [7, 7, 7, 0]);
    assert!(view.write_memory(0, &bytes).is_err());
    assert!(view.load_bytes(4094, &[7; 4]).is_err());
}

#[test]
fn only_ram_is_discarded() {
    let ram = RamBlock::new("ram", 8192).expect("memory");
    ram.write(0, &[1; 8192]);
    let half = |base, offset| {
        let backing = Backing::Ram(ram.clone(), offset);
        Arc::new(Region::new("half", base, 4096, 0, backing).expect("region"))
    };
    let view = FlatView::new(&[
        half(0x2000, 0),
        half(0x1000, 4096),
        mmio("io", 0x3000, 8, 0),
    ]);
    assert_eq!(view.discard_memory(0x1ff8, 16), Ok(()));
    assert_eq!(ram.load(8184, 8), Some(0));
    assert_eq!(ram.load(0, 8), Some(0));
    assert_eq!(ram.load(8, 1), Some(1));
    let error = view.discard_memory(0x2ff0, 32);
    assert_eq!(error, Err(BusError { address: 0x3000 }));
}
