//! How often loop heads, functions and targets of computed jumps are entered.
//!
//! With a fixed threshold, what may be one of them is entered through a thunk that counts, as soon
//! as an edge that says so is linked to it; anything else is never counted. Else samples of time
//! say what is counted, and only while that is measured (`samples`); before there are samples, the
//! first counter to run out has them taken. Each vCPU counts for itself.

use super::{Blocks, Context, Edge, Leads, NONE};
use crate::config::{Origin, Policy};
use crate::memory::{COUNTERS, VcpuRef};
use crate::site::{Reach, Site};
use crate::table::BlockTable;
use crate::tier2::Choice;
use isomorph_baseline::counting_thunk;
use isomorph_frontend::Guest;

/// Whether it is counted how often a block is entered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heat {
    /// No, or not yet.
    Cold(Cold),
    /// Yes.
    Counting(Counting),
    /// A vCPU records what runs from here on.
    Recording(Counting),
    /// No more.
    Done,
}

/// What is known of a block that is not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cold {
    /// Samples that met it.
    pub hits: u8,
    /// See [`Counting::tries`].
    pub tries: u8,
}

impl Counting {
    /// The block is not counted any more.
    pub fn cold(self) -> Cold {
        Cold {
            hits: self.hits,
            tries: self.tries,
        }
    }
}

/// What counts a block's entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting {
    /// Offset of the thunk in code memory.
    pub thunk: u32,
    /// Number of the counter.
    pub slot: u32,
    pub origin: Origin,
    /// Samples that met it.
    pub hits: u8,
    /// Recordings that were cut short or led to nothing.
    pub tries: u8,
}

/// How it goes on after a recording that led to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    /// Entries are counted, so many by default.
    Counted(i32),
    /// Samples are taken.
    Sampled,
}

/// Recordings of one block that may be cut short; one that leads to nothing counts as many.
pub(super) const TRIES: u8 = 24;
pub(super) const NOTHING: u8 = 8;
/// How much longer is counted after a recording that led to nothing.
const LONGER: i32 = 4;
/// How much longer is counted where a region has been formed already.
const COVERED: i32 = 32;

/// A block that a recording is to begin at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tripped {
    /// The block.
    pub site: Site,
    /// Why it was counted or sampled.
    pub origin: Origin,
}

/// What is to be done about a counter that ran out, or a sample.
#[derive(Debug)]
pub(crate) enum Trip {
    /// Nothing.
    Nothing,
    /// What runs now is to be recorded.
    Record(Tripped),
    /// What was recorded before is to be compiled.
    Compile {
        /// What.
        choice: Box<Choice>,
        /// Nanoseconds from one entry to the next with tier 1, if that was measured.
        round_ns: Option<f64>,
    },
    /// A region under trial is entered, for the first time or once more.
    Trial,
    /// Something is hot enough for samples to be taken.
    Start,
}

/// On what terms code becomes a region.
pub(crate) struct Terms<'a> {
    /// Entries after which a counter runs out.
    pub threshold: i32,
    /// What is hot enough depends on what it costs.
    pub adaptive: bool,
    /// A host processor has nothing to do.
    pub idle: bool,
    /// Whether so many nanoseconds can be spent on compiling.
    pub affordable: &'a dyn Fn(f64) -> bool,
}

/// Entries of a region under trial after which it is looked at.
const LOOK: i32 = 1 << 14;

impl Blocks {
    /// Where an edge that says that its target may be hot enters it, if that is counted.
    pub(super) fn counted_entry<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        edge: u32,
        to: u32,
    ) -> Option<u32> {
        let origin = match self.edges[edge as usize].leads {
            _ if self.is_region(to) => Origin::Loop,
            Leads::Back => Origin::Loop,
            // A machine's regions stay within a page, which a call leaves as a rule.
            Leads::Into if self.blocks[to as usize].site.reach == Reach::Flat => Origin::Function,
            Leads::Into => return None,
            Leads::On | Leads::Hot => return None,
        };
        self.count(cx, to, origin)
    }

    /// Where to enter block `id` so that it is counted.
    fn count<G: Guest>(&mut self, cx: &Context<'_, G>, id: u32, origin: Origin) -> Option<u32> {
        match self.blocks[id as usize].heat {
            Heat::Counting(c) => return Some(c.thunk),
            Heat::Recording(c) => return (!cx.is_adaptive()).then_some(c.thunk),
            Heat::Done => return None,
            Heat::Cold(_) if cx.counting || self.is_region(id) => {}
            Heat::Cold(_) => return None,
        }
        let counting = self.counter(cx, id, origin)?;
        self.blocks[id as usize].heat = Heat::Counting(counting);
        Some(counting.thunk)
    }

    /// Makes a thunk that counts the entries of block `id`, if that can be.
    pub(super) fn counter<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        id: u32,
        origin: Origin,
    ) -> Option<Counting> {
        let block = &self.blocks[id as usize];
        let counts = matches!(cx.config.tier2.policy, Policy::Hot(_));
        if !counts || !block.can_be_hot() {
            return None;
        }
        let (base, at) = (self.code.exec_base(), self.code.next_offset());
        let edge = self.edges.len() as u32;
        let slot = self.next_slot % COUNTERS;
        let thunk = counting_thunk(
            (self.emitter.runtime(), base),
            base + u64::from(at),
            self.counters + slot as usize * 4,
            base + u64::from(block.host),
            edge,
        );
        let target = block.site.pc;
        self.code.append(&thunk).ok()?;
        self.next_slot = self.next_slot.wrapping_add(1);
        self.edges.push(Edge {
            rel32: NONE,
            stub: NONE,
            target,
            source: id,
            polled: true,
            linked: false,
            leads: Leads::Hot,
            next: NONE,
        });
        if let Some(vcpu) = cx.vcpu {
            vcpu.counter(slot).store(cx.threshold, COUNT);
        }
        Some(Counting {
            thunk: at,
            slot,
            origin,
            hits: 0,
            tries: 0,
        })
    }

    /// As `entry`, for the target of a computed jump: it is counted.
    pub fn computed_entry<G: Guest>(&mut self, cx: &Context<'_, G>, code: u64) -> u64 {
        let base = self.code.exec_base();
        let known = self.at_host((code - base) as u32);
        let Some(id) = known else {
            return code;
        };
        let counted = self.count(cx, id, Origin::Computed);
        let entry = counted.map_or(code, |offset| base + u64::from(offset));
        let Site { pc, space, .. } = self.blocks[id as usize].site;
        self.targets.insert(pc, space, entry);
        entry
    }

    /// Whether edge `edge` is that of a counter that ran out.
    pub fn is_hot(&self, edge: u32) -> bool {
        self.edges[edge as usize].leads == Leads::Hot
    }

    /// The counter behind edge `edge` ran out on `vcpu`: what is to be done.
    pub fn trip(&mut self, edge: u32, vcpu: VcpuRef, terms: &Terms<'_>) -> Trip {
        let threshold = terms.threshold;
        let id = self.edges[edge as usize].source;
        let block = &mut self.blocks[id as usize];
        let c = match block.heat {
            Heat::Counting(c) => c,
            Heat::Recording(c) => {
                vcpu.counter(c.slot).store(threshold, COUNT);
                return Trip::Nothing;
            }
            Heat::Cold(_) | Heat::Done => {
                // The way there went through the jump cache.
                vcpu.forget(block.site.pc);
                self.targets.remove(block.site.pc, block.site.space);
                return Trip::Nothing;
            }
        };
        // Below 0: this vCPU has never counted here.
        let ran_out = vcpu.counter(c.slot).load(COUNT) >= 0;
        let (site, alive) = (block.site, block.alive);
        let wind = |entries: i32| vcpu.counter(c.slot).store(entries, COUNT);
        if !alive {
            wind(threshold);
            vcpu.forget(site.pc);
            return Trip::Nothing;
        }
        if self.is_region(id) {
            wind(LOOK);
            return Trip::Trial;
        }
        wind(threshold);
        if !ran_out {
            return Trip::Nothing;
        }
        if terms.adaptive {
            return self.lap(id, c, vcpu, terms);
        }
        if self.regions.has_covered(site) {
            // Control is here in the region's rounds.
            wind(threshold.saturating_mul(COVERED));
            return Trip::Nothing;
        }
        self.blocks[id as usize].heat = Heat::Recording(c);
        let origin = c.origin;
        Trip::Record(Tripped { site, origin })
    }

    /// The block at `site`, if it is there.
    pub(super) fn known(&self, table: &BlockTable, site: Site) -> Option<u32> {
        let code = table.get(site.pc, site.space)?;
        self.at_host((code - self.code.exec_base()) as u32)
    }

    /// The recording that began at `site` led to nothing: it is tried again later, or not. True if
    /// it is not.
    pub fn give_back(
        &mut self,
        table: &BlockTable,
        site: Site,
        vcpu: VcpuRef,
        again: Again,
    ) -> bool {
        let Some((id, mut c)) = self.recording_at(table, site) else {
            return false;
        };
        c.tries += NOTHING;
        if c.tries >= TRIES {
            self.cool(id);
            return true;
        }
        c.hits = 0;
        self.resume(id, c, vcpu, again, LONGER);
        false
    }

    /// The recording that began at `site` was cut short: it is done again soon.
    pub fn retry(&mut self, table: &BlockTable, site: Site, vcpu: VcpuRef, again: Again) {
        let Some((id, mut c)) = self.recording_at(table, site) else {
            return;
        };
        c.tries += 1;
        if c.tries >= TRIES {
            return self.cool(id);
        }
        self.resume(id, c, vcpu, again, 0);
    }

    /// The block at `site`, if what runs from there on is recorded.
    pub(super) fn recording_at(&self, table: &BlockTable, site: Site) -> Option<(u32, Counting)> {
        let id = self.known(table, site)?;
        match self.blocks[id as usize].heat {
            Heat::Recording(c) => Some((id, c)),
            _ => None,
        }
    }

    /// After a recording, block `id` is counted `longer` times as long, or sampled again.
    fn resume(&mut self, id: u32, c: Counting, vcpu: VcpuRef, again: Again, longer: i32) {
        let heat = &mut self.blocks[id as usize].heat;
        match again {
            Again::Sampled => *heat = Heat::Cold(c.cold()),
            Again::Counted(entries) => {
                let entries = match longer {
                    0 => (entries / 8).max(1),
                    _ => entries.saturating_mul(longer),
                };
                vcpu.counter(c.slot).store(entries, COUNT);
                *heat = Heat::Counting(c);
            }
        }
    }

    /// The block at `site` is not counted any more, whatever becomes of it.
    pub fn stop_counting(&mut self, table: &BlockTable, site: Site) {
        if let Some(id) = self.known(table, site) {
            self.cool(id);
        }
    }

    /// Has block `id` entered without counting from now on. The jump caches are the caller's to
    /// see to.
    pub(super) fn cool(&mut self, id: u32) {
        self.blocks[id as usize].heat = Heat::Done;
        self.enter_through(id, None);
    }

    /// Has everything that leads to block `id` lead to the thunk at offset `counted`, or to itself.
    /// The jump caches are the caller's to see to.
    pub(super) fn enter_through(&mut self, id: u32, counted: Option<u32>) {
        let Site { pc, space, .. } = self.blocks[id as usize].site;
        self.targets.remove(pc, space);
        if let Some(thunk) = counted {
            let entry = self.code.exec_base() + u64::from(thunk);
            self.targets.insert(pc, space, entry);
        }
        self.repatch(id, counted);
    }

    /// Has the edges of block `id` lead to it, through its counter if it is counted.
    pub(super) fn enter_at<G: Guest>(&mut self, cx: &Context<'_, G>, id: u32) {
        let counted = self.count(cx, id, Origin::Loop);
        self.enter_through(id, counted);
    }

    pub(super) fn repatch(&mut self, id: u32, counted: Option<u32>) {
        let block = &self.blocks[id as usize];
        let (host, fast) = (block.host, block.fast);
        let mut edge = block.incoming;
        while edge != NONE {
            let e = &self.edges[edge as usize];
            let plain = if e.polled { host } else { fast };
            let dest = counted.unwrap_or(plain);
            self.code.patch_u32(e.rel32, dest.wrapping_sub(e.rel32 + 4));
            edge = e.next;
        }
    }
}

pub(super) const COUNT: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;
