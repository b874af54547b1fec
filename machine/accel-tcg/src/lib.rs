//! The translator as an accelerator: a machine's vCPUs over the engine.
//!
//! Invariants:
//! - Knows no device, no board and no particular guest.
//! - All vCPUs read one time: the host's counter by one [`TimeScale`](isomorph_frontend::TimeScale)
//!   at a time, which never goes backward.
//! - A vCPU sleeps inside `run`; it never returns `Idle` or `Halted`.
#![forbid(unsafe_code)]

mod accel;
mod peers;
mod time;
mod vcpu;

pub use accel::{Services, Tcg, TcgConfig};
