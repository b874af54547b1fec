//! System calls that are answered with `ENOSYS`: named, and counted for `--stats`.

use super::strace;
use super::table::{self, Entry};
use crate::errno::Errno;
use crate::task::{Process, Task};

/// A number that no table of riscv64 Linux has.
pub fn unknown(task: &Task, nr: u64) -> Errno {
    count(task, nr, "no such system call");
    Errno::ENOSYS
}

/// A system call that is not written.
pub fn unwritten(task: &Task, entry: &Entry) -> Errno {
    count(task, u64::from(entry.number), "not implemented");
    Errno::ENOSYS
}

/// A system call that is left out by decision; programs have an answer to that, so it is told
/// only to who asks.
pub fn absent(task: &Task, entry: &Entry) -> Errno {
    if let table::How::Absent(why) = entry.how {
        strace::warn(task, format_args!("{} is not offered: {why}", entry.name));
    }
    Errno::ENOSYS
}

/// Counts and warns once for each number.
fn count(task: &Task, nr: u64, why: &str) {
    let Ok(mut counts) = task.process.unknown_syscalls.lock() else {
        return;
    };
    let tries = counts.entry(nr).or_insert(0);
    *tries += 1;
    if *tries == 1 {
        strace::warn(task, format_args!("system call {nr} ({}): {why}", name(nr)));
    }
}

fn name(nr: u64) -> &'static str {
    table::lookup(nr).map_or("unknown", |entry| entry.name)
}

/// Number, name and count of every system call that was tried and is not implemented.
#[must_use]
pub fn report(process: &Process) -> Vec<(u64, &'static str, u64)> {
    let counts = process.unknown_syscalls.lock();
    counts
        .map(|counts| {
            counts
                .iter()
                .map(|(&nr, &tries)| (nr, name(nr), tries))
                .collect()
        })
        .unwrap_or_default()
}
