//! Fences, traps, control and status registers, waiting.

use isomorph_ir::{Cond, Dst, Op, Order, TrapKind, Type, Val};

use crate::decode::{ArgsCsr, ArgsCsrI, ArgsFence, ArgsI, ArgsNothing, ArgsR2, System, ext};
use crate::state::FRM;
use crate::system::How;
use crate::translate::{MODE_BAD_FRM, MODE_HOST_ROUNDING, MODE_RMM, Translator, mode_of};

const I64: Type = Type::I64;

pub(super) const FFLAGS: u16 = 0x001;
pub(super) const FRM_CSR: u16 = 0x002;
pub(super) const FCSR: u16 = 0x003;
pub(super) const CYCLE: u16 = 0xc00;
pub(super) const TIME: u16 = 0xc01;
pub(super) const INSTRET: u16 = 0xc02;

/// One access: `rd` receives the old value; without `operand` nothing is written.
#[derive(Clone, Copy)]
pub(super) struct Access {
    pub rd: u8,
    pub how: How,
    pub operand: Option<Val>,
}

impl Translator<'_> {
    fn csr(&mut self, csr: u16, access: Access) {
        let float = self.features.has(ext::F);
        let counter = self.features.has(ext::ZICNTR) && access.operand.is_none();
        if self.in_machine() {
            return self.machine_csr(csr, access);
        }
        match csr {
            FFLAGS | FRM_CSR | FCSR if float => self.csr_float(csr, access),
            CYCLE | TIME | INSTRET if counter => {
                let d = self.xd(access.rd);
                self.b.counter((csr - CYCLE) as u8, d);
            }
            _ => self.illegal(),
        }
    }

    fn csr_register(&mut self, how: How, a: &ArgsCsr) {
        let writes = how == How::Write || a.rs1 != 0;
        let operand = writes.then(|| self.x(a.rs1));
        self.csr(
            a.csr,
            Access {
                rd: a.rd,
                how,
                operand,
            },
        );
    }

    fn csr_immediate(&mut self, how: How, a: &ArgsCsrI) {
        let writes = how == How::Write || a.uimm != 0;
        let operand = writes.then(|| self.imm(i64::from(a.uimm)));
        self.csr(
            a.csr,
            Access {
                rd: a.rd,
                how,
                operand,
            },
        );
    }

    /// The new value of a register that holds `old`; bits that it lacks are not yet cleared.
    pub(super) fn csr_new(&mut self, how: How, old: Val, operand: Val) -> Val {
        match how {
            How::Write => operand,
            How::Set => self.b.binary(Op::Or, I64, Dst::Temp, old, operand),
            How::Clear => self.b.binary(Op::Andc, I64, Dst::Temp, old, operand),
        }
    }

    /// An access to `fcsr` or a part of it.
    pub(super) fn csr_float(&mut self, number: u16, access: Access) {
        match number {
            FFLAGS => self.csr_fflags(access),
            FRM_CSR => self.csr_frm(access),
            _ => self.csr_fcsr(access),
        }
    }

    fn csr_fflags(&mut self, access: Access) {
        let Access { rd, how, operand } = access;
        let Some(operand) = operand else {
            let d = self.xd(rd);
            self.b.get_flags(d);
            return;
        };
        let old = self.b.get_flags(Dst::Temp);
        let new = self.csr_new(how, old, operand);
        self.b.set_fp(Op::SetFlags, new);
        let d = self.xd(rd);
        self.b.mov(I64, d, old);
    }

    fn csr_frm(&mut self, access: Access) {
        let Access { rd, how, operand } = access;
        let d = self.xd(rd);
        let Some(operand) = operand else {
            self.b.mov(I64, d, FRM);
            return;
        };
        let wide = self.csr_new(how, FRM, operand);
        let mask = self.imm(7);
        let new = self.b.binary(Op::And, I64, Dst::Temp, wide, mask);
        self.b.mov(I64, d, FRM);
        self.set_frm(new);
    }

    fn csr_fcsr(&mut self, access: Access) {
        let Access { rd, how, operand } = access;
        let (five, seven) = (self.imm(5), self.imm(7));
        let flags = self.b.get_flags(Dst::Temp);
        let mode = self.b.binary(Op::Shl, I64, Dst::Temp, FRM, five);
        let old = self.b.binary(Op::Or, I64, Dst::Temp, mode, flags);
        let d = self.xd(rd);
        let Some(operand) = operand else {
            self.b.mov(I64, d, old);
            return;
        };
        let new = self.csr_new(how, old, operand);
        self.b.set_fp(Op::SetFlags, new);
        let high = self.b.binary(Op::Shr, I64, Dst::Temp, new, five);
        let frm = self.b.binary(Op::And, I64, Dst::Temp, high, seven);
        self.b.mov(I64, d, old);
        self.set_frm(frm);
    }

    /// Writes `frm`, and leaves the block if the translation mode is another one then.
    fn set_frm(&mut self, new: Val) {
        self.b.mov(I64, Dst::To(FRM), new);
        self.b.set_fp(Op::SetRound, new);
        let next = self.next();
        if let Some(frm) = self.b.known(new) {
            if mode_of(frm) != self.rounding_mode() {
                self.b.trap(TrapKind::Mode, next, Val::NONE);
            }
            return;
        }
        let (cond, bound) = match self.rounding_mode() {
            MODE_HOST_ROUNDING => (Cond::GtU, 3),
            MODE_RMM => (Cond::Ne, 4),
            MODE_BAD_FRM.. => (Cond::LtU, 5),
        };
        let (bound, info) = (self.imm(bound), self.imm(0));
        self.b.trap_if(cond, new, bound, TrapKind::Mode, next, info);
    }
}

impl System for Translator<'_> {
    /// A hint. Nothing waits for this hart, so there is nothing to give up.
    fn pause(&mut self, _: &ArgsNothing) {}

    fn fence_tso(&mut self, _: &ArgsR2) {
        self.b.fence(Order::Acquire);
        self.b.fence(Order::Release);
    }

    /// Device input and output count as reads and writes.
    fn fence(&mut self, a: &ArgsFence) {
        let (before_reads, before_writes) = (a.pred & 0b1010 != 0, a.pred & 0b0101 != 0);
        let (after_reads, after_writes) = (a.succ & 0b1010 != 0, a.succ & 0b0101 != 0);
        if before_writes && after_reads {
            return self.b.fence(Order::SeqCst);
        }
        if before_reads && (after_reads || after_writes) {
            self.b.fence(Order::Acquire);
        }
        if before_writes && after_writes {
            self.b.fence(Order::Release);
        }
    }

    fn ecall(&mut self, _: &ArgsNothing) {
        self.b.trap(TrapKind::Syscall, self.pc, Val::NONE);
    }

    fn ebreak(&mut self, _: &ArgsNothing) {
        self.b.trap(TrapKind::Breakpoint, self.pc, Val::NONE);
    }

    fn fence_i(&mut self, _: &ArgsI) {
        self.b.trap(TrapKind::InsnSync, self.next(), Val::NONE);
    }

    fn csrrw(&mut self, a: &ArgsCsr) {
        self.csr_register(How::Write, a);
    }

    fn csrrs(&mut self, a: &ArgsCsr) {
        self.csr_register(How::Set, a);
    }

    fn csrrc(&mut self, a: &ArgsCsr) {
        self.csr_register(How::Clear, a);
    }

    fn csrrwi(&mut self, a: &ArgsCsrI) {
        self.csr_immediate(How::Write, a);
    }

    fn csrrsi(&mut self, a: &ArgsCsrI) {
        self.csr_immediate(How::Set, a);
    }

    fn csrrci(&mut self, a: &ArgsCsrI) {
        self.csr_immediate(How::Clear, a);
    }

    /// May end at any time (Zawrs): another host thread gets the processor once.
    fn wrs_nto(&mut self, _: &ArgsNothing) {
        self.b.trap(TrapKind::Yield, self.next(), Val::NONE);
    }

    fn wrs_sto(&mut self, _: &ArgsNothing) {
        self.b.trap(TrapKind::Yield, self.next(), Val::NONE);
    }
}
