//! The command line of `cargo xtask`.

use crate::error::{Error, Result};
use crate::stages::STAGES;

/// Shown by `cargo xtask help`.
pub const HELP: &str = "\
cargo xtask test [options] [stage...]   run the tests, all stages unless some are named
cargo xtask inputs                      only fetch and make the inputs of the tests
cargo xtask boot riscv64 [options]      boot Debian's kernel, or with --disk its whole root
cargo xtask soak [--minutes N] [--jit SETTING]  random programs, Debian's and boots in turns
cargo xtask bench [arguments]           run the benches against QEMU and native code

Options of `test`:
  --emulator 'COMMAND'   run guests under COMMAND instead of `isomorph run`; in the stages `boot`
                         and `disk` it is what `cargo xtask boot` takes
  --binfmt               COMMAND needs binfmt_misc for foreign children (a private one is made)
  --jit SETTING          what the translator is told in all of it: tier2=off, tier2=always, tier2=N
  --filter TEXT          only tests whose name contains TEXT (in stages with a table of tests)

Options of `boot`, whose emulators all answer to the options of `qemu-system-riscv64`:
  --emulator WHICH       isomorph (the release build), qemu, or a program's path
  --disk                 the Debian root: log in, network, apt-get, kill, boot again, check
  --root IMAGE           a root of yours, read only; its /sbin/init is a shell on the console that
                         prints SHELL-MARKER, and after each line it has read and done, [status N]
  --command NAME=LINE    what that shell is told, once or often: CPU time, output and status
  --quick                only to the first marker, or to the login, and off
  --smp N, -m SIZE       CPUs; RAM in MiB or with a G behind it in GiB
  --bios WHICH           builtin, opensbi, uboot (its prompt), none (U-Boot in M-mode)
  --transport WHICH      pci or mmio, for disk and network
  --format WHICH         raw or qcow2, for the disk
  --lab reboot           reboot after the first marker, which ends the emulator
  --twice                reboot after the first marker, and boot again
  --demo-kernel          the kernel of `isomorph demo` instead of Debian's
  --idle SECONDS         measure the idle guest for so long, then stop it
  --interactive          the console is yours
  --runs N, --timeout S  how often; the time limit of a run in seconds
  --json                 figures as one JSON object a run
  -- ARGUMENTS           further arguments for the emulator

Stages: fmt clippy cargo demo page perf guest-c qemu sysroot debian torture crash random
        flow tiers stress fuzz boot disk controls

ISOMORPH_SEED repeats a run of `random` or `flow`; ISOMORPH_PROGRAMS says how many programs
`flow` has (400), ISOMORPH_SECTIONS (0..8) which parts of them, ISOMORPH_BLOCKS (50) their size.
ISOMORPH_RUNS says how often `stress` runs each of its programs (200), ISOMORPH_FUZZ_SECONDS how
long each target of `fuzz` runs (60).
ISOMORPH_PATIENCE (1) is how many times as long every time limit is, for slow or busy machines and
for tier2=always.

The inputs live in target/test-inputs, or where ISOMORPH_TEST_CACHE says.
";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Show [`HELP`].
    Help,
    /// Prepare the inputs.
    Inputs,
    /// Run the tests.
    Test,
    /// Boot a machine.
    Boot,
    /// Run everything in turns for a long time.
    Soak,
    /// Run the benches.
    Bench,
}

/// The parsed command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to do.
    pub task: Task,
    /// The emulator's command line, if it is not isomorph's.
    pub emulator: Option<String>,
    /// The emulator needs binfmt_misc.
    pub binfmt: bool,
    /// What the translator is told in all that is run.
    pub jit: Option<String>,
    /// How long a soak takes.
    pub minutes: Option<u64>,
    /// Only tests whose name contains this.
    pub filter: String,
    /// The stages to run, or the arguments for the benches or for `boot`.
    pub rest: Vec<String>,
}

impl Options {
    /// Parses the words after `cargo xtask`.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let (task, arguments) = match arguments.split_first() {
            None => (Task::Help, arguments),
            Some((command, rest)) => (Self::task(command)?, rest),
        };
        let (emulator, filter) = (None, String::new());
        let mut options = Self {
            task,
            emulator,
            binfmt: false,
            jit: None,
            minutes: None,
            filter,
            rest: Vec::new(),
        };
        if matches!(options.task, Task::Bench | Task::Boot) {
            options.rest = arguments.to_vec();
            return Ok(options);
        }
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .cloned()
                    .ok_or(Error::MissingValue(word.clone()))
            };
            match word.as_str() {
                "--emulator" => options.emulator = Some(value()?),
                "--jit" => options.jit = Some(value()?),
                "--minutes" => {
                    let number = value()?;
                    let minutes = number.parse().map_err(|_| Error::Argument(number))?;
                    options.minutes = Some(minutes);
                }
                "--filter" => options.filter = value()?,
                "--binfmt" => options.binfmt = true,
                stage if STAGES.iter().any(|(name, _)| *name == stage) => {
                    options.rest.push(stage.to_owned());
                }
                _ => return Err(Error::Argument(word.clone())),
            }
        }
        Ok(options)
    }

    fn task(command: &str) -> Result<Task> {
        match command {
            "help" | "--help" | "-h" => Ok(Task::Help),
            "inputs" => Ok(Task::Inputs),
            "test" => Ok(Task::Test),
            "boot" => Ok(Task::Boot),
            "soak" => Ok(Task::Soak),
            "bench" => Ok(Task::Bench),
            _ => Err(Error::Argument(command.to_owned())),
        }
    }

    /// Whether the user asked for this test.
    pub fn wants(&self, test: &str) -> bool {
        test.contains(&self.filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn stages_and_options() {
        let options = parse("test --binfmt --filter xz debian torture").expect("valid");
        assert_eq!(options.task, Task::Test);
        assert!(options.binfmt && options.wants("roundtrip-xz") && !options.wants("tar"));
        assert_eq!(options.rest, ["debian", "torture"]);
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(matches!(
            parse("test no-such-stage"),
            Err(Error::Argument(_))
        ));
        assert!(matches!(
            parse("test --emulator"),
            Err(Error::MissingValue(_))
        ));
        assert!(matches!(parse("prove"), Err(Error::Argument(_))));
    }

    #[test]
    fn the_help_names_every_stage() {
        for (name, _) in STAGES {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
