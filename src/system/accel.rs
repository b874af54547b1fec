//! The accelerator, as the rest of the command sees it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use isomorph_accel_tcg::{Services, Tcg, TcgConfig};
use isomorph_boards::Virt;
use isomorph_chardev::CharBackend;
use isomorph_devices::serial::Serial;
use isomorph_engine::Config as EngineConfig;
use isomorph_machine::{Accel, Clock, Firmware, Life};
use isomorph_report::{
    DumpSink, GrowingFile, ReportError, Reports, Sinks, Symbols, Table, Told, Warn,
};
use isomorph_riscv::{HartState, RiscvMachine};
use isomorph_sbi::{Console, ConsoleError, Sbi};
use isomorph_softmmu::Mmio;

use crate::system::config::{Bios, Config, Named};
use crate::system::error::SystemError;

/// What a complete machine gives to its accelerator, before anything runs.
pub struct Wiring<'a> {
    /// The board.
    pub board: &'a Virt,
    /// What timers go by.
    pub clock: Arc<dyn Clock>,
    /// Pauses and ends.
    pub life: Arc<Life>,
    /// The console of the built-in firmware; none without that firmware.
    pub console: Option<Arc<dyn CharBackend>>,
}

/// An accelerator with what the command line wants of it.
pub trait Accelerator: Send + Sync {
    /// Makes vCPUs.
    fn accel(&self) -> &dyn Accel;

    /// Connects the vCPUs with the rest of the machine.
    fn connect(&self, wiring: Wiring<'_>);

    /// The machine was reset; `started` tells which vCPUs run.
    fn was_reset(&self, started: &[bool]);

    /// What it counted for all vCPUs, by name.
    fn stats(&self) -> Vec<(&'static str, u64)>;

    /// Tells what is told at the end of a run; `more` was counted elsewhere.
    fn report(&self, more: &[(String, u64)]) -> Result<Told, ReportError>;
}

/// The accelerator that the configuration asks for.
pub fn accelerator(config: &Config) -> Result<Arc<dyn Accelerator>, SystemError> {
    let guest = RiscvMachine::new(config.cpu.clone());
    let what = (title(config), symbols(config)?);
    let started = config
        .reports
        .start(&guest, what, sinks(config)?, |file| file);
    let (observer, reports) = started?;
    let engine = EngineConfig {
        chain: !config.no_chain,
        tier2: config.tier2,
        observer,
        ..EngineConfig::default()
    };
    let tcg = Tcg::new(guest, TcgConfig { engine });
    let tcg = tcg.map_err(|source| SystemError::Accelerator {
        name: "tcg",
        source: Box::new(source),
    })?;
    Ok(Arc::new(Translator { tcg, reports }))
}

/// What runs, in a few words.
fn title(config: &Config) -> String {
    let kernel = config.kernel.as_ref().map(|named| &named.path);
    let file = match &config.bios {
        Bios::File(named) => Some(&named.path),
        _ => None,
    };
    let image = kernel.or(file);
    let image = image.map_or_else(|| "flash".to_owned(), |path| path.display().to_string());
    format!("riscv64 virt, -smp {}: {image}", config.harts)
}

/// Names of guest functions: of the files of `-symbols`, and of the kernel and the firmware if
/// they have any.
fn symbols(config: &Config) -> Result<Symbols, SystemError> {
    let read = |named: &Named| {
        Table::of_file(&named.path).map_err(|source| SystemError::Symbols {
            origin: named.origin.clone(),
            source,
        })
    };
    let mut tables = config
        .symbols
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    let wanted = &config.reports;
    if wanted.perf_map || wanted.jitdump || wanted.summary.is_some() {
        let firmware = match &config.bios {
            Bios::File(named) => Some(named),
            _ => None,
        };
        let images = config.kernel.iter().chain(firmware);
        // Most have none, which is no error.
        tables.extend(images.filter_map(|named| Table::of_file(&named.path).ok()));
    }
    Ok(Symbols::of_tables(tables))
}

/// Where texts go: what `-d` asks for to the file of `-D`, or to standard error.
fn sinks(config: &Config) -> Result<Sinks, SystemError> {
    let speaker = config.speaker;
    let warn: Warn = Arc::new(move |text| speaker.say(text));
    let log: DumpSink = match &config.log_file {
        Some(path) => {
            let file = GrowingFile::new("the log", (path.clone(), log_file(path)?), warn.clone());
            Box::new(move |text| {
                file.write(text.as_bytes());
            })
        }
        // What cannot be logged is lost: there is nobody to tell.
        None => Box::new(|text| {
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }),
    };
    Ok(Sinks { log, warn })
}

fn log_file(path: &Path) -> Result<File, SystemError> {
    File::create(path).map_err(|source| SystemError::File {
        origin: "-D".to_owned(),
        action: "open",
        path: path.to_owned(),
        source,
    })
}

/// The translator.
struct Translator {
    tcg: Arc<Tcg<RiscvMachine>>,
    reports: Reports<RiscvMachine>,
}

impl Accelerator for Translator {
    fn accel(&self) -> &dyn Accel {
        &*self.tcg
    }

    fn connect(&self, wiring: Wiring<'_>) {
        let Wiring {
            board,
            clock,
            life,
            console,
        } = wiring;
        let sbi = |line: Arc<dyn CharBackend>| -> Arc<dyn Firmware<HartState>> {
            Sbi::new(isomorph_sbi::Services {
                harts: board.config().harts as u32,
                life,
                memory: board.space().clone(),
                console: Arc::new(DebugConsole {
                    line,
                    serial: board.serial().clone(),
                }),
            })
        };
        self.tcg.connect(Services {
            time: board.time().clone(),
            firmware: console.map(sbi),
            clock,
        });
    }

    fn was_reset(&self, started: &[bool]) {
        self.tcg.was_reset(started);
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        self.tcg.stats().rows()
    }

    fn report(&self, more: &[(String, u64)]) -> Result<Told, ReportError> {
        self.reports.finish(&self.tcg.stats(), more)
    }
}

/// The built-in firmware's console: the UART, as a driver in firmware would use it.
struct DebugConsole {
    line: Arc<dyn CharBackend>,
    serial: Arc<Serial>,
}

/// Registers of the UART (PC16550D data sheet, table II): received data, line status.
const RBR: u64 = 0;
const LSR: u64 = 5;
/// LSR: there is received data.
const DATA_READY: u64 = 1;

impl Console for DebugConsole {
    fn write(&self, bytes: &[u8]) -> Result<(), ConsoleError> {
        self.line.write(bytes).map_err(|_| ConsoleError)
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, ConsoleError> {
        let mut count = 0;
        while count < out.len() && self.serial.read(LSR, 1) & DATA_READY != 0 {
            out[count] = self.serial.read(RBR, 1) as u8;
            count += 1;
        }
        Ok(count)
    }
}
