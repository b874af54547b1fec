//! A Debian root on the machine's disk: login, network, packages, a crash, and all there again.

use super::Context;
use super::boot::{boot_once, options};
use crate::boot::{MARKER, Promise};
use crate::error::Result;
use crate::report::{Stage, Tally, Verdict};

/// One disk: its name and its options on the command line of `cargo xtask boot riscv64`.
const DISKS: &[(&str, &str)] = &[
    ("pci, raw", "--timeout 240"),
    (
        "mmio, qcow2, 2 CPUs",
        "--transport mmio --format qcow2 --smp 2 --timeout 300",
    ),
];

/// Boots each of them twice.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("disk");
    let files = context.files()?;
    for (name, words) in DISKS {
        if !context.options.wants(name) {
            continue;
        }
        let options = options(&format!("--disk {words}"))?;
        let promise = Promise {
            marker: MARKER,
            works: &[],
        };
        let verdict = match boot_once(context, &options, files, promise) {
            Ok(_) => Verdict::Pass,
            Err(failure) => Verdict::Fail(failure.to_string()),
        };
        stage.record(name, &verdict);
    }
    Ok(stage.end())
}
