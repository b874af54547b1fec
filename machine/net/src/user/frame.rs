//! Frames, taken apart and put together.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet,
    TcpPacket, UdpPacket, UdpRepr,
};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// The largest payload of a datagram that fits one frame.
pub(crate) const DATAGRAM_MAX: usize = crate::FRAME_MAX - ETHERNET - IPV4 - UDP;
const HOP_LIMIT: u8 = 64;

/// What a frame from the guest is, as far as the network cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A question for the hardware address of `target`.
    Arp { target: Ipv4Addr },
    /// A datagram.
    Udp {
        from: SocketAddrV4,
        to: SocketAddrV4,
        data: &'a [u8],
    },
    /// A TCP segment; `opens` if it asks for a new connection.
    Tcp {
        from: SocketAddrV4,
        to: SocketAddrV4,
        opens: bool,
    },
    /// An ICMP packet.
    Icmp { to: Ipv4Addr },
}

/// The sender of a frame and what it is; `None` for what is malformed or of no interest.
pub(crate) fn parse(frame: &[u8]) -> Option<(EthernetAddress, Kind<'_>)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let sender = ethernet.src_addr();
    let payload = frame.get(ETHERNET..)?;
    if !sender.is_unicast() {
        return None;
    }
    let kind = match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(payload).ok()?;
            let target: [u8; 4] = arp.target_protocol_addr().try_into().ok()?;
            Kind::Arp {
                target: target.into(),
            }
        }
        EthernetProtocol::Ipv4 => parse_ipv4(payload)?,
        _ => return None,
    };
    Some((sender, kind))
}

fn parse_ipv4(payload: &[u8]) -> Option<Kind<'_>> {
    let packet = Ipv4Packet::new_checked(payload).ok()?;
    let whole = !packet.more_frags() && packet.frag_offset() == 0;
    if packet.version() != 4 || !packet.verify_checksum() || !whole {
        return None;
    }
    let (source, target) = (packet.src_addr(), packet.dst_addr());
    let inner = payload.get(usize::from(packet.header_len())..usize::from(packet.total_len()))?;
    let addresses = (IpAddress::Ipv4(source), IpAddress::Ipv4(target));
    let sockets = |from, to| {
        (
            SocketAddrV4::new(source, from),
            SocketAddrV4::new(target, to),
        )
    };
    Some(match packet.next_header() {
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(inner).ok()?;
            if !udp.verify_checksum(&addresses.0, &addresses.1) {
                return None;
            }
            let (from, to) = sockets(udp.src_port(), udp.dst_port());
            Kind::Udp {
                from,
                to,
                data: inner.get(UDP..usize::from(udp.len()))?,
            }
        }
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(inner).ok()?;
            let (from, to) = sockets(tcp.src_port(), tcp.dst_port());
            Kind::Tcp {
                from,
                to,
                opens: tcp.syn() && !tcp.ack() && !tcp.rst(),
            }
        }
        IpProtocol::Icmp => Kind::Icmp { to: target },
        _ => return None,
    })
}

/// A frame with one datagram, or `None` if it does not fit.
pub(crate) fn datagram(
    hardware: (EthernetAddress, EthernetAddress),
    from: SocketAddrV4,
    to: SocketAddrV4,
    data: &[u8],
) -> Option<Vec<u8>> {
    if data.len() > DATAGRAM_MAX {
        return None;
    }
    let mut bytes = vec![0; ETHERNET + IPV4 + UDP + data.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.set_src_addr(hardware.0);
    ethernet.set_dst_addr(hardware.1);
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    packet.set_version(4);
    packet.set_header_len(IPV4 as u8);
    packet.set_total_len((IPV4 + UDP + data.len()) as u16);
    packet.set_dont_frag(true);
    packet.set_hop_limit(HOP_LIMIT);
    packet.set_next_header(IpProtocol::Udp);
    packet.set_src_addr(*from.ip());
    packet.set_dst_addr(*to.ip());
    packet.fill_checksum();
    let repr = UdpRepr {
        src_port: from.port(),
        dst_port: to.port(),
    };
    repr.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(*from.ip()),
        &IpAddress::Ipv4(*to.ip()),
        data.len(),
        |payload| payload.copy_from_slice(data),
        &ChecksumCapabilities::default(),
    );
    Some(bytes)
}
