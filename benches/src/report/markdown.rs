//! The table in Markdown.

use std::fmt::Write;

use super::number;
use crate::figures::{Cell, GroupFigures, Results, Row, SubjectFigures};

/// The whole document.
pub fn document(results: &Results) -> String {
    let mut text = String::from("# Side by side\n\n");
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "{}; load before the run {:.1}.  ",
        machine.one_line(),
        machine.load
    );
    let _ = writeln!(
        text,
        "Native: {}; riscv64: {}.  ",
        machine.native_compiler, machine.cross_compiler
    );
    for subject in results
        .subjects
        .iter()
        .filter(|subject| !subject.version.is_empty())
    {
        let _ = writeln!(text, "{}: {}.  ", subject.label, subject.version);
    }
    let _ = writeln!(
        text,
        "CPU time, user and system, of the whole process tree; medians of {} interleaved runs{}.\n",
        results.runs,
        if results.quick {
            " of a fifth of the work"
        } else {
            ""
        },
    );
    group_table(&mut text, &results.groups);
    workload_table(&mut text, results);
    translation(&mut text, results);
    notes(&mut text, results);
    text
}

fn group_table(text: &mut String, groups: &[GroupFigures]) {
    text.push_str(
        "| group (geometric mean) | workloads | × fastest QEMU | promised | × native | \
         fastest QEMU × native | tier 2 / tier 1 |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for group in groups {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            group.group,
            group.workloads,
            verdict(group.to_qemu, group.target),
            number(group.target),
            number(group.to_native),
            number(group.qemu_to_native),
            verdict(group.to_tier1, None),
        );
    }
    text.push('\n');
}

/// A promise that is not kept is set in bold, as is any loss against QEMU.
pub fn verdict(reached: Option<f64>, target: Option<f64>) -> String {
    match (reached, target.unwrap_or(1.0)) {
        (Some(value), target) if value > target => format!("**{}**", number(Some(value))),
        (value, _) => number(value),
    }
}

fn workload_table(text: &mut String, results: &Results) {
    text.push_str("| workload | group |");
    for subject in &results.subjects {
        let _ = write!(text, " {} ms |", subject.label);
    }
    text.push_str(" × fastest QEMU | × native | tier 2 / tier 1 |\n|---|---|");
    text.push_str(&"--:|".repeat(results.subjects.len() + 3));
    text.push('\n');
    for row in &results.rows {
        workload_row(text, row);
    }
    text.push('\n');
}

fn workload_row(text: &mut String, row: &Row) {
    let _ = write!(text, "| {} | {} |", row.workload, row.group);
    for cell in &row.cells {
        let _ = write!(text, " {} |", milliseconds(cell));
    }
    let _ = writeln!(
        text,
        " {} | {} | {} |",
        verdict(row.to_qemu, None),
        number(row.to_native),
        verdict(row.to_tier1, None)
    );
}

/// A subject's time for people.
pub fn milliseconds(cell: &Cell) -> String {
    match (&cell.failure, cell.cpu_ms) {
        (Some(_), _) => "FAILED".into(),
        (None, None) => "–".into(),
        (None, Some(ms)) if ms < 20.0 => format!("{ms:.2}"),
        (None, Some(ms)) => format!("{ms:.0}"),
    }
}

fn translation(text: &mut String, results: &Results) {
    let Some(translation) = &results.translation else {
        return;
    };
    let _ = writeln!(
        text,
        "Translating {} guest instructions that run once, µs per guest instruction, all in:\n",
        translation.guest_instructions
    );
    for (subject, us) in &translation.us_per_instruction {
        let _ = writeln!(text, "- {subject}: {us:.3}");
    }
    text.push('\n');
}

fn notes(text: &mut String, results: &Results) {
    failures(text, &results.rows, &results.subjects);
    for skipped in &results.skipped {
        let _ = writeln!(text, "- not run: {skipped}");
    }
}

/// One line for each cell without a number.
pub fn failures(text: &mut String, rows: &[Row], subjects: &[SubjectFigures]) {
    for row in rows {
        for (cell, subject) in row.cells.iter().zip(subjects) {
            if let Some(reason) = &cell.failure {
                let _ = writeln!(
                    text,
                    "- FAILED: {} under {}: {reason}",
                    row.workload, subject.label
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_bold() {
        assert_eq!(verdict(Some(1.2), None), "**1.20**");
        assert_eq!(verdict(Some(0.7), Some(0.65)), "**0.70**");
        assert_eq!(verdict(Some(0.5), Some(0.65)), "0.50");
        assert_eq!(verdict(None, Some(0.65)), "–");
    }
}
