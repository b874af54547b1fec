//! The command line of `cargo xtask boot`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};

/// The one machine so far.
const MACHINE: &str = "riscv64";

/// Which emulator boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The release build of this workspace.
    Isomorph,
    /// The machine's `qemu-system-riscv64`.
    Qemu,
    /// A program that answers to the same options.
    Program(PathBuf),
}

impl Choice {
    /// From the word on the command line.
    pub fn named(word: &str) -> Self {
        match word {
            "isomorph" => Self::Isomorph,
            "qemu" => Self::Qemu,
            path => Self::Program(PathBuf::from(path)),
        }
    }
}

/// What starts before the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bios {
    /// Nothing is given: the emulator's own choice.
    Builtin,
    /// Debian's OpenSBI starts the kernel.
    Opensbi,
    /// OpenSBI starts U-Boot, which is expected to prompt.
    Uboot,
    /// U-Boot starts in M-mode without firmware, and is expected to prompt.
    None,
}

/// How devices are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// virtio-pci.
    Pci,
    /// virtio-mmio.
    Mmio,
}

/// The disk's image format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Sectors as they are.
    Raw,
    /// QEMU's format.
    Qcow2,
}

/// What to boot and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootOptions {
    /// The emulator.
    pub emulator: Choice,
    /// Boot the Debian root instead of the initramfs's workloads.
    pub disk: bool,
    /// CPUs.
    pub smp: u32,
    /// RAM in MiB; [`None`] for what the guest usually gets.
    pub memory: Option<u32>,
    /// What starts before the kernel.
    pub bios: Bios,
    /// How the disk and the network are attached.
    pub transport: Transport,
    /// The disk's image format.
    pub format: Format,
    /// A root of the caller's, never written to, whose first process is a shell on the console.
    pub root: Option<PathBuf>,
    /// What that shell is told, each line with a name for its figures.
    pub commands: Vec<(String, String)>,
    /// Only to the marker, or to the login.
    pub quick: bool,
    /// The first process is told this instead of what the other options say.
    pub lab: Option<String>,
    /// The guest reboots after its marker, and is expected to boot again.
    pub twice: bool,
    /// Boot the demo's kernel.
    pub demo_kernel: bool,
    /// The user has the console.
    pub interactive: bool,
    /// Seconds of idling to measure after the marker.
    pub idle: Option<u64>,
    /// Figures as one JSON object a run.
    pub json: bool,
    /// How often.
    pub runs: u32,
    /// The time limit of a run.
    pub timeout: Duration,
    /// Further arguments for the emulator.
    pub rest: Vec<String>,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self {
            emulator: Choice::Isomorph,
            disk: false,
            smp: 1,
            memory: None,
            bios: Bios::Builtin,
            transport: Transport::Pci,
            format: Format::Raw,
            root: None,
            commands: Vec::new(),
            quick: false,
            lab: None,
            twice: false,
            demo_kernel: false,
            interactive: false,
            idle: None,
            json: false,
            runs: 1,
            timeout: Duration::from_secs(600),
            rest: Vec::new(),
        }
    }
}

impl BootOptions {
    /// Parses the words after `cargo xtask boot`.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        if words.next().is_none_or(|word| word != MACHINE) {
            return Err(Error::MissingValue("boot".to_owned()));
        }
        while let Some(word) = words.next() {
            if word == "--" {
                options.rest = words.cloned().collect();
                break;
            }
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            if options.flag(name) {
                continue;
            }
            let value = || {
                let value = attached.or_else(|| words.next().cloned());
                value.ok_or_else(|| Error::MissingValue(word.clone()))
            };
            options.set(name, value)?;
        }
        Ok(options)
    }

    fn flag(&mut self, name: &str) -> bool {
        match name {
            "--disk" => self.disk = true,
            "--twice" => self.twice = true,
            "--demo-kernel" => self.demo_kernel = true,
            "--quick" => self.quick = true,
            "--interactive" => self.interactive = true,
            "--json" => self.json = true,
            _ => return false,
        }
        true
    }

    fn set(&mut self, name: &str, value: impl FnOnce() -> Result<String>) -> Result<()> {
        match name {
            "--emulator" => self.emulator = Choice::named(&value()?),
            "--smp" | "-smp" => self.smp = number(&value()?)?,
            "-m" => self.memory = Some(memory(&value()?)?),
            "--bios" => self.bios = one_of(&value()?, BIOSES)?,
            "--transport" => self.transport = one_of(&value()?, TRANSPORTS)?,
            "--format" => self.format = one_of(&value()?, FORMATS)?,
            "--root" => self.root = Some(PathBuf::from(value()?)),
            "--command" => self.commands.push(named_line(&value()?)?),
            "--runs" => self.runs = number(&value()?)?,
            "--lab" => self.lab = Some(value()?),
            "--idle" => self.idle = Some(number(&value()?)?),
            "--timeout" => self.timeout = Duration::from_secs(number(&value()?)?),
            _ => return Err(Error::Argument(name.to_owned())),
        }
        Ok(())
    }
}

const BIOSES: &[(&str, Bios)] = &[
    ("builtin", Bios::Builtin),
    ("opensbi", Bios::Opensbi),
    ("uboot", Bios::Uboot),
    ("none", Bios::None),
];

const TRANSPORTS: &[(&str, Transport)] = &[("pci", Transport::Pci), ("mmio", Transport::Mmio)];

const FORMATS: &[(&str, Format)] = &[("raw", Format::Raw), ("qcow2", Format::Qcow2)];

fn one_of<T: Copy>(word: &str, table: &[(&str, T)]) -> Result<T> {
    let found = table.iter().find(|(name, _)| *name == word);
    let found = found.map(|(_, value)| *value);
    found.ok_or_else(|| Error::Argument(word.to_owned()))
}

fn number<T: FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| Error::Argument(word.to_owned()))
}

/// A name and a line for the shell, with an equals sign between them.
fn named_line(word: &str) -> Result<(String, String)> {
    let (name, line) = word
        .split_once('=')
        .filter(|(name, line)| !name.is_empty() && !line.contains('\n'))
        .ok_or_else(|| Error::Argument(word.to_owned()))?;
    Ok((name.to_owned(), line.to_owned()))
}

/// A size in MiB, or in GiB with a `G` behind it.
fn memory(word: &str) -> Result<u32> {
    let size = match word.strip_suffix(['G', 'g']) {
        Some(count) => number::<u32>(count)?.checked_mul(1024),
        None => number(word.trim_end_matches(['M', 'm'])).map(Some)?,
    };
    size.filter(|size| *size > 0)
        .ok_or_else(|| Error::Argument(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<BootOptions> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        BootOptions::parse(&words)
    }

    #[test]
    fn options_with_values_and_flags() {
        let options = parse("riscv64 --disk --smp 4 -m 8G --bios=opensbi --format qcow2 -- -d int");
        let options = options.expect("valid");
        assert!(options.disk && !options.quick);
        assert_eq!((options.smp, options.memory), (4, Some(8192)));
        assert_eq!(
            (options.bios, options.format),
            (Bios::Opensbi, Format::Qcow2)
        );
        assert_eq!(options.rest, ["-d", "int"]);
    }

    #[test]
    fn commands_have_names() {
        let words = [
            "riscv64",
            "--root",
            "r.ext4",
            "--command",
            "sum=x=1; echo $x",
        ];
        let options = BootOptions::parse(&words.map(str::to_owned)).expect("valid");
        assert_eq!(options.root, Some(PathBuf::from("r.ext4")));
        let expected = ("sum".to_owned(), "x=1; echo $x".to_owned());
        assert_eq!(options.commands, [expected]);
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "",
            "vax",
            "riscv64 --smp",
            "riscv64 --smp x",
            "riscv64 -m 0",
            "riscv64 -x 1",
            "riscv64 --command ls",
            "riscv64 --command =ls",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
