//! The guest CPU and the engine, under the names that this crate uses.
//!
//! Temporary: stand-ins until the engine and the RISC-V guest are there.

use std::sync::Arc;

pub use isomorph_frontend::CodeSource;
pub use isomorph_ir::TrapKind;

/// Guest registers.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct State {
    pub x: [u64; 32],
    pub f: [u64; 32],
    pub pc: u64,
    pub fcsr: u32,
}

/// The guest.
#[derive(Debug)]
pub struct Cpu;

/// Failure of the engine.
#[derive(Debug, thiserror::Error)]
#[error("engine")]
pub struct EngineError;

/// The engine.
#[allow(missing_docs)]
pub struct Engine;
/// A fault.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Fault {
    pub signo: i32,
    pub code: i32,
    pub address: u64,
    pub pc: u64,
}
/// Why the vCPU stopped.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Exit {
    Trap { kind: TrapKind, pc: u64, info: u64 },
    Fault(Fault),
    Interrupted,
}
/// A vCPU.
#[allow(missing_docs)]
pub struct Vcpu {
    state: State,
}
/// Asks a vCPU to stop.
#[derive(Clone, Copy)]
pub struct Kick;
/// Held around fork.
pub struct ForkGuard;
#[allow(missing_docs)]
impl ForkGuard {
    pub fn parent(self) {}
    pub fn child(self) {}
}
#[allow(missing_docs)]
impl Kick {
    pub fn request(&self) {}
}
#[allow(missing_docs)]
impl Engine {
    pub fn new(
        _: Cpu,
        _: (),
        _: Box<dyn CodeSource + Send + Sync>,
    ) -> Result<Arc<Self>, EngineError> {
        Ok(Arc::new(Self))
    }
    pub fn new_vcpu(&self, state: State) -> Result<Vcpu, EngineError> {
        Ok(Vcpu { state })
    }
    pub fn invalidate(&self, _start: u64, _end: u64) {}
    pub fn insn_sync(&self, _range: Option<(u64, u64)>) {}
    pub fn fork_prepare(&self) -> ForkGuard {
        ForkGuard
    }
}
#[allow(missing_docs)]
impl Vcpu {
    pub fn state(&self) -> &State {
        &self.state
    }
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }
    pub fn run(&mut self) -> Exit {
        Exit::Interrupted
    }
    pub fn kick(&self) -> Kick {
        Kick
    }
}
/// Host signal.
/// # Safety
/// Shim.
pub unsafe fn handle_host_signal(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) -> bool {
    false
}
