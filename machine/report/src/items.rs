//! What `-d` can show.

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
    /// What becomes of hot regions.
    pub const REGION: Self = Self(256);
    /// A region's operations before and after the passes.
    pub const REGION_OP: Self = Self(512);
    /// Cranelift's input for each region.
    pub const CLIF: Self = Self(1024);
    /// Host instructions of each region.
    pub const REGION_ASM: Self = Self(2048);

    /// The stages of a translation, of blocks and of regions.
    pub const STAGES: Self = Self(1 | 2 | 4 | 8 | 256 | 512 | 1024 | 2048);

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
        (
            "region",
            Self::REGION,
            "hot regions: chosen, refused, compiled, installed, dropped, and why",
        ),
        (
            "region_op",
            Self::REGION_OP,
            "operations of each region before and after the passes",
        ),
        ("clif", Self::CLIF, "Cranelift's input for each region"),
        (
            "region_asm",
            Self::REGION_ASM,
            "host instructions of each region",
        ),
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
