//! Debian's packages that the comparison needs, unpacked beside the system, nothing installed:
//! newer QEMUs, and the native compiler whose output the guest's compiler must equal.
//!
//! `apt-get` does the work, with lists and caches of its own under `target/`; the mirror is the
//! one that the machine's own apt configuration names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compile;
use crate::error::Error;

/// One set of packages from one release.
#[derive(Debug)]
pub struct Set {
    /// The name of the folder it is unpacked to.
    pub name: &'static str,
    release: &'static str,
    packages: &'static [&'static str],
    /// Whether all that they depend on comes as well.
    dependencies: bool,
}

/// The QEMU of Debian 13: a static program, which runs on Debian 12 as well.
pub const QEMU_TRIXIE: Set = Set {
    name: "qemu-trixie",
    release: "trixie",
    packages: &["qemu-user"],
    dependencies: false,
};
/// The QEMU of Debian 12.
pub const QEMU_BOOKWORM: Set = Set {
    name: "qemu-bookworm",
    release: "bookworm",
    packages: &["qemu-user-static"],
    dependencies: false,
};
/// The QEMU of Debian 12's backports, where the machine's configuration has them.
pub const QEMU_BACKPORTS: Set = Set {
    name: "qemu-backports",
    release: "bookworm-backports",
    packages: &["qemu-user"],
    dependencies: false,
};
/// Debian 13's compiler for riscv64 that runs on amd64.
pub const CROSS_CC1: Set = Set {
    name: "cross-cc1",
    release: "trixie",
    packages: &[
        "cpp-14-riscv64-linux-gnu",
        "libgmp10",
        "libisl23",
        "libmpc3",
        "libmpfr6",
    ],
    dependencies: false,
};
/// Debian 13's QEMU for machines, with its libraries: it runs through its own dynamic linker.
pub const QEMU_SYSTEM: Set = Set {
    name: "qemu-system-trixie",
    release: "trixie",
    packages: &["qemu-system-riscv"],
    dependencies: true,
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The folder to which everything is unpacked.
pub fn folder(repository: &Path) -> PathBuf {
    repository.join("target/bench/packages")
}

/// Whether the machine's own apt configuration names that release.
pub fn configured(set: &Set) -> bool {
    index_targets("$(RELEASE)").is_ok_and(|text| text.lines().any(|line| line == set.release))
}

/// Downloads and unpacks a set, unless that was done before; returns its folder.
pub fn unpack(repository: &Path, set: &Set) -> Result<PathBuf, Error> {
    let target = folder(repository).join(set.name);
    let done = target.join(".complete");
    if done.is_file() {
        return Ok(target);
    }
    let apt = Apt::prepare(repository, set.release)?;
    fs::create_dir_all(&target).map_err(Error::file("create", &target))?;
    let mut download = apt.command();
    if set.dependencies {
        let partial = apt.downloads.join("partial");
        fs::create_dir_all(&partial).map_err(Error::file("create", &partial))?;
        let archives = format!("Dir::Cache::archives={}", apt.downloads.display());
        download.args([
            "install",
            "-y",
            "--no-install-recommends",
            "--download-only",
            "-o",
        ]);
        download.arg(archives);
    } else {
        download.arg("download");
    }
    compile::run(download.args(set.packages).current_dir(&apt.downloads))?;
    for deb in apt.take_downloads()? {
        compile::run(Command::new("dpkg").arg("-x").arg(&deb).arg(&target))?;
        fs::remove_file(&deb).map_err(Error::file("remove", &deb))?;
    }
    fs::write(&done, "").map_err(Error::file("write", &done))?;
    Ok(target)
}

struct Apt {
    options: Vec<String>,
    downloads: PathBuf,
}

impl Apt {
    fn prepare(repository: &Path, release: &str) -> Result<Self, Error> {
        let base = folder(repository);
        fs::create_dir_all(&base).map_err(Error::file("create", &base))?;
        let base = base
            .canonicalize()
            .map_err(Error::file("find", &base))?
            .join("apt");
        let base = base.join(release);
        let downloads = base.join("downloads");
        for path in [
            base.join("lists/partial"),
            base.join("cache"),
            downloads.clone(),
        ] {
            fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        }
        let sources = base.join("sources.list");
        let signed = if Path::new(KEYRING).is_file() {
            format!(" signed-by={KEYRING}")
        } else {
            String::new()
        };
        let line = format!("deb [arch=amd64{signed}] {} {release} main\n", mirror()?);
        fs::write(&sources, line).map_err(Error::file("write", &sources))?;
        let status = base.join("status");
        fs::write(&status, "").map_err(Error::file("write", &status))?;
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let options = vec![
            option("Dir::State::lists", &base.join("lists")),
            option("Dir::State::status", &status),
            option("Dir::Cache", &base.join("cache")),
            option("Dir::Etc::sourcelist", &sources),
            "Dir::Etc::sourceparts=-".into(),
            "APT::Architecture=amd64".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ];
        let apt = Self { options, downloads };
        compile::run(apt.command().arg("update"))?;
        Ok(apt)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-qq");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    fn take_downloads(&self) -> Result<Vec<PathBuf>, Error> {
        let read = fs::read_dir(&self.downloads).map_err(Error::file("list", &self.downloads))?;
        let mut debs: Vec<_> = read
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        debs.sort();
        Ok(debs)
    }
}

fn index_targets(format: &str) -> Result<String, Error> {
    compile::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
        "Created-By: Packages",
    ]))
}

/// The main archive's address in the machine's apt configuration.
fn mirror() -> Result<String, Error> {
    let text = index_targets("$(REPO_URI)")?;
    let uri = text
        .lines()
        .find(|line| line.trim_end_matches('/').ends_with("/debian"));
    uri.or_else(|| text.lines().next())
        .map(str::to_owned)
        .ok_or(Error::NoMirror)
}
