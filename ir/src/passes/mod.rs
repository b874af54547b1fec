//! Passes over regions: what tier 2 does to the IR before the host compiler sees it.
//!
//! A pass is a function of a [`Region`] and a [`Context`] that says how many operations it
//! changed. Each keeps what the region does: the same exits, with the same guest state, after the
//! same memory accesses in the same order. What may differ is guest state where nothing can see
//! it. [`run`] runs them in order; in debug builds it checks the region after each one.

mod bits;
mod cfg;
mod constants;
mod copies;
mod dead;
mod edit;
mod extend;
mod hoist;
mod live;
mod probes;
mod strength;
#[cfg(test)]
mod tests;
mod values;

pub use bits::Bits;
pub use cfg::{Cfg, Loop, targets};
pub use constants::constants;
pub use dead::{dead_stores, dead_values};
pub use edit::operands;
pub use extend::extensions;
pub use hoist::hoist;
pub use live::{Live, Liveness};
pub use probes::probes;
pub use strength::strength;

use crate::{GlobalTable, Region};
use std::time::Instant;

/// Where guest state is visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    /// A faulting access shows the guest state before it.
    #[default]
    Precise,
    /// The consumer recovers the state of a faulting access by other means (recovery tables, or
    /// running the block again): accesses show nothing.
    Recovered,
}

/// What passes are told.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The guest's globals. They do not overlap.
    pub table: &'a GlobalTable,
    /// Whether memory accesses show guest state.
    pub faults: Faults,
}

/// How many operations a pass changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changes(pub u32);

/// A pass and its name.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// What it is switched off by.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&mut Region, &Context) -> Changes,
}

/// Every pass. [`PassSet`] and [`Stats`] number them so.
pub const PASSES: [Pass; 7] = [
    Pass {
        name: "constants",
        run: constants,
    },
    Pass {
        name: "extensions",
        run: extensions,
    },
    Pass {
        name: "strength",
        run: strength,
    },
    Pass {
        name: "hoist",
        run: hoist,
    },
    Pass {
        name: "dead-stores",
        run: dead_stores,
    },
    Pass {
        name: "dead-values",
        run: dead_values,
    },
    Pass {
        name: "probes",
        run: probes,
    },
];

/// The order in which [`run`] runs them, by number: constants again for what hoisting left as
/// copies, probes last since they name operations by their place.
const ORDER: [usize; 8] = [0, 1, 2, 3, 0, 4, 5, 6];

/// A set of passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassSet(u32);

impl PassSet {
    /// All of them.
    pub const ALL: Self = Self((1 << PASSES.len()) - 1);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// The set with this pass; `None` if there is none of this name.
    pub fn with(self, name: &str) -> Option<Self> {
        let n = PASSES.iter().position(|p| p.name == name)?;
        Some(Self(self.0 | 1 << n))
    }

    /// The set without this pass; `None` if there is none of this name.
    pub fn without(self, name: &str) -> Option<Self> {
        let n = PASSES.iter().position(|p| p.name == name)?;
        Some(Self(self.0 & !(1 << n)))
    }

    fn has(self, n: usize) -> bool {
        self.0 >> n & 1 != 0
    }
}

/// What the passes did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Operations before.
    pub before: usize,
    /// Operations after.
    pub after: usize,
    /// Operations that each pass changed.
    pub changes: [u32; PASSES.len()],
    /// Time that each pass took, in nanoseconds.
    pub nanoseconds: [u64; PASSES.len()],
}

/// Runs the passes of `set` over `region`.
///
/// # Panics
/// In debug builds, if a pass breaks the region's rules.
pub fn run(region: &mut Region, context: &Context, set: PassSet) -> Stats {
    let count = |region: &Region| region.blocks.iter().map(|b| b.insts.len()).sum();
    let mut stats = Stats {
        before: count(region),
        ..Stats::default()
    };
    for n in ORDER.into_iter().filter(|&n| set.has(n)) {
        let started = Instant::now();
        if PASSES[n].name == "probes" {
            edit::compact(region);
        }
        let Changes(changes) = (PASSES[n].run)(region, context);
        stats.changes[n] += changes;
        stats.nanoseconds[n] += started.elapsed().as_nanos() as u64;
        check(region, context, PASSES[n].name);
    }
    if !set.has(PASSES.len() - 1) {
        edit::compact(region);
    }
    stats.after = count(region);
    stats
}

/// In debug builds: that the region keeps its rules after `pass`.
fn check(region: &Region, context: &Context, pass: &str) {
    if cfg!(debug_assertions)
        && let Err(error) = region.verify(context.table)
    {
        panic!("{pass}: {error:?}\n{}", region.text(context.table));
    }
}
