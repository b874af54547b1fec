//! Load-reserved and store-conditional where generated code does not perform them: the same
//! protocol as tier 1's, on the same buckets (see `isomorph_baseline::Header`).

use isomorph_baseline::{Header, RESERVE_LEN};
use std::sync::atomic::{AtomicU64, Ordering};

/// The reservation register of a vCPU without a reservation.
const NONE: u64 = 1;

/// The bucket that host address `host` falls into.
fn bucket(header: &Header, host: u64) -> &AtomicU64 {
    let index = (host >> 4) as usize & (RESERVE_LEN - 1);
    // SAFETY: the engine points `reserve_table` at that many atomics, which live as long as it.
    unsafe { &*(header.reserve_table as *const AtomicU64).add(index) }
}

/// Notes a reservation for `host` and loads; the caller notes the value.
pub(crate) fn load(
    header: &mut Header,
    host: u64,
    load: impl FnOnce() -> Option<u64>,
) -> Option<u64> {
    // A store-conditional under way makes ours fail: its version is odd now, and the next even
    // one is another.
    let version = bucket(header, host).load(Ordering::SeqCst) & !1;
    let value = load()?;
    header.reserve_addr = host;
    header.reserve_version = version;
    Some(value)
}

/// Stores by `exchange` (given the value that the reservation saw; true if that was still there)
/// if the reservation holds, and ends it. 0 if it stored, else 1.
pub(crate) fn store(
    header: &mut Header,
    host: u64,
    exchange: impl FnOnce(u64) -> Option<bool>,
) -> Option<u64> {
    let held = std::mem::replace(&mut header.reserve_addr, NONE) == host;
    let (version, value) = (header.reserve_version, header.reserve_value);
    let bucket = bucket(header, host);
    let order = Ordering::SeqCst;
    if !held
        || bucket
            .compare_exchange(version, version | 1, order, order)
            .is_err()
    {
        return Some(1);
    }
    let stored = exchange(value);
    bucket.store(version + 2, order);
    Some(u64::from(!stored?))
}
