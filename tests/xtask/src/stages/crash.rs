//! Files that are no good program: refused, or crashing as guests; never an accident of isomorph.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::elf::{self, EM_RISCV, Random, executable};
use super::harness::Compiler;
use super::{Context, existing, scratch};
use crate::emulator::Emulator;
use crate::error::{AtPath, Result};
use crate::inputs;
use crate::pool;
use crate::process::{self, Outcome};
use crate::report::{Stage, Tally, Verdict};

/// A guest that got this far into nonsense is a loop.
const LIMIT: Duration = Duration::from_secs(5);

/// How many files with random damage.
const DAMAGED: usize = 500;

/// What Rust's panics and aborts, and isomorph's own alarms, look like on standard error. An
/// `abort` without such words is the guest's own.
const ACCIDENTS: &[&str] = &[
    "panicked at",
    "internal error",
    "fatal runtime error",
    "memory allocation of",
    "has overflowed its stack",
];

/// The exit status of a Rust panic.
const PANIC_STATUS: i32 = 101;

/// What is to be expected of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// Refused before any guest code runs: an exit status, no signal.
    Refused,
    /// The guest dies by this signal.
    Signal(i32),
    /// Anything that is no accident of the emulator.
    Anything,
}

/// A file to run.
#[derive(Debug)]
struct Sample {
    name: String,
    bytes: Vec<u8>,
    expect: Expect,
}

/// Runs all samples.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("crash");
    let folder = scratch(context.paths, "crash")?;
    let good = good_program(context)?;
    let mut samples = garbage();
    samples.extend(truncated(&good));
    samples.extend(nowhere());
    samples.extend(damaged(&good));
    let verdicts = pool::map(&samples, |sample| judge(&context.emulator, sample, &folder));
    for (sample, verdict) in samples.iter().zip(verdicts) {
        stage.record(&sample.name, &verdict?);
    }
    Ok(stage.end())
}

/// A real program to be truncated and damaged.
fn good_program(context: &Context) -> Result<Vec<u8>> {
    let source = scratch(context.paths, "crash-source")?.join("good.c");
    fs::write(&source, "int main(void) { return 0; }\n").at(&source)?;
    let program = Compiler::new(context.paths)?.build(&[&source], &["-O1".to_owned()])?;
    let program = existing(program.unwrap_or(source))?;
    fs::read(&program).at(&program)
}

fn judge(emulator: &Emulator, sample: &Sample, folder: &Path) -> Result<Verdict> {
    let path = folder.join(sample.name.replace(' ', "-"));
    let outcome = run_bytes(emulator, &sample.bytes, path, LIMIT)?;
    let found = outcome.shell_status();
    let expected = match sample.expect {
        Expect::Refused => outcome.status.code().is_some_and(|code| code != 0),
        Expect::Signal(signal) => !outcome.timed_out && found == 128 + signal,
        Expect::Anything => true,
    };
    Ok(Verdict::expect(expected && !is_accident(&outcome), || {
        let (wanted, tail) = (sample.expect, outcome.stderr_tail(5));
        format!("{}, wanted {wanted:?}\n{tail}", outcome.describe())
    }))
}

/// Writes `bytes` as a program, runs it under `emulator`, and removes it.
pub fn run_bytes(
    emulator: &Emulator,
    bytes: &[u8],
    path: PathBuf,
    limit: Duration,
) -> Result<Outcome> {
    inputs::write_program(&path, bytes)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let outcome = process::run(emulator.command(&path).current_dir(folder), &[], limit)?;
    fs::remove_file(&path).at(&path)?;
    Ok(outcome)
}

/// Whether the emulator failed rather than the guest.
pub fn is_accident(outcome: &Outcome) -> bool {
    let text = String::from_utf8_lossy(&outcome.stderr);
    let alarmed = ACCIDENTS.iter().any(|alarm| text.contains(alarm));
    alarmed || outcome.shell_status() == PANIC_STATUS
}

/// Files that are no riscv64 program at all.
fn garbage() -> Vec<Sample> {
    let valid = executable(EM_RISCV, &[0x73, 0, 0, 0], 0);
    let with = |offset: usize, bytes: &[u8]| {
        let mut file = valid.clone();
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        file
    };
    let mut random = Random(1);
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("empty file", Vec::new()),
        ("one byte", vec![0x7f]),
        ("magic alone", b"\x7fELF".to_vec()),
        ("random 4 KiB", random.bytes(4096)),
        ("text", b"hello, world\n".to_vec()),
        ("32-bit class", with(4, &[1])),
        ("big endian", with(5, &[2])),
        ("bad ident version", with(6, &[9])),
        ("relocatable type", with(16, &[1])),
        ("core type", with(16, &[4])),
        ("machine x86-64", with(18, &[62, 0])),
        ("program headers beyond the file", with(32, &[0xff; 8])),
        ("program header size zero", with(54, &[0, 0])),
        ("65535 program headers", with(56, &[0xff, 0xff])),
        ("no program header", with(56, &[0, 0])),
        (
            "segment beyond the file",
            with(64 + 8, &[0, 0, 0x10, 0, 0, 0, 0, 0]),
        ),
        (
            "file size above memory size",
            with(64 + 40, &[1, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("segment in kernel space", with(64 + 16, &[0xff; 8])),
        (
            "memory size of 2^63",
            with(64 + 40, &[0, 0, 0, 0, 0, 0, 0, 0x80]),
        ),
        ("memory size of 2^64-1", with(64 + 40, &[0xff; 8])),
        ("interpreter out of the file", with(64, &[3, 0, 0, 0])),
    ];
    let sample = |(name, bytes): (&str, Vec<u8>)| Sample {
        name: name.to_owned(),
        bytes,
        expect: expectation(name),
    };
    files.into_iter().map(sample).collect()
}

/// Where Linux itself is lenient (or cares only at run time) nothing certain is expected.
fn expectation(name: &str) -> Expect {
    let lenient = [
        "bad ident version",
        "file size above memory size",
        "no program header",
        "segment beyond the file",
    ];
    if lenient.contains(&name) {
        Expect::Anything
    } else {
        Expect::Refused
    }
}

/// A good program, cut off at many places.
fn truncated(good: &[u8]) -> Vec<Sample> {
    let mut lengths: Vec<usize> = (4..64).step_by(6).collect();
    lengths.extend((64..1024).step_by(48));
    lengths.extend((1024..good.len()).step_by(good.len() / 40));
    let sample = |length: usize| Sample {
        name: format!("truncated to {length}"),
        bytes: good[..length.min(good.len())].to_vec(),
        expect: if length < 64 {
            Expect::Refused
        } else {
            Expect::Anything
        },
    };
    lengths.into_iter().map(sample).collect()
}

/// Programs of a few instructions that jump, load or store where nothing is.
fn nowhere() -> Vec<Sample> {
    const SEGV: i32 = 11;
    const ILL: i32 = 4;
    const TRAP: i32 = 5;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let programs: [(&str, Vec<u8>, i32); 9] = [
        ("jump to zero", words(&[0x0000_0067]), SEGV), // jalr x0, 0(x0)
        ("jump to the top", words(&[0xfff0_0067]), SEGV), // jalr x0, -1(x0)
        ("jump to the stack", words(&[0x0001_0067]), SEGV), // jalr x0, 0(sp)
        ("load from zero", words(&[0x0000_3503]), SEGV), // ld a0, 0(x0)
        ("store to the top", words(&[0xfe00_3c23]), SEGV), // sd x0, -8(x0)
        ("all zeros", words(&[0]), ILL),
        ("all ones", words(&[0xffff_ffff]), ILL),
        ("privileged instruction", words(&[0x3020_0073]), ILL), // mret
        ("breakpoint", words(&[0x0010_0073]), TRAP),            // ebreak
    ];
    let mut samples: Vec<Sample> = Vec::new();
    for (name, code, signal) in programs {
        let bytes = executable(EM_RISCV, &code, 0);
        samples.push(Sample {
            name: name.to_owned(),
            bytes,
            expect: Expect::Signal(signal),
        });
    }
    let outside = [
        ("entry beyond the segment", 0x10_0000),
        ("entry in kernel space", 1 << 63),
    ];
    for (name, entry) in outside {
        let bytes = executable(EM_RISCV, &[0; 4], entry);
        samples.push(Sample {
            name: name.to_owned(),
            bytes,
            expect: Expect::Signal(SEGV),
        });
    }
    let end = words(&[0x0000_0013; 1024 - elf::HEADERS / 4]);
    let bytes = executable(EM_RISCV, &end, 0);
    let name = "running into the zeros behind the code".to_owned();
    samples.push(Sample {
        name,
        bytes,
        expect: Expect::Signal(ILL),
    });
    samples
}

/// A good program with a few random bytes changed in its headers.
fn damaged(good: &[u8]) -> Vec<Sample> {
    let mut random = Random(2);
    let mut samples = Vec::new();
    for index in 0..DAMAGED {
        let mut bytes = good.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(512);
            bytes[at] = random.next() as u8;
        }
        let name = format!("damaged headers {index}");
        samples.push(Sample {
            name,
            bytes,
            expect: Expect::Anything,
        });
    }
    samples
}
