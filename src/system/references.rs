//! What options say of each other: every name leads somewhere, and no end is used twice.

use std::collections::BTreeSet;

use crate::system::builder::Builder;
use crate::system::config::{Config, Function};
use crate::system::error::SystemError;

/// One kind of back end: its name for errors, and the names that there are.
struct Ends<'a> {
    what: &'static str,
    known: Vec<&'a str>,
    used: BTreeSet<String>,
}

impl<'a> Ends<'a> {
    fn new(what: &'static str, known: impl Iterator<Item = &'a String>) -> Self {
        Self {
            what,
            known: known.map(String::as_str).collect(),
            used: BTreeSet::new(),
        }
    }

    fn find(&self, origin: &str, name: &str) -> Result<(), SystemError> {
        if self.known.contains(&name) {
            return Ok(());
        }
        let known = self.known.iter().copied();
        Err(SystemError::no_such(origin, self.what, name, known))
    }

    fn take(&mut self, origin: &str, name: &str) -> Result<(), SystemError> {
        self.find(origin, name)?;
        if self.used.insert(name.to_owned()) {
            return Ok(());
        }
        Err(SystemError::Taken {
            origin: origin.to_owned(),
            what: self.what,
            name: name.to_owned(),
        })
    }
}

/// Checks all names, and warns of networks that lead nowhere.
pub fn check(builder: &mut Builder) -> Result<(), SystemError> {
    let Config {
        disks,
        netdevs,
        chardevs,
        rngs,
        devices,
        serial,
        ..
    } = &builder.config;
    let mut disk = Ends::new("disk", disks.iter().map(|disk| &disk.id));
    let mut network = Ends::new("network", netdevs.iter().map(|netdev| &netdev.id));
    let mut line = Ends::new("chardev", chardevs.iter().map(|chardev| &chardev.id));
    let source = Ends::new("object", rngs.iter().map(|rng| &rng.id));
    if let Some(name) = serial {
        line.take(&format!("-serial chardev:{name}"), name)?;
    }
    for device in devices {
        let origin = &device.origin;
        match &device.function {
            Function::Blk { drive, .. } => disk.take(origin, drive)?,
            Function::Net {
                netdev: Some(name), ..
            } => network.take(origin, name)?,
            Function::Console {
                chardev: Some(name),
            } => line.take(origin, name)?,
            Function::Rng { source: Some(name) } => source.find(origin, name)?,
            _ => {}
        }
    }
    let unused = netdevs.iter().filter(|net| !network.used.contains(&net.id));
    for netdev in unused {
        let warning = format!("{}: no device uses it", netdev.origin);
        builder.warnings.push(warning);
    }
    Ok(())
}
