//! Our own guest programs in `tests/guest-c`: what they print is known.
//!
//! A source may begin with `// flags: …` for the compiler and `// status: N` for the exit status
//! as a shell shows it. What the program must print stands beside it in `NAME.expected`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harness::{self, Compiler};
use super::{Context, existing, scratch};
use crate::emulator::Emulator;
use crate::error::{AtPath, Result};
use crate::pool;
use crate::process::Outcome;
use crate::report::{Stage, Tally, Verdict};

/// Per test.
const LIMIT: Duration = Duration::from_secs(60);

/// One compiled test and what it must show.
#[derive(Debug)]
pub struct Program {
    /// The source's name.
    pub name: String,
    path: PathBuf,
    status: i32,
    output: String,
}

/// Builds and runs all programs.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("guest-c");
    let folder = scratch(context.paths, "guest-c")?;
    let programs = build(context)?;
    let verdicts = pool::map(&programs, |program| {
        judge(&context.emulator, program, &folder)
    });
    for (program, verdict) in programs.iter().zip(verdicts) {
        stage.record(&program.name, &verdict?);
    }
    Ok(stage.end())
}

/// Compiles all wanted programs; one that does not compile is an error of ours.
pub fn build(context: &Context) -> Result<Vec<Program>> {
    let compiler = Compiler::new(context.paths)?;
    let mut sources = harness::c_sources(&context.paths.workspace.join("tests/guest-c"))?;
    sources.retain(|source| context.options.wants(&harness::stem(source)));
    let built = pool::map(&sources, |source| compile(&compiler, source));
    built.into_iter().collect()
}

fn compile(compiler: &Compiler, source: &Path) -> Result<Program> {
    let text = fs::read_to_string(source).at(source)?;
    let header = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let mut flags: Vec<String> = vec!["-O2".to_owned(), "-Wall".to_owned()];
    flags.extend(
        header("// flags:")
            .unwrap_or("")
            .split_whitespace()
            .map(str::to_owned),
    );
    let status = header("// status:")
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0);
    let path = compiler.build(&[source], &flags)?;
    let expected = existing(source.with_extension("expected"))?;
    let output = fs::read_to_string(&expected).at(&expected)?;
    let name = harness::stem(source);
    // A source that does not compile leaves no program to find.
    let path = existing(path.unwrap_or_else(|| source.with_extension("compiled")))?;
    Ok(Program {
        name,
        path,
        status,
        output,
    })
}

/// Runs one program and compares what it shows.
pub fn judge(emulator: &Emulator, program: &Program, folder: &Path) -> Result<Verdict> {
    let outcome = harness::run(emulator, &[], &program.path, folder, LIMIT)?;
    let shown = harness::own_output(&outcome);
    let finished = program.status != 0 || harness::shows_success(&outcome);
    let right = outcome.shell_status() == program.status && shown == program.output && finished;
    Ok(Verdict::expect(right, || {
        explain(program, &outcome, &shown)
    }))
}

fn explain(program: &Program, outcome: &Outcome, shown: &str) -> String {
    let (found, wanted) = (outcome.shell_status(), program.status);
    if found != wanted {
        return format!(
            "status {found}, not {wanted}\n{}",
            harness::describe(outcome)
        );
    }
    let mut wrong = program
        .output
        .lines()
        .zip(shown.lines())
        .filter(|(a, b)| a != b);
    match wrong.next() {
        Some((wanted, found)) => format!("`{found}`, not `{wanted}`"),
        None => format!(
            "{} lines, not {}",
            shown.lines().count(),
            program.output.lines().count()
        ),
    }
}
