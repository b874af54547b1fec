//! Plugs devices into the board.

use std::collections::BTreeSet;
use std::sync::Arc;

use isomorph_boards::Virt;
use isomorph_chardev::{CharBackend, Null};
use isomorph_devices::virtio::VirtioDevice;
use isomorph_devices::virtio::balloon::{Balloon, release_to_host};
use isomorph_devices::virtio::blk::{Blk, Cache};
use isomorph_devices::virtio::console::Console;
use isomorph_devices::virtio::net::Net;
use isomorph_devices::virtio::rng::Rng;
use isomorph_net::{NetBackend, Unplugged};
use isomorph_softmmu::DmaMemory;

use crate::system::backends::{self, Disks, Networks};
use crate::system::config::{Config, Device, Function, Place};
use crate::system::error::SystemError;
use crate::system::lines::Lines;

type Virtio = Box<dyn VirtioDevice<DmaMemory>>;

/// The first Ethernet address that is given out, as QEMU's.
const FIRST_MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// virtio-mmio transports of the board.
const TRANSPORTS: u32 = 8;

/// What is behind devices.
pub struct Ends<'a> {
    /// Disks.
    pub disks: &'a Disks,
    /// Networks.
    pub networks: &'a Networks,
    /// Lines.
    pub lines: &'a Lines,
}

/// Plugs all devices in, in their order.
pub fn attach(board: &mut Virt, config: &Config, ends: &Ends<'_>) -> Result<(), SystemError> {
    let mut transports = BTreeSet::new();
    let mut macs = Macs::new(config);
    for device in &config.devices {
        let virtio = make(board, config, device, ends, &mut macs)?;
        let placed = match device.place {
            Place::Pci(slot) => board.attach_pci(slot, virtio).map(drop),
            Place::Mmio(number) => {
                let number = transport(device, number, &mut transports)?;
                board.attach_mmio(number, virtio)
            }
        };
        placed.map_err(|source| SystemError::Place {
            origin: device.origin.clone(),
            source,
        })?;
    }
    Ok(())
}

/// The transport of a device: as in QEMU, the free one with the highest number if none is given.
fn transport(
    device: &Device,
    number: Option<u32>,
    taken: &mut BTreeSet<u32>,
) -> Result<u32, SystemError> {
    let free = || (0..TRANSPORTS).rev().find(|number| !taken.contains(number));
    let chosen = number.or_else(free);
    let chosen = chosen.ok_or_else(|| SystemError::Conflict {
        origin: device.origin.clone(),
        problem: "all eight virtio-mmio transports are taken",
    })?;
    if taken.insert(chosen) {
        return Ok(chosen);
    }
    Err(SystemError::Taken {
        origin: device.origin.clone(),
        what: "bus",
        name: format!("virtio-mmio-bus.{chosen}"),
    })
}

fn make(
    board: &Virt,
    config: &Config,
    device: &Device,
    ends: &Ends<'_>,
    macs: &mut Macs,
) -> Result<Virtio, SystemError> {
    // Names were checked when the command line ended: one that is missing leads nowhere.
    Ok(match &device.function {
        Function::Blk {
            drive,
            serial,
            write_through,
        } => {
            let missing = || SystemError::no_such(&device.origin, "disk", drive, []);
            let disk = ends.disks.get(drive).cloned().ok_or_else(missing)?;
            let cache = cache(config, drive, *write_through);
            Box::new(Blk::new(disk, serial).with_cache(cache))
        }
        Function::Net { netdev, mac } => {
            let network = netdev.as_ref().and_then(|name| ends.networks.get(name));
            let network = network.cloned();
            let network = network.unwrap_or_else(|| Arc::new(Unplugged) as Arc<dyn NetBackend>);
            Box::new(Net::new(network, mac.unwrap_or_else(|| macs.next())))
        }
        Function::Rng { source } => {
            let source = backends::open_source(config, source.as_deref())?;
            Box::new(Rng::new(Box::new(source)))
        }
        Function::Balloon => Box::new(Balloon::new(release_to_host(board.space())).0),
        Function::Console { chardev } => {
            let line = chardev.as_ref().and_then(|name| ends.lines.get(name));
            let line = line.cloned();
            Box::new(Console::new(
                line.unwrap_or_else(|| Arc::new(Null) as Arc<dyn CharBackend>),
            ))
        }
    })
}

fn cache(config: &Config, drive: &str, write_through: bool) -> Cache {
    let disk = config.disks.iter().find(|disk| disk.id == drive);
    match disk.map_or(Cache::WriteBack, |disk| disk.cache) {
        Cache::WriteBack if write_through => Cache::WriteThrough,
        cache => cache,
    }
}

/// Gives out Ethernet addresses that no option has.
struct Macs {
    given: Vec<[u8; 6]>,
    next: [u8; 6],
}

impl Macs {
    fn new(config: &Config) -> Self {
        let given = config
            .devices
            .iter()
            .filter_map(|device| match device.function {
                Function::Net { mac, .. } => mac,
                _ => None,
            });
        Self {
            given: given.collect(),
            next: FIRST_MAC,
        }
    }

    fn next(&mut self) -> [u8; 6] {
        loop {
            let mac = self.next;
            self.next[5] = self.next[5].wrapping_add(1);
            if !self.given.contains(&mac) {
                return mac;
            }
        }
    }
}
