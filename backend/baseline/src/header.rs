//! The memory that generated code and the engine share: the head of a vCPU, and what the pieces
//! of compiled code are.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// Number of 8-byte slots for temporaries that find no scratch register.
pub const SPILL_SLOTS: usize = 24;

/// Offset of the guest state structure from the start of [`Header`].
pub const GUEST_OFFSET: usize = 512;

/// Offset of the jump cache from the start of [`Header`].
pub const JUMP_CACHE_OFFSET: usize = 8192;

/// Number of [`JumpCacheEntry`]s: entry `(pc >> 1) & (JUMP_CACHE_LEN - 1)` answers for `pc`.
pub const JUMP_CACHE_LEN: usize = 4096;

/// Generated code holds the address of the vCPU's [`Header`] plus this in `rbp`. It is chosen so
/// that the interrupt flag and the first 240 bytes of the guest state have 8-bit displacements.
pub const RBP_BIAS: usize = GUEST_OFFSET + 120;

/// Number of reservation buckets behind [`Header::reserve_table`]: an address falls into bucket
/// `(addr >> 4) & (RESERVE_LEN - 1)`.
pub const RESERVE_LEN: usize = 4096;

/// Bytes of an entry of the software TLB: three tags, then host address minus guest address.
///
/// A tag is the page's address if the entry permits the access without the slow path; anything
/// else has a bit of 4–11 set (bits 0–3 may be set in a misaligned address that it is compared
/// with).
pub const TLB_ENTRY_LEN: usize = 32;
/// Offset of a TLB entry's tag for loads.
pub const TLB_READ: usize = 0;
/// Offset of a TLB entry's tag for stores and atomics.
pub const TLB_WRITE: usize = 8;
/// Offset of a TLB entry's addend.
pub const TLB_ADDEND: usize = 24;

/// Number of registers off which accesses are coalesced at a time.
pub(crate) const ADDENDS: usize = 4;

/// Head of a vCPU's memory; the guest state follows at [`GUEST_OFFSET`] and, unless there is a
/// software TLB, the jump cache at [`JUMP_CACHE_OFFSET`]. The whole lies in one zero-initialised
/// allocation.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Header {
    /// Host stack pointer while generated code runs.
    pub host_rsp: u64,
    /// Top of the return stack while generated code is stopped. The engine points it at a slot
    /// that holds the address of [`crate::Runtime::sentinel`].
    pub shadow_rsp: u64,
    /// Guest pc of the last exit (all reasons but `Edge` and `Fault`).
    pub exit_pc: u64,
    /// Information operand of the last trap.
    pub exit_info: u64,
    /// Address of the table of helper function addresses (`extern "C" fn(state, a, b, c) -> u64`).
    pub helpers: usize,
    /// Address of [`crate::fp_runtime_table`]'s first element.
    pub fp_runtime: usize,
    /// Address of `[AtomicU64; RESERVE_LEN]`, shared by all vCPUs: versions, odd while a store
    /// conditional is under way.
    pub reserve_table: usize,
    /// Arguments of a helper call.
    pub args: [u64; 4],
    /// Spilled temporaries.
    pub spills: [u64; SPILL_SLOTS],
    /// Address of the reservation (bit 0 set: none).
    pub reserve_addr: u64,
    /// Value loaded when the reservation was made.
    pub reserve_value: u64,
    /// Version of the bucket when the reservation was made (even).
    pub reserve_version: u64,
    /// Address of the bucket that a store conditional holds right now, else 0. A fault inside
    /// must add 1 to that bucket (which makes it even again) and clear this.
    pub sc_lock: u64,
    /// Scratch words of runtime stubs.
    pub scratch: [u64; 4],
    /// For the engine's signal handler: host pc of a fault.
    pub fault_pc: u64,
    /// For the engine's signal handler: faulting address.
    pub fault_addr: u64,
    /// For the engine's signal handler: signal number and code.
    pub fault_code: u64,
    /// Scratch registers during an out-of-line floating-point operation.
    pub saved: [u64; 6],
    /// Free for the engine.
    pub engine: [u64; 2],
    /// Address of the jump cache's first entry with [`crate::Memory::Tlb`] (otherwise it is at
    /// [`JUMP_CACHE_OFFSET`]). It may change whenever generated code is stopped.
    pub jump_cache: usize,
    /// Address of the software TLB's entries ([`crate::Memory::Tlb`]), 32-byte aligned. It may
    /// change whenever generated code is stopped.
    pub tlb: usize,
    /// Address of the function for accesses that miss the TLB, see [`crate::MemFunction`].
    pub mem_runtime: usize,
    /// Set by that function if the access faults: generated code then leaves with `Fault`, this
    /// as the payload (not 0, at most 56 bits), and clears it.
    pub mem_fault: u64,
    /// Host address minus guest address of accesses off one register (bit 0 set: not known).
    pub mem_addends: [u64; ADDENDS],
    /// MXCSR of the host while generated code runs.
    pub host_mxcsr: u32,
    /// MXCSR scratch of runtime stubs.
    pub mxcsr_scratch: u32,
    /// Non-zero asks generated code to leave at its next polled entry.
    pub irq: AtomicU32,
    /// The guest's MXCSR while generated code is stopped: sticky flags and dynamic rounding mode,
    /// see [`crate::mxcsr_of`].
    pub mxcsr: u32,
}

/// One entry of the jump cache.
#[derive(Debug)]
#[repr(C)]
pub struct JumpCacheEntry {
    /// Guest pc (1: none).
    pub pc: AtomicU64,
    /// Address of its code's polled entry.
    pub code: AtomicU64,
}

impl Header {
    /// A header with nothing set up: no reservation, interrupts not pending, MXCSR at its default.
    pub fn new() -> Self {
        Self {
            host_rsp: 0,
            shadow_rsp: 0,
            exit_pc: 0,
            exit_info: 0,
            helpers: 0,
            fp_runtime: 0,
            reserve_table: 0,
            args: [0; 4],
            spills: [0; SPILL_SLOTS],
            reserve_addr: 1,
            reserve_value: 0,
            reserve_version: 0,
            sc_lock: 0,
            scratch: [0; 4],
            fault_pc: 0,
            fault_addr: 0,
            fault_code: 0,
            saved: [0; 6],
            engine: [0; 2],
            jump_cache: 0,
            tlb: 0,
            mem_runtime: 0,
            mem_fault: 0,
            mem_addends: [1; ADDENDS],
            host_mxcsr: MXCSR_DEFAULT,
            mxcsr_scratch: 0,
            irq: AtomicU32::new(0),
            mxcsr: MXCSR_DEFAULT,
        }
    }
}

impl Default for Header {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(size_of::<Header>() == GUEST_OFFSET);
const _: () = assert!(std::mem::offset_of!(Header, irq) + 8 == GUEST_OFFSET);

/// MXCSR with all exceptions masked, no flags, rounding to nearest (SDM Vol. 1 §10.2.3).
pub const MXCSR_DEFAULT: u32 = 0x1f80;

/// MXCSR for sticky flags (IR order) and a dynamic rounding mode (an [`isomorph_ir::Rm`] number;
/// what is not 0–3 counts as 0).
pub const fn mxcsr_of(flags: u8, rounding: u8) -> u32 {
    let mut m = MXCSR_DEFAULT | rounding_control(rounding) << 13;
    let mut i = 0;
    while i < 5 {
        if flags >> i & 1 != 0 {
            m |= MXCSR_FLAG[i];
        }
        i += 1;
    }
    m
}

/// The sticky flags of an MXCSR, in IR order.
pub const fn flags_of(mxcsr: u32) -> u8 {
    let mut flags = 0;
    let mut i = 0;
    while i < 5 {
        if mxcsr & MXCSR_FLAG[i] != 0 {
            flags |= 1 << i;
        }
        i += 1;
    }
    flags
}

/// MXCSR bit of each IR flag: inexact, underflow, overflow, divide by zero, invalid.
const MXCSR_FLAG: [u32; 5] = [0x20, 0x10, 0x08, 0x04, 0x01];

/// MXCSR's rounding control for an [`isomorph_ir::Rm`] number.
pub(crate) const fn rounding_control(rm: u8) -> u32 {
    match rm {
        1 => 3,
        2 => 1,
        3 => 2,
        _ => 0,
    }
}
