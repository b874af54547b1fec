//! One run of one program: its output, its exit status and the CPU time of its process tree.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

use crate::error::Error;
use crate::subjects::Prepared;

/// A run that takes longer than this is stopped: no workload should come near it.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a running program is looked at.
const STEP: Duration = Duration::from_millis(1);

/// What one run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// CPU time, user and system, of the process and all its children, in microseconds.
    pub cpu_us: u64,
    /// The standard output.
    pub output: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// The first lines of its standard error.
    pub messages: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Stopped at the limit of time.
    TimedOut,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => status.fmt(f),
            Self::TimedOut => write!(f, "stopped after {} s", LIMIT.as_secs()),
        }
    }
}

impl End {
    /// Whether the program ended by itself with status 0.
    pub fn success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

/// Runs a program `repeat` times; the times add up, the output is that of the last run.
///
/// One caller at a time: the time is the growth of what all waited-for children used.
pub fn run(prepared: &Prepared, repeat: u32) -> Result<Run, Error> {
    let mut total = once(prepared)?;
    for _ in 1..repeat {
        let next = once(prepared)?;
        let cpu_us = total.cpu_us + next.cpu_us;
        total = Run { cpu_us, ..next };
        if !total.end.success() {
            break;
        }
    }
    Ok(total)
}

fn once(prepared: &Prepared) -> Result<Run, Error> {
    let before = children_cpu_us()?;
    let mut command = Command::new(&prepared.program);
    command
        .args(&prepared.arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C");
    command.envs(
        prepared
            .environment
            .iter()
            .map(|(name, value)| (name, value)),
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|source| {
        let program = prepared.program.to_string_lossy().into_owned();
        Error::Start { program, source }
    })?;
    let output = drain(child.stdout.take());
    let messages = drain(child.stderr.take());
    let end = wait(&mut child)?;
    let output = output.recv().unwrap_or_default();
    let messages = messages.recv().unwrap_or_default();
    let messages = String::from_utf8_lossy(&messages)
        .lines()
        .take(3)
        .collect::<Vec<_>>()
        .join("; ");
    Ok(Run {
        cpu_us: children_cpu_us()? - before,
        output,
        end,
        messages,
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A read error ends the output; the comparison with native then shows it.
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn wait(child: &mut Child) -> Result<End, Error> {
    let started = Instant::now();
    let failed = |source| Error::Start {
        program: "a workload".into(),
        source,
    };
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(End::Exited(status));
        }
        if started.elapsed() > LIMIT {
            // The group may be gone already; then there is nothing left to stop.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.wait().map_err(failed)?;
            return Ok(End::TimedOut);
        }
        std::thread::sleep(STEP);
    }
}

fn children_cpu_us() -> Result<u64, Error> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(Error::Usage)?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(us.unsigned_abs())
}
