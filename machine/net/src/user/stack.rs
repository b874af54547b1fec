//! The network's thread: frames in, sockets, frames out.

use std::collections::VecDeque;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint};

use super::frame::{self, Kind};
use super::tcp::{self, FLOWS_MAX, Flow, Opening, new_socket};
use super::udp::Udp;
use super::{Inbox, Protocol, UserConfig, dhcp, host, lock};
use crate::{FRAME_MAX, NetError};

/// The gateway's hardware address: locally administered, and never the guest's.
const HARDWARE: EthernetAddress = EthernetAddress([0x52, 0x55, 0x0a, 0x00, 0x02, 0x02]);
/// Frames that wait for the device before the connections stop producing more.
const OUT_MAX: usize = 256;
/// Datagrams beyond this are lost.
const OUT_LIMIT: usize = 1024;
/// The longest sleep: silent datagram flows are looked through.
const SLEEP_MAX_MS: u64 = 30_000;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const FIRST_LOCAL_PORT: u16 = 49152;

/// The wire between the guest and `smoltcp`.
#[derive(Default)]
struct Wire {
    input: Option<Vec<u8>>,
    out: VecDeque<Vec<u8>>,
}

pub(crate) struct Stack {
    config: UserConfig,
    inbox: Arc<Inbox>,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    openings: Vec<Opening>,
    flows: Vec<Flow>,
    forwards: Vec<tcp::Forward>,
    addresses: Vec<SocketAddr>,
    udp: Udp,
    guest: Option<EthernetAddress>,
    local_port: u16,
}

impl Stack {
    pub(crate) fn new(config: UserConfig, inbox: Arc<Inbox>) -> Result<Self, NetError> {
        let mut wire = Wire::default();
        let hardware = HardwareAddress::Ethernet(HARDWARE);
        let mut interface = Interface::new(Config::new(hardware), &mut wire, Instant::now());
        interface.update_ip_addrs(|list| {
            for address in [config.gateway, config.dns] {
                // The list has room for two.
                let _ = list.push(IpCidr::new(address.into(), config.prefix));
            }
        });
        // Every address outside is answered for, as long as a route leads to ourselves.
        interface.set_any_ip(true);
        let _ = interface
            .routes_mut()
            .add_default_ipv4_route(config.gateway);
        let mut stack = Stack {
            config,
            inbox,
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            openings: Vec::new(),
            flows: Vec::new(),
            forwards: Vec::new(),
            addresses: Vec::new(),
            udp: Udp::default(),
            guest: None,
            local_port: FIRST_LOCAL_PORT,
        };
        stack.bind_forwards()?;
        Ok(stack)
    }

    fn bind_forwards(&mut self) -> Result<(), NetError> {
        for forward in self.config.forwards.clone() {
            let mut guest = forward.guest;
            if guest.ip().is_unspecified() {
                guest.set_ip(self.config.guest);
            }
            let bound = match forward.protocol {
                Protocol::Udp => self.udp.forward(forward.host, guest),
                Protocol::Tcp => tcp::Forward::bind(forward.host, guest).and_then(|forward| {
                    let address = forward.listener.local_addr()?;
                    self.forwards.push(forward);
                    Ok(address)
                }),
            };
            let address = SocketAddr::V4(forward.host);
            self.addresses
                .push(bound.map_err(|source| NetError::Forward { address, source })?);
        }
        Ok(())
    }

    pub(crate) fn forward_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Serves until the inbox is stopped.
    pub(crate) fn run(&mut self) {
        while !self.inbox.stopped() {
            self.wait();
            let frames: Vec<_> = lock(&self.inbox.frames).drain(..).collect();
            for frame in frames {
                self.input(frame);
            }
            self.settle_openings();
            self.accept_forwards();
            self.datagrams();
            self.pump();
            self.deliver();
        }
    }

    /// Sleeps until something can be done.
    fn wait(&mut self) {
        let delay = self.interface.poll_delay(Instant::now(), &self.sockets);
        let delay = delay.map_or(SLEEP_MAX_MS, |delay| delay.total_millis());
        // A full wire can only wait for the device.
        let delay = if self.wire.out.len() >= OUT_MAX {
            SLEEP_MAX_MS
        } else {
            delay
        };
        let mut fds = vec![PollFd::new(self.inbox.wake.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.udp.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        for forward in &self.forwards {
            fds.push(PollFd::new(forward.listener.as_fd(), PollFlags::POLLIN));
        }
        for opening in &self.openings {
            fds.push(PollFd::new(opening.stream.as_fd(), PollFlags::POLLOUT));
        }
        let flows = self
            .flows
            .iter()
            .filter_map(|flow| flow.interest(&self.sockets));
        fds.extend(flows.map(|(fd, flags)| PollFd::new(fd, flags)));
        let delay = delay.min(SLEEP_MAX_MS) as u16;
        // An interrupted or failed wait is a short one.
        let _ = poll(&mut fds, PollTimeout::from(delay));
        if fds[0].any() == Some(true) {
            let _ = self.inbox.wake.read();
        }
    }

    fn input(&mut self, frame: Vec<u8>) {
        let Some((sender, kind)) = frame::parse(&frame) else {
            return;
        };
        self.guest = Some(sender);
        match kind {
            Kind::Arp { target } | Kind::Icmp { to: target } => {
                if target == self.config.gateway || target == self.config.dns {
                    self.process(frame);
                }
            }
            Kind::Udp { from, to, data } if to.port() == DHCP_SERVER => {
                self.dhcp(from, data);
            }
            Kind::Udp { from, to, data } => self.udp.send(&self.config, from, to, data),
            Kind::Tcp {
                from,
                to,
                opens: true,
            } => self.open(from, to, frame),
            Kind::Tcp { .. } => self.process(frame),
        }
    }

    /// Hands one frame to `smoltcp`.
    fn process(&mut self, frame: Vec<u8>) {
        self.wire.input = Some(frame);
        let now = Instant::now();
        self.interface
            .poll_ingress_single(now, &mut self.wire, &mut self.sockets);
        self.wire.input = None;
    }

    fn dhcp(&mut self, from: SocketAddrV4, data: &[u8]) {
        let Some(answer) = dhcp::answer(&self.config, data) else {
            return;
        };
        let server = SocketAddrV4::new(self.config.gateway, DHCP_SERVER);
        // A client without an address hears a broadcast only.
        let (to, hardware) = if from.ip().is_unspecified() {
            (std::net::Ipv4Addr::BROADCAST, EthernetAddress::BROADCAST)
        } else {
            (*from.ip(), self.guest.unwrap_or(EthernetAddress::BROADCAST))
        };
        let client = SocketAddrV4::new(to, DHCP_CLIENT);
        self.wire.out.extend(frame::datagram(
            (HARDWARE, hardware),
            server,
            client,
            &answer,
        ));
    }

    /// The guest asks for a connection: the host's half comes first.
    fn open(&mut self, from: SocketAddrV4, to: SocketAddrV4, frame: Vec<u8>) {
        if self
            .openings
            .iter()
            .any(|opening| (opening.from, opening.to) == (from, to))
        {
            return;
        }
        if self.is_open(from, to) {
            return self.process(frame);
        }
        let room = self.openings.len() + self.flows.len() < FLOWS_MAX;
        let outside = self.config.outside(to).filter(|_| room);
        match outside.map(host::begin_connect) {
            Some(Ok(stream)) => self.openings.push(Opening {
                from,
                to,
                stream,
                frame,
            }),
            // No socket listens: the guest gets a reset.
            Some(Err(_)) | None => self.process(frame),
        }
    }

    fn is_open(&self, from: SocketAddrV4, to: SocketAddrV4) -> bool {
        let ends = (Some(IpEndpoint::from(to)), Some(IpEndpoint::from(from)));
        self.flows.iter().any(|flow| {
            let socket = self
                .sockets
                .get::<smoltcp::socket::tcp::Socket<'_>>(flow.handle);
            (socket.local_endpoint(), socket.remote_endpoint()) == ends
        })
    }

    fn settle_openings(&mut self) {
        let mut index = 0;
        while let Some(opening) = self.openings.get(index) {
            match opening.outcome() {
                None => index += 1,
                Some(stands) => {
                    let opening = self.openings.swap_remove(index);
                    self.settle(opening, stands);
                }
            }
        }
    }

    fn settle(&mut self, opening: Opening, stands: bool) {
        let Opening {
            to, stream, frame, ..
        } = opening;
        if stands {
            let mut socket = new_socket();
            let at = IpListenEndpoint {
                addr: Some((*to.ip()).into()),
                port: to.port(),
            };
            if socket.listen(at).is_ok() {
                let handle = self.sockets.add(socket);
                match Flow::new(handle, stream) {
                    Ok(flow) => self.flows.push(flow),
                    Err(_) => drop(self.sockets.remove(handle)),
                }
            }
        }
        self.process(frame);
    }

    fn accept_forwards(&mut self) {
        for index in 0..self.forwards.len() {
            while let Ok((stream, _)) = self.forwards[index].listener.accept() {
                let guest = self.forwards[index].guest;
                if self.flows.len() < FLOWS_MAX {
                    self.connect_guest(guest, stream);
                }
            }
        }
    }

    fn connect_guest(&mut self, guest: SocketAddrV4, stream: std::net::TcpStream) {
        let mut socket = new_socket();
        let local = IpEndpoint::new(self.config.gateway.into(), self.local_port);
        self.local_port = self.local_port.checked_add(1).unwrap_or(FIRST_LOCAL_PORT);
        if socket
            .connect(self.interface.context(), IpEndpoint::from(guest), local)
            .is_err()
        {
            return;
        }
        let handle = self.sockets.add(socket);
        match Flow::new(handle, stream) {
            Ok(flow) => self.flows.push(flow),
            Err(_) => drop(self.sockets.remove(handle)),
        }
    }

    fn datagrams(&mut self) {
        for incoming in self.udp.receive(&self.config) {
            let Some(guest) = self.guest else { continue };
            if self.wire.out.len() < OUT_LIMIT {
                let hardware = (HARDWARE, guest);
                let frame = frame::datagram(hardware, incoming.from, incoming.to, &incoming.data);
                self.wire.out.extend(frame);
            }
        }
    }

    fn pump(&mut self) {
        let Stack {
            flows,
            sockets,
            wire,
            interface,
            ..
        } = self;
        let now = Instant::now();
        egress(interface, now, wire, sockets);
        // What is over says so to the guest before it is forgotten.
        let mut over = Vec::new();
        flows.retain_mut(|flow| {
            let lives = flow.pump(sockets);
            if !lives {
                over.push(flow.handle);
            }
            lives
        });
        egress(interface, now, wire, sockets);
        interface.poll_maintenance(now);
        for handle in over {
            sockets.remove(handle);
        }
    }

    fn deliver(&mut self) {
        let Some(sink) = lock(&self.inbox.sink).clone() else {
            self.wire.out.clear();
            return;
        };
        while let Some(frame) = self.wire.out.front() {
            if !sink.deliver(frame) {
                return;
            }
            self.wire.out.pop_front();
        }
    }
}

/// Sends all that the sockets have, as far as the wire takes it.
fn egress(
    interface: &mut Interface,
    now: Instant,
    wire: &mut Wire,
    sockets: &mut SocketSet<'static>,
) {
    while interface.poll_egress(now, wire, sockets) == PollResult::SocketStateChanged {}
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.input.take()?;
        Some((Received(frame), Sending(&mut self.out)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        (self.out.len() < OUT_MAX).then_some(Sending(&mut self.out))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}
