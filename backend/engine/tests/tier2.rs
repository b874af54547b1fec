//! The hot tier, driven by a toy guest.

mod toy;

use isomorph_engine::{
    Config, Dropped, Engine, Exit, Extras, Observer, Origin, Policy, Refusal, RegionEvent,
    Snapshot, Tier2, Translation, TrapKind,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use toy::*;

/// What became of regions, in words.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>, Extras);

impl Log {
    fn has(&self, word: &str) -> bool {
        self.0.lock().expect("log").iter().any(|l| l.contains(word))
    }
}

impl Observer for Log {
    fn wants(&self) -> Extras {
        self.1
    }

    fn translated(&self, translation: &Translation<'_>) {
        assert_eq!(translation.plain.is_some(), self.1.plain);
    }

    fn region(&self, event: &RegionEvent<'_>) {
        let line = match event {
            RegionEvent::Chosen { origin, parts, .. } => {
                format!("chosen {origin:?} of {} blocks", parts.len())
            }
            RegionEvent::Refused { why, .. } => format!("refused {why:?}"),
            RegionEvent::Compiled { before, clif, .. } => {
                assert_eq!(clif.is_some(), self.1.clif);
                assert!(clif.as_ref().is_none_or(|text| text.contains("function")));
                format!(
                    "compiled {} joins {}",
                    before.blocks.len(),
                    before.joins.len()
                )
            }
            RegionEvent::Installed { code, map, .. } => {
                assert!(!code.is_empty() && !map.is_empty());
                "installed".into()
            }
            RegionEvent::Dropped { why, .. } => format!("dropped {why:?}"),
        };
        self.0.lock().expect("log").push(line);
    }
}

fn hot(threshold: u32) -> (Config, Log) {
    let log = Log::default();
    let config = Config {
        tier2: Tier2 {
            policy: Policy::Hot(Some(threshold)),
            ..Tier2::default()
        },
        observer: Some(Box::new(log.clone())),
        ..Config::default()
    };
    (config, log)
}

/// Runs the program from its start, again and again, until `done`.
fn until(e: &Arc<Engine<Toy>>, registers: [u64; 8], done: impl Fn(Snapshot) -> bool) -> [u64; 8] {
    let mut v = vcpu(e);
    let late = Instant::now() + Duration::from_secs(60);
    loop {
        v.state_mut().pc = BASE;
        v.state_mut().r = registers;
        let exit = v.run().expect("run");
        assert!(
            matches!(
                exit,
                Exit::Trap {
                    kind: TrapKind::Syscall,
                    ..
                }
            ),
            "{exit:?}"
        );
        if done(e.stats()) {
            return v.state().r;
        }
        assert!(Instant::now() < late, "{:?}", e.stats());
    }
}

#[test]
fn a_hot_loop_becomes_a_region_and_stays_right() {
    let (config, log) = hot(50);
    let (e, _) = engine(&sum(1000), config);
    let r = until(&e, [0; 8], |s| s.regions > 0);
    assert_eq!(r[1], 500_500);
    // Once more, in the region.
    let r = until(&e, [0; 8], |_| true);
    assert_eq!((r[0], r[1]), (0, 500_500));
    assert!(log.has("chosen Loop"), "{:?}", log.0);
    assert!(log.has("installed"), "{:?}", log.0);
}

#[test]
fn what_takes_time_is_made_for_those_who_want_it() {
    for (plain, clif) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut config, mut log) = hot(50);
        log.1 = Extras { plain, clif };
        config.observer = Some(Box::new(log.clone()));
        let (e, _) = engine(&sum(1000), config);
        until(&e, [0; 8], |s| s.regions > 0);
        assert!(log.has("compiled"), "{:?}", log.0);
    }
}

#[test]
fn a_hot_function_and_its_returns_become_a_region() {
    let program = [
        addi(0, 2000),
        call(4), // to 5
        addi(0, -1),
        bnez(0, -2),
        ecall(),
        add(1, 1, 0), // the function
        ret(LINK),
    ];
    let (config, log) = hot(60);
    let (e, _) = engine(&program, config);
    let r = until(&e, [0; 8], |s| s.regions > 0);
    assert_eq!(r[1], 2000 * 2001 / 2);
    let r = until(&e, [0; 8], |_| true);
    assert_eq!(r[1], 2000 * 2001 / 2);
    assert!(log.has("joins 1"), "{:?}", log.0);
}

#[test]
fn a_target_of_computed_jumps_is_counted() {
    // Two functions that jump to each other through registers; r0 ends it.
    let program = [
        addi(0, 3000),
        call(2),
        ecall(),
        addi(1, 1),  // 3
        addi(0, -1), // 4
        bnez(0, 2),  // 5: on at 7
        ret(LINK),   // 6: back to 2
        ret(4),      // 7: to 8, through r4
        addi(2, 1),  // 8
        ret(5),      // 9: to 3, through r5
    ];
    let (config, log) = hot(60);
    let (e, _) = engine(&program, config);
    let at = |n: u64| BASE + n * 4;
    let registers = [0, 0, 0, 0, at(8), at(3), 0, 0];
    let r = until(&e, registers, |s| s.regions > 0);
    assert_eq!((r[1], r[2]), (3000, 2999));
    let r = until(&e, registers, |_| true);
    assert_eq!((r[1], r[2]), (3000, 2999));
    assert!(log.has("chosen Computed"), "{:?}", log.0);
}

#[test]
fn a_region_goes_when_its_code_changes_and_the_new_code_runs() {
    let (config, log) = hot(50);
    let (e, code) = engine(&sum(1000), config);
    until(&e, [0; 8], |s| s.regions > 0);
    code.set(3, &[addi(0, -2)]);
    e.insn_sync(None);
    assert_eq!(e.stats().regions_dropped, 1);
    assert!(
        log.has(&format!("dropped {:?}", Dropped::CodeChanged)),
        "{:?}",
        log.0
    );
    let r = until(&e, [0; 8], |_| true);
    assert_eq!(r[1], 250_500);
    // And becomes hot again.
    let r = until(&e, [0; 8], |s| s.regions > 1);
    assert_eq!(r[1], 250_500);
}

#[test]
fn what_goes_round_in_a_region_leaves_it_when_its_code_goes() {
    // Endless until the instruction at 1 is replaced.
    let program = [addi(1, 1), bnez(1, -1), ecall()];
    let (config, _) = hot(100);
    let (e, code) = engine(&program, config);
    let other = {
        let e = e.clone();
        std::thread::spawn(move || {
            let mut v = vcpu(&e);
            let exit = v.run().expect("run");
            assert!(
                matches!(
                    exit,
                    Exit::Trap {
                        kind: TrapKind::Syscall,
                        ..
                    }
                ),
                "{exit:?}"
            );
        })
    };
    let late = Instant::now() + Duration::from_secs(60);
    while e.stats().regions == 0 {
        assert!(Instant::now() < late, "{:?}", e.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    code.set(1, &[ecall()]);
    e.invalidate(BASE + 4, BASE + 8);
    other.join().expect("thread");
}

#[test]
fn an_endless_region_is_interrupted() {
    let (config, _) = hot(100);
    let (e, _) = engine(&[addi(1, 1), bnez(1, -1), ecall()], config);
    let mut v = vcpu(&e);
    let kick = v.kick();
    let (seen, running) = (e.clone(), std::sync::mpsc::channel::<()>());
    let other = std::thread::spawn(move || {
        let late = Instant::now() + Duration::from_secs(60);
        while seen.stats().regions == 0 && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        kick.request();
        drop(running);
    });
    assert_eq!(v.run().expect("run"), Exit::Interrupted);
    other.join().expect("thread");
    assert_eq!(e.stats().regions, 1);
}

#[test]
fn a_fault_in_a_region_shows_every_register() {
    // r2 walks over words that r3 counts; the last pointer is bad.
    let program = [
        load(6, 2), // 0
        add(1, 1, 6),
        addi(2, 8),
        addi(4, 3),
        addi(3, -1),
        bnez(3, -5),
        ecall(),
    ];
    for policy in [Policy::Hot(Some(50)), Policy::Always] {
        let (mut config, _) = hot(0);
        config.tier2.policy = policy;
        let (e, _) = engine(&program, config);
        let words: Vec<u64> = (0..4000).collect();
        let start = [0, 0, words.as_ptr() as u64, words.len() as u64, 0, 0, 0, 0];
        until(&e, start, |s| s.regions > 0);
        let mut v = vcpu(&e);
        // The address after the words it may read is made bad by turning the sign.
        v.state_mut().r = [9, 0, words.as_ptr() as u64, 100, 0, 5, 0, 8];
        assert!(matches!(v.run().expect("run"), Exit::Trap { .. }));
        let bad = 0x30_u64;
        v.state_mut().pc = BASE;
        v.state_mut().r = [9, 77, bad, 100, 1, 5, 66, 8];
        let Exit::Fault(fault) = v.run().expect("run") else {
            panic!("no fault");
        };
        assert_eq!((fault.address, fault.pc), (bad, BASE));
        assert_eq!(v.state().r, [9, 77, bad, 100, 1, 5, 66, 8]);
    }
}

#[test]
fn code_that_does_not_come_back_is_refused() {
    // A function that many others call once: no cycle within what is recorded.
    let calls = 700;
    let mut program: Vec<Insn> = (0..calls).map(|n| call((calls + 1 - n) as i16)).collect();
    program.extend([ecall(), addi(1, 1), ret(LINK)]);
    let (mut config, log) = hot(10);
    config.tier2.passes = isomorph_ir::passes::PassSet::NONE;
    let (e, _) = engine(&program, config);
    let r = until(&e, [0; 8], |s| s.regions + s.regions_refused > 0);
    assert_eq!(r[1], calls as u64);
    assert!(
        log.has("chosen") || log.has(&format!("{:?}", Refusal::NoCycle)),
        "{:?}",
        log.0
    );
}

#[test]
fn tier_2_keeps_to_its_share_of_code_memory() {
    let (mut config, log) = hot(50);
    config.tier2.code_bytes = 16;
    let (e, _) = engine(&sum(1000), config);
    let r = until(&e, [0; 8], |s| s.regions_refused > 0);
    assert_eq!(r[1], 500_500);
    assert_eq!(e.stats().regions, 0);
    assert!(
        log.has(&format!("refused {:?}", Refusal::Memory)),
        "{:?}",
        log.0
    );
}

#[test]
fn everything_is_compiled_if_that_is_asked_for() {
    let (mut config, log) = hot(0);
    config.tier2.policy = Policy::Always;
    let (e, _) = engine(&sum(1000), config);
    let r = until(&e, [0; 8], |_| true);
    assert_eq!(r[1], 500_500);
    assert!(e.stats().regions > 0);
    assert!(
        log.has(&format!("chosen {:?}", Origin::Always)),
        "{:?}",
        log.0
    );
}

#[test]
fn what_is_worth_it_is_compiled_and_tried() {
    let (mut config, log) = hot(0);
    config.tier2.policy = Policy::Hot(None);
    let (e, _) = engine(&sum(1000), config);
    let r = until(&e, [0; 8], |s| s.regions > 0);
    assert_eq!(r[1], 500_500);
    // Through its trial, whatever comes of that.
    let tried = Instant::now() + Duration::from_millis(300);
    let r = until(&e, [0; 8], |_| Instant::now() > tried);
    assert_eq!(r[1], 500_500);
    let stats = e.stats();
    assert!(stats.regions_dropped == 0 || log.has(&format!("dropped {:?}", Dropped::NoGain)));
    assert!(stats.region_ns > 0, "{stats:?}");
}

#[test]
fn what_works_on_memory_stays_with_tier_1() {
    let program = [
        addi(0, 1000),
        load(6, 2), // 1
        store(6, 2),
        load(5, 2),
        addi(0, -1),
        bnez(0, -4),
        ecall(),
    ];
    let (mut config, log) = hot(0);
    config.tier2.policy = Policy::Hot(None);
    let (e, _) = engine(&program, config);
    let word = 5u64;
    let registers = [0, 0, &raw const word as u64, 0, 0, 0, 0, 0];
    until(&e, registers, |s| s.regions_refused > 0);
    assert!(
        log.has(&format!("refused {:?}", Refusal::NoGain)),
        "{:?}",
        log.0
    );
    assert_eq!(e.stats().regions, 0);
}

#[test]
fn regions_survive_flushes_of_code_memory_under_threads() {
    let functions = 300;
    let mut program = vec![addi(0, 60)];
    let body = 1 + functions + 3;
    for i in 0..functions {
        program.push(call((body + i * 2 - (1 + i)) as i16));
    }
    program.extend([addi(0, -1), bnez(0, -(functions as i16) - 1), ecall()]);
    for _ in 0..functions {
        program.extend([addi(1, 1), ret(LINK)]);
    }
    let (mut config, _) = hot(20);
    config.code_bytes = 64 << 10;
    let (e, _) = engine(&program, config);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let e = e.clone();
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let r = until(&e, [0; 8], |_| true);
                    assert_eq!(r[1], 60 * functions as u64);
                }
            })
        })
        .collect();
    for t in threads {
        t.join().expect("thread");
    }
    assert!(e.stats().flushes > 2, "{:?}", e.stats());
}
