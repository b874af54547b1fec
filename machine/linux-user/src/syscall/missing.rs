//! System calls that are answered with `ENOSYS`: named, and counted for `--stats`.

use super::strace;
use super::table::{self, How};
use crate::errno::Errno;
use crate::task::Task;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why system call `nr` is not served; `None` if it is.
pub fn reason(nr: u64) -> Option<&'static str> {
    match table::lookup(nr).map(|entry| entry.how) {
        None => Some("no such system call"),
        Some(How::Missing) => Some("not implemented"),
        Some(How::Absent(why)) => Some(why),
        Some(_) => None,
    }
}

/// Answers a system call that is not served. Those that are left out by decision are told of but
/// not counted: programs have an answer to that.
pub fn answer(task: &Task, nr: u64) -> Errno {
    let by_decision = table::lookup(nr).is_some_and(|entry| matches!(entry.how, How::Absent(_)));
    let first = if by_decision {
        first_try(nr)
    } else {
        count(task, nr) == 1
    };
    if first {
        let why = reason(nr).unwrap_or_default();
        strace::warn(task, format_args!("system call {nr} ({}): {why}", name(nr)));
    }
    Errno::ENOSYS
}

/// True the first time that `nr`, a number in the table, is tried.
fn first_try(nr: u64) -> bool {
    static TRIED: [AtomicBool; table::NUMBERS] = [const { AtomicBool::new(false) }; table::NUMBERS];
    !TRIED[nr as usize].swap(true, Ordering::Relaxed)
}

/// Counts a try and says how many there were.
fn count(task: &Task, nr: u64) -> u64 {
    task.process
        .unknown_syscalls
        .lock()
        .map_or(0, |mut counts| {
            let tries = counts.entry(nr).or_insert(0);
            *tries += 1;
            *tries
        })
}

fn name(nr: u64) -> &'static str {
    table::lookup(nr).map_or("unknown", |entry| entry.name)
}
