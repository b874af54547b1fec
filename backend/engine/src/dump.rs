//! Shows translations stage by stage: guest code, operations, host code.

use crate::config::{Observer, Translation};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use isomorph_frontend::Guest;
use isomorph_ir::Block;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Which stages a [`Dump`] shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// The guest instructions.
    pub in_asm: bool,
    /// The operations as the front end emitted them.
    pub op: bool,
    /// The operations that were compiled.
    pub op_opt: bool,
    /// The host instructions.
    pub out_asm: bool,
}

impl Stages {
    /// True if anything is shown.
    pub fn any(self) -> bool {
        self.in_asm || self.op || self.op_opt || self.out_asm
    }
}

/// An [`Observer`] that writes the chosen stages of every block as text.
pub struct Dump<G> {
    guest: G,
    stages: Stages,
    out: Mutex<Box<dyn Write + Send>>,
}

impl<G: Guest> Dump<G> {
    /// Shows `stages` on `out`; `guest` disassembles.
    pub fn new(guest: G, stages: Stages, out: Box<dyn Write + Send>) -> Self {
        Self {
            guest,
            stages,
            out: Mutex::new(out),
        }
    }

    fn guest_code(&self, t: &Translation<'_>, text: &mut String) {
        let mut at = 0;
        while at < t.guest.len() {
            let pc = t.block.pc.wrapping_add(at as u64);
            let mut insn = String::new();
            let len = self.guest.disassemble(pc, &t.guest[at..], &mut insn).max(1) as usize;
            let end = (at + len).min(t.guest.len());
            let bits = t.guest[at..end].iter().rev().map(|b| format!("{b:02x}"));
            let _ = writeln!(text, "{pc:#018x}:  {:<17} {insn}", bits.collect::<String>());
            at = end;
        }
    }

    fn operations(block: &Block, text: &mut String) {
        let _ = writeln!(text, "{}", block.text(G::globals()));
    }
}

fn host_code(t: &Translation<'_>, text: &mut String) {
    let mut formatter = IntelFormatter::new();
    for insn in &mut Decoder::with_ip(64, t.code, t.host, DecoderOptions::NONE) {
        let at = (insn.ip() - t.host) as usize;
        let end = (at + insn.len()).min(t.code.len());
        let bits: String = t.code[at..end].iter().map(|b| format!("{b:02x}")).collect();
        let mut line = String::new();
        formatter.format(&insn, &mut line);
        let _ = writeln!(text, "{:#018x}:  {bits:<20} {line}", insn.ip());
    }
}

impl<G: Guest> Observer for Dump<G> {
    fn translated(&self, t: &Translation<'_>) {
        let mut text = String::from("----------------\n");
        if self.stages.in_asm {
            text.push_str("IN:\n");
            self.guest_code(t, &mut text);
        }
        if self.stages.op {
            text.push_str("OP:\n");
            Self::operations(t.plain, &mut text);
        }
        if self.stages.op_opt {
            text.push_str("OP after optimization:\n");
            Self::operations(t.block, &mut text);
        }
        if self.stages.out_asm {
            let _ = writeln!(text, "OUT: [size={}]", t.code.len());
            host_code(t, &mut text);
        }
        text.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not stop the guest.
        let _ = out.write_all(text.as_bytes());
    }
}
