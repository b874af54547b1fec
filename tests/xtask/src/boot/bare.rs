//! Guests without Linux: firmware and the demo's kernel.

use std::fs;
use std::path::Path;

use super::console::{Console, Moment};
use super::figures::{self, Figures, Work};
use super::machine::{self, Emulator, Guest};
use super::options::BootOptions;
use super::recipes::Files;
use super::{Failure, work};
use crate::error::AtPath;

/// How often the initial RAM disk is unpacked, so that it takes a while.
const ROUNDS: usize = 20;

/// RAM that U-Boot leaves alone.
const PLACE: &str = "0x84000000";

/// The demo's kernel through its own tests, which it counts at the end.
pub fn demo_kernel(
    emulator: &Emulator,
    options: &BootOptions,
    files: &Files,
) -> Result<Figures, Failure> {
    let guest = Guest {
        append: "demo",
        disk: None,
    };
    let mut command = machine::command(emulator, options, files, &guest);
    let mut console = Console::start(&mut command, options.timeout)?;
    let marker = console.expect(" ok, 0 failed")?;
    let mut figures = Figures::new("the demo's kernel".to_owned(), marker);
    let (_, end) = console.end()?;
    figures.end = end;
    Ok(figures)
}

/// U-Boot to its prompt, where it answers, and off.
pub fn uboot(
    emulator: &Emulator,
    options: &BootOptions,
    files: &Files,
) -> Result<Figures, Failure> {
    let guest = Guest {
        append: "",
        disk: None,
    };
    let mut command = machine::command(emulator, options, files, &guest);
    let mut console = Console::start(&mut command, options.timeout)?;
    console.expect("Hit any key to stop autoboot")?;
    console.send("\n")?;
    let prompt = console.expect("\n=> ")?;
    console.send("version\n")?;
    let (version, _) = console.expect_line("U-Boot ")?;
    console.expect("=> ")?;
    let mut figures = Figures::new(format!("U-Boot {version}"), prompt);
    if !options.quick {
        figures.works = bare_works(&mut console, files)?;
    }
    figures.memory = console.memory(figures::ram_kib(options));
    console.send("poweroff\n")?;
    let (_, end) = console.end()?;
    figures.end = end;
    Ok(figures)
}

/// Work on a bare CPU: unpacking, and a checksum that waits for memory.
fn bare_works(console: &mut Console, files: &Files) -> Result<Vec<Work>, Failure> {
    console.send("fdt addr $fdtcontroladdr; fdt print /chosen\n")?;
    let (cells, _) = console.expect_line("linux,initrd-start = <")?;
    let packed = cells.split([' ', '>']).rfind(|cell| cell.starts_with("0x"));
    let packed = packed.ok_or_else(|| console.failure("no initial RAM disk"))?;
    console.expect("=> ")?;
    let before = console.now();
    let rounds: Vec<String> = (0..ROUNDS).map(|round| round.to_string()).collect();
    let rounds = rounds.join(" ");
    console.send(&format!(
        "for i in {rounds}; do unzip {packed} {PLACE}; done\n"
    ))?;
    for _ in 0..ROUNDS {
        console.expect("Uncompressed size: ")?;
    }
    let unzip = since("unzip", before, console.expect("=> ")?);
    let right = checksum_of_packed(&files.initramfs_disk)?;
    checksum(console, "$filesize", &right)?;
    console.send(&format!("mw.q {PLACE} 0 0x2000000\n"))?;
    console.expect("=> ")?;
    let before = console.now();
    let right = format!("{:08x}", work::crc32_of_zeros(0x1000_0000));
    let after = checksum(console, "0x10000000", &right)?;
    Ok(vec![unzip, since("crc32", before, after)])
}

/// Computes a checksum, which must be `right`; returns when it was there.
fn checksum(console: &mut Console, size: &str, right: &str) -> Result<Moment, Failure> {
    console.send(&format!("crc32 {PLACE} {size}\n"))?;
    let (line, after) = console.expect_line("==> ")?;
    if line != right {
        return Err(console.failure(&format!("crc32: {line:?} instead of {right:?}")));
    }
    console.expect("=> ")?;
    Ok(after)
}

/// The checksum of the content, which a gzip file (RFC 1952) holds eight bytes before its end.
fn checksum_of_packed(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path).at(path)?;
    let crc = bytes.iter().rev().skip(4).take(4);
    Ok(crc.map(|byte| format!("{byte:02x}")).collect())
}

fn since(name: &str, before: Moment, after: Moment) -> Work {
    Work {
        name: name.to_owned(),
        guest_seconds: None,
        wall: after.wall.saturating_sub(before.wall),
        cpu: after.cpu.saturating_sub(before.cpu),
        answer: None,
    }
}
