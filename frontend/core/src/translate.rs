//! The translate loop: from guest bytes to an extended block.

use crate::{CodeSource, Guest, Step};
use isomorph_ir::{Builder, Op, TrapKind, Val};

/// Bounds of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most guest instructions in a block.
    pub insns: u32,
    /// Most guest bytes from the first to the last instruction.
    pub span: u64,
    /// Whether a block goes on past a call, with the code at the return address.
    pub past_calls: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            insns: 64,
            span: 4096,
            past_calls: true,
        }
    }
}

/// Bytes fetched at a time; no instruction of any guest is longer than half of it.
const WINDOW: usize = 64;

/// Instruction bytes around the current pc.
struct Window {
    start: u64,
    len: usize,
    bytes: [u8; WINDOW],
}

impl Window {
    /// The bytes from `pc` on: at least `need` of them if they can be had.
    fn at(&mut self, code: &impl CodeSource, pc: u64, need: usize) -> &[u8] {
        let off = pc.wrapping_sub(self.start);
        if off > self.len as u64 || self.len - (off as usize) < need {
            self.start = pc;
            self.len = code.read(pc, &mut self.bytes);
            return &self.bytes[..self.len];
        }
        &self.bytes[off as usize..self.len]
    }
}

/// Translates the extended block at `pc` into the builder.
///
/// The block goes on past branches that are not taken and past calls, until something ends it or
/// a limit is reached. A fetch that faults becomes a `Fetch` trap if it is the first instruction,
/// else an exit to it.
pub fn translate_block<G: Guest>(
    guest: &G,
    b: &mut Builder,
    code: &impl CodeSource,
    pc: u64,
    mode: u32,
    limits: Limits,
) {
    b.start(pc, mode);
    let mut window = Window {
        start: pc,
        len: 0,
        bytes: [0; WINDOW],
    };
    let mut at = pc;
    let mut need = 1;
    let mut insns = 0;
    while insns < limits.insns && at.wrapping_sub(pc) < limits.span {
        let bytes = window.at(code, at, need);
        if bytes.len() < need {
            let have = bytes.len() as u64;
            fetch_fault(b, at, have, insns);
            if insns == 0 {
                // The block stands for the byte that could not be had: it goes when that changes.
                at = at.wrapping_add(have + 1);
            }
            break;
        }
        let mark = b.block().insts.len();
        b.insn_start(at);
        match guest.translate(b, at, bytes, mode) {
            Step::Short { need: more } => {
                // Nothing but the marker was emitted: take it back and look again.
                b.block_mut().insts.truncate(mark);
                need = (more as usize).max(need + 1);
                continue;
            }
            Step::Next { len } => at = at.wrapping_add(u64::from(len)),
            Step::End { len } => at = at.wrapping_add(u64::from(len)),
        }
        need = 1;
        insns += 1;
        let called = || b.block().insts.last().is_some_and(|i| is_call(i.op));
        if b.ended() || (!limits.past_calls && called()) {
            break;
        }
    }
    if !b.ended() {
        b.exit(at);
    }
    let block = b.block_mut();
    block.insns = insns;
    block.end = at.max(pc.wrapping_add(1));
}

fn is_call(op: Op) -> bool {
    matches!(op, Op::Call | Op::CallInd)
}

/// Ends the block where `have` bytes of the instruction at `pc` exist and the next faults.
fn fetch_fault(b: &mut Builder, pc: u64, have: u64, insns: u32) {
    if insns > 0 {
        // The fault belongs to that instruction when it is reached.
        return b.exit(pc);
    }
    b.insn_start(pc);
    let address = b.c(pc.wrapping_add(have));
    debug_assert_ne!(address, Val::NONE);
    b.trap(TrapKind::Fetch, pc, address);
}
