//! A run from the disk: to the login, through a session, a crash, and a second boot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Failure;
use super::console::Console;
use super::figures::{self, Figures};
use super::initramfs::{self, MARKER};
use super::machine::{self, Emulator, Guest};
use super::options::{BootOptions, Format};
use super::recipes::Files;
use super::repository::{ANSWER, PACKAGE, Repository};
use crate::error::{AtPath, Error, Result};
use crate::inputs;
use crate::paths::Paths;
use crate::process::{self, step};

/// The kernel's command line.
pub const APPEND: &str = "console=ttyS0 root=/dev/vda";

/// A terminal's echo is switched off some moments after the prompt for the password.
const ECHO_OFF: Duration = Duration::from_millis(700);

/// A check of a small file system takes seconds.
const FSCK_LIMIT: Duration = Duration::from_secs(120);

/// Waits until the network's configuration has arrived.
const AWAIT_ADDRESS: &str = "systemctl start systemd-networkd; n=0; \
    until ip -4 -o addr show scope global | grep -F 10.0.2. || [ $n -eq 120 ]; \
    do n=$((n+1)); sleep 0.5; done; [ $n -lt 120 ]";

/// Writes files whose content is known afterwards, and makes sure that they are on the disk.
const WRITE: &str = "mkdir -p /root/kept && cd /root/kept && \
    for i in 1 2 3 4 5 6 7 8; do head -c 1000000 /dev/urandom > file$i; done && \
    sha256sum file* > sums && sync";

/// Whether they are there again.
const CHECK: &str = "cd /root/kept && ls file8 && sha256sum --quiet -c sums";

/// Boots, works, crashes, boots again and checks; with `quick` only to the login and off.
pub fn run(
    emulator: &Emulator,
    options: &BootOptions,
    paths: &Paths,
    files: &Files,
) -> std::result::Result<Figures, Failure> {
    let folder = scratch(paths)?;
    let figures = run_in(&folder, emulator, options, files);
    inputs::remove(&folder)?;
    figures
}

fn run_in(
    folder: &Path,
    emulator: &Emulator,
    options: &BootOptions,
    files: &Files,
) -> std::result::Result<Figures, Failure> {
    let image = copy(folder, options, files)?;
    let guest = Guest {
        append: APPEND,
        disk: Some(&image),
    };
    let start = || {
        let mut command = machine::command(emulator, options, files, &guest);
        Console::start(&mut command, options.timeout)
    };
    let mut console = start()?;
    let mut figures = boot(&mut console, options)?;
    if let Some(seconds) = options.idle {
        console.rest(Duration::from_secs(10))?;
        figures.idle = Some(initramfs::idle(&mut console, seconds)?);
    }
    log_in(&mut console)?;
    if !options.quick {
        let repository = Repository::serve(folder)?;
        session(&mut console, repository.port)?;
        console.kill()?;
        console = start()?;
        boot(&mut console, options)?;
        log_in(&mut console)?;
        shell(&mut console, CHECK)?;
        shell(&mut console, &format!("{PACKAGE} | grep -F '{ANSWER}'"))?;
    }
    console.send("poweroff\n")?;
    (_, figures.end) = console.end()?;
    check(&image, options)?;
    Ok(figures)
}

/// A copy of the image that the guest may change.
pub fn copy(folder: &Path, options: &BootOptions, files: &Files) -> Result<PathBuf> {
    let (from, name) = match options.format {
        Format::Raw => (&files.disk, "disk.raw"),
        Format::Qcow2 => (&files.disk_qcow2, "disk.qcow2"),
    };
    let to = folder.join(name);
    let mut copy = Command::new("cp");
    step(copy.arg("--sparse=always").arg(from).arg(&to))?;
    Ok(to)
}

/// A folder of this process alone.
pub fn scratch(paths: &Paths) -> Result<PathBuf> {
    let name = format!("boot-{}", std::process::id());
    let path = paths.cache.join("scratch").join(name);
    std::fs::create_dir_all(&path).at(&path)?;
    Ok(path)
}

/// To the login prompt.
fn boot(console: &mut Console, options: &BootOptions) -> std::result::Result<Figures, Failure> {
    let (system, marker) = console.expect_line(MARKER)?;
    let mut figures = Figures::new(system, marker);
    figures.login = Some(console.expect("login: ")?);
    figures.memory = console.memory(figures::ram_kib(options));
    Ok(figures)
}

fn log_in(console: &mut Console) -> std::result::Result<(), Failure> {
    console.send("root\n")?;
    console.expect("Password: ")?;
    console.rest(ECHO_OFF)?;
    console.send("lab\n")?;
    console.expect("# ")?;
    shell(console, "true")
}

/// Runs a command, which must succeed. The echo of what is typed does not look like its end.
fn shell(console: &mut Console, command: &str) -> std::result::Result<(), Failure> {
    console.send(&format!("{command}; echo \"[sta\"\"tus $?]\"\n"))?;
    let (status, _) = console.expect_line("[status ")?;
    if status == "0]" {
        return Ok(());
    }
    Err(console.failure(&format!("`{command}` ended with [{status}")))
}

/// Network, packages, files.
fn session(console: &mut Console, port: u16) -> std::result::Result<(), Failure> {
    shell(console, AWAIT_ADDRESS)?;
    let source = format!("deb [trusted=yes] http://10.0.2.2:{port} ./");
    shell(console, &format!("echo '{source}' > /etc/apt/sources.list"))?;
    shell(console, "apt-get -q update")?;
    shell(console, &format!("apt-get -q install -y {PACKAGE}"))?;
    shell(console, &format!("{PACKAGE} | grep -F '{ANSWER}'"))?;
    shell(console, WRITE)
}

/// The file system must be clean.
fn check(image: &Path, options: &BootOptions) -> std::result::Result<(), Failure> {
    let raw = image.with_extension("checked");
    let checked = match options.format {
        Format::Raw => image,
        Format::Qcow2 => {
            let mut convert = Command::new("qemu-img");
            convert
                .args(["convert", "-f", "qcow2", "-O", "raw"])
                .arg(image)
                .arg(&raw);
            step(&mut convert)?;
            &raw
        }
    };
    let mut fsck = Command::new("/usr/sbin/fsck.ext4");
    let outcome = process::run(fsck.args(["-f", "-n"]).arg(checked), &[], FSCK_LIMIT)?;
    inputs::remove(&raw)?;
    if outcome.success() {
        return Ok(());
    }
    Err(Failure::Harness(Error::Step {
        command: "fsck.ext4 -f -n".to_owned(),
        status: outcome.describe(),
        output: process::tail(&outcome.stdout, 20),
    }))
}
