//! A line on a stream socket, TCP or Unix, as server (one peer at a time) or client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::pump::{BUFFER, Input, Pump, lock, read_some, write_patiently};
use crate::{CharBackend, CharError, CharEvent, CharSink};

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

/// How to make a socket line.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    /// Its address; TCP port 0 takes any free port.
    pub address: SocketAddress,
    /// Listen there instead of connecting.
    pub server: bool,
    /// A server's `open` returns only when the first peer is there.
    pub wait: bool,
}

/// A line on a stream socket.
pub struct Socket {
    peer: Arc<Mutex<Option<Arc<Stream>>>>,
    address: SocketAddress,
    pump: Pump,
}

impl Socket {
    /// Listens or connects.
    ///
    /// # Errors
    /// The host refuses the address.
    pub fn open(options: &SocketOptions) -> Result<Self, CharError> {
        let failed = |error: io::Error| CharError::open(describe(&options.address), error);
        let mut address = options.address.clone();
        let mut listener = None;
        let mut stream = None;
        if options.server {
            let listening = Listener::bind(&options.address).map_err(failed)?;
            if let Listener::Tcp(tcp) = &listening {
                address = SocketAddress::Tcp(tcp.local_addr().map_err(failed)?);
            }
            if options.wait {
                stream = Some(Arc::new(listening.accept().map_err(failed)?));
            }
            listening.set_nonblocking().map_err(failed)?;
            listener = Some(listening);
        } else {
            stream = Some(Arc::new(Stream::connect(&options.address).map_err(failed)?));
        }
        let peer = Arc::new(Mutex::new(stream.clone()));
        let input = SocketInput {
            listener,
            stream,
            peer: Arc::clone(&peer),
        };
        let pump = Pump::start("socket", input).map_err(failed)?;
        Ok(Socket {
            peer,
            address,
            pump,
        })
    }

    /// The address, with the port that the host chose.
    pub fn address(&self) -> &SocketAddress {
        &self.address
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(stream) = lock(&self.peer).take() {
            stream.shutdown();
        }
    }
}

impl CharBackend for Socket {
    fn write(&self, data: &[u8]) -> Result<(), CharError> {
        let peer = lock(&self.peer).clone();
        match peer.map_or(Ok(()), |stream| write_patiently(&*stream, data)) {
            // The peer went away while we wrote; the input thread will see it too.
            Err(error) if is_gone(&error) => Ok(()),
            result => Ok(result?),
        }
    }

    fn attach(&self, sink: Arc<dyn CharSink>) {
        self.pump.attach(sink);
    }

    fn ready(&self) {
        self.pump.ready();
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
    )
}

fn describe(address: &SocketAddress) -> String {
    match address {
        SocketAddress::Tcp(address) => address.to_string(),
        SocketAddress::Unix(path) => path.to_string_lossy().into_owned(),
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
            SocketAddress::Unix(path) => {
                // A path that a dead server left behind; one that listens refuses the bind.
                if UnixStream::connect(path).is_err() {
                    let _ = std::fs::remove_file(path);
                }
                UnixListener::bind(path).map(Listener::Unix)
            }
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        let stream = match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
        };
        stream.prepare()
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Tcp(address) => Stream::Tcp(TcpStream::connect(address)?).prepare(),
            SocketAddress::Unix(path) => Stream::Unix(UnixStream::connect(path)?).prepare(),
        }
    }

    fn prepare(self) -> io::Result<Self> {
        match &self {
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
            }
            Stream::Unix(stream) => stream.set_nonblocking(true)?,
        }
        Ok(self)
    }

    fn shutdown(&self) {
        // It may be closed by its peer already.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(data),
            Stream::Unix(stream) => (&*stream).read(data),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(data),
            Stream::Unix(stream) => (&*stream).write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct SocketInput {
    listener: Option<Listener>,
    stream: Option<Arc<Stream>>,
    peer: Arc<Mutex<Option<Arc<Stream>>>>,
}

impl SocketInput {
    fn accept(&mut self, sink: &dyn CharSink) -> io::Result<bool> {
        let Some(listener) = &self.listener else {
            return Ok(false);
        };
        let stream = Arc::new(listener.accept()?);
        self.stream = Some(Arc::clone(&stream));
        *lock(&self.peer) = Some(stream);
        sink.event(CharEvent::Opened);
        Ok(true)
    }

    fn close(&mut self, sink: &dyn CharSink) -> bool {
        self.stream = None;
        *lock(&self.peer) = None;
        sink.event(CharEvent::Closed);
        self.listener.is_some()
    }
}

impl Input for SocketInput {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        let stream = self.stream.as_ref().map(|stream| stream.as_fd());
        stream.or_else(|| self.listener.as_ref().map(Listener::fd))
    }

    fn brings_bytes(&self) -> bool {
        self.stream.is_some()
    }

    fn readable(&mut self, room: usize, sink: &dyn CharSink) -> io::Result<bool> {
        let Some(stream) = self.stream.clone() else {
            return self.accept(sink);
        };
        match read_some(&*stream, &mut { BUFFER }, room) {
            Ok([]) => Ok(self.close(sink)),
            Ok(data) => {
                sink.receive(data);
                Ok(true)
            }
            Err(error) if is_gone(&error) => Ok(self.close(sink)),
            Err(error) => Err(error),
        }
    }
}
