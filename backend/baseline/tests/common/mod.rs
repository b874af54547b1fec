//! Runs compiled blocks for the tests.

#![allow(dead_code)]

pub mod blocks;
pub mod paging;
pub mod rounds;

use isomorph_baseline::{
    Compiled, EmitError, Emitter, ExitReason, GUEST_OFFSET, Header, JUMP_CACHE_LEN,
    JUMP_CACHE_OFFSET, Layout, Memory, RESERVE_LEN, Runtime, flags_of, fp_runtime_table, mxcsr_of,
};
use isomorph_ir::{Block, Global, GlobalTable, Type, Val};

/// Integer globals of the test guest: more than there are registers for.
pub const INTS: usize = 14;
/// Floating-point globals, likewise.
pub const FLOATS: usize = 16;

const GLOBALS: [Global; 1 + INTS + FLOATS] = {
    let mut all = [Global {
        name: "pc",
        ty: Type::I64,
        offset: 0,
        rank: 255,
    }; 1 + INTS + FLOATS];
    const NAMES: [&str; 30] = [
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13",
        "f14", "f15",
    ];
    let mut n = 0;
    while n < INTS + FLOATS {
        all[n + 1] = Global {
            name: NAMES[n],
            ty: if n < INTS { Type::I64 } else { Type::F64 },
            offset: 8 * (n as u32 + 1),
            rank: n as u8,
        };
        n += 1;
    }
    all
};

pub static TABLE: GlobalTable = GlobalTable {
    globals: &GLOBALS,
    pc: Val::global(0),
};

/// Integer global `n`.
pub fn x(n: usize) -> Val {
    Val::global(1 + n as u16)
}

/// Floating-point global `n`.
pub fn f(n: usize) -> Val {
    Val::global(1 + (INTS + n) as u16)
}

/// A source of repeatable randomness.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// How a block was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub reason: ExitReason,
    pub payload: u64,
    pub pc: u64,
    pub info: u64,
}

const CODE_LEN: usize = 1 << 20;
const STACK_WORDS: usize = 1 << 12;

/// One vCPU with room for one block.
pub struct Machine {
    emitter: Emitter,
    code: *mut u8,
    block_at: usize,
    vcpu: Vec<u64>,
    start: usize,
    stack: Vec<u64>,
    reserve: Vec<u64>,
    helpers: Vec<usize>,
    /// Words of the guest state.
    words: usize,
    pub compiled: Compiled,
}

impl Machine {
    pub fn new(helpers: Vec<usize>) -> Self {
        Self::with_memory(helpers, Memory::Identity)
    }

    pub fn with_memory(helpers: Vec<usize>, memory: Memory) -> Self {
        let globals = &TABLE;
        Self::with_layout(helpers, Layout { globals, memory })
    }

    /// For a guest whose state consists of words.
    pub fn with_layout(helpers: Vec<usize>, layout: Layout) -> Self {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing else.
        let code = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                CODE_LEN,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(code, libc::MAP_FAILED);
        let code = code.cast::<u8>();
        let ends = layout
            .globals
            .globals
            .iter()
            .map(|g| (g.offset + g.ty.bytes()).div_ceil(8) as usize);
        let guest_words = ends.max().unwrap_or(0);
        let mut emitter = Emitter::new(layout);
        emitter.set_runtime_base(code as u64);
        let runtime = &emitter.runtime().code;
        // SAFETY: the mapping is larger than the runtime.
        unsafe { std::ptr::copy_nonoverlapping(runtime.as_ptr(), code, runtime.len()) };
        let block_at = runtime.len().next_multiple_of(64);
        let words = (JUMP_CACHE_OFFSET + JUMP_CACHE_LEN * 16) / 8 + 8;
        let vcpu = vec![1_u64; words];
        let start = vcpu.as_ptr().align_offset(64);
        let mut m = Self {
            emitter,
            code,
            block_at,
            vcpu,
            start,
            stack: vec![0; STACK_WORDS],
            reserve: vec![0; RESERVE_LEN],
            helpers,
            words: guest_words,
            compiled: Compiled::default(),
        };
        let sentinel = m.code as u64 + u64::from(m.emitter.runtime().sentinel);
        m.stack[STACK_WORDS - 1] = sentinel;
        let header = Header {
            shadow_rsp: &raw const m.stack[STACK_WORDS - 1] as u64,
            helpers: m.helpers.as_ptr() as usize,
            fp_runtime: fp_runtime_table().as_ptr() as usize,
            reserve_table: m.reserve.as_ptr() as usize,
            jump_cache: &raw const m.vcpu[m.start + JUMP_CACHE_OFFSET / 8] as usize,
            ..Header::new()
        };
        // SAFETY: the header's place is in the vector, which nothing else borrows.
        unsafe { m.header().write(header) };
        m
    }

    pub fn header(&mut self) -> *mut Header {
        (&raw mut self.vcpu[self.start]).cast()
    }

    /// The words of the guest state.
    pub fn state(&mut self) -> &mut [u64] {
        let at = self.start + GUEST_OFFSET / 8;
        &mut self.vcpu[at..at + self.words]
    }

    pub fn set_fp(&mut self, flags: u8, rounding: u8) {
        // SAFETY: the header is initialised and nobody else refers to it.
        unsafe { (*self.header()).mxcsr = mxcsr_of(flags, rounding) };
    }

    pub fn fp_flags(&mut self) -> u8 {
        // SAFETY: as above.
        flags_of(unsafe { (*self.header()).mxcsr })
    }

    /// Address that a jump cache entry or edge to the block's fast entry needs.
    pub fn block_address(&self) -> u64 {
        self.code as u64 + self.block_at as u64
    }

    /// Compiles `block` and puts it in place.
    pub fn load(&mut self, block: &Block) -> Result<(), EmitError> {
        self.load_at(block, 0)
    }

    /// Compiles `block` and puts it `offset` bytes behind the first one's place.
    pub fn load_at(&mut self, block: &Block, offset: usize) -> Result<(), EmitError> {
        let base = self.block_address() + offset as u64;
        self.emitter.compile(block, base, 0, &mut self.compiled)?;
        for e in &self.compiled.edges {
            let at = base + u64::from(e.rel32);
            assert!(at % 8 <= 4, "{e:?} crosses a word");
        }
        for l in &self.compiled.landings {
            assert_eq!((base + u64::from(l.cell)) % 8, 0, "{l:?} is not aligned");
        }
        let code = &self.compiled.code;
        assert!(self.block_at + offset + code.len() < CODE_LEN);
        // SAFETY: the bounds were just checked; no code runs meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), base as *mut u8, code.len()) };
        Ok(())
    }

    /// The runtime's stubs and where they are.
    pub fn runtime(&self) -> (&Runtime, u64) {
        (self.emitter.runtime(), self.code as u64)
    }

    /// Puts code made for `offset` bytes behind the first block's place there.
    pub fn put(&mut self, compiled: Compiled, offset: usize) {
        let code = &compiled.code;
        assert!(self.block_at + offset + code.len() < CODE_LEN);
        let at = (self.block_address() + offset as u64) as *mut u8;
        // SAFETY: the bounds were just checked; no code runs meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), at, code.len()) };
        self.compiled = compiled;
    }

    /// Overwrites the word at `offset` behind the first block's start.
    pub fn write_word(&mut self, offset: u32, value: u64) {
        let at = self.block_address() + u64::from(offset);
        // SAFETY: the offset lies in a loaded block; no code runs meanwhile.
        unsafe { (at as *mut u64).write_unaligned(value) };
    }

    /// Fills the jump cache entry for `pc`.
    pub fn cache(&mut self, pc: u64, code: u64) {
        let n = self.start + JUMP_CACHE_OFFSET / 8 + (pc as usize >> 1) % JUMP_CACHE_LEN * 2;
        self.vcpu[n] = pc;
        self.vcpu[n + 1] = code;
    }

    /// Empties the return stack and ends the reservation.
    pub fn reset(&mut self) {
        let bottom = &raw const self.stack[STACK_WORDS - 1] as u64;
        // SAFETY: the header is initialised and no code runs.
        unsafe {
            (*self.header()).shadow_rsp = bottom;
            (*self.header()).reserve_addr = 1;
        }
    }

    /// Number of return addresses on the return stack.
    pub fn depth(&mut self) -> u64 {
        let bottom = &raw const self.stack[STACK_WORDS - 1] as u64;
        // SAFETY: the header is initialised and no code runs.
        let rsp = unsafe { (*self.header()).shadow_rsp };
        (bottom - rsp) / 8
    }

    /// Asks generated code to leave, or takes that back.
    pub fn interrupt(&mut self, on: bool) {
        // SAFETY: the header is initialised and nobody else refers to it.
        let irq = unsafe { &(*self.header()).irq };
        irq.store(u32::from(on), std::sync::atomic::Ordering::SeqCst);
    }

    /// Overwrites a displacement so that the edge leads to `target` (an address).
    pub fn link(&mut self, edge: usize, target: u64) {
        self.link_at(edge, 0, target);
    }

    /// As `link`, for code that was put `offset` bytes behind the first one's place.
    pub fn link_at(&mut self, edge: usize, offset: u64, target: u64) {
        let at = u64::from(self.compiled.edges[edge].rel32) + self.block_address() + offset;
        let rel = target.wrapping_sub(at + 4) as u32;
        // SAFETY: the edge lies in the block's code.
        unsafe { (at as *mut u32).write_unaligned(rel) };
    }

    /// Runs the loaded block from its polled entry until something is left.
    pub fn run(&mut self) -> Left {
        self.enter(self.block_address())
    }

    /// Runs the code at `code`.
    pub fn enter(&mut self, code: u64) -> Left {
        let enter = self.code as usize + self.emitter.runtime().enter as usize;
        type Enter = extern "C" fn(*mut Header, u64) -> u64;
        // SAFETY: the runtime's entry has this signature.
        let enter = unsafe { std::mem::transmute::<usize, Enter>(enter) };
        let raw = enter(self.header(), code);
        let (reason, payload) = ExitReason::decode(raw).expect("a known reason");
        // SAFETY: generated code has returned; the header is initialised.
        let (pc, info) = unsafe { ((*self.header()).exit_pc, (*self.header()).exit_info) };
        Left {
            reason,
            payload,
            pc,
            info,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and no code of it runs.
        unsafe { libc::munmap(self.code.cast(), CODE_LEN) };
    }
}

/// The code as assembly text.
pub fn disassemble(code: &[u8], base: u64) -> String {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let mut out = String::new();
    let mut formatter = IntelFormatter::new();
    let mut decoder = Decoder::with_ip(64, code, base, DecoderOptions::NONE);
    while decoder.can_decode() {
        let inst = decoder.decode();
        out += &format!("{:6x}  ", inst.ip().wrapping_sub(base));
        formatter.format(&inst, &mut out);
        out.push('\n');
    }
    out
}
