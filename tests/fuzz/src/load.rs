//! Images that a user gives to a board: kernel, initial RAM disk, firmware, device tree.

use crate::elf::executable;
use crate::{Input, Script, board};
use isomorph_boards::{Firmware, Images};
use isomorph_chardev::Null;
use isomorph_machine::ManualClock;
use std::sync::Arc;

const INITRD: u8 = 1;
const TREE: u8 = 2;
const LINE: u8 = 4;
const KERNEL: u8 = 8;

/// Loads what the input holds: which of the images there are, how the machine starts, the length
/// of the firmware and of each image but the kernel, and their bytes.
pub fn run(bytes: &[u8]) {
    let clock = ManualClock::new();
    let Some(board) = board::board(&clock, Arc::new(Null)) else {
        return;
    };
    let mut input = Input::new(bytes);
    let (given, start) = (input.u8(), input.u8());
    let mut piece = |bit: u8| {
        let wanted = given & bit != 0;
        wanted.then(|| {
            let length = input.u16();
            input.bytes(length.into())
        })
    };
    let initrd = piece(INITRD);
    let device_tree = piece(TREE);
    let line = piece(LINE).map(String::from_utf8_lossy);
    let firmware = match start % 4 {
        0 => Firmware::None,
        1 => Firmware::BuiltIn,
        2 => Firmware::Flash,
        _ => Firmware::File(piece(u8::MAX).unwrap_or_default()),
    };
    let kernel = input.rest();
    let images = Images {
        kernel: (given & KERNEL != 0).then_some(kernel),
        initrd,
        command_line: line.as_deref(),
        device_tree,
        rng_seed: None,
    };
    let Ok(boot) = board.load(firmware, &images) else {
        return;
    };
    assert_eq!(boot.harts.len(), board.config().harts);
    if let Some((start, end)) = boot.initrd {
        assert!(
            start <= end,
            "an initial RAM disk that ends before it starts"
        );
    }
    board.reset();
}

/// Every kind of image, and headers that lie.
pub fn seeds() -> Vec<Vec<u8>> {
    let linux = |size: u64| {
        let script = Script::new().bytes(&[0x13; 16]).number(8, size);
        let script = script.bytes(&[0; 32]).bytes(b"RSC\x05");
        script.bytes(&[0; 8]).end()
    };
    let plain = executable(2, &[(1, 0, 0x2000)]);
    let large = executable(2, &[(1, 0, u64::MAX)]);
    let file = |firmware: &[u8], kernel: &[u8]| {
        let script = Script::new()
            .bytes(&[KERNEL | INITRD, 3])
            .u16(2)
            .bytes(b"rd");
        let script = script.u16(firmware.len() as u16).bytes(firmware);
        script.bytes(kernel).end()
    };
    let tree = Script::new().bytes(&[KERNEL | TREE | LINE, 2]).u16(4);
    let tree = tree.bytes(&[0xd0, 0x0d, 0xfe, 0xed]).u16(3).bytes(b"a=b");
    vec![
        [&[KERNEL, 0][..], &linux(0x1000)].concat(),
        [
            &[KERNEL | INITRD, 1, 4, 0, 1, 2, 3, 4][..],
            &linux(u64::MAX),
        ]
        .concat(),
        [&[KERNEL, 1][..], &plain].concat(),
        [&[KERNEL, 0][..], &large].concat(),
        tree.bytes(&linux(0)).end(),
        file(&linux(0), &plain),
        file(&plain, &linux(1 << 40)),
        file(&large, &plain),
    ]
}
