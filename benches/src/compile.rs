//! Builds the workloads in C, natively and with Debian's cross compiler, and keeps the results.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::once;
use crate::workloads::ONCE_FUNCTIONS;

/// Debian's cross compiler, package `gcc-riscv64-linux-gnu`.
pub const CROSS_COMPILER: &str = "riscv64-linux-gnu-gcc";
const NATIVE_COMPILER: &str = "gcc";

/// `-ffp-contract=off`: with contraction the riscv64 program would fuse what x86-64 rounds twice,
/// and the outputs would differ.
const FLAGS: [&str; 4] = ["-O2", "-static", "-pthread", "-ffp-contract=off"];
/// `fused.c` means the host's instruction, not libm's emulation of it.
const NATIVE_FUSED: [&str; 1] = ["-mfma"];

/// The two builds of one program.
#[derive(Debug, Clone)]
pub struct Built {
    /// For this machine.
    pub native: PathBuf,
    /// For riscv64.
    pub riscv64: PathBuf,
}

/// Where sources are and programs go.
#[derive(Debug)]
pub struct Workshop {
    sources: PathBuf,
    built: PathBuf,
    headers: String,
}

impl Workshop {
    /// Opens the workshop of a repository.
    pub fn open(repository: &Path) -> Result<Self, Error> {
        let sources = repository.join("guests/bench");
        let built = repository.join("target/bench/built");
        fs::create_dir_all(&built).map_err(Error::file("create", &built))?;
        let mut headers = String::new();
        for name in [
            "bench.h",
            "bytecode.h",
            "linpack.h",
            "mandelbrot.h",
            "nbody.h",
        ] {
            headers.push_str(&read(&sources.join(name))?);
        }
        Ok(Self {
            sources,
            built,
            headers,
        })
    }

    /// Builds `guests/bench/<name>.c` twice, unless that was done before.
    pub fn program(&self, name: &str) -> Result<Built, Error> {
        let source = self.sources.join(name).with_extension("c");
        let text = read(&source)?;
        let fused: &[&str] = if name == "fused" { &NATIVE_FUSED } else { &[] };
        self.both(name, &source, &text, fused)
    }

    /// Generates and builds the program of `once.rs`.
    pub fn once(&self) -> Result<Built, Error> {
        let text = once::program(ONCE_FUNCTIONS);
        let source = self.built.join("once.c");
        fs::write(&source, &text).map_err(Error::file("write", &source))?;
        self.both("once", &source, &text, &[])
    }

    /// Preprocesses sources of ours into one file for a compiler to chew on.
    pub fn preprocessed(&self, names: &[&str], to: &Path) -> Result<(), Error> {
        let mut all = String::new();
        for (index, name) in names.iter().enumerate() {
            all.push_str(&format!("#define main main_{index}\n"));
            let source = self.sources.join(name).with_extension("c");
            all.push_str(&read(&source)?);
            all.push_str("\n#undef main\n");
        }
        let unit = self.built.join("unit.c");
        fs::write(&unit, all).map_err(Error::file("write", &unit))?;
        let mut command = Command::new(CROSS_COMPILER);
        command
            .args(["-E", "-P", "-O2", "-D__NO_INLINE__", "-I"])
            .arg(&self.sources);
        run(command.arg("-o").arg(to).arg(&unit))
    }

    fn both(&self, name: &str, source: &Path, text: &str, native: &[&str]) -> Result<Built, Error> {
        Ok(Built {
            native: self.build(NATIVE_COMPILER, name, source, text, native)?,
            riscv64: self.build(CROSS_COMPILER, name, source, text, &[])?,
        })
    }

    fn build(
        &self,
        compiler: &str,
        name: &str,
        source: &Path,
        text: &str,
        extra: &[&str],
    ) -> Result<PathBuf, Error> {
        let mut hasher = DefaultHasher::new();
        (compiler, FLAGS, extra, text, &self.headers).hash(&mut hasher);
        let target = self.built.join(format!("{name}-{:016x}", hasher.finish()));
        if !target.is_file() {
            let partial = target.with_extension("partial");
            let mut command = Command::new(compiler);
            command.args(FLAGS).args(extra).arg("-I").arg(&self.sources);
            run(command.arg("-o").arg(&partial).arg(source).arg("-lm"))?;
            fs::rename(&partial, &target).map_err(Error::file("rename", &partial))?;
        }
        Ok(target)
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file("read", path))
}

/// Runs a tool to its end; an unsuccessful one is an error with the end of its messages.
pub fn run(command: &mut Command) -> Result<(), Error> {
    output(command).map(|_| ())
}

/// Like [`run`], and returns what the tool wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Start {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<_> = stderr.lines().rev().take(5).collect();
    let stderr = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    Err(Error::Tool {
        program,
        status: output.status,
        stderr,
    })
}
