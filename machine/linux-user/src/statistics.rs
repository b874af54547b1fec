//! The table of `--stats`.

use crate::task::Process;
use std::fmt::Write;

/// The table that `--stats` ends with.
#[must_use]
pub fn statistics(process: &Process) -> String {
    let counts = process.engine.stats();
    let mut text = String::from("isomorph statistics\n");
    for (name, value) in counts.rows() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<22} {value:>14}");
    }
    let per_insn = counts.translate_ns as f64 / 1000.0 / counts.insns.max(1) as f64;
    let _ = writeln!(text, "  {:<22} {per_insn:>14.3}", "us_per_insn_translated");
    if let Ok(unknown) = process.unknown_syscalls.try_lock() {
        for (number, count) in unknown.iter() {
            let name = crate::syscall::lookup(*number).map_or("?", |entry| entry.name);
            let _ = writeln!(text, "  unknown syscall {number:<4} {name:<12} {count:>3}");
        }
    }
    text
}
