//! Accesses through a software TLB: what hits, what takes the slow path, faults, atomics,
//! accesses that share a probe, and exits to other pages.

mod common;

use common::paging::{BITS, Paging, SKEW, addend};
use common::{Left, Machine, TABLE, x};
use isomorph_baseline::{ExitReason, MemKind, Memory};
use isomorph_ir::{AtomicOp, Builder, Cond, Dst, JumpKind, MemOp, Type, Val};

const I64: Type = Type::I64;
/// Guest address of the buffer: the start of a page.
const GUEST: u64 = 0x7_6543_2000;
const PAGE: u64 = 4096;

#[repr(align(4096))]
struct Pages([u8; 3 * PAGE as usize]);

/// Where the byte `offset` behind `GUEST` is in the pages.
fn place(offset: u64) -> usize {
    offset.wrapping_add(addend(0, GUEST + offset)) as usize
}

struct Bench {
    m: Machine,
    paging: Paging,
    pages: Box<Pages>,
}

impl Bench {
    fn new() -> Self {
        let mut m = Machine::with_memory(
            Vec::new(),
            Memory::Tlb {
                bits: BITS,
                longest: 4,
            },
        );
        m.state().fill(0);
        let mut paging = Paging::new(&mut m);
        let mut pages = Box::new(Pages([0; 3 * PAGE as usize]));
        for (n, byte) in pages.0.iter_mut().enumerate() {
            *byte = (n * 7 + n / 256) as u8;
        }
        paging.host = (pages.0.as_ptr() as u64).wrapping_sub(GUEST);
        paging.clear(None);
        Self { m, paging, pages }
    }

    fn word(&self, offset: u64) -> u64 {
        let byte = |n| u64::from(self.pages.0[place(offset + n)]) << (8 * n);
        (0..8).map(byte).sum()
    }

    fn x(&mut self, n: usize) -> u64 {
        self.m.state()[n + 1]
    }

    fn set(&mut self, n: usize, value: u64) {
        self.m.state()[n + 1] = value;
    }

    /// Runs a block at 0x1000 that ends with an exit to 0x1100.
    fn run(&mut self, build: impl FnOnce(&mut Builder)) -> Left {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        b.insn_start(0x1000);
        build(&mut b);
        b.exit(0x1100);
        b.block_mut().end = 0x1100;
        self.m.load(b.block()).expect("compiles");
        self.m.run()
    }

    fn kinds(&self) -> Vec<(MemKind, u64)> {
        let misses = self.paging.misses();
        misses
            .iter()
            .map(|m| (m.request.kind(), m.address))
            .collect()
    }
}

fn load(b: &mut Builder, mem: MemOp, d: usize, base: usize, disp: i64) {
    b.load(I64, mem, Dst::To(x(d)), x(base), disp);
}

#[test]
fn a_hit_needs_no_slow_path() {
    let mut t = Bench::new();
    t.paging.fill(GUEST, true, true);
    t.set(1, GUEST + 8);
    t.set(3, 0x1122_3344_5566_7788);
    let left = t.run(|b| {
        load(b, MemOp::U64, 2, 1, 8);
        b.store(I64, MemOp::U32, x(3), x(1), 0x11);
    });
    assert_eq!(left.reason, ExitReason::Edge);
    assert_eq!(t.x(2), t.word(16));
    assert_eq!(t.word(0x19) as u32, 0x5566_7788);
    assert_eq!(t.kinds(), []);
}

#[test]
fn a_miss_takes_the_slow_path_and_extends() {
    let mut t = Bench::new();
    t.pages.0[0x40] = 0x80;
    t.set(1, GUEST);
    t.set(4, 77);
    t.run(|b| {
        load(b, MemOp::S8, 2, 1, 0x40);
        load(b, MemOp::U8, 3, 1, 0x40);
        b.store(I64, MemOp::U16, x(4), x(1), 0x50);
        let d = Dst::To(x(13));
        b.load(I64, MemOp::S8, d, x(1), 0x40);
    });
    assert_eq!((t.x(2), t.x(3)), (-128_i64 as u64, 0x80));
    assert_eq!(t.x(13), -128_i64 as u64);
    assert_eq!(t.word(0x50) as u16, 77);
    assert_eq!(t.paging.misses().len(), 4);
    assert!(t.paging.misses().iter().all(|m| m.pc == 0x1000));
    // Only the loads' page is there: a store still misses.
    t.paging.clear(None);
    t.paging.fill(GUEST, true, false);
    t.run(|b| {
        load(b, MemOp::U64, 2, 1, 0);
        b.store(I64, MemOp::U64, x(4), x(1), 0);
    });
    assert_eq!(t.kinds(), [(MemKind::Store, GUEST)]);
    assert_eq!(t.word(0), 77);
}

#[test]
fn a_misaligned_access_hits_within_a_page_and_misses_across() {
    let mut t = Bench::new();
    t.paging.fill(GUEST, true, true);
    t.paging.fill(GUEST + PAGE, true, true);
    t.set(1, GUEST + PAGE - 9);
    t.run(|b| load(b, MemOp::U64, 2, 1, 0));
    assert_eq!((t.x(2), t.kinds()), (t.word(PAGE - 9), vec![]));
    t.set(1, GUEST + PAGE - 7);
    t.run(|b| load(b, MemOp::U64, 2, 1, 0));
    assert_eq!(t.x(2), t.word(PAGE - 7));
    assert_eq!(t.kinds(), [(MemKind::Load, GUEST + PAGE - 7)]);
    // What must be aligned misses within a page too.
    t.paging.clear(None);
    t.paging.fill(GUEST, true, true);
    t.set(1, GUEST + 1);
    t.run(|b| load(b, MemOp::U64.with_alignment(), 2, 1, 0));
    assert_eq!(t.kinds(), [(MemKind::Load, GUEST + 1)]);
}

#[test]
fn a_fault_leaves_with_the_state_before_it() {
    let mut t = Bench::new();
    t.paging.clear(Some(GUEST + PAGE));
    t.paging.fill(GUEST, true, true);
    t.set(1, GUEST);
    let depth = t.m.depth();
    let left = t.run(|b| {
        load(b, MemOp::U64, 2, 1, 0);
        b.insn_start(0x1004);
        b.constant(I64, Dst::To(x(13)), 5);
        b.constant(I64, Dst::To(x(5)), 6);
        b.insn_start(0x1008);
        load(b, MemOp::U64, 1, 1, PAGE as i64);
        b.insn_start(0x100c);
        b.constant(I64, Dst::To(x(2)), 0);
    });
    assert_eq!((left.reason, left.payload), (ExitReason::Fault, 7));
    assert_eq!((left.pc, left.info), (0x1008, GUEST + PAGE));
    assert_eq!((t.x(1), t.x(2)), (GUEST, t.word(0)));
    assert_eq!((t.x(13), t.x(5)), (5, 6));
    assert_eq!(t.m.depth(), depth);
    // An access that has a page's last byte and the faulting page's first.
    t.set(1, GUEST + PAGE - 1);
    let left = t.run(|b| b.store(I64, MemOp::U16, x(5), x(1), 0));
    assert_eq!((left.reason, left.pc), (ExitReason::Fault, 0x1000));
    // The next run does not fault again.
    t.set(1, GUEST);
    let left = t.run(|b| load(b, MemOp::U64, 2, 1, 0));
    assert_eq!(left.reason, ExitReason::Edge);
}

#[test]
fn atomics_hit_and_miss() {
    for hit in [true, false] {
        let mut t = Bench::new();
        if hit {
            t.paging.fill(GUEST, true, true);
        }
        t.pages.0[..16].fill(0);
        t.pages.0[0] = 0xf0;
        t.set(1, GUEST);
        t.set(2, 0x10);
        t.set(3, 0x55);
        t.run(|b| {
            let mem = MemOp::U64.with_alignment();
            b.rmw(AtomicOp::Add, I64, mem, Dst::To(x(4)), x(1), x(2));
            b.rmw(AtomicOp::MaxU, I64, mem, Dst::To(x(5)), x(1), x(2));
            b.rmw(AtomicOp::Or, I64, mem, Dst::Discard, x(1), x(3));
            let expected = b.c(0x155);
            b.cas(I64, mem, Dst::To(x(6)), x(1), expected, x(3));
            let (lo, hi) = (b.c(0x55), b.c(0));
            let new = (b.c(8), b.c(9));
            let wide = MemOp::V128.with_alignment();
            let (lo, hi) = b.cas_pair(wide, x(1), (lo, hi), new);
            b.mov(I64, Dst::To(x(7)), lo);
            b.mov(I64, Dst::To(x(8)), hi);
        });
        let got: Vec<u64> = (4..9).map(|n| t.x(n)).collect();
        assert_eq!(got, [0xf0, 0x100, 0x155, 0x55, 0]);
        assert_eq!((t.word(0), t.word(8)), (8, 9));
        assert_eq!(t.kinds().len(), if hit { 0 } else { 5 });
    }
}

#[test]
fn a_misaligned_atomic_misses() {
    let mut t = Bench::new();
    t.paging.fill(GUEST, true, true);
    t.set(1, GUEST + 4);
    t.run(|b| {
        b.rmw(AtomicOp::Add, I64, MemOp::U64, Dst::To(x(4)), x(1), x(2));
        b.rmw(AtomicOp::Add, I64, MemOp::U32, Dst::To(x(5)), x(1), x(2));
    });
    assert_eq!(t.kinds(), [(MemKind::Rmw, GUEST + 4)]);
}

#[test]
fn reservations_are_of_host_addresses() {
    let pair = |b: &mut Builder| {
        let mem = MemOp::U64.with_alignment();
        b.load_reserved(I64, mem, Dst::To(x(2)), x(1));
        b.store_cond(I64, mem, Dst::To(x(3)), x(4), x(5));
        b.store_cond(I64, mem, Dst::To(x(6)), x(4), x(5));
    };
    for (read, write) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut t = Bench::new();
        t.paging.fill(GUEST, read, write);
        for n in [1, 4] {
            t.set(n, GUEST + 64);
        }
        let old = t.word(64);
        t.set(5, 99);
        t.run(pair);
        assert_eq!((t.x(2), t.x(3), t.x(6)), (old, 0, 1), "{read} {write}");
        assert_eq!(t.word(64), 99);
        // The same bytes under another name.
        t.paging.fill(GUEST, true, true);
        t.paging.host = t.paging.host.wrapping_sub(PAGE + SKEW);
        t.paging.fill(GUEST + PAGE, true, true);
        t.set(4, GUEST + PAGE + 64);
        t.set(5, 100);
        t.run(pair);
        assert_eq!((t.x(3), t.word(64)), (0, 100));
    }
}

#[test]
fn accesses_off_one_base_share_a_probe() {
    let block = |b: &mut Builder| {
        load(b, MemOp::U64, 2, 1, 8);
        load(b, MemOp::U32, 3, 1, 0);
        b.store(I64, MemOp::U64, x(9), x(1), 64);
        load(b, MemOp::U64, 4, 1, -16);
        b.store(I64, MemOp::U8, x(9), x(1), 80);
        load(b, MemOp::U64, 1, 1, 24);
        load(b, MemOp::U64, 5, 1, 0);
    };
    // In the page, across its end at several places, and with nothing in the TLB.
    for at in [
        64,
        PAGE - 8,
        PAGE - 24,
        PAGE - 4,
        PAGE + 15,
        PAGE - 30,
        PAGE - 70,
    ] {
        for (one, two, keep) in [
            (true, true, false),
            (false, true, true),
            (true, false, true),
            (false, false, true),
            (false, false, false),
        ] {
            let mut t = Bench::new();
            for (n, byte) in (at + 24..).zip((GUEST + 0x100).to_le_bytes()) {
                t.pages.0[place(n)] = byte;
            }
            t.paging.keep = keep;
            t.paging.clear(None);
            for (page, there) in [(GUEST, one), (GUEST + PAGE, two)] {
                if there {
                    t.paging.fill(page, true, true);
                }
            }
            t.set(1, GUEST + at);
            t.set(9, 0xabcd_ef01_2345_6789);
            let want = [t.word(at + 8), t.word(at) & 0xffff_ffff, t.word(at - 16)];
            let left = t.run(block);
            assert_eq!(left.reason, ExitReason::Edge);
            assert_eq!([t.x(2), t.x(3), t.x(4)], want, "{at:#x}");
            assert_eq!((t.x(1), t.x(5)), (GUEST + 0x100, t.word(0x100)));
            assert_eq!(t.word(at + 64), 0xabcd_ef01_2345_6789);
            assert_eq!(t.word(at + 80) as u8, 0x89);
        }
    }
}

#[test]
fn a_slow_path_ends_the_sharing() {
    let mut t = Bench::new();
    t.paging.fill(GUEST, true, true);
    t.set(1, GUEST);
    t.set(2, GUEST + 2 * PAGE);
    let host = t.paging.host;
    // The slow path of the access between remaps: the entry that it fills has the place of the
    // first one's page, as far as the test's TLB goes.
    t.paging.keep = true;
    t.paging.clear(None);
    t.paging.fill(GUEST, true, true);
    t.run(|b| {
        load(b, MemOp::U64, 3, 1, 0);
        load(b, MemOp::U64, 4, 2, 0);
        load(b, MemOp::U64, 5, 1, 8);
    });
    assert_eq!(t.kinds(), [(MemKind::Load, GUEST + 2 * PAGE)]);
    assert_eq!((t.x(3), t.x(5)), (t.word(0), t.word(8)));
    assert_eq!(t.paging.host, host);
    // SAFETY: the header is initialised and no code runs.
    let addends = unsafe { (*t.m.header()).mem_addends };
    assert_eq!(addends, [1; 4]);
}

/// A block at 0x1ffc: a conditional exit to `near`, a call or exit to `far`.
fn leaver(far: u64, call: bool) -> Builder {
    let mut b = Builder::new(&TABLE);
    b.start(0x1ffc, 0);
    b.insn_start(0x1ffc);
    let zero: Val = b.c(0);
    b.exit_if(I64, Cond::Eq, x(1), zero, 0x5000);
    if call {
        b.constant(I64, Dst::To(x(0)), 0x1ffe);
        b.call(far, 0x1ffe);
        b.insn_start(0x1ffe);
        b.constant(I64, Dst::To(x(2)), 1);
        b.exit(0x1f00);
    } else {
        b.exit(far);
    }
    b.block_mut().end = 0x2000;
    b
}

#[test]
fn exits_to_other_pages_are_looked_up() {
    let mut t = Bench::new();
    t.m.load(leaver(0x2000, false).block()).expect("compiles");
    assert_eq!(t.m.compiled.edges.len(), 0);
    for (value, to) in [(0, 0x5000), (1, 0x2000)] {
        t.set(1, value);
        let left = t.m.run();
        assert_eq!((left.reason, left.pc), (ExitReason::Indirect, to));
    }
    t.m.load(leaver(0x1000, false).block()).expect("compiles");
    assert_eq!(t.m.compiled.edges.len(), 1, "within the page it is an edge");
}

#[test]
fn calls_to_other_pages_return_inline() {
    let mut t = Bench::new();
    let mut callee = Builder::new(&TABLE);
    callee.start(0x6000, 0);
    callee.insn_start(0x6000);
    callee.jump(JumpKind::Ret, x(0));
    t.m.load_at(callee.block(), 4096).expect("compiles");
    let code = t.m.block_address() + 4096;
    t.m.load(leaver(0x6000, true).block()).expect("compiles");
    t.set(1, 1);
    let left = t.m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Indirect, 0x6000));
    assert_eq!(t.m.depth(), 1, "the return point stays on the stack");
    assert_eq!(t.m.enter(code).reason, ExitReason::Edge);
    assert_eq!((t.x(2), t.m.depth()), (1, 0));
    t.set(2, 0);
    t.m.cache(0x6000, code);
    assert_eq!(t.m.run().reason, ExitReason::Edge);
    assert_eq!((t.x(2), t.m.depth()), (1, 0));
}
