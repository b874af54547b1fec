//! The system calls of riscv64 Linux: number, name, arguments, and how each is served.
//!
//! Numbers are those of `asm-generic/unistd.h`; names and arguments those of the manual pages
//! (section 2). Dispatch, the check of pointers against the guest's ceiling and strace all read
//! this one list.

use super::flags as f;
use super::kind::Kind::{self, *};
use super::{fd, file, info, iov, ipc, limits, memory, net, path, poll, time};
use crate::errno::SysResult;
use crate::task::Task;
use crate::{arch, exec, mm, process, signal, thread};

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name in the manual page.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// How a system call is served.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// The host's call of that number, with the same arguments; it does not wait.
    Pass(i64),
    /// As `Pass`, but the call may wait, and guest signals interrupt it.
    Block(i64),
    /// As `Block`; its paths are first looked up under the sysroot and among the files of
    /// `/proc` that show the guest.
    Lookup(i64),
    /// A function of ours.
    Call(fn(&mut Task, [u64; 6]) -> SysResult),
    /// `ENOSYS` by decision: as on a kernel configured without it. The text says why.
    Absent(&'static str),
    /// `ENOSYS` because nobody has written it yet: counted and named.
    Missing,
}

/// One system call.
#[derive(Debug)]
pub struct Entry {
    /// Its number on riscv64.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub params: &'static [Param],
    /// How it is served.
    pub how: How,
    /// Some argument is a pointer to check before the call.
    pub checks: bool,
}

/// One above the highest number in the table.
pub const NUMBERS: usize = 470;

/// The entry of a system call number.
#[inline]
#[must_use]
pub fn lookup(number: u64) -> Option<&'static Entry> {
    let index = *INDEX.get(usize::try_from(number).ok()?)?;
    ENTRIES.get(usize::from(index))
}

const NONE: u16 = u16::MAX;

/// Number to index in [`ENTRIES`].
static INDEX: [u16; NUMBERS] = {
    let mut index = [NONE; NUMBERS];
    let mut at = 0;
    while at < ENTRIES.len() {
        index[ENTRIES[at].number as usize] = at as u16;
        at += 1;
    }
    index
};

const fn any_checked(params: &[Param]) -> bool {
    let mut at = 0;
    while at < params.len() {
        if params[at].kind.extent(&[0; 6]).is_some() {
            return true;
        }
        at += 1;
    }
    false
}

macro_rules! syscalls {
    ($($number:literal $name:ident ($($param:ident: $kind:expr),* $(,)?) = $how:expr;)*) => {
        /// Every system call, by number.
        pub static ENTRIES: &[Entry] = {
            use How::*;
            &[$({
                const PARAMS: &[Param] =
                    &[$(Param { name: stringify!($param), kind: $kind }),*];
                Entry {
                    number: $number,
                    name: stringify!($name),
                    params: PARAMS,
                    how: $how,
                    checks: any_checked(PARAMS),
                }
            }),*]
        };
    };
}

/// Host numbers that `libc` does not name; from 424 on all architectures share one numbering.
mod nr {
    pub use libc::*;
    pub const SYS_CACHESTAT: i64 = 451;
    pub const SYS_FUTEX_WAKE: i64 = 454;
    pub const SYS_FUTEX_WAIT: i64 = 455;
    pub const SYS_STATMOUNT: i64 = 457;
    pub const SYS_LISTMOUNT: i64 = 458;
    pub const SYS_LSM_SET_SELF_ATTR: i64 = 460;
    pub const SYS_OPEN_TREE_ATTR: i64 = 467;
    pub const SYS_FILE_GETATTR: i64 = 468;
    pub const SYS_FILE_SETATTR: i64 = 469;
}

const SIGSET: Kind = Struct(8);
const PID: Kind = Int;
const AT: Kind = Flags(&f::AT);
const CLOCK: Kind = Flags(&f::CLOCK);
const XATTR: Kind = Flags(&f::XATTR);
const PROT: Kind = Flags(&f::PROT);

const RINGS: &str = "its ring entries hold addresses that cannot be checked";
const BPF: &str = "its programs would run in the host's kernel";
const HOST_KERNEL: &str = "it would load code of the guest's architecture into the host's kernel";
const SECCOMP: &str = "filters name system calls by the guest's numbers";
const RSEQ: &str = "translated code is no restartable sequence";
const PKEYS: &str = "the CPU has no protection keys";
const OBSOLETE: &str = "no kernel implements it";

syscalls! {
    0 io_setup(nr_events: Uint, ctx_idp: Struct(8)) = Absent(RINGS);
    1 io_destroy(ctx_id: Hex) = Absent(RINGS);
    2 io_submit(ctx_id: Hex, nr: Long, iocbpp: Ptr) = Absent(RINGS);
    3 io_cancel(ctx_id: Hex, iocb: Ptr, result: Ptr) = Absent(RINGS);
    4 io_getevents(ctx_id: Hex, min_nr: Long, nr: Long, events: Ptr, timeout: Timespec)
        = Absent(RINGS);
    5 setxattr(path: Path, name: Str, value: In(3), size: Size, flags: XATTR)
        = Block(nr::SYS_setxattr);
    6 lsetxattr(path: Path, name: Str, value: In(3), size: Size, flags: XATTR)
        = Block(nr::SYS_lsetxattr);
    7 fsetxattr(fd: Fd, name: Str, value: In(3), size: Size, flags: XATTR)
        = Block(nr::SYS_fsetxattr);
    8 getxattr(path: Path, name: Str, value: Out(3), size: Size) = Lookup(nr::SYS_getxattr);
    9 lgetxattr(path: Path, name: Str, value: Out(3), size: Size) = Lookup(nr::SYS_lgetxattr);
    10 fgetxattr(fd: Fd, name: Str, value: Out(3), size: Size) = Pass(nr::SYS_fgetxattr);
    11 listxattr(path: Path, list: Out(2), size: Size) = Lookup(nr::SYS_listxattr);
    12 llistxattr(path: Path, list: Out(2), size: Size) = Lookup(nr::SYS_llistxattr);
    13 flistxattr(fd: Fd, list: Out(2), size: Size) = Pass(nr::SYS_flistxattr);
    14 removexattr(path: Path, name: Str) = Block(nr::SYS_removexattr);
    15 lremovexattr(path: Path, name: Str) = Block(nr::SYS_lremovexattr);
    16 fremovexattr(fd: Fd, name: Str) = Block(nr::SYS_fremovexattr);
    17 getcwd(buf: Out(1), size: Size) = Pass(nr::SYS_getcwd);
    18 lookup_dcookie(cookie: Hex, buffer: Out(2), len: Size) = Absent(OBSOLETE);
    19 eventfd2(initval: Uint, flags: Flags(&f::FD)) = Pass(nr::SYS_eventfd2);
    20 epoll_create1(flags: Flags(&f::FD)) = Pass(nr::SYS_epoll_create1);
    21 epoll_ctl(epfd: Fd, op: Flags(&f::EPOLL_CTL), fd: Fd, event: Struct(16))
        = Call(poll::epoll_ctl);
    22 epoll_pwait(epfd: Fd, events: Ptr, maxevents: Int, timeout: Int, sigmask: SIGSET,
                   sigsetsize: Size) = Call(poll::epoll_pwait);
    23 dup(oldfd: Fd) = Pass(nr::SYS_dup);
    24 dup3(oldfd: Fd, newfd: Fd, flags: Flags(&f::FD)) = Call(fd::dup3);
    25 fcntl(fd: Fd, cmd: Flags(&f::FCNTL), arg: Hex) = Call(fd::fcntl);
    26 inotify_init1(flags: Flags(&f::FD)) = Pass(nr::SYS_inotify_init1);
    27 inotify_add_watch(fd: Fd, pathname: Path, mask: Flags(&f::INOTIFY))
        = Lookup(nr::SYS_inotify_add_watch);
    28 inotify_rm_watch(fd: Fd, wd: Int) = Pass(nr::SYS_inotify_rm_watch);
    29 ioctl(fd: Fd, request: Flags(&f::IOCTL), argp: Hex) = Call(fd::ioctl);
    30 ioprio_set(which: Int, who: Int, ioprio: Hex) = Pass(nr::SYS_ioprio_set);
    31 ioprio_get(which: Int, who: Int) = Pass(nr::SYS_ioprio_get);
    32 flock(fd: Fd, operation: Flags(&f::FLOCK)) = Block(nr::SYS_flock);
    33 mknodat(dirfd: DirFd, pathname: Path, mode: Mode, dev: Hex) = Block(nr::SYS_mknodat);
    34 mkdirat(dirfd: DirFd, pathname: Path, mode: Mode) = Block(nr::SYS_mkdirat);
    35 unlinkat(dirfd: DirFd, pathname: Path, flags: AT) = Block(nr::SYS_unlinkat);
    36 symlinkat(target: Str, newdirfd: DirFd, linkpath: Path) = Block(nr::SYS_symlinkat);
    37 linkat(olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path, flags: AT)
        = Block(nr::SYS_linkat);
    39 umount2(target: Path, flags: Flags(&f::UMOUNT)) = Block(nr::SYS_umount2);
    40 mount(source: Str, target: Path, filesystemtype: Str, mountflags: Flags(&f::MOUNT),
             data: Str) = Block(nr::SYS_mount);
    41 pivot_root(new_root: Path, put_old: Path) = Call(exec::sys_pivot_root);
    42 nfsservctl(cmd: Int, argp: Ptr, resp: Ptr) = Absent(OBSOLETE);
    43 statfs(path: Path, buf: Struct(120)) = Lookup(nr::SYS_statfs);
    44 fstatfs(fd: Fd, buf: Struct(120)) = Pass(nr::SYS_fstatfs);
    45 truncate(path: Path, length: Long) = Block(nr::SYS_truncate);
    46 ftruncate(fd: Fd, length: Long) = Block(nr::SYS_ftruncate);
    47 fallocate(fd: Fd, mode: Flags(&f::FALLOC), offset: Long, len: Long)
        = Block(nr::SYS_fallocate);
    48 faccessat(dirfd: DirFd, pathname: Path, mode: Flags(&f::ACCESS))
        = Lookup(nr::SYS_faccessat);
    49 chdir(path: Path) = Block(nr::SYS_chdir);
    50 fchdir(fd: Fd) = Pass(nr::SYS_fchdir);
    51 chroot(path: Path) = Call(exec::sys_chroot);
    52 fchmod(fd: Fd, mode: Mode) = Block(nr::SYS_fchmod);
    53 fchmodat(dirfd: DirFd, pathname: Path, mode: Mode) = Block(nr::SYS_fchmodat);
    54 fchownat(dirfd: DirFd, pathname: Path, owner: Int, group: Int, flags: AT)
        = Block(nr::SYS_fchownat);
    55 fchown(fd: Fd, owner: Int, group: Int) = Block(nr::SYS_fchown);
    56 openat(dirfd: DirFd, pathname: Path, flags: Flags(&f::OPEN), mode: Mode)
        = Call(path::openat);
    57 close(fd: Fd) = Call(fd::close);
    58 vhangup() = Pass(nr::SYS_vhangup);
    59 pipe2(pipefd: Struct(8), flags: Flags(&f::FD)) = Pass(nr::SYS_pipe2);
    60 quotactl(cmd: Hex, special: Path, id: Int, addr: Struct(112)) = Block(nr::SYS_quotactl);
    61 getdents64(fd: Fd, dirp: Out(2), count: Size) = Block(nr::SYS_getdents64);
    62 lseek(fd: Fd, offset: Long, whence: Flags(&f::SEEK)) = Pass(nr::SYS_lseek);
    63 read(fd: Fd, buf: Out(2), count: Size) = Block(nr::SYS_read);
    64 write(fd: Fd, buf: In(2), count: Size) = Block(nr::SYS_write);
    65 readv(fd: Fd, iov: Iov(2), iovcnt: Int) = Call(iov::readv);
    66 writev(fd: Fd, iov: Iov(2), iovcnt: Int) = Call(iov::writev);
    67 pread64(fd: Fd, buf: Out(2), count: Size, offset: Long) = Block(nr::SYS_pread64);
    68 pwrite64(fd: Fd, buf: In(2), count: Size, offset: Long) = Block(nr::SYS_pwrite64);
    69 preadv(fd: Fd, iov: Iov(2), iovcnt: Int, offset: Long, high: Long) = Call(iov::preadv);
    70 pwritev(fd: Fd, iov: Iov(2), iovcnt: Int, offset: Long, high: Long) = Call(iov::pwritev);
    71 sendfile(out_fd: Fd, in_fd: Fd, offset: Struct(8), count: Size) = Block(nr::SYS_sendfile);
    72 pselect6(nfds: Int, readfds: Ptr, writefds: Ptr, exceptfds: Ptr, timeout: Timespec,
                sigmask: Struct(16)) = Call(poll::pselect6);
    73 ppoll(fds: Array(1, 8), nfds: Uint, timeout: Timespec, sigmask: SIGSET, sigsetsize: Size)
        = Call(poll::ppoll);
    74 signalfd4(fd: Fd, mask: SIGSET, sizemask: Size, flags: Flags(&f::FD))
        = Pass(nr::SYS_signalfd4);
    75 vmsplice(fd: Fd, iov: Iov(2), nr_segs: Size, flags: Flags(&f::SPLICE))
        = Call(iov::vmsplice);
    76 splice(fd_in: Fd, off_in: Struct(8), fd_out: Fd, off_out: Struct(8), len: Size,
              flags: Flags(&f::SPLICE)) = Block(nr::SYS_splice);
    77 tee(fd_in: Fd, fd_out: Fd, len: Size, flags: Flags(&f::SPLICE)) = Block(nr::SYS_tee);
    78 readlinkat(dirfd: DirFd, pathname: Path, buf: Out(3), bufsiz: Size)
        = Call(path::readlinkat);
    79 newfstatat(dirfd: DirFd, pathname: Path, statbuf: Struct(128), flags: AT)
        = Call(file::newfstatat);
    80 fstat(fd: Fd, statbuf: Struct(128)) = Call(file::fstat);
    81 sync() = Block(nr::SYS_sync);
    82 fsync(fd: Fd) = Block(nr::SYS_fsync);
    83 fdatasync(fd: Fd) = Block(nr::SYS_fdatasync);
    84 sync_file_range(fd: Fd, offset: Long, nbytes: Long, flags: Hex)
        = Block(nr::SYS_sync_file_range);
    85 timerfd_create(clockid: CLOCK, flags: Flags(&f::FD)) = Pass(nr::SYS_timerfd_create);
    86 timerfd_settime(fd: Fd, flags: Flags(&f::TFD), new_value: Struct(32),
                       old_value: Struct(32)) = Pass(nr::SYS_timerfd_settime);
    87 timerfd_gettime(fd: Fd, curr_value: Struct(32)) = Pass(nr::SYS_timerfd_gettime);
    88 utimensat(dirfd: DirFd, pathname: Path, times: Struct(32), flags: AT)
        = Block(nr::SYS_utimensat);
    89 acct(filename: Path) = Block(nr::SYS_acct);
    90 capget(hdrp: Struct(8), datap: Struct(24)) = Pass(nr::SYS_capget);
    91 capset(hdrp: Struct(8), datap: Struct(24)) = Pass(nr::SYS_capset);
    92 personality(persona: Hex) = Pass(nr::SYS_personality);
    93 exit(status: Int) = Call(thread::sys_exit);
    94 exit_group(status: Int) = Call(process::sys_exit_group);
    95 waitid(idtype: Flags(&f::ID_TYPE), id: Int, infop: Struct(128), options: Flags(&f::WAIT),
              rusage: Struct(144)) = Block(nr::SYS_waitid);
    96 set_tid_address(tidptr: Addr) = Call(thread::sys_set_tid_address);
    97 unshare(flags: Flags(&f::CLONE)) = Call(info::unshare);
    98 futex(uaddr: Struct(4), futex_op: Flags(&f::FUTEX), val: Uint, timeout: Hex, uaddr2: Addr,
             val3: Hex) = Call(time::futex);
    99 set_robust_list(head: Addr, len: Size) = Call(thread::sys_set_robust_list);
    100 get_robust_list(pid: PID, head_ptr: Struct(8), len_ptr: Struct(8))
        = Call(thread::sys_get_robust_list);
    101 nanosleep(duration: Timespec, rem: Struct(16)) = Block(nr::SYS_nanosleep);
    102 getitimer(which: Flags(&f::ITIMER), curr_value: Struct(32)) = Pass(nr::SYS_getitimer);
    103 setitimer(which: Flags(&f::ITIMER), new_value: Struct(32), old_value: Struct(32))
        = Pass(nr::SYS_setitimer);
    104 kexec_load(entry: Hex, nr_segments: Size, segments: Ptr, flags: Hex)
        = Absent(HOST_KERNEL);
    105 init_module(module_image: In(1), len: Size, param_values: Str) = Absent(HOST_KERNEL);
    106 delete_module(name: Str, flags: Flags(&f::OPEN)) = Block(nr::SYS_delete_module);
    107 timer_create(clockid: CLOCK, sevp: Struct(64), timerid: Struct(4))
        = Pass(nr::SYS_timer_create);
    108 timer_gettime(timerid: Int, curr_value: Struct(32)) = Pass(nr::SYS_timer_gettime);
    109 timer_getoverrun(timerid: Int) = Pass(nr::SYS_timer_getoverrun);
    110 timer_settime(timerid: Int, flags: Flags(&f::TIMER), new_value: Struct(32),
                      old_value: Struct(32)) = Pass(nr::SYS_timer_settime);
    111 timer_delete(timerid: Int) = Pass(nr::SYS_timer_delete);
    112 clock_settime(clockid: CLOCK, tp: Timespec) = Pass(nr::SYS_clock_settime);
    113 clock_gettime(clockid: CLOCK, tp: Struct(16)) = Call(time::clock_gettime);
    114 clock_getres(clockid: CLOCK, res: Struct(16)) = Pass(nr::SYS_clock_getres);
    115 clock_nanosleep(clockid: CLOCK, flags: Flags(&f::TIMER), t: Timespec, remain: Struct(16))
        = Block(nr::SYS_clock_nanosleep);
    116 syslog(type: Int, bufp: Out(2), len: Int) = Block(nr::SYS_syslog);
    117 ptrace(op: Hex, pid: PID, addr: Addr, data: Hex) = Missing;
    118 sched_setparam(pid: PID, param: Struct(4)) = Pass(nr::SYS_sched_setparam);
    119 sched_setscheduler(pid: PID, policy: Flags(&f::SCHED), param: Struct(4))
        = Pass(nr::SYS_sched_setscheduler);
    120 sched_getscheduler(pid: PID) = Pass(nr::SYS_sched_getscheduler);
    121 sched_getparam(pid: PID, param: Struct(4)) = Pass(nr::SYS_sched_getparam);
    122 sched_setaffinity(pid: PID, cpusetsize: Uint, mask: In(1))
        = Pass(nr::SYS_sched_setaffinity);
    123 sched_getaffinity(pid: PID, cpusetsize: Uint, mask: Out(1))
        = Pass(nr::SYS_sched_getaffinity);
    124 sched_yield() = Pass(nr::SYS_sched_yield);
    125 sched_get_priority_max(policy: Flags(&f::SCHED)) = Pass(nr::SYS_sched_get_priority_max);
    126 sched_get_priority_min(policy: Flags(&f::SCHED)) = Pass(nr::SYS_sched_get_priority_min);
    127 sched_rr_get_interval(pid: PID, tp: Struct(16)) = Pass(nr::SYS_sched_rr_get_interval);
    128 restart_syscall() = Call(time::restart_syscall);
    129 kill(pid: PID, sig: Signal) = Call(signal::sys_kill);
    130 tkill(tid: PID, sig: Signal) = Call(signal::sys_tkill);
    131 tgkill(tgid: PID, tid: PID, sig: Signal) = Call(signal::sys_tgkill);
    132 sigaltstack(ss: Struct(24), old_ss: Struct(24)) = Call(signal::sys_sigaltstack);
    133 rt_sigsuspend(mask: SIGSET, sigsetsize: Size) = Call(signal::sys_rt_sigsuspend);
    134 rt_sigaction(signum: Signal, act: Struct(24), oldact: Struct(24), sigsetsize: Size)
        = Call(signal::sys_rt_sigaction);
    135 rt_sigprocmask(how: Flags(&f::SIGMASK), set: SIGSET, oldset: SIGSET, sigsetsize: Size)
        = Call(signal::sys_rt_sigprocmask);
    136 rt_sigpending(set: SIGSET, sigsetsize: Size) = Call(signal::sys_rt_sigpending);
    137 rt_sigtimedwait(set: SIGSET, info: Struct(128), timeout: Timespec, sigsetsize: Size)
        = Call(signal::sys_rt_sigtimedwait);
    138 rt_sigqueueinfo(tgid: PID, sig: Signal, info: Struct(128))
        = Call(signal::sys_rt_sigqueueinfo);
    139 rt_sigreturn() = Call(signal::sys_rt_sigreturn);
    140 setpriority(which: Flags(&f::PRIO), who: Int, prio: Int) = Pass(nr::SYS_setpriority);
    141 getpriority(which: Flags(&f::PRIO), who: Int) = Pass(nr::SYS_getpriority);
    142 reboot(magic: Hex, magic2: Hex, op: Hex, arg: Str) = Block(nr::SYS_reboot);
    143 setregid(rgid: Int, egid: Int) = Pass(nr::SYS_setregid);
    144 setgid(gid: Int) = Pass(nr::SYS_setgid);
    145 setreuid(ruid: Int, euid: Int) = Pass(nr::SYS_setreuid);
    146 setuid(uid: Int) = Pass(nr::SYS_setuid);
    147 setresuid(ruid: Int, euid: Int, suid: Int) = Pass(nr::SYS_setresuid);
    148 getresuid(ruid: Struct(4), euid: Struct(4), suid: Struct(4)) = Pass(nr::SYS_getresuid);
    149 setresgid(rgid: Int, egid: Int, sgid: Int) = Pass(nr::SYS_setresgid);
    150 getresgid(rgid: Struct(4), egid: Struct(4), sgid: Struct(4)) = Pass(nr::SYS_getresgid);
    151 setfsuid(fsuid: Int) = Pass(nr::SYS_setfsuid);
    152 setfsgid(fsgid: Int) = Pass(nr::SYS_setfsgid);
    153 times(buf: Struct(32)) = Pass(nr::SYS_times);
    154 setpgid(pid: PID, pgid: PID) = Pass(nr::SYS_setpgid);
    155 getpgid(pid: PID) = Pass(nr::SYS_getpgid);
    156 getsid(pid: PID) = Pass(nr::SYS_getsid);
    157 setsid() = Pass(nr::SYS_setsid);
    158 getgroups(size: Int, list: Array(0, 4)) = Pass(nr::SYS_getgroups);
    159 setgroups(size: Int, list: Array(0, 4)) = Pass(nr::SYS_setgroups);
    160 uname(buf: Struct(390)) = Call(info::uname);
    161 sethostname(name: In(1), len: Size) = Pass(nr::SYS_sethostname);
    162 setdomainname(name: In(1), len: Size) = Pass(nr::SYS_setdomainname);
    163 getrlimit(resource: Flags(&f::RLIMIT), rlim: Struct(16)) = Call(limits::getrlimit);
    164 setrlimit(resource: Flags(&f::RLIMIT), rlim: Struct(16)) = Call(limits::setrlimit);
    165 getrusage(who: Flags(&f::RUSAGE), usage: Struct(144)) = Pass(nr::SYS_getrusage);
    166 umask(mask: Mode) = Pass(nr::SYS_umask);
    167 prctl(option: Flags(&f::PRCTL), arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex)
        = Call(info::prctl);
    168 getcpu(cpu: Struct(4), node: Struct(4), tcache: Hex) = Pass(nr::SYS_getcpu);
    169 gettimeofday(tv: Struct(16), tz: Struct(8)) = Call(time::gettimeofday);
    170 settimeofday(tv: Struct(16), tz: Struct(8)) = Pass(nr::SYS_settimeofday);
    171 adjtimex(buf: Struct(208)) = Pass(nr::SYS_adjtimex);
    172 getpid() = Pass(nr::SYS_getpid);
    173 getppid() = Pass(nr::SYS_getppid);
    174 getuid() = Pass(nr::SYS_getuid);
    175 geteuid() = Pass(nr::SYS_geteuid);
    176 getgid() = Pass(nr::SYS_getgid);
    177 getegid() = Pass(nr::SYS_getegid);
    178 gettid() = Pass(nr::SYS_gettid);
    179 sysinfo(info: Struct(112)) = Pass(nr::SYS_sysinfo);
    180 mq_open(name: Str, oflag: Flags(&f::OPEN), mode: Mode, attr: Struct(64))
        = Pass(nr::SYS_mq_open);
    181 mq_unlink(name: Str) = Pass(nr::SYS_mq_unlink);
    182 mq_timedsend(mqdes: Fd, msg_ptr: In(2), msg_len: Size, msg_prio: Uint,
                     abs_timeout: Timespec) = Block(nr::SYS_mq_timedsend);
    183 mq_timedreceive(mqdes: Fd, msg_ptr: Out(2), msg_len: Size, msg_prio: Struct(4),
                        abs_timeout: Timespec) = Block(nr::SYS_mq_timedreceive);
    184 mq_notify(mqdes: Fd, sevp: Struct(64)) = Pass(nr::SYS_mq_notify);
    185 mq_getsetattr(mqdes: Fd, newattr: Struct(64), oldattr: Struct(64))
        = Pass(nr::SYS_mq_getsetattr);
    186 msgget(key: Hex, msgflg: Mode) = Pass(nr::SYS_msgget);
    187 msgctl(msqid: Int, op: Int, buf: Struct(120)) = Pass(nr::SYS_msgctl);
    188 msgrcv(msqid: Int, msgp: Ptr, msgsz: Size, msgtyp: Long, msgflg: Hex)
        = Call(ipc::msgrcv);
    189 msgsnd(msqid: Int, msgp: Ptr, msgsz: Size, msgflg: Hex) = Call(ipc::msgsnd);
    190 semget(key: Hex, nsems: Int, semflg: Mode) = Pass(nr::SYS_semget);
    191 semctl(semid: Int, semnum: Int, op: Int, arg: Hex) = Call(ipc::semctl);
    192 semtimedop(semid: Int, sops: Array(2, 6), nsops: Size, timeout: Timespec)
        = Block(nr::SYS_semtimedop);
    193 semop(semid: Int, sops: Array(2, 6), nsops: Size) = Block(nr::SYS_semop);
    194 shmget(key: Hex, size: Size, shmflg: Mode) = Pass(nr::SYS_shmget);
    195 shmctl(shmid: Int, op: Int, buf: Struct(112)) = Pass(nr::SYS_shmctl);
    196 shmat(shmid: Int, shmaddr: Addr, shmflg: Hex) = Call(mm::sys_shmat);
    197 shmdt(shmaddr: Addr) = Call(mm::sys_shmdt);
    198 socket(domain: Flags(&f::DOMAIN), type: Flags(&f::SOCK), protocol: Int)
        = Pass(nr::SYS_socket);
    199 socketpair(domain: Flags(&f::DOMAIN), type: Flags(&f::SOCK), protocol: Int,
                   sv: Struct(8)) = Pass(nr::SYS_socketpair);
    200 bind(sockfd: Fd, addr: Sockaddr(2), addrlen: Uint) = Block(nr::SYS_bind);
    201 listen(sockfd: Fd, backlog: Int) = Pass(nr::SYS_listen);
    202 accept(sockfd: Fd, addr: Ptr, addrlen: Struct(4)) = Call(net::accept);
    203 connect(sockfd: Fd, addr: Sockaddr(2), addrlen: Uint) = Block(nr::SYS_connect);
    204 getsockname(sockfd: Fd, addr: Ptr, addrlen: Struct(4)) = Call(net::getsockname);
    205 getpeername(sockfd: Fd, addr: Ptr, addrlen: Struct(4)) = Call(net::getpeername);
    206 sendto(sockfd: Fd, buf: In(2), len: Size, flags: Flags(&f::MSG), dest_addr: Sockaddr(5),
               addrlen: Uint) = Block(nr::SYS_sendto);
    207 recvfrom(sockfd: Fd, buf: Out(2), len: Size, flags: Flags(&f::MSG), src_addr: Ptr,
                 addrlen: Struct(4)) = Call(net::recvfrom);
    208 setsockopt(sockfd: Fd, level: Flags(&f::SOL), optname: Int, optval: In(4), optlen: Uint)
        = Pass(nr::SYS_setsockopt);
    209 getsockopt(sockfd: Fd, level: Flags(&f::SOL), optname: Int, optval: Ptr,
                   optlen: Struct(4)) = Call(net::getsockopt);
    210 shutdown(sockfd: Fd, how: Flags(&f::SHUT)) = Pass(nr::SYS_shutdown);
    211 sendmsg(sockfd: Fd, msg: Struct(56), flags: Flags(&f::MSG)) = Call(net::sendmsg);
    212 recvmsg(sockfd: Fd, msg: Struct(56), flags: Flags(&f::MSG)) = Call(net::recvmsg);
    213 readahead(fd: Fd, offset: Long, count: Size) = Block(nr::SYS_readahead);
    214 brk(addr: Addr) = Call(mm::sys_brk);
    215 munmap(addr: Addr, length: Size) = Call(mm::sys_munmap);
    216 mremap(old_address: Addr, old_size: Size, new_size: Size, flags: Flags(&f::MREMAP),
               new_address: Addr) = Call(mm::sys_mremap);
    217 add_key(type: Str, description: Str, payload: In(3), plen: Size, keyring: Int)
        = Block(nr::SYS_add_key);
    218 request_key(type: Str, description: Str, callout_info: Str, dest_keyring: Int)
        = Block(nr::SYS_request_key);
    219 keyctl(op: Int, arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex) = Call(info::keyctl);
    220 clone(flags: Flags(&f::CLONE), stack: Addr, parent_tid: Addr, tls: Addr, child_tid: Addr)
        = Call(thread::sys_clone);
    221 execve(pathname: Path, argv: Strings, envp: Addr) = Call(exec::sys_execve);
    222 mmap(addr: Addr, length: Size, prot: PROT, flags: Flags(&f::MAP), fd: Fd, offset: Hex)
        = Call(mm::sys_mmap);
    223 fadvise64(fd: Fd, offset: Long, len: Long, advice: Flags(&f::FADVISE))
        = Pass(nr::SYS_fadvise64);
    224 swapon(path: Path, swapflags: Hex) = Block(nr::SYS_swapon);
    225 swapoff(path: Path) = Block(nr::SYS_swapoff);
    226 mprotect(addr: Addr, len: Size, prot: PROT) = Call(mm::sys_mprotect);
    227 msync(addr: In(1), length: Size, flags: Flags(&f::MSYNC)) = Block(nr::SYS_msync);
    228 mlock(addr: In(1), len: Size) = Block(nr::SYS_mlock);
    229 munlock(addr: In(1), len: Size) = Pass(nr::SYS_munlock);
    230 mlockall(flags: Hex) = Call(memory::mlockall);
    231 munlockall() = Pass(nr::SYS_munlockall);
    232 mincore(addr: Addr, length: Size, vec: Ptr) = Call(memory::mincore);
    233 madvise(addr: Addr, length: Size, advice: Flags(&f::MADVISE)) = Call(mm::sys_madvise);
    234 remap_file_pages(addr: Addr, size: Size, prot: PROT, pgoff: Size, flags: Hex) = Missing;
    235 mbind(addr: In(1), len: Size, mode: Int, nodemask: Struct(8), maxnode: Size, flags: Hex)
        = Pass(nr::SYS_mbind);
    236 get_mempolicy(mode: Struct(4), nodemask: Struct(8), maxnode: Size, addr: Addr, flags: Hex)
        = Pass(nr::SYS_get_mempolicy);
    237 set_mempolicy(mode: Int, nodemask: Struct(8), maxnode: Size)
        = Pass(nr::SYS_set_mempolicy);
    238 migrate_pages(pid: PID, maxnode: Size, old_nodes: Struct(8), new_nodes: Struct(8))
        = Pass(nr::SYS_migrate_pages);
    239 move_pages(pid: PID, count: Size, pages: Array(1, 8), nodes: Array(1, 4),
                   status: Array(1, 4), flags: Hex) = Pass(nr::SYS_move_pages);
    240 rt_tgsigqueueinfo(tgid: PID, tid: PID, sig: Signal, info: Struct(128))
        = Call(signal::sys_rt_tgsigqueueinfo);
    241 perf_event_open(attr: Ptr, pid: PID, cpu: Int, group_fd: Fd, flags: Hex) = Missing;
    242 accept4(sockfd: Fd, addr: Ptr, addrlen: Struct(4), flags: Flags(&f::SOCK))
        = Call(net::accept4);
    243 recvmmsg(sockfd: Fd, msgvec: Array(2, 64), vlen: Uint, flags: Flags(&f::MSG),
                 timeout: Struct(16)) = Call(net::recvmmsg);
    258 riscv_hwprobe(pairs: Array(1, 16), pair_count: Size, cpusetsize: Size, cpus: In(2),
                      flags: Hex) = Call(arch::sys_riscv_hwprobe);
    259 riscv_flush_icache(start: Addr, end: Addr, flags: Hex)
        = Call(arch::sys_riscv_flush_icache);
    260 wait4(pid: PID, wstatus: Struct(4), options: Flags(&f::WAIT), rusage: Struct(144))
        = Block(nr::SYS_wait4);
    261 prlimit64(pid: PID, resource: Flags(&f::RLIMIT), new_limit: Struct(16),
                  old_limit: Struct(16)) = Call(limits::prlimit64);
    262 fanotify_init(flags: Hex, event_f_flags: Flags(&f::OPEN)) = Pass(nr::SYS_fanotify_init);
    263 fanotify_mark(fanotify_fd: Fd, flags: Hex, mask: Hex, dirfd: DirFd, pathname: Path)
        = Lookup(nr::SYS_fanotify_mark);
    264 name_to_handle_at(dirfd: DirFd, pathname: Path, handle: Struct(8), mount_id: Struct(4),
                          flags: AT) = Lookup(nr::SYS_name_to_handle_at);
    265 open_by_handle_at(mount_fd: Fd, handle: Struct(8), flags: Flags(&f::OPEN))
        = Block(nr::SYS_open_by_handle_at);
    266 clock_adjtime(clk_id: CLOCK, buf: Struct(208)) = Pass(nr::SYS_clock_adjtime);
    267 syncfs(fd: Fd) = Block(nr::SYS_syncfs);
    268 setns(fd: Fd, nstype: Flags(&f::CLONE)) = Call(info::setns);
    269 sendmmsg(sockfd: Fd, msgvec: Array(2, 64), vlen: Uint, flags: Flags(&f::MSG))
        = Call(net::sendmmsg);
    270 process_vm_readv(pid: PID, local_iov: Iov(2), liovcnt: Size, remote_iov: Iov(4),
                         riovcnt: Size, flags: Hex) = Call(iov::process_vm_readv);
    271 process_vm_writev(pid: PID, local_iov: Iov(2), liovcnt: Size, remote_iov: Iov(4),
                          riovcnt: Size, flags: Hex) = Call(iov::process_vm_writev);
    272 kcmp(pid1: PID, pid2: PID, type: Int, idx1: Hex, idx2: Hex) = Pass(nr::SYS_kcmp);
    273 finit_module(fd: Fd, param_values: Str, flags: Hex) = Absent(HOST_KERNEL);
    274 sched_setattr(pid: PID, attr: Struct(56), flags: Hex) = Pass(nr::SYS_sched_setattr);
    275 sched_getattr(pid: PID, attr: Out(2), size: Uint, flags: Hex)
        = Pass(nr::SYS_sched_getattr);
    276 renameat2(olddirfd: DirFd, oldpath: Path, newdirfd: DirFd, newpath: Path,
                  flags: Flags(&f::RENAME)) = Block(nr::SYS_renameat2);
    277 seccomp(operation: Int, flags: Hex, args: Hex) = Absent(SECCOMP);
    278 getrandom(buf: Out(1), buflen: Size, flags: Flags(&f::GRND)) = Block(nr::SYS_getrandom);
    279 memfd_create(name: Str, flags: Flags(&f::MFD)) = Pass(nr::SYS_memfd_create);
    280 bpf(cmd: Int, attr: Hex, size: Uint) = Absent(BPF);
    281 execveat(dirfd: DirFd, pathname: Path, argv: Strings, envp: Addr, flags: AT)
        = Call(exec::sys_execveat);
    282 userfaultfd(flags: Flags(&f::FD)) = Pass(nr::SYS_userfaultfd);
    283 membarrier(cmd: Int, flags: Hex, cpu_id: Int) = Pass(nr::SYS_membarrier);
    284 mlock2(addr: In(1), len: Size, flags: Hex) = Block(nr::SYS_mlock2);
    285 copy_file_range(fd_in: Fd, off_in: Struct(8), fd_out: Fd, off_out: Struct(8), size: Size,
                        flags: Hex) = Block(nr::SYS_copy_file_range);
    286 preadv2(fd: Fd, iov: Iov(2), iovcnt: Int, offset: Long, high: Long, flags: Hex)
        = Call(iov::preadv2);
    287 pwritev2(fd: Fd, iov: Iov(2), iovcnt: Int, offset: Long, high: Long, flags: Hex)
        = Call(iov::pwritev2);
    288 pkey_mprotect(addr: Addr, size: Size, prot: PROT, pkey: Int)
 = Absent(PKEYS);
    289 pkey_alloc(flags: Hex, access_rights: Hex) = Absent(PKEYS);
    290 pkey_free(pkey: Int) = Absent(PKEYS);
    291 statx(dirfd: DirFd, pathname: Path, flags: AT, mask: Hex, statxbuf: Struct(256))
        = Lookup(nr::SYS_statx);
    292 io_pgetevents(ctx_id: Hex, min_nr: Long, nr: Long, events: Ptr, timeout: Timespec,
                      sig: Ptr) = Absent(RINGS);
    293 rseq(rseq: Hex, rseq_len: Uint, flags: Hex, sig: Hex) = Absent(RSEQ);
    294 kexec_file_load(kernel_fd: Fd, initrd_fd: Fd, cmdline_len: Size, cmdline: Str,
                        flags: Hex) = Absent(HOST_KERNEL);
    424 pidfd_send_signal(pidfd: Fd, sig: Signal, info: Struct(128), flags: Hex)
        = Pass(nr::SYS_pidfd_send_signal);
    425 io_uring_setup(entries: Uint, p: Struct(120)) = Absent(RINGS);
    426 io_uring_enter(fd: Fd, to_submit: Uint, min_complete: Uint, flags: Hex, sig: Hex)
        = Absent(RINGS);
    427 io_uring_register(fd: Fd, opcode: Uint, arg: Hex, nr_args: Uint) = Absent(RINGS);
    428 open_tree(dirfd: DirFd, path: Path, flags: Hex) = Block(nr::SYS_open_tree);
    429 move_mount(from_dirfd: DirFd, from_path: Path, to_dirfd: DirFd, to_path: Path, flags: Hex)
        = Block(nr::SYS_move_mount);
    430 fsopen(fsname: Str, flags: Hex) = Block(nr::SYS_fsopen);
    431 fsconfig(fd: Fd, cmd: Int, key: Str, value: Struct(1), aux: Int)
        = Block(nr::SYS_fsconfig);
    432 fsmount(fsfd: Fd, flags: Hex, attr_flags: Hex) = Block(nr::SYS_fsmount);
    433 fspick(dirfd: DirFd, path: Path, flags: Hex) = Block(nr::SYS_fspick);
    434 pidfd_open(pid: PID, flags: Flags(&f::FD)) = Pass(nr::SYS_pidfd_open);
    435 clone3(cl_args: In(1), size: Size) = Call(thread::sys_clone3);
    436 close_range(first: Uint, last: Uint, flags: Flags(&f::CLOSE_RANGE))
        = Call(fd::close_range);
    437 openat2(dirfd: DirFd, pathname: Path, how: In(3), size: Size) = Call(path::openat2);
    438 pidfd_getfd(pidfd: Fd, targetfd: Fd, flags: Hex) = Pass(nr::SYS_pidfd_getfd);
    439 faccessat2(dirfd: DirFd, pathname: Path, mode: Flags(&f::ACCESS), flags: AT)
        = Lookup(nr::SYS_faccessat2);
    440 process_madvise(pidfd: Fd, iov: Iov(2), n: Size, advice: Flags(&f::MADVISE), flags: Hex)
        = Call(iov::process_madvise);
    441 epoll_pwait2(epfd: Fd, events: Ptr, maxevents: Int, timeout: Timespec, sigmask: SIGSET,
                     sigsetsize: Size) = Call(poll::epoll_pwait2);
    442 mount_setattr(dirfd: DirFd, path: Path, flags: AT, uattr: In(4), usize: Size)
        = Block(nr::SYS_mount_setattr);
    443 quotactl_fd(fd: Fd, cmd: Hex, id: Int, addr: Struct(112)) = Block(nr::SYS_quotactl_fd);
    444 landlock_create_ruleset(attr: In(1), size: Size, flags: Hex)
        = Pass(nr::SYS_landlock_create_ruleset);
    445 landlock_add_rule(ruleset_fd: Fd, rule_type: Int, rule_attr: Struct(16), flags: Hex)
        = Pass(nr::SYS_landlock_add_rule);
    446 landlock_restrict_self(ruleset_fd: Fd, flags: Hex)
        = Pass(nr::SYS_landlock_restrict_self);
    447 memfd_secret(flags: Flags(&f::FD)) = Pass(nr::SYS_memfd_secret);
    448 process_mrelease(pidfd: Fd, flags: Hex) = Pass(nr::SYS_process_mrelease);
    449 futex_waitv(waiters: Array(1, 24), nr_futexes: Uint, flags: Hex, timeout: Timespec,
                    clockid: CLOCK) = Block(nr::SYS_futex_waitv);
    450 set_mempolicy_home_node(start: In(1), len: Size, home_node: Size, flags: Hex)
        = Pass(nr::SYS_set_mempolicy_home_node);
    451 cachestat(fd: Fd, range: Struct(16), cstat: Struct(40), flags: Hex)
        = Pass(nr::SYS_CACHESTAT);
    452 fchmodat2(dirfd: DirFd, pathname: Path, mode: Mode, flags: AT)
        = Block(nr::SYS_fchmodat2);
    453 map_shadow_stack(addr: Addr, size: Size, flags: Hex)
        = Absent("the CPU has no shadow stack");
    454 futex_wake(uaddr: Struct(4), mask: Hex, nr: Int, flags: Hex) = Pass(nr::SYS_FUTEX_WAKE);
    455 futex_wait(uaddr: Struct(4), val: Size, mask: Hex, flags: Hex, timeout: Timespec,
                   clockid: CLOCK) = Block(nr::SYS_FUTEX_WAIT);
    456 futex_requeue(waiters: Struct(48), flags: Hex, nr_wake: Int, nr_requeue: Int)
        = Call(time::futex_requeue);
    457 statmount(req: Struct(24), buf: Out(2), bufsize: Size, flags: Hex)
        = Pass(nr::SYS_STATMOUNT);
    458 listmount(req: Struct(24), mnt_ids: Array(2, 8), nr_mnt_ids: Size, flags: Hex)
        = Pass(nr::SYS_LISTMOUNT);
    459 lsm_get_self_attr(attr: Uint, ctx: Ptr, size: Struct(4), flags: Hex)
        = Call(info::lsm_get_self_attr);
    460 lsm_set_self_attr(attr: Uint, ctx: In(2), size: Uint, flags: Hex)
        = Pass(nr::SYS_LSM_SET_SELF_ATTR);
    461 lsm_list_modules(ids: Ptr, size: Struct(4), flags: Hex) = Call(info::lsm_list_modules);
    462 mseal(addr: In(1), len: Size, flags: Hex) = Pass(nr::SYS_mseal);
    463 setxattrat(dirfd: DirFd, path: Path, at_flags: AT, name: Str, args: Struct(16),
                   size: Size) = Missing;
    464 getxattrat(dirfd: DirFd, path: Path, at_flags: AT, name: Str, args: Struct(16),
                   size: Size) = Missing;
    465 listxattrat(dirfd: DirFd, path: Path, at_flags: AT, list: Out(4), size: Size)
        = Missing;
    466 removexattrat(dirfd: DirFd, path: Path, at_flags: AT, name: Str) = Missing;
    467 open_tree_attr(dirfd: DirFd, path: Path, flags: Hex, uattr: In(4), usize: Size)
        = Block(nr::SYS_OPEN_TREE_ATTR);
    468 file_getattr(dirfd: DirFd, path: Path, ufattr: Out(3), usize: Size, at_flags: AT)
        = Lookup(nr::SYS_FILE_GETATTR);
    469 file_setattr(dirfd: DirFd, path: Path, ufattr: In(3), usize: Size, at_flags: AT)
        = Block(nr::SYS_FILE_SETATTR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_unique() {
        assert!(
            ENTRIES
                .windows(2)
                .all(|pair| pair[0].number < pair[1].number)
        );
    }

    #[test]
    fn every_number_of_asm_generic_is_present() {
        // 38 is renameat, which riscv never had; 244 to 257 are other architectures' own;
        // 295 to 423 are 32-bit calls with 64-bit time.
        let absent = |number: &u64| {
            *number == 38 || (244..=257).contains(number) || (295..=423).contains(number)
        };
        for number in (0..NUMBERS as u64).filter(|number| !absent(number)) {
            let entry = lookup(number).map(|entry| u64::from(entry.number));
            assert_eq!(entry, Some(number));
        }
        assert!(
            (0..NUMBERS as u64)
                .filter(absent)
                .all(|number| lookup(number).is_none())
        );
        assert!(lookup(NUMBERS as u64).is_none() && lookup(u64::MAX).is_none());
    }

    #[test]
    fn lengths_refer_to_arguments_of_the_same_call() {
        for entry in ENTRIES {
            for param in entry.params {
                let index = match param.kind {
                    In(index) | Out(index) | Sockaddr(index) | Iov(index) => index,
                    Array(index, _) => index,
                    _ => continue,
                };
                let kind = entry.params.get(usize::from(index)).map(|param| param.kind);
                assert!(matches!(kind, Some(Size | Int | Uint)), "{}", entry.name);
            }
        }
    }

    #[test]
    fn shared_numbers_pass_unchanged() {
        for entry in ENTRIES.iter().filter(|entry| entry.number >= 424) {
            if let How::Pass(host) | How::Block(host) | How::Lookup(host) = entry.how {
                assert_eq!(host, i64::from(entry.number), "{}", entry.name);
            }
        }
    }
}
