//! System V shared memory: attached where the guest's map has room.

use super::{Kind, PAGE, Stale, Vma, page_down, page_up};
use crate::errno::{Errno, SysResult};
use crate::task::Task;

/// `shmat(shmid, shmaddr, shmflg)`.
pub fn sys_shmat(task: &mut Task, args: [u64; 6]) -> SysResult {
    let (id, addr, flags) = (args[0] as i32, args[1], args[2] as i32);
    let len = segment_size(id)?;
    let readable = libc::PROT_READ as u32;
    let writable = if flags & libc::SHM_RDONLY == 0 {
        libc::PROT_WRITE as u32
    } else {
        0
    };
    let exec = if flags & libc::SHM_EXEC == 0 {
        0
    } else {
        libc::PROT_EXEC as u32
    };
    let process = &task.process;
    let mut locked = process.mm.lock();
    let at = if addr == 0 {
        locked.place(len, PAGE, |_, addr| {
            attach(id, addr, flags & libc::SHM_RDONLY)
        })?
    } else {
        let at = if flags & libc::SHM_RND != 0 {
            page_down(addr)
        } else {
            addr
        };
        let end = at
            .checked_add(len)
            .filter(|&end| end <= process.mm.ceiling());
        let end = end.ok_or(Errno::EINVAL)?;
        let free = locked.inner.vmas.is_free(at, end);
        if !free && (flags & libc::SHM_REMAP == 0 || !locked.replaceable(at, end)) {
            return Err(Errno::EINVAL);
        }
        let remap = if free { 0 } else { libc::SHM_REMAP };
        attach(id, at, flags & libc::SHM_RDONLY | remap)?;
        at
    };
    let prot = readable | writable | exec;
    let stale = locked.note(
        at,
        Vma {
            end: at + len,
            prot,
            kind: Kind::Plain,
            shared: true,
        },
    );
    locked.inner.shm.insert(at, len);
    drop(locked);
    stale.settle(&process.engine);
    Ok(at)
}

/// Bytes that attaching the segment takes.
fn segment_size(id: i32) -> Result<u64, Errno> {
    // SAFETY: an all-zero shmid_ds is a value; the kernel fills it.
    let mut ds: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is live.
    if unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut ds) } != 0 {
        return Err(Errno::last());
    }
    page_up(ds.shm_segsz as u64).ok_or(Errno::ENOMEM)
}

fn attach(id: i32, addr: u64, flags: i32) -> Result<(), Errno> {
    // SAFETY: the range is free or the guest's; without SHM_REMAP the kernel refuses to replace.
    let got = unsafe { libc::shmat(id, addr as *const _, flags) };
    if got as isize != -1 {
        return Ok(());
    }
    match Errno::last() {
        // "Something is mapped there": isomorph's own, since the guest's map says it is free.
        Errno::EINVAL if flags & libc::SHM_REMAP == 0 => Err(Errno::EEXIST),
        errno => Err(errno),
    }
}

/// `shmdt(shmaddr)`.
pub fn sys_shmdt(task: &mut Task, args: [u64; 6]) -> SysResult {
    let addr = args[0];
    let process = &task.process;
    let mut locked = process.mm.lock();
    let stale = match locked.inner.shm.remove(&addr) {
        None => return Err(Errno::EINVAL),
        // SAFETY: a segment that the guest attached.
        Some(len) if unsafe { libc::shmdt(addr as *const _) } == 0 => {
            locked.forget(addr, addr + len)
        }
        Some(_) => Stale::default(),
    };
    drop(locked);
    stale.settle(&process.engine);
    Ok(0)
}
