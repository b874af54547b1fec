//! How often loop heads, functions and targets of computed jumps are entered.
//!
//! What may be one of them is entered through a thunk that counts, as soon as an edge that says so
//! is linked to it; anything else is never counted. Each vCPU counts for itself. A counter that
//! runs out starts a recording (`crate::tier2`). What is chosen from that is compiled once it is
//! known to be worth it: tier 1 has spent about as much time there as compiling takes. The time
//! that a round took is kept: the region must be faster (`trials`).

use super::trials::Pace;
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
    /// Not yet.
    Cold,
    /// Yes.
    Counting(Counting),
    /// Its counter ran out on a vCPU, which records what runs now.
    Recording(Counting),
    /// No more.
    Done,
}

/// What counts a block's entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting {
    /// Offset of the thunk in code memory.
    thunk: u32,
    /// Number of the counter.
    slot: u32,
    origin: Origin,
    /// Recordings that were cut short or led to nothing.
    tries: u8,
    /// The counter was wound up again since no processor was idle.
    waited: bool,
    /// How fast entries come.
    pace: Pace,
}

/// Recordings of one block that may be cut short; one that leads to nothing counts as many.
const TRIES: u8 = 24;
const NOTHING: u8 = 8;
/// How much longer is counted where no processor is idle, and after a recording that led to
/// nothing.
const LONGER: i32 = 4;
/// How much longer is counted where a region has been formed already.
const COVERED: i32 = 32;

/// A block whose counter ran out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tripped {
    /// The block.
    pub site: Site,
    /// Why it was counted.
    pub origin: Origin,
}

/// What is to be done about a counter that ran out.
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
        if !matches!(cx.config.tier2.policy, Policy::Hot(_)) {
            return None;
        }
        let block = &self.blocks[id as usize];
        match block.heat {
            Heat::Counting(c) | Heat::Recording(c) => return Some(c.thunk),
            Heat::Done => return None,
            Heat::Cold => {}
        }
        if block.site.is_stepping() || !matches!(block.site.reach, Reach::Flat | Reach::Page) {
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
        self.blocks[id as usize].heat = Heat::Counting(Counting {
            thunk: at,
            slot,
            origin,
            tries: 0,
            waited: false,
            pace: Pace::default(),
        });
        Some(at)
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
        let region = self.is_region(id);
        let covered = self.regions.covered(self.blocks[id as usize].site);
        let chosen = self.regions.waiting.get(&id).map(|c| c.cost_ns());
        let block = &mut self.blocks[id as usize];
        match block.heat {
            Heat::Counting(mut c) => {
                // Below 0: this vCPU has never counted here.
                let ran_out = vcpu.counter(c.slot).load(COUNT) >= 0;
                let wind = |entries: i32| vcpu.counter(c.slot).store(entries, COUNT);
                if !block.alive {
                    wind(threshold);
                    vcpu.forget(block.site.pc);
                    return Trip::Nothing;
                }
                if region {
                    wind(LOOK);
                    return Trip::Trial;
                }
                wind(threshold);
                if !ran_out {
                    return Trip::Nothing;
                }
                if covered && terms.adaptive {
                    // Control is here in the region's rounds, or tier 1 is as good.
                    self.cool(id);
                    vcpu.forget(self.blocks[id as usize].site.pc);
                    return Trip::Nothing;
                }
                let longer = match covered {
                    true => COVERED,
                    _ if !terms.idle && !std::mem::replace(&mut c.waited, true) => LONGER - 1,
                    _ => 0,
                };
                if longer != 0 {
                    wind(threshold.saturating_mul(longer));
                    block.heat = Heat::Counting(c);
                    return Trip::Nothing;
                }
                let Some(cost) = chosen else {
                    block.heat = Heat::Recording(c);
                    let (site, origin) = (block.site, c.origin);
                    return Trip::Record(Tripped { site, origin });
                };
                let more = c.pace.lap(vcpu, cost, terms);
                block.heat = Heat::Counting(c);
                if let Some(more) = more {
                    wind(more);
                    return Trip::Nothing;
                }
                let round_ns = c.pace.round_ns().filter(|_| terms.adaptive);
                let waiting = self.regions.waiting.remove(&id);
                match waiting.filter(|choice| round_ns.is_none_or(|ns| choice.is_hot(ns))) {
                    Some(choice) => Trip::Compile { choice, round_ns },
                    None => self.not_hot(id, c, vcpu, threshold),
                }
            }
            Heat::Recording(c) => {
                vcpu.counter(c.slot).store(threshold, COUNT);
                Trip::Nothing
            }
            Heat::Cold | Heat::Done => {
                // The way there went through the jump cache.
                vcpu.forget(block.site.pc);
                self.targets.remove(block.site.pc, block.site.space);
                Trip::Nothing
            }
        }
    }

    /// What was recorded at block `id` is a small part of what goes on: that is looked at again
    /// much later.
    fn not_hot(&mut self, id: u32, mut c: Counting, vcpu: VcpuRef, threshold: i32) -> Trip {
        c.tries += NOTHING;
        if c.tries >= TRIES {
            self.cool(id);
            vcpu.forget(self.blocks[id as usize].site.pc);
            return Trip::Nothing;
        }
        c.pace = Pace::default();
        vcpu.counter(c.slot)
            .store(threshold.saturating_mul(COVERED), COUNT);
        self.blocks[id as usize].heat = Heat::Counting(c);
        Trip::Nothing
    }

    /// The block at `site`, if it is there.
    pub(super) fn known(&self, table: &BlockTable, site: Site) -> Option<u32> {
        let code = table.get(site.pc, site.space)?;
        self.at_host((code - self.code.exec_base()) as u32)
    }

    /// The recording that began at `site` led to `choice`, which is compiled once entries of
    /// `site` have taken long enough.
    pub fn keep(&mut self, table: &BlockTable, choice: Choice, vcpu: VcpuRef, entries: i32) {
        let Some(id) = self.known(table, choice.head) else {
            return;
        };
        let Heat::Recording(mut c) = self.blocks[id as usize].heat else {
            return;
        };
        c.pace.start(vcpu, entries);
        vcpu.counter(c.slot).store(entries, COUNT);
        self.blocks[id as usize].heat = Heat::Counting(c);
        self.regions.waiting.insert(id, Box::new(choice));
    }

    /// The recording that began at `site` led to nothing: it is tried again later, or not. True if
    /// it is not.
    pub fn give_back(
        &mut self,
        table: &BlockTable,
        site: Site,
        vcpu: VcpuRef,
        threshold: i32,
    ) -> bool {
        let Some(id) = self.known(table, site) else {
            return false;
        };
        let Heat::Recording(mut c) = self.blocks[id as usize].heat else {
            return false;
        };
        c.tries += NOTHING;
        if c.tries >= TRIES {
            self.cool(id);
            return true;
        }
        let longer = threshold.saturating_mul(LONGER);
        vcpu.counter(c.slot).store(longer, COUNT);
        self.blocks[id as usize].heat = Heat::Counting(c);
        false
    }

    /// The recording that was to begin at `site` has to wait.
    pub fn later(&mut self, table: &BlockTable, site: Site, vcpu: VcpuRef, threshold: i32) {
        let Some(id) = self.known(table, site) else {
            return;
        };
        if let Heat::Recording(c) = self.blocks[id as usize].heat {
            let longer = threshold.saturating_mul(LONGER);
            vcpu.counter(c.slot).store(longer, COUNT);
            self.blocks[id as usize].heat = Heat::Counting(c);
        }
    }

    /// The recording that began at `site` was cut short: it is done again soon.
    pub fn retry(&mut self, table: &BlockTable, site: Site, vcpu: VcpuRef, threshold: i32) {
        let Some(id) = self.known(table, site) else {
            return;
        };
        if let Heat::Recording(mut c) = self.blocks[id as usize].heat {
            c.tries += 1;
            if c.tries >= TRIES {
                return self.cool(id);
            }
            vcpu.counter(c.slot).store((threshold / 8).max(1), COUNT);
            self.blocks[id as usize].heat = Heat::Counting(c);
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
        let Site { pc, space, .. } = self.blocks[id as usize].site;
        self.targets.remove(pc, space);
        self.repatch(id, None);
    }

    /// Has the edges of block `id` lead to it, through its counter if it is counted.
    pub(super) fn enter_at<G: Guest>(&mut self, cx: &Context<'_, G>, id: u32) {
        let counted = self.count(cx, id, Origin::Loop);
        self.repatch(id, counted);
    }

    fn repatch(&mut self, id: u32, counted: Option<u32>) {
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

const COUNT: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;
