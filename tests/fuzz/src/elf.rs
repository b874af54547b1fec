//! The headers of a program that user mode is to run.

use crate::Script;
use isomorph_linux_user::elf::{Elf, is_guest_elf};
use std::fs::File;
use std::io::Write;

/// Reads a file's headers.
pub fn run(bytes: &[u8]) {
    let header = is_guest_elf(bytes);
    let Ok(elf) = file(bytes).map(|file| Elf::read(&file)) else {
        return;
    };
    let read = elf.map(|elf| elf.position_independent());
    assert!(header || read.is_err(), "headers of no ELF file were read");
}

fn file(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

/// A small executable, and one with a dynamic linker.
pub fn seeds() -> Vec<Vec<u8>> {
    let interpreter = (3, 0xb0, 4);
    vec![
        executable(2, &[(1, 0, 0x2000)]),
        executable(3, &[(1, 0, 0xb4), interpreter]),
    ]
}

/// An executable of segments: type, offset in the file, bytes of the file.
pub fn executable(kind: u16, segments: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut script = Script::new()
        .bytes(b"\x7fELF\x02\x01\x01")
        .bytes(&[0; 9])
        .u16(kind)
        .u16(243)
        .u32(1)
        .number(8, 0x8020_0000)
        .number(8, 64)
        .number(8, 0)
        .u32(0)
        .u16(64)
        .u16(56)
        .u16(segments.len() as u16)
        .bytes(&[0; 6]);
    for &(kind, offset, size) in segments {
        let in_file = size.min(0xb4);
        script = script.u32(kind).u32(5);
        let address = 0x8020_0000 + offset;
        for field in [offset, address, address, in_file, size, 0x1000] {
            script = script.number(8, field);
        }
    }
    let mut bytes = script.end();
    bytes.resize(0xb0, 0x13);
    bytes.extend(b"/ld\0");
    bytes
}
