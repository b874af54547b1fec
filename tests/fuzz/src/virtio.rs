//! Virtqueues: a hostile driver before each kind of device, over either transport.
//!
//! An input names the device; then come steps. Rings lie at fixed places unless a step moves them,
//! so that a descriptor of the input is one that the device reads.

use crate::port::{Port, Rings};
use crate::{Input, Script};
use isomorph_block::{BlockBackend, BlockError};
use isomorph_chardev::Ring;
use isomorph_devices::virtio::balloon::{Balloon, BalloonTarget, release_to_host};
use isomorph_devices::virtio::blk::{Blk, Cache};
use isomorph_devices::virtio::console::Console;
use isomorph_devices::virtio::mmio::VirtioMmio;
use isomorph_devices::virtio::net::Net;
use isomorph_devices::virtio::pci::VirtioPci;
use isomorph_devices::virtio::rng::Rng;
use isomorph_devices::virtio::{NoLine, VirtioDevice};
use isomorph_net::{FRAME_MAX, FrameSink, NetBackend};
use isomorph_softmmu::{AddressSpace, Backing, DmaMemory, RamBlock, Region};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of the low RAM, at 0.
const RAM: u64 = 0x1_0000;
/// RAM behind a hole, up to the end of the address space.
const HIGH: u64 = 0xffff_ffff_ffff_c000;
const HIGH_BYTES: u64 = 0x4000;
/// Entries of a ring that nobody sized otherwise.
const ENTRIES: u16 = 16;
/// Most steps of an input.
const STEPS: usize = 256;
/// The longest that a step waits for the thread of a disk.
const PATIENCE: Duration = Duration::from_millis(2);
const DISK: usize = 0x8000;

const READ: u8 = 0;
const WRITE: u8 = 1;
const STORE: u8 = 2;
const START: u8 = 3;
const PLACE: u8 = 4;
const DESCRIBE: u8 = 5;
const KICK: u8 = 6;
const HOST: u8 = 7;
const STATUS: u8 = 8;
const RESET: u8 = 9;
const CONFIG: u8 = 10;
const KINDS_OF_STEPS: u8 = 11;

/// Behind virtio-mmio.
pub fn run_mmio(bytes: &[u8]) {
    run(bytes, |device, memory| {
        Box::new(VirtioMmio::new(device, memory, Box::new(NoLine)))
    });
}

/// Behind virtio-pci.
pub fn run_pci(bytes: &[u8]) {
    run(bytes, |device, memory| {
        Box::new(VirtioPci::new(device, memory, Box::new(NoLine)))
    });
}

type Transport = fn(Box<dyn VirtioDevice<DmaMemory>>, Arc<DmaMemory>) -> Box<dyn Port>;

fn run(bytes: &[u8], transport: Transport) {
    let mut input = Input::new(bytes);
    let Some(space) = memory() else { return };
    let (device, host) = device(input.u8(), &space);
    let port = transport(device, Arc::new(space.view().dma()));
    let mut driver = Driver {
        space,
        port,
        host,
        available: [0; 2],
    };
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        driver.step(&mut input);
    }
    driver.port.set_status(0);
}

/// RAM with a hole in it; `None` if the host gives none.
fn memory() -> Option<Arc<AddressSpace>> {
    let space = AddressSpace::new();
    for (base, bytes) in [(0, RAM), (HIGH, HIGH_BYTES)] {
        let ram = RamBlock::new("fuzz.ram", bytes).ok()?;
        let backing = Backing::Ram(ram, 0);
        space.add(Region::new("ram", base, bytes, 0, backing).ok()?);
    }
    Some(space)
}

/// The host's end of a device.
enum Host {
    None,
    Disk,
    Console(Arc<Ring>),
    Wire(Arc<Wire>),
    Balloon(Arc<BalloonTarget>),
}

fn device(kind: u8, space: &Arc<AddressSpace>) -> (Box<dyn VirtioDevice<DmaMemory>>, Host) {
    match kind % 6 {
        0 | 5 => {
            let read_only = kind % 6 == 5;
            let data = Mutex::new(vec![0x5a; DISK]);
            let disk = Blk::new(Arc::new(Disk { data, read_only }), "fuzz");
            let caches = [Cache::WriteBack, Cache::WriteThrough, Cache::Unsafe];
            let cache = caches[usize::from(kind / 6) % caches.len()];
            (Box::new(disk.with_cache(cache)), Host::Disk)
        }
        1 => {
            let wire = Arc::<Wire>::default();
            let device = Net::new(wire.clone(), [2, 0, 0, 0, 0, 1]);
            (Box::new(device), Host::Wire(wire))
        }
        2 => (Box::new(Rng::new(Box::new(std::io::repeat(7)))), Host::None),
        3 => {
            let ring = Arc::new(Ring::new(64));
            (Box::new(Console::new(ring.clone())), Host::Console(ring))
        }
        _ => {
            let (device, target) = Balloon::new(release_to_host(space));
            (Box::new(device), Host::Balloon(target))
        }
    }
}

/// The hostile driver.
struct Driver {
    space: Arc<AddressSpace>,
    port: Box<dyn Port>,
    host: Host,
    /// What the available rings' indices count.
    available: [u16; 2],
}

/// Where the parts of a queue lie at first: descriptors, driver's ring, device's ring.
fn places(queue: u16) -> [u64; 3] {
    let base = 0x1000 + 0x1000 * u64::from(queue % 2);
    [base, base + 0x800, base + 0xc00]
}

impl Driver {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % KINDS_OF_STEPS {
            READ => drop(self.port.read(input.u16().into(), input.size())),
            WRITE => {
                let (offset, size) = (input.u16(), input.size());
                let value = input.number(size.into());
                self.port.write(offset.into(), size, value);
            }
            STORE => {
                let (address, count) = (input.u16(), input.u8());
                let bytes = input.bytes(count.into());
                self.store(address.into(), bytes);
            }
            START => self.start(input.u8(), input.u8()),
            PLACE => {
                let (queue, size) = (input.u8(), input.u16());
                let at = [(); 3].map(|()| address(input));
                let ready = input.u8() & 1 != 0;
                self.port
                    .set_queue(queue.into(), &Rings { size, at, ready });
            }
            DESCRIBE => self.describe(input),
            KICK => self.kick(input),
            HOST => self.host(input),
            STATUS => self.port.set_status(input.u8()),
            RESET => self.port.reset(),
            _ => {
                let (offset, size) = (input.u16(), input.size());
                let value = (input.u8() & 1 != 0).then(|| input.u32());
                self.port.config(offset, size, value);
            }
        }
    }

    fn store(&self, address: u64, bytes: &[u8]) {
        // What is no memory stays none.
        let _ = self.space.write_bytes(address, bytes);
    }

    /// Brings the device up as a good driver does.
    fn start(&mut self, features: u8, size: u8) {
        self.port.set_status(0);
        self.available = [0; 2];
        self.store(places(0)[0], &[0; 0x2000]);
        self.port.set_status(1);
        self.port.set_status(3);
        // Version 1; the ring's and the device's features as the input wants.
        let wanted = 1 << 32 | u64::from(features & 3) << 28 | u64::from(features >> 2) << 10;
        let own = if features & 4 != 0 { 0xff_ffff } else { 0 };
        self.port.set_features(wanted | own);
        self.port.set_status(0xb);
        for queue in 0..2 {
            let rings = Rings {
                size: 1 << (size % 8),
                at: places(queue),
                ready: true,
            };
            self.port.set_queue(queue, &rings);
        }
        self.port.set_status(0xf);
    }

    /// Writes a descriptor; in an indirect table if the queue says so.
    fn describe(&self, input: &mut Input<'_>) {
        let (queue, index) = (input.u8(), input.u8());
        let table = match queue {
            0..=127 => places(queue.into())[0],
            _ => 0x4000 + 0x100 * u64::from(queue & 0xf),
        };
        let (address, length) = (address(input), input.u32());
        let (flags, next) = (input.u8(), input.u8());
        let descriptor = Script::new()
            .number(8, address)
            .u32(length)
            .u16(flags.into())
            .u16(next.into())
            .end();
        self.store(table + 16 * u64::from(index % 128), &descriptor);
    }

    /// Makes chains available and rings the doorbell.
    fn kick(&mut self, input: &mut Input<'_>) {
        let (queue, heads) = (input.u8(), input.u8());
        let ring = places(queue.into())[1];
        let index = &mut self.available[usize::from(queue % 2)];
        let first = *index;
        *index = index.wrapping_add((heads % 16).into());
        let last = *index;
        for (number, head) in input.bytes((heads % 16).into()).iter().enumerate() {
            let entry = u64::from(first).wrapping_add(number as u64) % u64::from(ENTRIES);
            self.store(ring + 4 + 2 * entry, &u16::from(*head).to_le_bytes());
        }
        self.store(ring + 2, &last.to_le_bytes());
        self.port.notify(queue.into());
        if matches!(self.host, Host::Disk) {
            self.settle(last);
        }
    }

    /// Waits for a disk's thread, as long as it can be told what it has to do.
    fn settle(&self, last: u16) {
        let start = Instant::now();
        let used = places(0)[2] + 2;
        let busy = |driver: &Self| {
            let done = driver.space.read(used, 2) == Ok(last.into());
            !done && driver.port.status() & 0x44 == 4
        };
        while busy(self) && start.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }

    /// Something happens at the host's end.
    fn host(&self, input: &mut Input<'_>) {
        let count = input.u8();
        let bytes = input.bytes(count.into());
        match &self.host {
            Host::None | Host::Disk => {}
            Host::Console(ring) => ring.input(bytes),
            Host::Wire(wire) => {
                let repeated = bytes.repeat(1 + usize::from(count % 8));
                wire.deliver(&repeated[..repeated.len().min(FRAME_MAX)]);
            }
            Host::Balloon(target) => target.set(u64::from(count) << 12),
        }
    }
}

/// An address: most of them in RAM.
fn address(input: &mut Input<'_>) -> u64 {
    match input.u8() {
        0 => input.u16().into(),
        1 => HIGH | u64::from(input.u16()),
        2 => input.u64(),
        page => u64::from(page) << 8,
    }
}

/// A wire on which the host sends when the input says so.
#[derive(Default)]
struct Wire(Mutex<Option<Arc<dyn FrameSink>>>);

impl Wire {
    fn deliver(&self, frame: &[u8]) {
        let sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = sink.clone();
        if let Some(sink) = sink {
            sink.deliver(frame);
        }
    }
}

impl NetBackend for Wire {
    fn send(&self, frame: &[u8]) {
        assert!(frame.len() <= FRAME_MAX, "a frame that no wire takes");
    }

    fn attach(&self, sink: Arc<dyn FrameSink>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }
}

/// A disk in memory, which refuses what lies outside.
struct Disk {
    data: Mutex<Vec<u8>>,
    read_only: bool,
}

impl Disk {
    fn with<R>(
        &self,
        offset: u64,
        length: u64,
        act: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, BlockError> {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let capacity = data.len() as u64;
        let end = offset.checked_add(length).filter(|&end| end <= capacity);
        let end = end.ok_or(BlockError::Range {
            offset,
            length,
            capacity,
        })?;
        Ok(act(&mut data[offset as usize..end as usize]))
    }
}

impl BlockBackend for Disk {
    fn capacity(&self) -> u64 {
        DISK as u64
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> Result<(), BlockError> {
        self.with(offset, data.len() as u64, |part| data.copy_from_slice(part))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError> {
        assert!(!self.read_only, "a write to a disk that takes none");
        self.with(offset, data.len() as u64, |part| part.copy_from_slice(data))
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _unmap: bool) -> Result<(), BlockError> {
        assert!(!self.read_only, "a write to a disk that takes none");
        self.with(offset, length, |part| part.fill(0))
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), BlockError> {
        self.write_zeroes(offset, length, true)
    }
}

/// A request of each device, as a good driver makes it, and some of a bad one.
pub fn seeds() -> Vec<Vec<u8>> {
    let started = |kind: u8| Script::new().u8(kind).bytes(&[START, 7, 4]);
    let describe = |script: Script, queue, index, page, length, flags, next| {
        let script = script.u8(DESCRIBE).bytes(&[queue, index, page]);
        script.u32(length).bytes(&[flags, next])
    };
    let mut seeds = Vec::new();
    for (kind, request) in [(0, 0u8), (0, 1), (6, 4), (0, 8), (12, 11), (0, 13), (5, 1)] {
        // A disk: header, data, status.
        let segment = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let header = Script::new().u32(request.into()).number(8, 0).u32(0).end();
        let script = started(kind).u8(STORE).u16(0x8000).u8(16).bytes(&header);
        let script = script.u8(STORE).u16(0x8100).u8(16).bytes(&segment);
        let length = if request > 8 { 16 } else { 512 };
        let script = describe(script, 0, 0, 0x80, 16, 1, 1);
        let script = describe(
            script,
            0,
            1,
            0x81,
            length,
            if request % 8 == 0 { 3 } else { 1 },
            2,
        );
        let script = describe(script, 0, 2, 0x90, 1, 2, 0);
        seeds.push(script.bytes(&[KICK, 0, 1, 0]).end());
    }
    // A frame each way, a random number, a line each way, pages given up and taken back.
    for (kind, queue, flags, page) in [(1, 1, 0, 0x80), (1, 0, 2, 0x80), (2, 0, 2, 0x80)] {
        let script = describe(started(kind), queue, 0, page, 1600, flags, 0);
        seeds.push(script.bytes(&[KICK, queue, 1, 0, HOST, 3, 1, 2, 3]).end());
    }
    for (kind, queue, flags) in [(3, 1, 0), (3, 0, 2), (4, 0, 0), (4, 1, 0)] {
        let script = describe(started(kind), queue, 0, 0x80, 64, flags, 0);
        seeds.push(
            script
                .bytes(&[KICK, queue, 1, 0, HOST, 2, b'o', b'k'])
                .end(),
        );
    }
    // An indirect table; a loop; rings of the driver's own choice; registers.
    let script = describe(started(0), 0, 0, 0x40, 48, 4, 0);
    let script = describe(script, 128, 0, 0x80, 16, 1, 1);
    let script = describe(script, 128, 1, 0x90, 1, 2, 0);
    seeds.push(script.bytes(&[KICK, 0, 1, 0]).end());
    let script = describe(started(3), 1, 0, 0x80, 64, 1, 0);
    seeds.push(script.bytes(&[KICK, 1, 1, 0, STATUS, 0]).end());
    let place = started(1).bytes(&[STATUS, 0, PLACE, 0]).u16(8);
    let place = place.bytes(&[0x20, 0x28, 0x2c, 1, STATUS, 15]);
    seeds.push(
        place
            .bytes(&[RESET, READ, 0, 0, 2, WRITE, 0x70, 0, 2, 1, 0, 0, 0])
            .end(),
    );
    let config = Script::new().u8(2).bytes(&[CONFIG, 4, 0, 1, 1, 7, 0, 0, 0]);
    seeds.push(config.bytes(&[CONFIG, 0x90, 0, 2, 0]).end());
    seeds
}
