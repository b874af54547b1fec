//! Where things are: the workspace, the build, the cache of inputs.

use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};

/// The folders that the commands work in.
#[derive(Debug)]
pub struct Paths {
    /// The root of the repository.
    pub workspace: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// Everything that is fetched or made for the tests and can be made again.
    pub cache: PathBuf,
}

impl Paths {
    /// Finds the folders: `CARGO_TARGET_DIR` and `ISOMORPH_TEST_CACHE` move theirs.
    pub fn find() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let workspace = here.canonicalize().at(&here)?;
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let target =
            set("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        let cache =
            set("ISOMORPH_TEST_CACHE").map_or_else(|| target.join("test-inputs"), PathBuf::from);
        std::fs::create_dir_all(&cache).at(&cache)?;
        let cache = cache.canonicalize().at(&cache)?;
        Ok(Self {
            workspace,
            target,
            cache,
        })
    }

    /// The release binary under test.
    pub fn isomorph(&self) -> PathBuf {
        self.target
            .join("x86_64-unknown-linux-gnu/release/isomorph")
    }

    /// The unpacked trees of Debian 13 by Debian's name of the architecture.
    pub fn root(&self, arch: &str) -> PathBuf {
        self.cache.join(format!("{arch}-root"))
    }

    /// The reference emulator, QEMU from Debian 13's packages.
    pub fn qemu(&self) -> PathBuf {
        self.cache.join("qemu/usr/bin/qemu-riscv64")
    }

    /// A folder of the cache, made if it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.cache.join(name);
        std::fs::create_dir_all(&path).at(&path)?;
        Ok(path)
    }
}
