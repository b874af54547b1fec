//! virtio 1.2 devices over split rings, and the two transports that carry them.
//!
//! A board builds a device ([`blk::Blk`], [`net::Net`], …), puts it behind a transport
//! ([`mmio::VirtioMmio`] or [`pci::VirtioPci`]) and routes accesses to the transport's `read` and
//! `write`. Section numbers in this module are those of the virtio specification, version 1.2.
//!
//! Invariants:
//! - Guest memory is reached only through `vm_memory::GuestMemory`; every address and length that
//!   a driver gives is checked before it is used.
//! - A driver that breaks the ring's rules puts its device into `DEVICE_NEEDS_RESET` (§2.1.2) and
//!   nothing else; a request that is merely wrong gets that request's error.
//! - A transport has one lock. Interrupt state has a lock of its own, below it, so that a worker
//!   thread can signal while the transport waits for that worker.

pub mod balloon;
pub mod blk;
pub mod console;
mod core;
pub mod mmio;
pub mod net;
pub mod pci;
mod queue;
pub mod rng;
mod signal;
#[cfg(test)]
mod tests;
mod worker;

pub use self::core::{ActivateError, Activation, VirtioDevice};
pub use queue::{Chain, QueueError, VirtQueue};
pub use signal::{Interrupt, Line, NoLine};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Guest memory as a virtio device needs it.
pub trait Memory: vm_memory::GuestMemory + Send + Sync + 'static {}

impl<T: vm_memory::GuestMemory + Send + Sync + 'static> Memory for T {}

/// Locks, whatever happened to the last holder: device state is plain data, valid at each step.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies the part of a configuration structure that begins at `offset`; zeros behind its end.
pub(crate) fn copy_config(config: &[u8], offset: u64, data: &mut [u8]) {
    for (at, byte) in data.iter_mut().enumerate() {
        let index = usize::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_add(at));
        *byte = index
            .and_then(|index| config.get(index))
            .copied()
            .unwrap_or(0);
    }
}
