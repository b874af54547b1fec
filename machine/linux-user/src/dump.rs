//! What `-d` shows of translations.

use crate::config::RunConfig;
use crate::log::Log;
use crate::task::Process;
use std::fmt::Write;
use std::sync::Arc;

/// The engine's settings for these of a run.
#[must_use]
pub fn engine_config(config: &RunConfig, log: &Arc<Log>) -> isomorph_engine::Config {
    let _ = log;
    isomorph_engine::Config {
        chain: !config.no_chain,
        ..isomorph_engine::Config::default()
    }
}

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
            let _ = writeln!(text, "  unknown_syscall_{number:<6} {count:>14}");
        }
    }
    text
}
