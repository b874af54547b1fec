//! Child processes with a time limit and captured output.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// More output than any test writes; what comes after it is dropped.
const OUTPUT_LIMIT: u64 = 64 << 20;

/// How long pipes may stay open after the process has ended (its orphans hold them).
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// What a finished process left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status or signal.
    pub status: ExitStatus,
    /// Everything written to standard output.
    pub stdout: Vec<u8>,
    /// Everything written to standard error.
    pub stderr: Vec<u8>,
    /// The time limit passed and the process group was killed.
    pub timed_out: bool,
}

impl Outcome {
    /// The status as a shell shows it: the exit code, or 128 + the signal's number.
    pub fn shell_status(&self) -> i32 {
        let signal = self.status.signal().map(|signal| 128 + signal);
        self.status.code().or(signal).unwrap_or(-1)
    }

    /// Ended by itself with status 0.
    pub fn success(&self) -> bool {
        !self.timed_out && self.status.success()
    }

    /// The status in words, for reports.
    pub fn describe(&self) -> String {
        if self.timed_out {
            "timed out".to_owned()
        } else {
            self.status.to_string()
        }
    }

    /// The last `lines` lines of standard error, for reports.
    pub fn stderr_tail(&self, lines: usize) -> String {
        tail(&self.stderr, lines)
    }
}

/// The last `lines` lines of `text`.
pub fn tail(text: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A time limit on this machine: `ISOMORPH_PATIENCE` times as long. It is for machines that are
/// slow or busy, and for settings that make guests slow.
pub fn patient(limit: Duration) -> Duration {
    let times = std::env::var("ISOMORPH_PATIENCE").ok();
    limit
        * times
            .and_then(|times| times.parse().ok())
            .unwrap_or(1)
            .max(1)
}

/// Runs `command` to its end, at most for `limit` (see [`patient`]), feeding it `stdin`.
pub fn run(command: &mut Command, stdin: &[u8], limit: Duration) -> Result<Outcome> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Spawn {
        program: program.clone(),
        source,
    };
    let input = if stdin.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = spawn(command).map_err(failed)?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    if let Some(mut pipe) = child.stdin.take() {
        let bytes = stdin.to_vec();
        // A program that ends before it has read its input closes the pipe; that is its right.
        thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    let (status, timed_out) = wait(&mut child, patient(limit)).map_err(failed)?;
    let stdout = receive(&stdout, child.id());
    let stderr = receive(&stderr, child.id());
    Ok(Outcome {
        status,
        stdout,
        stderr,
        timed_out,
    })
}

/// Starts the process; a program file that another thread still holds open for writing at the
/// moment of its own fork is busy for an instant, so that error is tried again.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..50 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Runs a preparing step that must succeed, and returns its standard output.
pub fn step(command: &mut Command) -> Result<Vec<u8>> {
    let shown = format!("{command:?}");
    let outcome = run(command, &[], Duration::from_secs(1800))?;
    if outcome.success() {
        return Ok(outcome.stdout);
    }
    let mut output = outcome.stdout.clone();
    output.extend_from_slice(&outcome.stderr);
    let output = tail(&output, 20);
    Err(Error::Step {
        command: shown,
        status: outcome.describe(),
        output,
    })
}

/// Waits with short naps: the standard library has no wait with a time limit.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<(ExitStatus, bool)> {
    let start = Instant::now();
    let mut nap = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if start.elapsed() > limit {
            kill_group(child.id());
            child.kill()?;
            return Ok((child.wait()?, true));
        }
        thread::sleep(nap);
        nap = (nap * 3 / 2).min(Duration::from_millis(20));
    }
}

/// Kills what is left of the process group that `leader` began.
fn kill_group(leader: u32) {
    let command = format!("kill -s KILL -- -{leader} 2>/dev/null");
    // An empty group is the usual case and no failure.
    drop(Command::new("/bin/sh").args(["-c", &command]).status());
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            drop(pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes));
        }
        drop(sender.send(bytes));
    });
    receiver
}

fn receive(pipe: &Receiver<Vec<u8>>, leader: u32) -> Vec<u8> {
    pipe.recv_timeout(ORPHAN_GRACE).unwrap_or_else(|_| {
        kill_group(leader);
        pipe.recv_timeout(ORPHAN_GRACE).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Outcome {
        run(Command::new("/bin/sh").args(["-c", script]), b"in", limit).expect("sh runs")
    }

    #[test]
    fn captures_both_streams_and_the_status() {
        let outcome = shell("cat; echo err >&2; exit 3", Duration::from_secs(10));
        assert_eq!(outcome.stdout, b"in");
        assert_eq!(outcome.stderr, b"err\n");
        assert_eq!(outcome.shell_status(), 3);
    }

    #[test]
    fn a_signal_shows_as_a_shell_shows_it() {
        assert_eq!(
            shell("kill -SEGV $$", Duration::from_secs(10)).shell_status(),
            128 + 11
        );
    }

    #[test]
    fn the_limit_ends_the_whole_group() {
        let start = Instant::now();
        let outcome = shell("sleep 60 & sleep 60", Duration::from_millis(100));
        assert!(outcome.timed_out && !outcome.success());
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
