//! One vCPU over the engine.

use crate::accel::Connected;
use crate::peers::All;
use isomorph_engine::{After, Engine, EngineError, Mailbox, Outside, SystemVcpu, host_ticks};
use isomorph_frontend::SystemGuest;
use isomorph_machine as machine;
use isomorph_machine::{
    AccelError, Deadline, Exit, IrqSink, Kick, RegisterBlob, Registers, Vcpu, VcpuConfig, VcpuId,
};
use isomorph_softmmu::AddressSpace;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// The vCPU's own side of its mailbox, for devices and clocks.
struct Pins<S>(Arc<Mailbox<S>>);

impl<S> IrqSink for Pins<S> {
    fn set_irq(&self, number: u32, level: bool) {
        self.0.set_pin(number, level);
    }
}

impl<S> Kick for Pins<S> {
    fn kick(&self) {
        self.0.kick();
    }
}

impl<S: Send> Deadline for Pins<S> {
    fn expired(&self) {
        self.0.timer();
    }
}

/// What is around the vCPU.
struct Around<G: SystemGuest> {
    id: VcpuId,
    all: Arc<All<G>>,
    connected: Arc<OnceLock<Connected<G>>>,
    timer: Arc<Pins<G::State>>,
    key: OnceLock<u64>,
}

impl<G: SystemGuest> Outside<G> for Around<G> {
    fn ticks(&self) -> u64 {
        self.connected.get().map_or(0, |c| c.time.ticks())
    }

    fn arm(&self, ticks: Option<u64>) {
        let Some(connected) = self.connected.get() else {
            return;
        };
        let clock = &connected.clock;
        let key = *self.key.get_or_init(|| clock.new_key());
        let at = ticks.and_then(|ticks| connected.time.when(ticks));
        let timer: Arc<dyn Deadline> = self.timer.clone();
        clock.arm(key, at, Arc::downgrade(&timer));
    }

    fn resumed(&self) {
        let firmware = self.connected.get().and_then(|c| c.firmware.as_ref());
        if let Some(firmware) = firmware {
            firmware.resumed(self.id);
        }
    }

    fn call(&self, state: &mut G::State) -> Option<After> {
        let firmware = self.connected.get()?.firmware.as_ref()?;
        G::note_counters(state, host_ticks());
        let after = firmware.call(self.id, state, &*self.all)?;
        Some(match after {
            machine::After::Continue => After::Continue,
            machine::After::Stop => After::Stop,
            machine::After::Wait => After::Wait,
        })
    }
}

/// A vCPU over the engine.
pub(crate) struct TcgVcpu<G: SystemGuest> {
    id: VcpuId,
    engine: Arc<Engine<G>>,
    connected: Arc<OnceLock<Connected<G>>>,
    core: SystemVcpu<G>,
    sink: Arc<Pins<G::State>>,
}

impl<G: SystemGuest> TcgVcpu<G> {
    pub fn new(
        engine: &Arc<Engine<G>>,
        all: &Arc<All<G>>,
        connected: &Arc<OnceLock<Connected<G>>>,
        space: &Arc<AddressSpace>,
        config: &VcpuConfig,
    ) -> Result<Self, EngineError> {
        let mail = Arc::new(Mailbox::default());
        let sink = Arc::new(Pins(mail.clone()));
        let around = Around {
            id: config.id,
            all: all.clone(),
            connected: connected.clone(),
            timer: sink.clone(),
            key: OnceLock::new(),
        };
        let state = start_state(engine, connected, config);
        let core = engine.new_system_vcpu(
            space.clone(),
            state,
            !config.started,
            mail,
            Arc::new(around),
        )?;
        Ok(Self {
            id: config.id,
            engine: engine.clone(),
            connected: connected.clone(),
            core,
            sink,
        })
    }

    pub fn mailbox(&self) -> Arc<Mailbox<G::State>> {
        self.core.mailbox().clone()
    }
}

fn start_state<G: SystemGuest>(
    engine: &Engine<G>,
    connected: &OnceLock<Connected<G>>,
    config: &VcpuConfig,
) -> G::State {
    let guest = engine.guest();
    let mut state = guest.start(config.id, config.level, config.entry, config.arguments);
    if let Some(connected) = connected.get() {
        G::set_time_scale(&mut state, connected.time.scale());
    }
    state
}

impl<G: SystemGuest> Vcpu for TcgVcpu<G> {
    fn id(&self) -> VcpuId {
        self.id
    }

    fn run(&mut self) -> Result<Exit, AccelError> {
        match self.core.run() {
            Ok(_) => Ok(Exit::Kicked),
            Err(source) => Err(AccelError::Run {
                id: self.id,
                source: source.into(),
            }),
        }
    }

    fn kicker(&self) -> Arc<dyn Kick> {
        self.sink.clone()
    }

    fn pins(&self) -> Arc<dyn IrqSink> {
        self.sink.clone()
    }

    fn registers(&self, kind: Registers) -> Result<RegisterBlob, AccelError> {
        let bytes = G::registers(self.core.state(), kind as u8);
        Ok(RegisterBlob {
            isa: G::NAME,
            version: G::REGISTERS_VERSION,
            kind,
            bytes,
        })
    }

    fn set_registers(&mut self, blob: &RegisterBlob) -> Result<(), AccelError> {
        let RegisterBlob {
            isa,
            version,
            kind,
            ref bytes,
        } = *blob;
        let ours = isa == G::NAME && version == G::REGISTERS_VERSION;
        if ours && G::set_registers(self.core.state_mut(), kind as u8, bytes) {
            return Ok(());
        }
        Err(AccelError::Registers { isa, version, kind })
    }

    fn reset(&mut self, config: &VcpuConfig) -> Result<(), AccelError> {
        self.core.mailbox().discard();
        let state = start_state(&self.engine, &self.connected, config);
        self.core.reset(state, !config.started);
        Ok(())
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        if self.core.is_halted() {
            text.push_str("stopped, waits to be started\n");
        }
        let dump = G::dump(self.core.state());
        for row in dump.chunks(4) {
            for (name, value) in row {
                // Writing to a string cannot fail.
                let _ = write!(text, " {name:>13} {value:016x}");
            }
            text.push('\n');
        }
        text.push_str("last blocks entered from the run loop, latest first:");
        for pc in self.core.trace() {
            let _ = write!(text, " {pc:#x}");
        }
        text.push('\n');
        text
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let (stats, tlb) = (self.core.stats(), self.core.tlb_stats());
        let mmu = stats.mmu;
        vec![
            ("interrupts", stats.interrupts),
            ("exceptions", stats.exceptions),
            ("firmware-calls", stats.firmware_calls),
            ("trap-returns", stats.returns),
            ("mode-changes", stats.mode_changes),
            ("context-changes", stats.contexts),
            ("instruction-fences", stats.instruction_fences),
            ("exits-lookup", stats.lookups),
            ("exits-mailbox", stats.polls),
            ("waits", stats.waits),
            ("asleep-us", self.core.mailbox().asleep() / 1000),
            ("tlb-misses", mmu.slow),
            ("tlb-walks", mmu.walks),
            ("tlb-fills", tlb.fills),
            ("tlb-flushes", tlb.flushes),
            ("tlb-page-flushes", tlb.page_flushes),
            ("tlb-evictions", tlb.evictions),
            ("device-accesses", mmu.devices),
            ("page-crossings", mmu.crossing),
            ("code-page-stores", mmu.code_stores),
            ("access-faults", mmu.faults),
        ]
    }
}
