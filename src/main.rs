//! The `isomorph` command: options become a configuration, which is run. Nothing else.
//!
//! Invariants: every option of a run is defined once, in `options.rs`, for all its spellings; the
//! name by which the program is called decides whose options it takes.

#![forbid(unsafe_code)]

mod binfmt;
mod cli;
mod config;
mod demo;
mod error;
mod jit;
mod nearest;
mod options;
mod output;
mod qemu;
mod system;

use std::ffi::OsString;
use std::process::ExitCode;

use error::CliError;
use isomorph_linux_user::RunConfig;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let name = if arguments.is_empty() {
        OsString::new()
    } else {
        arguments.remove(0)
    };
    let calling = Calling::of(&name);
    let done = match calling {
        Calling::Binfmt => binfmt::handle(arguments),
        Calling::Qemu if binfmt::argv0_is_preserved() => binfmt::handle(arguments),
        Calling::Qemu => qemu::main(&arguments),
        Calling::QemuSystem => system::main(calling.prefix(), &arguments),
        // A guest has executed a program: its settings come along.
        Calling::Isomorph => match RunConfig::from_exec_args(std::env::args_os()) {
            Some(config) => start(config),
            None => cli::main(&arguments),
        },
    };
    done.unwrap_or_else(|error| {
        output::complain(calling.prefix(), error::chain(&error));
        ExitCode::from(error.status())
    })
}

/// The names under which this program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calling {
    /// By its own name: sub-commands.
    Isomorph,
    /// Through a link named like QEMU's user mode: its options.
    Qemu,
    /// Through a link named like QEMU's machines: their options.
    QemuSystem,
    /// By the kernel, for a registration that keeps `argv[0]`.
    Binfmt,
}

impl Calling {
    fn of(argv0: &OsString) -> Self {
        let path = std::path::Path::new(argv0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(binfmt::LINK_SUFFIX) {
            Self::Binfmt
        } else if name.starts_with("qemu-riscv64") {
            Self::Qemu
        } else if name.starts_with("qemu-system-riscv64") {
            Self::QemuSystem
        } else {
            Self::Isomorph
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Isomorph | Self::Binfmt => "isomorph",
            Self::Qemu => "qemu-riscv64",
            Self::QemuSystem => "qemu-system-riscv64",
        }
    }
}

/// Hands a configuration to user mode. The guest's exit is this process's, so that there is no
/// return but with an error.
fn start(config: RunConfig) -> Result<ExitCode, CliError> {
    match isomorph_linux_user::run(config)? {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        let of = |name: &str| Calling::of(&OsString::from(name));
        assert_eq!(of("/usr/bin/isomorph"), Calling::Isomorph);
        assert_eq!(of("qemu-riscv64"), Calling::Qemu);
        assert_eq!(of("/bin/qemu-riscv64-static"), Calling::Qemu);
        assert_eq!(of("/bin/qemu-system-riscv64"), Calling::QemuSystem);
        assert_eq!(of("qemu-system-arm"), Calling::Isomorph);
        assert_eq!(of("/usr/libexec/isomorph-binfmt-P"), Calling::Binfmt);
        assert_eq!(of(""), Calling::Isomorph);
    }
}
