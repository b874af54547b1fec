//! `isomorph demo`: guest programs inside this binary, run and set beside the same work done
//! natively, and a guest kernel on a machine.
//!
//! Their sources are in `guests/demo` and `guests/kernel`, their images in `guests/images`. The
//! native side is written in Rust, so that the demo needs no compiler and no package.

mod kernel;
mod native;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::error::CliError;
use crate::output::show;

/// One program of the demo.
#[derive(Debug)]
struct Program {
    name: &'static str,
    about: &'static str,
    image: &'static [u8],
    native: fn() -> String,
}

macro_rules! image {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/guests/images/",
            $name
        ))
    };
}

const PROGRAMS: [Program; 5] = [
    Program {
        name: "mandelbrot",
        about: "double precision",
        image: image!("mandelbrot"),
        native: native::mandelbrot,
    },
    Program {
        name: "primes",
        about: "memory and simple loops",
        image: image!("primes"),
        native: native::primes,
    },
    Program {
        name: "fib",
        about: "calls and returns",
        image: image!("fib"),
        native: native::fib,
    },
    Program {
        name: "sha256",
        about: "long chains of integer operations",
        image: image!("sha256"),
        native: native::sha256,
    },
    Program {
        name: "queens",
        about: "recursion and bit masks",
        image: image!("queens"),
        native: native::queens,
    },
];

/// The names of all demos.
pub fn names() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().map(|program| program.name);
    programs.chain([kernel::TOUR, kernel::SHELL]).collect()
}

/// What one program did under isomorph and natively.
struct Comparison {
    guest: Duration,
    native: Duration,
    instructions: Option<u64>,
    blocks: Option<u64>,
}

/// Runs all programs and the kernel, or the one named, and shows what happened.
pub fn run(only: Option<&String>) -> Result<ExitCode, CliError> {
    let folder = Folder::create()?;
    match only.map(String::as_str) {
        Some(kernel::TOUR) => kernel::tour(&folder.0),
        Some(kernel::SHELL) => kernel::shell(&folder.0),
        Some(name) => programs(Some(name), &folder.0),
        None => {
            programs(None, &folder.0)?;
            show("\n")?;
            kernel::tour(&folder.0)
        }
    }
}

/// Runs all programs, or the one named.
fn programs(only: Option<&str>, folder: &Path) -> Result<ExitCode, CliError> {
    show("riscv64 Linux programs on this machine, beside the same work written in Rust:\n\n")?;
    let mut table = format!(
        "{:12} {:>12} {:>8} {:>12} {:>12} {:>8}\n",
        "program", "instructions", "blocks", "isomorph ms", "native ms", "ratio"
    );
    for program in PROGRAMS
        .iter()
        .filter(|p| only.is_none_or(|only| only == p.name))
    {
        show(&format!("── {} ({})\n", program.name, program.about))?;
        let comparison = compare(program, folder)?;
        table.push_str(&row(program.name, &comparison));
    }
    show(&format!(
        "\n{table}\n\
         Instructions and blocks are the guest's, translated once each; the times are of the \
         clock,\nfor isomorph with the start of its process. Outputs were equal to native.\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn row(name: &str, comparison: &Comparison) -> String {
    let count = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let (guest, native) = (ms(comparison.guest), ms(comparison.native));
    format!(
        "{name:12} {:>12} {:>8} {guest:>12.1} {native:>12.1} {:>7.2}x\n",
        count(comparison.instructions),
        count(comparison.blocks),
        guest / native,
    )
}

/// Runs one program both ways. The guest runs in a process of its own: its exit ends one.
fn compare(program: &Program, folder: &Path) -> Result<Comparison, CliError> {
    let image = folder.join(program.name);
    write_program(&image, program.image).map_err(file("write", &image))?;
    let this = std::env::current_exe().map_err(file("find", "/proc/self/exe"))?;
    let started = Instant::now();
    let mut command = Command::new(&this);
    let output = command
        .args(["run", "--stats"])
        .arg(&image)
        .output()
        .map_err(file("run", &this))?;
    let guest = started.elapsed();
    let started = Instant::now();
    let expected = (program.native)();
    let native = started.elapsed();
    let shown = String::from_utf8_lossy(&output.stdout);
    show(&shown)?;
    let stats = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let what = format!("{}: {}", output.status, stats.trim_end());
        return Err(CliError::Demo {
            program: program.name,
            what,
        });
    }
    if shown != expected {
        let what = format!("natively it prints\n{expected}");
        return Err(CliError::Demo {
            program: program.name,
            what,
        });
    }
    let (instructions, blocks) = (count(&stats, "insns"), count(&stats, "blocks"));
    Ok(Comparison {
        guest,
        native,
        instructions,
        blocks,
    })
}

fn write_program(path: &Path, image: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(path)?
        .write_all(image)
}

/// A number in the table of `--stats`: the line's first word is its name, the last its value.
fn count(stats: &str, name: &str) -> Option<u64> {
    let mut lines = stats.lines().map(str::split_whitespace);
    let value = lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.last()))?;
    value?.parse().ok()
}

fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.into();
    move |source| CliError::File {
        action,
        path,
        source,
    }
}

/// A private temporary folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("isomorph-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(file("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary folder, where it is found.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_a_riscv64_program() {
        for program in &PROGRAMS {
            assert_eq!(&program.image[..5], b"\x7fELF\x02", "{}", program.name);
            assert_eq!(program.image[18], 243, "{}", program.name);
        }
    }

    #[test]
    fn numbers_are_found_in_the_table() {
        let stats = "isomorph statistics\n  blocks            31\n  insns          210\nblocks 7";
        assert_eq!(count(stats, "blocks"), Some(31));
        assert_eq!(count(stats, "insns"), Some(210));
        assert_eq!(count(stats, "flushes"), None);
    }
}
