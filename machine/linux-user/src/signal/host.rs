//! The host's side of signals: handlers, masks, and system calls that signals interrupt.
//!
//! Raw system calls throughout: the C library refuses its own two signals (32 and 33), which
//! belong to the guest's C library here.

use super::{SYNCHRONOUS, slot_of};
use crate::cpu::Kick;
use crate::syscall::uaccess;
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A `siginfo_t` as 16 words; guest and host lay it out alike.
pub type Info = [u64; 16];

/// Slot of every signal that is not synchronous: the handler blocks all of them, so there is at
/// most one in flight.
pub(super) const ASYNC_SLOT: u32 = 5;

/// What the handler of host signals writes and the thread reads.
pub struct Inbox {
    /// Bit n: slot n is filled and wants to be looked at. Read by `isomorph_safe_syscall`.
    pub(super) pending: AtomicU32,
    slots: [UnsafeCell<Info>; 6],
    kick: Kick,
}

impl Inbox {
    pub(super) fn new(kick: Kick) -> Self {
        let slots = std::array::from_fn(|_| UnsafeCell::new([0; 16]));
        Self {
            pending: AtomicU32::new(0),
            slots,
            kick,
        }
    }

    /// The signal in a slot that is pending.
    pub(super) fn info(&self, slot: u32) -> Info {
        // SAFETY: the handler writes a slot only while its bit is clear, and it runs on this
        // thread: nobody writes now.
        unsafe { *self.slots[slot as usize].get() }
    }
}

thread_local! {
    /// The inbox of the guest thread that runs on this host thread.
    static CURRENT: Cell<*const Inbox> = const { Cell::new(std::ptr::null()) };
}

/// Makes `inbox` the one that signals on this thread go to; null for none.
pub fn set_current(inbox: *const Inbox) {
    CURRENT.set(inbox);
}

core::arch::global_asm!(
    ".pushsection .text.isomorph_signal,\"ax\",@progbits",
    ".hidden isomorph_safe_syscall",
    ".hidden isomorph_safe_start",
    ".hidden isomorph_safe_insn",
    ".hidden isomorph_safe_restart",
    ".hidden isomorph_restore_rt",
    ".globl isomorph_safe_syscall",
    ".globl isomorph_safe_start",
    ".globl isomorph_safe_insn",
    ".globl isomorph_safe_restart",
    ".globl isomorph_restore_rt",
    // rdi = flag, rsi = number, rdx = arguments
    "isomorph_safe_syscall:",
    "mov rax, rsi",
    "mov r11, rdi",
    "mov rcx, rdx",
    "mov rdi, [rcx]",
    "mov rsi, [rcx + 8]",
    "mov rdx, [rcx + 16]",
    "mov r10, [rcx + 24]",
    "mov r8, [rcx + 32]",
    "mov r9, [rcx + 40]",
    // A signal between here and the system call finds the program counter in this window and
    // sends it to the restart.
    "isomorph_safe_start:",
    "cmp dword ptr [r11], 0",
    "jne isomorph_safe_restart",
    "isomorph_safe_insn:",
    "syscall",
    "ret",
    "isomorph_safe_restart:",
    "mov rax, -513",
    "ret",
    "isomorph_restore_rt:",
    "mov eax, 15",
    "syscall",
    ".popsection",
);

unsafe extern "C" {
    fn isomorph_safe_syscall(flag: *const u32, nr: i64, args: *const u64) -> i64;
    static isomorph_safe_start: u8;
    static isomorph_safe_insn: u8;
    static isomorph_safe_restart: u8;
    fn isomorph_restore_rt();
}

/// See [`super::safe_syscall`].
///
/// # Safety
///
/// As the host's system call.
pub(super) unsafe fn interruptible(inbox: &Inbox, nr: i64, args: &[u64; 6]) -> i64 {
    // SAFETY: the flag and the arguments are live; the rest is the caller's promise.
    unsafe { isomorph_safe_syscall(inbox.pending.as_ptr(), nr, args.as_ptr()) }
}

/// The kernel's `struct sigaction` on x86-64.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SA_RESTORER: u64 = 0x0400_0000;

/// What the host does about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The kernel's default.
    Default,
    /// Nothing.
    Ignore,
    /// Our handler, with these of the guest's flags.
    Handler(u64),
}

/// Flags of the guest that the host's kernel acts upon.
const PASSED_FLAGS: u64 =
    (libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT) as u32 as u64;

/// Sets what the host does about signal `signo`.
pub fn set_disposition(signo: i32, disposition: Disposition) {
    let ours = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | SA_RESTORER;
    let (handler, flags) = match disposition {
        _ if signo == isomorph_probe::SIGNAL && isomorph_probe::running() => {
            SHARED.store(shared_code(disposition), Ordering::Relaxed);
            let handler = on_shared as *const () as usize;
            (handler, ours | libc::SA_RESTART as u64)
        }
        Disposition::Default => (libc::SIG_DFL, SA_RESTORER),
        Disposition::Ignore => (libc::SIG_IGN, SA_RESTORER),
        Disposition::Handler(flags) => {
            (on_signal as *const () as usize, ours | flags & PASSED_FLAGS)
        }
    };
    set_action(signo, handler, flags);
}

fn set_action(signo: i32, handler: usize, flags: u64) {
    let restorer = isomorph_restore_rt as *const () as usize;
    let action = KernelAction {
        handler,
        flags,
        restorer,
        mask: !SYNCHRONOUS,
    };
    // SAFETY: the structure is live; our handler is async-signal-safe. A wrong number changes
    // nothing.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signo,
            &raw const action,
            0_usize,
            8_usize,
        )
    };
}

/// What the guest wants done about the signal that it shares with samples of CPU time.
static SHARED: AtomicU32 = AtomicU32::new(0);

const fn shared_code(disposition: Disposition) -> u32 {
    match disposition {
        Disposition::Default => 0,
        Disposition::Ignore => 1,
        Disposition::Handler(_) => 2,
    }
}

/// Takes samples of CPU time; others of this signal are the guest's. Async-signal-safe.
unsafe extern "C" fn on_shared(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the handler's own arguments.
    if unsafe { isomorph_probe::note(info, context) } {
        return;
    }
    match SHARED.load(Ordering::Relaxed) {
        0 => {
            set_action(signo, libc::SIG_DFL, SA_RESTORER);
            // SAFETY: plain system calls; the signal arrives when the handler returns.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signo) };
        }
        1 => {}
        // SAFETY: as this handler.
        _ => unsafe { on_signal(signo, info, context) },
    }
}

/// True if the host ignores signal `signo`.
#[must_use]
pub fn is_ignored(signo: i32) -> bool {
    let mut action = KernelAction::default();
    // SAFETY: the structure is live and of the size the kernel writes.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signo,
            0_usize,
            &raw mut action,
            8_usize,
        )
    };
    action.handler == libc::SIG_IGN
}

/// Sets this thread's host mask and returns the old one.
pub fn set_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both masks are live.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            8_usize,
        )
    };
    old
}

/// This thread's host mask.
#[must_use]
pub fn mask() -> u64 {
    let mut old = 0_u64;
    // SAFETY: the mask is live.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            0_usize,
            &raw mut old,
            8_usize,
        )
    };
    old
}

/// Handles every host signal. Async-signal-safe.
unsafe extern "C" fn on_signal(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over both structures.
    let code = unsafe { (*info).si_code };
    if slot_of(signo) != ASYNC_SLOT && code > 0 {
        // SAFETY: as above; this is the handler itself.
        unsafe { on_fault(signo, info, context) };
        return;
    }
    let inbox = CURRENT.get();
    if inbox.is_null() {
        return;
    }
    // SAFETY: the inbox lives until `set_current` forgets it.
    let inbox = unsafe { &*inbox };
    let slot = slot_of(signo);
    let bit = 1 << slot;
    if inbox.pending.load(Ordering::Relaxed) & bit == 0 {
        // SAFETY: the slot is free, and only this thread (here) writes it. siginfo_t is 128 bytes.
        unsafe { *inbox.slots[slot as usize].get() = *info.cast::<Info>() };
        inbox.pending.fetch_or(bit, Ordering::SeqCst);
    }
    inbox.kick.request();
    // SAFETY: the context is the kernel's ucontext_t; its mask begins with the kernel's 8 bytes.
    unsafe {
        let context = context.cast::<libc::ucontext_t>();
        if slot == ASYNC_SLOT {
            *(&raw mut (*context).uc_sigmask).cast::<u64>() = !SYNCHRONOUS;
        }
        let pc = &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize];
        let window =
            (&raw const isomorph_safe_start) as i64..=(&raw const isomorph_safe_insn) as i64;
        if window.contains(pc) {
            *pc = (&raw const isomorph_safe_restart) as i64;
        }
    }
}

/// A fault of this thread: the guest's, a copy's from or to guest memory, or our own.
///
/// # Safety
///
/// As the handler: with its own arguments.
unsafe fn on_fault(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: called from the handler with its arguments; the handler is on its own stack.
    if unsafe { isomorph_engine::handle_host_signal(signo, info, context) } {
        return;
    }
    // SAFETY: the context is the kernel's.
    let gregs = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let pc = gregs[libc::REG_RIP as usize] as u64;
    if let Some(target) = uaccess::fixup(pc) {
        gregs[libc::REG_RIP as usize] = target as i64;
        return;
    }
    // SAFETY: the faults that come here carry an address.
    report(signo, pc, unsafe { (*info).si_addr() as u64 });
    // The instruction faults again and ends the process as the host sees fit.
    set_disposition(signo, Disposition::Default);
}

/// Says that isomorph itself has crashed. No allocation: the heap may be what is broken.
fn report(signo: i32, pc: u64, address: u64) {
    let mut text = *b"isomorph: internal error: host signal .. at pc 0x................ \
        address 0x................\n";
    let hex = |text: &mut [u8], value: u64| {
        for (index, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(value >> (60 - 4 * index) & 15) as usize];
        }
    };
    text[38] = b'0' + (signo / 10) as u8;
    text[39] = b'0' + (signo % 10) as u8;
    hex(&mut text[49..65], pc);
    hex(&mut text[76..92], address);
    // SAFETY: the buffer is live.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// The stack that host signal handlers of a thread run on.
#[derive(Debug)]
pub struct HandlerStack {
    base: usize,
}

const HANDLER_STACK: usize = 64 << 10;

/// Stacks of threads that have ended, for the next ones.
static SPARE: Mutex<Vec<HandlerStack>> = Mutex::new(Vec::new());
/// Most stacks that are kept.
const SPARE_MAX: usize = 16;

impl HandlerStack {
    /// A stack, not in use yet.
    pub fn new() -> Result<Self, crate::errno::Errno> {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(stack) = spare {
            return Ok(stack);
        }
        // SAFETY: a fresh mapping anywhere.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                HANDLER_STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(crate::errno::Errno::last());
        }
        // SAFETY: the lowest page of what was just mapped becomes a guard.
        unsafe { libc::mprotect(base, 4096, libc::PROT_NONE) };
        Ok(Self {
            base: base as usize,
        })
    }

    /// Makes it this thread's.
    pub fn install(&self) {
        self.set(0);
    }

    /// Ends its use by this thread, and keeps it for another.
    pub fn retire(self) {
        self.set(libc::SS_DISABLE);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(self);
            return;
        }
        drop(spare);
        // SAFETY: nothing uses the mapping any more.
        unsafe { libc::munmap(self.base as *mut libc::c_void, HANDLER_STACK) };
    }

    /// Holds the spare stacks still, for fork.
    pub fn freeze() -> MutexGuard<'static, Vec<Self>> {
        SPARE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, flags: i32) {
        let ss_sp = self.base as *mut libc::c_void;
        let stack = libc::stack_t {
            ss_sp,
            ss_flags: flags,
            ss_size: HANDLER_STACK,
        };
        // SAFETY: the stack is mapped, and this is not one of the handlers that run on it.
        unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    }
}

/// Signals that were ignored when this process started: bit n-1 for signal n. Rust's runtime
/// ignores `SIGPIPE` for itself before `main`, so this is noted earlier.
static mut IGNORED_AT_START: u64 = 0;

extern "C" fn note_ignored() {
    let ignored = (1..=64).filter(|&signo| is_ignored(signo));
    let bits = ignored.fold(0_u64, |bits, signo| bits | 1 << (signo - 1));
    // SAFETY: runs once, before any other thread exists.
    unsafe { IGNORED_AT_START = bits };
    // Rust's runtime leaves alone what is taken. Its own handlers would cost every thread a
    // second signal stack, and every start a search for the main thread's guard page.
    for signo in [libc::SIGSEGV, libc::SIGBUS] {
        if bits & super::bit(signo) == 0 {
            set_disposition(signo, Disposition::Handler(0));
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_IGNORED: extern "C" fn() = note_ignored;

/// Signals that were ignored when this process started.
#[must_use]
pub fn ignored_at_start() -> u64 {
    // SAFETY: written once before `main`.
    unsafe { IGNORED_AT_START }
}
