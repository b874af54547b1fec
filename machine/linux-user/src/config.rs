//! What a run is configured by, and how a run hands its settings to the programs it executes.

use isomorph_engine::Tier2;
use isomorph_report::Wanted;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

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
    /// What else to log (`-d`), write for profilers and tell at the end.
    pub reports: Wanted,
    /// Where logs go; standard error if absent (`-D`).
    pub log_file: Option<PathBuf>,
    /// What is in that file stays: the process has written it before it executed this program.
    pub log_goes_on: bool,
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
