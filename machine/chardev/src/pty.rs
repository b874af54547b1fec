//! A line on a pseudo-terminal: another program opens its other end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::pump::{BUFFER, Input, Pump, read_some, write_patiently};
use crate::{CharBackend, CharError, CharSink};

/// How often to look whether someone opened the other end.
const LOOK: Duration = Duration::from_millis(100);

/// A pseudo-terminal whose other end is free to open.
pub struct Pty {
    master: Arc<File>,
    path: PathBuf,
    pump: Pump,
}

impl Pty {
    /// Makes a pseudo-terminal in raw mode.
    ///
    /// # Errors
    /// The host gives none.
    pub fn open() -> Result<Self, CharError> {
        let failed = |error: io::Error| CharError::open("pty", error);
        let (master, path) = make().map_err(|errno| failed(errno.into()))?;
        let master = Arc::new(master);
        let input = PtyInput {
            master: Arc::clone(&master),
        };
        let pump = Pump::start("pty", input).map_err(failed)?;
        Ok(Pty { master, path, pump })
    }

    /// The other end: what the user gives to a terminal program.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn make() -> nix::Result<(File, PathBuf)> {
    let how = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let master: PtyMaster = posix_openpt(how)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = PathBuf::from(ptsname_r(&master)?);
    let mut mode = tcgetattr(&master)?;
    cfmakeraw(&mut mode);
    tcsetattr(&master, SetArg::TCSANOW, &mode)?;
    let fd: std::os::fd::OwnedFd = master.into();
    Ok((File::from(fd), path))
}

impl CharBackend for Pty {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        Ok(write_patiently(&*self.master, data)?)
    }

    fn attach(&self, sink: Arc<dyn CharSink>) {
        self.pump.attach(sink);
    }

    fn ready(&self) {
        self.pump.ready();
    }
}

struct PtyInput {
    master: Arc<File>,
}

impl Input for PtyInput {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.master.as_fd())
    }

    fn readable(&mut self, room: usize, sink: &dyn CharSink) -> io::Result<bool> {
        match read_some(&*self.master, &mut { BUFFER }, room) {
            Ok(data) => sink.receive(data),
            // EIO: the other end was closed. It can be opened again.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => std::thread::sleep(LOOK),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}
