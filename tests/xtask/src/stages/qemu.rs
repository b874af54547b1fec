//! QEMU's own user-mode guest tests for riscv64 and all architectures: all that pass under QEMU.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harness::{self, Compiler};
use super::{Context, existing, scratch};
use crate::emulator::Emulator;
use crate::error::Result;
use crate::pool;
use crate::process::Outcome;
use crate::report::{Stage, Tally, Verdict};

/// Per test.
const LIMIT: Duration = Duration::from_secs(120);

/// The folders that hold tests for riscv64 user mode.
const FOLDERS: &[&str] = &["multiarch", "multiarch/linux", "riscv64"];

/// Needs Zk, which neither QEMU's default CPU nor isomorph's offers.
const LEFT_OUT: &[&str] = &["test-aes"];

/// One compiled test.
#[derive(Debug)]
pub struct Program {
    /// The source's name.
    pub name: String,
    /// The static riscv64 program.
    pub path: PathBuf,
    /// Emulator options that the test is made for.
    options: &'static [&'static str],
    /// It has no C library: its success shows in the trace of system calls.
    bare: bool,
}

/// Builds and runs all tests.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("qemu");
    let (programs, not_built) = build(context)?;
    let folder = scratch(context.paths, "qemu")?;
    let endings = pool::map(&programs, |program| judge(context, program, &folder));
    let mut beyond = Vec::new();
    for (program, verdict) in programs.iter().zip(endings) {
        match verdict? {
            Some(verdict) => stage.record(&program.name, &verdict),
            None => beyond.push(program.name.as_str()),
        }
    }
    if !beyond.is_empty() {
        stage.note(&format!("fail under QEMU too: {}", beyond.join(" ")));
    }
    if !not_built.is_empty() {
        stage.note(&format!(
            "do not compile for riscv64: {}",
            not_built.join(" ")
        ));
    }
    Ok(stage.end())
}

/// Compiles all wanted tests; also returns the names of those that do not compile.
pub fn build(context: &Context) -> Result<(Vec<Program>, Vec<String>)> {
    let tests = existing(context.paths.cache.join("qemu-tests"))?;
    let compiler = Compiler::new(context.paths)?;
    let mut sources = Vec::new();
    for folder in FOLDERS {
        sources.extend(harness::c_sources(&tests.join(folder))?);
    }
    sources.push(tests.join("riscv64/test-noc.S"));
    sources.retain(|source| {
        let name = harness::stem(source);
        context.options.wants(&name) && !LEFT_OUT.contains(&name.as_str())
    });
    let built = pool::map(&sources, |source| compile(&compiler, &tests, source));
    let (mut programs, mut not_built) = (Vec::new(), Vec::new());
    for (source, program) in sources.iter().zip(built) {
        match program? {
            Some(program) => programs.push(program),
            None => not_built.push(harness::stem(source)),
        }
    }
    Ok((programs, not_built))
}

fn compile(compiler: &Compiler, tests: &Path, source: &Path) -> Result<Option<Program>> {
    let name = harness::stem(source);
    let include = format!("-I{}", tests.join("multiarch").display());
    let mut flags: Vec<String> = ["-O0", "-fno-strict-aliasing", "-w", "-pthread"]
        .map(str::to_owned)
        .into();
    flags.push(include);
    let helpers = tests.join("multiarch/libs/float_helpers.c");
    if name == "test-noc" {
        flags = vec!["-nostdlib".to_owned()];
        let path = compiler.build_bare(&[source], &flags)?;
        let options = &["-cpu", "rv64,c=false", "-strace"];
        return Ok(path.map(|path| Program {
            name,
            path,
            options,
            bare: true,
        }));
    }
    let float = name.starts_with("float_");
    let sources: &[&Path] = if float {
        &[source, &helpers]
    } else {
        &[source]
    };
    let path = compiler.build(sources, &flags)?;
    Ok(path.map(|path| Program {
        name,
        path,
        options: &[],
        bare: false,
    }))
}

fn attempt(emulator: &Emulator, program: &Program, folder: &Path) -> Result<(Outcome, bool)> {
    let outcome = harness::run(emulator, program.options, &program.path, folder, LIMIT)?;
    let passed = if program.bare {
        outcome.success() && outcome.stderr.windows(5).any(|window| window == b"exit(")
    } else {
        harness::shows_success(&outcome)
    };
    Ok((outcome, passed))
}

/// [`None`] if the test fails under QEMU too.
fn judge(context: &Context, program: &Program, folder: &Path) -> Result<Option<Verdict>> {
    let (expected, expected_pass) = attempt(&context.reference, program, folder)?;
    let (found, passed) = attempt(&context.emulator, program, folder)?;
    if !expected_pass && !passed {
        return Ok(None);
    }
    if !passed {
        return Ok(Some(Verdict::Fail(harness::describe(&found))));
    }
    // These print values for the driver to compare; the others check themselves.
    let prints = program.name.starts_with("float_");
    let equal = !prints || harness::own_output(&expected) == harness::own_output(&found);
    Ok(Some(Verdict::expect(equal, || {
        "the output differs from QEMU's".to_owned()
    })))
}

/// Whether the test passes under `emulator`, whatever is expected.
pub fn passes(emulator: &Emulator, program: &Program, folder: &Path) -> Result<bool> {
    attempt(emulator, program, folder).map(|(_, passed)| passed)
}
