//! Guest threads: each is a host thread with the same id.

use crate::abi::riscv64 as arch;
use crate::cpu::State;
use crate::errno::{Errno, SysResult};
use crate::process;
use crate::signal::{self, HandlerStack, SignalState};
use crate::syscall::uaccess;
use crate::task::{Process, Task};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Arguments of clone and clone3 in one form (clone(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneArgs {
    /// `CLONE_` flags without the exit signal.
    pub flags: u64,
    /// Where the pidfd goes.
    pub pidfd: u64,
    /// Where the child's id goes in the child.
    pub child_tid: u64,
    /// Where the child's id goes in the parent.
    pub parent_tid: u64,
    /// The signal that tells of the child's end.
    pub exit_signal: u64,
    /// The child's stack pointer; 0 for the parent's.
    pub stack: u64,
    /// The child's thread pointer with `CLONE_SETTLS`.
    pub tls: u64,
}

impl CloneArgs {
    /// True if all of `flags` are set.
    #[must_use]
    pub const fn has(&self, flags: i32) -> bool {
        self.flags & flags as u32 as u64 == flags as u32 as u64
    }

    /// The registers that the child starts with: 0 is what clone answers it.
    #[must_use]
    pub fn child_state(&self, parent: &State) -> State {
        let mut state = *parent;
        state.pc = state.pc.wrapping_add(arch::SYSCALL_INSN_LEN);
        arch::set_result(&mut state, 0);
        if self.stack != 0 {
            arch::set_stack_pointer(&mut state, self.stack);
        }
        if self.has(libc::CLONE_SETTLS) {
            arch::set_thread_pointer(&mut state, self.tls);
        }
        state
    }

    /// The child's half of `CLONE_CHILD_SETTID` and `CLONE_CHILD_CLEARTID`.
    pub fn settle_child(&self, task: &mut Task) {
        if self.has(libc::CLONE_CHILD_SETTID) {
            // As in the kernel: a bad address is not reported.
            let _ = uaccess::write(task, self.child_tid, &task.tid);
        }
        let clears = self.has(libc::CLONE_CHILD_CLEARTID);
        task.clear_child_tid = if clears { self.child_tid } else { 0 };
    }
}

/// `clone(flags, stack, parent_tid, tls, child_tid)`: the argument order of riscv.
pub fn sys_clone(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [flags, stack, parent_tid, tls, child_tid, _] = args;
    let flags = flags & 0xffff_ffff;
    start(
        task,
        &CloneArgs {
            flags: flags & !0xff,
            pidfd: parent_tid,
            child_tid,
            parent_tid,
            exit_signal: flags & 0xff,
            stack,
            tls,
        },
    )
}

/// Size of the first version of `struct clone_args`.
const CLONE_ARGS_SIZE_VER0: u64 = 64;

/// `clone3(args, size)`.
pub fn sys_clone3(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [at, size, ..] = args;
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    if size > crate::mm::PAGE {
        return Err(Errno::E2BIG);
    }
    let mut words = [0_u64; 11];
    let known = (size as usize / 8).min(words.len());
    uaccess::read_slice(task, at, &mut words[..known])?;
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        count,
        _,
    ] = words;
    let clone3_only = 0x1_0000_0000 | 0x2_0000_0000; // CLEAR_SIGHAND, INTO_CGROUP
    let odd_stack = (stack == 0) != (stack_size == 0);
    if flags & (clone3_only | 0xff) != 0 || exit_signal > 64 || set_tid != 0 || count != 0 {
        return Err(Errno::EINVAL);
    }
    let end = stack.checked_add(stack_size).ok_or(Errno::EINVAL)?;
    if odd_stack {
        return Err(Errno::EINVAL);
    }
    start(
        task,
        &CloneArgs {
            flags,
            pidfd,
            child_tid,
            parent_tid,
            exit_signal,
            stack: end,
            tls,
        },
    )
}

/// Starts a thread or a process.
fn start(task: &mut Task, args: &CloneArgs) -> SysResult {
    let needs = |flag, other| !args.has(flag) || args.has(other);
    if !needs(libc::CLONE_THREAD, libc::CLONE_SIGHAND)
        || !needs(libc::CLONE_SIGHAND, libc::CLONE_VM)
        || args.has(libc::CLONE_FS | libc::CLONE_NEWNS)
    {
        return Err(Errno::EINVAL);
    }
    if args.has(libc::CLONE_PARENT_SETTID) {
        task.process.mm.check(args.parent_tid, 4)?;
    }
    if args.has(libc::CLONE_PIDFD) {
        task.process.mm.check(args.pidfd, 4)?;
    }
    if args.has(libc::CLONE_THREAD) {
        return start_thread(task, args);
    }
    if args.has(libc::CLONE_VM | libc::CLONE_VFORK) {
        return process::vfork(task, args);
    }
    if args.has(libc::CLONE_VM) {
        // Two processes that run on in one address space: no host thread can be both.
        return Err(Errno::EINVAL);
    }
    process::fork(task, args)
}

/// Host stack of a guest thread: the guest has its own.
const HOST_STACK: usize = 512 << 10;

/// What a new thread needs.
struct Seed {
    process: Arc<Process>,
    vcpu: crate::cpu::Vcpu,
    mask: u64,
    args: CloneArgs,
    handler_stack: HandlerStack,
    started: SyncSender<i32>,
}

fn start_thread(task: &mut Task, args: &CloneArgs) -> SysResult {
    let state = args.child_state(task.vcpu.state());
    let vcpu = task
        .process
        .engine
        .new_vcpu(state)
        .map_err(|_| Errno::EAGAIN)?;
    let (started, wait) = sync_channel(1);
    let process = task.process.clone();
    let seed = Seed {
        process,
        vcpu,
        mask: task.signal.mask,
        args: *args,
        handler_stack: HandlerStack::new()?,
        started,
    };
    // The thread starts with all signals blocked, until it can take them.
    let mask = signal::set_host_mask(signal::ALL);
    task.process.threads.fetch_add(1, Ordering::SeqCst);
    let thread = std::thread::Builder::new()
        .stack_size(HOST_STACK)
        .spawn(move || thread_main(seed));
    task.process.actions.reclaim_library_signals();
    let tid = match thread {
        Ok(_) => wait.recv().map_err(|_| Errno::EAGAIN),
        Err(_) => Err(Errno::EAGAIN),
    };
    signal::set_host_mask(mask);
    match tid {
        Ok(tid) => Ok(tid as u64),
        Err(errno) => {
            task.process.threads.fetch_sub(1, Ordering::SeqCst);
            Err(errno)
        }
    }
}

fn thread_main(seed: Seed) {
    let Seed {
        process,
        vcpu,
        mask,
        args,
        handler_stack,
        started,
    } = seed;
    handler_stack.install();
    unshare_what_is_not_shared(&args);
    // SAFETY: no memory is touched.
    let tid = unsafe { libc::gettid() };
    let signal = SignalState::new(mask, vcpu.kick());
    signal::set_current(signal.inbox());
    let mut task = Task {
        process,
        vcpu,
        tid,
        signal,
        clear_child_tid: 0,
        exit: None,
    };
    if args.has(libc::CLONE_PARENT_SETTID) {
        // Here, before the parent goes on: the same place may be cleared when this thread ends.
        let _ = uaccess::write(&task, args.parent_tid, &tid);
    }
    args.settle_child(&mut task);
    let _ = started.send(tid);
    drop(started);
    signal::set_host_mask(signal::host_mask(mask));
    let status = task.run();
    if let Some(status) = task.leave(status) {
        end_process(status);
    }
    drop(task);
    handler_stack.retire();
}

/// Threads share directory and descriptors by themselves; the guest may want it otherwise.
fn unshare_what_is_not_shared(args: &CloneArgs) {
    let shared = [libc::CLONE_FS, libc::CLONE_FILES];
    let own = shared
        .into_iter()
        .filter(|&flag| !args.has(flag))
        .fold(0, |own, flag| own | flag);
    if own != 0 {
        // SAFETY: no memory is touched.
        unsafe { libc::unshare(own) };
    }
}

impl Task {
    /// Ends the thread as far as other threads can see it: futexes are woken, signals go
    /// elsewhere. What its process ends with if it was the last one.
    pub fn leave(&mut self, status: i32) -> Option<i32> {
        signal::set_host_mask(signal::ALL);
        signal::pass_on(self);
        signal::set_current(std::ptr::null());
        if self.clear_child_tid != 0 && uaccess::write(self, self.clear_child_tid, &0_u32).is_ok() {
            // SAFETY: waking touches no memory.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.clear_child_tid,
                    libc::FUTEX_WAKE,
                    1,
                    0,
                    0,
                    0,
                )
            };
        }
        let last = self.process.threads.fetch_sub(1, Ordering::SeqCst) == 1;
        last.then(|| self.process.about_to_end(status))
    }
}

/// Ends this host thread and nothing else; other threads of the guest may go on.
pub fn end_thread(status: i32) -> ! {
    // SAFETY: nothing of this thread is needed any more.
    unsafe { libc::syscall(libc::SYS_exit, status) };
    unreachable!("a thread went on after its end")
}

/// Ends this process, whatever threads of isomorph's own it still has: the guest's are gone, and
/// the last one's status is the process's.
pub fn end_process(status: i32) -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { libc::_exit(status) }
}

/// `exit(status)`: ends this thread.
pub fn sys_exit(task: &mut Task, args: [u64; 6]) -> SysResult {
    task.exit = Some(args[0] as i32);
    Ok(0)
}

/// `set_tid_address(tidptr)`.
pub fn sys_set_tid_address(task: &mut Task, args: [u64; 6]) -> SysResult {
    task.clear_child_tid = args[0];
    Ok(task.tid as u64)
}

/// `set_robust_list(head, len)`: the host's kernel walks the guest's list when the thread ends,
/// since both lay it out alike.
pub fn sys_set_robust_list(task: &mut Task, args: [u64; 6]) -> SysResult {
    uaccess::check_optional(task, args[0], args[1])?;
    // SAFETY: the kernel only notes the address.
    let done = unsafe { libc::syscall(libc::SYS_set_robust_list, args[0], args[1]) };
    if done == 0 { Ok(0) } else { Err(Errno::last()) }
}

/// `get_robust_list(pid, head_ptr, len_ptr)`.
pub fn sys_get_robust_list(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [pid, head, len, ..] = args;
    uaccess::check(task, head, 8)?;
    uaccess::check(task, len, 8)?;
    // SAFETY: the guest's pointers were checked.
    let done = unsafe { libc::syscall(libc::SYS_get_robust_list, pid, head, len) };
    if done == 0 { Ok(0) } else { Err(Errno::last()) }
}
