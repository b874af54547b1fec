//! The user network: frames of a hostile guest, peers on the loopback.
//!
//! Frames whose bytes are all the input's go to a network that is restricted. Others get their IP
//! header from here, so that they lead to sockets of ours and nowhere else.

use crate::{Input, Script};
use isomorph_net::{FRAME_MAX, Forward, FrameSink, NetBackend, Protocol, UserConfig, UserNet};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Most steps of an input.
const STEPS: usize = 64;
/// No answer for so long is a hang.
const PATIENCE: Duration = Duration::from_secs(8);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY: [u8; 4] = [10, 0, 2, 2];
const DNS: [u8; 4] = [10, 0, 2, 3];
const GUEST: [u8; 4] = [10, 0, 2, 15];
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The flag of a segment that acknowledges.
const ACK: u8 = 0x10;
/// Bytes of the Ethernet and of the IP header before a segment.
const HEADERS: usize = 34;

const RAW: u8 = 0;
const PACKET: u8 = 1;
const FOLLOW: u8 = 2;
const DHCP: u8 = 3;
const CONNECT: u8 = 4;
const DATAGRAM: u8 = 5;
const WAIT: u8 = 6;
const KINDS_OF_STEPS: u8 = 7;

const RESTRICTED: u8 = 1;
const FORWARDS: u8 = 2;

/// The input: which network, then steps.
pub fn run(bytes: &[u8]) {
    let Some(peers) = Peers::get() else { return };
    let mut input = Input::new(bytes);
    let mode = input.u8();
    let Some(mut guest) = Guest::new(mode, peers) else {
        return;
    };
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        guest.step(&mut input);
    }
    guest.wait();
    drop(guest);
    peers.clear();
}

/// What the guest reaches: sockets of this process.
struct Peers {
    tcp: TcpListener,
    udp: UdpSocket,
    ports: [u16; 2],
}

impl Peers {
    fn get() -> Option<&'static Self> {
        static PEERS: OnceLock<Option<Peers>> = OnceLock::new();
        PEERS.get_or_init(|| Peers::new().ok()).as_ref()
    }

    fn new() -> std::io::Result<Self> {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        let ports = [tcp.local_addr()?.port(), udp.local_addr()?.port()];
        Ok(Self { tcp, udp, ports })
    }

    /// Forgets what came.
    fn clear(&self) {
        while self.tcp.accept().is_ok() {}
        while self.udp.recv(&mut [0; 2048]).is_ok() {}
    }
}

/// The guest's card: the last frames that came.
#[derive(Default)]
struct Card {
    state: Mutex<Received>,
    changed: Condvar,
}

#[derive(Default)]
struct Received {
    /// Answers of the gateway to questions for its address.
    answers: u64,
    /// The last TCP segment, from its Ethernet header on.
    segment: Vec<u8>,
}

impl Card {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FrameSink for Card {
    fn deliver(&self, frame: &[u8]) -> bool {
        assert!(frame.len() <= FRAME_MAX, "a frame that no wire takes");
        let mut state = self.lock();
        match (frame.get(12..14), frame.get(23)) {
            (Some([8, 6]), _) if frame.get(..6) == Some(&MAC[..]) => {
                let answer = frame.get(20..22) == Some(&[0, 2]);
                state.answers += u64::from(answer);
                self.changed.notify_all();
            }
            (Some([8, 0]), Some(&TCP)) => state.segment = frame.to_vec(),
            _ => {}
        }
        true
    }
}

struct Guest {
    net: UserNet,
    card: Arc<Card>,
    restricted: bool,
    peers: &'static Peers,
    connections: Vec<TcpStream>,
}

impl Guest {
    fn new(mode: u8, peers: &'static Peers) -> Option<Self> {
        let restricted = mode & RESTRICTED != 0;
        let forward = |protocol| Forward {
            protocol,
            host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            guest: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80),
        };
        let forwards = match mode & FORWARDS {
            0 => Vec::new(),
            _ => vec![forward(Protocol::Tcp), forward(Protocol::Udp)],
        };
        let config = UserConfig {
            resolver: Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, peers.ports[1])),
            restrict: restricted,
            forwards,
            ..UserConfig::default()
        };
        let net = UserNet::start(config).ok()?;
        let card = Arc::<Card>::default();
        net.attach(card.clone());
        Some(Self {
            net,
            card,
            restricted,
            peers,
            connections: Vec::new(),
        })
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % KINDS_OF_STEPS {
            RAW => {
                let length = input.u16() % 1600;
                let mut frame = input.bytes(length.into()).to_vec();
                if self.restricted {
                    mend(&mut frame);
                    self.net.send(&frame);
                }
            }
            PACKET => {
                let (to, protocol, length) = (input.u8(), input.u8(), input.u8());
                let body = input.bytes(length.into()).to_vec();
                self.packet(to, protocol, body);
            }
            FOLLOW => self.follow(input),
            DHCP => {
                let length = input.u16() % 1400;
                let mut body = vec![0, 68, 0, 67, 0, 0, 0, 0];
                body.extend(input.bytes(length.into()));
                let frame = frame([255; 4], UDP, body);
                self.net.send(&frame);
            }
            CONNECT => self.connect(input),
            DATAGRAM => {
                let count = input.u8();
                let bytes = input.bytes(count.into());
                if let Some(SocketAddr::V4(to)) = self.net.forwards().get(1) {
                    // A datagram may be lost.
                    let _ = self.peers.udp.send_to(bytes, to);
                }
            }
            WAIT => self.wait(),
            _ => {}
        }
    }

    /// A packet whose ports, if it has any, are those of our peers.
    fn packet(&self, to: u8, protocol: u8, mut body: Vec<u8>) {
        let (target, ports) = match to % 4 {
            0 => (GATEWAY, self.peers.ports),
            1 => (DNS, [53; 2]),
            2 => ([10, 0, 2, to], [80; 2]),
            _ => (GUEST, [80; 2]),
        };
        let protocol = match protocol % 4 {
            0 => TCP,
            1 => UDP,
            2 => 1,
            _ => protocol,
        };
        let port = ports[usize::from(protocol == UDP)].to_be_bytes();
        if protocol == TCP || protocol == UDP {
            body.resize(body.len().max(4), 0);
            body[2..4].copy_from_slice(&port);
        }
        let frame = frame(target, protocol, body);
        self.net.send(&frame);
    }

    /// A segment of the connection that the network spoke of last, with numbers that fit.
    fn follow(&self, input: &mut Input<'_>) {
        let (flags, shift, window) = (input.u8(), input.u8(), input.u16());
        let length = input.u8();
        let data = input.bytes(length.into());
        self.wait();
        let last = self.card.lock().segment.clone();
        let Some(tcp) = last.get(HEADERS..HEADERS + 20) else {
            return;
        };
        let source: [u8; 4] = [last[26], last[27], last[28], last[29]];
        let number =
            |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let header = usize::from(tcp[12] >> 4) * 4;
        let total = usize::from(u16::from_be_bytes([last[16], last[17]]));
        let carried = total.saturating_sub(20 + header) + usize::from(tcp[13] & 3 != 0);
        let next = number(4).wrapping_add(carried as u32);
        let mine = number(8).wrapping_add((shift as i8) as u32);
        let mut body = [&tcp[2..4], &tcp[..2]].concat();
        body.extend(mine.to_be_bytes());
        body.extend(next.to_be_bytes());
        // A request for a new connection might lead to a port that is not ours.
        let answers = if self.restricted { 0 } else { ACK };
        body.extend([0x50, flags | answers]);
        body.extend(window.to_be_bytes());
        body.extend([0; 4]);
        body.extend(data);
        // Whoever spoke was reachable: the gateway, the name server, or a peer of ours.
        let frame = frame(source, TCP, body);
        self.net.send(&frame);
    }

    /// A peer opens a connection to the guest, speaks, and goes or stays.
    fn connect(&mut self, input: &mut Input<'_>) {
        let (stays, count) = (input.u8() & 1 != 0, input.u8());
        let bytes = input.bytes(count.into());
        let Some(to) = self.net.forwards().first() else {
            return;
        };
        if let Ok(mut stream) = TcpStream::connect(to) {
            // The network may be gone already.
            let _ = stream.write(bytes);
            if stays {
                self.connections.push(stream);
            }
        }
    }

    /// Asks for the gateway's hardware address, and waits for the answer: the network has then
    /// seen everything before.
    fn wait(&self) {
        let before = self.card.lock().answers;
        let mut frame = [0xff; 42];
        frame[6..12].copy_from_slice(&MAC);
        frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame[22..28].copy_from_slice(&MAC);
        frame[28..32].copy_from_slice(&GUEST);
        frame[38..42].copy_from_slice(&GATEWAY);
        self.net.send(&frame);
        let state = self.card.lock();
        let waiting = |state: &mut Received| state.answers == before;
        let waited = self
            .card
            .changed
            .wait_timeout_while(state, PATIENCE, waiting);
        let waited = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.1.timed_out(), "the network does not answer");
    }
}

/// A frame from the guest to the gateway with one IP packet.
fn frame(target: [u8; 4], protocol: u8, body: Vec<u8>) -> Vec<u8> {
    let total = (20 + body.len()) as u16;
    let mut frame = vec![0x52, 0x55, 0x0a, 0, 2, 2];
    frame.extend(MAC);
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(if target == GUEST { GATEWAY } else { GUEST });
    frame.extend(target);
    frame.extend(body);
    mend(&mut frame);
    frame
}

/// Puts right the checksums of an IP packet, as far as it has any: chance would not.
fn mend(frame: &mut [u8]) {
    if frame.len() < HEADERS || frame[12..14] != [8, 0] {
        return;
    }
    let header = usize::from(frame[14] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let end = 14 + total;
    if header < 20 || total < header || end > frame.len() {
        return;
    }
    frame[24..26].fill(0);
    let sum = checksum(0, &frame[14..14 + header]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let protocol = frame[23];
    let at = 14
        + header
        + match protocol {
            TCP => 16,
            UDP => 6,
            1 => 2,
            _ => return,
        };
    if at + 2 > end {
        return;
    }
    if protocol == UDP {
        // The length in the header is the input's to choose, unless it is none.
        if frame[at - 2..at] == [0, 0] {
            frame[at - 2..at].copy_from_slice(&((total - header) as u16).to_be_bytes());
        }
        frame[at..at + 2].fill(0);
        return;
    }
    frame[at..at + 2].fill(0);
    let body = &frame[14 + header..end];
    let pseudo = match protocol {
        TCP => u32::from(TCP) + body.len() as u32 + words(&frame[26..34]),
        _ => 0,
    };
    let sum = checksum(pseudo, body);
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn words(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    pairs.map(word).sum()
}

/// The Internet checksum (RFC 1071).
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start + words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Frames of every kind, and connections both ways.
pub fn seeds() -> Vec<Vec<u8>> {
    let raw = |frame: &[u8]| {
        let script = Script::new().u8(RESTRICTED | FORWARDS);
        script.u8(RAW).u16(frame.len() as u16).bytes(frame).end()
    };
    let packet = |script: Script, to: u8, protocol: u8, body: &[u8]| {
        let script = script.bytes(&[PACKET, to, protocol, body.len() as u8]);
        script.bytes(body)
    };
    let follow = |script: Script, flags: u8, data: &[u8]| {
        let script = script.bytes(&[FOLLOW, flags, 0, 0, 0x20, data.len() as u8]);
        script.bytes(data)
    };
    let syn = [
        0x10, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0,
    ];
    let datagram = [0x10, 2, 0, 0, 0, 0, 0, 0, b'h', b'i'];
    let mut fragment = frame(GATEWAY, UDP, vec![0; 64]);
    fragment[20] = 0x20;
    let mut dhcp = vec![1, 1, 6, 0, 1, 2, 3, 4];
    dhcp.resize(236, 0);
    dhcp[28..34].copy_from_slice(&MAC);
    dhcp.extend([99, 130, 83, 99, 53, 1, 1, 55, 2, 1, 3, 255]);
    let plain = || Script::new().u8(0);
    let opened = follow(packet(plain(), 0, 0, &syn), 0x10, b"");
    let closed = follow(follow(opened.clone(), 0x18, b"data"), 0x11, b"");
    let incoming = Script::new()
        .u8(FORWARDS)
        .bytes(&[CONNECT, 1, 2, b'h', b'i', WAIT]);
    let incoming = follow(incoming, 0x12, b"");
    let echo = [8, 0, 0, 0, 0, 1, 0, 1, b'p'];
    vec![
        raw(&fragment),
        raw(&frame(GUEST, TCP, syn.to_vec())),
        raw(&[0xff; 60]),
        packet(plain(), 0, 1, &datagram).u8(WAIT).end(),
        packet(plain(), 1, 1, &datagram).end(),
        packet(plain(), 0, 2, &echo).end(),
        plain().u8(DHCP).u16(dhcp.len() as u16).bytes(&dhcp).end(),
        opened.end(),
        follow(closed, 0x10, b"").end(),
        follow(follow(incoming, 0x18, b"answer"), 0x14, b"").end(),
        Script::new()
            .u8(FORWARDS)
            .bytes(&[DATAGRAM, 2, b'h', b'i', WAIT])
            .end(),
    ]
}
