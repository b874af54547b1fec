//! The inputs of the tests that no repository should hold: foreign packages and test sources.
//!
//! Each input is made beside its place and moved there when it is whole, with a stamp that says
//! from what; an input whose stamp is right is never made again, so a second run needs no network.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::{self, Apt};
use crate::error::{AtPath, Error, Result};
use crate::paths::Paths;
use crate::process::step;
use crate::sandbox::Sandbox;

/// Change this when the recipes below change in a way that the lists do not show.
const RECIPE: &str = "1";

/// The programs that the cases run; their dependencies follow by themselves. `gron` is the Go one.
const PACKAGES: &[&str] = &[
    "bash",
    "binutils",
    "bzip2",
    "coreutils",
    "dash",
    "diffutils",
    "file",
    "findutils",
    "gawk",
    "gcc",
    "git",
    "grep",
    "gron",
    "gzip",
    "libc-bin",
    "libc6-dev",
    "lua5.4",
    "make",
    "nodejs",
    "openssl",
    "perl",
    "python3",
    "sed",
    "sqlite3",
    "tar",
    "tzdata",
    "xz-utils",
    "zstd",
];

/// The native tree and the guest's; the native one helps to make the other.
pub const NATIVE: &str = "amd64";
/// See [`NATIVE`].
pub const GUEST: &str = "riscv64";

/// The links that Debian's alternatives would make at installation, as (link, target).
const ALTERNATIVES: &[(&str, &str)] = &[("awk", "gawk"), ("cc", "gcc"), ("lua", "lua5.4")];

/// Makes every input of user mode that is not there yet.
pub fn prepare(paths: &Paths) -> Result<()> {
    locked(paths, || prepare_user_mode(paths))
}

/// Makes inputs by `recipes`, alone in the cache and with the host's packages in place.
pub fn locked(paths: &Paths, recipes: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== inputs in {}", paths.cache.display());
    let path = paths.cache.join("lock");
    let lock = File::create(&path).at(&path)?;
    lock.lock().at(&path)?;
    apt::ensure_host()?;
    recipes()?;
    lock.unlock().at(&path)
}

fn prepare_user_mode(paths: &Paths) -> Result<()> {
    for arch in [NATIVE, GUEST] {
        make(
            paths,
            &format!("{arch}-root"),
            &PACKAGES.join(" "),
            |part| debian_root(paths, arch, part),
        )?;
    }
    let archives = apt::RELEASE;
    make(paths, "qemu", archives, |part| qemu_user(paths, part))?;
    make(paths, "qemu-tests", archives, |part| {
        qemu_tests(paths, part)
    })?;
    let gcc = cross_compiler_version()?;
    make(paths, "gcc-torture", &gcc, |part| gcc_torture(&gcc, part))
}

/// Makes the input `name` by `recipe` unless its stamp says that it is there.
pub fn make(
    paths: &Paths,
    name: &str,
    ingredients: &str,
    recipe: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let (done, part) = (
        paths.cache.join(name),
        paths.cache.join(format!("{name}.part")),
    );
    let stamp = paths.cache.join(format!("{name}.stamp"));
    let wanted = format!("{RECIPE} {ingredients}\n");
    if done.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    println!("   making {name}");
    for old in [&stamp, &part, &done] {
        remove(old)?;
    }
    fs::create_dir_all(&part).at(&part)?;
    recipe(&part)?;
    fs::rename(&part, &done).at(&done)?;
    fs::write(&stamp, wanted).at(&stamp)
}

/// Removes a file or a whole folder, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at(path),
        _ => Ok(()),
    }
}

/// The beginning of a tree with a merged `/usr`: its folders and the links to them.
pub fn merged_tree(root: &Path) -> Result<()> {
    for folder in ["bin", "sbin", "lib", "lib64"] {
        let path = root.join("usr").join(folder);
        fs::create_dir_all(&path).at(&path)?;
        symlink(format!("usr/{folder}"), root.join(folder)).at(root.join(folder))?;
    }
    Ok(())
}

/// A tree of Debian's packages for `arch`, unpacked but not installed: no script of theirs runs.
fn debian_root(paths: &Paths, arch: &str, root: &Path) -> Result<()> {
    merged_tree(root)?;
    let apt = Apt::open(&paths.folder(&format!("apt-{arch}"))?, arch)?;
    apt::unpack(&apt.download_with_dependencies(PACKAGES)?, root)?;
    for (link, target) in ALTERNATIVES {
        let link = root.join("usr/bin").join(link);
        symlink(target, &link).at(&link)?;
    }
    for folder in ["scratch", "proc", "dev", "tmp"] {
        let path = root.join(folder);
        fs::create_dir_all(&path).at(&path)?;
    }
    let etc = [
        (
            "passwd",
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
        ),
        ("group", "root:x:0:\nnogroup:x:65534:\n"),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("hostname", "debian\n"),
    ];
    for (name, text) in etc {
        let path = root.join("etc").join(name);
        fs::write(&path, text).at(&path)?;
    }
    let native = if arch == NATIVE {
        root.to_owned()
    } else {
        paths.root(NATIVE)
    };
    compile_python(&native, root)
}

/// Byte-compiles Python's library, which the packages' scripts would do at installation, with the
/// native tree's interpreter: the compiled form is the same on every architecture.
fn compile_python(native: &Path, root: &Path) -> Result<()> {
    let library = root.join("usr/lib");
    let mut command = Sandbox::native(native).command(&library, "/usr/bin/python3");
    command.args([
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
    ]);
    command.args([
        "-s",
        "/scratch",
        "-p",
        "/usr/lib",
        "/scratch/python3.13",
        "/scratch/python3",
    ]);
    step(&mut command).map(drop)
}

/// QEMU's user mode of Debian 13, one static program: the reference for expectations.
fn qemu_user(paths: &Paths, part: &Path) -> Result<()> {
    let apt = Apt::open(&paths.folder(&format!("apt-{NATIVE}"))?, NATIVE)?;
    let unpacked = part.join("all");
    apt::unpack(&[apt.download("qemu-user")?], &unpacked)?;
    let (from, to) = (unpacked.join("usr/bin/qemu-riscv64"), part.join("usr/bin"));
    fs::create_dir_all(&to).at(&to)?;
    fs::copy(&from, to.join("qemu-riscv64")).at(&from)?;
    remove(&unpacked)
}

/// QEMU's guest tests for user mode, from Debian 13's source package.
fn qemu_tests(paths: &Paths, part: &Path) -> Result<()> {
    let apt = Apt::open(&paths.folder(&format!("apt-{NATIVE}"))?, NATIVE)?;
    let archive = apt.download_source("qemu")?;
    untar(&archive, part, "*/tests/tcg/*", 3)
}

/// GCC's C torture execution tests, from the source package of the cross compiler's own version.
fn gcc_torture(version: &str, part: &Path) -> Result<()> {
    let package = format!("gcc-{version}-source");
    apt::download_from_host(&package, part)?;
    let unpacked = part.join("all");
    let debs = entries(part)?
        .into_iter()
        .filter(|path| has_extension(path, "deb"));
    let debs: Vec<PathBuf> = debs.collect();
    apt::unpack(&debs, &unpacked)?;
    let sources = unpacked.join(format!("usr/src/gcc-{version}"));
    let upstream = entries(&sources)?.into_iter().find(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("gcc-") && name.contains(".tar.")
    });
    let upstream = upstream.ok_or(Error::MissingInput(sources))?;
    untar(
        &upstream,
        part,
        "*/gcc/testsuite/gcc.c-torture/execute/*",
        5,
    )?;
    for path in debs.iter().chain([&unpacked]) {
        remove(path)?;
    }
    Ok(())
}

/// Unpacks the members of `archive` that match `pattern`, without `strip` leading folders.
fn untar(archive: &Path, folder: &Path, pattern: &str, strip: usize) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .arg(format!("--strip-components={strip}"));
    step(command.args(["--wildcards", pattern])).map(drop)
}

/// The major version of the machine's cross compiler.
fn cross_compiler_version() -> Result<String> {
    let output = step(Command::new("riscv64-linux-gnu-gcc").arg("-dumpversion"))?;
    let text = String::from_utf8_lossy(&output).trim().to_owned();
    Ok(text.split('.').next().unwrap_or_default().to_owned())
}

/// The entries of a folder, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).at(folder)? {
        found.push(entry.at(folder)?.path());
    }
    found.sort();
    Ok(found)
}

/// Whether a path ends in `.extension`.
pub fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Copies a program and makes sure that it may be executed.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    remove(to)?;
    fs::copy(from, to).at(from)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).at(to)
}

/// Writes a program file.
pub fn write_program(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).at(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).at(path)
}
