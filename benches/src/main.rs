//! The side-by-side harness: native, QEMU and isomorph, interleaved, as ratios.
//!
//! Invariants: a workload's numbers count only when its output and exit status are those of the
//! native run; every figure is CPU time (user and system, of the whole process tree); the bar is
//! the fastest QEMU at hand for that very workload; losses are printed like gains.

#![forbid(unsafe_code)]

mod boots;
mod cli;
mod compile;
mod debian;
mod error;
mod figures;
mod machine;
mod machines;
mod measure;
mod once;
mod packages;
mod passes;
mod programs;
mod report;
mod subjects;
mod suite;
mod workloads;

use std::process::ExitCode;

use cli::Task;

fn main() -> ExitCode {
    let options = match cli::parse() {
        Ok(options) => options,
        Err(usage) => usage.exit(),
    };
    let failures = match options.task {
        Task::Machines => machines::run(&options).map(|results| results.failures()),
        Task::Debian => debian::run(&options).map(|results| results.failures()),
        Task::Programs => suite::run(&options).map(|results| results.failures()),
        Task::Passes => passes::run(&options).map(|results| results.failures()),
    };
    match failures {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{failures} workload(s) failed under the emulator");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("isomorph-bench: {}", error::chain(&error));
            ExitCode::from(2)
        }
    }
}
