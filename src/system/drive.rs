//! Disks and flash banks: `-drive`, `-pflash` and `-blockdev`.

use std::path::PathBuf;

use isomorph_block::Format;
use isomorph_devices::virtio::blk::Cache;

use crate::system::builder::{Builder, Given};
use crate::system::config::{Device, Disk, FlashFile, Function, Named, Place};
use crate::system::error::SystemError;
use crate::system::keyval::Keyval;

/// What a `-drive` is plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interface {
    None,
    Virtio,
    Pflash,
    /// Nothing that the machine has.
    Absent,
}

const INTERFACES: &[(&str, Interface)] = &[
    ("none", Interface::None),
    ("virtio", Interface::Virtio),
    ("pflash", Interface::Pflash),
    ("ide", Interface::Absent),
    ("scsi", Interface::Absent),
    ("sd", Interface::Absent),
    ("mtd", Interface::Absent),
    ("floppy", Interface::Absent),
];

const FORMATS: &[(&str, Format)] = &[("raw", Format::Raw), ("qcow2", Format::Qcow2)];

/// Cache modes. The host's cache is always used: `none` and `directsync` differ from the modes
/// beside them only in that.
const CACHES: &[(&str, Cache)] = &[
    ("writeback", Cache::WriteBack),
    ("none", Cache::WriteBack),
    ("writethrough", Cache::WriteThrough),
    ("directsync", Cache::WriteThrough),
    ("unsafe", Cache::Unsafe),
];

/// Properties that change nothing that a guest can see.
const IGNORED: &[&str] = &[
    "aio",
    "bus",
    "index",
    "detect-zeroes",
    "discard",
    "node-name",
];

/// `-drive`
pub fn drive(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let mut list = given.list(None)?;
    let interface = list.choice("if", INTERFACES)?.unwrap_or(Interface::None);
    if interface == Interface::Absent {
        let reason = "the machine has no such drives: use if=virtio";
        return Err(SystemError::unsupported(given.origin, reason));
    }
    let path = match list.text("file.filename") {
        Some(path) => path,
        None => list.required("file")?,
    };
    let read_only = read_only(&mut list)?;
    let cdrom = list.choice("media", &[("disk", false), ("cdrom", true)])?;
    let format = match list.choice("driver", FORMATS)? {
        Some(format) => Some(format),
        None => list.choice("format", FORMATS)?,
    };
    let snapshot = list.switch("snapshot")?.unwrap_or(false);
    let id = list.text("id");
    let unit = list.number::<usize>("unit")?;
    let cache = list.choice("cache", CACHES)?.unwrap_or_default();
    list.fixed("werror", &["report", "enospc"])?;
    list.fixed("rerror", &["report"])?;
    list.fixed("copy-on-read", &["off"])?;
    list.ignored(IGNORED);
    list.done("-drive")?;
    let read_only = read_only || cdrom == Some(true);
    if interface == Interface::Pflash {
        let file = Named {
            origin: given.origin.to_owned(),
            path: path.into(),
        };
        let snapshot = snapshot || builder.snapshot;
        let bank = FlashFile {
            file,
            format,
            read_only,
            snapshot,
        };
        return flash(builder, unit, bank);
    }
    let id = id.unwrap_or_else(|| {
        let prefix = if interface == Interface::Virtio {
            "virtio"
        } else {
            "none"
        };
        format!("{prefix}{}", builder.config.disks.len())
    });
    add(
        builder,
        Disk {
            origin: given.origin.to_owned(),
            id: id.clone(),
            path: path.into(),
            format,
            read_only,
            snapshot,
            cache,
        },
    )?;
    builder.loose_disks.push(id.clone());
    if interface == Interface::Virtio {
        builder.drive_devices.push(Device {
            origin: given.origin.to_owned(),
            id: None,
            place: Place::Pci(None),
            function: Function::Blk {
                drive: id,
                serial: String::new(),
                write_through: false,
            },
        });
    }
    Ok(())
}

fn read_only(list: &mut Keyval) -> Result<bool, SystemError> {
    let old = list.switch("readonly")?;
    list.switch("auto-read-only")?;
    Ok(list.switch("read-only")?.or(old).unwrap_or(false))
}

fn add(builder: &mut Builder, disk: Disk) -> Result<(), SystemError> {
    if builder.config.disks.iter().any(|other| other.id == disk.id) {
        return Err(SystemError::Taken {
            origin: disk.origin,
            what: "the name",
            name: disk.id,
        });
    }
    builder.config.disks.push(disk);
    Ok(())
}

/// `-pflash`
pub fn pflash(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    let file = Named {
        origin: given.origin.to_owned(),
        path: given.value.into(),
    };
    let bank = FlashFile {
        file,
        format: Some(Format::Raw),
        read_only: false,
        snapshot: builder.snapshot,
    };
    flash(builder, None, bank)
}

/// Fills a flash bank; the first empty one if no unit is given.
fn flash(builder: &mut Builder, unit: Option<usize>, file: FlashFile) -> Result<(), SystemError> {
    let banks = &mut builder.config.flash;
    let unit = unit.or_else(|| banks.iter().position(Option::is_none));
    let unit = unit.unwrap_or(banks.len());
    let origin = &file.file.origin;
    let Some(bank) = banks.get_mut(unit) else {
        let expected = "one of the two flash banks, 0 and 1";
        return Err(SystemError::value(origin, &unit.to_string(), expected));
    };
    if bank.is_some() {
        return Err(SystemError::Taken {
            origin: origin.clone(),
            what: "flash bank",
            name: unit.to_string(),
        });
    }
    *bank = Some(file);
    Ok(())
}

/// What a `-blockdev` node does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    File,
    Format(Format),
}

const DRIVERS: &[(&str, Driver)] = &[
    ("file", Driver::File),
    ("raw", Driver::Format(Format::Raw)),
    ("qcow2", Driver::Format(Format::Qcow2)),
];

/// `-blockdev`
pub fn blockdev(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    if given.text()?.starts_with('{') {
        let reason = "write it as driver=...,node-name=... instead of JSON";
        return Err(SystemError::unsupported(given.origin, reason));
    }
    let mut list = given.list(Some("driver"))?;
    let Some(driver) = list.choice("driver", DRIVERS)? else {
        list.required("driver")?;
        return Ok(());
    };
    let id = list.required("node-name")?;
    let mut read_only = read_only(&mut list)?;
    let (path, format) = match driver {
        Driver::File => (list.required("filename")?.into(), Format::Raw),
        Driver::Format(format) => {
            let (path, below) = below(builder, &mut list)?;
            read_only |= below;
            (path, format)
        }
    };
    let cache = match list.switch("cache.no-flush")? {
        Some(true) => Cache::Unsafe,
        _ => Cache::WriteBack,
    };
    for key in ["cache.direct", "force-share"] {
        list.switch(key)?;
    }
    list.ignored(&["aio", "discard", "detect-zeroes", "locking"]);
    list.absent(&["backing", "offset", "size"], "the image says it itself")?;
    list.done("-blockdev")?;
    add(
        builder,
        Disk {
            origin: given.origin.to_owned(),
            id,
            path,
            format: Some(format),
            read_only,
            snapshot: false,
            cache,
        },
    )
}

/// The file under a format: another node, or one that is described inside. Whether it is
/// read-only.
fn below(builder: &Builder, list: &mut Keyval) -> Result<(PathBuf, bool), SystemError> {
    if let Some(name) = list.text("file") {
        let disks = &builder.config.disks;
        let node = disks.iter().find(|disk| disk.id == name);
        let node = node.ok_or_else(|| {
            let known = disks.iter().map(|disk| disk.id.as_str());
            SystemError::no_such(list.origin(), "block node", &name, known)
        })?;
        return Ok((node.path.clone(), node.read_only));
    }
    list.choice("file.driver", &[("file", ())])?;
    let path = list.required("file.filename")?;
    list.ignored(&["file.node-name", "file.aio", "file.locking"]);
    let read_only = list.switch("file.read-only")?.unwrap_or(false);
    list.switch("file.auto-read-only")?;
    Ok((path.into(), read_only))
}

/// What `-snapshot` means for the disks of `-drive`, and disks that nothing wants.
pub fn finish(builder: &mut Builder) {
    for id in &builder.loose_disks {
        let disks = builder.config.disks.iter_mut();
        for disk in disks.filter(|disk| disk.id == *id) {
            disk.snapshot |= builder.snapshot;
        }
    }
    let devices = &builder.config.devices;
    let wanted = |id: &String| {
        let of = |device: &Device| match &device.function {
            Function::Blk { drive, .. } => drive == id,
            _ => false,
        };
        devices.iter().any(of)
    };
    for id in builder.loose_disks.iter().filter(|id| !wanted(id)) {
        let disk = builder.config.disks.iter().find(|disk| disk.id == *id);
        let origin = disk.map_or("-drive", |disk| &disk.origin);
        let warning = format!("{origin}: no device uses it; if=virtio gives it one");
        builder.warnings.push(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{config, error, warnings};

    fn only(line: &str) -> Disk {
        let mut disks = config(line).disks;
        assert_eq!(disks.len(), 1, "{line}");
        disks.remove(0)
    }

    #[test]
    fn drives() {
        let disk = only("-drive file=a,,b,if=none,id=d,format=raw,readonly=on,cache=none");
        assert_eq!((disk.path.to_str(), disk.id.as_str()), (Some("a,b"), "d"));
        assert_eq!(disk.format, Some(Format::Raw));
        assert!(disk.read_only && !disk.snapshot);
        let cache = |name: &str| only(&format!("-drive file=a,cache={name}")).cache;
        assert_eq!(cache("directsync"), Cache::WriteThrough);
        assert_eq!(cache("unsafe"), Cache::Unsafe);
        assert_eq!(disk.cache, Cache::WriteBack);
        let disk = only("-drive file=a,media=cdrom,snapshot=on,driver=qcow2");
        assert!(disk.read_only && disk.snapshot);
        assert!(only("-drive file=a,read-only -snapshot").snapshot);
        assert!(only("-snapshot -drive file=a").snapshot);
    }

    #[test]
    fn drives_of_virtio_bring_their_device_after_all_others() {
        let config = config("-drive file=a,if=virtio -device virtio-rng-pci");
        let functions: Vec<_> = config.devices.into_iter().map(|d| d.function).collect();
        let blk = Function::Blk {
            drive: "virtio0".to_owned(),
            serial: String::new(),
            write_through: false,
        };
        assert_eq!(functions, [Function::Rng { source: None }, blk]);
        assert!(warnings("-drive file=a")[0].contains("if=virtio"));
        assert!(warnings("-drive file=a,if=virtio").is_empty());
    }

    #[test]
    fn mistakes_in_drives() {
        assert!(error("-drive fil=x").contains("`file=` is missing"));
        assert!(error("-drive file=x,formt=raw").contains("did you mean `format`?"));
        assert!(error("-drive file=x,format=qcow").contains("did you mean `qcow2`?"));
        assert!(error("-drive file=x,if=vritio").contains("did you mean `virtio`?"));
        assert!(error("-drive file=x,if=ide").contains("if=virtio"));
        assert!(error("-drive file=x,cache=writetrough").contains("did you mean `writethrough`?"));
        assert!(error("-drive file=x,id=a -drive file=y,id=a").contains("`a` is taken"));
        assert!(error("-hda x").contains("if=virtio"));
    }

    #[test]
    fn flash_banks() {
        let banks = config("-drive if=pflash,file=a,unit=1,readonly=on -pflash b").flash;
        let paths = banks.map(|bank| bank.expect("a file").file.path);
        assert_eq!(paths, [PathBuf::from("b"), PathBuf::from("a")]);
        assert!(error("-pflash a -pflash b -pflash c").contains("two flash banks"));
        assert!(error("-pflash a -drive if=pflash,unit=0,file=b").contains("bank `0` is taken"));
    }

    #[test]
    fn blockdevs() {
        let disk = only("-blockdev driver=file,node-name=f,filename=a,read-only=on");
        assert_eq!((disk.id.as_str(), disk.format), ("f", Some(Format::Raw)));
        assert!(disk.read_only);
        let disk = only("-blockdev qcow2,node-name=q,file.driver=file,file.filename=b");
        assert_eq!(
            (disk.path.to_str(), disk.format),
            (Some("b"), Some(Format::Qcow2))
        );
        let two = "-blockdev file,node-name=f,filename=a -blockdev qcow2,node-name=q,file=f";
        let disks = config(&format!("{two} -snapshot")).disks;
        assert_eq!(disks[0].path, disks[1].path);
        assert!(!disks[1].snapshot);
        assert!(error("-blockdev qcow2,node-name=q,file=g").contains("no block node `g`"));
        assert!(error("-blockdev qcow3,node-name=q").contains("did you mean `qcow2`?"));
        assert!(error("-blockdev raw,file=q").contains("`node-name=` is missing"));
        assert!(error("-blockdev node-name=q").contains("`driver=` is missing"));
        assert!(error(r#"-blockdev {"driver":"raw"}"#).contains("JSON"));
    }
}
