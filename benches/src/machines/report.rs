//! The report on machines: a table in Markdown, everything in JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Results, Row, Unit, save};
use crate::error::Error;
use crate::report::{number, verdict};
use crate::subjects::Subject;

/// Prints the table and writes `machines.md` and `machines.json` to a folder.
pub fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let table = document(results);
    println!("\n{table}");
    save(folder, "machines.md", &table)?;
    let json = serde_json::to_string_pretty(results).map_err(Error::Json)?;
    save(folder, "machines.json", &(json + "\n"))?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// One line while the runs go on.
pub fn progress(row: &Row, emulators: &[Subject]) -> String {
    let mut line = format!("{:26} {:30}", row.scenario, row.figure);
    for (value, emulator) in row.values.iter().zip(emulators) {
        let _ = match value {
            Some(value) => write!(line, "  {} {value:.2}", emulator.label),
            None => write!(line, "  {} FAILED", emulator.label),
        };
    }
    if let Some(ratio) = row.to_qemu.filter(|_| row.unit == Unit::CpuSeconds) {
        let _ = write!(line, "  = {ratio:.2} of the fastest QEMU");
    }
    line
}

fn document(results: &Results) -> String {
    let mut text = String::from("# Machines side by side\n\n");
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "{}; load before the run {:.1}.  ",
        machine.one_line(),
        machine.load
    );
    for (label, version) in &results.emulators {
        let _ = writeln!(text, "{label}: {version}.  ");
    }
    let _ = writeln!(
        text,
        "CPU seconds of the emulator, user and system; medians of {} interleaved runs.\n",
        results.runs
    );
    text.push_str("| boot | figure |");
    for (label, _) in &results.emulators {
        let _ = write!(text, " {label} |");
    }
    text.push_str(" × fastest QEMU | promised | tier 2 / tier 1 |\n|---|---|");
    text.push_str(&"--:|".repeat(results.emulators.len() + 3));
    text.push('\n');
    for row in &results.rows {
        table_row(&mut text, row);
    }
    text
}

fn table_row(text: &mut String, row: &Row) {
    let _ = write!(text, "| {} | {} |", row.scenario, row.figure);
    let last = row.values.len().saturating_sub(1);
    for (index, value) in row.values.iter().enumerate() {
        let ours = index == last && row.unit != Unit::CpuSeconds;
        let shown = match value {
            None => "FAILED".to_owned(),
            Some(_) if ours => verdict(*value, row.target),
            Some(_) => number(*value),
        };
        let _ = write!(text, " {shown} |");
    }
    let ratio = match row.unit {
        Unit::CpuSeconds => verdict(row.to_qemu, row.target),
        Unit::Share | Unit::Memory => "–".to_owned(),
    };
    let (target, to_tier1) = (number(row.target), verdict(row.to_tier1, None));
    let _ = writeln!(text, " {ratio} | {target} | {to_tier1} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_that_are_not_kept_are_bold() {
        let mut row = Row {
            scenario: "idle",
            figure: "share",
            unit: Unit::Share,
            values: vec![Some(3.0), Some(2.0)],
            to_qemu: Some(0.67),
            to_tier1: Some(0.8),
            target: Some(1.0),
        };
        let mut text = String::new();
        table_row(&mut text, &row);
        assert_eq!(
            text,
            "| idle | share | 3.00 | **2.00** | – | 1.00 | 0.80 |\n"
        );
        row.unit = Unit::CpuSeconds;
        text.clear();
        table_row(&mut text, &row);
        assert_eq!(
            text,
            "| idle | share | 3.00 | 2.00 | 0.67 | 1.00 | 0.80 |\n"
        );
    }
}
