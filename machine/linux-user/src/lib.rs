//! User mode: ELF loading, Linux system calls, signals, threads and processes.

pub mod abi;
pub mod config;
pub mod cpu;
mod dump;
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
pub mod syscall;
pub mod task;
pub mod thread;
mod vdso;

pub use abi::riscv64 as arch;
pub use config::{DebugItems, RunConfig, inherited_auxiliary, inherited_env};
pub use error::RunError;

/// Runs a guest program in this process. Returns only if it could not start: the guest's exit is
/// this process's.
///
/// # Errors
///
/// [`RunError`] if the program could not be started.
pub fn run(config: RunConfig) -> Result<std::convert::Infallible, RunError> {
    let mut task = launch::launch(config)?;
    syscall::close_standard();
    let status = task.run();
    task.leave();
    // Other threads of the guest may go on; the host's kernel keeps the process until they end.
    // SAFETY: ends this thread, and nothing here is needed any more.
    unsafe { libc::syscall(libc::SYS_exit, status) };
    unreachable!("a thread went on after its end")
}
