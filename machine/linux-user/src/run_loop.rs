//! The loop of a guest thread: run, serve what stopped it, deliver signals, run on.

use crate::abi::riscv64 as arch;
use crate::cpu::{Exit, Fault, TrapKind};
use crate::errno::{Errno, SysResult};
use crate::log::complain;
use crate::signal::{self, fault_info};
use crate::syscall::{self, Outcome};
use crate::task::Task;

/// `si_code` of faults (sigaction(2)).
mod code {
    pub const ILL_ILLOPC: i32 = 1;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const TRAP_BRKPT: i32 = 1;
}

impl Task {
    /// Runs the guest thread until it ends; its exit status.
    pub fn run(&mut self) -> i32 {
        loop {
            signal::deliver(self);
            match self.vcpu.run() {
                Ok(Exit::Trap {
                    kind: TrapKind::Syscall,
                    ..
                }) => {
                    self.system_call();
                    if let Some(status) = self.exit {
                        return status;
                    }
                }
                Ok(Exit::Trap { kind, pc, info }) => self.trap(kind, pc, info),
                Ok(Exit::Fault(fault)) => self.fault(fault),
                Ok(Exit::Interrupted) => {}
                Err(error) => {
                    complain(error);
                    self.process.end(125);
                }
            }
        }
    }

    /// Serves an `ecall`; the pc is at it.
    fn system_call(&mut self) {
        let (nr, args) = arch::syscall_args(self.vcpu.state());
        if nr != arch::RT_SIGRETURN && signal::catch_up(self).is_err() {
            return; // a signal comes first; then the same call again
        }
        match syscall::dispatch(self, nr, args) {
            Outcome::Return(result) => {
                let state = self.vcpu.state_mut();
                arch::set_result(state, encode(result));
                state.pc = state.pc.wrapping_add(arch::SYSCALL_INSN_LEN);
            }
            Outcome::Restart(how) => self.signal.restart = Some(how),
            Outcome::AlreadySet => {}
        }
    }

    /// Turns a trap into the signal that riscv Linux raises for it (arch/riscv/kernel/traps.c).
    fn trap(&mut self, kind: TrapKind, pc: u64, info: u64) {
        let info = match kind {
            TrapKind::Breakpoint => fault_info(libc::SIGTRAP, code::TRAP_BRKPT, pc),
            TrapKind::Illegal => fault_info(libc::SIGILL, code::ILL_ILLOPC, pc),
            TrapKind::Misaligned => fault_info(libc::SIGBUS, code::BUS_ADRALN, info),
            TrapKind::Fetch => fault_info(libc::SIGSEGV, self.fetch_code(info), info),
            TrapKind::Yield => {
                std::thread::yield_now();
                return;
            }
            // The engine serves these itself.
            TrapKind::Syscall | TrapKind::InsnSync | TrapKind::Mode => return,
            // Privileged: a program has no such instruction.
            TrapKind::Wfi | TrapKind::Return => return,
        };
        signal::force(self, &info);
    }

    /// Why fetching at `addr` failed.
    fn fetch_code(&self, addr: u64) -> i32 {
        if self.process.mm.is_mapped(addr) {
            code::SEGV_ACCERR
        } else {
            code::SEGV_MAPERR
        }
    }

    /// A load or store that the host refused: for the same reason as the guest's kernel would.
    fn fault(&mut self, fault: Fault) {
        let code = match (fault.signo, fault.code) {
            // The host cannot tell of addresses that no page table can hold.
            (libc::SIGSEGV, libc::SI_KERNEL) => code::SEGV_MAPERR,
            (_, code) => code,
        };
        signal::force(self, &fault_info(fault.signo, code, fault.address));
    }
}

/// A result as the guest's register shows it: errors are small negative numbers.
fn encode(result: SysResult) -> u64 {
    match result {
        Ok(value) => value,
        Err(Errno(errno)) => -i64::from(errno) as u64,
    }
}
