//! Code that changes: its bytes, and what is mapped where it runs.

use crate::asm::*;
use crate::bench::*;
use std::sync::Arc;

const VA: u64 = 0x4012_3000;
const ALIAS: u64 = 0x4100_0000;
const WRITABLE: u64 = 0x4200_0000;

/// Logs what is not as it should be: both registers.
fn expect(asm: &mut Asm, got: u32, want: u32) {
    let same = asm.label();
    asm.beq(got, want, same);
    asm.w(&[sd(got, DEV, LOG), sd(want, DEV, LOG)]);
    asm.bind(same);
}

/// Stores `addi a2, zero, s2` to the address in a `T0`.
fn patch(asm: &mut Asm) {
    asm.li(T1, addi(A2, ZERO, 0).into());
    asm.w(&[slli(T2, S2, 20), add(T1, T1, T2), sw(T1, T0, 0)]);
}

fn call(asm: &mut Asm, target: u64) {
    asm.li(A0, target).w(&[jalr(RA, A0, 0)]);
}

fn function(bench: &Bench, at: u64, value: i32) {
    let code = [addi(A2, ZERO, value), RET].map(u32::to_le_bytes);
    bench.put(at, code.as_flattened());
}

/// `s2` from 1 to `count`.
fn rounds(asm: &mut Asm, count: u64, body: impl FnOnce(&mut Asm)) {
    asm.li(S2, 1);
    let again = asm.here();
    body(asm);
    asm.w(&[addi(S2, S2, 1)]).li(T0, count + 1);
    let done = asm.label();
    asm.beq(S2, T0, done).j(again);
    asm.bind(done);
}

#[test]
fn code_that_the_guest_stores() {
    // In the page of the code that stores, in another one, in one that is mapped thrice.
    let mut bench = Bench::supervisor();
    let root = bench.root();
    bench.map(root, VA, DATA, RX | ACCESSED);
    bench.map(root, ALIAS, DATA, RX | ACCESSED);
    bench.map(root, WRITABLE, DATA, RW | ACCESSED);
    function(&bench, DATA + 0x10, 0);
    let mut own = 0;
    paged(&bench, root, |asm| {
        let start = asm.label();
        asm.j(start);
        own = asm.pc();
        asm.w(&[NOP, RET]).bind(start);
        rounds(asm, 500, |asm| {
            asm.li(T0, own);
            patch(asm);
            asm.w(&[FENCE_I]);
            call(asm, own);
            expect(asm, A2, S2);
            asm.li(T0, WRITABLE + 0x10);
            patch(asm);
            asm.w(&[FENCE_I]);
            for va in [VA, ALIAS, VA, DATA] {
                call(asm, va + 0x10);
                expect(asm, A2, S2);
            }
        });
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn code_that_a_device_stores() {
    let mut bench = Bench::supervisor();
    let root = bench.root();
    let ram = bench.ram.clone();
    bench.on_act(move |value| {
        let word = addi(A2, ZERO, value as i32).to_le_bytes();
        assert!(ram.write(DATA + 0x10 - BASE, &word));
    });
    function(&bench, DATA + 0x10, 0);
    paged(&bench, root, |asm| {
        rounds(asm, 500, |asm| {
            asm.w(&[sd(S2, DEV, ACT), FENCE_I]);
            call(asm, DATA + 0x10);
            expect(asm, A2, S2);
        });
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn a_page_of_data_becomes_one_of_code_and_back() {
    let mut bench = Bench::supervisor();
    let root = bench.root();
    bench.map(root, VA, DATA, RWX | ACCESSED);
    paged(&bench, root, |asm| {
        asm.li(T1, RET.into()).li(T0, VA).w(&[sw(T1, T0, 4)]);
        rounds(asm, 100, |asm| {
            asm.li(T0, VA);
            patch(asm);
            asm.w(&[FENCE_I]);
            call(asm, VA);
            expect(asm, A2, S2);
            // Data in the same page, more often than the engine bears.
            asm.li(T0, VA + 0x800);
            for at in 0..40 {
                asm.w(&[sd(S2, T0, 8 * at)]);
            }
            call(asm, VA);
            expect(asm, A2, S2);
        });
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
    let slow = bench.stat(0, "code-page-stores");
    assert!(slow > 100, "{slow}");
}

/// A machine with two address spaces; code and data at [`VA`] are other ones in each.
fn two_spaces(bench: &mut Bench) -> [u64; 2] {
    [0, 1].map(|n| {
        let root = bench.root();
        let physical = DATA + n * 0x10_0000;
        function(bench, physical, 100 + n as i32);
        bench.put64(physical + 0x1000, 200 + n);
        bench.map(root, VA, physical, RX | ACCESSED);
        bench.map(root, VA + 0x1000, physical + 0x1000, RW | ACCESSED);
        satp(root, 1 + n)
    })
}

#[test]
fn address_spaces_have_their_own_code_and_data() {
    let mut bench = Bench::supervisor();
    let spaces = two_spaces(&mut bench);
    program(&bench, |asm| {
        asm.li(A4, 0).li(A5, 0).li(S3, spaces[0]).li(S4, spaces[1]);
        rounds(asm, 2000, |asm| {
            for n in [0, 1] {
                asm.w(&[csrw(SATP, if n == 0 { S3 } else { S4 })]);
                call(asm, VA);
                asm.li(T1, 100 + n);
                expect(asm, A2, T1);
                asm.li(T0, VA + 0x1000).w(&[ld(A3, T0, 0)]).li(T1, 200 + n);
                expect(asm, A3, T1);
            }
        });
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
    let lookups = bench.stat(0, "exits-lookup");
    assert!(lookups < 4 * 2000 * 4, "{lookups}");
}

#[test]
fn more_address_spaces_than_are_remembered() {
    const COUNT: u64 = 40;
    let mut bench = Bench::supervisor();
    for n in 0..COUNT {
        let root = bench.root();
        let physical = DATA + n * 0x1000;
        function(&bench, physical, 1 + n as i32);
        bench.map(root, VA, physical, RX | ACCESSED);
        bench.put64(BASE + 0x8_0000 + 8 * n, satp(root, n));
    }
    program(&bench, |asm| {
        for _ in 0..3 {
            asm.li(S4, BASE + 0x8_0000);
            rounds(asm, COUNT, |asm| {
                asm.w(&[ld(T0, S4, 0), csrw(SATP, T0), addi(S4, S4, 8)]);
                call(asm, VA);
                expect(asm, A2, S2);
            });
        }
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn a_return_goes_on_in_the_space_that_is_now() {
    let mut bench = Bench::supervisor();
    let spaces = two_spaces(&mut bench);
    // At VA + 0x100 a call of what switches the space, then what tells the spaces apart.
    let switch = BASE + 0x8_0000;
    for (n, physical) in [DATA, DATA + 0x10_0000].into_iter().enumerate() {
        let mut asm = Asm::at(VA + 0x100);
        asm.w(&[mv(S4, RA), jalr(RA, A5, 0), addi(A2, ZERO, 7 + n as i32)]);
        asm.w(&[jalr(ZERO, S4, 0)]);
        bench.put(physical + 0x100, &asm.finish());
    }
    let mut asm = Asm::at(switch);
    asm.w(&[csrw(SATP, A4), RET]);
    bench.put(switch, &asm.finish());
    program(&bench, |asm| {
        asm.li(A5, switch);
        rounds(asm, 300, |asm| {
            for (from, to) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
                asm.li(T0, spaces[from])
                    .w(&[csrw(SATP, T0)])
                    .li(A4, spaces[to]);
                call(asm, VA + 0x100);
                asm.li(T1, 7 + to as u64);
                expect(asm, A2, T1);
            }
        });
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

/// How remapping is told: rs1 and rs2 of the fence.
const FENCES: [(u32, u32); 4] = [(0, 0), (A0, 0), (0, A1), (A0, A1)];

#[test]
fn remapped_pages_are_seen_after_a_fence() {
    for fence in FENCES {
        let mut bench = Bench::supervisor();
        let spaces = two_spaces(&mut bench);
        let root = spaces[0] << 20 >> 8;
        let entries = [VA, VA + 0x1000].map(|va| bench.leaf(root, va));
        for n in 0..4 {
            function(&bench, DATA + 0x2_0000 + n * 0x1000, n as i32);
            bench.put64(DATA + 0x2_0800 + n * 0x1000, n);
        }
        program(&bench, |asm| {
            enable(asm, spaces[0]);
            asm.li(S4, 0);
            rounds(asm, 400, |asm| {
                asm.w(&[andi(S4, S2, 3), slli(T1, S4, 10)]);
                asm.li(T0, pte(DATA + 0x2_0000, RWX | ACCESSED))
                    .w(&[add(T1, T1, T0)]);
                asm.li(A1, 1);
                for (n, entry) in entries.into_iter().enumerate() {
                    asm.li(T0, entry).li(A0, VA + 0x1000 * n as u64 + 0x80);
                    asm.w(&[sd(T1, T0, 0), sfence(fence.0, fence.1)]);
                }
                call(asm, VA);
                expect(asm, A2, S4);
                asm.li(T0, VA + 0x1800).w(&[ld(A3, T0, 0)]);
                expect(asm, A3, S4);
            });
        });
        bench.run();
        assert_eq!(bench.log(), NOTHING, "{fence:?}");
    }
}

#[test]
fn the_callers_page_is_remapped() {
    for fence in FENCES {
        // The caller's page is entered by sret, or by a jump.
        for jump in [false, true] {
            let mut bench = Bench::supervisor();
            let root = bench.root();
            let entry = bench.map(root, VA, DATA, RX | ACCESSED);
            for (page, value) in [(DATA, 1), (DATA + 0x1000, 100)] {
                let mut asm = Asm::at(VA);
                // The helper remaps at the second call.
                asm.w(&[jalr(RA, A5, 0), jalr(RA, A5, 0), addi(A2, A2, value)]);
                asm.w(&[jalr(ZERO, A4, 0)]);
                bench.put(page, &asm.finish());
            }
            let helper = BASE + 0x8_0000;
            let mut asm = Asm::at(helper);
            let first = asm.label();
            asm.w(&[addi(S3, S3, 1), andi(T0, S3, 1)])
                .bne(T0, ZERO, first);
            asm.li(T0, entry).li(T1, pte(DATA + 0x1000, RX | ACCESSED));
            asm.li(A0, VA).li(A1, 3);
            asm.w(&[sd(T1, T0, 0), sfence(fence.0, fence.1)]);
            asm.bind(first).w(&[RET]);
            bench.put(helper, &asm.finish());
            program(&bench, |asm| {
                enable(asm, satp(root, 3));
                asm.li(A2, 0).li(A5, helper).li(T1, VA).li(T0, 1 << 8);
                asm.w(&[
                    csrs(SSTATUS, T0),
                    csrw(SEPC, T1),
                    auipc(A4, 0),
                    addi(A4, A4, 12),
                ]);
                asm.w(&[if jump { jalr(ZERO, T1, 0) } else { SRET }]);
                asm.w(&[sd(A2, DEV, LOG)]);
            });
            bench.run();
            assert_eq!(bench.log(), [100], "{fence:?} {jump}");
        }
    }
}

#[test]
fn global_pages_serve_all_spaces() {
    let mut bench = Bench::supervisor();
    let roots = [bench.root(), bench.root()];
    let entries = roots.map(|root| bench.map(root, VA, DATA, RX | GLOBAL | ACCESSED));
    function(&bench, DATA, 1);
    function(&bench, DATA + 0x1000, 2);
    program(&bench, |asm| {
        for (n, root) in roots.into_iter().enumerate() {
            asm.li(T0, satp(root, 1 + n as u64)).w(&[csrw(SATP, T0)]);
            call(asm, VA);
            asm.li(T1, 1);
            expect(asm, A2, T1);
        }
        for by_page in [true, false] {
            let (physical, value) = if by_page {
                (DATA + 0x1000, 2)
            } else {
                (DATA, 1)
            };
            for entry in entries {
                asm.li(T0, entry)
                    .li(T1, pte(physical, RX | GLOBAL | ACCESSED));
                asm.w(&[sd(T1, T0, 0)]);
            }
            asm.li(A0, VA).w(&[sfence(if by_page { A0 } else { 0 }, 0)]);
            for (n, root) in roots.into_iter().enumerate() {
                asm.li(T0, satp(root, 1 + n as u64)).w(&[csrw(SATP, T0)]);
                call(asm, VA);
                asm.li(T1, value);
                expect(asm, A2, T1);
            }
        }
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn calls_may_nest_without_end() {
    let mut bench = Bench::supervisor();
    program(&bench, |asm| {
        // Calls that never return, more of them than the return stack has room for.
        asm.li(A0, 200_000);
        let (again, deep) = (asm.here(), asm.label());
        asm.w(&[addi(A0, A0, -1)]).jal(RA, deep).bind(deep);
        asm.bne(A0, ZERO, again);
        // Recursion that does return.
        let start = asm.label();
        asm.j(start);
        let function = asm.here();
        let leaf = asm.label();
        asm.beq(A0, ZERO, leaf);
        asm.w(&[addi(A0, A0, -1), addi(SP, SP, -16), sd(RA, SP, 0)]);
        asm.jal(RA, function);
        asm.w(&[ld(RA, SP, 0), addi(SP, SP, 16), addi(A2, A2, 1)]);
        asm.bind(leaf).w(&[RET]).bind(start);
        asm.li(SP, DATA + 0x1e_0000).li(A0, 60_000).li(A2, 0);
        asm.jal(RA, function);
        asm.w(&[sd(A2, DEV, LOG)]);
    });
    bench.run();
    assert_eq!(bench.log(), [60_000]);
}

#[test]
fn a_reset_runs_what_was_loaded_anew() {
    let mut bench = Bench::supervisor();
    for value in 1..20 {
        program(&bench, |asm| {
            asm.li(A0, value);
            call(asm, DATA);
            asm.w(&[sd(A0, DEV, LOG), sd(A2, DEV, LOG)]);
        });
        function(&bench, DATA, value as i32 + 100);
        bench.reset();
        bench.run();
        assert_eq!(bench.take_log(), [DATA, value + 100]);
    }
}

#[test]
fn little_code_memory_is_flushed_again_and_again() {
    let mut bench = Bench::new(Setup {
        code_bytes: 256 << 10,
        ..Setup::default()
    });
    let root = bench.root();
    // 8000 functions, each in a block or two of its own; two rounds over all of them.
    let count = 8000;
    let mut asm = Asm::at(DATA);
    for n in 0..count {
        asm.pad_to(DATA + 64 * n);
        asm.w(&[addi(A2, A2, 1), slli(T1, A2, 1), add(A3, A3, T1), RET]);
    }
    bench.put(DATA, &asm.finish());
    paged(&bench, root, |asm| {
        asm.li(A2, 0).li(A3, 0);
        rounds(asm, 3, |asm| {
            asm.li(A4, DATA).li(A5, DATA + 64 * count);
            let again = asm.here();
            asm.w(&[jalr(RA, A4, 0), addi(A4, A4, 64)]);
            asm.bltu(A4, A5, again);
        });
        asm.w(&[sd(A2, DEV, LOG), sd(A3, DEV, LOG)]);
    });
    bench.run();
    let n = 3 * count;
    assert_eq!(bench.log(), [n, n * (n + 1)]);
    let stats = Arc::clone(&bench.tcg).stats();
    assert!(stats.flushes > 2, "{}", stats.flushes);
}

#[test]
fn a_fence_of_one_address_is_for_all_of_its_large_page() {
    // 2 MiB, and 64 KiB (Svnapot).
    for (bytes, level) in [(2 << 20, 1), (64 << 10, 2)] {
        for named in [0, bytes - 8] {
            let mut bench = Bench::supervisor();
            let root = bench.root();
            let va = 0x4020_0000;
            let places = [DATA, BASE];
            let mut entries = Vec::new();
            let leaf = bench.leaf(root, va);
            for n in 0..if level == 1 { 1 } else { 16 } {
                entries.push(leaf + 8 * n);
            }
            if level == 1 {
                let table = (bench.get64(root + 8) >> 10) << 12;
                entries = vec![table + 8];
            }
            let entry = |physical: u64| match level {
                1 => pte(physical, RWX | ACCESSED),
                _ => pte(physical + 0x8000, RWX | ACCESSED) | 1 << 63,
            };
            for (n, place) in places.into_iter().enumerate() {
                function(&bench, place + 0x5000, 1 + n as i32);
                function(&bench, place + bytes - 0x100, 1 + n as i32);
            }
            entries
                .iter()
                .for_each(|at| bench.put64(*at, entry(places[0])));
            paged(&bench, root, |asm| {
                let check = |asm: &mut Asm, value: u64| {
                    for at in [0x5000, bytes - 0x100] {
                        call(asm, va + at);
                        asm.li(T1, value);
                        expect(asm, A2, T1);
                    }
                };
                check(asm, 1);
                check(asm, 1);
                for at in &entries {
                    asm.li(T0, *at).li(T1, entry(places[1])).w(&[sd(T1, T0, 0)]);
                }
                asm.li(A0, va + named).w(&[sfence(A0, 0)]);
                check(asm, 2);
            });
            bench.run();
            assert_eq!(bench.log(), NOTHING, "{bytes:#x} {named:#x}");
        }
    }
}
