//! Opens what is behind devices: disks, flash images, networks, sources of random numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use isomorph_block::{BlockBackend, OpenOptions};
use isomorph_boards::FlashImage;
use isomorph_net::{NetBackend, Unplugged, UserNet};

use crate::system::config::{Config, Disk, FlashFile, Function, Named, Netdev, RngSource};
use crate::system::error::SystemError;

/// Disks by the names of their options.
pub type Disks = BTreeMap<String, Arc<dyn BlockBackend>>;

/// Networks by the names of their options.
pub type Networks = BTreeMap<String, Arc<dyn NetBackend>>;

/// Reads a file that an option names.
pub fn read(named: &Named) -> Result<Vec<u8>, SystemError> {
    std::fs::read(&named.path)
        .map_err(|source| file_error(&named.origin, "read", &named.path, source))
}

fn file_error(
    origin: &str,
    action: &'static str,
    path: &Path,
    source: std::io::Error,
) -> SystemError {
    SystemError::File {
        origin: origin.to_owned(),
        action,
        path: path.to_owned(),
        source,
    }
}

/// Opens the disks that devices want; the others must at least be there.
pub fn open_disks(config: &Config) -> Result<Disks, SystemError> {
    let wanted = |disk: &Disk| {
        config.devices.iter().any(|device| match &device.function {
            Function::Blk { drive, .. } => *drive == disk.id,
            _ => false,
        })
    };
    let mut disks = Disks::new();
    for disk in &config.disks {
        if !wanted(disk) {
            std::fs::metadata(&disk.path)
                .map_err(|source| file_error(&disk.origin, "open", &disk.path, source))?;
            continue;
        }
        let options = OpenOptions {
            format: disk.format,
            read_only: disk.read_only,
            snapshot: disk.snapshot,
        };
        let opened = isomorph_block::open(&disk.path, options);
        let opened = opened.map_err(|source| SystemError::Disk {
            origin: disk.origin.clone(),
            source,
        })?;
        disks.insert(disk.id.clone(), opened);
    }
    Ok(disks)
}

/// An open flash image.
pub struct Flash {
    /// The image.
    pub image: Arc<dyn BlockBackend>,
    /// Its contents, for the board.
    pub contents: FlashImage,
}

/// Opens and reads the flash images.
pub fn open_flash(config: &Config) -> Result<[Option<Flash>; 2], SystemError> {
    let [first, second] = &config.flash;
    let open = |file: &Option<FlashFile>| file.as_ref().map(open_bank).transpose();
    Ok([open(first)?, open(second)?])
}

fn open_bank(flash: &FlashFile) -> Result<Flash, SystemError> {
    let failed = |source| SystemError::Disk {
        origin: flash.file.origin.clone(),
        source,
    };
    let options = OpenOptions {
        format: flash.format,
        read_only: flash.read_only,
        snapshot: flash.snapshot,
    };
    let image = isomorph_block::open(&flash.file.path, options).map_err(failed)?;
    // What is too large for a bank is refused by the board, which knows its size.
    let mut bytes = vec![0; image.capacity() as usize];
    image.read_at(&mut bytes, 0).map_err(failed)?;
    let read_only = flash.read_only;
    let contents = FlashImage { bytes, read_only };
    Ok(Flash { image, contents })
}

/// Starts the networks that devices want.
pub fn open_networks(config: &Config) -> Result<Networks, SystemError> {
    let mut networks = Networks::new();
    for netdev in wanted(config) {
        let started = UserNet::start(netdev.user.clone());
        let started = started.map_err(|source| SystemError::Net {
            origin: netdev.origin.clone(),
            source,
        })?;
        tell_ports(config, netdev, &started);
        networks.insert(netdev.id.clone(), Arc::new(started));
    }
    Ok(networks)
}

/// Tells which ports the host chose for forwards that leave it the choice.
fn tell_ports(config: &Config, netdev: &Netdev, network: &UserNet) {
    let forwards = netdev.user.forwards.iter().zip(network.forwards());
    for (forward, host) in forwards.filter(|(forward, _)| forward.host.port() == 0) {
        let (id, guest) = (&netdev.id, forward.guest.port());
        let text = format_args!("network {id}: port {guest} of the guest is {host}");
        config.speaker.say(text);
    }
}

/// Wires that lead nowhere, in place of networks.
pub fn unplugged(config: &Config) -> Networks {
    let wire = |netdev: &Netdev| {
        let wire: Arc<dyn NetBackend> = Arc::new(Unplugged);
        (netdev.id.clone(), wire)
    };
    wanted(config).map(wire).collect()
}

fn wanted(config: &Config) -> impl Iterator<Item = &Netdev> {
    config.netdevs.iter().filter(|netdev| {
        config.devices.iter().any(|device| match &device.function {
            Function::Net {
                netdev: Some(name), ..
            } => *name == netdev.id,
            _ => false,
        })
    })
}

/// Opens the source of random numbers of a name; the host's without a name.
pub fn open_source(config: &Config, name: Option<&str>) -> Result<File, SystemError> {
    let named = |source: &&RngSource| name == Some(source.id.as_str());
    let source = config.rngs.iter().find(named);
    let origin = source.map_or("-device virtio-rng", |source| &source.origin);
    let path = source.map_or(Path::new("/dev/urandom"), |source| &source.path);
    File::open(path).map_err(|source| file_error(origin, "open", path, source))
}
