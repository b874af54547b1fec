//! What each pass of tier 2 is worth: workloads with the pass switched off, over all passes on.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::cli::Options;
use crate::compile;
use crate::error::Error;
use crate::figures::{Cell, geometric_mean};
use crate::machine::Machine;
use crate::report::number;
use crate::subjects::{self, Subject};
use crate::suite::{self, Suite};
use crate::workloads::{Group, Workload};

/// Groups whose programs are hot for long, if none is named.
const GROUPS: [Group; 4] = [Group::Integer, Group::Calls, Group::Float, Group::Memory];

/// One workload.
#[derive(Debug, Serialize)]
struct Row {
    workload: &'static str,
    group: &'static str,
    /// All passes on.
    all_on: Cell,
    /// Each pass off, in the order of the passes.
    off: Vec<Cell>,
}

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub struct Results {
    machine: Machine,
    passes: Vec<String>,
    runs: usize,
    rows: Vec<Row>,
    skipped: Vec<String>,
}

impl Results {
    /// Workloads that failed under one setting or another.
    pub fn failures(&self) -> usize {
        let failed = |row: &&Row| {
            let mut cells = row.off.iter().chain([&row.all_on]);
            cells.any(|cell| cell.failure.is_some())
        };
        self.rows.iter().filter(failed).count()
    }
}

/// Runs the workloads of the options, prints and writes the table.
pub fn run(options: &Options) -> Result<Results, Error> {
    let chosen = hot(options);
    if chosen.is_empty() {
        return Err(Error::NothingToRun);
    }
    let emulator = options.emulator.as_deref();
    let emulator = emulator
        .filter(|path| subjects::is_isomorph(path))
        .ok_or(Error::NoPasses)?;
    let passes = passes_of(emulator)?;
    let setting = |more: &str| match &options.jit {
        Some(setting) => format!("{setting},{more}"),
        None => more.to_owned(),
    };
    let tested = Subject::under_test(emulator)?;
    let off = passes.iter().map(|pass| {
        let label = format!("without {pass}");
        tested
            .clone()
            .variant(&label, &setting(&format!("without={pass}")))
    });
    let mut all = vec![
        Subject::native(),
        tested.clone().with_jit(options.jit.as_deref()),
    ];
    all.extend(off);
    let suite = Suite::with_subjects(options, &chosen, all)?;
    let mut results = Results {
        machine: Machine::describe(),
        passes,
        runs: options.runs,
        rows: Vec::new(),
        skipped: Vec::new(),
    };
    for workload in &chosen {
        match suite.measure(workload)? {
            Ok(row) => {
                let mut cells = row.cells.into_iter().skip(1);
                let all_on = cells.next().unwrap_or_else(|| Cell::new(&[]));
                let off = cells.collect();
                let (workload, group) = (row.workload, row.group);
                let row = Row {
                    workload,
                    group,
                    all_on,
                    off,
                };
                println!("{}", line(&row));
                results.rows.push(row);
            }
            Err(reason) => results.skipped.push(format!("{}: {reason}", workload.name)),
        }
    }
    write(&results, &options.out)?;
    Ok(results)
}

/// What the options name, or what is hot for long.
fn hot(options: &Options) -> Vec<Workload> {
    let named = !options.groups.is_empty() || !options.workloads.is_empty();
    let chosen = suite::chosen(options).into_iter();
    chosen
        .filter(|workload| named || GROUPS.contains(&workload.group))
        .collect()
}

/// The names behind `passes:` in what `--jit help` says.
fn passes_of(emulator: &Path) -> Result<Vec<String>, Error> {
    let help = compile::output(Command::new(emulator).args(["run", "--jit", "help"]))?;
    let names = help.lines().find_map(|line| line.strip_prefix("passes:"));
    let names = names.ok_or(Error::NoPasses)?.split(',');
    Ok(names.map(|name| name.trim().to_owned()).collect())
}

/// A pass's time over that of all passes.
fn ratio(off: &Cell, on: &Cell) -> Option<f64> {
    let (off, on) = (off.cpu_ms?, on.cpu_ms?);
    (on > 0.0).then_some(off / on)
}

fn line(row: &Row) -> String {
    let on = number(row.all_on.cpu_ms);
    let ratios: Vec<_> = row
        .off
        .iter()
        .map(|off| number(ratio(off, &row.all_on)))
        .collect();
    format!(
        "| {} | {} | {on} | {} |",
        row.workload,
        row.group,
        ratios.join(" | ")
    )
}

fn document(results: &Results) -> String {
    let mut text = String::from("# Passes of tier 2\n\n");
    let machine = &results.machine;
    let _ = write!(
        text,
        "{}; load before the run {:.1}.  \nCPU time with one pass switched off over CPU time with \
         all on: above 1, the pass gains. Medians of {} interleaved runs.\n\n\
         | workload | group | all on, ms | {} |\n|---|---|--:|",
        machine.one_line(),
        machine.load,
        results.runs,
        results.passes.join(" | ")
    );
    text.push_str(&"--:|".repeat(results.passes.len()));
    text.push('\n');
    for row in &results.rows {
        let _ = writeln!(text, "{}", line(row));
    }
    let mean = |pass: usize| {
        let ratios = results
            .rows
            .iter()
            .map(|row| ratio(row.off.get(pass)?, &row.all_on));
        geometric_mean(&ratios.collect::<Option<Vec<f64>>>()?)
    };
    let means: Vec<_> = (0..results.passes.len())
        .map(|pass| number(mean(pass)))
        .collect();
    let _ = writeln!(text, "| geometric mean | | | {} |\n", means.join(" | "));
    for row in &results.rows {
        let names = results.passes.iter().map(String::as_str);
        let cells = [("nothing", &row.all_on)]
            .into_iter()
            .chain(names.zip(&row.off));
        for (pass, cell) in cells {
            if let Some(why) = &cell.failure {
                let _ = writeln!(text, "- FAILED: {} without {pass}: {why}", row.workload);
            }
        }
    }
    for skipped in &results.skipped {
        let _ = writeln!(text, "- not run: {skipped}");
    }
    text
}

fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let table = document(results);
    println!("\n{table}");
    let json = serde_json::to_string_pretty(results).map_err(Error::Json)?;
    for (name, text) in [("passes.md", table), ("passes.json", json + "\n")] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    eprintln!("written to {}", folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_gains_is_above_one() {
        let row = Row {
            workload: "x",
            group: "calls",
            all_on: Cell::new(&[100_000]),
            off: vec![Cell::new(&[150_000]), Cell::failed("wrong".into())],
        };
        assert_eq!(line(&row), "| x | calls | 100.0 | 1.50 | – |");
    }
}
