//! How fast translation was: the figures of `isomorph bench`.

use crate::record::{Kept, RegionNote};
use isomorph_engine::Snapshot;
use isomorph_ir::passes::PASSES;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One tier's throughput.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throughput {
    /// Blocks or regions.
    pub units: u64,
    /// Guest instructions.
    pub insns: u64,
    /// Host bytes.
    pub bytes: u64,
    /// Nanoseconds of CPU time.
    pub ns: u64,
}

impl Throughput {
    /// Guest instructions translated in a second of CPU time.
    #[must_use]
    pub fn insns_per_second(&self) -> f64 {
        ratio(self.insns as f64 * 1e9, self.ns as f64)
    }

    /// Host bytes for a guest instruction.
    #[must_use]
    pub fn bytes_per_insn(&self) -> f64 {
        ratio(self.bytes as f64, self.insns as f64)
    }
}

/// 0 where there is nothing to divide by.
fn ratio(of: f64, by: f64) -> f64 {
    if by == 0.0 { 0.0 } else { of / by }
}

/// Percentiles of a time, in nanoseconds: 50, 90, 99 and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles(pub [u64; 4]);

impl Percentiles {
    const NAMES: [&str; 4] = ["p50", "p90", "p99", "max"];

    /// Of these times (nearest rank).
    #[must_use]
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let rank = |percent: usize| (times.len() * percent).div_ceil(100).max(1) - 1;
        let at = |percent| times.get(rank(percent)).copied().unwrap_or(0);
        Self([at(50), at(90), at(99), at(100)])
    }

    fn json(self) -> Value {
        let entries = Self::NAMES.into_iter().zip(self.0);
        entries
            .map(|(name, ns)| (name.to_owned(), json!(ns)))
            .collect()
    }

    fn text(self) -> String {
        let each = Self::NAMES.into_iter().zip(self.0);
        let each: Vec<_> = each
            .map(|(name, ns)| format!("{name} {}", micros(ns)))
            .collect();
        each.join("  ")
    }
}

fn micros(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1000.0)
}

/// What a run spent on translation, and what it got.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// CPU time of the process in nanoseconds, all threads together.
    pub cpu_ns: u64,
    /// Time from start to end in nanoseconds.
    pub elapsed_ns: u64,
    /// Blocks.
    pub tier1: Throughput,
    /// Regions.
    pub tier2: Throughput,
    /// CPU time of a region's compilation.
    pub compiling: Percentiles,
    /// Time from a region's choice to its code being entered.
    pub latency: Percentiles,
    /// Regions that were formed, and that were installed.
    pub regions: (u64, u64),
    /// Code that stays with tier 1, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Regions that went, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Operations that each pass changed, and nanoseconds that it took.
    pub passes: [(u64, u64); PASSES.len()],
}

impl Figures {
    /// Of what was kept and counted.
    #[must_use]
    pub fn of(kept: &Kept, counted: &Snapshot, cpu_ns: u64, elapsed_ns: u64) -> Self {
        let mut figures = Self {
            cpu_ns,
            elapsed_ns,
            tier1: Throughput {
                units: counted.blocks,
                insns: counted.insns,
                bytes: counted.code_bytes,
                ns: counted.translate_ns,
            },
            ..Self::default()
        };
        for note in kept.regions.values() {
            figures.region(note);
        }
        for left in &kept.left {
            *figures.refused.entry(left.why.clone()).or_default() += 1;
        }
        let compiled = || {
            kept.regions
                .values()
                .filter_map(|note| note.compiled.as_ref())
        };
        figures.compiling = Percentiles::of(compiled().map(|done| done.took_ns).collect());
        let waits = kept.regions.values().filter_map(installation_latency);
        figures.latency = Percentiles::of(waits.collect());
        figures
    }

    fn region(&mut self, note: &RegionNote) {
        self.regions.0 += 1;
        if let Some(done) = &note.compiled {
            self.tier2.units += 1;
            self.tier2.insns += u64::from(done.insns);
            self.tier2.bytes += u64::from(done.bytes);
            self.tier2.ns += done.took_ns;
            for (sum, pass) in self.passes.iter_mut().zip(done.passes) {
                sum.0 += u64::from(pass.0);
                sum.1 += pass.1;
            }
        }
        self.regions.1 += u64::from(note.placed.is_some());
        if let Some(why) = &note.refused {
            *self.refused.entry(why.clone()).or_default() += 1;
        }
        if let Some(why) = note.dropped {
            *self.dropped.entry(why).or_default() += 1;
        }
    }

    /// Share of the CPU time that a tier's translation took.
    #[must_use]
    pub fn share(&self, tier: &Throughput) -> f64 {
        ratio(tier.ns as f64, self.cpu_ns as f64)
    }

    /// For programs. Times are nanoseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let tier = |tier: &Throughput| {
            json!({
                "units": tier.units,
                "guest_instructions": tier.insns,
                "host_bytes": tier.bytes,
                "cpu_ns": tier.ns,
                "guest_instructions_per_second": tier.insns_per_second(),
                "host_bytes_per_guest_instruction": tier.bytes_per_insn(),
                "share_of_cpu_time": self.share(tier),
            })
        };
        let passes = PASSES.iter().zip(self.passes).map(|(pass, (changed, ns))| {
            let value = json!({ "changed_operations": changed, "cpu_ns": ns });
            (pass.name.to_owned(), value)
        });
        json!({
            "cpu_ns": self.cpu_ns,
            "elapsed_ns": self.elapsed_ns,
            "tier1": tier(&self.tier1),
            "tier2": tier(&self.tier2),
            "compile_cpu_ns": self.compiling.json(),
            "choice_to_installation_ns": self.latency.json(),
            "regions_formed": self.regions.0,
            "regions_installed": self.regions.1,
            "refused": self.refused,
            "dropped": self.dropped,
            "passes": passes.collect::<Value>(),
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, one: String, two: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:34} {one:>14} {two:>14}");
        };
        let (one, two) = (&self.tier1, &self.tier2);
        line("translation", "tier 1".into(), "tier 2".into());
        let count = |n: u64| n.to_string();
        line("  blocks, regions", count(one.units), count(two.units));
        line("  guest instructions", count(one.insns), count(two.insns));
        let speed = |tier: &Throughput| format!("{:.0}", tier.insns_per_second());
        line("  guest instructions a CPU second", speed(one), speed(two));
        let bytes = |tier: &Throughput| format!("{:.1}", tier.bytes_per_insn());
        line("  host bytes a guest instruction", bytes(one), bytes(two));
        let millis = |ns: u64| format!("{:.1}", ns as f64 / 1e6);
        line("  CPU time, ms", millis(one.ns), millis(two.ns));
        let share = |tier: &Throughput| format!("{:.1} %", self.share(tier) * 100.0);
        line("  share of CPU time", share(one), share(two));
        let _ = writeln!(
            text,
            "run: {} ms of CPU time in {} ms",
            millis(self.cpu_ns),
            millis(self.elapsed_ns)
        );
        let _ = writeln!(
            text,
            "tier 2, us of CPU a region:   {}",
            self.compiling.text()
        );
        let _ = writeln!(
            text,
            "tier 2, us choice to entry:   {}",
            self.latency.text()
        );
        let (formed, installed) = self.regions;
        let _ = writeln!(text, "regions: {formed} formed, {installed} installed");
        for (why, count) in &self.refused {
            let _ = writeln!(text, "  stayed with tier 1: {count:6}  {why}");
        }
        for (why, count) in &self.dropped {
            let _ = writeln!(text, "  dropped:            {count:6}  {why}");
        }
        for (pass, (changed, ns)) in PASSES.iter().zip(self.passes) {
            let (name, time) = (pass.name, micros(ns));
            let _ = writeln!(text, "  pass {name:14} {changed:8} changed {time:>10} us");
        }
        text
    }
}

/// From the choice of a region to its installation.
fn installation_latency(note: &RegionNote) -> Option<u64> {
    let time = |kind: &str| {
        let happened = note.history.iter().find(|happening| happening.kind == kind);
        happened.map(|happening| happening.time)
    };
    Some(time("installed")?.saturating_sub(time("chosen")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(Percentiles::of(vec![]).0, [0; 4]);
        assert_eq!(Percentiles::of(vec![7]).0, [7; 4]);
        let hundred = (1..=100).rev().collect();
        assert_eq!(Percentiles::of(hundred).0, [50, 90, 99, 100]);
    }

    #[test]
    fn figures_count_what_happened() {
        let recorder = testing::recorded();
        let counted = Snapshot {
            blocks: 10,
            insns: 50,
            code_bytes: 600,
            translate_ns: 10_000,
            ..Snapshot::default()
        };
        let figures = Figures::of(&recorder.kept(), &counted, 1_000_000, 2_000_000);
        assert_eq!(figures.tier1.insns_per_second(), 5e6);
        assert_eq!(figures.tier1.bytes_per_insn(), 12.0);
        assert_eq!(figures.share(&figures.tier1), 0.01);
        assert_eq!(figures.regions, (2, 1));
        assert_eq!(figures.tier2.insns, 2);
        assert_eq!(figures.refused.values().sum::<u64>(), 2);
        let json = figures.json();
        assert_eq!(json["tier1"]["guest_instructions"], 50);
        assert_eq!(json["regions_installed"], 1);
        assert!(json["compile_cpu_ns"]["p99"].is_u64());
        let text = figures.text();
        assert!(text.contains("p90") && text.contains("stayed with tier 1:      1"));
        assert!(text.lines().all(|line| line.len() <= 100));
    }
}
