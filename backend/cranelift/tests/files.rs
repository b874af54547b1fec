//! The IR text files do the same on the reference interpreter, on tier 1 (block by block) and on
//! tier 2: the regions of `ir/tests/passes`, before the passes and after them, and the blocks of
//! `baseline/tests`. Each runs from many random states in three ways: with memory at its own
//! address, with a TLB that every access misses (any of them may fault), and with one that fills.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;
mod engines;

use engines::{ATOMICS, GUEST, Outcome, Start, Tiers, Way, lockstep};
use isomorph_ir::{GlobalTable, Region, text};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// States that each region starts from.
const STARTS: u64 = 200;

/// A region from a file.
struct Case {
    name: String,
    region: Region,
}

fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "ir"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The text with 0xN0MM, as addresses are there, as 0x1NMM: in one page, since a region of a
/// machine is left for another one.
fn in_one_page(text: &str) -> String {
    let mut words = text.split("0x");
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let digits = word.find(|c: char| !c.is_ascii_hexdigit());
        let (number, rest) = word.split_at(digits.unwrap_or(word.len()));
        let moved = match number.as_bytes() {
            [page @ b'1'..=b'9', b'0', _, _] => format!("1{}{}", *page as char, &number[2..]),
            _ => number.to_owned(),
        };
        out += &format!("0x{moved}{rest}");
    }
    out
}

/// Regions before and after passes.
fn regions() -> Vec<Case> {
    let mut all = Vec::new();
    for (path, text) in files("../../ir/tests/passes") {
        for (when, text) in ["before", "after"].into_iter().zip(text.split("=>\n")) {
            let name = format!("{}, {when}", path.display());
            let text = in_one_page(text);
            let region = Region::parse(&text, &GUEST).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(region.verify(&GUEST), Ok(()), "{name}");
            all.push(Case { name, region });
        }
    }
    all
}

/// Single blocks.
fn blocks() -> Vec<Case> {
    let folders = ["../baseline/tests/code", "../baseline/tests/code_tlb"];
    let case = |(path, text): (PathBuf, String)| {
        let name = path.display().to_string();
        let block = text::parse(&text, &common::TABLE).unwrap_or_else(|e| panic!("{name}: {e}"));
        let region = Region::new(vec![block]);
        Case { name, region }
    };
    folders.into_iter().flat_map(files).map(case).collect()
}

/// Runs a region in one way from many states; the number of runs, and of tier 1's blocks.
fn run(case: &Case, tiers: &mut Tiers) -> (usize, usize) {
    let region = tiers.prepared(&case.region);
    let (mut runs, mut blocks) = (0, 0);
    tiers.compile(&region);
    let starts: Vec<Start> = (0..STARTS).map(|seed| tiers.start(&region, seed)).collect();
    let mut steps = Vec::new();
    for start in starts {
        // A run that does not end soon may not end at all.
        let Some((mut taken, want)) = lockstep(&region, &start, tiers) else {
            continue;
        };
        let have = tiers.region(&start, &want);
        compare(case, 2, region.text(tiers.table()), (&have, &want));
        runs += 1;
        taken.truncate(12);
        steps.extend(taken);
    }
    for step in steps {
        let block = &region.blocks[step.block];
        if let Some(have) = tiers.block(block, &step.start, &step.outcome) {
            compare(case, 1, block.text(tiers.table()), (&have, &step.outcome));
            blocks += 1;
        }
    }
    (runs, blocks)
}

fn compare(case: &Case, tier: u8, text: impl Display, (have, want): (&Outcome, &Outcome)) {
    let name = &case.name;
    let difference = || have.difference(want);
    assert!(
        have == want,
        "{name}, tier {tier}\n{text}\n{}",
        difference()
    );
}

fn has_atomics(region: &Region) -> bool {
    let mut insts = region.blocks.iter().flat_map(|block| &block.insts);
    insts.any(|inst| ATOMICS.contains(&inst.op))
}

/// Runs all in all ways. Some loops end by a fault only: what counts is how often a region ran.
fn run_all(table: &'static GlobalTable, cases: &[Case]) {
    let mut ran = vec![0; cases.len()];
    let mut on_tier_1 = 0;
    for way in [Way::Identity, Way::Misses, Way::Fills] {
        let mut tiers = Tiers::new(table, way);
        for (case, ran) in cases.iter().zip(&mut ran) {
            if way == Way::Identity || !has_atomics(&case.region) {
                let (runs, blocks) = run(case, &mut tiers);
                *ran += runs;
                on_tier_1 += blocks;
            }
        }
    }
    for (case, ran) in cases.iter().zip(ran) {
        assert!(ran >= 50, "{}: only {ran} runs end", case.name);
    }
    let least = cases.len() * 100;
    assert!(on_tier_1 > least, "only {on_tier_1} blocks ran on tier 1");
}

#[test]
fn regions_agree() {
    let cases = regions();
    assert!(cases.len() > 30);
    run_all(&GUEST, &cases);
}

#[test]
fn blocks_agree() {
    let cases = blocks();
    assert!(cases.len() > 15);
    run_all(&common::TABLE, &cases);
}
