//! Registers: a whole `virt` board, and accesses of a hostile guest to some of its devices.

use crate::{Input, Script};
use isomorph_boards::{FlashImage, IsaDescription, Virt, VirtConfig};
use isomorph_chardev::{Null, Ring};
use isomorph_devices::serial::CharLine;
use isomorph_devices::virtio::VirtioDevice;
use isomorph_devices::virtio::balloon::{Balloon, release_to_host};
use isomorph_devices::virtio::console::Console;
use isomorph_devices::virtio::net::Net;
use isomorph_devices::virtio::rng::Rng;
use isomorph_machine::{IrqLatch, IrqSink, Life, ManualClock};
use isomorph_net::Unplugged;
use isomorph_softmmu::{AddressSpace, DmaMemory};
use std::sync::Arc;

/// Harts of the board.
const HARTS: usize = 2;
/// Start and bytes of its RAM.
const RAM: u64 = 0x8000_0000;
pub const RAM_BYTES: u64 = 8 << 20;
/// Where the PCIe window above 4 GiB begins.
const HIGH: u64 = 16 << 30;
const ECAM: u64 = 0x3000_0000;
const FLASH: u64 = 0x2000_0000;
const FW_CFG: u64 = 0x1010_0000;
/// Most steps of an input.
const STEPS: usize = 256;

const READ: u8 = 0;
const WRITE: u8 = 1;
const STORE: u8 = 2;
const TYPE: u8 = 3;
const ADVANCE: u8 = 4;
const RESET: u8 = 5;
const COPY: u8 = 6;
const KINDS_OF_STEPS: u8 = 7;

/// What the accesses of a target reach: first address and bytes of each part.
type Windows = &'static [(u64, u64)];

/// All devices outside the PCI bus, and the borders between them.
const REGISTERS: Windows = &[
    (0x1000_0000, 8),
    (0x10_1000, 0x24),
    (0x200_0000, 0x4000),
    (0x200_4000, 0x4000),
    (0x200_bff8, 8),
    (0x200_c000, 0x4000),
    (0xc00_0000, 0x1000),
    (0xc00_1000, 0x1000),
    (0xc00_2000, 0x200),
    (0xc20_0000, 0x4000),
    (0xc00_0000, 0x60_0000),
    (0x10_0000, 0x1000),
    (0x1000_1000, 0x8000),
    (0x0, 0x8000_0000),
    (RAM + RAM_BYTES - 16, 32),
];

/// Functions of the bus, its whole configuration space, its windows.
const PCI: Windows = &[
    (ECAM, 0x1000),
    (ECAM + 0x8000, 0x100),
    (ECAM + 0x1_0000, 0x100),
    (ECAM + 0x1_8000, 0x100),
    (ECAM + 0x2_0000, 0x100),
    (ECAM, 0x1000_0000),
    (0x300_0000, 0x1_0000),
    (0x4000_0000, 0x1_0000),
    (0x4000_0000, 0x4000_0000),
    (HIGH, 0x1_0000),
    (HIGH, 16 << 30),
    (RAM, 0x1_0000),
];

const FLASH_BANKS: Windows = &[
    (FLASH, 0x1000),
    (FLASH, 0x200_0000),
    (FLASH + 0x200_0000, 0x1000),
    (FLASH + 0x1ff_f000, 0x2000),
    (FLASH + 0x3ff_f000, 0x2000),
];

const FIRMWARE: Windows = &[(FW_CFG, 0x18), (FW_CFG + 0x10, 8), (RAM, 0x1000)];

/// The serial line, the interrupt controllers, the clock and what else has no folder of its own.
pub fn run_registers(bytes: &[u8]) {
    run(bytes, REGISTERS);
}

/// The PCI bus.
pub fn run_pci(bytes: &[u8]) {
    run(bytes, PCI);
}

/// The flash banks' commands.
pub fn run_flash(bytes: &[u8]) {
    run(bytes, FLASH_BANKS);
}

/// Firmware configuration and its DMA.
pub fn run_fw_cfg(bytes: &[u8]) {
    run(bytes, FIRMWARE);
}

/// A board with a device on each kind of bus; `None` if the host has no memory for it.
pub fn board(
    clock: &Arc<ManualClock>,
    serial: Arc<dyn isomorph_chardev::CharBackend>,
) -> Option<Virt> {
    let flash = |read_only| {
        let bytes = vec![0xff; 64];
        Some(FlashImage { bytes, read_only })
    };
    let config = VirtConfig {
        harts: HARTS,
        ram_bytes: RAM_BYTES,
        isa: IsaDescription::rv64(&["i", "m", "a", "c"], Some("riscv,sv48")),
        flash: [flash(false), flash(true)],
    };
    let pins: Vec<Arc<dyn IrqSink>> = (0..HARTS).map(|_| IrqLatch::new() as _).collect();
    let life = Life::new(false);
    life.resume();
    let space = AddressSpace::new();
    let line = CharLine::new(serial);
    let mut board = Virt::new(config, space, clock.clone(), life, &pins, line).ok()?;
    let rng = || Box::new(Rng::new(Box::new(std::io::repeat(7))));
    board.attach_mmio(0, rng()).ok()?;
    let console = Console::new(Arc::new(Null));
    let devices: [Box<dyn VirtioDevice<DmaMemory>>; 4] = [
        rng(),
        Box::new(Net::new(Arc::new(Unplugged), [2, 0, 0, 0, 0, 1])),
        Box::new(console),
        Box::new(Balloon::new(release_to_host(board.space())).0),
    ];
    for device in devices {
        board.attach_pci(None, device).ok()?;
    }
    board.fw_cfg().add_file("opt/fuzz", b"some bytes").ok()?;
    Some(board)
}

fn run(bytes: &[u8], windows: Windows) {
    let clock = ManualClock::new();
    let ring = Arc::new(Ring::new(64));
    let Some(board) = board(&clock, ring.clone()) else {
        return;
    };
    let mut input = Input::new(bytes);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let step = input.u8() % KINDS_OF_STEPS;
        match step {
            READ | WRITE => access(board.space(), &mut input, windows, step),
            STORE => {
                let (address, count) = (input.u16(), input.u8());
                let bytes = input.bytes(count.into());
                // All of it is RAM.
                let _ = board.space().write_bytes(RAM + u64::from(address), bytes);
            }
            TYPE => {
                let count = input.u8();
                ring.input(input.bytes(count.into()));
            }
            ADVANCE => clock.advance(u64::from(input.u32()) << 8),
            RESET => board.reset(),
            COPY => copy(board.space(), &mut input, windows),
            _ => {}
        }
    }
}

/// An address in one of the windows.
fn address(input: &mut Input<'_>, windows: Windows) -> u64 {
    let (base, len) = windows[usize::from(input.u8()) % windows.len()];
    base + u64::from(input.u32()) % len
}

fn access(space: &AddressSpace, input: &mut Input<'_>, windows: Windows, step: u8) {
    let (address, size) = (address(input, windows), input.size());
    // A bus error is an answer.
    if step == READ {
        let _ = space.read(address, size.into());
    } else {
        let value = input.number(size.into());
        let _ = space.write(address, size.into(), value);
    }
}

/// A device of the host that copies, from registers to registers if the guest says so.
fn copy(space: &AddressSpace, input: &mut Input<'_>, windows: Windows) {
    let (from, to) = (address(input, windows), address(input, windows));
    // A bus error is an answer.
    let _ = space.copy(from, to, u64::from(input.u8()));
}

/// One step of a seed: a write of `size` bytes in a window.
fn write(script: Script, window: u8, offset: u32, size: u8, value: u64) -> Script {
    let script = script.u8(WRITE).u8(window).u32(offset).size(size);
    script.number(size.into(), value)
}

fn read(script: Script, window: u8, offset: u32, size: u8) -> Script {
    script.u8(READ).u8(window).u32(offset).size(size)
}

fn writes(list: &[(u8, u32, u8, u64)]) -> Script {
    let add = |script, &(window, offset, size, value): &(u8, u32, u8, u64)| {
        write(script, window, offset, size, value)
    };
    list.iter().fold(Script::new(), add)
}

/// A driver's first accesses to each device.
pub fn seeds_registers() -> Vec<Vec<u8>> {
    let serial = writes(&[
        (0, 1, 1, 0xf),
        (0, 2, 1, 0xc7),
        (0, 3, 1, 0x83),
        (0, 4, 1, 0x1f),
    ]);
    let serial = serial.bytes(&[TYPE, 3, b'a', b'b', b'c']);
    let plic = writes(&[
        (6, 40, 4, 7),
        (8, 0, 4, 0x400),
        (8, 0x80, 4, 0x400),
        (9, 0, 4, 3),
    ]);
    let plic = write(plic.bytes(&[TYPE, 1, b'x']), 0, 1, 1, 1);
    let aclint = writes(&[(2, 4, 4, 1), (3, 0, 8, 1000), (4, 0, 8, 5), (5, 0, 4, 1)]);
    let rtc = writes(&[
        (1, 0xc, 4, 0),
        (1, 8, 4, 9),
        (1, 0x10, 4, 1),
        (1, 0x14, 4, 1),
    ]);
    vec![
        read(read(serial, 0, 0, 1), 0, 5, 1).end(),
        read(plic, 9, 4, 4).end(),
        aclint.u8(ADVANCE).u32(1 << 20).u8(RESET).end(),
        read(read(rtc.u8(ADVANCE).u32(99), 1, 0, 4), 1, 4, 4).end(),
        writes(&[(11, 0, 4, 0x3333), (11, 0, 2, 0x5555)]).end(),
        read(writes(&[(12, 0x70, 4, 1), (12, 0x14, 4, 1)]), 12, 0x10, 4).end(),
    ]
}

/// BARs found, sized and placed; queues set up through them.
pub fn seeds_pci() -> Vec<Vec<u8>> {
    // BAR 4 of slot 1 at the start of the low window, and decoded.
    let place = [
        (1, 0x20, 4, 0xffff_ffff),
        (1, 0x20, 4, 0x4000_0000),
        (1, 0x24, 4, 0),
        (1, 4, 2, 6),
    ];
    let driver = [
        (7, 0x14, 1, 1),
        (7, 0x14, 1, 3),
        (7, 8, 4, 1),
        (7, 0xc, 4, 1),
    ];
    let queue = [
        (7, 0x16, 2, 0),
        (7, 0x20, 8, RAM),
        (7, 0x28, 8, RAM + 0x1000),
    ];
    let last = [
        (7, 0x30, 8, RAM + 0x2000),
        (7, 0x1c, 2, 1),
        (7, 0x14, 1, 0xf),
        (7, 0x3000, 2, 0),
    ];
    let all = [&place[..], &driver, &[(7, 0x14, 1, 0xb)], &queue, &last].concat();
    // The window in the configuration space.
    let window = [
        (2, 0x84, 1, 4),
        (2, 0x88, 4, 0x14),
        (2, 0x8c, 4, 1),
        (2, 0x90, 4, 1),
    ];
    let high = [
        (3, 0x20, 4, 0),
        (3, 0x24, 4, 4),
        (3, 4, 2, 0x406),
        (9, 0x14, 1, 1),
    ];
    vec![
        read(writes(&place), 7, 0, 4).end(),
        read(writes(&all), 7, 0x1000, 1).end(),
        read(writes(&window), 2, 0x90, 4).end(),
        read(writes(&high), 9, 0, 8).u8(RESET).end(),
        read(read(Script::new(), 5, 0, 4), 0, 0xffc, 8).end(),
    ]
}

/// Each command of the flash.
pub fn seeds_flash() -> Vec<Vec<u8>> {
    let buffer = [
        (0, 0, 4, 0xe8),
        (0, 0, 4, 1),
        (0, 0, 4, 7),
        (0, 4, 4, 9),
        (0, 0, 4, 0xd0),
    ];
    let last = [(1, 0x1ff_fffc, 4, 0x40), (1, 0x1ff_fffc, 4, 0x1234)];
    vec![
        writes(&buffer).end(),
        writes(&last).end(),
        writes(&[(0, 0, 4, 0x20), (0, 0, 4, 0xd0), (0, 0, 4, 0xff)]).end(),
        writes(&[(2, 0, 1, 0x10), (2, 0, 1, 0), (2, 0, 1, 0x50)]).end(),
        read(writes(&[(0, 0, 4, 0x98)]), 0, 0x40, 4).end(),
        read(writes(&[(0, 0, 4, 0x90)]), 0, 4, 2).u8(RESET).end(),
        writes(&[(0, 0, 4, 0x60), (0, 0, 4, 0xd0), (0, 0, 4, 0x70)]).end(),
    ]
}

/// Items read by register and by DMA.
pub fn seeds_fw_cfg() -> Vec<Vec<u8>> {
    let select = |selector: u16| writes(&[(0, 8, 2, selector.swap_bytes().into())]);
    let dma = |control: u32, length: u32, target: u64| {
        let descriptor = [
            &control.to_be_bytes()[..],
            &length.to_be_bytes(),
            &target.to_be_bytes(),
        ];
        let script = Script::new().u8(STORE).u16(0).u8(16);
        let script = script.bytes(&descriptor.concat());
        write(script, 0, 0x10, 8, RAM.swap_bytes()).end()
    };
    vec![
        read(select(0), 0, 0, 8).end(),
        read(select(0x19), 0, 0, 4).end(),
        dma(0x19_000a, 64, RAM + 0x100),
        dma(0x20_000a, 8, RAM + RAM_BYTES - 4),
        dma(0x20_000c, u32::MAX, RAM),
        dma(0x20_0018, 4, FW_CFG),
        writes(&[(0, 0x10, 4, 0), (0, 0x14, 4, 0x80)]).end(),
    ]
}
