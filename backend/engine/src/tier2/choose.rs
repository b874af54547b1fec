//! Which of the recorded blocks become a region.

use super::cut::Way;
use super::queue::{INSN_NS as COMPILED_NS, REGION_NS};
use super::record::{Entered, Recording};
use crate::config::{Origin, Refusal};
use crate::site::{Reach, Site};
use isomorph_softmmu::PAGE_SIZE;
use std::collections::HashMap;

/// Most blocks of a region.
const BLOCKS: usize = 160;
/// A block that has a smaller share of the recording than one in so many is left out.
const SHARE: usize = 128;
/// How far from the entry a region's code may be, in bytes: offsets in the books have 32 bits.
const SPREAD: u64 = 1 << 30;

/// Time that a block takes at most, about, when the code is hot.
const BLOCK_NS: f64 = 12.0;
/// A block is covered that is met once in so many rounds of the head.
const COVERED: u32 = 8;

/// A block of a region to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChosenBlock {
    pub pc: u64,
    /// Computed jumps or returns lead to it.
    pub computed: bool,
    pub visits: u32,
    /// How often a computed jump led from it elsewhere than the last time.
    pub fickle: u32,
}

/// The blocks of a region to be, the entry first.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub head: Site,
    pub origin: Origin,
    pub blocks: Vec<ChosenBlock>,
    /// The ways out of its blocks that were seen, each once.
    pub ways: Vec<Way>,
    /// Blocks that were recorded.
    pub recorded: u32,
    /// How often the head was among them.
    pub rounds: u32,
    /// Guest instructions in it, once that is known.
    pub insns: u32,
}

impl Choice {
    /// The block at `head`, alone.
    pub fn new(head: Site, origin: Origin) -> Self {
        let blocks = vec![ChosenBlock {
            pc: head.pc,
            computed: false,
            visits: 0,
            fickle: 0,
        }];
        Self {
            head,
            origin,
            blocks,
            ways: Vec::new(),
            recorded: 0,
            rounds: 0,
            insns: 0,
        }
    }

    /// Nanoseconds that compiling it is expected to take.
    pub fn cost_ns(&self) -> f64 {
        REGION_NS + COMPILED_NS * f64::from(self.insns)
    }

    /// Whether control does little else than going round in what was recorded, if a round takes
    /// so long.
    pub fn is_hot(&self, round_ns: f64) -> bool {
        let blocks = f64::from(self.recorded) / f64::from(self.rounds.max(1));
        round_ns < blocks * BLOCK_NS
    }

    /// Whether control is often in the block at `pc` while it goes round in what is chosen.
    pub fn covers(&self, pc: u64) -> bool {
        let rounds = self.blocks.first().map_or(0, |b| b.visits);
        let mut blocks = self.blocks.iter();
        blocks.any(|b| b.pc == pc && b.visits > rounds / COVERED)
    }

    /// The blocks in which control is often while it goes round.
    pub fn covered(&self) -> impl Iterator<Item = Site> + use<'_> {
        let often = self.blocks.iter().filter(|b| self.covers(b.pc));
        often.map(|b| self.head.inside(b.pc))
    }

    /// Adds the block at `pc` if it may be added and is not there.
    pub fn add(&mut self, pc: u64, computed: bool) {
        if let Some(block) = self.blocks.iter_mut().find(|b| b.pc == pc) {
            block.computed |= computed;
            return;
        }
        if may_join(self.head, pc) {
            self.blocks.push(ChosenBlock {
                pc,
                computed,
                visits: 0,
                fickle: 0,
            });
        }
    }

    /// What a recording shows: the blocks of the cycles through its head, but for rare ones.
    pub(super) fn from_steps(recording: &Recording) -> Result<Self, Refusal> {
        let head = recording.head();
        let steps = &recording.steps;
        let is_head = |s: &&Entered| s.inside && s.pc == head.pc;
        let rounds = steps.iter().filter(is_head).count();
        let last = steps.iter().rposition(|s| is_head(&s)).unwrap_or(0);
        if rounds < 2 {
            return Err(Refusal::NoCycle);
        }
        let mut found: HashMap<u64, ChosenBlock> = HashMap::new();
        for step in steps[..=last].iter().filter(|s| s.inside) {
            let block = found.entry(step.pc).or_insert(ChosenBlock {
                pc: step.pc,
                computed: false,
                visits: 0,
                fickle: 0,
            });
            block.visits += 1;
            block.computed |= step.computed;
        }
        note_fickle(&steps[..=last], &mut found);
        let least = (last / SHARE) as u32;
        let mut blocks: Vec<ChosenBlock> = found.into_values().collect();
        blocks.retain(|b| b.pc == head.pc || (b.visits > least && may_join(head, b.pc)));
        blocks.sort_by_key(|b| (b.pc != head.pc, std::cmp::Reverse(b.visits), b.pc));
        blocks.truncate(BLOCKS);
        Ok(Self {
            head,
            origin: recording.tripped.origin,
            blocks,
            ways: ways(&steps[..=last]),
            recorded: steps.len() as u32,
            rounds: rounds as u32,
            insns: 0,
        })
    }
}

/// Counts the computed jumps that led elsewhere than the last one from the same block.
fn note_fickle(steps: &[Entered], found: &mut HashMap<u64, ChosenBlock>) {
    let mut last = HashMap::new();
    for pair in steps.windows(2).filter(|w| w[1].computed) {
        let before = last.insert(pair[0].pc, pair[1].pc);
        let block = found.get_mut(&pair[0].pc);
        if let Some(block) = block.filter(|_| before.is_some_and(|pc| pc != pair[1].pc)) {
            block.fickle += 1;
        }
    }
}

/// The ways from one block to the next among steps, each once.
fn ways(steps: &[Entered]) -> Vec<Way> {
    let pairs = steps.windows(2).map(|w| Way {
        from: w[0].pc,
        to: w[1].pc,
        computed: w[1].computed,
    });
    let mut ways: Vec<Way> = pairs.collect();
    ways.sort_unstable();
    ways.dedup();
    ways
}

/// Whether the block at `pc` can be in a region that is entered at `head`.
pub(super) fn may_join(head: Site, pc: u64) -> bool {
    match head.reach {
        Reach::Flat => pc.abs_diff(head.pc) < SPREAD,
        // Another guest page can come to mean other memory at any time.
        _ => pc / PAGE_SIZE == head.pc / PAGE_SIZE,
    }
}
