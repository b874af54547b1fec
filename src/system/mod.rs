//! Machines: the command line of `qemu-system-riscv64`, and what it asks for.
//!
//! Words become options ([`options`]), options a typed configuration ([`config`]), that a machine
//! ([`build`]), which is run ([`run`]).
//!
//! Invariants: each option is defined once; nothing is built before the whole command line is
//! known to be good; what is not understood is an error that names it.

mod accel;
mod attach;
mod backends;
mod build;
mod builder;
mod chardev;
mod clock;
mod config;
mod device;
mod drive;
pub mod error;
mod keyval;
mod lines;
mod losses;
mod machine;
mod net;
mod options;
mod references;
mod run;
mod speaker;
mod stats;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::process::ExitCode;

use isomorph_report::Summary;

use crate::error::CliError;
use crate::jit;
use crate::nearest::nearest;
use crate::output::show;
use builder::{Builder, Given};
use error::SystemError;
use options::{OPTIONS, Setting};
use speaker::Speaker;

pub use config::{Chardev, Config, Line, Named};
pub use run::run;

/// The name under which `isomorph system` speaks.
const NAME: &str = "isomorph";

/// The variable that `-jit` overrides.
const JIT_VARIABLE: &str = "ISOMORPH_JIT";

/// What a command line asks for.
#[derive(Debug)]
enum Request {
    /// To be told something.
    Show(String),
    /// To run a machine; what the user should know before.
    Run(Box<Config>, Vec<String>),
}

/// Does what the words after the program's name ask for; `name` is that name.
pub fn main(name: &'static str, arguments: &[OsString]) -> Result<ExitCode, CliError> {
    told(name, arguments, None)
}

/// As [`main`]; `summary` is told at the end.
fn told(
    name: &'static str,
    arguments: &[OsString],
    summary: Option<Summary>,
) -> Result<ExitCode, CliError> {
    match parse(arguments)? {
        Request::Show(text) => show(&text)?,
        Request::Run(mut config, warnings) => {
            config.speaker = Speaker(name);
            config.reports.summary = summary;
            for warning in warnings {
                config.speaker.say(format_args!("warning: {warning}"));
            }
            return Ok(run(*config)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what the words after `isomorph system` ask for.
pub fn target(words: &[OsString]) -> Result<ExitCode, CliError> {
    chosen(words, None)
}

/// Does what the words ask for, and tells of it at the end.
pub fn measured(words: &[OsString], summary: Summary) -> Result<ExitCode, CliError> {
    chosen(words, Some(summary))
}

fn chosen(words: &[OsString], summary: Option<Summary>) -> Result<ExitCode, CliError> {
    match words.split_first() {
        Some((target, arguments)) if target == "riscv64" => told(NAME, arguments, summary),
        Some((target, _)) => {
            let given = target.to_string_lossy().into_owned();
            let nearest = nearest(&given, ["riscv64"]).map(str::to_owned);
            Err(CliError::Target { given, nearest })
        }
        None => told(NAME, &[], summary),
    }
}

fn parse(arguments: &[OsString]) -> Result<Request, CliError> {
    parse_after(std::env::var_os(JIT_VARIABLE), arguments)
}

/// Options, after what the variable for `-jit` says.
fn parse_after(jit: Option<OsString>, arguments: &[OsString]) -> Result<Request, CliError> {
    let mut builder = Builder::default();
    if let Some(list) = jit
        && let Some(text) = jit::apply(&mut builder.config.tier2, JIT_VARIABLE, &list)?
    {
        return Ok(Request::Show(text));
    }
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let name = text.strip_prefix('-').ok_or_else(|| stray(&text))?;
        // One dash or two.
        let name = name.strip_prefix('-').unwrap_or(name);
        let option = options::find(name).ok_or_else(|| unknown(&text, name))?;
        let mut origin = format!("-{name}");
        let mut value = OsStr::new("");
        if option.value.is_some() {
            value = words
                .next()
                .ok_or_else(|| CliError::MissingValue(origin.clone()))?;
            origin = format!("{origin} {}", value.to_string_lossy());
        }
        let origin = &origin;
        match option.setting {
            Setting::Help => return Ok(Request::Show(help())),
            Setting::Version => return Ok(Request::Show(version())),
            _ => {}
        }
        if let Some(text) = builder.apply(option, Given { origin, value })? {
            return Ok(Request::Show(text));
        }
    }
    let (config, warnings) = builder.finish()?;
    Ok(Request::Run(Box::new(config), warnings))
}

/// QEMU takes a word without a dash for the image of an IDE disk.
fn stray(word: &str) -> SystemError {
    let reason = "give a disk as -drive file=...,if=virtio";
    SystemError::unsupported(format!("`{word}` as an option"), reason)
}

fn unknown(given: &str, name: &str) -> CliError {
    CliError::UnknownOption {
        given: given.to_owned(),
        nearest: nearest(name, options::names()).map(|name| format!("-{name}")),
    }
}

/// Scripts look for QEMU's first words; what follows says who answers.
fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    format!("QEMU emulator version 10.0.0 (isomorph {own})\n")
}

/// The usage.
pub fn help() -> String {
    let mut text = String::from(
        "usage: isomorph system riscv64 [options], or qemu-system-riscv64 [options]\n\
         Runs a riscv64 machine. Options have one dash or two.\n\n",
    );
    let supported = OPTIONS
        .iter()
        .filter(|option| !matches!(option.setting, Setting::Unsupported(_)));
    for option in supported {
        let names: Vec<_> = option.names.iter().map(|name| format!("-{name}")).collect();
        let value = option.value.unwrap_or("");
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{} {value}\n        {}",
            names.join(", "),
            option.help
        );
    }
    text.push_str(
        "\nOn a terminal with mon:stdio, Ctrl-A x ends the machine and Ctrl-A h helps.\n\
         The exit status is 0, the guest's own if it gave one, or 1 after an error.\n",
    );
    text
}
