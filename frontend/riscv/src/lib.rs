//! The RISC-V guest: state, decode specification, semantics and disassembly.
//!
//! `riscv64.spec` is the one list of instructions; its decoder is made when the crate is built.
//! [`Riscv64`] is what the translate loop and the engine see of a program, [`RiscvMachine`] of a
//! whole machine.
//!
//! Invariants:
//! - Nothing here knows host code, devices, threads or system calls.
//! - Decoding is total: what the CPU model does not have is an illegal-instruction trap.
//! - A program's translation mode is a function of `frm` alone, a machine's also of privilege and
//!   of what [`system::mode`] lists; writes that change it leave the block.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod decode;
mod disasm;
mod helpers;
mod semantics;
pub mod state;
pub mod system;
mod translate;

use isomorph_frontend::{Guest, Helper, Step};
use isomorph_ir::{Builder, GlobalTable};

pub use cpu::{CpuError, CpuModel, Features, HwprobeMachine, Paging};
pub use state::State;
pub use system::{HartState, RiscvMachine};

use translate::{Fetched, Translator};

/// The 64-bit RISC-V guest, with its CPU model.
#[derive(Clone, Debug, Default)]
pub struct Riscv64 {
    /// What the harts can do.
    pub cpu: CpuModel,
}

impl Riscv64 {
    /// A guest of this CPU model.
    pub const fn new(cpu: CpuModel) -> Self {
        Self { cpu }
    }
}

impl Guest for Riscv64 {
    type State = State;

    const NAME: &'static str = "riscv64";

    const INSN_ALIGN: u64 = 2;

    const INSN_MAX: u64 = 4;

    fn globals() -> &'static GlobalTable {
        &state::TABLE
    }

    fn helpers() -> &'static [Helper<State>] {
        helpers::HELPERS
    }

    fn new_state(&self) -> State {
        State::new()
    }

    fn pc(state: &State) -> u64 {
        state.pc
    }

    fn set_pc(state: &mut State, pc: u64) {
        state.pc = pc;
    }

    fn mode(state: &State) -> u32 {
        translate::mode_of(state.frm)
    }

    fn rounding(state: &State) -> u8 {
        if state.frm < 4 { state.frm as u8 } else { 0 }
    }

    fn fp_flags(state: &State) -> u8 {
        state.fflags as u8
    }

    fn set_fp_flags(state: &mut State, flags: u8) {
        state.fflags = u64::from(flags);
    }

    #[inline]
    fn translate(&self, b: &mut Builder, pc: u64, window: &[u8], mode: u32) -> Step {
        let (bits, len) = match translate::fetch(window) {
            Fetched::Whole { bits, len } => (bits, len),
            Fetched::Short(need) => return Step::Short { need },
        };
        Translator {
            b,
            features: self.cpu.features(),
            pc,
            len,
            bits,
            mode,
        }
        .run()
    }

    fn disassemble(&self, pc: u64, window: &[u8], out: &mut String) -> u32 {
        disasm::disassemble(self.cpu.features(), pc, window, out)
    }
}
