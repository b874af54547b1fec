//! The parts of the page.

use super::html::{bar, escape, millis, percent, share, table};
use super::panes::{self, Pane};
use super::{Contents, Hot, REGIONS_MAX, Unit, heading};
use crate::record::{BlockNote, RegionNote};
use isomorph_engine::Guest;
use isomorph_ir::passes::PASSES;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Rows of the longer tables.
const ROWS: usize = 100;

/// Tier 1, tier 2, isomorph, other threads.
pub fn time<G>(out: &mut String, contents: &Contents<'_, G>) {
    heading(out, "time");
    let time = contents.time;
    let kinds = [
        (
            "Tier 1's code",
            time.of(|unit| matches!(unit, Unit::Block(_))),
            "k1",
        ),
        (
            "Tier 2's code",
            time.of(|unit| matches!(unit, Unit::Region(_))),
            "k2",
        ),
    ];
    let functions: u64 = time.functions.values().sum();
    let mut rows = Vec::new();
    let mut row = |name: &str, count: u64, class: &str| {
        let shown = share(count, time.total);
        let cells = [
            count.to_string(),
            percent(count, time.total),
            bar(shown, class),
        ];
        rows.push([escape(name)].into_iter().chain(cells).collect());
    };
    for (name, count, class) in kinds {
        row(name, count, class);
    }
    row(
        "Translation, helpers, slow paths, system calls",
        functions,
        "k0",
    );
    for (name, count) in &time.threads {
        row(&format!("Thread `{name}`"), *count, "k0");
    }
    table(out, &["Whose time", "#Samples", "#Share", ""], &rows);
    let figures = contents.figures;
    let _ = writeln!(
        out,
        "<p>Threads that compile regions take no signals and so no samples: they used {} of CPU \
         time, {} of the process's.</p>",
        millis(figures.tier2.ns),
        percent(figures.tier2.ns, figures.cpu_ns)
    );
    if functions == 0 {
        return;
    }
    out.push_str("<h3>Functions of isomorph on the guest's threads</h3>\n");
    let mut sorted: Vec<_> = time.functions.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let rows: Vec<Vec<String>> = sorted
        .iter()
        .take(20)
        .map(|(name, count)| {
            let of = percent(**count, time.total);
            vec![
                format!("<code>{}</code>", escape(name)),
                count.to_string(),
                of,
            ]
        })
        .collect();
    table(out, &["Function", "#Samples", "#Share"], &rows);
}

/// All generated code by time.
pub fn hot<G>(out: &mut String, contents: &Contents<'_, G>, hot: &Hot) {
    heading(out, "hot");
    let total = contents.time.total;
    let row = |(unit, count): &(Unit, u64)| {
        let (tier, pc, state, class) = match unit {
            Unit::Block(pc) => ("1", *pc, block_link(hot, *pc), "k1"),
            Unit::Region(number) => {
                let note = contents.kept.regions.get(number);
                let state = format!("<a href=\"#r{number}\">region {number}</a>");
                ("2", note.map_or(0, |note| note.pc), state, "k2")
            }
        };
        vec![
            format!("<code>{}</code>", escape(&contents.symbols.name(pc))),
            format!("<code>{pc:#x}</code>"),
            tier.to_owned(),
            state,
            count.to_string(),
            percent(*count, total),
            bar(share(*count, total), class),
        ]
    };
    let rows: Vec<_> = hot.all.iter().take(ROWS).map(row).collect();
    if rows.is_empty() {
        out.push_str("<p>No sample fell into generated code: the run was too short.</p>\n");
        return;
    }
    let headings = [
        "Guest function",
        "Address",
        "Tier",
        "Code",
        "#Samples",
        "#Share",
        "",
    ];
    table(out, &headings, &rows);
    more(out, hot.all.len(), ROWS);
}

fn block_link(hot: &Hot, pc: u64) -> String {
    match hot.blocks.iter().any(|(shown, _)| *shown == pc) {
        true => format!("<a href=\"#b{pc:x}\">block</a>"),
        false => "block".to_owned(),
    }
}

fn more(out: &mut String, all: usize, shown: usize) {
    if all > shown {
        let _ = writeln!(out, "<p class=\"dim\">and {} more</p>", all - shown);
    }
}

/// Whose time it was over time, and when regions came and went.
pub fn timeline<G>(out: &mut String, contents: &Contents<'_, G>) {
    heading(out, "timeline");
    let buckets = &contents.time.buckets;
    let (width, height) = (10 * buckets.len(), 160.0);
    let _ = write!(
        out,
        "<p>Share of CPU time from start to end.<span class=\"key k1\"></span>tier 1\
         <span class=\"key k2\"></span>tier 2<span class=\"key k0\"></span>the rest; marks \
         below are regions that were installed.</p>\n\
         <svg viewBox=\"0 0 {width} 180\" width=\"{width}\" height=\"180\" role=\"img\" \
         aria-label=\"Share of tiers over time\">"
    );
    for (n, split) in buckets.iter().enumerate() {
        let all = f64::from(split.tier1 + split.tier2 + split.other).max(1.0);
        let mut y = height;
        for (count, class) in [
            (split.tier2, "k2"),
            (split.tier1, "k1"),
            (split.other, "k0"),
        ] {
            let tall = f64::from(count) / all * height;
            y -= tall;
            if count > 0 {
                let x = n * 10;
                let _ = write!(
                    out,
                    "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" width=\"9\" \
                     height=\"{tall:.1}\"/>"
                );
            }
        }
    }
    let span = contents.figures.elapsed_ns.max(1) as f64;
    for placed in contents
        .kept
        .regions
        .values()
        .filter_map(|note| note.placed.as_ref())
    {
        let x = (placed.time as f64 / span).min(1.0) * width as f64;
        let _ = write!(
            out,
            "<rect class=\"k2\" x=\"{x:.1}\" y=\"165\" width=\"1.5\" height=\"12\"/>"
        );
    }
    out.push_str("</svg>\n");
}

/// Every region with its reasons and, the hottest, with its code.
pub fn regions<G: Guest>(out: &mut String, contents: &Contents<'_, G>, hot: &Hot) {
    heading(out, "regions");
    if hot.regions.is_empty() {
        out.push_str("<p>No region was formed.</p>\n");
    }
    for (n, number) in hot.regions.iter().enumerate() {
        let Some(note) = contents.kept.regions.get(number) else {
            continue;
        };
        if n < REGIONS_MAX {
            region(out, contents, *number, note);
        }
    }
    if hot.regions.len() <= REGIONS_MAX {
        return;
    }
    let rest = &hot.regions[REGIONS_MAX..];
    let _ = write!(
        out,
        "<details><summary>{} cooler regions</summary><div>",
        rest.len()
    );
    let row = |number: &u32| {
        let note = contents.kept.regions.get(number)?;
        let name = escape(&contents.symbols.name(note.pc));
        let name = format!("<code>{name}</code>");
        Some(vec![number.to_string(), name, escape(&state(note))])
    };
    let rows: Vec<_> = rest.iter().filter_map(row).take(2000).collect();
    table(out, &["#Region", "Guest function", "State"], &rows);
    out.push_str("</div></details>\n");
}

/// What became of a region, in a few words.
fn state(note: &RegionNote) -> String {
    if let Some(why) = &note.refused {
        format!("stays with tier 1: {why}")
    } else if let Some(why) = note.dropped {
        format!("dropped: {why}")
    } else if note.placed.is_some() {
        "installed".to_owned()
    } else if note.compiled.is_some() {
        "compiled, not installed".to_owned()
    } else {
        "waiting to be compiled".to_owned()
    }
}

fn region<G: Guest>(out: &mut String, contents: &Contents<'_, G>, number: u32, note: &RegionNote) {
    let count = contents.time.units.get(&Unit::Region(number)).copied();
    let _ = writeln!(
        out,
        "<details id=\"r{number}\"><summary>Region {number}: <code>{}</code>, {} – {}</summary>\
         <div>",
        escape(&contents.symbols.name(note.pc)),
        percent(count.unwrap_or(0), contents.time.total),
        escape(&state(note))
    );
    let _ = writeln!(
        out,
        "<p>Formed because of {}: {} blocks were recorded, {} are in it.</p>",
        note.origin,
        note.recorded,
        note.parts.len()
    );
    let rows: Vec<_> = note
        .history
        .iter()
        .map(|event| {
            vec![
                millis(event.time),
                event.kind.to_owned(),
                escape(&event.text),
            ]
        })
        .collect();
    table(out, &["#Time", "Event", ""], &rows);
    stages(out, contents, note);
    out.push_str("</div></details>\n");
}

fn stages<G: Guest>(out: &mut String, contents: &Contents<'_, G>, note: &RegionNote) {
    let part = |part: &'_ _| {
        let isomorph_engine::Part { pc, bytes, visits } = part;
        let heading = format!("{} ({visits} visits)", contents.symbols.name(*pc));
        (*pc, bytes.clone(), heading)
    };
    let parts: Vec<_> = note.parts.iter().map(part).collect();
    let pieces = parts
        .iter()
        .map(|(pc, bytes, heading)| (*pc, bytes.as_slice(), heading.clone()));
    let guest = Pane::guest(contents.guest, pieces);
    let known = guest.instructions();
    let mut all = vec![guest];
    if let Some(done) = &note.compiled {
        all.push(Pane::operations("IR before passes", &done.before));
        all.push(Pane::operations("IR after passes", &done.after));
        all.push(Pane::clif(&done.clif, &known));
    }
    if let Some(placed) = &note.placed {
        all.push(Pane::host(placed.host, &placed.code, &placed.map));
    }
    panes::show(out, &all);
}

/// The hottest blocks of tier 1, and why they are not in a region.
pub fn blocks<G: Guest>(out: &mut String, contents: &Contents<'_, G>, hot: &Hot) {
    heading(out, "blocks");
    if hot.blocks.is_empty() {
        out.push_str("<p>No sample fell into tier 1's code.</p>\n");
    }
    for (pc, n) in &hot.blocks {
        let Some(block) = contents.kept.blocks.get(*n) else {
            continue;
        };
        let count = contents.time.units.get(&Unit::Block(*pc)).copied();
        let _ = write!(
            out,
            "<details id=\"b{pc:x}\"><summary><code>{}</code>, {} – {} instructions</summary>\
             <div>\n<p>{}</p>\n",
            escape(&contents.symbols.name(*pc)),
            percent(count.unwrap_or(0), contents.time.total),
            block.insns,
            escape(&why_tier_1(contents, *pc))
        );
        block_stages(out, contents, block);
        out.push_str("</div></details>\n");
    }
}

fn block_stages<G: Guest>(out: &mut String, contents: &Contents<'_, G>, block: &BlockNote) {
    let heading = contents.symbols.name(block.pc);
    let piece = (block.pc, block.guest.as_slice(), heading);
    let mut all = vec![Pane::guest(contents.guest, [piece])];
    if let Some((plain, folded)) = &block.ir {
        let text = plain.text(contents.table).to_string();
        all.push(Pane::operations("IR of the front end", &text));
        let text = folded.text(contents.table).to_string();
        all.push(Pane::operations("IR as compiled", &text));
    }
    all.push(Pane::host(block.host, &block.code, &block.map));
    panes::show(out, &all);
}

/// Why a block ran in tier 1.
fn why_tier_1<G>(contents: &Contents<'_, G>, pc: u64) -> String {
    if let Some(left) = contents.kept.left.iter().rev().find(|left| left.pc == pc) {
        return format!("It was looked at and left: {}.", left.why);
    }
    let holds = |note: &&RegionNote| note.parts.iter().any(|part| part.pc == pc);
    let held: Vec<String> = contents
        .kept
        .regions
        .iter()
        .filter(|(_, note)| holds(note))
        .map(|(number, note)| format!("region {number} ({})", state(note)))
        .take(5)
        .collect();
    match held.is_empty() {
        true => "It was never part of a recording that became a region.".to_owned(),
        false => format!("It is also in {}; here it ran by itself.", held.join(", ")),
    }
}

/// Code that was looked at and did not become a region, by reason.
pub fn left<G>(out: &mut String, contents: &Contents<'_, G>) {
    heading(out, "left");
    let mut reasons: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for left in &contents.kept.left {
        reasons.entry(&left.why).or_default().push(left.pc);
    }
    if reasons.is_empty() {
        out.push_str("<p>None: whatever was hot became a region.</p>\n");
    }
    for (why, mut pcs) in reasons {
        pcs.sort_unstable();
        pcs.dedup();
        let _ = write!(
            out,
            "<details><summary>{}: {} places</summary><div><p>",
            escape(why),
            pcs.len()
        );
        for pc in pcs.iter().take(500) {
            let name = escape(&contents.symbols.name(*pc));
            let _ = write!(out, "<code>{name}</code> ");
        }
        out.push_str("</p></div></details>\n");
    }
}

/// What each pass did.
pub fn passes<G>(out: &mut String, contents: &Contents<'_, G>) {
    heading(out, "passes");
    let done = || {
        contents
            .kept
            .regions
            .values()
            .filter_map(|note| note.compiled.as_ref())
    };
    let before: usize = done().map(|done| done.ops.0).sum();
    let after: usize = done().map(|done| done.ops.1).sum();
    let _ = writeln!(
        out,
        "<p>{before} operations before the passes, {after} after them.</p>"
    );
    let row = |(pass, (changed, ns)): (&isomorph_ir::passes::Pass, (u64, u64))| {
        vec![pass.name.to_owned(), changed.to_string(), millis(ns)]
    };
    let rows: Vec<_> = PASSES
        .iter()
        .zip(contents.figures.passes)
        .map(row)
        .collect();
    table(out, &["Pass", "#Operations changed", "#Time"], &rows);
}

/// What translation cost, and everything that was counted.
pub fn costs<G>(out: &mut String, contents: &Contents<'_, G>) {
    heading(out, "costs");
    let _ = writeln!(out, "<pre>{}</pre>", escape(&contents.figures.text()));
    out.push_str("<h3>Counts</h3>\n");
    let row = |(name, count): &(String, u64)| vec![escape(name), count.to_string()];
    let rows: Vec<_> = contents.counts.iter().map(row).collect();
    table(out, &["What", "#Count"], &rows);
}
