//! What `-d` shows of translations, and the table of `--stats`.

use crate::config::{DebugItems, RunConfig};
use crate::cpu::{Cpu, CpuModel};
use crate::log::Log;
use crate::task::Process;
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use isomorph_engine::{Config, Guest, Observer, Translation};
use std::fmt::Write;
use std::sync::Arc;

/// The engine's settings for these of a run.
#[must_use]
pub fn engine_config(config: &RunConfig, model: &CpuModel, log: &Arc<Log>) -> Config {
    let log = log.clone();
    let sink = move |text: &str| log.write(text);
    let guest = Cpu::new(model.clone());
    Config {
        chain: !config.no_chain,
        tier2: config.tier2,
        observer: observer(guest, config.debug_items, Box::new(sink)),
        ..Config::default()
    }
}

/// Gets the text of one translation.
pub type DumpSink = Box<dyn Fn(&str) + Send + Sync>;

/// What shows each translation, if any of its stages is among `items`.
#[must_use]
pub fn observer<G: Guest + Send + Sync + 'static>(
    guest: G,
    items: DebugItems,
    sink: DumpSink,
) -> Option<Box<dyn Observer>> {
    items
        .contains(DebugItems::STAGES)
        .then(|| -> Box<dyn Observer> { Box::new(Dump { items, guest, sink }) })
}

/// Writes the stages of each translation that were asked for.
struct Dump<G> {
    items: DebugItems,
    guest: G,
    sink: DumpSink,
}

impl<G: Guest + Send + Sync> Observer for Dump<G> {
    fn translated(&self, translation: &Translation<'_>) {
        let mut text = String::new();
        let table = G::globals();
        if self.items.contains(DebugItems::IN_ASM) {
            let _ = writeln!(text, "IN: {} bytes", translation.guest.len());
            self.guest_code(&mut text, translation.block.pc, translation.guest);
        }
        if self.items.contains(DebugItems::OP) {
            let _ = write!(text, "OP:\n{}", translation.plain.text(table));
        }
        if self.items.contains(DebugItems::OP_OPT) {
            let _ = write!(text, "OP after folding:\n{}", translation.block.text(table));
        }
        if self.items.contains(DebugItems::OUT_ASM) {
            let _ = writeln!(text, "OUT: {} bytes", translation.code.len());
            host_code(&mut text, translation.host, translation.code);
        }
        text.push('\n');
        (self.sink)(&text);
    }
}

impl<G: Guest> Dump<G> {
    fn guest_code(&self, text: &mut String, pc: u64, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let pc = pc.wrapping_add(at as u64);
            let _ = write!(text, "{pc:#012x}:  ");
            let mut insn = String::new();
            let len = self.guest.disassemble(pc, &bytes[at..], &mut insn).max(1) as usize;
            let end = bytes.len().min(at + len);
            let word = bytes[at..end]
                .iter()
                .rev()
                .fold(String::new(), |mut word, byte| {
                    let _ = write!(word, "{byte:02x}");
                    word
                });
            let _ = writeln!(text, "{word:<8}  {insn}");
            at = end;
        }
    }
}

fn host_code(text: &mut String, host: u64, code: &[u8]) {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    let mut insn = String::new();
    for instruction in Decoder::with_ip(64, code, host, DecoderOptions::NONE) {
        insn.clear();
        formatter.format(&instruction, &mut insn);
        let _ = writeln!(text, "{:#014x}:  {insn}", instruction.ip());
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
            let name = crate::syscall::lookup(*number).map_or("?", |entry| entry.name);
            let _ = writeln!(text, "  unknown syscall {number:<4} {name:<12} {count:>3}");
        }
    }
    text
}
