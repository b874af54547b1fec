//! The software TLB: what hits, what a flush takes, and what it leaves.

use super::*;
use crate::ram::RamBlock;
use crate::region::{AccessRules, Backing, Mmio, Region};
use std::sync::Arc;

struct Nothing;

impl Mmio for Nothing {
    fn read(&self, _: u64, _: u32) -> u64 {
        0
    }

    fn write(&self, _: u64, _: u32, _: u64) {}
}

const RAM: u64 = 0x8000_0000;

fn view() -> (FlatView, Arc<RamBlock>) {
    let ram = RamBlock::new("ram", 16 << 20).expect("memory");
    let backing = Backing::Ram(ram.clone(), 0);
    let device = Backing::Mmio(Arc::new(Nothing), AccessRules::ANY);
    let regions = [
        Arc::new(Region::new("ram", RAM, 16 << 20, 0, backing).expect("region")),
        Arc::new(Region::new("dev", 0x1000, 0x1000, 0, device).expect("region")),
        Arc::new(
            Region::new("half", 0x3000, 0x800, 0, Backing::Ram(ram.clone(), 0)).expect("region"),
        ),
    ];
    (FlatView::new(&regions), ram)
}

fn walk(physical: u64) -> Walk {
    Walk {
        physical,
        size: 4096,
        read: true,
        write: true,
        exec: false,
        global: false,
    }
}

#[test]
fn entries_have_the_layout_of_the_probe() {
    assert_eq!(size_of::<TlbEntry>(), 32);
    assert_eq!(std::mem::offset_of!(TlbEntry, write), 8);
    assert_eq!(std::mem::offset_of!(TlbEntry, exec), 16);
    assert_eq!(std::mem::offset_of!(TlbEntry, addend), 24);
    let mut tlb = SoftTlb::new(2);
    assert_eq!(tlb.select(0, 0), tlb.entries().as_ptr() as usize);
}

#[test]
fn a_direct_entry_leads_to_the_bytes() {
    let (view, ram) = view();
    let mut tlb = SoftTlb::new(1);
    let va = 0xffff_ffd8_0000_1234;
    let filled = tlb.fill(va, Access::Read, &walk(RAM + 0x5234), &view);
    assert_eq!(filled, Ok(Fill::Direct));
    let host = tlb.probe(va, Access::Read);
    assert_eq!(host, Some(ram.host_base() + 0x5234));
    assert_eq!(tlb.lookup(va ^ 1, Access::Write), Some(RAM + 0x5235));
    assert_eq!(tlb.probe(va, Access::Write), None, "clean pages: slow");
    assert_eq!(tlb.lookup(va, Access::Exec), None, "not executable");
    let filled = tlb.fill(va, Access::Write, &walk(RAM + 0x5234), &view);
    assert_eq!(filled, Ok(Fill::Direct));
    assert_eq!(tlb.probe(va, Access::Write), host);
    assert_eq!(ram.dirty().take(), [0x5000]);
}

#[test]
fn code_pages_and_devices_stay_slow() {
    let (view, ram) = view();
    let mut tlb = SoftTlb::new(1);
    ram.code().set(0x2000);
    let filled = tlb.fill(0x7000, Access::Write, &walk(RAM + 0x2000), &view);
    assert_eq!(filled, Ok(Fill::Slow));
    assert!(tlb.probe(0x7000, Access::Read).is_some());
    let filled = tlb.fill(0x9008, Access::Read, &walk(0x1008), &view);
    assert_eq!(filled, Ok(Fill::Slow));
    assert_eq!(tlb.lookup(0x9010, Access::Write), Some(0x1010));
    assert_eq!(tlb.stats().slow, 2);
    let filled = tlb.fill(0xa000, Access::Write, &walk(RAM + 0x3000), &view);
    assert_eq!(filled, Ok(Fill::Direct));
    let host = tlb.probe(0xa000, Access::Write).expect("direct");
    assert!(tlb.protect(host + 0xfff));
    assert!(!tlb.protect(host));
    assert_eq!(tlb.probe(0xa000, Access::Write), None);
    assert_eq!(tlb.lookup(0xa000, Access::Write), Some(RAM + 0x3000));
}

#[test]
fn what_may_be_written_at_once_may_be_read() {
    let (view, _) = view();
    let mut tlb = SoftTlb::new(1);
    let blind = Walk {
        read: false,
        ..walk(RAM)
    };
    let filled = tlb.fill(0x7000, Access::Write, &blind, &view);
    assert_eq!(filled, Ok(Fill::Slow));
    assert_eq!(tlb.probe(0x7000, Access::Write), None);
    assert_eq!(tlb.lookup(0x7000, Access::Write), Some(RAM));
}

#[test]
fn what_cannot_be_remembered_is_not() {
    let (view, _) = view();
    let mut tlb = SoftTlb::new(1);
    let small = Walk {
        size: 64,
        ..walk(RAM)
    };
    assert_eq!(tlb.fill(0, Access::Read, &small, &view), Ok(Fill::Uncached));
    let half = tlb.fill(0, Access::Read, &walk(0x3000), &view);
    assert_eq!(half, Ok(Fill::Uncached));
    let nowhere = tlb.fill(0, Access::Read, &walk(0x5000), &view);
    assert_eq!(nowhere, Err(BusError { address: 0x5000 }));
    assert_eq!(tlb.lookup(0, Access::Read), None);
}

#[test]
fn banks_keep_modes_and_asids_apart() {
    let (view, _) = view();
    let mut tlb = SoftTlb::new(2);
    tlb.select(1, 7);
    tlb.fill(0x4000, Access::Read, &walk(RAM), &view)
        .expect("RAM");
    tlb.select(1, 8);
    assert_eq!(tlb.lookup(0x4000, Access::Read), None);
    tlb.select(1, 7);
    assert_eq!(tlb.lookup(0x4000, Access::Read), Some(RAM));
    tlb.select(0, 7);
    tlb.select(1, 9);
    tlb.select(1, 7);
    assert_eq!(tlb.lookup(0x4000, Access::Read), None, "evicted");
    assert_eq!(tlb.stats().evictions, 1);
}

#[test]
fn flushes_take_what_they_name() {
    let (view, _) = view();
    let mut tlb = SoftTlb::new(4);
    let refill = |tlb: &mut SoftTlb| {
        tlb.select(1, 7);
        for page in 0..4 {
            let walk = Walk {
                global: page == 3,
                ..walk(RAM + page * 4096)
            };
            tlb.fill(page * 4096, Access::Read, &walk, &view)
                .expect("RAM");
        }
    };
    let left = |tlb: &SoftTlb| -> Vec<u64> {
        (0..4)
            .filter(|page| tlb.lookup(page * 4096, Access::Read).is_some())
            .collect()
    };
    refill(&mut tlb);
    tlb.flush_page(0x1fff, None);
    assert_eq!(left(&tlb), [0, 2, 3]);
    tlb.flush_page(0x3000, Some(7));
    tlb.flush_page(0x2000, Some(6));
    assert_eq!(left(&tlb), [0, 2, 3], "global, and another ASID");
    tlb.flush_asid(7);
    assert_eq!(left(&tlb), [3]);
    refill(&mut tlb);
    tlb.flush_range(0x1000, 0x2fff, Some(7));
    assert_eq!(left(&tlb), [0, 3]);
    refill(&mut tlb);
    tlb.flush_range(0, u64::MAX, Some(7));
    assert_eq!(left(&tlb), [3]);
    tlb.flush_all();
    assert!(left(&tlb).is_empty());
    tlb.flush_range(u64::MAX - 10, u64::MAX, None);
    tlb.flush_range(1, 0, None);
}

#[test]
fn one_address_of_a_large_page_takes_all_of_it() {
    let (view, _) = view();
    let mut tlb = SoftTlb::new(1);
    for page in [0, 0x1000, 0x20_0000] {
        let walk = Walk {
            size: 2 << 20,
            ..walk(RAM + page)
        };
        tlb.fill(page, Access::Read, &walk, &view).expect("RAM");
    }
    tlb.flush_page(0x1f_f000, None);
    assert_eq!(tlb.lookup(0, Access::Read), None);
    assert_eq!(tlb.lookup(0x1000, Access::Read), None);
    assert_eq!(tlb.lookup(0x20_0000, Access::Read), Some(RAM + 0x20_0000));
}

#[test]
fn a_page_that_lost_its_entry_comes_back_without_a_walk() {
    let (view, _) = view();
    let mut tlb = SoftTlb::new(1);
    let far = 0x8000 + (TLB_ENTRIES as u64) * PAGE_SIZE;
    tlb.fill(0x8000, Access::Write, &walk(RAM), &view)
        .expect("RAM");
    tlb.fill(far, Access::Write, &walk(RAM + 0x1000), &view)
        .expect("RAM");
    assert_eq!(tlb.probe(0x8000, Access::Write), None);
    assert!(tlb.recall(0x8123, Access::Write));
    let host = tlb.probe(0x8000, Access::Write).expect("it is back");
    assert_eq!(tlb.probe(far, Access::Write), None);
    // What is dropped or protected is so wherever it is.
    assert!(tlb.recall(far, Access::Read));
    assert!(tlb.protect(host));
    assert!(!tlb.recall(0x8000, Access::Write));
    assert!(tlb.recall(0x8000, Access::Read));
    tlb.flush_page(far, None);
    assert!(!tlb.recall(far, Access::Read));
    tlb.fill(far, Access::Read, &walk(RAM), &view).expect("RAM");
    tlb.flush_all();
    assert!(!tlb.recall(0x8000, Access::Read));
}
