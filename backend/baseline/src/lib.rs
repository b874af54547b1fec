//! Tier 1: one pass from the block IR to x86-64.
//!
//! Only bytes are produced here; `isomorph-code` places them and `isomorph-engine` runs them.
//!
//! Invariants:
//! - Generated code and stubs are position-independent but for `rel32` displacements to the
//!   runtime's stubs, and hold no host address.
//! - `rbp` holds the [`Header`]'s address plus [`RBP_BIAS`]; `rsp` is the vCPU's private return
//!   stack; the globals of lowest rank live in `rbx rsi rdi r8`–`r15` and `xmm3`–`xmm15`
//!   everywhere, all others in the guest state. Guest state is so precise at every instruction
//!   that can fault.
//! - At every return and landing `rax` holds the guest pc that is returned to.
//! - A cycle of guest control flow passes a polled entry: edges that lead backward and the jump
//!   cache lead to polled entries.
//! - With a software TLB no linked edge leads to another page, and nothing that was learnt from
//!   the TLB outlives a block, a call, a helper, a fence or a slow path.
#![forbid(unsafe_code)]

mod asm;
mod atomic;
mod compiled;
mod emit;
mod exits;
mod fp;
mod header;
mod int;
mod mem;
mod regs;
mod runtime;
mod soft;
mod thunk;
mod tlb;

pub use compiled::{Compiled, EdgeSite, EmitError, ExitReason, Landing, MapEntry, Runtime};
pub use header::{
    GUEST_OFFSET, Header, JUMP_CACHE_LEN, JUMP_CACHE_OFFSET, JumpCacheEntry, MXCSR_DEFAULT,
    RBP_BIAS, RESERVE_LEN, SPILL_SLOTS, TLB_ADDEND, TLB_ENTRY_LEN, TLB_READ, TLB_WRITE, flags_of,
    mxcsr_of,
};
pub use thunk::{THUNK_LEN, counting_thunk};
pub use tlb::{MemFunction, MemKind, MemRequest};

use isomorph_ir::{Block, GlobalTable};

/// Where the guest's registers are: global `g` at [`GUEST_OFFSET`]` + g.offset`.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The guest's globals.
    pub globals: &'static GlobalTable,
    /// How guest addresses become host addresses.
    pub memory: Memory,
}

/// How guest addresses become host addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// They are the same.
    Identity,
    /// Through a software TLB at [`Header::tlb`], of 2^`bits` entries (at most 2^12): entry
    /// `(address >> 12) & (2^bits - 1)` answers. Direct exits to another page, or to where an
    /// instruction may reach into another page, are looked up in the jump cache (which is at
    /// [`Header::jump_cache`]), since another mapping may apply there by then.
    Tlb {
        /// Log2 of the number of entries.
        bits: u32,
        /// Bytes of the guest's longest instruction.
        longest: u32,
    },
}

/// Compiles blocks. Keeps its storage from block to block.
#[derive(Debug)]
pub struct Emitter {
    runtime: Runtime,
    runtime_base: u64,
    asm: asm::Asm,
    regs: regs::Regs,
    cold: Vec<emit::Cold>,
    cells: Vec<asm::Fix>,
    tlb: Option<tlb::Probes>,
}

impl Emitter {
    /// An emitter for guests of this layout.
    pub fn new(layout: Layout) -> Self {
        let regs = regs::Regs::new(regs::place_globals(layout.globals));
        Self {
            runtime: runtime::build(regs.places(), layout.memory),
            runtime_base: 0,
            asm: asm::Asm::default(),
            regs,
            cold: Vec::new(),
            cells: Vec::new(),
            tlb: tlb::Probes::new(layout.memory),
        }
    }

    /// The stubs that generated code needs.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Says at which (executable) address the runtime was placed. Blocks must lie within 2 GiB.
    pub fn set_runtime_base(&mut self, rx: u64) {
        self.runtime_base = rx;
    }

    /// As [`Emitter::compile`], but every exit leaves generated code: edges are not to be linked,
    /// computed jumps and returns do not look into the jump cache, calls push no landing.
    ///
    /// # Errors
    /// As [`Emitter::compile`].
    pub fn compile_stepping(
        &mut self,
        block: &Block,
        base: u64,
        first_edge: u32,
        out: &mut Compiled,
    ) -> Result<(), EmitError> {
        self.compile_with(block, base, first_edge, out, true)
    }

    /// Compiles `block` for executable address `base` (16-byte aligned). Edge ids count up from
    /// `first_edge`.
    ///
    /// # Errors
    /// [`EmitError`] if the block is malformed or asks too much; `out` is then unusable.
    pub fn compile(
        &mut self,
        block: &Block,
        base: u64,
        first_edge: u32,
        out: &mut Compiled,
    ) -> Result<(), EmitError> {
        self.compile_with(block, base, first_edge, out, false)
    }

    fn compile_with(
        &mut self,
        block: &Block,
        base: u64,
        first_edge: u32,
        out: &mut Compiled,
        stepping: bool,
    ) -> Result<(), EmitError> {
        out.clear();
        self.cold.clear();
        self.cells.clear();
        self.asm.start(base, self.runtime_base);
        self.regs.start(block);
        let mut compile = emit::Compile {
            asm: &mut self.asm,
            regs: &mut self.regs,
            cold: &mut self.cold,
            rt: &self.runtime,
            block,
            out,
            pc: block.pc,
            at: 0,
            cells: &mut self.cells,
            tlb: self.tlb.clone(),
            stepping,
            error: None,
        };
        compile.run(first_edge)?;
        out.code.extend_from_slice(self.asm.bytes());
        Ok(())
    }
}

/// Addresses of the functions behind [`Header::fp_runtime`].
pub fn fp_runtime_table() -> &'static [usize] {
    soft::table()
}

/// What the first function of [`fp_runtime_table`] takes as its fourth argument: the operation,
/// its type and its rounding attribute. It is `extern "C" fn(a, b, c, code, mxcsr)`, its results
/// are the value (an F32 with ones above it) and the flags to raise, as MXCSR bits.
pub const fn fp_runtime_code(op: isomorph_ir::Op, ty: isomorph_ir::Type, aux: u8) -> u32 {
    soft::encode(op, ty, aux)
}

/// Checks that the host has what generated code uses.
///
/// # Errors
/// The names of the missing features.
pub fn host_supported() -> Result<(), Vec<&'static str>> {
    macro_rules! missing {
        ($($f:tt)+) => {{
            let mut names = Vec::new();
            $(if !std::arch::is_x86_feature_detected!($f) { names.push($f); })+
            names
        }};
    }
    let names = missing!("sse4.2" "popcnt" "avx" "avx2" "bmi1" "bmi2" "fma" "lzcnt" "movbe"
        "pclmulqdq" "cmpxchg16b");
    if names.is_empty() { Ok(()) } else { Err(names) }
}
