//! A machine as a command line: the same for every emulator that answers to these options.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::{Bios, BootOptions, Choice, Format, Transport};
use super::recipes::Files;
use crate::emulator::JIT;
use crate::paths::Paths;

/// RAM of a guest that only has the initramfs, and of one with a disk, in MiB.
const MEMORY: u32 = 512;
const MEMORY_WITH_DISK: u32 = 1024;

/// How an emulator is called.
#[derive(Debug, Clone)]
pub struct Emulator {
    program: PathBuf,
    arguments: &'static [&'static str],
    jit: Option<String>,
    /// Properties that its PCI network card needs: QEMU's wants a boot ROM that Debian packages
    /// apart.
    network_card: &'static str,
    /// Whether it can say itself what it hangs at.
    watchdog: bool,
}

impl Emulator {
    /// The emulator that the user chose.
    pub fn new(choice: &Choice, paths: &Paths) -> Self {
        let program = match choice {
            Choice::Isomorph => paths.isomorph(),
            Choice::Qemu => PathBuf::from("qemu-system-riscv64"),
            Choice::Program(path) => path.clone(),
        };
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let ours = name.starts_with("isomorph");
        let (arguments, network_card): (&[&str], _) = if ours {
            (&["system", "riscv64"], "")
        } else {
            (&[], ",romfile=")
        };
        Self {
            program,
            arguments,
            jit: None,
            network_card,
            watchdog: ours,
        }
    }

    /// The same emulator with this setting of the translator, if there is one.
    pub fn with_jit(mut self, setting: Option<&str>) -> Self {
        self.jit = setting.map(str::to_owned);
        self
    }
}

/// What the guest gets beyond CPUs and RAM.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    /// The kernel's own command line.
    pub append: &'a str,
    /// A disk image with the Debian root.
    pub disk: Option<&'a Path>,
}

/// The guest's RAM in MiB.
pub fn memory(options: &BootOptions) -> u32 {
    let usual = if options.disk || options.root.is_some() {
        MEMORY_WITH_DISK
    } else {
        MEMORY
    };
    options.memory.unwrap_or(usual)
}

/// The whole command line.
pub fn command(
    emulator: &Emulator,
    options: &BootOptions,
    files: &Files,
    guest: &Guest,
) -> Command {
    let mut command = Command::new(&emulator.program);
    if let Some(setting) = &emulator.jit {
        command.env(JIT, setting);
    }
    command
        .args(emulator.arguments)
        .args(["-M", "virt"])
        .args(["-smp", &options.smp.to_string()])
        .args(["-m", &memory(options).to_string()]);
    if !options.twice {
        command.arg("-no-reboot");
    }
    if options.interactive {
        command.arg("-nographic");
    } else {
        command.args(["-display", "none", "-serial", "stdio", "-monitor", "none"]);
        if emulator.watchdog {
            // Silence that the time limit would end; what it prints is part of the failure.
            let seconds = options.timeout.as_secs() * 3 / 4;
            command.args(["-watchdog", &seconds.to_string()]);
        }
    }
    firmware(&mut command, options.bios, files);
    if matches!(options.bios, Bios::Builtin | Bios::Opensbi) {
        kernel(&mut command, options, files, guest);
    }
    match (&options.root, guest.disk) {
        (Some(image), _) => attach_read_only(&mut command, image),
        (None, Some(image)) => attach(&mut command, emulator, options, image),
        (None, None) => drop(command.args(["-nic", "none"])),
    }
    command.args(&options.rest);
    command
}

fn kernel(command: &mut Command, options: &BootOptions, files: &Files, guest: &Guest) {
    let initramfs = match guest.disk {
        Some(_) => &files.initramfs_disk,
        None => &files.initramfs,
    };
    if options.demo_kernel {
        command.arg("-kernel").arg(&files.demo_kernel);
    } else {
        command.arg("-kernel").arg(&files.kernel);
        command.arg("-initrd").arg(initramfs);
    }
    command.args(["-append", guest.append]);
}

fn firmware(command: &mut Command, bios: Bios, files: &Files) {
    match bios {
        Bios::Builtin => {}
        Bios::Opensbi => drop(command.arg("-bios").arg(&files.opensbi)),
        Bios::Uboot => {
            command.arg("-bios").arg(&files.opensbi);
            command.arg("-kernel").arg(&files.uboot_smode);
            command.arg("-initrd").arg(&files.initramfs_disk);
        }
        Bios::None => {
            command.args(["-bios", "none"]);
            command.arg("-kernel").arg(&files.uboot);
            command.arg("-initrd").arg(&files.initramfs_disk);
        }
    }
}

fn attach_read_only(command: &mut Command, image: &Path) {
    let image = image.display();
    let drive = format!("file={image},format=raw,if=none,id=disk,readonly=on");
    command
        .args(["-drive", &drive])
        .args(["-device", "virtio-blk-pci,drive=disk"])
        .args(["-nic", "none"]);
}

fn attach(command: &mut Command, emulator: &Emulator, options: &BootOptions, image: &Path) {
    let format = match options.format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
    };
    let (bus, properties) = match options.transport {
        Transport::Pci => ("pci", emulator.network_card),
        Transport::Mmio => ("device", ""),
    };
    let drive = format!("file={},format={format},if=none,id=disk", image.display());
    command
        .args(["-drive", &drive])
        .args(["-device", &format!("virtio-blk-{bus},drive=disk")])
        .args(["-netdev", "user,id=net"])
        .args([
            "-device",
            &format!("virtio-net-{bus},netdev=net{properties}"),
        ]);
}
