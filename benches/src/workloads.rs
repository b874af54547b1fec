//! The table of workloads: what is run, in which group, how much of it.

/// A group of workloads, with one geometric mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Integer kernels.
    Integer,
    /// Calls, returns and indirect jumps.
    Calls,
    /// Floating point.
    Float,
    /// Memory and libc's string functions.
    Memory,
    /// Code that runs once.
    Once,
    /// Starting a process.
    Start,
    /// Threads and atomics.
    Threads,
    /// System calls.
    Syscalls,
    /// Signals.
    Signals,
    /// Code that changes.
    SelfModifying,
    /// Debian's interpreters.
    Interpreters,
    /// Debian's compiler.
    Compiler,
    /// Other programs of Debian.
    Applications,
}

/// Every group, in the order of the report.
pub const GROUPS: [Group; 13] = [
    Group::Integer,
    Group::Calls,
    Group::Float,
    Group::Memory,
    Group::Once,
    Group::Start,
    Group::Threads,
    Group::Syscalls,
    Group::Signals,
    Group::SelfModifying,
    Group::Interpreters,
    Group::Compiler,
    Group::Applications,
];

impl Group {
    /// The group's name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Calls => "calls",
            Self::Float => "float",
            Self::Memory => "memory",
            Self::Once => "once",
            Self::Start => "start",
            Self::Threads => "threads",
            Self::Syscalls => "syscalls",
            Self::Signals => "signals",
            Self::SelfModifying => "self-modifying",
            Self::Interpreters => "interpreters",
            Self::Compiler => "compiler",
            Self::Applications => "applications",
        }
    }

    /// The promised ceiling: CPU time as a share of the fastest QEMU's, where one is promised.
    pub fn target(self) -> Option<f64> {
        match self {
            Self::Integer => Some(0.65),
            Self::Calls => Some(0.25),
            Self::Float => Some(0.20),
            Self::Once | Self::Compiler => Some(0.30),
            Self::Start => Some(0.40),
            Self::Interpreters => Some(0.35),
            Self::Threads | Self::Syscalls | Self::Signals | Self::SelfModifying => Some(0.60),
            Self::Memory | Self::Applications => None,
        }
    }
}

/// Where a workload's program comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// `guests/bench/<name>.c`, with its size (smaller under `--quick`); `None`: no argument.
    C(Option<Size>),
    /// The generated program of `once.rs`; the number is how many functions to run.
    Once(u32),
    /// A program of Debian's trees.
    Debian(&'static Program),
}

/// The one argument of a workload in C.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// For a full run.
    pub full: u32,
    /// For `--quick`.
    pub quick: u32,
}

/// A program of Debian's trees with its arguments.
#[derive(Debug)]
pub struct Program {
    /// The path inside the tree.
    pub path: &'static str,
    /// The native counterpart, where it is another path inside the amd64 tree.
    pub native_path: Option<&'static str>,
    /// Arguments; `{data}` is the folder of input files.
    pub arguments: &'static [&'static str],
}

/// One workload.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name, unique.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// What runs.
    pub source: Source,
    /// How often in a row, for programs too short to be measured alone.
    pub repeat: u32,
}

const fn c(group: Group, name: &'static str, full: u32) -> Workload {
    Workload {
        name,
        group,
        source: Source::C(Some(Size {
            full,
            quick: full / 5,
        })),
        repeat: 1,
    }
}

const fn sized(group: Group, name: &'static str, full: u32, quick: u32) -> Workload {
    Workload {
        name,
        group,
        source: Source::C(Some(Size { full, quick })),
        repeat: 1,
    }
}

const fn debian(group: Group, name: &'static str, program: &'static Program) -> Workload {
    Workload {
        name,
        group,
        source: Source::Debian(program),
        repeat: 1,
    }
}

/// Functions of the generated program that `once` runs.
pub const ONCE_FUNCTIONS: u32 = 4000;
/// The workload that runs generated code once.
pub const ONCE: &str = "once";
/// The same program without running any of that code.
pub const ONCE_BASE: &str = "once_base";

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    c(Group::Integer, "kernel_mix", 6000),
    c(Group::Integer, "sieve", 120),
    c(Group::Integer, "sort", 42),
    c(Group::Integer, "crc32", 500),
    c(Group::Integer, "sha256", 100_000),
    c(Group::Integer, "copy_loops", 1500),
    c(Group::Integer, "matrix_int", 200),
    sized(Group::Integer, "queens", 12, 10),
    c(Group::Integer, "bignum", 50_000),
    c(Group::Integer, "divide", 300_000),
    c(Group::Integer, "bitops", 6_000_000),
    sized(Group::Calls, "fib", 36, 32),
    c(Group::Calls, "tak", 150),
    c(Group::Calls, "function_pointers", 5_000_000),
    c(Group::Calls, "bytecode_threaded", 1_800_000),
    c(Group::Calls, "bytecode_switch", 1_800_000),
    c(Group::Calls, "tree", 400),
    c(Group::Calls, "deep", 1500),
    c(Group::Calls, "callbacks", 36),
    c(Group::Float, "linpack", 80),
    c(Group::Float, "linpack32", 80),
    c(Group::Float, "nbody", 250_000),
    c(Group::Float, "nbody32", 200_000),
    sized(Group::Float, "mandelbrot", 640, 280),
    sized(Group::Float, "mandelbrot32", 640, 280),
    c(Group::Float, "fft", 180),
    c(Group::Float, "spectral", 200),
    c(Group::Float, "libm", 60_000),
    c(Group::Float, "fused", 4_000_000),
    c(Group::Float, "convert", 2_000_000),
    c(Group::Memory, "stream", 60),
    c(Group::Memory, "chase", 1_200_000),
    c(Group::Memory, "strings", 600_000),
    Workload {
        name: ONCE,
        group: Group::Once,
        source: Source::Once(ONCE_FUNCTIONS),
        repeat: 3,
    },
    Workload {
        name: ONCE_BASE,
        group: Group::Start,
        source: Source::Once(0),
        repeat: 20,
    },
    Workload {
        name: "hello",
        group: Group::Start,
        source: Source::C(None),
        repeat: 20,
    },
    Workload {
        name: "true",
        group: Group::Start,
        source: Source::Debian(&crate::programs::TRUE),
        repeat: 20,
    },
    c(Group::Start, "fork_wait", 500),
    c(Group::Threads, "mutex", 700_000),
    c(Group::Threads, "ping_pong", 12_000),
    c(Group::Threads, "atomics", 1_000_000),
    c(Group::Threads, "thread_start", 2500),
    c(Group::Syscalls, "syscall_null", 800_000),
    c(Group::Syscalls, "syscall_file", 80_000),
    c(Group::Syscalls, "syscall_pipe", 12_000),
    c(Group::Signals, "signal_raise", 80_000),
    c(Group::Signals, "signal_altstack", 60_000),
    c(Group::Signals, "signal_timer", 80_000_000),
    c(Group::Signals, "signal_fault", 40_000),
    c(Group::SelfModifying, "self_modifying", 40_000),
    debian(
        Group::Interpreters,
        "python_start",
        &crate::programs::PYTHON_START,
    ),
    debian(Group::Interpreters, "python", &crate::programs::PYTHON),
    debian(Group::Interpreters, "perl", &crate::programs::PERL),
    debian(Group::Interpreters, "lua", &crate::programs::LUA),
    debian(Group::Compiler, "cc1", &crate::programs::CC1),
    debian(Group::Applications, "sqlite3", &crate::programs::SQLITE3),
    debian(Group::Applications, "xz", &crate::programs::XZ),
    debian(
        Group::Applications,
        "xz_decompress",
        &crate::programs::XZ_DECOMPRESS,
    ),
    debian(
        Group::Applications,
        "openssl_digest",
        &crate::programs::OPENSSL_DIGEST,
    ),
    debian(
        Group::Applications,
        "openssl_prime",
        &crate::programs::OPENSSL_PRIME,
    ),
    debian(Group::Applications, "bash", &crate::programs::BASH),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = WORKLOADS.iter().map(|w| w.name).collect();
        assert_eq!(names.len(), WORKLOADS.len());
    }

    #[test]
    fn every_group_has_a_workload() {
        for group in GROUPS {
            assert!(
                WORKLOADS.iter().any(|w| w.group == group),
                "{}",
                group.name()
            );
        }
    }

    #[test]
    fn every_c_workload_has_its_source() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/bench");
        for workload in WORKLOADS
            .iter()
            .filter(|w| matches!(w.source, Source::C(_)))
        {
            let path = format!("{folder}/{}.c", workload.name);
            assert!(std::path::Path::new(&path).is_file(), "{path}");
        }
    }
}
