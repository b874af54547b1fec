//! Programs inside a Debian root in the machine: where hot guest code meets page tables.
//!
//! The machine boots Debian's kernel and a root made of the tests' riscv64 tree; `cargo xtask
//! boot --root` runs the programs one after the other and reads the emulator's CPU time around
//! each. A program's time counts only if its output and status are those of the native run.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde::Serialize;
use serde_json::Value;

use crate::cli::Options;
use crate::compile::{Built, Workshop};
use crate::error::{Error, Failure, NotRun};
use crate::figures::{self, Cell, Row, SubjectFigures, geometric_mean};
use crate::machine::Machine;
use crate::measure::{self, End, Run};
use crate::subjects::{Kind, Prepared, Roots, Subject};
use crate::workloads::{Group, Program, Source, WORKLOADS, Workload};
use crate::{boots, machines, programs, report as progress, suite};

mod image;
mod report;

/// The promised ceiling of each program: CPU time as a share of the fastest QEMU's.
pub const PROMISE: f64 = 0.40;

/// Workloads of this suite alone.
const OWN: [Workload; 1] = [Workload {
    name: "python_loop",
    group: Group::Interpreters,
    source: Source::Debian(&programs::PYTHON_LOOP),
    repeat: 1,
}];

/// What runs in the machine: a workload's name, then for one in C its size, otherwise how often it
/// runs in a row, in a full run and with `--quick`. Sizes take QEMU about a second.
const AMOUNTS: [(&str, u32, u32); 27] = [
    ("kernel_mix", 12_000, 2_400),
    ("sieve", 240, 48),
    ("sort", 84, 16),
    ("crc32", 2_000, 400),
    ("sha256", 200_000, 40_000),
    ("copy_loops", 3_000, 600),
    ("matrix_int", 400, 80),
    ("queens", 14, 12),
    ("bignum", 100_000, 20_000),
    ("divide", 1_800_000, 360_000),
    ("bitops", 12_000_000, 2_400_000),
    ("fib", 37, 34),
    ("tak", 300, 60),
    ("function_pointers", 10_000_000, 2_000_000),
    ("bytecode_threaded", 3_600_000, 720_000),
    ("bytecode_switch", 3_600_000, 720_000),
    ("tree", 800, 160),
    ("deep", 3_000, 600),
    ("callbacks", 72, 14),
    ("stream", 120, 24),
    ("chase", 2_400_000, 480_000),
    ("strings", 1_200_000, 240_000),
    ("python_start", 2, 1),
    ("python_loop", 1, 1),
    ("python", 1, 1),
    ("perl", 1, 1),
    ("lua", 1, 1),
];

/// Everything that the runs found out.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Who: labels and versions, native first, the emulator under test last.
    pub subjects: Vec<SubjectFigures>,
    /// Runs of each program.
    pub runs: usize,
    /// Whether only a small part of the work was done.
    pub quick: bool,
    /// One row a program.
    pub rows: Vec<Row>,
    /// The promised ceiling of each row's `to_qemu`.
    pub promise: f64,
    /// Geometric means over all rows.
    pub mean: Mean,
}

/// Geometric means over all programs, as in [`Row`]; none when a program has no such figure.
#[derive(Debug, Default, Serialize)]
pub struct Mean {
    /// Over the fastest QEMU.
    pub to_qemu: Option<f64>,
    /// Over native.
    pub to_native: Option<f64>,
    /// The fastest QEMU over native.
    pub qemu_to_native: Option<f64>,
    /// Over tier 1 alone.
    pub to_tier1: Option<f64>,
}

impl Results {
    fn new(
        machine: Machine,
        options: &Options,
        subjects: Vec<SubjectFigures>,
        rows: Vec<Row>,
    ) -> Self {
        Self {
            machine,
            subjects,
            runs: options.runs,
            quick: options.quick,
            mean: mean(&rows),
            rows,
            promise: PROMISE,
        }
    }

    /// Programs that failed under the emulator under test.
    pub fn failures(&self) -> usize {
        let Some(index) = self.subjects.iter().position(|subject| subject.under_test) else {
            return 0;
        };
        let failed = |row: &&Row| row.cells[index].failure.is_some();
        self.rows.iter().filter(failed).count()
    }

    /// Programs that keep the promise.
    fn kept(&self) -> usize {
        let ratios = self.rows.iter().filter_map(|row| row.to_qemu);
        ratios.filter(|ratio| *ratio <= PROMISE).count()
    }
}

fn mean(rows: &[Row]) -> Mean {
    let of = |value: fn(&Row) -> Option<f64>| {
        geometric_mean(&rows.iter().map(value).collect::<Option<Vec<f64>>>()?)
    };
    Mean {
        to_qemu: of(|row| row.to_qemu),
        to_native: of(|row| row.to_native),
        qemu_to_native: of(|row| row.qemu_to_native),
        to_tier1: of(|row| row.to_tier1),
    }
}

/// One program of a run: its workload, how much of it, and both sides' ways to start it.
struct Job {
    workload: Workload,
    repeat: u32,
    native: Prepared,
    /// The line for the guest's shell.
    line: String,
}

/// Runs everything that the options ask for, prints and writes the report.
pub fn run(options: &Options) -> Result<Results, Error> {
    let chosen = chosen(options);
    if chosen.is_empty() {
        return Err(Error::NothingToRun);
    }
    let machine = Machine::describe();
    if options.list {
        for (workload, amount) in &chosen {
            println!("{:15} {:18} {amount}", workload.group.name(), workload.name);
        }
        return Ok(Results::new(machine, options, Vec::new(), Vec::new()));
    }
    let (jobs, image) = prepare(options, &chosen)?;
    let mut subjects = vec![Subject::native()];
    subjects.extend(machines::emulators(options)?);
    let figures: Vec<_> = subjects.iter().map(suite::describe).collect();
    let mut cells = vec![vec![Ok(Vec::new()); subjects.len()]; jobs.len()];
    for round in 1..=options.runs {
        eprintln!("run {round} of {}:", options.runs);
        take_turns(&jobs, &image, &subjects, &mut cells)?;
    }
    let rows = jobs.iter().zip(cells).map(|(job, cells)| {
        let cells = cells.into_iter().map(|cell: Times| match cell {
            Ok(times) => Cell::new(&times),
            Err(failure) => Cell::failed(failure.to_string()),
        });
        let (name, group) = (job.workload.name, job.workload.group);
        figures::row(name, group, &figures, cells.collect())
    });
    let rows: Vec<Row> = rows.collect();
    for row in &rows {
        println!("{}", progress::progress(row, &figures));
    }
    let results = Results::new(machine, options, figures, rows);
    report::write(&results, &options.out)?;
    Ok(results)
}

/// The workloads that the options name, with their amounts.
fn chosen(options: &Options) -> Vec<(Workload, u32)> {
    let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let named = |name: &str| WORKLOADS.iter().chain(&OWN).find(|w| w.name == name);
    let amounts = AMOUNTS.iter().filter_map(|(name, full, quick)| {
        let amount = if options.quick { quick } else { full };
        Some((*named(name)?, *amount))
    });
    amounts
        .filter(|(w, _)| wanted(&options.groups, w.group.name()))
        .filter(|(w, _)| wanted(&options.workloads, w.name))
        .collect()
}

/// Builds the programs and the disk that holds them.
fn prepare(options: &Options, chosen: &[(Workload, u32)]) -> Result<(Vec<Job>, PathBuf), Error> {
    let (riscv64, amd64) = options.roots.as_ref().ok_or(NotRun::NoTrees)?;
    let workshop = Workshop::open(&options.repository)?;
    let roots = suite::trees(options, &workshop, riscv64, amd64)?;
    let mut files = Vec::new();
    // The disk holds all programs, whichever are wanted: it is made once.
    for (name, ..) in AMOUNTS {
        if WORKLOADS.iter().any(|w| w.name == name && is_c(w)) {
            files.push((in_guest(name), workshop.program(name)?.riscv64));
        }
    }
    for script in programs::IN_MACHINE {
        files.push((format!("{}/{script}", image::DATA), roots.data.join(script)));
    }
    let folder = options.repository.join("target/bench/debian");
    let image = image::make(&folder, &roots.riscv64, &files)?;
    let image = image.canonicalize().map_err(Error::file("find", &image))?;
    let jobs = chosen
        .iter()
        .map(|(workload, amount)| job(workload, *amount, &workshop, &roots));
    Ok((jobs.collect::<Result<_, _>>()?, image))
}

fn is_c(workload: &Workload) -> bool {
    matches!(workload.source, Source::C(_))
}

/// The path of a program of ours on the disk.
fn in_guest(name: &str) -> String {
    format!("{}/{name}", image::PROGRAMS)
}

fn job(workload: &Workload, amount: u32, shop: &Workshop, roots: &Roots) -> Result<Job, Error> {
    let (repeat, native, line) = match workload.source {
        Source::Debian(program) => {
            let path = roots.riscv64.join(program.path);
            if !path.exists() {
                return Err(NotRun::NoProgram(program.path).into());
            }
            let native = Subject::native().debian(program, roots);
            (amount, native, line_of(program))
        }
        Source::C(_) | Source::Once(_) => {
            let built: Built = shop.program(workload.name)?;
            let native = Subject::native().own(&built, Some(&amount.to_string()));
            (1, native, format!("/{} {amount}", in_guest(workload.name)))
        }
    };
    Ok(Job {
        workload: *workload,
        repeat,
        native,
        line: repeated(&line, repeat),
    })
}

/// A program of Debian's as a line for the guest's shell.
fn line_of(program: &Program) -> String {
    let mut line = format!("/{}", program.path);
    for argument in program.arguments {
        let argument = argument.replace("{data}", &format!("/{}", image::DATA));
        line.push_str(" '");
        line.push_str(&argument.replace('\'', r"'\''"));
        line.push('\'');
    }
    line
}

/// A line that runs another one so often, with the output of the last time.
fn repeated(line: &str, times: u32) -> String {
    let before = format!("{line} > /dev/null && ").repeat(times.saturating_sub(1) as usize);
    before + line
}

/// Times of one program under one subject in microseconds, or why there are none.
type Times = Result<Vec<u64>, Failure>;

/// One run of every program under every subject.
fn take_turns(
    jobs: &[Job],
    image: &Path,
    subjects: &[Subject],
    cells: &mut [Vec<Times>],
) -> Result<(), Error> {
    let mut native = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        eprintln!("  {}", subject.label);
        if subject.kind == Kind::Native {
            native = natively(jobs)?;
            note(jobs, index, &native, &native, cells);
            continue;
        }
        // What has failed once is not run again.
        let open = |(_, row): &(&Job, &mut Vec<Times>)| row[index].is_ok();
        let left = jobs.iter().zip(cells.iter_mut()).filter(open);
        let left: Vec<&Job> = left.map(|(job, _)| job).collect();
        if left.is_empty() {
            continue;
        }
        let figures = boots::run("debian", subject, &arguments(&left, image))?;
        let runs: Vec<Option<Run>> = jobs
            .iter()
            .map(|job| run_of(job.workload.name, figures.as_ref()?))
            .collect();
        note(jobs, index, &runs, &native, cells);
    }
    Ok(())
}

/// The native runs, which say what is right.
fn natively(jobs: &[Job]) -> Result<Vec<Option<Run>>, Error> {
    let run = |job: &Job| {
        let run = measure::run(&job.native, job.repeat)?;
        suite::compare(&run, None).map_err(|source| Error::Native {
            workload: job.workload.name,
            source,
        })?;
        Ok(Some(run))
    };
    jobs.iter().map(run).collect()
}

/// Adds one subject's runs to its cells.
fn note(
    jobs: &[Job],
    subject: usize,
    runs: &[Option<Run>],
    native: &[Option<Run>],
    cells: &mut [Vec<Times>],
) {
    for (((job, run), native), row) in jobs.iter().zip(runs).zip(native).zip(cells) {
        let Ok(times) = &mut row[subject] else {
            continue;
        };
        let right = match run {
            Some(run) => suite::compare(run, native.as_ref()).map(|()| run.cpu_us),
            None => Err(Failure::Machine),
        };
        match right {
            Ok(us) => times.push(us / u64::from(job.repeat)),
            Err(failure) => row[subject] = Err(failure),
        }
    }
}

/// The arguments of `cargo xtask boot riscv64`.
fn arguments(jobs: &[&Job], image: &Path) -> Vec<std::ffi::OsString> {
    let mut words = vec!["--root".into(), image.into()];
    for job in jobs {
        let command = format!("{}={}", job.workload.name, job.line);
        words.extend(["--command".into(), command.into()]);
    }
    words
}

/// One program's run as the figures of a boot tell of it.
fn run_of(name: &str, figures: &Value) -> Option<Run> {
    let field = |what: &str| &figures[format!("{name}_{what}")];
    let seconds = field("cpu").as_f64()?;
    let status = i32::try_from(field("status").as_i64()?).ok()?;
    let output = field("output").as_str()?.as_bytes().to_vec();
    let success = status == 0;
    Some(Run {
        cpu_us: (seconds * 1e6).round() as u64,
        // The shell's status of a program that a signal ended is 128 more than the signal's number.
        end: End::Exited(ExitStatus::from_raw(if status > 128 {
            status - 128
        } else {
            status << 8
        })),
        messages: if success {
            String::new()
        } else {
            let lines: Vec<_> = field("output").as_str()?.lines().take(3).collect();
            lines.join("; ")
        },
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: [Group; 4] = [
        Group::Integer,
        Group::Calls,
        Group::Memory,
        Group::Interpreters,
    ];

    #[test]
    fn every_sized_program_of_the_groups_is_there() {
        let has = |name: &str| AMOUNTS.iter().any(|(known, ..)| *known == name);
        for workload in WORKLOADS.iter().filter(|w| GROUPS.contains(&w.group)) {
            assert!(!is_c(workload) || has(workload.name), "{}", workload.name);
        }
        for (name, full, quick) in AMOUNTS {
            let mut all = WORKLOADS.iter().chain(&OWN);
            let workload = all.find(|w| w.name == name).expect(name);
            assert!(GROUPS.contains(&workload.group) && quick <= full, "{name}");
        }
    }

    #[test]
    fn lines_for_the_shell() {
        let line = line_of(&programs::PYTHON_LOOP);
        assert_eq!(line, "/usr/bin/python3 '/data/loop.py'");
        assert_eq!(repeated("a", 1), "a");
        assert_eq!(repeated("a", 3), "a > /dev/null && a > /dev/null && a");
        for (name, ..) in AMOUNTS {
            let all = WORKLOADS.iter().chain(&OWN).filter(|w| w.name == name);
            for workload in all {
                if let Source::Debian(program) = workload.source {
                    // The guest's terminal takes 4095 characters at a time (termios(3)).
                    assert!(repeated(&line_of(program), 5).len() < 4000, "{name}");
                }
            }
        }
    }

    #[test]
    fn a_boots_figures_become_runs() {
        let figures = serde_json::json!({
            "sort_cpu": 0.35, "sort_wall": 0.4, "sort_status": 0, "sort_output": "17\n",
            "fib_cpu": 0.1, "fib_status": 139, "fib_output": "Segmentation fault\n",
        });
        let sort = run_of("sort", &figures).expect("a run");
        assert_eq!(
            (sort.cpu_us, sort.output.as_slice()),
            (350_000, &b"17\n"[..])
        );
        assert_eq!(suite::compare(&sort, Some(&sort)), Ok(()));
        let fib = run_of("fib", &figures).expect("a run");
        let failure = suite::compare(&fib, Some(&sort)).expect_err("a failure");
        assert!(failure.to_string().contains("signal: 11"), "{failure}");
        assert_eq!(run_of("tak", &figures), None);
    }

    #[test]
    fn a_wrong_output_takes_the_numbers_away() {
        let run = |output: &str| {
            let figures = serde_json::json!({
                "tak_cpu": 0.5, "tak_status": 0, "tak_output": output,
            });
            vec![run_of("tak", &figures)]
        };
        let workload = *WORKLOADS.iter().find(|w| w.name == "tak").expect("tak");
        let built = Built {
            native: PathBuf::from("n"),
            riscv64: PathBuf::from("r"),
        };
        let jobs = [Job {
            workload,
            repeat: 1,
            native: Subject::native().own(&built, None),
            line: String::new(),
        }];
        let mut cells = vec![vec![Ok(Vec::new()), Ok(Vec::new())]];
        note(&jobs, 0, &run("1\n"), &run("1\n"), &mut cells);
        note(&jobs, 1, &run("1\n"), &run("1\n"), &mut cells);
        assert_eq!(cells[0][1], Ok(vec![500_000]));
        note(&jobs, 1, &run("2\n"), &run("1\n"), &mut cells);
        assert!(matches!(cells[0][1], Err(Failure::Output { .. })));
        note(&jobs, 0, &[None], &run("1\n"), &mut cells);
        assert_eq!(cells[0][0], Err(Failure::Machine));
    }
}
