//! Guest and host code as lines.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use isomorph_engine::Guest;
use std::fmt::Write;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its text.
    pub text: String,
}

/// The guest's instructions in `bytes`, which are at `pc`.
pub fn guest_lines<G: Guest>(guest: &G, pc: u64, bytes: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    let mut address = pc;
    while !rest.is_empty() {
        let mut text = String::new();
        let len = guest.disassemble(address, rest, &mut text).max(1) as usize;
        let (insn, after) = rest.split_at(len.min(rest.len()));
        lines.push(Line {
            address,
            bytes: insn.to_vec(),
            text,
        });
        address = address.wrapping_add(len as u64);
        rest = after;
    }
    lines
}

/// Guest code as `-d in_asm` shows it.
pub fn guest_text<G: Guest>(out: &mut String, guest: &G, pc: u64, bytes: &[u8]) {
    for line in guest_lines(guest, pc, bytes) {
        let mut word = String::new();
        for byte in line.bytes.iter().rev() {
            let _ = write!(word, "{byte:02x}");
        }
        let _ = writeln!(out, "{:#012x}:  {word:<8}  {}", line.address, line.text);
    }
}

/// The host's instructions in `code`, which executes at `host`.
pub fn host_lines(host: u64, code: &[u8]) -> Vec<Line> {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    let decoder = Decoder::with_ip(64, code, host, DecoderOptions::NONE);
    let line = |instruction: iced_x86::Instruction| {
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        let start = instruction.ip().wrapping_sub(host) as usize;
        let bytes = code[start..start + instruction.len()].to_vec();
        Line {
            address: instruction.ip(),
            bytes,
            text,
        }
    };
    decoder.into_iter().map(line).collect()
}

/// Host code as `-d out_asm` shows it.
pub fn host_text(out: &mut String, host: u64, code: &[u8]) {
    for line in host_lines(host, code) {
        let _ = writeln!(out, "{:#014x}:  {}", line.address, line.text);
    }
}
