//! GCC's C torture execution tests: all that pass under QEMU pass here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harness::{self, Compiler};
use super::{Context, existing, scratch};
use crate::emulator::Emulator;
use crate::error::{AtPath, Result};
use crate::pool;
use crate::report::{Stage, Tally, Verdict};

/// Per test; the slowest needs about a second under QEMU.
const LIMIT: Duration = Duration::from_secs(60);

/// Fewer built programs than this mean that the preparation is broken, not the tests.
const AT_LEAST: usize = 1600;

/// One compiled test.
#[derive(Debug)]
pub struct Program {
    /// `name` or `ieee/name`.
    pub name: String,
    /// The static riscv64 program.
    pub path: PathBuf,
}

/// How a test ended.
enum Ending {
    Judged(Verdict),
    /// It fails under QEMU as well, so nothing is expected of it.
    FailsInReference,
}

/// Builds and runs all tests.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("torture");
    let programs = build(context)?;
    let folder = scratch(context.paths, "torture")?;
    let endings = pool::map(&programs, |program| judge(context, program, &folder));
    let mut beyond = Vec::new();
    for (program, ending) in programs.iter().zip(endings) {
        match ending? {
            Ending::Judged(verdict) => stage.record(&program.name, &verdict),
            Ending::FailsInReference => beyond.push(program.name.as_str()),
        }
    }
    if !beyond.is_empty() {
        stage.note(&format!(
            "{} fail under QEMU too: {}",
            beyond.len(),
            beyond.join(" ")
        ));
    }
    if context.options.filter.is_empty() {
        let count = programs.len();
        let enough = Verdict::expect(count >= AT_LEAST, || format!("only {count} tests built"));
        stage.record("number of tests", &enough);
    }
    Ok(stage.end())
}

/// Compiles all wanted tests; those that do not compile for riscv64 are left out.
pub fn build(context: &Context) -> Result<Vec<Program>> {
    let folder = existing(context.paths.cache.join("gcc-torture"))?;
    let compiler = Compiler::new(context.paths)?;
    let mut sources = Vec::new();
    for (prefix, folder) in [("", folder.clone()), ("ieee/", folder.join("ieee"))] {
        for source in harness::c_sources(&folder)? {
            let name = format!("{prefix}{}", harness::stem(&source));
            if context.options.wants(&name) {
                sources.push((name, source));
            }
        }
    }
    let built = pool::map(&sources, |(name, source)| {
        let path = compiler.build(&[source], &flags(name, source)?)?;
        Ok(path.map(|path| Program {
            name: name.clone(),
            path,
        }))
    });
    let all: Result<Vec<Option<Program>>> = built.into_iter().collect();
    let programs: Vec<Program> = all?.into_iter().flatten().collect();
    let (count, out_of) = (programs.len(), sources.len());
    println!("   {count} of {out_of} sources compile for riscv64");
    Ok(programs)
}

fn judge(context: &Context, program: &Program, folder: &Path) -> Result<Ending> {
    let outcome = harness::run(&context.emulator, &[], &program.path, folder, LIMIT)?;
    if harness::shows_success(&outcome) {
        return Ok(Ending::Judged(Verdict::Pass));
    }
    let reference = harness::run(&context.reference, &[], &program.path, folder, LIMIT)?;
    if harness::shows_success(&reference) {
        return Ok(Ending::Judged(Verdict::Fail(harness::describe(&outcome))));
    }
    Ok(Ending::FailsInReference)
}

/// Whether the test passes under `emulator`, whatever is expected.
pub fn passes(emulator: &Emulator, program: &Program, folder: &Path) -> Result<bool> {
    let outcome = harness::run(emulator, &[], &program.path, folder, LIMIT)?;
    Ok(harness::shows_success(&outcome))
}

/// `-O2`, what the suite's driver adds, and what the test's own directives ask for.
fn flags(name: &str, source: &Path) -> Result<Vec<String>> {
    let mut flags = vec!["-O2".to_owned(), "-w".to_owned()];
    if name.starts_with("ieee/") {
        flags.push("-fno-inline".to_owned());
    }
    let text = fs::read(source).at(source)?;
    flags.extend(directive_flags(&String::from_utf8_lossy(&text)));
    Ok(flags)
}

/// The options of `dg-options` and `dg-additional-options` that hold for every target.
fn directive_flags(text: &str) -> Vec<String> {
    let mut flags = Vec::new();
    for line in text.lines() {
        let directive = ["dg-options", "dg-additional-options"];
        let Some(rest) = directive
            .iter()
            .find_map(|name| Some(line.split_once(name)?.1))
        else {
            continue;
        };
        if rest.contains("target") {
            continue;
        }
        let quoted = rest.split('"').nth(1).unwrap_or_default();
        flags.extend(quoted.split_whitespace().map(str::to_owned));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::directive_flags;

    #[test]
    fn directives_for_every_target_count() {
        let text = "/* { dg-options \"-fwrapv -O1\" } */\n\
                    /* { dg-additional-options \"-mno-mmx\" { target i?86-*-* } } */\n\
                    /* { dg-options { \"-fno-inline\" } } */\n";
        assert_eq!(directive_flags(text), ["-fwrapv", "-O1", "-fno-inline"]);
    }
}
