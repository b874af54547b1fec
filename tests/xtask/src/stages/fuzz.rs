//! Fuzzing: each target for a minute under libFuzzer, and one whose defect must be found.
//!
//! libFuzzer learns from counters which inputs reach new code. The compiler puts them in by its
//! own pass, which a stable toolchain takes as code generation options; so the targets are built
//! apart from all else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Context, cargo, scratch};
use crate::apt;
use crate::error::{AtPath, Result};
use crate::pool;
use crate::process::{self, Outcome};
use crate::report::{Stage, Tally, Verdict};

/// Seconds for each target, unless `ISOMORPH_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 60;

/// Seconds for the planted defect, which takes one or two.
const CONTROL_SECONDS: u64 = 60;

/// Seconds to make a failing input smaller.
const SMALLER_SECONDS: u64 = 20;

/// An input that takes so many seconds hangs.
const HANG: u64 = 10;

/// More memory than any target needs, in MiB.
const MEMORY: u64 = 1024;

/// What the compiler adds to each branch and each comparison.
const COVERAGE: &str = "-C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares";

/// The targets, as tests/fuzz names them.
const TARGETS: &[&str] = &[
    "virtio-mmio",
    "virtio-pci",
    "pci",
    "fw-cfg",
    "flash",
    "registers",
    "load",
    "net",
    "elf",
    "disk",
];

/// The target with a defect.
const PLANTED: &str = "planted";

/// A built fuzzer.
struct Fuzzer {
    program: PathBuf,
    /// Where inputs that fail are kept, by target.
    failures: PathBuf,
    /// Where the targets' own files go.
    temporary: PathBuf,
}

/// Runs the control and all targets.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("fuzz");
    apt::ensure_host()?;
    let fuzzer = Fuzzer::build(context)?;
    let seconds = std::env::var("ISOMORPH_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(SECONDS);
    if context.options.wants(PLANTED) {
        let corpus = scratch(context.paths, "fuzz-planted")?;
        let (outcome, failure) = fuzzer.fuzz(context, PLANTED, &corpus, CONTROL_SECONDS)?;
        stage.note(&summary(PLANTED, &outcome));
        stage.record(PLANTED, &control(&outcome, failure.as_deref()));
    }
    let wanted = TARGETS.iter().filter(|name| context.options.wants(name));
    let wanted: Vec<&str> = wanted.copied().collect();
    let results = pool::map(&wanted, |name| {
        let corpus = scratch(context.paths, &format!("fuzz-{name}"))?;
        fuzzer.fuzz(context, name, &corpus, seconds)
    });
    for (name, result) in wanted.iter().zip(results) {
        let (outcome, failure) = result?;
        stage.note(&summary(name, &outcome));
        stage.record(name, &judge(&outcome, failure.as_deref()));
    }
    Ok(stage.end())
}

impl Fuzzer {
    fn build(context: &Context) -> Result<Self> {
        let target = context.paths.target.join("fuzz");
        let build = [
            "build",
            "--package",
            "isomorph-fuzz",
            "--profile",
            "fuzz",
            "--features",
            "libfuzzer",
            "--bin",
            "fuzz",
        ];
        let mut command = cargo(context.paths);
        command.args(build).arg("--target-dir").arg(&target);
        process::step(command.env("RUSTFLAGS", COVERAGE))?;
        let failures = target.join("failures");
        fs::create_dir_all(&failures).at(&failures)?;
        let shared = Path::new("/dev/shm");
        Ok(Self {
            program: target.join("x86_64-unknown-linux-gnu/fuzz/fuzz"),
            failures: failures.canonicalize().at(&failures)?,
            temporary: match shared.is_dir() {
                true => shared.to_owned(),
                false => std::env::temp_dir(),
            },
        })
    }

    fn command(&self, name: &str, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("ISOMORPH_FUZZ_TARGET", name)
            .env("TMPDIR", &self.temporary);
        command
    }

    /// Fuzzes for so many seconds; how that ended, and the smallest input that failed.
    fn fuzz(
        &self,
        context: &Context,
        name: &str,
        corpus: &Path,
        seconds: u64,
    ) -> Result<(Outcome, Option<PathBuf>)> {
        let failures = self.failures.join(name);
        crate::inputs::remove(&failures)?;
        fs::create_dir_all(&failures).at(&failures)?;
        let mut arguments = limits(seconds);
        arguments.push(format!("-artifact_prefix={}/", failures.display()));
        arguments.push(corpus.display().to_string());
        let known = context.paths.workspace.join("tests/fuzz/corpus").join(name);
        if known.is_dir() {
            arguments.push(known.display().to_string());
        }
        let limit = Duration::from_secs(seconds + 60);
        let pid = std::process::id();
        let current = self.temporary.join(format!("isomorph-fuzz-{pid}-{name}"));
        let mut command = self.command(name, &arguments);
        command.env("ISOMORPH_FUZZ_SEEDS", corpus);
        command.env("ISOMORPH_FUZZ_CURRENT", &current);
        let outcome = process::run(&mut command, &[], limit)?;
        let failure = match outcome.success() {
            true => None,
            false => self.smallest(name, &failures, &current)?,
        };
        crate::inputs::remove(&current)?;
        Ok((outcome, failure))
    }

    /// Makes an input that failed smaller; its path. `current` was at hand at the end.
    fn smallest(&self, name: &str, failures: &Path, current: &Path) -> Result<Option<PathBuf>> {
        let mut entries = fs::read_dir(failures).at(failures)?.flatten();
        let found = match entries.next() {
            Some(entry) => entry.path(),
            // The fuzzer could not keep it: the stack was full.
            None if current.exists() => {
                let kept = failures.join("last");
                fs::copy(current, &kept).at(&kept)?;
                kept
            }
            None => return Ok(None),
        };
        let smaller = failures.join("smallest");
        let mut arguments = limits(SMALLER_SECONDS);
        arguments.push("-minimize_crash=1".to_owned());
        arguments.push(format!("-exact_artifact_path={}", smaller.display()));
        arguments.push(found.display().to_string());
        let limit = Duration::from_secs(SMALLER_SECONDS + 60);
        process::run(&mut self.command(name, &arguments), &[], limit)?;
        Ok(Some(if smaller.exists() { smaller } else { found }))
    }
}

fn limits(seconds: u64) -> Vec<String> {
    vec![
        format!("-max_total_time={seconds}"),
        format!("-timeout={HANG}"),
        format!("-rss_limit_mb={MEMORY}"),
        "-print_final_stats=1".to_owned(),
        "-max_len=8192".to_owned(),
    ]
}

fn judge(outcome: &Outcome, failure: Option<&Path>) -> Verdict {
    Verdict::expect(outcome.success(), || {
        let shown = failure.map_or_else(String::new, show);
        let said = outcome.stderr_tail(40);
        format!("{}\n{shown}{said}", outcome.describe())
    })
}

/// The control must fail, and its input must have been kept.
fn control(outcome: &Outcome, failure: Option<&Path>) -> Verdict {
    let text = String::from_utf8_lossy(&outcome.stderr);
    let found = !outcome.success() && text.contains("attempt to add with overflow");
    Verdict::expect(found && failure.is_some(), || {
        let said = outcome.stderr_tail(20);
        format!(
            "the planted defect was not found: {}\n{said}",
            outcome.describe()
        )
    })
}

/// An input: where it is and its first bytes.
fn show(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = hex[..hex.len().min(256)].join(" ");
    format!("{} ({} bytes): {shown}\n", path.display(), bytes.len())
}

/// The last line of progress: runs, coverage, corpus.
fn summary(name: &str, outcome: &Outcome) -> String {
    let text = String::from_utf8_lossy(&outcome.stderr);
    let mut lines = text.lines().rev();
    let last = lines.find(|line| line.starts_with('#') && line.contains(" cov: "));
    format!("{name}: {}", last.unwrap_or("no progress"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_here() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/src/lib.rs");
        let text = fs::read_to_string(&root).expect("the table of targets");
        let table = text.split("pub const TARGETS").nth(1).unwrap_or_default();
        let table = table.split("];").next().unwrap_or_default();
        let parts = table.split("target(\"").skip(1);
        let names: Vec<&str> = parts.filter_map(|part| part.split('"').next()).collect();
        assert_eq!(names, TARGETS);
    }
}
