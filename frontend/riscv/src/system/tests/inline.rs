//! Inline accesses against those by the table, on states at random.

use super::super::csr::{self, Inline, Request};
use super::super::{HartState, How, Privilege, RiscvMachine, System, envcfg, mode, trap, walk};
use super::hart;
use isomorph_frontend::{Guest, SystemGuest, TimeScale};
use isomorph_ir::interp::{Exit, FlatMemory, FpEnv, Helpers, Interp};
use isomorph_ir::{Builder, Op, TrapKind, Type, verify};

const PC: u64 = 0x8000_0000;
const COUNTER: u64 = 0x1_2345_6789;

/// A generator of Knuth's kind; good enough to find the states.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.0 ^ self.0 >> 29
    }

    /// A word with about as many ones as an eighth, a half, or seven eighths.
    fn word(&mut self) -> u64 {
        let words = [self.next(), self.next(), self.next()];
        match self.next() >> 60 {
            0..=5 => words[0] & words[1] & words[2],
            6..=10 => words[0],
            _ => words[0] | words[1] | words[2],
        }
    }
}

/// A hart with legal values in all registers.
fn at_random(random: &mut Random) -> HartState {
    let mut state = hart();
    let sys = &mut state.sys;
    for (number, ..) in csr::all().filter(|row| row.0 != 0x14d) {
        let how = Some(How::Write);
        let _ = csr::access(sys, Request { number, rd: 0, how }, random.word());
    }
    sys.flush = None;
    sys.mip = random.word() & trap::INTERRUPTS;
    sys.pins = random.word() & random.word() & trap::INTERRUPTS;
    if sys.menvcfg & envcfg::STCE != 0 {
        sys.mip &= !(1 << trap::interrupt::STI);
        sys.timer = random.word() & 1 << trap::interrupt::STI;
    }
    sys.float_dirty = match random.next() >> 63 {
        0 if sys.mstatus & 3 << 13 != 0 => 3 << 13,
        _ => 0,
    };
    sys.privilege = match random.next() >> 61 {
        0..=3 => Privilege::Supervisor,
        4 => Privilege::User,
        _ => Privilege::Machine,
    };
    if sys.privilege != Privilege::Machine {
        // The return from machine mode has cleared it.
        sys.mstatus &= !(1 << 17);
    }
    for x in &mut state.regs.x[1..] {
        *x = random.word();
    }
    state.regs.pc = PC;
    state
}

struct Calls(System);

impl Helpers for Calls {
    fn helper(&mut self, index: u32, bytes: &mut [u8], _: &mut FpEnv, args: [u64; 3]) -> u64 {
        let mut state = hart();
        state.sys = self.0;
        state.set_bytes(bytes);
        let helper = &RiscvMachine::helpers()[index as usize];
        let answer = (helper.func)(&mut state, args[0], args[1], args[2]);
        bytes.copy_from_slice(&state.to_bytes());
        self.0 = state.sys;
        answer
    }

    fn counter(&mut self, _: u8) -> u64 {
        COUNTER
    }
}

/// Runs one instruction; `known` tells the builder what the registers of that number hold.
pub(super) fn run(
    state: &HartState,
    bits: u32,
    known: Option<usize>,
) -> (HartState, Exit, Vec<Op>) {
    let mut b = Builder::new(RiscvMachine::globals());
    let mode = RiscvMachine::mode(state);
    b.start(PC, mode);
    b.insn_start(PC);
    if let Some(n) = known.filter(|n| *n != 0) {
        let register = isomorph_ir::Dst::To(crate::state::x(n as u8));
        b.constant(Type::I64, register, state.regs.x[n]);
    }
    let guest = RiscvMachine::default();
    guest.translate(&mut b, PC, &bits.to_le_bytes(), mode);
    if !b.ended() {
        b.exit(PC + 4);
    }
    assert_eq!(verify(b.block(), b.table()), Ok(()));
    let mut bytes = state.to_bytes();
    let (mut memory, mut calls) = (FlatMemory::new(0, 0), Calls(state.sys));
    let mut interp = Interp::new(RiscvMachine::globals());
    let exit = interp.run(b.block(), &mut bytes, &mut memory, &mut calls);
    let mut after = *state;
    after.sys = calls.0;
    after.set_bytes(&bytes);
    let ops = b.block().insts.iter().map(|inst| inst.op).collect();
    (after, exit.expect("the bytes are the state's"), ops)
}

/// What the engine looks at.
fn view(state: &HartState) -> (u32, isomorph_frontend::TlbContext) {
    (mode::of(state), walk::context(&state.sys))
}

/// What software can see.
fn visible(state: &HartState) -> ([u64; 32], Vec<(String, u64)>) {
    (state.regs.x, state.sys.dump().collect())
}

/// Checks one access; true if it was inline.
fn check(before: &HartState, request: Request, rs1: usize, known: bool) -> bool {
    let write = request.how.is_some();
    // csrrs with x0 only reads.
    let funct = request.how.map_or(2, |how| how as u32);
    let (number, rd) = (u32::from(request.number), u32::from(request.rd));
    let source = if write { rs1 } else { 0 };
    let bits = number << 20 | (source as u32) << 15 | funct << 12 | rd << 7 | 0x73;
    let (after, exit, ops) = run(before, bits, known.then_some(source));
    let mut want = *before;
    (want.sys.cycle.raw, want.sys.instret.raw) = (COUNTER, COUNTER);
    let operand = before.regs.x[source];
    let what = format!("{request:x?} {operand:#x} {known} {before:#x?} {ops:?}");
    let Some(old) = csr::access(&mut want.sys, request, operand) else {
        assert!(
            matches!(
                exit,
                Exit::Trap {
                    kind: TrapKind::Illegal,
                    ..
                }
            ),
            "{what}"
        );
        assert_eq!(visible(&after), visible(before), "{what}");
        return false;
    };
    if rd != 0 {
        want.regs.x[request.rd as usize] = old;
    }
    let mut after = after;
    (after.sys.cycle.raw, after.sys.instret.raw) = (COUNTER, COUNTER);
    assert_eq!(visible(&after), visible(&want), "{what}");
    let left = matches!(
        exit,
        Exit::Trap {
            kind: TrapKind::Mode,
            ..
        }
    );
    assert_eq!(exit.pc(), PC + 4, "{what}");
    assert!(
        left || matches!(exit, Exit::Direct { .. }),
        "{exit:?} {what}"
    );
    // The engine would have taken an interrupt that could be taken before.
    let taken = want
        .sys
        .pending_interrupt()
        .filter(|_| before.sys.pending_interrupt().is_none());
    let must = view(before) != view(&want) || taken.is_some();
    let inline = !ops.contains(&Op::CallHelper);
    assert!(left || !must, "stays: {what}");
    if inline && before.sys.privilege == Privilege::Supervisor {
        let may = must || want.sys.pending() & want.sys.mie != 0;
        assert!(!left || may, "leaves: {what}");
    }
    inline
}

#[test]
fn inline_accesses_do_what_the_table_says() {
    let mut random = Random(7);
    let rows: Vec<u16> = csr::all()
        .filter(|(_, row, _)| row.inline != Inline::None)
        .map(|(number, ..)| number)
        .collect();
    assert_eq!(rows.len(), 17);
    for number in rows {
        let mut inline = 0;
        for _ in 0..500 {
            let before = at_random(&mut random);
            let how = match random.next() >> 62 {
                0 => None,
                1 => Some(How::Write),
                2 => Some(How::Set),
                _ => Some(How::Clear),
            };
            let rd = [0, 5, 6][(random.next() >> 40) as usize % 3];
            let request = Request { number, rd, how };
            // Instructions that set and clear bits of x0 do not write at all.
            let rs1 = if how == Some(How::Write) && random.next() >> 62 == 0 {
                0
            } else {
                5
            };
            let allowed = before.sys.privilege != Privilege::User;
            if number >> 8 & 3 == 0 && !allowed {
                continue; // the counters of user mode have their own rows
            }
            let counter = number & 0xf00 == 0xc00;
            if counter && before.sys.counters_enabled() >> (number & 3) & 1 == 0 {
                continue;
            }
            inline += u32::from(check(&before, request, rs1, random.next() >> 63 == 0));
        }
        assert!(inline > 50, "{number:#x} {inline}");
    }
}

#[test]
fn time_is_scaled() {
    let mut random = Random(9);
    for _ in 0..100 {
        let mut state = hart();
        let scale = TimeScale {
            multiplier: random.next() >> (random.next() >> 58),
            offset: random.next(),
        };
        RiscvMachine::set_time_scale(&mut state, scale);
        let (after, ..) = run(&state, 0xc010_22f3, None);
        assert_eq!(after.regs.x[5], scale.of(COUNTER), "{scale:x?}");
    }
}

#[test]
fn a_machines_loads_and_stores_follow_mprv() {
    for (before, how) in [(0, How::Set), (1 << 17, How::Clear)] {
        let mut state = hart();
        state.sys.mstatus |= before;
        state.regs.x[5] = 1 << 17;
        let bits = 0x300 << 20 | 5 << 15 | (how as u32) << 12 | 0x73;
        let (_, exit, ops) = run(&state, bits, Some(5));
        assert!(!ops.contains(&Op::CallHelper));
        assert!(
            matches!(
                exit,
                Exit::Trap {
                    kind: TrapKind::Mode,
                    ..
                }
            ),
            "{exit:?}"
        );
    }
}

/// The masks that Linux uses, in a supervisor under translation, with nothing pending: which of
/// them leave the block.
#[test]
fn only_changes_that_the_engine_must_see_leave() {
    let (sie, fs, sum) = (2, 3 << 13, 1 << 18);
    for (number, how, status, operand, leaves) in [
        (0x100, How::Clear, 0, sum | fs, false),
        (0x100, How::Clear, fs, sum | fs, false),
        (0x100, How::Clear, sum, sum | fs, true),
        (0x100, How::Set, 0, sum, true),
        (0x100, How::Set, sum, sum, false),
        (0x100, How::Clear, sie, sie, false),
        (0x100, How::Set, 0, sie, false),
        (0x100, How::Write, 0, fs, false),
        (0x100, How::Write, sum, fs, true),
        (0x140, How::Write, 0, u64::MAX, false),
        (0x141, How::Write, 0, u64::MAX, false),
        (0x105, How::Write, 0, u64::MAX, false),
    ] {
        for known in [false, true] {
            let mut state = hart();
            (state.sys.satp, state.sys.privilege) = (8 << 60, Privilege::Supervisor);
            state.sys.mstatus |= status;
            state.regs.x[5] = operand;
            let bits = number << 20 | 5 << 15 | (how as u32) << 12 | 0x73;
            let (_, exit, ops) = run(&state, bits, known.then_some(5));
            let left = matches!(
                exit,
                Exit::Trap {
                    kind: TrapKind::Mode,
                    ..
                }
            );
            assert_eq!(left, leaves, "{number:#x} {how:?} {status:#x} {operand:#x}");
            assert!(!ops.contains(&Op::CallHelper));
        }
    }
}
