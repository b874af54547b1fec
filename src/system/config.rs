//! The typed configuration of a machine: what all options together ask for.

use std::path::PathBuf;
use std::time::Duration;

use isomorph_block::Format;
use isomorph_chardev::SocketOptions;
use isomorph_devices::virtio::blk::Cache;
use isomorph_engine::Tier2;
use isomorph_net::UserConfig;
use isomorph_report::Wanted;
use isomorph_riscv::CpuModel;

use crate::system::speaker::Speaker;

/// A file and the option that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The option, for errors.
    pub origin: String,
    /// The file.
    pub path: PathBuf,
}

/// What runs before the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bios {
    /// The built-in supervisor binary interface.
    #[default]
    BuiltIn,
    /// Nothing.
    None,
    /// A file.
    File(Named),
}

/// What the real-time clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RtcBase {
    /// Seconds since 1970 at the start; the host's time if not given.
    pub start: Option<u64>,
    /// It goes on with virtual time and stands still with it.
    pub virtual_time: bool,
}

/// A disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The option, for errors.
    pub origin: String,
    /// What devices call it.
    pub id: String,
    /// The image.
    pub path: PathBuf,
    /// Its format; found out if not given.
    pub format: Option<Format>,
    /// The guest cannot write.
    pub read_only: bool,
    /// What the guest writes is kept in a temporary file.
    pub snapshot: bool,
    /// What a write promises.
    pub cache: Cache,
}

/// The contents of a flash bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashFile {
    /// The file.
    pub file: Named,
    /// Its format; found out if not given.
    pub format: Option<Format>,
    /// The guest cannot write.
    pub read_only: bool,
    /// What the guest writes is kept in a temporary file.
    pub snapshot: bool,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Netdev {
    /// The option, for errors.
    pub origin: String,
    /// What devices call it.
    pub id: String,
    /// How it looks.
    pub user: UserConfig,
}

/// A source of random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RngSource {
    /// The option, for errors.
    pub origin: String,
    /// What devices call it.
    pub id: String,
    /// The file they come from.
    pub path: PathBuf,
}

/// The host's end of a line.
#[derive(Debug, Clone)]
pub struct Chardev {
    /// The option, for errors.
    pub origin: String,
    /// What devices call it.
    pub id: String,
    /// Ctrl-A and a letter are commands to the emulator.
    pub mux: bool,
    /// Where it leads.
    pub line: Line,
}

/// Where a line leads.
#[derive(Debug, Clone)]
pub enum Line {
    /// Nowhere.
    Null,
    /// The terminal.
    Stdio {
        /// Ctrl-C ends the emulator instead of going to the guest.
        signal: bool,
    },
    /// A pseudo-terminal.
    Pty,
    /// A file, for output.
    File {
        /// The file.
        path: PathBuf,
        /// Keep what is in it.
        append: bool,
    },
    /// A socket.
    Socket(SocketOptions),
    /// Memory.
    Ring {
        /// Bytes that are kept.
        size: usize,
    },
}

/// Where a device is plugged in; the next free place if no number is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A virtio-mmio transport.
    Mmio(Option<u32>),
    /// A slot of the PCI bus.
    Pci(Option<u8>),
}

/// What a device is, and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// virtio-blk.
    Blk {
        /// Its disk.
        drive: String,
        /// Its serial number.
        serial: String,
        /// Each write is on the disk once it is done.
        write_through: bool,
    },
    /// virtio-net.
    Net {
        /// Its network.
        netdev: Option<String>,
        /// Its address; the next free one if not given.
        mac: Option<[u8; 6]>,
    },
    /// virtio-rng.
    Rng {
        /// Its source; the host's if not given.
        source: Option<String>,
    },
    /// virtio-balloon.
    Balloon,
    /// virtio-serial with its one console.
    Console {
        /// Its line.
        chardev: Option<String>,
    },
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The option, for errors.
    pub origin: String,
    /// Its name, if it has one.
    pub id: Option<String>,
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub function: Function,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who speaks of it.
    pub speaker: Speaker,
    /// Its name.
    pub name: Option<String>,
    /// Its UUID.
    pub uuid: Option<[u8; 16]>,
    /// Write the device tree there, and end.
    pub dump_dtb: Option<PathBuf>,
    /// What its harts are.
    pub cpu: CpuModel,
    /// How many harts.
    pub harts: usize,
    /// Bytes of RAM.
    pub ram_bytes: u64,
    /// What runs before the kernel.
    pub bios: Bios,
    /// The kernel.
    pub kernel: Option<Named>,
    /// Its initial RAM disk.
    pub initrd: Option<Named>,
    /// Its command line.
    pub append: Option<String>,
    /// A device tree of the user's.
    pub dtb: Option<Named>,
    /// Flash banks.
    pub flash: [Option<FlashFile>; 2],
    /// Disks.
    pub disks: Vec<Disk>,
    /// Networks.
    pub netdevs: Vec<Netdev>,
    /// Lines.
    pub chardevs: Vec<Chardev>,
    /// Sources of random numbers.
    pub rngs: Vec<RngSource>,
    /// Devices, in the order in which they are plugged in.
    pub devices: Vec<Device>,
    /// The line of the serial port.
    pub serial: Option<String>,
    /// What the real-time clock shows.
    pub rtc: RtcBase,
    /// A reset ends the machine.
    pub no_reboot: bool,
    /// What is compiled again once it is hot.
    pub tier2: Tier2,
    /// What is logged, written for profilers and told at the end.
    pub reports: Wanted,
    /// Files with the names of guest functions.
    pub symbols: Vec<Named>,
    /// Blocks do not jump straight to each other.
    pub no_chain: bool,
    /// Where logs go; standard error if not given.
    pub log_file: Option<PathBuf>,
    /// Print counts at the end.
    pub stats: bool,
    /// Print registers after so long a silence.
    pub watchdog: Option<Duration>,
}

/// RAM if nothing is said.
pub const DEFAULT_RAM: u64 = 128 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            speaker: Speaker::default(),
            name: None,
            uuid: None,
            dump_dtb: None,
            cpu: CpuModel::default(),
            harts: 1,
            ram_bytes: DEFAULT_RAM,
            bios: Bios::default(),
            kernel: None,
            initrd: None,
            append: None,
            dtb: None,
            flash: [None, None],
            disks: Vec::new(),
            netdevs: Vec::new(),
            chardevs: Vec::new(),
            rngs: Vec::new(),
            devices: Vec::new(),
            serial: None,
            rtc: RtcBase::default(),
            no_reboot: false,
            tier2: Tier2::default(),
            reports: Wanted::default(),
            symbols: Vec::new(),
            no_chain: false,
            log_file: None,
            stats: false,
            watchdog: None,
        }
    }
}
