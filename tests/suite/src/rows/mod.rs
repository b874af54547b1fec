//! Instruction rows: one line says what one instruction does.
//!
//! ```text
//! addi        00150513  addi a0,a0,1 | a0=-1 => a0=0
//! ```
//!
//! Name in the decode specification (`illegal` for none), instruction word, disassembly, the
//! situation before, and what is different after. Everything that the right side does not name
//! must be as it was, and control goes on behind the instruction. Items are
//!
//! * `REG=VALUE`: an integer register by its ABI name (decimal or hexadecimal), or a
//!   floating-point register: `0x…` for all 64 bits, `d:VALUE`, or a boxed `s:VALUE` or `h:VALUE`,
//!   where the value is a decimal number, `inf`, `-inf`, `nan` (the canonical one) or `0x…` bits.
//!   After: `REG=*` allows anything;
//! * `[ADDRESS]=BYTES`: memory, in hexadecimal, lowest address first;
//! * `frm=N` and `flags=NV+DZ+OF+UF+NX` (some of them, or 0);
//! * after only: `pc=ADDRESS`, and `trap=KIND`, one of `illegal`, `syscall`, `breakpoint`,
//!   `misaligned:ADDRESS`, `fault:ADDRESS`, `insnsync`, `mode` and `yield`.
//!
//! The instruction lies at [`PC`]; memory is [`MEMORY_BYTES`] zero bytes at [`MEMORY`]; registers
//! that the left side does not name hold junk.

mod interp;
mod parse;
mod value;

use isomorph_ir::TrapKind;
use isomorph_ir::interp::FlatMemory;
use isomorph_riscv::State;
use isomorph_riscv::state::{F_NAMES, X_NAMES};

pub use interp::Interpreter;
pub(crate) use interp::{GuestHelpers, from_bytes, to_bytes};
pub use parse::{RowError, parse};

/// Address of the instruction.
pub const PC: u64 = 0x1_0000;
/// Address of the data.
pub const MEMORY: u64 = 0x2_0000;
/// Bytes of data.
pub const MEMORY_BYTES: usize = 0x1000;

/// One part of a situation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    X(usize, u64),
    /// Any value will do.
    AnyX(usize),
    F(usize, u64),
    Memory(u64, Vec<u8>),
    Frm(u64),
    Flags(u64),
    Pc(u64),
    Trap(Left),
}

/// How control left the instruction; where to is in the state's program counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// To another instruction.
    Next,
    /// With a trap and what it says.
    Trap(TrapKind, u64),
    /// With a failed access to this address.
    Fault(u64),
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Line in its file, from 1.
    pub line: usize,
    /// Name of the instruction in the specification, or `illegal`.
    pub name: String,
    /// The instruction.
    pub bits: u32,
    /// Its length in bytes.
    pub len: u32,
    /// Its disassembly, with one space after the mnemonic.
    pub text: String,
    before: Vec<Item>,
    after: Vec<Item>,
}

/// What a row starts from and what it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Registers.
    pub state: State,
    /// Data.
    pub memory: FlatMemory,
}

/// Something that can execute instructions.
pub trait Executor {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// Whether it serves traps of this kind by itself and goes on.
    fn serves(&self, _kind: TrapKind) -> bool {
        false
    }

    /// Executes `code`, which lies at the state's program counter, until control leaves it.
    fn execute(&mut self, code: &[u8], situation: &mut Situation) -> Left;
}

impl Situation {
    fn new() -> Self {
        let mut state = State::new();
        for (n, x) in state.x.iter_mut().enumerate().skip(1) {
            *x = 0x5a5a_0000_a5a5_0000 + n as u64;
        }
        for (n, f) in state.f.iter_mut().enumerate() {
            *f = 0x3ff5_a5a5_0000_0000 + n as u64;
        }
        state.pc = PC;
        Self {
            state,
            memory: FlatMemory::new(MEMORY, MEMORY_BYTES),
        }
    }

    /// Applies what can be applied.
    fn apply(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::X(n, value) => self.state.x[*n] = *value,
                Item::F(n, value) => self.state.f[*n] = *value,
                Item::Frm(value) => self.state.frm = *value,
                Item::Flags(value) => self.state.fflags = *value,
                Item::Pc(value) => self.state.pc = *value,
                Item::Memory(address, bytes) => {
                    let at = (address - MEMORY) as usize;
                    self.memory.bytes[at..at + bytes.len()].copy_from_slice(bytes);
                }
                Item::AnyX(_) | Item::Trap(_) => {}
            }
        }
    }
}

impl Row {
    /// The bytes of the instruction.
    pub fn code(&self) -> Vec<u8> {
        self.bits.to_le_bytes()[..self.len as usize].to_vec()
    }

    /// The situation before.
    pub fn before(&self) -> Situation {
        let mut situation = Situation::new();
        situation.apply(&self.before);
        situation
    }

    /// The situation after, and how control must leave.
    pub fn after(&self) -> (Situation, Left) {
        let mut situation = self.before();
        let trap = self.after.iter().find_map(|item| match item {
            Item::Trap(left) => Some(*left),
            _ => None,
        });
        if trap.is_none() {
            situation.state.pc += u64::from(self.len);
        }
        situation.apply(&self.after);
        let left = match trap {
            Some(Left::Trap(TrapKind::Illegal, _)) => {
                Left::Trap(TrapKind::Illegal, u64::from(self.bits))
            }
            other => other.unwrap_or(Left::Next),
        };
        (situation, left)
    }

    /// Executes the row; the answer lists what is not as it should be.
    pub fn check(&self, executor: &mut dyn Executor) -> Vec<String> {
        let mut got = self.before();
        let left = executor.execute(&self.code(), &mut got);
        let (mut want, mut want_left) = self.after();
        if matches!(want_left, Left::Trap(kind, _) if executor.serves(kind)) {
            want_left = Left::Next;
        }
        for item in &self.after {
            if let Item::AnyX(n) = item {
                want.state.x[*n] = got.state.x[*n];
            }
        }
        let mut wrong = differences(&got, &want);
        if left != want_left {
            wrong.push(format!("left with {left:?}, not {want_left:?}"));
        }
        wrong
    }
}

/// Everything in which two situations differ.
pub fn differences(got: &Situation, want: &Situation) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |name: &str, got: u64, want: u64| {
        if got != want {
            wrong.push(format!("{name} is {got:#x}, not {want:#x}"));
        }
    };
    for n in 0..32 {
        compare(X_NAMES[n], got.state.x[n], want.state.x[n]);
        compare(F_NAMES[n], got.state.f[n], want.state.f[n]);
    }
    compare("pc", got.state.pc, want.state.pc);
    compare("frm", got.state.frm, want.state.frm);
    compare("flags", got.state.fflags, want.state.fflags);
    let bytes = got.memory.bytes.iter().zip(&want.memory.bytes);
    for (at, (got, want)) in bytes.enumerate() {
        compare(
            &format!("[{:#x}]", MEMORY + at as u64),
            u64::from(*got),
            u64::from(*want),
        );
    }
    wrong
}
