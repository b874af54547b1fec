//! What can go wrong before a test gets its chance to pass or fail.

use std::path::PathBuf;

/// An obstacle to running the tests. A test that fails is a [`crate::report::Verdict`] instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line names no known command, stage or option.
    #[error("unknown argument `{0}`; `cargo xtask help` lists commands and stages")]
    Argument(String),
    /// An option came without its value.
    #[error("option `{0}` needs a value")]
    MissingValue(String),
    /// A file or folder could not be read, written or made.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be started or waited for.
    #[error("cannot run `{program}`: {source}")]
    Spawn {
        /// The program's name.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A step of the preparation ended with a failure status.
    #[error("`{command}` failed ({status}):\n{output}")]
    Step {
        /// The whole command.
        command: String,
        /// Its exit status in words.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Host packages are missing and only root may install them.
    #[error("these Debian packages are missing; install them as root: {}", .0.join(" "))]
    HostPackages(Vec<String>),
    /// The machine's apt configuration names no Debian mirror.
    #[error("no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d")]
    NoMirror,
    /// The machine lacks something that no package can give.
    #[error("this machine lacks {0}")]
    Machine(&'static str),
    /// A table of cases does not follow its format.
    #[error("{}:{line}: {source}", path.display())]
    CaseTable {
        /// The table.
        path: PathBuf,
        /// One-based line.
        line: usize,
        /// What is wrong there.
        source: crate::cases::Mistake,
    },
    /// An input that the preparation should have made is not there.
    #[error("input missing: {} (run `cargo xtask inputs`)", .0.display())]
    MissingInput(PathBuf),
}

/// The result of a preparing step.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the file in an I/O error.
pub trait AtPath<T> {
    /// Turns the error into [`Error::File`] for `path`.
    fn at(self, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> AtPath<T> for std::io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| Error::File {
            path: path.into(),
            source,
        })
    }
}
