//! Single things about how regions are entered, left and refused.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;
mod faults;

use common::paging::{Paging, SKEW, addend};
use common::{Machine, TABLE};
use isomorph_baseline::{Compiled, ExitReason, Layout, Memory};
use isomorph_cranelift::{CompileError, CompiledRegion, Compiler, Floats};
use isomorph_ir::{Op, Region, text};

const PAGED: Memory = Memory::Tlb {
    bits: 4,
    longest: 4,
};

fn compiler(memory: Memory, floats: Floats) -> Compiler {
    let globals = &TABLE;
    Compiler::new(Layout { globals, memory }, floats).expect("a compiler")
}

fn region(text: &str) -> Region {
    let region = Region::parse(text, &TABLE).expect("a region");
    assert_eq!(region.verify(&TABLE), Ok(()));
    region
}

/// Compiles a region and puts it in place.
fn load(m: &mut Machine, text: &str) -> CompiledRegion {
    load_for(m, Memory::Identity, text)
}

fn load_for(m: &mut Machine, memory: Memory, text: &str) -> CompiledRegion {
    load_with(m, compiler(memory, Floats::Call), text)
}

/// As without any other tier.
fn load_alone(m: &mut Machine, text: &str) -> CompiledRegion {
    let mut c = compiler(PAGED, Floats::Call);
    c.alone(true);
    load_with(m, c, text)
}

fn load_with(m: &mut Machine, mut c: Compiler, text: &str) -> CompiledRegion {
    let compiled = c.compile(&region(text)).expect("code");
    let mut out = Compiled::default();
    compiled.place(m.runtime(), m.block_address(), 0, &mut out);
    for e in &out.edges {
        let at = m.block_address() + u64::from(e.rel32);
        assert!(at % 8 <= 4, "{e:?} crosses a word");
    }
    for l in &out.landings {
        assert_eq!(l.cell % 8, 0, "{l:?} is not aligned");
    }
    m.put(out, 0);
    compiled
}

/// Counts x0 up and x1 down, until that is 0.
const LOOP: &str = "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 1 end 0x1004
-- 0x1000
  x2 = mov 0x7
  exit -> 0x1010
block 0x1010 flags 0x0 insns 2 end 0x1018
-- 0x1010
  x0 = add x0, 0x1
-- 0x1014
  x1 = sub x1, 0x1
  exitif ne x1, 0x0 -> 0x1010
  exit -> 0x1018
";

#[test]
fn a_loop_runs() {
    let mut m = Machine::new(Vec::new());
    load(&mut m, LOOP);
    m.state()[1..4].copy_from_slice(&[5, 1000, 0]);
    let left = m.run();
    assert_eq!(left.reason, ExitReason::Edge);
    let edge = m.compiled.edges[left.payload as usize];
    assert_eq!(
        (edge.target, edge.polled, edge.call),
        (0x1018, false, false)
    );
    assert_eq!(m.state()[1..4], [1005, 0, 7]);
}

#[test]
fn an_interrupt_is_taken_at_the_entry_and_at_the_loop_head() {
    let mut m = Machine::new(Vec::new());
    load(&mut m, LOOP);
    m.interrupt(true);
    m.state()[1..4].copy_from_slice(&[5, 1000, 0]);
    let left = m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Irq, 0x1000));
    assert_eq!(m.state()[1..4], [5, 1000, 0]);
    let fast = m.block_address() + u64::from(m.compiled.fast_entry);
    let left = m.enter(fast);
    assert_eq!((left.reason, left.pc), (ExitReason::Irq, 0x1010));
    assert_eq!(m.state()[1..4], [5, 1000, 7]);
}

#[test]
fn a_callee_of_tier_1_comes_back() {
    let mut m = Machine::new(Vec::new());
    let callee = "\
block 0x2000 flags 0x0 insns 1 end 0x2004
-- 0x2000
  x3 = add x3, 0x5
  jump ret x0
";
    let callee = text::parse(callee, &TABLE).expect("a block");
    m.load_at(&callee, 0x1000).expect("code");
    let caller = "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 2 end 0x1008
-- 0x1000
  x3 = mov 0x1
  x0 = mov 0x1008
  call 0x1008 -> 0x2000
-- 0x1008
  exit -> 0x100c
";
    load(&mut m, caller);
    let call = m
        .compiled
        .edges
        .iter()
        .position(|e| e.call)
        .expect("a call");
    assert_eq!(m.compiled.edges[call].target, 0x2000);
    let callee = m.block_address() + 0x1000;
    m.link(call, callee);
    let left = m.run();
    assert_eq!(left.reason, ExitReason::Edge);
    assert_eq!(m.compiled.edges[left.payload as usize].target, 0x1008);
    assert_eq!(m.state()[4], 6);
    assert_eq!(m.depth(), 0);

    // A landing that was struck out refuses; so does one of another return address.
    let cell = m.compiled.landings[0].cell;
    m.write_word(cell, 1);
    let left = m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Indirect, 0x1008));
}

#[test]
fn a_fault_finds_the_state_precise() {
    let mut m = Machine::new(Vec::new());
    faults::watch(&mut m);
    let text = "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 4 end 0x1010
-- 0x1000
  x0 = add x0, 0x1
  exitif eq x0, 0x3 -> 0x1000
-- 0x1004
  x1 = add x1, x0
-- 0x1008
  x4 = load u64 [x2+0x10]
-- 0x100c
  x3 = mov 0x9
  exit -> 0x1000
";
    let region = load(&mut m, text);
    let good = [11_u64; 4];
    m.state()[1..6].copy_from_slice(&[0, 100, 0x10, 0, 0]);
    let left = m.run();
    assert_eq!((left.reason, left.payload), (ExitReason::Fault, 0));
    faults::restore(&mut m, region.recovery());
    assert_eq!(m.state()[1..6], [1, 101, 0x10, 0, 0]);
    let (host, address) = faults::last();
    assert_eq!(address, 0x20);
    let offset = (host - m.block_address()) as u32;
    assert_eq!(m.compiled.guest_pc(offset), Some(0x1008));

    // Where it does not fault it goes on until it does.
    let good_at = good.as_ptr() as u64 - 0x10;
    m.state()[1..6].copy_from_slice(&[0, 100, good_at, 0, 0]);
    m.interrupt(true);
    let fast = m.block_address() + u64::from(m.compiled.fast_entry);
    let left = m.enter(fast);
    assert_eq!((left.reason, left.pc), (ExitReason::Irq, 0x1000));
    m.interrupt(false);
}

/// The guest state at a faulting access: in registers, spilled, constant, computed again,
/// overwritten afterwards, and written because nothing else is left of it.
#[test]
fn a_fault_finds_state_wherever_it_is() {
    let mut m = Machine::new(Vec::new());
    faults::watch(&mut m);
    // x0 to x11 are live across the loop; x12 is the address.
    let mut text = String::from(
        "region entry 0 locals 0 joins\nblock 0x1000 flags 0x0 insns 1 end 0x1004\n-- 0x1000\n",
    );
    for n in 0..12 {
        text += &format!("  x{n} = add x{n}, {:#x}\n", n + 1);
        text += &format!("  f{n} = bitcast i64 x{n}\n");
    }
    text += "  x13 = load u64 [x12+0x8]\n  exitif eq x13, 0x1 -> 0x3000\n-- 0x1004\n\
             \x20 x13 = mov 0x77\n  x0 = shl x1, 0x3\n  x0 = add x0, x2\n  x3 = sext i32 x4\n\
             \x20 x5 = load u32 [x12+0x10]\n-- 0x1008\n  x5 = load s8 [x0]\n-- 0x100c\n";
    for n in [0, 3, 5, 13] {
        text += &format!("  x{n} = mov {n:#x}\n");
    }
    text += "  exit -> 0x1000\n";
    let region = load(&mut m, &text);
    assert_eq!(region.stats.attempts, 1, "all was foretold");
    assert!(region.recovery().frame_bytes() > 0, "something is spilled");

    let data = [0_u64, 0, 5, 0];
    let at = data.as_ptr() as u64;
    m.state()[1..15].fill(100);
    m.state()[13] = at;
    assert_eq!(m.run().reason, ExitReason::Fault);
    faults::restore(&mut m, region.recovery());
    let offset = (faults::last().0 - m.block_address()) as u32;
    assert_eq!(m.compiled.guest_pc(offset), Some(0x1008));
    let x: Vec<u64> = m.state()[1..15].to_vec();
    let sum = (102 << 3) + 103;
    assert_eq!(faults::last().1, sum);
    assert_eq!(
        x,
        [
            sum, 102, 103, 105, 105, 5, 107, 108, 109, 110, 111, 112, at, 0x77
        ]
    );
    let f: Vec<u64> = m.state()[15..27].to_vec();
    assert_eq!(f, (101..113).collect::<Vec<u64>>());

    m.state()[1..15].fill(100);
    assert_eq!(m.run().reason, ExitReason::Fault);
    faults::restore(&mut m, region.recovery());
    let x: Vec<u64> = m.state()[1..15].to_vec();
    assert_eq!(
        x,
        [
            101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 100, 100
        ]
    );
}

#[test]
fn a_fault_on_the_slow_path_finds_the_state_precise() {
    let mut m = Machine::with_memory(Vec::new(), PAGED);
    let mut paging = Paging::new(&mut m);
    paging.clear(Some(0x5000));
    let text = "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 4 end 0x100c
-- 0x1000
  x0 = add x0, 0x1
-- 0x1004
  store u64 [x2+0x10], x0
-- 0x1008
  x3 = mov 0x9
  exit -> 0x1010
";
    load_alone(&mut m, text);
    m.state()[1..5].copy_from_slice(&[1, 2, 0x5000, 4]);
    // More than once: the host's stack is as it was.
    for turn in 2..5 {
        let left = m.run();
        assert_eq!((left.reason, left.payload), (ExitReason::Fault, 7));
        assert_eq!((left.pc, left.info), (0x1004, 0x5010));
        assert_eq!(m.state()[1..5], [turn, 2, 0x5000, 4]);
    }
}

#[test]
fn an_access_uses_the_page_of_one_before_it() {
    let mut m = Machine::with_memory(Vec::new(), PAGED);
    let mut paging = Paging::new(&mut m);
    let mut memory = vec![0_u64; 1024];
    for (n, word) in memory.iter_mut().enumerate() {
        *word = n as u64;
    }
    // Behind the first page there is other memory than the guest's next page.
    paging.host = (memory.as_ptr() as u64).wrapping_sub(0x5000);
    let text = "\
region entry 0 locals 0 joins
reprobe 0.3 after 0.1 delta 8
reprobe 0.5 after 0.1 delta -8
block 0x1000 flags 0x0 insns 4 end 0x1010
-- 0x1000
  x0 = load u64 [x2]
-- 0x1004
  x1 = load u64 [x2+0x8]
-- 0x1008
  x3 = load u64 [x2-0x8]
-- 0x100c
  exit -> 0x1010
";
    load_alone(&mut m, text);
    // By address: accesses on the slow path where the TLB knows the page, and where it does not.
    // Behind a follower's slow path nothing is known.
    let rows: [(u64, &[u64], &[u64]); 4] = [
        (0x5100, &[], &[0x5100]),
        (0x5ff8, &[0x6000, 0x5ff0], &[0x5ff8, 0x6000, 0x5ff0]),
        (0x5000, &[0x4ff8], &[0x5000, 0x4ff8]),
        (0x5ffc, &[0x5ffc, 0x6004, 0x5ff4], &[0x5ffc, 0x6004, 0x5ff4]),
    ];
    for (at, known, unknown) in rows {
        for (fill, want) in [(true, known), (false, unknown)] {
            paging.keep = true;
            paging.clear(None);
            if fill {
                paging.fill(0x5000, true, false);
            }
            m.state()[3] = at;
            m.run();
            let missed: Vec<u64> = paging.misses().iter().map(|miss| miss.address).collect();
            assert_eq!(missed, want, "{at:#x}");
        }
    }
}

#[test]
fn what_misses_the_tlb_is_left_to_tier_1() {
    let mut m = Machine::with_memory(Vec::new(), PAGED);
    let mut paging = Paging::new(&mut m);
    let text = "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 4 end 0x100c
-- 0x1000
  x0 = load u64 [x2]
-- 0x1004
  x1 = add x1, 0x1
-- 0x1008
  store u64 [x2+0x10], x1
-- 0x100c
  x3 = add x3, 0x1
  store u64 [x2+0x18], x3
  exit -> 0x1010
";
    load_for(&mut m, PAGED, text);
    let memory = [7_u64, 0, 0, 0];
    paging.host = (memory.as_ptr() as u64).wrapping_sub(0x5000 + SKEW);
    let mut run = |paging: &mut Paging, fill: &[bool; 2]| {
        paging.clear(None);
        paging.fill(0x5000, fill[0], fill[1]);
        m.state()[1..5].copy_from_slice(&[1, 2, 0x5000, 4]);
        let left = m.run();
        let target = m.compiled.edges[left.payload as usize].target;
        let state: [u64; 4] = m.state()[1..5].try_into().expect("four");
        (target, paging.misses().len(), state)
    };
    // That at the entry is done here, as tier 1 would come back to the entry.
    assert_eq!(
        run(&mut paging, &[false, true]),
        (0x1010, 1, [7, 3, 0x5000, 5])
    );
    // The state is that before the instruction.
    assert_eq!(
        run(&mut paging, &[true, false]),
        (0x1008, 0, [7, 3, 0x5000, 4])
    );
    assert_eq!(
        run(&mut paging, &[true, true]),
        (0x1010, 0, [7, 3, 0x5000, 5])
    );
}

#[test]
fn an_instruction_that_has_begun_is_done_in_the_region() {
    let mut m = Machine::with_memory(Vec::new(), PAGED);
    let mut paging = Paging::new(&mut m);
    let text = "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 2 end 0x1008
-- 0x1000
  x0 = mov 0x1
-- 0x1004
  x1 = add x1, 0x1
  store u64 [x2], x1
  exit -> 0x1010
";
    load_for(&mut m, PAGED, text);
    let memory = [0_u64; 2];
    paging.host = (memory.as_ptr() as u64).wrapping_sub(0x5000 + SKEW);
    paging.clear(None);
    m.state()[1..4].copy_from_slice(&[1, 2, 0x5000]);
    let left = m.run();
    assert_eq!(m.compiled.edges[left.payload as usize].target, 0x1010);
    assert_eq!((paging.misses().len(), m.state()[2]), (1, 3));
}

/// Adds up `x1` numbers from `x2` on, `step` bytes apart.
fn sum_text(step: u64) -> String {
    format!(
        "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 1 end 0x1004
-- 0x1000
  x0 = mov 0x0
  exit -> 0x1010
block 0x1010 flags 0x0 insns 4 end 0x1020
-- 0x1010
  x3 = load u64 [x2]
-- 0x1014
  x0 = add x0, x3
-- 0x1018
  x2 = add x2, {step:#x}
-- 0x101c
  x1 = sub x1, 0x1
  exitif ne x1, 0x0 -> 0x1010
  exit -> 0x1020
"
    )
}

#[test]
fn a_loop_goes_from_page_to_page() {
    let words: Vec<u64> = (0..2048).collect();
    // Also where it does not stay in a page for long, and where words lie in two pages.
    for (step, from) in [(8, 0), (512, 0), (8, 4)] {
        let mut m = Machine::with_memory(Vec::new(), PAGED);
        let mut paging = Paging::new(&mut m);
        load_alone(&mut m, &sum_text(step));
        paging.keep = true;
        paging.host = (words.as_ptr() as u64).wrapping_sub(0x5000);
        paging.clear(None);
        let count = 0x3000 / step;
        m.state()[2..4].copy_from_slice(&[count, 0x5000 + from]);
        assert_eq!(m.run().reason, ExitReason::Edge);
        // Not all pages are where the first one is.
        let byte = |at: u64| {
            let offset = addend(0, at) + at - 0x5000;
            words[offset as usize / 8].to_le_bytes()[offset as usize % 8]
        };
        let word = |n| {
            let at = 0x5000 + from + n * step;
            u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| byte(at + i)))
        };
        let want = (0..count).map(word).fold(0, u64::wrapping_add);
        assert_eq!(m.state()[1], want, "{step}");
        let missed: Vec<u64> = paging.misses().iter().map(|miss| miss.address).collect();
        let want: &[u64] = match from {
            0 => &[0x5000, 0x6000, 0x7000],
            _ => &[0x5004, 0x5ffc, 0x6004, 0x6ffc, 0x7004, 0x7ffc],
        };
        assert_eq!(missed, want, "{step}");
    }
}

#[test]
fn an_edge_to_another_page_is_looked_up() {
    let mut m = Machine::with_memory(Vec::new(), PAGED);
    let text = "\
region entry 0 locals 0 joins 2
block 0x1ff0 flags 0x0 insns 1 end 0x1ff4
-- 0x1ff0
  x0 = add x0, 0x1
  exitif eq x0, 0x2 -> 0x2000
  jump jump x1
block 0x2000 flags 0x0 insns 1 end 0x2004
-- 0x2000
  x0 = mov 0x9
  exit -> 0x3000
block 0x2100 flags 0x0 insns 1 end 0x2104
-- 0x2100
  x0 = mov 0x9
  exit -> 0x3000
";
    load_for(&mut m, PAGED, text);
    for (x0, pc) in [(1, 0x2000), (5, 0x2100)] {
        m.state()[1..3].copy_from_slice(&[x0, 0x2100]);
        let left = m.run();
        assert_eq!((left.reason, left.pc), (ExitReason::Indirect, pc));
        assert_eq!(m.state()[1], x0 + 1);
    }
}

/// Jumps to each of `count` blocks, from so many blocks.
fn jumps(count: u64, from: u64) {
    let pc = |n: u64| 0x20000 + n * 0x24 + n * n % 5 * 2;
    let mut text = String::from("region entry 0 locals 0 joins\n");
    for n in 0..from {
        let at = 0x1000 + n * 0x10;
        text += &format!(
            "block {at:#x} flags 0x0 insns 2 end {:#x}\n-- {at:#x}\n",
            at + 8
        );
        text += &format!(
            "  x2 = add x2, {n:#x}\n  exitif eq x3, {n:#x} -> {:#x}\n",
            at + 8
        );
        text += &format!("  exit -> {:#x}\n", at + 0x10);
        let at = at + 8;
        text += &format!(
            "block {at:#x} flags 0x0 insns 1 end {:#x}\n-- {at:#x}\n",
            at + 4
        );
        text += "  x4 = mov x2\n  jump jump x1\n";
    }
    let mut region = Region::parse(&text, &TABLE).expect("jumps");
    for n in 0..count {
        let (at, end) = (pc(n), pc(n) + 2);
        let block = format!(
            "block {at:#x} flags 0x0 insns 1 end {end:#x}\n-- {at:#x}\n  x0 = mov {n:#x}\n  \
             exit -> 0x9000\n"
        );
        region.joins.push(region.blocks.len());
        region
            .blocks
            .push(text::parse(&block, &TABLE).expect("a block"));
    }
    let mut m = Machine::new(Vec::new());
    load(&mut m, &region.text(&TABLE).to_string());
    for n in 0..count {
        let by = n % from;
        m.state()[1..6].copy_from_slice(&[99, pc(n), 0, by, 0]);
        assert_eq!(m.run().reason, ExitReason::Edge);
        let sum = by * (by + 1) / 2;
        assert_eq!([m.state()[1], m.state()[3], m.state()[5]], [n, sum, sum]);
        // What is no join is looked up.
        for other in [pc(n) + 1, pc(n) + 0x10_0000, 0] {
            m.state()[1..6].copy_from_slice(&[99, other, 0, by, 0]);
            let left = m.run();
            assert_eq!((left.reason, left.pc), (ExitReason::Indirect, other));
            assert_eq!([m.state()[1], m.state()[3], m.state()[5]], [99, sum, sum]);
        }
    }
}

#[test]
fn a_computed_jump_finds_each_of_many_joins() {
    jumps(3, 1);
    // By a table.
    jumps(20, 1);
    jumps(60, 3);
    // By a table that they share.
    jumps(60, 12);
}

#[test]
fn what_has_no_code_is_refused() {
    let text = "\
region entry 0 locals 0 joins
block 0x1ff0 flags 0x0 insns 1 end 0x1ff4
-- 0x1ff0
  f0 = fadd rne f1, f2
  exit -> 0x2000
block 0x2000 flags 0x0 insns 1 end 0x2004
-- 0x2000
  x0 = counter 0
  exit -> 0x3000
";
    let region = region(text);
    let error = compiler(Memory::Identity, Floats::Refuse).compile(&region);
    assert!(matches!(
        error,
        Err(CompileError::Refused { op: Op::FAdd, .. })
    ));
    let error = compiler(Memory::Identity, Floats::Call).compile(&region);
    assert!(matches!(
        error,
        Err(CompileError::Refused {
            op: Op::ReadCounter,
            ..
        })
    ));
    let empty = compiler(PAGED, Floats::Call).compile(&Region::default());
    assert!(matches!(empty, Err(CompileError::NoEntry)));
    // What was refused leaves the compiler in order.
    let mut c = compiler(Memory::Identity, Floats::Refuse);
    assert!(c.compile(&region).is_err());
    assert!(c.compile(&self::region(LOOP)).is_ok());
}

#[test]
fn every_file_of_ir_has_code() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../baseline/tests");
    let mut files = 0;
    for (dir, memory) in [("code", Memory::Identity), ("code_tlb", PAGED)] {
        let mut c = compiler(memory, Floats::Call);
        for file in std::fs::read_dir(format!("{root}/{dir}")).expect("cases") {
            let path = file.expect("a file").path();
            if path.extension().is_none_or(|e| e != "ir") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            let block = text::parse(&text, &TABLE).expect("a block");
            let done = c.compile(&Region::new(vec![block]));
            assert!(done.is_ok(), "{}: {done:?}", path.display());
            files += 1;
        }
    }
    assert!(files > 10);
}
