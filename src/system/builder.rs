//! From options with their values, in their order, to the configuration of a machine.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use isomorph_report::DebugItems;

use crate::config::add_log_items;
use crate::error::CliError;
use crate::jit;
use crate::system::config::{Bios, Config, Device, Named};
use crate::system::device::Consoles;
use crate::system::error::SystemError;
use crate::system::keyval::Keyval;
use crate::system::net::Nics;
use crate::system::options::{Definition, Setting};
use crate::system::{chardev, device, drive, machine, net, references};

/// An option as it was typed.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Name and value, for errors.
    pub origin: &'a str,
    /// The value; empty for a switch.
    pub value: &'a OsStr,
}

impl Given<'_> {
    /// The value as text.
    pub fn text(&self) -> Result<&str, SystemError> {
        self.value.to_str().ok_or_else(|| {
            SystemError::value(self.origin, &self.value.to_string_lossy(), "valid UTF-8")
        })
    }

    /// The value as a list.
    pub fn list(&self, implied: Option<&str>) -> Result<Keyval, SystemError> {
        Keyval::parse(self.origin, self.text()?, implied)
    }

    fn file(&self) -> Named {
        Named {
            origin: self.origin.to_owned(),
            path: PathBuf::from(self.value),
        }
    }

    /// Accepts one word only.
    fn only(&self, word: &str, reason: &'static str) -> Result<(), SystemError> {
        if self.text()? == word {
            return Ok(());
        }
        Err(SystemError::unsupported(self.origin, reason))
    }
}

/// A text that was asked for, to be shown instead of running anything.
pub type Shown = Option<String>;

/// A configuration in the making.
#[derive(Debug, Default)]
pub struct Builder {
    /// What is settled.
    pub config: Config,
    /// What a user should know, though it is no error.
    pub warnings: Vec<String>,
    /// `-snapshot`: for all disks of `-drive`, before and after it.
    pub snapshot: bool,
    /// `-nographic`.
    pub nographic: bool,
    /// `-nodefaults`.
    pub nodefaults: bool,
    /// `-serial` was given.
    pub serial_given: bool,
    /// Disks that `-drive` made, which a device must want.
    pub loose_disks: Vec<String>,
    /// Devices that `-drive if=virtio` made.
    pub drive_devices: Vec<Device>,
    /// What `-nic` and `-net` say.
    pub nics: Nics,
    /// Consoles that look for their device.
    pub consoles: Consoles,
}

impl Builder {
    /// Applies one option; later ones win.
    pub fn apply(&mut self, option: &Definition, given: Given<'_>) -> Result<Shown, CliError> {
        match option.setting {
            Setting::Machine => return Ok(machine::machine(self, given)?),
            Setting::Cpu => return Ok(machine::cpu(self, given)?),
            Setting::Smp => machine::smp(self, given)?,
            Setting::Memory => machine::memory(self, given)?,
            Setting::Accel => return Ok(machine::accel(self, given)?),
            Setting::Rtc => machine::rtc(self, given)?,
            Setting::Name => machine::name(self, given)?,
            Setting::Uuid => machine::uuid(self, given)?,
            Setting::Drive => drive::drive(self, given)?,
            Setting::Pflash => drive::pflash(self, given)?,
            Setting::Blockdev => drive::blockdev(self, given)?,
            Setting::Device => return Ok(device::device(self, given)?),
            Setting::Object => device::object(self, given)?,
            Setting::Netdev => return Ok(net::netdev(self, given)?),
            Setting::Nic => net::nic(self, given)?,
            Setting::Net => net::net(self, given)?,
            Setting::Chardev => return Ok(chardev::chardev(self, given)?),
            Setting::Serial => chardev::serial(self, given)?,
            Setting::Jit => return Ok(jit::apply(&mut self.config.tier2, "-jit", given.value)?),
            Setting::LogItems => {
                let config = &mut self.config;
                let (items, no_chain) = (&mut config.reports.items, &mut config.no_chain);
                let shown = add_log_items(given.origin, given.value, items, no_chain)?;
                self.warn_of_log_items(given.origin);
                return Ok(shown);
            }
            _ => self.simple(option.setting, given)?,
        }
        Ok(None)
    }

    /// Some log items are those of programs.
    fn warn_of_log_items(&mut self, origin: &str) {
        let items = self.config.reports.items;
        for (name, item, _) in DebugItems::NAMES {
            if items.contains(*item) && !DebugItems::STAGES.contains(*item) {
                let warning = format!("{origin}: a machine logs nothing for `{name}` yet");
                self.warnings.push(warning);
            }
        }
    }

    /// Options whose value is taken as it is.
    fn simple(&mut self, setting: Setting, given: Given<'_>) -> Result<(), SystemError> {
        let config = &mut self.config;
        match setting {
            Setting::Kernel => config.kernel = Some(given.file()),
            Setting::Initrd => config.initrd = Some(given.file()),
            Setting::Append => config.append = Some(given.text()?.to_owned()),
            Setting::Dtb => config.dtb = Some(given.file()),
            Setting::Bios => config.bios = bios(given),
            Setting::Snapshot => self.snapshot = true,
            Setting::Nographic => self.nographic = true,
            Setting::Nodefaults => self.nodefaults = true,
            Setting::NoReboot => config.no_reboot = true,
            Setting::LogFile => config.log_file = Some(given.value.into()),
            Setting::Stats => config.stats = true,
            Setting::PerfMap => config.reports.perf_map = true,
            Setting::JitDump => config.reports.jitdump = true,
            Setting::Symbols => config.symbols.push(given.file()),
            Setting::Watchdog => config.watchdog = Some(seconds(given)?),
            Setting::Monitor => given.only("none", "there is no monitor yet: use none")?,
            Setting::Display => given.only("none", "there is no display: use none")?,
            Setting::Vga => given.only("none", "there is no graphics card: use none")?,
            Setting::Parallel => given.only("none", "there is no parallel port: use none")?,
            Setting::Unsupported(reason) => {
                return Err(SystemError::unsupported(given.origin, reason));
            }
            // What the caller answers itself, and what has no effect.
            _ => {}
        }
        Ok(())
    }

    /// Ends: what options left to each other is settled. The machine and warnings.
    pub fn finish(mut self) -> Result<(Config, Vec<String>), SystemError> {
        let config = &self.config;
        if config.kernel.is_none() {
            for (name, given) in [
                ("-append", config.append.is_some()),
                ("-initrd", config.initrd.is_some()),
            ] {
                if given {
                    let problem = "it is for a -kernel, and there is none";
                    let origin = name.to_owned();
                    return Err(SystemError::Conflict { origin, problem });
                }
            }
        }
        chardev::default_serial(&mut self);
        net::finish(&mut self)?;
        device::finish(&mut self)?;
        drive::finish(&mut self);
        references::check(&mut self)?;
        Ok((self.config, self.warnings))
    }
}

fn bios(given: Given<'_>) -> Bios {
    if given.value == "none" {
        Bios::None
    } else if given.value == "default" {
        Bios::BuiltIn
    } else {
        Bios::File(given.file())
    }
}

fn seconds(given: Given<'_>) -> Result<Duration, SystemError> {
    let text = given.text()?;
    let seconds = text.parse().ok().filter(|&seconds| seconds > 0);
    let seconds =
        seconds.ok_or_else(|| SystemError::value(given.origin, text, "a number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}
