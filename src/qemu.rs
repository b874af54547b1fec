//! QEMU's command line: single dashes, values in the next word, options before the program.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::process::ExitCode;

use crate::cli;
use crate::config::{Builder, Request};
use crate::error::CliError;
use crate::nearest::nearest;
use crate::options::{Definition, OPTIONS};
use crate::output::show;

/// Names of QEMU's options that are about the command itself.
const COMMAND_NAMES: [&str; 4] = ["h", "help", "version", "-"];

/// What a command line asks for.
#[derive(Debug)]
enum Parsed {
    Help,
    Version,
    Request(Request),
}

/// Does what the words after the program's name ask for.
pub fn main(arguments: &[OsString]) -> Result<ExitCode, CliError> {
    match parse(Builder::from_environment()?, arguments)? {
        Parsed::Help => show(&help())?,
        Parsed::Version => show(&format!("{}\n", version()))?,
        Parsed::Request(request) => return cli::perform(request),
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(mut builder: Builder, arguments: &[OsString]) -> Result<Parsed, CliError> {
    let mut words = arguments.iter();
    let program = loop {
        let Some(word) = words.next() else { break None };
        let Some(name) = word.to_str().and_then(|word| word.strip_prefix('-')) else {
            break Some(word.clone());
        };
        match name.strip_prefix('-').unwrap_or(name) {
            "" if name == "-" => break words.next().cloned(),
            "h" | "help" => return Ok(Parsed::Help),
            "version" => return Ok(Parsed::Version),
            name => {
                let origin = format!("-{name}");
                let option = find(name).ok_or_else(|| unknown(name))?;
                let value = match option.value {
                    None => OsStr::new(""),
                    Some(_) => words
                        .next()
                        .ok_or_else(|| CliError::MissingValue(origin.clone()))?,
                };
                builder.apply(option, &origin, value)?;
            }
        }
    };
    Ok(Parsed::Request(
        builder.finish(program, words.cloned().collect())?,
    ))
}

fn find(name: &str) -> Option<&'static Definition> {
    OPTIONS.iter().find(|option| option.qemu.contains(&name))
}

fn unknown(name: &str) -> CliError {
    let known = OPTIONS
        .iter()
        .flat_map(|option| option.qemu)
        .chain(&COMMAND_NAMES)
        .copied();
    let nearest = nearest(name, known).map(|name| format!("-{name}"));
    CliError::UnknownOption {
        given: format!("-{name}"),
        nearest,
    }
}

/// Scripts look for QEMU's first words; what follows says who answers.
fn version() -> String {
    format!(
        "qemu-riscv64 version 10.0.0 (isomorph {})",
        env!("CARGO_PKG_VERSION")
    )
}

fn help() -> String {
    let mut text = String::from(
        "usage: qemu-riscv64 [options] program [arguments...]\n\
         Runs riscv64 Linux programs (isomorph, called by QEMU's name)\n\n\
         Options and associated environment variables:\n\n",
    );
    let mut line = |names: &str, variable: &str, help: &str| {
        let _ = writeln!(text, "{names:20} {variable:20} {help}");
    };
    line("-h, -help", "", "Print this help");
    line("-version", "", "Print the version");
    for option in OPTIONS {
        let names: Vec<_> = option.qemu.iter().map(|name| format!("-{name}")).collect();
        let value = option.value.unwrap_or("");
        let names = format!("{} {value}", names.join(", "));
        line(names.trim_end(), option.variable.unwrap_or(""), option.help);
    }
    text.push_str("\nA variable applies unless the option is given. See also `isomorph help`.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_linux_user::RunConfig;

    fn parsed(line: &str) -> Result<Parsed, CliError> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(Builder::from_environment()?, &words)
    }

    fn config(line: &str) -> RunConfig {
        match parsed(line).unwrap() {
            Parsed::Request(Request::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_end_at_the_program() {
        let config = config("-L /root -0 zero -strace prog -L x --strace");
        assert_eq!(config.sysroot.as_deref(), Some("/root".as_ref()));
        assert_eq!(config.argv0.as_deref(), Some("zero".as_ref()));
        assert!(config.strace);
        assert_eq!(config.program, std::path::Path::new("prog"));
        assert_eq!(config.args, ["-L", "x", "--strace"]);
    }

    #[test]
    fn two_dashes_are_as_good_as_one_and_alone_end_the_options() {
        assert!(config("--strace prog").strace);
        assert_eq!(config("-- -prog -a").program, std::path::Path::new("-prog"));
    }

    #[test]
    fn an_unknown_option_is_named_with_the_nearest() {
        let error = parsed("-strce prog").unwrap_err().to_string();
        assert!(
            error.contains("`-strce`") && error.contains("`-strace`"),
            "{error}"
        );
        assert!(parsed("- prog").is_err());
    }

    #[test]
    fn values_and_programs_are_required() {
        assert!(matches!(parsed("-L"), Err(CliError::MissingValue(option)) if option == "-L"));
        assert!(matches!(parsed("-strace"), Err(CliError::NoProgram)));
        assert!(matches!(
            parsed("-g 1234 prog"),
            Err(CliError::Unsupported { .. })
        ));
    }

    #[test]
    fn help_wins_over_a_missing_program() {
        assert!(matches!(parsed("-h").unwrap(), Parsed::Help));
        assert!(matches!(parsed("--version").unwrap(), Parsed::Version));
        assert!(matches!(
            parsed("-d help").unwrap(),
            Parsed::Request(Request::LogHelp)
        ));
        assert!(matches!(
            parsed("-cpu help").unwrap(),
            Parsed::Request(Request::CpuHelp)
        ));
    }

    #[test]
    fn the_help_names_every_option_and_variable() {
        let help = help();
        for option in OPTIONS {
            assert!(
                option
                    .qemu
                    .iter()
                    .all(|name| help.contains(&format!("-{name}")))
            );
            assert!(option.variable.is_none_or(|name| help.contains(name)));
        }
    }
}
