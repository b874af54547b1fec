//! Trap returns, waiting, fences of address translation (privileged manual, sections "Trap-Return
//! Instructions", "Wait for Interrupt", "Supervisor Memory-Management Fence Instruction", and
//! chapter "Svinval").

use isomorph_ir::{Cond, Dst, Op, TrapKind, Type, Val};

use crate::decode::{ArgsNothing, ArgsR, Privileged};
use crate::helpers::HelperId;
use crate::system::{Outcome, Privilege, globals, mode, status};
use crate::translate::Translator;

/// What a trap to a mode has saved: bits of `mstatus`, and the address.
struct TrapStack {
    enable: u64,
    previous_enable: u64,
    privilege: u64,
    privilege_shift: u32,
    address: Val,
}

const MACHINE: TrapStack = TrapStack {
    enable: status::MIE,
    previous_enable: status::MPIE,
    privilege: status::MPP,
    privilege_shift: status::MPP_SHIFT,
    address: globals::MEPC,
};

const SUPERVISOR: TrapStack = TrapStack {
    enable: status::SIE,
    previous_enable: status::SPIE,
    privilege: status::SPP,
    privilege_shift: status::SPP_SHIFT,
    address: globals::SEPC,
};

/// From MPIE to MIE and from SPIE to SIE.
const PREVIOUS_SHIFT: u32 = 4;

impl Translator<'_> {
    /// False, and the block is ended, below this privilege.
    fn privileged(&mut self, least: Privilege) -> bool {
        let allowed = self.in_machine() && mode::privilege(self.mode) >= least;
        if !allowed {
            self.illegal();
        }
        allowed
    }

    fn op(&mut self, op: Op, a: Val, b: u64) -> Val {
        let b = self.b.c(b);
        self.b.binary(op, Type::I64, Dst::Temp, a, b)
    }

    /// Interrupts are enabled as before the trap, `mstatus` forgets the trap, and the privilege is
    /// that of before.
    fn trap_return(&mut self, from: &TrapStack) {
        let &TrapStack {
            enable,
            previous_enable,
            privilege,
            privilege_shift,
            address,
        } = from;
        let old = self.b.mov(Type::I64, Dst::Temp, globals::MSTATUS);
        let field = self.op(Op::And, old, privilege);
        let back = self.op(Op::Shr, field, u64::from(privilege_shift));
        // The bit of before is as far above that of now in both modes.
        let moved = self.op(Op::Shr, old, u64::from(PREVIOUS_SHIFT));
        let enabled = self.op(Op::And, moved, enable);
        let forgotten = enable | previous_enable | privilege;
        let kept = self.op(Op::And, old, !forgotten);
        let set = self.op(Op::Or, enabled, previous_enable);
        let new = self.b.binary(Op::Or, Type::I64, Dst::Temp, kept, set);
        // A return to less than machine mode ends MPRV.
        let (to, less) = (
            Dst::To(globals::MSTATUS),
            self.op(Op::And, new, !status::MPRV),
        );
        if privilege == status::MPP {
            let machine = self.b.c(Privilege::Machine as u64);
            self.b
                .select(Type::I64, Cond::Eq, to, (back, machine), new, less);
        } else {
            self.b.mov(Type::I64, to, less);
        }
        self.b.mov(Type::I64, Dst::To(globals::PRIVILEGE), back);
        self.b.trap(TrapKind::Return, self.pc, address);
    }

    fn fence_of(&mut self, a: &ArgsR) {
        if !self.privileged(Privilege::Supervisor) {
            return;
        }
        // Which operands are x0 matters, not only their values.
        let named = i64::from(a.rs1 != 0) | i64::from(a.rs2 != 0) << 1;
        let args = [self.x(a.rs1), self.x(a.rs2), self.imm(named)];
        let outcome = self.b.helper(HelperId::FenceVma as u32, Dst::Temp, args);
        self.illegal_if(Cond::Eq, outcome, Outcome::Illegal as u64);
        self.b.trap(TrapKind::Mode, self.next(), Val::NONE);
    }
}

impl Privileged for Translator<'_> {
    fn mret(&mut self, _: &ArgsNothing) {
        if self.privileged(Privilege::Machine) {
            self.trap_return(&MACHINE);
        }
    }

    fn sret(&mut self, _: &ArgsNothing) {
        if self.privileged(Privilege::Supervisor) {
            if mode::privilege(self.mode) == Privilege::Supervisor {
                let trapped = self.op(Op::And, globals::MSTATUS, status::TSR);
                self.illegal_if(Cond::Ne, trapped, 0);
            }
            self.trap_return(&SUPERVISOR);
        }
    }

    /// With supervisor mode there is none in user mode.
    fn wfi(&mut self, _: &ArgsNothing) {
        if self.privileged(Privilege::Supervisor) {
            let outcome = self
                .b
                .helper(HelperId::Wfi as u32, Dst::Temp, [Val::NONE; 3]);
            self.illegal_if(Cond::Eq, outcome, Outcome::Illegal as u64);
            self.b.trap(TrapKind::Wfi, self.next(), Val::NONE);
        }
    }

    fn sfence_vma(&mut self, a: &ArgsR) {
        self.fence_of(a);
    }

    /// Takes effect at once, which the manual allows.
    fn sinval_vma(&mut self, a: &ArgsR) {
        self.fence_of(a);
    }

    fn sfence_w_inval(&mut self, _: &ArgsNothing) {
        self.privileged(Privilege::Supervisor);
    }

    fn sfence_inval_ir(&mut self, _: &ArgsNothing) {
        self.privileged(Privilege::Supervisor);
    }
}
