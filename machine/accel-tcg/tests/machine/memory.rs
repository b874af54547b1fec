//! Loads, stores and atomics: where they hit and miss, what they raise.

use crate::asm::*;
use crate::bench::*;
use isomorph_softmmu::{Backing, RamBlock, Region};

const VA: u64 = 0x4000_0000;

const LOAD_MISALIGNED: u64 = 4;
const LOAD_ACCESS: u64 = 5;
const STORE_MISALIGNED: u64 = 6;
const STORE_ACCESS: u64 = 7;
const LOAD_PAGE: u64 = 13;
const STORE_PAGE: u64 = 15;

/// A machine with pages 0 and 1 at [`VA`], and one behind them that is not mapped.
fn two_pages() -> (Bench, u64) {
    let mut bench = Bench::supervisor();
    let root = bench.root();
    bench.map(root, VA, DATA, RW | ACCESSED);
    // Not the next one.
    bench.map(root, VA + 0x1000, DATA + 0x4000, RW | ACCESSED);
    (bench, root)
}

/// Runs `insns` with `a0` as given; what was raised, by instruction.
fn raised(bench: &mut Bench, root: u64, a0: u64, insns: &[u32]) -> Vec<(usize, u64, u64)> {
    let mut first = 0;
    paged(bench, root, |asm| {
        asm.li(A0, a0).li(A1, 0x1122_3344_5566_7788);
        first = asm.pc();
        asm.w(insns);
    });
    bench.reset();
    bench.run();
    let log = bench.take_log();
    let (traps, rest) = log.as_chunks::<3>();
    assert!(rest.is_empty());
    let at = |pc: u64| ((pc - first) / 4) as usize;
    traps.iter().map(|t| (at(t[2]), t[0], t[1])).collect()
}

#[test]
fn pages_are_crossed() {
    let (mut bench, root) = two_pages();
    for at in [0xff9, 0xffd, 0xfff] {
        let insns = [
            sd(A1, A0, 0),
            ld(A2, A0, 0),
            sw(A1, A0, 0),
            lw(A3, A0, 0),
            // lwu
            load(6, A4, A0, 0),
        ];
        assert_eq!(raised(&mut bench, root, VA + at, &insns), []);
        let value = 0x1122_3344_5566_7788_u64;
        assert_eq!(bench.reg(0, "x12"), value);
        assert_eq!(bench.reg(0, "x13"), value as i32 as u64);
        assert_eq!(bench.reg(0, "x14"), u64::from(value as u32));
        let (first, second) = (bench.get64(DATA + 0xff8), bench.get64(DATA + 0x4000));
        let here = at - 0xff8;
        assert_eq!(first >> (8 * here), value << (8 * here) >> (8 * here));
        let there = 8 * (8 - here);
        assert_eq!(second & ((1 << (64 - there)) - 1), value >> there);
    }
}

#[test]
fn a_store_to_a_page_and_an_unmapped_one_stores_nothing() {
    let (mut bench, root) = two_pages();
    let end = VA + 0x2000;
    for (back, access, cause) in [
        (1, sd(A1, A0, 0), STORE_PAGE),
        (7, sd(A1, A0, 0), STORE_PAGE),
        (3, sw(A1, A0, 0), STORE_PAGE),
        (1, store(1, A1, A0, 0), STORE_PAGE),
        (7, ld(A2, A0, 0), LOAD_PAGE),
        (1, lw(A2, A0, 0), LOAD_PAGE),
        // fld, fsd
        (2, i_type(0x07, 3, 1, A0, 0), LOAD_PAGE),
    ] {
        bench.put64(DATA + 0x4ff8, 0x7777);
        // Both as a miss and as a hit of the first page.
        let insns = [
            // FS: Initial
            lui(A2, 2),
            csrs(SSTATUS, A2),
            access,
            lw(A3, A0, -16),
            sw(ZERO, A0, -16),
            access,
            sd(ZERO, A0, -32),
        ];
        let got = raised(&mut bench, root, end - back, &insns);
        assert_eq!(
            got,
            [(2, cause, end), (5, cause, end)],
            "{back} {access:#x}"
        );
        assert_eq!(bench.get64(DATA + 0x4ff8), 0x7777);
    }
    // The first page is the one that is not there.
    let first = end + 0xfff;
    bench.map(root, end + 0x1000, DATA + 0x8000, RW | ACCESSED);
    let insns = [sd(A1, A0, 0), ld(A1, A0, 0)];
    let got = raised(&mut bench, root, first, &insns);
    assert_eq!(got, [(0, STORE_PAGE, first), (1, LOAD_PAGE, first)]);
    assert_eq!(bench.get64(DATA + 0x8000), 0);
}

#[test]
fn atomics_work_where_they_miss_and_where_they_hit() {
    for size in [2, 3] {
        // Twice the same: the first of them misses.
        let (mut bench, root) = two_pages();
        let minus = if size == 2 {
            0xffff_fff0_u64
        } else {
            -16_i64 as u64
        };
        bench.put64(DATA, minus);
        bench.put64(DATA + 0x4000, minus);
        let one = |at: i32, rd: u32| {
            [
                addi(T1, A0, at),
                lr(size, rd, T1),
                addi(T2, rd, 1),
                sc(size, rd + 1, T2, T1),
                sc(size, rd + 2, T2, T1),
                amoadd(size, rd + 3, T2, T1),
                // amomin, amomaxu with a1
                amo(0b10000, size, rd + 4, A1, T1),
                amo(0b11100, size, rd + 4, A1, T1),
            ]
        };
        let mut insns = vec![lui(T0, 1)];
        insns.extend(one(0, 12));
        insns.push(add(A0, A0, T0));
        // The second page is read before.
        insns.push(ld(T2, A0, 0));
        insns.extend(one(0, 17));
        insns.push(sw(ZERO, A0, 64));
        insns.extend(one(0, 22));
        assert_eq!(raised(&mut bench, root, VA, &insns), []);
        let reg = |n: u32| bench.reg(0, &format!("x{n}"));
        let m = -16_i64;
        for (from, value) in [(12, m), (17, m)] {
            assert_eq!(reg(from), value as u64, "{size}");
            assert_eq!((reg(from + 1), reg(from + 2)), (0, 1));
            assert_eq!(reg(from + 3), (value + 1) as u64);
        }
        assert_eq!((reg(23), reg(24)), (0, 1));
        assert_eq!(bench.get64(DATA + 0x1000) >> 1, 0);
    }
}

#[test]
fn misaligned_atomics_know_loads_from_stores() {
    let (mut bench, root) = two_pages();
    let insns = [
        lr(3, A2, A0),
        sc(3, A2, A1, A0),
        amoadd(3, A2, A1, A0),
        lr(2, A2, A0),
        amoswap(2, A2, A1, A0),
        // The page is known now.
        ld(A3, A0, 0),
        sd(A3, A0, 0),
        lr(3, A2, A0),
        sc(3, A2, A1, A0),
        amoadd(2, A2, A1, A0),
    ];
    for at in [VA + 2, VA + 0xffe] {
        let causes = [
            (0, LOAD_MISALIGNED, at),
            (1, STORE_MISALIGNED, at),
            (2, STORE_MISALIGNED, at),
            (3, LOAD_MISALIGNED, at),
            (4, STORE_MISALIGNED, at),
            (7, LOAD_MISALIGNED, at),
            (8, STORE_MISALIGNED, at),
            (9, STORE_MISALIGNED, at),
        ];
        assert_eq!(raised(&mut bench, root, at, &insns), causes);
    }
}

#[test]
fn low_bits_of_an_address_are_no_tag_of_the_tlb() {
    let (mut bench, root) = two_pages();
    // The page is known, and takes the slow path.
    for low in 1..4 {
        let at = DEVICE + low;
        let insns = [lw(A3, A0, 4 - low as i32), amoadd(2, A2, A1, A0)];
        let causes = [(1, STORE_MISALIGNED, at)];
        assert_eq!(raised(&mut bench, root, at, &insns), causes);
    }
    // Nothing is known of the page.
    for low in 1..8 {
        let insns = [amoadd(3, A2, A1, A0)];
        let causes = [(0, STORE_MISALIGNED, low)];
        assert_eq!(raised(&mut bench, root, low, &insns), causes);
    }
}

#[test]
fn registers_of_devices() {
    let (mut bench, root) = two_pages();
    let at = DEVICE + PATTERN as u64;
    let insns = [
        load(0, A2, A0, 1),
        load(5, A3, A0, 2),
        lw(A4, A0, 4),
        ld(A5, A0, 8),
        store(0, A1, A0, 1),
        store(1, A1, A0, 2),
        sw(A1, A0, 4),
        sd(A1, A0, 8),
        lr(2, S2, A0),
        sc(2, S2, A1, A0),
        amoadd(3, S2, A1, A0),
        lw(S2, A0, 2),
        sd(A1, A0, 4),
    ];
    let got = raised(&mut bench, root, at, &insns);
    let want = [
        (8, LOAD_ACCESS, at),
        (10, STORE_ACCESS, at),
        (11, LOAD_ACCESS, at + 2),
        (12, STORE_ACCESS, at + 4),
    ];
    // Without a reservation, whether the address is looked at is free.
    let rest: Vec<_> = got.into_iter().filter(|row| row.0 != 9).collect();
    assert_eq!(rest, want);
    let value = 0x1122_3344_5566_7788_u64;
    let writes = [
        (65, 1, value & 0xff),
        (66, 2, value & 0xffff),
        (68, 4, value & 0xffff_ffff),
        (72, 8, value),
    ];
    assert_eq!(bench.writes(), writes);
    let want = [0x41, 0x4242, 0x4444_4444, 0x4848_4848_4848_4848];
    for (n, want) in (12..).zip(want) {
        assert_eq!(bench.reg(0, &format!("x{n}")), want);
    }
    // Registers of 4 bytes only.
    let insns = [
        lw(A2, A0, 0),
        ld(A2, A0, 0),
        load(0, A2, A0, 0),
        sd(A1, A0, 0),
        store(1, A1, A0, 0),
        sw(A1, A0, 4),
    ];
    let at = NARROW + 64;
    let want = [
        (1, LOAD_ACCESS, at),
        (2, LOAD_ACCESS, at),
        (3, STORE_ACCESS, at),
        (4, STORE_ACCESS, at),
    ];
    assert_eq!(raised(&mut bench, root, at, &insns), want);
    // Nothing there at all.
    let insns = [lw(A2, A0, 0), sw(A2, A0, 0), amoadd(2, A2, A1, A0)];
    let at = 0x2000_0000;
    let want = [
        (0, LOAD_ACCESS, at),
        (1, STORE_ACCESS, at),
        (2, STORE_ACCESS, at),
    ];
    assert_eq!(raised(&mut bench, root, at, &insns), want);
}

#[test]
fn each_access_needs_its_right() {
    let (mut bench, root) = two_pages();
    let at = VA + 0x10_0000;
    let insns = [
        ld(A2, A0, 8),
        sd(A2, A0, 8),
        lr(3, A2, A0),
        amoadd(3, A2, A1, A0),
    ];
    let loads = [(0, LOAD_PAGE, at + 8), (2, LOAD_PAGE, at)];
    let stores = [(1, STORE_PAGE, at + 8), (3, STORE_PAGE, at)];
    let all = [loads[0], stores[0], loads[1], stores[1]];
    for (flags, want) in [
        (0, &all[..]),
        (VALID | EXEC, &all),
        (VALID | READ, &stores),
        (RX, &stores),
        (RW, &[]),
        (RW | USER, &all),
        (VALID | WRITE, &all),
    ] {
        bench.map(root, at, DATA + 0x9000, flags | ACCESSED);
        assert_eq!(raised(&mut bench, root, at, &insns), want, "{flags:#x}");
    }
    // Not a canonical address.
    let at = 1 << 39;
    let got = raised(&mut bench, root, at, &insns[..1]);
    assert_eq!(got, [(0, LOAD_PAGE, at + 8)]);
}

#[test]
fn sum_and_mxr_hold_at_once() {
    let (mut bench, root) = two_pages();
    let user = VA + 0x10_0000;
    bench.map(root, user, DATA + 0x9000, RW | USER | ACCESSED);
    bench.map(root, user + 0x1000, DATA + 0xa000, VALID | EXEC | ACCESSED);
    let insns = [
        lui(T0, 0x40),
        lui(T1, 0x80),
        lui(T2, 1),
        add(T2, A0, T2),
        csrs(SSTATUS, T0),
        sd(A1, A0, 0),
        ld(A2, A0, 0),
        csrc(SSTATUS, T0),
        ld(A3, A0, 0),
        sd(A1, A0, 8),
        ld(A4, T2, 0),
        csrs(SSTATUS, T1),
        ld(A4, T2, 0),
        csrc(SSTATUS, T1),
        ld(A5, T2, 0),
        csrs(SSTATUS, T0),
        ld(A3, A0, 0),
    ];
    bench.put64(DATA + 0xa000, 0x4444);
    for _ in 0..2 {
        let got = raised(&mut bench, root, user, &insns);
        let want = [
            (8, LOAD_PAGE, user),
            (9, STORE_PAGE, user + 8),
            (10, LOAD_PAGE, user + 0x1000),
            (14, LOAD_PAGE, user + 0x1000),
        ];
        assert_eq!(got, want);
        assert_eq!(bench.reg(0, "x14"), 0x4444);
        assert_eq!(bench.reg(0, "x13"), 0x1122_3344_5566_7788);
    }
}

#[test]
fn a_page_that_was_loaded_from_first_is_stored_to_directly() {
    let (mut bench, root) = two_pages();
    let mut insns = vec![ld(A2, A0, 0)];
    insns.extend([sd(A1, A0, 8), csrw(SSCRATCH, A0)].repeat(200));
    assert_eq!(raised(&mut bench, root, VA, &insns), []);
    let slow = bench.stat(0, "tlb-misses");
    assert!(slow < 100, "{slow} accesses on the slow path");
}

#[test]
fn mprv_lends_machine_mode_the_supervisors_view() {
    let mut bench = Bench::machine();
    let root = bench.root();
    bench.map(root, VA, DATA, RW | ACCESSED);
    bench.put64(DATA, 0x55);
    let mut asm = Asm::at(BASE);
    asm.li(DEV, DEVICE).li(A0, VA).li(T0, satp(root, 7));
    asm.w(&[csrw(SATP, T0)]);
    asm.li(T0, u64::MAX).w(&[csrw(PMPADDR0, T0)]);
    asm.li(T0, 0x1f).w(&[csrw(PMPCFG0, T0)]);
    // MPRV with MPP = S
    asm.li(T1, 1 << 17 | 1 << 11).li(T2, 3 << 11);
    let handler = asm.label();
    asm.li(T0, BASE + 0x800).w(&[csrw(MTVEC, T0)]);
    asm.w(&[
        csrc(MSTATUS, T2),
        csrs(MSTATUS, T1),
        ld(A1, A0, 0),
        sd(A1, A0, 8),
    ]);
    asm.w(&[csrc(MSTATUS, T1), ld(A2, A0, 0)]);
    let here = asm.here();
    asm.j(here);
    asm.pad_to(BASE + 0x800);
    asm.bind(handler);
    // Bare again: nothing answers at that address.
    for csr in [MCAUSE, MTVAL] {
        asm.w(&[csrr(T0, csr), sd(T0, DEV, LOG)]);
    }
    end(&mut asm);
    bench.put(BASE, &asm.finish());
    bench.run();
    assert_eq!(bench.log(), [LOAD_ACCESS, VA]);
    assert_eq!((bench.reg(0, "x11"), bench.get64(DATA + 8)), (0x55, 0x55));
}

#[test]
fn regions_come_and_go() {
    const AT: u64 = 0xa000_0000;
    let mut bench = Bench::supervisor();
    let ram = RamBlock::new("more", 0x2000).expect("RAM");
    let code = [addi(A2, A2, 1), RET].map(u32::to_le_bytes);
    assert!(ram.write(0, code.as_flattened()));
    assert!(ram.store(0x1000, 8, 0x77));
    let region = Region::new("more", AT, 0x2000, 0, Backing::Ram(ram, 0)).expect("a region");
    let id = bench.space.add(region);
    let space = bench.space.clone();
    bench.on_act(move |value| space.set_enabled(id, value != 0));
    let mut places = Vec::new();
    program(&bench, |asm| {
        asm.li(A0, AT).li(A1, AT + 0x1000).li(A2, 0).li(A4, 0);
        for _ in 0..3 {
            asm.w(&[
                jalr(RA, A0, 0),
                jalr(RA, A0, 0),
                ld(A3, A1, 0),
                add(A4, A4, A3),
            ]);
            asm.w(&[sd(A4, A1, 8), sd(ZERO, DEV, ACT)]);
            // In one block with the store to the device.
            places.push(asm.pc());
            asm.w(&[ld(A3, A1, 0), sd(A3, A1, 0), amoadd(3, A3, A3, A1)]);
            asm.w(&[auipc(RESUME, 0), addi(RESUME, RESUME, 12), jalr(RA, A0, 0)]);
            asm.li(RESUME, 0).w(&[sd(DEV, DEV, ACT)]);
        }
    });
    bench.run();
    let log = bench.log();
    let (rows, _) = log.as_chunks::<3>();
    let mut want = Vec::new();
    for at in places {
        let data = AT + 0x1000;
        want.push([LOAD_ACCESS, data, at]);
        want.push([STORE_ACCESS, data, at + 4]);
        want.push([STORE_ACCESS, data, at + 8]);
        want.push([1, AT, AT]);
    }
    assert_eq!(rows, want);
    assert_eq!((bench.reg(0, "x12"), bench.reg(0, "x14")), (6, 3 * 0x77));
}
