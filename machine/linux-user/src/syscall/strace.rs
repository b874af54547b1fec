//! The log of system calls (`-strace`): `pid name(argument,…) = result`, made from the table.
//!
//! A line is written in two parts, before and after the call, so that a call that hangs or never
//! returns is seen. If another thread writes in between, both parts say so, as strace(1) does.

use super::flags;
use super::kind::{FlagSet, Kind};
use super::table::{self, Entry};
use super::{ALREADY_SET, missing, serve, uaccess};
use crate::config::RunConfig;
use crate::errno::{Errno, SysResult};
use crate::task::Task;
use core::fmt::{self, Display, Formatter, Write};
use isomorph_report::DebugItems;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// What is logged, and how far.
pub struct Trace {
    calls: bool,
    /// Thread whose line has no end yet; 0 for none. An atomic rather than a lock: a child of
    /// `fork` inherits it in any state.
    open: AtomicI32,
}

static TRACE: OnceLock<Option<Trace>> = OnceLock::new();

/// The trace, if system calls are to be logged.
#[inline]
pub fn trace(task: &Task) -> Option<&'static Trace> {
    any(task).filter(|trace| trace.calls)
}

/// The trace, if system calls or unimplemented ones are to be told of.
#[inline]
fn any(task: &Task) -> Option<&'static Trace> {
    TRACE
        .get_or_init(|| Trace::new(&task.process.config))
        .as_ref()
}

/// Writes a line about a system call that is not served, if the user asked for such.
pub fn warn(task: &Task, message: fmt::Arguments<'_>) {
    // A traced call says so at the end of its own line.
    if any(task).is_some_and(|trace| !trace.calls) {
        task.process.log.line(format_args!("isomorph: {message}"));
    }
}

/// The call that never comes back to end its line.
const NEVER_RETURNS: &str = "exit_group";

impl Trace {
    fn new(config: &RunConfig) -> Option<Self> {
        let calls = config.strace || config.reports.items.contains(DebugItems::STRACE);
        let any = calls || config.reports.items.contains(DebugItems::UNIMP);
        any.then(|| Self {
            calls,
            open: AtomicI32::new(0),
        })
    }

    /// Serves a call and logs it.
    pub fn traced(&self, task: &mut Task, nr: u64, args: &[u64; 6]) -> SysResult {
        let tid = task.tid;
        let call = match table::lookup(nr) {
            Some(entry) => format!("{tid} {}", Call { task, entry, args }),
            None => format!(
                "{tid} syscall_{nr}({:#x},{:#x},{:#x}) ",
                args[0], args[1], args[2]
            ),
        };
        let before = unfinished(self.open.swap(tid, Ordering::Relaxed));
        task.process.log.write(&format!("{before}{call}"));
        if table::lookup(nr).is_some_and(|entry| entry.name == NEVER_RETURNS) {
            task.process.log.write("= ?\n");
            self.open.store(0, Ordering::Relaxed);
        }
        let result = serve(task, nr, args);
        if task.tid != tid {
            // The child of a fork: the line is the parent's.
            self.open.store(0, Ordering::Relaxed);
            return result;
        }
        let name = table::lookup(nr).map_or("syscall", |entry| entry.name);
        let again = match self.open.swap(0, Ordering::Relaxed) {
            open if open == tid => String::new(),
            open => format!("{}{tid} <... {name} resumed>) ", unfinished(open)),
        };
        let answer = Answer { name, result };
        let why = missing::reason(nr).map_or(String::new(), |why| format!(" [{why}]"));
        task.process
            .log
            .line(format_args!("{again}= {answer}{why}"));
        result
    }
}

/// What ends the line of thread `open`, if there is one.
const fn unfinished(open: i32) -> &'static str {
    if open == 0 { "" } else { "<unfinished ...>\n" }
}

/// A call with its arguments, as it is printed before it runs.
struct Call<'a> {
    task: &'a Task,
    entry: &'a Entry,
    args: &'a [u64; 6],
}

impl Display for Call<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.entry.name)?;
        for (index, param) in self.entry.params.iter().enumerate() {
            if index != 0 {
                f.write_char(',')?;
            }
            self.argument(f, param.kind, self.args[index])?;
        }
        f.write_str(") ")
    }
}

impl Call<'_> {
    fn argument(&self, f: &mut Formatter<'_>, kind: Kind, arg: u64) -> fmt::Result {
        match kind {
            Kind::Int | Kind::Fd => write!(f, "{}", arg as i32),
            Kind::Uint => write!(f, "{}", arg as u32),
            Kind::Long => write!(f, "{}", arg as i64),
            Kind::Size => write!(f, "{arg}"),
            Kind::Mode => write!(f, "0{:o}", arg as u32),
            Kind::DirFd if arg as i32 == libc::AT_FDCWD => f.write_str("AT_FDCWD"),
            Kind::DirFd => write!(f, "{}", arg as i32),
            Kind::Signal => symbolic(f, &flags::SIGNALS, arg),
            Kind::Flags(set) => symbolic(f, set, arg),
            Kind::Hex if arg < 10 => write!(f, "{arg}"),
            Kind::Hex => write!(f, "{arg:#x}"),
            _ if arg == 0 => f.write_str("NULL"),
            Kind::Path | Kind::Str => self.string(f, arg),
            Kind::Strings => self.strings(f, arg),
            Kind::In(len) => self.bytes(f, arg, self.args[usize::from(len)]),
            Kind::Timespec => self.timespec(f, arg),
            Kind::Sockaddr(len) => self.sockaddr(f, arg, self.args[usize::from(len)]),
            Kind::Addr
            | Kind::Ptr
            | Kind::Struct(_)
            | Kind::Out(_)
            | Kind::Array(..)
            | Kind::Iov(_) => write!(f, "{arg:#x}"),
        }
    }

    fn string(&self, f: &mut Formatter<'_>, at: u64) -> fmt::Result {
        match uaccess::read_string(self.task, at, 4095) {
            Ok(bytes) => quoted(f, &bytes),
            Err(_) => write!(f, "{at:#x}"),
        }
    }

    /// The first strings of an array.
    fn strings(&self, f: &mut Formatter<'_>, at: u64) -> fmt::Result {
        const SHOWN: u64 = 16;
        f.write_char('{')?;
        for index in 0..SHOWN {
            match uaccess::read::<u64>(self.task, at.wrapping_add(index * 8)) {
                Ok(0) => return f.write_str("NULL}"),
                Ok(string) => self.string(f, string)?,
                Err(_) => return write!(f, "{at:#x}}}"),
            }
            f.write_char(',')?;
        }
        f.write_str("...}")
    }

    /// The first bytes of a buffer.
    fn bytes(&self, f: &mut Formatter<'_>, at: u64, len: u64) -> fmt::Result {
        const SHOWN: u64 = 32;
        let mut bytes = [0_u8; SHOWN as usize];
        let bytes = &mut bytes[..len.min(SHOWN) as usize];
        if uaccess::read_slice(self.task, at, bytes).is_err() {
            return write!(f, "{at:#x}");
        }
        quoted(f, bytes)?;
        f.write_str(if len > SHOWN { "..." } else { "" })
    }

    fn timespec(&self, f: &mut Formatter<'_>, at: u64) -> fmt::Result {
        match uaccess::read::<[i64; 2]>(self.task, at) {
            Ok([sec, nsec]) => write!(f, "{{tv_sec = {sec},tv_nsec = {nsec}}}"),
            Err(_) => write!(f, "{at:#x}"),
        }
    }

    fn sockaddr(&self, f: &mut Formatter<'_>, at: u64, len: u64) -> fmt::Result {
        let mut bytes = [0_u8; 128];
        let bytes = &mut bytes[..u64::from(len as u32).min(128) as usize];
        match uaccess::read_slice(self.task, at, bytes) {
            Ok(()) => socket_address(f, bytes),
            Err(_) => write!(f, "{at:#x}"),
        }
    }
}

/// Prints `struct sockaddr`: families that are met often in full.
fn socket_address(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let Some((family, rest)) = bytes.split_first_chunk::<2>() else {
        return f.write_str("{}");
    };
    let family = u16::from_le_bytes(*family);
    f.write_str("{sa_family=")?;
    symbolic(f, &flags::DOMAIN, u64::from(family))?;
    match (i32::from(family), rest) {
        (libc::AF_UNIX, path) => {
            f.write_str(",sun_path=")?;
            let end = path.iter().skip(1).position(|&byte| byte == 0);
            quoted(f, &path[..end.map_or(path.len(), |end| end + 1)])?;
        }
        (libc::AF_INET, [p0, p1, a, b, c, d, ..]) => {
            let port = u16::from_be_bytes([*p0, *p1]);
            write!(
                f,
                ",sin_port=htons({port}),sin_addr=inet_addr(\"{a}.{b}.{c}.{d}\")"
            )?;
        }
        (libc::AF_INET6, [p0, p1, ..]) => {
            write!(f, ",sin6_port=htons({})", u16::from_be_bytes([*p0, *p1]))?;
        }
        _ => {}
    }
    f.write_char('}')
}

/// Prints a string the way C would write it.
fn quoted(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_char('"')?;
    for &byte in bytes {
        match byte {
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "\\{byte:03o}")?,
        }
    }
    f.write_char('"')
}

/// Prints a number as the names of `set`; what has no name is in hexadecimal.
fn symbolic(f: &mut Formatter<'_>, set: &FlagSet, arg: u64) -> fmt::Result {
    let arg = u64::from(arg as u32);
    let mut rest = arg;
    let mut first = true;
    let mut put = |f: &mut Formatter<'_>, name: &dyn Display| {
        let bar = if core::mem::take(&mut first) { "" } else { "|" };
        write!(f, "{bar}{name}")
    };
    if set.field != 0 {
        let value = arg & set.field;
        rest &= !set.field;
        if let Some((_, name)) = set.values.iter().find(|(number, _)| *number == value) {
            put(f, name)?;
        } else if value != 0 || rest == 0 {
            put(f, &value)?;
        }
    }
    for (bits, name) in set.flags.iter().filter(|(bits, _)| *bits != 0) {
        if rest & bits == *bits {
            rest &= !bits;
            put(f, name)?;
        }
    }
    match (rest, arg) {
        (0, 0) if set.field == 0 => f.write_char('0'),
        (0, _) => Ok(()),
        _ => put(f, &format_args!("{rest:#x}")),
    }
}

/// What a call answered.
struct Answer<'a> {
    name: &'a str,
    result: SysResult,
}

impl Display for Answer<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.result {
            Ok(value) if matches!(self.name, "mmap" | "brk" | "mremap" | "shmat") => {
                write!(f, "{value:#x}")
            }
            Ok(value) => write!(f, "{}", value as i64),
            Err(ALREADY_SET) => f.write_char('0'),
            Err(Errno(512..=516)) => f.write_str("? (to be restarted)"),
            Err(error) => {
                f.write_str("-1 ")?;
                symbolic(f, &flags::ERRORS, error.0 as u64)?;
                write!(f, " ({})", strerror(error))
            }
        }
    }
}

/// The text of an error, without the number that the standard library adds.
fn strerror(error: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(error.0).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Symbolic<'a>(&'a FlagSet, u64);

    impl Display for Symbolic<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            symbolic(f, self.0, self.1)
        }
    }

    struct Quoted<'a>(&'a [u8]);

    impl Display for Quoted<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            quoted(f, self.0)
        }
    }

    fn text(set: &FlagSet, arg: i32) -> String {
        Symbolic(set, arg as u64).to_string()
    }

    #[test]
    fn flags_are_symbolic() {
        let open = libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC;
        assert_eq!(text(&flags::OPEN, open), "O_RDWR|O_CREAT|O_CLOEXEC");
        assert_eq!(text(&flags::OPEN, 0), "O_RDONLY");
        assert_eq!(
            text(&flags::OPEN, libc::O_TMPFILE | libc::O_WRONLY),
            "O_WRONLY|O_TMPFILE"
        );
        assert_eq!(text(&flags::PROT, 0), "0");
        assert_eq!(text(&flags::PROT, 0x43), "PROT_READ|PROT_WRITE|0x40");
        assert_eq!(text(&flags::SIGNALS, 40), "40");
        assert_eq!(text(&flags::SIGNALS, 11), "SIGSEGV");
        assert_eq!(text(&flags::FUTEX, 128), "FUTEX_WAIT|FUTEX_PRIVATE_FLAG");
        assert_eq!(text(&flags::CLONE, 17), "SIGCHLD");
    }

    #[test]
    fn strings_are_quoted_as_in_c() {
        assert_eq!(
            Quoted(b"a\"b\\\n\x01").to_string(),
            "\"a\\\"b\\\\\\n\\001\""
        );
    }

    #[test]
    fn answers_name_the_error() {
        let answer = |name, result| Answer { name, result }.to_string();
        let missing = answer("openat", Err(Errno(2)));
        assert_eq!(missing, "-1 ENOENT (No such file or directory)");
        assert_eq!(answer("brk", Ok(0x1000)), "0x1000");
        assert_eq!(answer("read", Ok(12)), "12");
        assert_eq!(answer("read", Err(Errno(512))), "? (to be restarted)");
    }

    struct Address<'a>(&'a [u8]);

    impl Display for Address<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            socket_address(f, self.0)
        }
    }

    #[test]
    fn socket_addresses_are_readable() {
        let inet = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let shown = Address(&inet).to_string();
        assert!(shown.ends_with("sin_port=htons(80),sin_addr=inet_addr(\"127.0.0.1\")}"));
        assert_eq!(
            Address(b"\x01\0/tmp/x\0").to_string(),
            "{sa_family=AF_UNIX,sun_path=\"/tmp/x\"}"
        );
        assert_eq!(Address(b"\x01").to_string(), "{}");
    }
}
