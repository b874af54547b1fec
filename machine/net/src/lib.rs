//! User-mode networking behind network devices.
//!
//! The guest sees an Ethernet segment with a gateway, a name server and a DHCP server on it;
//! behind them are plain sockets of the host, so that nothing needs privileges.
//!
//! Invariants:
//! - One thread owns all sockets; devices meet it at a queue of frames.
//! - A frame from the guest is data to be doubted: whatever it says, the worst that happens is
//!   that it is dropped.
//! - The guest reaches the host only as [`UserConfig`] allows: not at all with `restrict`.
//! - What is kept per connection is bounded, and so is the number of connections.

#![forbid(unsafe_code)]

mod error;
mod user;

pub use error::NetError;
pub use user::{Forward, Protocol, UserConfig, UserNet};

use std::sync::Arc;

/// The largest frame that passes: 1500 bytes and the Ethernet header, without checksum.
pub const FRAME_MAX: usize = 1514;

/// The device's end of the wire. Called from the back end's thread.
pub trait FrameSink: Send + Sync {
    /// Takes a frame; false if there is no room now, and the frame is to be offered again after
    /// [`NetBackend::ready`].
    fn deliver(&self, frame: &[u8]) -> bool;
}

/// What a network device sends to and receives from.
pub trait NetBackend: Send + Sync {
    /// Sends one Ethernet frame, without checksum. A frame that finds no room is lost, as on a
    /// wire.
    fn send(&self, frame: &[u8]);

    /// Begins to deliver frames to `sink`.
    fn attach(&self, sink: Arc<dyn FrameSink>);

    /// The sink has room again.
    fn ready(&self) {}
}

/// A wire that leads nowhere.
#[derive(Debug, Default)]
pub struct Unplugged;

impl NetBackend for Unplugged {
    fn send(&self, _frame: &[u8]) {}

    fn attach(&self, _sink: Arc<dyn FrameSink>) {}
}
