//! Control and status registers of a machine.
//!
//! Inline, as [`Inline`] says by register: reads and writes of registers that are storage, of
//! `sstatus` and (but for MPP) of `mstatus`; reads of the counters. All others are a helper's.
//! Who may access what is known when code is translated, as the privilege is part of the
//! translation mode; conditions that are not (`gate`) are the helper's matter.
//!
//! A write leaves the block with a `Mode` trap only if it changes what the engine must look at:
//! the translation mode, what remembered translations depend on, or whether a pending interrupt is
//! to be taken now.

use isomorph_ir::{Cond, Dst, Op, TrapKind, Type, Val};

use super::system::{Access, CYCLE, FCSR, FFLAGS, FRM_CSR, INSTRET, TIME};
use crate::decode::ext;
use crate::helpers::HelperId;
use crate::system::csr::{self, Csr, Inline, Request};
use crate::system::{How, Outcome, Privilege, globals, mode, status};
use crate::translate::Translator;

const I64: Type = Type::I64;

impl Translator<'_> {
    /// An access in a machine: which registers there are, and for whom, is the table's matter;
    /// those of programs are inline.
    pub(super) fn machine_csr(&mut self, number: u16, access: Access) {
        match number {
            FFLAGS | FRM_CSR | FCSR if self.features.has(ext::F) => {
                if self.float_allowed() {
                    if access.operand.is_some() {
                        self.mark_float_dirty();
                    }
                    self.csr_float(number, access);
                }
            }
            CYCLE | TIME | INSTRET => {
                let bit = mode::COUNTERS_SHIFT + u32::from(number - CYCLE);
                let exists = self.features.has(ext::ZICNTR) && access.operand.is_none();
                if !exists || self.mode >> bit & 1 == 0 {
                    self.illegal();
                } else if number == TIME {
                    self.csr_time(access.rd);
                } else {
                    self.csr_by_table(number, access);
                }
            }
            _ => self.csr_by_table(number, access),
        }
    }

    fn csr_by_table(&mut self, number: u16, access: Access) {
        let privilege = mode::privilege(self.mode);
        let Some(row) = csr::find(number).filter(|_| csr::reachable(number, privilege)) else {
            return self.illegal();
        };
        if access.operand.is_some() && csr::is_read_only(number) {
            return self.illegal();
        }
        match row.inline {
            Inline::Stored(global, mask) => self.csr_stored(access, global, mask),
            Inline::StoredPc(global) => {
                let unused = if self.features.has(ext::C) { 1 } else { 3 };
                self.csr_stored(access, global, !unused);
            }
            Inline::Counter(which, globals) => self.csr_counter(access.rd, which, globals),
            Inline::Status { writable, visible } => match self.status_touched(access, writable) {
                Some(touched) => self.csr_status(access, touched, visible),
                None => self.csr_by_helper(row, number, access),
            },
            Inline::None => self.csr_by_helper(row, number, access),
        }
    }

    /// An access that a helper makes: it writes `rd` and answers how it went.
    fn csr_by_helper(&mut self, row: &Csr, number: u16, access: Access) {
        if row.counts {
            let (cycle, retired) = (self.b.counter(0, Dst::Temp), self.b.counter(2, Dst::Temp));
            let args = [cycle, retired, Val::NONE];
            self.b
                .helper(HelperId::NoteCounters as u32, Dst::Discard, args);
        }
        let request = Request {
            number,
            rd: access.rd,
            how: access.operand.map(|_| access.how),
        };
        let request = self.b.c(request.pack());
        let operand = access.operand.unwrap_or(Val::NONE);
        let args = [request, operand, Val::NONE];
        let outcome = self.b.helper(HelperId::Csr as u32, Dst::Temp, args);
        if row.gate.is_some() {
            self.illegal_if(Cond::Eq, outcome, Outcome::Illegal as u64);
        }
        if row.changes && access.operand.is_some() {
            self.mode_trap_if(Cond::Eq, outcome, Outcome::Changed as u64);
        }
    }

    /// The engine is to look at the state before the next instruction.
    fn mode_trap_if(&mut self, cond: Cond, value: Val, bound: u64) {
        let (bound, next, info) = (self.b.c(bound), self.next(), self.b.c(0));
        self.b
            .trap_if(cond, value, bound, TrapKind::Mode, next, info);
    }

    fn temp(&mut self, op: Op, a: Val, b: Val) -> Val {
        self.b.binary(op, I64, Dst::Temp, a, b)
    }

    fn temp_imm(&mut self, op: Op, a: Val, b: u64) -> Val {
        let b = self.b.c(b);
        self.temp(op, a, b)
    }

    /// A register that is storage; a write keeps the bits of `mask`.
    fn csr_stored(&mut self, access: Access, global: Val, mask: u64) {
        let Access { rd, how, operand } = access;
        let d = self.xd(rd);
        let Some(operand) = operand else {
            self.b.mov(I64, d, global);
            return;
        };
        // The old value is read, and the new one written, before `rd`, which may be the operand.
        let wanted = rd != 0 || how != How::Write;
        let old = if wanted {
            self.b.mov(I64, Dst::Temp, global)
        } else {
            Val::NONE
        };
        let new = self.csr_new(how, old, operand);
        let legal = if mask == u64::MAX {
            new
        } else {
            self.temp_imm(Op::And, new, mask)
        };
        self.b.mov(I64, Dst::To(global), legal);
        self.b.mov(I64, d, old);
    }

    /// [`isomorph_frontend::TimeScale::of`] the back end's counter.
    fn csr_time(&mut self, rd: u8) {
        let raw = self.b.counter(1, Dst::Temp);
        let low = self.temp(Op::Mul, raw, globals::TIME_MULTIPLIER);
        let high = self.temp(Op::MulHiU, raw, globals::TIME_MULTIPLIER);
        let (low, high) = (
            self.temp_imm(Op::Shr, low, 32),
            self.temp_imm(Op::Shl, high, 32),
        );
        let ticks = self.temp(Op::Or, low, high);
        let d = self.xd(rd);
        self.b.add(I64, d, ticks, globals::TIME_OFFSET);
    }

    /// A counter: `value + (raw & runs)`.
    fn csr_counter(&mut self, rd: u8, which: u8, [value, runs]: [Val; 2]) {
        let raw = self.b.counter(which, Dst::Temp);
        let counted = self.temp(Op::And, raw, runs);
        let d = self.xd(rd);
        self.b.add(I64, d, counted, value);
    }

    /// The bits of `mstatus` that an access may change; `None`: MPP, whose values are not all
    /// legal, is among them.
    fn status_touched(&self, access: Access, writable: u64) -> Option<u64> {
        let Some(operand) = access.operand else {
            return Some(0);
        };
        let float = self.features.has(ext::F);
        let writable = if float {
            writable
        } else {
            writable & !status::FS
        };
        let touched = match (access.how, self.b.known(operand)) {
            (How::Set | How::Clear, Some(mask)) => writable & mask,
            _ => writable,
        };
        (touched & status::MPP == 0).then_some(touched)
    }

    /// `sstatus` or `mstatus`, of which the access may change the bits `touched`.
    fn csr_status(&mut self, access: Access, touched: u64, visible: u64) {
        let Access { rd, how, operand } = access;
        let old = if rd == 0 && touched & status::FS == 0 {
            self.b.mov(I64, Dst::Temp, globals::MSTATUS)
        } else {
            self.temp(Op::Or, globals::MSTATUS, globals::FLOAT_DIRTY)
        };
        let new = match operand {
            Some(operand) if touched != 0 => Some(self.status_new(how, old, operand, touched)),
            _ => None,
        };
        if let Some(new) = new {
            self.b.mov(I64, Dst::To(globals::MSTATUS), new);
            if touched & status::FS != 0 {
                let dirty = Dst::To(globals::FLOAT_DIRTY);
                self.b.constant(I64, dirty, 0);
            }
        }
        self.status_read(rd, old, visible);
        if let Some(new) = new {
            self.leave_for_status(access, touched, old, new);
        }
    }

    fn status_new(&mut self, how: How, old: Val, operand: Val, touched: u64) -> Val {
        let bits = self.temp_imm(Op::And, operand, touched);
        match how {
            How::Write => {
                let kept = self.temp_imm(Op::And, old, !touched);
                self.temp(Op::Or, kept, bits)
            }
            How::Set => self.temp(Op::Or, old, bits),
            How::Clear => self.temp(Op::Andc, old, bits),
        }
    }

    /// The register as it is read: SD tells whether FS is Dirty.
    fn status_read(&mut self, rd: u8, value: Val, visible: u64) {
        if rd == 0 {
            return;
        }
        let seen = self.temp_imm(Op::And, value, visible);
        // One more than Dirty overflows the field.
        let fs = self.temp_imm(Op::And, value, status::FS);
        let over = self.temp_imm(Op::Add, fs, 1 << status::FS_SHIFT);
        let dirty = self.temp_imm(Op::Shr, over, u64::from(status::FS_SHIFT) + 2);
        let sd = self.temp_imm(Op::Shl, dirty, u64::from(status::SD_SHIFT));
        let d = self.xd(rd);
        self.b.binary(Op::Or, I64, d, seen, sd);
    }

    /// Leaves the block if the engine must see the change from `old` to `new`.
    fn leave_for_status(&mut self, access: Access, touched: u64, old: Val, new: Val) {
        let seen = touched & self.status_seen_by_engine();
        if seen != 0 {
            let changed = self.temp(Op::Xor, old, new);
            let changed = self.temp_imm(Op::And, changed, seen);
            self.mode_trap_if(Cond::Ne, changed, 0);
        }
        let enables = touched & (status::SIE | status::MIE);
        if access.how == How::Clear || enables == 0 {
            return;
        }
        // Rather too often than not: the engine knows about privilege and delegation.
        let software = self.temp(Op::Or, globals::MIP, globals::PINS);
        let pending = self.temp(Op::Or, software, globals::TIMER);
        let ready = self.temp(Op::And, pending, globals::MIE);
        let known = access.operand.and_then(|operand| self.b.known(operand));
        let taken = if access.how == How::Set && known.is_some() {
            ready
        } else {
            let enabled = self.temp_imm(Op::And, new, enables);
            let (zero, cond) = (self.b.c(0), Cond::Ne);
            self.b
                .select(I64, cond, Dst::Temp, (enabled, zero), ready, zero)
        };
        self.mode_trap_if(Cond::Ne, taken, 0);
    }

    /// The bits of `mstatus`, MPP aside, on which the translation mode or remembered translations
    /// depend in this mode.
    fn status_seen_by_engine(&self) -> u64 {
        let mut seen = 0;
        if self.mode & mode::DATA_PAGED != 0 {
            seen |= status::SUM | status::MXR;
        }
        if mode::privilege(self.mode) == Privilege::Machine {
            seen |= status::MPRV | status::FS;
        }
        seen
    }
}
