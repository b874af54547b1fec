//! Files under `/proc` whose host contents are not the guest's (proc(5)).

use crate::errno::{Errno, SysResult};
use crate::exec;
use crate::mm::{AddressSpace, Kind};
use crate::task::{Layout, Process, Task};
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A file that isomorph answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Exe,
    Maps,
    Auxv,
    Cmdline,
    Stat,
    CpuInfo,
    /// The command line of another process, perhaps one under isomorph too.
    OtherCmdline(i32),
    /// The executable of another process.
    OtherExe(i32),
}

/// Which file `path` is, if isomorph answers for it.
fn classify(path: &Path) -> Option<Own> {
    let rest = path.as_os_str().as_bytes().strip_prefix(b"/proc/")?;
    if rest == b"cpuinfo" {
        return Some(Own::CpuInfo);
    }
    let rest = std::str::from_utf8(rest).ok()?;
    let (who, file) = rest.split_once('/')?;
    let itself = match who {
        "self" | "thread-self" => None,
        // SAFETY: no memory is touched.
        pid => Some(pid.parse::<i32>().ok()?).filter(|&pid| pid != unsafe { libc::getpid() }),
    };
    let file = match file.strip_prefix("task/") {
        Some(rest) => rest.split_once('/')?.1,
        None => file,
    };
    match (itself, file) {
        (None, "exe") => Some(Own::Exe),
        (None, "maps") => Some(Own::Maps),
        (None, "auxv") => Some(Own::Auxv),
        (None, "cmdline") => Some(Own::Cmdline),
        (None, "stat") => Some(Own::Stat),
        (Some(pid), "cmdline") => Some(Own::OtherCmdline(pid)),
        (Some(pid), "exe") => Some(Own::OtherExe(pid)),
        _ => None,
    }
}

/// Opens `path` if it is a file that isomorph answers for (`/proc/self/maps`, `/proc/cpuinfo` …):
/// the descriptor, or an error; `None` if the host's file is right.
pub fn open(task: &Task, path: &Path, flags: i32) -> Option<SysResult> {
    let own = classify(path)?;
    if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_PATH != 0 {
        return None;
    }
    let contents = contents(&task.process, own)?;
    Some(contents.and_then(|bytes| as_file(&bytes, flags)))
}

/// What `readlink` says about `path` if that is not what the host says (`/proc/self/exe`).
pub fn link_target(task: &Task, path: &Path) -> Option<PathBuf> {
    match classify(path)? {
        Own::Exe => Some(task.process.image.exe.clone()),
        Own::OtherExe(pid) => exec::guest_of(pid).map(|(program, _)| program),
        _ => None,
    }
}

/// The file that `path` leads to when links are followed, if the host's link is not the guest's.
#[must_use]
pub fn redirect(process: &Process, path: &Path) -> Option<PathBuf> {
    match classify(path)? {
        Own::Exe => Some(process.image.exe.clone()),
        _ => None,
    }
}

fn contents(process: &Process, own: Own) -> Option<Result<Vec<u8>, Errno>> {
    let image = &process.image;
    Some(Ok(match own {
        Own::Exe | Own::OtherExe(_) => return None,
        Own::Auxv => image.auxv.clone(),
        Own::Cmdline => terminated(&image.argv),
        Own::CpuInfo => cpu_info(process).into_bytes(),
        Own::OtherCmdline(pid) => terminated(&exec::guest_of(pid)?.1),
        Own::Maps => return Some(memory_map(&process.mm).map(String::into_bytes)),
        Own::Stat => match std::fs::read("/proc/self/stat") {
            Ok(host) => stat(&image.layout, host),
            Err(error) => return Some(Err(error.into())),
        },
    }))
}

fn terminated(list: &[OsString]) -> Vec<u8> {
    list.iter()
        .flat_map(|text| text.as_bytes().iter().copied().chain([0]))
        .collect()
}

/// A file with these contents.
fn as_file(bytes: &[u8], flags: i32) -> SysResult {
    let cloexec = if flags & libc::O_CLOEXEC != 0 {
        libc::MFD_CLOEXEC
    } else {
        0
    };
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"proc".as_ptr(), cloexec) };
    if fd < 0 {
        return Err(Errno::last());
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: the bytes are live.
        let done = unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(done) {
            Ok(done) => rest = &rest[done..],
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => break,
        }
    }
    // SAFETY: plain system call on our own descriptor.
    unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
    Ok(fd as u64)
}

/// `/proc/cpuinfo` as riscv Linux prints it.
fn cpu_info(process: &Process) -> String {
    let isa = process.engine.guest().cpu.isa_string();
    let mmu = if process.mm.ceiling() > 1 << 38 {
        "sv48"
    } else {
        "sv39"
    };
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = String::new();
    for cpu in 0..count {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "processor\t: {cpu}\nhart\t\t: {cpu}\nisa\t\t: {isa}\nmmu\t\t: {mmu}\n\
             mvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: {isa}\n"
        );
    }
    text
}

/// A line of the host's `/proc/self/maps`.
struct Line<'a> {
    start: u64,
    end: u64,
    shared: char,
    offset: u64,
    device: &'a str,
    inode: &'a str,
    name: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (start, end) = crate::mm::range_of_line(text)?;
        let mut fields = text.splitn(6, ' ');
        fields.next()?;
        let shared = fields.next()?.chars().nth(3)?;
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let (device, inode) = (fields.next()?, fields.next()?);
        let name = fields.next().unwrap_or_default().trim_start();
        Some(Self {
            start,
            end,
            shared,
            offset,
            device,
            inode,
            name,
        })
    }
}

/// What `/proc/self/maps` shows the guest.
pub fn memory_map(mm: &AddressSpace) -> Result<String, Errno> {
    let host = std::fs::read_to_string("/proc/self/maps")?;
    Ok(maps(mm, &host))
}

/// Column of the names in `/proc/self/maps`.
const NAME_COLUMN: usize = 73;

/// The guest's part of `host`, with the guest's protection and names.
fn maps(mm: &AddressSpace, host: &str) -> String {
    let mut text = String::new();
    for line in host.lines().filter_map(Line::parse) {
        for (start, vma) in mm.overlapping(line.start, line.end) {
            let bit = |prot: i32, letter| {
                if vma.prot & prot as u32 != 0 {
                    letter
                } else {
                    '-'
                }
            };
            let offset = if line.inode == "0" {
                0
            } else {
                line.offset + (start - line.start)
            };
            let name = match vma.kind {
                Kind::Stack => "[stack]",
                Kind::Heap => "[heap]",
                Kind::Vdso => "[vdso]",
                Kind::Plain | Kind::Host => line.name,
            };
            let (r, w, x) = (
                bit(libc::PROT_READ, 'r'),
                bit(libc::PROT_WRITE, 'w'),
                bit(libc::PROT_EXEC, 'x'),
            );
            let fields = format!(
                "{start:08x}-{:08x} {r}{w}{x}{} {offset:08x} {} {} ",
                vma.end, line.shared, line.device, line.inode
            );
            let width = if name.is_empty() { 0 } else { NAME_COLUMN };
            let _ = writeln!(text, "{fields:<width$}{name}");
        }
    }
    text
}

/// `/proc/self/stat` with the guest's addresses (fields 26 to 28 and 45 to 51).
fn stat(layout: &Layout, host: Vec<u8>) -> Vec<u8> {
    // The second field may hold anything but ends with the last parenthesis.
    let Some(end) = host.iter().rposition(|&b| b == b')') else {
        return host;
    };
    let (head, rest) = host.split_at(end + 1);
    let Ok(rest) = std::str::from_utf8(rest) else {
        return host;
    };
    let mut fields: Vec<String> = rest.split_ascii_whitespace().map(str::to_owned).collect();
    let mut set = |number: usize, value: u64| {
        if let Some(field) = fields.get_mut(number - 3) {
            *field = value.to_string();
        }
    };
    set(26, layout.start_code);
    set(27, layout.end_code);
    set(28, layout.start_stack);
    set(45, layout.start_data);
    set(46, layout.end_data);
    set(47, layout.start_brk);
    set(48, layout.args.0);
    set(49, layout.args.1);
    set(50, layout.env.0);
    set(51, layout.env.1);
    let mut bytes = head.to_vec();
    for field in fields {
        bytes.push(b' ');
        bytes.extend_from_slice(field.as_bytes());
    }
    bytes.push(b'\n');
    bytes
}

/// Splits what a process's `cmdline` file holds.
#[must_use]
pub fn arguments(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    bytes
        .split(|&b| b == 0)
        .map(|text| OsString::from_vec(text.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{AddressSpace, Request};

    #[test]
    fn own_files_are_recognised() {
        let own = |text: &str| classify(Path::new(text));
        assert_eq!(own("/proc/self/exe"), Some(Own::Exe));
        assert_eq!(
            own(&format!("/proc/{}/maps", std::process::id())),
            Some(Own::Maps)
        );
        assert_eq!(own("/proc/self/task/5/stat"), Some(Own::Stat));
        assert_eq!(own("/proc/1/cmdline"), Some(Own::OtherCmdline(1)));
        assert_eq!(own("/proc/cpuinfo"), Some(Own::CpuInfo));
        assert_eq!(own("/proc/self/mounts"), None);
        assert_eq!(own("/proc/meminfo"), None);
    }

    #[test]
    fn maps_show_the_guests_protection() -> Result<(), Errno> {
        let mm = AddressSpace::new(1 << 38, 1 << 37);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let prot = (libc::PROT_READ | libc::PROT_EXEC) as u32;
        let kind = Kind::Stack;
        let addr = mm.map(Request {
            addr: 0,
            len: 8192,
            prot,
            flags,
            fd: -1,
            offset: 0,
            kind,
        })?;
        let host = format!("{addr:x}-{:x} r--p 00000000 00:00 0 \n", addr + 8192);
        let text = maps(&mm, &host);
        let (fields, name) = text.split_at(NAME_COLUMN);
        assert_eq!(name, "[stack]\n");
        let want = format!("{addr:08x}-{:08x} r-xp 00000000 00:00 0 ", addr + 8192);
        assert_eq!(fields.trim_end(), want.trim_end());
        Ok(())
    }

    #[test]
    fn stat_survives_odd_names() {
        let host = b"7 (a) b) R 1 1 1\n".to_vec();
        assert_eq!(stat(&Layout::default(), host), b"7 (a) b) R 1 1 1\n");
    }
}
