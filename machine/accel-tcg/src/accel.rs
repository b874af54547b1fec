//! One engine for all vCPUs of a machine.

use crate::peers::All;
use crate::time::Time;
use crate::vcpu::TcgVcpu;
use isomorph_engine::{Config, Engine, EngineError, Snapshot};
use isomorph_frontend::SystemGuest;
use isomorph_machine::{Accel, AccelError, Clock, Firmware, Timebase, Vcpu, VcpuConfig};
use isomorph_softmmu::AddressSpace;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What the user chooses.
pub struct TcgConfig {
    /// Settings of the engine.
    pub engine: Config,
}

/// What a machine gives its vCPUs once it is complete, before they run.
pub struct Services<G: SystemGuest> {
    /// The counter that translated code reads.
    pub time: Arc<Timebase>,
    /// What timers go by.
    pub clock: Arc<dyn Clock>,
    /// What answers the guest's environment calls, if that is not guest code.
    pub firmware: Option<Arc<dyn Firmware<G::State>>>,
}

/// What vCPUs find when they run.
pub(crate) struct Connected<G: SystemGuest> {
    pub time: Arc<Time>,
    pub clock: Arc<dyn Clock>,
    pub firmware: Option<Arc<dyn Firmware<G::State>>>,
}

/// The translator as an accelerator.
pub struct Tcg<G: SystemGuest> {
    engine: Arc<Engine<G>>,
    all: Arc<All<G>>,
    connected: Arc<OnceLock<Connected<G>>>,
    /// The space whose changes are watched already.
    watched: Mutex<Option<Arc<AddressSpace>>>,
}

impl<G: SystemGuest> fmt::Debug for Tcg<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tcg({})", G::NAME)
    }
}

impl<G: SystemGuest> Tcg<G> {
    /// A translator for machines of `guest`s.
    ///
    /// # Errors
    /// The host lacks something.
    pub fn new(guest: G, config: TcgConfig) -> Result<Arc<Self>, EngineError> {
        let engine = Engine::for_machine(guest, config.engine)?;
        Ok(Arc::new(Self {
            all: All::new(engine.clone()),
            engine,
            connected: Arc::new(OnceLock::new()),
            watched: Mutex::new(None),
        }))
    }

    /// Connects the vCPUs with the rest of the machine. Only the first call counts; it measures
    /// the host's counter for 20 ms.
    pub fn connect(&self, services: Services<G>) {
        let Services {
            time,
            clock,
            firmware,
        } = services;
        let time = Time::new(time, clock.clone());
        let connected = Connected {
            time: time.clone(),
            clock,
            firmware,
        };
        if self.connected.set(connected).is_ok() && self.all.time.set(time.clone()).is_ok() {
            let all: std::sync::Weak<All<G>> = Arc::downgrade(&self.all);
            time.keep(all);
            time.resync();
        }
    }

    /// Is told when the machine has been reset; `started` tells which vCPUs run.
    pub fn was_reset(&self, started: &[bool]) {
        let firmware = self.connected.get().and_then(|c| c.firmware.as_ref());
        if let Some(firmware) = firmware {
            firmware.reset(started);
        }
    }

    /// What the engine has done so far.
    pub fn stats(&self) -> Snapshot {
        self.engine.stats()
    }

    fn watch(&self, space: &Arc<AddressSpace>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.as_ref().is_some_and(|old| Arc::ptr_eq(old, space)) {
            space.watch(self.all.clone());
            *watched = Some(space.clone());
        }
    }
}

impl<G: SystemGuest> Accel for Tcg<G> {
    fn name(&self) -> &'static str {
        "tcg"
    }

    fn create_vcpu(
        &self,
        space: &Arc<AddressSpace>,
        config: &VcpuConfig,
    ) -> Result<Box<dyn Vcpu>, AccelError> {
        self.watch(space);
        let vcpu = TcgVcpu::new(&self.engine, &self.all, &self.connected, space, config);
        let vcpu = vcpu.map_err(|source| AccelError::Create {
            accel: self.name(),
            id: config.id,
            source: source.into(),
        })?;
        self.all.add(vcpu.mailbox());
        Ok(Box::new(vcpu))
    }
}
