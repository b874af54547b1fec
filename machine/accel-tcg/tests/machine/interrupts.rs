//! Interrupts, timers, waiting, and what others want of a hart.

use crate::asm::*;
use crate::bench::*;
use isomorph_engine::Policy;
use isomorph_machine::{
    After, Clock, Exit, Firmware, Machine, Peers, Runner, Shutdown, VcpuConfig,
};
use isomorph_riscv::HartState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SSI: u32 = 1;
const STI: u32 = 5;
const SEI: u32 = 9;
const INTERRUPT: u64 = 1 << 63;
/// Ticks in a millisecond.
const MS: u64 = 10_000;
const SSTATUS_SIE: u32 = 2;
const HANDLER: u64 = BASE + 0x5_0000;

/// Puts a handler and makes it the one.
fn handler(bench: &Bench, asm: &mut Asm, code: impl FnOnce(&mut Asm)) {
    let mut own = Asm::at(HANDLER);
    code(&mut own);
    bench.put(HANDLER, &own.finish());
    asm.li(TMP, HANDLER).w(&[csrw(STVEC, TMP)]);
}

fn enable_all(asm: &mut Asm) {
    asm.li(TMP, 1 << SSI | 1 << STI | 1 << SEI);
    asm.w(&[csrw(SIE, TMP), csrsi(SSTATUS, SSTATUS_SIE)]);
}

/// Asks for the timer in some time.
fn timer_in(asm: &mut Asm, ticks: u64) {
    asm.li(T1, ticks);
    asm.w(&[csrr(T0, TIME), add(T0, T0, T1), csrw(STIMECMP, T0)]);
}

#[test]
fn timers_end_loops_and_waits() {
    for wait in [false, true] {
        let mut bench = Bench::supervisor();
        program(&bench, |asm| {
            handler(&bench, asm, |asm| {
                // Ticks too late.
                asm.w(&[csrr(T1, TIME), sub(T1, T1, T0), sd(T1, DEV, LOG)]);
                asm.w(&[csrr(T1, SCAUSE), sd(T1, DEV, LOG), addi(A2, A2, 1)]);
                timer_in(asm, 20 * MS);
                asm.w(&[SRET]);
            });
            asm.li(A2, 0).li(A3, 5);
            timer_in(asm, 20 * MS);
            enable_all(asm);
            let again = asm.here();
            asm.w(&[if wait { WFI } else { NOP }]);
            asm.bne(A2, A3, again);
        });
        bench.run();
        let log = bench.log();
        let (rows, _) = log.as_chunks::<2>();
        assert_eq!(rows.len(), 5);
        for [late, cause] in rows {
            assert_eq!(*cause, INTERRUPT | u64::from(STI));
            assert!(*late < 2000 * MS, "{late}");
        }
        let asleep = bench.stat(0, "asleep-us");
        let want = if wait { 80_000..10_000_000 } else { 0..1 };
        assert!(want.contains(&asleep), "{wait} {asleep}");
        assert!(bench.stat(0, "waits") < 50);
    }
}

#[test]
fn the_comparator_is_looked_at_when_it_is_written() {
    let mut bench = Bench::supervisor();
    program(&bench, |asm| {
        let note = |asm: &mut Asm| {
            asm.w(&[csrr(T0, SIP), sd(T0, DEV, LOG)]);
        };
        note(asm);
        asm.w(&[csrw(STIMECMP, ZERO)]);
        note(asm);
        asm.li(T0, u64::MAX).w(&[csrw(STIMECMP, T0)]);
        note(asm);
        timer_in(asm, 1 << 62);
        note(asm);
        timer_in(asm, 0);
        note(asm);
        timer_in(asm, 1000 * MS);
        note(asm);
    });
    bench.run();
    let on = 1 << STI;
    assert_eq!(bench.log(), [0, on, 0, 0, on, 0]);
}

#[test]
fn what_is_pending_is_taken_when_it_is_enabled() {
    let mut bench = Bench::supervisor();
    let pins = bench.pins(0);
    bench.on_act(move |value| pins.set_irq((value >> 1) as u32, value & 1 != 0));
    let mut at = Vec::new();
    program(&bench, |asm| {
        handler(&bench, asm, |asm| {
            asm.w(&[
                csrr(T0, SCAUSE),
                sd(T0, DEV, LOG),
                csrr(T1, SEPC),
                sd(T1, DEV, LOG),
            ]);
            let (soft, timer) = (asm.label(), asm.label());
            asm.w(&[andi(T0, T0, 15), addi(T1, ZERO, 1)])
                .beq(T0, T1, soft);
            asm.w(&[addi(T1, ZERO, 5)]).beq(T0, T1, timer);
            asm.w(&[slli(T0, T0, 1), sd(T0, DEV, ACT), SRET]);
            asm.bind(soft).w(&[csrci(SIP, 2), SRET]);
            asm.bind(timer).w(&[csrw(STIMECMP, A5), SRET]);
        });
        asm.li(A5, u64::MAX).li(TMP, 1 << SSI | 1 << STI | 1 << SEI);
        asm.w(&[csrw(SIE, TMP)]);
        for how in 0..4_usize {
            // Masked meanwhile.
            asm.w(&[csrci(SSTATUS, SSTATUS_SIE), csrsi(SIP, 2)]);
            asm.li(T0, u64::from(SEI) << 1 | 1).w(&[sd(T0, DEV, ACT)]);
            asm.w(&[NOP, NOP]).li(T1, 2).w(&[csrw(STIMECMP, ZERO)]);
            let word = [
                csrsi(SSTATUS, SSTATUS_SIE),
                csrs(SSTATUS, T1),
                csrw(SSTATUS, T1),
            ];
            if let Some(word) = word.get(how) {
                asm.w(&[*word]);
                at.push(asm.pc());
            } else {
                // Enabled by a return from a trap.
                asm.w(&[auipc(T1, 0), addi(T1, T1, 28), csrw(SEPC, T1)]);
                asm.w(&[csrsi(SSTATUS, 0), addi(T1, ZERO, 0x120), csrs(SSTATUS, T1)]);
                asm.w(&[SRET]);
                at.push(asm.pc());
            }
            asm.w(&[NOP, NOP]);
        }
    });
    bench.run();
    let log = bench.log();
    let (rows, _) = log.as_chunks::<2>();
    let causes: Vec<u64> = rows.iter().map(|row| row[0] & 15).collect();
    assert_eq!(causes, [9, 1, 5].repeat(4));
    for (rows, at) in rows.chunks(3).zip(&at) {
        assert!(rows.iter().all(|row| row[1] == *at), "{rows:x?} {at:x}");
    }
}

#[test]
fn no_interrupt_is_lost() {
    const COUNT: u64 = 4000;
    for wait in [false, true] {
        let mut bench = Bench::supervisor();
        let (pins, seen) = (bench.pins(0), Arc::new(AtomicU64::new(0)));
        let (lower, count) = (pins.clone(), seen.clone());
        bench.on_act(move |_| {
            lower.set_irq(SEI, false);
            count.fetch_add(1, Ordering::SeqCst);
        });
        program(&bench, |asm| {
            handler(&bench, asm, |asm| {
                asm.w(&[sd(ZERO, DEV, ACT), addi(A2, A2, 1), SRET]);
            });
            asm.li(A2, 0).li(A3, COUNT);
            enable_all(asm);
            let again = asm.here();
            asm.w(&[if wait { WFI } else { NOP }]);
            asm.bne(A2, A3, again);
        });
        let running = bench.start();
        for n in 0..COUNT {
            pins.set_irq(SEI, true);
            // On a busy host each may take its time.
            let begin = Instant::now();
            while seen.load(Ordering::SeqCst) <= n {
                let waited = begin.elapsed();
                assert!(waited < Duration::from_secs(10), "{n} is lost, {wait}");
                std::thread::yield_now();
            }
        }
        bench.join(running);
        assert_eq!(bench.stat(0, "interrupts"), COUNT);
    }
}

#[test]
fn handlers_nest() {
    let mut bench = Bench::supervisor();
    let pins = bench.pins(0);
    bench.on_act(move |value| pins.set_irq(SEI, value != 0));
    program(&bench, |asm| {
        handler(&bench, asm, |asm| {
            let (outer, end) = (asm.label(), asm.label());
            asm.w(&[csrr(T0, SCAUSE), sd(T0, DEV, LOG), andi(T1, T0, 8)]);
            asm.beq(T1, ZERO, outer);
            asm.w(&[sd(ZERO, DEV, ACT)]).j(end);
            asm.bind(outer)
                .w(&[csrci(SIP, 2), csrr(S2, SEPC), csrr(S3, SSTATUS)]);
            asm.w(&[
                sd(DEV, DEV, ACT),
                csrsi(SSTATUS, SSTATUS_SIE),
                addi(A2, A2, 1),
            ]);
            asm.w(&[
                csrci(SSTATUS, SSTATUS_SIE),
                csrw(SEPC, S2),
                csrw(SSTATUS, S3),
            ]);
            asm.bind(end).w(&[SRET]);
        });
        enable_all(asm);
        asm.li(A2, 0);
        for _ in 0..3 {
            asm.w(&[csrsi(SIP, 2)]);
        }
        asm.w(&[sd(A2, DEV, LOG)]);
    });
    bench.run();
    let (soft, external) = (INTERRUPT | 1, INTERRUPT | 9);
    let mut want = [soft, external].repeat(3);
    want.push(3);
    assert_eq!(bench.log(), want);
}

#[test]
fn waits_follow_what_is_enabled_locally() {
    let mut bench = Bench::supervisor();
    let pins = bench.pins(0);
    bench.on_act(move |value| pins.set_irq(SEI, value != 0));
    program(&bench, |asm| {
        // Masked as a whole: no trap, but it wakes up.
        asm.li(T0, 1 << SEI)
            .w(&[csrw(SIE, T0), sd(DEV, DEV, ACT), WFI, sd(DEV, DEV, LOG)]);
        // Pending, but not enabled: the timer ends it.
        asm.li(T0, 1 << STI).w(&[csrw(SIE, T0), csrr(A2, TIME)]);
        timer_in(asm, 50 * MS);
        let again = asm.here();
        let done = asm.label();
        asm.w(&[WFI, csrr(T0, SIP), andi(T0, T0, 1 << STI)])
            .bne(T0, ZERO, done);
        asm.j(again).bind(done);
        asm.w(&[csrr(A3, TIME), sub(A3, A3, A2), sd(A3, DEV, LOG)]);
    });
    bench.run();
    let log = bench.log();
    assert_eq!((log.len(), log[0]), (2, DEVICE));
    assert!((50 * MS..1000 * MS).contains(&log[1]), "{}", log[1]);
    assert!(bench.stat(0, "asleep-us") > 40_000);
}

#[test]
fn a_kick_ends_run_whatever_the_guest_does() {
    for insn in [jal(ZERO, 0), WFI] {
        let mut bench = Bench::supervisor();
        let mut asm = Asm::at(BASE);
        let again = asm.here();
        asm.w(&[insn]).j(again);
        bench.put(BASE, &asm.finish());
        let mut vcpu = bench.vcpus.remove(0);
        let kick = vcpu.kicker();
        // One that comes before counts too.
        kick.kick();
        assert_eq!(vcpu.run().expect("no failure"), Exit::Kicked);
        for _ in 0..200 {
            let kick = kick.clone();
            let kicker = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(300));
                kick.kick();
            });
            assert_eq!(vcpu.run().expect("no failure"), Exit::Kicked);
            kicker.join().expect("no panic");
        }
        let pc = registers(&*vcpu)["pc"];
        assert!([BASE, BASE + 4].contains(&pc), "{pc:#x}");
    }
}

/// Firmware whose calls take long.
struct Slow(AtomicBool);

impl Firmware<HartState> for Slow {
    fn call(&self, _: u32, state: &mut HartState, _: &dyn Peers<HartState>) -> Option<After> {
        std::thread::sleep(Duration::from_millis(150));
        state.regs.pc += 4;
        self.0.store(true, Ordering::SeqCst);
        Some(After::Continue)
    }

    fn reset(&self, _: &[bool]) {}
}

#[test]
fn a_guest_that_never_waits_is_sampled_again_after_a_rest() {
    let slow = Arc::new(Slow(AtomicBool::new(false)));
    let mut setup = Setup {
        firmware: Some(slow.clone()),
        ..Setup::default()
    };
    setup.tier2.policy = Policy::Hot(None);
    let mut bench = Bench::new(setup);
    program(&bench, |asm| {
        asm.li(A0, DATA);
        for (flag, insn) in [(0, NOP), (8, ECALL)] {
            asm.w(&[insn]);
            let (again, on) = (asm.here(), asm.label());
            asm.w(&[ld(A1, A0, flag)]);
            asm.bne(A1, ZERO, on).j(again);
            asm.bind(on);
        }
    });
    let running = bench.start();
    let tcg = bench.tcg.clone();
    let samples = || tcg.stats().samples;
    for flag in [0, 8] {
        // While the call lasts no vCPU is in generated code: who takes samples rests.
        wait_until(|| flag == 0 || slow.0.load(Ordering::SeqCst));
        let before = samples();
        wait_until(|| samples() > before + 5);
        bench.put64(DATA + flag, 1);
    }
    bench.join(running);
}

struct Nothing;

impl Machine for Nothing {
    fn reset(&self) -> Result<Vec<VcpuConfig>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(vec![config(0, 1, true)])
    }
}

#[test]
fn time_stands_still_while_the_machine_is_paused() {
    let mut bench = Bench::supervisor();
    let flag = DATA;
    program(&bench, |asm| {
        // The longest step that the time makes.
        asm.li(A5, flag).li(A2, 0).w(&[csrr(T0, TIME)]);
        // A timer that comes soon after.
        asm.li(T1, 200 * MS)
            .w(&[add(A4, T0, T1), csrw(STIMECMP, A4)]);
        let (again, smaller, stop) = (asm.here(), asm.label(), asm.label());
        asm.w(&[csrr(T1, TIME), sub(T2, T1, T0), mv(T0, T1)]);
        asm.bltu(T2, A2, smaller).w(&[mv(A2, T2)]).bind(smaller);
        asm.w(&[csrr(T2, SIP), andi(T2, T2, 1 << STI)])
            .beq(T2, ZERO, again);
        asm.bind(stop).w(&[csrr(T1, TIME), sub(T1, T1, A4)]);
        asm.w(&[sd(A2, DEV, LOG), sd(T1, DEV, LOG)]);
    });
    let (life, clock) = (bench.life.clone(), bench.clock.clone());
    let vcpus = std::mem::take(&mut bench.vcpus);
    let runner = Runner::new(vcpus, life.clone(), clock.clone(), Arc::new(Nothing));
    let thread = std::thread::spawn(move || runner.run());
    std::thread::sleep(Duration::from_millis(60));
    for _ in 0..2 {
        assert!(life.pause());
        // It stops with the hart.
        let stands = || {
            let before = clock.virtual_ns();
            std::thread::sleep(Duration::from_millis(1));
            clock.virtual_ns() == before
        };
        wait_until(stands);
        std::thread::sleep(Duration::from_millis(800));
        assert!(stands());
        assert!(life.resume());
        std::thread::sleep(Duration::from_millis(20));
    }
    wait_until(|| bench.log().len() == 2);
    life.shutdown(Shutdown::Host);
    thread.join().expect("no panic").expect("no failure");
    let log = bench.log();
    assert!(log[0] < 600 * MS, "a step of {} ticks", log[0]);
    assert!(log[1] < 600 * MS, "{} ticks late", log[1] as i64);
}

#[test]
fn timers_follow_a_counter_that_is_set() {
    const HOUR: u64 = 3_600_000 * MS;
    let mut bench = Bench::supervisor();
    program(&bench, |asm| {
        timer_in(asm, HOUR);
        asm.li(T1, 1 << STI).w(&[csrw(SIE, T1), sd(T0, DEV, LOG)]);
        let (again, done) = (asm.here(), asm.label());
        asm.w(&[WFI, csrr(T1, SIP), andi(T1, T1, 1 << STI)])
            .bne(T1, ZERO, done);
        asm.j(again)
            .bind(done)
            .w(&[csrr(T1, TIME), sub(T1, T1, T0), sd(T1, DEV, LOG)]);
    });
    let running = bench.start();
    wait_until(|| bench.log().len() == 1);
    std::thread::sleep(Duration::from_millis(20));
    // Not as far as that: what is left passes by itself.
    bench.time.set(bench.log()[0] - 200 * MS);
    bench.join(running);
    let late = bench.log()[1];
    assert!(late < 2000 * MS, "{}", late as i64);
}
