//! Counts of what the engine did.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that many threads add to and nobody orders by.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds `n` for a thread that is the only one to add now (it holds the engine's lock).
    #[inline]
    pub(crate) fn add_alone(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stats {
    /// Counts a region, for the holder of the engine's lock.
    pub(crate) fn installed(&self, code: &isomorph_cranelift::CompiledRegion) {
        self.regions.add_alone(1);
        self.region_insns.add_alone(code.stats.insns.into());
        self.region_bytes.add_alone(code.stats.bytes.into());
    }
}

macro_rules! counters {
    ($($(#[$m:meta])* $name:ident,)+) => {
        /// Running counts, shared by all vCPUs.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$m])* pub $name: Counter,)+ }

        /// A reading of [`Stats`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Snapshot { $($(#[$m])* pub $name: u64,)+ }

        impl Stats {
            /// Reads every counter.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)+ }
            }
        }

        impl Snapshot {
            /// Every counter with its name, in order of declaration.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

counters! {
    /// Blocks translated.
    blocks,
    /// Guest instructions translated.
    insns,
    /// Host code bytes emitted.
    code_bytes,
    /// Nanoseconds spent translating. (Kept in ticks of the host's time-stamp counter;
    /// `Engine::stats` converts.)
    translate_ns,
    /// Edges patched to jump straight to their target.
    chained,
    /// Leaves of generated code through an edge that was not patched yet.
    exits_edge,
    /// Leaves for an indirect jump that missed the jump cache.
    exits_indirect,
    /// Of those, targets that were translated already.
    lookup_hits,
    /// Leaves with a trap (system calls, breakpoints, illegal instructions …).
    exits_trap,
    /// Leaves because a poll saw a request.
    exits_poll,
    /// Leaves by a host fault in a guest access.
    exits_fault,
    /// Blocks dropped because their guest code changed or went away.
    invalidated,
    /// Whole flushes of code memory.
    flushes,
    /// Return stacks that ran over and were reset.
    return_stack_resets,
    /// Samples of time.
    samples,
    /// Times that a thread woke up to ask for samples.
    sampler_ticks,
    /// Recordings of hot code.
    recordings,
    /// Regions installed.
    regions,
    /// Guest instructions in them.
    region_insns,
    /// Host code bytes of them.
    region_bytes,
    /// Regions that stay with tier 1.
    regions_refused,
    /// Regions dropped.
    regions_dropped,
    /// Nanoseconds of CPU time that tier 2 took.
    region_ns,
}
