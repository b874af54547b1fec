//! Threads of the hot tier.

/// Starts a thread that no signal of the guest's is delivered to. False if there is none.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    // SAFETY: zeroed signal sets are valid, and both outlive the calls; the mask is this thread's.
    let old = unsafe {
        let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        old
    };
    let builder = std::thread::Builder::new().name(name.into());
    let started = builder.spawn(work).is_ok();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    started
}
