//! Privileged programs on the IR interpreter, with the least run loop that a machine needs.

use isomorph_frontend::{
    CodeSource, Guest, Limits, MemoryAccess, PhysicalMemory, SystemGuest, TimeScale, TlbFlush,
    translate_block,
};
use isomorph_ir::interp::{Exit, FpEnv, Helpers, Interp, MemFault, Memory};
use isomorph_ir::{Builder, Order, TrapKind, verify};
use isomorph_riscv::decode::Op;
use isomorph_riscv::system::{Privilege, System, cause, interrupt, mode};
use isomorph_riscv::{CpuModel, HartState, RiscvMachine, State};
use std::cell::RefCell;

const BASE: u64 = 0x8000_0000;
const HANDLER: u64 = BASE + 0x1000;
const BYTES: usize = 0x1_0000;

/// Physical memory from [`BASE`] on.
struct Ram(Vec<u8>);

impl Ram {
    fn slice(&mut self, physical: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(physical.checked_sub(BASE)?).ok()?;
        self.0.get_mut(at..at.checked_add(len)?)
    }

    fn put(&mut self, physical: u64, words: &[u32]) {
        for (at, word) in words.iter().enumerate() {
            let bytes = self.slice(physical + 4 * at as u64, 4).expect("inside");
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

impl PhysicalMemory for Ram {
    fn load_u64(&mut self, physical: u64) -> Option<u64> {
        let bytes = self.slice(physical, 8)?;
        Some(u64::from_le_bytes((&*bytes).try_into().ok()?))
    }

    fn compare_exchange_u64(&mut self, physical: u64, old: u64, new: u64) -> Option<u64> {
        let found = self.load_u64(physical)?;
        if found == old {
            self.slice(physical, 8)?.copy_from_slice(&new.to_le_bytes());
        }
        Some(found)
    }
}

/// Memory as translated code sees it.
struct Virtual<'a> {
    state: HartState,
    ram: &'a RefCell<Ram>,
}

impl Virtual<'_> {
    fn physical(&self, address: u64, bytes: u32, access: MemoryAccess) -> Result<u64, MemFault> {
        let bytes = u64::from(bytes);
        let ram = &mut *self.ram.borrow_mut();
        let found = RiscvMachine::translate_address(&self.state, address, bytes, access, ram);
        let write = access != MemoryAccess::Load;
        found
            .map(|found| found.physical)
            .map_err(|_| MemFault { address, write })
    }
}

impl Memory for Virtual<'_> {
    fn load(&mut self, address: u64, bytes: u32, _: Order) -> Result<u128, MemFault> {
        let at = self.physical(address, bytes, MemoryAccess::Load)?;
        let mut word = [0; 16];
        let mut ram = self.ram.borrow_mut();
        let from = ram.slice(at, bytes as usize).expect("RAM");
        word[..bytes as usize].copy_from_slice(from);
        Ok(u128::from_le_bytes(word))
    }

    fn store(&mut self, address: u64, bytes: u32, _: Order, value: u128) -> Result<(), MemFault> {
        let at = self.physical(address, bytes, MemoryAccess::Store)?;
        let mut ram = self.ram.borrow_mut();
        let to = ram.slice(at, bytes as usize).expect("RAM");
        to.copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
        Ok(())
    }

    fn cas(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault> {
        let old = self.load(address, bytes, order)?;
        if old == expected {
            self.store(address, bytes, order, new)?;
        }
        Ok(old)
    }

    fn fence(&mut self, _: Order) {}
}

impl CodeSource for Virtual<'_> {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        for (at, byte) in out.iter_mut().enumerate() {
            let Ok(physical) = self.physical(pc + at as u64, 1, MemoryAccess::Fetch) else {
                return at;
            };
            match self.ram.borrow_mut().slice(physical, 1) {
                Some(found) => *byte = found[0],
                None => return at,
            }
        }
        out.len()
    }

    fn may_change(&self, _: u64) -> bool {
        true
    }
}

/// The part of the state that the interpreter has not.
struct Calls(System);

impl Helpers for Calls {
    fn helper(&mut self, index: u32, bytes: &mut [u8], fp: &mut FpEnv, args: [u64; 3]) -> u64 {
        let (regs, sys) = (State::new(), self.0);
        let mut state = HartState { regs, sys };
        state.set_bytes(bytes);
        RiscvMachine::set_fp_flags(&mut state, fp.flags.0);
        let helper = &RiscvMachine::helpers()[index as usize];
        let answer = (helper.func)(&mut state, args[0], args[1], args[2]);
        bytes.copy_from_slice(&state.to_bytes());
        self.0 = state.sys;
        answer
    }

    fn counter(&mut self, which: u8) -> u64 {
        1000 + u64::from(which)
    }
}

struct Machine {
    guest: RiscvMachine,
    builder: Builder,
    interp: Interp,
    state: HartState,
    ram: RefCell<Ram>,
    flushes: Vec<TlbFlush>,
}

impl Machine {
    /// A hart in machine mode with a program at [`BASE`] and a handler that waits.
    fn new(program: &[u32]) -> Self {
        Self::of(RiscvMachine::default(), program)
    }

    fn of(guest: RiscvMachine, program: &[u32]) -> Self {
        let mut ram = Ram(vec![0; BYTES]);
        ram.put(BASE, program);
        ram.put(HANDLER, &[WFI]);
        let mut state = guest.hart(3, BASE);
        let _ = RiscvMachine::take_flush(&mut state);
        Self {
            state,
            guest,
            builder: Builder::new(RiscvMachine::globals()),
            interp: Interp::new(RiscvMachine::globals()),
            ram: RefCell::new(ram),
            flushes: Vec::new(),
        }
    }

    fn with(mut self, registers: &[(usize, u64)]) -> Self {
        for (n, value) in registers {
            self.state.regs.x[*n] = *value;
        }
        self
    }

    /// Runs until the hart waits.
    fn run(&mut self) {
        for _ in 0..100 {
            self.flushes
                .extend(RiscvMachine::take_flush(&mut self.state));
            RiscvMachine::take_interrupt(&mut self.state);
            if self.block() {
                return;
            }
        }
        panic!("it does not come to an end: {:#x?}", self.state);
    }

    /// Runs one block; true if it ends by waiting.
    fn block(&mut self) -> bool {
        let (pc, mode) = (self.state.regs.pc, RiscvMachine::mode(&self.state));
        let mut memory = Virtual {
            state: self.state,
            ram: &self.ram,
        };
        let limits = Limits::default();
        translate_block(&self.guest, &mut self.builder, &memory, pc, mode, limits);
        let block = self.builder.block();
        assert_eq!(verify(block, RiscvMachine::globals()), Ok(()));
        let mut bytes = self.state.to_bytes();
        let mut calls = Calls(self.state.sys);
        let exit = self.interp.run(block, &mut bytes, &mut memory, &mut calls);
        self.state.sys = calls.0;
        self.state.set_bytes(&bytes);
        match exit.expect("the state has the size of its globals") {
            Exit::Trap { kind, info, .. } => return self.trap(kind, info),
            Exit::Fault { fault, .. } => {
                let access = match fault.write {
                    true => MemoryAccess::Store,
                    false => MemoryAccess::Load,
                };
                self.raise(fault.address, access);
            }
            Exit::Direct { .. } | Exit::Indirect { .. } | Exit::Call { .. } => {}
        }
        false
    }

    fn trap(&mut self, kind: TrapKind, info: u64) -> bool {
        match kind {
            TrapKind::Wfi => return true,
            TrapKind::Return => self.state.regs.pc = info,
            TrapKind::Mode | TrapKind::InsnSync | TrapKind::Yield => {}
            TrapKind::Fetch => self.raise(info, MemoryAccess::Fetch),
            _ => {
                let exception = RiscvMachine::exception_of(&self.state, kind, info, &[]);
                let exception = exception.expect("an exception");
                RiscvMachine::take_exception(&mut self.state, exception);
            }
        }
        false
    }

    fn raise(&mut self, address: u64, access: MemoryAccess) {
        let ram = &mut *self.ram.borrow_mut();
        let found = RiscvMachine::translate_address(&self.state, address, 1, access, ram);
        let bus = RiscvMachine::bus_error(address, access);
        RiscvMachine::take_exception(&mut self.state, found.err().unwrap_or(bus));
    }

    fn csr(&self, name: &str) -> u64 {
        let mut all = self.state.sys.dump();
        all.find(|row| row.0 == name).expect("a register").1
    }

    /// Cause and value of the trap that machine mode has taken.
    fn trapped(&self) -> (u64, u64) {
        (self.csr("mcause"), self.csr("mtval"))
    }
}

const WFI: u32 = 0x1050_0073;
const MRET: u32 = 0x3020_0073;
const ECALL: u32 = 0x0000_0073;

const SSTATUS: u32 = 0x100;
const MSTATUS: u32 = 0x300;
const STVEC: u32 = 0x105;
const MEDELEG: u32 = 0x302;
const MIDELEG: u32 = 0x303;
const MIE: u32 = 0x304;
const MTVEC: u32 = 0x305;
const MCOUNTEREN: u32 = 0x306;
const MENVCFG: u32 = 0x30a;
const MEPC: u32 = 0x341;
const MSCRATCH: u32 = 0x340;
const SATP: u32 = 0x180;

const fn csrrw(rd: u32, csr: u32, rs1: u32) -> u32 {
    csr << 20 | rs1 << 15 | 1 << 12 | rd << 7 | 0x73
}

const fn csrrs(rd: u32, csr: u32, rs1: u32) -> u32 {
    csr << 20 | rs1 << 15 | 2 << 12 | rd << 7 | 0x73
}

const fn csrrc(rd: u32, csr: u32, rs1: u32) -> u32 {
    csr << 20 | rs1 << 15 | 3 << 12 | rd << 7 | 0x73
}

const fn csrw(csr: u32, rs1: u32) -> u32 {
    csrrw(0, csr, rs1)
}

const fn ld(rd: u32, rs1: u32) -> u32 {
    rs1 << 15 | 3 << 12 | rd << 7 | 0x03
}

const fn sd(rs2: u32, rs1: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | 3 << 12 | 0x23
}

/// A program that opens protection, sets up traps and returns to what `x10` (`mstatus`) says at
/// `x11`, with `x8` in `satp` and the bits of `x9` set in `menvcfg`.
const ENTER: [u32; 8] = [
    csrrs(0, MENVCFG, 9),
    csrw(MTVEC, 5),
    csrw(0x3b0, 6),
    csrw(0x3a0, 7),
    csrw(SATP, 8),
    csrw(MSTATUS, 10),
    csrw(MEPC, 11),
    MRET,
];

const ENTER_REGISTERS: [(usize, u64); 3] = [(5, HANDLER), (6, u64::MAX), (7, 0x1f)];

/// Enters `who` (MPP) at `code` without translation.
fn entered(who: u64, status: u64, code: &[u32], registers: &[(usize, u64)]) -> Machine {
    let mut program = ENTER.to_vec();
    program.extend(code);
    let at = BASE + 4 * ENTER.len() as u64;
    let mut machine = Machine::new(&program)
        .with(&ENTER_REGISTERS)
        .with(&[(10, who << 11 | status), (11, at)])
        .with(registers);
    machine.run();
    machine
}

const CODE_PAGE: u64 = BASE + 0x4000;
const DATA_PAGE: u64 = BASE + 0x5000;
const CODE_VA: u64 = 0x1234_4000;
const DATA_VA: u64 = 0x1234_5000;

/// The table of a level; the last one has the pages.
const fn table(level: u64) -> u64 {
    BASE + 0x8000 + level * 0x1000
}

/// Where the leaf of an address lies.
const fn leaf_at(va: u64) -> u64 {
    table(2) + 8 * (va >> 12 & 511)
}

/// Runs `code` in supervisor mode under Sv39, at [`CODE_VA`], with the flags `flags` in the leaf of
/// [`DATA_VA`], which is in `x20`.
fn paged(flags: u64, status: u64, code: &[u32], registers: &[(usize, u64)]) -> Machine {
    let mut machine = Machine::new(&ENTER).with(&ENTER_REGISTERS).with(&[
        (8, 8 << 60 | table(0) >> 12),
        (10, 1 << 11 | status),
        (11, CODE_VA),
        (20, DATA_VA),
    ]);
    let entry = |physical: u64, flags: u64| physical >> 12 << 10 | flags;
    {
        let mut ram = machine.ram.borrow_mut();
        ram.put(CODE_PAGE, code);
        let mut put = |at: u64, value: u64| {
            let bytes = ram.slice(at, 8).expect("RAM");
            bytes.copy_from_slice(&value.to_le_bytes());
        };
        put(table(0) + 8 * (DATA_VA >> 30), entry(table(1), 1));
        put(table(1) + 8 * (DATA_VA >> 21 & 511), entry(table(2), 1));
        put(leaf_at(DATA_VA), entry(DATA_PAGE, flags));
        put(leaf_at(CODE_VA), entry(CODE_PAGE, 0b1001));
    }
    machine = machine.with(registers);
    machine.run();
    machine
}

#[test]
fn a_supervisor_runs_under_sv39_and_calls_the_machine() {
    let machine = paged(0b0111, 0, &[sd(21, 20), ld(22, 20), ECALL], &[(21, 0x55aa)]);
    assert_eq!(machine.state.sys.privilege, Privilege::Machine);
    assert_eq!(machine.trapped(), (9, 0));
    assert_eq!(machine.csr("mepc"), CODE_VA + 8);
    assert_eq!(machine.state.regs.x[22], 0x55aa);
    let mut ram = machine.ram.borrow_mut();
    assert_eq!(ram.load_u64(DATA_PAGE), Some(0x55aa));
    // The walker marked both pages.
    let mut leaf = |va: u64| ram.load_u64(leaf_at(va)).expect("RAM");
    assert_eq!((leaf(DATA_VA) & 0xff, leaf(CODE_VA) & 0xff), (0xc7, 0x49));
}

#[test]
fn access_to_user_memory_follows_sum() {
    let sum = (12, 1 << 18);
    let (on, off) = (csrrs(0, SSTATUS, 12), csrrc(0, SSTATUS, 12));
    let user = 0b1_0111;
    // lui x12, 0x40: the same with a mask that the translator knows.
    for lui in [0x0000_0013, 0x0004_0637] {
        let code = [lui, on, ld(22, 20), on, ld(23, 20), off, off, ECALL];
        assert_eq!(paged(user, 0, &code, &[sum]).trapped(), (9, 0));
        let code = [lui, ld(22, 20), ECALL];
        let fault = (cause::LOAD_PAGE, DATA_VA);
        assert_eq!(paged(user, 0, &code, &[sum]).trapped(), fault);
        let code = [lui, on, sd(22, 20), off, sd(23, 20), ECALL];
        let machine = paged(user, 0, &code, &[sum]);
        assert_eq!(machine.trapped(), (cause::STORE_PAGE, DATA_VA));
        assert_eq!(machine.csr("mepc"), CODE_VA + 16);
    }
}

#[test]
fn cache_block_management_raises_store_exceptions() {
    let cbo = |funct: u32| funct << 20 | 20 << 15 | 2 << 12 | 0x0f;
    for insn in [cbo(0), cbo(1), cbo(2), cbo(4)] {
        let machine = paged(0b0111, 0, &[insn, ECALL], &[]);
        assert_eq!(machine.trapped(), (cause::ILLEGAL, u64::from(insn)));
    }
    let allowed = (9, 0xf0);
    for (insn, address, flags, want) in [
        (cbo(1), DATA_VA, 0b0011, (9, 0)),
        (cbo(2), DATA_VA, 0b0011, (9, 0)),
        (cbo(0), DATA_VA, 0b0011, (9, 0)),
        (cbo(1), DATA_VA, 0, (cause::STORE_PAGE, DATA_VA)),
        (cbo(2), DATA_VA, 0b1_0111, (cause::STORE_PAGE, DATA_VA)),
        (cbo(0), 0x77, 0b0011, (cause::STORE_PAGE, 0x77)),
        (cbo(4), DATA_VA, 0b0011, (cause::STORE_PAGE, DATA_VA)),
    ] {
        let machine = paged(flags, 0, &[insn, ECALL], &[allowed, (20, address)]);
        assert_eq!(machine.trapped(), want, "{insn:#x}");
    }
    // Loads afterwards raise their own exceptions again.
    for code in [[cbo(1), ld(22, 21), ECALL], [ld(22, 21), ECALL, 0]] {
        let machine = paged(0b0011, 0, &code, &[allowed]);
        assert_eq!(machine.trapped(), (cause::LOAD_PAGE, 0), "{code:x?}");
    }
}

#[test]
fn page_faults_name_address_and_instruction() {
    let satp = 8 << 60 | (BASE + 0x8000) >> 12;
    let mut machine = Machine::new(&ENTER).with(&ENTER_REGISTERS).with(&[
        (8, satp),
        (10, 1 << 11),
        (11, 0x4000_0000),
    ]);
    machine.run();
    assert_eq!(machine.trapped(), (cause::FETCH_PAGE, 0x4000_0000));
    assert_eq!(machine.csr("mepc"), 0x4000_0000);
}

#[test]
fn registers_of_more_privileged_modes_are_illegal() {
    for (who, insn) in [
        (0, csrrs(1, MSCRATCH, 0)),
        (1, csrrs(1, MSCRATCH, 0)),
        (0, csrrs(1, 0x140, 0)),
        (0, MRET),
        (1, MRET),
        (0, 0x1020_0073),
        (0, WFI),
        (0, 0x1200_0073),
        (1, csrrs(1, 0x7a0, 0)),
        (1, csrrs(1, 0x14d, 0)),
        (1, csrw(0xc00, 1)),
        (1, csrrs(1, 0xc00, 0)),
        (0, csrrs(1, 0xc01, 0)),
    ] {
        let machine = entered(who, 0, &[insn], &[]);
        let want = (cause::ILLEGAL, u64::from(insn));
        assert_eq!(machine.trapped(), want, "{who} {insn:#x}");
        assert_eq!(machine.csr("mstatus") >> 11 & 3, who);
    }
}

#[test]
fn virtualization_traps() {
    let (tvm, tw, tsr) = (1 << 20, 1 << 21, 1 << 22);
    for (status, insn) in [
        (tvm, csrrs(1, SATP, 0)),
        (tvm, 0x1200_0073),
        (tvm, 0x1600_0073),
        (tw, WFI),
        (tsr, 0x1020_0073),
    ] {
        let machine = entered(1, status, &[insn], &[]);
        let want = (cause::ILLEGAL, u64::from(insn));
        assert_eq!(machine.trapped(), want, "{insn:#x}");
    }
}

#[test]
fn calls_tell_where_they_come_from() {
    for who in [0, 1, 3] {
        let machine = entered(who, 0, &[ECALL], &[]);
        assert_eq!(machine.trapped(), (8 + who, 0));
    }
}

#[test]
fn counters_need_permission() {
    let read = [
        csrrs(12, 0xc00, 0),
        csrrs(13, 0xc01, 0),
        csrrs(14, 0xc02, 0),
        ECALL,
    ];
    let mut program = vec![csrw(MCOUNTEREN, 9), csrw(0x106, 9)];
    program.extend(ENTER);
    program.extend(read);
    let at = BASE + 4 * 10;
    let mut machine = Machine::new(&program)
        .with(&ENTER_REGISTERS)
        .with(&[(9, 7), (11, at)]);
    let (multiplier, offset) = (3 << 31, 5);
    RiscvMachine::set_time_scale(&mut machine.state, TimeScale { multiplier, offset });
    machine.run();
    assert_eq!(machine.trapped(), (8, 0));
    assert_eq!(machine.state.regs.x[12..15], [1000, 1506, 1002]);
}

#[test]
fn floating_point_state_is_tracked() {
    let (fmv, fsd) = (0xf200_0053_u32, 0x0000_3027 | 20 << 15);
    let off = entered(1, 0, &[fmv], &[]);
    assert_eq!(off.trapped(), (cause::ILLEGAL, u64::from(fmv)));
    let off = entered(1, 0, &[csrrs(1, 3, 0)], &[]);
    assert_eq!(off.trapped().0, cause::ILLEGAL);
    let data = (20, BASE + 0x5000);
    for (code, dirty) in [
        (fsd, false),
        (csrrs(1, 3, 0), false),
        (fmv, true),
        (csrw(1, 0), true),
    ] {
        let machine = entered(1, 1 << 13, &[code, ECALL], &[data]);
        assert_eq!(machine.trapped(), (9, 0));
        let fs = machine.csr("mstatus") >> 13 & 3;
        assert_eq!(fs, if dirty { 3 } else { 1 }, "{code:#x}");
    }
}

#[test]
fn an_interrupt_is_taken_when_it_becomes_enabled() {
    let code = [csrw(MIE, 12), csrrs(0, MSTATUS, 13), 0];
    let mut program = vec![csrw(MTVEC, 5)];
    program.extend(code);
    let mut machine = Machine::new(&program).with(&[(5, HANDLER), (12, 1 << 7), (13, 1 << 3)]);
    RiscvMachine::set_pin(&mut machine.state, interrupt::MTI, true);
    machine.run();
    assert_eq!(machine.trapped(), (1 << 63 | 7, 0));
    assert_eq!(machine.csr("mepc"), BASE + 12);
}

#[test]
fn a_supervisor_takes_an_interrupt_when_it_sets_sie() {
    // csrrsi x0, sstatus, 2; csrrs x0, sstatus, x12; csrw sstatus, x12
    let immediate = SSTATUS << 20 | 2 << 15 | 6 << 12 | 0x73;
    for set in [immediate, csrrs(0, SSTATUS, 12), csrw(SSTATUS, 12)] {
        for pending in [true, false] {
            let mut program = vec![csrw(MIE, 13), csrw(MIDELEG, 13), csrw(STVEC, 5)];
            program.extend(ENTER);
            program.extend([set, WFI]);
            let at = BASE + 4 * 11;
            let mut machine = Machine::new(&program).with(&ENTER_REGISTERS);
            machine = machine.with(&[(10, 1 << 11), (11, at), (12, 2), (13, 1 << 9)]);
            RiscvMachine::set_pin(&mut machine.state, interrupt::SEI, pending);
            machine.run();
            let (cause, epc) = (machine.csr("scause"), machine.csr("sepc"));
            let want = if pending {
                (1 << 63 | 9, at + 4)
            } else {
                (0, 0)
            };
            assert_eq!((cause, epc), want, "{set:#x}");
            assert_eq!(machine.csr("sstatus") & 2, if pending { 0 } else { 2 });
        }
    }
}

#[test]
fn floating_point_of_a_supervisor_looks_at_its_status() {
    let (fmv, fsd) = (0xf200_0053_u32, 0x0000_3027 | 20 << 15);
    let (clear, set) = (csrrc(15, SSTATUS, 12), csrrs(16, SSTATUS, 13));
    let registers = [(12, 3 << 13), (13, 1 << 13), (20, BASE + 0x5000)];
    // Off after on, in one block: illegal at once.
    let machine = entered(1, 1 << 13, &[fmv, clear, fsd], &registers);
    assert_eq!(machine.trapped(), (cause::ILLEGAL, u64::from(fsd)));
    // It was dirty, which is seen in the status, and is no more.
    assert_eq!(machine.state.regs.x[15] >> 63, 1);
    assert_eq!(machine.state.regs.x[15] >> 13 & 3, 3);
    assert_eq!(machine.csr("mstatus") >> 13 & 3, 0);
    // On after off; reading keeps it initial.
    let code = [
        set,
        fsd,
        csrrs(17, SSTATUS, 0),
        fmv,
        csrrs(18, SSTATUS, 0),
        ECALL,
    ];
    let machine = entered(1, 0, &code, &registers);
    assert_eq!(machine.trapped(), (9, 0));
    let fs = |n: usize| machine.state.regs.x[n] >> 13 & 3;
    assert_eq!((fs(16), fs(17), fs(18)), (0, 1, 3));
}

#[test]
fn extensions_that_are_off() {
    let cpu = |text: &str| RiscvMachine::new(CpuModel::parse(text).expect("a model"));
    let run = |guest: RiscvMachine, program: &[u32]| {
        let mut machine = Machine::of(guest, program).with(&[(5, HANDLER), (6, u64::MAX)]);
        machine.run();
        (machine.trapped(), machine.csr("menvcfg") >> 61)
    };
    let stimecmp = csrw(0x14d, 6);
    let sinval = 0x1600_0073;
    for (text, insn, menvcfg) in [
        ("max,sstc=off", stimecmp, 0b011),
        ("max,svadu=off", 0, 0b110),
        ("max,svpbmt=off", 0, 0b101),
        ("max,svinval=off", sinval, 0b111),
    ] {
        let program = [csrw(MTVEC, 5), csrw(MENVCFG, 6), insn, WFI];
        let want = ((cause::ILLEGAL, u64::from(insn)), menvcfg);
        assert_eq!(run(cpu(text), &program), want, "{text}");
        if insn != 0 {
            assert_eq!(run(cpu("max"), &program), ((0, 0), 0b111));
        }
    }
    // Without Svadu the hardware does not write page tables from the start.
    let hart = cpu("max,svadu=off").hart(0, 0);
    assert!(hart.sys.dump().all(|row| row.0 != "menvcfg" || row.1 == 0));
}

#[test]
fn fences_say_what_to_forget() {
    // sfence.vma; sfence.vma x12; sfence.vma x0, x13; sinval.vma x12, x13
    let fence = |funct: u32, rs1: u32, rs2: u32| funct << 25 | rs2 << 20 | rs1 << 15 | 0x73;
    let code = [
        fence(9, 0, 0),
        fence(9, 12, 0),
        fence(9, 0, 13),
        fence(11, 12, 13),
        0x1800_0073,
        0x1810_0073,
        ECALL,
    ];
    let machine = entered(1, 0, &code, &[(12, 0x5000), (13, 0x1_0009)]);
    assert_eq!(machine.trapped(), (9, 0));
    let (address, asid) = (0x5000, 9);
    let page = |asid| TlbFlush::Page { address, asid };
    assert_eq!(
        machine.flushes[machine.flushes.len() - 4..],
        [
            TlbFlush::All,
            page(None),
            TlbFlush::Space { asid },
            page(Some(asid))
        ]
    );
}

#[test]
fn a_started_supervisor() {
    let guest = RiscvMachine::default();
    let state = guest.supervisor_hart(2, BASE, 0x77);
    assert_eq!(state.sys.privilege, Privilege::Supervisor);
    assert_eq!(
        (state.regs.x[10], state.regs.x[11], state.regs.pc),
        (2, 0x77, BASE)
    );
    let mut ram = Ram(vec![0; BYTES]);
    let load = MemoryAccess::Load;
    assert!(RiscvMachine::translate_address(&state, BASE, 8, load, &mut ram).is_ok());
    let call = RiscvMachine::exception_of(&state, TrapKind::Syscall, 0, &[]);
    assert_eq!(call.map(|call| call.cause), Some(9));
}

#[test]
fn misaligned_atomics_know_loads_from_stores() {
    let state = RiscvMachine::default().hart(0, BASE);
    let of = |insn: u32| {
        let bytes = insn.to_le_bytes();
        RiscvMachine::exception_of(&state, TrapKind::Misaligned, 3, &bytes).map(|e| e.cause)
    };
    assert_eq!(of(0x1005_252f), Some(cause::LOAD_MISALIGNED));
    assert_eq!(of(0x18b5_252f), Some(cause::STORE_MISALIGNED));
    assert_eq!(of(0x00b5_252f), Some(cause::STORE_MISALIGNED));
}

#[test]
fn every_instruction_makes_a_valid_block_in_every_mode() {
    let guest = RiscvMachine::default();
    let mut b = Builder::new(RiscvMachine::globals());
    let mut random = 1_u64;
    for op in Op::ALL {
        let info = op.info();
        for _ in 0..200 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let word = (random >> 32) as u32;
            let bits = word & !info.mask | info.value;
            // Privilege 2 does not exist.
            let mode = (random >> 16) as u32 & 0x7fff | mode::MACHINE;
            let mode = if mode & 3 == 3 { mode & !1 } else { mode };
            b.start(BASE, mode);
            b.insn_start(BASE);
            guest.translate(&mut b, BASE, &bits.to_le_bytes(), mode);
            if !b.ended() {
                b.exit(BASE + 4);
            }
            assert_eq!(
                verify(b.block(), b.table()),
                Ok(()),
                "{} {mode:#x}",
                info.name
            );
        }
    }
}

#[test]
fn privileged_instructions_have_names() {
    let guest = RiscvMachine::default();
    for (bits, want) in [
        (MRET, "mret"),
        (WFI, "wfi"),
        (0x1200_0073, "sfence.vma"),
        (0x1205_0073, "sfence.vma\ta0"),
        (0x16b5_0073, "sinval.vma\ta0,a1"),
        (0x1810_0073, "sfence.inval.ir"),
        (csrrw(10, 0x3b1, 11), "csrrw\ta0,pmpaddr1,a1"),
        (csrw(SATP, 10), "csrw\tsatp,a0"),
        (csrw(MEDELEG, 10), "csrw\tmedeleg,a0"),
    ] {
        let mut text = String::new();
        guest.disassemble(BASE, &bits.to_le_bytes(), &mut text);
        assert_eq!(text, want);
    }
}
