//! What can go wrong around a measurement (a wrong output is a result, not an error).

use std::path::PathBuf;

use crate::measure::End;

/// An error that ends the run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program's name or path.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A program that the harness needs ended with an error.
    #[error("{program} ended with {status}: {stderr}")]
    Tool {
        /// The program's name.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// The child's CPU time could not be read.
    #[error("cannot read the children's CPU time")]
    Usage(#[source] nix::Error),
    /// The results could not be written as JSON.
    #[error("cannot write the results as JSON")]
    Json(#[source] serde_json::Error),
    /// No workload is left after `--group` and `--workload`.
    #[error("no workload of that name or group; --list shows them all")]
    NothingToRun,
    /// The emulator under test is not there, or has no passes to switch off.
    #[error("there is no emulator with passes: build isomorph, or name it with --emulator")]
    NoPasses,
    /// A setting of isomorph's for another emulator.
    #[error("--jit {0} is for isomorph, and another emulator is under test")]
    NoJit(String),
    /// The machine's apt configuration names no archive.
    #[error("apt knows no archive to fetch packages from")]
    NoMirror,
    /// What the whole suite needs is not there.
    #[error(transparent)]
    NotRun(#[from] NotRun),
    /// The native run itself failed, so that there is nothing to compare with.
    #[error("the native run of {workload} failed")]
    Native {
        /// The workload.
        workload: &'static str,
        /// How it failed.
        #[source]
        source: Failure,
    },
}

/// Why a run gives no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It did not end with status 0.
    #[error("{end}: {messages}")]
    End {
        /// How it ended.
        end: End,
        /// The first lines of its standard error.
        messages: String,
    },
    /// The machine that it should run in failed, or gave no figure for it.
    #[error("the machine did not run it to its end")]
    Machine,
    /// Its output is not native's.
    #[error("output differs from native: {found} instead of {expected}")]
    Output {
        /// The beginning of its output.
        found: String,
        /// The beginning of native's.
        expected: String,
    },
}

/// Why a workload cannot be run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// No Debian trees.
    #[error("no Debian trees at hand: run `cargo xtask inputs`")]
    NoTrees,
    /// Debian trees that could not be used.
    #[error("the Debian trees cannot be used: {0}")]
    Trees(String),
    /// The program is not in the tree.
    #[error("{0} is not in the riscv64 tree")]
    NoProgram(&'static str),
}

impl Error {
    /// Wraps an I/O error with what was tried on which path.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
