//! Events of regions in words.

use isomorph_engine::{Dropped, Origin, RegionEvent};
use isomorph_ir::passes::PASSES;
use std::fmt::Write;

/// What made code a candidate.
pub fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Loop => "a loop",
        Origin::Function => "a function",
        Origin::Computed => "a target of computed jumps",
        Origin::Always => "everything is compiled",
    }
}

/// Why a region is not entered any more.
pub fn dropped(why: Dropped) -> &'static str {
    match why {
        Dropped::CodeChanged => "guest code changed or went away",
        Dropped::Flushed => "code memory was flushed",
        Dropped::NoGain => "tier 1 was as fast",
    }
}

/// An event on one line.
pub fn event(event: &RegionEvent<'_>) -> String {
    match event {
        RegionEvent::Chosen {
            region,
            pc,
            origin: from,
            recorded,
            parts,
        } => format!(
            "{region} at {pc:#x}: chosen, {}; {recorded} blocks recorded, {} of them in it",
            origin(*from),
            parts.len()
        ),
        RegionEvent::Refused { region, pc, why } => match region {
            Some(region) => format!("{region} at {pc:#x}: stays with tier 1: {why}"),
            None => format!("at {pc:#x}: stays with tier 1: {why}"),
        },
        RegionEvent::Compiled {
            region,
            passes,
            stats,
            queued,
            took,
            ..
        } => {
            let mut text = format!(
                "{region}: compiled: {} blocks, {} instructions, {} operations, {} CLIF, {} bytes \
                 in {} us after {} us of waiting;",
                stats.blocks,
                stats.insns,
                stats.ops,
                stats.clif,
                stats.bytes,
                took.as_micros(),
                queued.as_micros()
            );
            for (pass, changes) in PASSES.iter().zip(passes.changes) {
                let _ = write!(text, " {} {changes}", pass.name);
            }
            text
        }
        RegionEvent::Installed {
            region,
            pc,
            code,
            host,
            ..
        } => format!(
            "{region} at {pc:#x}: installed, {} bytes at {host:#x}",
            code.len()
        ),
        RegionEvent::Dropped { region, pc, why } => {
            format!("{region} at {pc:#x}: dropped: {}", dropped(*why))
        }
    }
}
