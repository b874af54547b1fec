//! Debian's own programs, unmodified: the same output as on the native architecture.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Context, existing, scratch};
use crate::cases::{self, Case};
use crate::emulator::Emulator;
use crate::error::{AtPath, Result};
use crate::inputs;
use crate::pool;
use crate::process::{self, Outcome};
use crate::report::{Stage, Tally, Verdict};
use crate::sandbox::Sandbox;

/// The table, from the root of the repository.
pub const TABLE: &str = "tests/cases/debian.cases";

/// The native run needs far less than the emulated one; this only ends hangs.
const NATIVE_LIMIT: Duration = Duration::from_secs(120);

/// Both spellings of the architecture, guest and native, and what they become.
const ARCH_NAMES: &[(&str, &str)] = &[
    ("riscv64-linux-gnu", "ARCH-linux-gnu"),
    ("x86_64-linux-gnu", "ARCH-linux-gnu"),
    ("riscv64", "ARCH"),
    ("x86_64", "ARCH"),
    ("amd64", "ARCH"),
    ("x64", "ARCH"),
];

/// Runs every case of the table in both trees.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("debian");
    let cases = table(context)?;
    let verdicts = run_all(context, &cases, &context.emulator)?;
    for (case, verdict) in cases.iter().zip(verdicts) {
        stage.record(&case.name, &verdict?);
    }
    Ok(stage.end())
}

/// The wanted cases.
pub fn table(context: &Context) -> Result<Vec<Case>> {
    let mut cases = cases::read(&context.paths.workspace.join(TABLE))?;
    cases.retain(|case| context.options.wants(&case.name));
    Ok(cases)
}

/// Runs `cases` under `emulator` and natively.
pub fn run_all(
    context: &Context,
    cases: &[Case],
    emulator: &Emulator,
) -> Result<Vec<Result<Verdict>>> {
    let guest = Sandbox::emulated(&existing(context.paths.root(inputs::GUEST))?, emulator)?;
    let native = Sandbox::native(&existing(context.paths.root(inputs::NATIVE))?);
    Ok(pool::map(cases, |case| {
        compare(context, case, &guest, &native)
    }))
}

/// What a run of a case shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    status: i32,
    stdout: String,
    files: Vec<(String, Option<Vec<u8>>)>,
}

fn compare(context: &Context, case: &Case, guest: &Sandbox, native: &Sandbox) -> Result<Verdict> {
    let limit = Duration::from_secs(case.timeout);
    let (expected, _) = perform(context, case, "native", native, NATIVE_LIMIT)?;
    let (found, outcome) = perform(context, case, "guest", guest, limit)?;
    if outcome.timed_out {
        let seconds = process::patient(limit).as_secs();
        return Ok(Verdict::Fail(format!("timed out after {seconds} s")));
    }
    Ok(Verdict::expect(expected == found, || {
        let mut why = difference(&expected, &found);
        why.push_str("\nguest's stderr:\n");
        why.push_str(&outcome.stderr_tail(8));
        why
    }))
}

fn perform(
    context: &Context,
    case: &Case,
    side: &str,
    sandbox: &Sandbox,
    limit: Duration,
) -> Result<(Shown, Outcome)> {
    let folder = scratch(context.paths, &format!("debian/{}.{side}", case.name))?;
    for (name, content) in &case.files {
        let path = folder.join(name);
        fs::write(&path, content).at(&path)?;
    }
    let stdin = case.files.iter().find(|(name, _)| *name == case.stdin);
    let stdin = stdin
        .map(|(_, content)| content.as_bytes())
        .unwrap_or_default();
    let mut words = case.run.iter();
    let program = words
        .next()
        .map(|name| format!("/usr/bin/{name}"))
        .unwrap_or_default();
    let mut command = sandbox.command(&folder, &program);
    let outcome = process::run(command.args(words), stdin, limit)?;
    let shown = observe(case, &folder, &outcome);
    inputs::remove(&folder)?;
    Ok((shown, outcome))
}

fn observe(case: &Case, folder: &Path, outcome: &Outcome) -> Shown {
    let mut stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
    if case.normalise_arch {
        for (name, neutral) in ARCH_NAMES {
            stdout = stdout.replace(name, neutral);
        }
    }
    let content = |name: &String| (name.clone(), fs::read(folder.join(name)).ok());
    let files = case.check.iter().map(content).collect();
    Shown {
        status: outcome.shell_status(),
        stdout,
        files,
    }
}

/// The first difference between two runs, in words.
fn difference(expected: &Shown, found: &Shown) -> String {
    if expected.status != found.status {
        return format!("status {} natively, {} here", expected.status, found.status);
    }
    if let Some((file, _)) = expected
        .files
        .iter()
        .find(|file| !found.files.contains(file))
    {
        return format!("the file `{}` differs", file);
    }
    let (mut native, mut guest) = (expected.stdout.lines(), found.stdout.lines());
    let mut line = 1;
    loop {
        let (left, right) = (native.next(), guest.next());
        if left != right || left.is_none() {
            let shown = |text: Option<&str>| text.unwrap_or("(end)").to_owned();
            return format!(
                "line {line}: `{}` natively, `{}` here",
                shown(left),
                shown(right)
            );
        }
        line += 1;
    }
}
