//! User mode: ELF loading, Linux system calls, signals, threads and processes.
//!
//! A guest process is a host process, a guest thread a host thread with the same id, and a guest
//! address the same host address. So most system calls are the host's with the same arguments,
//! and its kernel does what it does best: scheduling, queueing, waiting, sharing.
//!
//! Invariants:
//! - Guest addresses lie below the ceiling of the guest's page tables; isomorph's own memory lies
//!   above it, or is known to the memory map ([`mm`]).
//! - Nothing that a guest does ends isomorph other than as it would end the guest: what the guest
//!   did is its fault and becomes its signal or its errno.
//! - What differs between guest architectures is in [`abi`].
//! - Locks are taken in this order: the engine's, the memory map's, the signal actions'. The
//!   engine is never called with another lock held.

pub mod abi;
pub mod config;
pub mod cpu;

pub mod elf;
pub mod errno;
pub mod error;
pub mod exec;
mod launch;
mod log;
pub mod mm;
pub mod proc_files;
pub mod process;
mod random;
mod run_loop;
pub mod signal;
mod stack;
mod statistics;
pub mod syscall;
pub mod task;
pub mod thread;
mod vdso;

pub use abi::riscv64 as arch;
pub use config::{RunConfig, inherited_auxiliary, inherited_env};
pub use error::RunError;
use isomorph_report::DebugItems;

/// Runs a guest program in this process. Returns only if it could not start: the guest's exit is
/// this process's.
///
/// # Errors
///
/// [`RunError`] if the program could not be started.
pub fn run(config: RunConfig) -> Result<std::convert::Infallible, RunError> {
    let mut task = launch::launch(config)?;
    if task.process.debug(DebugItems::PAGE)
        && let Ok(map) = proc_files::memory_map(&task.process.mm)
    {
        task.process.log.write(&map);
    }
    syscall::close_standard();
    let status = task.run();
    if let Some(status) = task.leave(status) {
        thread::end_process(status);
    }
    thread::end_thread(status)
}
