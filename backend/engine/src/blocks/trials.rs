//! Whether regions are faster than tier 1, by measurement.
//!
//! With tier 1 it is known how much CPU time the vCPU took from one entry of the head to the next.
//! A region counts the passes through its entry by itself, and its vCPU's time is taken from when
//! it was first entered on: if a round takes no less, the region goes. What else the vCPU does
//! meanwhile counts in both.

use super::Blocks;
use crate::config::Dropped;
use crate::memory::VcpuRef;
use crate::table::BlockTable;
use crate::tier2::cpu_time;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Least CPU time of a measurement.
const WINDOW: Duration = Duration::from_millis(1);
/// CPU time after which a region that no round was counted in goes.
const PATIENCE: Duration = Duration::from_millis(30);
/// A region stays if a round takes less than this share of what it took with tier 1.
const GAIN: f64 = 0.95;
/// What counting in memory adds to a round in tier 1, in nanoseconds.
const COUNTING_NS: f64 = 0.4;
/// A round that takes less waits for its counter: the next count needs the last one's store.
const COUNTER_BOUND_NS: f64 = 1.8;
/// Share of such a round that it would take without counting, at least.
const UNBOUND: f64 = 0.6;
/// Measurements in a row that speak against a region before it goes.
const AGAINST: u8 = 2;
/// Tier 1 has to have spent this many times what compiling is expected to take.
const WORTH: f64 = 3.0;
/// Most entries that are counted at a time.
const MOST: f64 = 1e9;
/// Entries that are counted to see how many are worth counting.
const FIRST: i32 = 1 << 12;
/// Nanoseconds for which entries are counted.
const LAP_NS: f64 = 1.2e6;

/// How fast entries of a block come, and what time is spent there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// CPU time of the vCPU at the start of this lap, and which vCPU it is.
    since: Duration,
    vcpu: usize,
    /// Entries of this lap.
    entries: i32,
    /// Time of samples and laps.
    spent: Duration,
    /// Nanoseconds for an entry in the last lap.
    round_ns: f64,
    /// That lap was long enough.
    measured: bool,
}

impl Pace {
    /// A first lap begins, on this thread's vCPU: of so many entries.
    pub fn start(&mut self, vcpu: VcpuRef) -> i32 {
        self.begin(vcpu, FIRST)
    }

    fn begin(&mut self, vcpu: VcpuRef, entries: i32) -> i32 {
        (self.since, self.vcpu, self.entries) = (cpu_time(), vcpu.id(), entries);
        entries
    }

    /// A lap is over. `Some`: one more begins, of so many entries.
    pub fn lap(&mut self, vcpu: VcpuRef) -> Option<i32> {
        if self.vcpu != vcpu.id() || self.entries <= 0 {
            return Some(self.begin(vcpu, self.entries.max(1)));
        }
        let took = cpu_time().saturating_sub(self.since);
        self.spent += took;
        let ns = took.as_nanos().max(1) as f64;
        self.round_ns = ns / f64::from(self.entries);
        self.measured = ns > LAP_NS / 2.0;
        if self.measured {
            return None;
        }
        let entries = (LAP_NS / self.round_ns).clamp(16.0, MOST) as i32;
        Some(self.begin(vcpu, entries))
    }

    /// A sample that stands for so many nanoseconds was taken there.
    pub fn credit(&mut self, ns: f64) {
        self.spent += Duration::from_nanos(ns as u64);
    }

    /// Time spent there, as far as is known.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// Whether it is known how long a round takes, and tier 1 has spent so much time there that
    /// compiling for `cost_ns` is worth while.
    pub fn is_worth(&self, cost_ns: f64) -> bool {
        self.measured && self.spent.as_nanos() as f64 >= cost_ns * WORTH
    }

    /// Nanoseconds for an entry, if known.
    pub fn round_ns(&self) -> Option<f64> {
        (self.round_ns > 0.0).then_some(self.round_ns)
    }
}

/// A region that has to prove itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// Nanoseconds for a round with tier 1.
    round_ns: f64,
    /// The counter of rounds.
    pub slot: u32,
    /// CPU time of the vCPU that entered it first, then, and which that is.
    started: Option<(Duration, usize)>,
    against: u8,
}

impl Trial {
    /// The trial of a region whose rounds took so long with tier 1.
    pub fn new(round_ns: f64, slot: u32) -> Self {
        Self {
            round_ns,
            slot,
            started: None,
            against: 0,
        }
    }

    /// What this vCPU has to say by now: whether the region stays, if that is known.
    fn look(&mut self, vcpu: VcpuRef) -> Option<bool> {
        let now = cpu_time();
        let rounds = vcpu.counter(self.slot);
        let Some((since, by)) = self.started else {
            rounds.store(0, Ordering::Relaxed);
            self.started = Some((now, vcpu.id()));
            return None;
        };
        let took = now.saturating_sub(since);
        if by != vcpu.id() || took < WINDOW {
            return None;
        }
        let count = rounds.swap(0, Ordering::Relaxed);
        if count <= 0 {
            return (took > PATIENCE).then_some(false);
        }
        self.started = Some((now, by));
        let ns = took.as_nanos() as f64 / f64::from(count);
        if ns < uncounted(self.round_ns) * GAIN {
            return Some(true);
        }
        self.against += 1;
        (self.against >= AGAINST).then_some(false)
    }
}

/// What a round takes in tier 1 that took `ns` while it was counted.
fn uncounted(ns: f64) -> f64 {
    if ns < COUNTER_BOUND_NS {
        ns * UNBOUND
    } else {
        ns - COUNTING_NS
    }
}

impl Blocks {
    /// Drops a region that is no faster than tier 1. Its blocks are not counted any more; where
    /// they are is the result.
    fn lose(&mut self, table: &BlockTable, region: u32) -> Vec<u64> {
        let sites = self.regions.covers(region);
        let pc = self.drop_region(table, region, Dropped::NoGain);
        for &site in &sites {
            self.stop_counting(table, site);
        }
        let covered = sites.into_iter().map(|site| site.pc);
        covered.chain([pc]).collect()
    }

    /// Looks at the regions that are under trial on `vcpu`, the caller's: how many are found
    /// faster, and by region that is not and is dropped, what the jump caches are to forget.
    pub fn look_at_trials(&mut self, table: &BlockTable, vcpu: VcpuRef) -> (usize, Vec<Vec<u64>>) {
        let (mut gained, mut lost) = (0, Vec::new());
        let mut going = std::mem::take(&mut self.regions.trials);
        going.retain(|&region| {
            let Some((id, trial)) = self.regions.trial(region) else {
                return false;
            };
            match trial.look(vcpu) {
                None => return true,
                Some(true) => gained += 1,
                Some(false) => lost.push(region),
            }
            self.cool(id);
            false
        });
        self.regions.trials = going;
        let lost = lost.into_iter().map(|region| self.lose(table, region));
        (gained, lost.collect())
    }

    /// Ends every trial: the regions stay.
    pub fn settle_trials(&mut self) {
        for region in std::mem::take(&mut self.regions.trials) {
            if let Some((id, _)) = self.regions.trial(region) {
                self.cool(id);
            }
        }
    }

    /// Whether any region is under trial.
    pub fn any_trial(&self) -> bool {
        !self.regions.trials.is_empty()
    }
}
