//! The harness's own options.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Programs in user mode.
    Programs,
    /// Machines that boot.
    Machines,
    /// Programs inside a Debian root in a machine.
    Debian,
    /// Programs, with each pass of tier 2 switched off in turn.
    Passes,
}

/// The tasks by their names.
const TASKS: [(&str, Task); 4] = [
    ("programs", Task::Programs),
    ("boot", Task::Machines),
    ("debian", Task::Debian),
    ("passes", Task::Passes),
];

/// What to run and where to put the results.
#[derive(Debug)]
pub struct Options {
    /// What is measured.
    pub task: Task,
    /// Only these groups; all when empty.
    pub groups: Vec<String>,
    /// Only these workloads; all when empty.
    pub workloads: Vec<String>,
    /// Runs of each workload under each subject; medians are taken over them.
    pub runs: usize,
    /// A small part of the work, once: to see that everything works.
    pub quick: bool,
    /// The emulator under test.
    pub emulator: Option<PathBuf>,
    /// What the emulator under test is told with `--jit`.
    pub jit: Option<String>,
    /// Measure the emulator under test without tier 2, too.
    pub tiers: bool,
    /// Further QEMUs to compare with, beside those installed and fetched: those given, and the one
    /// among the inputs of the tests.
    pub qemus: Vec<PathBuf>,
    /// Fetch newer QEMUs from Debian's packages.
    pub fetch: bool,
    /// Unpacked Debian trees: the riscv64 one and the amd64 one.
    pub roots: Option<(PathBuf, PathBuf)>,
    /// The folder for results.
    pub out: PathBuf,
    /// The repository's folder.
    pub repository: PathBuf,
    /// Print the workloads and end.
    pub list: bool,
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn many(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("NAME")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .help(help)
}

fn command() -> Command {
    Command::new("isomorph-bench")
        .about("Native, QEMU and isomorph side by side: CPU time, medians, ratios")
        .arg(
            Arg::new("suite")
                .value_parser(TASKS.map(|(name, _)| name))
                .default_value("programs")
                .help(
                    "Programs in user mode, machines that boot, programs inside a Debian root in \
                     a machine, or programs with each pass of tier 2 switched off in turn",
                ),
        )
        .arg(many("group", "Only the workloads of this group"))
        .arg(many("workload", "Only this workload"))
        .arg(
            Arg::new("runs")
                .long("runs")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..))
                .help("Runs of each workload [default: 3, with --quick 1]"),
        )
        .arg(flag("quick", "A fifth of the work, once"))
        .arg(flag("list", "Print the workloads and end"))
        .arg(flag("no-fetch", "Use only the QEMUs installed or given"))
        .arg(
            Arg::new("jit")
                .long("jit")
                .value_name("SETTING")
                .help("What isomorph is told with --jit, such as tier2=1000,without=hoist"),
        )
        .arg(flag("no-tiers", "No column for tier 1 alone"))
        .arg(path(
            "emulator",
            "The emulator under test [default: isomorph of the same build]",
        ))
        .arg(path("qemu", "A further QEMU to compare with").action(ArgAction::Append))
        .arg(path(
            "riscv64-root",
            "Debian's riscv64 tree [default: target/test-inputs/riscv64-root]",
        ))
        .arg(path(
            "amd64-root",
            "Debian's amd64 tree [default: target/test-inputs/amd64-root]",
        ))
        .arg(path(
            "out",
            "Folder for the results [default: target/bench/results]",
        ))
        .arg(path("repository", "The repository's folder").default_value("."))
}

/// Reads the command line.
pub fn parse() -> Result<Options, clap::Error> {
    Ok(options(&command().try_get_matches()?))
}

fn options(matches: &ArgMatches) -> Options {
    let texts = |name| {
        matches
            .get_many::<String>(name)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    };
    let one = |name| matches.get_one::<PathBuf>(name).cloned();
    let repository = one("repository").unwrap_or_else(|| PathBuf::from("."));
    let quick = matches.get_flag("quick");
    let default_runs = if quick { 1 } else { 3 };
    let inputs = std::env::var_os("ISOMORPH_TEST_CACHE")
        .map_or_else(|| repository.join("target/test-inputs"), PathBuf::from);
    let riscv64 = one("riscv64-root").unwrap_or_else(|| inputs.join("riscv64-root"));
    let amd64 = one("amd64-root").unwrap_or_else(|| inputs.join("amd64-root"));
    let prepared = Some(inputs.join("qemu/usr/bin/qemu-riscv64")).filter(|path| path.is_file());
    let given = matches
        .get_many::<PathBuf>("qemu")
        .into_iter()
        .flatten()
        .cloned();
    let suite = matches.get_one::<String>("suite");
    let task = TASKS
        .iter()
        .find(|(name, _)| suite.is_some_and(|suite| suite == name));
    let task = task.map_or(Task::Programs, |(_, task)| *task);
    Options {
        task,
        groups: texts("group"),
        workloads: texts("workload"),
        runs: matches
            .get_one::<u16>("runs")
            .map_or(default_runs, |&runs| usize::from(runs)),
        quick,
        emulator: one("emulator").or_else(emulator_beside_this),
        qemus: given
            .chain(prepared.filter(|_| matches!(task, Task::Programs | Task::Passes)))
            .collect(),
        jit: matches.get_one::<String>("jit").cloned(),
        tiers: !matches.get_flag("no-tiers"),
        fetch: !matches.get_flag("no-fetch"),
        roots: (riscv64.is_dir() && amd64.is_dir()).then_some((riscv64, amd64)),
        out: one("out").unwrap_or_else(|| repository.join("target/bench/results")),
        repository,
        list: matches.get_flag("list"),
    }
}

fn emulator_beside_this() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("isomorph");
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_listed_or_repeated() {
        let arguments = [
            "bench",
            "--group",
            "calls,memory",
            "--group",
            "threads",
            "--quick",
        ];
        let options = options(&command().try_get_matches_from(arguments).unwrap());
        assert_eq!(options.groups, ["calls", "memory", "threads"]);
        assert_eq!(options.runs, 1);
    }

    #[test]
    fn zero_runs_are_refused() {
        assert!(
            command()
                .try_get_matches_from(["bench", "--runs", "0"])
                .is_err()
        );
    }
}
