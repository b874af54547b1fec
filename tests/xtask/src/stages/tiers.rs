//! Stages of user mode once more, with everything compiled by tier 2 or with what is a little warm.

use super::{Context, guest_c, qemu, random, sysroot, torture};
use crate::error::Result;
use crate::report::Tally;

/// A stage, and what the translator is told in it.
type Row = (&'static str, fn(&Context) -> Result<Tally>, &'static str);

/// What runs again.
const ROWS: &[Row] = &[
    ("guest-c", guest_c::run, "tier2=always"),
    ("guest-c", guest_c::run, "tier2=16"),
    ("qemu", qemu::run, "tier2=64"),
    ("sysroot", sysroot::run, "tier2=64"),
    ("torture", torture::run, "tier2=always"),
    ("random", random::run, "tier2=always"),
];

/// Runs all rows; with `--jit` there is nothing to repeat.
pub fn run(context: &Context) -> Result<Tally> {
    let mut total = Tally::default();
    if context.options.jit.is_some() {
        return Ok(total);
    }
    for (name, stage, setting) in ROWS {
        println!("== tiers: {name} with {setting}");
        total += stage(&context.with_jit(setting))?;
    }
    Ok(total)
}
