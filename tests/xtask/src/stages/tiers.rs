//! Stages once more, with everything compiled by tier 2 or with what is a little warm.

use super::{Context, boot, cargo_tests, disk, guest_c, qemu, sysroot, torture};
use crate::error::Result;
use crate::report::Tally;

/// A stage, which of its tests, and what the translator is told in it.
type Row = (
    &'static str,
    fn(&Context) -> Result<Tally>,
    &'static str,
    &'static str,
);

/// What runs again: a part where compiling everything takes long.
const ROWS: &[Row] = &[
    ("guest-c", guest_c::run, "", "tier2=always"),
    ("guest-c", guest_c::run, "", "tier2=16"),
    ("qemu", qemu::run, "", "tier2=64"),
    ("sysroot", sysroot::run, "", "tier2=64"),
    ("torture", torture::run, "2002", "tier2=always"),
    ("torture", torture::run, "", "tier2=64"),
    ("machine", cargo_tests::machine, "", "tier2=always"),
    ("boot", boot::run, "2 CPUs", "tier2=64"),
    ("disk", disk::run, "2 CPUs", "tier2=64"),
];

/// Runs all rows; with `--jit` there is nothing to repeat.
pub fn run(context: &Context) -> Result<Tally> {
    let mut total = Tally::default();
    if context.options.jit.is_some() {
        return Ok(total);
    }
    for (name, stage, filter, setting) in ROWS {
        println!("== tiers: {name} {filter} with {setting}");
        let mut options = context.options.clone();
        if options.filter.is_empty() {
            options.filter = (*filter).to_owned();
        }
        let context = Context {
            options: &options,
            ..context.with_jit(setting)
        };
        total += stage(&context)?;
    }
    Ok(total)
}
