//! What is kept of a run: for the figures of `isomorph bench` and the page of `isomorph explain`.

use crate::words;
use isomorph_engine::{Extras, Guest, MapEntry, Observer, Part, RegionEvent, Translation};
use isomorph_ir::passes::PASSES;
use isomorph_ir::{Block, GlobalTable};
use isomorph_probe::monotonic_ns;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of texts that are kept; later regions are without.
const TEXT_MAX: usize = 256 << 20;
/// Operations of tier 1's blocks that are kept; later blocks are without.
const OPS_MAX: usize = 4 << 20;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Numbers.
    Figures,
    /// Code and every stage of it too.
    Code,
}

/// A block of tier 1.
#[derive(Debug)]
pub struct BlockNote {
    /// Guest address.
    pub pc: u64,
    /// Guest instructions.
    pub insns: u32,
    /// The guest's bytes.
    pub guest: Vec<u8>,
    /// Before and after folding, if there was room.
    pub ir: Option<(Block, Block)>,
    /// The host code.
    pub code: Vec<u8>,
    /// Where it executes.
    pub host: u64,
    /// When it was translated.
    pub time: u64,
    /// Offsets in the code and the guest instructions whose code begins there.
    pub map: Vec<(u32, u64)>,
}

/// Something that happened to a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When, in nanoseconds since the start of the recording.
    pub time: u64,
    /// The kind: `chosen`, `refused`, `compiled`, `installed` or `dropped`.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// What compiling a region took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compilation {
    /// Operations before the passes, in text form.
    pub before: String,
    /// After them.
    pub after: String,
    /// Cranelift's input.
    pub clif: String,
    /// Operations before and after the passes.
    pub ops: (usize, usize),
    /// Operations that each pass changed, and nanoseconds that it took.
    pub passes: [(u32, u64); PASSES.len()],
    /// Guest instructions, and CLIF's.
    pub insns: u32,
    /// CLIF instructions.
    pub clif_insns: u32,
    /// Bytes of the body.
    pub bytes: u32,
    /// Nanoseconds from choice to the beginning of the work.
    pub queued_ns: u64,
    /// Nanoseconds of CPU time.
    pub took_ns: u64,
}

/// Host code of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The bytes.
    pub code: Vec<u8>,
    /// Where they execute.
    pub host: u64,
    /// From when, in nanoseconds since the start of the recording.
    pub time: u64,
    /// Offsets in the code and the guest instructions whose code begins there.
    pub map: Vec<(u32, u64)>,
}

/// A region.
#[derive(Debug, Default)]
pub struct RegionNote {
    /// Guest address of the entry.
    pub pc: u64,
    /// What made it a candidate.
    pub origin: &'static str,
    /// Blocks that were recorded.
    pub recorded: u32,
    /// Its blocks.
    pub parts: Vec<Part>,
    /// How it was compiled.
    pub compiled: Option<Compilation>,
    /// Where it was placed.
    pub placed: Option<Placed>,
    /// Why it stays with tier 1, if it does.
    pub refused: Option<String>,
    /// Why it is not entered any more.
    pub dropped: Option<&'static str>,
    /// All that happened to it.
    pub history: Vec<Happening>,
}

/// Code that stays with tier 1 without having become a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Guest address.
    pub pc: u64,
    /// When, in nanoseconds since the start of the recording.
    pub time: u64,
    /// Why.
    pub why: String,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Kept {
    /// Tier 1's blocks, in the order of their translation.
    pub blocks: Vec<BlockNote>,
    /// Regions by number.
    pub regions: BTreeMap<u32, RegionNote>,
    /// Code that was looked at and left.
    pub left: Vec<Left>,
    text_bytes: usize,
    ops: usize,
}

/// Keeps what an engine does.
#[derive(Debug)]
pub struct Recorder {
    detail: Detail,
    table: &'static GlobalTable,
    start: u64,
    kept: Mutex<Kept>,
}

impl Recorder {
    /// Starts.
    #[must_use]
    pub fn new<G: Guest>(detail: Detail) -> Self {
        Self {
            detail,
            table: G::globals(),
            start: monotonic_ns(),
            kept: Mutex::default(),
        }
    }

    /// When it started, by [`monotonic_ns`].
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The guest's registers.
    #[must_use]
    pub fn table(&self) -> &'static GlobalTable {
        self.table
    }

    /// What was kept so far.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        monotonic_ns() - self.start
    }
}

impl Observer for Recorder {
    fn wants(&self) -> Extras {
        if self.detail == Detail::Figures {
            return Extras::default();
        }
        let kept = self.kept();
        Extras {
            plain: kept.ops < OPS_MAX,
            clif: kept.text_bytes < TEXT_MAX,
        }
    }

    fn translated(&self, translation: &Translation<'_>) {
        if self.detail == Detail::Figures {
            return;
        }
        let time = self.now();
        let (plain, block) = (translation.plain, translation.block);
        let mut kept = self.kept();
        let ops = plain.map_or(0, |plain| plain.insts.len()) + block.insts.len();
        kept.ops += ops;
        let room = kept.ops <= OPS_MAX;
        let ir = plain
            .filter(|_| room)
            .map(|plain| (plain.clone(), block.clone()));
        kept.blocks.push(BlockNote {
            pc: block.pc,
            insns: block.insns,
            guest: translation.guest.to_vec(),
            ir,
            code: translation.code.to_vec(),
            host: translation.host,
            time,
            map: pairs(translation.map),
        });
    }

    fn region(&self, event: &RegionEvent<'_>) {
        let text = words::event(event);
        let time = self.now();
        let mut kept = self.kept();
        if let RegionEvent::Refused {
            region: None,
            pc,
            why,
        } = event
        {
            let (pc, why) = (*pc, why.to_string());
            kept.left.push(Left { pc, time, why });
            return;
        }
        if let Some((number, kind)) = place(event) {
            let room = self.detail == Detail::Code && kept.text_bytes < TEXT_MAX;
            let note = kept.regions.entry(number).or_default();
            let bytes = note.take(event, time, room.then_some(self.table));
            note.history.push(Happening { time, kind, text });
            kept.text_bytes += bytes;
        }
    }
}

fn pairs(map: &[MapEntry]) -> Vec<(u32, u64)> {
    map.iter()
        .map(|entry| (entry.host, entry.guest_pc))
        .collect()
}

/// The region of an event, and the event's kind.
fn place(event: &RegionEvent<'_>) -> Option<(u32, &'static str)> {
    match event {
        RegionEvent::Chosen { region, .. } => Some((*region, "chosen")),
        RegionEvent::Refused { region, .. } => region.map(|region| (region, "refused")),
        RegionEvent::Compiled { region, .. } => Some((*region, "compiled")),
        RegionEvent::Installed { region, .. } => Some((*region, "installed")),
        RegionEvent::Dropped { region, .. } => Some((*region, "dropped")),
    }
}

impl RegionNote {
    /// Takes what an event tells; texts if there is a table to print them by. The bytes of texts.
    fn take(
        &mut self,
        event: &RegionEvent<'_>,
        time: u64,
        table: Option<&'static GlobalTable>,
    ) -> usize {
        match event {
            RegionEvent::Chosen {
                pc,
                origin,
                recorded,
                parts,
                ..
            } => {
                self.pc = *pc;
                self.origin = words::origin(*origin);
                self.recorded = *recorded;
                if table.is_some() {
                    self.parts = parts.to_vec();
                }
            }
            RegionEvent::Refused { pc, why, .. } => {
                self.pc = *pc;
                self.refused = Some(why.to_string());
            }
            RegionEvent::Compiled { .. } => {
                let compiled = Compilation::of(event, table);
                let bytes = compiled.before.len() + compiled.after.len() + compiled.clif.len();
                self.compiled = Some(compiled);
                return bytes;
            }
            RegionEvent::Installed {
                pc,
                code,
                host,
                map,
                ..
            } => {
                self.pc = *pc;
                self.dropped = None;
                self.placed = Some(Placed {
                    code: code.to_vec(),
                    host: *host,
                    time,
                    map: pairs(map),
                });
            }
            RegionEvent::Dropped { why, .. } => self.dropped = Some(words::dropped(*why)),
        }
        0
    }
}

impl Compilation {
    fn of(event: &RegionEvent<'_>, table: Option<&'static GlobalTable>) -> Self {
        let RegionEvent::Compiled {
            before,
            after,
            passes,
            clif,
            stats,
            queued,
            took,
            ..
        } = event
        else {
            return Self::default();
        };
        let mut compiled = Self {
            ops: (passes.before, passes.after),
            insns: stats.insns,
            clif_insns: stats.clif,
            bytes: stats.bytes,
            queued_ns: queued.as_nanos() as u64,
            took_ns: took.as_nanos() as u64,
            ..Self::default()
        };
        for (pass, of) in compiled.passes.iter_mut().zip(0..) {
            let n: usize = of;
            *pass = (passes.changes[n], passes.nanoseconds[n]);
        }
        if let Some(table) = table {
            compiled.before = before.text(table).to_string();
            compiled.after = after.text(table).to_string();
            compiled.clif = clif.clone().unwrap_or_default();
        }
        compiled
    }
}
