//! Random blocks on tier 1 and on the reference interpreter agree: state, memory, flags, exit.

mod common;

use common::rounds::run_rounds;

fn tier1(rounds: u64, kinds: usize, paged: bool) {
    run_rounds(rounds, kinds, paged, |m, block| {
        m.load(block).map(|()| true)
    });
}

#[test]
fn integer_blocks_agree() {
    tier1(20_000, 10, false);
}

#[test]
fn all_blocks_agree() {
    tier1(20_000, 20, false);
}

#[test]
fn blocks_with_a_tlb_agree() {
    tier1(20_000, 10, true);
    tier1(10_000, 20, true);
}
