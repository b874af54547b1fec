//! The engine driven by a toy guest.

mod toy;

use isomorph_engine::{CodeSource, Config, Engine, Exit, Policy, Tier2, TrapKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use toy::*;

/// Each test runs with tier 1 alone, with regions for what is met a few times, and for everything.
macro_rules! in_every_tier {
    ($($name:ident)+) => {
        mod tier1 {
            $(#[test] fn $name() { super::$name(super::tier(super::Policy::Off)) })+
        }
        mod hot {
            $(#[test] fn $name() { super::$name(super::tier(super::Policy::Hot(Some(3)))) })+
        }
        mod always {
            $(#[test] fn $name() { super::$name(super::tier(super::Policy::Always)) })+
        }
    };
}

in_every_tier! {
    a_loop_runs_to_its_end_and_is_chained
    unchained_blocks_run_too
    deep_recursion_outruns_the_return_stack
    a_fault_names_instruction_and_address
    a_kick_ends_an_endless_loop
    changed_code_is_seen_after_a_fence
    code_changed_amid_a_translation_is_seen_after_a_fence
    unmapped_code_is_gone_at_once
    jumps_to_nowhere_trap
    a_small_code_region_is_flushed_under_threads
    code_invalidated_while_others_run_it_stays_right
}

fn tier(policy: Policy) -> Tier2 {
    Tier2 {
        policy,
        ..Tier2::default()
    }
}

fn config(tier2: Tier2) -> Config {
    Config {
        tier2,
        ..Config::default()
    }
}

fn syscall_at(exit: Exit) -> u64 {
    match exit {
        Exit::Trap {
            kind: TrapKind::Syscall,
            pc,
            ..
        } => (pc - BASE) / 4,
        other => panic!("expected a system call, got {other:?}"),
    }
}

fn a_loop_runs_to_its_end_and_is_chained(tier2: Tier2) {
    let (e, _) = engine(
        &[
            addi(0, 1000),
            add(1, 1, 0),
            addi(0, -1),
            bnez(0, -2),
            ecall(),
        ],
        config(tier2),
    );
    let mut v = vcpu(&e);
    assert_eq!(syscall_at(v.run().expect("run")), 4);
    assert_eq!(v.state().r[1], 500_500);
    let stats = e.stats();
    if tier2.policy == Policy::Off {
        assert!(stats.chained >= 1, "{stats:?}");
        assert!(stats.exits_edge < 10, "{stats:?}");
    }
}

fn unchained_blocks_run_too(tier2: Tier2) {
    let config = Config {
        chain: false,
        ..config(tier2)
    };
    let (e, _) = engine(&[addi(0, 100), addi(0, -1), bnez(0, -1), ecall()], config);
    let mut v = vcpu(&e);
    assert_eq!(syscall_at(v.run().expect("run")), 3);
    assert_eq!(e.stats().chained, 0);
}

/// r0 = depth: recurse, keeping return addresses on a stack in memory that r5 points to.
fn recursion() -> Vec<Insn> {
    vec![
        call(2),          // 0: f()
        ecall(),          // 1
        store(LINK, 5),   // 2: f: push link
        addi(5, 8),       // 3
        addi(1, 1),       // 4: count calls
        addi(0, -1),      // 5
        bnez(0, 2),       // 6: if more: go on at 8
        call_register(4), // 7: else call the leaf through a register, then fall to 9 via 8's skip
        bnez(0, 2),       // 8: deeper?
        bnez(2, 2),       // 9: r2 is 1: go to 11
        call(-8),         // 10: f()
        addi(5, -8),      // 11: pop
        load(LINK, 5),    // 12
        ret(LINK),        // 13
        addi(3, 1),       // 14: leaf
        ret(LINK),        // 15
    ]
}

fn deep_recursion_outruns_the_return_stack(tier2: Tier2) {
    let config = Config {
        return_stack_bytes: 16 << 10,
        ..config(tier2)
    };
    let (e, _) = engine(&recursion(), config);
    let mut v = vcpu(&e);
    let depth = 50_000;
    let mut stack = vec![0u64; depth + 8];
    v.state_mut().r = [
        depth as u64,
        0,
        1,
        0,
        BASE + 14 * 4,
        stack.as_mut_ptr() as u64,
        0,
        0,
    ];
    assert_eq!(syscall_at(v.run().expect("run")), 1);
    assert_eq!(v.state().r[1], depth as u64);
    assert_eq!(v.state().r[3], 1);
    // A region that holds all of it has no need of the return stack.
    assert!(tier2.policy != Policy::Off || e.stats().return_stack_resets > 10);
}

fn a_fault_names_instruction_and_address(tier2: Tier2) {
    let (e, _) = engine(&[addi(1, 7), load(0, 2), ecall()], config(tier2));
    for address in [0x18, 0xdead_0000_0000_0010] {
        let mut v = vcpu(&e);
        v.state_mut().r[2] = address;
        let Exit::Fault(fault) = v.run().expect("run") else {
            panic!("no fault")
        };
        assert_eq!(
            (fault.signo, fault.address, fault.pc),
            (libc::SIGSEGV, address, BASE + 4)
        );
        assert_eq!(v.state().pc, BASE + 4);
        assert_eq!(v.state().r[1], 7);
        let word = 99u64;
        v.state_mut().r[2] = &raw const word as u64;
        assert_eq!(syscall_at(v.run().expect("run again")), 2);
        assert_eq!(v.state().r[0], 99);
    }
}

fn a_kick_ends_an_endless_loop(tier2: Tier2) {
    let (e, _) = engine(&[addi(1, 1), bnez(1, -1)], config(tier2));
    let mut v = vcpu(&e);
    let kick = v.kick();
    let other = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        kick.request();
    });
    assert_eq!(v.run().expect("run"), Exit::Interrupted);
    other.join().expect("thread");
    assert!(v.state().r[1] > 0);
}

fn changed_code_is_seen_after_a_fence(tier2: Tier2) {
    let (e, code) = engine(
        &[call(3), fence_i(), ecall(), addi(1, 1), ret(LINK)],
        config(tier2),
    );
    let mut v = vcpu(&e);
    for round in 1..=3 {
        v.state_mut().pc = BASE;
        code.set(3, &[addi(1, round)]);
        v.run().expect("run");
        v.state_mut().pc = BASE;
        v.state_mut().r[1] = 0;
        assert_eq!(syscall_at(v.run().expect("run")), 2);
        assert_eq!(v.state().r[1], round as u64);
    }
}

/// Guest code that another thread changes just after the `at`th time it is read.
struct ChangesAfter {
    code: Code,
    reads: AtomicUsize,
    at: usize,
}

impl CodeSource for ChangesAfter {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let n = self.code.read(pc, out);
        if self.reads.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.code.set(2, &[addi(1, 2)]);
        }
        n
    }

    fn may_change(&self, _: u64) -> bool {
        true
    }
}

fn code_changed_amid_a_translation_is_seen_after_a_fence(tier2: Tier2) {
    for at in 1..=8 {
        let code = Code::default();
        code.set(0, &[call(2), ecall(), addi(1, 1), ret(LINK)]);
        let source = ChangesAfter {
            code: code.clone(),
            reads: AtomicUsize::new(0),
            at,
        };
        let e = Engine::new(Toy, config(tier2), Box::new(source)).expect("engine");
        let mut v = vcpu(&e);
        v.run().expect("run");
        code.set(2, &[addi(1, 2)]);
        e.insn_sync(None);
        v.state_mut().pc = BASE;
        v.state_mut().r[1] = 0;
        v.run().expect("run");
        assert_eq!(v.state().r[1], 2, "changed after read {at}");
    }
}

fn unmapped_code_is_gone_at_once(tier2: Tier2) {
    let (e, code) = engine(&[addi(1, 1), call(2), ecall(), ret(LINK)], config(tier2));
    let mut v = vcpu(&e);
    assert_eq!(syscall_at(v.run().expect("run")), 2);
    code.set(3, &[ecall()]);
    e.invalidate(BASE + 12, BASE + 16);
    v.state_mut().pc = BASE;
    assert_eq!(syscall_at(v.run().expect("run")), 3);
}

fn jumps_to_nowhere_trap(tier2: Tier2) {
    let (e, _) = engine(&[ret(0)], config(tier2));
    for pc in [0, 1 << 40, u64::MAX - 7, BASE + 1024] {
        let mut v = vcpu(&e);
        v.state_mut().r[0] = pc;
        let exit = v.run().expect("run");
        assert_eq!(
            exit,
            Exit::Trap {
                kind: TrapKind::Fetch,
                pc,
                info: pc
            }
        );
    }
}

fn a_small_code_region_is_flushed_under_threads(tier2: Tier2) {
    // A chain of many short functions, called in turn from a loop by several threads.
    let functions = 600;
    let mut program = vec![addi(0, 30)];
    let body = 1 + functions + 3;
    for i in 0..functions {
        program.push(call((body + i * 2 - (1 + i)) as i16));
    }
    program.extend([addi(0, -1), bnez(0, -(functions as i16) - 1), ecall()]);
    for _ in 0..functions {
        program.extend([addi(1, 1), ret(LINK)]);
    }
    let (e, _) = engine(
        &program,
        Config {
            code_bytes: 24 << 10,
            ..config(tier2)
        },
    );
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let e = e.clone();
            std::thread::spawn(move || {
                let mut v = vcpu(&e);
                assert_eq!(syscall_at(v.run().expect("run")), (functions + 3) as u64);
                assert_eq!(v.state().r[1], 30 * functions as u64);
            })
        })
        .collect();
    for t in threads {
        t.join().expect("thread");
    }
    assert!(e.stats().flushes > 5, "{:?}", e.stats());
}

fn code_invalidated_while_others_run_it_stays_right(tier2: Tier2) {
    let (e, _) = engine(
        &[
            addi(0, 20_000),
            call(4),
            addi(0, -1),
            bnez(0, -2),
            ecall(),
            addi(1, 1),
            ret(LINK),
        ],
        config(tier2),
    );
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let e = e.clone();
            std::thread::spawn(move || {
                let mut v = vcpu(&e);
                assert_eq!(syscall_at(v.run().expect("run")), 4);
                assert_eq!(v.state().r[1], 20_000);
            })
        })
        .collect();
    while threads.iter().any(|t| !t.is_finished()) {
        e.invalidate(BASE + 4, BASE + 24);
        std::thread::yield_now();
    }
    for t in threads {
        t.join().expect("thread");
    }
}
