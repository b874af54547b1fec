//! Devices driven as a driver would, and as a hostile one would.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use isomorph_block::{BlockBackend, BlockError};
use isomorph_chardev::{CharBackend, Ring};
use isomorph_net::{FrameSink, NetBackend};
use isomorph_softmmu::{AddressSpace, Backing, RamBlock, Region};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::mmio::VirtioMmio;
use super::{VirtioDevice, balloon, blk, console, net, pci, rng};
use crate::pci::PciFunction;

type Ram = GuestMemoryMmap<()>;

const RAM: u64 = 1 << 20;
const RING: u64 = 0x1_0000;
const RING_STEP: u64 = 0x8000;
const DATA: u64 = 0x8_0000;
const SIZE: u16 = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const NEEDS_RESET: u64 = 0x40;
const ALL: u64 = (1 << 28) | (1 << 32);

/// A driver of one virtio-mmio slot.
struct Driver {
    slot: VirtioMmio<Ram>,
    memory: Arc<Ram>,
    irq: Arc<AtomicBool>,
    next: [u16; 2],
    used: [u16; 2],
}

impl Driver {
    fn new(device: Box<dyn VirtioDevice<Ram>>) -> Self {
        Self::with(device, RAM)
    }

    fn with(device: Box<dyn VirtioDevice<Ram>>, ram: u64) -> Self {
        let memory = Arc::new(Ram::from_ranges(&[(GuestAddress(0), ram as usize)]).unwrap());
        let irq = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&irq);
        let line = Box::new(move |high: bool| theirs.store(high, Ordering::SeqCst));
        let slot = VirtioMmio::new(device, Arc::clone(&memory), line);
        Driver {
            slot,
            memory,
            irq,
            next: [0; 2],
            used: [0; 2],
        }
    }

    fn started(device: Box<dyn VirtioDevice<Ram>>, features: u64) -> Self {
        let mut driver = Driver::new(device);
        driver.start(features | ALL);
        driver
    }

    fn read(&self, offset: u64) -> u64 {
        self.slot.read(offset, 4)
    }

    fn write(&self, offset: u64, value: u64) {
        self.slot.write(offset, 4, value);
    }

    fn start(&mut self, features: u64) {
        self.write(0x70, 0);
        self.memory
            .write_slice(&vec![0; (DATA - RING) as usize], GuestAddress(RING))
            .unwrap();
        (self.next, self.used) = ([0; 2], [0; 2]);
        self.write(0x70, 1);
        self.write(0x70, 3);
        for half in 0..2 {
            self.write(0x24, half);
            self.write(0x20, features >> (32 * half) & 0xffff_ffff);
        }
        self.write(0x70, 0xb);
        assert_eq!(self.read(0x70), 0xb, "features agreed");
        for queue in 0..2 {
            self.write(0x30, queue);
            if self.read(0x34) == 0 {
                continue;
            }
            let ring = RING + queue * RING_STEP;
            self.write(0x38, u64::from(SIZE));
            self.write(0x80, ring);
            self.write(0x90, ring + 0x1000);
            self.write(0xa0, ring + 0x2000);
            self.write(0x44, 1);
        }
        self.write(0x70, 0xf);
        assert_eq!(self.read(0x70), 0xf);
    }

    fn descriptor(&self, table: u64, index: u16, (address, length, flags, next): Desc) {
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        let at = GuestAddress(table + 16 * u64::from(index));
        self.memory.write_slice(&bytes, at).unwrap();
    }

    fn put(&self, address: u64, data: &[u8]) {
        self.memory
            .write_slice(data, GuestAddress(address))
            .unwrap();
    }

    fn get(&self, address: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory
            .read_slice(&mut data, GuestAddress(address))
            .unwrap();
        data
    }

    fn ring(queue: usize) -> u64 {
        RING + queue as u64 * RING_STEP
    }

    fn make_available(&mut self, queue: usize, head: u16) {
        let ring = Self::ring(queue) + 0x1000;
        let slot = u64::from(self.next[queue] % SIZE);
        self.put(ring + 4 + 2 * slot, &head.to_le_bytes());
        self.next[queue] = self.next[queue].wrapping_add(1);
        self.put(ring + 2, &self.next[queue].to_le_bytes());
    }

    /// Sets descriptors 0.. as one chain, makes it available and rings the doorbell.
    fn submit(&mut self, queue: usize, parts: &[(u64, u32, u16)]) {
        for (index, &(address, length, flags)) in (0u16..).zip(parts) {
            let more = if usize::from(index) + 1 < parts.len() {
                NEXT
            } else {
                0
            };
            let part = (address, length, flags | more, index + 1);
            self.descriptor(Self::ring(queue), index, part);
        }
        self.make_available(queue, 0);
        self.write(0x50, queue as u64);
    }

    fn used_index(&self, queue: usize) -> u16 {
        let bytes = self.get(Self::ring(queue) + 0x2002, 2);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    /// Waits for the next used element; gives its length.
    fn complete(&mut self, queue: usize) -> u32 {
        let start = Instant::now();
        while self.used_index(queue) == self.used[queue] {
            assert!(start.elapsed() < Duration::from_secs(10), "no answer");
            assert_eq!(self.read(0x70) & NEEDS_RESET, 0, "broken");
            std::thread::yield_now();
        }
        let slot = u64::from(self.used[queue] % SIZE);
        self.used[queue] = self.used[queue].wrapping_add(1);
        let bytes = self.get(Self::ring(queue) + 0x2004 + 8 * slot + 4, 4);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn expect_broken(&self) {
        let start = Instant::now();
        while self.read(0x70) & NEEDS_RESET == 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "not broken");
            std::thread::yield_now();
        }
    }

    fn wait_irq(&self) {
        let start = Instant::now();
        while !self.irq.load(Ordering::SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(10), "no interrupt");
            std::thread::yield_now();
        }
    }
}

type Desc = (u64, u32, u16, u16);

struct MemoryDisk {
    data: Mutex<Vec<u8>>,
    flushes: AtomicUsize,
    read_only: bool,
}

impl MemoryDisk {
    fn new(read_only: bool) -> Arc<Self> {
        let data = (0..64 * 512u32).map(|at| (at / 512) as u8).collect();
        Arc::new(MemoryDisk {
            data: Mutex::new(data),
            flushes: AtomicUsize::new(0),
            read_only,
        })
    }
}

impl BlockBackend for MemoryDisk {
    fn capacity(&self) -> u64 {
        self.data.lock().unwrap().len() as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> Result<(), BlockError> {
        let offset = offset as usize;
        data.copy_from_slice(&self.data.lock().unwrap()[offset..offset + data.len()]);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError> {
        let offset = offset as usize;
        self.data.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _unmap: bool) -> Result<(), BlockError> {
        self.data.lock().unwrap()[offset as usize..(offset + length) as usize].fill(0);
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), BlockError> {
        self.write_zeroes(offset, length, true)
    }
}

fn disk(read_only: bool) -> Box<dyn VirtioDevice<Ram>> {
    Box::new(blk::Blk::new(MemoryDisk::new(read_only), "serial-1"))
}

/// Features of the block device that the tests take: flush, discard, write-zeroes.
const BLK: u64 = 1 << 9 | 1 << 13 | 1 << 14;

/// Does one block request with `data` bytes of the driver's, and `room` for the device's.
fn request(driver: &mut Driver, kind: u32, sector: u64, data: &[u8], room: u32) -> (u8, u32) {
    let mut header = kind.to_le_bytes().to_vec();
    header.extend([0; 4]);
    header.extend(sector.to_le_bytes());
    driver.put(DATA, &header);
    driver.put(DATA + 0x100, data);
    driver.put(DATA + 0x8000 + u64::from(room), &[0xee]);
    let mut parts = vec![(DATA, 16, 0)];
    if !data.is_empty() {
        parts.push((DATA + 0x100, data.len() as u32, 0));
    }
    parts.push((DATA + 0x8000, room + 1, WRITE));
    driver.submit(0, &parts);
    let length = driver.complete(0);
    (driver.get(DATA + 0x8000 + u64::from(room), 1)[0], length)
}

#[test]
fn an_empty_slot_has_device_zero() {
    let slot = VirtioMmio::<Ram>::empty();
    assert_eq!(slot.read(0, 4), 0x7472_6976);
    assert_eq!(slot.read(4, 4), 2);
    assert_eq!(slot.read(8, 4), 0);
    slot.write(0x70, 4, 1);
    assert_eq!(slot.read(0x70, 4), 0);
}

#[test]
fn features_must_be_offered_and_modern() {
    let driver = Driver::new(disk(false));
    for (low, high, agreed) in [
        (0, 0, false),
        (1 << 31, 1, false),
        (0, 3, false),
        (0, 1, true),
    ] {
        driver.write(0x70, 0);
        driver.write(0x70, 3);
        driver.write(0x24, 0);
        driver.write(0x20, low);
        driver.write(0x24, 1);
        driver.write(0x20, high);
        driver.write(0x70, 0xb);
        assert_eq!(driver.read(0x70) == 0xb, agreed, "{low:#x} {high:#x}");
    }
    driver.write(0x70, 0);
    driver.write(0x70, 7);
    assert_eq!(driver.read(0x70), 3, "ready before features are agreed");
}

#[test]
fn a_disk_reads_and_writes() {
    let mut driver = Driver::started(disk(false), BLK);
    assert_eq!(driver.slot.read(0x100, 8), 64);
    assert_eq!(request(&mut driver, 0, 5, &[], 1024), (0, 1025));
    assert_eq!(driver.get(DATA + 0x8000, 512), [5; 512]);
    assert_eq!(driver.get(DATA + 0x8200, 512), [6; 512]);
    driver.wait_irq();
    assert_eq!(driver.read(0x60), 1);
    driver.write(0x64, 1);
    assert!(!driver.irq.load(Ordering::SeqCst));
    assert_eq!(request(&mut driver, 1, 9, &[0xab; 512], 0), (0, 1));
    assert_eq!(request(&mut driver, 4, 0, &[], 0), (0, 1));
    assert_eq!(request(&mut driver, 0, 9, &[], 512), (0, 513));
    assert_eq!(driver.get(DATA + 0x8000, 512), [0xab; 512]);
    assert_eq!(request(&mut driver, 8, 0, &[], 20), (0, 21));
    assert_eq!(driver.get(DATA + 0x8000, 9), *b"serial-1\0");
    let mut segment = 9u64.to_le_bytes().to_vec();
    segment.extend([1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(request(&mut driver, 13, 0, &segment, 0), (0, 1));
    assert_eq!(request(&mut driver, 0, 9, &[], 512), (0, 513));
    assert_eq!(driver.get(DATA + 0x8000, 512), [0; 512]);
    assert_eq!(
        request(&mut driver, 11, 0, &segment, 0),
        (2, 1),
        "discard knows no unmap flag"
    );
    segment[12] = 0;
    assert_eq!(request(&mut driver, 11, 0, &segment, 0), (0, 1));
}

#[test]
fn a_wrong_request_gets_an_error_and_the_disk_goes_on() {
    let mut driver = Driver::started(disk(false), BLK);
    let mut many = 60u64.to_le_bytes().to_vec();
    many.extend([5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(request(&mut driver, 0, 64, &[], 512).0, 1, "behind the end");
    assert_eq!(request(&mut driver, 0, 63, &[], 1024).0, 1, "over the end");
    assert_eq!(request(&mut driver, 0, u64::MAX, &[], 512).0, 1);
    assert_eq!(request(&mut driver, 0, u64::MAX / 512 + 1, &[], 512).0, 1);
    assert_eq!(request(&mut driver, 0, 0, &[], 100).0, 1, "no whole sector");
    assert_eq!(request(&mut driver, 1, 64, &[0; 512], 0).0, 1);
    assert_eq!(request(&mut driver, 1, 0, &[0; 511], 0).0, 1);
    assert_eq!(request(&mut driver, 11, 0, &many, 0).0, 1);
    assert_eq!(request(&mut driver, 11, 0, &[0; 15], 0).0, 1);
    assert_eq!(request(&mut driver, 11, 0, &[], 0).0, 1);
    assert_eq!(request(&mut driver, 99, 0, &[], 0).0, 2, "unknown type");
    assert_eq!(request(&mut driver, 0, 3, &[], 512), (0, 513));
    let mut driver = Driver::started(disk(true), 1 << 5);
    assert_eq!(request(&mut driver, 1, 0, &[0; 512], 0).0, 1);
    assert_eq!(request(&mut driver, 0, 3, &[], 512), (0, 513));
}

/// Each way to break a ring, and that the device works again after a reset.
#[test]
fn a_broken_ring_needs_a_reset() {
    let mut driver = Driver::started(disk(false), BLK);
    let table = DATA + 0x4000;
    type Break = fn(&mut Driver, u64);
    let ways: &[(&str, Break)] = &[
        ("loop", |d, _| d.descriptor(RING, 0, (DATA, 16, NEXT, 0))),
        ("next out of range", |d, _| {
            d.descriptor(RING, 0, (DATA, 16, NEXT, SIZE))
        }),
        ("buffer out of range", |d, _| {
            d.descriptor(RING, 0, (RAM - 8, 16, 0, 0))
        }),
        ("address wraps", |d, _| {
            d.descriptor(RING, 0, (u64::MAX - 3, 16, 0, 0))
        }),
        ("no room for status", |d, _| {
            d.descriptor(RING, 0, (DATA, 16, 0, 0))
        }),
        ("no header", |d, _| {
            d.descriptor(RING, 0, (DATA, 0, WRITE, 0))
        }),
        ("short header", |d, _| {
            d.descriptor(RING, 0, (DATA, 15, NEXT, 1));
            d.descriptor(RING, 1, (DATA, 1, WRITE, 0));
        }),
        ("readable after writable", |d, _| {
            d.descriptor(RING, 0, (DATA, 16, NEXT | WRITE, 1));
            d.descriptor(RING, 1, (DATA, 16, 0, 0));
        }),
        ("empty table", |d, table| {
            d.descriptor(RING, 0, (table, 0, INDIRECT, 0))
        }),
        ("torn table", |d, table| {
            d.descriptor(RING, 0, (table, 17, INDIRECT, 0))
        }),
        ("huge table", |d, table| {
            d.descriptor(RING, 0, (table, !15, INDIRECT, 0))
        }),
        ("table out of range", |d, _| {
            d.descriptor(RING, 0, (RAM, 32, INDIRECT, 0))
        }),
        ("table and next", |d, table| {
            d.descriptor(RING, 0, (table, 32, INDIRECT | NEXT, 1))
        }),
        ("nested table", |d, table| {
            d.descriptor(RING, 0, (table, 32, INDIRECT, 0));
            d.descriptor(table, 0, (table, 32, INDIRECT, 0));
        }),
        ("loop in a table", |d, table| {
            d.descriptor(RING, 0, (table, 32, INDIRECT, 0));
            d.descriptor(table, 0, (DATA, 16, NEXT, 1));
            d.descriptor(table, 1, (DATA, 16, NEXT, 0));
        }),
    ];
    for (name, break_it) in ways {
        driver.start(BLK | ALL);
        break_it(&mut driver, table);
        driver.make_available(0, 0);
        driver.write(0x50, 0);
        eprintln!("{name}");
        driver.expect_broken();
        assert_eq!(driver.used_index(0), 0, "{name}");
        driver.wait_irq();
        assert_eq!(driver.read(0x60) & 2, 2, "{name}: configuration interrupt");
        driver.start(BLK | ALL);
        assert_eq!(request(&mut driver, 0, 1, &[], 512), (0, 513), "{name}");
    }
    driver.start(BLK | ALL);
    driver.make_available(0, SIZE);
    driver.write(0x50, 0);
    driver.expect_broken();
    driver.start(BLK | ALL);
    driver.put(RING + 0x1002, &(SIZE + 1).to_le_bytes());
    driver.write(0x50, 0);
    driver.expect_broken();
}

#[test]
fn a_chain_has_at_most_four_gib() {
    const PIECE: u32 = 32 << 20;
    const PIECES: u16 = 128;
    let mut driver = Driver::with(disk(false), PIECE.into());
    let table = DATA + 0x100;
    for excess in [0, 1] {
        driver.start(BLK | ALL);
        driver.put(DATA, &[9; 16]);
        driver.descriptor(table, 0, (DATA, 16, NEXT, 1));
        for index in 1..PIECES {
            driver.descriptor(table, index, (0, PIECE, NEXT | WRITE, index + 1));
        }
        driver.descriptor(table, PIECES, (0, PIECE - 16 + excess, WRITE, 0));
        let length = 16 * u32::from(PIECES + 1);
        driver.descriptor(RING, 0, (table, length, INDIRECT, 0));
        driver.make_available(0, 0);
        driver.write(0x50, 0);
        if excess == 0 {
            driver.complete(0);
        } else {
            driver.expect_broken();
        }
    }
}

#[test]
fn a_ring_outside_memory_does_not_start() {
    let driver = Driver::new(disk(false));
    for (offset, value) in [
        (0x80, RAM),
        (0x90, RAM - 2),
        (0xa0, RAM),
        (0x38, 3),
        (0x38, 0x200),
    ] {
        driver.write(0x70, 0);
        driver.write(0x70, 3);
        driver.write(0x24, 1);
        driver.write(0x20, 1);
        driver.write(0x70, 0xb);
        driver.write(0x30, 0);
        driver.write(0x38, 16);
        driver.write(0x80, RING);
        driver.write(0x90, RING + 0x1000);
        driver.write(0xa0, RING + 0x2000);
        driver.write(offset, value);
        driver.write(0x44, 1);
        driver.write(0x70, 0xf);
        assert_eq!(driver.read(0x70) & NEEDS_RESET, NEEDS_RESET, "{offset:#x}");
    }
}

#[test]
fn an_indirect_table_works() {
    let mut driver = Driver::started(disk(false), BLK);
    driver.put(DATA, &[0; 16]);
    driver.put(DATA + 8, &[7]);
    driver.descriptor(DATA + 0x4000, 0, (DATA, 16, NEXT, 1));
    driver.descriptor(DATA + 0x4000, 1, (DATA + 0x8000, 513, WRITE, 0));
    driver.submit(0, &[(DATA + 0x4000, 32, INDIRECT)]);
    assert_eq!(driver.complete(0), 513);
    assert_eq!(driver.get(DATA + 0x8000, 512), [7; 512]);
}

#[test]
fn entropy_fills_what_is_writable() {
    let source = std::io::repeat(0x5a);
    let mut driver = Driver::started(Box::new(rng::Rng::new(Box::new(source))), 0);
    driver.submit(
        0,
        &[
            (DATA, 8, 0),
            (DATA + 0x100, 10, WRITE),
            (DATA + 0x200, 0, WRITE),
        ],
    );
    assert_eq!(driver.complete(0), 10);
    assert_eq!(driver.get(DATA + 0x100, 11), *b"ZZZZZZZZZZ\0");
    driver.submit(0, &[(0, RAM as u32, WRITE)]);
    driver.expect_broken_or_done();
}

impl Driver {
    /// A chain over the ring itself: any end but a panic.
    fn expect_broken_or_done(&self) {
        let status = self.read(0x70);
        assert!(status & 0xf == 0xf);
    }
}

#[test]
fn a_console_talks_both_ways() {
    let ring = Arc::new(Ring::new(4096));
    let backend: Arc<dyn CharBackend> = ring.clone();
    let mut driver = Driver::started(Box::new(console::Console::new(backend)), 0);
    driver.put(DATA, b"hello world");
    driver.submit(1, &[(DATA, 6, 0), (DATA + 6, 5, 0)]);
    driver.complete(1);
    assert_eq!(ring.take(), b"hello world");
    ring.input(b"typed");
    assert_eq!(driver.used_index(0), 0);
    driver.submit(0, &[(DATA + 0x100, 3, WRITE)]);
    assert_eq!(driver.complete(0), 3);
    assert_eq!(driver.get(DATA + 0x100, 3), b"typ");
    driver.submit(0, &[(DATA + 0x100, 64, WRITE)]);
    assert_eq!(driver.complete(0), 2);
    driver.write(0x108, u64::from(b'!'));
    assert_eq!(ring.take(), b"!");
}

#[derive(Default)]
struct Wire {
    sent: Mutex<Vec<Vec<u8>>>,
    sink: Mutex<Option<Arc<dyn FrameSink>>>,
}

impl NetBackend for Wire {
    fn send(&self, frame: &[u8]) {
        self.sent.lock().unwrap().push(frame.to_vec());
    }

    fn attach(&self, sink: Arc<dyn FrameSink>) {
        *self.sink.lock().unwrap() = Some(sink);
    }
}

impl Wire {
    fn deliver(&self, frame: &[u8]) -> bool {
        let sink = self.sink.lock().unwrap().clone().unwrap();
        sink.deliver(frame)
    }
}

#[test]
fn frames_pass_both_ways() {
    let wire = Arc::new(Wire::default());
    let device = net::Net::new(wire.clone(), [2, 0, 0, 0, 0, 1]);
    assert!(wire.deliver(&[0; 60]), "no driver: lost");
    let mut driver = Driver::started(Box::new(device), 1 << 5 | 1 << 15 | 1 << 16);
    assert_eq!(driver.slot.read(0x100, 8), 0x0001_0100_0000_0002);
    driver.put(DATA, &[0; 12]);
    driver.put(DATA + 12, &[9; 60]);
    driver.submit(1, &[(DATA, 12, 0), (DATA + 12, 60, 0)]);
    driver.complete(1);
    assert_eq!(*wire.sent.lock().unwrap(), [[9; 60]]);
    driver.submit(1, &[(DATA, 0x2000, 0)]);
    driver.complete(1);
    assert_eq!(wire.sent.lock().unwrap().len(), 1, "too long: lost");
    assert!(!wire.deliver(&[1; 100]), "no buffers yet");
    for index in 0..3u16 {
        let buffer = (DATA + 0x1000 + 0x100 * u64::from(index), 50, WRITE, 0);
        driver.descriptor(RING, index, buffer);
        driver.make_available(0, index);
    }
    assert!(wire.deliver(&[1; 100]), "three buffers make one frame");
    assert_eq!(
        [driver.complete(0), driver.complete(0), driver.complete(0)],
        [50, 50, 12]
    );
    assert_eq!(driver.get(DATA + 0x1000 + 10, 4), [3, 0, 1, 1]);
    driver.submit(0, &[(DATA + 0x1000, 4, WRITE)]);
    assert!(wire.deliver(&[1; 100]));
    driver.expect_broken();
}

/// Flushes of a write and a flush, with this cache and these features taken.
fn flushes(cache: blk::Cache, features: u64) -> usize {
    let disk = MemoryDisk::new(false);
    let device = blk::Blk::new(disk.clone(), "").with_cache(cache);
    let mut driver = Driver::started(Box::new(device), features);
    assert_eq!(request(&mut driver, 1, 2, &[7; 512], 0).0, 0);
    assert_eq!(request(&mut driver, 4, 0, &[], 0).0, 0);
    disk.flushes.load(Ordering::SeqCst)
}

#[test]
fn a_cache_is_what_it_says() {
    let flush = 1 << 9;
    assert_eq!(flushes(blk::Cache::WriteBack, flush), 1);
    assert_eq!(flushes(blk::Cache::WriteBack, 0), 2);
    assert_eq!(flushes(blk::Cache::WriteThrough, 0), 2);
    assert_eq!(flushes(blk::Cache::Unsafe, flush), 0);
    let device = blk::Blk::new(MemoryDisk::new(false), "").with_cache(blk::Cache::WriteThrough);
    assert_eq!(VirtioDevice::<Ram>::features(&device) & flush, 0);
}

#[test]
fn released_pages_read_as_zero() {
    let space = AddressSpace::new();
    let ram = RamBlock::new("ram", 0x3000).unwrap();
    ram.write(0, &[7; 0x3000]);
    let region = Region::new("ram", 0x1000, 0x3000, 0, Backing::Ram(ram.clone(), 0));
    space.add(region.unwrap());
    let mut release = balloon::release_to_host(&space);
    release(0x2000, 0x1000);
    release(0x9000, 0x1000);
    let found = [0, 0x1000, 0x1ff8, 0x2000].map(|at| ram.load(at, 1));
    assert_eq!(found, [Some(7), Some(0), Some(0), Some(7)]);
}

#[test]
fn a_balloon_gives_pages_back() {
    let released = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&released);
    let release = Box::new(move |address, length| theirs.lock().unwrap().push((address, length)));
    let (device, target) = balloon::Balloon::new(release);
    let mut driver = Driver::started(Box::new(device), 0);
    target.set(2 * 4096);
    driver.wait_irq();
    assert_eq!(driver.read(0x60), 2);
    assert_eq!(driver.read(0x100), 2);
    let pages: Vec<u8> = [3u32, 0xffff_ffff, 4]
        .iter()
        .flat_map(|page| page.to_le_bytes())
        .collect();
    driver.put(DATA, &pages);
    driver.submit(0, &[(DATA, 12, 0)]);
    driver.complete(0);
    assert_eq!(*released.lock().unwrap(), [(0x3000, 4096), (0x4000, 4096)]);
    driver.write(0x104, 2);
    assert_eq!(target.actual(), 8192);
}

#[test]
fn a_disk_works_over_pci() {
    let memory = Arc::new(Ram::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap());
    let irq = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&irq);
    let line = Box::new(move |high: bool| theirs.store(high, Ordering::SeqCst));
    let function = pci::VirtioPci::new(disk(false), Arc::clone(&memory), line);
    assert_eq!(function.config_read(0, 4), 0x1042_1af4);
    let write = |offset, size, value| function.bar_write(4, offset, size, value);
    let read = |offset, size| function.bar_read(4, offset, size);
    assert_eq!(read(0x12, 2), 1);
    write(0x14, 1, 3);
    write(0x08, 4, 1);
    write(0x0c, 4, 1);
    write(0x14, 1, 0xb);
    assert_eq!(read(0x14, 1), 0xb);
    assert_eq!(read(0x18, 2), 256);
    write(0x18, 2, 16);
    write(0x20, 8, RING);
    write(0x28, 4, RING + 0x1000);
    write(0x30, 4, RING + 0x2000);
    assert_eq!(read(0x20, 8), RING);
    assert_eq!(read(0x24, 4), 0);
    write(0x1c, 2, 1);
    write(0x14, 1, 0xf);
    assert_eq!(read(0x2000, 8), 64, "device configuration");
    let put = |at: u64, data: &[u8]| memory.write_slice(data, GuestAddress(at)).unwrap();
    put(DATA + 8, &[7]);
    put(RING, &DATA.to_le_bytes());
    put(RING + 8, &[16, 0, 0, 0, 1, 0, 1, 0]);
    put(RING + 16, &(DATA + 0x1000).to_le_bytes());
    put(RING + 24, &[1, 2, 0, 0, 2, 0, 0, 0]);
    put(RING + 0x1002, &[1, 0]);
    write(0x3000, 2, 0);
    let start = Instant::now();
    while !irq.load(Ordering::SeqCst) {
        assert!(start.elapsed() < Duration::from_secs(10), "no interrupt");
        std::thread::yield_now();
    }
    assert_eq!(function.config_read(6, 2) & 8, 8);
    let mut data = [0; 513];
    memory
        .read_slice(&mut data, GuestAddress(DATA + 0x1000))
        .unwrap();
    assert_eq!((data[0], data[511], data[512]), (7, 7, 0));
    assert_eq!(read(0x1000, 1), 1);
    assert!(!irq.load(Ordering::SeqCst), "reading the ISR acknowledges");
    // The window in the configuration space (§4.1.4.9) reads the same registers.
    let window =
        (0x40..0x100u16).find(|&at| function.config_read(at, 4) & 0xff00_00ff == 0x0500_0009);
    let window = window.unwrap();
    function.config_write(window + 4, 1, 4);
    function.config_write(window + 8, 4, 0x12);
    function.config_write(window + 12, 4, 2);
    assert_eq!(function.config_read(window + 16, 4), 1);
    function.reset();
    assert_eq!(read(0x14, 1), 0);
}

/// A small generator: the tests need no more than variety.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Random descriptors, ring indices and register writes: nothing but that it comes back.
fn torment(make: impl Fn() -> Box<dyn VirtioDevice<Ram>>, features: u64, seed: u64) {
    let mut random = Random(seed | 1);
    let mut driver = Driver::started(make(), features);
    for _ in 0..400 {
        for _ in 0..random.below(12) {
            let address = match random.below(4) {
                0 => random.next(),
                1 => RING + random.below(0x1_0000),
                _ => DATA + random.below(0x8000),
            };
            let length = match random.below(6) {
                0 => random.next() as u32,
                1 => 0,
                _ => random.below(0x400) as u32,
            };
            let flags = if random.below(8) == 0 {
                random.below(8)
            } else {
                random.below(4)
            };
            let next = random.below(u64::from(SIZE) + 1) as u16;
            let table = Driver::ring(random.below(2) as usize);
            let index = random.below(SIZE.into()) as u16;
            driver.descriptor(table, index, (address, length, flags as u16, next));
        }
        let queue = random.below(2) as usize;
        let beyond = u64::from(random.below(50) == 0);
        let head = random.below(u64::from(SIZE) + beyond) as u16;
        driver.make_available(queue, head);
        driver.write(0x50, random.below(3));
        if random.below(10) == 0 {
            driver
                .slot
                .write(random.below(0x200), 1 << random.below(4), random.next());
        }
        let _ = driver.slot.read(random.below(0x200), 1 << random.below(4));
        if driver.read(0x70) & NEEDS_RESET != 0 || driver.read(0x70) & 0xf != 0xf {
            driver.start(features | ALL);
        }
    }
    driver.write(0x70, 0);
    assert_eq!(driver.read(0x70), 0);
}

#[test]
fn hostile_drivers_break_nothing() {
    for seed in 1..6 {
        torment(|| disk(false), BLK, seed * 0x9e37_79b9);
        torment(
            || Box::new(rng::Rng::new(Box::new(std::io::repeat(1)))),
            0,
            seed * 0x1234_5677,
        );
        torment(
            || Box::new(console::Console::new(Arc::new(Ring::new(64)))),
            0,
            seed * 0x777,
        );
        torment(
            || Box::new(balloon::Balloon::new(Box::new(|_, _| {})).0),
            0,
            seed * 0x4321,
        );
        let wire = Arc::new(Wire::default());
        let theirs = Arc::clone(&wire);
        let make = move || -> Box<dyn VirtioDevice<Ram>> {
            Box::new(net::Net::new(theirs.clone(), [2; 6]))
        };
        std::thread::scope(|scope| {
            let deliver = scope.spawn(|| {
                (0..2000).for_each(|_| {
                    let sink = wire.sink.lock().unwrap().clone();
                    sink.map(|sink| sink.deliver(&[3; 200]));
                })
            });
            torment(make, 1 << 15, seed * 0x5555);
            deliver.join().unwrap();
        });
    }
}

fn entropy() -> Box<dyn VirtioDevice<Ram>> {
    Box::new(rng::Rng::new(Box::new(std::io::repeat(1))))
}

/// Completes one request; says whether it interrupted.
fn interrupts(driver: &mut Driver) -> bool {
    driver.write(0x64, 3);
    driver.submit(0, &[(DATA, 8, WRITE)]);
    driver.complete(0);
    driver.irq.load(Ordering::SeqCst)
}

#[test]
fn a_driver_can_do_without_interrupts() {
    let mut driver = Driver::started(entropy(), 0);
    assert!(interrupts(&mut driver));
    driver.put(RING + 0x1000, &[1, 0]);
    assert!(!interrupts(&mut driver));
    driver.put(RING + 0x1000, &[0, 0]);
    assert!(interrupts(&mut driver));
}

/// §2.7.7.2: the interrupt comes when the index in `used_event` is passed, and the device says in
/// `avail_event` what it waits for.
#[test]
fn event_indices_are_kept() {
    let mut driver = Driver::started(entropy(), 1 << 29);
    let used_event = RING + 0x1004 + 2 * u64::from(SIZE);
    let avail_event = RING + 0x2004 + 8 * u64::from(SIZE);
    assert!(interrupts(&mut driver), "the first passes index 0");
    driver.put(used_event, &[3, 0]);
    let seen = [(); 4].map(|()| interrupts(&mut driver));
    assert_eq!(seen, [false, false, true, false]);
    assert_eq!(driver.get(avail_event, 2), [5, 0]);
    // Across the index's end.
    for _ in 5..65_530u32 {
        interrupts(&mut driver);
    }
    driver.put(used_event, &[1, 0]);
    let seen = [(); 10].map(|()| interrupts(&mut driver));
    assert_eq!(seen.iter().filter(|&&seen| seen).count(), 1);
    assert!(seen[7], "index 1 is passed after 65530 + 8 requests");
}
