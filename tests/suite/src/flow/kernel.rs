//! As much of Linux as the programs use: pages, a few system calls, signals without alarms.

use std::collections::HashMap;

use isomorph_frontend::CodeSource;
use isomorph_ir::Order;
use isomorph_ir::interp::{MemFault, Memory};
use isomorph_riscv::State;

use super::asm::{A0, A1, A2, A3, A7, RA, SP};
use super::runtime::*;

const PAGE: u64 = 4096;
const READ: u8 = 1;
const WRITE: u8 = 2;
const EXECUTE: u8 = 4;

/// Nothing is there; it is there, but not for this.
const SEGV_MAPERR: i64 = 1;
const SEGV_ACCERR: i64 = 2;
/// `SI_TKILL`.
const SENT: i64 = -6;
/// Where a handler returns to.
const TRAMPOLINE: u64 = 0x7000_0000;
/// `li a7, 139; ecall`
const TRAMPOLINE_CODE: [u8; 8] = [0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0];
/// Bytes of `struct siginfo`.
const INFO: u64 = 128;
/// Bytes of a frame, aligned for a stack.
const FRAME: u64 = INFO + CONTEXT_F as u64 + 528;

struct Page {
    bytes: Vec<u8>,
    flags: u8,
}

/// A process's memory.
#[derive(Default)]
pub(super) struct Space {
    pages: HashMap<u64, Page>,
    /// Why the last access failed.
    code: i64,
}

impl Space {
    fn map(&mut self, at: u64, bytes: u64, flags: u8) {
        for page in at / PAGE..(at + bytes).div_ceil(PAGE) {
            let bytes = vec![0; PAGE as usize];
            self.pages.insert(page, Page { bytes, flags });
        }
    }

    fn poke(&mut self, at: u64, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            if let Some(page) = self.pages.get_mut(&(at / PAGE)) {
                page.bytes[(at % PAGE) as usize] = *byte;
            }
        }
    }

    fn poke64(&mut self, at: u64, value: u64) {
        self.poke(at, &value.to_le_bytes());
    }

    fn byte(&self, at: u64) -> u8 {
        let page = self.pages.get(&(at / PAGE));
        page.map_or(0, |page| page.bytes[(at % PAGE) as usize])
    }

    fn peek(&self, at: u64, bytes: u64) -> u128 {
        let all = (at..at + bytes).rev();
        all.fold(0, |all, at| all << 8 | u128::from(self.byte(at)))
    }

    fn peek64(&self, at: u64) -> u64 {
        self.peek(at, 8) as u64
    }

    /// Fails unless all bytes are there for this.
    fn check(&mut self, at: u64, bytes: u32, flag: u8) -> Result<(), MemFault> {
        for at in at..at.saturating_add(bytes.into()) {
            let page = self.pages.get(&(at / PAGE));
            if page.is_none_or(|page| page.flags & flag == 0) {
                self.code = why(page);
                return Err(MemFault {
                    address: at,
                    write: flag == WRITE,
                });
            }
        }
        Ok(())
    }

    /// Why nothing can be executed at an address.
    pub(super) fn why_no_code(&self, at: u64) -> i64 {
        why(self.pages.get(&(at / PAGE)))
    }
}

fn why(page: Option<&Page>) -> i64 {
    page.map_or(SEGV_MAPERR, |_| SEGV_ACCERR)
}

impl Memory for Space {
    fn load(&mut self, at: u64, bytes: u32, _: Order) -> Result<u128, MemFault> {
        self.check(at, bytes, READ)?;
        Ok(self.peek(at, bytes.into()))
    }

    fn store(&mut self, at: u64, bytes: u32, _: Order, value: u128) -> Result<(), MemFault> {
        self.check(at, bytes, WRITE)?;
        self.poke(at, &value.to_le_bytes()[..bytes as usize]);
        Ok(())
    }

    fn cas(
        &mut self,
        at: u64,
        bytes: u32,
        order: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault> {
        let update = &mut |old| if old == expected { new } else { old };
        self.rmw(at, bytes, order, update)
    }

    fn rmw(
        &mut self,
        at: u64,
        bytes: u32,
        _: Order,
        update: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, MemFault> {
        self.check(at, bytes, WRITE)?;
        let old = self.peek(at, bytes.into());
        self.poke(at, &update(old).to_le_bytes()[..bytes as usize]);
        Ok(old)
    }

    fn fence(&mut self, _: Order) {}
}

impl CodeSource for Space {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        for (at, byte) in out.iter_mut().enumerate() {
            let page = self.pages.get(&((pc + at as u64) / PAGE));
            if page.is_none_or(|page| page.flags & EXECUTE == 0) {
                return at;
            }
            *byte = self.byte(pc + at as u64);
        }
        out.len()
    }

    fn may_change(&self, _: u64) -> bool {
        false
    }
}

/// A process.
#[derive(Default)]
pub(super) struct Process {
    pub(super) space: Space,
    pub(super) output: Vec<u8>,
    handlers: HashMap<u64, u64>,
    signal_stack: u64,
}

/// What a system call does beyond its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// Nothing.
    Done,
    /// Code may be other code now.
    CodeChanged,
    /// The process ends with this status.
    Ended(u64),
}

impl Process {
    /// The process of an executable, and where it starts.
    pub(super) fn new(file: &[u8]) -> (Self, u64) {
        let mut process = Self::default();
        let word = |at: usize| {
            let bytes = file.iter().skip(at).take(8).rev();
            bytes.fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        for header in 0..word(56) as usize & 0xffff {
            let at = 64 + 56 * header;
            let (flags, offset, address) = (word(at) >> 32, word(at + 8), word(at + 16));
            let (in_file, in_memory) = (word(at + 32), word(at + 40));
            // An ELF segment has its flags the other way round.
            let flags = (flags as u8 & 4) >> 2 | flags as u8 & 2 | (flags as u8 & 1) << 2;
            process.space.map(address, in_memory, flags);
            let bytes = &file[offset as usize..(offset + in_file) as usize];
            process.space.poke(address, bytes);
        }
        process.space.map(TRAMPOLINE, PAGE, READ | EXECUTE);
        process.space.poke(TRAMPOLINE, &TRAMPOLINE_CODE);
        (process, word(24))
    }

    /// Serves the system call of the registers, whose program counter is at the `ecall`.
    pub(super) fn call(&mut self, state: &mut State) -> Called {
        state.pc += 4;
        let x = |n: u32| state.x[n as usize];
        let [a0, a1, a2] = [x(A0), x(A1), x(A2)];
        let mut called = Called::Done;
        let mut result = 0;
        match x(A7) {
            SYS_WRITE => {
                self.output
                    .extend((a1..a1 + a2).map(|at| self.space.byte(at)));
                result = a2;
            }
            SYS_EXIT_GROUP => called = Called::Ended(a0),
            SYS_SIGALTSTACK => {
                self.signal_stack = self.space.peek64(a0) + self.space.peek64(a0 + 16);
            }
            SYS_SIGACTION => {
                self.handlers.insert(a0, self.space.peek64(a1));
            }
            SYS_GETPID | SYS_GETTID => result = 1,
            SYS_TGKILL => {
                state.x[A0 as usize] = 0;
                self.signal(state, a2, SENT, 0);
                return called;
            }
            SYS_SIGRETURN => {
                self.leave_handler(state);
                return called;
            }
            SYS_MMAP => {
                self.space.map(a0, a1, a2 as u8);
                (result, called) = (a0, Called::CodeChanged);
            }
            SYS_MUNMAP => {
                (a0 / PAGE..(a0 + a1).div_ceil(PAGE)).for_each(|page| {
                    self.space.pages.remove(&page);
                });
                called = Called::CodeChanged;
            }
            SYS_MPROTECT => {
                for page in a0 / PAGE..(a0 + a1).div_ceil(PAGE) {
                    if let Some(page) = self.space.pages.get_mut(&page) {
                        page.flags = a2 as u8;
                    } else {
                        result = -12i64 as u64;
                    }
                }
                called = Called::CodeChanged;
            }
            SYS_FLUSH_ICACHE => called = Called::CodeChanged,
            // The alarm clock never rings here.
            SYS_SETITIMER => {}
            _ => result = -38i64 as u64,
        }
        state.x[A0 as usize] = result;
        called
    }

    /// The signal of a failed access to this address.
    pub(super) fn fault(&mut self, state: &mut State, address: u64) {
        self.signal(state, SIGSEGV, self.space.code, address);
    }

    /// Lets the handler of a signal run, on the alternate stack.
    pub(super) fn signal(&mut self, state: &mut State, signal: u64, code: i64, address: u64) {
        let info = (self.signal_stack - FRAME) & !15;
        let context = info + INFO;
        for at in (0..FRAME).step_by(8) {
            self.space.poke64(info + at, 0);
        }
        self.space.poke64(info, signal);
        self.space.poke64(info + 8, u64::from(code as u32));
        self.space.poke64(info + 16, address);
        let x = context + CONTEXT_X as u64;
        self.space.poke64(x, state.pc);
        for n in 1..32 {
            self.space.poke64(x + 8 * n, state.x[n as usize]);
        }
        let f = context + CONTEXT_F as u64;
        for (n, value) in (0..).zip(state.f) {
            self.space.poke64(f + 8 * n, value);
        }
        self.space.poke64(f + 256, state.fcsr().into());
        state.pc = self.handlers.get(&signal).copied().unwrap_or(0);
        state.x[RA as usize] = TRAMPOLINE;
        state.x[SP as usize] = info;
        state.x[A0 as usize] = signal;
        state.x[A1 as usize] = info;
        state.x[A2 as usize] = context;
        state.x[A3 as usize] = 0;
    }

    fn leave_handler(&mut self, state: &mut State) {
        let x = state.x[SP as usize] + INFO + CONTEXT_X as u64;
        state.pc = self.space.peek64(x);
        for n in 1..32 {
            state.x[n as usize] = self.space.peek64(x + 8 * n);
        }
        let f = state.x.len() as u64 * 8 + x;
        for n in 0..32 {
            state.f[n as usize] = self.space.peek64(f + 8 * n);
        }
        state.set_fcsr(self.space.peek64(f + 256) as u32);
    }
}
