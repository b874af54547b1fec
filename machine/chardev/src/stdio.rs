//! The console on the terminal that the emulator was started from.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, Once};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::pump::{BUFFER, Input, Pump, lock, read_some};
use crate::{CharBackend, CharError, CharEvent, CharSink, Command, Escape, Outcome};

/// The terminal as it was found, while it is changed: one per process, as the terminal is.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);
static WATCH: Once = Once::new();

/// Called, from the input's thread, with what the person at the terminal asked for.
pub type OnCommand = Box<dyn FnMut(Command) + Send>;

/// How to use the terminal.
pub struct StdioOptions {
    /// Ctrl-C and the like are the guest's, not the emulator's.
    pub raw_signals: bool,
    /// Ctrl-A and a letter are commands to the emulator.
    pub escape: Option<Escape>,
    /// Put the terminal back when a signal ends or stops the emulator. Off for a caller that
    /// handles those signals and calls [`restore_terminal`] itself.
    pub watch_signals: bool,
    /// Gets the commands, [`Command::Help`] and [`Command::Break`] included.
    pub on_command: OnCommand,
}

/// The console on standard input and output.
pub struct Stdio {
    pump: Pump,
}

impl Stdio {
    /// Takes standard input and output; a terminal goes to raw mode.
    ///
    /// # Errors
    /// The host gives no thread, or the terminal refuses.
    pub fn open(options: StdioOptions) -> Result<Self, CharError> {
        let failed = |error: io::Error| CharError::open("stdio", error);
        if io::stdin().is_terminal() {
            enter_raw_mode(options.raw_signals).map_err(|errno| failed(errno.into()))?;
            if options.watch_signals {
                watch(options.raw_signals).map_err(failed)?;
            }
        }
        let StdioOptions {
            escape, on_command, ..
        } = options;
        let pump = Pump::start("stdio", StdioInput { escape, on_command }).map_err(failed)?;
        Ok(Stdio { pump })
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        restore_terminal();
    }
}

impl CharBackend for Stdio {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        Ok(write_out(data)?)
    }

    fn attach(&self, sink: Arc<dyn CharSink>) {
        self.pump.attach(sink);
    }

    fn ready(&self) {
        self.pump.ready();
    }
}

/// Writes to standard output, past the standard library's line buffer.
fn write_out(mut data: &[u8]) -> io::Result<()> {
    let out = io::stdout();
    while !data.is_empty() {
        match nix::unistd::write(&out, data) {
            Ok(count) => data = &data[count..],
            Err(Errno::EINTR) => {}
            // Someone else made the file non-blocking: wait, as a blocking write would.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
                poll(&mut fds, PollTimeout::NONE)?;
            }
            // The reader of a pipe went away.
            Err(Errno::EPIPE) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

struct StdioInput {
    escape: Option<Escape>,
    on_command: OnCommand,
}

impl Input for StdioInput {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // Standard input lives as long as the process.
        Some(STDIN.as_fd())
    }

    fn readable(&mut self, room: usize, sink: &dyn CharSink) -> io::Result<bool> {
        let buffer = &mut { BUFFER };
        let data = read_some(StdinFd, buffer, room)?;
        if data.is_empty() {
            sink.event(CharEvent::Closed);
            return Ok(false);
        }
        let data = self.filter(data, sink);
        if !data.is_empty() {
            sink.receive(&data);
        }
        Ok(true)
    }
}

impl StdioInput {
    /// Takes commands out of what was typed.
    fn filter(&mut self, data: &[u8], sink: &dyn CharSink) -> Vec<u8> {
        let Some(escape) = &mut self.escape else {
            return data.to_vec();
        };
        let mut kept = Vec::with_capacity(data.len());
        for &byte in data {
            match escape.step(byte) {
                Outcome::Byte(byte) => kept.push(byte),
                Outcome::Pending | Outcome::Ignored => {}
                Outcome::Command(command) => {
                    if command == Command::Break {
                        sink.event(CharEvent::Break);
                    }
                    if command == Command::Help {
                        // A terminal that is gone needs no help.
                        let _ = write_out(Escape::HELP.as_bytes());
                    }
                    (self.on_command)(command);
                }
            }
        }
        kept
    }
}

/// Reads standard input past the standard library's buffer, which `poll` does not see.
struct StdinFd;

static STDIN: std::sync::LazyLock<io::Stdin> = std::sync::LazyLock::new(io::stdin);

impl io::Read for StdinFd {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&*STDIN, data)?)
    }
}

fn enter_raw_mode(raw_signals: bool) -> nix::Result<()> {
    let mut found = lock(&FOUND);
    let now = tcgetattr(io::stdin())?;
    let before = found.get_or_insert_with(|| now.clone());
    let mut mode = before.clone();
    // Output processing stays: the emulator's own messages need it.
    mode.input_flags &= !(InputFlags::IGNBRK
        | InputFlags::BRKINT
        | InputFlags::PARMRK
        | InputFlags::ISTRIP
        | InputFlags::INLCR
        | InputFlags::IGNCR
        | InputFlags::ICRNL
        | InputFlags::IXON);
    let line = LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON | LocalFlags::IEXTEN;
    mode.local_flags &= !line;
    if raw_signals {
        mode.local_flags &= !LocalFlags::ISIG;
    }
    mode.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    mode.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    tcsetattr(io::stdin(), SetArg::TCSANOW, &mode)
}

/// Puts the terminal back as it was found. For an exit that runs no destructors; harmless at any
/// other time.
pub fn restore_terminal() {
    if let Some(found) = lock(&FOUND).take() {
        // There is no one to tell if the terminal is gone.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &found);
    }
}

/// Takes the terminal again after [`restore_terminal`], for a process that goes on after it was
/// stopped. Does nothing if standard input is no terminal.
pub fn retake_terminal(raw_signals: bool) {
    if io::stdin().is_terminal() {
        // A terminal that is gone needs no mode.
        let _ = enter_raw_mode(raw_signals);
    }
}

/// Puts the terminal back before a signal ends or stops the process, and takes it again after.
fn watch(raw_signals: bool) -> io::Result<()> {
    let mut result = Ok(());
    WATCH.call_once(|| result = start_watch(raw_signals));
    result
}

fn start_watch(raw_signals: bool) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT])?;
    let body = move || {
        let mut stopped = false;
        for signal in &mut signals {
            if signal == SIGCONT {
                if std::mem::take(&mut stopped) {
                    // A terminal that is gone needs no mode.
                    let _ = enter_raw_mode(raw_signals);
                }
                continue;
            }
            stopped = signal == SIGTSTP && lock(&FOUND).is_some();
            restore_terminal();
            // Fails only for signals without a default action, which these are not.
            let _ = emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(body)?;
    Ok(())
}
