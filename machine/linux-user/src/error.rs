//! Why a run could not start.

use crate::errno::Errno;
use std::path::PathBuf;

/// A run that could not start. The messages name the file and what can be done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program could not be opened or read.
    #[error("cannot run {}: {errno}", .path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The program is no ELF executable of the guest.
    #[error("cannot run {}: {source}", .path.display())]
    Elf {
        /// The file: the program or its interpreter.
        path: PathBuf,
        /// What is wrong with it.
        source: crate::elf::ElfError,
    },
    /// The program asks for a dynamic linker that is not there.
    #[error(
        "cannot run {}: its dynamic linker {} is missing ({errno}); \
         name the guest's root directory with -L",
        .program.display(), .interpreter.display()
    )]
    Interpreter {
        /// The program.
        program: PathBuf,
        /// The dynamic linker it names.
        interpreter: PathBuf,
        /// Why it could not be opened.
        errno: Errno,
    },
    /// The CPU model or one of its properties is unknown.
    #[error("cannot use -cpu {model}: {source}")]
    Cpu {
        /// What was asked for.
        model: String,
        /// What is wrong with it.
        source: isomorph_riscv::CpuError,
    },
    /// A guest base other than 0.
    #[error("-B {base:#x} is not possible: guest addresses are host addresses (use -B 0)")]
    GuestBase {
        /// What was asked for.
        base: u64,
    },
    /// A reserved size that no program fits into.
    #[error("-R {size:#x} is not possible: a size from {min:#x} to {max:#x} in whole pages is")]
    ReservedVa {
        /// What was asked for.
        size: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// The log file could not be opened.
    #[error("cannot open the log file {}: {source}", .path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Host memory, or guest memory at the address the program wants, could not be had.
    #[error("cannot map {what}: {errno}")]
    Memory {
        /// For what.
        what: &'static str,
        /// Why.
        errno: Errno,
    },
    /// Something that was to be told of the run cannot be.
    #[error(transparent)]
    Report(#[from] isomorph_report::ReportError),
    /// The engine could not start.
    #[error(transparent)]
    Engine(#[from] crate::cpu::EngineError),
}
