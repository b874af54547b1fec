//! The machine boots Debian's kernel, firmware and the demo's kernel, as its users start it.

use super::{Context, machine_emulator};
use crate::boot::{self, BootOptions, Failure, Files, MARKER, Promise};
use crate::error::Result;
use crate::process::patient;
use crate::report::{Stage, Tally, Verdict};

/// One boot: its name and its options on the command line of `cargo xtask boot riscv64`.
const BOOTS: &[(&str, &str)] = &[
    ("workloads", "--timeout 120"),
    ("workloads, 2 CPUs", "--smp 2 --timeout 180"),
    ("workloads, 4 CPUs", "--smp 4 --timeout 240"),
    ("OpenSBI", "--bios opensbi --quick"),
    ("OpenSBI, 4 CPUs", "--bios opensbi --smp 4 --quick"),
    ("U-Boot on OpenSBI", "--bios uboot"),
    ("U-Boot in M-mode", "--bios none"),
    ("96 MiB", "-m 96 --quick"),
    ("8 GiB", "-m 8G --quick"),
    ("reboot", "--quick --twice"),
    ("reboot refused", "--quick --lab reboot"),
    ("demo kernel", "--demo-kernel"),
    ("demo kernel, 2 CPUs", "--demo-kernel --smp 2"),
    ("demo kernel on OpenSBI", "--demo-kernel --bios opensbi"),
];

/// The limit of a boot that says nothing else.
const TIMEOUT: &str = "--timeout 60";

/// Boots them all, one after the other, and then those that must fail.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("boot");
    let files = context.files()?;
    let works = boot::expected(files)?;
    for (name, words) in BOOTS {
        if !context.options.wants(name) {
            continue;
        }
        let options = options(words)?;
        let works = if options.quick { &[] } else { works.as_slice() };
        let promise = Promise {
            marker: MARKER,
            works,
        };
        let verdict = match boot_once(context, &options, files, promise) {
            Ok(_) => Verdict::Pass,
            Err(failure) => Verdict::Fail(failure.to_string()),
        };
        stage.record(name, &verdict);
    }
    controls(context, &mut stage, files, works)?;
    Ok(stage.end())
}

/// Negative controls: a wrong result and a missing marker must be found.
fn controls(
    context: &Context,
    stage: &mut Stage,
    files: &Files,
    mut works: Vec<boot::Expected>,
) -> Result<()> {
    if let Some((_, digest)) = works.first_mut() {
        *digest = digest.chars().rev().collect();
    }
    let wrong_result = Promise {
        marker: MARKER,
        works: &works,
    };
    let wrong_marker = Promise {
        marker: "NO-MARKER ",
        works: &[],
    };
    let controls = [
        ("control: wrong digest", "", wrong_result, "workload sha256"),
        ("control: no marker", "--quick", wrong_marker, "NO-MARKER"),
    ];
    for (name, words, promise, complaint) in controls {
        if !context.options.wants(name) {
            continue;
        }
        let verdict = match boot_once(context, &options(words)?, files, promise) {
            Err(Failure::Guest { what, .. }) if what.contains(complaint) => Verdict::Pass,
            Err(failure) => Verdict::Fail(failure.to_string()),
            Ok(_) => Verdict::Fail("not found".to_owned()),
        };
        stage.record(name, &verdict);
    }
    Ok(())
}

/// The options of a row.
pub fn options(words: &str) -> Result<BootOptions> {
    let line = format!("riscv64 {TIMEOUT} {words}");
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let options = BootOptions::parse(&words)?;
    Ok(BootOptions {
        timeout: patient(options.timeout),
        ..options
    })
}

/// Boots once under the emulator under test.
pub fn boot_once(
    context: &Context,
    options: &BootOptions,
    files: &Files,
    promise: Promise,
) -> std::result::Result<boot::Figures, Failure> {
    let emulator = machine_emulator(context);
    boot::run(&emulator, options, context.paths, files, promise)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_is_a_valid_command_line() {
        for (name, words) in super::BOOTS {
            assert!(super::options(words).is_ok(), "{name}");
        }
    }
}
