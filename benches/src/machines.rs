//! Whole machines side by side: `cargo xtask boot` boots them and says what that took; here the
//! emulators take turns, and their figures become medians and ratios.
//!
//! A run counts only if the guest's workloads gave the right results, which the command checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use crate::boots;
use crate::cli::Options;
use crate::compile;
use crate::error::Error;
use crate::figures::median;
use crate::machine::Machine;
use crate::subjects::{self, Kind, Subject};

mod report;

/// How a figure is read and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Seconds of CPU time; the emulator under test is compared with the fastest QEMU.
    CpuSeconds,
    /// A share of a host CPU, shown in percent.
    Share,
    /// Memory, given in KiB and shown in MiB.
    Memory,
}

/// One figure of a run: its name in the command's JSON, its name for people, and the promise,
/// which for CPU time is a share of the fastest QEMU's and otherwise a value as shown.
type FigureEntry = (&'static str, &'static str, Unit, Option<f64>);

/// One way to boot and what is read off it.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    arguments: &'static [&'static str],
    figures: &'static [FigureEntry],
}

/// What every boot to the workloads' end shows, with the promise for the whole.
macro_rules! workloads {
    ($total:expr) => {
        &[
            (
                "marker_cpu",
                "boot to the first process",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            (
                "sha256_cpu",
                "sha256 of 16 MiB",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            ("gzip_cpu", "gzip and back", Unit::CpuSeconds, Some(0.55)),
            (
                "ls_cpu",
                "ls -lR /sys /proc/sys",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            (
                "forks_cpu",
                "300 forks and execs",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            (
                "loop_cpu",
                "100000 rounds of the shell",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            (
                "parallel_cpu",
                "two sha256 at once",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            ("end_cpu", "boot to power-off", Unit::CpuSeconds, $total),
        ]
    };
}

/// All scenarios, cheap before dear.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "M-mode, no paging (U-Boot)",
        arguments: &["--bios", "none"],
        figures: &[
            ("crc32_cpu", "crc32 of 256 MiB", Unit::CpuSeconds, Some(0.5)),
            (
                "unzip_cpu",
                "20 times gunzip of an initial RAM disk",
                Unit::CpuSeconds,
                Some(0.5),
            ),
        ],
    },
    Scenario {
        name: "idle",
        arguments: &["--idle", "20"],
        figures: &[
            ("idle", "share of a host CPU, %", Unit::Share, Some(1.0)),
            (
                "beyond_ram_kib",
                "resident beyond guest RAM, MiB",
                Unit::Memory,
                Some(120.0),
            ),
        ],
    },
    Scenario {
        name: "1 CPU",
        arguments: &[],
        figures: workloads!(Some(0.55)),
    },
    Scenario {
        name: "2 CPUs",
        arguments: &["--smp", "2"],
        figures: workloads!(Some(0.45)),
    },
    Scenario {
        name: "disk root",
        arguments: &["--disk", "--quick"],
        figures: &[
            (
                "login_cpu",
                "boot to the login",
                Unit::CpuSeconds,
                Some(0.55),
            ),
            ("end_cpu", "login, shell, power-off", Unit::CpuSeconds, None),
        ],
    },
];

/// Everything that the runs found out.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Labels and versions, the emulator under test last.
    pub emulators: Vec<(String, String)>,
    /// Runs of each scenario.
    pub runs: usize,
    /// One row a figure.
    pub rows: Vec<Row>,
}

/// One figure under every emulator.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: &'static str,
    /// The figure's name.
    pub figure: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Medians, as shown, in the order of the emulators; none after a failure.
    pub values: Vec<Option<f64>>,
    /// The emulator under test over the fastest QEMU.
    pub to_qemu: Option<f64>,
    /// The emulator under test over itself without tier 2.
    pub to_tier1: Option<f64>,
    /// The promise.
    pub target: Option<f64>,
}

impl Results {
    /// Figures that the emulator under test failed to give.
    pub fn failures(&self) -> usize {
        let failed = |row: &&Row| row.values.last().is_some_and(Option::is_none);
        self.rows.iter().filter(failed).count()
    }
}

/// Boots everything under everyone, prints and writes the report.
pub fn run(options: &Options) -> Result<Results, Error> {
    let machine = Machine::describe();
    if options.list {
        println!("{}", list());
        return Ok(Results {
            machine,
            emulators: Vec::new(),
            runs: 0,
            rows: Vec::new(),
        });
    }
    let emulators = emulators(options)?;
    let mut rows = Vec::new();
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| wanted(options, scenario))
    {
        rows.extend(measure(options, scenario, &emulators)?);
    }
    let labels = emulators
        .iter()
        .map(|e| (e.label.clone(), e.version.clone()));
    let results = Results {
        machine,
        emulators: labels.collect(),
        runs: options.runs,
        rows,
    };
    report::write(&results, &options.out)?;
    Ok(results)
}

fn wanted(options: &Options, scenario: &Scenario) -> bool {
    let names = &options.workloads;
    names.is_empty()
        || names
            .iter()
            .any(|name| scenario.name.contains(name.as_str()))
}

/// Every emulator of machines: QEMUs, and the one under test with tier 2 and without.
pub fn emulators(options: &Options) -> Result<Vec<Subject>, Error> {
    let mut all = subjects::system_qemus(&options.repository, &options.qemus, options.fetch);
    if let Some(path) = &options.emulator {
        let jit = options.jit.as_deref();
        all.extend(Subject::tiers(path, options.tiers, jit)?);
    }
    Ok(all)
}

/// Runs a scenario under all emulators in turn.
fn measure(
    options: &Options,
    scenario: &Scenario,
    emulators: &[Subject],
) -> Result<Vec<Row>, Error> {
    // One list of runs an emulator; none once one of them has failed.
    let mut runs: Vec<Option<Vec<Value>>> = vec![Some(Vec::new()); emulators.len()];
    for _ in 0..options.runs {
        for (emulator, runs) in emulators.iter().zip(&mut runs) {
            let Some(good) = runs else { continue };
            match boots::run(scenario.name, emulator, scenario.arguments)? {
                Some(figures) => good.push(figures),
                None => *runs = None,
            }
        }
    }
    let row = |entry: &FigureEntry| row(scenario, entry, emulators, &runs);
    let rows: Vec<Row> = scenario.figures.iter().map(row).collect();
    for row in &rows {
        println!("{}", report::progress(row, emulators));
    }
    Ok(rows)
}

fn row(
    scenario: &Scenario,
    (key, figure, unit, target): &FigureEntry,
    emulators: &[Subject],
    runs: &[Option<Vec<Value>>],
) -> Row {
    let value = |runs: &Option<Vec<Value>>| {
        let values: Option<Vec<f64>> = runs.as_ref()?.iter().map(|run| run[key].as_f64()).collect();
        median(&values?).map(|value| shown(*unit, value))
    };
    let values: Vec<Option<f64>> = runs.iter().map(value).collect();
    let of = |kind: Kind| {
        let pairs = emulators.iter().zip(&values);
        let own = pairs.filter(move |(e, _)| e.kind == kind);
        own.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    // A QEMU that failed might have been the fastest: then there is no bar.
    let qemus: Option<Vec<f64>> = of(Kind::Qemu).into_iter().collect();
    let qemu = qemus.and_then(|all| all.into_iter().min_by(f64::total_cmp));
    let tested = of(Kind::UnderTest).into_iter().flatten().next();
    let to_qemu = tested
        .zip(qemu.filter(|value| *value > 0.0))
        .map(|(ours, qemu)| ours / qemu);
    let tier1 = of(Kind::Variant).into_iter().flatten().next();
    let tier1 = tier1.filter(|value| *value > 0.0);
    Row {
        to_tier1: tested.zip(tier1).map(|(both, one)| both / one),
        scenario: scenario.name,
        figure,
        unit: *unit,
        values,
        to_qemu,
        target: *target,
    }
}

fn shown(unit: Unit, value: f64) -> f64 {
    match unit {
        Unit::CpuSeconds => value,
        Unit::Share => value * 100.0,
        Unit::Memory => value / 1024.0,
    }
}

/// Writes a file of the results.
fn save(folder: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(Error::file("write", &path))
}

/// The commands of all scenarios, for `--list`.
fn list() -> String {
    let line = |scenario: &Scenario| {
        let command = scenario.arguments.join(" ");
        format!("{:28} cargo xtask boot riscv64 {command}", scenario.name)
    };
    SCENARIOS.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A program that starts another release's QEMU through that release's own dynamic linker.
pub fn wrapper(folder: &Path) -> Result<PathBuf, Error> {
    let folder = folder.canonicalize().map_err(Error::file("find", folder))?;
    let root = folder.display();
    let script = format!(
        "#!/bin/sh\nroot='{root}'\nlib=$root/usr/lib/x86_64-linux-gnu\n\
         export QEMU_MODULE_DIR=\"$lib/qemu\"\n\
         exec \"$lib/ld-linux-x86-64.so.2\" --library-path \"$lib\" \\\n    \
         \"$root/usr/bin/qemu-system-riscv64\" -L \"$root/usr/share/qemu\" \"$@\"\n"
    );
    let path = folder.join("qemu-system-riscv64");
    fs::write(&path, script).map_err(Error::file("write", &path))?;
    compile::run(Command::new("chmod").arg("+x").arg(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(label: &str, kind: Kind) -> Subject {
        let mut subject = Subject::native();
        (subject.label, subject.kind) = (label.into(), kind);
        subject
    }

    #[test]
    fn the_bar_is_the_fastest_qemu() {
        let emulators = [
            subject("qemu a", Kind::Qemu),
            subject("qemu b", Kind::Qemu),
            subject("isomorph", Kind::UnderTest),
        ];
        let run = |seconds: f64| Some(vec![serde_json::json!({ "marker_cpu": seconds })]);
        let entry = &SCENARIOS[2].figures[0];
        let measured = row(
            &SCENARIOS[2],
            entry,
            &emulators,
            &[run(4.0), run(2.0), run(1.0)],
        );
        assert_eq!(measured.to_qemu, Some(0.5));
        let failed = row(
            &SCENARIOS[2],
            entry,
            &emulators,
            &[run(4.0), run(2.0), None],
        );
        assert_eq!((failed.to_qemu, failed.values[2]), (None, None));
    }
}
