//! Several harts: atomics, order, interrupts and fences between them, starts and stops.

use crate::asm::*;
use crate::bench::*;
use isomorph_machine::{Machine, Reset, Runner, Shutdown, VcpuConfig};
use isomorph_softmmu::RamBlock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Words that harts share, each in a line of its own.
const fn shared(n: u64) -> u64 {
    BASE + 0x10_0000 + 64 * n
}

const DONE: u64 = shared(0);
const A7: u32 = 17;
const DEADLINE: u32 = 24;

fn harts(count: u32) -> Bench {
    Bench::new(Setup {
        harts: count,
        firmware: Some(Arc::new(Calls::default())),
        ..Setup::default()
    })
}

/// All harts run `code`, then the first one waits for the others and ends the test.
fn together(bench: &Bench, code: impl FnOnce(&mut Asm)) {
    program(bench, |asm| {
        // The number of the hart.
        asm.w(&[mv(S2, A0)]);
        code(asm);
        finish_all(asm, bench.vcpus.len() as u64);
    });
}

fn finish_all(asm: &mut Asm, count: u64) {
    asm.li(T0, DONE).li(T1, 1).w(&[amoadd(3, ZERO, T1, T0)]);
    let (rest, first) = (asm.here(), asm.label());
    asm.beq(S2, ZERO, first);
    asm.w(&[WFI]).j(rest).bind(first).li(T1, count);
    let wait = asm.here();
    asm.w(&[YIELD, ld(T2, T0, 0)]).bne(T2, T1, wait);
}

/// `body` as often as `count`, counted down in `s3`.
fn times(asm: &mut Asm, count: u64, body: impl FnOnce(&mut Asm)) {
    asm.li(S3, count);
    let (again, done) = (asm.here(), asm.label());
    body(asm);
    asm.w(&[addi(S3, S3, -1)]).beq(S3, ZERO, done).j(again);
    asm.bind(done);
}

/// As [`times`], but not for much longer than a second: a busy host takes long for each round.
fn times_or_long(asm: &mut Asm, count: u64, body: impl FnOnce(&mut Asm)) {
    asm.li(T0, 10_000_000)
        .w(&[csrr(DEADLINE, TIME), add(DEADLINE, DEADLINE, T0)]);
    times(asm, count, |asm| {
        let on = asm.label();
        body(asm);
        asm.w(&[csrr(T0, TIME)])
            .bltu(T0, DEADLINE, on)
            .li(S3, 1)
            .bind(on);
    });
}

fn ecall(asm: &mut Asm, number: u64) {
    asm.li(A7, number).w(&[ECALL]);
}

#[test]
fn counters_of_all_kinds_add_up() {
    const COUNT: u64 = 3000;
    let mut bench = harts(4);
    together(&bench, |asm| {
        times(asm, COUNT, |asm| {
            asm.li(T1, 1);
            asm.li(T0, shared(1)).w(&[amoadd(3, ZERO, T1, T0)]);
            // Two words of one line.
            asm.li(T0, shared(2) + 4).w(&[amoadd(2, ZERO, T1, T0)]);
            for (at, size) in [(shared(3), 3), (shared(4) + 4, 2)] {
                asm.li(T0, at);
                let again = asm.here();
                asm.w(&[lr(size, T2, T0), addi(T2, T2, 1), sc(size, T1, T2, T0)]);
                asm.bne(T1, ZERO, again);
            }
            // A ticket lock, and a count that it guards.
            asm.li(T0, shared(5)).li(T1, 1).w(&[amoadd(2, T2, T1, T0)]);
            asm.li(A3, shared(6));
            let wait = asm.here();
            asm.w(&[YIELD, lw(A4, A3, 0)]).bne(A4, T2, wait);
            asm.w(&[0x0230_000f, ld(A4, A3, 8), addi(A4, A4, 1), sd(A4, A3, 8)]);
            asm.w(&[0x0310_000f, lw(A4, A3, 0), addi(A4, A4, 1), sw(A4, A3, 0)]);
        });
    });
    bench.run();
    let all = 4 * COUNT;
    for at in [shared(1), shared(3), shared(6), shared(6) + 8] {
        assert_eq!(bench.get64(at), all);
    }
    for at in [shared(2), shared(4)] {
        assert_eq!(bench.get64(at) >> 32, all);
    }
}

#[test]
fn messages_are_passed_in_order() {
    const COUNT: u64 = 30_000;
    let mut bench = harts(2);
    together(&bench, |asm| {
        let (reader, end) = (asm.label(), asm.label());
        asm.li(A3, shared(1)).li(A4, shared(2));
        asm.bne(S2, ZERO, reader);
        // fence w, w between them
        times(asm, COUNT, |asm| {
            asm.w(&[
                ld(T0, A3, 0),
                addi(T0, T0, 1),
                sd(T0, A3, 0),
                0x0110_000f,
                sd(T0, A4, 0),
            ]);
        });
        asm.j(end).bind(reader).li(A5, COUNT);
        let (again, good) = (asm.here(), asm.label());
        asm.w(&[ld(T0, A4, 0), 0x0220_000f, ld(T1, A3, 0)]);
        let bad = asm.label();
        asm.bltu(T1, T0, bad).bne(T0, A5, again).j(good);
        asm.bind(bad).w(&[sd(T0, DEV, LOG), sd(T1, DEV, LOG)]);
        asm.bind(good).bind(end);
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn a_full_fence_orders_stores_before_loads() {
    const COUNT: u64 = 20_000;
    let mut bench = harts(2);
    let (x, y) = (DATA, DATA + 0x10_0000);
    together(&bench, |asm| {
        let second = asm.label();
        asm.li(A3, x).li(A4, y).beq(S2, ZERO, second);
        asm.li(A3, y).li(A4, x).bind(second);
        asm.li(T1, 1);
        times(asm, COUNT, |asm| {
            asm.w(&[sd(T1, A3, 0), FENCE, ld(T0, A4, 0), sd(T0, A3, 8)]);
            asm.w(&[addi(A3, A3, 32), addi(A4, A4, 32)]);
        });
    });
    bench.run();
    for n in 0..COUNT {
        let saw = [x, y].map(|at| bench.get64(at + 32 * n + 8));
        assert_ne!(saw, [0, 0], "{n}");
    }
}

/// A handler of software interrupts for all harts: `work`, then an answer in `shared(3)`.
fn on_ipi(bench: &Bench, asm: &mut Asm, work: impl FnOnce(&mut Asm)) {
    let at = BASE + 0x5_0000;
    let mut own = Asm::at(at);
    own.w(&[slli(T0, S2, 1), sd(T0, DEV, ACT)]);
    work(&mut own);
    own.li(T0, shared(3))
        .li(T1, 1)
        .w(&[amoadd(3, ZERO, T1, T0), SRET]);
    bench.put(at, &own.finish());
    asm.li(TMP, at).w(&[csrw(STVEC, TMP)]).li(TMP, 2);
    asm.w(&[csrw(SIE, TMP), csrsi(SSTATUS, 2)]);
}

/// Interrupts hart 1 and waits for its answer, which is the `s4`th.
fn send(asm: &mut Asm) {
    asm.w(&[addi(S4, S4, 1), addi(T0, ZERO, 3), sd(T0, DEV, ACT)]);
    asm.li(T0, shared(3));
    let wait = asm.here();
    asm.w(&[YIELD, ld(T1, T0, 0)]).bne(T1, S4, wait);
}

/// The device drives the software interrupt pins: hart and level.
fn connect_ipis(bench: &Bench) {
    let pins = [bench.pins(0), bench.pins(1)];
    bench.on_act(move |value| pins[(value >> 1) as usize].set_irq(1, value & 1 != 0));
}

#[test]
fn interrupts_between_harts() {
    for wait in [NOP, WFI] {
        let mut bench = harts(2);
        connect_ipis(&bench);
        together(&bench, |asm| {
            on_ipi(&bench, asm, |_| {});
            let (end, first) = (asm.label(), asm.label());
            asm.beq(S2, ZERO, first).li(T2, shared(4));
            let loop_ = asm.here();
            asm.w(&[wait, ld(A3, T2, 0)]).beq(A3, ZERO, loop_).j(end);
            asm.bind(first).li(S4, 0);
            times_or_long(asm, 2000, send);
            asm.li(T2, shared(4)).w(&[sd(DEV, T2, 0)]);
            send(asm);
            asm.bind(end);
        });
        bench.run();
        let answers = bench.get64(shared(3));
        assert!(answers > 10 && answers == bench.reg(0, "x20"), "{answers}");
    }
}

const FUNCTION: u64 = DATA;

/// Waits until hart 1 has gone round twice.
fn let_the_other_look(asm: &mut Asm) {
    asm.li(A1, shared(4) + 8).li(T2, 3).w(&[ld(T0, A1, 0)]);
    let wait = asm.here();
    asm.w(&[YIELD, ld(T1, A1, 0), sub(T1, T1, T0)])
        .bltu(T1, T2, wait);
}

/// Logs `got` and `want` if they differ.
fn expect(asm: &mut Asm, got: u32, want: u32) {
    let same = asm.label();
    asm.beq(got, want, same);
    asm.w(&[sd(got, DEV, LOG), sd(want, DEV, LOG)]);
    asm.bind(same);
}

/// Hart 0 changes a function; hart 1, which calls it all the time, must run the new one once
/// `tell` is done on hart 0.
fn changes_of_code(tell: impl FnOnce(&mut Asm), on_interrupt: &[u32]) {
    let mut bench = harts(2);
    connect_ipis(&bench);
    let code = [addi(A2, ZERO, 0), RET].map(u32::to_le_bytes);
    bench.put(FUNCTION, code.as_flattened());
    together(&bench, |asm| {
        on_ipi(&bench, asm, |asm| {
            asm.w(on_interrupt);
        });
        let (end, first) = (asm.label(), asm.label());
        asm.beq(S2, ZERO, first)
            .li(A3, shared(1))
            .li(A4, shared(4))
            .li(A5, FUNCTION);
        // What is wanted, before and after: if nobody has changed it, it holds.
        let again = asm.here();
        let skip = asm.label();
        asm.w(&[
            ld(A0, A3, 0),
            0x0220_000f,
            jalr(RA, A5, 0),
            0x0220_000f,
            ld(A1, A3, 0),
        ]);
        asm.bne(A0, A1, skip).beq(A0, ZERO, skip);
        expect(asm, A2, A0);
        asm.bind(skip)
            .w(&[addi(S4, S4, 1), sd(S4, A4, 8), ld(T2, A4, 0)]);
        asm.beq(T2, ZERO, again).j(end);
        asm.bind(first).li(S4, 0).li(A3, shared(1)).li(A5, FUNCTION);
        times_or_long(asm, 1500, |asm| {
            asm.w(&[sd(ZERO, A3, 0), FENCE])
                .li(T1, addi(A2, ZERO, 0).into());
            asm.w(&[slli(T0, S3, 20), add(T1, T1, T0), sw(T1, A5, 0), FENCE]);
            tell(asm);
            asm.w(&[sd(S3, A3, 0)]);
            let_the_other_look(asm);
        });
        asm.li(T2, shared(4)).w(&[sd(DEV, T2, 0)]);
        asm.bind(end);
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn code_is_changed_under_a_hart_that_fences_at_an_interrupt() {
    changes_of_code(send, &[FENCE_I]);
}

#[test]
fn code_is_changed_under_a_hart_that_firmware_fences() {
    changes_of_code(|asm| ecall(asm, REMOTE_NOTHING), &[]);
}

/// Hart 0 remaps a page of data and one of code; hart 1 must not see the old ones after a remote
/// fence.
fn shoot_down(number: u64, count: u64) {
    const VA: u64 = 0x4012_3000;
    let mut bench = harts(2);
    let root = bench.root();
    for n in 0..8 {
        let code = [addi(A2, ZERO, n as i32), RET].map(u32::to_le_bytes);
        bench.put(DATA + n * 0x1000, code.as_flattened());
        bench.put64(DATA + n * 0x1000 + 8, n);
    }
    let entry = bench.map(root, VA, DATA, RWX | ACCESSED);
    together(&bench, |asm| {
        enable(asm, satp(root, 1));
        let (end, first) = (asm.label(), asm.label());
        asm.li(A3, shared(1)).li(A4, shared(4)).li(A5, VA);
        asm.beq(S2, ZERO, first);
        let again = asm.here();
        let skip = asm.label();
        asm.w(&[ld(A0, A3, 0), 0x0220_000f, jalr(RA, A5, 0), ld(T1, A5, 8)]);
        asm.w(&[0x0220_000f, ld(A1, A3, 0)]);
        asm.bne(A0, A1, skip).beq(A0, ZERO, skip);
        expect(asm, A2, A0);
        expect(asm, T1, A0);
        asm.bind(skip)
            .w(&[addi(S4, S4, 1), sd(S4, A4, 8), ld(T2, A4, 0)]);
        asm.beq(T2, ZERO, again).j(end);
        asm.bind(first).li(A5, entry);
        times_or_long(asm, count, |asm| {
            let zero = asm.label();
            asm.w(&[andi(T0, S3, 7)]).beq(T0, ZERO, zero);
            asm.w(&[sd(ZERO, A3, 0), FENCE, slli(T1, T0, 10)]);
            asm.li(T2, pte(DATA, RWX | ACCESSED));
            asm.w(&[add(T1, T1, T2), sd(T1, A5, 0)]).li(A0, VA);
            ecall(asm, number);
            asm.w(&[sd(T0, A3, 0)]);
            let_the_other_look(asm);
            asm.bind(zero);
        });
        asm.w(&[sd(DEV, A4, 0)]).bind(end);
    });
    bench.run();
    assert_eq!(bench.log(), NOTHING);
}

#[test]
fn remote_fences_of_all() {
    shoot_down(REMOTE_FENCE, 3000);
}

#[test]
fn remote_fences_of_a_page() {
    shoot_down(REMOTE_FENCE_PAGE, 3000);
}

#[test]
fn harts_fence_each_other_at_once() {
    let mut bench = harts(4);
    together(&bench, |asm| {
        // Two do, the others run on and on.
        let (run, end) = (asm.label(), asm.label());
        asm.li(T1, 2).bltu(S2, T1, run).j(end).bind(run);
        times_or_long(asm, 500, |asm| {
            ecall(asm, REMOTE_FENCE);
            asm.li(T0, shared(1))
                .li(T1, 1)
                .w(&[amoadd(3, ZERO, T1, T0)]);
        });
        asm.li(T0, shared(2))
            .li(T1, 1)
            .w(&[amoadd(3, ZERO, T1, T0)]);
        asm.bind(end).li(T0, shared(2)).li(T1, 2);
        let wait = asm.here();
        asm.w(&[ld(T2, T0, 0)]).bne(T2, T1, wait);
    });
    bench.run();
    let fences = bench.get64(shared(1));
    assert!(fences > 50, "{fences}");
}

#[test]
fn a_hart_stops_and_is_started() {
    const COUNT: u64 = 1000;
    let mut bench = harts(2);
    let entry = BASE + 0x8_0000;
    let mut second = Asm::at(entry);
    second
        .li(T0, shared(1))
        .w(&[ld(T1, T0, 0), add(T1, T1, A1), sd(T1, T0, 0)]);
    ecall(&mut second, STOP);
    bench.put(entry, &second.finish());
    program(&bench, |asm| {
        let first = asm.label();
        asm.beq(A0, ZERO, first);
        ecall(asm, STOP);
        asm.bind(first);
        times(asm, COUNT, |asm| {
            let again = asm.here();
            asm.li(A0, entry).w(&[mv(A1, S3)]);
            ecall(asm, START);
            asm.beq(A0, ZERO, again);
        });
        let last = asm.here();
        asm.li(A0, entry).li(A1, 0);
        ecall(asm, START);
        asm.beq(A0, ZERO, last);
        let done = asm.here();
        asm.li(A0, entry).li(A1, 0);
        ecall(asm, START);
        asm.beq(A0, ZERO, done);
    });
    bench.run();
    assert_eq!(bench.get64(shared(1)), COUNT * (COUNT + 1) / 2);
}

#[test]
fn code_memory_is_flushed_under_all_harts() {
    let mut bench = Bench::new(Setup {
        harts: 3,
        code_bytes: 256 << 10,
        ..Setup::default()
    });
    let count = 8000;
    let mut asm = Asm::at(DATA);
    for n in 0..count {
        asm.pad_to(DATA + 64 * n);
        asm.w(&[addi(A2, A2, 1), slli(T1, A2, 1), add(A3, A3, T1), RET]);
    }
    bench.put(DATA, &asm.finish());
    together(&bench, |asm| {
        asm.li(A2, 0).li(A3, 0);
        times(asm, 4, |asm| {
            asm.li(A4, DATA).li(A5, DATA + 64 * count);
            let again = asm.here();
            asm.w(&[jalr(RA, A4, 0), addi(A4, A4, 64)]);
            asm.bltu(A4, A5, again);
        });
        asm.w(&[sd(A2, DEV, LOG), sd(A3, DEV, LOG)]);
    });
    bench.run();
    let n = 4 * count;
    let mut log = bench.log();
    log.sort_unstable();
    assert_eq!(log[..3], [n; 3]);
    assert_eq!(log[3..], [n * (n + 1); 3]);
    assert!(bench.tcg.stats().flushes > 2);
}

/// Loads another program at each reset.
struct Reloaded {
    ram: Arc<RamBlock>,
    tcg: Arc<isomorph_accel_tcg::Tcg<isomorph_riscv::RiscvMachine>>,
    round: Mutex<u64>,
}

/// Stores of ones all over the place, and code that says which round it is.
fn round_program(round: u64) -> Vec<u8> {
    let mut asm = Asm::at(BASE);
    asm.li(DEV, DEVICE).li(A2, round);
    let (first, again) = (asm.label(), asm.label());
    asm.beq(A0, ZERO, first);
    // The second hart is not started but by the first.
    asm.w(&[sd(A2, DEV, LOG)]);
    let own = asm.here();
    asm.j(own);
    asm.bind(first)
        .w(&[sd(A2, DEV, ACT)])
        .li(A0, BASE)
        .li(A1, 0);
    ecall(&mut asm, START);
    asm.bind(again).w(&[addi(A3, A3, 1)]).j(again);
    asm.finish()
}

impl Machine for Reloaded {
    fn reset(&self) -> Result<Vec<VcpuConfig>, Box<dyn std::error::Error + Send + Sync>> {
        let mut round = lock(&self.round);
        *round += 1;
        assert!(self.ram.write(0, &round_program(*round)));
        self.tcg.was_reset(&[true, false]);
        Ok(vec![config(0, 1, true), config(1, 1, false)])
    }
}

#[test]
fn a_machine_is_reset_while_it_runs() {
    const COUNT: u64 = 60;
    let mut bench = harts(2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    bench.on_act(move |value| lock(&noted).push(value));
    let (life, clock) = (bench.life.clone(), bench.clock.clone());
    let machine = Reloaded {
        ram: bench.ram.clone(),
        tcg: bench.tcg.clone(),
        round: Mutex::new(0),
    };
    let configs = machine.reset().expect("configurations");
    let mut vcpus = std::mem::take(&mut bench.vcpus);
    for (vcpu, config) in vcpus.iter_mut().zip(&configs) {
        vcpu.reset(config).expect("a reset");
    }
    let runner = Runner::new(vcpus, life.clone(), clock, Arc::new(machine));
    let thread = std::thread::spawn(move || runner.run());
    for round in 1..=COUNT {
        wait_until(|| lock(&seen).last() == Some(&round));
        // Sometimes while the other one is about to be started.
        std::thread::sleep(Duration::from_micros(37 * (round % 20)));
        if round < COUNT {
            life.reset(Reset::Host);
        }
    }
    wait_until(|| bench.log().last() == Some(&COUNT));
    life.shutdown(Shutdown::Host);
    thread.join().expect("no panic").expect("no failure");
    let all: Vec<u64> = (1..=COUNT).collect();
    assert_eq!(*lock(&seen), all);
    // Each round started the second hart once at most.
    let log = bench.log();
    assert!(log.windows(2).all(|pair| pair[0] < pair[1]), "{log:?}");
}

#[test]
fn vcpus_go_while_devices_raise_their_pins() {
    let over = Arc::new(AtomicBool::new(false));
    for _ in 0..10 {
        let mut bench = harts(2);
        let pins = [bench.pins(0), bench.pins(1)];
        let kicks = [bench.vcpus[0].kicker(), bench.vcpus[1].kicker()];
        let stop = over.clone();
        let raiser = std::thread::spawn(move || {
            let mut level = false;
            while !stop.load(Ordering::SeqCst) {
                level = !level;
                pins.iter().for_each(|pins| pins.set_irq(9, level));
                kicks.iter().for_each(|kick| kick.kick());
            }
        });
        together(&bench, |asm| {
            times(asm, 50, |asm| {
                asm.w(&[NOP]);
            });
        });
        bench.run();
        bench.vcpus.clear();
        std::thread::sleep(Duration::from_millis(2));
        over.store(true, Ordering::SeqCst);
        raiser.join().expect("no panic");
        over.store(false, Ordering::SeqCst);
    }
}
