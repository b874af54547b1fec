//! What a run is configured by, and how a run hands its settings to the programs it executes.

use isomorph_engine::Tier2;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Which stages of translation and which events are logged (`-d`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugItems(pub u32);

impl DebugItems {
    /// Guest instructions of each translated block.
    pub const IN_ASM: Self = Self(1);
    /// The block's operations as the front end emitted them.
    pub const OP: Self = Self(2);
    /// The operations that were compiled.
    pub const OP_OPT: Self = Self(4);
    /// Host instructions of each translated block.
    pub const OUT_ASM: Self = Self(8);
    /// Guest signals and faults.
    pub const INT: Self = Self(16);
    /// The guest's memory map when it starts.
    pub const PAGE: Self = Self(32);
    /// System calls that isomorph does not implement.
    pub const UNIMP: Self = Self(64);
    /// System calls, as `-strace`.
    pub const STRACE: Self = Self(128);

    /// The stages of a translation.
    pub const STAGES: Self = Self(1 | 2 | 4 | 8);

    /// Every item with its name and a line of help.
    pub const NAMES: &'static [(&'static str, Self, &'static str)] = &[
        ("in_asm", Self::IN_ASM, "guest instructions of each block"),
        (
            "op",
            Self::OP,
            "operations of each block as the front end emitted them",
        ),
        (
            "op_opt",
            Self::OP_OPT,
            "operations of each block as compiled",
        ),
        ("out_asm", Self::OUT_ASM, "host instructions of each block"),
        ("int", Self::INT, "guest signals and faults"),
        ("page", Self::PAGE, "the guest's memory map when it starts"),
        (
            "unimp",
            Self::UNIMP,
            "system calls that are not implemented",
        ),
        ("strace", Self::STRACE, "system calls"),
    ];

    /// True if any item of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The item spelled so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(n, ..)| *n == name)
            .map(|(_, item, _)| *item)
    }
}

/// Everything a run needs to know.
#[derive(Clone, Debug, Default)]
pub struct RunConfig {
    /// The guest program.
    pub program: PathBuf,
    /// `argv[0]` of the guest; the program's path if absent.
    pub argv0: Option<OsString>,
    /// The guest's arguments after `argv[0]`.
    pub args: Vec<OsString>,
    /// The guest's environment, one `NAME=value` per entry ([`inherited_env`] and edits).
    pub env: Vec<OsString>,
    /// Where absolute paths are looked up first (`-L`).
    pub sysroot: Option<PathBuf>,
    /// Size of the main thread's stack in bytes; the resource limit decides if absent (`-s`).
    pub stack_size: Option<u64>,
    /// Size of the guest's address space in bytes, at most that of the CPU (`-R`).
    pub reserved_va: Option<u64>,
    /// Host address of guest address 0: only 0 is possible, anything else is refused (`-B`).
    pub guest_base: u64,
    /// The CPU model and its properties as the user spelled them (`-cpu`).
    pub cpu: Option<String>,
    /// Log system calls (`-strace`).
    pub strace: bool,
    /// What else to log (`-d`).
    pub debug_items: DebugItems,
    /// Where logs go; standard error if absent (`-D`).
    pub log_file: Option<PathBuf>,
    /// What is compiled again once it is hot (`--jit`).
    pub tier2: Tier2,
    /// Print a table of counts at the end (`--stats`).
    pub stats: bool,
    /// Seeds `AT_RANDOM` and address randomisation, for repeatable runs (`-seed`).
    pub seed: Option<u64>,
    /// An open descriptor of the program, from binfmt_misc (`AT_EXECFD`); `program` names it.
    pub execfd: Option<RawFd>,
    /// Patch blocks to jump straight to each other (`-d nochain` clears it).
    pub no_chain: bool,
}

/// The environment of this process, entry by entry as the kernel gave it.
#[must_use]
pub fn inherited_env() -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let mut entries = Vec::new();
    // SAFETY: `environ` is a NULL-terminated array of C strings; nothing in this process changes
    // the environment.
    unsafe {
        unsafe extern "C" {
            static environ: *const *const libc::c_char;
        }
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let entry = std::ffi::CStr::from_ptr(*at).to_bytes().to_vec();
            entries.push(OsString::from_vec(entry));
            at = at.add(1);
        }
    }
    entries
}

/// An entry of this process's auxiliary vector (getauxval(3)), if the kernel gave it one.
#[must_use]
pub fn inherited_auxiliary(kind: u64) -> Option<u64> {
    // SAFETY: `errno` is this thread's own, and getauxval only reads the vector.
    unsafe {
        *libc::__errno_location() = 0;
        let value = libc::getauxval(kind);
        (value != 0 || *libc::__errno_location() == 0).then_some(value)
    }
}
