//! Names for the flags, commands and numbers that strace prints.
//!
//! `libc`'s constants are the host's. The guest's are the same: every value used here is in
//! `asm-generic`, from which x86-64 does not differ.

use super::kind::FlagSet;

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        [$((libc::$name as u32 as u64, stringify!($name))),*]
    };
}

/// `mmap(2)` protection.
pub static PROT: FlagSet = FlagSet::sum_of(&names![
    PROT_READ,
    PROT_WRITE,
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
]);

/// `open(2)` flags.
pub static OPEN: FlagSet = FlagSet {
    field: 3,
    values: &names![O_RDONLY, O_WRONLY, O_RDWR],
    flags: &names![
        O_CREAT,
        O_EXCL,
        O_NOCTTY,
        O_TRUNC,
        O_APPEND,
        O_NONBLOCK,
        O_SYNC,
        O_DSYNC,
        O_ASYNC,
        O_DIRECT,
        O_NOFOLLOW,
        O_TMPFILE,
        O_DIRECTORY,
        O_NOATIME,
        O_CLOEXEC,
        O_PATH,
    ],
};

/// `mmap(2)` flags; the low bits are a type.
pub static MAP: FlagSet = FlagSet {
    field: 3,
    values: &names![MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE],
    flags: &names![
        MAP_FIXED_NOREPLACE,
        MAP_FIXED,
        MAP_ANONYMOUS,
        MAP_GROWSDOWN,
        MAP_DENYWRITE,
        MAP_EXECUTABLE,
        MAP_LOCKED,
        MAP_NORESERVE,
        MAP_POPULATE,
        MAP_NONBLOCK,
        MAP_STACK,
        MAP_HUGETLB,
        MAP_SYNC,
    ],
};

/// `mremap(2)` flags.
pub static MREMAP: FlagSet =
    FlagSet::sum_of(&names![MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP,]);

/// `madvise(2)` advice.
pub static MADVISE: FlagSet = FlagSet::one_of(&names![
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_REMOVE,
    MADV_DONTFORK,
    MADV_DOFORK,
    MADV_MERGEABLE,
    MADV_UNMERGEABLE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_DONTDUMP,
    MADV_DODUMP,
    MADV_WIPEONFORK,
    MADV_KEEPONFORK,
    MADV_COLD,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
]);

/// Flags of the `*at` calls.
pub static AT: FlagSet = FlagSet::sum_of(&names![
    AT_SYMLINK_NOFOLLOW,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_NO_AUTOMOUNT,
    AT_EMPTY_PATH,
    AT_STATX_FORCE_SYNC,
    AT_STATX_DONT_SYNC,
    AT_RECURSIVE,
]);

/// `access(2)` modes.
pub static ACCESS: FlagSet = FlagSet::sum_of(&names![R_OK, W_OK, X_OK,]);

/// `lseek(2)` origins.
pub static SEEK: FlagSet =
    FlagSet::one_of(&names![SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE,]);

/// `fcntl(2)` commands.
pub static FCNTL: FlagSet = FlagSet::one_of(&names![
    F_DUPFD,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_SETOWN,
    F_GETOWN,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_DUPFD_CLOEXEC,
    F_SETPIPE_SZ,
    F_GETPIPE_SZ,
    F_ADD_SEALS,
    F_GET_SEALS,
    F_GETLEASE,
    F_SETLEASE,
    F_NOTIFY,
]);

/// `ioctl(2)` requests that are met often.
pub static IOCTL: FlagSet = FlagSet::one_of(&names![
    TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGPGRP, TIOCSPGRP, TIOCGWINSZ, TIOCSWINSZ, FIONREAD,
    FIONBIO, TIOCSCTTY, TIOCNOTTY, TIOCGSID, TCSBRK, TCXONC, TCFLSH, TIOCGPTN, TIOCSPTLCK, TIOCSTI,
    FIOCLEX, FIONCLEX, FIOASYNC, FICLONE,
]);

/// Clocks.
pub static CLOCK: FlagSet = FlagSet::one_of(&names![
    CLOCK_REALTIME,
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID,
    CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME_COARSE,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_BOOTTIME,
    CLOCK_REALTIME_ALARM,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_TAI,
]);

/// `timer_settime(2)` flags.
pub static TIMER: FlagSet = FlagSet::sum_of(&names![TIMER_ABSTIME,]);

/// `timerfd_settime(2)` flags.
pub static TFD: FlagSet = FlagSet::sum_of(&names![TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET,]);

/// `epoll_ctl(2)` operations.
pub static EPOLL_CTL: FlagSet =
    FlagSet::one_of(&names![EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD,]);

/// Flags of the calls that make a file descriptor (`pipe2`, `dup3`, `eventfd2`, …).
pub static FD: FlagSet = FlagSet::sum_of(&names![O_CLOEXEC, O_NONBLOCK, EFD_SEMAPHORE, O_DIRECT]);

/// `memfd_create(2)` flags.
pub static MFD: FlagSet = FlagSet::sum_of(&names![MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB,]);

/// `futex(2)` operations.
pub static FUTEX: FlagSet = FlagSet {
    field: 0x7f,
    values: &names![
        FUTEX_WAIT,
        FUTEX_WAKE,
        FUTEX_FD,
        FUTEX_REQUEUE,
        FUTEX_CMP_REQUEUE,
        FUTEX_WAKE_OP,
        FUTEX_LOCK_PI,
        FUTEX_UNLOCK_PI,
        FUTEX_TRYLOCK_PI,
        FUTEX_WAIT_BITSET,
        FUTEX_WAKE_BITSET,
        FUTEX_WAIT_REQUEUE_PI,
        FUTEX_CMP_REQUEUE_PI,
        FUTEX_LOCK_PI2,
    ],
    flags: &names![FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME],
};

/// `clone(2)` flags; the low byte is a signal.
pub static CLONE: FlagSet = FlagSet {
    field: 0xff,
    values: &names![SIGCHLD],
    flags: &names![
        CLONE_VM,
        CLONE_FS,
        CLONE_FILES,
        CLONE_SIGHAND,
        CLONE_PIDFD,
        CLONE_PTRACE,
        CLONE_VFORK,
        CLONE_PARENT,
        CLONE_THREAD,
        CLONE_NEWNS,
        CLONE_SYSVSEM,
        CLONE_SETTLS,
        CLONE_PARENT_SETTID,
        CLONE_CHILD_CLEARTID,
        CLONE_DETACHED,
        CLONE_UNTRACED,
        CLONE_CHILD_SETTID,
        CLONE_NEWCGROUP,
        CLONE_NEWUTS,
        CLONE_NEWIPC,
        CLONE_NEWUSER,
        CLONE_NEWPID,
        CLONE_NEWNET,
        CLONE_IO,
    ],
};

/// `wait4(2)` and `waitid(2)` options.
pub static WAIT: FlagSet = FlagSet::sum_of(&names![
    WNOHANG,
    WUNTRACED,
    WEXITED,
    WCONTINUED,
    WNOWAIT,
    __WNOTHREAD,
    __WALL,
    __WCLONE,
]);

/// `waitid(2)` selectors.
pub static ID_TYPE: FlagSet = FlagSet::one_of(&names![P_ALL, P_PID, P_PGID, P_PIDFD,]);

/// `sigprocmask(2)` operations.
pub static SIGMASK: FlagSet = FlagSet::one_of(&names![SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK,]);

/// Resources.
pub static RLIMIT: FlagSet = FlagSet::one_of(&names![
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_DATA,
    RLIMIT_STACK,
    RLIMIT_CORE,
    RLIMIT_RSS,
    RLIMIT_NPROC,
    RLIMIT_NOFILE,
    RLIMIT_MEMLOCK,
    RLIMIT_AS,
    RLIMIT_LOCKS,
    RLIMIT_SIGPENDING,
    RLIMIT_MSGQUEUE,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
]);

/// `getrusage(2)` subjects.
pub static RUSAGE: FlagSet = FlagSet::one_of(&names![RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD,]);

/// `prctl(2)` options.
pub static PRCTL: FlagSet = FlagSet::one_of(&names![
    PR_SET_PDEATHSIG,
    PR_GET_PDEATHSIG,
    PR_GET_DUMPABLE,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_GET_KEEPCAPS,
    PR_SET_NAME,
    PR_GET_NAME,
    PR_GET_SECCOMP,
    PR_SET_SECCOMP,
    PR_CAPBSET_READ,
    PR_CAPBSET_DROP,
    PR_SET_TIMERSLACK,
    PR_GET_TIMERSLACK,
    PR_SET_MM,
    PR_SET_CHILD_SUBREAPER,
    PR_GET_CHILD_SUBREAPER,
    PR_SET_NO_NEW_PRIVS,
    PR_GET_NO_NEW_PRIVS,
    PR_SET_VMA,
    PR_SET_PTRACER,
    PR_CAP_AMBIENT,
]);

/// Address families.
pub static DOMAIN: FlagSet = FlagSet::one_of(&names![
    AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK,
]);

/// Socket types.
pub static SOCK: FlagSet = FlagSet {
    field: 0xf,
    values: &names![SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET],
    flags: &names![SOCK_CLOEXEC, SOCK_NONBLOCK],
};

/// `setsockopt(2)` levels.
pub static SOL: FlagSet = FlagSet::one_of(&names![
    SOL_IP,
    SOL_SOCKET,
    SOL_TCP,
    SOL_UDP,
    SOL_IPV6,
    SOL_RAW,
    SOL_PACKET,
    SOL_NETLINK,
]);

/// `send(2)` and `recv(2)` flags.
pub static MSG: FlagSet = FlagSet::sum_of(&names![
    MSG_OOB,
    MSG_PEEK,
    MSG_DONTROUTE,
    MSG_CTRUNC,
    MSG_TRUNC,
    MSG_DONTWAIT,
    MSG_EOR,
    MSG_WAITALL,
    MSG_CONFIRM,
    MSG_ERRQUEUE,
    MSG_NOSIGNAL,
    MSG_MORE,
    MSG_WAITFORONE,
    MSG_FASTOPEN,
    MSG_CMSG_CLOEXEC,
]);

/// `shutdown(2)` directions.
pub static SHUT: FlagSet = FlagSet::one_of(&names![SHUT_RD, SHUT_WR, SHUT_RDWR,]);

/// `flock(2)` operations.
pub static FLOCK: FlagSet = FlagSet::sum_of(&names![LOCK_SH, LOCK_EX, LOCK_UN, LOCK_NB,]);

/// `getrandom(2)` flags.
pub static GRND: FlagSet = FlagSet::sum_of(&names![GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE,]);

/// `msync(2)` flags.
pub static MSYNC: FlagSet = FlagSet::sum_of(&names![MS_ASYNC, MS_INVALIDATE, MS_SYNC,]);

/// `renameat2(2)` flags.
pub static RENAME: FlagSet =
    FlagSet::sum_of(&names![RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT,]);

/// `posix_fadvise(2)` advice.
pub static FADVISE: FlagSet = FlagSet::one_of(&names![
    POSIX_FADV_NORMAL,
    POSIX_FADV_RANDOM,
    POSIX_FADV_SEQUENTIAL,
    POSIX_FADV_WILLNEED,
    POSIX_FADV_DONTNEED,
    POSIX_FADV_NOREUSE,
]);

/// Interval timers.
pub static ITIMER: FlagSet = FlagSet::one_of(&names![ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF,]);

/// `fallocate(2)` modes.
pub static FALLOC: FlagSet = FlagSet::sum_of(&names![
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_UNSHARE_RANGE,
]);

/// `splice(2)` flags.
pub static SPLICE: FlagSet = FlagSet::sum_of(&names![
    SPLICE_F_MOVE,
    SPLICE_F_NONBLOCK,
    SPLICE_F_MORE,
    SPLICE_F_GIFT,
]);

/// `close_range(2)` flags.
pub static CLOSE_RANGE: FlagSet =
    FlagSet::sum_of(&names![CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC,]);

/// Scheduling policies.
pub static SCHED: FlagSet = FlagSet::one_of(&names![
    SCHED_OTHER,
    SCHED_FIFO,
    SCHED_RR,
    SCHED_BATCH,
    SCHED_IDLE,
    SCHED_DEADLINE,
]);

/// `getpriority(2)` subjects.
pub static PRIO: FlagSet = FlagSet::one_of(&names![PRIO_PROCESS, PRIO_PGRP, PRIO_USER,]);

/// `setxattr(2)` flags.
pub static XATTR: FlagSet = FlagSet::sum_of(&names![XATTR_CREATE, XATTR_REPLACE,]);

/// `mount(2)` flags.
pub static MOUNT: FlagSet = FlagSet::sum_of(&names![
    MS_RDONLY,
    MS_NOSUID,
    MS_NODEV,
    MS_NOEXEC,
    MS_SYNCHRONOUS,
    MS_REMOUNT,
    MS_MANDLOCK,
    MS_DIRSYNC,
    MS_NOATIME,
    MS_NODIRATIME,
    MS_BIND,
    MS_MOVE,
    MS_REC,
    MS_SILENT,
    MS_UNBINDABLE,
    MS_PRIVATE,
    MS_SLAVE,
    MS_SHARED,
    MS_RELATIME,
    MS_STRICTATIME,
]);

/// `umount2(2)` flags.
pub static UMOUNT: FlagSet =
    FlagSet::sum_of(&names![MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW,]);

/// `inotify(7)` masks.
pub static INOTIFY: FlagSet = FlagSet::sum_of(&names![
    IN_ACCESS,
    IN_MODIFY,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CLOSE_NOWRITE,
    IN_OPEN,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_MOVE_SELF,
    IN_ONLYDIR,
    IN_DONT_FOLLOW,
    IN_MASK_ADD,
    IN_ISDIR,
    IN_ONESHOT,
]);

/// Signals, by number.
pub static SIGNALS: FlagSet = FlagSet::one_of(&names![
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
    SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS,
]);

/// Error numbers.
pub static ERRORS: FlagSet = FlagSet::one_of(&names![
    EPERM,
    ENOENT,
    ESRCH,
    EINTR,
    EIO,
    ENXIO,
    E2BIG,
    ENOEXEC,
    EBADF,
    ECHILD,
    EAGAIN,
    ENOMEM,
    EACCES,
    EFAULT,
    ENOTBLK,
    EBUSY,
    EEXIST,
    EXDEV,
    ENODEV,
    ENOTDIR,
    EISDIR,
    EINVAL,
    ENFILE,
    EMFILE,
    ENOTTY,
    ETXTBSY,
    EFBIG,
    ENOSPC,
    ESPIPE,
    EROFS,
    EMLINK,
    EPIPE,
    EDOM,
    ERANGE,
    EDEADLK,
    ENAMETOOLONG,
    ENOLCK,
    ENOSYS,
    ENOTEMPTY,
    ELOOP,
    ENOMSG,
    EIDRM,
    ECHRNG,
    EL2NSYNC,
    EL3HLT,
    EL3RST,
    ELNRNG,
    EUNATCH,
    ENOCSI,
    EL2HLT,
    EBADE,
    EBADR,
    EXFULL,
    ENOANO,
    EBADRQC,
    EBADSLT,
    EBFONT,
    ENOSTR,
    ENODATA,
    ETIME,
    ENOSR,
    ENONET,
    ENOPKG,
    EREMOTE,
    ENOLINK,
    EADV,
    ESRMNT,
    ECOMM,
    EPROTO,
    EMULTIHOP,
    EDOTDOT,
    EBADMSG,
    EOVERFLOW,
    ENOTUNIQ,
    EBADFD,
    EREMCHG,
    ELIBACC,
    ELIBBAD,
    ELIBSCN,
    ELIBMAX,
    ELIBEXEC,
    EILSEQ,
    ERESTART,
    ESTRPIPE,
    EUSERS,
    ENOTSOCK,
    EDESTADDRREQ,
    EMSGSIZE,
    EPROTOTYPE,
    ENOPROTOOPT,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    EOPNOTSUPP,
    EPFNOSUPPORT,
    EAFNOSUPPORT,
    EADDRINUSE,
    EADDRNOTAVAIL,
    ENETDOWN,
    ENETUNREACH,
    ENETRESET,
    ECONNABORTED,
    ECONNRESET,
    ENOBUFS,
    EISCONN,
    ENOTCONN,
    ESHUTDOWN,
    ETOOMANYREFS,
    ETIMEDOUT,
    ECONNREFUSED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EALREADY,
    EINPROGRESS,
    ESTALE,
    EUCLEAN,
    ENOTNAM,
    ENAVAIL,
    EISNAM,
    EREMOTEIO,
    EDQUOT,
    ENOMEDIUM,
    EMEDIUMTYPE,
    ECANCELED,
    ENOKEY,
    EKEYEXPIRED,
    EKEYREVOKED,
    EKEYREJECTED,
    EOWNERDEAD,
    ENOTRECOVERABLE,
    ERFKILL,
    EHWPOISON,
]);
