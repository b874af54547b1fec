//! Fetches: what they raise, instructions across two pages, protection finer than pages.

use crate::asm::*;
use crate::bench::*;
use isomorph_engine::Policy;

const VA: u64 = 0x4012_3000;
// (Its pages share nothing with those of RAM in filters and caches.)
const FETCH_ACCESS: u64 = 1;
const FETCH_PAGE: u64 = 12;

/// Calls an address; goes on behind when it returns or raises an exception.
fn call(asm: &mut Asm, target: u64) {
    asm.li(A0, target);
    asm.w(&[auipc(RESUME, 0), addi(RESUME, RESUME, 12), jalr(RA, A0, 0)]);
    asm.li(RESUME, 0);
}

fn note(asm: &mut Asm, register: u32) {
    asm.w(&[sd(register, DEV, LOG)]);
}

/// Sets an entry of a page table to map `physical`; `va` 0: forgets all addresses.
fn remap(asm: &mut Asm, entry: u64, physical: u64, flags: u64, va: u64) {
    asm.li(T0, entry).li(T1, pte(physical, flags)).li(T2, va);
    let fence = if va == 0 { sfence(0, 0) } else { sfence(T2, 0) };
    asm.w(&[sd(T1, T0, 0), fence]);
}

/// Puts an instruction across two physical pages, and a return behind it.
fn put_across(bench: &Bench, insn: u32, first: u64, second: u64) {
    let bytes = insn.to_le_bytes();
    bench.put(first + 0xffe, &bytes[..2]);
    bench.put(second, &bytes[2..]);
    bench.put(second + 2, &RET.to_le_bytes());
    // What leads there.
    for at in (0xff0..0xffe).step_by(2) {
        bench.put(first + at, &C_NOP.to_le_bytes());
    }
}

#[test]
fn fetches_need_their_rights() {
    let mut bench = Bench::supervisor();
    let root = bench.root();
    bench.put(DATA, &RET.to_le_bytes());
    let cases = [
        (VA, RX, None),
        (VA + 0x1000, RW, Some(FETCH_PAGE)),
        (VA + 0x2000, RX | USER, Some(FETCH_PAGE)),
        (VA + 0x3000, 0, Some(FETCH_PAGE)),
        (VA + 0x4000, VALID | EXEC | WRITE, Some(FETCH_PAGE)),
        (VA + 0x5000, VALID | EXEC, None),
    ];
    for (va, flags, _) in cases {
        bench.map(root, va, DATA, flags | ACCESSED);
    }
    let more = [
        (1 << 39, Some(FETCH_PAGE)),
        (DEVICE, Some(FETCH_ACCESS)),
        (0x2000_0000, Some(FETCH_ACCESS)),
        // Bit 0 of the target is cleared.
        (VA + 1, None),
        (VA + 0x3ffe, Some(FETCH_PAGE)),
    ];
    let all = cases.iter().map(|case| (case.0, case.2)).chain(more);
    let all: Vec<_> = all.collect();
    paged(&bench, root, |asm| {
        for _ in 0..2 {
            for (va, _) in &all {
                call(asm, *va);
            }
        }
    });
    bench.run();
    let raised = all
        .iter()
        .filter_map(|(va, cause)| cause.map(|cause| [cause, *va, *va]));
    let once: Vec<u64> = raised.flatten().collect();
    assert_eq!(bench.log(), once.repeat(2));
}

#[test]
fn an_instruction_across_two_pages_follows_both() {
    let pages = [0, 1, 2, 3].map(|n| DATA + n * 0x2000);
    // Two of the first, two of the second half.
    for whole in [false, true] {
        for entry in [VA + 0xff0, VA + 0xffe] {
            let mut bench = Bench::supervisor();
            let root = bench.root();
            put_across(&bench, addi(A2, A2, 1), pages[0], pages[1]);
            put_across(&bench, addi(A4, A2, 16), pages[2], pages[3]);
            let second = VA + 0x1000;
            let entries = [VA, second].map(|va| bench.leaf(root, va));
            bench.put64(entries[0], pte(pages[0], RX | ACCESSED));
            let va = |va: u64| if whole { 0 } else { va };
            paged(&bench, root, |asm| {
                asm.li(A2, 0).li(A4, 0);
                for _ in 0..3 {
                    call(asm, entry);
                }
                remap(asm, entries[1], pages[1], RX | ACCESSED, va(second));
                for _ in 0..3 {
                    call(asm, entry);
                }
                note(asm, A2); // 3
                remap(asm, entries[1], pages[3], RX | ACCESSED, va(second));
                call(asm, entry);
                note(asm, A2); // + 16
                remap(asm, entries[0], pages[2], RX | ACCESSED, va(VA));
                call(asm, entry);
                note(asm, A4); // 19 + 16
                remap(asm, entries[1], pages[1], RX | ACCESSED, va(second));
                call(asm, entry);
                note(asm, A4); // 19 + 1
                remap(asm, entries[1], 0, 0, va(second));
                call(asm, entry);
                remap(asm, entries[0], 0, 0, va(VA));
                call(asm, entry);
            });
            bench.run();
            let fault = [FETCH_PAGE, second, VA + 0xffe];
            let mut want = fault.repeat(3);
            want.extend([3, 19, 35, 20]);
            want.extend(fault);
            want.extend([FETCH_PAGE, entry, entry]);
            assert_eq!(bench.log(), want, "{whole} {entry:#x}");
        }
    }
}

#[test]
fn a_call_at_a_pages_end_returns_to_the_next_page_as_it_is_then() {
    const ROUNDS: u64 = 200_000;
    let [first, second, third, callee] = [0, 1, 2, 3].map(|n| DATA + n * 0x2000);
    for policy in [Policy::Off, Policy::Hot(Some(8)), Policy::Always] {
        let mut bench = Bench::with_policy(policy);
        let root = bench.root();
        bench.map(root, VA, first, RX | ACCESSED);
        bench.map(root, VA + 0x5000, callee, RX | ACCESSED);
        let back = |step| [addi(A2, A2, step), jalr(ZERO, A5, 0)];
        // Behind the page of the call there is other code.
        for (at, step) in [(first, 1000), (second, 1), (third, 2)] {
            let code = back(step).map(u32::to_le_bytes);
            bench.put(at, &code.concat());
        }
        let caller = [addi(A5, RA, 0), addi(A4, A4, 1), jalr(RA, A3, 0)];
        bench.put(first + 0xff4, &caller.map(u32::to_le_bytes).concat());
        bench.put(callee, &RET.to_le_bytes());
        let entry = bench.leaf(root, VA + 0x1000);
        paged(&bench, root, |asm| {
            asm.li(A2, 0).li(A4, 0).li(A3, VA + 0x5000);
            for place in [second, third] {
                remap(asm, entry, place, RX | ACCESSED, VA + 0x1000);
                let again = asm.label();
                asm.li(A1, ROUNDS).li(A0, VA + 0xff4).bind(again);
                asm.w(&[jalr(RA, A0, 0), addi(A1, A1, -1)]);
                asm.bne(A1, ZERO, again);
                note(asm, A2);
            }
            note(asm, A4);
        });
        bench.run();
        assert_eq!(bench.log(), [1, 3, 2].map(|n| n * ROUNDS), "{policy:?}");
    }
}

#[test]
fn a_short_instruction_at_a_pages_end_needs_no_second_page() {
    let mut bench = Bench::supervisor();
    let root = bench.root();
    bench.map(root, VA, DATA, RWX | ACCESSED);
    let half = addi(A2, A2, 1) as u16;
    bench.put(DATA + 0xffe, &half.to_le_bytes());
    paged(&bench, root, |asm| {
        call(asm, VA + 0xffe);
        // It was the first half of a long one; then it is a return.
        asm.li(T0, VA + 0xffe).li(T1, C_RET.into());
        asm.w(&[store(1, T1, T0, 0), FENCE_I]);
        call(asm, VA + 0xffe);
        asm.li(T1, half.into());
        asm.w(&[store(1, T1, T0, 0), FENCE_I]);
        call(asm, VA + 0xffe);
    });
    bench.run();
    let fault = [FETCH_PAGE, VA + 0x1000, VA + 0xffe];
    assert_eq!(bench.log(), fault.repeat(2));
}

#[test]
fn loops_across_pages() {
    let mut bench = Bench::supervisor();
    let root = bench.root();
    bench.map(root, VA, DATA, RX | ACCESSED);
    bench.map(root, VA + 0x1000, DATA + 0x4000, RX | ACCESSED);
    // The loop begins in the first page, its branch lies in both.
    let mut code = Asm::at(VA + 0xff0);
    let again = code.here();
    code.w(&[addi(A2, A2, 3), addi(A1, A1, -1)]);
    code.pad_to(VA + 0xffe).bne(A1, ZERO, again);
    code.w(&[RET]);
    let bytes = code.finish();
    bench.put(DATA + 0xff0, &bytes[..16]);
    bench.put(DATA + 0x4000, &bytes[16..]);
    paged(&bench, root, |asm| {
        asm.li(A1, 100_000).li(A2, 0);
        call(asm, VA + 0xff0);
        note(asm, A2);
    });
    bench.run();
    assert_eq!(bench.log(), [300_000]);
    assert!(bench.stat(0, "exits-lookup") < 1000);
}

/// A program of machine mode that sets up physical memory protection by tops of ranges and goes to
/// [`program`]'s in supervisor mode.
fn protect(bench: &Bench, ranges: &[(u64, u64)]) {
    let mut asm = Asm::at(BASE + 0x10_0000);
    let mut config = 0;
    for (n, (top, rights)) in ranges.iter().enumerate() {
        asm.li(T0, top >> 2).w(&[csrw(PMPADDR0 + n as u32, T0)]);
        config |= (8 | rights) << (8 * n);
    }
    asm.li(T0, config).w(&[csrw(PMPCFG0, T0)]);
    asm.li(T0, 0xb1ff).w(&[csrw(0x302, T0)]);
    asm.li(T0, 1 << 11).w(&[csrw(MSTATUS, T0)]);
    asm.li(T0, BASE + 0x1000).w(&[csrw(MEPC, T0), MRET]);
    bench.put(BASE + 0x10_0000, &asm.finish());
}

#[test]
fn protection_finer_than_a_page() {
    let mut bench = Bench::machine();
    let page = DATA;
    let (all, data) = (7, 3);
    protect(
        &bench,
        &[(page + 0x100, all), (page + 0x800, data), (1 << 55, all)],
    );
    // Falls off the end of what may be executed.
    let mut code = Asm::at(page + 0xf0);
    code.w(&[addi(A2, A2, 1), addi(A2, A2, 1), NOP, NOP, RET]);
    bench.put(page + 0xf0, &code.finish());
    // Lies across the end.
    let mut across = Asm::at(page + 0x8f0);
    across.w(&[addi(A2, A2, 16), RET]);
    bench.put(page + 0x8f0, &across.finish());
    put_across(&bench, addi(A2, A2, 256), page, page + 0x1000);
    bench.put(page + 0x7fe, &addi(A2, A2, 1).to_le_bytes());
    bench.put(page + 0x802, &RET.to_le_bytes());
    let start = program(&bench, |_| {});
    assert!(start < BASE + 0x100);
    let mut asm = Asm::at(BASE + 0x1000);
    asm.li(DEV, DEVICE).li(RESUME, 0).li(TMP, BASE + 0x60_0000);
    asm.w(&[csrw(STVEC, TMP)]).li(A2, 0);
    for _ in 0..2 {
        call(&mut asm, page + 0xf0);
        call(&mut asm, page + 0x8f0);
        call(&mut asm, page + 0xff0);
        call(&mut asm, page + 0xffe);
        call(&mut asm, page + 0x7fe);
        call(&mut asm, page + 0x200);
        note(&mut asm, A2);
        asm.li(T0, page + 0x7f8)
            .w(&[sd(T0, T0, 0), sw(T0, T0, -0x400)]);
    }
    end(&mut asm);
    bench.put(BASE + 0x1000, &asm.finish());
    // Machine mode begins elsewhere.
    let mut first = Asm::at(BASE);
    first.li(T0, BASE + 0x10_0000).w(&[jalr(ZERO, T0, 0)]);
    bench.put(BASE, &first.finish());
    bench.run();
    let fault = |at: u64, pc: u64| [FETCH_ACCESS, at, pc];
    let mut want = Vec::new();
    for round in 1..=2 {
        want.extend(fault(page + 0x100, page + 0x100));
        want.extend(fault(page + 0x7fe, page + 0x7fe));
        want.extend(fault(page + 0x200, page + 0x200));
        want.push(round * (2 + 16 + 512));
    }
    assert_eq!(bench.log(), want);
}

#[test]
fn an_instruction_across_the_end_of_what_is_protected() {
    let mut bench = Bench::machine();
    let page = DATA;
    protect(
        &bench,
        &[(page + 0x100, 7), (page + 0x800, 3), (1 << 55, 7)],
    );
    bench.put(page + 0xfe, &addi(A2, A2, 1).to_le_bytes());
    bench.put(page + 0x102, &RET.to_le_bytes());
    program(&bench, |_| {});
    let mut asm = Asm::at(BASE + 0x1000);
    asm.li(DEV, DEVICE).li(RESUME, 0).li(TMP, BASE + 0x60_0000);
    asm.w(&[csrw(STVEC, TMP)]).li(A2, 0);
    call(&mut asm, page + 0xfe);
    note(&mut asm, A2);
    // The same place is executed as two short ones, of which the first returns.
    asm.li(T0, page + 0xfe).li(T1, C_RET.into());
    asm.w(&[store(1, T1, T0, 0), FENCE_I]);
    call(&mut asm, page + 0xfe);
    note(&mut asm, A2);
    end(&mut asm);
    bench.put(BASE + 0x1000, &asm.finish());
    let mut first = Asm::at(BASE);
    first.li(T0, BASE + 0x10_0000).w(&[jalr(ZERO, T0, 0)]);
    bench.put(BASE, &first.finish());
    bench.run();
    assert_eq!(bench.log(), [FETCH_ACCESS, page + 0x100, page + 0xfe, 0, 0]);
}
