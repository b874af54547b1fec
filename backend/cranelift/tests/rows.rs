//! The instruction rows of riscv64 hold on tier 2, and with a TLB on both tiers.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;
mod faults;

use common::Machine;
use common::paging::{BITS, MISALIGNED, NO_PAGE, Paging};
use isomorph_baseline::{Compiled, ExitReason, GUEST_OFFSET, Layout, Memory};
use isomorph_cranelift::{CompileError, Compiler, Floats, Recovery};
use isomorph_frontend::{CodeSource, Guest, Limits, translate_block};
use isomorph_ir::{Block, Builder, Op, Region, TrapKind};
use isomorph_riscv::{Riscv64, State};
use isomorph_tests::rows::{Executor, Left, MEMORY, MEMORY_BYTES, Situation, parse};
use std::path::Path;

/// Some instructions and nothing around them.
struct Code<'a> {
    at: u64,
    bytes: &'a [u8],
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

/// The data behind a TLB.
struct Paged {
    paging: Paging,
    page: Box<Page>,
    /// The TLB knows the page from the start on.
    hits: bool,
    /// Accesses that took the slow path.
    slow: usize,
}

#[repr(align(4096))]
struct Page([u8; MEMORY_BYTES]);

impl Paged {
    fn new(m: &mut Machine, hits: bool) -> Self {
        let page = Box::new(Page([0; MEMORY_BYTES]));
        let mut paging = Paging::new(m);
        paging.host = (page.0.as_ptr() as u64).wrapping_sub(MEMORY);
        Self {
            paging,
            page,
            hits,
            slow: 0,
        }
    }

    /// Prepares a row.
    fn begin(&mut self) {
        self.paging.clear_but(MEMORY);
        if self.hits {
            self.paging.fill(MEMORY, true, true);
        }
    }
}

/// Each block by itself; on tier 2 as a region.
struct Tier {
    name: &'static str,
    guest: Riscv64,
    builder: Builder,
    /// Tier 2's.
    compiler: Option<Compiler>,
    recovery: Recovery,
    m: Machine,
    /// None: the data is at its own address.
    paged: Option<Paged>,
    /// Blocks that were refused, for counters.
    refused: usize,
}

/// The TLB of a machine for rows.
const TLB: Memory = Memory::Tlb {
    bits: BITS,
    longest: 4,
};

impl Tier {
    fn new(name: &'static str, memory: Memory, compiler: bool) -> Self {
        let globals = Riscv64::globals();
        let layout = Layout { globals, memory };
        let helpers = Riscv64::helpers().iter();
        let mut m = Machine::with_layout(helpers.map(|h| h.func as usize).collect(), layout);
        faults::watch(&mut m);
        let new = || {
            let mut compiler = Compiler::new(layout, Floats::Call).expect("a compiler");
            compiler.alone(true);
            compiler
        };
        Self {
            name,
            guest: Riscv64::default(),
            builder: Builder::new(globals),
            compiler: compiler.then(new),
            recovery: Recovery::default(),
            m,
            paged: None,
            refused: 0,
        }
    }

    /// A tier with its data behind a TLB.
    fn paged(name: &'static str, compiler: bool, hits: bool) -> Self {
        let mut tier = Self::new(name, TLB, compiler);
        tier.paged = Some(Paged::new(&mut tier.m, hits));
        tier
    }

    /// The guest state, where generated code has it.
    fn state(&mut self) -> *mut State {
        // SAFETY: the header is followed by the guest state and more, in one allocation.
        unsafe { self.m.header().cast::<u8>().add(GUEST_OFFSET).cast() }
    }

    /// Compiles a block and puts it in place; false if it is refused.
    fn load(&mut self, block: &Block) -> bool {
        let Some(compiler) = &mut self.compiler else {
            self.m.load(block).expect("code");
            return true;
        };
        let region = Region::new(vec![block.clone()]);
        let compiled = match compiler.compile(&region) {
            Ok(compiled) => compiled,
            Err(CompileError::Refused {
                op: Op::ReadCounter,
                ..
            }) => return false,
            Err(e) => panic!("{e}"),
        };
        let mut out = Compiled::default();
        compiled.place(self.m.runtime(), self.m.block_address(), 0, &mut out);
        self.recovery = compiled.recovery().clone();
        self.m.put(out, 0);
        true
    }

    /// Runs the block at the program counter, if there is code for it.
    fn block(&mut self, source: &Code, state: &mut State) -> Option<Left> {
        let mode = Riscv64::mode(state);
        let (pc, limits) = (state.pc, Limits::default());
        translate_block(&self.guest, &mut self.builder, source, pc, mode, limits);
        let block = self.builder.block().clone();
        if !self.load(&block) {
            return None;
        }
        self.m.reset();
        // SAFETY: there is room for the state, and no code runs.
        unsafe { self.state().write(*state) };
        self.m
            .set_fp(Riscv64::fp_flags(state), Riscv64::rounding(state));
        let left = self.m.run();
        if left.reason == ExitReason::Fault && self.paged.is_none() {
            faults::restore(&mut self.m, &self.recovery);
        }
        // SAFETY: generated code leaves a valid state.
        *state = unsafe { self.state().read() };
        Riscv64::set_fp_flags(state, self.m.fp_flags());
        state.pc = left.pc;
        Some(match left.reason {
            ExitReason::Edge => {
                state.pc = self.m.compiled.edges[left.payload as usize].target;
                Left::Next
            }
            ExitReason::Indirect => Left::Next,
            ExitReason::Trap => {
                let kind = TrapKind::from_u8(left.payload as u8).expect("a trap");
                Left::Trap(kind, left.info)
            }
            ExitReason::Fault if self.paged.is_some() => match left.payload {
                NO_PAGE => Left::Fault(left.info),
                MISALIGNED => Left::Trap(TrapKind::Misaligned, left.info),
                other => panic!("a fault of kind {other}"),
            },
            ExitReason::Fault => {
                let (host, address) = faults::last();
                let offset = (host - self.m.block_address()) as u32;
                state.pc = self.m.compiled.guest_pc(offset).expect("an instruction");
                Left::Fault(address)
            }
            ExitReason::Irq => panic!("nobody interrupts"),
        })
    }

    /// The rows' data.
    fn data(&mut self) -> &mut [u8] {
        match &mut self.paged {
            Some(paged) => &mut paged.page.0,
            None => window(),
        }
    }
}

impl Executor for Tier {
    fn name(&self) -> &'static str {
        self.name
    }

    fn execute(&mut self, code: &[u8], situation: &mut Situation) -> Left {
        let at = situation.state.pc;
        let source = Code { at, bytes: code };
        self.data().copy_from_slice(&situation.memory.bytes);
        if let Some(paged) = &mut self.paged {
            paged.begin();
        }
        let left = loop {
            let Some(left) = self.block(&source, &mut situation.state) else {
                self.refused += 1;
                break Left::Next;
            };
            let inside = situation.state.pc.wrapping_sub(at) < code.len() as u64;
            let goes_on = match left {
                Left::Next => true,
                Left::Trap(kind, _) => matches!(kind, TrapKind::Mode | TrapKind::InsnSync),
                Left::Fault(_) => false,
            };
            if !inside || !goes_on {
                break left;
            }
        };
        if let Some(paged) = &mut self.paged {
            paged.slow += paged.paging.misses().len();
        }
        situation.memory.bytes.copy_from_slice(self.data());
        left
    }
}

/// The rows' data, at its own address in this process.
fn window() -> &'static mut [u8] {
    // SAFETY: `map_window` was called by the one test that comes here.
    unsafe { std::slice::from_raw_parts_mut(MEMORY as *mut u8, MEMORY_BYTES) }
}

fn map_window() {
    // SAFETY: a fresh anonymous mapping where nothing is mapped (the kernel refuses otherwise).
    let at = unsafe {
        libc::mmap(
            MEMORY as *mut libc::c_void,
            MEMORY_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    assert_eq!(at as u64, MEMORY, "the rows' data can be mapped");
}

/// Runs all rows; gives the number of accesses that took the slow path.
fn check(mut tier: Tier) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/rows/riscv64");
    let (mut rows, mut failed) = (0, Vec::new());
    for file in std::fs::read_dir(dir).expect("rows") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        for row in parse(&text).expect("rows") {
            let refused = tier.refused;
            let wrong = row.check(&mut tier);
            rows += 1;
            if !wrong.is_empty() && tier.refused == refused {
                let (path, wrong) = (path.display(), wrong.join("; "));
                failed.push(format!("{path}:{}: {}: {wrong}\n", row.line, row.text));
            }
        }
    }
    let (name, refused) = (tier.name, tier.refused);
    println!("{name}: {rows} rows, {refused} refused");
    let shown = failed[..failed.len().min(40)].concat();
    let count = failed.len();
    assert!(count == 0, "{name}: {count} of {rows} rows fail\n{shown}");
    assert!(refused < rows / 50, "{refused} of {rows} were refused");
    tier.paged.map_or(0, |paged| paged.slow)
}

/// Runs all rows with a TLB that has the page, and with one that has nothing.
fn check_paged(compiler: bool, names: [&'static str; 2]) {
    let hits = check(Tier::paged(names[0], compiler, true));
    let misses = check(Tier::paged(names[1], compiler, false));
    println!("{hits} and {misses} accesses took the slow path");
    assert!(0 < hits && hits * 2 < misses);
}

#[test]
fn rows_hold_on_tier_2() {
    map_window();
    check(Tier::new("tier 2", Memory::Identity, true));
}

#[test]
fn rows_hold_on_tier_2_with_a_tlb() {
    check_paged(true, ["tier 2, hits", "tier 2, misses"]);
}

#[test]
fn rows_hold_on_tier_1_with_a_tlb() {
    check_paged(false, ["tier 1, hits", "tier 1, misses"]);
}
