//! The `virt` board: wires, loading, the device tree.

use super::*;
use crate::virt::{FlashImage, IsaDescription, PIN_MEI, PIN_MTI, PIN_SEI, VirtConfig};
use isomorph_devices::serial::SerialBackend;
use isomorph_devices::virtio::Line as _;
use isomorph_machine::{
    AccelError, Clock, IrqLatch, IrqSink, Life, ManualClock, RunState, Scripted, Shutdown, Step,
};
use isomorph_softmmu::AddressSpace;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Line(Mutex<Vec<u8>>);

impl SerialBackend for Line {
    fn send(&self, byte: u8) {
        self.0.lock().expect("lock").push(byte);
    }
}

struct Bench {
    board: Virt,
    clock: Arc<ManualClock>,
    latches: Vec<Arc<IrqLatch>>,
    line: Arc<Line>,
}

fn bench(harts: usize, mib: u64) -> Bench {
    let bytes = vec![0x5a; 16];
    let read_only = true;
    let config = VirtConfig {
        harts,
        ram_bytes: mib * MIB,
        isa: IsaDescription::rv64(&["i", "m", "a", "zicsr"], Some("riscv,sv48")),
        flash: [Some(FlashImage { bytes, read_only }), None],
    };
    let clock = ManualClock::new();
    let latches: Vec<_> = (0..harts).map(|_| IrqLatch::new()).collect();
    let pins = latches
        .iter()
        .map(|latch| latch.clone() as Arc<dyn IrqSink>);
    let pins: Vec<_> = pins.collect();
    let life = Life::new(false);
    life.resume();
    let line = Arc::new(Line::default());
    let time: Arc<dyn Clock> = clock.clone();
    let board = Virt::new(config, AddressSpace::new(), time, life, &pins, line.clone());
    Bench {
        board: board.expect("a board"),
        clock,
        latches,
        line,
    }
}

fn play(b: &Bench, steps: &[Step]) {
    let played: Result<(), AccelError> =
        Scripted::play(b.board.space(), 0, steps).map_err(Into::into);
    if let Err(error) = played {
        panic!("{error}");
    }
}

#[test]
fn a_character_comes_in_through_uart_and_plic() {
    let b = bench(2, 16);
    play(
        &b,
        &[
            Step::Write(0x1000_0000, 1, 0x41),
            Step::Write(0x1000_0001, 1, 1),
            Step::Write(0xc00_0028, 4, 1),
            // Context 3: supervisor mode of hart 1.
            Step::Write(0xc00_2180, 4, 1 << 10),
        ],
    );
    assert_eq!(b.board.serial().receive(b"x"), 1);
    assert_eq!(b.latches[0].levels(), 0);
    assert_eq!(b.latches[1].levels(), 1 << PIN_SEI);
    play(
        &b,
        &[
            Step::Read(0xc20_3004, 4, 10),
            Step::Read(0x1000_0000, 1, 0x78),
            Step::Write(0xc20_3004, 4, 10),
        ],
    );
    assert_eq!(b.latches[1].levels(), 0);
    assert_eq!(*b.line.0.lock().expect("lock"), b"A");
    b.board.irq(Role::VirtioMmio(7)).set(true);
    // INTD of device 0.
    b.board.pci().intx(0, 0, 4).set_level(true);
    play(&b, &[Step::Read(0xc00_1000, 8 / 2, 1 << 8)]);
    play(&b, &[Step::Read(0xc00_1004, 4, 1 << 3)]);
    assert_eq!(b.latches[0].levels() & 1 << PIN_MEI, 0);
}

#[test]
fn timers_flash_configuration_and_the_end() {
    let b = bench(2, 16);
    play(&b, &[Step::Write(0x200_4008, 8, 10)]);
    b.clock.advance(1000);
    assert_eq!(b.latches[1].levels(), 1 << PIN_MTI);
    play(
        &b,
        &[
            Step::Read(0x2000_0008, 8, 0x5a5a_5a5a_5a5a_5a5a),
            Step::Read(0x2200_0000, 4, 0),
            Step::Write(0x1010_0008, 2, 0x0500),
            Step::Read(0x1010_0000, 2, 2),
            Step::Read(0x1000_1000, 4, 0x7472_6976),
            Step::Read(0x1000_1008, 4, 0),
            Step::Read(0x3000_0000, 4, 0x0008_1b36),
            Step::NoRead(0x1000_9000, 4),
            Step::Write(0x10_0000, 4, 0x5_3333),
        ],
    );
    let end = RunState::Shutdown(Shutdown::Guest(5));
    assert_eq!(b.board.life().state(), end);
    b.board.reset();
    assert_eq!(b.latches[1].levels(), 0);
}

/// A kernel with a Linux header that wants `size` bytes.
fn kernel(size: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[16..24].copy_from_slice(&size.to_le_bytes());
    bytes[0x38..0x3c].copy_from_slice(b"RSC\x05");
    bytes
}

#[test]
fn everything_is_loaded_where_it_belongs() {
    let b = bench(2, 128);
    let kernel = kernel(MIB);
    let images = Images {
        kernel: Some(&kernel),
        initrd: Some(&[7; 5000]),
        command_line: Some("quiet"),
        ..Images::default()
    };
    let boot = b.board.load(Firmware::BuiltIn, &images).expect("loads");
    let initrd = 0x8420_0000;
    assert_eq!(boot.kernel, Some(0x8020_0000));
    assert_eq!(boot.initrd, Some((initrd, initrd + 5000)));
    assert_eq!(boot.device_tree, 0x87e0_0000);
    let first = Entry {
        pc: 0x8020_0000,
        a0: 0,
        a1: boot.device_tree,
        level: 1,
        started: true,
    };
    let second = Entry {
        a0: 1,
        started: false,
        ..first
    };
    assert_eq!(boot.harts, [first, second]);
    play(&b, &[Step::Read(initrd + 4999, 1, 7)]);
    play(&b, &[Step::Read(boot.device_tree, 4, 0xedfe_0dd0)]);
    play(
        &b,
        &[
            Step::Write(0x1010_0008, 2, 0x1500),
            Step::Read(0x1010_0000, 1, 0x71),
        ],
    );
}

#[test]
fn firmware_is_told_of_the_kernel() {
    let b = bench(1, 4096);
    let kernel = kernel(200 * MIB);
    let images = Images {
        kernel: Some(&kernel),
        initrd: Some(&[7; 1]),
        ..Images::default()
    };
    let firmware = Firmware::File(&[0x13; 300_000]);
    let boot = b.board.load(firmware, &images).expect("loads");
    assert_eq!(boot.device_tree, 0xbfe0_0000, "below the low end");
    let after = 0x8020_0000 + 200 * MIB;
    assert_eq!(
        boot.initrd,
        Some((after, after + 1)),
        "not inside the kernel"
    );
    assert_eq!((boot.harts[0].pc, boot.harts[0].level), (0x1000, 3));
    play(
        &b,
        &[
            Step::Read(0x1000, 4, 0x297),
            Step::Read(0x1020, 8, 0x8000_0000),
            Step::Read(0x1028, 8, 0xbfe0_0000),
            Step::Read(0x1030, 8, 0x4942_534f),
            Step::Read(0x1038, 8, 2),
            Step::Read(0x1040, 8, 0x8020_0000),
            Step::Read(0x1048, 8, 1),
        ],
    );
    let boot = b
        .board
        .load(Firmware::Flash, &Images::default())
        .expect("loads");
    assert_eq!((boot.kernel, boot.harts[0].pc), (None, 0x1000));
    play(&b, &[Step::Read(0x1020, 8, 0x2000_0000)]);
    b.board.load(Firmware::None, &images).expect("loads");
    play(&b, &[Step::Read(0x1020, 8, 0x8000_0000)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let b = bench(1, 4);
    let large = vec![1; 5 << 20];
    let images = Images {
        kernel: Some(&large),
        ..Images::default()
    };
    let refused = b.board.load(Firmware::None, &images);
    assert!(matches!(
        refused,
        Err(BoardError::Room { what: "kernel", .. })
    ));
    let tiny = bench(1, 1);
    let refused = tiny.board.load(Firmware::None, &Images::default());
    assert!(matches!(refused, Err(BoardError::Room { .. })));
}

/// An executable of one byte at the start of RAM that wants `bytes` of memory.
fn greedy(bytes: u64) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 243, 0, 1, 0, 0, 0]);
    file.extend([0x8000_0000, 64, 0u64].map(u64::to_le_bytes).concat());
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let fields = [120, 0x8000_0000, 0x8000_0000, 1, bytes, 1u64];
    file.extend(fields.map(u64::to_le_bytes).concat());
    file.push(0x13);
    file
}

#[test]
fn headers_that_want_all_memory_are_no_accident() {
    let b = bench(1, 16);
    for want in [u64::MAX, u64::MAX - (16 << 20), 1 << 63] {
        for initrd in [&b"rd"[..], b""] {
            let (firmware, kernel) = (greedy(want), greedy(1));
            let images = Images {
                kernel: Some(&kernel),
                initrd: Some(initrd),
                ..Images::default()
            };
            let loaded = b.board.load(Firmware::File(&firmware), &images);
            assert!(initrd.is_empty() || matches!(loaded, Err(BoardError::Room { .. })));
        }
    }
}

#[test]
fn the_device_tree_names_every_device() {
    let b = bench(2, 128);
    let chosen = Chosen {
        bootargs: Some("console=ttyS0".to_owned()),
        initrd: Some((0x8400_0000, 0x8400_1000)),
        rng_seed: Some([9; 32]),
    };
    let tree = b.board.device_tree(&chosen).expect("a tree");
    assert_eq!(tree[4..8], (tree.len() as u32).to_be_bytes());
    let has = |text: &str| {
        tree.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    let nodes = [
        "cpu@1",
        "plic@c000000",
        "clint@2000000",
        "serial@10000000",
        "test@100000",
        "rtc@101000",
        "flash@20000000",
        "pci@30000000",
        "virtio_mmio@10008000",
        "fw-cfg@10100000",
        "poweroff",
        "/soc/serial@10000000",
        "console=ttyS0",
        "riscv,sv48",
        "rv64ima_zicsr",
    ];
    for node in nodes {
        assert!(has(node), "{node}");
    }
    let nul = Chosen {
        bootargs: Some("a\0b".to_owned()),
        ..Chosen::default()
    };
    assert!(b.board.device_tree(&nul).is_err());
}

#[test]
fn virtio_devices_on_both_buses() {
    use isomorph_devices::virtio::rng::Rng;
    let rng = || Box::new(Rng::new(Box::new(&[1u8, 2, 3][..])));
    let mut b = bench(1, 16);
    b.board.attach_mmio(3, rng()).expect("a transport");
    assert!(b.board.attach_mmio(8, rng()).is_err());
    assert_eq!(b.board.attach_pci(None, rng()).expect("a slot"), 1);
    assert_eq!(b.board.attach_pci(Some(5), rng()).expect("a slot"), 5);
    assert!(b.board.attach_pci(Some(5), rng()).is_err());
    play(
        &b,
        &[
            Step::Read(0x1000_4008, 4, 4),
            Step::Read(0x3000_8000, 4, 0x1044_1af4),
            Step::Read(0x3002_8000, 4, 0x1044_1af4),
            Step::Read(0x3001_0000, 4, 0xffff_ffff),
        ],
    );
    // A queue of one buffer over the whole path: registers, rings in RAM, interrupt.
    let (ring, buffer) = (0x8000_0000, 0x8000_2000);
    let space = b.board.space();
    space.write(ring, 8, buffer).expect("RAM");
    space.write(ring + 8, 8, 2 << 32 | 3).expect("RAM");
    space.write(ring + 0x400, 8, 1 << 16).expect("RAM");
    let register = |offset: u64, value| Step::Write(0x1000_4000 + offset, 4, value);
    play(
        &b,
        &[
            register(0x70, 3),
            register(0x24, 1),
            register(0x20, 1),
            register(0x70, 11),
            register(0x38, 8),
            register(0x80, ring),
            register(0x90, ring + 0x400),
            register(0xa0, ring + 0x800),
            register(0x44, 1),
            register(0x70, 15),
            register(0x50, 0),
        ],
    );
    // The device may answer on a thread of its own.
    let pending = || space.read(0xc00_1000, 4) == Ok(1 << 4);
    for _ in 0..1000 {
        if pending() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(pending());
    assert_eq!(space.read(buffer, 4), Ok(0x03_0201));
    assert!(b.board.ram().dirty().get(0x2000));
    b.board.reset();
    play(&b, &[Step::Read(0x1000_4070, 4, 0)]);
}

#[test]
fn no_access_to_any_slot_panics() {
    use isomorph_devices::virtio::rng::Rng;
    let mut b = bench(2, 16);
    let rng = || Box::new(Rng::new(Box::new(std::io::repeat(7))));
    b.board.attach_mmio(0, rng()).expect("a transport");
    b.board.attach_pci(None, rng()).expect("a slot");
    let space = b.board.space();
    let mut seed = 0x0dd5_eed5_0dd5_eed5_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..200_000 {
        let slot = &b.board.spec().slots[random() as usize % b.board.spec().slots.len()];
        let reach = if random() % 2 == 0 { slot.len } else { 0x100 };
        let address = slot.base + random() % reach;
        let size = 1 << (random() % 4);
        // Half of the values are addresses in RAM, which makes descriptors of what is there.
        let value = match random() % 4 {
            0 => 0x8000_0000 + random() % 0x1000,
            1 => (0x8000_0000 + random() % 0x1000).swap_bytes(),
            _ => random() >> (random() % 64),
        };
        let _ = match random() % 4 {
            0 => space.read(address, size).map(|_| ()),
            1 => space.write(0x8000_0000 + random() % 0x1000, 8, value),
            _ => space.write(address, size, value),
        };
    }
    b.board.reset();
}

#[test]
fn interrupts_are_counted_by_name() {
    let b = bench(1, 64);
    b.board.irq(Role::VirtioMmio(3)).pulse();
    b.board.irq(Role::Serial(0)).pulse();
    b.board.pci().intx(0, 0, 2).set_level(true);
    let want = [("virtio_mmio3", 1), ("serial0", 1), ("pcie-int1", 1)];
    assert_eq!(
        b.board.interrupts(),
        want.map(|(name, count)| (name.to_owned(), count))
    );
    assert!(b.board.flash(1).is_some() && b.board.flash(2).is_none());
}
