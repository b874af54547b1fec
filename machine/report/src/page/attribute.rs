//! Whose time a sample was.

use crate::record::Kept;
use crate::symbols::Symbols;
use isomorph_probe::Sample;
use std::collections::{BTreeMap, BTreeSet};

/// A piece of generated code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A block of tier 1, by guest address: translations of it count together.
    Block(u64),
    /// A region, by number.
    Region(u32),
}

/// Parts of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Samples in tier 1's code.
    pub tier1: u32,
    /// In tier 2's.
    pub tier2: u32,
    /// Elsewhere.
    pub other: u32,
}

/// Bytes of the runtime's stubs, generously.
const STUBS: u64 = 1 << 16;

/// Buckets of the timeline.
pub const BUCKETS: usize = 120;

/// Samples by whose time they were.
#[derive(Debug, Default)]
pub struct Time {
    /// All samples.
    pub total: u64,
    /// Of generated code.
    pub units: BTreeMap<Unit, u64>,
    /// Outside of generated code, on threads that run it: by function of isomorph.
    pub functions: BTreeMap<String, u64>,
    /// On other threads, by their name.
    pub threads: BTreeMap<String, u64>,
    /// Over time.
    pub buckets: Vec<Split>,
}

impl Time {
    /// Samples of a kind of units.
    pub fn of(&self, wanted: impl Fn(&Unit) -> bool) -> u64 {
        let units = self.units.iter().filter(|(unit, _)| wanted(unit));
        units.map(|(_, count)| count).sum()
    }
}

/// Code that became executable at a time.
struct Placed {
    time: u64,
    start: u64,
    end: u64,
    unit: Unit,
}

fn placed(kept: &Kept) -> Vec<Placed> {
    let blocks = kept.blocks.iter().map(|block| Placed {
        time: block.time,
        start: block.host,
        end: block.host + block.code.len() as u64,
        unit: Unit::Block(block.pc),
    });
    let regions = kept.regions.iter().filter_map(|(number, note)| {
        let placed = note.placed.as_ref()?;
        Some(Placed {
            time: placed.time,
            start: placed.host,
            end: placed.host + placed.code.len() as u64,
            unit: Unit::Region(*number),
        })
    });
    let mut all: Vec<_> = blocks.chain(regions).collect();
    all.sort_by_key(|placed| placed.time);
    all
}

/// Finds out whose time the samples were. `start` is when the recording began; `names` are those
/// of the threads.
pub fn attribute(
    kept: &Kept,
    mut samples: Vec<Sample>,
    start: u64,
    names: &BTreeMap<u32, String>,
) -> Time {
    samples.sort_by_key(|sample| sample.time);
    let span = samples
        .last()
        .map_or(0, |last| last.time.saturating_sub(start))
        .max(1);
    let mut time = Time {
        total: samples.len() as u64,
        buckets: vec![Split::default(); BUCKETS],
        ..Time::default()
    };
    let arriving = placed(kept);
    let first = arriving.iter().map(|placed| placed.start).min();
    let last = arriving.iter().map(|placed| placed.end).max();
    // The runtime's stubs lie in front of the first block.
    let memory = first.unwrap_or(0).saturating_sub(STUBS)..last.unwrap_or(0);
    let mut arriving = arriving.into_iter().peekable();
    let mut code: BTreeMap<u64, (u64, Unit)> = BTreeMap::new();
    let mut elsewhere = Vec::new();
    let mut vcpus = BTreeSet::new();
    for sample in samples {
        let now = sample.time.saturating_sub(start);
        while let Some(new) = arriving.next_if(|new| new.time <= now) {
            place(&mut code, &new);
        }
        let found = code.range(..=sample.pc).next_back();
        let unit = found
            .filter(|(_, (end, _))| sample.pc < *end)
            .map(|(_, (_, unit))| *unit);
        let bucket = (now as u128 * BUCKETS as u128 / (u128::from(span) + 1)) as usize;
        let split = &mut time.buckets[bucket.min(BUCKETS - 1)];
        match unit {
            Some(Unit::Block(_)) => split.tier1 += 1,
            Some(Unit::Region(_)) => split.tier2 += 1,
            None => split.other += 1,
        }
        if let Some(unit) = unit {
            vcpus.insert(sample.tid);
            *time.units.entry(unit).or_default() += 1;
        } else {
            elsewhere.push(sample);
        }
    }
    let own = Symbols::of_this_process();
    for sample in elsewhere {
        if vcpus.contains(&sample.tid) {
            let name = match own.find(sample.pc) {
                Some((name, _)) => demangle(&name),
                None if memory.contains(&sample.pc) => "stubs and counters in code memory".into(),
                None => "unknown".into(),
            };
            *time.functions.entry(name).or_default() += 1;
        } else {
            let name = names.get(&sample.tid).map_or("?", String::as_str);
            *time.threads.entry(name.to_owned()).or_default() += 1;
        }
    }
    time
}

/// New code takes the place of what was there.
fn place(code: &mut BTreeMap<u64, (u64, Unit)>, new: &Placed) {
    let before = code.range(..new.start).next_back();
    let before = before
        .filter(|(_, (end, _))| *end > new.start)
        .map(|(start, _)| *start);
    let covered = code.range(new.start..new.end).map(|(start, _)| *start);
    let gone: Vec<u64> = before.into_iter().chain(covered).collect();
    for start in gone {
        code.remove(&start);
    }
    code.insert(new.start, (new.end, new.unit));
}

/// Rust's older mangling: `_ZN`, parts with their lengths, the last one a hash, `E`. Other names
/// stay as they are.
pub fn demangle(name: &str) -> String {
    let parts = || {
        let mut rest = name.strip_prefix("_ZN")?;
        let mut parts = Vec::new();
        while !rest.starts_with('E') {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let len: usize = rest[..digits].parse().ok()?;
            parts.push(rest.get(digits..digits + len)?);
            rest = rest.get(digits + len..)?;
        }
        let hash = |part: &&str| part.len() == 17 && part.starts_with('h');
        if parts.last().is_some_and(hash) {
            parts.pop();
        }
        Some(parts.join("::"))
    };
    let plain = parts().filter(|text| !text.is_empty());
    let plain = plain.unwrap_or_else(|| name.to_owned());
    let marks = [
        ("$u5b$", "["),
        ("$u5d$", "]"),
        ("$u7b$", "{"),
        ("$u7d$", "}"),
        ("$C$", ", "),
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$u20$", " "),
        ("$RF$", "&"),
        ("..", "::"),
    ];
    marks
        .iter()
        .fold(plain, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn samples_go_to_the_code_that_was_there_at_the_time() {
        let recorder = testing::recorded();
        let start = recorder.start();
        let late = start + 1_000_000_000_000;
        let at = |pc, time, tid| Sample { pc, time, tid };
        let samples = vec![
            at(0x7001, late, 1),
            at(0x9000, late + 1, 1),
            at(0x9002, late + 2, 1),
            at(0x9003, late + 3, 1),
            at(0x7001, start, 1),
            at(0x1, late, 2),
        ];
        let names = BTreeMap::from([(2, "compiler".to_owned())]);
        let time = attribute(&recorder.kept(), samples, start, &names);
        assert_eq!(time.units[&Unit::Block(0x8000_0020)], 1);
        assert_eq!(time.units[&Unit::Region(0)], 2);
        assert_eq!(time.functions.values().sum::<u64>(), 2);
        assert_eq!(time.threads["compiler"], 1);
        let other: u32 = time.buckets.iter().map(|split| split.other).sum();
        assert_eq!(other, 3);
    }

    #[test]
    fn code_that_is_placed_over_other_code_replaces_it() {
        let mut code = BTreeMap::new();
        let mut add = |start, end, pc| {
            let unit = Unit::Block(pc);
            place(
                &mut code,
                &Placed {
                    time: 0,
                    start,
                    end,
                    unit,
                },
            );
            code.keys().copied().collect::<Vec<u64>>()
        };
        assert_eq!(add(10, 20, 1), [10]);
        assert_eq!(add(20, 30, 2), [10, 20]);
        assert_eq!(add(15, 25, 3), [15]);
        assert_eq!(add(0, 100, 4), [0]);
    }

    #[test]
    fn names_are_demangled() {
        let name = "_ZN8isomorph4main17h0123456789abcdefE";
        assert_eq!(demangle(name), "isomorph::main");
        assert_eq!(demangle("memcpy"), "memcpy");
        assert_eq!(demangle("_ZN99x"), "_ZN99x");
    }
}
