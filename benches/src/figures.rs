//! From runs to figures: medians, ratios, geometric means.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::machine::Machine;
use crate::workloads::{GROUPS, Group};

/// Everything that a run of the harness found out.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Who: labels and versions, native first, the emulator under test last.
    pub subjects: Vec<SubjectFigures>,
    /// Runs of each workload.
    pub runs: usize,
    /// Whether only a small part of the work was done.
    pub quick: bool,
    /// One row a workload.
    pub rows: Vec<Row>,
    /// One line a group that has rows.
    pub groups: Vec<GroupFigures>,
    /// What translating costs.
    pub translation: Option<Translation>,
    /// Workloads that could not be run at all, and why.
    pub skipped: Vec<String>,
}

/// One subject in the results.
#[derive(Debug, Clone, Serialize)]
pub struct SubjectFigures {
    /// Its label.
    pub label: String,
    /// What it says of itself.
    pub version: String,
    /// Whether it is a QEMU to compare with.
    pub qemu: bool,
    /// Whether it is the emulator under test.
    pub under_test: bool,
    /// Whether it is the emulator under test without tier 2.
    pub tier1: bool,
}

/// One workload's figures.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub workload: &'static str,
    /// Its group's name.
    pub group: &'static str,
    /// One cell a subject, in the order of the subjects.
    pub cells: Vec<Cell>,
    /// CPU time of the emulator under test over that of the fastest QEMU.
    pub to_qemu: Option<f64>,
    /// CPU time of the emulator under test over native's.
    pub to_native: Option<f64>,
    /// CPU time of the fastest QEMU over native's.
    pub qemu_to_native: Option<f64>,
    /// CPU time of the emulator under test, compiling included, over that of its tier 1 alone.
    pub to_tier1: Option<f64>,
}

/// One subject's figures on one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// CPU times of all runs, in milliseconds.
    pub runs_ms: Vec<f64>,
    /// Their median; none after a failure.
    pub cpu_ms: Option<f64>,
    /// What went wrong: then there is no number.
    pub failure: Option<String>,
}

/// A group's geometric means.
#[derive(Debug, Clone, Serialize)]
pub struct GroupFigures {
    /// The group's name.
    pub group: &'static str,
    /// Workloads in it.
    pub workloads: usize,
    /// Mean of `to_qemu`; none when a workload of the group failed.
    pub to_qemu: Option<f64>,
    /// Mean of `to_native`, likewise.
    pub to_native: Option<f64>,
    /// Mean of `qemu_to_native`, likewise.
    pub qemu_to_native: Option<f64>,
    /// Mean of `to_tier1`, likewise.
    pub to_tier1: Option<f64>,
    /// The promised ceiling of `to_qemu`.
    pub target: Option<f64>,
}

/// What translating costs: generated code that runs once.
#[derive(Debug, Clone, Serialize)]
pub struct Translation {
    /// Guest instructions translated, as the log of the first QEMU counts them.
    pub guest_instructions: u64,
    /// Microseconds per guest instruction, all in, by emulator.
    pub us_per_instruction: BTreeMap<String, f64>,
}

impl SubjectFigures {
    /// Whether it is the machine itself.
    fn is_native(&self) -> bool {
        !self.qemu && !self.under_test && !self.tier1
    }
}

impl Cell {
    /// A cell of successful runs, in microseconds.
    pub fn new(runs_us: &[u64]) -> Self {
        let runs_ms: Vec<f64> = runs_us.iter().map(|&us| us as f64 / 1000.0).collect();
        Self {
            cpu_ms: median(&runs_ms),
            runs_ms,
            failure: None,
        }
    }

    /// A cell without a number.
    pub fn failed(reason: String) -> Self {
        Self {
            runs_ms: Vec::new(),
            cpu_ms: None,
            failure: Some(reason),
        }
    }
}

impl Results {
    /// Workloads that failed under the emulator under test.
    pub fn failures(&self) -> usize {
        let Some(index) = self.subjects.iter().position(|subject| subject.under_test) else {
            return 0;
        };
        self.rows
            .iter()
            .filter(|row| row.cells[index].failure.is_some())
            .count()
    }
}

/// Fills in a row's ratios.
pub fn row(
    workload: &'static str,
    group: Group,
    subjects: &[SubjectFigures],
    cells: Vec<Cell>,
) -> Row {
    let times = |wanted: fn(&SubjectFigures) -> bool| {
        let pairs = subjects.iter().zip(&cells);
        pairs
            .filter(move |(subject, _)| wanted(subject))
            .filter_map(|(_, cell)| cell.cpu_ms)
    };
    let native = times(SubjectFigures::is_native).next();
    let tier1 = times(|subject| subject.tier1).next();
    let tested = times(|subject| subject.under_test).next();
    let qemu = times(|subject| subject.qemu).min_by(f64::total_cmp);
    Row {
        workload,
        group: group.name(),
        to_qemu: ratio(tested, qemu),
        to_native: ratio(tested, native),
        qemu_to_native: ratio(qemu, native),
        to_tier1: ratio(tested, tier1),
        cells,
    }
}

/// The geometric means of all groups that have rows.
pub fn groups(rows: &[Row]) -> Vec<GroupFigures> {
    GROUPS
        .iter()
        .filter_map(|&group| group_figures(rows, group))
        .collect()
}

fn group_figures(rows: &[Row], group: Group) -> Option<GroupFigures> {
    let members: Vec<&Row> = rows
        .iter()
        .filter(|row| row.group == group.name())
        .collect();
    let mean = |value: fn(&Row) -> Option<f64>| {
        geometric_mean(
            &members
                .iter()
                .map(|row| value(row))
                .collect::<Option<Vec<f64>>>()?,
        )
    };
    (!members.is_empty()).then(|| GroupFigures {
        group: group.name(),
        workloads: members.len(),
        to_qemu: mean(|row| row.to_qemu),
        to_native: mean(|row| row.to_native),
        qemu_to_native: mean(|row| row.qemu_to_native),
        to_tier1: mean(|row| row.to_tier1),
        target: group.target(),
    })
}

fn ratio(over: Option<f64>, under: Option<f64>) -> Option<f64> {
    let (over, under) = (over?, under?);
    (under > 0.0).then_some(over / under)
}

/// The median; of an even number of values the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The geometric mean of positive values.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some((values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(label: &str) -> SubjectFigures {
        SubjectFigures {
            label: label.into(),
            version: String::new(),
            qemu: label.starts_with("qemu"),
            under_test: label == "isomorph",
            tier1: label == "tier 1",
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn geometric_means() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[0.25, 1.0]).unwrap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_bar_is_the_fastest_qemu() {
        let subjects = ["native", "qemu a", "qemu b", "tier 1", "isomorph"].map(subject);
        let cells = [100_000, 900_000, 600_000, 300_000, 150_000]
            .map(|us| Cell::new(&[us]))
            .to_vec();
        let row = row("x", Group::Calls, &subjects, cells);
        assert_eq!(row.to_qemu, Some(0.25));
        assert_eq!(row.to_native, Some(1.5));
        assert_eq!(row.qemu_to_native, Some(6.0));
        assert_eq!(row.to_tier1, Some(0.5));
    }

    #[test]
    fn a_failure_leaves_its_group_without_a_mean() {
        let subjects = ["native", "qemu a", "isomorph"].map(subject);
        let good = [100_000, 900_000, 150_000]
            .map(|us| Cell::new(&[us]))
            .to_vec();
        let mut bad = good.clone();
        bad[2] = Cell::failed("wrong".into());
        let rows = [
            row("x", Group::Calls, &subjects, good),
            row("y", Group::Calls, &subjects, bad),
        ];
        let figures = groups(&rows);
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[0].to_qemu, None);
        assert!((figures[0].qemu_to_native.unwrap() - 9.0).abs() < 1e-9);
    }
}
