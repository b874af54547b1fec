//! The programs on the interpreter.

use std::collections::HashMap;

use isomorph_frontend::{Guest, Limits, translate_block};
use isomorph_ir::interp::{Exit, Interp};
use isomorph_ir::{Block, Builder, TrapKind};
use isomorph_riscv::{Riscv64, State};

use super::kernel::{Called, Process};
use super::runtime::{SIGILL, SIGSEGV, SIGTRAP};
use crate::rows::{GuestHelpers, from_bytes, to_bytes};

/// `ILL_ILLOPC` and `TRAP_BRKPT`.
const AT_INSTRUCTION: i64 = 1;

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The status, or none if it was still running.
    pub status: Option<u64>,
    /// What it wrote.
    pub output: Vec<u8>,
    /// Blocks that ran.
    pub blocks: u64,
    /// Guest instructions that ran, or more: blocks that were left early count as a whole.
    pub insns: u64,
}

/// Runs an executable until it has run so many blocks.
pub fn run(file: &[u8], most: u64) -> Ending {
    let (process, entry) = Process::new(file);
    let mut machine = Machine {
        process,
        builder: Builder::new(Riscv64::globals()),
        interp: Interp::new(Riscv64::globals()),
        blocks: HashMap::new(),
        state: State::new(),
    };
    machine.state.pc = entry;
    let mut ending = Ending {
        status: None,
        output: Vec::new(),
        blocks: 0,
        insns: 0,
    };
    while ending.blocks < most && ending.status.is_none() {
        ending.blocks += 1;
        let (insns, called) = machine.block();
        ending.insns += insns;
        if let Called::Ended(status) = called {
            ending.status = Some(status);
        }
    }
    ending.output = machine.process.output;
    ending
}

struct Machine {
    process: Process,
    builder: Builder,
    interp: Interp,
    /// Blocks by address and mode.
    blocks: HashMap<(u64, u32), Block>,
    state: State,
}

impl Machine {
    /// Runs a block, and what follows from its end.
    fn block(&mut self) -> (u64, Called) {
        let Self {
            process,
            builder,
            interp,
            blocks,
            state,
        } = self;
        let (pc, mode) = (state.pc, Riscv64::mode(state));
        let block = blocks.entry((pc, mode)).or_insert_with(|| {
            let (guest, limits) = (Riscv64::default(), Limits::default());
            translate_block(&guest, builder, &process.space, pc, mode, limits);
            builder.block().clone()
        });
        let insns = u64::from(block.insns);
        interp.fp.flags.0 = Riscv64::fp_flags(state);
        interp.fp.set_rounding(Riscv64::rounding(state).into());
        let mut bytes = to_bytes(state);
        let exit = interp.run(block, &mut bytes, &mut process.space, &mut GuestHelpers);
        *state = from_bytes(&bytes);
        Riscv64::set_fp_flags(state, interp.fp.flags.0);
        let called = match exit.expect("the state has the size of its globals") {
            Exit::Trap { kind, info, .. } => self.trap(kind, info),
            Exit::Fault { fault, .. } => {
                process.fault(state, fault.address);
                Called::Done
            }
            Exit::Direct { .. } | Exit::Indirect { .. } | Exit::Call { .. } => Called::Done,
        };
        if called == Called::CodeChanged {
            self.blocks.clear();
        }
        (insns, called)
    }

    fn trap(&mut self, kind: TrapKind, info: u64) -> Called {
        let (process, state) = (&mut self.process, &mut self.state);
        let pc = state.pc;
        match kind {
            TrapKind::Syscall => return process.call(state),
            TrapKind::InsnSync => return Called::CodeChanged,
            TrapKind::Illegal => process.signal(state, SIGILL, AT_INSTRUCTION, pc),
            TrapKind::Breakpoint => process.signal(state, SIGTRAP, AT_INSTRUCTION, pc),
            TrapKind::Fetch => {
                let why = process.space.why_no_code(info);
                process.signal(state, SIGSEGV, why, info);
            }
            _ => {}
        }
        Called::Done
    }
}
