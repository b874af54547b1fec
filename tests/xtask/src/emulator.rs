//! The emulator under test as a command line.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths::Paths;

/// A program that runs riscv64 programs, and the words that it wants before theirs.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// The emulator's own program, an absolute path on this machine; static, so that it works
    /// inside any root tree.
    pub program: PathBuf,
    /// Its arguments before the guest program.
    pub arguments: Vec<String>,
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
            binfmt: false,
        }
    }

    /// The reference, QEMU.
    pub fn qemu(paths: &Paths) -> Self {
        Self {
            program: paths.qemu(),
            arguments: Vec::new(),
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
            binfmt,
        }
    }

    /// A command that runs `guest` under this emulator, outside any root tree.
    pub fn command(&self, guest: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(guest);
        command
    }

    /// The same with options in QEMU's spelling, for which the program goes by QEMU's name.
    pub fn command_with(&self, options: &[&str], guest: &Path) -> Command {
        if options.is_empty() {
            return self.command(guest);
        }
        let mut command = Command::new(&self.program);
        command.arg0("qemu-riscv64").args(options).arg(guest);
        command
    }
}
