//! The console on a real terminal: raw while it runs, as it was found afterwards.
//!
//! The terminal is a pseudo-terminal, and the emulator this test itself, started again.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio as Pipe};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use isomorph_chardev::restore_terminal;
use isomorph_chardev::{CharBackend, CharSink, Command as Typed, Escape, Stdio, StdioOptions};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

const CHILD: &str = "ISOMORPH_TERMINAL_CHILD";

/// The guest: answers each byte with the next one.
#[derive(Default)]
struct Guest {
    line: OnceLock<Arc<Stdio>>,
}

impl CharSink for Guest {
    fn room(&self) -> usize {
        16
    }

    fn receive(&self, data: &[u8]) {
        let answer: Vec<u8> = data.iter().map(|byte| byte.wrapping_add(1)).collect();
        if let Some(line) = self.line.get() {
            line.write(&answer).unwrap();
        }
    }
}

/// The emulator's half, when this file's test is started again.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let on_command = Box::new(|typed| {
        if typed == Typed::Exit {
            restore_terminal();
            std::process::exit(3);
        }
    });
    let options = StdioOptions {
        raw_signals: true,
        escape: Some(Escape::default()),
        watch_signals: true,
        on_command,
    };
    let line = Arc::new(Stdio::open(options).unwrap());
    let guest = Arc::new(Guest::default());
    assert!(guest.line.set(Arc::clone(&line)).is_ok());
    line.attach(guest);
    std::thread::sleep(Duration::from_secs(60));
}

struct Terminal {
    keyboard: File,
    slave: OwnedFd,
    child: Child,
}

impl Terminal {
    fn start() -> Self {
        let pty = openpty(None, None).unwrap();
        let end = || Pipe::from(pty.slave.try_clone().unwrap());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(end())
            .stdout(end())
            .spawn()
            .unwrap();
        let terminal = Terminal {
            keyboard: File::from(pty.master),
            slave: pty.slave,
            child,
        };
        terminal.wait_cooked(false);
        terminal
    }

    fn wait_cooked(&self, cooked: bool) {
        let start = Instant::now();
        let wanted = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        loop {
            let now = tcgetattr(&self.slave).unwrap().local_flags & wanted;
            if (now == wanted) == cooked && (now.is_empty() || cooked) {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "the mode stays {now:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Types, and reads until `answer` appears.
    fn type_in(&mut self, typed: &[u8], answer: &str) {
        self.keyboard.write_all(typed).unwrap();
        let mut seen = String::new();
        while !seen.contains(answer) {
            let mut piece = [0; 256];
            let count = self.keyboard.read(&mut piece).unwrap();
            seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }

    fn end(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        self.wait_cooked(true);
        status
    }
}

#[test]
fn the_escape_ends_the_emulator() {
    let mut terminal = Terminal::start();
    terminal.type_in(b"HAL", "IBM");
    terminal.type_in(b"\x03", "\x04");
    terminal.type_in(b"\x01h", "exit emulator");
    terminal.keyboard.write_all(b"\x01x").unwrap();
    assert_eq!(terminal.end().code(), Some(3));
}

#[test]
fn a_signal_puts_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut terminal = Terminal::start();
        terminal.type_in(b"HAL", "IBM");
        kill(Pid::from_raw(terminal.child.id() as i32), signal).unwrap();
        assert_eq!(terminal.end().signal(), Some(signal as i32));
    }
}
