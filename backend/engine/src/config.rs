//! What the engine's owner chooses.

use isomorph_baseline::{MapEntry, Memory};
use isomorph_frontend::Limits;
use isomorph_ir::passes::{self, PassSet};
use isomorph_ir::{Block, Region};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Settings of an engine.
pub struct Config {
    /// Bytes of code memory; a full region is flushed.
    pub code_bytes: usize,
    /// Bytes of each vCPU's return stack.
    pub return_stack_bytes: usize,
    /// Bounds of a block.
    pub limits: Limits,
    /// How guest addresses become host addresses. A machine's engine has a software TLB.
    pub memory: Memory,
    /// Patch blocks to jump straight to each other.
    pub chain: bool,
    /// What is compiled again once it is hot.
    pub tier2: Tier2,
    /// Is told of every translation, for dumps.
    pub observer: Option<Box<dyn Observer>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            code_bytes: 128 << 20,
            return_stack_bytes: 256 << 10,
            limits: Limits::default(),
            memory: Memory::Identity,
            chain: true,
            tier2: Tier2::default(),
            observer: None,
        }
    }
}

/// When code goes to tier 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    Off,
    /// When a loop head or function was entered so often (`None`: as the host's idle processors
    /// make it worth while).
    Hot(Option<u32>),
    /// Before it runs for the first time, on the thread that wants to run it: for tests.
    Always,
}

/// How hot code is compiled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier2 {
    /// When.
    pub policy: Policy,
    /// Threads that compile.
    pub threads: usize,
    /// Most bytes of code memory that regions take.
    pub code_bytes: usize,
    /// Passes over the regions.
    pub passes: PassSet,
}

impl Default for Tier2 {
    fn default() -> Self {
        Self {
            policy: Policy::Hot(None),
            threads: 1,
            code_bytes: 32 << 20,
            passes: PassSet::ALL,
        }
    }
}

/// What made code a candidate for tier 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Backward jumps to it.
    Loop,
    /// Calls of it.
    Function,
    /// Computed jumps to it.
    Computed,
    /// Everything is compiled ([`Policy::Always`]).
    Always,
}

/// Why code stays with tier 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What was recorded does not come back to where it began.
    NoCycle,
    /// Its instructions have no code in tier 2, or none that would be faster.
    Code(String),
    /// Tier 1's code is likely to be as fast.
    NoGain,
    /// Too many regions wait to be compiled.
    Busy,
    /// Tier 2 has used up its share of code memory.
    Memory,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCycle => f.write_str("control did not come back to it"),
            Self::Code(why) => f.write_str(why),
            Self::NoGain => f.write_str("tier 1's code is likely to be as fast"),
            Self::Busy => f.write_str("too many regions wait to be compiled"),
            Self::Memory => f.write_str("tier 2 has used up its code memory"),
        }
    }
}

/// Why a region's code is not entered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Guest code under it changed or went away.
    CodeChanged,
    /// Code memory was full.
    Flushed,
    /// Tier 1's code was as fast when both were measured.
    NoGain,
}

/// A block of a region, as it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Guest address.
    pub pc: u64,
    /// The guest's bytes.
    pub bytes: Vec<u8>,
    /// How often the recording went through it.
    pub visits: u32,
}

/// What becomes of a region. Regions are numbered from 0.
#[derive(Debug)]
pub enum RegionEvent<'a> {
    /// Code was found hot, and a region was formed from what ran then.
    Chosen {
        /// The region.
        region: u32,
        /// Its entry.
        pc: u64,
        /// What made it a candidate.
        origin: Origin,
        /// Blocks that were recorded.
        recorded: u32,
        /// The region's blocks.
        parts: &'a [Part],
    },
    /// Code stays with tier 1.
    Refused {
        /// The region, if one was formed.
        region: Option<u32>,
        /// Where it would have been entered.
        pc: u64,
        /// Why.
        why: &'a Refusal,
    },
    /// A region was compiled. From the compiling thread.
    Compiled {
        /// The region.
        region: u32,
        /// As it was formed.
        before: &'a Region,
        /// After the passes.
        after: &'a Region,
        /// What the passes did.
        passes: &'a passes::Stats,
        /// Cranelift's input, as text, if it was asked for ([`Extras::clif`]).
        clif: Option<String>,
        /// What the code generator did.
        stats: &'a isomorph_cranelift::Stats,
        /// Time between choice and compilation.
        queued: Duration,
        /// CPU time that passes and compilation took.
        took: Duration,
    },
    /// A region's code can be entered from now on.
    Installed {
        /// The region.
        region: u32,
        /// Its entry.
        pc: u64,
        /// The host code.
        code: &'a [u8],
        /// Address at which `code` executes.
        host: u64,
        /// Where the code of guest instructions starts, ascending.
        map: &'a [MapEntry],
    },
    /// A region's code is not entered any more.
    Dropped {
        /// The region.
        region: u32,
        /// Its entry.
        pc: u64,
        /// Why.
        why: Dropped,
    },
}

/// One translation, as an [`Observer`] sees it.
#[derive(Debug)]
pub struct Translation<'a> {
    /// The guest's bytes from the block's first instruction to its last.
    pub guest: &'a [u8],
    /// The block as the front end emitted it, nothing folded, if it was asked for
    /// ([`Extras::plain`]).
    pub plain: Option<&'a Block>,
    /// The block that was compiled.
    pub block: &'a Block,
    /// The host code.
    pub code: &'a [u8],
    /// Address at which `code` executes.
    pub host: u64,
    /// Where the code of guest instructions starts, ascending.
    pub map: &'a [MapEntry],
}

/// What is made for observers alone, and takes time: only on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// [`Translation::plain`]: each block is translated once more.
    pub plain: bool,
    /// `clif` of [`RegionEvent::Compiled`]: each region is printed.
    pub clif: bool,
}

impl Extras {
    /// What either asks for.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            plain: self.plain || other.plain,
            clif: self.clif || other.clif,
        }
    }
}

/// Is told of every translation.
pub trait Observer: Send + Sync {
    /// What it would have made for it. Asked for each block and region, as the calls below are
    /// made: must not call the engine.
    fn wants(&self) -> Extras {
        Extras::default()
    }

    /// A block was translated. Called under the engine's lock: must not call the engine.
    fn translated(&self, translation: &Translation<'_>);

    /// Something became of a region. Called under the engine's lock, but for
    /// [`RegionEvent::Compiled`]: must not call the engine.
    fn region(&self, event: &RegionEvent<'_>) {
        let _ = event;
    }
}
