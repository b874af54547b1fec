//! Code on the IR interpreter.

use isomorph_frontend::{CodeSource, Guest, Limits, translate_block};
use isomorph_ir::interp::{Exit, FpEnv, Helpers, Interp};
use isomorph_ir::{Builder, TrapKind, verify};
use isomorph_riscv::{Riscv64, State};

use super::{Executor, Left, Situation};

/// The reference: translates blocks and interprets them.
pub struct Interpreter {
    guest: Riscv64,
    builder: Builder,
    interp: Interp,
}

impl Interpreter {
    /// An interpreter for this guest.
    pub fn new(guest: Riscv64) -> Self {
        let table = Riscv64::globals();
        Self {
            guest,
            builder: Builder::new(table),
            interp: Interp::new(table),
        }
    }
}

impl Executor for Interpreter {
    fn name(&self) -> &'static str {
        "interpreter"
    }

    fn execute(&mut self, code: &[u8], situation: &mut Situation) -> Left {
        let source = Code {
            at: situation.state.pc,
            bytes: code,
        };
        loop {
            let left = self.block(&source, situation);
            let inside = source.holds(situation.state.pc);
            let goes_on = match left {
                Left::Next => true,
                Left::Trap(kind, _) => matches!(kind, TrapKind::Mode | TrapKind::InsnSync),
                Left::Fault(_) => false,
            };
            if !inside || !goes_on {
                return left;
            }
        }
    }
}

impl Interpreter {
    /// Translates the block at the program counter and interprets it.
    fn block(&mut self, source: &Code, situation: &mut Situation) -> Left {
        let Situation { state, memory } = situation;
        let (mode, limits) = (Riscv64::mode(state), Limits::default());
        translate_block(
            &self.guest,
            &mut self.builder,
            source,
            state.pc,
            mode,
            limits,
        );
        let block = self.builder.block();
        assert_eq!(verify(block, Riscv64::globals()), Ok(()), "{block:#?}");
        self.interp.fp.flags.0 = Riscv64::fp_flags(state);
        self.interp
            .fp
            .set_rounding(u64::from(Riscv64::rounding(state)));
        let mut bytes = to_bytes(state);
        let exit = self
            .interp
            .run(block, &mut bytes, memory, &mut GuestHelpers);
        *state = from_bytes(&bytes);
        Riscv64::set_fp_flags(state, self.interp.fp.flags.0);
        match exit.expect("the state has the size of its globals") {
            Exit::Trap { kind, info, .. } => Left::Trap(kind, info),
            Exit::Fault { fault, .. } => Left::Fault(fault.address),
            Exit::Direct { .. } | Exit::Indirect { .. } | Exit::Call { .. } => Left::Next,
        }
    }
}

/// Some instructions and nothing around them.
struct Code<'a> {
    at: u64,
    bytes: &'a [u8],
}

impl Code<'_> {
    fn holds(&self, pc: u64) -> bool {
        pc.wrapping_sub(self.at) < self.bytes.len() as u64
    }
}

impl CodeSource for Code<'_> {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let skip = pc.wrapping_sub(self.at).min(self.bytes.len() as u64) as usize;
        let rest = &self.bytes[skip..];
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        len
    }

    fn may_change(&self, _: u64) -> bool {
        false
    }
}

/// The helpers of a program's guest.
pub(crate) struct GuestHelpers;

impl Helpers for GuestHelpers {
    fn helper(&mut self, index: u32, bytes: &mut [u8], fp: &mut FpEnv, args: [u64; 3]) -> u64 {
        let mut state = from_bytes(bytes);
        Riscv64::set_fp_flags(&mut state, fp.flags.0);
        let helper = &Riscv64::helpers()[index as usize];
        let answer = (helper.func)(&mut state, args[0], args[1], args[2]);
        bytes.copy_from_slice(&to_bytes(&state));
        answer
    }

    fn counter(&mut self, which: u8) -> u64 {
        u64::from(which) + 1
    }
}

/// The state as its bytes lie in memory.
pub(crate) fn to_bytes(state: &State) -> Vec<u8> {
    let rest = [state.pc, state.frm, state.fflags];
    let words = state.x.iter().chain(&state.f).chain(&rest);
    words.flat_map(|word| word.to_le_bytes()).collect()
}

/// [`to_bytes`] undone.
pub(crate) fn from_bytes(bytes: &[u8]) -> State {
    let mut words = bytes.chunks_exact(8).map(|chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let mut next = || words.next().unwrap_or(0);
    let mut state = State::new();
    state.x.fill_with(&mut next);
    state.f.fill_with(&mut next);
    (state.pc, state.frm, state.fflags) = (next(), next(), next());
    state
}
