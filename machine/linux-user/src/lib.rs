//! User mode: ELF loading, Linux system calls, signals, threads and processes.

pub mod abi;
pub mod config;
pub mod cpu;
pub mod elf;
pub mod errno;
pub mod error;
pub mod exec;
pub mod mm;
pub mod proc_files;
pub mod process;
mod random;
pub mod signal;
pub mod syscall;
pub mod task;
pub mod thread;
mod vdso;

pub use abi::riscv64 as arch;
pub use config::{DebugItems, RunConfig, inherited_env};
pub use error::RunError;

/// Runs a guest program in this process. Returns only if it could not start: the guest's exit is
/// this process's.
///
/// # Errors
///
/// [`RunError`] if the program could not be started.
pub fn run(config: RunConfig) -> Result<std::convert::Infallible, RunError> {
    let _ = config;
    Err(RunError::GuestBase { base: 0 })
}
