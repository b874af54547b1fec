//! The memory of one vCPU: header, guest state, jump cache, and its return stack.

use crate::error::EngineError;
use isomorph_baseline::{
    GUEST_OFFSET, Header, JUMP_CACHE_LEN, JUMP_CACHE_OFFSET, JumpCacheEntry, RBP_BIAS,
};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Offset of the engine's own cell in a vCPU's memory, behind the guest state.
const CELL_OFFSET: usize = JUMP_CACHE_OFFSET - 1024;
/// Most bytes a guest state may have.
pub(crate) const GUEST_BYTES_MAX: usize = CELL_OFFSET - GUEST_OFFSET;
const JUMP_CACHE_BYTES: usize = JUMP_CACHE_LEN * size_of::<JumpCacheEntry>();
const GUARD: usize = 4096;
/// A pc that no guest has: instructions are 2-byte aligned at least.
const NO_PC: u64 = 1;

/// A host fault in generated code, noted by the signal handler.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HostFault {
    pub signo: i32,
    pub code: i32,
    pub address: u64,
    /// Host program counter.
    pub host: u64,
    /// General registers at the fault, in the processor's numbering (rax 0 … r15 15).
    pub regs: [u64; 16],
}

/// What other threads and signal handlers touch of a vCPU.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Cell {
    /// Nonzero while the vCPU is in generated code or holds an address into it.
    pub running: AtomicU32,
    /// Nonzero if the owner wants `run` to return.
    pub kicked: AtomicU32,
    /// What is still to be looked up in the block books: 0 nothing, `1 + edge`, or
    /// `PENDING_FAULT + host offset`.
    pub pending: AtomicU64,
    /// The guest pc that `pending` stood for, if a flush had to resolve it.
    pub pending_pc: AtomicU64,
    /// Nonzero if where the vCPU polls next is a sample of time.
    pub sample: AtomicU32,
    pub fault: HostFault,
}

/// [`Cell::pending`] from here on means a fault.
pub(crate) const PENDING_FAULT: u64 = 1 << 32;

/// Owner of the mappings.
#[derive(Debug)]
pub(crate) struct VcpuMemory {
    base: NonNull<u8>,
    /// Number of jump caches.
    banks: usize,
    stack: NonNull<u8>,
    stack_bytes: usize,
}

/// A shared view of a vCPU's memory, for the registry of all vCPUs. Valid while the vCPU is
/// registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VcpuRef {
    base: NonNull<u8>,
    /// Number of jump caches.
    banks: usize,
    /// Value of an empty return stack's pointer.
    stack_empty: u64,
}

// SAFETY: what is reached through it is atomic, or touched only while the vCPU is stopped.
unsafe impl Send for VcpuRef {}
// SAFETY: the memory belongs to the value; the raw pointers are its handle on it.
unsafe impl Send for VcpuMemory {}

impl VcpuMemory {
    /// Maps zeroed memory with `banks` jump caches; the return stack holds `sentinel` at its
    /// bottom.
    pub fn new(stack_bytes: usize, sentinel: u64, banks: usize) -> Result<Self, EngineError> {
        let stack_bytes = stack_bytes.next_multiple_of(4096).max(8192);
        let base = map(memory_bytes(banks), libc::PROT_READ | libc::PROT_WRITE)?;
        let stack = map(GUARD + stack_bytes, libc::PROT_NONE)?;
        // SAFETY: the range lies inside the mapping just made.
        let opened = unsafe {
            let usable = stack.as_ptr().add(GUARD).cast();
            libc::mprotect(usable, stack_bytes, libc::PROT_READ | libc::PROT_WRITE)
        };
        let memory = Self {
            base,
            banks,
            stack,
            stack_bytes,
        };
        if opened != 0 {
            let source = std::io::Error::last_os_error();
            return Err(EngineError::VcpuMemory {
                size: stack_bytes,
                source,
            });
        }
        // SAFETY: the last word of the stack, inside the mapping and aligned.
        unsafe { (memory.stack_empty() as *mut u64).write(sentinel) };
        // The zeroed tags are all impossible but pc 0's, which only the first entry could hold.
        for bank in 0..banks {
            let cache = memory.as_ref().bank(bank);
            memory
                .as_ref()
                .jump_cache(cache, 0)
                .0
                .store(NO_PC, Ordering::Relaxed);
        }
        Ok(memory)
    }

    /// Makes memory that a vCPU has left as good as new, but for the header and the guest state.
    pub fn refresh(&mut self) {
        let view = self.as_ref();
        view.clear_jump_cache();
        // SAFETY: inside the mapping; zeros are a valid Cell, and nobody else holds the memory.
        unsafe {
            self.base
                .as_ptr()
                .add(CELL_OFFSET)
                .write_bytes(0, size_of::<Cell>())
        };
    }

    fn stack_empty(&self) -> u64 {
        self.stack.as_ptr() as u64 + (GUARD + self.stack_bytes) as u64 - 8
    }

    pub fn as_ref(&self) -> VcpuRef {
        VcpuRef {
            base: self.base,
            banks: self.banks,
            stack_empty: self.stack_empty(),
        }
    }

    /// The header, which generated code works on.
    pub fn header(&self) -> *mut Header {
        self.base.as_ptr().cast()
    }

    /// The guest state.
    pub fn guest<S>(&self) -> *mut S {
        // SAFETY: inside the mapping; `GUEST_BYTES_MAX` was checked when the vCPU was made.
        unsafe { self.base.as_ptr().add(GUEST_OFFSET).cast() }
    }

    /// Address range whose access means that the return stack ran over.
    pub fn guard(&self) -> std::ops::Range<u64> {
        let start = self.stack.as_ptr() as u64;
        start..start + GUARD as u64
    }
}

impl Drop for VcpuMemory {
    fn drop(&mut self) {
        // SAFETY: the vCPU was taken out of the registry, so nothing refers to the mappings.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), memory_bytes(self.banks));
            libc::munmap(self.stack.as_ptr().cast(), GUARD + self.stack_bytes);
        }
    }
}

impl VcpuRef {
    pub fn same(self, other: Self) -> bool {
        self.base == other.base
    }

    /// What tells it from other vCPUs.
    pub fn id(&self) -> usize {
        self.base.as_ptr() as usize
    }

    /// The engine's cell.
    pub fn cell(&self) -> &Cell {
        // SAFETY: inside the mapping, aligned, zeroed at first (a valid Cell); the fault record is
        // written by the vCPU's own thread only.
        unsafe { &*self.base.as_ptr().add(CELL_OFFSET).cast::<Cell>() }
    }

    /// Whether the vCPU is in generated code.
    pub fn is_running(&self) -> bool {
        self.cell().running.load(Ordering::SeqCst) != 0
    }

    /// The fault record. Only for the vCPU's own thread and its signal handler.
    pub fn fault(&self) -> *mut HostFault {
        // SAFETY: inside the mapping.
        unsafe { &raw mut (*self.base.as_ptr().add(CELL_OFFSET).cast::<Cell>()).fault }
    }

    /// The poll flag of generated code.
    pub fn irq(&self) -> &AtomicU32 {
        // SAFETY: the header starts the mapping; the field is atomic.
        unsafe { &(*self.base.as_ptr().cast::<Header>()).irq }
    }

    /// Empties the return stack. The vCPU must be stopped, or be the caller's own.
    pub fn reset_return_stack(&self) {
        // SAFETY: the field lies in the mapping; generated code of this vCPU is not running.
        unsafe { (*self.base.as_ptr().cast::<Header>()).shadow_rsp = self.stack_empty };
    }

    /// What `rsp` is when the return stack is empty.
    pub fn stack_empty(&self) -> u64 {
        self.stack_empty
    }

    /// Counter number `slot`. Generated code counts it down without atomicity: it is this vCPU's.
    pub fn counter(&self, slot: u32) -> &AtomicI32 {
        let offset = counters_offset(self.banks) + (slot % COUNTERS) as usize * 4;
        // SAFETY: inside the mapping, aligned, and Rust code only touches it atomically.
        unsafe { &*self.base.as_ptr().add(offset).cast::<AtomicI32>() }
    }

    /// What was noted of a region's frame at a fault. Only for the vCPU's own thread, its signal
    /// handler, and who has the vCPU stopped.
    pub fn frame(&self) -> *mut [u8; FRAME_BYTES] {
        // SAFETY: inside the mapping.
        unsafe { self.base.as_ptr().add(frame_offset(self.banks)).cast() }
    }

    /// The guest state's bytes. As for `frame`.
    pub fn guest_bytes(&self) -> *mut [u8; GUEST_BYTES_MAX] {
        // SAFETY: inside the mapping.
        unsafe { self.base.as_ptr().add(GUEST_OFFSET).cast() }
    }

    /// The host's stack pointer where generated code was entered. As for `frame`.
    pub fn host_rsp(&self) -> u64 {
        // SAFETY: the field lies in the mapping, and generated code is not running.
        unsafe { (*self.base.as_ptr().cast::<Header>()).host_rsp }
    }

    /// What `rbp` is in generated code.
    pub fn rbp(&self) -> u64 {
        self.base.as_ptr() as u64 + RBP_BIAS as u64
    }

    /// Whether `address` is on the return stack.
    pub fn on_return_stack(&self, address: u64, guard: (u64, u64)) -> bool {
        (guard.0..=self.stack_empty).contains(&address)
    }

    /// Address of jump cache number `bank`.
    pub fn bank(&self, bank: usize) -> usize {
        debug_assert!(bank < self.banks);
        self.base.as_ptr() as usize + JUMP_CACHE_OFFSET + bank * JUMP_CACHE_BYTES
    }

    /// Address of the jump cache in use.
    fn current(&self) -> usize {
        // SAFETY: the field lies in the mapping; it is set when the vCPU is made, and changed by
        // its own thread while generated code is stopped.
        unsafe { (*self.base.as_ptr().cast::<Header>()).jump_cache }
    }

    fn jump_cache(&self, cache: usize, index: usize) -> (&AtomicU64, &AtomicU64) {
        // SAFETY: index < JUMP_CACHE_LEN (callers mask), `cache` is one of this vCPU's jump
        // caches; two aligned words inside the mapping that Rust code only touches atomically.
        unsafe {
            let entry = (cache as *const AtomicU64).add(index * 2);
            (&*entry, &*entry.add(1))
        }
    }

    /// Remembers that `pc` is at host address `code`, in the jump cache in use.
    pub fn fill_jump_cache(&self, pc: u64, code: u64) {
        let (tag, target) = self.jump_cache(self.current(), jump_cache_index(pc));
        // The owner's generated code must not see the new tag with the old target; it runs on
        // this thread, so program order is enough.
        target.store(code, Ordering::Relaxed);
        tag.store(pc, Ordering::Relaxed);
    }

    /// Host address of the code for `pc`, if the jump cache in use knows it.
    pub fn probe_jump_cache(&self, pc: u64) -> Option<u64> {
        let (tag, target) = self.jump_cache(self.current(), jump_cache_index(pc));
        (tag.load(Ordering::Relaxed) == pc).then(|| target.load(Ordering::Relaxed))
    }

    /// Forgets `pc`, in all jump caches.
    pub fn forget(&self, pc: u64) {
        for bank in 0..self.banks {
            let (tag, _) = self.jump_cache(self.bank(bank), jump_cache_index(pc));
            if tag.load(Ordering::Relaxed) == pc {
                tag.store(NO_PC, Ordering::Relaxed);
            }
        }
    }

    /// Forgets everything, in all jump caches.
    pub fn clear_jump_cache(&self) {
        for bank in 0..self.banks {
            self.clear_bank(bank, |_| true);
        }
    }

    /// Forgets the addresses that `drop` picks, in one jump cache.
    pub fn clear_bank(&self, bank: usize, drop: impl Fn(u64) -> bool) {
        let cache = self.bank(bank);
        for i in 0..JUMP_CACHE_LEN {
            let (tag, _) = self.jump_cache(cache, i);
            if drop(tag.load(Ordering::Relaxed)) {
                tag.store(NO_PC, Ordering::Relaxed);
            }
        }
    }
}

/// Counters of a vCPU (see `crate::blocks`).
pub(crate) const COUNTERS: u32 = 8192;

/// Offset of the counters in the memory of a vCPU with `banks` jump caches.
pub(crate) const fn counters_offset(banks: usize) -> usize {
    JUMP_CACHE_OFFSET + banks * JUMP_CACHE_BYTES
}

/// Bytes of a vCPU's memory.
const fn memory_bytes(banks: usize) -> usize {
    frame_offset(banks) + FRAME_BYTES
}

/// Bytes of a region's frame that are noted at a fault.
pub(crate) const FRAME_BYTES: usize = isomorph_cranelift::Recovery::FRAME_LIMIT;

const fn frame_offset(banks: usize) -> usize {
    counters_offset(banks) + COUNTERS as usize * 4
}

fn jump_cache_index(pc: u64) -> usize {
    (pc >> 1) as usize & (JUMP_CACHE_LEN - 1)
}

fn map(size: usize, prot: i32) -> Result<NonNull<u8>, EngineError> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses.
    let p = unsafe { libc::mmap(std::ptr::null_mut(), size, prot, flags, -1, 0) };
    let failed = || EngineError::VcpuMemory {
        size,
        source: std::io::Error::last_os_error(),
    };
    if p == libc::MAP_FAILED {
        return Err(failed());
    }
    NonNull::new(p.cast()).ok_or_else(failed)
}
