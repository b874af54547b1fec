//! A machine of RAM, one device and a few harts, and how programs on it come to an end.

use crate::asm::{
    Asm, DEV, RESUME, SATP, SCAUSE, SEPC, SRET, STVAL, STVEC, TMP, ZERO, addi, csrr, csrw, sd,
    sfence,
};
use isomorph_accel_tcg::{Services, Tcg, TcgConfig};
use isomorph_engine::{Config, Policy, Tier2};
use isomorph_frontend::TlbFlush;
use isomorph_machine::{
    Accel, After, Firmware, HostClock, IrqSink, Kick, Life, Peers, Timebase, Vcpu, VcpuConfig,
};
use isomorph_riscv::{HartState, RiscvMachine};
use isomorph_softmmu::{AccessRules, AddressSpace, Backing, Mmio, RamBlock, Region};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const BASE: u64 = 0x8000_0000;
pub const RAM_BYTES: u64 = 8 << 20;
/// What the tests map and use as they like.
pub const DATA: u64 = BASE + 0x20_0000;
/// Tables of pages, the first one the root.
const TABLES: u64 = BASE + 0x40_0000;
/// The handler of [`Program`].
const HANDLER: u64 = BASE + 0x60_0000;

pub const DEVICE: u64 = 0x1000_0000;
/// Registers of the device: a store ends the test, a store is noted, a store does what the test
/// says with the value.
pub const FINISH: i32 = 0;
pub const LOG: i32 = 8;
pub const ACT: i32 = 16;
/// Loads from here on give their offset times `0x01010101…`.
pub const PATTERN: i32 = 64;
/// Accesses of 4 bytes only.
pub const NARROW: u64 = DEVICE + 0x1000;

/// The log of a test whose program finds nothing wrong.
pub const NOTHING: [u64; 0] = [];

const TIMEOUT: Duration = Duration::from_secs(20);

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Act = Box<dyn FnMut(u64) + Send>;

#[derive(Default)]
pub struct Device {
    log: Mutex<Vec<u64>>,
    writes: Mutex<Vec<(u64, u32, u64)>>,
    act: Mutex<Option<Act>>,
    over: AtomicBool,
    ended: Mutex<bool>,
    changed: Condvar,
    kicks: OnceLock<Vec<Arc<dyn Kick>>>,
}

impl Device {
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        *lock(&self.ended) = true;
        self.changed.notify_all();
        for kick in self.kicks.get().into_iter().flatten() {
            kick.kick();
        }
    }

    fn wait(&self) -> bool {
        let ended = lock(&self.ended);
        let waited = self
            .changed
            .wait_timeout_while(ended, TIMEOUT, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Mmio for Device {
    fn read(&self, offset: u64, size: u32) -> u64 {
        let all = offset.wrapping_mul(0x0101_0101_0101_0101);
        all & u64::MAX >> (64 - 8 * size)
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        match offset as i32 {
            FINISH => self.end(),
            LOG => lock(&self.log).push(value),
            ACT => {
                if let Some(act) = &mut *lock(&self.act) {
                    act(value);
                }
            }
            _ => lock(&self.writes).push((offset, size, value)),
        }
    }
}

/// Firmware of a few calls: the number in `a7`, arguments in `a0` and `a1`.
#[derive(Default)]
pub struct Calls {
    stopped: AtomicBool,
}

/// All other harts forget all translations; one address; do nothing, on their threads.
pub const REMOTE_FENCE: u64 = 0;
pub const REMOTE_FENCE_PAGE: u64 = 1;
pub const REMOTE_NOTHING: u64 = 2;
/// The hart stops.
pub const STOP: u64 = 3;
/// Starts hart 1 at `a0` with `a1`; `a0` is 1 if it had stopped.
pub const START: u64 = 4;

impl Firmware<HartState> for Calls {
    fn call(&self, id: u32, state: &mut HartState, peers: &dyn Peers<HartState>) -> Option<After> {
        let x = &mut state.regs.x;
        let (number, a0, a1) = (x[17], x[10], x[11]);
        state.regs.pc += 4;
        let others: Vec<u32> = (0..peers.count()).filter(|other| *other != id).collect();
        let run_on = |flush: Option<TlbFlush>| {
            let work = move |state: &mut HartState| {
                if let Some(flush) = flush {
                    state.sys.fence(flush);
                }
            };
            peers.run_on(&others, Arc::new(work));
        };
        match number {
            REMOTE_FENCE => run_on(Some(TlbFlush::All)),
            REMOTE_FENCE_PAGE => {
                let (address, asid) = (a0, None);
                run_on(Some(TlbFlush::Page { address, asid }));
            }
            REMOTE_NOTHING => run_on(None),
            STOP => {
                self.stopped.store(true, Ordering::SeqCst);
                return Some(After::Stop);
            }
            _ => {
                let stopped = self.stopped.swap(false, Ordering::SeqCst);
                state.regs.x[10] = stopped.into();
                if stopped {
                    let work = move |state: &mut HartState| state.start_supervisor(a0, a1);
                    peers.start(1, Box::new(work));
                }
            }
        }
        Some(After::Continue)
    }

    fn reset(&self, started: &[bool]) {
        let stopped = started.get(1).is_some_and(|started| !started);
        self.stopped.store(stopped, Ordering::SeqCst);
    }
}

/// How a machine is made.
pub struct Setup {
    pub harts: u32,
    /// Level at the start: 1 or 3.
    pub level: u8,
    pub code_bytes: usize,
    pub firmware: Option<Arc<dyn Firmware<HartState>>>,
    pub tier2: Tier2,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            harts: 1,
            level: 1,
            code_bytes: 16 << 20,
            firmware: None,
            tier2: Tier2 {
                policy: policy(),
                code_bytes: 4 << 20,
                ..Tier2::default()
            },
        }
    }
}

/// What `ISOMORPH_JIT` says of the hot tier: `tier2=off`, `tier2=always` or `tier2=N`.
fn policy() -> Policy {
    let setting = std::env::var("ISOMORPH_JIT").unwrap_or_default();
    match setting.strip_prefix("tier2=") {
        Some("off") => Policy::Off,
        Some("always") => Policy::Always,
        number => Policy::Hot(number.and_then(|number| number.parse().ok())),
    }
}

/// The machine.
pub struct Bench {
    pub ram: Arc<RamBlock>,
    pub space: Arc<AddressSpace>,
    pub device: Arc<Device>,
    pub clock: Arc<HostClock>,
    pub time: Arc<Timebase>,
    pub life: Arc<Life>,
    pub tcg: Arc<Tcg<RiscvMachine>>,
    pub vcpus: Vec<Box<dyn Vcpu>>,
    level: u8,
    tables: u64,
    /// Several harts are more than most hosts have processors for: one such test at a time.
    _alone: Option<MutexGuard<'static, ()>>,
}

static ALONE: Mutex<()> = Mutex::new(());

fn map_region(space: &AddressSpace, name: &str, base: u64, len: u64, backing: Backing) {
    space.add(Region::new(name, base, len, 0, backing).expect("a region"));
}

impl Bench {
    pub fn new(setup: Setup) -> Self {
        let alone = (setup.harts > 1).then(|| lock(&ALONE));
        let ram = RamBlock::new("ram", RAM_BYTES).expect("RAM");
        let space = AddressSpace::new();
        let device = Arc::new(Device::default());
        map_region(&space, "ram", BASE, RAM_BYTES, Backing::Ram(ram.clone(), 0));
        let (any, narrow) = (AccessRules::ANY, AccessRules::sized(4, 4));
        let wide = Backing::Mmio(device.clone(), any);
        map_region(&space, "device", DEVICE, 0x1000, wide);
        let narrow = Backing::Mmio(device.clone(), narrow);
        map_region(&space, "narrow", NARROW, 0x1000, narrow);
        let engine = Config {
            code_bytes: setup.code_bytes,
            tier2: setup.tier2,
            ..Config::default()
        };
        let tcg = Tcg::new(RiscvMachine::default(), TcgConfig { engine }).expect("an engine");
        let clock = HostClock::new().expect("a thread");
        let time = Timebase::new(clock.clone(), 10_000_000);
        let life = Life::new(false);
        tcg.connect(Services {
            time: time.clone(),
            clock: clock.clone(),
            firmware: setup.firmware,
        });
        let vcpus: Vec<_> = (0..setup.harts)
            .map(|id| {
                let config = config(id, setup.level, true);
                tcg.create_vcpu(&space, &config).expect("a vCPU")
            })
            .collect();
        let kicks = vcpus.iter().map(|vcpu| vcpu.kicker()).collect();
        assert!(device.kicks.set(kicks).is_ok());
        Self {
            ram,
            space,
            device,
            clock,
            time,
            life,
            tcg,
            vcpus,
            level: setup.level,
            tables: 1,
            _alone: alone,
        }
    }

    /// A machine of one hart that starts in supervisor mode.
    pub fn supervisor() -> Self {
        Self::new(Setup::default())
    }

    /// As `supervisor`, with this setting of the hot tier.
    pub fn with_policy(policy: Policy) -> Self {
        let mut setup = Setup::default();
        setup.tier2.policy = policy;
        Self::new(setup)
    }

    pub fn machine() -> Self {
        Self::new(Setup {
            level: 3,
            ..Setup::default()
        })
    }

    /// Starts all harts anew.
    pub fn reset(&mut self) {
        for vcpu in &mut self.vcpus {
            let config = config(vcpu.id(), self.level, true);
            vcpu.reset(&config).expect("a reset");
        }
    }

    pub fn put(&self, physical: u64, bytes: &[u8]) {
        assert!(self.ram.write(physical - BASE, bytes));
    }

    pub fn put64(&self, physical: u64, value: u64) {
        assert!(self.ram.store(physical - BASE, 8, value));
    }

    pub fn get64(&self, physical: u64) -> u64 {
        self.ram.load(physical - BASE, 8).expect("RAM")
    }

    /// What a store of `value` to the device's register does.
    pub fn on_act(&self, act: impl FnMut(u64) + Send + 'static) {
        *lock(&self.device.act) = Some(Box::new(act));
    }

    pub fn log(&self) -> Vec<u64> {
        lock(&self.device.log).clone()
    }

    pub fn take_log(&self) -> Vec<u64> {
        std::mem::take(&mut lock(&self.device.log))
    }

    /// Stores to other registers: offset, size, value.
    pub fn writes(&self) -> Vec<(u64, u32, u64)> {
        lock(&self.device.writes).clone()
    }

    pub fn pins(&self, hart: usize) -> Arc<dyn IrqSink> {
        self.vcpus[hart].pins()
    }

    /// The register of a hart by its name, as a dump has it.
    pub fn reg(&self, hart: usize, name: &str) -> u64 {
        registers(&*self.vcpus[hart])[name]
    }

    pub fn stat(&self, hart: usize, name: &str) -> u64 {
        let all = self.vcpus[hart].stats();
        all.iter().find(|row| row.0 == name).expect("a count").1
    }

    /// Starts all harts, each on its thread.
    pub fn start(&mut self) -> Running {
        let threads = std::mem::take(&mut self.vcpus);
        let threads = threads.into_iter().map(|vcpu| {
            let device = self.device.clone();
            std::thread::spawn(move || run(vcpu, &device))
        });
        Running(threads.collect())
    }

    /// Waits for the end, and takes the harts back.
    pub fn join(&mut self, running: Running) {
        let ended = self.device.wait();
        self.device.end();
        let begin = Instant::now();
        for thread in running.0 {
            while !thread.is_finished() && begin.elapsed() < TIMEOUT {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(thread.is_finished(), "a hart does not stop");
            self.vcpus.push(thread.join().expect("no panic"));
        }
        let lines = |text: String| text.lines().take(17).map(|l| format!("{l}\n")).collect();
        let dumps: Vec<String> = self
            .vcpus
            .iter()
            .map(|vcpu| lines(vcpu.describe()))
            .collect();
        assert!(ended, "no end: {:x?}\n{}", self.log(), dumps.concat());
        self.device.over.store(false, Ordering::SeqCst);
        *lock(&self.device.ended) = false;
    }

    /// Ends what runs after so many seconds, unless the answer was dropped before: a program that
    /// hangs then ends too, and differs.
    pub fn ends_after(&self, seconds: u64) -> Sender<()> {
        let device = self.device.clone();
        let (done, ended) = channel();
        std::thread::spawn(move || {
            let hung = ended.recv_timeout(Duration::from_secs(seconds));
            if hung == Err(RecvTimeoutError::Timeout) {
                device.end();
            }
        });
        done
    }

    /// Runs all harts until the test is over.
    pub fn run(&mut self) {
        let running = self.start();
        self.join(running);
    }

    /// A new table of pages.
    pub fn table(&mut self) -> u64 {
        self.tables += 1;
        TABLES + (self.tables - 1) * 4096
    }

    /// Tables are made anew from the first on.
    pub fn forget_tables(&mut self) {
        self.tables = 1;
    }

    /// Where the leaf of a 4 KiB page is, in Sv39 tables that are made on the way.
    pub fn leaf(&mut self, root: u64, va: u64) -> u64 {
        let mut table = root;
        for level in [2, 1] {
            let at = table + 8 * (va >> (12 + 9 * level) & 511);
            let entry = self.get64(at);
            table = if entry & 1 == 0 {
                let new = self.table();
                self.put64(at, new >> 2 | 1);
                new
            } else {
                entry >> 10 << 12
            };
        }
        table + 8 * (va >> 12 & 511)
    }

    /// Maps a page; returns where its entry is.
    pub fn map(&mut self, root: u64, va: u64, physical: u64, flags: u64) -> u64 {
        let at = self.leaf(root, va);
        self.put64(at, pte(physical, flags));
        at
    }

    /// A root whose gigabytes of RAM and device are mapped to themselves, for the supervisor.
    pub fn root(&mut self) -> u64 {
        let root = self.table();
        for address in [0, BASE] {
            let at = root + 8 * (address >> 30 & 511);
            self.put64(at, pte(address, RWX | ACCESSED));
        }
        root
    }
}

/// Harts that run.
pub struct Running(Vec<JoinHandle<Box<dyn Vcpu>>>);

fn run(mut vcpu: Box<dyn Vcpu>, device: &Device) -> Box<dyn Vcpu> {
    while !device.over.load(Ordering::SeqCst) {
        vcpu.run().expect("no failure of the accelerator");
    }
    vcpu
}

pub fn config(id: u32, level: u8, started: bool) -> VcpuConfig {
    VcpuConfig {
        id,
        entry: BASE,
        arguments: [id.into(), 0],
        level,
        started,
    }
}

/// All registers by name.
pub fn registers(vcpu: &dyn Vcpu) -> HashMap<String, u64> {
    let text = vcpu.describe();
    let words: Vec<&str> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[1].len() == 16);
    pairs
        .filter_map(|pair| {
            let value = u64::from_str_radix(pair[1], 16).ok()?;
            Some((pair[0].to_owned(), value))
        })
        .collect()
}

pub const VALID: u64 = 1;
pub const READ: u64 = 2;
pub const WRITE: u64 = 4;
pub const EXEC: u64 = 8;
pub const USER: u64 = 16;
pub const GLOBAL: u64 = 32;
pub const ACCESSED: u64 = 0xc0;
pub const RW: u64 = VALID | READ | WRITE;
pub const RX: u64 = VALID | READ | EXEC;
pub const RWX: u64 = RW | EXEC;

pub const fn pte(physical: u64, flags: u64) -> u64 {
    physical >> 12 << 10 | flags
}

pub const fn satp(root: u64, asid: u64) -> u64 {
    8 << 60 | asid << 44 | root >> 12
}

/// A supervisor's program at [`BASE`], with a handler that logs cause, value and address of each
/// exception and goes on at `RESUME` or, if that is 0, four bytes on.
pub fn program(bench: &Bench, code: impl FnOnce(&mut Asm)) -> u64 {
    let mut handler = Asm::at(HANDLER);
    for csr in [SCAUSE, STVAL, SEPC] {
        handler.w(&[csrr(TMP, csr), sd(TMP, DEV, LOG)]);
    }
    let (other, back) = (handler.label(), handler.label());
    handler.bne(RESUME, ZERO, other);
    handler.w(&[addi(TMP, TMP, 4), csrw(SEPC, TMP)]).j(back);
    handler.bind(other).w(&[csrw(SEPC, RESUME)]);
    handler.bind(back).w(&[SRET]);
    bench.put(HANDLER, &handler.finish());
    let mut asm = Asm::at(BASE);
    asm.li(DEV, DEVICE).li(RESUME, 0).li(TMP, HANDLER);
    asm.w(&[csrw(STVEC, TMP)]);
    code(&mut asm);
    end(&mut asm);
    let pc = asm.pc();
    bench.put(BASE, &asm.finish());
    pc
}

/// As [`program`], under the page tables of `root`.
pub fn paged(bench: &Bench, root: u64, code: impl FnOnce(&mut Asm)) -> u64 {
    program(bench, |asm| {
        enable(asm, satp(root, 0));
        code(asm);
    })
}

/// Switches to an address space and forgets all others.
pub fn enable(asm: &mut Asm, satp: u64) {
    asm.li(TMP, satp).w(&[csrw(SATP, TMP), sfence(0, 0)]);
}

/// The end of the test.
pub fn end(asm: &mut Asm) {
    asm.w(&[sd(ZERO, DEV, FINISH)]);
    let here = asm.here();
    asm.j(here);
}

/// Waits until `done`; panics after a long time.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < TIMEOUT, "it does not happen");
        std::thread::sleep(Duration::from_micros(200));
    }
}
