//! Trap returns, waiting, fences of address translation (privileged manual, sections "Trap-Return
//! Instructions", "Wait for Interrupt", "Supervisor Memory-Management Fence Instruction", and
//! chapter "Svinval").

use isomorph_ir::{Dst, TrapKind, Val};

use crate::decode::{ArgsNothing, ArgsR, Privileged};
use crate::helpers::HelperId;
use crate::system::{ILLEGAL_RETURN, Outcome, Privilege, mode};
use crate::translate::Translator;

impl Translator<'_> {
    /// False, and the block is ended, below this privilege.
    fn privileged(&mut self, least: Privilege) -> bool {
        let allowed = self.in_machine() && mode::privilege(self.mode) >= least;
        if !allowed {
            self.illegal();
        }
        allowed
    }

    /// The helper changes privilege and answers the address to go on at.
    fn trap_return(&mut self, helper: HelperId) {
        let target = self.b.helper(helper as u32, Dst::Temp, [Val::NONE; 3]);
        self.illegal_if(target, ILLEGAL_RETURN);
        self.b.trap(TrapKind::Return, self.pc, target);
    }

    fn fence_of(&mut self, a: &ArgsR) {
        if !self.privileged(Privilege::Supervisor) {
            return;
        }
        // Which operands are x0 matters, not only their values.
        let named = i64::from(a.rs1 != 0) | i64::from(a.rs2 != 0) << 1;
        let args = [self.x(a.rs1), self.x(a.rs2), self.imm(named)];
        let outcome = self.b.helper(HelperId::FenceVma as u32, Dst::Temp, args);
        self.illegal_if(outcome, Outcome::Illegal as u64);
        self.b.trap(TrapKind::Mode, self.next(), Val::NONE);
    }
}

impl Privileged for Translator<'_> {
    fn mret(&mut self, _: &ArgsNothing) {
        if self.privileged(Privilege::Machine) {
            self.trap_return(HelperId::Mret);
        }
    }

    fn sret(&mut self, _: &ArgsNothing) {
        if self.privileged(Privilege::Supervisor) {
            self.trap_return(HelperId::Sret);
        }
    }

    /// With supervisor mode there is none in user mode.
    fn wfi(&mut self, _: &ArgsNothing) {
        if self.privileged(Privilege::Supervisor) {
            let outcome = self
                .b
                .helper(HelperId::Wfi as u32, Dst::Temp, [Val::NONE; 3]);
            self.illegal_if(outcome, Outcome::Illegal as u64);
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
