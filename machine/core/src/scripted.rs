//! The accelerator without a processor: plays accesses against a board.

use crate::accel::{
    Accel, AccelError, Exit, Kick, RegisterBlob, Registers, Vcpu, VcpuConfig, VcpuId,
};
use crate::irq::{IrqLatch, IrqSink};
use isomorph_softmmu::AddressSpace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A read that must give this value: address, size, value.
    Read(u64, u32, u64),
    /// A read that must give this value in the bits of the mask: address, size, mask, value.
    ReadBits(u64, u32, u64, u64),
    /// A write: address, size, value.
    Write(u64, u32, u64),
    /// A read of this size at this address must be a bus error.
    NoRead(u64, u32),
    /// A write of this size at this address must be a bus error.
    NoWrite(u64, u32),
    /// The vCPU's interrupt pins must be at these levels, one bit each.
    Pins(u64),
}

/// A step that went otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {number} ({step:x?}) found {found:x?}")]
pub struct ScriptError {
    /// Which step, from 0.
    pub number: usize,
    /// What it says.
    pub step: Step,
    /// The value found; `None`: a bus error.
    pub found: Option<u64>,
}

/// Plays the same script on every vCPU.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    steps: Vec<Step>,
}

impl Scripted {
    /// An accelerator for one script.
    pub fn new(steps: &[Step]) -> Self {
        Self {
            steps: steps.to_vec(),
        }
    }

    /// Plays steps on a space, with no vCPU around.
    ///
    /// # Errors
    /// The first step that went otherwise.
    pub fn play(space: &AddressSpace, pins: u64, steps: &[Step]) -> Result<(), ScriptError> {
        for (number, step) in steps.iter().enumerate() {
            check(space, || pins, number, *step)?;
        }
        Ok(())
    }
}

/// Does one step.
fn check(
    space: &AddressSpace,
    pins: impl Fn() -> u64,
    number: usize,
    step: Step,
) -> Result<(), ScriptError> {
    let (found, good) = match step {
        Step::Read(address, size, want) => {
            let found = space.read(address, size).ok();
            (found, found == Some(want))
        }
        Step::ReadBits(address, size, mask, want) => {
            let found = space.read(address, size).ok();
            (found, found.is_some_and(|found| found & mask == want))
        }
        Step::Write(address, size, value) => {
            let found = space.write(address, size, value).ok().map(|()| value);
            (found, found.is_some())
        }
        Step::NoRead(address, size) => {
            let found = space.read(address, size).ok();
            (found, found.is_none())
        }
        Step::NoWrite(address, size) => {
            let found = space.write(address, size, 0).ok().map(|()| 0);
            (found, found.is_none())
        }
        Step::Pins(want) => (Some(pins()), pins() == want),
    };
    if good {
        return Ok(());
    }
    Err(ScriptError {
        number,
        step,
        found,
    })
}

impl Accel for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn create_vcpu(
        &self,
        space: &Arc<AddressSpace>,
        config: &VcpuConfig,
    ) -> Result<Box<dyn Vcpu>, AccelError> {
        Ok(Box::new(ScriptedVcpu {
            id: config.id,
            steps: self.steps.clone(),
            next: 0,
            space: space.clone(),
            pins: IrqLatch::new(),
            kicked: Arc::default(),
            general: Vec::new(),
        }))
    }
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Kick for Flag {
    fn kick(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A vCPU whose program is a list of steps.
struct ScriptedVcpu {
    id: VcpuId,
    steps: Vec<Step>,
    next: usize,
    space: Arc<AddressSpace>,
    pins: Arc<IrqLatch>,
    kicked: Arc<Flag>,
    general: Vec<u8>,
}

impl Vcpu for ScriptedVcpu {
    fn id(&self) -> VcpuId {
        self.id
    }

    fn run(&mut self) -> Result<Exit, AccelError> {
        while let Some(step) = self.steps.get(self.next) {
            if self.kicked.0.swap(false, Ordering::AcqRel) {
                return Ok(Exit::Kicked);
            }
            let pins = || self.pins.levels();
            check(&self.space, pins, self.next, *step)?;
            self.next += 1;
        }
        Ok(Exit::Finished)
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        self.kicked.clone()
    }

    fn pins(&self) -> Arc<dyn IrqSink> {
        self.pins.clone()
    }

    fn registers(&self, kind: Registers) -> Result<RegisterBlob, AccelError> {
        let general = kind == Registers::General;
        Ok(RegisterBlob {
            isa: "script",
            version: 1,
            kind,
            bytes: if general {
                self.general.clone()
            } else {
                Vec::new()
            },
        })
    }

    fn set_registers(&mut self, blob: &RegisterBlob) -> Result<(), AccelError> {
        let RegisterBlob {
            isa,
            version,
            kind,
            ref bytes,
        } = *blob;
        if (isa, version, kind) != ("script", 1, Registers::General) {
            return Err(AccelError::Registers { isa, version, kind });
        }
        self.general.clone_from(bytes);
        Ok(())
    }

    fn reset(&mut self, config: &VcpuConfig) -> Result<(), AccelError> {
        self.id = config.id;
        self.next = 0;
        Ok(())
    }

    fn describe(&self) -> String {
        let Self { next, steps, .. } = self;
        let pins = self.pins.levels();
        match steps.get(*next) {
            Some(step) => format!("step {next} of {}: {step:x?}, pins {pins:#x}", steps.len()),
            None => format!("at the end of {next} steps, pins {pins:#x}"),
        }
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        vec![("steps", self.next as u64)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::IrqLine;
    use isomorph_softmmu::{AccessRules, Backing, Mmio, Region};

    /// Reads back what was written last; raises its line while that is odd.
    struct Echo(std::sync::atomic::AtomicU64, std::sync::OnceLock<IrqLine>);

    impl Mmio for Echo {
        fn read(&self, _: u64, _: u32) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn write(&self, _: u64, _: u32, value: u64) {
            self.0.store(value, Ordering::Relaxed);
            if let Some(line) = self.1.get() {
                line.set(value & 1 != 0);
            }
        }
    }

    fn machine() -> (Arc<AddressSpace>, Arc<Echo>) {
        let space = AddressSpace::new();
        let echo = Arc::new(Echo(0.into(), std::sync::OnceLock::new()));
        let backing = Backing::Mmio(echo.clone(), AccessRules::sized(4, 4));
        space.add(Region::new("echo", 0x1000, 4, 0, backing).expect("region"));
        (space, echo)
    }

    const CONFIG: VcpuConfig = VcpuConfig {
        id: 0,
        entry: 0,
        arguments: [0, 0],
        level: 3,
        started: true,
    };

    #[test]
    fn a_script_runs_to_its_end() {
        let (space, echo) = machine();
        let accel = Scripted::new(&[
            Step::Pins(0),
            Step::Write(0x1000, 4, 0x31),
            Step::Read(0x1000, 4, 0x31),
            Step::ReadBits(0x1000, 4, 0xf, 1),
            Step::Pins(1 << 11),
            Step::NoRead(0x1000, 8),
            Step::NoWrite(0x2000, 4),
        ]);
        let mut vcpu = accel.create_vcpu(&space, &CONFIG).expect("a vCPU");
        assert!(echo.1.set(IrqLine::new(vcpu.pins(), 11)).is_ok());
        vcpu.kicker().kick();
        assert_eq!(vcpu.run().expect("as scripted"), Exit::Kicked);
        assert_eq!(vcpu.run().expect("as scripted"), Exit::Finished);
    }

    #[test]
    fn a_wrong_value_names_its_step() {
        let (space, _) = machine();
        let steps = [Step::Write(0x1000, 4, 1), Step::Read(0x1000, 4, 2)];
        let error = Scripted::play(&space, 0, &steps).expect_err("1 is not 2");
        assert_eq!((error.number, error.found), (1, Some(1)));
    }

    #[test]
    fn foreign_registers_are_refused() {
        let (space, _) = machine();
        let mut vcpu = Scripted::new(&[])
            .create_vcpu(&space, &CONFIG)
            .expect("a vCPU");
        let mut blob = vcpu.registers(Registers::General).expect("registers");
        blob.bytes = vec![1];
        vcpu.set_registers(&blob).expect("its own");
        assert_eq!(vcpu.registers(Registers::General).expect("registers"), blob);
        blob.isa = "riscv64";
        assert!(vcpu.set_registers(&blob).is_err());
    }
}
