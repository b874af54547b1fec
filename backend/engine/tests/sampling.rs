//! Samples of time, by which the default setting finds what is hot, driven by a toy guest.

mod toy;

use isomorph_engine::{Config, Engine, Exit, Policy, Snapshot, Tier2, TrapKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use toy::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn with(policy: Policy, threads: usize) -> Config {
    Config {
        tier2: Tier2 {
            policy,
            threads,
            ..Tier2::default()
        },
        ..Config::default()
    }
}

fn sampled() -> Config {
    with(Policy::Hot(None), 1)
}

const COUNT: i16 = 20_000;
const SUM: u64 = COUNT as u64 * (COUNT as u64 + 1) / 2;

/// Runs the program from its start once.
fn run(v: &mut isomorph_engine::Vcpu<Toy>) -> [u64; 8] {
    v.state_mut().pc = BASE;
    v.state_mut().r = [0; 8];
    let exit = v.run().expect("run");
    let Exit::Trap { kind, .. } = exit else {
        panic!("{exit:?}");
    };
    assert_eq!(kind, TrapKind::Syscall);
    v.state().r
}

/// Runs the program again and again, until `done`. False if that takes too long.
fn until(e: &Arc<Engine<Toy>>, done: impl Fn(Snapshot) -> bool) -> bool {
    let mut v = vcpu(e);
    let late = Instant::now() + PATIENCE;
    while !done(e.stats()) {
        assert_eq!(run(&mut v)[1], SUM);
        if Instant::now() > late {
            return false;
        }
    }
    true
}

#[test]
fn a_hot_loop_is_sampled_recorded_and_compiled() {
    let (e, _) = engine(&sum(COUNT), sampled());
    assert!(until(&e, |s| s.regions > 0), "{:?}", e.stats());
    let stats = e.stats();
    assert!(stats.samples > 0 && stats.recordings > 0, "{stats:?}");
}

#[test]
fn a_loop_that_never_leaves_generated_code_is_sampled_too() {
    let (e, _) = engine(&[addi(1, 1), bnez(1, -1), ecall()], sampled());
    let mut v = vcpu(&e);
    let (kick, seen) = (v.kick(), e.clone());
    let other = std::thread::spawn(move || {
        let late = Instant::now() + PATIENCE;
        while seen.stats().regions == 0 && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(1));
        }
        kick.request();
    });
    // Samples are no business of the owner's.
    assert_eq!(v.run().expect("run"), Exit::Interrupted);
    other.join().expect("thread");
    assert_eq!(e.stats().regions, 1, "{:?}", e.stats());
}

#[test]
fn each_vcpu_is_sampled() {
    // Two loops, of which r6 says which one it is.
    let program = [
        bnez(6, 3),
        addi(1, 1),
        bnez(1, -1),
        addi(2, 1),
        bnez(2, -1),
        ecall(),
    ];
    let (e, _) = engine(&program, sampled());
    let mut threads = Vec::new();
    for which in 0..2 {
        let mut v = vcpu(&e);
        v.state_mut().r[6] = which;
        let kick = v.kick();
        let thread = std::thread::spawn(move || {
            assert_eq!(v.run().expect("run"), Exit::Interrupted);
        });
        threads.push((kick, thread));
    }
    let late = Instant::now() + PATIENCE;
    while e.stats().regions < 2 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(1));
    }
    for (kick, thread) in threads {
        kick.request();
        thread.join().expect("thread");
    }
    assert!(e.stats().regions >= 2, "{:?}", e.stats());
}

#[test]
fn nothing_wakes_up_while_nothing_runs() {
    let (e, _) = engine(&sum(COUNT), sampled());
    assert!(until(&e, |s| s.samples > 5), "{:?}", e.stats());
    // It takes some looks to see that nothing runs.
    let late = Instant::now() + PATIENCE;
    let mut before = u64::MAX;
    while e.stats().sampler_ticks != before {
        assert!(Instant::now() < late, "{:?}", e.stats());
        before = e.stats().sampler_ticks;
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(e.stats().sampler_ticks, before);
    // What runs again is sampled again.
    let samples = e.stats().samples;
    assert!(until(&e, |s| s.samples > samples), "{:?}", e.stats());
}

#[test]
fn what_only_wakes_up_for_moments_is_left_alone() {
    let (e, _) = engine(&[addi(0, 1), ecall()], sampled());
    let mut v = vcpu(&e);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        run(&mut v);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(e.stats().sampler_ticks < 60, "{:?}", e.stats());
}

#[test]
fn other_settings_take_no_samples() {
    let settings = [
        (Policy::Off, 1),
        (Policy::Hot(Some(1000)), 1),
        (Policy::Hot(None), 0),
    ];
    for (policy, threads) in settings {
        let (e, _) = engine(&sum(COUNT), with(policy, threads));
        let start = Instant::now();
        assert!(until(&e, |_| start.elapsed() > Duration::from_millis(50)));
        let stats = e.stats();
        assert_eq!((stats.samples, stats.sampler_ticks), (0, 0), "{policy:?}");
    }
}

#[test]
fn the_engines_threads_end_and_start_anew() {
    let (e, _) = engine(&sum(COUNT), sampled());
    for _ in 0..2 {
        let Snapshot { samples, .. } = e.stats();
        assert!(until(&e, |s| s.samples > samples + 3), "{:?}", e.stats());
        e.end_threads();
        let ticks = e.stats().sampler_ticks;
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(e.stats().sampler_ticks, ticks);
    }
}

#[test]
fn the_child_of_a_fork_is_sampled_too() {
    let (e, _) = engine(&sum(COUNT), sampled());
    assert!(until(&e, |s| s.samples > 0), "{:?}", e.stats());
    let mut v = vcpu(&e);
    let guard = e.fork_prepare();
    // SAFETY: the child goes on in this test's code alone and ends with `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let ready = guard.child(&v).is_ok();
        let (samples, late) = (e.stats().samples, Instant::now() + PATIENCE);
        let mut right = ready;
        while right && e.stats().samples < samples + 3 && Instant::now() < late {
            v.state_mut().pc = BASE;
            v.state_mut().r = [0; 8];
            right = v.run().is_ok() && v.state().r[1] == SUM;
        }
        let sampled = e.stats().samples >= samples + 3;
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!(right && sampled))) };
    }
    guard.parent();
    let mut status = -1;
    // SAFETY: the status outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}
