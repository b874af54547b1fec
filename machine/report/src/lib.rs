//! What the translator did, told: logs, files for profilers, figures, a page.
//!
//! Invariants:
//! - Nothing is observed that was not asked for.
//! - Observers are called under the engine's lock: they never call the engine.
//! - A forked child of a program writes to none of its parent's files, and waits for none of its
//!   locks.
//! - A file that cannot be written any further is told of once; the guest does not notice.
#![forbid(unsafe_code)]

pub mod disassembly;
mod dump;
mod figures;
mod growing;
mod items;
mod page;
mod profilers;
pub mod record;
mod setup;
mod symbols;
#[cfg(test)]
mod testing;
mod words;

pub use dump::DumpSink;
pub use figures::{Figures, Percentiles, Throughput};
pub use growing::{GrowingFile, Warn};
pub use items::DebugItems;
pub use setup::{Keep, ReportError, Reports, Sinks, Started, Summary, Told, Wanted};
pub use symbols::{SymbolError, Symbols, Table};
