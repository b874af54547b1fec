//! Debian's packages: those of this machine, and those of other architectures and releases.
//!
//! Invariants: the mirror's address comes from the machine's own apt configuration; the private
//! apt state never touches the machine's; only [`ensure`] installs anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{AtPath, Error, Result};
use crate::process::step;

/// The Debian release whose packages the guests come from: the first one with riscv64.
pub const RELEASE: &str = "trixie";

/// Debian's archive keys, as its keyring package installs them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the tests need of the machine itself.
const HOST_PACKAGES: &[&str] = &[
    "debian-archive-keyring",
    "dpkg",
    "e2fsprogs",
    "g++",
    "gcc-riscv64-linux-gnu",
    "libc6-dev-riscv64-cross",
    "qemu-user",
    "qemu-utils",
    "tar",
    "util-linux",
    "xz-utils",
];

/// Installs what is missing of the host's packages; without root, names them.
pub fn ensure_host() -> Result<()> {
    ensure(HOST_PACKAGES)
}

/// Installs what is missing of these packages; without root, names them.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<String> = packages
        .iter()
        .filter(|package| !installed(package))
        .map(|package| (*package).to_owned())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        return Err(Error::HostPackages(missing));
    }
    println!("   installing {}", missing.join(" "));
    let mut install = apt_get();
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(&missing);
    if step(&mut install).is_ok() {
        return Ok(());
    }
    // The usual reason is package lists that are old or absent.
    step(apt_get().arg("update"))?;
    step(&mut install).map(drop)
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn installed(package: &str) -> bool {
    let query = ["-W", "-f=${db:Status-Status}", package];
    let status = Command::new("dpkg-query").args(query).output();
    status.is_ok_and(|output| output.stdout == b"installed")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .arg("-q")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Downloads `package` for this machine from its own release, into `folder`.
pub fn download_from_host(package: &str, folder: &Path) -> Result<()> {
    let fetch = || step(apt_get().args(["download", package]).current_dir(folder));
    if fetch().is_ok() {
        return Ok(());
    }
    if is_root() {
        step(apt_get().arg("update"))?;
    }
    fetch().map(drop)
}

/// An apt state of our own for one architecture of [`RELEASE`].
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Makes the state in `folder` and fetches the package lists.
    pub fn open(folder: &Path, arch: &str) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            return Err(Error::HostPackages(vec![
                "debian-archive-keyring".to_owned(),
            ]));
        }
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).at(&path)?;
        }
        let mirror = mirror()?;
        let signed = format!("signed-by={KEYRING}");
        let sources = format!(
            "deb [arch={arch} {signed}] {mirror} {RELEASE} main\n\
             deb-src [{signed}] {mirror} {RELEASE} main\n"
        );
        write(&folder.join("sources.list"), &sources)?;
        write(&folder.join("state/status"), "")?;
        write(&folder.join("apt.conf"), &configuration(folder, arch))?;
        let apt = Self {
            folder: folder.to_owned(),
        };
        step(apt.get().arg("update"))?;
        Ok(apt)
    }

    fn get(&self) -> Command {
        let mut command = apt_get();
        command
            .arg("-c")
            .arg(self.folder.join("apt.conf"))
            .current_dir(&self.folder);
        command
    }

    /// Downloads `packages` and everything that they depend on; returns the archives' paths.
    pub fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        step(
            self.get()
                .args(["install", "-y", "--download-only"])
                .args(packages),
        )?;
        files(&self.folder.join("cache/archives"), ".deb")
    }

    /// Downloads one package alone; returns the archive's path.
    pub fn download(&self, package: &str) -> Result<PathBuf> {
        step(self.get().args(["download", package]))?;
        first(&self.folder, &format!("{package}_"), ".deb")
    }

    /// The first package that `package` depends on: what a package without content stands for.
    pub fn dependency(&self, package: &str) -> Result<String> {
        let mut cache = Command::new("apt-cache");
        cache
            .arg("-c")
            .arg(self.folder.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8");
        let output = step(cache.args(["depends", package]))?;
        let text = String::from_utf8_lossy(&output);
        let mut lines = text.lines().map(str::trim);
        let found = lines.find_map(|line| line.strip_prefix("Depends: "));
        found
            .map(str::to_owned)
            .ok_or_else(|| Error::MissingInput(PathBuf::from(package)))
    }

    /// Downloads the source of `package`; returns the path of its upstream archive.
    pub fn download_source(&self, package: &str) -> Result<PathBuf> {
        step(
            self.get()
                .args(["source", "--download-only", "--only-source", package]),
        )?;
        first(&self.folder, &format!("{package}_"), ".orig.tar.xz")
    }
}

/// Unpacks binary packages into `root`.
pub fn unpack(archives: &[PathBuf], root: &Path) -> Result<()> {
    for archive in archives {
        step(Command::new("dpkg").arg("-x").arg(archive).arg(root))?;
    }
    Ok(())
}

/// The private state's configuration, read by apt after the machine's own, whose proxies and
/// timeouts stay in force while its hooks do not.
fn configuration(folder: &Path, arch: &str) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         #clear APT::Architectures;\n\
         APT::Architecture \"{arch}\";\n\
         APT::Architectures {{ \"{arch}\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Get::AllowUnauthenticated \"false\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Dir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/state/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::Etc::Preferences \"/dev/null\";\n\
         Dir::Etc::PreferencesParts \"/dev/null\";\n"
    )
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).at(path)
}

/// The files of a folder whose names end with `suffix`, sorted.
fn files(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn first(folder: &Path, prefix: &str, suffix: &str) -> Result<PathBuf> {
    let named = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    let found = files(folder, suffix)?.into_iter().rfind(named);
    found.ok_or_else(|| Error::MissingInput(folder.join(format!("{prefix}*{suffix}"))))
}

/// The address of a Debian mirror, from the machine's apt configuration.
fn mirror() -> Result<String> {
    let mut candidates = Vec::new();
    if let Ok(text) = fs::read_to_string("/etc/apt/sources.list") {
        candidates.extend(one_line_sources(&text));
    }
    let parts = Path::new("/etc/apt/sources.list.d");
    for path in files(parts, ".sources").unwrap_or_default() {
        candidates.extend(deb822_sources(&fs::read_to_string(&path).at(&path)?));
    }
    for path in files(parts, ".list").unwrap_or_default() {
        candidates.extend(one_line_sources(&fs::read_to_string(&path).at(&path)?));
    }
    choose(candidates).ok_or(Error::NoMirror)
}

/// Prefers an address that ends in `/debian`, as Debian's mirrors do by convention.
fn choose(candidates: Vec<Source>) -> Option<String> {
    let main = |source: &&Source| source.main && !source.suite.contains("-security");
    let usual = |source: &&Source| source.uri.trim_end_matches('/').ends_with("/debian");
    let of_debian = candidates.iter().filter(main).find(usual);
    of_debian
        .or_else(|| candidates.iter().find(main))
        .map(|source| source.uri.clone())
}

/// One archive that the machine's apt reads.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    main: bool,
}

/// Sources in the one-line format of sources.list(5): `deb [options] uri suite component…`.
fn one_line_sources(text: &str) -> Vec<Source> {
    let parse = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Source {
            uri,
            suite,
            main: words.any(|word| word == "main"),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// Sources in the deb822 format of sources.list(5): stanzas of `Field: words`.
fn deb822_sources(text: &str) -> Vec<Source> {
    let parse = |stanza: &str| {
        let field = |name: &str| {
            let mut lines = stanza.lines().filter(|line| !line.starts_with('#'));
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let has = |name: &str, word: &str| {
            field(name).is_some_and(|words| words.split_whitespace().any(|each| each == word))
        };
        if !has("Types", "deb") || has("Enabled", "no") {
            return None;
        }
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        let suite = field("Suites")?.split_whitespace().next()?.to_owned();
        Some(Source {
            uri,
            suite,
            main: has("Components", "main"),
        })
    };
    text.split("\n\n").filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str) -> Source {
        Source {
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            main: true,
        }
    }

    #[test]
    fn one_line_entries_with_and_without_options() {
        let text = "# deb http://commented.example/ x main\n\
                    deb http://a.example/debian bookworm main contrib\n\
                    deb [arch=amd64 signed-by=/k.gpg] https://b.example/x stable main\n\
                    deb-src http://a.example/debian bookworm main\n";
        let expected = [
            source("http://a.example/debian", "bookworm"),
            source("https://b.example/x", "stable"),
        ];
        assert_eq!(one_line_sources(text), expected);
    }

    #[test]
    fn deb822_stanzas() {
        let text = "Types: deb\n# URIs: http://old.example\nURIs: http://a.example/debian\n\
                    Suites: trixie trixie-updates\nComponents: main\n\n\
                    Types: deb\nEnabled: no\nURIs: http://b.example\nSuites: x\nComponents: main\n";
        assert_eq!(
            deb822_sources(text),
            [source("http://a.example/debian", "trixie")]
        );
    }

    #[test]
    fn the_mirror_is_debians_main_archive() {
        let candidates = || {
            vec![
                source("http://a.example/debian-security", "trixie-security"),
                source("http://other.example/packages", "stable"),
                source("http://a.example/debian/", "trixie"),
            ]
        };
        assert_eq!(
            choose(candidates()).as_deref(),
            Some("http://a.example/debian/")
        );
        let mut without = candidates();
        without.truncate(2);
        assert_eq!(
            choose(without).as_deref(),
            Some("http://other.example/packages")
        );
    }
}
