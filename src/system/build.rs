//! From a configuration to a machine: the board, what is plugged into it and loaded.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use isomorph_boards::{
    BoardError, Boot, Chosen, Entry, Firmware, Images, IsaDescription, Role, Virt, VirtConfig,
};
use isomorph_chardev::{CharBackend, Null};
use isomorph_devices::Beating;
use isomorph_devices::fw_cfg::Key;
use isomorph_devices::serial::CharLine;
use isomorph_machine::{
    Clock, HostClock, IrqLatch, IrqSink, Life, Machine, Pulse, VcpuConfig, VcpuId,
};
use isomorph_riscv::CpuModel;
use isomorph_softmmu::AddressSpace;

use crate::system::accel::Accelerator;
use crate::system::attach::{self, Ends};
use crate::system::backends::{self, Disks, Flash, Networks};
use crate::system::clock::Calendar;
use crate::system::config::{Bios, Config, Named};
use crate::system::error::SystemError;
use crate::system::lines::{self, Controls, Lines};

/// Supervisor mode, as the instruction set numbers privilege levels.
const SUPERVISOR: u8 = 1;

/// What a machine is put together from.
pub struct Parts {
    /// The guest-physical space.
    pub space: Arc<AddressSpace>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Pauses and ends.
    pub life: Arc<Life>,
    /// What is behind disks.
    pub disks: Disks,
    /// What is behind network devices.
    pub networks: Networks,
    /// Where lines lead.
    pub lines: Lines,
    /// The flash images.
    pub flash: [Option<Flash>; 2],
    /// Beats when the guest writes to a line.
    pub pulse: Arc<Pulse>,
}

impl Parts {
    /// Opens all back ends.
    pub fn open(config: &Config) -> Result<Self, SystemError> {
        let mut parts = Self::without_lines(config)?;
        parts.networks = backends::open_networks(config)?;
        // The terminal last: errors of the others are shown on it as it was found.
        let lines = lines::open(&config.chardevs, &parts.controls(config))?;
        let beating = |line| -> Arc<dyn CharBackend> { Beating::new(line, parts.pulse.clone()) };
        let lines = lines.into_iter();
        parts.lines = lines.map(|(id, line)| (id, beating(line))).collect();
        Ok(parts)
    }

    /// Opens disks only: nothing that others could notice.
    pub fn without_lines(config: &Config) -> Result<Self, SystemError> {
        let clock = HostClock::new().map_err(|source| SystemError::Host {
            what: "thread for the clock",
            source,
        })?;
        Ok(Self {
            space: AddressSpace::new(),
            clock: Calendar::over(clock, config.rtc),
            life: Life::new(config.no_reboot),
            disks: backends::open_disks(config)?,
            networks: backends::unplugged(config),
            lines: lines::unplugged(&config.chardevs),
            flash: backends::open_flash(config)?,
            pulse: Pulse::new(),
        })
    }

    /// What the terminal acts on.
    pub fn controls(&self, config: &Config) -> Controls {
        Controls {
            speaker: config.speaker,
            life: self.life.clone(),
            disks: self.disks.values().cloned().collect(),
        }
    }

    /// The serial port's line.
    pub fn serial(&self, config: &Config) -> Arc<dyn CharBackend> {
        let line = config.serial.as_ref().and_then(|id| self.lines.get(id));
        line.cloned().unwrap_or_else(|| Arc::new(Null))
    }

    /// Puts the board together and plugs everything in. `pins` are the vCPUs' interrupt pins.
    pub fn board(
        &mut self,
        config: &Config,
        pins: &[Arc<dyn IrqSink>],
    ) -> Result<Virt, SystemError> {
        let flash = std::mem::take(&mut self.flash);
        let mut images = Vec::new();
        let contents = flash.map(|bank| {
            let (image, contents) = bank.map(|bank| (bank.image, bank.contents)).unzip();
            images.push(image);
            contents
        });
        let wanted = VirtConfig {
            harts: config.harts,
            ram_bytes: config.ram_bytes,
            isa: describe(&config.cpu),
            flash: contents,
        };
        let line = CharLine::new(self.serial(config));
        let (space, clock, life) = (self.space.clone(), self.clock.clone(), self.life.clone());
        let mut board = Virt::new(wanted, space, clock, life, pins, line)?;
        let speaker = config.speaker;
        for (index, image) in images.into_iter().enumerate() {
            let image = image.filter(|image| !image.read_only());
            if let (Some(image), Some(bank)) = (image, board.flash(index)) {
                bank.write_back(
                    image,
                    Box::new(move |error| {
                        let error = crate::error::chain(error);
                        speaker.say(format_args!("flash {index}: {error}"));
                    }),
                );
            }
        }
        if let Some(uuid) = &config.uuid {
            board.fw_cfg().set(Key::Uuid, uuid);
        }
        let ends = Ends {
            disks: &self.disks,
            networks: &self.networks,
            lines: &self.lines,
        };
        attach::attach(&mut board, config, &ends)?;
        Ok(board)
    }
}

/// What the device tree says of the harts: the naming string taken apart into single letters and
/// longer names.
fn describe(cpu: &CpuModel) -> IsaDescription {
    let isa = cpu.machine_isa_string();
    let mut names = isa.split('_');
    let letters = names.next().unwrap_or_default();
    let letters = letters.strip_prefix("rv64").unwrap_or(letters);
    let single = letters.chars().map(String::from);
    let extensions = single.chain(names.map(str::to_owned)).collect();
    IsaDescription {
        extensions,
        base: "rv64i".to_owned(),
        mmu_type: cpu.paging().mmu_type().map(str::to_owned),
        isa,
    }
}

/// A machine that can be loaded, again after each reset.
pub struct Loaded {
    /// The board.
    pub board: Virt,
    /// What is to be loaded.
    config: Config,
    /// Is told of resets.
    accelerator: Option<Arc<dyn Accelerator>>,
}

impl Loaded {
    /// A machine with `board`.
    pub fn new(board: Virt, config: Config, accelerator: Option<Arc<dyn Accelerator>>) -> Self {
        Self {
            board,
            config,
            accelerator,
        }
    }

    /// Loads firmware, kernel and device tree; how the harts start.
    pub fn load(&self) -> Result<Vec<VcpuConfig>, SystemError> {
        let boot = self.boot()?.0;
        let harts: Vec<_> = boot.harts.iter().map(|hart| self.adjust(*hart)).collect();
        if let Some(accelerator) = &self.accelerator {
            let started: Vec<_> = harts.iter().map(|hart| hart.started).collect();
            accelerator.was_reset(&started);
        }
        Ok(harts.iter().enumerate().map(vcpu_config).collect())
    }

    /// The device tree that the guest is given.
    pub fn device_tree(&self) -> Result<Vec<u8>, SystemError> {
        let (boot, seed) = self.boot()?;
        if let Some(dtb) = &self.config.dtb {
            return backends::read(dtb);
        }
        let chosen = Chosen {
            bootargs: self.config.append.clone(),
            initrd: boot.initrd,
            rng_seed: Some(seed),
        };
        Ok(self.board.device_tree(&chosen)?)
    }

    /// Reads all files and loads them: they need not be kept in memory for the next reset.
    fn boot(&self) -> Result<(Boot, [u8; 32]), SystemError> {
        let config = &self.config;
        let read = |named: &Option<Named>| named.as_ref().map(backends::read).transpose();
        let (kernel, initrd, dtb) = (
            read(&config.kernel)?,
            read(&config.initrd)?,
            read(&config.dtb)?,
        );
        let seed = random_seed()?;
        let images = Images {
            kernel: kernel.as_deref(),
            initrd: initrd.as_deref(),
            command_line: config.append.as_deref(),
            device_tree: dtb.as_deref(),
            rng_seed: Some(seed),
        };
        let file;
        let firmware = match &config.bios {
            Bios::BuiltIn => Firmware::BuiltIn,
            Bios::None if config.flash[0].is_some() => Firmware::Flash,
            Bios::None => Firmware::None,
            Bios::File(named) => {
                file = backends::read(named)?;
                Firmware::File(&file)
            }
        };
        let boot = self.board.load(firmware, &images);
        Ok((boot.map_err(|source| self.blame(source))?, seed))
    }

    /// Names the option of the image that is broken or too large.
    fn blame(&self, source: BoardError) -> SystemError {
        let what = match source {
            BoardError::Image { what, .. } | BoardError::Room { what, .. } => what,
            _ => return source.into(),
        };
        let config = &self.config;
        let named = match (what, &config.bios) {
            ("kernel", _) => config.kernel.as_ref(),
            ("initial RAM disk", _) => config.initrd.as_ref(),
            ("device tree", _) => config.dtb.as_ref(),
            ("firmware", Bios::File(named)) => Some(named),
            _ => None,
        };
        match named {
            Some(named) => SystemError::Place {
                origin: named.origin.clone(),
                source,
            },
            None => source.into(),
        }
    }

    /// The built-in firmware starts what is in the first flash bank if there is no kernel.
    fn adjust(&self, mut hart: Entry) -> Entry {
        let config = &self.config;
        let flash = self.board.spec().slot(Role::Flash(0));
        if config.bios == Bios::BuiltIn
            && config.kernel.is_none()
            && config.flash[0].is_some()
            && let Some(flash) = flash
        {
            hart.pc = flash.base;
            hart.level = SUPERVISOR;
        }
        hart
    }
}

fn vcpu_config((id, hart): (usize, &Entry)) -> VcpuConfig {
    VcpuConfig {
        id: id as VcpuId,
        entry: hart.pc,
        arguments: [hart.a0, hart.a1],
        level: hart.level,
        started: hart.started,
    }
}

fn random_seed() -> Result<[u8; 32], SystemError> {
    let mut seed = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
    read.map_err(|source| SystemError::Host {
        what: "random numbers",
        source,
    })?;
    Ok(seed)
}

impl Machine for Loaded {
    fn reset(&self) -> Result<Vec<VcpuConfig>, Box<dyn Error + Send + Sync>> {
        self.board.reset();
        Ok(self.load()?)
    }
}

/// Builds a machine without vCPUs and gives its device tree.
pub fn device_tree(config: Config) -> Result<Vec<u8>, SystemError> {
    let mut parts = Parts::without_lines(&config)?;
    let latch = |_| -> Arc<dyn IrqSink> { IrqLatch::new() };
    let pins: Vec<_> = (0..config.harts).map(latch).collect();
    let board = parts.board(&config, &pins)?;
    Loaded::new(board, config, None).device_tree()
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
