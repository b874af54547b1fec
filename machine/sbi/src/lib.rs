//! The supervisor binary interface (SBI) v2.0, built in: answers a riscv64 kernel's calls.
//!
//! A machine without firmware starts its kernel in supervisor mode; the kernel's environment calls
//! come here.
//!
//! Section names are those of the "RISC-V Supervisor Binary Interface Specification", version 2.0.
//! There are the extensions Base, TIME, IPI, RFENCE, HSM, SRST, DBCN and PMU; all else, the legacy
//! extensions and the fences of the hypervisor extension included, is not supported.
//!
//! Invariants:
//! - A call touches the registers of the calling hart only; what concerns another hart is done on
//!   that hart's thread, through [`Peers`](isomorph_machine::Peers).
//! - No call waits for a guest: [`run_on`](isomorph_machine::Peers::run_on) counts a hart that
//!   sleeps as done.
//! - A hart is started by one caller only: its state changes in one atomic step.
//! - Guest memory is named by the guest and read and written as RAM only; a device is never
//!   reached.
#![forbid(unsafe_code)]

mod base;
mod call;
mod dbcn;
mod hart;
mod hsm;
mod ipi;
mod memory;
mod pmu;
mod rfence;
mod srst;
#[cfg(test)]
mod tests;
mod time;

pub use call::{Console, ConsoleError, Sbi, Services};
