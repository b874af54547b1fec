//! Measurements, not tests (docs/jit.md holds their results):
//! `cargo test --release -p isomorph-cranelift --test measure -- --ignored --nocapture`.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;

use common::paging::{BITS, Paging};
use common::{Machine, TABLE, disassemble};
use isomorph_baseline::{Compiled, ExitReason, Layout, Memory};
use isomorph_cranelift::{Compiler, Floats};
use isomorph_frontend::{CodeSource, Guest, Limits, translate_block};
use isomorph_ir::passes::targets;
use isomorph_ir::{Block, Builder, Op, Region, text};
use isomorph_riscv::{Riscv64, State};
use std::collections::BTreeSet;
use std::time::Duration;

const PAGED: Memory = Memory::Tlb {
    bits: BITS,
    longest: 4,
};

/// Guest instructions of a region, at most (about).
const REGION_INSNS: u32 = 400;

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to the place given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// A program's loadable segments.
struct Program {
    segments: Vec<(u64, Vec<u8>)>,
    entry: u64,
}

impl Program {
    /// Reads an ELF file (System V ABI, chapter 5).
    fn read(path: &str) -> Self {
        let file = std::fs::read(path).expect("a file");
        let number = |at: usize, bytes: usize| {
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(&file[at..at + bytes]);
            u64::from_le_bytes(word)
        };
        let headers = number(0x20, 8) as usize;
        let segments = (0..number(0x38, 2) as usize).filter_map(|n| {
            let at = headers + n * 0x38;
            let (from, len) = (number(at + 8, 8) as usize, number(at + 0x20, 8) as usize);
            (number(at, 4) == 1).then(|| (number(at + 0x10, 8), file[from..from + len].to_vec()))
        });
        Self {
            segments: segments.collect(),
            entry: number(0x18, 8),
        }
    }
}

impl CodeSource for Program {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        for (start, bytes) in &self.segments {
            let skip = pc.wrapping_sub(*start);
            if skip < bytes.len() as u64 {
                let rest = &bytes[skip as usize..];
                let len = rest.len().min(out.len());
                out[..len].copy_from_slice(&rest[..len]);
                return len;
            }
        }
        0
    }

    fn may_change(&self, _: u64) -> bool {
        false
    }
}

/// Where a block's exits lead; what it calls, and where that returns to.
fn leads_to(block: &Block) -> (Vec<u64>, Vec<u64>) {
    let (mut exits, mut calls) = (Vec::new(), Vec::new());
    for i in &block.insts {
        match i.op {
            Op::Exit | Op::ExitIf => exits.push(i.pc()),
            Op::Call => {
                calls.push(i.pc());
                calls.extend(block.const_value(i.a));
                break;
            }
            Op::CallInd => {
                calls.extend(block.const_value(i.b));
                break;
            }
            _ => {}
        }
    }
    (exits, calls)
}

/// The blocks from `entry` on, along direct exits; what they call is added to `calls`.
fn region(program: &Program, entry: u64, calls: &mut Vec<u64>, page: bool) -> Region {
    let guest = Riscv64::default();
    let mut builder = Builder::new(Riscv64::globals());
    let mode = Riscv64::mode(&State::new());
    let (mut blocks, mut insns) = (Vec::new(), 0);
    let (mut todo, mut seen) = (vec![entry], BTreeSet::from([entry]));
    while let Some(pc) = todo.pop() {
        let limits = Limits::default();
        translate_block(&guest, &mut builder, program, pc, mode, limits);
        let block = builder.block().clone();
        insns += block.insns;
        let (exits, called) = leads_to(&block);
        calls.extend(called);
        let near = |to: u64| !page || (to ^ entry) >> 12 == 0 && to & 0xfff <= 0xffc;
        for to in exits.into_iter().filter(|to| near(*to)) {
            if seen.insert(to) {
                todo.push(to);
            }
        }
        // A block over the page's end has exits that seem to leave the page.
        if !page || near(block.end - 1) {
            blocks.push(block);
        }
        if insns >= REGION_INSNS {
            break;
        }
    }
    Region::new(blocks)
}

#[derive(Default)]
struct Sum {
    regions: u32,
    refused: u32,
    blocks: u32,
    insns: u32,
    ops: u32,
    clif: u32,
    bytes: u32,
    again: u32,
    time: Duration,
}

fn compile_all(program: &Program, memory: Memory, floats: Floats) -> Sum {
    let globals = Riscv64::globals();
    let mut compiler = Compiler::new(Layout { globals, memory }, floats).expect("a compiler");
    let mut sum = Sum::default();
    let (mut todo, mut seen) = (vec![program.entry], BTreeSet::new());
    while let Some(pc) = todo.pop() {
        if !seen.insert(pc) {
            continue;
        }
        let region = region(program, pc, &mut todo, memory == PAGED);
        let start = cpu();
        let compiled = compiler.compile(&region);
        let time = cpu() - start;
        let Ok(compiled) = compiled else {
            sum.refused += 1;
            continue;
        };
        let stats = compiled.stats;
        sum.regions += 1;
        sum.blocks += stats.blocks;
        sum.insns += stats.insns;
        sum.ops += stats.ops;
        sum.clif += stats.clif;
        sum.bytes += stats.bytes;
        sum.again += stats.attempts - 1;
        sum.time += time;
    }
    sum
}

#[test]
#[ignore = "a measurement; ISOMORPH_ELF names a static riscv64 program"]
fn compile_times() {
    let path = std::env::var("ISOMORPH_ELF").expect("ISOMORPH_ELF");
    let program = Program::read(&path);
    let configurations = [
        ("identity, floats refused", Memory::Identity, Floats::Refuse),
        ("identity, floats called", Memory::Identity, Floats::Call),
        ("TLB, floats called", PAGED, Floats::Call),
    ];
    for (name, memory, floats) in configurations {
        let s = compile_all(&program, memory, floats);
        let micros = s.time.as_secs_f64() * 1e6;
        let per = |n: u32| micros / f64::from(n.max(1));
        let (insns, ops) = (f64::from(s.insns.max(1)), f64::from(s.ops.max(1)));
        println!(
            "{name}: {} regions, {} refused, {} blocks, {} insns; per insn {:.2} ops, {:.2} CLIF, \
             {:.1} bytes, {:.2} us; per op {:.2} us, per block {:.1} us, per region {:.0} us; \
             {} compiled again",
            s.regions,
            s.refused,
            s.blocks,
            s.insns,
            ops / insns,
            f64::from(s.clif) / insns,
            f64::from(s.bytes) / insns,
            per(s.insns),
            per(s.ops),
            per(s.blocks),
            per(s.regions),
            s.again,
        );
    }
}

/// Loops of one block at 0x1000, x1 being the count and x2 the address of 32 KiB.
const LOOPS: [(&str, &str); 4] = [
    ("count", "  x0 = add x0, 0x1\n"),
    (
        "mix",
        "  %0:i64 = shl x0, 0xd\n  x0 = xor x0, %0\n  %1:i64 = shr x0, 0x7\n  \
         x0 = xor x0, %1\n  %2:i64 = shl x0, 0x11\n  x0 = xor x0, %2\n  x3 = add x3, x0\n",
    ),
    (
        "sum",
        "  %0:i64 = and x1, 0x1ff\n  %1:i64 = shl %0, 0x3\n  %2:i64 = add %1, x2\n  \
         x3 = load u64 [%2]\n  x0 = add x0, x3\n",
    ),
    (
        "copy",
        "  x4 = and x1, 0x1f8\n  x5 = add x4, x2\n  x3 = load u64 [x5]\n  x3 = add x3, x0\n  \
         store u64 [x5+0x200], x3\n",
    ),
];

fn loop_text(body: &str) -> String {
    format!(
        "block 0x1000 flags 0x0 insns 1 end 0x1010\n-- 0x1000\n{body}-- 0x1008\n  \
         x1 = sub x1, 0x1\n  exitif ne x1, 0x0 -> 0x1000\n  exit -> 0x1010\n"
    )
}

/// Nanoseconds of one of many turns, the best of five.
fn turn(m: &mut Machine, count: u64, mut prepare: impl FnMut(&mut Machine)) -> f64 {
    let times = (0..5).map(|_| {
        prepare(m);
        let start = cpu();
        let left = m.run();
        let time = cpu() - start;
        assert_eq!(left.reason, ExitReason::Edge);
        time.as_secs_f64() * 1e9 / count as f64
    });
    times.fold(f64::MAX, f64::min)
}

fn machine(memory: Memory) -> (Machine, Compiler) {
    let globals = &TABLE;
    let compiler = Compiler::new(Layout { globals, memory }, Floats::Call);
    let m = Machine::with_memory(Vec::new(), memory);
    (m, compiler.expect("a compiler"))
}

/// Puts a region in place; it is linked to itself already.
fn load(m: &mut Machine, compiler: &mut Compiler, region: &Region) {
    let compiled = compiler.compile(region).expect("code");
    let mut out = Compiled::default();
    compiled.place(m.runtime(), m.block_address(), 0, &mut out);
    if std::env::var_os("ISOMORPH_TRACE").is_some() {
        println!("{}", compiler.clif());
        println!("{}", disassemble(&out.code, m.block_address()));
    }
    m.put(out, 0);
}

#[test]
#[ignore = "a measurement"]
fn loops() {
    const COUNT: u64 = 20_000_000;
    let data = vec![1_u64; 4096 + 512];
    let address = (data.as_ptr() as u64).next_multiple_of(4096);
    for memory in [Memory::Identity, PAGED] {
        for (name, body) in LOOPS {
            let block = text::parse(&loop_text(body), &TABLE).expect("a block");
            let (mut m, mut compiler) = machine(memory);
            let mut paging = Paging::new(&mut m);
            paging.clear(None);
            for page in 0..8 {
                // Even pages lie where they say, odd ones not; the loops stay in the first.
                paging.fill(address + page * 4096, true, true);
            }
            let prepare = |m: &mut Machine| {
                m.state()[1..4].copy_from_slice(&[0x1234_5678, COUNT, address]);
                m.state()[3] = address & !0x1fff | 0x2000;
            };
            m.load(&block).expect("code");
            let edges = m.compiled.edges.clone();
            let back = edges
                .iter()
                .position(|e| e.target == 0x1000)
                .expect("an edge");
            let entry = m.block_address();
            m.link(back, entry);
            let (one, size) = (turn(&mut m, COUNT, prepare), m.compiled.code.len());
            load(&mut m, &mut compiler, &Region::new(vec![block]));
            let two = turn(&mut m, COUNT, prepare);
            println!(
                "{memory:?} {name}: tier 1 {one:.2} ns ({size} bytes), tier 2 {two:.2} ns \
                 ({} bytes)",
                m.compiled.code.len()
            );
        }
    }
}

/// Where every one of the programs below ends.
const END: u64 = 0x1f00;

/// A block's text: instructions of 4 bytes each, an operation to a line, `|` between them.
fn block_text(pc: u64, insns: &str) -> String {
    let mut text = String::new();
    let mut at = pc;
    for insn in insns.split('|') {
        text += &format!("-- {at:#x}\n");
        insn.split(';')
            .for_each(|op| text += &format!("  {}\n", op.trim()));
        at += 4;
    }
    let n = (at - pc) / 4;
    format!("block {pc:#x} flags 0x0 insns {n} end {at:#x}\n{text}")
}

/// Fourteen registers in use.
fn many() -> String {
    let sums = (0..13).filter(|n| *n != 1);
    let sums = sums.map(|n| format!("x{n} = add x{n}, x{}", (n + 2) % 13));
    let body: Vec<String> = sums.collect();
    let body = body.join(" | ") + " | x1 = sub x1, 0x1; exitif ne x1, 0x0 -> 0x1000";
    let block = block_text(0x1000, &(body + "; exit -> 0x1f00"));
    format!("region entry 0 locals 0 joins\n{block}")
}

/// A loop of eight turns in a loop.
fn nested() -> String {
    let outer = block_text(
        0x1000,
        "x4 = mov 0x8 | x5 = and x1, 0xff8 | x5 = add x5, x2; exit -> 0x1100",
    );
    let inner = "x6 = load u64 [x5] | x0 = add x0, x6 | x5 = add x5, 0x8 | x4 = sub x4, 0x1 \
                 | x1 = sub x1, 0x1; exitif ne x4, 0x0 -> 0x1100; exit -> 0x1200";
    let inner = block_text(0x1100, inner);
    let latch = block_text(0x1200, "exitif ne x1, 0x0 -> 0x1000; exit -> 0x1f00");
    format!("region entry 0 locals 0 joins\n{outer}{inner}{latch}")
}

/// A function that is called in each turn.
fn calling() -> String {
    let loop_ = block_text(
        0x1000,
        "x4 = add x0, x1 | x7 = mov 0x1008; call 0x1008 -> 0x1100; exit -> 0x1008",
    );
    let after = "x1 = sub x1, 0x1; exitif ne x1, 0x0 -> 0x1000; exit -> 0x1f00";
    let after = block_text(0x1008, after);
    let callee = block_text(0x1100, "x4 = xor x4, 0x55 | x0 = add x0, x4 | jump ret x7");
    format!("region entry 0 locals 0 joins 1\n{loop_}{after}{callee}")
}

/// Handlers of a threaded interpreter.
const HANDLERS: u64 = 12;

fn handler(n: u64) -> u64 {
    0x1100 + n * 0x60 + n % 3 * 4
}

/// A threaded interpreter.
fn dispatch() -> String {
    let joins: Vec<String> = (1..=HANDLERS).map(|n| n.to_string()).collect();
    let mut text = format!("region entry 0 locals 0 joins {}\n", joins.join(" "));
    text += &block_text(0x1000, &format!("exit -> {:#x}", handler(0)));
    for n in 0..HANDLERS {
        let op = ["add", "xor", "sub"][n as usize % 3];
        let body = format!(
            "x0 = {op} x0, {:#x} | x4 = add x4, 0x8 | x4 = and x4, 0xff8 | x5 = add x4, x2 \
             | x5 = load u64 [x5] | x1 = sub x1, 0x1; exitif eq x1, 0x0 -> 0x1f00 | jump jump x5",
            n * 7 + 1
        );
        text += &block_text(handler(n), &body);
    }
    text
}

/// Puts a region's blocks in place as tier 1 has them, linked.
fn load_blocks(m: &mut Machine, region: &Region) {
    let base = m.block_address();
    let place = |n: usize| 0x400 * n as u64;
    let mut fast = Vec::new();
    for round in 0..2 {
        // Last the entry, which is the block that is run.
        for (n, block) in region.blocks.iter().enumerate().rev() {
            m.load_at(block, place(n) as usize).expect("code");
            if round == 0 {
                fast.insert(0, u64::from(m.compiled.fast_entry));
                m.cache(block.pc, base + place(n));
                continue;
            }
            for e in 0..m.compiled.edges.len() {
                let (target, polled) = (m.compiled.edges[e].target, m.compiled.edges[e].polled);
                if let Some(to) = region.blocks.iter().position(|b| b.pc == target) {
                    let entry = if polled { 0 } else { fast[to] };
                    m.link_at(e, place(n), base + place(to) + entry);
                }
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn programs() {
    const COUNT: u64 = 10_000_000;
    let programs = [
        ("many registers", many()),
        ("nested", nested()),
        ("call", calling()),
        ("dispatch", dispatch()),
    ];
    let mut r = common::Random(7);
    let data: Vec<u64> = (0..1024).map(|_| handler(r.next() % HANDLERS)).collect();
    let address = data.as_ptr() as u64;
    for (name, text) in programs {
        let region = Region::parse(&text, &TABLE).expect("a region");
        assert_eq!(region.verify(&TABLE), Ok(()));
        let (mut m, mut compiler) = machine(Memory::Identity);
        let prepare = |m: &mut Machine| {
            m.reset();
            m.state()[1..15].fill(1);
            m.state()[1..4].copy_from_slice(&[0x1234_5678, COUNT, address]);
        };
        load_blocks(&mut m, &region);
        let one = turn(&mut m, COUNT, prepare);
        let want = m.state().to_vec();
        load(&mut m, &mut compiler, &region);
        let two = turn(&mut m, COUNT, prepare);
        assert!(m.compiled.edges.iter().any(|e| e.target == END));
        assert_eq!(m.state(), want, "{name}");
        println!("{name}: tier 1 {one:.2} ns, tier 2 {two:.2} ns");
    }
}

/// A block that counts down and goes to another.
fn half(pc: u64, to: u64) -> Block {
    let text = format!(
        "block {pc:#x} flags 0x0 insns 1 end {:#x}\n-- {pc:#x}\n  x1 = sub x1, 0x1\n  \
         exitif eq x1, 0x0 -> 0x1f00\n  exit -> {to:#x}\n",
        pc + 4
    );
    text::parse(&text, &TABLE).expect("a block")
}

#[test]
#[ignore = "a measurement"]
fn border() {
    const COUNT: u64 = 10_000_000;
    const FAR: u64 = 0x4000;
    let (mut m, mut compiler) = machine(Memory::Identity);
    let (near, far) = (half(0x1000, 0x1100), half(0x1100, 0x1000));
    let entry = m.block_address();
    let to = |m: &Machine, pc| m.compiled.edges.iter().position(|e| e.target == pc);
    m.load_at(&far, FAR as usize).expect("code");
    let back = to(&m, 0x1000).expect("an edge");
    m.link_at(back, FAR, entry);
    let prepare = |m: &mut Machine| m.state()[2] = COUNT;
    m.load(&near).expect("code");
    let forth = to(&m, 0x1100).expect("an edge");
    let polled = entry + FAR;
    m.link(forth, polled);
    let one = turn(&mut m, COUNT, prepare);
    let region = Region::new(vec![near]);
    load(&mut m, &mut compiler, &region);
    assert_eq!(targets(&region, 0, &region.blocks[0].insts[0]).count(), 0);
    let forth = to(&m, 0x1100).expect("an edge");
    m.link(forth, polled);
    let two = turn(&mut m, COUNT, prepare);
    // Half of the turns pass the border, in and out.
    println!("border: {:.2} ns ({one:.2}, {two:.2})", 2.0 * (two - one));
}
