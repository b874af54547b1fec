//! The lock inside a device.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a device's state. A panic elsewhere leaves registers as they are: any value of them is
/// one that a guest could have written.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
