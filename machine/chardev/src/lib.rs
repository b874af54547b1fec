//! Where a guest's serial lines lead: stdio, pty, file, socket.
//!
//! A device writes to a [`CharBackend`] and receives through the [`CharSink`] that it attached.
//!
//! Invariants:
//! - `write` keeps bytes in order and never waits without end for a reader that went away: what a
//!   closed peer does not take is dropped, as on a serial line with nothing plugged in.
//! - A back end reads no more than its sink has room for; a sink that has room again calls
//!   `ready`.
//! - The terminal is put back as it was found, however the process ends short of SIGKILL.

#![forbid(unsafe_code)]

mod error;
mod escape;
mod file;
mod pty;
mod pump;
mod ring;
mod socket;
mod stdio;
#[cfg(test)]
mod tests;

pub use error::CharError;
pub use escape::{Command, Escape, Outcome};
pub use file::FileOutput;
pub use pty::Pty;
pub use ring::Ring;
pub use socket::{Socket, SocketAddress, SocketOptions};
pub use stdio::{Stdio, StdioOptions, restore_terminal, retake_terminal};

use std::sync::Arc;

/// Something that happened on the line, other than bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharEvent {
    /// Someone is at the other end.
    Opened,
    /// No one is at the other end any more.
    Closed,
    /// A break condition (on stdio: the escape `b`).
    Break,
}

/// The device's end of a line. Called from the back end's thread.
pub trait CharSink: Send + Sync {
    /// Bytes that `receive` takes now.
    fn room(&self) -> usize;

    /// Takes bytes: never more than `room` said.
    fn receive(&self, data: &[u8]);

    /// Something else happened.
    fn event(&self, _event: CharEvent) {}
}

/// The host's end of a line.
pub trait CharBackend: Send + Sync {
    /// Sends all of `data`, or drops what no one is there to take.
    ///
    /// # Errors
    /// The host failed.
    fn write(&self, data: &[u8]) -> Result<(), CharError>;

    /// Begins to deliver input to `sink`; takes the place of the sink before it.
    fn attach(&self, sink: Arc<dyn CharSink>);

    /// The sink has room again.
    fn ready(&self) {}
}

/// Takes everything, gives nothing.
#[derive(Debug, Default)]
pub struct Null;

impl CharBackend for Null {
    fn write(&self, _data: &[u8]) -> Result<(), CharError> {
        Ok(())
    }

    fn attach(&self, _sink: Arc<dyn CharSink>) {}
}
