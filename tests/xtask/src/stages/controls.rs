//! Negative controls: under an emulator that does nothing, no test may pass.

use std::path::{Path, PathBuf};

use super::elf::{EM_X86_64, executable};
use super::{Context, debian, guest_c, qemu, scratch, torture};
use crate::emulator::Emulator;
use crate::error::Result;
use crate::inputs;
use crate::pool;
use crate::report::{Stage, Tally, Verdict};

/// x86-64: exit(0).
const DO_NOTHING: &[u8] = &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];

/// Runs every table of tests under the idle emulator.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("controls");
    let folder = scratch(context.paths, "controls")?;
    for program in [
        PathBuf::from("/bin/true"),
        idle_program(&folder)?,
        PathBuf::from("/bin/cat"),
    ] {
        let idle = Emulator {
            program,
            arguments: Vec::new(),
            jit: None,
            binfmt: false,
        };
        let name = idle
            .program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut record = |table: &str, ran: usize, passed: Vec<String>| {
            let right = ran > 0 && passed.is_empty();
            let verdict = Verdict::expect(right, || format!("{ran} ran, passed: {passed:?}"));
            stage.record(&format!("{table} under {name}"), &verdict);
        };
        let programs = torture::build(context)?;
        let passing = pool::map(&programs, |program| {
            torture::passes(&idle, program, &folder)
        });
        record(
            "torture",
            programs.len(),
            passed(programs.iter().map(|p| &p.name), passing)?,
        );
        let (programs, _) = qemu::build(context)?;
        let passing = pool::map(&programs, |program| qemu::passes(&idle, program, &folder));
        record(
            "qemu",
            programs.len(),
            passed(programs.iter().map(|p| &p.name), passing)?,
        );
        let programs = guest_c::build(context)?;
        let passing = pool::map(&programs, |program| {
            guest_c::judge(&idle, program, &folder).map(|verdict| verdict == Verdict::Pass)
        });
        record(
            "guest-c",
            programs.len(),
            passed(programs.iter().map(|p| &p.name), passing)?,
        );
        let cases = debian::table(context)?;
        let passing = debian::run_all(context, &cases, &idle)?;
        let passing = passing
            .into_iter()
            .map(|verdict| verdict.map(|v| v == Verdict::Pass));
        record(
            "debian",
            cases.len(),
            passed(cases.iter().map(|c| &c.name), passing)?,
        );
    }
    Ok(stage.end())
}

/// A static program that works as an emulator even inside a root tree, and does nothing.
fn idle_program(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("idle");
    inputs::write_program(&path, &executable(EM_X86_64, DO_NOTHING, 0))?;
    Ok(path)
}

/// The names of the tests that passed.
fn passed<'a>(
    names: impl Iterator<Item = &'a String>,
    passing: impl IntoIterator<Item = Result<bool>>,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, passed) in names.zip(passing) {
        if passed? {
            found.push(name.clone());
        }
    }
    Ok(found)
}
