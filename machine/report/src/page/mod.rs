//! The page of `isomorph explain`: one HTML file that fetches nothing.
//!
//! Everything can be read without a script; the script joins lines that are of the same guest
//! instruction, by mouse and by keyboard.

mod attribute;
mod html;
mod panes;
mod sections;

pub use attribute::{Time, Unit, attribute};

use crate::figures::Figures;
use crate::record::Kept;
use crate::symbols::Symbols;
use html::{escape, millis};
use isomorph_engine::Guest;
use isomorph_ir::GlobalTable;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Regions that are shown with all their stages.
const REGIONS_MAX: usize = 50;
/// Blocks of tier 1 that are shown so.
const BLOCKS_MAX: usize = 40;

/// What a page is made of.
pub struct Contents<'a, G> {
    /// Its title: what was run.
    pub title: &'a str,
    /// The guest, for its disassembly.
    pub guest: &'a G,
    /// What was kept.
    pub kept: &'a Kept,
    /// The guest's registers.
    pub table: &'static GlobalTable,
    /// Whose time samples were.
    pub time: &'a Time,
    /// Samples that found no room.
    pub lost: u64,
    /// Names of guest code.
    pub symbols: &'a Symbols,
    /// Throughput and reasons.
    pub figures: &'a Figures,
    /// Other counts, by name.
    pub counts: &'a [(String, u64)],
}

/// The page.
pub fn page<G: Guest>(contents: &Contents<'_, G>) -> String {
    let title = escape(contents.title);
    let mut out = String::new();
    let style = include_str!("style.css");
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} – isomorph explain</title>\n<style>\n{style}</style></head><body>\n"
    );
    header(&mut out, contents, &title);
    let hot = Hot::of(contents);
    sections::time(&mut out, contents);
    sections::hot(&mut out, contents, &hot);
    sections::timeline(&mut out, contents);
    sections::regions(&mut out, contents, &hot);
    sections::blocks(&mut out, contents, &hot);
    sections::left(&mut out, contents);
    sections::passes(&mut out, contents);
    sections::costs(&mut out, contents);
    let script = include_str!("script.js");
    let _ = write!(out, "<script>\n{script}</script>\n</body></html>\n");
    out
}

/// The parts of the page: their anchors and names.
const PARTS: [(&str, &str); 8] = [
    ("time", "Where the time went"),
    ("hot", "Hot code"),
    ("timeline", "Timeline"),
    ("regions", "Regions"),
    ("blocks", "Hot blocks of tier 1"),
    ("left", "Code that was left"),
    ("passes", "Passes"),
    ("costs", "Costs"),
];

fn header<G>(out: &mut String, contents: &Contents<'_, G>, title: &str) {
    let figures = contents.figures;
    let (cpu, elapsed) = (millis(figures.cpu_ns), millis(figures.elapsed_ns));
    let _ = write!(
        out,
        "<header><h1>{title}</h1><p class=\"dim\">{cpu} of CPU time in {elapsed}; {} samples of \
         CPU time{}. Lines of a region that are of one guest instruction are joined: point at \
         one, click, or move with the arrow keys in a pane; Escape lets go.</p>\n<nav>",
        contents.time.total,
        match contents.lost {
            0 => String::new(),
            lost => format!(", {lost} more found no room"),
        }
    );
    for (anchor, name) in PARTS {
        let _ = write!(out, "<a href=\"#{anchor}\">{name}</a>");
    }
    out.push_str("</nav></header>\n");
}

/// The beginning of a part.
fn heading(out: &mut String, anchor: &str) {
    let part = PARTS.iter().find(|(name, _)| *name == anchor);
    let name = part.map_or(anchor, |(_, name)| name);
    let _ = writeln!(out, "<h2 id=\"{anchor}\">{name}</h2>");
}

/// Generated code in the order of its time.
struct Hot {
    all: Vec<(Unit, u64)>,
    /// Numbers of regions, the hottest first; those without samples behind them.
    regions: Vec<u32>,
    /// Guest addresses of blocks, the hottest first, and which note shows each best.
    blocks: Vec<(u64, usize)>,
}

impl Hot {
    fn of<G>(contents: &Contents<'_, G>) -> Self {
        let mut all: Vec<_> = contents
            .time
            .units
            .iter()
            .map(|(unit, n)| (*unit, *n))
            .collect();
        all.sort_by_key(|(unit, count)| (std::cmp::Reverse(*count), *unit));
        let count = |number: &u32| contents.time.units.get(&Unit::Region(*number)).copied();
        let mut regions: Vec<u32> = contents.kept.regions.keys().copied().collect();
        regions.sort_by_key(|number| (std::cmp::Reverse(count(number).unwrap_or(0)), *number));
        let mut newest = BTreeMap::new();
        for (n, block) in contents.kept.blocks.iter().enumerate() {
            newest.insert(block.pc, n);
        }
        let block = |(unit, _): &(Unit, u64)| match unit {
            Unit::Block(pc) => Some((*pc, *newest.get(pc)?)),
            Unit::Region(_) => None,
        };
        let blocks = all.iter().filter_map(block).take(BLOCKS_MAX).collect();
        Self {
            all,
            regions,
            blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Table, testing};
    use isomorph_engine::Snapshot;
    use isomorph_probe::Sample;

    /// The page of the small recorded run.
    pub fn sample_page() -> String {
        let recorder = testing::recorded();
        let start = recorder.start();
        let sample = |pc, time| Sample {
            pc,
            time: start + time,
            tid: 1,
        };
        let samples = vec![sample(0x7001, 1 << 40), sample(0x9000, 1 << 41)];
        let kept = recorder.kept();
        let time = attribute(&kept, samples, start, &BTreeMap::new());
        let table = Table::of_map("80000000 T _start\n80000020 t <loop>\n").unwrap();
        let figures = Figures::of(&kept, &Snapshot::default(), 1, 1);
        page(&Contents {
            title: "a <program>",
            guest: &testing::guest(),
            kept: &kept,
            table: recorder.table(),
            time: &time,
            lost: 3,
            symbols: &Symbols::of_tables(vec![table]),
            figures: &figures,
            counts: &[("tlb_misses".into(), 9)],
        })
    }

    #[test]
    fn the_page_is_whole_and_fetches_nothing() {
        let text = sample_page();
        for part in PARTS {
            assert!(
                text.contains(&format!("<h2 id=\"{}\">", part.0)),
                "{}",
                part.0
            );
        }
        for word in ["http:", "https:", "src=", "<link", "@import", "url("] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(text.contains("a &lt;program&gt;") && text.contains("&lt;loop&gt;"));
        assert!(text.contains("vectors &lt;have&gt; no code"));
        assert!(text.contains("3 more found no room"));
        for tag in [
            "details", "div", "section", "table", "pre", "span", "p", "tr", "td",
        ] {
            let (open, attributes) = (format!("<{tag}>"), format!("<{tag} "));
            let opened = text.matches(&open).count() + text.matches(&attributes).count();
            let closed = text.matches(&format!("</{tag}>")).count();
            assert_eq!(opened, closed, "{tag}");
        }
    }

    #[test]
    fn all_stages_of_a_region_are_side_by_side() {
        let text = sample_page();
        let region = text.split("<details id=\"r0\"").nth(1).unwrap();
        let region = region.split("</details>").next().unwrap();
        for title in [
            "Guest code",
            "IR before passes",
            "IR after passes",
            "CLIF",
            "Host code",
        ] {
            assert!(
                region.contains(&format!("aria-label=\"{title}\"")),
                "{title}"
            );
        }
        assert!(region.contains("chosen, a loop") && region.contains("guest code changed"));
        assert!(region.matches("data-g=\"80000020\"").count() >= 4);
    }
}
