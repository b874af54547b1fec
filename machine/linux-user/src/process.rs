//! Guest processes: fork, vfork and the end.

use crate::errno::{Errno, SysResult};
use crate::log::complain;
use crate::signal::{self, HandlerStack, SignalState};
use crate::syscall::uaccess;
use crate::task::{Process, Task};
use crate::thread::CloneArgs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Flags that isomorph itself acts upon, since they concern guest registers and memory.
const OURS: u64 = (libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u64;

/// Blocks all host signals unless one is in flight, which then comes first. A child must not
/// inherit a signal that was meant for its parent.
fn block_signals(task: &mut Task) -> Result<(), Errno> {
    signal::set_mask_if_quiet(task, signal::ALL)
}

fn unblock_signals(task: &Task) {
    signal::set_host_mask(signal::host_mask(task.signal.mask));
}

/// Starts a process with a copy of the memory.
pub fn fork(task: &mut Task, args: &CloneArgs) -> SysResult {
    block_signals(task)?;
    let result = fork_blocked(task, args);
    unblock_signals(task);
    result
}

fn fork_blocked(task: &mut Task, args: &CloneArgs) -> SysResult {
    let process = task.process.clone();
    let engine = process.engine.clone();
    let translations = engine.fork_prepare();
    let copied = Handshake::new()?;
    let pid = {
        let _memory = process.mm.freeze();
        let _actions = process.actions.lock();
        let _unknown = process.unknown_syscalls.lock();
        let _stacks = HandlerStack::freeze();
        host_fork(args)
    };
    match pid {
        Ok(0) => {
            let ready = translations.child(&task.vcpu);
            copied.done();
            become_child(task, args);
            if let Err(error) = ready {
                complain(format_args!("fork: {error}"));
                process.end(125)
            }
            Ok(0)
        }
        Ok(pid) => {
            // Code memory is shared until the child has its own: it must not change meanwhile.
            copied.wait(pid);
            translations.parent();
            if args.has(libc::CLONE_PARENT_SETTID) {
                let _ = uaccess::write(task, args.parent_tid, &(pid as i32));
            }
            Ok(pid)
        }
        Err(errno) => {
            translations.parent();
            Err(errno)
        }
    }
}

/// A word that parent and child share: the child sets it when it has all it needs. No descriptor
/// is used, since the guest may have taken all there are.
struct Handshake(*const AtomicU32);

/// How long the parent waits before it looks whether the child still lives.
static PATIENCE: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

impl Handshake {
    fn new() -> Result<Self, Errno> {
        let (prot, size) = (libc::PROT_READ | libc::PROT_WRITE, size_of::<AtomicU32>());
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping anywhere; it is zeroed, as the word shall be.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size, prot, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            Err(Errno::EAGAIN)
        } else {
            Ok(Self(at.cast()))
        }
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped until `drop`, and only ever used atomically.
        unsafe { &*self.0 }
    }

    /// In the child: lets the parent go on.
    fn done(self) {
        self.word().store(1, Ordering::SeqCst);
        // SAFETY: the word is live.
        unsafe { libc::syscall(libc::SYS_futex, self.0, libc::FUTEX_WAKE, 1, 0, 0, 0) };
    }

    /// In the parent: waits until the child is done, or dead.
    fn wait(self, child: u64) {
        while self.word().load(Ordering::SeqCst) == 0 {
            let patience = &raw const PATIENCE;
            // SAFETY: word and timeout are live.
            unsafe { libc::syscall(libc::SYS_futex, self.0, libc::FUTEX_WAIT, 0, patience, 0, 0) };
            if self.word().load(Ordering::SeqCst) == 0 && has_ended(child) {
                return;
            }
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference to the word any more.
        unsafe { libc::munmap(self.0.cast_mut().cast(), size_of::<AtomicU32>()) };
    }
}

/// True if process `pid`, a child of ours, does not run any more. It stays to be waited for.
fn has_ended(pid: u64) -> bool {
    // SAFETY: an all-zero siginfo_t is a value; it is live, and the kernel fills it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        let done = libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, how);
        done != 0 || info.si_pid() != 0
    }
}

/// The host's fork. The C library's where it will do, since it keeps the heap usable in the child
/// of a process with threads.
fn host_fork(args: &CloneArgs) -> Result<u64, Errno> {
    let flags = args.flags & !OURS;
    let wants_pidfd = args.has(libc::CLONE_PIDFD);
    let others = flags & !(libc::CLONE_PIDFD as u64);
    if others != 0 || args.exit_signal != libc::SIGCHLD as u64 {
        let (flags, pidfd) = (flags | args.exit_signal, args.pidfd);
        // SAFETY: the child goes on in this thread only, and all locks it needs are held here;
        // the pidfd's address was checked, and no stack is replaced.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, pidfd, 0, 0) };
        return if pid < 0 {
            Err(Errno::last())
        } else {
            Ok(pid as u64)
        };
    }
    // SAFETY: as above.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(Errno::last());
    }
    if pid > 0 && wants_pidfd {
        // SAFETY: no memory is touched. The child cannot be reaped before we return.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
        crate::mm::copy_to_guest(args.pidfd, &fd.to_le_bytes());
    }
    Ok(pid as u64)
}

/// What is different in the child of a fork; the program counter follows as after any call.
fn become_child(task: &mut Task, args: &CloneArgs) {
    // SAFETY: no memory is touched.
    task.tid = unsafe { libc::gettid() };
    task.process.threads.store(1, Ordering::SeqCst);
    let mut state = args.child_state(task.vcpu.state());
    state.pc = task.vcpu.state().pc;
    *task.vcpu.state_mut() = state;
    args.settle_child(task);
}

/// Host stack of a vfork's child.
const VFORK_STACK: usize = 512 << 10;

/// What the child of a vfork finds on its stack.
struct Child {
    task: Task,
    args: CloneArgs,
}

/// Starts a process that shares the memory while this thread waits until it executes a program
/// or ends.
///
/// The child runs on the waiting thread's thread-local storage, as the child of the host's vfork
/// does, and on a host stack of its own.
pub fn vfork(task: &mut Task, args: &CloneArgs) -> SysResult {
    let state = args.child_state(task.vcpu.state());
    let vcpu = task
        .process
        .engine
        .new_vcpu(state)
        .map_err(|_| Errno::ENOMEM)?;
    let mut signal = SignalState::new(task.signal.mask, vcpu.kick());
    signal.altstack = task.signal.altstack;
    let process = task.process.sharing_memory();
    let child = Task {
        process,
        vcpu,
        tid: 0,
        signal,
        clear_child_tid: 0,
        exit: None,
    };
    let mut child = Box::new(Child {
        task: child,
        args: *args,
    });
    let stack = Stack::new()?;
    block_signals(task)?;
    let shares = libc::CLONE_VM | libc::CLONE_VFORK;
    let flags = (args.flags & !OURS) as i32 | shares | args.exit_signal as i32;
    // SAFETY: the child runs `vfork_child` on the fresh stack while this thread is stopped; the
    // box outlives it, and the pidfd's address was checked.
    let pid = unsafe {
        libc::clone(
            vfork_child,
            stack.top(),
            flags,
            (&raw mut *child).cast(),
            args.pidfd,
        )
    };
    let errno = Errno::last();
    // Whatever the child did with the thread-local storage is undone.
    signal::set_current(task.signal.inbox());
    drop(child);
    unblock_signals(task);
    if pid < 0 { Err(errno) } else { Ok(pid as u64) }
}

/// Where the child of a vfork starts; never returns.
extern "C" fn vfork_child(child: *mut libc::c_void) -> i32 {
    // SAFETY: the parent's box, which lives and is not touched until this process is gone.
    let Child { task, args } = unsafe { &mut *child.cast::<Child>() };
    // SAFETY: no memory is touched.
    task.tid = unsafe { libc::gettid() };
    signal::set_current(task.signal.inbox());
    if args.has(libc::CLONE_PARENT_SETTID) {
        let _ = uaccess::write(task, args.parent_tid, &task.tid);
    }
    args.settle_child(task);
    unblock_signals(task);
    let status = task.run();
    exit_group(status)
}

/// A mapped host stack.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping anywhere.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), VFORK_STACK, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            Err(Errno::last())
        } else {
            Ok(Self(base))
        }
    }

    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(VFORK_STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the child that used it is gone.
        unsafe { libc::munmap(self.0, VFORK_STACK) };
    }
}

fn exit_group(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// `exit_group(status)`.
pub fn sys_exit_group(task: &mut Task, args: [u64; 6]) -> SysResult {
    task.process.end(args[0] as i32)
}

impl Process {
    /// A process that shares this one's memory and nothing else that changes.
    fn sharing_memory(&self) -> Arc<Self> {
        Arc::new(Self {
            config: self.config.clone(),
            mm: self.mm.clone(),
            engine: self.engine.clone(),
            actions: self.actions.duplicate(),
            image: self.image.clone(),
            log: self.log.clone(),
            reports: self.reports.clone(),
            threads: AtomicUsize::new(1),
            unknown_syscalls: Default::default(),
        })
    }

    /// Ends the process.
    pub fn end(&self, status: i32) -> ! {
        exit_group(self.about_to_end(status))
    }
}
