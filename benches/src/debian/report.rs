//! The report on programs in a machine: a table in Markdown, everything in JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{PROMISE, Results};
use crate::error::Error;
use crate::figures::Row;
use crate::report::{failures, milliseconds, number, verdict};

/// Prints the table and writes `debian.md` and `debian.json` to a folder.
pub fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let table = document(results);
    println!("\n{table}");
    let json = serde_json::to_string_pretty(results).map_err(Error::Json)?;
    for (name, text) in [("debian.md", table), ("debian.json", json + "\n")] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    eprintln!("written to {}", folder.display());
    Ok(())
}

fn document(results: &Results) -> String {
    let mut text = String::from("# Programs in a Debian root in the machine, side by side\n\n");
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "{}; load before the run {:.1}.  \nNative: {}; riscv64: {}.  ",
        machine.one_line(),
        machine.load,
        machine.native_compiler,
        machine.cross_compiler
    );
    for subject in &results.subjects {
        if !subject.version.is_empty() {
            let _ = writeln!(text, "{}: {}.  ", subject.label, subject.version);
        }
    }
    let _ = writeln!(
        text,
        "CPU time of the emulator, user and system, in steps of 10 ms; native: of the process; \
         medians of {} interleaved runs{}.\n",
        results.runs,
        if results.quick {
            " of a fifth of the work"
        } else {
            ""
        },
    );
    text.push_str("| program | group |");
    for subject in &results.subjects {
        let _ = write!(text, " {} ms |", subject.label);
    }
    text.push_str(
        " × fastest QEMU | promised | × native | fastest QEMU × native | tier 2 / tier 1 |\n\
         |---|---|",
    );
    text.push_str(&"--:|".repeat(results.subjects.len() + 5));
    text.push('\n');
    for row in &results.rows {
        table_row(&mut text, row);
    }
    means(&mut text, results);
    failures(&mut text, &results.rows, &results.subjects);
    text
}

fn table_row(text: &mut String, row: &Row) {
    let _ = write!(text, "| {} | {} |", row.workload, row.group);
    for cell in &row.cells {
        let _ = write!(text, " {} |", milliseconds(cell));
    }
    let _ = writeln!(
        text,
        " {} | {} | {} | {} | {} |",
        verdict(row.to_qemu, Some(PROMISE)),
        number(Some(PROMISE)),
        number(row.to_native),
        number(row.qemu_to_native),
        verdict(row.to_tier1, None)
    );
}

fn means(text: &mut String, results: &Results) {
    let mean = &results.mean;
    let _ = writeln!(
        text,
        "| geometric mean | |{} {} | {} | {} | {} | {} |\n",
        " |".repeat(results.subjects.len()),
        verdict(mean.to_qemu, Some(PROMISE)),
        number(Some(PROMISE)),
        number(mean.to_native),
        number(mean.qemu_to_native),
        verdict(mean.to_tier1, None)
    );
    let _ = writeln!(
        text,
        "Kept by {} of {} programs.",
        results.kept(),
        results.rows.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Cell;

    #[test]
    fn a_promise_that_is_not_kept_is_bold() {
        let cells = vec![Cell::new(&[100_000]), Cell::failed("wrong".into())];
        let row = Row {
            workload: "sort",
            group: "integer",
            cells,
            to_qemu: Some(0.62),
            to_native: None,
            qemu_to_native: Some(5.0),
            to_tier1: Some(0.9),
        };
        let mut text = String::new();
        table_row(&mut text, &row);
        assert_eq!(
            text,
            "| sort | integer | 100 | FAILED | **0.62** | 0.40 | – | 5.00 | 0.90 |\n"
        );
    }
}
