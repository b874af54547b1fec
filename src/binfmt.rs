//! binfmt_misc: the registration that lets the kernel start riscv64 programs with isomorph, and
//! the kernel's call (Linux, `Documentation/admin-guide/binfmt-misc.rst`).
//!
//! Flags: P keeps `argv[0]`, O hands over an open descriptor of the program, C uses the program's
//! credentials, F opens isomorph at registration so that it works inside containers and chroots.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use isomorph_linux_user::inherited_auxiliary;

use crate::config::{Builder, Request};
use crate::error::CliError;
use crate::output::show;

/// Where the kernel shows binfmt_misc.
pub const FOLDER: &str = "/proc/sys/fs/binfmt_misc";
/// A link whose name ends so is one that the kernel calls with flag P.
pub const LINK_SUFFIX: &str = "-binfmt-P";

const LINK: &str = "isomorph-binfmt-P";
const ENTRY: &str = "isomorph-riscv64";
/// An ELF header of 64 bits, little endian, version 1, for EM_RISCV (243).
const MAGIC: &[u8; 20] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0";
/// Any ABI and padding; ET_EXEC (2) and ET_DYN (3).
const MASK: &[u8; 20] =
    b"\xff\xff\xff\xff\xff\xff\xff\0\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
/// Entries of the auxiliary vector (getauxval(3)).
const AT_EXECFD: u64 = 2;
const AT_FLAGS: u64 = 8;
/// In AT_FLAGS: the kernel kept `argv[0]`.
const AT_FLAGS_PRESERVE_ARGV0: u64 = 1;

/// `isomorph binfmt`.
pub fn manage(install: bool, remove: bool, link: Option<&OsStr>) -> Result<ExitCode, CliError> {
    if remove {
        write(&Path::new(FOLDER).join(ENTRY), b"-1")?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().map_err(file("find", "/proc/self/exe"))?;
    let link = link.map_or_else(|| program.with_file_name(LINK), PathBuf::from);
    let line = registration(&link);
    if install {
        if !Path::new(FOLDER).join("register").exists() {
            return Err(CliError::NoBinfmt);
        }
        if !link.exists() {
            symlink(&program, &link).map_err(file("make the link", &link))?;
        }
        write(&Path::new(FOLDER).join("register"), line.as_bytes())?;
        show(&format!(
            "registered {ENTRY}; `isomorph binfmt --remove` undoes it\n"
        ))?;
    } else {
        show(&format!("{line}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The registration, as the kernel and binfmt.d(5) take it.
fn registration(link: &Path) -> String {
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let (magic, mask): (String, String) = (escaped(MAGIC), escaped(MASK));
    format!(":{ENTRY}:M::{magic}:{mask}:{}:POCF", link.display())
}

/// The kernel's call: the program's path, its `argv[0]`, its arguments.
pub fn handle(mut arguments: Vec<OsString>) -> Result<ExitCode, CliError> {
    if arguments.len() < 2 {
        return Err(CliError::BinfmtCall);
    }
    let program = arguments.remove(0);
    let argv0 = arguments.remove(0);
    let Request::Run(mut config) = Builder::from_environment()?.finish(Some(program), arguments)?
    else {
        return Err(CliError::BinfmtCall);
    };
    config.argv0 = Some(argv0);
    config.execfd = inherited_auxiliary(AT_EXECFD).and_then(|fd| i32::try_from(fd).ok());
    crate::start(*config)
}

/// Whether the kernel started this process for a registration with flag P.
pub fn argv0_is_preserved() -> bool {
    inherited_auxiliary(AT_FLAGS).is_some_and(|flags| flags & AT_FLAGS_PRESERVE_ARGV0 != 0)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(file("write to", path))
}

fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.into();
    move |source| CliError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registration_has_the_kernels_form() {
        let line = registration(Path::new("/usr/bin/isomorph-binfmt-P"));
        let fields: Vec<_> = line.split(':').collect();
        assert_eq!(fields.len(), 8);
        assert_eq!(&fields[1..4], ["isomorph-riscv64", "M", ""]);
        assert_eq!(fields[4].len(), 80);
        assert_eq!(fields[5].len(), 80);
        assert_eq!(&fields[6..], ["/usr/bin/isomorph-binfmt-P", "POCF"]);
        assert!(line.len() < 1920, "the kernel takes no longer line");
    }

    #[test]
    fn the_mask_covers_static_and_position_independent_programs_only() {
        let matches = |header: &[u8; 20]| {
            let masked = header.iter().zip(MASK).map(|(byte, mask)| byte & mask);
            masked.eq(MAGIC.iter().zip(MASK).map(|(byte, mask)| byte & mask))
        };
        let mut header = *MAGIC;
        assert!(matches(&header));
        header[16] = 3;
        assert!(matches(&header));
        header[16] = 1;
        assert!(!matches(&header));
        header[16] = 2;
        header[18] = 62;
        assert!(!matches(&header));
    }
}
