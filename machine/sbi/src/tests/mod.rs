//! Each function against the tables of the specification, on harts that never run.

mod base;
mod dbcn;
mod hsm;
mod ipi;
mod pmu;
mod rfence;
mod srst;
mod time;

use crate::{Console, ConsoleError, Sbi, Services};
use isomorph_frontend::SystemGuest;
use isomorph_machine::{After, Everyone, Firmware, Life, Peers, Work};
use isomorph_riscv::system::Privilege;
use isomorph_riscv::{HartState, RiscvMachine};
use isomorph_softmmu::{AccessRules, AddressSpace, Backing, Mmio, RamBlock, Region};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};

const SUCCESS: i64 = 0;
const FAILED: i64 = -1;
const NOT_SUPPORTED: i64 = -2;
const INVALID_PARAM: i64 = -3;
const INVALID_ADDRESS: i64 = -5;
const ALREADY_AVAILABLE: i64 = -6;
const ALREADY_STARTED: i64 = -7;
const ALREADY_STOPPED: i64 = -8;
const NO_SHMEM: i64 = -9;

const BASE: u64 = 0x10;
const TIME: u64 = 0x5449_4d45;
const IPI: u64 = 0x0073_5049;
const RFENCE: u64 = 0x5246_4e43;
const HSM: u64 = 0x0048_534d;
const SRST: u64 = 0x5352_5354;
const DBCN: u64 = 0x4442_434e;
const PMU: u64 = 0x0050_4d55;

const RAM: u64 = 0x8000_0000;
const RAM_BYTES: u64 = 0x10_0000;
const ROM: u64 = 0x1000;
const DEVICE: u64 = 0x1000_0000;
/// Where harts are when they call.
const PC: u64 = RAM + 0x100;
const ALL: u64 = u64::MAX;

/// A device that nothing may reach.
struct Untouched;

impl Mmio for Untouched {
    fn read(&self, offset: u64, _: u32) -> u64 {
        panic!("a device was read at {offset:#x}");
    }

    fn write(&self, offset: u64, _: u32, _: u64) {
        panic!("a device was written at {offset:#x}");
    }
}

#[derive(Default)]
struct Line {
    out: Mutex<Vec<u8>>,
    input: Mutex<Vec<u8>>,
    broken: Mutex<bool>,
}

impl Line {
    fn works(&self) -> Result<(), ConsoleError> {
        let broken = *self.broken.lock().expect("no panic");
        if broken { Err(ConsoleError) } else { Ok(()) }
    }
}

impl Console for Line {
    fn write(&self, bytes: &[u8]) -> Result<(), ConsoleError> {
        self.works()?;
        self.out.lock().expect("no panic").extend(bytes);
        Ok(())
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, ConsoleError> {
        self.works()?;
        let mut input = self.input.lock().expect("no panic");
        let count = input.len().min(out.len());
        out[..count].copy_from_slice(&input[..count]);
        input.drain(..count);
        Ok(count)
    }
}

/// A hart to start, and how.
type Start = (u32, Work<HartState>);

/// A machine whose harts do work for each other at once.
struct Machine {
    sbi: Arc<Sbi>,
    life: Arc<Life>,
    memory: Arc<AddressSpace>,
    line: Arc<Line>,
    /// `None` for the hart that is calling: nobody else may touch it.
    harts: RefCell<Vec<Option<HartState>>>,
    ticks: Cell<u64>,
    /// Starts that wait, while they are held back.
    starts: RefCell<Option<Vec<Start>>>,
}

impl Peers<HartState> for Machine {
    fn count(&self) -> u32 {
        self.harts.borrow().len() as u32
    }

    fn post(&self, id: u32, work: Work<HartState>) {
        let mut harts = self.harts.borrow_mut();
        work(harts[id as usize].as_mut().expect("not the caller"));
    }

    fn run_on(&self, ids: &[u32], work: Everyone<HartState>) {
        let mut harts = self.harts.borrow_mut();
        for id in ids {
            work(harts[*id as usize].as_mut().expect("not the caller"));
        }
    }

    fn start(&self, id: u32, work: Work<HartState>) {
        match self.starts.borrow_mut().as_mut() {
            Some(held) => held.push((id, work)),
            None => self.post(id, work),
        }
    }

    fn ticks(&self) -> u64 {
        self.ticks.get()
    }
}

fn memory() -> Arc<AddressSpace> {
    let space = AddressSpace::new();
    let ram = RamBlock::new("ram", RAM_BYTES).expect("memory");
    let rom = RamBlock::new("rom", 0x1000).expect("memory");
    let device = Backing::Mmio(Arc::new(Untouched), AccessRules::ANY);
    let parts = [
        ("ram", RAM, RAM_BYTES, Backing::Ram(ram, 0)),
        ("rom", ROM, 0x1000, Backing::Rom(rom, 0)),
        ("device", DEVICE, 0x1000, device),
    ];
    for (name, base, len, backing) in parts {
        space.add(Region::new(name, base, len, 0, backing).expect("a region"));
    }
    space
}

impl Machine {
    /// `count` harts, all started.
    fn new(count: u32) -> Self {
        let (life, memory, line) = (Life::new(false), memory(), Arc::new(Line::default()));
        life.resume();
        let sbi = Sbi::new(Services {
            harts: count,
            life: Arc::clone(&life),
            memory: Arc::clone(&memory),
            console: Arc::clone(&line) as Arc<dyn Console>,
        });
        sbi.reset(&vec![true; count as usize]);
        let hart = |id| {
            let mut state = RiscvMachine::default().supervisor_hart(u64::from(id), PC, 0);
            // What starting asks for.
            RiscvMachine::take_flush(&mut state);
            Some(state)
        };
        Self {
            sbi,
            life,
            memory,
            line,
            harts: RefCell::new((0..count).map(hart).collect()),
            ticks: Cell::new(1000),
            starts: RefCell::new(None),
        }
    }

    /// Lets hart `id` call, with its registers as they are; what it does then.
    fn ecall(&self, id: u32) -> Option<After> {
        let at = id as usize;
        let mut state = self.harts.borrow_mut()[at].take().expect("a hart");
        let after = self.sbi.call(id, &mut state, self);
        self.harts.borrow_mut()[at] = Some(state);
        after
    }

    /// Lets hart `id` call a function with arguments; what it does then.
    fn call_after(&self, id: u32, function: (u64, u64), args: &[u64]) -> Option<After> {
        self.with(id, |state| {
            state.regs.pc = PC;
            state.regs.x[10..18].fill(0x7777);
            state.regs.x[10..10 + args.len()].copy_from_slice(args);
            (state.regs.x[17], state.regs.x[16]) = function;
        });
        self.ecall(id)
    }

    /// Lets hart `id` call a function that returns: error and value. Nothing else may change.
    fn call(&self, id: u32, function: (u64, u64), args: &[u64]) -> (i64, u64) {
        let mut expected = [0x7777; 8];
        expected[..args.len()].copy_from_slice(args);
        (expected[7], expected[6]) = function;
        let after = self.call_after(id, function, args);
        assert_eq!(after, Some(After::Continue), "{function:x?} {args:x?}");
        self.with(id, |state| {
            assert_eq!(state.regs.pc, PC + 4);
            assert_eq!(state.regs.x[12..18], expected[2..]);
            (state.regs.x[10] as i64, state.regs.x[11])
        })
    }

    fn with<T>(&self, id: u32, work: impl FnOnce(&mut HartState) -> T) -> T {
        work(
            self.harts.borrow_mut()[id as usize]
                .as_mut()
                .expect("a hart"),
        )
    }

    fn status(&self, id: u32) -> (i64, u64) {
        self.call(0, (HSM, 2), &[u64::from(id)])
    }
}

/// Whether hart `id` has a supervisor software interrupt pending.
fn interrupted(machine: &Machine, id: u32) -> bool {
    machine.with(id, |state| state.sys.pending() >> 1 & 1 != 0)
}

/// A control and status register of hart `id`.
fn csr(machine: &Machine, id: u32, name: &str) -> u64 {
    machine.with(id, |state| {
        let mut all = state.sys.dump();
        all.find(|row| row.0 == name).expect("a register").1
    })
}

#[test]
fn only_supervisor_mode_calls() {
    for (privilege, answered) in [
        (Privilege::User, false),
        (Privilege::Supervisor, true),
        (Privilege::Machine, false),
    ] {
        let machine = Machine::new(1);
        machine.with(0, |state| {
            state.regs.x[17] = BASE;
            state.sys.privilege = privilege;
        });
        let before = machine.with(0, |state| *state);
        let after = machine.ecall(0);
        assert_eq!(after.is_some(), answered);
        assert_eq!(machine.with(0, |state| *state != before), answered);
    }
}

/// Chapter "Binary Encoding": what is not there is not supported.
#[test]
fn unknown_numbers_are_not_supported() {
    let machine = Machine::new(1);
    let unknown = [
        (BASE, 7),
        (TIME, 1),
        (IPI, 1),
        (RFENCE, 7),
        (HSM, 4),
        (SRST, 1),
        (DBCN, 3),
        (PMU, 8),
        (BASE, u64::MAX),
        // SUSP, CPPC, NACL, STA; experimental, vendor's, firmware's.
        (0x5355_5350, 0),
        (0x4350_5043, 0),
        (0x4e41_434c, 0),
        (0x0053_5441, 0),
        (0x0800_0000, 0),
        (0x0900_0000, 0),
        (0x0a00_0000, 0),
        (TIME | 1 << 32, 0),
        (u64::MAX, 0),
    ];
    for function in unknown {
        let answer = machine.call(0, function, &[]);
        assert_eq!(answer, (NOT_SUPPORTED, 0), "{function:x?}");
    }
}

/// Chapter "Legacy Extensions": only `a0` is for the answer.
#[test]
fn legacy_extensions_answer_in_one_register() {
    let machine = Machine::new(1);
    for extension in 0..=0xf {
        let answer = machine.call(0, (extension, 0), &[]);
        assert_eq!(answer, (NOT_SUPPORTED, 0x7777), "{extension:#x}");
    }
}

/// Section "Hart list parameter".
#[test]
fn hart_masks() {
    type Hit<'a> = Option<&'a [u32]>;
    let rows: &[(u64, u64, Hit<'_>)] = &[
        (0b0101, 0, Some(&[0, 2])),
        (0b1010, 0, Some(&[1, 3])),
        (0b11, 2, Some(&[2, 3])),
        (0, 0, Some(&[])),
        (0, 100, Some(&[])),
        (0, ALL, Some(&[0, 1, 2, 3])),
        (1, ALL, Some(&[0, 1, 2, 3])),
        (0b1_0000, 0, None),
        (0b1_0001, 0, None),
        (1 << 63, 0, None),
        (1, 4, None),
        (1, ALL - 1, None),
        (0b110, ALL - 1, None),
        (1, 1 << 32, None),
    ];
    for (mask, base, expected) in rows {
        let machine = Machine::new(4);
        let answer = machine.call(1, (IPI, 0), &[*mask, *base]);
        let error = if expected.is_some() {
            SUCCESS
        } else {
            INVALID_PARAM
        };
        assert_eq!(answer, (error, 0), "{mask:#x} {base:#x}");
        let hit: Vec<u32> = (0..4).filter(|id| interrupted(&machine, *id)).collect();
        assert_eq!(hit, expected.unwrap_or(&[]), "{mask:#x} {base:#x}");
    }
}

#[test]
fn a_hart_that_is_not_of_the_machine_is_not_answered() {
    let machine = Machine::new(1);
    let mut state = machine.with(0, |state| *state);
    assert_eq!(machine.sbi.call(1, &mut state, &machine), None);
}
