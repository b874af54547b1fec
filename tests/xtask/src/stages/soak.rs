//! The soak: random programs, Debian's programs and boots in turns, under changing settings of the
//! translator, until the time is over or something differs.

use std::time::{Duration, Instant};

use super::boot::{boot_once, options as boot_options};
use super::flow::{Runner, size};
use super::{Context, context, debian, no_core_files, random};
use crate::boot::{MARKER, Promise};
use crate::cases::Case;
use crate::error::Result;
use crate::options::Options;
use crate::paths::Paths;
use crate::pool;
use crate::report::Verdict;

/// Minutes, unless the command line says.
const MINUTES: u64 = 30;

/// What the translator is told, one after the other; `--jit` takes their place.
const SETTINGS: &[&str] = &["tier2=64", ALWAYS, "tier2=16", "tier2=auto"];
/// It makes short programs take a hundred times as long.
const ALWAYS: &str = "tier2=always";

/// How much of each kind makes a turn.
const PROGRAMS: u64 = 40;
const CASES: usize = 12;
const CASES_ALWAYS: usize = 1;

/// Boots, one in each turn.
const BOOTS: &[&str] = &[
    "--quick",
    "--quick --smp 2",
    "--quick --bios opensbi",
    "--quick --smp 4",
];

/// What ran so far.
#[derive(Debug, Default)]
struct Counts {
    turns: usize,
    programs: u64,
    blocks: usize,
    cases: usize,
    boots: usize,
}

/// What differs, and the command that shows it again.
struct Failure {
    what: String,
    repeat: String,
}

/// Runs turns; `false` if something differs.
pub fn run(paths: &Paths, options: &Options) -> Result<bool> {
    no_core_files()?;
    let context = context(paths, options, true, true, false)?;
    let end = Instant::now() + Duration::from_secs(60 * options.minutes.unwrap_or(MINUTES));
    let settings = match options.jit.as_deref() {
        Some(setting) => vec![setting],
        None => SETTINGS.to_vec(),
    };
    let runner = Runner::new(&context)?;
    let cases = debian::table(&context)?;
    let mut seed = random::seed();
    let mut counts = Counts::default();
    let failure = loop {
        let setting = settings[counts.turns % settings.len()];
        let failed = turn(&context, setting, &runner, seed, &cases, &mut counts)?;
        seed += PROGRAMS;
        counts.turns += 1;
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        let Counts {
            turns,
            programs,
            blocks,
            cases,
            boots,
        } = &counts;
        println!(
            "{turns} turns, last with {setting}: {programs} programs ({blocks} blocks), \
             {cases} cases, {boots} boots; {left} s left"
        );
        if failed.is_some() || left == 0 {
            break failed;
        }
    };
    if let Some(Failure { what, repeat }) = &failure {
        println!("FAIL {what}\nrepeat: {repeat}");
    }
    Ok(failure.is_none())
}

/// Some of everything.
fn turn(
    context: &Context,
    setting: &str,
    runner: &Runner,
    seed: u64,
    cases: &[Case],
    counts: &mut Counts,
) -> Result<Option<Failure>> {
    let context = &context.with_jit(setting);
    let seeds: Vec<u64> = (seed..seed + PROGRAMS).collect();
    for result in pool::map(&seeds, |seed| runner.judge(*seed, &size())) {
        let (blocks, verdict) = result?;
        counts.programs += 1;
        counts.blocks += blocks;
        if let Verdict::Fail(what) = verdict {
            let repeat = "above".to_owned();
            return Ok(Some(Failure { what, repeat }));
        }
    }
    let first = counts.cases;
    let many = if setting == ALWAYS {
        CASES_ALWAYS
    } else {
        CASES
    };
    let some: Vec<Case> = (first..first + many.min(cases.len()))
        .map(|n| cases[n % cases.len()].clone())
        .collect();
    let verdicts = debian::run_all(context, &some, &context.emulator)?;
    for (case, verdict) in some.iter().zip(verdicts) {
        counts.cases += 1;
        if let Verdict::Fail(why) = verdict? {
            let name = &case.name;
            return Ok(Some(Failure {
                what: format!("debian/{name}: {why}"),
                repeat: format!("cargo xtask test debian --filter {name} --jit {setting}"),
            }));
        }
    }
    let words = BOOTS[counts.turns % BOOTS.len()];
    counts.boots += 1;
    let promise = Promise {
        marker: MARKER,
        works: &[],
    };
    let boot = boot_once(context, &boot_options(words)?, context.files()?, promise);
    Ok(boot.err().map(|failure| Failure {
        what: format!("boot {words}: {failure}"),
        repeat: format!("ISOMORPH_JIT={setting} cargo xtask boot riscv64 {words}"),
    }))
}
