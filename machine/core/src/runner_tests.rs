//! A runner with vCPUs that do what a test says.

use super::*;
use crate::accel::{Accel, RegisterBlob, Registers};
use crate::clock::{ClockWatch, HostClock};
use crate::irq::{IrqLatch, IrqSink};
use crate::life::Reset;
use crate::scripted::{Scripted, Step};
use crate::watchdog::Pulse;
use isomorph_softmmu::{AccessRules, AddressSpace, Backing, Mmio, Region};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// A kick that can be waited for.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Sleeps until kicked; uses the kick up if `take`.
    fn wait(&self, take: bool) {
        let rung = self.changed.wait_while(lock(&self.rung), |rung| !*rung);
        *rung.expect("a lock") = !take;
    }
}

impl Kick for Bell {
    fn kick(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }
}

/// What a test's vCPU does in one run.
type Act = dyn Fn(&Fake) -> Result<Exit, AccelError> + Send + Sync;

struct Fake {
    id: VcpuId,
    entry: u64,
    runs: u64,
    bell: Arc<Bell>,
    running: Arc<AtomicUsize>,
    act: Arc<Act>,
}

impl Fake {
    fn until_kicked(&self) -> Result<Exit, AccelError> {
        self.bell.wait(true);
        Ok(Exit::Kicked)
    }
}

impl Vcpu for Fake {
    fn id(&self) -> VcpuId {
        self.id
    }

    fn run(&mut self) -> Result<Exit, AccelError> {
        self.runs += 1;
        self.running.fetch_add(1, Ordering::AcqRel);
        let exit = (self.act.clone())(self);
        self.running.fetch_sub(1, Ordering::AcqRel);
        exit
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        self.bell.clone()
    }

    fn pins(&self) -> Arc<dyn IrqSink> {
        IrqLatch::new()
    }

    fn registers(&self, kind: Registers) -> Result<RegisterBlob, AccelError> {
        let (isa, version) = ("fake", 1);
        Err(AccelError::Registers { isa, version, kind })
    }

    fn set_registers(&mut self, blob: &RegisterBlob) -> Result<(), AccelError> {
        self.registers(blob.kind).map(|_| ())
    }

    fn reset(&mut self, config: &VcpuConfig) -> Result<(), AccelError> {
        (self.runs, self.entry) = (0, config.entry);
        Ok(())
    }

    fn wait(&mut self) {
        self.bell.wait(false);
    }

    fn describe(&self) -> String {
        format!("pc {:#x}\n", self.entry)
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        vec![("runs", self.runs)]
    }
}

/// A machine whose `n`th reset starts every vCPU at `n`.
struct Bench {
    life: Arc<Life>,
    clock: Arc<HostClock>,
    running: Arc<AtomicUsize>,
    resets: AtomicU64,
    configs: u32,
}

impl Machine for Bench {
    fn reset(&self) -> Result<Vec<VcpuConfig>, Box<dyn Error + Send + Sync>> {
        assert_eq!(self.running.load(Ordering::Acquire), 0, "a vCPU runs");
        let entry = self.resets.fetch_add(1, Ordering::AcqRel) + 1;
        if entry == 100 {
            return Err("no image".into());
        }
        Ok((0..self.configs)
            .rev()
            .map(|id| config(id, entry))
            .collect())
    }
}

fn config(id: VcpuId, entry: u64) -> VcpuConfig {
    VcpuConfig {
        id,
        entry,
        arguments: [0; 2],
        level: 3,
        started: true,
    }
}

fn bench(configs: u32) -> Arc<Bench> {
    Arc::new(Bench {
        life: Life::new(false),
        clock: HostClock::new().expect("a clock"),
        running: Arc::default(),
        resets: AtomicU64::new(0),
        configs,
    })
}

impl Bench {
    fn runner(self: &Arc<Self>, vcpus: Vec<Box<dyn Vcpu>>) -> Runner {
        Runner::new(vcpus, self.life.clone(), self.clock.clone(), self.clone())
    }

    fn fakes<A>(self: &Arc<Self>, act: A) -> Runner
    where
        A: Fn(&Fake) -> Result<Exit, AccelError> + Send + Sync + 'static,
    {
        let act: Arc<Act> = Arc::new(act);
        let fake = |id| -> Box<dyn Vcpu> {
            Box::new(Fake {
                id,
                entry: 0,
                runs: 0,
                bell: Arc::default(),
                running: self.running.clone(),
                act: act.clone(),
            })
        };
        self.runner((0..self.configs).map(fake).collect())
    }
}

/// A register that powers off with the value written.
struct PowerOff(Arc<Life>);

impl Mmio for PowerOff {
    fn read(&self, _: u64, _: u32) -> u64 {
        0
    }

    fn write(&self, _: u64, _: u32, value: u64) {
        self.0.shutdown(Shutdown::Guest(value as u8));
    }
}

fn scripted(bench: &Arc<Bench>, steps: &[Step]) -> Runner {
    let space = AddressSpace::new();
    let backing = Backing::Mmio(Arc::new(PowerOff(bench.life.clone())), AccessRules::ANY);
    space.add(Region::new("power", 0, 8, 0, backing).expect("a region"));
    let accel = Scripted::new(steps);
    let vcpu = |id| accel.create_vcpu(&space, &config(id, 0)).expect("a vCPU");
    bench.runner((0..bench.configs).map(vcpu).collect())
}

#[test]
fn a_guest_powers_off() {
    let bench = bench(1);
    let ended = scripted(&bench, &[Step::Read(0, 4, 0), Step::Write(0, 4, 7)]).run();
    let ended = ended.expect("an end");
    assert_eq!(ended.why, Shutdown::Guest(7));
    assert_eq!(ended.vcpus[0].stats(), [("steps", 2)]);
    assert!(ended.vcpus[0].describe().contains("end of 2 steps"));
}

#[test]
fn scripts_that_end_end_the_machine() {
    let ended = scripted(&bench(3), &[Step::Read(0, 4, 0)]).run();
    let ended = ended.expect("an end");
    assert_eq!((ended.why, ended.vcpus.len()), (Shutdown::Host, 3));
    let failed = scripted(&bench(2), &[Step::Read(0, 4, 1)]).run();
    let Err(RunError::Vcpu { state, source, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert!(state.contains("step 0 of 1"), "{state}");
    assert!(matches!(source, AccelError::Script(_)));
}

#[test]
fn all_stand_still_while_the_machine_is_reset() {
    let bench = bench(4);
    let life = bench.life.clone();
    let runner = bench.fakes(move |vcpu| {
        if vcpu.entry == 50 {
            life.shutdown(Shutdown::Guest(0));
        } else if vcpu.entry % 4 == u64::from(vcpu.id) {
            life.reset(Reset::Guest);
        }
        vcpu.until_kicked()
    });
    let ended = runner.run().expect("an end");
    assert_eq!(ended.why, Shutdown::Guest(0));
    assert_eq!(bench.resets.load(Ordering::Acquire), 50);
    assert!(
        ended
            .vcpus
            .iter()
            .all(|vcpu| vcpu.describe() == "pc 0x32\n")
    );
}

#[test]
fn a_reset_that_fails_ends_the_machine() {
    let failing = bench(2);
    let life = failing.life.clone();
    failing.resets.store(99, Ordering::Release);
    let ask = move |vcpu: &Fake| {
        life.reset(Reset::Guest);
        vcpu.until_kicked()
    };
    let failed = failing.fakes(ask).run();
    assert!(matches!(failed, Err(RunError::Reset(_))), "{failed:?}");
    let forgetful = bench(2);
    let life = forgetful.life.clone();
    let mut runner = forgetful.fakes(move |vcpu| {
        life.reset(Reset::Guest);
        vcpu.until_kicked()
    });
    runner.machine = bench(1);
    let failed = runner.run();
    assert!(matches!(failed, Err(RunError::NoConfig(1))), "{failed:?}");
}

#[test]
fn one_failure_ends_all() {
    let bench = bench(3);
    let runner = bench.fakes(|vcpu| {
        if vcpu.id == 1 {
            let source = "nothing works".into();
            return Err(AccelError::Run { id: 1, source });
        }
        vcpu.until_kicked()
    });
    let failed = runner.run();
    let Err(RunError::Vcpu { id: 1, state, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(state, "pc 0x0\n");
    assert_eq!(bench.life.state(), RunState::Shutdown(Shutdown::Host));
}

#[test]
fn a_panic_ends_all() {
    let runner = bench(3).fakes(|vcpu| {
        assert_ne!(vcpu.id, 2, "on purpose");
        vcpu.until_kicked()
    });
    let failed = runner.run();
    let Err(RunError::Panicked { id: 2, message }) = failed else {
        panic!("{failed:?}");
    };
    assert!(message.contains("on purpose"), "{message}");
}

/// How many vCPUs run when time stops or goes on.
struct Census {
    running: Arc<AtomicUsize>,
    seen: Mutex<Vec<(bool, usize)>>,
}

impl ClockWatch for Census {
    fn running_changed(&self, time_runs: bool) {
        lock(&self.seen).push((time_runs, self.running.load(Ordering::Acquire)));
    }
}

#[test]
fn time_stands_still_in_a_pause_and_nobody_runs_without_it() {
    let bench = bench(2);
    let (life, clock) = (bench.life.clone(), bench.clock.clone());
    let running = bench.running.clone();
    let census = Arc::new(Census {
        running: running.clone(),
        seen: Mutex::default(),
    });
    let weak: Weak<Census> = Arc::downgrade(&census);
    clock.watch(weak);
    let late = |vcpu: &Fake| {
        let exit = vcpu.until_kicked();
        thread::sleep(Duration::from_millis(u64::from(vcpu.id) * 10));
        exit
    };
    let runner = bench.fakes(late).start_paused();
    let user = thread::spawn(move || {
        let wait_for = |count| {
            while running.load(Ordering::Acquire) != count {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let stands = || {
            let then = clock.virtual_ns();
            thread::sleep(Duration::from_millis(2));
            clock.virtual_ns() == then
        };
        for _ in 0..3 {
            while !stands() {}
            wait_for(0);
            assert!(stands());
            assert!(life.resume());
            wait_for(2);
            assert!(!stands());
            assert!(life.pause());
        }
        life.shutdown(Shutdown::Host);
    });
    assert_eq!(runner.run().expect("an end").why, Shutdown::Host);
    user.join().expect("no panic");
    let want: Vec<_> = (0..7).map(|change| (change % 2 == 1, 0)).collect();
    assert_eq!(*lock(&census.seen), want);
}

#[test]
fn who_is_idle_sleeps() {
    let bench = bench(2);
    let life = bench.life.clone();
    let runner = bench.fakes(|vcpu| {
        // A kick that `wait` saw is still there.
        if *lock(&vcpu.bell.rung) {
            return vcpu.until_kicked();
        }
        let halted = vcpu.id == 1;
        Ok(if halted { Exit::Halted } else { Exit::Idle })
    });
    let user = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        life.shutdown(Shutdown::Host);
    });
    let ended = runner.run().expect("an end");
    let runs: u64 = ended.vcpus.iter().map(|vcpu| vcpu.stats()[0].1).sum();
    assert!(runs <= 8, "{runs} runs");
    user.join().expect("no panic");
}

#[test]
fn a_breakpoint_pauses() {
    let bench = bench(1);
    let life = bench.life.clone();
    let end = bench.life.clone();
    let runner = bench.fakes(move |vcpu| match vcpu.runs {
        1 => Ok(Exit::Debug),
        _ => {
            end.shutdown(Shutdown::Guest(1));
            vcpu.until_kicked()
        }
    });
    let user = thread::spawn(move || {
        // The start, and the breakpoint.
        for _ in 0..2 {
            while !life.resume() {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let ended = runner.start_paused().run();
    assert_eq!(ended.expect("an end").why, Shutdown::Guest(1));
    user.join().expect("no panic");
}

#[test]
fn the_watchdog_shows_who_hangs() {
    let bench = bench(2);
    let life = bench.life.clone();
    let dumps = Arc::new(Mutex::new(Vec::new()));
    let seen = dumps.clone();
    let sink = Box::new(move |text: &str| {
        lock(&seen).push(text.to_owned());
        life.shutdown(Shutdown::Host);
    });
    let stuck = Arc::new(Bell::default());
    let free = stuck.clone();
    let runner = bench.fakes(move |vcpu| {
        if vcpu.id == 1 {
            // A device that hangs, until somebody looks.
            stuck.wait(false);
        }
        vcpu.until_kicked()
    });
    let watchdog = Watchdog::new(Duration::from_millis(5), Pulse::new(), sink);
    let life = bench.life.clone();
    let user = thread::spawn(move || {
        life.wait_while(RunState::Paused);
        life.wait_while(RunState::Running);
        free.kick();
    });
    let ended = runner.watchdog(watchdog).run();
    assert_eq!(ended.expect("an end").why, Shutdown::Host);
    let want = "no sign of life for 0 s\nvCPU 0:\npc 0x0\nvCPU 1 does not answer\n";
    assert_eq!(*lock(&dumps), [want]);
    user.join().expect("no panic");
}
