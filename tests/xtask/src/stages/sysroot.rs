//! Programs of the guest's tree run from outside it (`-L`), by QEMU's name and options, with
//! children of both architectures.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::elf::{EM_X86_64, executable};
use super::{Context, existing, scratch};
use crate::emulator::Emulator;
use crate::error::Result;
use crate::inputs;
use crate::process;
use crate::report::{Stage, Tally, Verdict};

/// Per run.
const LIMIT: Duration = Duration::from_secs(60);

/// x86-64: exit(42).
const EXIT_42: &[u8] = &[0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05];

/// One run: name, emulator options, arguments of the guest's bash, what it must print.
/// `NATIVE` stands for a program of this machine.
const RUNS: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "child",
        &[],
        &["-c", "uname -m; echo $(uname -m)"],
        "riscv64\nriscv64\n",
    ),
    ("exec", &[], &["-c", "exec uname -m"], "riscv64\n"),
    (
        "script",
        &[],
        &["-c", "echo 'uname -m' > s; chmod +x s; ./s"],
        "riscv64\n",
    ),
    (
        "native child",
        &[],
        &["-c", "NATIVE; echo $?; uname -m"],
        "42\nriscv64\n",
    ),
    (
        "native in a pipe",
        &[],
        &["-c", "NATIVE | cat; echo ${PIPESTATUS[0]}"],
        "42\n",
    ),
    (
        "set variable",
        &["-E", "ADDED=5"],
        &["-c", "echo $ADDED; printenv ADDED"],
        "5\n5\n",
    ),
    (
        "unset variable",
        &["-U", "LC_ALL"],
        &["-c", "echo ${LC_ALL-none}"],
        "none\n",
    ),
    ("own name", &["-0", "other"], &["-c", "echo $0"], "other\n"),
    (
        "killed by a signal",
        &[],
        &["-c", "sh -c 'kill -BUS $$'; echo $?"],
        "135\n",
    ),
    (
        "dynamic python",
        &[],
        &["-c", "python3 -c 'print(2 ** 64)'"],
        "18446744073709551616\n",
    ),
];

/// Runs all of them, and one with the environment in place of `-L`.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("sysroot");
    let root = existing(context.paths.root(inputs::GUEST))?;
    let folder = scratch(context.paths, "sysroot")?;
    let native = folder.join("native");
    inputs::write_program(&native, &executable(EM_X86_64, EXIT_42, 0))?;
    for (name, options, arguments, wanted) in RUNS {
        if !context.options.wants(name) {
            continue;
        }
        let sysroot = root.to_string_lossy();
        let mut all = vec!["-L", &sysroot];
        all.extend(*options);
        let mut command = bash(&context.emulator, &all, &root);
        for argument in *arguments {
            command.arg(argument.replace("NATIVE", "./native"));
        }
        stage.record(name, &judge(&mut command, &folder, wanted)?);
    }
    let mut command = bash(&context.emulator, &["-cpu", "max"], &root);
    command
        .env("QEMU_LD_PREFIX", &root)
        .args(["-c", "uname -m"]);
    stage.record(
        "sysroot by the environment",
        &judge(&mut command, &folder, "riscv64\n")?,
    );
    Ok(stage.end())
}

fn bash(emulator: &Emulator, options: &[&str], root: &Path) -> Command {
    emulator.command_with(options, &root.join("usr/bin/bash"))
}

fn judge(command: &mut Command, folder: &Path, wanted: &str) -> Result<Verdict> {
    command.env("LC_ALL", "C.UTF-8").current_dir(folder);
    let outcome = process::run(command, &[], LIMIT)?;
    let right = outcome.success() && outcome.stdout == wanted.as_bytes();
    Ok(Verdict::expect(right, || {
        super::harness::describe(&outcome)
    }))
}
