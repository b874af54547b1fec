//! The report in three forms: a table in Markdown, everything in JSON, a bar chart in SVG.

mod markdown;
mod svg;

pub use markdown::{failures, milliseconds, verdict};

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::figures::{Results, Row, SubjectFigures};

/// Prints the table and writes `results.md`, `results.json` and `results.svg` to a folder.
pub fn write(results: &Results, folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let table = markdown::document(results);
    println!("\n{table}");
    let json = serde_json::to_string_pretty(results).map_err(Error::Json)?;
    let files = [
        ("results.md", table),
        ("results.json", json + "\n"),
        ("results.svg", svg::document(results)),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// One line while the run goes on.
pub fn progress(row: &Row, subjects: &[SubjectFigures]) -> String {
    let mut line = format!("{:18}", row.workload);
    for (cell, subject) in row.cells.iter().zip(subjects) {
        match (&cell.failure, cell.cpu_ms) {
            (Some(reason), _) => line.push_str(&format!("  {} FAILED ({reason})", subject.label)),
            (None, Some(ms)) => line.push_str(&format!("  {} {ms:.1} ms", subject.label)),
            (None, None) => {}
        }
    }
    if let Some(ratio) = row.to_qemu {
        line.push_str(&format!("  = {ratio:.2} of the fastest QEMU"));
    }
    line
}

/// A ratio for people, or a dash.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
