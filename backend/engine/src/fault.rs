//! Host faults in generated code: from a signal to an exit.

use crate::memory::{FRAME_BYTES, VcpuMemory, VcpuRef};
use std::cell::Cell;

/// What the signal handler knows of the vCPU that this thread runs.
#[derive(Clone, Copy)]
struct Current {
    vcpu: VcpuRef,
    /// Range of addresses of code memory.
    code: (u64, u64),
    /// Where generated code leaves after a fault: a block, and the body of a region.
    exits: (u64, u64),
    /// Guard page of the return stack.
    guard: (u64, u64),
    resets: *const crate::stats::Counter,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// Tells the handler which vCPU runs on this thread.
pub(crate) fn set_current(
    memory: &VcpuMemory,
    code: (u64, u64),
    exits: (u64, u64),
    resets: &crate::stats::Counter,
) {
    let guard = memory.guard();
    let guard = (guard.start, guard.end);
    CURRENT.set(Some(Current {
        vcpu: memory.as_ref(),
        code,
        exits,
        guard,
        resets,
    }));
}

/// Forgets the vCPU of this thread: it is about to be freed.
pub(crate) fn clear_current(memory: &VcpuMemory) {
    if CURRENT.get().is_some_and(|c| c.vcpu.same(memory.as_ref())) {
        CURRENT.set(None);
    }
}

/// Processor numbering of the general registers in a signal context.
const REGS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Handles a synchronous host signal if generated code raised it.
///
/// Returns true if so: on return from the signal, the vCPU either repeats the instruction (its
/// return stack had run over and was reset) or leaves generated code, and `Vcpu::run` returns
/// [`crate::Exit::Fault`]. Async-signal-safe: no locks, no allocation.
///
/// # Safety
/// Must be called from a signal handler installed with `SA_SIGINFO | SA_ONSTACK`, on the thread
/// that the signal was raised on, with the handler's own `info` and `context`.
pub unsafe fn handle_host_signal(
    signo: i32,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) -> bool {
    if signo != libc::SIGSEGV && signo != libc::SIGBUS {
        return false;
    }
    let Some(current) = CURRENT.get() else {
        return false;
    };
    // SAFETY: the caller hands over the kernel's context, which is a ucontext_t.
    let gregs = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let host = gregs[libc::REG_RIP as usize] as u64;
    if host < current.code.0 || host >= current.code.1 {
        return false;
    }
    // SAFETY: the caller hands over the kernel's siginfo, and these signals carry an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    if code <= 0 {
        return false; // sent by somebody with kill(2), not raised by an access
    }
    if address >= current.guard.0 && address < current.guard.1 {
        gregs[libc::REG_RSP as usize] = current.vcpu.stack_empty() as i64;
        // SAFETY: the counter lives in the engine, which outlives the vCPU's run.
        unsafe { (*current.resets).add(1) };
        return true;
    }
    // SAFETY: this is the vCPU's own thread, and nobody reads the record while code runs.
    let fault = unsafe { &mut *current.vcpu.fault() };
    fault.signo = signo;
    fault.code = code;
    fault.address = address;
    fault.host = host;
    for (to, &from) in fault.regs.iter_mut().zip(&REGS) {
        *to = gregs[from as usize] as u64;
    }
    // A region's body runs on the host's stack, and has registers of its own.
    let block = current
        .vcpu
        .on_return_stack(gregs[libc::REG_RSP as usize] as u64, current.guard);
    let exit = if block {
        current.exits.0
    } else {
        gregs[libc::REG_RBP as usize] = current.vcpu.rbp() as i64;
        // SAFETY: from the body's stack pointer up to where generated code was entered is this
        // thread's stack; the buffer is as long as what is copied at most.
        unsafe {
            let from = gregs[libc::REG_RSP as usize] as u64;
            let have = current.vcpu.host_rsp().saturating_sub(from) as usize;
            let (from, to) = (from as *const u8, current.vcpu.frame().cast::<u8>());
            std::ptr::copy_nonoverlapping(from, to, have.min(FRAME_BYTES));
        }
        current.exits.1
    };
    gregs[libc::REG_RIP as usize] = exit as i64;
    true
}
