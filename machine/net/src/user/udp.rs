//! Datagrams: one host socket per guest port, and forwarded host ports.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::UserConfig;
use super::frame::DATAGRAM_MAX;

/// Guest ports in use at once; the one that was silent longest makes room.
const FLOWS_MAX: usize = 256;
/// Peers of one forward that answers may go to.
const PEERS_MAX: usize = 256;
/// Datagrams from one socket per turn.
const BURST: usize = 32;
const IDLE: Duration = Duration::from_secs(240);

struct Flow {
    socket: UdpSocket,
    used: Instant,
}

struct Forward {
    socket: UdpSocket,
    guest: SocketAddrV4,
    /// By port: the guest sees every peer at the gateway's address.
    peers: HashMap<u16, SocketAddr>,
}

/// A datagram for the guest.
pub(crate) struct Incoming {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) data: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Udp {
    flows: HashMap<SocketAddrV4, Flow>,
    forwards: Vec<Forward>,
}

impl Udp {
    pub(crate) fn forward(
        &mut self,
        host: SocketAddrV4,
        guest: SocketAddrV4,
    ) -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind(host)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        self.forwards.push(Forward {
            socket,
            guest,
            peers: HashMap::new(),
        });
        Ok(address)
    }

    /// Sends what the guest sent; what the host refuses is lost, as datagrams are.
    pub(crate) fn send(
        &mut self,
        config: &UserConfig,
        from: SocketAddrV4,
        to: SocketAddrV4,
        data: &[u8],
    ) {
        if *to.ip() == config.gateway {
            let answers = self.forwards.iter().filter(|forward| forward.guest == from);
            for forward in answers {
                if let Some(peer) = forward.peers.get(&to.port()) {
                    let _ = forward.socket.send_to(data, peer);
                    return;
                }
            }
        }
        let Some(outside) = config.outside(to) else {
            return;
        };
        if let Ok(flow) = self.flow(from) {
            flow.used = Instant::now();
            let _ = flow.socket.send_to(data, outside);
        }
    }

    fn flow(&mut self, guest: SocketAddrV4) -> io::Result<&mut Flow> {
        if !self.flows.contains_key(&guest) {
            if self.flows.len() >= FLOWS_MAX {
                let silent = self.flows.iter().min_by_key(|(_, flow)| flow.used);
                if let Some(oldest) = silent.map(|(guest, _)| *guest) {
                    self.flows.remove(&oldest);
                }
            }
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            self.flows.insert(
                guest,
                Flow {
                    socket,
                    used: Instant::now(),
                },
            );
        }
        self.flows
            .get_mut(&guest)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let forwards = self.forwards.iter().map(|forward| forward.socket.as_fd());
        self.flows
            .values()
            .map(|flow| flow.socket.as_fd())
            .chain(forwards)
    }

    /// What came from the host's side.
    pub(crate) fn receive(&mut self, config: &UserConfig) -> Vec<Incoming> {
        let mut incoming = Vec::new();
        let now = Instant::now();
        self.flows
            .retain(|_, flow| now.duration_since(flow.used) < IDLE);
        for (&guest, flow) in &mut self.flows {
            for (peer, data) in burst(&flow.socket) {
                flow.used = now;
                incoming.push(Incoming {
                    from: inside(config, peer),
                    to: guest,
                    data,
                });
            }
        }
        for forward in &mut self.forwards {
            for (peer, data) in burst(&forward.socket) {
                let known = forward.peers.contains_key(&peer.port());
                if !known && forward.peers.len() >= PEERS_MAX {
                    forward.peers.clear();
                }
                forward.peers.insert(peer.port(), SocketAddr::V4(peer));
                let from = SocketAddrV4::new(config.gateway, peer.port());
                incoming.push(Incoming {
                    from,
                    to: forward.guest,
                    data,
                });
            }
        }
        incoming
    }
}

/// How the guest knows a host's peer.
fn inside(config: &UserConfig, peer: SocketAddrV4) -> SocketAddrV4 {
    if config.resolver == Some(peer) {
        return SocketAddrV4::new(config.dns, 53);
    }
    if peer.ip().is_loopback() {
        return SocketAddrV4::new(config.gateway, peer.port());
    }
    peer
}

fn burst(socket: &UdpSocket) -> Vec<(SocketAddrV4, Vec<u8>)> {
    let mut buffer = [0; DATAGRAM_MAX + 1];
    let mut received = Vec::new();
    for _ in 0..BURST {
        match socket.recv_from(&mut buffer) {
            // One that does not fit a frame is lost: it is never cut short.
            Ok((length, SocketAddr::V4(peer))) if length <= DATAGRAM_MAX => {
                received.push((peer, buffer[..length].to_vec()));
            }
            Ok(_) => {}
            // An ICMP answer to an earlier datagram: the next may be fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => break,
        }
    }
    received
}
