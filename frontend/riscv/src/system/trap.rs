//! Exceptions, interrupts, and the returns from their handlers (sections "Machine Trap Delegation
//! Registers", "Machine Interrupt Registers", "Machine Cause Register", "Trap-Return
//! Instructions").

use super::{HartState, Privilege, System, envcfg, status};

/// Exception codes.
pub mod cause {
    /// Instruction access fault.
    pub const FETCH_ACCESS: u64 = 1;
    /// Illegal instruction.
    pub const ILLEGAL: u64 = 2;
    /// Breakpoint.
    pub const BREAKPOINT: u64 = 3;
    /// Load address misaligned.
    pub const LOAD_MISALIGNED: u64 = 4;
    /// Load access fault.
    pub const LOAD_ACCESS: u64 = 5;
    /// Store/AMO address misaligned.
    pub const STORE_MISALIGNED: u64 = 6;
    /// Store/AMO access fault.
    pub const STORE_ACCESS: u64 = 7;
    /// Environment call from user mode; from supervisor mode one more, from machine mode three.
    pub const ECALL_USER: u64 = 8;
    /// Environment call from machine mode.
    pub const ECALL_MACHINE: u64 = 11;
    /// Instruction page fault.
    pub const FETCH_PAGE: u64 = 12;
    /// Load page fault.
    pub const LOAD_PAGE: u64 = 13;
    /// Store/AMO page fault.
    pub const STORE_PAGE: u64 = 15;
    /// Set in a cause that is an interrupt.
    pub const INTERRUPT: u64 = 1 << 63;
}

/// Interrupt numbers: bits of `mip` and `mie`.
pub mod interrupt {
    /// Supervisor software interrupt.
    pub const SSI: u32 = 1;
    /// Machine software interrupt.
    pub const MSI: u32 = 3;
    /// Supervisor timer interrupt.
    pub const STI: u32 = 5;
    /// Machine timer interrupt.
    pub const MTI: u32 = 7;
    /// Supervisor external interrupt.
    pub const SEI: u32 = 9;
    /// Machine external interrupt.
    pub const MEI: u32 = 11;
}

use interrupt::{MEI, MSI, MTI, SEI, SSI, STI};

/// Exceptions that `medeleg` can delegate: all but calls from machine mode.
pub(crate) const DELEGABLE: u64 = 0xb3ff;
/// Interrupts of supervisor mode, which `mideleg` can delegate.
pub(crate) const SUPERVISOR_INTERRUPTS: u64 = 1 << SSI | 1 << STI | 1 << SEI;
/// All interrupts.
pub(crate) const INTERRUPTS: u64 = SUPERVISOR_INTERRUPTS | 1 << MSI | 1 << MTI | 1 << MEI;
/// Bits of `mip` that software can write, STIP not while `stimecmp` drives it.
const SOFTWARE: u64 = SUPERVISOR_INTERRUPTS;
/// From the highest to the lowest priority.
const PRIORITY: [u32; 6] = [MEI, MSI, MTI, SEI, SSI, STI];

/// A synchronous exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its code, see [`cause`].
    pub cause: u64,
    /// What goes to `mtval` or `stval`.
    pub value: u64,
}

impl System {
    /// `mip` as it is read.
    pub fn pending(&self) -> u64 {
        self.mip | self.pins | self.timer
    }

    /// `mip` as `csrrs` and `csrrc` read it to write it: without the pin of SEIP.
    pub(super) fn pending_to_modify(&self) -> u64 {
        let external = 1 << SEI;
        self.pending() & !external | self.mip & external
    }

    pub(super) fn set_pending(&mut self, value: u64) {
        let mut mask = SOFTWARE;
        if self.menvcfg & envcfg::STCE != 0 {
            mask &= !(1 << STI);
        }
        self.mip = self.mip & !mask | value & mask;
    }

    /// Of `sip` only SSIP can be written, if it is delegated.
    pub(super) fn set_supervisor_pending(&mut self, value: u64) {
        let mask = self.mideleg & 1 << SSI;
        self.mip = self.mip & !mask | value & mask;
    }

    /// Number of the interrupt to take now, if any.
    pub fn pending_interrupt(&self) -> Option<u32> {
        let ready = self.pending() & self.mie;
        if ready == 0 {
            return None;
        }
        let enabled = |at: Privilege, bit: u64| {
            self.privilege < at || self.privilege == at && self.mstatus & bit != 0
        };
        let machine = ready & !self.mideleg;
        let supervisor = ready & self.mideleg;
        let first = |set: u64| PRIORITY.into_iter().find(|n| set >> n & 1 != 0);
        let mut taken = None;
        if enabled(Privilege::Machine, status::MIE) {
            taken = first(machine);
        }
        if taken.is_none() && enabled(Privilege::Supervisor, status::SIE) {
            taken = first(supervisor);
        }
        taken
    }

    /// Enters the handler of `cause` for the instruction at `pc`; the address to go on at.
    fn enter(&mut self, pc: u64, cause: u64, value: u64) -> u64 {
        let is_interrupt = cause & cause::INTERRUPT != 0;
        let delegated = if is_interrupt {
            self.mideleg
        } else {
            self.medeleg
        };
        let to_supervisor =
            self.privilege < Privilege::Machine && delegated >> (cause & 63) & 1 != 0;
        let status = self.mstatus;
        let (vector, new);
        if to_supervisor {
            (self.scause, self.sepc, self.stval) = (cause, pc, value);
            let enabled = if status & status::SIE != 0 {
                status::SPIE
            } else {
                0
            };
            let kept = status & !(status::SIE | status::SPIE | status::SPP);
            new = kept | enabled | (self.privilege as u64 & 1) << status::SPP_SHIFT;
            self.privilege = Privilege::Supervisor;
            vector = self.stvec;
        } else {
            (self.mcause, self.mepc, self.mtval) = (cause, pc, value);
            let enabled = if status & status::MIE != 0 {
                status::MPIE
            } else {
                0
            };
            let kept = status & !(status::MIE | status::MPIE | status::MPP);
            new = kept | enabled | (self.privilege as u64) << status::MPP_SHIFT;
            self.privilege = Privilege::Machine;
            vector = self.mtvec;
        }
        self.mstatus = new;
        let base = vector & !3;
        if is_interrupt && vector & 1 != 0 {
            base.wrapping_add(4 * (cause & !cause::INTERRUPT))
        } else {
            base
        }
    }
}

/// Takes a trap at the program counter: exception, or interrupt if [`cause::INTERRUPT`] is set.
pub(crate) fn take_trap(state: &mut HartState, mut cause: u64, value: u64) {
    // Cache-block management instructions raise the exceptions of stores (chapter "Cache
    // Management Operations").
    if std::mem::take(&mut state.sys.cache_block) != 0 {
        cause = match cause {
            cause::LOAD_ACCESS => cause::STORE_ACCESS,
            cause::LOAD_PAGE => cause::STORE_PAGE,
            _ => cause,
        };
    }
    state.regs.pc = state.sys.enter(state.regs.pc, cause, value);
}
