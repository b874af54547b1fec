//! Executing programs: guest programs by this same binary, native ones by the host.

use crate::config::RunConfig;
use crate::elf;
use crate::errno::{Errno, SysResult};
use crate::signal;
use crate::syscall::uaccess;
use crate::task::Task;
use isomorph_engine::{Policy, Tier2};
use isomorph_ir::passes::{PASSES, Pass, PassSet};
use isomorph_report::Summary;
use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};

/// Bytes of a file's start that decide what it is (the kernel's `BINPRM_BUF_SIZE`).
const START: usize = 256;
/// Most scripts that are each other's interpreters.
const SCRIPTS_MAX: usize = 4;

/// A program that was found.
pub struct Target {
    /// Its path on the host.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// Its arguments: a script's interpreter gets some more.
    pub argv: Vec<OsString>,
    /// It is an ELF file of this guest.
    pub is_guest: bool,
}

/// Where `path` is on the host: under the sysroot if it is there.
#[must_use]
pub fn under_sysroot<'a>(path: &'a Path, sysroot: Option<&Path>) -> Cow<'a, Path> {
    if let Some(root) = sysroot
        && let Ok(inner) = path.strip_prefix("/")
    {
        let there = root.join(inner);
        if there.symlink_metadata().is_ok() {
            return there.into();
        }
    }
    path.into()
}

/// As [`under_sysroot`], but links are followed as if the sysroot were the root directory: what
/// `/etc/alternatives` leads to is the guest's, not the host's.
#[must_use]
pub fn follow_in_sysroot<'a>(path: &'a Path, sysroot: Option<&Path>) -> Cow<'a, Path> {
    let Some(root) = sysroot else {
        return path.into();
    };
    let inner = path.strip_prefix(root).or_else(|_| path.strip_prefix("/"));
    match inner.ok().and_then(|inner| resolve_in_root(root, inner)) {
        Some(there) => there.into(),
        None => path.into(),
    }
}

/// The file without links that `inner` leads to if `root` is the root directory.
fn resolve_in_root(root: &Path, inner: &Path) -> Option<PathBuf> {
    let inner = c_string(inner.as_os_str())
        .ok()
        .filter(|inner| !inner.is_empty())?;
    let root = File::open(root).ok()?;
    // SAFETY: an all-zero open_how is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    let size = size_of::<libc::open_how>();
    let (dir, how) = (root.as_raw_fd(), &raw const how);
    // SAFETY: path and structure are live, and the size is the structure's.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, dir, inner.as_ptr(), how, size) };
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Finds the program that executing `path` runs, through `#!` lines.
///
/// # Errors
///
/// As execve(2): `ENOENT`, `EACCES`, `ENOEXEC`, `ELOOP` …
pub fn find_program(
    path: &Path,
    argv: Vec<OsString>,
    sysroot: Option<&Path>,
) -> Result<Target, Errno> {
    let mut name = path.to_owned();
    let mut argv = argv;
    for _ in 0..=SCRIPTS_MAX {
        let path = follow_in_sysroot(&name, sysroot).into_owned();
        let file = open_executable(&path)?;
        let mut start = [0_u8; START];
        let have = file.read_at(&mut start, 0)?;
        let start = &start[..have];
        let Some(line) = start.strip_prefix(b"#!") else {
            let is_guest = elf::is_guest_elf(start);
            if !is_guest && !start.starts_with(b"\x7fELF") {
                return Err(Errno::ENOEXEC);
            }
            return Ok(Target {
                path,
                file,
                argv,
                is_guest,
            });
        };
        let (interpreter, argument) = parse_script(line, have == START)?;
        let rest = argv.split_off(argv.len().min(1));
        argv = vec![interpreter.clone()];
        argv.extend(argument);
        argv.push(name.into_os_string());
        argv.extend(rest);
        name = interpreter.into();
    }
    Err(Errno::ELOOP)
}

/// Opens a file if it may be executed.
fn open_executable(path: &Path) -> Result<File, Errno> {
    let c_path = c_string(path.as_os_str())?;
    // SAFETY: the path is live.
    let allowed = unsafe {
        libc::faccessat(
            libc::AT_FDCWD,
            c_path.as_ptr(),
            libc::X_OK,
            libc::AT_EACCESS,
        )
    };
    if allowed != 0 {
        return Err(Errno::last());
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    Ok(file)
}

/// Interpreter and argument of a `#!` line (execve(2), "Interpreter scripts").
fn parse_script(line: &[u8], cut: bool) -> Result<(OsString, Option<OsString>), Errno> {
    let end = line.iter().position(|&b| b == b'\n');
    let text = &line[..end.unwrap_or(line.len())];
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let trim = |text: &[u8]| -> Vec<u8> {
        let from = text.iter().position(|b| !blank(b)).unwrap_or(text.len());
        let to = text
            .iter()
            .rposition(|b| !blank(b) && *b != 0)
            .map_or(from, |at| at + 1);
        text[from..to.max(from)].to_vec()
    };
    let text = trim(text);
    let split = text.iter().position(blank);
    let name = &text[..split.unwrap_or(text.len())];
    // A name that may go on behind what was read is nobody's.
    if name.is_empty() || (end.is_none() && cut && split.is_none()) {
        return Err(Errno::ENOEXEC);
    }
    let argument = split
        .map(|at| trim(&text[at..]))
        .filter(|argument| !argument.is_empty());
    Ok((
        OsString::from_vec(name.to_vec()),
        argument.map(OsString::from_vec),
    ))
}

fn c_string(text: &OsStr) -> Result<CString, Errno> {
    CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL)
}

/// `execve(pathname, argv, envp)`.
pub fn sys_execve(task: &mut Task, args: [u64; 6]) -> SysResult {
    let path = read_path(task, args[0])?;
    let path = crate::proc_files::redirect(&task.process, &path).unwrap_or(path);
    execute(task, &path, args[1], args[2])
}

/// `execveat(dirfd, pathname, argv, envp, flags)`.
pub fn sys_execveat(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [dir, path, argv, envp, flags, _] = args;
    let (dir, flags) = (dir as i32, flags as i32);
    if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = read_path(task, path)?;
    let path = if path.is_absolute() {
        crate::proc_files::redirect(&task.process, &path).unwrap_or(path)
    } else if path.as_os_str().is_empty() {
        if flags & libc::AT_EMPTY_PATH == 0 {
            return Err(Errno::ENOENT);
        }
        PathBuf::from(format!("/proc/self/fd/{dir}"))
    } else if dir == libc::AT_FDCWD {
        path
    } else {
        Path::new(&format!("/proc/self/fd/{dir}")).join(path)
    };
    let link = flags & libc::AT_SYMLINK_NOFOLLOW != 0 && !path.starts_with("/proc/self/fd");
    if link && path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        return Err(Errno::ELOOP);
    }
    execute(task, &path, argv, envp)
}

fn read_path(task: &Task, addr: u64) -> Result<PathBuf, Errno> {
    let bytes = uaccess::read_string(task, addr, libc::PATH_MAX as usize - 1)?;
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

/// Most bytes of one argument (execve(2): `MAX_ARG_STRLEN`).
const STRING_MAX: usize = 32 * 4096;

/// Reads a NULL-terminated array of strings; NULL itself is an empty one.
fn read_strings(task: &Task, mut at: u64) -> Result<Vec<OsString>, Errno> {
    let mut strings = Vec::new();
    while at != 0 {
        let text: u64 = uaccess::read(task, at)?;
        if text == 0 {
            break;
        }
        let bytes = uaccess::read_string(task, text, STRING_MAX);
        let bytes = bytes.map_err(|e| {
            if e == Errno::ENAMETOOLONG {
                Errno::E2BIG
            } else {
                e
            }
        })?;
        strings.push(OsString::from_vec(bytes));
        at = at.wrapping_add(8);
    }
    Ok(strings)
}

fn execute(task: &mut Task, path: &Path, argv: u64, envp: u64) -> SysResult {
    if path.as_os_str().is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut argv = read_strings(task, argv)?;
    let env = read_strings(task, envp)?;
    if argv.is_empty() {
        argv.push(OsString::new());
    }
    let sysroot = task.process.config.sysroot.as_deref();
    let target = find_program(path, argv.clone(), sysroot)?;
    if !target.is_guest {
        drop(target.file);
        let (path, argv) = (target.path.as_os_str(), &target.argv);
        return host_execve(task, libc::AT_FDCWD, path, argv, &env);
    }
    // What is plainly damaged is refused while there is still somebody to tell.
    elf::Elf::read(&target.file).map_err(|error| error.errno())?;
    drop(target.file);
    let path = openable(path)?;
    let own = settings_for_exec(task).exec_args(path.as_os_str(), argv.clone());
    let tried = match OWN.load(Ordering::Relaxed) {
        -1 => host_execve(task, libc::AT_FDCWD, OWN_PATH.as_ref(), &own, &env),
        fd => {
            // The next program will want it too.
            set_cloexec(fd, false);
            let tried = host_execve(task, fd, OsStr::new(""), &own, &env);
            set_cloexec(fd, true);
            tried
        }
    };
    match tried {
        // No /proc here: perhaps the host's kernel knows what to do with such programs.
        Err(Errno::ENOENT) => host_execve(task, libc::AT_FDCWD, path.as_os_str(), &argv, &env),
        other => other,
    }
}

/// The settings that the next program of this process keeps. A forked child tells nothing at the
/// end: the report is its parent's.
fn settings_for_exec(task: &Task) -> RunConfig {
    let mut config = RunConfig::clone(&task.process.config);
    if !task.process.reports.is_wanted() {
        config.reports.summary = None;
    }
    config
}

/// Where the host shows the running executable.
const OWN_PATH: &str = "/proc/self/exe";
/// A descriptor of isomorph's executable, for a root directory without `/proc`; -1 for none.
static OWN: AtomicI32 = AtomicI32::new(-1);

/// Keeps isomorph's executable at hand: soon its path may lead nowhere.
fn keep_own_executable() {
    if OWN.load(Ordering::Relaxed) == -1
        && let Ok(path) = CString::new(OWN_PATH)
    {
        // SAFETY: the path is live.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        if fd >= 0 {
            OWN.store(crate::syscall::reserve_fd(fd), Ordering::Relaxed);
        }
    }
}

fn set_cloexec(fd: i32, on: bool) {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: no memory is touched.
    unsafe { libc::fcntl(fd, libc::F_SETFD, flag) };
}

/// Takes over the descriptor that the program before kept.
fn take_own_executable(fd: i32) {
    set_cloexec(fd, true);
    OWN.store(crate::syscall::reserve_fd(fd), Ordering::Relaxed);
}

/// `chroot(path)`.
pub fn sys_chroot(task: &mut Task, args: [u64; 6]) -> SysResult {
    keep_own_executable();
    // SAFETY: the guest's string, which dispatch has checked.
    unsafe { signal::safe_syscall(task, libc::SYS_chroot, args) }
}

/// `pivot_root(new_root, put_old)`.
pub fn sys_pivot_root(task: &mut Task, args: [u64; 6]) -> SysResult {
    keep_own_executable();
    // SAFETY: the guest's strings, which dispatch has checked.
    unsafe { signal::safe_syscall(task, libc::SYS_pivot_root, args) }
}

/// A path under which the new process image can open the program: one through a descriptor that
/// closes on exec cannot be opened any more, so a descriptor that stays open takes its place.
fn openable(path: &Path) -> Result<PathBuf, Errno> {
    if !path.starts_with("/proc/self/fd") {
        return Ok(path.to_owned());
    }
    if let Ok(real) = std::fs::canonicalize(path)
        && real.exists()
    {
        return Ok(real);
    }
    let c_path = c_string(path.as_os_str())?;
    // SAFETY: the path is live.
    let fd = unsafe { libc::open(c_path.as_ptr(), libc::O_RDONLY) };
    if fd < 0 {
        Err(Errno::last())
    } else {
        Ok(PathBuf::from(format!("/proc/self/fd/{fd}")))
    }
}

/// The host's execveat, with signals as the new program shall find them. Returns only on failure.
fn host_execve(
    task: &mut Task,
    dir: i32,
    program: &OsStr,
    argv: &[OsString],
    env: &[OsString],
) -> SysResult {
    let c_strings = |list: &[OsString]| -> Result<Vec<CString>, Errno> {
        list.iter().map(|text| c_string(text)).collect()
    };
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let flags = if program.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    let program = c_string(program)?;
    let (argv, env) = (c_strings(argv)?, c_strings(env)?);
    let (argv_ptr, env_ptr) = (pointers(&argv), pointers(&env));
    let args = [
        dir as u64,
        program.as_ptr() as u64,
        argv_ptr.as_ptr() as u64,
        env_ptr.as_ptr() as u64,
        flags as u64,
        0,
    ];
    // If it cannot be written, that was said; the program that follows has its own.
    let _ = task.process.report();
    signal::set_mask_if_quiet(task, task.signal.mask)?;
    task.process.actions.prepare_exec();
    // SAFETY: both arrays and all strings are live and terminated.
    let result = unsafe { signal::safe_syscall(task, libc::SYS_execveat, args) };
    task.process.actions.exec_failed();
    // If a signal has come, its delivery sets the mask.
    let _ = signal::set_mask_if_quiet(task, signal::host_mask(task.signal.mask));
    result
}

/// The word that tells isomorph that a guest program has executed another.
const MARK: &str = "--isomorph-exec";

/// Program and arguments of the guest that process `pid` runs, if a guest has started it.
#[must_use]
pub fn guest_of(pid: i32) -> Option<(PathBuf, Vec<OsString>)> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let config = RunConfig::from_exec_args(crate::proc_files::arguments(&line))?;
    let argv = config.argv0.into_iter().chain(config.args).collect();
    let program = if config.program.is_absolute() {
        config.program
    } else {
        std::fs::read_link(format!("/proc/{pid}/cwd"))
            .ok()?
            .join(config.program)
    };
    // The kernel shows a program without the links that led to it.
    let program = std::fs::canonicalize(&program).unwrap_or(program);
    Some((program, argv))
}

/// The settings of tier 2 that are not the default, as numbers.
fn tier2_numbers(tier2: &Tier2, mut number: impl FnMut(&str, Option<u64>)) {
    let default = Tier2::default();
    let policy = match tier2.policy {
        Policy::Off => 0,
        Policy::Always => 1,
        Policy::Hot(None) => 2,
        Policy::Hot(Some(threshold)) => u64::from(threshold) + 3,
    };
    number("tier2", (tier2.policy != default.policy).then_some(policy));
    let threads = (tier2.threads != default.threads).then_some(tier2.threads as u64);
    number("compilers", threads);
    let bytes = (tier2.code_bytes != default.code_bytes).then_some(tier2.code_bytes as u64);
    number("hotmem", bytes);
    let absent = |pass: &Pass| tier2.passes.without(pass.name) == Some(tier2.passes);
    let bits = PASSES.iter().enumerate().filter(|(_, pass)| absent(pass));
    let bits = bits.fold(0, |bits, (n, _)| bits | 1 << n);
    number("passes", (bits != 0).then_some(bits));
}

fn policy_of(number: u64) -> Policy {
    match number {
        0 => Policy::Off,
        1 => Policy::Always,
        2 => Policy::Hot(None),
        threshold => Policy::Hot(Some((threshold - 3) as u32)),
    }
}

/// The passes but for those whose bits are set.
fn passes_of(absent: u64) -> PassSet {
    let gone = PASSES
        .iter()
        .enumerate()
        .filter(|(n, _)| absent >> n & 1 != 0);
    gone.fold(PassSet::ALL, |set, (_, pass)| {
        set.without(pass.name).unwrap_or(set)
    })
}

impl RunConfig {
    /// The command line that makes isomorph run `program` with these settings.
    fn exec_args(&self, program: &OsStr, argv: Vec<OsString>) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["isomorph".into(), MARK.into()];
        let mut option = |key: &str, value: &OsStr| {
            let mut text = OsString::from(key);
            text.push("=");
            text.push(value);
            args.push(text);
        };
        let mut number = |key: &str, value: Option<u64>| {
            if let Some(value) = value {
                option(key, OsStr::new(&value.to_string()));
            }
        };
        let own = OWN.load(Ordering::Relaxed);
        number("own", u64::try_from(own).ok());
        number("stack", self.stack_size);
        number("va", self.reserved_va);
        number("seed", self.seed);
        number(
            "debug",
            (self.reports.items.0 != 0).then_some(self.reports.items.0.into()),
        );
        number("perfmap", self.reports.perf_map.then_some(1));
        number("jitdump", self.reports.jitdump.then_some(1));
        if let Some(Summary::Figures { json, .. }) = &self.reports.summary {
            number("figures", Some((*json).into()));
        }
        number("strace", self.strace.then_some(1));
        number("stats", self.stats.then_some(1));
        number("nochain", self.no_chain.then_some(1));
        tier2_numbers(&self.tier2, number);
        match &self.reports.summary {
            Some(Summary::Page(path)) => option("page", path.as_os_str()),
            Some(Summary::Figures {
                path: Some(path), ..
            }) => option("told", path.as_os_str()),
            _ => {}
        }
        if let Some(root) = &self.sysroot {
            option("root", root.as_os_str());
        }
        if let Some(cpu) = &self.cpu {
            option("cpu", OsStr::new(cpu));
        }
        if let Some(file) = &self.log_file {
            option("log", file.as_os_str());
        }
        args.extend(["--".into(), program.to_owned()]);
        args.extend(argv);
        args
    }

    /// The settings in a command line that [`sys_execve`] has made; `None` if it is not one.
    #[must_use]
    pub fn from_exec_args(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter().skip(1);
        if args.next()? != MARK {
            return None;
        }
        let mut config = Self {
            env: crate::config::inherited_env(),
            log_goes_on: true,
            ..Self::default()
        };
        for text in args.by_ref() {
            if text == "--" {
                break;
            }
            let bytes = text.as_bytes();
            let at = bytes.iter().position(|&b| b == b'=')?;
            config.take(&bytes[..at], OsStr::from_bytes(&bytes[at + 1..]))?;
        }
        config.program = args.next()?.into();
        config.argv0 = Some(args.next()?);
        config.args = args.collect();
        Some(config)
    }

    fn take(&mut self, key: &[u8], value: &OsStr) -> Option<()> {
        let number = || value.to_str()?.parse::<u64>().ok();
        match key {
            b"own" => take_own_executable(i32::try_from(number()?).ok()?),
            b"stack" => self.stack_size = Some(number()?),
            b"va" => self.reserved_va = Some(number()?),
            b"seed" => self.seed = Some(number()?),
            b"debug" => self.reports.items.0 = number()? as u32,
            b"perfmap" => self.reports.perf_map = true,
            b"jitdump" => self.reports.jitdump = true,
            b"page" => self.reports.summary = Some(Summary::Page(value.into())),
            b"figures" => {
                let json = number()? != 0;
                self.reports.summary = Some(Summary::Figures { json, path: None });
            }
            b"told" => *self.reports.summary.as_mut()?.path_slot()? = Some(value.into()),
            b"strace" => self.strace = true,
            b"stats" => self.stats = true,
            b"nochain" => self.no_chain = true,
            b"tier2" => self.tier2.policy = policy_of(number()?),
            b"compilers" => self.tier2.threads = number()? as usize,
            b"hotmem" => self.tier2.code_bytes = number()? as usize,
            b"passes" => self.tier2.passes = passes_of(number()?),
            b"root" => self.sysroot = Some(value.into()),
            b"cpu" => self.cpu = Some(value.to_str()?.to_owned()),
            b"log" => self.log_file = Some(value.into()),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_report::Wanted;

    fn script(text: &str) -> Result<(String, Option<String>), Errno> {
        let string = |s: OsString| s.to_string_lossy().into_owned();
        parse_script(text.as_bytes(), false).map(|(name, arg)| (string(name), arg.map(string)))
    }

    #[test]
    fn script_lines_split_once() {
        assert_eq!(script("/bin/sh\nrest"), Ok(("/bin/sh".into(), None)));
        assert_eq!(
            script(" /bin/a  -b c \n"),
            Ok(("/bin/a".into(), Some("-b c".into())))
        );
        assert_eq!(script("\n"), Err(Errno::ENOEXEC));
        assert_eq!(script("   "), Err(Errno::ENOEXEC));
        assert_eq!(parse_script(b"/cut-off", true), Err(Errno::ENOEXEC));
    }

    #[test]
    fn settings_survive_execve() {
        let config = RunConfig {
            sysroot: Some("/a b=c".into()),
            seed: Some(7),
            strace: true,
            cpu: Some("rv64,zba=off".into()),
            reports: Wanted {
                jitdump: true,
                summary: Some(Summary::Figures {
                    json: true,
                    path: Some("/tmp/f".into()),
                }),
                ..Wanted::default()
            },
            tier2: Tier2 {
                policy: Policy::Hot(Some(77)),
                passes: passes_of(5),
                ..Tier2::default()
            },
            ..RunConfig::default()
        };
        let args = config.exec_args(OsStr::new("/bin/x"), vec!["x".into(), "--".into()]);
        let back = RunConfig::from_exec_args(args).expect("recognised");
        assert_eq!(back.sysroot, config.sysroot);
        assert_eq!(back.tier2, config.tier2);
        assert_eq!(back.reports, config.reports);
        assert_eq!(
            (back.seed, back.strace, back.cpu),
            (Some(7), true, config.cpu)
        );
        assert_eq!(back.program, PathBuf::from("/bin/x"));
        assert_eq!(
            (back.argv0, back.args),
            (Some("x".into()), vec!["--".into()])
        );
        assert!(RunConfig::from_exec_args(["isomorph".into(), "run".into()]).is_none());
    }

    #[test]
    fn what_cannot_be_executed_has_the_kernels_errno() {
        let find = |path: &str| find_program(Path::new(path), vec![], None).map(|_| ());
        assert_eq!(find("/no/such/file"), Err(Errno::ENOENT));
        assert_eq!(find("/etc/passwd"), Err(Errno::EACCES));
        assert_eq!(find("/usr"), Err(Errno::EACCES));
        assert_eq!(find("/bin/sh").err(), None);
    }
}
