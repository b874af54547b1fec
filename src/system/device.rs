//! Devices and their properties: `-device` and `-object`.
//!
//! One table says which devices there are and which properties each has; parser, `help` and
//! errors are made from it.

use crate::system::builder::{Builder, Given, Shown};
use crate::system::config::{Device, Function, Place, RngSource};
use crate::system::error::SystemError;
use crate::system::keyval::Keyval;
use crate::system::net::parse_mac;

/// What a property does.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// It is read; the text says what it takes.
    Read(&'static str),
    /// It is here what it is: these values say so.
    Fixed(&'static [&'static str]),
    /// It changes nothing that a guest can see.
    Ignored,
}

type Property = (&'static str, Role);

/// Slots of the PCI bus.
const SLOTS: u8 = 32;

const ON: Role = Role::Fixed(&["on", "true"]);
const OFF: Role = Role::Fixed(&["off", "false"]);
const AUTO_ON: Role = Role::Fixed(&["on", "auto", "true"]);

/// Properties of every virtio device.
const VIRTIO: &[Property] = &[
    ("id", Role::Read("name")),
    ("bus", Role::Read("bus")),
    ("event_idx", ON),
    ("indirect_desc", ON),
    ("packed", OFF),
    ("iommu_platform", OFF),
    ("queue_reset", OFF),
    ("ioeventfd", Role::Ignored),
    ("use-started", Role::Ignored),
];

/// Properties of a virtio device on the PCI bus.
const PCI: &[Property] = &[
    ("addr", Role::Read("slot, in hexadecimal")),
    ("disable-legacy", AUTO_ON),
    ("disable-modern", OFF),
    ("multifunction", OFF),
    ("ats", OFF),
    ("aer", OFF),
    ("vectors", Role::Fixed(&["0"])),
    ("page-per-vq", OFF),
    ("bootindex", Role::Ignored),
    ("rombar", Role::Ignored),
    ("romfile", Role::Ignored),
    ("acpi-index", Role::Ignored),
];

/// Properties of a virtio device behind a virtio-mmio transport.
const MMIO: &[Property] = &[("bootindex", Role::Ignored)];

const BLK: &[Property] = &[
    ("drive", Role::Read("disk")),
    ("serial", Role::Read("text")),
    ("write-cache", Role::Read("on|off|auto")),
    ("discard", ON),
    ("write-zeroes", ON),
    ("config-wce", OFF),
    ("scsi", OFF),
    ("share-rw", OFF),
    ("num-queues", Role::Fixed(&["1"])),
    ("queue-size", Role::Fixed(&["256"])),
    ("logical_block_size", Role::Fixed(&["512"])),
    ("physical_block_size", Role::Fixed(&["512"])),
    ("werror", Role::Fixed(&["report", "auto"])),
    ("rerror", Role::Fixed(&["report", "auto"])),
];

const NET: &[Property] = &[
    ("netdev", Role::Read("network")),
    ("mac", Role::Read("address")),
    ("mrg_rxbuf", ON),
    ("status", ON),
    ("csum", OFF),
    ("gso", OFF),
    ("guest_csum", OFF),
    ("guest_tso4", OFF),
    ("guest_tso6", OFF),
    ("host_tso4", OFF),
    ("host_tso6", OFF),
    ("ctrl_vq", OFF),
    ("mq", OFF),
    ("rx_queue_size", Role::Fixed(&["256"])),
    ("tx_queue_size", Role::Fixed(&["256"])),
];

const RNG: &[Property] = &[("rng", Role::Read("object"))];
const BALLOON: &[Property] = &[("deflate-on-oom", ON), ("free-page-reporting", OFF)];
const SERIAL: &[Property] = &[("max_ports", Role::Ignored), ("emergency-write", ON)];
const CONSOLE: &[Property] = &[
    ("id", Role::Read("name")),
    ("bus", Role::Read("bus")),
    ("chardev", Role::Read("chardev")),
    ("nr", Role::Fixed(&["0"])),
    ("name", Role::Ignored),
];

/// Values of `write-cache`, and whether writes go through it.
const WRITE_CACHE: &[(&str, bool)] = &[("on", false), ("auto", false), ("off", true)];

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blk,
    Net,
    Rng,
    Balloon,
    /// The device that consoles plug into.
    Serial,
    /// One console of it.
    Console,
}

/// What a device plugs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bus {
    Pci,
    Mmio,
    Serial,
}

/// A device model.
#[derive(Debug)]
struct Model {
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    bus: Bus,
    own: &'static [Property],
}

const fn pci(kind: Kind, names: &'static [&'static str], own: &'static [Property]) -> Model {
    Model {
        name: names[0],
        aliases: names,
        kind,
        bus: Bus::Pci,
        own,
    }
}

const fn mmio(kind: Kind, name: &'static [&'static str], own: &'static [Property]) -> Model {
    Model {
        name: name[0],
        aliases: name,
        kind,
        bus: Bus::Mmio,
        own,
    }
}

/// All models, by QEMU's names; the first of several is the usual one.
const MODELS: &[Model] = &[
    pci(
        Kind::Blk,
        &[
            "virtio-blk-pci",
            "virtio-blk",
            "virtio-blk-pci-non-transitional",
        ],
        BLK,
    ),
    mmio(Kind::Blk, &["virtio-blk-device"], BLK),
    pci(
        Kind::Net,
        &[
            "virtio-net-pci",
            "virtio-net",
            "virtio-net-pci-non-transitional",
        ],
        NET,
    ),
    mmio(Kind::Net, &["virtio-net-device"], NET),
    pci(
        Kind::Rng,
        &[
            "virtio-rng-pci",
            "virtio-rng",
            "virtio-rng-pci-non-transitional",
        ],
        RNG,
    ),
    mmio(Kind::Rng, &["virtio-rng-device"], RNG),
    pci(
        Kind::Balloon,
        &[
            "virtio-balloon-pci",
            "virtio-balloon",
            "virtio-balloon-pci-non-transitional",
        ],
        BALLOON,
    ),
    mmio(Kind::Balloon, &["virtio-balloon-device"], BALLOON),
    pci(
        Kind::Serial,
        &[
            "virtio-serial-pci",
            "virtio-serial",
            "virtio-serial-pci-non-transitional",
        ],
        SERIAL,
    ),
    mmio(Kind::Serial, &["virtio-serial-device"], SERIAL),
    Model {
        name: "virtconsole",
        aliases: &["virtconsole"],
        kind: Kind::Console,
        bus: Bus::Serial,
        own: CONSOLE,
    },
];

impl Model {
    fn properties(&self) -> impl Iterator<Item = &'static Property> {
        let shared: [&[Property]; 2] = match self.bus {
            Bus::Pci => [VIRTIO, PCI],
            Bus::Mmio => [VIRTIO, MMIO],
            Bus::Serial => [&[], &[]],
        };
        self.own.iter().chain(shared[0]).chain(shared[1])
    }

    fn help(&self) -> String {
        let mut text = format!("{} options:\n", self.name);
        for (name, role) in self.properties() {
            let line = match role {
                Role::Read(takes) => format!("  {name}=<{takes}>\n"),
                Role::Fixed(values) => format!("  {name}={} (only)\n", values[0]),
                Role::Ignored => format!("  {name}=... (no effect)\n"),
            };
            text.push_str(&line);
        }
        text
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().flat_map(|model| model.aliases).copied()
}

fn models_help() -> String {
    let line = |model: &Model| {
        let bus = match model.bus {
            Bus::Pci => "PCI",
            Bus::Mmio => "virtio-mmio",
            Bus::Serial => "virtio-serial",
        };
        let alias = model.aliases.get(1);
        let alias = alias.map_or_else(String::new, |name| format!(", alias \"{name}\""));
        format!("name \"{}\", bus {bus}{alias}\n", model.name)
    };
    MODELS.iter().map(line).collect()
}

/// Finds a model of a network device by the name that `-nic` has for it.
pub fn net_place(origin: &str, name: &str) -> Result<Place, SystemError> {
    let nets = || MODELS.iter().filter(|model| model.kind == Kind::Net);
    let found = nets().find(|model| model.aliases.contains(&name));
    let found = found.ok_or_else(|| {
        let known = nets().flat_map(|model| model.aliases).copied();
        SystemError::unknown(origin, "network device", name, known)
    })?;
    Ok(match found.bus {
        Bus::Mmio => Place::Mmio(None),
        Bus::Pci | Bus::Serial => Place::Pci(None),
    })
}

/// `-device`
pub fn device(builder: &mut Builder, given: Given<'_>) -> Result<Shown, SystemError> {
    if given.text()?.starts_with('{') {
        let reason = "write it as name,prop=value instead of JSON";
        return Err(SystemError::unsupported(given.origin, reason));
    }
    let mut list = given.list(Some("driver"))?;
    let name = list.required("driver")?;
    if matches!(name.as_str(), "help" | "?") {
        return Ok(Some(models_help()));
    }
    let model = MODELS
        .iter()
        .find(|model| model.aliases.contains(&name.as_str()));
    let model = model.ok_or_else(|| {
        if name.ends_with("-transitional") {
            let reason = "there is no virtio of before version 1.0";
            return SystemError::unsupported(given.origin, reason);
        }
        SystemError::unknown(given.origin, "device", &name, names())
    })?;
    if list.wants_help() {
        return Ok(Some(model.help()));
    }
    for (key, role) in model.properties() {
        match role {
            Role::Read(_) => {}
            Role::Fixed(values) => list.fixed(key, values)?,
            Role::Ignored => list.ignored(&[key]),
        }
    }
    add(builder, model, &mut list)?;
    list.done(&format!("device `{name}`"))?;
    Ok(None)
}

fn add(builder: &mut Builder, model: &Model, list: &mut Keyval) -> Result<(), SystemError> {
    let origin = list.origin().to_owned();
    let id = list.text("id");
    if model.kind == Kind::Console {
        builder.consoles.0.push(Console {
            origin,
            bus: list.text("bus"),
            chardev: list.text("chardev"),
        });
        return Ok(());
    }
    let named = |device: &Device| id.is_some() && device.id == id;
    if builder.config.devices.iter().any(named) {
        return Err(SystemError::Taken {
            origin,
            what: "the name",
            name: id.unwrap_or_default(),
        });
    }
    let place = match model.bus {
        Bus::Pci => pci_place(list)?,
        Bus::Mmio | Bus::Serial => mmio_place(list)?,
    };
    let function = match model.kind {
        Kind::Blk => Function::Blk {
            drive: list.required("drive")?,
            serial: list.text("serial").unwrap_or_default(),
            write_through: list.choice("write-cache", WRITE_CACHE)?.unwrap_or(false),
        },
        Kind::Net => Function::Net {
            netdev: list.text("netdev"),
            mac: parse_mac(list, "mac")?,
        },
        Kind::Rng => Function::Rng {
            source: list.text("rng"),
        },
        Kind::Balloon => Function::Balloon,
        Kind::Serial | Kind::Console => Function::Console { chardev: None },
    };
    builder.config.devices.push(Device {
        origin,
        id,
        place,
        function,
    });
    Ok(())
}

/// `addr=slot[.function]`, both in hexadecimal, on the only bus.
fn pci_place(list: &mut Keyval) -> Result<Place, SystemError> {
    list.choice("bus", &[("pcie.0", ()), ("pcie", ())])?;
    let Some(text) = list.text("addr") else {
        return Ok(Place::Pci(None));
    };
    let (slot, function) = text.split_once('.').unwrap_or((&text, "0"));
    let slot = slot.strip_prefix("0x").unwrap_or(slot);
    let slot = u8::from_str_radix(slot, 16).ok();
    let slot = slot.filter(|&slot| slot < SLOTS && function == "0");
    slot.map(|slot| Place::Pci(Some(slot)))
        .ok_or_else(|| list.wrong("addr", &text, "a slot from 1 to 1f (function 0)"))
}

/// `bus=virtio-mmio-bus.N`
fn mmio_place(list: &mut Keyval) -> Result<Place, SystemError> {
    const PREFIX: &str = "virtio-mmio-bus.";
    let Some(text) = list.text("bus") else {
        return Ok(Place::Mmio(None));
    };
    let number = text
        .strip_prefix(PREFIX)
        .and_then(|number| number.parse().ok());
    number
        .map(|number| Place::Mmio(Some(number)))
        .ok_or_else(|| list.wrong("bus", &text, "virtio-mmio-bus.0 to virtio-mmio-bus.7"))
}

/// `-object`
pub fn object(builder: &mut Builder, given: Given<'_>) -> Result<(), SystemError> {
    const SOURCES: &[(&str, &str)] = &[
        ("rng-random", "/dev/urandom"),
        ("rng-builtin", "/dev/urandom"),
    ];
    let mut list = given.list(Some("qom-type"))?;
    list.required("qom-type")?;
    let Some(default) = list.choice("qom-type", SOURCES)? else {
        return Ok(());
    };
    let id = list.required("id")?;
    let path = list.text("filename").unwrap_or_else(|| default.to_owned());
    list.done("a source of random numbers")?;
    let origin = given.origin.to_owned();
    if builder.config.rngs.iter().any(|other| other.id == id) {
        return Err(SystemError::Taken {
            origin,
            what: "the name",
            name: id,
        });
    }
    builder.config.rngs.push(RngSource {
        origin,
        id,
        path: path.into(),
    });
    Ok(())
}

/// A `virtconsole`.
#[derive(Debug)]
struct Console {
    origin: String,
    bus: Option<String>,
    chardev: Option<String>,
}

/// Consoles that look for their device.
#[derive(Debug, Default)]
pub struct Consoles(Vec<Console>);

/// Plugs consoles into their devices, and puts devices of `-drive` behind all others.
pub fn finish(builder: &mut Builder) -> Result<(), SystemError> {
    let mut plugged = Vec::new();
    for console in std::mem::take(&mut builder.consoles.0) {
        let fits = |(index, device): &(usize, &mut Device)| {
            if !matches!(device.function, Function::Console { .. }) || plugged.contains(index) {
                return false;
            }
            let of = |id: &str| console.bus.as_deref() == Some(&format!("{id}.0"));
            console.bus.is_none() || device.id.as_deref().is_some_and(of)
        };
        let found = builder.config.devices.iter_mut().enumerate().find(fits);
        let (index, device) = found.ok_or_else(|| SystemError::Conflict {
            origin: console.origin.clone(),
            problem: "it needs a virtio-serial-pci or virtio-serial-device of its own",
        })?;
        device.function = Function::Console {
            chardev: console.chardev,
        };
        plugged.push(index);
    }
    builder.config.devices.append(&mut builder.drive_devices);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::{config, error, shown};

    fn functions(line: &str) -> Vec<(Place, Function)> {
        let devices = config(line).devices.into_iter();
        devices
            .map(|device| (device.place, device.function))
            .collect()
    }

    #[test]
    fn devices_have_places() {
        let rng = Function::Rng { source: None };
        for (text, place) in [
            ("virtio-rng-pci", Place::Pci(None)),
            ("virtio-rng", Place::Pci(None)),
            (
                "virtio-rng-pci-non-transitional,addr=1f",
                Place::Pci(Some(31)),
            ),
            ("virtio-rng-pci,addr=06.0,bus=pcie.0", Place::Pci(Some(6))),
            ("virtio-rng-pci,addr=0x10", Place::Pci(Some(16))),
            ("virtio-rng-device", Place::Mmio(None)),
            (
                "virtio-rng-device,bus=virtio-mmio-bus.3",
                Place::Mmio(Some(3)),
            ),
        ] {
            assert_eq!(
                functions(&format!("-device {text}")),
                [(place, rng.clone())]
            );
        }
        assert!(error("-device virtio-rng-pci,addr=20").contains("addr"));
        assert!(error("-device virtio-rng-pci,addr=1.1").contains("addr"));
        assert!(error("-device virtio-rng-pci,bus=pci.0").contains("bus="));
        assert!(error("-device virtio-rng-device,bus=x").contains("virtio-mmio-bus.7"));
    }

    #[test]
    fn devices_have_back_ends() {
        let line = "-drive file=a,if=none,id=d \
                    -device virtio-blk-device,drive=d,serial=s,write-cache=off \
                    -netdev user,id=n -device virtio-net-pci,netdev=n,mac=02:00:00:00:00:01 \
                    -object rng-random,id=r,filename=/dev/zero -device virtio-rng-pci,rng=r";
        let found: Vec<_> = functions(line).into_iter().map(|(_, f)| f).collect();
        let (drive, serial, write_through) = ("d".to_owned(), "s".to_owned(), true);
        let net = Function::Net {
            netdev: Some("n".to_owned()),
            mac: Some([2, 0, 0, 0, 0, 1]),
        };
        let source = Some("r".to_owned());
        let blk = Function::Blk {
            drive,
            serial,
            write_through,
        };
        assert_eq!(found, [blk, net, Function::Rng { source }]);
    }

    #[test]
    fn consoles_plug_into_virtio_serial() {
        let line = "-chardev null,id=c -chardev null,id=e -device virtio-serial-pci,id=a \
                    -device virtio-serial-device,id=b -device virtconsole,chardev=c,bus=b.0 \
                    -device virtconsole,chardev=e";
        let console = |name: &str| Function::Console {
            chardev: Some(name.to_owned()),
        };
        let found: Vec<_> = functions(line).into_iter().map(|(_, f)| f).collect();
        assert_eq!(found, [console("e"), console("c")]);
        assert!(error("-device virtconsole").contains("needs a virtio-serial-pci"));
        let two = "-device virtio-serial -device virtconsole -device virtconsole";
        assert!(error(two).contains("of its own"));
    }

    #[test]
    fn mistakes_are_named_with_the_nearest() {
        assert!(error("-device virtio-blk-pic").contains("did you mean `virtio-blk-pci`?"));
        assert!(error("-device virtio-blk-pci").contains("`drive=` is missing"));
        assert!(error("-device virtio-net-pci,netdv=n").contains("did you mean `netdev`?"));
        assert!(error("-device virtio-blk-pci-transitional").contains("before version 1.0"));
        let legacy = error("-device virtio-rng-pci,disable-legacy=off");
        assert!(
            legacy.contains("disable-legacy") && legacy.contains("only on"),
            "{legacy}"
        );
        assert!(error("-device virtio-rng-device,addr=1").contains("`addr`"));
        assert!(error("-device virtio-blk-pci,drive=nope").contains("no disk `nope`"));
        assert!(error("-device virtio-net-pci,netdev=nope").contains("no network `nope`"));
        assert!(error("-device virtio-rng-pci,rng=nope").contains("no object `nope`"));
        let same = "-device virtio-rng-pci,id=a -device virtio-rng-pci,id=a";
        assert!(error(same).contains("`a` is taken"));
        assert!(error("-object rng-rnd,id=a").contains("did you mean `rng-"));
        assert!(error("-object rng-random").contains("`id=` is missing"));
    }

    #[test]
    fn help_comes_from_the_table() {
        let all = shown("-device help");
        assert!(MODELS.iter().all(|model| all.contains(model.name)));
        for model in MODELS {
            let text = shown(&format!("-device {},help", model.name));
            assert!(model.properties().all(|(name, _)| text.contains(name)));
        }
    }
}
