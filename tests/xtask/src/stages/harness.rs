//! Guest tests in C: cross-compile once, run under an emulator, judge by a visible success.
//!
//! A test passes only if its own code ran: [`MARKER`] is printed by the guest at exit, so an
//! emulator that does nothing passes none.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::emulator::Emulator;
use crate::error::{AtPath, Result};
use crate::inputs;
use crate::paths::Paths;
use crate::process::{self, Outcome, step};

/// What a guest prints when it exits with status 0.
const MARKER: &[u8] = b"guest-test: exit 00\n";

/// The guest's side of the marker.
const MARKER_SOURCE: &str = include_str!("marker.c");

/// Ends hangs only.
const COMPILE_LIMIT: Duration = Duration::from_secs(120);

/// Compiles guest tests into a cache that is keyed by everything that goes into a program.
#[derive(Debug)]
pub struct Compiler {
    cache: PathBuf,
    marker: PathBuf,
    version: Vec<u8>,
}

impl Compiler {
    /// The machine's cross compiler.
    pub fn new(paths: &Paths) -> Result<Self> {
        let cache = paths.folder("build")?;
        let version = step(cross_compiler().arg("--version"))?;
        let source = cache.join("marker.c");
        fs::write(&source, MARKER_SOURCE).at(&source)?;
        let marker = cache.join("marker.o");
        step(
            cross_compiler()
                .args(["-O2", "-c", "-o"])
                .arg(&marker)
                .arg(&source),
        )?;
        Ok(Self {
            cache,
            marker,
            version,
        })
    }

    /// Builds a static program that shows its success; [`None`] if it does not compile.
    pub fn build(&self, sources: &[&Path], flags: &[String]) -> Result<Option<PathBuf>> {
        self.build_with(sources, flags, true)
    }

    /// Builds a program without any library; the caller must see its success by other means.
    pub fn build_bare(&self, sources: &[&Path], flags: &[String]) -> Result<Option<PathBuf>> {
        self.build_with(sources, flags, false)
    }

    fn build_with(
        &self,
        sources: &[&Path],
        flags: &[String],
        marker: bool,
    ) -> Result<Option<PathBuf>> {
        let program = self.place(sources, flags)?;
        if program.exists() {
            return Ok(Some(program));
        }
        let part = program.with_extension("part");
        let mut command = cross_compiler();
        command
            .args(["-static", "-s"])
            .args(flags)
            .arg("-o")
            .arg(&part)
            .args(sources);
        if marker {
            command.arg(&self.marker).args(["-lm", "-lrt", "-lpthread"]);
        }
        if !process::run(&mut command, &[], COMPILE_LIMIT)?.success() {
            return Ok(None);
        }
        fs::rename(&part, &program).at(&part)?;
        Ok(Some(program))
    }

    /// The program's path in the cache: a hash of compiler, flags, marker and source texts.
    fn place(&self, sources: &[&Path], flags: &[String]) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        (&self.version, flags, MARKER_SOURCE).hash(&mut hasher);
        for source in sources {
            fs::read(source).at(*source)?.hash(&mut hasher);
        }
        let stem = sources
            .first()
            .and_then(|source| source.file_stem())
            .unwrap_or_default();
        Ok(self.cache.join(format!(
            "{}-{:016x}",
            stem.to_string_lossy(),
            hasher.finish()
        )))
    }
}

fn cross_compiler() -> Command {
    let mut command = Command::new("riscv64-linux-gnu-gcc");
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a guest test in its folder's scratch place.
pub fn run(
    emulator: &Emulator,
    options: &[&str],
    program: &Path,
    folder: &Path,
    limit: Duration,
) -> Result<Outcome> {
    process::run(
        emulator.command_with(options, program).current_dir(folder),
        &[],
        limit,
    )
}

/// Whether the guest ended with status 0 and said so itself.
pub fn shows_success(outcome: &Outcome) -> bool {
    outcome.success()
        && outcome
            .stdout
            .windows(MARKER.len())
            .any(|window| window == MARKER)
}

/// What the guest itself printed: the output without the markers, which come where a process
/// exits and so often before its buffered output.
pub fn own_output(outcome: &Outcome) -> String {
    let text = String::from_utf8_lossy(&outcome.stdout);
    let mut parts = text.split("\nguest-test: exit ");
    let mut own = parts.next().unwrap_or_default().to_owned();
    // Each further part begins with two digits and the end of the marker's line.
    own.extend(parts.map(|part| part.get(3..).unwrap_or_default()));
    own
}

/// The failure of a guest test in words.
pub fn describe(outcome: &Outcome) -> String {
    let stdout = process::tail(&outcome.stdout, 3);
    format!(
        "{}\n{stdout}\n{}",
        outcome.describe(),
        outcome.stderr_tail(5)
    )
}

/// The C sources of a folder, sorted.
pub fn c_sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = inputs::entries(folder)?;
    Ok(entries
        .into_iter()
        .filter(|path| inputs::has_extension(path, "c"))
        .collect())
}

/// A source's name without folder and extension.
pub fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_no_output_of_the_guest() {
        let mut command = Command::new("/bin/printf");
        command.arg("a\\nb\\n\\nguest-test: exit 00\\nc\\n\\nguest-test: exit 01\\n");
        let outcome = process::run(&mut command, &[], COMPILE_LIMIT).expect("printf runs");
        assert_eq!(own_output(&outcome), "a\nb\nc\n");
        assert!(shows_success(&outcome));
    }
}
