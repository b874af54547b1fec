//! Machines: interrupt lines, clocks, life cycle, and what an accelerator must give.
//!
//! Invariants:
//! - A device never names an accelerator, an accelerator never names a device: they meet in
//!   [`IrqLine`], in [`Clock`] and in the guest-physical address space.
//! - An interrupt line tells its sink of changes only, whoever drives it how often ever.
//! - A vCPU is touched by its own thread only; what others want of it, they ask for and kick.
//! - A request to shut down or reset is noted once, with the first reason given.
#![forbid(unsafe_code)]

mod accel;
mod clock;
mod device;
mod firmware;
mod irq;
mod life;
mod runner;
mod scripted;
mod timebase;
mod watchdog;

pub use accel::{Accel, AccelError, Exit, Kick, RegisterBlob, Registers, Vcpu, VcpuConfig, VcpuId};
pub use clock::{Clock, ClockWatch, Deadline, HostClock, ManualClock};
pub use device::Device;
pub use firmware::{After, Everyone, Firmware, Peers, Work};
pub use irq::{IrqLatch, IrqLine, IrqSink};
pub use life::{Life, LifeWatch, Reset, RunState, Shutdown};
pub use runner::{Ended, Machine, RunError, Runner};
pub use scripted::{ScriptError, Scripted, Step};
pub use timebase::{TimeWatch, Timebase};
pub use watchdog::{DumpSink, Pulse, Watchdog};
