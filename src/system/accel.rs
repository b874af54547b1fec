//! The accelerator, as the rest of the command sees it.

use std::sync::Arc;

use isomorph_boards::Virt;
use isomorph_chardev::CharBackend;
use isomorph_machine::{Accel, Clock, Life};

use crate::system::config::Config;
use crate::system::error::SystemError;

/// What a complete machine gives to its accelerator, before anything runs.
pub struct Wiring<'a> {
    /// The board.
    pub board: &'a Virt,
    /// What timers go by.
    pub clock: Arc<dyn Clock>,
    /// Pauses and ends.
    pub life: Arc<Life>,
    /// The console of the built-in firmware; none without that firmware.
    pub console: Option<Arc<dyn CharBackend>>,
}

/// An accelerator with what the command line wants of it.
pub trait Accelerator: Send + Sync {
    /// Makes vCPUs.
    fn accel(&self) -> &dyn Accel;

    /// Connects the vCPUs with the rest of the machine.
    fn connect(&self, wiring: Wiring<'_>);

    /// The machine was reset; `started` tells which vCPUs run.
    fn was_reset(&self, started: &[bool]);

    /// What it counted for all vCPUs, by name.
    fn stats(&self) -> Vec<(&'static str, u64)>;
}

/// The accelerator that the configuration asks for.
pub fn accelerator(_config: &Config) -> Result<Arc<dyn Accelerator>, SystemError> {
    Err(SystemError::NoAccelerator("tcg"))
}
