//! CPU models: which extensions a hart has, and every way in which a program is told.

use thiserror::Error;

use crate::decode::ext;

/// Size of a cache block for the `cbo` instructions (extension Zic64b), in bytes.
pub const CACHE_BLOCK_BYTES: u64 = 64;

/// A set of extensions: bits of [`ext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// Everything that a program can use.
    pub const ALL: Self = Self((1 << ext::NAMES.len()) - 1).without(ext::S);

    /// The extensions of these bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether all extensions of `bits` are in the set.
    #[inline]
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// The set without the extensions of `bits`.
    #[must_use]
    pub const fn without(self, bits: u64) -> Self {
        Self(self.0 & !bits)
    }

    /// The set with the extensions of `bits`.
    #[must_use]
    pub const fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }
}

/// What is wrong with the text of a CPU model.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CpuError {
    /// No model has this name.
    #[error("there is no CPU model `{name}`; there are {}", model_names())]
    UnknownModel {
        /// The name given.
        name: String,
    },
    /// Not `property=value`.
    #[error("CPU property `{text}` is not of the form name=on or name=off")]
    Syntax {
        /// The text given.
        text: String,
    },
    /// No property has this name.
    #[error("there is no CPU property `{name}`")]
    UnknownProperty {
        /// The name given.
        name: String,
    },
    /// A RISC-V extension that is not implemented was asked for.
    #[error("RISC-V extension `{name}` is not implemented")]
    Unimplemented {
        /// The extension.
        name: String,
    },
    /// An extension without another one that it builds on.
    #[error("RISC-V extension {name} requires {requires}")]
    Dependency {
        /// The extension.
        name: &'static str,
        /// What it builds on.
        requires: &'static str,
    },
}

const G: u64 = ext::I | ext::M | ext::A | ext::F | ext::D | ext::ZICSR | ext::ZIFENCEI;
const GC: u64 = G | ext::C | ext::ZICNTR;
const IMAC: u64 = ext::I | ext::M | ext::A | ext::C | ext::ZICSR | ext::ZIFENCEI | ext::ZICNTR;
/// The mandatory extensions of profile RVA22U64 that are instructions.
const RVA22: u64 = GC
    | ext::ZIHINTPAUSE
    | ext::ZBA
    | ext::ZBB
    | ext::ZBS
    | ext::ZICBOM
    | ext::ZICBOP
    | ext::ZICBOZ
    | ext::ZFHMIN;
/// Privileged extensions, which the harts of every model have unless they are switched off.
const PRIVILEGED: u64 = ext::SSTC | ext::SVADU | ext::SVINVAL | ext::SVNAPOT | ext::SVPBMT;

/// Models by name, QEMU's among them.
const MODELS: &[(&str, Features)] = &[
    ("max", Features::ALL),
    ("rv64", Features::ALL),
    ("any", Features::ALL),
    ("rv64i", Features(ext::I)),
    ("rv64gc", Features(GC)),
    ("rva20u64", Features(GC)),
    ("rva22u64", Features(RVA22)),
    ("sifive-e51", Features(IMAC)),
    ("sifive-u54", Features(GC)),
    ("shakti-c", Features(GC & !ext::C)),
];

/// Extensions that others build on.
const DEPENDENCIES: &[(u64, u64)] = &[
    (ext::M, ext::I),
    (ext::A, ext::I),
    (ext::F, ext::ZICSR),
    (ext::D, ext::F),
    (ext::ZICNTR, ext::ZICSR),
    (ext::ZFA, ext::F),
    (ext::ZFHMIN, ext::F),
    (ext::ZACAS, ext::A),
    (ext::ZAWRS, ext::A),
    (ext::ZCB, ext::C),
];

/// Names that QEMU knows and that mean nothing here while they are off.
const KNOWN_ABSENT: &[&str] = &[
    "e", "h", "v", "zfh", "zfinx", "zdinx", "zhinx", "zhinxmin", "zk", "zkn", "zknd", "zkne",
    "zknh", "zkr", "zks", "zksed", "zksh", "zkt", "zbkb", "zbkc", "zbkx", "zabha", "zcmp", "zcmt",
    "zimop", "zcmop", "zfbfmin", "zve32f", "zve32x", "zve64d", "zve64f", "zve64x", "zvfh",
    "zvfhmin", "zvbb", "zvbc", "zvkb", "zvkg", "zvkned", "zvknha", "zvknhb", "zvksed", "zvksh",
    "zama16b", "zicfilp", "zicfiss",
];

/// Names that are parts of what is implemented, or concern privileged software only.
const IGNORED: &[&str] = &[
    "pmp",
    "s",
    "u",
    "smstateen",
    "ssaia",
    "smaia",
    "zihpm",
    "zmmul",
    "zca",
    "zcd",
    "zaamo",
    "zalrsc",
    "zic64b",
    "ziccrse",
];

fn model_names() -> String {
    let names: Vec<&str> = MODELS.iter().map(|m| m.0).collect();
    names.join(", ")
}

/// The configuration of the harts of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuModel {
    name: String,
    features: Features,
    paging: Paging,
}

/// The largest address-translation mode of a machine's harts (privileged manual, `satp`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Paging {
    /// None: physical addresses only.
    Bare,
    /// Sv39
    Sv39,
    /// Sv48
    Sv48,
    /// Sv57
    #[default]
    Sv57,
}

/// The modes by the names of their properties, from the smallest on.
const PAGING: [(&str, Paging); 3] = [
    ("sv39", Paging::Sv39),
    ("sv48", Paging::Sv48),
    ("sv57", Paging::Sv57),
];

impl Paging {
    /// Largest mode number of `satp`.
    pub(crate) const fn satp_mode(self) -> u64 {
        match self {
            Self::Bare => 0,
            Self::Sv39 => 8,
            Self::Sv48 => 9,
            Self::Sv57 => 10,
        }
    }

    /// As the device tree's `mmu-type` says it; `None` for no translation.
    pub const fn mmu_type(self) -> Option<&'static str> {
        match self {
            Self::Bare => None,
            Self::Sv39 => Some("riscv,sv39"),
            Self::Sv48 => Some("riscv,sv48"),
            Self::Sv57 => Some("riscv,sv57"),
        }
    }
}

impl Default for CpuModel {
    /// The most capable model.
    fn default() -> Self {
        Self {
            name: "max".to_owned(),
            features: Features::ALL,
            paging: Paging::default(),
        }
    }
}

impl CpuModel {
    /// Reads `model[,property=value]…`, as `-cpu` takes it: values are on, off, true, false, yes
    /// or no; `g` stands for IMAFD with Zicsr and Zifencei.
    ///
    /// # Errors
    ///
    /// [`CpuError`] names the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, CpuError> {
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let model = MODELS.iter().find(|m| m.0 == name);
        let unknown = || CpuError::UnknownModel {
            name: name.to_owned(),
        };
        let mut features = model.ok_or_else(unknown)?.1.with(PRIVILEGED);
        let mut paging = PagingWish::default();
        for part in parts {
            if !paging.take(part)? {
                features = property(features, part)?;
            }
        }
        // QEMU's rv64 has no Zcb, so that `c=off` alone is valid there and must be here.
        if !features.has(ext::C) && !text.to_ascii_lowercase().contains("zcb=") {
            features = features.without(ext::ZCB);
        }
        for (extension, requires) in DEPENDENCIES {
            if features.has(*extension) && !features.has(*requires) {
                let (name, requires) = (ext_name(*extension), ext_name(*requires));
                return Err(CpuError::Dependency { name, requires });
            }
        }
        Ok(Self {
            name: name.to_owned(),
            features,
            paging: paging.largest(),
        })
    }

    /// The largest address-translation mode.
    pub const fn paging(&self) -> Paging {
        self.paging
    }

    /// Names that [`Self::parse`] takes before the first comma.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MODELS.iter().map(|m| m.0)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its extensions.
    pub const fn features(&self) -> Features {
        self.features
    }

    /// The ISA naming string (manual, chapter "ISA Extension Naming Conventions") in the order and
    /// the lower case of the kernel's `/proc/cpuinfo`.
    pub fn isa_string(&self) -> String {
        let mut text = String::from("rv64");
        text.extend(
            SINGLE_LETTERS
                .iter()
                .filter(|l| self.features.has(l.1))
                .map(|l| l.0),
        );
        for (name, requires) in CPUINFO_ORDER {
            if self.features.has(*requires) {
                text.push('_');
                text.push_str(name);
            }
        }
        text
    }

    /// The ISA naming string of a whole machine, as its device tree has it: privileged extensions
    /// follow the others.
    pub fn machine_isa_string(&self) -> String {
        let mut text = self.isa_string();
        for (name, extension) in PRIVILEGED_ORDER {
            if self.features.has(*extension) {
                text.push('_');
                text.push_str(name);
            }
        }
        text
    }

    /// The `misa` register (privileged manual, section "Machine ISA Register"): MXL is 2 for 64
    /// bits, one bit for each single-letter extension, U for user mode.
    pub fn misa(&self) -> u64 {
        2 << 62 | self.hwcap() | 1 << 20
    }

    /// `AT_HWCAP`: bit n is the extension of the alphabet's letter n (Linux,
    /// `arch/riscv/include/uapi/asm/hwcap.h`).
    pub fn hwcap(&self) -> u64 {
        let has = SINGLE_LETTERS.iter().filter(|l| self.features.has(l.1));
        has.fold(0, |bits, l| bits | 1 << (l.0 as u32 - 'a' as u32))
    }

    /// The answer of the `riscv_hwprobe` system call for `key`; `None` is an unknown key, for
    /// which the kernel sets the key to -1 and the value to 0 (Linux,
    /// `Documentation/arch/riscv/hwprobe.rst`).
    pub fn hwprobe(&self, key: i64, machine: &HwprobeMachine) -> Option<u64> {
        Some(match key {
            // mvendorid, marchid, mimpid: not a commercial implementation.
            0..=2 => 0,
            // RISCV_HWPROBE_KEY_BASE_BEHAVIOR: RISCV_HWPROBE_BASE_BEHAVIOR_IMA.
            3 => u64::from(self.features.has(ext::I | ext::M | ext::A)),
            // RISCV_HWPROBE_KEY_IMA_EXT_0.
            4 => self.hwprobe_extensions(),
            // RISCV_HWPROBE_KEY_CPUPERF_0: RISCV_HWPROBE_MISALIGNED_FAST.
            5 => 3,
            // RISCV_HWPROBE_KEY_ZICBOZ_BLOCK_SIZE.
            6 => self.block_size(ext::ZICBOZ),
            // RISCV_HWPROBE_KEY_HIGHEST_VIRT_ADDRESS.
            7 => machine.highest_address,
            // RISCV_HWPROBE_KEY_TIME_CSR_FREQ.
            8 => machine.time_hertz,
            // RISCV_HWPROBE_KEY_MISALIGNED_SCALAR_PERF: …_SCALAR_FAST.
            9 => 3,
            // RISCV_HWPROBE_KEY_MISALIGNED_VECTOR_PERF: …_VECTOR_UNSUPPORTED.
            10 => 4,
            // RISCV_HWPROBE_KEY_ZICBOM_BLOCK_SIZE.
            12 => self.block_size(ext::ZICBOM),
            _ => return None,
        })
    }

    fn block_size(&self, extension: u64) -> u64 {
        if self.features.has(extension) {
            CACHE_BLOCK_BYTES
        } else {
            0
        }
    }

    fn hwprobe_extensions(&self) -> u64 {
        let has = HWPROBE_BITS.iter().filter(|b| self.features.has(b.1));
        has.fold(0, |bits, b| bits | 1 << b.0)
    }
}

/// What [`CpuModel::hwprobe`] must be told about the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HwprobeMachine {
    /// The highest usable virtual address of the program.
    pub highest_address: u64,
    /// Frequency of the `time` counter, in hertz.
    pub time_hertz: u64,
}

fn ext_name(bit: u64) -> &'static str {
    ext::NAMES
        .get(bit.trailing_zeros() as usize)
        .copied()
        .unwrap_or("?")
}

/// Splits `name=on` or `name=off`.
fn switch(text: &str) -> Result<(&str, bool), CpuError> {
    let syntax = || CpuError::Syntax {
        text: text.to_owned(),
    };
    let (name, value) = text.split_once('=').ok_or_else(syntax)?;
    match value {
        "on" | "true" | "yes" | "y" => Ok((name, true)),
        "off" | "false" | "no" | "n" => Ok((name, false)),
        _ => Err(syntax()),
    }
}

/// What the properties say of address translation.
#[derive(Default)]
struct PagingWish {
    /// The largest mode that is asked for by name.
    on: Option<Paging>,
    /// The smallest mode that is not wanted.
    off: Option<Paging>,
}

impl PagingWish {
    /// Notes a property if it is about this; false if it is about something else.
    fn take(&mut self, text: &str) -> Result<bool, CpuError> {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let mode = PAGING.iter().find(|(known, _)| *known == name);
        let Some(mode) = mode
            .map(|row| row.1)
            .or((name == "mmu").then_some(Paging::Sv39))
        else {
            return Ok(false);
        };
        match (switch(text)?.1, name) {
            (true, "mmu") => {}
            (true, _) => self.on = self.on.max(Some(mode)),
            (false, _) => self.off = Some(self.off.unwrap_or(mode).min(mode)),
        }
        Ok(true)
    }

    /// The largest mode that is asked for, else the largest without one that is not wanted.
    fn largest(&self) -> Paging {
        let below = |off: Paging| match off {
            Paging::Sv57 => Paging::Sv48,
            Paging::Sv48 => Paging::Sv39,
            Paging::Sv39 | Paging::Bare => Paging::Bare,
        };
        let allowed = self.off.map_or(Paging::Sv57, below);
        self.on.map_or(allowed, |on| on.min(allowed))
    }
}

fn property(features: Features, text: &str) -> Result<Features, CpuError> {
    let (name, on) = switch(text)?;
    let lower = name
        .to_ascii_lowercase()
        .replace("counters", "zicntr")
        .replace('_', "");
    let at = ext::NAMES
        .iter()
        .position(|n| n.eq_ignore_ascii_case(&lower))
        .filter(|at| 1 << at != ext::S);
    let bits = match at {
        Some(at) => 1 << at,
        None if lower == "g" => G,
        None if IGNORED.contains(&lower.as_str()) => 0,
        None if KNOWN_ABSENT.contains(&lower.as_str()) => {
            if on {
                return Err(CpuError::Unimplemented { name: lower });
            }
            0
        }
        None => {
            return Err(CpuError::UnknownProperty {
                name: name.to_owned(),
            });
        }
    };
    Ok(if on {
        features.with(bits)
    } else {
        features.without(bits)
    })
}

/// In the manual's order of the naming string.
const SINGLE_LETTERS: &[(char, u64)] = &[
    ('i', ext::I),
    ('m', ext::M),
    ('a', ext::A),
    ('f', ext::F),
    ('d', ext::D),
    ('c', ext::C),
];

/// Multi-letter extensions in the order of the kernel's `/proc/cpuinfo`, with what they require.
const CPUINFO_ORDER: &[(&str, u64)] = &[
    ("zicbom", ext::ZICBOM),
    ("zicbop", ext::ZICBOP),
    ("zicboz", ext::ZICBOZ),
    ("zicntr", ext::ZICNTR),
    ("zicond", ext::ZICOND),
    ("zicsr", ext::ZICSR),
    ("zifencei", ext::ZIFENCEI),
    ("zihintntl", ext::ZIHINTNTL),
    ("zihintpause", ext::ZIHINTPAUSE),
    ("zacas", ext::ZACAS),
    ("zawrs", ext::ZAWRS),
    ("zfa", ext::ZFA),
    ("zfhmin", ext::ZFHMIN),
    ("zca", ext::C),
    ("zcb", ext::ZCB),
    ("zcd", ext::C | ext::D),
    ("zba", ext::ZBA),
    ("zbb", ext::ZBB),
    ("zbc", ext::ZBC),
    ("zbs", ext::ZBS),
];

/// Privileged extensions in the order of the naming string.
const PRIVILEGED_ORDER: &[(&str, u64)] = &[
    ("sstc", ext::SSTC),
    ("svadu", ext::SVADU),
    ("svinval", ext::SVINVAL),
    ("svnapot", ext::SVNAPOT),
    ("svpbmt", ext::SVPBMT),
];

/// Bits of `RISCV_HWPROBE_KEY_IMA_EXT_0` (Linux, `arch/riscv/include/uapi/asm/hwprobe.h`).
const HWPROBE_BITS: &[(u32, u64)] = &[
    (0, ext::F | ext::D),
    (1, ext::C),
    (3, ext::ZBA),
    (4, ext::ZBB),
    (5, ext::ZBS),
    (6, ext::ZICBOZ),
    (7, ext::ZBC),
    (28, ext::ZFHMIN),
    (29, ext::ZIHINTNTL),
    (32, ext::ZFA),
    (34, ext::ZACAS),
    (35, ext::ZICOND),
    (36, ext::ZIHINTPAUSE),
    (43, ext::C),
    (44, ext::ZCB),
    (45, ext::C | ext::D),
    (48, ext::ZAWRS),
    (50, ext::ZICNTR),
    (55, ext::ZICBOM),
    (56, ext::A),
    (57, ext::A),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_everything() {
        let cpu = CpuModel::default();
        assert_eq!(Ok(cpu.clone()), CpuModel::parse("max"));
        assert_eq!(
            cpu.isa_string(),
            "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintntl_zihintpause\
             _zacas_zawrs_zfa_zfhmin_zca_zcb_zcd_zba_zbb_zbc_zbs"
        );
        assert_eq!(cpu.hwcap(), 0x112d);
        assert_eq!(cpu.misa(), 0x8000_0000_0010_112d);
    }

    #[test]
    fn properties_switch_extensions() {
        let cpu = CpuModel::parse("rv64,zba=false,c=off,zcb=off,zfa=on").unwrap();
        assert!(!cpu.features().has(ext::ZBA) && !cpu.features().has(ext::C));
        assert_eq!(cpu.hwcap(), 0x1129);
        let g = CpuModel::parse("rv64i,g=on").unwrap();
        assert_eq!(g.isa_string(), "rv64imafd_zicsr_zifencei");
        assert!(CpuModel::parse("rv64,v=off,mmu=on").is_ok());
    }

    #[test]
    fn privileged_extensions_are_a_machines() {
        for (text, tail) in [
            ("rv64i", "rv64i_sstc_svadu_svinval_svnapot_svpbmt"),
            ("rv64i,sstc=off,svadu=off", "rv64i_svinval_svnapot_svpbmt"),
            (
                "rv64i,svinval=off,svnapot=off,svpbmt=off",
                "rv64i_sstc_svadu",
            ),
        ] {
            let model = CpuModel::parse(text).expect("valid");
            assert_eq!(model.machine_isa_string(), tail);
            assert_eq!(model.isa_string(), "rv64i");
        }
    }

    #[test]
    fn the_largest_translation_mode_is_chosen() {
        for (text, paging) in [
            ("rv64", Paging::Sv57),
            ("rv64,sv57=off", Paging::Sv48),
            ("rv64,sv48=off", Paging::Sv39),
            ("rv64,sv48=on", Paging::Sv48),
            ("rv64,sv39=on,sv48=on", Paging::Sv48),
            ("rv64,sv39=off", Paging::Bare),
            ("rv64,mmu=off", Paging::Bare),
            ("rv64,mmu=on", Paging::Sv57),
        ] {
            let model = CpuModel::parse(text).expect("valid");
            assert_eq!(model.paging(), paging, "{text}");
        }
        assert!(CpuModel::parse("rv64,sv48").is_err());
    }

    #[test]
    fn no_compressed_instructions_without_more_words() {
        let model = CpuModel::parse("rv64,c=off").expect("valid");
        assert!(!model.features().has(ext::C) && !model.features().has(ext::ZCB));
        assert!(CpuModel::parse("rv64,c=off,zcb=on").is_err());
    }

    #[test]
    fn errors_name_the_part() {
        for (text, message) in [
            (
                "rv32",
                "there is no CPU model `rv32`; there are max, rv64, any",
            ),
            (
                "rv64,zba",
                "CPU property `zba` is not of the form name=on or name=off",
            ),
            (
                "rv64,zba=maybe",
                "CPU property `zba=maybe` is not of the form",
            ),
            ("rv64,nosuch=on", "there is no CPU property `nosuch`"),
            ("rv64,v=on", "RISC-V extension `v` is not implemented"),
            ("rv64,f=off", "RISC-V extension D requires F"),
        ] {
            let error = CpuModel::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn hwprobe_answers() {
        let machine = HwprobeMachine {
            highest_address: 0x3f_ffff_ffff,
            time_hertz: 10_000_000,
        };
        let gc = CpuModel::parse("rv64gc").unwrap();
        assert_eq!(gc.hwprobe(3, &machine), Some(1));
        assert_eq!(gc.hwprobe(4, &machine), Some(0x304_2800_0000_0003));
        assert_eq!(gc.hwprobe(6, &machine), Some(0));
        assert_eq!(CpuModel::default().hwprobe(6, &machine), Some(64));
        assert_eq!(gc.hwprobe(7, &machine), Some(0x3f_ffff_ffff));
        assert_eq!(gc.hwprobe(99, &machine), None);
    }
}
