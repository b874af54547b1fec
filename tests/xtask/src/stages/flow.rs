//! Random programs of loops, calls and odd jumps, of faults, signals and code that changes: every
//! setting of the translator does what QEMU does.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use isomorph_tests::flow::{Flow, Program, Size, compare};

use super::random::{seed, setting};
use super::{Context, scratch};
use crate::emulator::Emulator;
use crate::error::Result;
use crate::inputs;
use crate::pool;
use crate::process::{self, Outcome};
use crate::report::{Stage, Tally, Verdict};

/// How many programs.
const PROGRAMS: u64 = 400;

/// Ends hangs only.
const LIMIT: Duration = Duration::from_secs(30);

/// Every so many programs one runs on the interpreter too, for so many blocks at most.
const INTERPRETED: u64 = 8;
const INTERPRETED_BLOCKS: u64 = 100_000_000;
/// What stands for a setting there.
const INTERPRETER: &str = "interpreter";

/// What the translator is told, one run for each; `--jit` takes their place.
const SETTINGS: &[&str] = &["tier2=off", "tier2=16", "tier2=always"];

/// Debian's QEMU 10.0 miscompiles some blocks; alone, an instruction is right.
const REFERENCE_OPTIONS: &[&str] = &["-cpu", "max", "-one-insn-per-tb"];

/// A difference: between which emulators, in which section, and what differs.
#[derive(Debug)]
pub struct Difference {
    setting: String,
    section: u64,
    what: String,
}

/// Runs programs under the emulator with all settings and under QEMU.
pub struct Runner {
    flow: Flow,
    emulators: Vec<Emulator>,
    reference: Emulator,
    folder: PathBuf,
    /// Leave the programs in the folder.
    keep: bool,
}

/// Runs the programs of a seed: `ISOMORPH_SEED`, or a new one.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("flow");
    let runner = Runner::new(context)?;
    let (seed, size) = (seed(), size());
    let programs = setting("ISOMORPH_PROGRAMS").unwrap_or(PROGRAMS);
    stage.note(&repeat(seed, programs, &size, context));
    let seeds: Vec<u64> = (seed..seed + programs).collect();
    let mut blocks = 0;
    for (seed, result) in seeds
        .iter()
        .zip(pool::map(&seeds, |seed| runner.judge(*seed, &size)))
    {
        let (count, verdict) = result?;
        blocks += count;
        stage.record(&format!("program {seed}"), &verdict);
    }
    stage.note(&format!("{blocks} blocks"));
    Ok(stage.end())
}

/// The programs' size, as the environment says.
pub fn size() -> Size {
    let usual = Size::default();
    let range = |text: String| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    let sections: Option<Range<u64>> = std::env::var("ISOMORPH_SECTIONS").ok().and_then(range);
    let blocks = setting("ISOMORPH_BLOCKS").map(|blocks| blocks as usize);
    Size {
        sections: sections.unwrap_or(usual.sections),
        blocks: blocks.unwrap_or(usual.blocks),
    }
}

/// The command that runs the same again.
fn repeat(seed: u64, programs: u64, size: &Size, context: &Context) -> String {
    let Size { sections, blocks } = size;
    let jit = context.options.jit.as_ref();
    let jit = jit.map_or(String::new(), |setting| format!(" --jit {setting}"));
    format!(
        "ISOMORPH_SEED={seed} ISOMORPH_PROGRAMS={programs} ISOMORPH_SECTIONS={}..{} \
         ISOMORPH_BLOCKS={blocks} cargo xtask test flow{jit}",
        sections.start, sections.end
    )
}

impl Runner {
    /// One for the emulator under test, with one setting if the command line has one.
    pub fn new(context: &Context) -> Result<Self> {
        let given = context.options.jit.as_deref();
        let settings = given.map_or(SETTINGS.to_vec(), |setting| vec![setting]);
        let emulator = |setting: &&str| context.emulator.clone().with_jit(Some(setting));
        Ok(Self {
            flow: Flow::new(true),
            emulators: settings.iter().map(emulator).collect(),
            reference: context.reference.clone(),
            folder: scratch(context.paths, "flow")?,
            keep: setting("ISOMORPH_KEEP").is_some(),
        })
    }

    /// Runs the program of a seed; its blocks, and what differs in the smallest program that
    /// could be made of it.
    pub fn judge(&self, seed: u64, size: &Size) -> Result<(usize, Verdict)> {
        let program = self.flow.program(seed, size);
        let blocks = program.blocks;
        let Some(found) = self.difference(seed, size, &program)? else {
            return Ok((blocks, Verdict::Pass));
        };
        let (size, found) = self.smaller(seed, size.clone(), found)?;
        let path = self.folder.join(format!("failed-{seed}"));
        inputs::write_program(&path, &self.flow.program(seed, &size).file)?;
        let Difference {
            setting,
            section,
            what,
        } = found;
        let Size {
            sections,
            blocks: small,
        } = size;
        Ok((
            blocks,
            Verdict::Fail(format!(
                "{setting}, section {section}:\n{what}\nrepeat: ISOMORPH_SEED={seed} \
                 ISOMORPH_PROGRAMS=1 ISOMORPH_SECTIONS={}..{} ISOMORPH_BLOCKS={small} \
                 cargo xtask test flow --jit {setting}\nprogram: {}",
                sections.start,
                sections.end,
                path.display()
            )),
        ))
    }

    /// The first setting under which a program does not do what QEMU does.
    fn difference(&self, seed: u64, size: &Size, program: &Program) -> Result<Option<Difference>> {
        let path = self.folder.join(seed.to_string());
        inputs::write_program(&path, &program.file)?;
        let mut reference = self.reference.command_with(REFERENCE_OPTIONS, &path);
        let want = self.run(&mut reference)?;
        let sections = size.sections.end - size.sections.start;
        let told = |setting: &str, (section, what): (usize, String)| Difference {
            setting: setting.to_owned(),
            section: size.sections.start + section as u64 % sections,
            what,
        };
        let mut found = None;
        for emulator in &self.emulators {
            let got = self.run(&mut emulator.command(&path))?;
            let setting = emulator.jit.as_deref().unwrap_or_default();
            found = differ(&got, &want).map(|difference| told(setting, difference));
            if found.is_some() {
                break;
            }
        }
        if found.is_none() && seed.is_multiple_of(INTERPRETED) {
            let ending = isomorph_tests::flow::run(&program.file, INTERPRETED_BLOCKS);
            found = compare(&ending.output, &want.stdout).map(|what| told(INTERPRETER, what));
        }
        if !self.keep {
            inputs::remove(&path)?;
        }
        Ok(found)
    }

    fn run(&self, command: &mut Command) -> Result<Outcome> {
        process::run(command.current_dir(&self.folder), &[], LIMIT)
    }

    /// The section that differs alone, and then with fewer blocks, as long as it differs.
    fn smaller(
        &self,
        seed: u64,
        mut size: Size,
        mut found: Difference,
    ) -> Result<(Size, Difference)> {
        let alone = found.section..found.section + 1;
        let mut tries = vec![Size {
            sections: alone.clone(),
            ..size.clone()
        }];
        let halves = std::iter::successors(Some(size.blocks / 2), |blocks| Some(blocks / 2));
        for blocks in halves.take_while(|blocks| *blocks > 0) {
            tries.push(Size {
                sections: alone.clone(),
                blocks,
            });
        }
        for smaller in tries {
            let program = self.flow.program(seed, &smaller);
            if let Some(difference) = self.difference(seed, &smaller, &program)? {
                (size, found) = (smaller, difference);
            }
        }
        Ok((size, found))
    }
}

/// In what two runs differ: the section, and the difference in words.
fn differ(got: &Outcome, want: &Outcome) -> Option<(usize, String)> {
    let ends = |outcome: &Outcome| (outcome.timed_out, outcome.shell_status());
    let (section, what) = match compare(&got.stdout, &want.stdout) {
        Some(found) => found,
        None if ends(got) == ends(want) => return None,
        None => (0, String::new()),
    };
    let (got_end, want_end) = (got.describe(), want.describe());
    let tail = got.stderr_tail(5);
    Some((
        section,
        format!("{what}\n{got_end}; QEMU: {want_end}\n{tail}"),
    ))
}
