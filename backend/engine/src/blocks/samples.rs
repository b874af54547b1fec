//! What samples of time say of blocks, and what becomes of that.
//!
//! A block that a few samples have met is recorded from (`crate::tier2`). What is chosen from that
//! is compiled once it is known to be worth it: tier 1 has spent about as much time there as
//! compiling takes, by samples. It is counted for about a millisecond first, so that it is known
//! how long a round takes: the region must be faster (`trials`).

use super::heat::{COUNT, Cold, Counting, Heat, NOTHING, TRIES};
use super::trials::Pace;
use super::{Block, Blocks, Context, Edge, Leads, Terms, Trip, Tripped};
use crate::config::Origin;
use crate::memory::VcpuRef;
use crate::site::{Reach, Site};
use crate::table::BlockTable;
use crate::tier2::Choice;
use isomorph_frontend::Guest;

/// What was chosen, until it is worth compiling.
#[derive(Debug)]
pub(super) struct Waiting {
    pub choice: Box<Choice>,
    pace: Pace,
}

/// Most choices that wait.
const MOST_WAITING: usize = 16;

/// What a sample stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight {
    /// Nanoseconds of a vCPU's time.
    pub ns: f64,
    /// Samples that make a block hot.
    pub needed: u8,
}

impl Block {
    /// Whether a region may begin here.
    pub(super) fn can_be_hot(&self) -> bool {
        !self.site.is_stepping() && matches!(self.site.reach, Reach::Flat | Reach::Page)
    }
}

impl Blocks {
    /// A sample was taken of a vCPU that was about to enter `site`.
    pub fn sampled(
        &mut self,
        table: &BlockTable,
        site: Site,
        weight: Weight,
        terms: &Terms<'_>,
    ) -> Trip {
        let Some(id) = self.known(table, site) else {
            return Trip::Nothing;
        };
        if self.is_region(id) || self.regions.has_covered(site) {
            return Trip::Nothing;
        }
        if let Some(head) = self.regions.waits_at(site) {
            if let Some(waiting) = self.regions.waiting.get_mut(&head) {
                waiting.pace.credit(weight.ns);
            }
            return self.decide(head, terms);
        }
        let origin = self.origin(id);
        let block = &mut self.blocks[id as usize];
        let can_be_hot = block.can_be_hot();
        let Heat::Cold(cold) = &mut block.heat else {
            return Trip::Nothing;
        };
        cold.hits = cold.hits.saturating_add(1);
        if cold.hits < weight.needed || !can_be_hot {
            return Trip::Nothing;
        }
        Trip::Record(Tripped { site, origin })
    }

    /// Why control comes to block `id`, as far as edges tell.
    fn origin(&self, id: u32) -> Origin {
        let edge = |at: u32| self.edges.get(at as usize);
        let first = edge(self.blocks[id as usize].incoming);
        let mut leads = std::iter::successors(first, |e: &&Edge| edge(e.next)).map(|e| e.leads);
        match leads.find(|&leads| leads != Leads::On) {
            Some(Leads::Back) => Origin::Loop,
            Some(Leads::Into) => Origin::Function,
            _ => Origin::Computed,
        }
    }

    /// A recording begins at `site`. False if it cannot.
    pub fn begin<G: Guest>(&mut self, cx: &Context<'_, G>, tripped: Tripped) -> bool {
        let Some(id) = self.known(cx.table, tripped.site) else {
            return false;
        };
        let Heat::Cold(Cold { hits, tries }) = self.blocks[id as usize].heat else {
            return false;
        };
        let Some(counting) = self.counter(cx, id, tripped.origin) else {
            return false;
        };
        self.blocks[id as usize].heat = Heat::Recording(Counting {
            hits,
            tries,
            ..counting
        });
        true
    }

    /// The recording that began at its head led to `choice`: rounds are measured, then it waits
    /// until it is worth compiling. The jump caches are the caller's to see to.
    pub fn keep(&mut self, table: &BlockTable, choice: Choice, vcpu: VcpuRef, sample_ns: f64) {
        let Some((id, c)) = self.recording_at(table, choice.head) else {
            return;
        };
        let mut pace = Pace::default();
        pace.credit(sample_ns * f64::from(c.hits));
        vcpu.counter(c.slot).store(pace.start(vcpu), COUNT);
        self.blocks[id as usize].heat = Heat::Counting(Counting { hits: 0, ..c });
        self.enter_through(id, Some(c.thunk));
        self.make_room();
        let choice = Box::new(choice);
        self.regions.waiting.insert(id, Waiting { choice, pace });
    }

    /// If too many choices wait, the coldest is forgotten.
    fn make_room(&mut self) {
        let waiting = &self.regions.waiting;
        if waiting.len() < MOST_WAITING {
            return;
        }
        let spent = |id: &u32| waiting[id].pace.spent();
        let coldest = waiting.keys().copied().min_by_key(spent);
        if let Some(id) = coldest {
            self.regions.waiting.remove(&id);
            self.not_hot(id);
        }
    }

    /// The counter of block `id` ran out on `vcpu`.
    pub(super) fn lap(&mut self, id: u32, c: Counting, vcpu: VcpuRef, terms: &Terms<'_>) -> Trip {
        let site = self.blocks[id as usize].site;
        let Some(waiting) = self.regions.waiting.get_mut(&id) else {
            self.uncount(id, c.cold());
            vcpu.forget(site.pc);
            return Trip::Start;
        };
        if let Some(more) = waiting.pace.lap(vcpu) {
            vcpu.counter(c.slot).store(more, COUNT);
            return Trip::Nothing;
        }
        self.uncount(id, c.cold());
        vcpu.forget(site.pc);
        if self.regions.has_covered(site) {
            self.regions.waiting.remove(&id);
            return Trip::Nothing;
        }
        self.decide(id, terms)
    }

    /// What waits for block `id` to be compiled, if that is worth while now.
    fn decide(&mut self, id: u32, terms: &Terms<'_>) -> Trip {
        let worth = |w: &&Waiting| {
            let cost = w.choice.cost_ns();
            w.pace.is_worth(cost) && (terms.affordable)(cost)
        };
        if self.regions.waiting.get(&id).filter(worth).is_none() {
            return Trip::Nothing;
        }
        let Some(Waiting { choice, pace }) = self.regions.waiting.remove(&id) else {
            return Trip::Nothing;
        };
        let round_ns = pace.round_ns();
        if round_ns.is_none_or(|ns| choice.is_hot(ns)) {
            return Trip::Compile { choice, round_ns };
        }
        self.not_hot(id);
        Trip::Nothing
    }

    /// What was recorded at block `id` is a small part of what goes on.
    fn not_hot(&mut self, id: u32) {
        let mut cold = match self.blocks[id as usize].heat {
            Heat::Cold(cold) => cold,
            Heat::Counting(c) => c.cold(),
            Heat::Recording(_) | Heat::Done => return,
        };
        cold.tries += NOTHING;
        cold.hits = 0;
        if cold.tries >= TRIES {
            self.cool(id);
        } else {
            self.uncount(id, cold);
        }
    }

    /// Block `id` is not counted for now.
    fn uncount(&mut self, id: u32, cold: Cold) {
        self.blocks[id as usize].heat = Heat::Cold(cold);
        self.enter_through(id, None);
    }
}
