//! The block IR: typed operations, builder, text form, verifier and reference interpreter.
//!
//! A [`Block`] is a single-entry straight line of [`Inst`]s with side exits, translated from at
//! most 64 guest instructions. Operands are [`Val`]s: guest registers ([globals](GlobalTable)),
//! block-local temporaries, or constants.
//!
//! Invariants:
//! - The IR knows no guest and no host: globals are described by a table the front end gives.
//! - Storage is flat; no operation allocates.
//! - Every temporary is written once, before its uses.
//! - Guest state is precise at every operation that can leave the block (memory access, side exit,
//!   trap, call): a front end writes globals in guest program order.
#![forbid(unsafe_code)]

pub mod interp;
pub mod passes;
pub mod text;

mod attr;
mod block;
mod builder;
mod eval;
mod global;
mod op;
#[cfg(test)]
mod reference;
mod region;
mod sig;
#[cfg(test)]
mod testing;
mod verify;

pub use attr::{AtomicOp, Cond, JumpKind, MemOp, Order, Rm, TrapKind, Type};
pub use block::{Block, Inst, Temp, Val};
pub use builder::{Builder, Dst};
pub use global::{Global, GlobalTable};
pub use op::{Aux, Imm, Op, OpFlags, OpInfo};
pub use region::{Preheader, Region, RegionError, RegionText, Reprobe, Site};
pub use verify::{VerifyError, verify};
