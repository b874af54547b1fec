//! A machine's console: a child process whose output is waited for and whose input is typed.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::usage::{self, Memory};
use crate::error::Error;

/// How often an ending process is looked at.
const NAP: Duration = Duration::from_millis(5);

/// Lines of the console that a failure shows: registers of a watchdog and what came before them.
const SHOWN: usize = 100;

/// A point of a machine's run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// Since its start.
    pub wall: Duration,
    /// User and system time of the emulator so far.
    pub cpu: Duration,
    /// The most memory that it had resident so far, in KiB.
    pub peak: u64,
}

/// What the reading threads send: a piece of the output and when it came.
type Piece = (Vec<u8>, Moment);

/// A running emulator.
#[derive(Debug)]
pub struct Console {
    child: Child,
    input: ChildStdin,
    pieces: Receiver<Piece>,
    started: Instant,
    limit: Duration,
    text: Vec<u8>,
    /// The end of what was already expected and found.
    seen: usize,
    latest: Moment,
}

impl Console {
    /// Starts an emulator that may run for `limit`.
    pub fn start(command: &mut Command, limit: Duration) -> Result<Self, Failure> {
        let failed = |source| Error::Spawn {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        };
        let mut spawn = Command::new(command.get_program());
        spawn
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = spawn.spawn().map_err(failed)?;
        let (sender, pieces) = mpsc::channel();
        let pid = child.id();
        read(child.stdout.take(), sender.clone(), pid, started);
        read(child.stderr.take(), sender, pid, started);
        let Some(input) = child.stdin.take() else {
            return Err(Error::Machine("a pipe to the emulator").into());
        };
        Ok(Self {
            child,
            input,
            pieces,
            started,
            limit,
            text: Vec::new(),
            seen: 0,
            latest: Moment::default(),
        })
    }

    /// Waits for `pattern` in what was not yet expected; what came before it is skipped.
    pub fn expect(&mut self, pattern: &str) -> Result<Moment, Failure> {
        self.until(pattern).map(|(_, moment)| moment)
    }

    /// Waits for `pattern`, and returns what came before it since the last one.
    pub fn until(&mut self, pattern: &str) -> Result<(String, Moment), Failure> {
        loop {
            if let Some(at) = find(&self.text[self.seen..], pattern.as_bytes()) {
                let before = &self.text[self.seen..self.seen + at];
                let before = String::from_utf8_lossy(before).into_owned();
                self.seen += at + pattern.len();
                return Ok((before, self.latest));
            }
            self.receive(pattern)?;
        }
    }

    /// Waits for a line that begins with `start`, and returns the rest of it.
    pub fn expect_line(&mut self, start: &str) -> Result<(String, Moment), Failure> {
        let moment = self.expect(start)?;
        loop {
            if let Some(at) = find(&self.text[self.seen..], b"\n") {
                let rest = String::from_utf8_lossy(&self.text[self.seen..self.seen + at]);
                let rest = rest.trim().to_owned();
                self.seen += at + 1;
                return Ok((rest, moment));
            }
            self.receive(start)?;
        }
    }

    /// Types a text.
    pub fn send(&mut self, text: &str) -> Result<(), Failure> {
        let sent = self.input.write_all(text.as_bytes());
        sent.and_then(|()| self.input.flush())
            .map_err(|_| self.ended("its input"))
    }

    /// Lets the machine be for a while.
    pub fn rest(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.keep(piece),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended("resting")),
            }
        }
        Ok(())
    }

    /// What it has used until now.
    pub fn now(&self) -> Moment {
        moment(self.child.id(), self.started)
    }

    /// Its resident memory, for a guest of `ram` KiB.
    pub fn memory(&self, ram: u64) -> Memory {
        usage::memory(self.child.id(), ram)
    }

    /// Waits for the emulator to end by itself.
    pub fn end(mut self) -> Result<(ExitStatus, Moment), Failure> {
        let pid = self.child.id();
        while !usage::ended(pid) {
            if self.started.elapsed() > self.limit {
                return Err(self.late("the end"));
            }
            thread::sleep(NAP);
        }
        let moment = Moment {
            peak: self.latest.peak,
            ..self.now()
        };
        while let Ok(piece) = self.pieces.recv() {
            self.keep(piece);
        }
        let status = self.child.wait();
        let status = status.map_err(|_| self.failure("no status of the emulator"))?;
        if status.success() {
            return Ok((status, moment));
        }
        Err(self.failure(&format!("the emulator ended with {status}")))
    }

    /// Kills the emulator as nothing can prepare for.
    pub fn kill(mut self) -> Result<(), Failure> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed
            .map(drop)
            .map_err(|_| self.failure("it could not be killed"))
    }

    /// A failure with the console's tail.
    pub fn failure(&self, what: &str) -> Failure {
        Failure::Guest {
            what: what.to_owned(),
            console: crate::process::tail(&self.text, SHOWN),
        }
    }

    fn receive(&mut self, waiting_for: &str) -> Result<(), Failure> {
        let left = self.limit.saturating_sub(self.started.elapsed());
        match self.pieces.recv_timeout(left) {
            Ok(piece) => {
                self.keep(piece);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(self.late(waiting_for)),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended(waiting_for)),
        }
    }

    fn keep(&mut self, (bytes, moment): Piece) {
        self.text
            .extend(bytes.into_iter().filter(|byte| *byte != b'\r'));
        self.latest = moment;
    }

    fn late(&self, waiting_for: &str) -> Failure {
        let seconds = self.limit.as_secs();
        self.failure(&format!("no {waiting_for:?} within {seconds} s"))
    }

    fn ended(&mut self, waiting_for: &str) -> Failure {
        let status = self.child.wait();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.failure(&format!("ended ({status}) before {waiting_for:?}"))
    }
}

impl Drop for Console {
    /// No emulator outlives its console; one that has ended is no failure here.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn moment(pid: u32, started: Instant) -> Moment {
    Moment {
        wall: started.elapsed(),
        cpu: usage::cpu(pid).unwrap_or_default(),
        peak: usage::peak(pid),
    }
}

fn read(pipe: Option<impl Read + Send + 'static>, to: Sender<Piece>, pid: u32, started: Instant) {
    let Some(mut pipe) = pipe else { return };
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let piece = (buffer[..count].to_vec(), moment(pid, started));
            if to.send(piece).is_err() {
                break;
            }
        }
    });
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|part| part == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Console {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Console::start(&mut command, Duration::from_secs(10)).expect("sh runs")
    }

    #[test]
    fn a_dialogue() {
        let mut console = shell("echo login:; read name; echo hello $name; echo left");
        console.expect("login:").expect("asked");
        console.send("root\n").expect("typed");
        assert_eq!(console.expect_line("hello ").expect("greeted").0, "root");
        assert!(console.end().is_ok());
    }

    #[test]
    fn a_broken_promise_is_found() {
        let mut console = shell("echo something else");
        assert!(console.expect("marker").is_err());
        let console = shell("exit 3");
        assert!(console.end().is_err());
        let mut command = Command::new("/bin/sleep");
        let mut console =
            Console::start(command.arg("60"), Duration::from_millis(100)).expect("sleep runs");
        assert!(console.expect("marker").is_err());
    }
}
