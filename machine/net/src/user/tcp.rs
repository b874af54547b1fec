//! Connections: a socket of `smoltcp` towards the guest, one of the host's towards the world.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::PollFlags;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

use super::would_block;

/// Connections at once, those being made included.
pub(crate) const FLOWS_MAX: usize = 512;
const BUFFER: usize = 128 << 10;
/// Moves per connection and turn.
const TURNS: usize = 16;

/// A connection that the guest asked for, while the host makes its half.
pub(crate) struct Opening {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) stream: TcpStream,
    /// The guest's request, answered when the host's half stands or has failed.
    pub(crate) frame: Vec<u8>,
}

impl Opening {
    /// `None` while it is not decided.
    pub(crate) fn outcome(&self) -> Option<bool> {
        match self.stream.take_error() {
            Ok(Some(_)) | Err(_) => Some(false),
            // A peer's address is there once the connection is.
            Ok(None) => self.stream.peer_addr().is_ok().then_some(true),
        }
    }
}

/// A connection with both halves.
pub(crate) struct Flow {
    pub(crate) handle: SocketHandle,
    pub(crate) stream: TcpStream,
    host_ended: bool,
    guest_ended: bool,
}

/// A host address whose connections go to the guest.
pub(crate) struct Forward {
    pub(crate) listener: TcpListener,
    pub(crate) guest: SocketAddrV4,
}

impl Forward {
    pub(crate) fn bind(host: SocketAddrV4, guest: SocketAddrV4) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::V4(host))?;
        listener.set_nonblocking(true)?;
        Ok(Forward { listener, guest })
    }
}

/// A socket towards the guest.
pub(crate) fn new_socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket
}

impl Flow {
    pub(crate) fn new(handle: SocketHandle, stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Flow {
            handle,
            stream,
            host_ended: false,
            guest_ended: false,
        })
    }

    /// What to wait for at the host's half.
    pub(crate) fn interest<'a>(
        &'a self,
        sockets: &SocketSet<'_>,
    ) -> Option<(BorrowedFd<'a>, PollFlags)> {
        let socket = sockets.get::<Socket<'_>>(self.handle);
        let mut flags = PollFlags::empty();
        if socket.can_send() && !self.host_ended {
            flags |= PollFlags::POLLIN;
        }
        if socket.can_recv() {
            flags |= PollFlags::POLLOUT;
        }
        (!flags.is_empty()).then(|| (self.stream.as_fd(), flags))
    }

    /// Moves data both ways; false when the connection is over.
    pub(crate) fn pump(&mut self, sockets: &mut SocketSet<'_>) -> bool {
        let socket = sockets.get_mut::<Socket<'_>>(self.handle);
        if self.feed_guest(socket).is_err() || self.feed_host(socket).is_err() {
            socket.abort();
        }
        !matches!(socket.state(), State::Closed | State::TimeWait)
    }

    fn feed_guest(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        for _ in 0..TURNS {
            if self.host_ended || !socket.can_send() {
                break;
            }
            let mut result = Ok(0);
            let sent = socket.send(|room| {
                result = self.stream.read(room);
                (*result.as_ref().unwrap_or(&0), ())
            });
            match result {
                Ok(0) if sent.is_ok() => {
                    self.host_ended = true;
                    socket.close();
                }
                Ok(_) => {}
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn feed_host(&mut self, socket: &mut Socket<'_>) -> io::Result<()> {
        for _ in 0..TURNS {
            if !socket.can_recv() {
                break;
            }
            let mut result = Ok(0);
            let received = socket.recv(|data| {
                result = self.stream.write(data);
                (*result.as_ref().unwrap_or(&0), ())
            });
            match result {
                Ok(0) => break,
                Ok(_) if received.is_ok() => {}
                Ok(_) => break,
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let guest_closed = matches!(
            socket.state(),
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait
        );
        if guest_closed && !socket.can_recv() && !self.guest_ended {
            self.guest_ended = true;
            // The host's peer may have closed already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}
