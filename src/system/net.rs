//! Networks: `-netdev`, `-nic` and `-net`.

use std::net::{Ipv4Addr, SocketAddrV4};

use isomorph_net::{Forward, Protocol, UserConfig};

use crate::system::builder::{Builder, Given, Shown};
use crate::system::config::{Device, Function, Netdev, Place};
use crate::system::device::net_place;
use crate::system::error::SystemError;
use crate::system::keyval::Keyval;

const TYPES: &[(&str, ())] = &[("user", ())];

/// Properties of a user network that nothing stands behind.
const ABSENT: &[&str] = &[
    "guestfwd",
    "tftp",
    "bootfile",
    "tftp-server-name",
    "smb",
    "smbserver",
    "hostname",
    "dnssearch",
    "domainname",
    "ipv6-net",
    "ipv6-host",
    "ipv6-dns",
    "ipv6-prefix",
    "ipv6-prefixlen",
];

/// What `-nic` and `-net` say, until all of them are known.
#[derive(Debug, Default)]
pub struct Nics {
    /// Devices of `-nic`.
    devices: Vec<Device>,
    /// Networks that got no name.
    unnamed: usize,
    /// `-net user`: its network.
    user: Option<String>,
    /// `-net nic`: its device.
    nic: Option<Device>,
}

/// `-netdev`
pub fn netdev(builder: &mut Builder, given: Given<'_>) -> Result<Shown, SystemError> {
    let mut list = given.list(Some("type"))?;
    if list.wants_help() {
        return Ok(Some("Available netdev backend types:\nuser\n".to_owned()));
    }
    kind(&mut list, TYPES)?;
    let id = list.required("id")?;
    add(builder, &mut list, id)?;
    list.done("network `user`")?;
    Ok(None)
}

/// Reads the type, which must be known.
fn kind<T: Copy>(list: &mut Keyval, types: &[(&str, T)]) -> Result<T, SystemError> {
    let name = list.required("type")?;
    let found = types.iter().find(|(known, _)| *known == name);
    let found = found.ok_or_else(|| {
        let known = types.iter().map(|(name, _)| *name);
        SystemError::unknown(list.origin(), "network type", &name, known)
    })?;
    Ok(found.1)
}

fn add(builder: &mut Builder, list: &mut Keyval, id: String) -> Result<(), SystemError> {
    let origin = list.origin().to_owned();
    if builder.config.netdevs.iter().any(|other| other.id == id) {
        return Err(SystemError::Taken {
            origin,
            what: "the name",
            name: id,
        });
    }
    let user = user(list)?;
    builder.config.netdevs.push(Netdev { origin, id, user });
    Ok(())
}

/// A user network: hosts are numbered in its net as QEMU numbers them.
fn user(list: &mut Keyval) -> Result<UserConfig, SystemError> {
    let mut user = UserConfig::default();
    if let Some(text) = list.text("net") {
        let net = parse_net(&text);
        let (net, prefix) = net.ok_or_else(|| {
            list.wrong(
                "net",
                &text,
                "a network as 10.0.2.0/24, with room for 16 hosts",
            )
        })?;
        let host = |number: u32| Ipv4Addr::from(u32::from(net) | number);
        user.prefix = prefix;
        (user.gateway, user.dns, user.guest) = (host(2), host(3), host(15));
    }
    const ADDRESS: &str = "an address in the network";
    let same = |address: &Ipv4Addr| {
        let shift = 32 - u32::from(user.prefix);
        u32::from(*address) >> shift == u32::from(user.gateway) >> shift
    };
    let mut places = [
        ("host", user.gateway),
        ("dns", user.dns),
        ("dhcpstart", user.guest),
    ];
    for (key, address) in &mut places {
        if let Some(given) = list.parsed::<Ipv4Addr>(key, ADDRESS)? {
            if !same(&given) {
                return Err(list.wrong(key, &given.to_string(), ADDRESS));
            }
            *address = given;
        }
    }
    [user.gateway, user.dns, user.guest] = places.map(|(_, address)| address);
    user.restrict = list.switch("restrict")?.unwrap_or(false);
    list.fixed("ipv4", &["on"])?;
    list.fixed("ipv6", &["off"])?;
    list.absent(ABSENT, "the user network has no such service yet")?;
    for rule in list.all("hostfwd") {
        let forward = parse_forward(&rule);
        let expected = "tcp|udp:[address]:port-[address]:port";
        let forward = forward.ok_or_else(|| list.wrong("hostfwd", &rule, expected))?;
        user.forwards.push(forward);
    }
    Ok(user)
}

/// `address[/bits]` or `address/mask`; without either, 24 bits.
fn parse_net(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, mask) = text.split_once('/').unwrap_or((text, "24"));
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix = match mask.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let bits = u32::from(mask);
            let prefix = bits.leading_ones();
            (bits.checked_shl(prefix).unwrap_or(0) == 0).then_some(prefix)?
        }
        Err(_) => mask.parse().ok()?,
    };
    // With 28 bits the guest's usual address, the 15th, is the broadcast address.
    if !(1..=27).contains(&prefix) {
        return None;
    }
    let net = u32::from(address) & (u32::MAX << (32 - prefix));
    Some((Ipv4Addr::from(net), prefix as u8))
}

/// `[tcp|udp]:[address]:port-[address]:port`
fn parse_forward(text: &str) -> Option<Forward> {
    let (protocol, rest) = text.split_once(':')?;
    let protocol = match protocol {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (host, guest) = rest.split_once('-')?;
    let end = |text: &str| -> Option<SocketAddrV4> {
        let (address, port) = text.rsplit_once(':')?;
        let address = if address.is_empty() {
            Ipv4Addr::UNSPECIFIED
        } else {
            address.parse().ok()?
        };
        Some(SocketAddrV4::new(address, port.parse().ok()?))
    };
    Some(Forward {
        protocol,
        host: end(host)?,
        guest: end(guest).filter(|guest| guest.port() != 0)?,
    })
}

/// An Ethernet address that one device can have.
pub fn parse_mac(list: &mut Keyval, key: &str) -> Result<Option<[u8; 6]>, SystemError> {
    let Some(text) = list.text(key) else {
        return Ok(None);
    };
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .ok()
                .filter(|_| byte.len() <= 2)
        })
        .collect();
    let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    // The first bit sent marks groups.
    let mac = mac.filter(|mac| mac[0] & 1 == 0);
    mac.map(Some)
        .ok_or_else(|| list.wrong(key, &text, "an address as 52:54:00:12:34:56"))
}

/// What `-nic` and `-net` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    None,
    User,
    Nic,
}

/// `-nic`
pub fn nic(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(Some("type"))?;
    if kind(&mut list, &[("none", Net::None), ("user", Net::User)])? == Net::None {
        return list.done("-nic none");
    }
    let device = nic_device(&mut list)?;
    let name = name(builder, &mut list);
    add(builder, &mut list, name.clone())?;
    list.done("-nic user")?;
    builder.nics.devices.push(with_network(device, name));
    Ok(())
}

/// `-net`
pub fn net(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(Some("type"))?;
    let types = [("none", Net::None), ("user", Net::User), ("nic", Net::Nic)];
    let taken = |name: &str| SystemError::Taken {
        origin: given.origin.to_owned(),
        what: "-net",
        name: name.to_owned(),
    };
    match kind(&mut list, &types)? {
        Net::None => {}
        Net::User if builder.nics.user.is_some() => return Err(taken("user")),
        Net::Nic if builder.nics.nic.is_some() => return Err(taken("nic")),
        Net::User => {
            let name = name(builder, &mut list);
            add(builder, &mut list, name.clone())?;
            builder.nics.user = Some(name);
        }
        Net::Nic => builder.nics.nic = Some(nic_device(&mut list)?),
    }
    list.done("-net")
}

fn name(builder: &mut Builder, list: &mut Keyval) -> String {
    list.text("id").unwrap_or_else(|| {
        let number = builder.nics.unnamed;
        builder.nics.unnamed += 1;
        format!("#net{number}")
    })
}

fn nic_device(list: &mut Keyval) -> Result<Device, SystemError> {
    let place = match list.text("model") {
        None => Place::Pci(None),
        Some(model) => net_place(list.origin(), &model)?,
    };
    let mac = match parse_mac(list, "macaddr")? {
        Some(mac) => Some(mac),
        None => parse_mac(list, "mac")?,
    };
    Ok(Device {
        origin: list.origin().to_owned(),
        id: None,
        place,
        function: Function::Net { netdev: None, mac },
    })
}

fn with_network(mut device: Device, name: String) -> Device {
    if let Function::Net { netdev, .. } = &mut device.function {
        *netdev = Some(name);
    }
    device
}

/// Devices of `-nic` and `-net` come before all others.
pub fn finish(builder: &mut Builder) -> Result<(), SystemError> {
    let nics = std::mem::take(&mut builder.nics);
    let mut devices = nics.devices;
    match (nics.nic, nics.user) {
        (Some(device), Some(name)) => devices.push(with_network(device, name)),
        (Some(device), None) => devices.push(device),
        (None, _) => {}
    }
    devices.append(&mut builder.config.devices);
    builder.config.devices = devices;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{config, error, warnings};

    fn user_of(line: &str) -> UserConfig {
        let mut netdevs = config(line).netdevs;
        assert_eq!(netdevs.len(), 1, "{line}");
        netdevs.remove(0).user
    }

    #[test]
    fn hosts_are_numbered_in_their_network() {
        let user = user_of("-netdev user,id=n,net=192.168.76.0/24");
        assert_eq!(user.gateway, Ipv4Addr::new(192, 168, 76, 2));
        assert_eq!(user.dns, Ipv4Addr::new(192, 168, 76, 3));
        assert_eq!(user.guest, Ipv4Addr::new(192, 168, 76, 15));
        let user = user_of("-netdev user,id=n,net=10.9.0.0/255.255.0.0,host=10.9.1.1,restrict=on");
        assert_eq!(
            (user.prefix, user.gateway),
            (16, Ipv4Addr::new(10, 9, 1, 1))
        );
        assert!(user.restrict);
        let user = user_of("-netdev user,id=n,dhcpstart=10.0.2.9,dns=10.0.2.4");
        assert_eq!(user.guest, Ipv4Addr::new(10, 0, 2, 9));
        for bad in [
            "net=1.2.3",
            "net=10.0.2.0/29",
            "net=1.2.3.4/255.0.255.0",
            "host=10.0.3.1",
        ] {
            error(&format!("-netdev user,id=n,{bad}"));
        }
    }

    #[test]
    fn forwards() {
        let user = user_of(
            "-netdev user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-10.0.2.9:5353",
        );
        let ends: Vec<_> = user.forwards.iter().map(|f| (f.host, f.guest)).collect();
        let address = |text: &str| text.parse::<SocketAddrV4>().expect("an address");
        assert_eq!(ends[0], (address("0.0.0.0:2222"), address("0.0.0.0:22")));
        assert_eq!(ends[1], (address("127.0.0.1:53"), address("10.0.2.9:5353")));
        assert_eq!(user.forwards[1].protocol, Protocol::Udp);
        for bad in [
            "foo",
            "tcp::22",
            "tcp::x-:22",
            "icmp::1-:1",
            "tcp::1-:0",
            "tcp:a:1-:2",
        ] {
            let text = error(&format!("-netdev user,id=n,hostfwd={bad}"));
            assert!(text.contains(bad) && text.contains("tcp|udp"), "{text}");
        }
    }

    #[test]
    fn nics_bring_devices_before_all_others() {
        let config = config(
            "-device virtio-rng-pci -nic user,model=virtio-net-device,mac=02:00:00:00:00:02",
        );
        let net = Function::Net {
            netdev: Some("#net0".to_owned()),
            mac: Some([2, 0, 0, 0, 0, 2]),
        };
        assert_eq!(config.devices[0].function, net);
        assert_eq!(config.devices[0].place, Place::Mmio(None));
        assert!(
            super::tests::config("-nic none -net none")
                .devices
                .is_empty()
        );
    }

    #[test]
    fn the_older_form() {
        let config = config(
            "-net user,hostfwd=tcp::1-:2 -net nic,model=virtio-net-pci,macaddr=02:00:00:00:00:03",
        );
        assert_eq!(config.devices.len(), 1);
        assert_eq!(config.netdevs[0].user.forwards.len(), 1);
    }

    #[test]
    fn mistakes() {
        assert!(error("-netdev user").contains("`id=` is missing"));
        assert!(error("-netdev usr,id=a").contains("did you mean `user`?"));
        assert!(error("-netdev tap,id=a").contains("network type `tap`"));
        assert!(error("-netdev user,id=a,hostfw=1").contains("did you mean `hostfwd`?"));
        assert!(error("-netdev user,id=a,tftp=/x").contains("`tftp=`"));
        assert!(error("-nic user,model=e1000").contains("network device `e1000`"));
        assert!(error("-nic user,mac=01:00:00:00:00:00").contains("52:54:00"));
        assert!(error("-net user -net user").contains("`user` is taken"));
        assert!(warnings("-netdev user,id=a")[0].contains("no device uses it"));
    }
}
