//! PCI Express: configuration spaces, BARs, an ECAM host bridge.
//!
//! A board makes one [`PciHost`], adds functions to it, and routes to it its ECAM region and its
//! three windows (I/O ports, 32-bit and 64-bit memory). BARs are routed inside the host, so that a
//! guest that moves one changes nothing in the board's address map. Section numbers are those of
//! the PCI Local Bus Specification 3.0, and of PCI Express 3.0 where it says so.
//!
//! Invariants:
//! - Nothing of a function answers that its command register does not enable.
//! - Reads of what is not there give all ones, writes to it go nowhere (§6.1).
//! - A function's own lock is never held while the host's is taken.

mod config;
mod host;
#[cfg(test)]
mod tests;

pub use config::{Bar, BarKind, ConfigSpace, Identity};
pub use host::{IntxLine, PciError, PciFunction, PciHost, Range, Window, Windows};
