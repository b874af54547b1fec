//! What makes translations wrong if nobody watches: faults, signals, code that changes.

use super::MAPS;
use super::asm::*;
use super::body::Body;
use super::runtime::{JUMP_BUFFER, SYS_FLUSH_ICACHE, SYS_MMAP, SYS_MPROTECT, SYS_MUNMAP};

/// Guest instructions that a signal or a change of code stands for: it takes an emulator about as
/// long.
const SIGNAL: u64 = 1500;
const CHANGE: u64 = 1500;
/// A new mapping and two changes.
const REMAP: u64 = 6000;

const RX: u64 = 5;
const RWX: u64 = 7;
/// `MAP_PRIVATE`, `MAP_FIXED`, `MAP_ANONYMOUS`.
const NEW_PAGE: u64 = 0x32;

impl Body<'_> {
    /// One of them, or something harmless if the budget is too small.
    pub(super) fn trick(&mut self, budget: u64) -> u64 {
        match self.random.below(8) {
            0 | 1 => self.faulting_access(budget),
            2 if budget > SIGNAL => self.trap(),
            3 if budget > SIGNAL && self.framed => self.raise(),
            4 => self.reserve(),
            5 if budget > CHANGE && self.asm.place() == Place::Patched => self.patch_ahead(),
            6 if budget > REMAP && self.can_map() => self.remap(),
            7 => self.write_beside_code(),
            _ => self.straight(6),
        }
    }

    /// A load, a store or an atomic that meets unmapped memory, never, seldom or always.
    fn faulting_access(&mut self, budget: u64) -> u64 {
        let base = 10 + self.random.below(6) as u32;
        let offset = 8 * self.random.below(64) as i32 - 256;
        let rare = self.depth > 0 && !self.one_in(4);
        let cost = if rare { SIGNAL / 8 } else { SIGNAL };
        if budget < cost {
            return self.straight(4);
        }
        let other = self.asm.label();
        if rare {
            let counter = S2 + self.random.below(self.depth as usize) as u32;
            self.asm.words(&[addi(base, S0, 0), andi(T6, counter, 15)]);
            self.asm.branch(BNE, T6, ZERO, other);
        }
        self.asm.words(&[addi(base, GP, 0)]);
        self.asm.bind(other);
        let (rd, rs) = (self.rd(), self.rs());
        match self.random.below(8) {
            0..3 => {
                let size = self.random.below(7) as u32;
                self.asm.words(&[i_type(0x03, size, rd, base, offset)]);
            }
            3 | 4 => {
                let size = self.random.below(4) as u32;
                self.asm.words(&[s_type(0x23, size, base, rs, offset)]);
            }
            // c.ld and c.sd to and from s1
            5 => self.asm.half(0x6000 | (base as u16 - 8) << 7 | 1 << 2),
            6 => self.asm.half(0xe000 | (base as u16 - 8) << 7 | 1 << 2),
            _ => {
                let (size, kind) = (self.pick(&[2, 3]), self.pick(&[0, 1, 4, 8, 12, 16]));
                self.asm
                    .words(&[r_type(0x2f, size, kind << 2, rd, base, rs)]);
            }
        }
        cost + 8
    }

    /// An instruction that no one can execute, or a breakpoint.
    fn trap(&mut self) -> u64 {
        let over = self.asm.label();
        self.maybe(over);
        match self.random.below(4) {
            0 => self.asm.words(&[EBREAK]),
            1 => self.asm.words(&[UNIMP]),
            2 => self.asm.half(C_EBREAK),
            _ => self.asm.half(C_ILLEGAL),
        }
        self.asm.blocks += 1;
        self.asm.bind(over);
        SIGNAL
    }

    fn raise(&mut self) -> u64 {
        let over = self.asm.label();
        self.maybe(over);
        self.asm.far_jump(T0, T0, self.routines.raise);
        self.asm.bind(over);
        SIGNAL
    }

    /// A read-modify-write with a reservation.
    fn reserve(&mut self) -> u64 {
        let (size, base, rs) = (self.pick(&[2, 3]), self.pick(&[SP, S0]), self.rs());
        let again = self.asm.here();
        self.asm.words(&[r_type(0x2f, size, 2 << 2, T5, base, 0)]);
        let funct = self.pick(&[0, 4, 6, 7]);
        self.asm.words(&[r_type(0x33, funct, 0, T5, T5, rs)]);
        self.asm
            .words(&[r_type(0x2f, size, 3 << 2 | 3, T6, base, T5)]);
        self.asm.branch(BNE, T6, ZERO, again);
        6
    }

    /// Instructions of four bytes, of which one is loaded into `t6`.
    fn choose_word(&mut self) {
        let words: [Vec<u8>; 4] = std::array::from_fn(|_| self.word());
        let place = self.asm.go(Place::Data);
        self.asm.align(4);
        let table = self.asm.here();
        self.asm.bytes(&words.concat());
        self.asm.go(place);
        let index = match self.depth {
            0 => self.rs(),
            depth => S2 + depth - 1,
        };
        self.asm.words(&[andi(T6, index, 3), slli(T6, T6, 2)]);
        self.asm.la(T5, table);
        self.asm.words(&[add(T6, T6, T5), lw(T6, T6, 0)]);
    }

    /// Makes stores to code seen.
    fn synchronise(&mut self, from: u64, bytes: u64) {
        if self.framed && self.one_in(3) {
            self.asm.li(A0, from);
            self.asm.li(A1, from + bytes);
            self.asm.li(A2, 0);
            self.asm.system_call(SYS_FLUSH_ICACHE);
        } else {
            self.asm.words(&[FENCE_I]);
        }
    }

    /// Writes an instruction of this very code, in each round or in some.
    fn patch_ahead(&mut self) -> u64 {
        let (site, over) = (self.asm.label(), self.asm.label());
        let sometimes = self.one_in(2);
        if sometimes {
            self.maybe(over);
        }
        self.choose_word();
        self.asm.la(T5, site);
        self.asm.words(&[sw(T6, T5, 0)]);
        let here = self.asm.pc();
        self.synchronise(here, 64);
        self.asm.bind(over);
        let mut cost = self.straight(3);
        self.asm.align(4);
        self.asm.bind(site);
        let word = self.word();
        self.asm.bytes(&word);
        cost += self.straight(3);
        cost + if sometimes { CHANGE } else { CHANGE * 2 }
    }

    /// A function that changes an instruction of another one, and calls it.
    pub(super) fn patched_leaf(&mut self) {
        (self.framed, self.jumps) = (true, false);
        self.kept |= 1 << RA;
        let place = self.asm.go(Place::Patched);
        let leaf = self.asm.here();
        self.straight(4);
        self.asm.align(4);
        let site = self.asm.here();
        let word = self.word();
        self.asm.bytes(&word);
        self.asm.jump_register(ZERO, RA);
        self.asm.go(place);
        let entry = self.asm.here();
        let over = self.asm.label();
        self.asm.words(&[addi(TP, TP, -16), sd(RA, TP, 0)]);
        self.maybe(over);
        self.choose_word();
        self.asm.la(T5, site);
        self.asm.words(&[sw(T6, T5, 0)]);
        self.synchronise(Place::Patched.base(), 0x1_0000);
        self.asm.bind(over);
        self.asm.far_jump(RA, RA, leaf);
        self.straight(2);
        self.asm.far_jump(RA, RA, leaf);
        self.asm.words(&[ld(RA, TP, 0), addi(TP, TP, 16)]);
        self.asm.jump_register(ZERO, RA);
        self.add(entry, place, CHANGE, RA);
    }

    /// Notes where a function that jumps out comes to.
    pub(super) fn set_landing(&mut self) -> Label {
        let landing = self.asm.label();
        self.asm.la(T5, landing);
        self.asm.li(T6, JUMP_BUFFER);
        self.asm.words(&[sd(T5, T6, 0), sd(TP, T6, 8)]);
        for n in 0..4 {
            self.asm.words(&[sd(S2 + n, T6, 16 + 8 * n as i32)]);
        }
        landing
    }

    /// Where both come to, a function that jumps out and one that returns.
    pub(super) fn land(&mut self, landing: Label) {
        self.asm.bind(landing);
        self.asm.li(T6, JUMP_BUFFER);
        self.asm.words(&[ld(TP, T6, 8)]);
        for n in 0..4 {
            self.asm.words(&[ld(S2 + n, T6, 16 + 8 * n as i32)]);
        }
    }

    /// Leaves this function and all that called it up to the one that waits for it.
    pub(super) fn jump_out(&mut self) {
        self.asm.li(T6, JUMP_BUFFER);
        let by = self.pick(&[RA, T1]);
        self.asm.words(&[ld(by, T6, 0)]);
        self.asm.jump_register(ZERO, by);
    }

    /// Writes data of the page that code is on.
    fn write_beside_code(&mut self) -> u64 {
        let rs = self.rs();
        self.asm.la(T5, self.cell);
        let word = match self.random.below(3) {
            0 => r_type(0x2f, 3, 0, T6, T5, rs),
            1 => sw(rs, T5, 4),
            _ => sd(rs, T5, 8),
        };
        self.asm.words(&[word]);
        5
    }

    fn can_map(&self) -> bool {
        self.framed && self.depth < 3
    }

    /// A function's code without a place of its own, in the data.
    fn blob(&mut self) -> (Label, u64) {
        let kept = self.kept;
        self.kept |= 1 << RA;
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..1 + self.random.below(10) {
            bytes.extend(self.instruction());
        }
        bytes.extend(RET.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self.kept = kept;
        let place = self.asm.go(Place::Data);
        self.asm.align(8);
        let label = self.asm.here();
        self.asm.bytes(&bytes);
        self.asm.go(place);
        (label, bytes.len() as u64)
    }

    /// Copies new code to an address.
    fn put_blob(&mut self, to: u64) {
        let (blob, bytes) = self.blob();
        self.asm.la(T5, blob);
        self.asm.li(T6, to);
        for at in (0..bytes as i32).step_by(8) {
            self.asm.words(&[ld(T1, T5, at), sd(T1, T6, at)]);
        }
        self.synchronise(to, bytes);
    }

    fn map(&mut self, at: u64) {
        self.asm.li(A0, at);
        self.asm.li(A1, 4096);
        self.asm.li(A2, RWX);
        self.asm.li(A3, NEW_PAGE);
        self.asm.words(&[addi(A4, ZERO, -1)]);
        self.asm.li(A5, 0);
        self.asm.system_call(SYS_MMAP);
    }

    fn protect(&mut self, at: u64, how: u64) {
        self.asm.li(A0, at);
        self.asm.li(A1, 4096);
        self.asm.li(A2, how);
        self.asm.system_call(SYS_MPROTECT);
    }

    /// Calls the code there, some times.
    fn call_map(&mut self, at: u64, times: u64) {
        let counter = S2 + self.depth;
        self.asm.li(counter, times);
        let again = self.asm.here();
        self.asm.li(T1, at);
        self.asm.jump_register(RA, T1);
        self.asm.words(&[addi(counter, counter, -1)]);
        self.asm.branch(BLT, ZERO, counter, again);
    }

    /// New code on a new page; then the page goes, is forbidden, or gets other code.
    fn remap(&mut self) -> u64 {
        let at = MAPS + 0x1000 * self.random.below(8) as u64;
        self.map(at);
        self.put_blob(at);
        if self.one_in(2) {
            self.protect(at, RX);
        }
        let times = self.pick(&[1, 5, 30, 60]);
        self.call_map(at, times);
        match self.random.below(4) {
            0 => {
                self.asm.li(A0, at);
                self.asm.li(A1, 4096);
                self.asm.system_call(SYS_MUNMAP);
                self.call_map(at, 1);
            }
            1 => {
                self.protect(at, 0);
                self.call_map(at, 1);
                self.protect(at, RX);
                self.call_map(at, 2);
            }
            2 => {
                self.map(at);
                self.put_blob(at);
                self.call_map(at, times);
            }
            _ => {}
        }
        REMAP + times * 20
    }
}
