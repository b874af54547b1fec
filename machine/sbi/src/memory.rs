//! Guest memory that a call names.

use crate::call::Error;
use isomorph_softmmu::FlatView;

/// A part of guest-physical memory, all of it RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub start: u64,
    pub len: u64,
}

impl Range {
    /// The range with its address in two registers (section "Shared memory physical address range
    /// parameter"): all of it must be memory for reads, or for writes.
    pub fn new(
        view: &FlatView,
        (low, high): (u64, u64),
        len: u64,
        write: bool,
    ) -> Result<Self, Error> {
        let range = Self { start: low, len };
        // The whole space has 64 bits.
        let valid = len == 0 || high == 0 && is_memory(view, low, len, write);
        valid.then_some(range).ok_or(Error::InvalidParam)
    }
}

/// Whether all of the range is memory.
fn is_memory(view: &FlatView, start: u64, len: u64, write: bool) -> bool {
    let (mut at, mut rest) = (start, len);
    while rest != 0 {
        let Some((_, _, room)) = view.ram(at, write) else {
            return false;
        };
        rest -= room.min(rest);
        let Some(next) = at.checked_add(room) else {
            return rest == 0;
        };
        at = next;
    }
    true
}

/// Whether a hart can start at an address: there is memory, and it is where an instruction can be.
pub(crate) fn is_entry(view: &FlatView, address: u64) -> bool {
    address.is_multiple_of(2) && view.ram(address, false).is_some()
}
