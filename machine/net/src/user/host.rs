//! What the host gives: its name server, and connections that do not wait.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

/// The host's first IPv4 name server.
pub(crate) fn name_server() -> Option<SocketAddrV4> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let server = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<Ipv4Addr>().ok())?
    });
    server.map(|address| SocketAddrV4::new(address, 53))
}

/// Begins a connection; it is writable when it stands or has failed.
pub(crate) fn begin_connect(to: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &SockaddrIn::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(errno) => Err(errno.into()),
    }
}
