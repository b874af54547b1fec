//! The guests' files: a kernel, an initramfs and a disk from Debian's packages, firmware.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cpio::Archive;
use super::modules::{self, Module};
use crate::apt::{self, Apt};
use crate::emulator::Emulator;
use crate::error::{AtPath, Error, Result};
use crate::inputs;
use crate::paths::Paths;
use crate::process::{self, step};
use crate::sandbox::{Sandbox, with_users};
use crate::stages;

/// Debian's name of the machine.
const ARCH: &str = "riscv64";

/// A package whose only dependency is the release's kernel.
const KERNEL: &str = "linux-image-riscv64";

/// What the initramfs and the firmware come from.
const SINGLE: &[&str] = &["busybox-static", "opensbi", "u-boot-qemu"];

/// What the kernel needs to reach its root and the network, beyond what is built in.
const MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio-rng",
    "crc32c_generic",
    "ext4",
];

/// The Debian root: the base of every system (apt's patterns), and what a console login needs.
const ROOT_PACKAGES: &[&str] = &[
    "?essential",
    "?priority(required)",
    "apt",
    "dbus",
    "iproute2",
    "kmod",
    "login",
    "passwd",
    "procps",
    "systemd-sysv",
    "udev",
];

/// The disk's size; the root takes less than half of it.
const DISK: &str = "768M";

/// No second stage takes that long.
const SECOND_STAGE_LIMIT: Duration = Duration::from_secs(1800);

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Linux, uncompressed.
    pub kernel: PathBuf,
    /// The workloads.
    pub initramfs: PathBuf,
    /// The same with the modules that a disk needs.
    pub initramfs_disk: PathBuf,
    /// The static busybox of the initramfs.
    pub busybox: PathBuf,
    /// OpenSBI, which is told what to start.
    pub opensbi: PathBuf,
    /// U-Boot for S-mode.
    pub uboot_smode: PathBuf,
    /// U-Boot for M-mode.
    pub uboot: PathBuf,
    /// The kernel of `isomorph demo`, which the repository holds.
    pub demo_kernel: PathBuf,
    /// The disk image, raw.
    pub disk: PathBuf,
    /// The disk image, qcow2.
    pub disk_qcow2: PathBuf,
}

impl Files {
    fn new(paths: &Paths) -> Self {
        let (boot, root) = (
            paths.cache.join("boot-riscv64"),
            paths.cache.join("disk-riscv64"),
        );
        Self {
            kernel: boot.join("Image"),
            initramfs: boot.join("initramfs.gz"),
            initramfs_disk: boot.join("initramfs-disk.gz"),
            busybox: boot.join("busybox"),
            opensbi: boot.join("fw_dynamic.bin"),
            uboot_smode: boot.join("u-boot-smode.bin"),
            uboot: boot.join("u-boot.bin"),
            demo_kernel: paths.workspace.join("guests/images/kernel"),
            disk: root.join("root.ext4"),
            disk_qcow2: root.join("root.qcow2"),
        }
    }
}

/// Makes what is not there yet: kernel, initramfs and firmware, and with `disk` the root.
pub fn prepare(paths: &Paths, disk: bool) -> Result<Files> {
    let guests = paths.workspace.join("guests/boot");
    let init = read(&guests.join("init"))?;
    let second_stage = read(&guests.join("second-stage"))?;
    inputs::locked(paths, || {
        let ingredients = format!("{KERNEL} {SINGLE:?} {MODULES:?}\n{init}");
        inputs::make(paths, "boot-riscv64", &ingredients, |part| {
            boot_files(paths, &init, part)
        })?;
        if disk {
            let ingredients = format!("{ROOT_PACKAGES:?} {DISK}\n{second_stage}");
            inputs::make(paths, "disk-riscv64", &ingredients, |part| {
                disk_files(paths, &second_stage, part)
            })?;
        }
        Ok(())
    })?;
    Ok(Files::new(paths))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).at(path)
}

fn boot_files(paths: &Paths, init: &str, part: &Path) -> Result<()> {
    let apt = Apt::open(&paths.folder(&format!("apt-{ARCH}"))?, ARCH)?;
    let unpacked = part.join("all");
    let kernel = apt.dependency(KERNEL)?;
    for package in [kernel.as_str()].iter().chain(SINGLE) {
        apt::unpack(&[apt.download(package)?], &unpacked)?;
    }
    let version = kernel.trim_start_matches("linux-image-");
    let copies = [
        (format!("boot/vmlinux-{version}"), "Image"),
        ("usr/bin/busybox".to_owned(), "busybox"),
        (
            format!("usr/lib/{ARCH}-linux-gnu/opensbi/generic/fw_dynamic.bin"),
            "fw_dynamic.bin",
        ),
        (
            format!("usr/lib/u-boot/qemu-{ARCH}_smode/u-boot.bin"),
            "u-boot-smode.bin",
        ),
        (
            format!("usr/lib/u-boot/qemu-{ARCH}/u-boot.bin"),
            "u-boot.bin",
        ),
    ];
    for (from, to) in copies {
        let from = unpacked.join(from);
        fs::copy(&from, part.join(to)).at(&from)?;
    }
    let modules = modules::load(&unpacked.join("usr/lib/modules").join(version), MODULES)?;
    inputs::remove(&unpacked)?;
    let busybox = part.join("busybox");
    let busybox = fs::read(&busybox).at(&busybox)?;
    initramfs(&part.join("initramfs"), init, &busybox, &[])?;
    initramfs(&part.join("initramfs-disk"), init, &busybox, &modules)
}

/// Writes `path`.gz.
fn initramfs(path: &Path, init: &str, busybox: &[u8], modules: &[Module]) -> Result<()> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "modules"] {
        archive.folder(folder);
    }
    // The kernel opens the console for the first process before anything is mounted.
    archive.device("dev/console", (5, 1));
    archive.file("bin/busybox", busybox);
    archive.file("init", init.as_bytes());
    let mut order = String::new();
    for (name, bytes) in modules {
        archive.file(&format!("modules/{name}"), bytes);
        order.push_str(name);
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes());
    fs::write(path, archive.finish()).at(path)?;
    step(Command::new("gzip").args(["-9", "-n"]).arg(path)).map(drop)
}

fn disk_files(paths: &Paths, second_stage: &str, part: &Path) -> Result<()> {
    let apt = Apt::open(&paths.folder(&format!("apt-{ARCH}-disk"))?, ARCH)?;
    let archives = apt.download_with_dependencies(ROOT_PACKAGES)?;
    let (root, scratch) = (part.join("root"), part.join("scratch"));
    fs::create_dir_all(&scratch).at(&scratch)?;
    inputs::merged_tree(&root)?;
    apt::unpack(&archives, &root)?;
    for archive in &archives {
        let to = scratch.join(archive.file_name().unwrap_or_default());
        fs::copy(archive, &to).at(archive)?;
    }
    let script = scratch.join("second-stage");
    inputs::write_program(&script, second_stage.as_bytes())?;
    install(paths, &root, &scratch)?;
    image(&root, part)?;
    step(with_users("rm").arg("-rf").arg(&root))?;
    inputs::remove(&scratch)
}

/// Builds the emulator, whose user mode the second stage needs too.
pub fn build(paths: &Paths) -> Result<()> {
    let build = ["build", "--release", "--package", "isomorph"];
    step(stages::cargo(paths).args(build)).map(drop)
}

/// Runs the second stage inside the tree, under this workspace's own user mode.
fn install(paths: &Paths, root: &Path, scratch: &Path) -> Result<()> {
    build(paths)?;
    let mount_point = root.join("scratch");
    fs::create_dir_all(&mount_point).at(&mount_point)?;
    let sandbox = Sandbox::emulated(root, &Emulator::isomorph(paths))?.whole_users();
    let mut command = sandbox.command(scratch, "/bin/sh");
    command.arg("/scratch/second-stage");
    let outcome = process::run(&mut command, &[], SECOND_STAGE_LIMIT)?;
    if !outcome.success() {
        let mut output = outcome.stdout.clone();
        output.extend_from_slice(&outcome.stderr);
        return Err(Error::Step {
            command: "guests/boot/second-stage".to_owned(),
            status: outcome.describe(),
            output: process::tail(&output, 30),
        });
    }
    inputs::remove(&root.join(crate::sandbox::EMULATOR.trim_start_matches('/')))?;
    fs::remove_dir(&mount_point).at(&mount_point)
}

/// Makes the disk images of a tree.
fn image(root: &Path, part: &Path) -> Result<()> {
    let (raw, qcow2) = (part.join("root.ext4"), part.join("root.qcow2"));
    let mut make = with_users("/usr/sbin/mkfs.ext4");
    make.args(["-q", "-L", "lab", "-d"])
        .arg(root)
        .arg(&raw)
        .arg(DISK);
    step(&mut make)?;
    let mut convert = Command::new("qemu-img");
    convert
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .arg(&raw)
        .arg(&qcow2);
    step(&mut convert).map(drop)
}
