//! System calls that change the guest's memory map.

use super::{Kind, PAGE, Request, Stale, Vma, page_up};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// `mmap(addr, length, prot, flags, fd, offset)`.
pub fn sys_mmap(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [addr, len, prot, flags, fd, offset] = args;
    let request = Request {
        addr,
        len,
        prot: prot as u32,
        flags: flags as i32,
        fd: fd as i32,
        offset,
        kind: Kind::Plain,
    };
    let process = &task.process;
    let (addr, stale) = process.mm.lock().map(request)?;
    stale.settle(&process.engine);
    Ok(addr)
}

/// `munmap(addr, length)`.
pub fn sys_munmap(task: &mut Task, args: [u64; 6]) -> SysResult {
    let (start, end) = range(task, args[0], args[1]).ok_or(Errno::EINVAL)?;
    if start == end {
        return Err(Errno::EINVAL);
    }
    let process = &task.process;
    let stale = process.mm.lock().unmap(start, end)?;
    stale.settle(&process.engine);
    Ok(0)
}

/// A page-aligned range below the ceiling.
fn range(task: &Task, addr: u64, len: u64) -> Option<(u64, u64)> {
    let end = addr.checked_add(page_up(len)?)?;
    (addr.is_multiple_of(PAGE) && end <= task.process.mm.ceiling()).then_some((addr, end))
}

const PROT_GROWSDOWN: u32 = 0x0100_0000;
const PROT_GROWSUP: u32 = 0x0200_0000;

/// `mprotect(addr, length, prot)`.
pub fn sys_mprotect(task: &mut Task, args: [u64; 6]) -> SysResult {
    if !args[0].is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let mut prot = args[2] as u32;
    let (mut start, end) = range(task, args[0], args[1]).ok_or(Errno::ENOMEM)?;
    if start == end {
        return Ok(0);
    }
    let process = &task.process;
    let mut locked = process.mm.lock();
    if prot & PROT_GROWSUP != 0 {
        return Err(Errno::EINVAL);
    }
    if prot & PROT_GROWSDOWN != 0 {
        prot &= !PROT_GROWSDOWN;
        match locked.inner.vmas.find(start) {
            Some((first, vma)) if vma.kind == Kind::Stack => start = first,
            _ => return Err(Errno::EINVAL),
        }
    }
    if !locked.inner.vmas.covers(start, end) {
        return Err(Errno::ENOMEM);
    }
    let stale = locked.protect(start, end, prot)?;
    drop(locked);
    stale.settle(&process.engine);
    Ok(0)
}

/// `mremap(old_address, old_size, new_size, flags, new_address)`.
pub fn sys_mremap(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [old, old_len, new_len, flags, new, _] = args;
    let known = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP) as u64;
    let new_len = page_up(new_len)
        .filter(|&len| len > 0)
        .ok_or(Errno::EINVAL)?;
    let pinned = flags & libc::MREMAP_FIXED as u64 != 0;
    let may_move = flags & libc::MREMAP_MAYMOVE as u64 != 0;
    if flags & !known != 0 || (pinned && !may_move) {
        return Err(Errno::EINVAL);
    }
    if pinned && range(task, new, new_len).is_none() {
        return Err(Errno::EINVAL);
    }
    if !old.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let (_, old_end) = range(task, old, old_len).ok_or(Errno::EFAULT)?;
    let process = &task.process;
    let mut locked = process.mm.lock();
    let Some((_, vma)) = locked.inner.vmas.find(old) else {
        return Err(Errno::EFAULT);
    };
    if !locked.inner.vmas.covers(old, old_end) {
        return Err(Errno::EFAULT);
    }
    let job = Remap {
        old,
        old_len: old_end - old,
        new_len,
        flags,
        vma,
    };
    let moved = if pinned {
        job.to(&mut locked, new)
    } else {
        job.anywhere(&mut locked, may_move)
    };
    drop(locked);
    let (addr, stale) = moved?;
    for range in stale {
        range.settle(&process.engine);
    }
    Ok(addr)
}

/// A mapping on its way.
struct Remap {
    old: u64,
    old_len: u64,
    new_len: u64,
    flags: u64,
    vma: Vma,
}

type Moved = Result<(u64, [Stale; 2]), Errno>;

impl Remap {
    fn host(&self, flags: u64, to: u64) -> Result<u64, Errno> {
        // SAFETY: the old range is the guest's; a fixed target is the guest's or free.
        let got = unsafe {
            libc::syscall(
                libc::SYS_mremap,
                self.old,
                self.old_len,
                self.new_len,
                flags,
                to,
            )
        };
        if got == -1 {
            Err(Errno::last())
        } else {
            Ok(got as u64)
        }
    }

    fn anywhere(&self, locked: &mut super::Locked<'_>, may_move: bool) -> Moved {
        let (old_end, new_end) = (self.old + self.old_len, self.old + self.new_len);
        let dont_unmap = self.flags & libc::MREMAP_DONTUNMAP as u64 != 0;
        let stays = self.new_len <= self.old_len && self.old_len != 0
            || new_end <= locked.space.ceiling && locked.inner.vmas.is_free(old_end, new_end);
        if stays && !dont_unmap && self.old_len != 0 && self.host(0, 0).is_ok() {
            let cut = if new_end < old_end {
                locked.forget(new_end, old_end)
            } else {
                Stale::default()
            };
            let grown = if new_end > old_end {
                locked.note(
                    old_end,
                    Vma {
                        end: new_end,
                        ..self.vma
                    },
                )
            } else {
                Stale::default()
            };
            return Ok((self.old, [cut, grown]));
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let to = locked.find_free(self.new_len, PAGE)?;
        self.to(locked, to)
    }

    fn to(&self, locked: &mut super::Locked<'_>, new: u64) -> Moved {
        let new_end = new + self.new_len;
        if !locked.inner.vmas.is_free(new, new_end) && !locked.replaceable(new, new_end) {
            return Err(Errno::ENOMEM);
        }
        self.host(
            self.flags | (libc::MREMAP_FIXED | libc::MREMAP_MAYMOVE) as u64,
            new,
        )?;
        let left = if self.flags & libc::MREMAP_DONTUNMAP as u64 == 0 {
            locked.forget(self.old, self.old + self.old_len)
        } else {
            Stale::default()
        };
        let there = locked.note(
            new,
            Vma {
                end: new_end,
                ..self.vma
            },
        );
        Ok((new, [left, there]))
    }
}

/// `brk(addr)`: the new break, or the old one if it could not be moved.
pub fn sys_brk(task: &mut Task, args: [u64; 6]) -> SysResult {
    let wanted = args[0];
    let process = &task.process;
    let mut locked = process.mm.lock();
    let (first, now) = locked.inner.brk;
    let (Some(from), Some(to)) = (page_up(now), page_up(wanted)) else {
        return Ok(now);
    };
    if wanted < first || to > process.mm.ceiling() {
        return Ok(now);
    }
    let changed = if to > from {
        let request = Request {
            addr: from,
            len: to - from,
            prot: (libc::PROT_READ | libc::PROT_WRITE) as u32,
            flags: libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            fd: -1,
            offset: 0,
            kind: Kind::Heap,
        };
        // One page stays free above the break, as the kernel keeps it.
        if !locked.inner.vmas.is_free(from, to + PAGE) {
            return Ok(now);
        }
        locked.map(request).map(|(_, stale)| stale)
    } else if to < from {
        locked.unmap(to, from)
    } else {
        Ok(Stale::default())
    };
    let Ok(stale) = changed else { return Ok(now) };
    locked.inner.brk.1 = wanted;
    drop(locked);
    stale.settle(&process.engine);
    Ok(wanted)
}

/// `madvise(addr, length, advice)`.
pub fn sys_madvise(task: &mut Task, args: [u64; 6]) -> SysResult {
    if !args[0].is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let (start, end) = range(task, args[0], args[1]).ok_or(Errno::ENOMEM)?;
    // SAFETY: advice changes the contents of guest pages at most.
    let done = unsafe { libc::madvise(start as *mut _, (end - start) as usize, args[2] as i32) };
    if done == 0 { Ok(0) } else { Err(Errno::last()) }
}
