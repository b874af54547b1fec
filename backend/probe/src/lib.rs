//! What measurement needs of the host: samples of where threads spend their time, maps for `perf`.
//!
//! Invariants:
//! - Nothing here runs unless it is asked for: an unmeasured run has no timer and no handler.
//! - The signal handler touches no lock, no heap and no thread-local variable.
//! - A signal that is not a sample goes to whom it was meant for ([`note`] says no).

mod sampler;
mod timers;

pub use sampler::{SIGNAL, Sample, Sampler, note, running};

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of samples, and of `perf record -k mono`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is live; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of this process in nanoseconds, all threads together.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is live; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// This thread's id, as `perf` numbers threads.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: no memory is touched.
    unsafe { libc::gettid() as u32 }
}

/// Maps the first page of `file` executable, and leaves it so: `perf record` notes such maps, and
/// `perf inject --jit` finds the file by them.
///
/// # Errors
/// The host does not map it.
pub fn announce(file: &File) -> io::Result<()> {
    let prot = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a fresh mapping anywhere, which nothing reads or jumps to.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            prot,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    match at == libc::MAP_FAILED {
        true => Err(io::Error::last_os_error()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward() {
        let (time, cpu) = (monotonic_ns(), process_cpu_ns());
        assert!(time > 0 && monotonic_ns() >= time && process_cpu_ns() >= cpu);
        assert_ne!(thread_id(), 0);
    }
}
