//! Runs a machine to its end.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use isomorph_chardev::{restore_terminal, retake_terminal};
use isomorph_machine::{
    Ended, Life, RunError, Runner, Shutdown, Vcpu, VcpuConfig, VcpuId, Watchdog,
};
use isomorph_report::{ReportError, Told};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::system::accel::{Accelerator, Wiring, accelerator};
use crate::system::build::{self, Loaded, Parts};
use crate::system::config::{Bios, Config, Line};
use crate::system::error::SystemError;
use crate::system::speaker::Speaker;
use crate::system::stats;

/// Does what a configuration asks for.
pub fn run(config: Config) -> Result<ExitCode, SystemError> {
    if let Some(path) = config.dump_dtb.clone() {
        return dump(config, &path);
    }
    if config.bios == Bios::BuiltIn && config.kernel.is_none() && config.flash[0].is_none() {
        return Err(SystemError::Conflict {
            origin: "-kernel".to_owned(),
            problem: "there is nothing to run: give a kernel, a -bios or a flash bank",
        });
    }
    let result = run_machine(config);
    // Whatever happened: threads may still hold the console.
    restore_terminal();
    result
}

fn dump(config: Config, path: &Path) -> Result<ExitCode, SystemError> {
    let speaker = config.speaker;
    let tree = build::device_tree(config)?;
    std::fs::write(path, tree).map_err(|source| SystemError::File {
        origin: "-machine dumpdtb".to_owned(),
        action: "write",
        path: path.to_owned(),
        source,
    })?;
    speaker.say(format_args!(
        "info: dtb dumped to {}. Exiting.",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn run_machine(config: Config) -> Result<ExitCode, SystemError> {
    let accelerator = accelerator(&config)?;
    let mut parts = Parts::open(&config)?;
    end_by_signal(&parts.life, &config)?;
    let mut vcpus = create_vcpus(&config, &*accelerator, &parts)?;
    let pins: Vec<_> = vcpus.iter().map(|vcpu| vcpu.pins()).collect();
    let board = parts.board(&config, &pins)?;
    let built_in = config.bios == Bios::BuiltIn;
    accelerator.connect(Wiring {
        board: &board,
        clock: parts.clock.clone(),
        life: parts.life.clone(),
        console: built_in.then(|| parts.serial(&config)),
    });
    let (wants_stats, watchdog) = (config.stats, config.watchdog);
    let (speaker, controls) = (config.speaker, parts.controls(&config));
    let machine = Arc::new(Loaded::new(board, config, Some(accelerator.clone())));
    for (vcpu, start) in vcpus.iter_mut().zip(machine.load()?) {
        vcpu.reset(&start)?;
    }
    let mut runner = Runner::new(
        vcpus,
        parts.life.clone(),
        parts.clock.clone(),
        machine.clone(),
    );
    if let Some(after) = watchdog {
        let report = move |text: &str| speaker.say(text);
        runner = runner.watchdog(Watchdog::new(after, parts.pulse.clone(), Box::new(report)));
    }
    let ended = runner.run();
    controls.sync();
    restore_terminal();
    let ended = ended.inspect_err(|error| tell_state(error, speaker));
    let more = ended
        .as_ref()
        .map_or_else(|_| Vec::new(), |ended| stats::counts(ended, &machine.board));
    match accelerator.report(&more)? {
        Told::Nothing => {}
        Told::Text(text) => speaker
            .tell(text.trim_end())
            .map_err(ReportError::standard_error)?,
        Told::File(path) => speaker.say(format_args!("wrote {}", path.display())),
    }
    let ended = ended?;
    if wants_stats {
        let table = stats::table(&ended, &machine.board, &*accelerator);
        speaker.say(format_args!("statistics\n{}", table.trim_end()));
    }
    Ok(ExitCode::from(status(&ended)))
}

/// The exit status: the guest's own, else 0.
fn status(ended: &Ended) -> u8 {
    match ended.why {
        Shutdown::Guest(code) => code,
        why => why.code(),
    }
}

/// Where the vCPU was that could not go on.
fn tell_state(error: &RunError, speaker: Speaker) {
    if let RunError::Vcpu { state, .. } = error {
        speaker.say(state.trim_end());
    }
}

fn create_vcpus(
    config: &Config,
    accelerator: &dyn Accelerator,
    parts: &Parts,
) -> Result<Vec<Box<dyn Vcpu>>, SystemError> {
    let create = |id: usize| {
        // How it starts is told by a reset, once the board is there.
        let start = VcpuConfig {
            id: id as VcpuId,
            entry: 0,
            arguments: [0, 0],
            level: 3,
            started: false,
        };
        accelerator.accel().create_vcpu(&parts.space, &start)
    };
    let created: Result<_, _> = (0..config.harts).map(create).collect();
    Ok(created?)
}

/// Ends the machine in good order when the user ends the process, and takes care of the terminal
/// when it is stopped.
fn end_by_signal(life: &Arc<Life>, config: &Config) -> Result<(), SystemError> {
    let failed = |source| SystemError::Host {
        what: "signals",
        source,
    };
    let wanted = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT];
    let mut signals = Signals::new(wanted).map_err(failed)?;
    let terminal = config
        .chardevs
        .iter()
        .find_map(|chardev| match chardev.line {
            Line::Stdio { signal } => Some(!signal),
            _ => None,
        });
    let (life, speaker) = (life.clone(), config.speaker);
    let body = move || {
        for signal in &mut signals {
            match signal {
                SIGCONT => {
                    if let Some(raw_signals) = terminal {
                        retake_terminal(raw_signals);
                    }
                }
                SIGTERM | SIGINT | SIGHUP => {
                    speaker.say(format_args!("terminating on signal {signal}"));
                    life.shutdown(Shutdown::Host);
                }
                _ => {
                    restore_terminal();
                    // Fails only for signals without a default action, which these are not.
                    let _ = emulate_default_handler(signal);
                }
            }
        }
    };
    let thread = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(body);
    thread.map(drop).map_err(failed)
}
