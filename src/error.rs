//! What is wrong with a command line, and the exit status that says so.

use std::path::PathBuf;

use isomorph_linux_user::RunError;
use isomorph_linux_user::elf::ElfError;

use crate::jit::JitError;
use crate::system::error::SystemError;

/// Why the command cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An option that does not exist.
    #[error("unknown option `{given}`{}", hint(.nearest))]
    UnknownOption {
        /// As it was typed.
        given: String,
        /// The known option that looks most like it.
        nearest: Option<String>,
    },
    /// An option without the value that it needs.
    #[error("option `{0}` needs a value")]
    MissingValue(String),
    /// An option of QEMU's that is known and not there.
    #[error("option `{option}` is not supported: {reason}")]
    Unsupported {
        /// As it was typed.
        option: String,
        /// Why, or what to do instead.
        reason: &'static str,
    },
    /// A value that the option does not take.
    #[error("{origin}: `{value}` is not {expected}")]
    Value {
        /// The option or variable it came from.
        origin: String,
        /// The value.
        value: String,
        /// What would be one.
        expected: &'static str,
    },
    /// An item of `-d` that does not exist.
    #[error("{origin}: unknown log item `{item}`; there are {known}")]
    LogItem {
        /// The option or variable it came from.
        origin: String,
        /// The item.
        item: String,
        /// All known ones.
        known: String,
    },
    /// A value of `--jit`.
    #[error(transparent)]
    Jit(#[from] JitError),
    /// Standard output takes no more.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// No guest program.
    #[error("no program to run was named; --help shows how")]
    NoProgram,
    /// The guest could not be started.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A machine could not be built or run.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A kind of machine that does not exist.
    #[error("there are no machines of `{given}`{}; there is riscv64", hint(.nearest))]
    Target {
        /// As it was typed.
        given: String,
        /// The known one that looks most like it.
        nearest: Option<String>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// binfmt_misc is not mounted.
    #[error(
        "{} is not there; mount it with `mount -t binfmt_misc binfmt_misc {}`",
        crate::binfmt::FOLDER,
        crate::binfmt::FOLDER
    )]
    NoBinfmt,
    /// The kernel's handler was called with too little.
    #[error("the kernel's call names no program: register with `isomorph binfmt --install`")]
    BinfmtCall,
    /// A demo's program did something else than its native counterpart.
    #[error("{program} under isomorph did not do what it does natively: {what}")]
    Demo {
        /// The program.
        program: &'static str,
        /// What it did.
        what: String,
    },
}

/// The end of a message that names the nearest known name.
pub fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

impl CliError {
    /// The exit status: QEMU's users know 255 for a program of another architecture, 1 for the
    /// rest.
    pub fn status(&self) -> u8 {
        match self {
            Self::Run(RunError::Elf {
                source: ElfError::Machine { .. },
                ..
            }) => 255,
            _ => 1,
        }
    }
}

/// An error with its causes, on one line. A cause whose text is already told is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}
