//! A root tree of another machine to run programs in: chroot, private mounts and process ids.
//!
//! The programs inside see `/proc`, `/dev`, an empty `/tmp`, their scratch folder at `/scratch`
//! and a fixed environment, so that native and emulated runs see the same world. Needs root, or
//! unprivileged user namespaces. The network is the host's: tests use loopback on free ports.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt;
use crate::emulator::{Emulator, JIT};
use crate::error::Result;
use crate::inputs;

/// The set-up inside the namespaces.
const SCRIPT: &str = include_str!("sandbox.sh");

/// Where the emulator's program lies inside the tree.
pub const EMULATOR: &str = "/usr/bin/isomorph-under-test";

/// `unshare`'s option for more users than root; `/etc/subuid` grants them, and package uidmap's
/// programs hand them out.
const WHOLE_USERS: &str = "--map-auto";

/// A command outside any tree for which files may belong to every user: as root, or in a user
/// namespace.
pub fn with_users(program: &str) -> Command {
    if apt::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--user", "--map-root-user", WHOLE_USERS, program]);
    command
}

/// A root tree and the way to run programs in it.
#[derive(Debug)]
pub struct Sandbox {
    root: PathBuf,
    /// The words before the program's path inside the tree; empty if it runs natively.
    prefix: Vec<String>,
    /// The emulator's setting of the translator.
    jit: Option<String>,
    /// Whether the kernel must be told to run foreign programs under the emulator.
    register: bool,
    /// Whether files inside may belong to others than root.
    users: bool,
}

impl Sandbox {
    /// A tree whose programs this machine runs itself.
    pub fn native(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            prefix: Vec::new(),
            jit: None,
            register: false,
            users: false,
        }
    }

    /// A foreign tree; copies the emulator into it.
    pub fn emulated(root: &Path, emulator: &Emulator) -> Result<Self> {
        let inside = root.join(EMULATOR.trim_start_matches('/'));
        inputs::copy_program(&emulator.program, &inside)?;
        let mut prefix = vec![EMULATOR.to_owned()];
        prefix.extend(emulator.arguments.iter().cloned());
        Ok(Self {
            root: root.to_owned(),
            prefix,
            jit: emulator.jit.clone(),
            register: emulator.binfmt,
            users: false,
        })
    }

    /// The same with more users than root.
    pub fn whole_users(mut self) -> Self {
        self.users = true;
        self
    }

    /// A command that runs `program` (a path inside the tree) in `scratch` (a path outside).
    pub fn command(&self, scratch: &Path, program: &str) -> Command {
        let mut command = Command::new("/usr/bin/unshare");
        // binfmt_misc is private to a user namespace; without one it would be the machine's own.
        if self.register || !apt::is_root() {
            command.args(["--user", "--map-root-user"]);
            if self.users {
                command.arg(WHOLE_USERS);
            }
        }
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "/bin/sh",
            "-c",
            SCRIPT,
            "sh",
        ]);
        command.arg(&self.root).arg(scratch);
        command.arg(if self.register { EMULATOR } else { "" });
        // The shell's `unshare` without namespaces only changes the root.
        command.args(&self.prefix).arg(program);
        command.env_clear().envs([
            ("HOME", "/scratch"),
            ("LC_ALL", "C.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ("TERM", "dumb"),
            ("TZ", "UTC"),
            ("USER", "root"),
        ]);
        if let Some(setting) = &self.jit {
            command.env(JIT, setting);
        }
        command
    }
}
