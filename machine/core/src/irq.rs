//! Interrupt lines: a wire from a device to the input of a controller or of a vCPU.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The far end of interrupt lines: inputs by number.
pub trait IrqSink: Send + Sync {
    /// Input `number` has changed to `level`. Comes from any thread; the lock is inside.
    fn set_irq(&self, number: u32, level: bool);
}

struct Wire {
    sink: Arc<dyn IrqSink>,
    number: u32,
    /// Held while the sink is told, so that it hears of changes in their order.
    level: Mutex<bool>,
    raised: AtomicU64,
}

impl Wire {
    /// A panic elsewhere leaves a level as good as any.
    fn level(&self) -> MutexGuard<'_, bool> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One interrupt line. A clone is another handle on the same wire.
#[derive(Clone, Default)]
pub struct IrqLine(Option<Arc<Wire>>);

impl fmt::Debug for IrqLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(wire) => write!(f, "IrqLine({}: {})", wire.number, self.level()),
            None => f.write_str("IrqLine(unconnected)"),
        }
    }
}

impl IrqLine {
    /// A line to input `number` of `sink`, low.
    pub fn new(sink: Arc<dyn IrqSink>, number: u32) -> Self {
        Self(Some(Arc::new(Wire {
            sink,
            number,
            level: Mutex::new(false),
            raised: AtomicU64::new(0),
        })))
    }

    /// A line that leads nowhere.
    pub fn unconnected() -> Self {
        Self::default()
    }

    /// Drives the line; the sink hears of it if the level changes.
    pub fn set(&self, level: bool) {
        let Some(wire) = &self.0 else { return };
        let mut now = wire.level();
        if *now != level {
            *now = level;
            if level {
                wire.raised.fetch_add(1, Ordering::Relaxed);
            }
            wire.sink.set_irq(wire.number, level);
        }
    }

    /// Drives the line high and low again: an edge.
    pub fn pulse(&self) {
        self.set(true);
        self.set(false);
    }

    /// The present level.
    pub fn level(&self) -> bool {
        self.0.as_ref().is_some_and(|wire| *wire.level())
    }

    /// How often the line has gone high.
    pub fn raised(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |wire| wire.raised.load(Ordering::Relaxed))
    }
}

/// A sink that remembers up to 64 levels: the pins of a vCPU, or what a test looks at.
#[derive(Debug, Default)]
pub struct IrqLatch {
    levels: AtomicU64,
    changes: AtomicU64,
}

impl IrqLatch {
    /// All low.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The level of each input, one bit each.
    pub fn levels(&self) -> u64 {
        self.levels.load(Ordering::Acquire)
    }

    /// How many changes were seen.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

impl IrqSink for IrqLatch {
    fn set_irq(&self, number: u32, level: bool) {
        let bit = 1u64.checked_shl(number).unwrap_or(0);
        if level {
            self.levels.fetch_or(bit, Ordering::AcqRel);
        } else {
            self.levels.fetch_and(!bit, Ordering::AcqRel);
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_told() {
        let latch = IrqLatch::new();
        let line = IrqLine::new(latch.clone(), 5);
        let same = line.clone();
        line.set(false);
        line.set(true);
        same.set(true);
        assert_eq!((latch.levels(), latch.changes()), (1 << 5, 1));
        assert!(same.level());
        same.set(false);
        line.pulse();
        assert_eq!((latch.levels(), latch.changes()), (0, 4));
        assert_eq!(line.raised(), 2);
        IrqLine::unconnected().pulse();
        IrqLine::new(latch.clone(), 64).set(true);
        assert_eq!(latch.levels(), 0);
    }
}
