//! Guest signals.
//!
//! The host's mask mirrors the guest's, so the kernel queues, orders and wakes; only synchronous
//! signals stay unblocked on the host, because generated code raises them. The handler of a host
//! signal notes it in the thread's [`Inbox`], blocks all further ones and stops generated code;
//! [`deliver`] then builds the guest's frame and opens the mask again.
//!
//! Invariants:
//! - At most one asynchronous signal per thread is in flight between host and guest.
//! - A system call that changes the mask or waits starts only while no signal is in flight, and
//!   that is decided together with its start (`safe_syscall`).

mod calls;
mod host;

pub use calls::{
    sys_kill, sys_rt_sigaction, sys_rt_sigpending, sys_rt_sigprocmask, sys_rt_sigqueueinfo,
    sys_rt_sigreturn, sys_rt_sigsuspend, sys_rt_sigtimedwait, sys_rt_tgsigqueueinfo,
    sys_sigaltstack, sys_tgkill, sys_tkill,
};
pub use host::{
    Disposition, HandlerStack, Inbox, Info, ignored_at_start, mask as host_thread_mask,
    set_current, set_disposition, set_mask as set_host_mask,
};

use crate::abi::riscv64 as arch;
use crate::cpu::Kick;
use crate::errno::{Errno, SysResult};
use crate::syscall::{Restart, uaccess};
use crate::task::Task;
use host::ASYNC_SLOT;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bit of signal `signo` in a mask.
#[must_use]
pub const fn bit(signo: i32) -> u64 {
    1 << (signo - 1)
}

/// Signals that host code always lets through: faults of generated code.
pub const SYNCHRONOUS: u64 = bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGSEGV);

/// The host mask that keeps every signal away from a thread but those it raises itself.
pub const ALL: u64 = !SYNCHRONOUS;

/// Signals that cannot be blocked, caught or ignored.
pub const UNBLOCKABLE: u64 = bit(libc::SIGKILL) | bit(libc::SIGSTOP);

/// Largest signal number.
pub const SIGNAL_MAX: i32 = 64;

/// The mask to give to a host call that waits with a signal mask for guest mask `mask`.
#[must_use]
pub const fn host_mask(mask: u64) -> u64 {
    mask & !SYNCHRONOUS
}

/// The inbox slot of a signal.
const fn slot_of(signo: i32) -> u32 {
    match signo {
        libc::SIGILL => 0,
        libc::SIGTRAP => 1,
        libc::SIGBUS => 2,
        libc::SIGFPE => 3,
        libc::SIGSEGV => 4,
        _ => ASYNC_SLOT,
    }
}

/// What the guest wants done about a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// `SIG_DFL`, `SIG_IGN` or a guest address.
    pub handler: u64,
    /// `SA_` flags.
    pub flags: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

const SIG_DFL: u64 = 0;
const SIG_IGN: u64 = 1;
/// Real-time signals that C libraries use between threads (pthreads(7), "NPTL").
const LIBRARY_SIGNALS: std::ops::RangeInclusive<i32> = 32..=33;

/// What the guest does about each signal; shared by its threads.
pub struct Actions(Mutex<[Action; SIGNAL_MAX as usize]>);

impl Default for Actions {
    fn default() -> Self {
        Self(Mutex::new([Action::default(); SIGNAL_MAX as usize]))
    }
}

impl Actions {
    /// Those of a program that starts: ignored signals stay ignored (execve(2)). Installs the
    /// handlers of synchronous signals.
    #[must_use]
    pub fn at_start() -> Self {
        let actions = Self::default();
        let ignored = ignored_at_start();
        let mut table = actions.lock();
        for signo in 1..=SIGNAL_MAX {
            let action = &mut table[signo as usize - 1];
            if ignored & bit(signo) != 0 {
                action.handler = SIG_IGN;
            } else if signo == libc::SIGPIPE {
                set_disposition(signo, Disposition::Default);
            }
            if slot_of(signo) != ASYNC_SLOT {
                set_disposition(signo, Disposition::Handler(0));
            }
            let shared = signo == isomorph_probe::SIGNAL && isomorph_probe::running();
            if shared || END_IS_TOLD.load(Ordering::Relaxed) && slot_of(signo) == ASYNC_SLOT {
                set_disposition(signo, disposition(signo, action));
            }
        }
        drop(table);
        actions
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, [Action; SIGNAL_MAX as usize]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done about `signo`.
    #[must_use]
    pub fn get(&self, signo: i32) -> Action {
        self.lock()[signo as usize - 1]
    }

    /// A copy, for the child of a vfork.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(Mutex::new(*self.lock()))
    }

    /// Changes an action; the host follows.
    pub fn set(&self, signo: i32, action: Action) -> Action {
        let mut table = self.lock();
        let old = std::mem::replace(&mut table[signo as usize - 1], action);
        if slot_of(signo) == ASYNC_SLOT && disposition(signo, &old) != disposition(signo, &action) {
            set_disposition(signo, disposition(signo, &action));
        }
        old
    }

    /// Takes the C library's two signals back for the guest: the host's C library puts a handler
    /// of its own in place for the second when it starts the first thread.
    pub fn reclaim_library_signals(&self) {
        let table = self.lock();
        for signo in LIBRARY_SIGNALS {
            set_disposition(signo, disposition(signo, &table[signo as usize - 1]));
        }
    }

    /// Makes the host's dispositions those that a program started by execve shall inherit.
    pub fn prepare_exec(&self) {
        let table = self.lock();
        for signo in (1..=SIGNAL_MAX).filter(|&signo| slot_of(signo) != ASYNC_SLOT) {
            if table[signo as usize - 1].handler == SIG_IGN {
                set_disposition(signo, Disposition::Ignore);
            }
        }
    }

    /// Undoes [`Actions::prepare_exec`] after an execve that failed.
    pub fn exec_failed(&self) {
        for signo in (1..=SIGNAL_MAX).filter(|&signo| slot_of(signo) != ASYNC_SLOT) {
            set_disposition(signo, Disposition::Handler(0));
        }
    }
}

/// Set if something is told at the end of the run: then signals that end the process by default
/// come to us first.
static END_IS_TOLD: AtomicBool = AtomicBool::new(false);

/// From now on the end by a signal is noticed. To be called before [`Actions::at_start`].
pub fn notice_end() {
    END_IS_TOLD.store(true, Ordering::Relaxed);
}

/// Signals that do not end a process by default, or that nobody can handle (signal(7)).
const HARMLESS: [i32; 9] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGKILL,
];

fn disposition(signo: i32, action: &Action) -> Disposition {
    let told = || END_IS_TOLD.load(Ordering::Relaxed) && !HARMLESS.contains(&signo);
    match action.handler {
        SIG_DFL if told() => Disposition::Handler(0),
        SIG_DFL => Disposition::Default,
        SIG_IGN => Disposition::Ignore,
        _ => Disposition::Handler(action.flags),
    }
}

/// A guest's alternate signal stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// `SS_AUTODISARM` and `SS_DISABLE`.
    pub flags: u32,
}

impl Default for AltStack {
    fn default() -> Self {
        Self {
            base: 0,
            size: 0,
            flags: libc::SS_DISABLE as u32,
        }
    }
}

const SS_AUTODISARM: u32 = 1 << 31;

impl AltStack {
    const fn enabled(&self) -> bool {
        self.size != 0 && self.flags & libc::SS_DISABLE as u32 == 0
    }

    /// True if a thread with this stack pointer runs on it (the kernel's `on_sig_stack`).
    #[must_use]
    pub const fn holds(&self, sp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && sp > self.base && sp - self.base <= self.size
    }

    /// As a `stack_t` for a thread with this stack pointer.
    #[must_use]
    pub const fn describe(&self, sp: u64) -> [u64; 3] {
        let on = if self.holds(sp) && self.size != 0 {
            libc::SS_ONSTACK as u32
        } else {
            0
        };
        let off = if self.size == 0 {
            libc::SS_DISABLE as u32
        } else {
            0
        };
        [self.base, (self.flags | on | off) as u64, self.size]
    }
}

/// A thread's signal state.
pub struct SignalState {
    /// Signals that are blocked: bit n-1 for signal n.
    pub mask: u64,
    /// The mask during an interrupted call that waits with a mask of its own (`ppoll`).
    pub wait_mask: Option<u64>,
    /// The alternate stack.
    pub altstack: AltStack,
    /// How the system call that a signal interrupted goes on.
    pub(crate) restart: Option<Restart>,
    /// Slots with synchronous signals that somebody sent while they were blocked.
    held: u32,
    /// A signal that the thread has sent itself, see [`calls`].
    direct: Option<Info>,
    /// The host's mask while it lags behind the guest's: the handler of a direct signal starts,
    /// and most often ends, without a host call. Any system call but `rt_sigreturn` catches up.
    lagging: Option<u64>,
    inbox: Box<Inbox>,
}

impl SignalState {
    /// For a thread whose vCPU `kick` stops.
    #[must_use]
    pub fn new(mask: u64, kick: Kick) -> Self {
        Self {
            mask: mask & !UNBLOCKABLE,
            wait_mask: None,
            altstack: AltStack::default(),
            restart: None,
            held: 0,
            direct: None,
            lagging: None,
            inbox: Box::new(Inbox::new(kick)),
        }
    }

    /// Where this thread's host signals go.
    #[must_use]
    pub fn inbox(&self) -> *const Inbox {
        &raw const *self.inbox
    }

    /// True if a signal waits to be delivered.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.inbox.pending.load(Ordering::Relaxed) != 0
    }

    /// True while the host's mask is shut because a signal waits in the inbox.
    fn in_flight(&self) -> bool {
        self.inbox.pending.load(Ordering::Relaxed) & 1 << ASYNC_SLOT != 0
    }

    /// The host's mask while no signal is in flight.
    fn host(&self) -> u64 {
        self.lagging.unwrap_or(host_mask(self.mask))
    }

    /// Notes the new mask; what was held and is not blocked any more wants delivery.
    fn mask_changed(&mut self, mask: u64) {
        self.mask = mask & !UNBLOCKABLE;
        self.release(self.mask);
    }

    /// Makes pending what was held and `mask` does not block; true if there was anything.
    fn release(&mut self, mask: u64) -> bool {
        let free = (0..ASYNC_SLOT)
            .filter(|slot| self.held & 1 << slot != 0)
            .filter(|slot| {
                let signo = signo_of(&self.inbox.info(*slot));
                mask & bit(signo) == 0
            });
        let bits = free.fold(0, |bits, slot| bits | 1 << slot);
        self.held &= !bits;
        self.inbox.pending.fetch_or(bits, Ordering::SeqCst);
        bits != 0
    }
}

/// The signal's number: the first word of a `siginfo_t`.
const fn signo_of(info: &Info) -> i32 {
    info[0] as u32 as i32
}

/// A `siginfo_t` of a fault.
#[must_use]
pub const fn fault_info(signo: i32, code: i32, address: u64) -> Info {
    let mut info = [0; 16];
    info[0] = signo as u32 as u64;
    info[1] = code as u32 as u64;
    info[2] = address;
    info
}

/// Runs a host system call so that no guest signal is lost before it blocks.
///
/// A signal that arrives before the call takes effect gives `ERESTARTNOINTR`, and so does one that
/// interrupts it where the guest asked for `SA_RESTART` and the call restarts; else `EINTR`.
///
/// # Safety
///
/// As the host's system call: pointers in `args` must be the guest's (checked) or live.
pub unsafe fn safe_syscall(task: &mut Task, nr: i64, args: [u64; 6]) -> SysResult {
    // SAFETY: the caller's promise.
    let ret = unsafe { host::interruptible(&task.signal.inbox, nr, &args) };
    if (-4095..0).contains(&ret) {
        Err(Errno(-ret as i32))
    } else {
        Ok(ret as u64)
    }
}

/// [`safe_syscall`] for calls that take a signal mask for the time they wait (`ppoll`,
/// `pselect6`, `epoll_pwait`): `mask` is the guest's, and the caller has put
/// [`host_mask`]`(mask)` where `args` points. If a signal interrupts the call, it is delivered
/// under `mask`.
///
/// # Safety
///
/// As [`safe_syscall`].
pub unsafe fn safe_syscall_masked(
    task: &mut Task,
    nr: i64,
    args: [u64; 6],
    mask: Option<u64>,
) -> SysResult {
    if let Some(mask) = mask
        && task.signal.release(mask & !UNBLOCKABLE)
    {
        // What the wait would let through is here already.
        task.signal.wait_mask = Some(mask);
        return Err(Errno::EINTR);
    }
    // SAFETY: the caller's promise.
    let result = unsafe { safe_syscall(task, nr, args) };
    if result == Err(Errno::EINTR) {
        task.signal.wait_mask = mask;
    }
    result
}

/// Sets the host's mask unless a signal is in flight, which then comes first (`ERESTARTNOINTR`).
pub fn set_mask_if_quiet(task: &mut Task, host: u64) -> Result<(), Errno> {
    let how = libc::SIG_SETMASK as u64;
    let args = [how, (&raw const host) as u64, 0, 8, 0, 0];
    // SAFETY: the mask is live.
    unsafe { safe_syscall(task, libc::SYS_rt_sigprocmask, args) }.map(|_| ())
}

/// Makes the host's mask the guest's before a system call that might depend on it.
#[inline]
pub fn catch_up(task: &mut Task) -> Result<(), Errno> {
    if task.signal.lagging.is_none() {
        return Ok(());
    }
    set_mask_if_quiet(task, host_mask(task.signal.mask))?;
    task.signal.lagging = None;
    Ok(())
}

/// Delivers what is pending. To be called before generated code is entered.
#[inline]
pub fn deliver(task: &mut Task) {
    if let Some(info) = task.signal.direct.take() {
        let host = task.signal.host();
        act(task, &info);
        task.signal.lagging = Some(host).filter(|&host| host != host_mask(task.signal.mask));
    }
    if task.signal.is_pending() {
        deliver_pending(task);
    }
    task.signal.restart = None;
    task.signal.wait_mask = None;
}

fn deliver_pending(task: &mut Task) {
    loop {
        let pending = task.signal.inbox.pending.load(Ordering::SeqCst);
        if pending == 0 {
            return;
        }
        let slot = pending.trailing_zeros();
        let info = task.signal.inbox.info(slot);
        let blocked = task.signal.wait_mask.unwrap_or(task.signal.mask);
        if slot != ASYNC_SLOT && blocked & bit(signo_of(&info)) != 0 {
            task.signal.held |= 1 << slot;
            task.signal
                .inbox
                .pending
                .fetch_and(!(1 << slot), Ordering::SeqCst);
            continue;
        }
        task.signal
            .inbox
            .pending
            .fetch_and(!(1 << slot), Ordering::SeqCst);
        if blocked & bit(signo_of(&info)) == 0 {
            act(task, &info);
        } else {
            send_again(task, &info);
        }
        if slot == ASYNC_SLOT {
            // The handler has blocked everything; open the mask for the next one.
            task.signal.lagging = None;
            set_host_mask(host_mask(task.signal.mask));
        }
    }
}

/// Gives a signal back to the kernel that came while the host's mask lagged behind.
fn send_again(task: &Task, info: &Info) {
    // SAFETY: the structure is live.
    unsafe {
        let pid = libc::getpid();
        let (signo, info) = (signo_of(info), &raw const *info);
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, task.tid, signo, info)
    };
}

/// Raises a fault of the guest's current instruction: a signal that cannot be put off.
pub fn force(task: &mut Task, info: &Info) {
    let signo = signo_of(info);
    let mut action = task.process.actions.get(signo);
    if action.handler == SIG_IGN || task.signal.mask & bit(signo) != 0 {
        action.handler = SIG_DFL;
        task.process.actions.set(signo, action);
        task.signal.mask &= !bit(signo);
    }
    act(task, info);
}

/// Gives a signal that was meant for the whole process, and that this thread has taken but will
/// not live to handle, to the other threads. All signals are blocked.
pub fn pass_on(task: &Task) {
    if !task.signal.in_flight() {
        return;
    }
    let info = task.signal.inbox.info(ASYNC_SLOT);
    let code = (info[1] as u32).cast_signed();
    if code != libc::SI_TKILL {
        let signo = signo_of(&info);
        // SAFETY: the structure is live.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigqueueinfo,
                libc::getpid(),
                signo,
                &raw const info,
            )
        };
    }
}

/// Does what the guest wants about a signal.
fn act(task: &mut Task, info: &Info) {
    let signo = signo_of(info);
    let action = task.process.actions.get(signo);
    task.log_signal(info, &action);
    match action.handler {
        SIG_IGN => {}
        SIG_DFL => default_action(task, signo),
        _ => {
            restart_interrupted(task, &action);
            if call_handler(task, info, &action).is_err() {
                frame_failed(task, signo);
            }
        }
    }
}

/// The stack could not take the frame: `SIGSEGV`, deadly if that is what was to be delivered.
fn frame_failed(task: &mut Task, signo: i32) {
    if signo == libc::SIGSEGV {
        default_action(task, signo);
    } else {
        let info = fault_info(libc::SIGSEGV, libc::SI_KERNEL, 0);
        force(task, &info);
    }
}

/// Does what the kernel does by default: lets it.
fn default_action(task: &mut Task, signo: i32) {
    match signo {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => return,
        _ => {}
    }
    if !matches!(
        signo,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU
    ) {
        task.process.about_to_end(0); // the signal tells how it ended
        // A core dump would show isomorph, not the guest.
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the structure is live.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    }
    set_disposition(signo, Disposition::Default);
    // SAFETY: plain system calls.
    unsafe {
        let pid = libc::getpid();
        libc::syscall(libc::SYS_tgkill, pid, task.tid, signo);
    }
    set_host_mask(host_mask(task.signal.mask) & !bit(signo));
    set_host_mask(host_mask(task.signal.mask));
    if slot_of(signo) != ASYNC_SLOT {
        set_disposition(signo, Disposition::Handler(0));
    }
}

/// Decides how the system call that the handler interrupted goes on afterwards.
fn restart_interrupted(task: &mut Task, action: &Action) {
    let again = match task.signal.restart.take() {
        None | Some(Restart::Always) => true,
        Some(Restart::IfSaRestart) => action.flags & libc::SA_RESTART as u64 != 0,
        Some(Restart::IfNoHandler) => false,
    };
    if !again {
        let state = task.vcpu.state_mut();
        arch::set_result(state, -i64::from(libc::EINTR) as u64);
        state.pc += arch::SYSCALL_INSN_LEN;
    }
}

/// Builds the signal frame and sets the registers so that the handler runs.
fn call_handler(task: &mut Task, info: &Info, action: &Action) -> Result<(), Errno> {
    let signo = signo_of(info);
    let sp = arch::stack_pointer(task.vcpu.state());
    let alt = task.signal.altstack;
    let size = size_of::<arch::Frame>() as u64;
    let switch = action.flags & libc::SA_ONSTACK as u64 != 0 && alt.enabled() && !alt.holds(sp);
    let top = if switch { alt.base + alt.size } else { sp };
    let at = top.wrapping_sub(size) & !15;
    if alt.enabled() && alt.holds(top) && !alt.holds(at) && at != alt.base {
        return Err(Errno::EFAULT);
    }
    let saved = arch::Frame::save(task.vcpu.state(), *info, alt.describe(sp), task.signal.mask);
    uaccess::write(task, at, &saved)?;
    let process = &task.process;
    if action.flags & libc::SA_RESETHAND as u32 as u64 != 0 {
        process.actions.set(
            signo,
            Action {
                handler: SIG_DFL,
                ..*action
            },
        );
    }
    if alt.flags & SS_AUTODISARM != 0 {
        task.signal.altstack = AltStack::default();
    }
    let itself = if action.flags & libc::SA_NODEFER as u64 == 0 {
        bit(signo)
    } else {
        0
    };
    let before = task.signal.host();
    let blocked = task.signal.wait_mask.take().unwrap_or(task.signal.mask);
    task.signal.mask = (blocked | action.mask | itself) & !UNBLOCKABLE;
    let after = host_mask(task.signal.mask);
    // While another signal is in flight the host's mask stays shut: its delivery opens it.
    if slot_of(signo) != ASYNC_SLOT && after != before && !task.signal.in_flight() {
        set_host_mask(after);
        task.signal.lagging = None;
    }
    let call = arch::HandlerCall {
        handler: action.handler,
        restorer: task.process.image.sigreturn,
        frame: at,
        signo: signo as u64,
        info: at,
        ucontext: at + std::mem::offset_of!(arch::Frame, uc) as u64,
    };
    arch::enter_handler(task.vcpu.state_mut(), &call);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_have_slots_of_their_own() {
        let own = (1..=SIGNAL_MAX).filter(|&s| slot_of(s) != ASYNC_SLOT);
        assert_eq!(own.fold(0, |mask, s| mask | bit(s)), SYNCHRONOUS);
    }

    #[test]
    fn fault_info_is_laid_out_as_siginfo() {
        let info = fault_info(libc::SIGSEGV, 2, 0x1234);
        // SAFETY: both are 128 bytes of plain data.
        let host: libc::siginfo_t = unsafe { std::mem::transmute(info) };
        // SAFETY: a SIGSEGV carries an address.
        let address = unsafe { host.si_addr() as u64 };
        assert_eq!(
            (host.si_signo, host.si_code, address),
            (libc::SIGSEGV, 2, 0x1234)
        );
    }

    #[test]
    fn the_stack_pointer_tells_whether_the_alternate_stack_is_in_use() {
        let alt = AltStack {
            base: 0x1000,
            size: 0x2000,
            flags: 0,
        };
        assert!(!alt.holds(0x1000) && alt.holds(0x1001) && alt.holds(0x3000));
        assert!(!alt.holds(0x3001));
        assert_eq!(alt.describe(0x2000), [0x1000, 1, 0x2000]);
        assert_eq!(
            AltStack::default().describe(0x2000)[1],
            libc::SS_DISABLE as u64
        );
    }
}
