//! Random regions with loops, branches, calls and helpers on tier 2 and on the reference
//! interpreter agree: state, memory, flags, exit.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;
mod faults;

use common::blocks::{BUFFER, Gen, double, word};
use common::paging::{BITS, Paging, addend};
use common::rounds::{as_exit, expected_exit, setting};
use common::{FLOATS, INTS, Left, Machine, Random, TABLE, x};
use isomorph_baseline::{Compiled, ExitReason, Layout, Memory};
use isomorph_cranelift::{CompiledRegion, Compiler, Floats};
use isomorph_ir::interp::{Exit, FlatMemory, FpEnv, Helpers, Interp};
use isomorph_ir::passes::{self, Context, Faults, PassSet};
use isomorph_ir::{Builder, Cond, Dst, Inst, JumpKind, MemOp, Op, Region, TrapKind, Type};

/// Blocks that a region may run before it is left.
const FUEL: u64 = 60;
/// Where the fuel is: behind what the random accesses reach.
const FUEL_AT: u64 = BUFFER as u64 - 8;
/// Blocks are this far from each other.
const STEP: u64 = 0x100;

/// Helper 0, for the guest state as words.
fn helper(state: &mut [u64], [a, b, c]: [u64; 3]) -> u64 {
    state[1] ^= a;
    state[3] = state[3].wrapping_add(b);
    state[1 + INTS] ^= c;
    a.wrapping_mul(3) ^ b ^ c
}

extern "C" fn compiled_helper(state: *mut u64, a: u64, b: u64, c: u64) -> u64 {
    // SAFETY: generated code hands over its own guest state and waits.
    let state = unsafe { std::slice::from_raw_parts_mut(state, 1 + INTS + FLOATS) };
    helper(state, [a, b, c])
}

struct OneHelper;

impl Helpers for OneHelper {
    fn helper(&mut self, _: u32, state: &mut [u8], _: &mut FpEnv, args: [u64; 3]) -> u64 {
        let mut words = words_of(state);
        let value = helper(&mut words, args);
        for (bytes, word) in state.chunks_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        value
    }

    fn counter(&mut self, _: u8) -> u64 {
        0
    }
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.chunks(8);
    words
        .map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes")))
        .collect()
}

/// A pc of a block, or one outside.
fn target(r: &mut Random, blocks: usize) -> u64 {
    match r.below(blocks + 1) {
        n if n == blocks => 0x1f00 - 0x10 * r.below(4) as u64,
        n => 0x1000 + n as u64 * STEP,
    }
}

/// One block of `blocks`, number `n`.
fn block(g: &mut Gen<'_>, n: usize, blocks: usize, buffer: u64, kinds: usize) {
    g.pc = 0x1000 + n as u64 * STEP;
    g.b.start(g.pc, 0);
    (g.i32s, g.i64s, g.f32s) = Default::default();
    g.b.insn_start(g.pc);
    let (at, one) = (g.b.c(buffer + FUEL_AT), g.b.c(1));
    let fuel = g.b.load(Type::I64, MemOp::U64, Dst::Temp, at, 0);
    let fuel = g.b.binary(Op::Sub, Type::I64, Dst::Temp, fuel, one);
    let at = g.b.c(buffer + FUEL_AT);
    g.b.store(Type::I64, MemOp::U64, fuel, at, 0);
    let zero = g.b.c(0);
    g.b.exit_if(Type::I64, Cond::Eq, fuel, zero, 0x1f80);
    g.pc += 4;
    for _ in 0..g.r.below(8) {
        g.insn(buffer, kinds);
        if !g.b.ended() && g.r.below(5) == 0 {
            let (a, b) = (g.int(), g.int());
            let (cond, to) = (g.r.pick(Cond::ALL), target(g.r, blocks));
            g.b.exit_if(Type::I64, cond, a, b, to);
        }
        if !g.b.ended() && g.r.below(12) == 0 {
            let args = [g.int(), g.int(), g.int()];
            let d = x(g.r.below(INTS));
            g.b.helper(0, Dst::To(d), args);
        }
        if g.b.ended() {
            break;
        }
    }
    if !g.b.ended() {
        end(g, blocks);
    }
    let end = g.pc + 4;
    g.b.block_mut().end = end;
}

fn end(g: &mut Gen<'_>, blocks: usize) {
    let to = target(g.r, blocks);
    match g.r.below(8) {
        0 => {
            // A computed target that is often a block's.
            let (a, b) = (g.b.c(to), g.b.c(0x5550));
            let (x, y) = (g.int(), g.int());
            let to = g.b.select(Type::I64, Cond::LtS, Dst::Temp, (x, y), a, b);
            let kind = g.r.pick(JumpKind::ALL);
            g.b.jump(kind, to);
        }
        1 => {
            g.b.call(to, g.pc + 4);
            g.b.exit(0x1f40);
        }
        2 => {
            let to = g.b.c(to);
            g.b.call_indirect(to, g.pc + 4);
            g.b.exit(0x1f40);
        }
        3 => {
            let info = g.int();
            g.b.trap(TrapKind::Syscall, g.pc, info);
        }
        _ => g.b.exit(to),
    }
}

fn build(r: &mut Random, b: &mut Builder, buffer: u64, kinds: usize) -> Region {
    let blocks = r.below(6) + 1;
    let mut all = Vec::new();
    let mut g = Gen {
        r,
        b,
        i32s: Vec::new(),
        i64s: Vec::new(),
        f32s: Vec::new(),
        pc: 0,
    };
    for n in 0..blocks {
        block(&mut g, n, blocks, buffer, kinds);
        all.push(g.b.block().clone());
    }
    let mut region = Region::new(all);
    region.entry = r.below(blocks);
    region.joins = (0..blocks).filter(|_| r.below(2) == 0).collect();
    if r.below(2) == 0 {
        let joins = region.joins.clone();
        let pairs = (0..blocks).flat_map(|from| joins.iter().map(move |&to| (from, to)));
        region.routes = pairs.filter(|_| r.below(2) == 0).collect();
    }
    region
}

/// Runs the region's blocks until it is left; `None` if it runs too long.
fn interpret(
    region: &Region,
    interp: &mut Interp,
    state: &mut [u8],
    memory: &mut FlatMemory,
) -> Option<Exit> {
    let mut at = region.entry;
    for _ in 0..20 * FUEL {
        let block = &region.blocks[at];
        let exit = interp
            .run(block, state, memory, &mut OneHelper)
            .expect("state");
        let computed = block.insts.iter().any(|i| i.op == Op::CallInd);
        let Some(next) = next(region, at, exit) else {
            return Some(left(exit, computed));
        };
        at = next;
    }
    None
}

/// Whether guest state and memory are those of generated code.
type Same<'a> = &'a dyn Fn(&[u8], &FlatMemory) -> bool;

/// Whether some run of the region's blocks comes to the instruction at `pc` in a state that `same`
/// holds of.
fn passes_by(
    region: &Region,
    pc: u64,
    mut state: Vec<u8>,
    mut memory: FlatMemory,
    (interp, same): (&mut Interp, Same<'_>),
) -> bool {
    let mut at = region.entry;
    for _ in 0..20 * FUEL {
        let block = &region.blocks[at];
        let starts = |i: &Inst| i.op == Op::InsnStart && i.pc() == pc;
        // Some instructions have two beginnings.
        for place in (0..block.insts.len()).filter(|&n| starts(&block.insts[n])) {
            let (mut state, mut memory, fp) = (state.clone(), memory.clone(), interp.fp);
            let mut part = block.clone();
            let exit = Inst {
                imm: pc as i64,
                ..Inst::new(Op::Exit, Type::I64)
            };
            part.insts.splice(place + 1.., [exit]);
            let exit = interp.run(&part, &mut state, &mut memory, &mut OneHelper);
            interp.fp = fp;
            if exit == Ok(Exit::Direct { pc }) && same(&state, &memory) {
                return true;
            }
        }
        let exit = interp.run(block, &mut state, &mut memory, &mut OneHelper);
        let next = exit.ok().and_then(|exit| next(region, at, exit));
        let Some(next) = next else { return false };
        at = next;
    }
    false
}

/// The block of the region that comes behind block `at`.
fn next(region: &Region, at: usize, exit: Exit) -> Option<usize> {
    let computed = region.blocks[at].insts.iter().any(|i| i.op == Op::CallInd);
    match exit {
        Exit::Direct { pc } => region.successor(at, pc),
        Exit::Call { pc, .. } if !computed => region.successor(at, pc),
        Exit::Call { pc, .. } | Exit::Indirect { pc, .. } => region.computed_successor(at, pc),
        _ => None,
    }
}

/// An exit as generated code tells of it.
fn left(exit: Exit, computed: bool) -> Exit {
    let kind = JumpKind::Jump;
    match exit {
        Exit::Call { pc, .. } if computed => Exit::Indirect { pc, kind },
        Exit::Call { pc, .. } => Exit::Direct { pc },
        Exit::Indirect { pc, .. } => Exit::Indirect { pc, kind },
        exit => exit,
    }
}

/// The first bytes of memory that faults: each access to them.
const HOLE: usize = 24;

/// Memory for regions, behind memory that cannot be accessed.
struct Buffer(*mut u8);

impl Buffer {
    fn new() -> Self {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing else.
        let at = unsafe {
            let (prot, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let at = libc::mmap(std::ptr::null_mut(), 0x2000, prot, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            let at = at.cast::<u8>().add(0x1000);
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(at.cast(), 0x1000, prot), 0);
            at
        };
        Self(at)
    }

    fn get(&self, n: usize) -> u8 {
        assert!(n < 0x1000);
        // SAFETY: the second page is there, and nothing refers to it.
        unsafe { self.0.add(n).read() }
    }

    fn set(&mut self, n: usize, byte: u8) {
        assert!(n < 0x1000);
        // SAFETY: as above.
        unsafe { self.0.add(n).write(byte) };
    }
}

/// One engine, its memory, and the reference's.
struct Bench {
    m: Machine,
    paging: Paging,
    compiler: Compiler,
    buffer: Buffer,
    address: u64,
    paged: bool,
    /// How many bytes of memory fault.
    hole: usize,
    /// How many faults there were.
    faults: u64,
    /// How often a region was left for an access that missed the TLB.
    missed: u64,
    /// Regions are compiled as these passes leave them.
    passes: PassSet,
}

impl Bench {
    fn new(paged: bool, hole: usize, passes: PassSet) -> Self {
        let memory = match paged {
            true => Memory::Tlb {
                bits: BITS,
                longest: 4,
            },
            false => Memory::Identity,
        };
        let globals = &TABLE;
        let layout = Layout { globals, memory };
        let mut m = Machine::with_memory(vec![compiled_helper as *const () as usize], memory);
        let buffer = Buffer::new();
        faults::watch(&mut m);
        Self {
            paging: Paging::new(&mut m),
            m,
            compiler: Compiler::new(layout, Floats::Call).expect("a compiler"),
            address: match paged {
                // The middle of the buffer is where a page ends.
                true => 0x12_3456_7f80,
                false => buffer.0 as u64 - hole as u64,
            },
            buffer,
            paged,
            hole,
            faults: 0,
            missed: 0,
            passes,
        }
    }

    fn place(&self, n: usize) -> usize {
        match self.paged {
            true => n + addend(0, self.address + n as u64) as usize,
            false => n - self.hole,
        }
    }

    /// Prepares memory and TLB.
    fn fill(&mut self, r: &mut Random) -> FlatMemory {
        let mut memory = FlatMemory::new(self.address, BUFFER);
        for byte in &mut memory.bytes {
            *byte = r.next() as u8;
        }
        memory.bytes[FUEL_AT as usize..].copy_from_slice(&FUEL.to_le_bytes());
        for (n, byte) in memory.bytes.iter().enumerate().skip(self.hole) {
            let at = self.place(n);
            self.buffer.set(at, *byte);
        }
        if self.paged {
            let host = self.buffer.0 as u64;
            self.paging.host = host.wrapping_sub(self.address);
            self.paging.keep = r.below(2) == 0;
            self.paging.fill_some(self.address, r);
            if r.below(2) == 0 {
                let pages = [self.address, self.address + 4096];
                pages
                    .into_iter()
                    .for_each(|page| self.paging.fill(page, true, true));
            }
        }
        memory.base += self.hole as u64;
        memory.bytes.drain(..self.hole);
        memory
    }

    /// The exit of the last run, completed as an engine completes it after a fault.
    fn exit(&mut self, left: Left, region: &CompiledRegion, want: Exit) -> Exit {
        let Exit::Fault { fault, .. } = want else {
            return as_exit(&self.m, left);
        };
        assert_eq!(left.reason, ExitReason::Fault);
        self.faults += 1;
        faults::restore(&mut self.m, region.recovery());
        let offset = (faults::last().0 - self.m.block_address()) as u32;
        let pc = self.m.compiled.guest_pc(offset).expect("an instruction");
        Exit::Fault { pc, fault }
    }

    /// Where the region was left for an access that missed the TLB.
    fn missed_at(&self, left: Left, region: &Region, want: Exit) -> Option<u64> {
        if !self.paged || left.reason != ExitReason::Edge {
            return None;
        }
        let got = as_exit(&self.m, left);
        let Exit::Direct { pc } = got else {
            return None;
        };
        let mut insts = region.blocks.iter().flat_map(|b| &b.insts);
        let inside = insts.any(|i| i.op == Op::InsnStart && i.pc() == pc);
        (inside && got != want).then_some(pc)
    }

    fn holds(&self, memory: &FlatMemory) -> bool {
        let same = |n| self.buffer.get(self.place(n)) == memory.bytes[n - self.hole];
        (self.hole..BUFFER).all(same)
    }

    /// One random region; says whether it was run.
    fn round(&mut self, r: &mut Random, b: &mut Builder, kinds: usize) -> bool {
        let region = build(r, b, self.address, kinds);
        let text = || region.text(&TABLE).to_string();
        assert_eq!(region.verify(&TABLE), Ok(()), "{}", text());
        let mut memory = self.fill(r);
        let mut state: Vec<u64> = (0..=INTS).map(|_| word(r)).collect();
        state.extend((0..FLOATS).map(|_| double(r)));
        state[0] = 0;
        let (flags, rounding) = (r.below(32) as u8, r.below(4) as u8);
        let mut interp = Interp::new(&TABLE);
        interp.fp.flags.0 = flags;
        interp.fp.set_rounding(rounding.into());
        let mut bytes: Vec<u8> = state.iter().flat_map(|w| w.to_le_bytes()).collect();
        let (bytes_before, memory_before, fp_before) = (bytes.clone(), memory.clone(), interp.fp);
        let Some(exit) = interpret(&region, &mut interp, &mut bytes, &mut memory) else {
            return false;
        };
        let mut optimised = region.clone();
        let context = Context {
            table: &TABLE,
            faults: Faults::Precise,
        };
        passes::run(&mut optimised, &context, self.passes);
        self.compiler.alone(r.below(4) == 0);
        let compiled = match self.compiler.compile(&optimised) {
            Ok(compiled) => compiled,
            Err(e) => panic!("{e}\n{}", text()),
        };
        let mut out = Compiled::default();
        compiled.place(self.m.runtime(), self.m.block_address(), 0, &mut out);
        self.m.put(out, 0);
        self.m.reset();
        self.m.state().copy_from_slice(&state);
        self.m.set_fp(flags, rounding);
        let got = self.m.run();
        if let Some(pc) = self.missed_at(got, &region, exit) {
            self.missed += 1;
            let got = self.m.state().to_vec();
            let same = |bytes: &[u8], memory: &FlatMemory| {
                let want = words_of(bytes);
                (1..want.len()).all(|n| got[n] == want[n]) && self.holds(memory)
            };
            interp.fp = fp_before;
            let by = (&mut interp, &same as Same<'_>);
            let found = passes_by(&region, pc, bytes_before, memory_before, by);
            assert!(found, "left at {pc:#x}, never in this state\n{}", text());
            return true;
        }
        let exit = expected_exit(exit, &got, self.paged);
        let mut got = self.exit(got, &compiled, exit);
        if self.passes != PassSet::NONE
            && let (Exit::Indirect { kind, .. }, Exit::Direct { pc }) = (exit, got)
        {
            // The passes found out where the jump leads.
            got = Exit::Indirect { pc, kind };
        }
        assert_eq!(got, exit, "{}", text());
        let want = words_of(&bytes);
        for n in 1..want.len() {
            let (name, got) = (TABLE.globals[n].name, self.m.state()[n]);
            assert_eq!(got, want[n], "{name}, was {:#x}\n{}", state[n], text());
        }
        let same = self.holds(&memory);
        assert!(same, "memory differs\n{}", text());
        assert_eq!(self.m.fp_flags(), interp.fp.flags.0, "flags\n{}", text());
        true
    }
}

fn run_rounds(rounds: u64, kinds: usize, paged: bool, passes: PassSet) {
    run_bench(rounds, kinds, Bench::new(paged, 0, passes));
}

/// Gives the number of faults.
fn run_bench(rounds: u64, kinds: usize, mut bench: Bench) -> u64 {
    let seed = setting("ISOMORPH_SEED", 0x15_0501);
    let rounds = setting("ISOMORPH_ROUNDS", rounds);
    println!("ISOMORPH_SEED={seed}");
    let mut b = Builder::new(&TABLE);
    let mut ran = 0;
    for round in 0..rounds {
        let mut r = Random(seed.wrapping_add(round << 20));
        println!("round {round}");
        ran += u64::from(bench.round(&mut r, &mut b, kinds));
    }
    assert!(ran > rounds / 2, "{ran} of {rounds}");
    assert!(
        !bench.paged || bench.missed > rounds / 20,
        "{}",
        bench.missed
    );
    bench.faults
}

#[test]
fn faults_show_the_same_state() {
    for passes in [PassSet::NONE, PassSet::ALL] {
        let faults = run_bench(3_000, 12, Bench::new(false, HOLE, passes));
        println!("{faults} faults");
        assert!(faults > 300, "{faults}");
    }
}

#[test]
fn integer_regions_agree() {
    run_rounds(1_500, 10, false, PassSet::NONE);
}

#[test]
fn all_regions_agree() {
    run_rounds(1_500, 20, false, PassSet::NONE);
}

#[test]
fn regions_with_a_tlb_agree() {
    run_rounds(1_500, 10, true, PassSet::NONE);
}

#[test]
fn optimised_regions_agree() {
    run_rounds(1_500, 10, false, PassSet::ALL);
    run_rounds(1_500, 20, false, PassSet::ALL);
}

#[test]
fn optimised_regions_with_a_tlb_agree() {
    run_rounds(1_500, 10, true, PassSet::ALL);
}
