//! Random control-flow programs are what they promise to be: the same from the same seed, and at
//! an end after a bounded time. `cargo xtask test flow` compares emulators with them.

use isomorph_tests::flow::{Ending, Flow, SECTION_BYTES, Size, compare, run};

/// More blocks than any program runs.
const MOST_BLOCKS: u64 = 20_000_000;

fn small() -> Size {
    Size {
        sections: 0..3,
        blocks: 30,
    }
}

fn ends(flow: &Flow, seed: u64, size: &Size) -> Ending {
    let ending = run(&flow.program(seed, size).file, MOST_BLOCKS);
    let (status, blocks) = (ending.status, ending.blocks);
    assert_eq!(status, Some(0), "seed {seed}: {blocks} blocks");
    ending
}

#[test]
fn every_program_ends() {
    let flow = Flow::new(true);
    let mut insns = 0;
    for seed in 0..8 {
        let program = flow.program(seed, &small());
        let ending = ends(&flow, seed, &small());
        assert_eq!(ending.output.len(), program.rounds * 3 * SECTION_BYTES);
        insns += ending.insns;
    }
    println!("{insns} instructions");
}

#[test]
fn the_same_seed_makes_the_same_program() {
    let programs = || {
        let flow = Flow::new(true);
        (0..200).map(move |seed| flow.program(seed, &Size::default()))
    };
    let mut blocks = 0;
    for (one, other) in programs().zip(programs()) {
        assert_eq!(one, other);
        blocks += one.blocks;
    }
    assert!(blocks > 200 * 200, "{blocks} blocks");
    assert_ne!(programs().next(), programs().nth(1));
}

/// What makes it possible to find the section that differs, and to look at it alone.
#[test]
fn a_section_alone_does_the_same() {
    let (flow, all) = (Flow::new(true), small());
    for seed in 20..24 {
        let together = ends(&flow, seed, &all).output;
        for section in all.sections.clone() {
            let size = Size {
                sections: section..section + 1,
                ..all.clone()
            };
            let alone = ends(&flow, seed, &size).output;
            let at = section as usize * SECTION_BYTES;
            let (got, want) = (&alone[..SECTION_BYTES], &together[at..at + SECTION_BYTES]);
            // Addresses differ; what does not depend on them is data that no one computed with.
            let same = got.iter().zip(want).filter(|(a, b)| a == b).count();
            assert!(
                same * 10 > SECTION_BYTES * 8,
                "seed {seed}: {:?}",
                compare(got, want)
            );
        }
    }
}
