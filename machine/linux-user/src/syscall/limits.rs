//! Resource limits: those that would starve isomorph itself are kept for the guest to read back,
//! the others are the host's.

use super::{host, uaccess};
use crate::errno::{Errno, SysResult};
use crate::task::Task;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// `struct rlimit64`: soft and hard.
type Rlimit = [u64; 2];

/// A limit that the guest has set and the host does not know. Atomics rather than a lock: a
/// child of `fork` inherits them in any state.
struct Kept {
    set: AtomicBool,
    soft: AtomicU64,
    hard: AtomicU64,
}

impl Kept {
    const fn new() -> Self {
        Self {
            set: AtomicBool::new(false),
            soft: AtomicU64::new(0),
            hard: AtomicU64::new(0),
        }
    }

    fn get(&self) -> Option<Rlimit> {
        self.set.load(Ordering::Acquire).then(|| {
            [
                self.soft.load(Ordering::Relaxed),
                self.hard.load(Ordering::Relaxed),
            ]
        })
    }

    fn put(&self, [soft, hard]: Rlimit) {
        self.soft.store(soft, Ordering::Relaxed);
        self.hard.store(hard, Ordering::Relaxed);
        self.set.store(true, Ordering::Release);
    }

    fn forget(&self) {
        self.set.store(false, Ordering::Release);
    }
}

static DATA: Kept = Kept::new();
static STACK: Kept = Kept::new();
static ADDRESS_SPACE: Kept = Kept::new();

/// Where a limit is kept if the host may not know it.
fn kept(resource: u64) -> Option<&'static Kept> {
    match resource as u32 {
        libc::RLIMIT_DATA => Some(&DATA),
        libc::RLIMIT_STACK => Some(&STACK),
        libc::RLIMIT_AS => Some(&ADDRESS_SPACE),
        _ => None,
    }
}

/// True if the host may know this value too. Isomorph runs on the stack that the limit is for,
/// and an unlimited one changes how the host lays out address spaces.
fn harmless(resource: u64, [soft, _]: Rlimit) -> bool {
    const STACK_MIN: u64 = 1 << 20;
    const STACK_MAX: u64 = 1 << 36;
    resource as u32 == libc::RLIMIT_STACK && (STACK_MIN..STACK_MAX).contains(&soft)
}

/// `getrlimit(2)`.
pub fn getrlimit(task: &mut Task, args: [u64; 6]) -> SysResult {
    prlimit64(task, [0, args[0], 0, args[1], 0, 0])
}

/// `setrlimit(2)`.
pub fn setrlimit(task: &mut Task, args: [u64; 6]) -> SysResult {
    if args[1] == 0 {
        return Err(Errno::EFAULT);
    }
    prlimit64(task, [0, args[0], args[1], 0, 0, 0])
}

/// `prlimit64(2)`.
pub fn prlimit64(task: &mut Task, args: [u64; 6]) -> SysResult {
    let pid = args[0] as u32;
    let kept = kept(args[1]).filter(|_| pid == 0 || pid == std::process::id());
    let Some(kept) = kept else {
        // SAFETY: the table has checked both pointers.
        return unsafe { host::raw(libc::SYS_prlimit64, args) };
    };
    let old = current(kept, args[1])?;
    if args[2] != 0 {
        set(kept, args[1], old, uaccess::read(task, args[2])?)?;
    }
    if args[3] != 0 {
        uaccess::write(task, args[3], &old)?;
    }
    Ok(0)
}

fn current(kept: &Kept, resource: u64) -> Result<Rlimit, Errno> {
    kept.get().map_or_else(|| host_limit(resource, None), Ok)
}

/// Reads the host's limit after setting it to `new`, if given.
fn host_limit(resource: u64, new: Option<Rlimit>) -> Result<Rlimit, Errno> {
    let mut old: Rlimit = [0; 2];
    let new = new.as_ref().map_or(0, |new| new.as_ptr() as u64);
    let args = [0, resource, new, old.as_mut_ptr() as u64, 0, 0];
    // SAFETY: both limits are live.
    unsafe { host::raw(libc::SYS_prlimit64, args) }?;
    Ok(old)
}

fn set(kept: &Kept, resource: u64, old: Rlimit, new: Rlimit) -> Result<(), Errno> {
    if new[0] > new[1] {
        return Err(Errno::EINVAL);
    }
    if harmless(resource, new) {
        host_limit(resource, Some(new))?;
        kept.forget();
        return Ok(());
    }
    // SAFETY: asks for the effective user; no memory is touched.
    let privileged = unsafe { libc::geteuid() } == 0;
    if new[1] > old[1] && !privileged {
        return Err(Errno::EPERM);
    }
    kept.put(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moderate_stack_limits_reach_the_host() {
        let stack = u64::from(libc::RLIMIT_STACK);
        assert!(harmless(stack, [64 << 20, u64::MAX]));
        assert!(!harmless(stack, [1 << 16, u64::MAX]));
        assert!(!harmless(stack, [u64::MAX, u64::MAX]));
        assert!(!harmless(u64::from(libc::RLIMIT_AS), [64 << 20, u64::MAX]));
    }

    #[test]
    fn a_kept_limit_reads_back() {
        let kept = Kept::new();
        assert_eq!(kept.get(), None);
        kept.put([1, 2]);
        assert_eq!(kept.get(), Some([1, 2]));
        kept.forget();
        assert_eq!(kept.get(), None);
    }
}
