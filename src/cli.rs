//! The sub-commands of `isomorph`.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use isomorph_report::Summary;

use crate::config::{self, Builder, Request};
use crate::error::CliError;
use crate::options::{Definition, OPTIONS};
use crate::output::show;
use crate::{binfmt, demo, system};

/// Does what the words after the program's name ask for.
pub fn main(arguments: &[OsString]) -> Result<ExitCode, CliError> {
    let matches = match command()
        .no_binary_name(true)
        .try_get_matches_from(arguments)
    {
        Ok(matches) => matches,
        Err(usage) => return tell_usage(&usage),
    };
    match matches.subcommand() {
        Some(("run", matches)) => run(matches),
        Some(("system", matches)) => {
            let words: Vec<OsString> = words(matches, "words").collect();
            system::target(&words)
        }
        Some(("explain", matches)) => measured(matches, Summary::Page(page_path(matches))),
        Some(("bench", matches)) => {
            let json = matches.get_flag("json");
            let path = matches.get_one::<OsString>("output").map(PathBuf::from);
            measured(matches, Summary::Figures { json, path })
        }
        Some(("demo", matches)) => demo::run(matches.get_one::<String>("program")),
        Some(("binfmt", matches)) => binfmt::manage(
            matches.get_flag("install"),
            matches.get_flag("remove"),
            matches.get_one::<OsString>("link").map(OsString::as_os_str),
        ),
        // clap requires one of the above.
        _ => Err(CliError::NoProgram),
    }
}

/// Help and version, which were asked for, on standard output; else what is wrong.
fn tell_usage(usage: &clap::Error) -> Result<ExitCode, CliError> {
    let told = usage.print().and_then(|()| std::io::stdout().flush());
    if !usage.use_stderr() {
        told.map_err(CliError::Output)?;
    }
    // clap's statuses are 0 and 2.
    Ok(ExitCode::from(usage.exit_code() as u8))
}

fn command() -> Command {
    Command::new("isomorph")
        .bin_name("isomorph")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs programs and machines of one instruction set on another")
        .after_help(
            "Called through a link named qemu-riscv64 or qemu-system-riscv64, it takes QEMU's \
             options instead.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run_command())
        .subcommand(system_command())
        .subcommand(explain_command())
        .subcommand(bench_command())
        .subcommand(demo_command())
        .subcommand(binfmt_command())
}

fn run_command() -> Command {
    let program = Arg::new("program")
        .value_name("PROGRAM")
        .value_parser(OsStringValueParser::new())
        .num_args(1..)
        .trailing_var_arg(true)
        .help("The guest program and its arguments");
    let options = OPTIONS.iter().filter_map(argument);
    Command::new("run")
        .about("Run a riscv64 Linux program")
        .override_usage("isomorph run [OPTIONS] PROGRAM [ARGUMENTS]...")
        .args(options)
        .arg(program)
}

fn system_command() -> Command {
    // The words are read by QEMU's rules, which clap does not know.
    let words = Arg::new("words")
        .value_name("OPTIONS")
        .value_parser(OsStringValueParser::new())
        .num_args(0..)
        .allow_hyphen_values(true)
        .trailing_var_arg(true)
        .help("riscv64, then the options of qemu-system-riscv64; `riscv64 -help` lists them");
    Command::new("system")
        .about("Run a riscv64 machine: kernels and whole systems")
        .override_usage("isomorph system riscv64 [OPTIONS]")
        .arg_required_else_help(true)
        .arg(words)
}

/// The page's name unless `-o` gives another.
const PAGE: &str = "isomorph-explain.html";

fn explain_command() -> Command {
    let about = "Run a program or machine and write a page about its hot code";
    let help = "The page [default: isomorph-explain.html]";
    measured_command("explain", about, help)
}

fn bench_command() -> Command {
    let about = "Run a program or machine and print how fast it was translated";
    let help = "Where the figures go [default: standard error]";
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    measured_command("bench", about, help).arg(json.help("Print the figures as JSON"))
}

/// A command that takes a run's options, or a machine's words behind `--system`.
fn measured_command(name: &'static str, about: &'static str, output: &'static str) -> Command {
    let usage = format!(
        "isomorph {name} [OPTIONS] PROGRAM [ARGUMENTS]...\n       \
         isomorph {name} [-o FILE] --system riscv64 [OPTIONS OF A MACHINE]"
    );
    let output = Arg::new("output")
        .short('o')
        .long("output")
        .value_name("file")
        .value_parser(OsStringValueParser::new())
        .help(output);
    let of_runs = OPTIONS.iter().filter_map(|option| option.long);
    let system = Arg::new("system")
        .long("system")
        .action(ArgAction::SetTrue)
        .conflicts_with_all(of_runs.collect::<Vec<_>>())
        .help("What follows is a machine: riscv64 and the options of `isomorph system`");
    run_command()
        .name(name)
        .about(about)
        .override_usage(usage)
        .arg(output)
        .arg(system)
}

fn page_path(matches: &ArgMatches) -> PathBuf {
    let path = matches.get_one::<OsString>("output");
    path.map_or_else(|| PAGE.into(), PathBuf::from)
}

/// A run, or a machine, of which something is told at the end.
fn measured(matches: &ArgMatches, summary: Summary) -> Result<ExitCode, CliError> {
    if matches.get_flag("system") {
        let words: Vec<OsString> = words(matches, "program").collect();
        return system::measured(&words, summary);
    }
    let mut request = request(matches)?;
    if let Request::Run(config) = &mut request {
        config.reports.summary = Some(summary);
    }
    perform(request)
}

fn words(matches: &ArgMatches, name: &str) -> impl Iterator<Item = OsString> {
    let values = matches.get_many::<OsString>(name);
    values
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .into_iter()
}

fn argument(option: &'static Definition) -> Option<Arg> {
    let long = option.long?;
    let mut help = option.help.to_owned();
    if let Some(variable) = option.variable {
        help.push_str(&format!(" [env: {variable}]"));
    }
    let mut argument = Arg::new(long).long(long).help(help);
    if let Some(short) = option.short {
        argument = argument.short(short);
    }
    // A switch's default is a value too, which no occurrence on the line has.
    Some(match option.value {
        None => argument.action(ArgAction::SetTrue),
        Some(name) => argument
            .value_name(name)
            .action(ArgAction::Append)
            .allow_hyphen_values(true)
            .value_parser(OsStringValueParser::new()),
    })
}

fn demo_command() -> Command {
    let names = demo::names();
    Command::new("demo")
        .about("Run the guest programs inside this binary and show what happened")
        .arg(
            Arg::new("program")
                .value_parser(names)
                .help("Only this one"),
        )
}

fn binfmt_command() -> Command {
    let flag = |name, help| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new("binfmt")
        .about("Let the kernel run riscv64 programs with isomorph (binfmt_misc)")
        .arg(flag("print", "Print the registration, the default"))
        .arg(flag("install", "Register with the running kernel").conflicts_with("print"))
        .arg(flag("remove", "Undo --install").conflicts_with_all(["print", "install"]))
        .arg(
            Arg::new("link")
                .long("link")
                .value_name("path")
                .value_parser(OsStringValueParser::new())
                .help("The link that is registered [default: isomorph-binfmt-P beside isomorph]"),
        )
}

fn run(matches: &ArgMatches) -> Result<ExitCode, CliError> {
    perform(request(matches)?)
}

/// What the options of a run ask for.
fn request(matches: &ArgMatches) -> Result<Request, CliError> {
    let mut builder = Builder::from_environment()?;
    for option in OPTIONS {
        let Some(long) = option.long else { continue };
        let origin = format!("--{long}");
        if option.value.is_none() {
            if matches.get_flag(long) {
                builder.apply(option, &origin, OsStr::new(""))?;
            }
            continue;
        }
        for value in matches.get_many::<OsString>(long).into_iter().flatten() {
            builder.apply(option, &origin, value)?;
        }
    }
    let mut words = words(matches, "program");
    builder.finish(words.next(), words.collect())
}

/// Does what the options of a run, however spelled, ask for.
pub fn perform(request: Request) -> Result<ExitCode, CliError> {
    match request {
        Request::Run(config) => return crate::start(*config),
        Request::JitHelp(text) => show(&text)?,
        Request::LogHelp => show(&config::log_help())?,
        Request::CpuHelp => {
            let names: Vec<_> = isomorph_riscv::CpuModel::names().collect();
            show(&format!("{}\n", names.join("\n")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_make_a_sound_command() {
        command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_is_the_programs() {
        let words = ["run", "-L", "/r", "prog", "--strace", "-L", "x"];
        let matches = command()
            .no_binary_name(true)
            .try_get_matches_from(words)
            .unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        assert!(!matches.get_flag("strace"));
        let words: Vec<_> = matches.get_many::<OsString>("program").unwrap().collect();
        assert_eq!(words, ["prog", "--strace", "-L", "x"]);
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest() {
        let words = ["run", "--strce", "prog"];
        let error = command()
            .no_binary_name(true)
            .try_get_matches_from(words)
            .unwrap_err();
        assert!(error.to_string().contains("--strace"), "{error}");
    }
}
