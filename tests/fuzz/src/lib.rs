//! Fuzz targets: what reads data from outside, fed with hostile data.
//!
//! A target turns any bytes into work for one part of the product. It fails by a panic, by running
//! for seconds, or by growing without bound; nothing that the part answers is wrong here.
//!
//! Invariants:
//! - A target takes every input, and does the same for the same input as far as the part allows.
//! - Nothing outside the process is reached but files in the temporary folder and the loopback.
//! - Inputs that once failed stay in `corpus/`, by target; each is run by `cargo test`.

#![forbid(unsafe_code)]

mod board;
mod disk;
mod elf;
mod input;
mod load;
mod net;
mod planted;
mod port;
mod virtio;

pub use input::{Input, Script};

/// A part of the product under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is its folder of the corpus too.
    pub name: &'static str,
    /// Feeds it one input.
    pub run: fn(&[u8]),
    /// Inputs to start from: they reach what chance would not.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Source files whose panics the part itself turns into errors.
    pub guarded: Option<&'static str>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target {
        name,
        run,
        seeds,
        guarded: None,
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("virtio-mmio", virtio::run_mmio, virtio::seeds),
    target("virtio-pci", virtio::run_pci, virtio::seeds),
    target("pci", board::run_pci, board::seeds_pci),
    target("fw-cfg", board::run_fw_cfg, board::seeds_fw_cfg),
    target("flash", board::run_flash, board::seeds_flash),
    target("registers", board::run_registers, board::seeds_registers),
    target("load", load::run, load::seeds),
    target("net", net::run, net::seeds),
    target("elf", elf::run, elf::seeds),
    Target {
        // A lying image makes the format's code panic; the block layer answers with an error.
        guarded: Some("imago"),
        ..target("disk", disk::run, disk::seeds)
    },
];

/// A target with a defect, which every fuzzer worth its time finds.
pub const PLANTED: Target = target("planted", planted::run, planted::seeds);

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    let mut all = TARGETS.iter().chain([&PLANTED]);
    all.find(|target| target.name == name)
}
