//! Host signals of a machine's threads: the return stack's guard page.

use crate::fault::handle_host_signal;
use std::cell::Cell;
use std::sync::OnceLock;

/// Bytes of a vCPU thread's signal stack.
const STACK: usize = 64 << 10;

/// What was done on a signal before: it is done again if the signal is not ours.
struct Before([libc::sigaction; 2]);

static BEFORE: OnceLock<Before> = OnceLock::new();
const SIGNALS: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

thread_local! {
    static READY: Cell<bool> = const { Cell::new(false) };
}

extern "C" fn on_signal(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel calls with its own values; installed with SA_SIGINFO and SA_ONSTACK.
    if unsafe { handle_host_signal(signo, info, context) } {
        return;
    }
    // Not generated code's: back to what was there; the instruction is repeated and meets it.
    let index = usize::from(signo == libc::SIGBUS);
    if let Some(before) = BEFORE.get() {
        // SAFETY: a valid action that the kernel gave.
        unsafe { libc::sigaction(signo, &before.0[index], std::ptr::null_mut()) };
    }
}

/// Installs the handler of the process, once, and a signal stack for this thread: generated code
/// runs on stacks that no handler fits on.
pub(crate) fn prepare_thread() -> Result<(), std::io::Error> {
    if READY.get() {
        return Ok(());
    }
    // The stack must live as long as the thread, whose end nothing tells: it stays.
    let stack = Box::leak(vec![0u8; STACK].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: STACK,
    };
    // SAFETY: a stack that is valid for as long as the process.
    if unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    BEFORE.get_or_init(install);
    READY.set(true);
    Ok(())
}

fn install() -> Before {
    // SAFETY: zeros are a valid sigaction (no flags, empty mask); sigaction(2) fills `before`.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let mut before: [libc::sigaction; 2] = std::mem::zeroed();
        for (signo, before) in SIGNALS.iter().zip(&mut before) {
            libc::sigaction(*signo, &action, before);
        }
        Before(before)
    }
}
