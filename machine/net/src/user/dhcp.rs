//! The DHCP server: one address, for whoever asks (RFC 2131).

use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use super::UserConfig;

/// Seconds that a lease lasts; nothing takes it away.
const LEASE: u32 = 86_400;

/// The answer to `request`, if it deserves one.
pub(crate) fn answer(config: &UserConfig, request: &[u8]) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(request).ok()?;
    let request = DhcpRepr::parse(&packet).ok()?;
    let mine = request
        .server_identifier
        .is_none_or(|server| server == config.gateway);
    if !mine {
        return None;
    }
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => {
            let bound = (!request.client_ip.is_unspecified()).then_some(request.client_ip);
            match request.requested_ip.or(bound) {
                Some(wanted) if wanted != config.guest => DhcpMessageType::Nak,
                _ => DhcpMessageType::Ack,
            }
        }
        DhcpMessageType::Inform => DhcpMessageType::Ack,
        _ => return None,
    };
    emit(&reply(config, &request, message_type))
}

fn reply<'a>(
    config: &UserConfig,
    request: &DhcpRepr<'_>,
    message_type: DhcpMessageType,
) -> DhcpRepr<'a> {
    let gives = message_type != DhcpMessageType::Nak;
    let leases = gives && request.message_type != DhcpMessageType::Inform;
    let mut servers = None;
    if gives {
        let list = servers.get_or_insert_with(Default::default);
        push(list, config.dns);
    }
    let mask = Ipv4Addr::from(u32::MAX << (32 - u32::from(config.prefix)));
    DhcpRepr {
        message_type,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: if leases {
            config.guest
        } else {
            Ipv4Addr::UNSPECIFIED
        },
        server_ip: config.gateway,
        router: gives.then_some(config.gateway),
        subnet_mask: gives.then_some(mask),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: request.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(config.gateway),
        parameter_request_list: None,
        dns_servers: servers,
        max_size: None,
        lease_duration: leases.then_some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    }
}

/// The list's type has room for three and is not ours to name.
fn push(list: &mut impl Extend<Ipv4Addr>, server: Ipv4Addr) {
    list.extend([server]);
}

fn emit(reply: &DhcpRepr<'_>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; reply.buffer_len()];
    reply
        .emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
        .ok()?;
    Some(bytes)
}
