//! The guest CPU and the engine, under the names that this crate uses.

pub use isomorph_engine::{CodeSource, EngineError, Exit, Fault, Kick, TrapKind};
pub use isomorph_riscv::{CpuModel, Riscv64 as Cpu, State};

/// The translator of this guest.
pub type Engine = isomorph_engine::Engine<Cpu>;
/// A virtual processor of this guest.
pub type Vcpu = isomorph_engine::Vcpu<Cpu>;
/// Held around fork.
pub type ForkGuard<'a> = isomorph_engine::ForkGuard<'a, Cpu>;
