//! Runs a riscv64 program: `run [-L root] [-strace] [-stats] [-int] program [argument …]`.
#![forbid(unsafe_code)]

use isomorph_linux_user::{RunConfig, inherited_env, run};
use isomorph_report::DebugItems;

fn main() {
    let config = RunConfig::from_exec_args(std::env::args_os()).unwrap_or_else(settings);
    match run(config) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("run: {error}");
            std::process::exit(126);
        }
    }
}

fn settings() -> RunConfig {
    let mut config = RunConfig {
        env: inherited_env(),
        ..RunConfig::default()
    };
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-L") => config.sysroot = args.next().map(Into::into),
            Some("-cpu") => config.cpu = args.next().and_then(|text| text.into_string().ok()),
            Some("-strace") => config.strace = true,
            Some("-stats") => config.stats = true,
            Some("-nochain") => config.no_chain = true,
            Some("-int") => config.reports.items = DebugItems::INT,
            _ => {
                config.program = arg.into();
                break;
            }
        }
    }
    config.args = args.collect();
    config
}
