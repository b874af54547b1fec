//! What each guest instruction set gives the translator, and the loop that translates a block.
//!
//! Invariants: nothing here names a particular guest, host code, a device or a thread. Decoding is
//! total: bytes that are no instruction become a trap in the block, never an error.
#![forbid(unsafe_code)]

mod system;
mod translate;

pub use system::{
    MemoryAccess, PhysicalMemory, SystemGuest, TimeScale, TlbContext, TlbFlush, Translation,
};
pub use translate::{Limits, translate_block};

use isomorph_ir::{Builder, GlobalTable};

/// A function of the front end that generated code calls for rare work.
///
/// It gets the guest state, with every global stored in it, and may change it.
pub struct Helper<S: 'static> {
    /// Name for dumps and statistics.
    pub name: &'static str,
    /// The function: state and three arguments to one result.
    pub func: extern "C" fn(&mut S, u64, u64, u64) -> u64,
}

/// What follows a translated instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on with the next instruction, `len` bytes further.
    Next {
        /// Length of this instruction in bytes.
        len: u32,
    },
    /// The operations emitted last have ended the block ([`Builder::ended`] holds).
    End {
        /// Length of this instruction in bytes.
        len: u32,
    },
    /// The window holds too few bytes to know the instruction: at least `need` are wanted.
    Short {
        /// Bytes wanted.
        need: u32,
    },
}

/// Instruction bytes of the guest.
pub trait CodeSource {
    /// Copies executable bytes from `pc` on into `out`; returns how many could be had, from the
    /// first: 0 means that fetching at `pc` faults.
    fn read(&self, pc: u64, out: &mut [u8]) -> usize;

    /// True if the bytes at `pc` may change without the translator being told (the page is
    /// writable, or shared with a writable mapping): they are compared again when the guest asks
    /// for instruction memory to be made coherent.
    fn may_change(&self, pc: u64) -> bool;
}

/// A guest instruction set.
///
/// The implementing value is the configuration (CPU model); [`Guest::State`] is one vCPU's
/// registers in the layout that the global table names.
pub trait Guest: Send + Sync + 'static {
    /// Register state of one vCPU: `#[repr(C)]`, plain data.
    type State: Clone + Send + 'static;

    /// Name of the instruction set as the kernel's `uname -m` spells it.
    const NAME: &'static str;

    /// Size of the shortest instruction in bytes (what a program counter must be a multiple of).
    const INSN_ALIGN: u64;

    /// Size of the longest instruction in bytes, at most 15.
    const INSN_MAX: u64;

    /// The registers as IR globals.
    fn globals() -> &'static GlobalTable;

    /// Functions that translated code may call, in the order of their numbers.
    fn helpers() -> &'static [Helper<Self::State>];

    /// Registers at reset.
    fn new_state(&self) -> Self::State;

    /// The program counter.
    fn pc(state: &Self::State) -> u64;

    /// Sets the program counter.
    fn set_pc(state: &mut Self::State, pc: u64);

    /// The translation mode that this state asks for: part of a block's key. Changes only behind
    /// a `Mode` trap or while the vCPU is stopped.
    fn mode(state: &Self::State) -> u32;

    /// Dynamic rounding mode for the host (an [`isomorph_ir::Rm`] number, 0–3), taken when the
    /// vCPU enters generated code.
    fn rounding(state: &Self::State) -> u8;

    /// Sticky floating-point flags, in the IR's order, kept in the state while the vCPU is stopped.
    fn fp_flags(state: &Self::State) -> u8;

    /// Stores the sticky floating-point flags when the vCPU stops.
    fn set_fp_flags(state: &mut Self::State, flags: u8);

    /// Translates the instruction at `pc`, whose first bytes are in `window`, in mode `mode`.
    fn translate(&self, b: &mut Builder, pc: u64, window: &[u8], mode: u32) -> Step;

    /// Writes the assembly form of the instruction at `pc` and returns its length in bytes (at
    /// least 1, at most `window.len()` unless that is 0).
    fn disassemble(&self, pc: u64, window: &[u8], out: &mut String) -> u32;
}
