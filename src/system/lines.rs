//! Opens the host's ends of lines, and does what is typed at the terminal.

use std::collections::BTreeMap;
use std::sync::Arc;

use isomorph_block::BlockBackend;
use isomorph_chardev::{
    CharBackend, CharError, Command, Escape, FileOutput, Null, Pty, Ring, Socket, SocketAddress,
    SocketOptions, Stdio, StdioOptions,
};
use isomorph_machine::{Life, Shutdown};

use crate::system::config::{Chardev, Line};
use crate::system::error::SystemError;

/// Lines by the names of their options.
pub type Lines = BTreeMap<String, Arc<dyn CharBackend>>;

/// What the terminal's escape commands act on.
#[derive(Clone)]
pub struct Controls {
    /// The machine.
    pub life: Arc<Life>,
    /// Its disks.
    pub disks: Vec<Arc<dyn BlockBackend>>,
}

impl Controls {
    fn obey(&self, command: Command) {
        match command {
            Command::Exit => {
                eprint!("\r\nisomorph: terminated\r\n");
                self.life.shutdown(Shutdown::Host);
            }
            Command::Switch => eprint!("\r\nisomorph: there is no monitor yet\r\n"),
            Command::Timestamps => eprint!("\r\nisomorph: there are no timestamps\r\n"),
            Command::Sync => self.sync(),
            // The line itself does these.
            Command::Help | Command::Break => {}
        }
    }

    /// Makes what the guest wrote survive a loss of power.
    pub fn sync(&self) {
        for disk in &self.disks {
            if let Err(error) = disk.flush() {
                eprint!("isomorph: {}\r\n", crate::error::chain(&error));
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
            println!("char device redirected to {path} (label {id})");
            Arc::new(pty)
        }
        Line::File { path, append } => Arc::new(FileOutput::create(path, *append)?),
        Line::Socket(options) => Arc::new(open_socket(options)?),
        Line::Ring { size } => Arc::new(Ring::new(*size)),
    })
}

fn open_socket(options: &SocketOptions) -> Result<Socket, CharError> {
    let describe = |address: &SocketAddress| match address {
        SocketAddress::Tcp(address) => format!("tcp:{address}"),
        SocketAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    if options.wait {
        eprintln!(
            "isomorph: waiting for connection on {}",
            describe(&options.address)
        );
    }
    let socket = Socket::open(options)?;
    if *socket.address() != options.address {
        eprintln!("isomorph: listening on {}", describe(socket.address()));
    }
    Ok(socket)
}
