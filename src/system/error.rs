//! What can be wrong with the command line of a machine, or stop the machine from being built.

use std::path::PathBuf;

use isomorph_block::BlockError;
use isomorph_boards::BoardError;
use isomorph_chardev::CharError;
use isomorph_machine::{AccelError, RunError};
use isomorph_net::NetError;
use isomorph_riscv::CpuError;

use crate::error::hint;

/// Why a machine was not built, or could not go on. `origin` is the option as it was typed.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A name that nothing of its kind has.
    #[error("{origin}: unknown {what} `{name}`{}", hint(.nearest))]
    Unknown {
        /// The option.
        origin: String,
        /// The kind of thing: machine, device, property of something.
        what: String,
        /// The name given.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// A property that nothing has.
    #[error("{origin}: {owner} has no property `{name}`{}", hint(.nearest))]
    Property {
        /// The option.
        origin: String,
        /// What should have it.
        owner: String,
        /// The name given.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// A value that the option or property does not take.
    #[error("{origin}: `{value}` is not {expected}")]
    Value {
        /// The option, with the property if it has any.
        origin: String,
        /// The value given.
        value: String,
        /// What would be one.
        expected: String,
    },
    /// A property that must be given.
    #[error("{origin}: `{key}=` is missing")]
    Missing {
        /// The option.
        origin: String,
        /// The property.
        key: &'static str,
    },
    /// Something of QEMU's that is known and not there.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// The option, or the option and its part.
        what: String,
        /// Why, or what to do instead.
        reason: &'static str,
    },
    /// A file that should have the names of guest functions.
    #[error("{origin}")]
    Symbols {
        /// The option.
        origin: String,
        /// What is wrong with it.
        #[source]
        source: isomorph_report::SymbolError,
    },
    /// Something that was to be told of the run cannot be.
    #[error(transparent)]
    Report(#[from] isomorph_report::ReportError),
    /// A reference to something that no other option makes.
    #[error("{origin}: there is no {what} `{name}`{}", hint(.nearest))]
    NoSuch {
        /// The option that refers to it.
        origin: String,
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// Two options want one thing, or one name.
    #[error("{origin}: {what} `{name}` is taken already")]
    Taken {
        /// The option that came second.
        origin: String,
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Options that do not go together.
    #[error("{origin}: {problem}")]
    Conflict {
        /// One of them.
        origin: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An impossible arrangement of CPUs.
    #[error(
        "{origin}: {sockets} sockets of {cores} cores of {threads} threads are not {cpus} CPUs"
    )]
    Topology {
        /// The option.
        origin: String,
        /// Sockets in the machine.
        sockets: u64,
        /// Cores of a socket.
        cores: u64,
        /// Threads of a core.
        threads: u64,
        /// CPUs that there shall be.
        cpus: u64,
    },
    /// The CPU model.
    #[error("{origin}")]
    Cpu {
        /// The option.
        origin: String,
        /// What is wrong with it.
        source: CpuError,
    },
    /// A file that an option names.
    #[error("{origin}: cannot {action} {}", .path.display())]
    File {
        /// The option.
        origin: String,
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A disk image.
    #[error("{origin}")]
    Disk {
        /// The option.
        origin: String,
        /// What is wrong with it.
        source: BlockError,
    },
    /// A line.
    #[error("{origin}")]
    Line {
        /// The option.
        origin: String,
        /// What is wrong with it.
        source: CharError,
    },
    /// A network.
    #[error("{origin}")]
    Net {
        /// The option.
        origin: String,
        /// What is wrong with it.
        source: NetError,
    },
    /// A device that finds no place.
    #[error("{origin}")]
    Place {
        /// The option.
        origin: String,
        /// Why.
        source: BoardError,
    },
    /// The machine itself.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The accelerator.
    #[error(transparent)]
    Accel(#[from] AccelError),
    /// The machine ran, and could not go on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The host gives no thread, signal or random number.
    #[error("the host gives no {what}")]
    Host {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The accelerator cannot be had.
    #[error("the accelerator {name} cannot be had")]
    Accelerator {
        /// Its name.
        name: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SystemError {
    /// A value that `origin` does not take.
    pub fn value(origin: impl Into<String>, value: &str, expected: impl Into<String>) -> Self {
        Self::Value {
            origin: origin.into(),
            value: value.to_owned(),
            expected: expected.into(),
        }
    }

    /// A name that is none of `known`.
    pub fn unknown<'a>(
        origin: &str,
        what: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::Unknown {
            origin: origin.to_owned(),
            what: what.into(),
            name: name.to_owned(),
            nearest: crate::nearest::nearest(name, known).map(str::to_owned),
        }
    }

    /// A name that refers to nothing.
    pub fn no_such<'a>(
        origin: &str,
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::NoSuch {
            origin: origin.to_owned(),
            what,
            name: name.to_owned(),
            nearest: crate::nearest::nearest(name, known).map(str::to_owned),
        }
    }

    /// Something that is known and not there.
    pub fn unsupported(what: impl Into<String>, reason: &'static str) -> Self {
        Self::Unsupported {
            what: what.into(),
            reason,
        }
    }
}
