//! The stages of `cargo xtask test`, in the order in which they run.

mod boot;
mod cargo_tests;
mod controls;
mod crash;
mod debian;
mod demo;
mod disk;
mod elf;
mod flow;
mod fuzz;
mod guest_c;
mod harness;
mod page;
mod perf;
mod qemu;
mod random;
pub mod soak;
mod stress;
mod sysroot;
mod tiers;
mod torture;

use std::fs;
use std::process::Command;

use crate::boot as machine;
use crate::emulator::Emulator;
use crate::error::{AtPath, Error, Result};
use crate::inputs;
use crate::options::Options;
use crate::paths::Paths;
use crate::process::step;
use crate::report::Tally;

/// What a stage works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The folders.
    pub paths: &'a Paths,
    /// The command line.
    pub options: &'a Options,
    /// The emulator under test.
    pub emulator: Emulator,
    /// What is expected to pass passes here.
    pub reference: Emulator,
    /// What the machines boot, if a stage that boots one is wanted.
    guests: Option<machine::Files>,
}

impl<'a> Context<'a> {
    /// The same with another setting of the translator.
    fn with_jit(&self, setting: &str) -> Context<'a> {
        Context {
            paths: self.paths,
            options: self.options,
            emulator: self.emulator.clone().with_jit(Some(setting)),
            reference: self.reference.clone(),
            guests: self.guests.clone(),
        }
    }

    /// What the machines boot.
    pub fn files(&self) -> Result<&machine::Files> {
        let missing = || Error::MissingInput(self.paths.cache.join("boot-riscv64"));
        self.guests.as_ref().ok_or_else(missing)
    }
}

/// A stage: its name on the command line and its duty.
type StageEntry = (&'static str, fn(&Context) -> Result<Tally>);

/// All stages: cheap before dear.
pub const STAGES: &[StageEntry] = &[
    ("fmt", cargo_tests::fmt),
    ("clippy", cargo_tests::clippy),
    ("cargo", cargo_tests::tests),
    ("demo", demo::run),
    ("page", page::run),
    ("perf", perf::run),
    ("guest-c", guest_c::run),
    ("qemu", qemu::run),
    ("sysroot", sysroot::run),
    ("debian", debian::run),
    ("torture", torture::run),
    ("crash", crash::run),
    ("random", random::run),
    ("flow", flow::run),
    ("tiers", tiers::run),
    ("stress", stress::run),
    ("fuzz", fuzz::run),
    ("boot", boot::run),
    ("disk", disk::run),
    ("controls", controls::run),
];

/// Stages that run no guest themselves, so that they need neither inputs nor the release build.
const HOST_ONLY: &[&str] = &["fmt", "clippy", "fuzz"];

/// Stages that boot machines alone, whose guests are other inputs than user mode's.
const MACHINES: &[&str] = &["boot", "disk"];

/// The stage that does both.
const BOTH: &str = "tiers";

/// Runs the wanted stages; `false` if any test failed.
pub fn run(paths: &Paths, options: &Options) -> Result<bool> {
    let wanted = |name: &str| options.rest.is_empty() || options.rest.iter().any(|s| s == name);
    let any = |of: fn(&str) -> bool| {
        let mut names = STAGES.iter().map(|(name, _)| *name);
        names.any(|name| wanted(name) && of(name))
    };
    no_core_files()?;
    let programs = any(|name| !HOST_ONLY.contains(&name) && !MACHINES.contains(&name));
    let machines = any(|name| MACHINES.contains(&name) || name == BOTH);
    let disk = wanted("disk") || wanted(BOTH);
    let context = context(paths, options, programs, machines, disk)?;
    let mut total = Tally::default();
    for (name, stage) in STAGES {
        if wanted(name) {
            total += stage(&context)?;
        }
    }
    println!("{total}");
    Ok(total.failed == 0)
}

/// What stages work with: the inputs for `programs` and for `machines`, perhaps with a `disk`.
fn context<'a>(
    paths: &'a Paths,
    options: &'a Options,
    programs: bool,
    machines: bool,
    disk: bool,
) -> Result<Context<'a>> {
    if programs {
        inputs::prepare(paths)?;
    }
    if options.emulator.is_none() && (programs || machines) {
        println!("== build");
        step(cargo(paths).args(["build", "--release", "--package", "isomorph"]))?;
    }
    let guests = match machines {
        true => Some(machine::prepare(paths, disk, false)?),
        false => None,
    };
    let emulator = match &options.emulator {
        Some(line) => Emulator::parse(line, options.binfmt),
        None => Emulator::isomorph(paths),
    };
    Ok(Context {
        paths,
        options,
        emulator: emulator.with_jit(options.jit.as_deref()),
        reference: Emulator::qemu(paths),
        guests,
    })
}

/// The emulator under test for whole machines.
pub fn machine_emulator(context: &Context) -> machine::Emulator {
    let named = context.options.emulator.as_deref();
    let choice = named.map_or(machine::Choice::Isomorph, machine::Choice::named);
    machine::Emulator::new(&choice, context.paths).with_jit(context.emulator.jit.as_deref())
}

/// Cargo, in the workspace.
pub fn cargo(paths: &Paths) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&paths.workspace);
    command
}

/// Guests that crash are part of the tests: no core file for any of them.
fn no_core_files() -> Result<()> {
    let pid = std::process::id().to_string();
    step(Command::new("prlimit").args(["--core=0:0", "--pid", &pid])).map(drop)
}

/// An empty scratch folder of this name.
pub fn scratch(paths: &Paths, name: &str) -> Result<std::path::PathBuf> {
    let path = paths.cache.join("scratch").join(name);
    inputs::remove(&path)?;
    fs::create_dir_all(&path).at(&path)?;
    Ok(path)
}

/// An input that must be there.
pub fn existing(path: std::path::PathBuf) -> Result<std::path::PathBuf> {
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::MissingInput(path))
    }
}
