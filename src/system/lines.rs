//! Opens the host's ends of lines, and does what is typed at the terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use isomorph_block::BlockBackend;
use isomorph_chardev::{
    CharBackend, CharError, Command, Escape, FileOutput, Null, Pty, Ring, Socket, SocketAddress,
    SocketOptions, Stdio, StdioOptions,
};
use isomorph_machine::{Life, Shutdown};

use crate::system::config::{Chardev, Line};
use crate::system::error::SystemError;
use crate::system::losses::Losses;
use crate::system::speaker::Speaker;

/// Lines by the names of their options.
pub type Lines = BTreeMap<String, Arc<dyn CharBackend>>;

/// What the terminal's escape commands act on.
#[derive(Clone)]
pub struct Controls {
    /// The machine.
    pub life: Arc<Life>,
    /// Its disks.
    pub disks: Vec<Arc<dyn BlockBackend>>,
    /// Who answers.
    pub speaker: Speaker,
}

impl Controls {
    fn obey(&self, command: Command) {
        match command {
            Command::Exit => {
                self.answer("terminated");
                self.life.shutdown(Shutdown::Host);
            }
            Command::Switch => self.answer("there is no monitor yet"),
            Command::Timestamps => self.answer("there are no timestamps"),
            Command::Sync => self.sync(),
            // The line itself does these.
            Command::Help | Command::Break => {}
        }
    }

    /// Says something to whom is in the middle of the guest's line.
    fn answer(&self, text: &str) {
        // Where nobody listens, nothing is lost.
        let _ = writeln!(std::io::stderr().lock());
        self.speaker.say(text);
    }

    /// Makes what the guest wrote survive a loss of power.
    pub fn sync(&self) {
        for disk in &self.disks {
            if let Err(error) = disk.flush() {
                self.speaker.say(crate::error::chain(&error));
            }
        }
    }
}

/// Opens all lines.
///
/// # Errors
/// The first that the host refuses.
pub fn open(chardevs: &[Chardev], controls: &Controls) -> Result<Lines, SystemError> {
    let mut lines = Lines::new();
    for chardev in chardevs {
        let line = open_line(chardev, controls).map_err(|source| SystemError::Line {
            origin: chardev.origin.clone(),
            source,
        })?;
        let line = Losses::of(line, (&chardev.id, &chardev.line), controls.speaker);
        lines.insert(chardev.id.clone(), line);
    }
    Ok(lines)
}

/// Lines that lead nowhere, in place of all that are asked for.
pub fn unplugged(chardevs: &[Chardev]) -> Lines {
    let line = |chardev: &Chardev| {
        let null: Arc<dyn CharBackend> = Arc::new(Null);
        (chardev.id.clone(), null)
    };
    chardevs.iter().map(line).collect()
}

fn open_line(chardev: &Chardev, controls: &Controls) -> Result<Arc<dyn CharBackend>, CharError> {
    Ok(match &chardev.line {
        Line::Null => Arc::new(Null),
        Line::Stdio { signal } => {
            let controls = controls.clone();
            Arc::new(Stdio::open(StdioOptions {
                raw_signals: !signal,
                escape: chardev.mux.then(Escape::default),
                // The emulator ends in good order by itself.
                watch_signals: false,
                on_command: Box::new(move |command| controls.obey(command)),
            })?)
        }
        Line::Pty => {
            let pty = Pty::open()?;
            let (path, id) = (pty.path().display(), &chardev.id);
            // In the words that scripts look for in QEMU's output.
            let text = format!("char device redirected to {path} (label {id})\n");
            // Where nobody listens, nobody looks for it either.
            let _ = crate::output::show(&text);
            Arc::new(pty)
        }
        Line::File { path, append } => Arc::new(FileOutput::create(path, *append)?),
        Line::Socket(options) => Arc::new(open_socket(options, controls.speaker)?),
        Line::Ring { size } => Arc::new(Ring::new(*size)),
    })
}

fn open_socket(options: &SocketOptions, speaker: Speaker) -> Result<Socket, CharError> {
    let describe = |address: &SocketAddress| match address {
        SocketAddress::Tcp(address) => format!("tcp:{address}"),
        SocketAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    if options.wait {
        let address = describe(&options.address);
        speaker.say(format_args!("waiting for connection on {address}"));
    }
    let socket = Socket::open(options)?;
    if *socket.address() != options.address {
        speaker.say(format_args!("listening on {}", describe(socket.address())));
    }
    Ok(socket)
}
