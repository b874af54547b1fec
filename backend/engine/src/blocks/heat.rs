//! How often loop heads, functions and targets of computed jumps are entered.
//!
//! What may be one of them is entered through a thunk that counts, as soon as an edge that says so
//! is linked to it; anything else is never counted. Each vCPU counts for itself. A counter that
//! runs out starts a recording (`crate::tier2`), after which nothing is counted there any more.

use super::{Blocks, Context, Edge, Leads, NONE};
use crate::config::{Origin, Policy};
use crate::memory::{COUNTERS, VcpuRef};
use crate::site::{Reach, Site};
use crate::table::BlockTable;
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
}

/// Recordings of one block that may be cut short; one that leads to nothing counts as many.
const TRIES: u8 = 24;
const NOTHING: u8 = 8;
/// How much longer is counted where no processor is idle, and after a recording that led to
/// nothing.
const LONGER: i32 = 4;

/// A block whose counter ran out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tripped {
    /// The block.
    pub site: Site,
    /// Why it was counted.
    pub origin: Origin,
}

impl Blocks {
    /// Where an edge that says that its target may be hot enters it, if that is counted.
    pub(super) fn counted_entry<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        edge: u32,
        to: u32,
    ) -> Option<u32> {
        let origin = match self.edges[edge as usize].leads {
            Leads::Back => Origin::Loop,
            Leads::Into => Origin::Function,
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
        });
        Some(at)
    }

    /// As `entry`, for the target of a computed jump: it is counted.
    pub fn computed_entry<G: Guest>(&mut self, cx: &Context<'_, G>, code: u64) -> u64 {
        let base = self.code.exec_base();
        let known = self.at_host((code - base) as u32);
        let counted = known.and_then(|id| self.count(cx, id, Origin::Computed));
        counted.map_or(code, |offset| base + u64::from(offset))
    }

    /// Whether edge `edge` is that of a counter that ran out.
    pub fn is_hot(&self, edge: u32) -> bool {
        self.edges[edge as usize].leads == Leads::Hot
    }

    /// The counter behind edge `edge` ran out on `vcpu`: what is to be recorded. `idle`: a host
    /// processor has nothing to do.
    pub fn trip(
        &mut self,
        edge: u32,
        vcpu: VcpuRef,
        threshold: i32,
        idle: bool,
    ) -> Option<Tripped> {
        let id = self.edges[edge as usize].source;
        let block = &mut self.blocks[id as usize];
        match block.heat {
            Heat::Counting(mut c) => {
                // Below 0: this vCPU has never counted here.
                let ran_out = vcpu.counter(c.slot).load(COUNT) >= 0;
                vcpu.counter(c.slot).store(threshold, COUNT);
                if !block.alive {
                    vcpu.forget(block.site.pc);
                }
                if !block.alive || !ran_out {
                    return None;
                }
                if !idle && !c.waited {
                    c.waited = true;
                    vcpu.counter(c.slot)
                        .store(threshold.saturating_mul(LONGER - 1), COUNT);
                    block.heat = Heat::Counting(c);
                    return None;
                }
                block.heat = Heat::Recording(c);
                let (site, origin) = (block.site, c.origin);
                Some(Tripped { site, origin })
            }
            Heat::Recording(c) => {
                vcpu.counter(c.slot).store(threshold, COUNT);
                None
            }
            Heat::Cold | Heat::Done => {
                vcpu.forget(block.site.pc); // the way there went through the jump cache
                None
            }
        }
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
        let block = &mut self.blocks[id as usize];
        block.heat = Heat::Done;
        let (host, fast) = (block.host, block.fast);
        let mut edge = block.incoming;
        while edge != NONE {
            let e = &self.edges[edge as usize];
            let dest = if e.polled { host } else { fast };
            self.code.patch_u32(e.rel32, dest.wrapping_sub(e.rel32 + 4));
            edge = e.next;
        }
    }
}

const COUNT: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;
