//! What cargo itself checks: formatting, lints, and every test of every crate.

use std::time::Duration;

use super::{Context, cargo};
use crate::emulator::JIT;
use crate::error::Result;
use crate::process::{self, Outcome};
use crate::report::{Stage, Tally, Verdict};

/// Longer than any of these takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// `cargo fmt --check`.
pub fn fmt(context: &Context) -> Result<Tally> {
    single(context, "fmt", &["fmt", "--all", "--check"])
}

/// `cargo clippy` without a warning.
pub fn clippy(context: &Context) -> Result<Tally> {
    let arguments = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--keep-going",
        "--",
        "-D",
        "warnings",
    ];
    single(context, "clippy", &arguments)
}

fn single(context: &Context, name: &'static str, arguments: &[&str]) -> Result<Tally> {
    let mut stage = Stage::begin(name);
    let outcome = process::run(cargo(context.paths).args(arguments), &[], LIMIT)?;
    stage.record("cargo", &verdict(&outcome));
    Ok(stage.end())
}

fn verdict(outcome: &Outcome) -> Verdict {
    Verdict::expect(outcome.success(), || {
        let mut output = outcome.stdout.clone();
        output.extend_from_slice(&outcome.stderr);
        format!("{}\n{}", outcome.describe(), process::tail(&output, 60))
    })
}

/// `cargo test --workspace`: unit tests, instruction rows, random programs, habits.
pub fn tests(context: &Context) -> Result<Tally> {
    tested(context, "cargo", "--workspace")
}

/// The tests of machines' processors alone.
pub fn machine(context: &Context) -> Result<Tally> {
    tested(context, "machine", "--package=isomorph-accel-tcg")
}

fn tested(context: &Context, name: &'static str, which: &str) -> Result<Tally> {
    let mut stage = Stage::begin(name);
    let mut command = cargo(context.paths);
    command.args(["test", which, "--no-fail-fast"]);
    command.env("ISOMORPH_TEST_CACHE", &context.paths.cache);
    command.env("ISOMORPH_QEMU", &context.reference.program);
    if let Some(setting) = &context.emulator.jit {
        command.env(JIT, setting);
    }
    let outcome = process::run(&mut command, &[], LIMIT)?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    let tally = count(&text);
    for failure in failures(&text) {
        stage.note(&failure);
    }
    stage.add(tally);
    if tally.failed == 0 {
        // Cargo also fails when something does not build; that is a failure of its own.
        stage.record("cargo test", &verdict(&outcome));
    }
    Ok(stage.end())
}

/// What each failed test printed: the sections that begin with `---- name stdout ----`.
fn failures(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            inside = true;
            found.push(String::new());
        } else if line == "failures:" || line.starts_with("stack backtrace:") {
            inside = false;
        }
        if let Some(section) = found.last_mut().filter(|_| inside && !line.is_empty()) {
            section.push_str(line);
            section.push('\n');
        }
    }
    found
}

/// Sums the lines `test result: ok. 5 passed; 0 failed; …`.
fn count(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "))
    {
        let number = |what: &str| {
            let words: Vec<&str> = line.split([' ', ';']).collect();
            let at = words.iter().position(|word| *word == what)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        tally.passed += number("passed").unwrap_or(0);
        tally.failed += number("failed").unwrap_or(0);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_show_what_they_printed() {
        let text = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhy\nstack backtrace:\n\
                    0: x\n\n---- b stdout ----\nwhy not\n\nfailures:\n    a\n    b\n";
        let shown = ["---- a stdout ----\nwhy\n", "---- b stdout ----\nwhy not\n"];
        assert_eq!(failures(text), shown);
    }

    #[test]
    fn sums_the_results_of_all_test_programs() {
        let text = "test a ... ok\ntest result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\n\
                    noise\ntest result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(
            count(text),
            Tally {
                passed: 12,
                failed: 2
            }
        );
    }
}
