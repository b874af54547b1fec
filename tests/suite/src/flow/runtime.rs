//! What surrounds the random code: start, handlers of signals, registers before and after.
//!
//! Layouts: Linux's `rt_sigframe` for RISC-V (`struct ucontext`, `struct sigcontext`, in
//! asm/ucontext.h and asm/sigcontext.h), sigaction(2), sigaltstack(2), setitimer(2).

use super::asm::*;
use super::{FAULT, LOG_ENTRIES, RESULT, RESULT_BYTES, STACK};
use crate::rows::{MEMORY, MEMORY_BYTES, Situation};

/// Offsets in the result: registers, `fcsr`, then the log.
pub(super) const RESULT_F: i32 = 256;
pub(super) const RESULT_FCSR: i32 = 512;
/// Signals so far and the hash of what their handlers saw, then the entries.
pub(super) const RESULT_LOG: i32 = 576;
pub(super) const LOG_HEADER: i32 = 16;
pub(super) const LOG_ENTRY: i32 = 24;

/// Alarms so far, which no result tells.
const ALARMS: u64 = RESULT + 0x1000;
/// Where a jump out of nested functions goes on, and the registers that it restores.
pub(super) const JUMP_BUFFER: u64 = RESULT + 0x1800;
/// The thread's id, as `tgkill` wants it.
const IDS: u64 = RESULT + 0x1900;
/// The alternate stack.
const HANDLER_STACK: u64 = RESULT + 0x4000;
const HANDLER_STACK_BYTES: u64 = 0x8000;

pub(super) const SYS_FLUSH_ICACHE: u64 = 259;
pub(super) const SYS_MUNMAP: u64 = 215;
pub(super) const SYS_MMAP: u64 = 222;
pub(super) const SYS_MPROTECT: u64 = 226;
pub(super) const SYS_WRITE: u64 = 64;
pub(super) const SYS_EXIT_GROUP: u64 = 94;
pub(super) const SYS_SETITIMER: u64 = 103;
pub(super) const SYS_TGKILL: u64 = 131;
pub(super) const SYS_SIGALTSTACK: u64 = 132;
pub(super) const SYS_SIGACTION: u64 = 134;
pub(super) const SYS_SIGRETURN: u64 = 139;
pub(super) const SYS_GETPID: u64 = 172;
pub(super) const SYS_GETTID: u64 = 178;

pub(super) const SIGILL: u64 = 4;
pub(super) const SIGTRAP: u64 = 5;
pub(super) const SIGUSR1: u64 = 10;
pub(super) const SIGSEGV: u64 = 11;
pub(super) const SIGALRM: u64 = 14;

/// `SA_SIGINFO`, `SA_ONSTACK`, `SA_RESTART`.
const FLAGS: u64 = 0x1800_0004;

/// Offsets from the `ucontext`.
pub(super) const CONTEXT_X: i32 = 176;
pub(super) const CONTEXT_F: i32 = CONTEXT_X + 256;

/// Routines that programs call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routines {
    /// Sends the thread a signal; linked by `t0`.
    pub(super) raise: Label,
}

/// The entry: handlers, the alarm clock if there is one, the code of `sections` as often as
/// `rounds` says, the end.
pub(super) fn program(
    asm: &mut Asm,
    alarm: u64,
    rounds: u64,
    sections: impl FnOnce(&mut Asm, Routines),
) {
    let start = asm.label();
    asm.jump(ZERO, start);
    let routines = Routines { raise: raise(asm) };
    let (log, count) = (log_handler(asm), alarm_handler(asm));
    asm.bind(start);
    let stack = table(asm, &[HANDLER_STACK, 0, HANDLER_STACK_BYTES]);
    asm.la(A0, stack);
    asm.li(A1, 0);
    asm.system_call(SYS_SIGALTSTACK);
    for (signal, handler) in [
        (SIGILL, log),
        (SIGTRAP, log),
        (SIGUSR1, log),
        (SIGSEGV, log),
        (SIGALRM, count),
    ] {
        let action = action(asm, handler);
        asm.li(A0, signal);
        asm.la(A1, action);
        asm.li(A2, 0);
        asm.li(A3, 8);
        asm.system_call(SYS_SIGACTION);
    }
    set_timer(asm, alarm);
    let (left, end) = (table(asm, &[rounds]), asm.label());
    let again = asm.here();
    sections(asm, routines);
    asm.la(T0, left);
    asm.words(&[ld(T1, T0, 0), addi(T1, T1, -1), sd(T1, T0, 0)]);
    asm.branch(BEQ, T1, ZERO, end);
    asm.far_jump(ZERO, T0, again);
    asm.bind(end);
    set_timer(asm, 0);
    asm.li(A0, 0);
    asm.system_call(SYS_EXIT_GROUP);
}

fn table(asm: &mut Asm, words: &[u64]) -> Label {
    let place = asm.go(Place::Data);
    asm.align(8);
    let label = asm.here();
    for word in words {
        asm.bytes(&word.to_le_bytes());
    }
    asm.go(place);
    label
}

fn action(asm: &mut Asm, handler: Label) -> Label {
    let place = asm.go(Place::Data);
    asm.align(8);
    let label = asm.here();
    asm.address(handler);
    // All signals wait until the handler is done.
    for word in [FLAGS, u64::MAX, 0] {
        asm.bytes(&word.to_le_bytes());
    }
    asm.go(place);
    label
}

/// An alarm each `microseconds`, or none.
fn set_timer(asm: &mut Asm, microseconds: u64) {
    let value = table(asm, &[0, microseconds, 0, microseconds]);
    asm.li(A0, 0);
    asm.la(A1, value);
    asm.li(A2, 0);
    asm.system_call(SYS_SETITIMER);
}

/// Sends this thread a signal, and forgets its ids, which differ from run to run.
fn raise(asm: &mut Asm) -> Label {
    let label = asm.here();
    asm.system_call(SYS_GETPID);
    asm.li(A1, IDS);
    asm.words(&[sd(A0, A1, 0)]);
    asm.system_call(SYS_GETTID);
    asm.words(&[addi(A1, A0, 0)]);
    asm.li(A0, IDS);
    asm.words(&[ld(A0, A0, 0)]);
    asm.li(A2, SIGUSR1);
    asm.system_call(SYS_TGKILL);
    asm.li(A1, 0);
    asm.jump_register(ZERO, T0);
    label
}

/// Folds `t1` into the hash in `a4`.
const FOLD: [u32; 3] = [slli(T2, A4, 5), sub(A4, T2, A4), add(A4, A4, T1)];

/// Folds `count` words from `offset(a2)` on.
fn fold_words(asm: &mut Asm, offset: i32, count: i32) {
    asm.words(&[addi(A3, A2, offset), addi(A5, ZERO, count)]);
    let again = asm.here();
    asm.words(&[ld(T1, A3, 0)]);
    asm.words(&FOLD);
    asm.words(&[addi(A3, A3, 8), addi(A5, A5, -1)]);
    asm.branch(BNE, A5, ZERO, again);
}

/// Notes everything that a synchronous signal shows, and goes on behind the instruction.
fn log_handler(asm: &mut Asm) -> Label {
    let handler = asm.here();
    let (own, noted, done) = (asm.label(), asm.label(), asm.label());
    asm.words(&[lw(A0, A1, 0), addi(T1, ZERO, SIGUSR1 as i32)]);
    asm.branch(BNE, A0, T1, own);
    // The ids of `tgkill` differ from run to run, and the signal has no address.
    let x = |n: u32| CONTEXT_X + 8 * n as i32;
    asm.words(&[sd(ZERO, A2, x(A0)), sd(ZERO, A2, x(A1)), sd(ZERO, A1, 16)]);
    asm.bind(own);
    asm.li(T0, RESULT + RESULT_LOG as u64);
    asm.words(&[ld(A4, T0, 8), addi(T1, A0, 0)]);
    asm.words(&FOLD);
    asm.words(&[lw(T1, A1, 8)]);
    asm.words(&FOLD);
    asm.words(&[ld(T1, A1, 16)]);
    asm.words(&FOLD);
    fold_words(asm, CONTEXT_X, 32);
    fold_words(asm, CONTEXT_F, 32);
    asm.words(&[lw(T1, A2, CONTEXT_F + 256)]);
    asm.words(&FOLD);
    asm.words(&[sd(A4, T0, 8), ld(A5, T0, 0), addi(T1, A5, 1), sd(T1, T0, 0)]);
    asm.words(&[addi(T1, ZERO, LOG_ENTRIES as i32)]);
    asm.branch(BGE, A5, T1, noted);
    asm.words(&[slli(T1, A5, 4), slli(A5, A5, 3), add(T1, T1, A5)]);
    asm.words(&[add(T1, T1, T0), ld(T2, A2, CONTEXT_X), ld(A5, A1, 16)]);
    asm.words(&[sd(T2, T1, LOG_HEADER), sd(A5, T1, LOG_HEADER + 8)]);
    asm.words(&[sd(A4, T1, LOG_HEADER + 16)]);
    asm.bind(noted);
    asm.words(&[addi(T1, ZERO, SIGUSR1 as i32)]);
    asm.branch(BEQ, A0, T1, done);
    resume(asm);
    asm.bind(done);
    asm.system_call(SYS_SIGRETURN);
    handler
}

/// Moves the context's program counter over the instruction, or to the return address if it is
/// the instruction that could not be fetched.
fn resume(asm: &mut Asm) {
    let (over, store) = (asm.label(), asm.label());
    asm.words(&[ld(A3, A2, CONTEXT_X), ld(A4, A1, 16)]);
    asm.words(&[addi(T1, ZERO, SIGSEGV as i32)]);
    asm.branch(BNE, A0, T1, over);
    asm.branch(BNE, A3, A4, over);
    asm.words(&[ld(A3, A2, CONTEXT_X + 8)]);
    asm.jump(ZERO, store);
    asm.bind(over);
    let wide = asm.label();
    asm.words(&[lbu(T1, A3, 0), andi(T1, T1, 3), addi(A3, A3, 2)]);
    asm.words(&[addi(T2, ZERO, 3)]);
    asm.branch(BEQ, T1, T2, wide);
    asm.jump(ZERO, store);
    asm.bind(wide);
    asm.words(&[addi(A3, A3, 2)]);
    asm.bind(store);
    asm.words(&[sd(A3, A2, CONTEXT_X)]);
}

/// Counts, and loses every register that it may.
fn alarm_handler(asm: &mut Asm) -> Label {
    let handler = asm.here();
    asm.li(T0, ALARMS);
    asm.words(&[ld(T1, T0, 0), addi(T1, T1, 1), sd(T1, T0, 0)]);
    for x in (T0..32).filter(|x| *x != T1) {
        asm.words(&[addi(x, T1, x as i32)]);
    }
    for f in 0..32 {
        // fmv.d.x
        asm.words(&[r_type(0x53, 0, 0x79, f, T1, 0)]);
    }
    // fscsr t1: flags and perhaps a rounding mode that no instruction uses before the return.
    asm.words(&[andi(T1, T1, 0x7f), i_type(0x73, 1, ZERO, T1, 3), RET]);
    handler
}

/// Registers and data from a record.
pub(super) fn set_up(asm: &mut Asm, start: &Situation) {
    let place = asm.go(Place::Data);
    asm.align(8);
    let record = asm.here();
    let state = &start.state;
    for word in state
        .x
        .iter()
        .chain(&state.f)
        .chain([&u64::from(state.fcsr())])
    {
        asm.bytes(&word.to_le_bytes());
    }
    let data = asm.here();
    asm.bytes(&start.memory.bytes);
    asm.go(place);
    asm.li(A0, MEMORY);
    asm.la(A1, data);
    asm.li(A2, MEMORY + MEMORY_BYTES as u64);
    let again = asm.here();
    asm.words(&[
        ld(A3, A1, 0),
        sd(A3, A0, 0),
        addi(A1, A1, 8),
        addi(A0, A0, 8),
    ]);
    asm.branch(BNE, A0, A2, again);
    asm.li(A0, RESULT + RESULT_LOG as u64);
    asm.li(A1, RESULT + RESULT_BYTES as u64);
    let again = asm.here();
    asm.words(&[sd(ZERO, A0, 0), addi(A0, A0, 8)]);
    asm.branch(BLT, A0, A1, again);
    asm.la(GP, record);
    for f in 0..32 {
        asm.words(&[fld(f, GP, RESULT_F + 8 * f as i32)]);
    }
    asm.words(&[ld(T0, GP, RESULT_FCSR), i_type(0x73, 1, ZERO, T0, 3)]);
    for x in (1..32).filter(|x| *x != GP) {
        asm.words(&[ld(x, GP, 8 * x as i32)]);
    }
    asm.li(GP, FAULT);
}

/// Registers, log and data to the standard output.
pub(super) fn report(asm: &mut Asm) {
    asm.li(GP, RESULT);
    for x in (1..32).filter(|x| *x != GP) {
        asm.words(&[sd(x, GP, 8 * x as i32)]);
    }
    for f in 0..32 {
        asm.words(&[fsd(f, GP, RESULT_F + 8 * f as i32)]);
    }
    asm.words(&[i_type(0x73, 2, T0, ZERO, 3), sd(T0, GP, RESULT_FCSR)]);
    for (from, bytes) in [(RESULT, RESULT_BYTES), (MEMORY, MEMORY_BYTES)] {
        asm.li(A0, 1);
        asm.li(A1, from);
        asm.li(A2, bytes as u64);
        asm.system_call(SYS_WRITE);
    }
}

/// What the registers of a section are besides what is random.
pub(super) fn fixed_registers(start: &mut Situation) {
    start.state.x[TP as usize] = STACK;
    start.state.x[GP as usize] = FAULT;
}
