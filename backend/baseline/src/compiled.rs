//! What compiling a block yields.

use isomorph_ir::Op;

/// Code of one block, for the address it was compiled for. Reused from block to block.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The bytes. Offset 0 is the polled entry: it leaves with [`ExitReason::Irq`] if
    /// [`crate::Header::irq`] is set.
    pub code: Vec<u8>,
    /// Offset of the entry that does not poll.
    pub fast_entry: u32,
    /// Direct exits, the id of the first being the `first_edge` that `compile` was given.
    pub edges: Vec<EdgeSite>,
    /// Return points of calls.
    pub landings: Vec<Landing>,
    /// Host offsets of the guest instructions, ascending: one entry each.
    pub map: Vec<MapEntry>,
}

impl Compiled {
    /// Empties it, keeping the storage.
    pub fn clear(&mut self) {
        self.code.clear();
        self.fast_entry = 0;
        self.edges.clear();
        self.landings.clear();
        self.map.clear();
    }

    /// Guest pc of the instruction whose code holds the byte at `host`, if one does. For a fault
    /// look up the faulting instruction's first byte.
    pub fn guest_pc(&self, host: u32) -> Option<u64> {
        let n = self.map.partition_point(|e| e.host <= host);
        Some(self.map.get(n.checked_sub(1)?)?.guest_pc)
    }
}

/// A direct exit: a jump or call that goes to a stub until the engine links it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeSite {
    /// Offset of the four patchable bytes (a displacement relative to their end). They never
    /// cross an 8-byte boundary of the final address.
    pub rel32: u32,
    /// Offset of the stub they lead to while unlinked.
    pub stub: u32,
    /// Guest pc it leads to.
    pub target: u64,
    /// Link to the target's polled entry (the edge leads backward), not to its fast entry.
    pub polled: bool,
    /// The instruction is a `call`, not a jump.
    pub call: bool,
}

/// The code after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landing {
    /// Offset of the 8-byte aligned constant that holds `ret_pc`. Overwritten with 1 it makes the
    /// landing refuse every return.
    pub cell: u32,
    /// Guest pc that the landing continues.
    pub ret_pc: u64,
}

/// Where the code of a guest instruction starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Offset in the block's code.
    pub host: u32,
    /// The instruction's address.
    pub guest_pc: u64,
}

/// Why generated code returned: the low byte of what `enter` returns. The payload is above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitReason {
    /// An unlinked direct exit; the payload is the edge id.
    Edge = 0,
    /// An indirect jump that missed the jump cache; the pc is in [`crate::Header::exit_pc`].
    Indirect = 1,
    /// A trap; the payload is the [`isomorph_ir::TrapKind`] number, pc and information are in the
    /// header.
    Trap = 2,
    /// [`crate::Header::irq`] was set; the pc is in the header.
    Irq = 3,
    /// The signal handler sent the thread to [`Runtime::exit_fault`] (payload 0), or an access
    /// faulted on the slow path: the payload is what [`crate::Header::mem_fault`] was, pc and
    /// address are in the header.
    Fault = 4,
}

impl ExitReason {
    /// Splits what `enter` returned.
    pub const fn decode(raw: u64) -> Option<(Self, u64)> {
        let reason = match raw as u8 {
            0 => Self::Edge,
            1 => Self::Indirect,
            2 => Self::Trap,
            3 => Self::Irq,
            4 => Self::Fault,
            _ => return None,
        };
        Some((reason, raw >> 8))
    }
}

/// Position-independent stubs, placed once at the start of the code region, 64-byte aligned. All
/// fields but the code are offsets into it.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// The bytes, constants included.
    pub code: Vec<u8>,
    /// `extern "C" fn(header: *mut Header, code: u64) -> u64`: runs generated code until it
    /// leaves; see [`ExitReason`] for the result.
    pub enter: u32,
    /// Leaves with `Edge`; `eax` = edge id.
    pub exit_edge: u32,
    /// Leaves with `Indirect`; `rax` = guest pc.
    pub exit_indirect: u32,
    /// Leaves with `Trap`; `eax` = kind, `rcx` = pc, `rdx` = information.
    pub exit_trap: u32,
    /// Leaves with `Irq`; `rax` = guest pc.
    pub exit_irq: u32,
    /// Leaves with `Fault`. The signal handler resumes here, all registers but `rip` untouched
    /// (`rsp` included).
    pub exit_fault: u32,
    /// Goes to the code for guest pc `rax`: jump cache, else `exit_indirect`.
    pub lookup: u32,
    /// Bottom of a return stack: pushes itself again and goes on to `lookup`.
    pub sentinel: u32,
    /// Calls helper `ecx` of [`crate::Header::helpers`] with [`crate::Header::args`]; result in
    /// `rax`.
    pub helper: u32,
    /// Calls the function of [`crate::Header::fp_runtime`] with [`crate::Header::args`]; the
    /// result replaces the first, its flags are raised; no register changes.
    pub soft_fp: u32,
    /// Four stubs that switch to static rounding mode 0–3 until `round_pop`.
    pub round_push: [u32; 4],
    /// Ends what `round_push` began.
    pub round_pop: u32,
    /// Performs the access to address [`crate::Header::exit_info`] by
    /// [`crate::Header::mem_runtime`]; no register changes.
    pub mem_slow: u32,
    /// Calls the function `extern "C" fn(header) -> (rax, rdx)` at `rcx` with the globals in the
    /// guest state, on the host's stack and MXCSR. If it gives 0 in `rdx`, `rax` is what `enter`
    /// returns; else this goes on at `rdx` plus the `rdx` that it was entered with, as generated
    /// code does, `rax` as the function left it.
    pub region: u32,
    /// As `region`, for a function that keeps vector registers and MXCSR, and names no global that
    /// may live in one: they stay as generated code has them, which takes half the time.
    pub region_plain: u32,
    /// Leaves such a function with `Fault`, the guest state as it is. The signal handler resumes
    /// here with `rbp` as generated code has it.
    pub region_fault: u32,
    /// As `mem_slow`, but called by such a function, with what was its argument in `rdi`. Address
    /// and guest pc are in [`crate::Header::exit_info`] and [`crate::Header::exit_pc`], request
    /// and value in [`crate::Header::scratch`]`[2]` and `[0]`: so code for the rare case takes no
    /// registers away from that beside it. The result is in `scratch[3]`; no general register
    /// changes, vector registers do. Leaves if the access faults.
    pub region_slow: u32,
    /// As `region_slow`, for functions behind `region_plain`.
    pub region_plain_slow: u32,
    /// Offset of the constants.
    pub consts: u32,
}

/// Why a block could not be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// More temporaries are alive at once than there are scratch registers and spill slots.
    #[error("too many temporaries are alive at once")]
    TooManyTemps,
    /// The IR of the block is malformed.
    #[error("malformed IR at operation {index} ({op:?})")]
    Malformed {
        /// Index of the operation.
        index: usize,
        /// The operation.
        op: Op,
    },
    /// The operation has no code on this type.
    #[error("operation {index} ({op:?}) is not supported on its type")]
    Unsupported {
        /// Index of the operation.
        index: usize,
        /// The operation.
        op: Op,
    },
    /// The block has no operation that ends it.
    #[error("the block does not end")]
    NoEnd,
}
