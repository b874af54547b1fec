//! The bus through ECAM and windows, as firmware meets it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::virtio::Line;
use std::sync::{Arc, Mutex};

const WINDOWS: Windows = Windows {
    io: Range {
        base: 0,
        size: 0x10000,
    },
    memory32: Range {
        base: 0x4000_0000,
        size: 0x4000_0000,
    },
    memory64: Range {
        base: 0x4_0000_0000,
        size: 0x4_0000_0000,
    },
};
const IDENTITY: Identity = Identity {
    vendor: 0x1234,
    device: 0x5678,
    revision: 1,
    class: 0xff_0000,
    subsystem_vendor: 0,
    subsystem: 0,
    interrupt_pin: 1,
};

struct Scratch {
    config: Mutex<ConfigSpace>,
    last: Mutex<(usize, u64, u64)>,
}

impl Scratch {
    fn new() -> Arc<Self> {
        let config = Mutex::new(Self::space());
        Arc::new(Scratch {
            config,
            last: Mutex::default(),
        })
    }

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(&IDENTITY);
        let bar = |kind, size| Bar {
            kind,
            size,
            prefetchable: false,
        };
        space.set_bar(0, bar(BarKind::Memory32, 0x1000));
        space.set_bar(1, bar(BarKind::Io, 0x20));
        space.set_bar(4, bar(BarKind::Memory64, 0x4000));
        space
    }
}

impl PciFunction for Scratch {
    fn config_read(&self, offset: u16, size: u8) -> u32 {
        self.config.lock().unwrap().read(offset, size)
    }

    fn config_write(&self, offset: u16, size: u8, value: u32) {
        self.config.lock().unwrap().write(offset, size, value);
    }

    fn mapped(&self, index: usize) -> Option<(Bar, u64)> {
        self.config.lock().unwrap().mapped(index)
    }

    fn bar_read(&self, bar: usize, offset: u64, _size: u8) -> u64 {
        (bar as u64) << 16 | offset
    }

    fn bar_write(&self, bar: usize, offset: u64, _size: u8, value: u64) {
        *self.last.lock().unwrap() = (bar, offset, value);
    }

    fn reset(&self) {
        *self.config.lock().unwrap() = Self::space();
    }
}

fn host() -> (PciHost, [Arc<AtomicUsize>; 4]) {
    let levels: [Arc<AtomicUsize>; 4] = Default::default();
    let lines = levels.clone().map(|level| {
        let line: Box<dyn Line> =
            Box::new(move |high: bool| level.store(usize::from(high), Ordering::SeqCst));
        line
    });
    (PciHost::new(WINDOWS, lines), levels)
}

const SLOT1: u64 = 1 << 15;

#[test]
fn absent_functions_read_ones() {
    let (host, _) = host();
    assert_eq!(host.ecam_read(0, 4), 0x0008_1b36);
    assert_eq!(host.ecam_read(0x0a, 2), 0x0600);
    assert_eq!(host.ecam_read(SLOT1, 4), 0xffff_ffff);
    assert_eq!(host.ecam_read(SLOT1, 2), 0xffff);
    assert_eq!(host.ecam_read(1 << 20, 1), 0xff);
    assert_eq!(host.ecam_read(u64::MAX - 7, 4), 0xffff_ffff);
    host.ecam_write(SLOT1, 4, 0);
    assert_eq!(host.window_read(Window::Memory32, 0, 4), 0xffff_ffff);
    assert_eq!(host.window_read(Window::Memory64, u64::MAX, 8), u64::MAX);
}

#[test]
fn bars_are_sized_and_routed() {
    let (host, _) = host();
    let scratch = Scratch::new();
    assert_eq!(host.free_slot(), Ok(1));
    host.add(1, 0, scratch.clone()).unwrap();
    assert_eq!(
        host.add(1, 0, scratch.clone()),
        Err(PciError::Taken {
            slot: 1,
            function: 0
        })
    );
    let outside = PciError::Address {
        slot: 32,
        function: 0,
    };
    assert_eq!(host.add(32, 0, scratch.clone()), Err(outside));
    for (bar, expected) in [(0, 0xffff_f000), (1, 0xffff_ffe1), (2, 0), (4, 0xffff_c004)] {
        host.ecam_write(SLOT1 + 0x10 + 4 * bar, 4, 0xffff_ffff);
        assert_eq!(
            host.ecam_read(SLOT1 + 0x10 + 4 * bar, 4),
            expected,
            "BAR {bar}"
        );
    }
    host.ecam_write(SLOT1 + 0x10, 4, 0x4000_2000);
    host.ecam_write(SLOT1 + 0x14, 4, 0x1000);
    host.ecam_write(SLOT1 + 0x20, 8, 0x4_0000_8000);
    assert_eq!(
        host.window_read(Window::Memory32, 0x2004, 4),
        0xffff_ffff,
        "not enabled"
    );
    host.ecam_write(SLOT1 + 4, 2, 0x3);
    assert_eq!(host.window_read(Window::Memory32, 0x2004, 4), 4);
    assert_eq!(host.window_read(Window::Io, 0x1008, 4), 0x1_0008);
    assert_eq!(host.window_read(Window::Memory64, 0x8010, 8), 0x4_0010);
    assert_eq!(
        host.window_read(Window::Memory32, 0x2ffe, 4),
        0xffff_ffff,
        "over its end"
    );
    host.window_write(Window::Memory64, 0xbff8, 8, 77);
    assert_eq!(*scratch.last.lock().unwrap(), (4, 0x3ff8, 77));
    host.reset();
    assert_eq!(host.window_read(Window::Memory32, 0x2004, 4), 0xffff_ffff);
}

#[test]
fn what_is_read_only_stays() {
    let mut space = Scratch::space();
    for offset in (0..4096u16).step_by(4) {
        space.write(offset, 4, 0xffff_ffff);
    }
    assert_eq!(space.read(0, 4), 0x5678_1234);
    assert_eq!(space.read(4, 4), 0x0407);
    assert_eq!(space.read(8, 4), 0xff00_0001);
    assert_eq!(space.read(0x3c, 4), 0x0000_01ff);
    assert_eq!(space.read(0x100, 4), 0);
    assert_eq!(space.read(0xffe, 4), u32::MAX);
}

#[test]
fn capabilities_are_linked() {
    let mut space = ConfigSpace::new(&IDENTITY);
    assert_eq!(space.add_capability(9, &[3, 4, 5], &[]), Some(0x40));
    assert_eq!(space.add_capability(5, &[0; 10], &[0xff]), Some(0x48));
    assert_eq!(space.read(0x34, 1), 0x40);
    assert_eq!(space.read(0x40, 4), 0x0403_4809);
    assert_eq!(space.read(0x48, 2), 5);
    assert_eq!(space.read(6, 2) & 0x10, 0x10);
    assert_eq!(space.add_capability(9, &[0; 200], &[]), None);
}

#[test]
fn wires_rotate_and_are_shared() {
    let (host, levels) = host();
    let level = |wire: usize| levels[wire].load(Ordering::SeqCst);
    let lines = [host.intx(1, 0, 1), host.intx(5, 0, 1), host.intx(2, 3, 4)];
    lines.iter().for_each(|line| line.set_level(true));
    assert_eq!(
        [level(0), level(1), level(2), level(3)],
        [0, 1, 0, 0],
        "2.3 INTD is wire 1 too"
    );
    lines[0].set_level(false);
    lines[1].set_level(false);
    assert_eq!(level(1), 1);
    lines[2].set_level(false);
    assert_eq!(level(1), 0);
}

#[test]
fn the_interrupt_can_be_disabled() {
    let mut space = ConfigSpace::new(&IDENTITY);
    assert!(space.set_interrupt(true));
    assert_eq!(space.read(6, 2) & 8, 8);
    space.write(4, 2, 0x400);
    assert!(!space.interrupt_level());
    space.write(4, 2, 0);
    assert!(space.interrupt_level());
    assert!(!space.set_interrupt(false));
}
