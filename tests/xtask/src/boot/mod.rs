//! Boots the machine of another architecture as its users would, and says what that took.
//!
//! The guests are Debian's: kernel, busybox, firmware and a root file system, fetched by package
//! name. Every emulator gets the same command line and is driven over its console alone.

mod bare;
mod console;
mod cpio;
mod disk;
mod figures;
mod initramfs;
mod machine;
mod modules;
mod options;
mod recipes;
mod repository;
mod root;
mod usage;
mod work;

use std::process::Command;

pub use figures::Figures;
pub use initramfs::{MARKER, Promise};
pub use machine::Emulator;
pub use options::{BootOptions, Choice};

pub use recipes::Files;
pub use work::{Expected, expected};

use crate::error::{Error, Result};
use crate::inputs;
use crate::paths::Paths;

/// Why a boot is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The guest or its emulator does something else.
    #[error("{what}; the console's last lines:\n{console}")]
    Guest {
        /// What is wrong.
        what: String,
        /// The end of the console.
        console: String,
    },
    /// It could not even be tried.
    #[error(transparent)]
    Harness(#[from] Error),
}

/// `cargo xtask boot`: `false` if a run failed.
pub fn command(paths: &Paths, arguments: &[String]) -> Result<bool> {
    let options = BootOptions::parse(arguments)?;
    let files = prepare(paths, options.disk, options.emulator == Choice::Isomorph)?;
    let emulator = Emulator::new(&options.emulator, paths);
    if options.interactive {
        return interactive(&emulator, &options, paths, &files);
    }
    let works = if options.quick || options.root.is_some() {
        Vec::new()
    } else {
        expected(&files)?
    };
    let mut good = true;
    for number in 1..=options.runs {
        match run(
            &emulator,
            &options,
            paths,
            &files,
            Promise {
                marker: MARKER,
                works: &works,
            },
        ) {
            Ok(figures) if options.json => println!("{}", figures.json()),
            Ok(figures) => print!("== run {number} of {}\n{}", options.runs, figures.lines()),
            Err(failure) => {
                good = false;
                println!("FAIL run {number} of {}: {failure}", options.runs);
            }
        }
    }
    Ok(good)
}

/// Makes the guests' files, and with `build` the emulator.
pub fn prepare(paths: &Paths, disk: bool, build: bool) -> Result<Files> {
    if build {
        recipes::build(paths)?;
    }
    recipes::prepare(paths, disk)
}

/// Boots once, from the initramfs, from the disk or from a root of the caller's.
pub fn run(
    emulator: &Emulator,
    options: &BootOptions,
    paths: &Paths,
    files: &Files,
    promise: Promise,
) -> std::result::Result<Figures, Failure> {
    if let Some(image) = &options.root {
        root::run(emulator, options, files, image)
    } else if options.disk {
        disk::run(emulator, options, paths, files)
    } else {
        initramfs::run(emulator, options, files, promise)
    }
}

/// The user has the console; `false` if the emulator fails.
fn interactive(
    emulator: &Emulator,
    options: &BootOptions,
    paths: &Paths,
    files: &Files,
) -> Result<bool> {
    let folder = disk::scratch(paths)?;
    let image = match &options.root {
        Some(image) => Some(image.clone()),
        None if options.disk => Some(disk::copy(&folder, options, files)?),
        None => None,
    };
    let append = match (&image, options.quick) {
        (Some(_), _) => disk::APPEND,
        (None, true) => "console=ttyS0 lab=quick",
        (None, false) => "console=ttyS0 lab=shell",
    };
    let guest = machine::Guest {
        append,
        disk: image.as_deref(),
    };
    let mut command: Command = machine::command(emulator, options, files, &guest);
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status();
    inputs::remove(&folder)?;
    status
        .map(|status| status.success())
        .map_err(|source| Error::Spawn { program, source })
}
