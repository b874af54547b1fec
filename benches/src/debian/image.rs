//! The disk that the programs run from: Debian's riscv64 tree of the tests' inputs, with our
//! programs, their input files and a shell as the first process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compile;
use crate::error::Error;

/// The first process.
const INIT: &str = include_str!("init");

/// What comes from Debian's tree: everything that its interpreters need, not its compilers.
const PARTS: [&str; 9] = [
    "bin",
    "etc",
    "lib",
    "lib64",
    "sbin",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/share/perl",
];
/// The initramfs moves its mounts there.
const MOUNT_POINTS: [&str; 4] = ["dev", "proc", "sys", "tmp"];
/// The folder of our programs in the guest.
pub const PROGRAMS: &str = "bench";
/// The folder of input files in the guest.
pub const DATA: &str = "data";
/// The tree takes half of it.
const SIZE: &str = "1G";

/// A file to put on the disk: what it is called there, and where it is.
pub type Entry = (String, PathBuf);

/// Makes the disk in `folder`, unless it is there with all of this; returns its path.
pub fn make(folder: &Path, tree: &Path, files: &[Entry]) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let (image, stamp) = (folder.join("root.ext4"), folder.join("root.stamp"));
    let wanted = ingredients(tree, files)?;
    if image.is_file() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(image);
    }
    eprintln!("making {}", image.display());
    let (root, partial) = (folder.join("root.part"), folder.join("root.ext4.part"));
    for old in [&root, &partial, &stamp] {
        remove(old)?;
    }
    fill(&root, tree, files)?;
    let mut make = Command::new("/usr/sbin/mkfs.ext4");
    compile::run(make.args(["-q", "-d"]).arg(&root).arg(&partial).arg(SIZE))?;
    remove(&root)?;
    fs::rename(&partial, &image).map_err(Error::file("rename", &partial))?;
    fs::write(&stamp, wanted).map_err(Error::file("write", &stamp))?;
    Ok(image)
}

/// What the disk is made of, as text that changes with it. Names of built programs hold a digest
/// of their sources; the tree has a stamp of its own beside it.
fn ingredients(tree: &Path, files: &[Entry]) -> Result<String, Error> {
    let packages = fs::read_to_string(tree.with_extension("stamp")).unwrap_or_default();
    let mut text = format!("{} {PARTS:?} {SIZE}\n{packages}{INIT}", tree.display());
    for (name, path) in files {
        text.push_str(&format!("{name} {}\n", path.display()));
        if name.starts_with(DATA) {
            text.push_str(&fs::read_to_string(path).map_err(Error::file("read", path))?);
        }
    }
    Ok(text)
}

fn fill(root: &Path, tree: &Path, files: &[Entry]) -> Result<(), Error> {
    for folder in MOUNT_POINTS.iter().chain(&["usr/share", PROGRAMS, DATA]) {
        let path = root.join(folder);
        fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
    }
    for part in PARTS.iter().filter(|part| tree.join(part).exists()) {
        let to = root.join(part);
        compile::run(Command::new("cp").arg("-a").arg(tree.join(part)).arg(to))?;
    }
    let init = root.join("usr/sbin/init");
    let sbin = root.join("usr/sbin");
    fs::create_dir_all(&sbin).map_err(Error::file("create", &sbin))?;
    fs::write(&init, INIT).map_err(Error::file("write", &init))?;
    compile::run(Command::new("chmod").arg("755").arg(&init))?;
    for (name, path) in files {
        fs::copy(path, root.join(name)).map_err(Error::file("copy", path))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}
