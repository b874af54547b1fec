//! Every option of a machine's command line, once: its names, its value and its help. The parser,
//! the help and the errors are made from this table.

/// What an option sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The usage.
    Help,
    /// The version.
    Version,
    /// The board and its properties.
    Machine,
    /// The CPU model.
    Cpu,
    /// How many vCPUs.
    Smp,
    /// How much RAM.
    Memory,
    /// What runs the guest's instructions.
    Accel,
    /// The kernel.
    Kernel,
    /// Its initial RAM disk.
    Initrd,
    /// Its command line.
    Append,
    /// The device tree.
    Dtb,
    /// The firmware.
    Bios,
    /// A disk or flash, and maybe its device.
    Drive,
    /// A flash bank.
    Pflash,
    /// A disk.
    Blockdev,
    /// Writes are kept apart.
    Snapshot,
    /// A device.
    Device,
    /// A source of random numbers.
    Object,
    /// A network.
    Netdev,
    /// A network and its device.
    Nic,
    /// The older form of both.
    Net,
    /// The host's end of a line.
    Chardev,
    /// What the serial port leads to.
    Serial,
    /// The monitor, which is not there.
    Monitor,
    /// The parallel port, which is not there.
    Parallel,
    /// The display, which is not there.
    Display,
    /// The graphics card, which is not there.
    Vga,
    /// No display; the console on the terminal.
    Nographic,
    /// No default devices.
    Nodefaults,
    /// A reset ends the machine.
    NoReboot,
    /// What the real-time clock shows.
    Rtc,
    /// The machine's name.
    Name,
    /// The machine's UUID.
    Uuid,
    /// What is logged.
    LogItems,
    /// Where logs go.
    LogFile,
    /// The table of counts at the end.
    Stats,
    /// What is compiled again once it is hot.
    Jit,
    /// A map of generated code for perf.
    PerfMap,
    /// A dump of generated code for perf.
    JitDump,
    /// A file with the names of guest functions.
    Symbols,
    /// The limit of a machine's silence.
    Watchdog,
    /// Accepted: the text says why nothing is missing.
    WithoutEffect,
    /// Refused: the text says why.
    Unsupported(&'static str),
}

/// One option.
#[derive(Debug)]
pub struct Definition {
    /// What it sets.
    pub setting: Setting,
    /// Its names, without dashes.
    pub names: &'static [&'static str],
    /// What its value is called; none for a switch.
    pub value: Option<&'static str>,
    /// Its help.
    pub help: &'static str,
}

const fn option(
    setting: Setting,
    names: &'static [&'static str],
    value: Option<&'static str>,
    help: &'static str,
) -> Definition {
    Definition {
        setting,
        names,
        value,
        help,
    }
}

const fn absent(
    name: &'static [&'static str],
    value: Option<&'static str>,
    reason: &'static str,
) -> Definition {
    option(Setting::Unsupported(reason), name, value, reason)
}

const ARGUMENT: Option<&str> = Some("...");
const NO_IDE: &str = "the machine has no such drive: use -drive file=...,if=virtio";
const NO_MONITOR: &str = "there is no monitor yet";
const NO_DISPLAY: &str = "there is no display: use -nographic or -display none";
const NO_GDB: &str = "there is no gdb server yet";

/// All of them, in the order of the help.
pub const OPTIONS: &[Definition] = &[
    option(Setting::Help, &["h", "help"], None, "Print this help"),
    option(Setting::Version, &["version"], None, "Print the version"),
    option(
        Setting::Machine,
        &["machine", "M"],
        Some("virt[,prop=value...]"),
        "The machine, default virt; dumpdtb=FILE writes its device tree; `help`, `virt,help`",
    ),
    option(
        Setting::Cpu,
        &["cpu"],
        Some("model[,ext=on|off...]"),
        "The CPU, default rv64; `help` lists the models",
    ),
    option(
        Setting::Smp,
        &["smp"],
        Some("[cpus=]n[,sockets=][,cores=][,threads=][,maxcpus=]"),
        "The number of CPUs, default 1, at most 512",
    ),
    option(
        Setting::Memory,
        &["m"],
        Some("[size=]megabytes"),
        "The size of RAM, with a suffix K, M, G or T if not in MiB; default 128M",
    ),
    option(
        Setting::Accel,
        &["accel"],
        Some("tcg[,thread=single|multi]"),
        "What runs the guest's instructions; every CPU has its own thread",
    ),
    option(
        Setting::Kernel,
        &["kernel"],
        Some("file"),
        "The kernel: a Linux image, an ELF file or plain code",
    ),
    option(
        Setting::Initrd,
        &["initrd"],
        Some("file"),
        "The kernel's initial RAM disk",
    ),
    option(
        Setting::Append,
        &["append"],
        Some("text"),
        "The kernel's command line",
    ),
    option(
        Setting::Dtb,
        &["dtb"],
        Some("file"),
        "A device tree instead of the machine's own",
    ),
    option(
        Setting::Bios,
        &["bios"],
        Some("none|default|file"),
        "The firmware: none, a file, or by default the SBI that is built in (QEMU: OpenSBI)",
    ),
    option(
        Setting::Drive,
        &["drive"],
        Some("file=f[,if=none|virtio|pflash][,id=][,format=raw|qcow2]..."),
        "A disk; if=virtio gives it a device; also unit= index= readonly= snapshot= cache=",
    ),
    option(
        Setting::Pflash,
        &["pflash"],
        Some("file"),
        "The next flash bank",
    ),
    option(
        Setting::Blockdev,
        &["blockdev"],
        Some("driver=raw|qcow2|file,node-name=n,..."),
        "A disk: filename= of a file, file= another node, or file.filename=; read-only=",
    ),
    option(
        Setting::Snapshot,
        &["snapshot"],
        None,
        "Keep what is written to -drive disks in temporary files",
    ),
    option(
        Setting::Device,
        &["device"],
        Some("name[,prop=value...]"),
        "A device; `help` lists them, `name,help` its properties",
    ),
    option(
        Setting::Object,
        &["object"],
        Some("rng-random|rng-builtin,id=i[,filename=f]"),
        "A source of random numbers for virtio-rng",
    ),
    option(
        Setting::Netdev,
        &["netdev"],
        Some("user,id=i[,hostfwd=tcp|udp:[addr]:port-[addr]:port]..."),
        "A network of its own: net= host= dns= dhcpstart= restrict= hostfwd=",
    ),
    option(
        Setting::Nic,
        &["nic"],
        Some("none|user[,model=m][,mac=a]..."),
        "A -netdev and its device; without any -nic the machine has none, as QEMU's virt",
    ),
    option(
        Setting::Net,
        &["net"],
        Some("none|nic[,...]|user[,...]"),
        "The older form of -nic: one nic and one user",
    ),
    option(
        Setting::Chardev,
        &["chardev"],
        Some("null|stdio|file|pty|socket|ringbuf,id=i[,...]"),
        "The host's end of a line: mux= signal= path= append= host= port= server= wait= size=",
    ),
    option(
        Setting::Serial,
        &["serial"],
        Some("[mon:]stdio|pty|null|none|file:f|tcp:h:p|unix:f|chardev:i"),
        "The host's end of the serial port; default mon:stdio, as with -nographic",
    ),
    option(
        Setting::Monitor,
        &["monitor"],
        Some("none"),
        "There is no monitor; Ctrl-A x on mon:stdio ends the machine",
    ),
    option(
        Setting::Parallel,
        &["parallel"],
        Some("none"),
        "There is no parallel port",
    ),
    option(
        Setting::Display,
        &["display"],
        Some("none"),
        "There is no display",
    ),
    option(
        Setting::Vga,
        &["vga"],
        Some("none"),
        "There is no graphics card",
    ),
    option(
        Setting::Nographic,
        &["nographic"],
        None,
        "No display, and the serial port on the terminal",
    ),
    option(
        Setting::Nodefaults,
        &["nodefaults"],
        None,
        "Nothing at the serial port unless -serial says so",
    ),
    option(
        Setting::NoReboot,
        &["no-reboot"],
        None,
        "A reset by the guest ends the machine",
    ),
    option(
        Setting::Rtc,
        &["rtc"],
        Some("[base=utc|date][,clock=host|vm]"),
        "What the real-time clock shows at first: now, or YYYY-MM-DD[THH:MM:SS]",
    ),
    option(
        Setting::Name,
        &["name"],
        Some("text[,debug-threads=on|off]"),
        "The machine's name",
    ),
    option(Setting::Uuid, &["uuid"], Some("uuid"), "The machine's UUID"),
    option(
        Setting::LogItems,
        &["d"],
        Some("item[,...]"),
        "Log these items; `help` lists them",
    ),
    option(
        Setting::LogFile,
        &["D"],
        Some("file"),
        "Write logs to this file (default: standard error)",
    ),
    option(
        Setting::Stats,
        &["stats"],
        None,
        "Print a table of counts at the end (isomorph's own)",
    ),
    option(
        Setting::Jit,
        &["jit"],
        Some("key=value[,...]"),
        "What is compiled again once it is hot: tier2= threads= mem= without=; `help` explains \
         them; also as the variable ISOMORPH_JIT (isomorph's own)",
    ),
    option(
        Setting::PerfMap,
        &["perfmap"],
        None,
        "Write /tmp/perf-PID.map, so that perf names guest functions",
    ),
    option(
        Setting::JitDump,
        &["jitdump"],
        None,
        "Write jit-PID.dump for `perf record -k mono` and `perf inject --jit`",
    ),
    option(
        Setting::Symbols,
        &["symbols"],
        Some("file"),
        "Names of guest functions for perf and `isomorph explain`: an ELF file (vmlinux) or \
         System.map; a -kernel that is an ELF file is read anyway (isomorph's own)",
    ),
    option(
        Setting::Watchdog,
        &["watchdog"],
        Some("seconds"),
        "After so long without a sign of life print every CPU's registers (isomorph's own)",
    ),
    option(
        Setting::WithoutEffect,
        &["no-user-config", "enable-fips", "mem-prealloc"],
        None,
        "Nothing to do: accepted",
    ),
    option(
        Setting::WithoutEffect,
        &["L", "msg"],
        ARGUMENT,
        "Nothing to do: accepted",
    ),
    absent(
        &["hda", "hdb", "hdc", "hdd", "cdrom", "sd", "mtdblock"],
        ARGUMENT,
        NO_IDE,
    ),
    absent(&["fda", "fdb"], ARGUMENT, NO_IDE),
    absent(&["mon", "qmp", "qmp-pretty"], ARGUMENT, NO_MONITOR),
    absent(
        &["S"],
        None,
        "nothing could let the machine go on: there is no monitor yet",
    ),
    absent(
        &["no-shutdown"],
        None,
        "nothing could look at the machine: there is no monitor yet",
    ),
    absent(&["s"], None, NO_GDB),
    absent(&["gdb"], ARGUMENT, NO_GDB),
    absent(&["vnc", "spice", "full-screen", "k"], ARGUMENT, NO_DISPLAY),
    absent(
        &["enable-kvm"],
        None,
        "KVM runs only the host's instruction set: use -accel tcg",
    ),
    absent(
        &["icount"],
        ARGUMENT,
        "instructions are not counted into time yet",
    ),
    absent(&["usb"], None, "there is no USB"),
    absent(
        &["usbdevice", "audio", "audiodev"],
        ARGUMENT,
        "there is no such device",
    ),
    absent(&["boot"], ARGUMENT, "the firmware decides what is booted"),
    absent(&["numa"], ARGUMENT, "memory is in one piece"),
    absent(&["mem-path"], ARGUMENT, "RAM is anonymous memory"),
    absent(
        &["global", "set"],
        ARGUMENT,
        "give the property to its -device",
    ),
    absent(
        &["readconfig"],
        ARGUMENT,
        "give the options on the command line",
    ),
    absent(
        &["incoming", "loadvm"],
        ARGUMENT,
        "machines cannot be saved yet",
    ),
    absent(&["semihosting"], None, "there is no semihosting"),
    absent(&["semihosting-config"], ARGUMENT, "there is no semihosting"),
    absent(
        &["smbios", "acpitable", "fw_cfg"],
        ARGUMENT,
        "the machine's tables are its own",
    ),
    absent(&["trace", "plugin", "dfilter"], ARGUMENT, "use -d to log"),
    absent(
        &["daemonize"],
        None,
        "run it in the background with the shell or a service manager",
    ),
    absent(
        &["pidfile", "runas", "chroot", "sandbox"],
        ARGUMENT,
        "use the service manager's",
    ),
    absent(
        &["action", "seed", "overcommit", "add-fd"],
        ARGUMENT,
        "not built yet",
    ),
    absent(
        &["virtfs", "fsdev"],
        ARGUMENT,
        "there is no shared folder yet",
    ),
    absent(&["tpmdev", "iscsi"], ARGUMENT, "there is no such back end"),
];

/// The option of a name.
pub fn find(name: &str) -> Option<&'static Definition> {
    OPTIONS.iter().find(|option| option.names.contains(&name))
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().flat_map(|option| option.names).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_unique_and_has_help() {
        let mut seen = BTreeSet::new();
        for option in OPTIONS {
            assert!(!option.names.is_empty() && !option.help.is_empty());
            assert!(
                option.names.iter().all(|name| seen.insert(*name)),
                "{option:?}"
            );
        }
    }

    #[test]
    fn each_setting_has_one_row() {
        let rows: Vec<_> = OPTIONS
            .iter()
            .map(|option| option.setting)
            .filter(|setting| !matches!(setting, Setting::Unsupported(_) | Setting::WithoutEffect))
            .collect();
        for (index, row) in rows.iter().enumerate() {
            assert!(!rows[index + 1..].contains(row), "{row:?}");
        }
    }
}
