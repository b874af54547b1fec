//! The emulator under test as a command line.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths::Paths;

/// The variable that says which code isomorph compiles again, and when.
pub const JIT: &str = "ISOMORPH_JIT";

/// A program that runs riscv64 programs, and the words that it wants before theirs.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// The emulator's own program, an absolute path on this machine; static, so that it works
    /// inside any root tree.
    pub program: PathBuf,
    /// Its arguments before the guest program.
    pub arguments: Vec<String>,
    /// What the translator is told about its tiers, as `ISOMORPH_JIT`.
    pub jit: Option<String>,
    /// It cannot execute foreign children by itself: register it with binfmt_misc for them.
    pub binfmt: bool,
}

impl Emulator {
    /// `isomorph run`, the release build.
    pub fn isomorph(paths: &Paths) -> Self {
        let arguments = vec!["run".to_owned()];
        Self {
            program: paths.isomorph(),
            arguments,
            jit: None,
            binfmt: false,
        }
    }

    /// The reference, QEMU.
    pub fn qemu(paths: &Paths) -> Self {
        Self {
            program: paths.qemu(),
            arguments: Vec::new(),
            jit: None,
            binfmt: true,
        }
    }

    /// From the words of a command line.
    pub fn parse(line: &str, binfmt: bool) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        let program = PathBuf::from(words.next().unwrap_or_default());
        Self {
            program,
            arguments: words.collect(),
            jit: None,
            binfmt,
        }
    }

    /// A command that runs `guest` under this emulator, outside any root tree.
    pub fn command(&self, guest: &Path) -> Command {
        let mut command = self.start();
        command.args(&self.arguments).arg(guest);
        command
    }

    /// The same emulator with this setting of the translator, if there is one.
    pub fn with_jit(mut self, setting: Option<&str>) -> Self {
        self.jit = setting.map(str::to_owned);
        self
    }

    fn start(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(setting) = &self.jit {
            command.env(JIT, setting);
        }
        command
    }

    /// The same with options in QEMU's spelling, for which the program goes by QEMU's name.
    pub fn command_with(&self, options: &[&str], guest: &Path) -> Command {
        if options.is_empty() {
            return self.command(guest);
        }
        let mut command = self.start();
        command.arg0("qemu-riscv64").args(options).arg(guest);
        command
    }
}
