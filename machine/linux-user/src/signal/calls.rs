//! System calls about signals.

use super::{
    Action, AltStack, Info, SIGNAL_MAX, SS_AUTODISARM, UNBLOCKABLE, bit, fault_info, force,
    host_mask, safe_syscall, set_mask_if_quiet,
};
use crate::abi::riscv64 as arch;
use crate::errno::{Errno, SysResult};
use crate::syscall::{ALREADY_SET, ERESTARTNOHAND, uaccess};
use crate::task::Task;

/// Bytes of a signal mask.
const SIGSET_SIZE: u64 = 8;

fn check_set_size(size: u64) -> Result<(), Errno> {
    if size == SIGSET_SIZE {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// `rt_sigaction(signum, act, oldact, sigsetsize)`.
pub fn sys_rt_sigaction(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [signo, act, old, size, ..] = args;
    check_set_size(size)?;
    let signo = signo as i32;
    let fixed = signo == libc::SIGKILL || signo == libc::SIGSTOP;
    if !(1..=SIGNAL_MAX).contains(&signo) || (fixed && act != 0) {
        return Err(Errno::EINVAL);
    }
    let before = if act == 0 {
        task.process.actions.get(signo)
    } else {
        let [handler, flags, mask] = uaccess::read::<[u64; 3]>(task, act)?;
        let action = Action {
            handler,
            flags,
            mask: mask & !UNBLOCKABLE,
        };
        task.process.actions.set(signo, action)
    };
    if old != 0 {
        uaccess::write(task, old, &[before.handler, before.flags, before.mask])?;
    }
    Ok(0)
}

/// `rt_sigprocmask(how, set, oldset, sigsetsize)`.
pub fn sys_rt_sigprocmask(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [how, set, old, size, ..] = args;
    check_set_size(size)?;
    let before = task.signal.mask;
    if set != 0 {
        let set = uaccess::read::<u64>(task, set)?;
        let after = match how as i32 {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            libc::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        };
        change_mask(task, after & !UNBLOCKABLE)?;
    }
    if old != 0 {
        uaccess::write(task, old, &before)?;
    }
    Ok(0)
}

/// Sets the mask unless a signal is in flight, which then comes first.
pub(super) fn change_mask(task: &mut Task, mask: u64) -> Result<(), Errno> {
    let host = host_mask(mask);
    if host != host_mask(task.signal.mask) {
        set_mask_if_quiet(task, host)?;
    }
    task.signal.mask_changed(mask);
    Ok(())
}

/// `rt_sigpending(set, sigsetsize)`.
pub fn sys_rt_sigpending(task: &mut Task, args: [u64; 6]) -> SysResult {
    if args[1] > SIGSET_SIZE {
        return Err(Errno::EINVAL);
    }
    let mut set = 0_u64;
    // SAFETY: the mask is live.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut set, SIGSET_SIZE) };
    let held = (0..super::ASYNC_SLOT).filter(|slot| task.signal.held & 1 << slot != 0);
    for slot in held {
        set |= bit(super::signo_of(&task.signal.inbox.info(slot)));
    }
    uaccess::write_slice(task, args[0], &set.to_le_bytes()[..args[1] as usize])?;
    Ok(0)
}

/// `rt_sigsuspend(mask, sigsetsize)`.
pub fn sys_rt_sigsuspend(task: &mut Task, args: [u64; 6]) -> SysResult {
    check_set_size(args[1])?;
    let mask = uaccess::read::<u64>(task, args[0])? & !UNBLOCKABLE;
    let host = host_mask(mask);
    task.signal.release(mask);
    if task.signal.is_pending() {
        // What the wait would let through is here already.
        task.signal.wait_mask = Some(mask);
        return Err(ERESTARTNOHAND);
    }
    let args = [(&raw const host) as u64, SIGSET_SIZE, 0, 0, 0, 0];
    // SAFETY: the mask is live.
    match unsafe { safe_syscall(task, libc::SYS_rt_sigsuspend, args) } {
        Err(Errno::EINTR) => {
            task.signal.wait_mask = Some(mask);
            Err(ERESTARTNOHAND)
        }
        other => other,
    }
}

/// `rt_sigtimedwait(set, info, timeout, sigsetsize)`.
pub fn sys_rt_sigtimedwait(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [set, info, timeout, size, ..] = args;
    check_set_size(size)?;
    let wanted = uaccess::read::<u64>(task, set)? & !UNBLOCKABLE;
    uaccess::check_optional(task, info, size_of::<Info>() as u64)?;
    uaccess::check_optional(task, timeout, 16)?;
    let held = (0..super::ASYNC_SLOT).filter(|slot| task.signal.held & 1 << slot != 0);
    let found = held.map(|slot| (slot, task.signal.inbox.info(slot)));
    let mut found = found.filter(|(_, what)| wanted & bit(super::signo_of(what)) != 0);
    if let Some((slot, what)) = found.next() {
        task.signal.held &= !(1 << slot);
        if info != 0 {
            uaccess::write(task, info, &what)?;
        }
        return Ok(super::signo_of(&what) as u64);
    }
    let args = [(&raw const wanted) as u64, info, timeout, size, 0, 0];
    // SAFETY: the mask is live; the guest's pointers were checked.
    unsafe { safe_syscall(task, libc::SYS_rt_sigtimedwait, args) }
}

/// `sigaltstack(ss, old_ss)`.
pub fn sys_sigaltstack(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [new, old, ..] = args;
    let sp = arch::stack_pointer(task.vcpu.state());
    let before = task.signal.altstack.describe(sp);
    if new != 0 {
        let [base, flags, size] = uaccess::read::<[u64; 3]>(task, new)?;
        set_altstack(task, base, flags as u32, size, arch::MINSIGSTKSZ)?;
    }
    if old != 0 {
        uaccess::write(task, old, &before)?;
    }
    Ok(0)
}

fn set_altstack(
    task: &mut Task,
    base: u64,
    flags: u32,
    size: u64,
    least: u64,
) -> Result<(), Errno> {
    let sp = arch::stack_pointer(task.vcpu.state());
    if task.signal.altstack.enabled() && task.signal.altstack.holds(sp) {
        return Err(Errno::EPERM);
    }
    let disable = libc::SS_DISABLE as u32;
    match flags & !SS_AUTODISARM {
        mode if mode == disable => {
            task.signal.altstack = AltStack {
                base: 0,
                size: 0,
                flags,
            };
            Ok(())
        }
        0 | 1 if size < least => Err(Errno::ENOMEM),
        0 | 1 => {
            task.signal.altstack = AltStack {
                base,
                size,
                flags: flags & SS_AUTODISARM,
            };
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `rt_sigreturn()`: undoes what delivering a signal did.
pub fn sys_rt_sigreturn(task: &mut Task, _args: [u64; 6]) -> SysResult {
    let at = arch::stack_pointer(task.vcpu.state());
    let frame = uaccess::read::<arch::Frame>(task, at);
    let Ok(frame) = frame else {
        force(task, &fault_info(libc::SIGSEGV, libc::SI_KERNEL, 0));
        return Err(ALREADY_SET);
    };
    change_mask(task, frame.uc.sigmask & !UNBLOCKABLE)?;
    frame.restore(task.vcpu.state_mut());
    let [base, flags, size] = frame.uc.stack;
    // As in the kernel: a stack that cannot be set again is not an error.
    let _ = set_altstack(
        task,
        base,
        flags as u32 & !(libc::SS_ONSTACK as u32),
        size,
        0,
    );
    Err(ALREADY_SET)
}

fn pass(nr: i64, args: [u64; 6]) -> SysResult {
    // SAFETY: system calls that read checked guest memory at most.
    let ret = unsafe { libc::syscall(nr, args[0], args[1], args[2], args[3]) };
    if ret < 0 {
        Err(Errno::last())
    } else {
        Ok(ret as u64)
    }
}

/// `kill(pid, sig)`.
pub fn sys_kill(_task: &mut Task, args: [u64; 6]) -> SysResult {
    pass(libc::SYS_kill, args)
}

/// `tkill(tid, sig)`.
pub fn sys_tkill(_task: &mut Task, args: [u64; 6]) -> SysResult {
    pass(libc::SYS_tkill, args)
}

/// `tgkill(tgid, tid, sig)`.
pub fn sys_tgkill(_task: &mut Task, args: [u64; 6]) -> SysResult {
    pass(libc::SYS_tgkill, args)
}

/// `rt_sigqueueinfo(tgid, sig, info)`.
pub fn sys_rt_sigqueueinfo(task: &mut Task, args: [u64; 6]) -> SysResult {
    uaccess::check(task, args[2], size_of::<Info>() as u64)?;
    pass(libc::SYS_rt_sigqueueinfo, args)
}

/// `rt_tgsigqueueinfo(tgid, tid, sig, info)`.
pub fn sys_rt_tgsigqueueinfo(task: &mut Task, args: [u64; 6]) -> SysResult {
    uaccess::check(task, args[3], size_of::<Info>() as u64)?;
    pass(libc::SYS_rt_tgsigqueueinfo, args)
}
