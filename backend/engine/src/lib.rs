//! The run loop: block table, chaining, invalidation, safe points.
//!
//! Invariants:
//! - One lock guards translations; generated code and block look-ups take none.
//! - A vCPU is "running" while it is in generated code or holds an address into it. Code memory is
//!   reused only after a flush, and a flush waits until no vCPU is running.
//! - A dropped block is unreachable at once (no table entry, no edge, no jump-cache entry, no
//!   landing leads to it); a thread that is in it leaves by itself.
//! - Nothing unwinds or jumps over Rust frames: generated code returns with a reason.
//! - Nothing here knows a particular guest.

mod address;
mod blocks;
mod config;
mod engine;
mod error;
mod fault;
mod memory;
mod site;
mod stats;
mod system;
mod table;
mod tier2;
mod vcpu;

pub use blocks::ticks as host_ticks;
pub use config::{
    Config, Dropped, Extras, Observer, Origin, Part, Policy, Refusal, RegionEvent, Tier2,
    Translation,
};
pub use engine::{Engine, ForkGuard};
pub use error::EngineError;
pub use fault::handle_host_signal;
pub use isomorph_baseline::MapEntry;
pub use isomorph_frontend::{CodeSource, Guest, Limits};
pub use isomorph_ir::TrapKind;
pub use stats::{Counter, Snapshot, Stats};
pub use system::{After, Mailbox, MmuStats, Outside, SystemExit, SystemStats, SystemVcpu, Work};
pub use vcpu::{Exit, Fault, Kick, Vcpu};
