//! Developer commands: test, bench, and the inputs they need.
//!
//! Invariants: a missing input is an error, never a skipped test; every stage shows its counts;
//! the last line of `test` is the sum alone; nothing outside the target folder and the cache is
//! written, except that root installs the host packages that are missing.

#![forbid(unsafe_code)]

mod apt;
mod boot;
mod cases;
mod emulator;
mod error;
mod inputs;
mod options;
mod paths;
mod pool;
mod process;
mod report;
mod sandbox;
mod stages;

use std::process::{Command, ExitCode};

use error::{Error, Result};
use options::{Options, Task};
use paths::Paths;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments).and_then(|options| perform(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Performs the task; `false` means that it ran and something failed.
fn perform(options: &Options) -> Result<bool> {
    let paths = Paths::find()?;
    match &options.task {
        Task::Help => {
            print!("{}", options::HELP);
            Ok(true)
        }
        Task::Inputs => inputs::prepare(&paths).map(|()| true),
        Task::Test => stages::run(&paths, options),
        Task::Soak => stages::soak::run(&paths, options),
        Task::Boot if asks_for_help(&options.rest) => {
            print!("{}", options::HELP);
            Ok(true)
        }
        Task::Boot => boot::command(&paths, &options.rest),
        Task::Bench => bench(&paths, &options.rest),
    }
}

/// Whether a word for us, not for the emulator, asks for help.
fn asks_for_help(words: &[String]) -> bool {
    let mut ours = words.iter().take_while(|word| *word != "--");
    ours.any(|word| word == "--help" || word == "-h")
}

/// Hands over to the bench program, with the inputs in place.
fn bench(paths: &Paths, arguments: &[String]) -> Result<bool> {
    inputs::prepare(paths)?;
    let build = [
        "build",
        "--release",
        "--package",
        "isomorph",
        "--package",
        "isomorph-bench",
    ];
    process::step(stages::cargo(paths).args(build))?;
    let program = paths.isomorph().with_file_name("isomorph-bench");
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .env("ISOMORPH_TEST_CACHE", &paths.cache)
        .current_dir(&paths.workspace);
    let status = command.status();
    let program = program.display().to_string();
    status
        .map(|status| status.success())
        .map_err(|source| Error::Spawn { program, source })
}
