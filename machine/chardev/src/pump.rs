//! The thread that brings a host file's input to a sink, and writing with bounded patience.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::CharSink;

/// What one read takes at most.
const PIECE: usize = 4096;
/// How long a reader that is there but does not read may hold up a write.
const PATIENCE_MS: u16 = 1000;

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source of input.
pub(crate) trait Input: Send {
    /// What to wait for; `None` when nothing can come.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether it brings bytes, which need room, or something else.
    fn brings_bytes(&self) -> bool {
        true
    }

    /// It is readable: bring at most `room` bytes. False at its end.
    fn readable(&mut self, room: usize, sink: &dyn CharSink) -> io::Result<bool>;
}

/// Reads up to `room` bytes of `file` into `buffer`.
pub(crate) fn read_some(
    mut file: impl io::Read,
    buffer: &mut [u8; PIECE],
    room: usize,
) -> io::Result<&[u8]> {
    let room = room.min(PIECE);
    let count = file.read(&mut buffer[..room])?;
    Ok(&buffer[..count])
}

/// An empty buffer for [`read_some`].
pub(crate) const BUFFER: [u8; PIECE] = [0; PIECE];

struct Shared {
    sink: Mutex<Option<Arc<dyn CharSink>>>,
    wake: EventFd,
    stop: AtomicBool,
}

/// A running input thread; dropping it ends the thread.
pub(crate) struct Pump {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    pub(crate) fn start(name: &str, mut input: impl Input + 'static) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let shared = Arc::new(Shared {
            sink: Mutex::new(None),
            wake: EventFd::from_value_and_flags(0, flags)?,
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        // A host that fails to give input is an end of input.
        let body = move || while theirs.turn(&mut input).unwrap_or(false) {};
        let thread = Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Pump {
            shared,
            thread: Some(thread),
        })
    }

    pub(crate) fn attach(&self, sink: Arc<dyn CharSink>) {
        *lock(&self.shared.sink) = Some(sink);
        self.ready();
    }

    pub(crate) fn ready(&self) {
        // The counter is full only if the thread is to wake anyway.
        let _ = self.shared.wake.write(1);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.ready();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Waits once and brings what came; false at the end.
    fn turn(&self, input: &mut dyn Input) -> io::Result<bool> {
        let sink = lock(&self.sink).clone();
        let room = sink.as_ref().map_or(0, |sink| sink.room());
        let readable = {
            let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
            let wanted = sink.is_some() && (room > 0 || !input.brings_bytes());
            fds.extend(
                input
                    .fd()
                    .filter(|_| wanted)
                    .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            );
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if fds[0].any() == Some(true) {
                let _ = self.wake.read();
            }
            fds.get(1).and_then(PollFd::any) == Some(true)
        };
        if self.stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        match sink {
            Some(sink) if readable => match input.readable(room, &*sink) {
                Err(error) if is_transient(&error) => Ok(true),
                result => result,
            },
            _ => Ok(true),
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Writes all of `data`, waiting for a reader that is slow; what one that stopped reading does
/// not take is dropped.
pub(crate) fn write_patiently<F: AsFd>(file: &F, mut data: &[u8]) -> io::Result<()>
where
    for<'a> &'a F: io::Write,
{
    while !data.is_empty() {
        match io::Write::write(&mut &*file, data) {
            Ok(0) => return Ok(()),
            Ok(count) => data = &data[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, PollTimeout::from(PATIENCE_MS))? == 0 {
                    return Ok(());
                }
                let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
                if fds[0]
                    .revents()
                    .is_some_and(|events| events.intersects(gone))
                {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
