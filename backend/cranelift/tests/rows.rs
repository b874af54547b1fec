//! The instruction rows of riscv64 hold on tier 2.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;
mod faults;

use common::Machine;
use isomorph_baseline::{Compiled, ExitReason, GUEST_OFFSET, Layout, Memory};
use isomorph_cranelift::{CompileError, Compiler, Floats};
use isomorph_frontend::{CodeSource, Guest, Limits, translate_block};
use isomorph_ir::{Builder, Op, Region, TrapKind};
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

/// Each block as a region of its own.
struct Tier2 {
    guest: Riscv64,
    builder: Builder,
    compiler: Compiler,
    m: Machine,
    /// Blocks that were refused, for counters.
    refused: usize,
}

impl Tier2 {
    fn new() -> Self {
        let globals = Riscv64::globals();
        let memory = Memory::Identity;
        let layout = Layout { globals, memory };
        let helpers = Riscv64::helpers().iter();
        let mut m = Machine::with_layout(helpers.map(|h| h.func as usize).collect(), layout);
        faults::watch(&mut m);
        Self {
            guest: Riscv64::default(),
            builder: Builder::new(globals),
            compiler: Compiler::new(layout, Floats::Call).expect("a compiler"),
            m,
            refused: 0,
        }
    }

    /// The guest state, where generated code has it.
    fn state(&mut self) -> *mut State {
        // SAFETY: the header is followed by the guest state and more, in one allocation.
        unsafe { self.m.header().cast::<u8>().add(GUEST_OFFSET).cast() }
    }

    /// Runs the block at the program counter, if there is code for it.
    fn block(&mut self, source: &Code, state: &mut State) -> Option<Left> {
        let mode = Riscv64::mode(state);
        let (pc, limits) = (state.pc, Limits::default());
        translate_block(&self.guest, &mut self.builder, source, pc, mode, limits);
        let region = Region::new(vec![self.builder.block().clone()]);
        let compiled = match self.compiler.compile(&region) {
            Ok(compiled) => compiled,
            Err(CompileError::Refused {
                op: Op::ReadCounter,
                ..
            }) => return None,
            Err(e) => panic!("{e}"),
        };
        let mut out = Compiled::default();
        compiled.place(self.m.runtime(), self.m.block_address(), 0, &mut out);
        self.m.put(out, 0);
        self.m.reset();
        // SAFETY: there is room for the state, and no code runs.
        unsafe { self.state().write(*state) };
        self.m
            .set_fp(Riscv64::fp_flags(state), Riscv64::rounding(state));
        let left = self.m.run();
        if left.reason == ExitReason::Fault {
            faults::restore(&mut self.m, compiled.recovery());
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
            ExitReason::Fault => {
                let (host, address) = faults::last();
                let offset = (host - self.m.block_address()) as u32;
                state.pc = self.m.compiled.guest_pc(offset).expect("an instruction");
                Left::Fault(address)
            }
            ExitReason::Irq => panic!("nobody interrupts"),
        })
    }
}

impl Executor for Tier2 {
    fn name(&self) -> &'static str {
        "tier 2"
    }

    fn execute(&mut self, code: &[u8], situation: &mut Situation) -> Left {
        let at = situation.state.pc;
        let source = Code { at, bytes: code };
        let window = window();
        window.copy_from_slice(&situation.memory.bytes);
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
        situation.memory.bytes.copy_from_slice(window);
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

#[test]
fn rows_hold_on_tier_2() {
    map_window();
    let mut tier2 = Tier2::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/rows/riscv64");
    let (mut rows, mut failed) = (0, Vec::new());
    for file in std::fs::read_dir(dir).expect("rows") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        for row in parse(&text).expect("rows") {
            let refused = tier2.refused;
            let wrong = row.check(&mut tier2);
            rows += 1;
            if !wrong.is_empty() && tier2.refused == refused {
                let wrong = wrong.join("; ");
                failed.push(format!(
                    "{}:{}: {}: {wrong}\n",
                    path.display(),
                    row.line,
                    row.text
                ));
            }
        }
    }
    println!("{rows} rows, {} refused", tier2.refused);
    let shown = failed[..failed.len().min(40)].concat();
    assert!(
        failed.is_empty(),
        "{} of {rows} rows fail\n{shown}",
        failed.len()
    );
    assert!(
        tier2.refused < rows / 50,
        "{} of {rows} were refused",
        tier2.refused
    );
}
