//! `perf` names guest functions, by the map and by the dump that isomorph writes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Context, scratch};
use crate::apt;
use crate::error::Result;
use crate::process::{self, Outcome, step};
use crate::report::{Stage, Tally, Verdict};

/// Ends hangs only.
const LIMIT: Duration = Duration::from_secs(120);
/// Debian's package with `perf`.
const PACKAGE: &str = "linux-perf";
/// The guest, which has its symbols, and its hottest function but the library's.
const SOURCE: &str = "guests/bench/crc32.c";
const FUNCTION: &str = "crc_";
/// Its size, so that it runs for about a second.
const SIZE: &str = "400";

/// Records the guest with each file, and looks for its functions in the report.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("perf");
    apt::ensure(&[PACKAGE])?;
    let folder = scratch(context.paths, "perf")?;
    let guest = folder.join("guest");
    let source = context.paths.workspace.join(SOURCE);
    let mut compile = Command::new("riscv64-linux-gnu-gcc");
    step(
        compile
            .args(["-O2", "-static", "-o"])
            .arg(&guest)
            .arg(source),
    )?;
    let isomorph = context.paths.isomorph();
    let record = |option: &str, output: &str| -> Result<Outcome> {
        let mut command = perf(
            &folder,
            &["record", "-k", "mono", "-e", "cpu-clock", "-o", output],
        );
        command
            .arg(&isomorph)
            .args(["run", option])
            .arg(&guest)
            .arg(SIZE);
        process::run(&mut command, &[], LIMIT)
    };
    let map = record("--perfmap", "map.data")?;
    stage.record("map", &judge(&map, &folder, "map.data")?);
    let dump = record("--jitdump", "raw.data")?;
    step(&mut perf(
        &folder,
        &["inject", "--jit", "-i", "raw.data", "-o", "dump.data"],
    ))?;
    stage.record("dump", &judge(&dump, &folder, "dump.data")?);
    let nothing = record("--seed=1", "none.data")?;
    let nothing = judge(&nothing, &folder, "none.data")?;
    let noticed = Verdict::expect(nothing != Verdict::Pass, || {
        "it has names all the same".into()
    });
    stage.record("without either there are no names", &noticed);
    Ok(stage.end())
}

fn perf(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("perf");
    command.args(arguments).current_dir(folder);
    command
}

/// Passes if the report on `data` names the guest's function and the tier of its code.
fn judge(recorded: &Outcome, folder: &Path, data: &str) -> Result<Verdict> {
    if !recorded.success() {
        let (how, errors) = (recorded.describe(), recorded.stderr_tail(5));
        return Ok(Verdict::Fail(format!("{how}\n{errors}")));
    }
    let mut report = perf(folder, &["report", "--stdio", "-i", data]);
    let report = process::run(&mut report, &[], LIMIT)?;
    let text = String::from_utf8_lossy(&report.stdout).into_owned();
    let named = |line: &str| line.contains(FUNCTION) && line.contains("@tier");
    let shown = || process::tail(&report.stdout, 40);
    Ok(Verdict::expect(text.lines().any(named), shown))
}
