//! A guest made of `smoltcp`, against servers on the loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr, IpEndpoint,
};

use super::*;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const LOOPBACK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Received(Mutex<VecDeque<Vec<u8>>>);

impl FrameSink for Received {
    fn deliver(&self, frame: &[u8]) -> bool {
        let mut frames = lock(&self.0);
        let room = frames.len() < 64;
        if room {
            frames.push_back(frame.to_vec());
        }
        room
    }
}

struct Nic {
    net: UserNet,
    received: Arc<Received>,
}

impl Device for Nic {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Port<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Frame, Port<'_>)> {
        let frame = lock(&self.received.0).pop_front();
        if frame.is_none() {
            self.net.ready();
        }
        Some((Frame(frame?), Port(&self.net)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Port<'_>> {
        Some(Port(&self.net))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }
}

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Port<'a>(&'a UserNet);

impl TxToken for Port<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.send(&frame);
        result
    }
}

/// The guest: an interface with its own sockets.
struct Guest {
    nic: Nic,
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl Guest {
    fn new(config: UserConfig) -> Self {
        let net = UserNet::start(config).unwrap();
        let received = Arc::<Received>::default();
        net.attach(received.clone());
        let mut nic = Nic { net, received };
        let hardware = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 1]));
        let mut interface = Interface::new(Config::new(hardware), &mut nic, Instant::now());
        interface.update_ip_addrs(|list| list.push(IpCidr::new(GUEST.into(), 24)).unwrap());
        interface
            .routes_mut()
            .add_default_ipv4_route(GATEWAY)
            .unwrap();
        Guest {
            nic,
            interface,
            sockets: SocketSet::new(Vec::new()),
        }
    }

    /// Runs the guest until `done` gives something.
    fn until<T>(&mut self, mut done: impl FnMut(&mut SocketSet<'static>) -> Option<T>) -> T {
        self.within(PATIENCE, &mut done).expect("nothing happened")
    }

    fn within<T>(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&mut SocketSet<'static>) -> Option<T>,
    ) -> Option<T> {
        let start = std::time::Instant::now();
        while start.elapsed() < patience {
            self.interface
                .poll(Instant::now(), &mut self.nic, &mut self.sockets);
            if let Some(result) = done(&mut self.sockets) {
                self.interface
                    .poll(Instant::now(), &mut self.nic, &mut self.sockets);
                return Some(result);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        None
    }

    fn tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65536]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    fn connect(&mut self, to: (Ipv4Addr, u16), from: u16) -> SocketHandle {
        let handle = self.tcp();
        let to = (IpAddress::from(to.0), to.1);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), to, from).unwrap();
        handle
    }

    fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 65536]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    fn receive_udp(&mut self, handle: SocketHandle) -> (Vec<u8>, IpEndpoint) {
        self.until(|sockets| {
            let (data, from) = sockets.get_mut::<udp::Socket<'_>>(handle).recv().ok()?;
            Some((data.to_vec(), from.endpoint))
        })
    }
}

fn echo_server() -> u16 {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = stream.try_clone().unwrap();
        std::io::copy(&mut reader, &mut stream).unwrap();
    });
    port
}

#[test]
fn dhcp_gives_the_usual_network() {
    let mut guest = Guest::new(UserConfig::default());
    guest.interface.update_ip_addrs(|list| list.clear());
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let (address, router, servers) =
        guest.until(
            |sockets| match sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll()? {
                dhcpv4::Event::Configured(config) => {
                    Some((config.address, config.router, config.dns_servers.to_vec()))
                }
                dhcpv4::Event::Deconfigured => None,
            },
        );
    assert_eq!(address.to_string(), "10.0.2.15/24");
    assert_eq!(router, Some(GATEWAY));
    assert_eq!(servers, [Ipv4Addr::new(10, 0, 2, 3)]);
}

#[test]
fn the_gateway_answers_a_ping() {
    let mut guest = Guest::new(UserConfig::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(7)).unwrap();
    let handle = guest.sockets.add(socket);
    let repr = Icmpv4Repr::EchoRequest {
        ident: 7,
        seq_no: 1,
        data: b"ping",
    };
    let socket = guest.sockets.get_mut::<icmp::Socket<'_>>(handle);
    let room = socket.send(repr.buffer_len(), GATEWAY.into()).unwrap();
    repr.emit(&mut Icmpv4Packet::new_unchecked(room), &Default::default());
    let from = guest.until(|sockets| {
        let socket = sockets.get_mut::<icmp::Socket<'_>>(handle);
        socket.recv().ok().map(|(_, from)| from)
    });
    assert_eq!(from, IpAddress::from(GATEWAY));
}

/// More than the buffers hold, both ways, and then both ends.
#[test]
fn tcp_goes_out_and_comes_back() {
    let port = echo_server();
    let mut guest = Guest::new(UserConfig::default());
    let handle = guest.connect((GATEWAY, port), 40000);
    let data: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut received) = (0, Vec::new());
    guest.until(|sockets| {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        if socket.can_send() && sent < data.len() {
            sent += socket.send_slice(&data[sent..]).unwrap();
            if sent == data.len() {
                socket.close();
            }
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| (bytes.len(), received.extend_from_slice(bytes)))
                .unwrap();
        }
        (received.len() >= data.len()).then_some(())
    });
    assert!(received == data);
    guest.until(|sockets| (!sockets.get_mut::<tcp::Socket<'_>>(handle).may_recv()).then_some(()));
}

#[test]
fn a_refused_connection_is_refused() {
    let closed = TcpListener::bind(LOOPBACK)
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut guest = Guest::new(UserConfig::default());
    let handle = guest.connect((GATEWAY, closed), 40001);
    guest.until(|sockets| {
        let socket = sockets.get::<tcp::Socket<'_>>(handle);
        (socket.state() == tcp::State::Closed).then_some(())
    });
}

#[test]
fn datagrams_and_names_go_out_and_come_back() {
    let server = UdpSocket::bind(LOOPBACK).unwrap();
    let resolver = UdpSocket::bind(LOOPBACK).unwrap();
    let port = server.local_addr().unwrap().port();
    let SocketAddr::V4(resolver_address) = resolver.local_addr().unwrap() else {
        panic!()
    };
    for socket in [server, resolver] {
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let (length, peer) = socket.recv_from(&mut buffer).unwrap();
            buffer[..length].reverse();
            socket.send_to(&buffer[..length], peer).unwrap();
        });
    }
    let config = UserConfig {
        resolver: Some(resolver_address),
        ..UserConfig::default()
    };
    let dns = config.dns;
    let mut guest = Guest::new(config);
    let handle = guest.udp(5000);
    let send = |guest: &mut Guest, to: (Ipv4Addr, u16), data: &[u8]| {
        let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
        socket
            .send_slice(data, (IpAddress::from(to.0), to.1))
            .unwrap();
    };
    send(&mut guest, (GATEWAY, port), b"abc");
    let (data, from) = guest.receive_udp(handle);
    assert_eq!(
        (&data[..], from),
        (&b"cba"[..], IpEndpoint::new(GATEWAY.into(), port))
    );
    send(&mut guest, (dns, 53), b"name");
    let (data, from) = guest.receive_udp(handle);
    assert_eq!(
        (&data[..], from),
        (&b"eman"[..], IpEndpoint::new(dns.into(), 53))
    );
}

fn forwarding(protocol: Protocol, port: u16, restrict: bool) -> UserConfig {
    let guest = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let forwards = vec![Forward {
        protocol,
        host: LOOPBACK,
        guest,
    }];
    UserConfig {
        forwards,
        restrict,
        ..UserConfig::default()
    }
}

#[test]
fn a_forwarded_port_reaches_the_guest_even_when_restricted() {
    for restrict in [false, true] {
        let mut guest = Guest::new(forwarding(Protocol::Tcp, 22, restrict));
        let handle = guest.tcp();
        guest
            .sockets
            .get_mut::<tcp::Socket<'_>>(handle)
            .listen(22)
            .unwrap();
        let address = guest.nic.net.forwards()[0];
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"hello").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        guest.until(|sockets| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
            if !socket.can_recv() {
                return None;
            }
            let greeted = socket.recv(|data| (data.len(), data == b"hello")).unwrap();
            assert!(greeted);
            socket.send_slice(b"welcome").unwrap();
            socket.close();
            Some(())
        });
        guest.until(|_| client.is_finished().then_some(()));
        assert_eq!(client.join().unwrap(), "welcome");
    }
}

#[test]
fn a_forwarded_datagram_is_answered() {
    let mut guest = Guest::new(forwarding(Protocol::Udp, 69, false));
    let handle = guest.udp(69);
    let address = guest.nic.net.forwards()[0];
    // The network knows the guest once it has spoken.
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    socket
        .send_slice(b"!", (IpAddress::from(GATEWAY), 9))
        .unwrap();
    let mut turns = 0;
    guest.until(|_| {
        turns += 1;
        (turns > 50).then_some(())
    });
    let client = UdpSocket::bind(LOOPBACK).unwrap();
    client.send_to(b"question", address).unwrap();
    let (data, from) = guest.receive_udp(handle);
    assert_eq!(data, b"question");
    let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
    socket.send_slice(b"answer", from).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut buffer = [0; 64];
    let length = guest.until(|_| client.recv(&mut buffer).ok());
    assert_eq!(&buffer[..length], b"answer");
}

#[test]
fn restrict_keeps_the_guest_inside() {
    let server = TcpListener::bind(LOOPBACK).unwrap();
    let echo = UdpSocket::bind(LOOPBACK).unwrap();
    server.set_nonblocking(true).unwrap();
    echo.set_nonblocking(true).unwrap();
    let mut guest = Guest::new(UserConfig {
        restrict: true,
        ..UserConfig::default()
    });
    let port = server.local_addr().unwrap().port();
    let handle = guest.connect((GATEWAY, port), 40002);
    let datagrams = guest.udp(5001);
    let to = (IpAddress::from(GATEWAY), echo.local_addr().unwrap().port());
    guest
        .sockets
        .get_mut::<udp::Socket<'_>>(datagrams)
        .send_slice(b"x", to)
        .unwrap();
    guest.until(|sockets| {
        let socket = sockets.get::<tcp::Socket<'_>>(handle);
        (socket.state() == tcp::State::Closed).then_some(())
    });
    guest.within(Duration::from_millis(100), |_| None::<()>);
    assert!(server.accept().is_err());
    assert!(echo.recv(&mut [0; 8]).is_err());
}

#[test]
fn a_network_needs_room_for_hosts() {
    for prefix in [0, 31, 32, 200] {
        let config = UserConfig {
            prefix,
            ..UserConfig::default()
        };
        assert!(matches!(
            UserNet::start(config),
            Err(NetError::Prefix { .. })
        ));
    }
}

#[test]
fn a_taken_address_cannot_be_forwarded() {
    let taken = TcpListener::bind(LOOPBACK).unwrap();
    let SocketAddr::V4(host) = taken.local_addr().unwrap() else {
        panic!()
    };
    let mut config = forwarding(Protocol::Tcp, 22, false);
    config.forwards[0].host = host;
    assert!(matches!(
        UserNet::start(config),
        Err(NetError::Forward { .. })
    ));
}

/// Frames that are nearly right: the network is there afterwards. `restrict` keeps what happens
/// to be well-formed off the host's network.
#[test]
fn hostile_frames_break_nothing() {
    let mut guest = Guest::new(UserConfig {
        restrict: true,
        ..UserConfig::default()
    });
    let mut seed = 99u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let to = SocketAddrV4::new(GATEWAY, 67);
    let hardware = (EthernetAddress([2; 6]), EthernetAddress([4; 6]));
    for round in 0..20_000u32 {
        let from = SocketAddrV4::new(GUEST, 68);
        let mut bytes = vec![0; (random() % 300) as usize];
        bytes.iter_mut().for_each(|byte| *byte = random() as u8);
        let mut frame = frame::datagram(hardware, from, to, &bytes).unwrap();
        if round % 4 != 0 {
            // Protocols and lengths, checksums wrong or by chance right.
            for _ in 0..random() % 4 {
                let at = (random() % 60) as usize % frame.len();
                frame[at] = random() as u8;
            }
            frame[23] = [1, 6, 17, 2][(random() % 4) as usize];
            frame.truncate((random() % 400) as usize);
        }
        frame::parse(&frame);
        guest.nic.net.send(&frame);
        if round % 512 == 0 {
            lock(&guest.nic.received.0).clear();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    lock(&guest.nic.received.0).clear();
    guest.interface.update_ip_addrs(|list| list.clear());
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    guest.until(|sockets| {
        let event = sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll()?;
        matches!(event, dhcpv4::Event::Configured(_)).then_some(())
    });
}
