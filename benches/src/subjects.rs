//! What runs a workload: this machine itself, a QEMU, or the emulator under test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compile::{self, Built};
use crate::error::Error;
use crate::machines;
use crate::packages;
use crate::workloads::Program;

/// The column of the emulator under test without tier 2.
pub const TIER_1: &str = "tier 1";

/// The kind of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No emulator: programs built for this machine.
    Native,
    /// A QEMU to compare with.
    Qemu,
    /// The emulator under test, told to do something else: a column to compare with.
    Variant,
    /// The emulator under test.
    UnderTest,
}

/// One subject.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name in reports, unique.
    pub label: String,
    /// Its kind.
    pub kind: Kind,
    /// What it says of itself.
    pub version: String,
    /// What isomorph is told with `--jit`.
    pub jit: Option<String>,
    /// The emulator and its first arguments; empty for native.
    prefix: Vec<OsString>,
}

/// The unpacked Debian trees.
#[derive(Debug)]
pub struct Roots {
    /// Programs for riscv64.
    pub riscv64: PathBuf,
    /// The same programs for this machine.
    pub amd64: PathBuf,
    /// Folder of the packages that the harness unpacked itself.
    pub packages: PathBuf,
    /// Folder of the input files.
    pub data: PathBuf,
}

/// A program with everything it needs, not yet started.
#[derive(Debug)]
pub struct Prepared {
    /// What to execute.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables added to a minimal environment.
    pub environment: Vec<(&'static str, OsString)>,
}

impl Subject {
    /// The machine itself.
    pub fn native() -> Self {
        Self {
            label: "native".into(),
            kind: Kind::Native,
            version: String::new(),
            jit: None,
            prefix: Vec::new(),
        }
    }

    /// A QEMU at a path.
    pub fn qemu(path: &Path) -> Result<Self, Error> {
        let version = version(path)?.lines().next().unwrap_or_default().to_owned();
        // "qemu-riscv64 version 7.2 (Debian …)", or "QEMU emulator version 7.2 (Debian …)".
        let number = version
            .split_whitespace()
            .skip_while(|word| *word != "version")
            .nth(1)
            .unwrap_or("of unknown version");
        let label = format!("qemu {number}");
        Ok(Self {
            label,
            kind: Kind::Qemu,
            version,
            jit: None,
            prefix: vec![path.into()],
        })
    }

    /// The emulator under test; one that is not called `isomorph` takes QEMU's arguments.
    pub fn under_test(path: &Path) -> Result<Self, Error> {
        let mut prefix = vec![OsString::from(path)];
        let name = file_name(path);
        if is_isomorph(path) {
            prefix.push("run".into());
        }
        let version = version(path)?.lines().next().unwrap_or_default().to_owned();
        let label = if name == "isomorph" {
            name
        } else {
            format!("{name} (under test)")
        };
        Ok(Self {
            label,
            kind: Kind::UnderTest,
            version,
            jit: None,
            prefix,
        })
    }

    /// The same emulator with `--jit`.
    pub fn with_jit(mut self, setting: Option<&str>) -> Self {
        let words = setting.into_iter().flat_map(|setting| ["--jit", setting]);
        self.prefix.extend(words.map(OsString::from));
        self.jit = setting.map(str::to_owned);
        self
    }

    /// The same emulator as a column of its own to compare with.
    pub fn variant(mut self, label: &str, setting: &str) -> Self {
        self = self.with_jit(Some(setting));
        label.clone_into(&mut self.label);
        self.kind = Kind::Variant;
        self
    }

    /// The emulator under test, before it without tier 2 unless that is not wanted.
    pub fn tiers(path: &Path, tiers: bool, jit: Option<&str>) -> Result<Vec<Self>, Error> {
        let tested = Self::under_test(path)?;
        let isomorph = is_isomorph(path);
        if let (Some(setting), false) = (jit, isomorph) {
            return Err(Error::NoJit(setting.to_owned()));
        }
        let without = (tiers && isomorph).then(|| tested.clone().variant(TIER_1, "tier2=off"));
        Ok(without.into_iter().chain([tested.with_jit(jit)]).collect())
    }

    /// A workload of ours under this subject.
    pub fn own(&self, built: &Built, argument: Option<&str>) -> Prepared {
        let program = match self.kind {
            Kind::Native => &built.native,
            Kind::Qemu | Kind::Variant | Kind::UnderTest => &built.riscv64,
        };
        let mut line = vec![OsString::from(program)];
        line.extend(argument.map(OsString::from));
        self.prepared(line, Vec::new())
    }

    /// A program of Debian's trees under this subject.
    pub fn debian(&self, program: &Program, roots: &Roots) -> Prepared {
        let root = match self.kind {
            Kind::Native => &roots.amd64,
            Kind::Qemu | Kind::Variant | Kind::UnderTest => &roots.riscv64,
        };
        let mut line = match self.kind {
            Kind::Native => native_line(program, roots),
            Kind::Qemu | Kind::Variant | Kind::UnderTest => {
                vec!["-L".into(), root.into(), root.join(program.path).into()]
            }
        };
        let data = roots.data.to_string_lossy();
        line.extend(
            program
                .arguments
                .iter()
                .map(|a| OsString::from(a.replace("{data}", &data))),
        );
        let environment = vec![("PYTHONHOME", root.join("usr").into_os_string())];
        self.prepared(line, environment)
    }

    /// `line` is never empty: it names at least the workload.
    fn prepared(
        &self,
        line: Vec<OsString>,
        environment: Vec<(&'static str, OsString)>,
    ) -> Prepared {
        let mut arguments = self.prefix.clone();
        arguments.extend(line);
        let program = arguments.remove(0);
        Prepared {
            program,
            arguments,
            environment,
        }
    }

    /// The emulator's path, for a subject that is one.
    pub fn emulator(&self) -> Option<&Path> {
        self.prefix.first().map(Path::new)
    }
}

/// Programs of another release run on this machine through their own dynamic linker.
fn native_line(program: &Program, roots: &Roots) -> Vec<OsString> {
    let packages = roots.packages.to_string_lossy();
    let path = program.native_path.map_or_else(
        || roots.amd64.join(program.path),
        |path| PathBuf::from(path.replace("{packages}", &packages)),
    );
    let mut libraries = roots
        .amd64
        .join("usr/lib/x86_64-linux-gnu")
        .into_os_string();
    libraries.push(":");
    libraries.push(
        roots
            .packages
            .join(packages::CROSS_CC1.name)
            .join("usr/lib/x86_64-linux-gnu"),
    );
    let linker = roots.amd64.join("lib64/ld-linux-x86-64.so.2");
    vec![
        linker.into(),
        "--library-path".into(),
        libraries,
        path.into(),
    ]
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Whether an emulator takes isomorph's own options.
pub fn is_isomorph(path: &Path) -> bool {
    file_name(path) == "isomorph"
}

fn version(emulator: &Path) -> Result<String, Error> {
    compile::output(Command::new(emulator).arg("--version"))
}

/// Every QEMU at hand: the installed ones, those given, and those that packages offer.
pub fn qemus(repository: &Path, given: &[PathBuf], fetch: bool) -> Vec<Subject> {
    let mut paths: Vec<PathBuf> = given.to_vec();
    let installed = ["/usr/bin/qemu-riscv64", "/usr/bin/qemu-riscv64-static"];
    paths.extend(
        installed
            .iter()
            .map(PathBuf::from)
            .find(|path| path.is_file()),
    );
    if fetch {
        let backports = packages::configured(&packages::QEMU_BACKPORTS);
        let sets = [
            (&packages::QEMU_TRIXIE, given.is_empty()),
            (&packages::QEMU_BACKPORTS, backports),
            (&packages::QEMU_BOOKWORM, paths.len() == given.len()),
        ];
        for (set, _) in sets.into_iter().filter(|(_, wanted)| *wanted) {
            match packages::unpack(repository, set) {
                Ok(folder) => paths.extend(
                    ["qemu-riscv64", "qemu-riscv64-static"]
                        .iter()
                        .find_map(|name| {
                            Some(folder.join("usr/bin").join(name)).filter(|path| path.is_file())
                        }),
                ),
                Err(error) => {
                    eprintln!(
                        "{}: not to be had: {}",
                        set.name,
                        crate::error::chain(&error)
                    );
                }
            }
        }
    }
    distinct(paths)
}

/// Every QEMU for whole machines at hand: the installed one, those given, and the newest that
/// packages offer.
pub fn system_qemus(repository: &Path, given: &[PathBuf], fetch: bool) -> Vec<Subject> {
    let mut paths: Vec<PathBuf> = given.to_vec();
    let installed = PathBuf::from("/usr/bin/qemu-system-riscv64");
    paths.extend(Some(installed).filter(|path| path.is_file()));
    if fetch {
        let set = &packages::QEMU_SYSTEM;
        let unpacked = packages::unpack(repository, set);
        match unpacked.and_then(|folder| machines::wrapper(&folder)) {
            Ok(path) => paths.push(path),
            Err(error) => {
                let why = crate::error::chain(&error);
                eprintln!("{}: not to be had: {why}", set.name);
            }
        }
    }
    distinct(paths)
}

/// Subjects of these QEMUs, one of each version.
fn distinct(paths: Vec<PathBuf>) -> Vec<Subject> {
    let mut subjects: Vec<Subject> = Vec::new();
    for path in paths {
        match Subject::qemu(&path) {
            Ok(subject) if subjects.iter().all(|known| known.label != subject.label) => {
                subjects.push(subject);
            }
            Ok(_) => {}
            Err(error) => eprintln!("{}: {}", path.display(), crate::error::chain(&error)),
        }
    }
    subjects
}
