//! Behaviour of the finisher; it has no state.

use super::regs::*;
use isomorph_machine::{Life, Reset, Shutdown};
use isomorph_softmmu::Mmio;
use std::sync::Arc;

/// A test finisher.
#[derive(Debug)]
pub struct Finisher {
    life: Arc<Life>,
}

impl Finisher {
    /// A finisher that ends `life`.
    pub fn new(life: Arc<Life>) -> Arc<Self> {
        Arc::new(Self { life })
    }
}

impl Mmio for Finisher {
    fn read(&self, _: u64, _: u32) -> u64 {
        0
    }

    fn write(&self, offset: u64, _: u32, value: u64) {
        if offset != 0 {
            return;
        }
        match value & 0xffff {
            // The host keeps eight bits of an exit status.
            FAIL => self.life.shutdown(Shutdown::Guest((value >> 16) as u8)),
            PASS => self.life.shutdown(Shutdown::Guest(0)),
            RESET => self.life.reset(Reset::Guest),
            _ => {}
        }
    }
}
