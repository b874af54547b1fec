//! What an accelerator gives: vCPUs that run, can be kicked, and whose registers can be seen.

use crate::irq::IrqSink;
use isomorph_softmmu::{AddressSpace, BusError};
use std::fmt;
use std::sync::Arc;

/// Number of a vCPU in its machine, from 0.
pub type VcpuId = u32;

/// What a vCPU is created with.
#[derive(Clone, Debug)]
pub struct VcpuConfig {
    /// Its number; on riscv64 the hart id.
    pub id: VcpuId,
    /// Where it starts.
    pub entry: u64,
    /// The first arguments, in the registers that the guest's boot convention names (riscv64:
    /// `a0` and `a1`).
    pub arguments: [u64; 2],
    /// Privilege level it starts in, as the instruction set numbers them (riscv64: 3 machine,
    /// 1 supervisor).
    pub level: u8,
    /// False if another vCPU or the firmware starts it.
    pub started: bool,
}

/// Which registers a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registers {
    /// Integer registers and the program counter, in the manual's order, little-endian.
    General,
    /// Floating-point registers and their control and status.
    Float,
    /// Everything else that the guest can see: control and status registers by number.
    System,
}

/// Registers of one kind, as plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBlob {
    /// Instruction set that gives the bytes their meaning, by its name (`riscv64`).
    pub isa: &'static str,
    /// Version of the layout: raised when it changes.
    pub version: u32,
    /// Which registers.
    pub kind: Registers,
    /// The values.
    pub bytes: Vec<u8>,
}

/// Why `run` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Somebody kicked the vCPU, or asked for a pause.
    Kicked,
    /// The vCPU waits for an interrupt: [`Vcpu::wait`], then `run` again.
    Idle,
    /// The vCPU has stopped itself; only a reset or another vCPU starts it again. As `Idle`.
    Halted,
    /// A breakpoint or the end of a single step.
    Debug,
    /// The accelerator's script is at its end.
    Finished,
}

/// The accelerator failed, not the guest.
#[derive(Debug, thiserror::Error)]
pub enum AccelError {
    /// This accelerator cannot make such a vCPU.
    #[error("the accelerator {accel} cannot make vCPU {id}")]
    Create {
        /// Name of the accelerator.
        accel: &'static str,
        /// The vCPU.
        id: VcpuId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A blob is of another instruction set, layout or length.
    #[error("these {kind:?} registers are not this vCPU's ({isa}, version {version})")]
    Registers {
        /// What the blob says of itself.
        isa: &'static str,
        /// What the blob says of itself.
        version: u32,
        /// What the blob says of itself.
        kind: Registers,
    },
    /// A scripted access was not answered as the script says.
    #[error(transparent)]
    Script(#[from] crate::scripted::ScriptError),
    /// Memory that the accelerator itself needs is not there.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The vCPU cannot go on.
    #[error("vCPU {id} cannot go on")]
    Run {
        /// The vCPU.
        id: VcpuId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes `run` of one vCPU return soon. From any thread, the vCPU's own included.
pub trait Kick: Send + Sync {
    /// Asks; a vCPU that sleeps wakes up. A kick that finds the vCPU outside of `run` makes the
    /// next `run` return.
    fn kick(&self);
}

/// One virtual processor. Belongs to the thread that runs it.
pub trait Vcpu: Send {
    /// Its number.
    fn id(&self) -> VcpuId;

    /// Runs until something is to be done about it.
    ///
    /// # Errors
    /// The accelerator failed.
    fn run(&mut self) -> Result<Exit, AccelError>;

    /// What others kick it with.
    fn kicker(&self) -> Arc<dyn Kick>;

    /// Its interrupt pins, by the number that the instruction set gives them (riscv64: the bit in
    /// `mip`). A change wakes the vCPU.
    fn pins(&self) -> Arc<dyn IrqSink>;

    /// Its registers of one kind.
    ///
    /// # Errors
    /// The accelerator cannot say.
    fn registers(&self, kind: Registers) -> Result<RegisterBlob, AccelError>;

    /// Sets its registers of one kind.
    ///
    /// # Errors
    /// The blob is not this vCPU's.
    fn set_registers(&mut self, blob: &RegisterBlob) -> Result<(), AccelError>;

    /// Back to the state after power-on, as `config` says.
    ///
    /// # Errors
    /// The accelerator failed.
    fn reset(&mut self, config: &VcpuConfig) -> Result<(), AccelError>;

    /// Sleeps after [`Exit::Idle`] or [`Exit::Halted`] until it may be worth to `run` again: until
    /// a kick, a change of a pin, another vCPU's wish to start this one. Returns at once if that
    /// came since `run` returned. An accelerator that sleeps inside `run`, and never returns
    /// these two, need not give it.
    fn wait(&mut self) {}

    /// Its registers by name and the blocks that it ran last, for dumps: lines of text.
    fn describe(&self) -> String;

    /// What it counted, by name.
    fn stats(&self) -> Vec<(&'static str, u64)>;
}

/// Makes vCPUs for one machine.
pub trait Accel: Send + Sync + fmt::Debug {
    /// Name, as `-accel` has it.
    fn name(&self) -> &'static str;

    /// Makes a vCPU that works on `space`.
    ///
    /// # Errors
    /// The host lacks something, or the configuration is impossible.
    fn create_vcpu(
        &self,
        space: &Arc<AddressSpace>,
        config: &VcpuConfig,
    ) -> Result<Box<dyn Vcpu>, AccelError>;
}
