//! One boot of one emulator by `cargo xtask boot`, which checks the guest and says what it took.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::subjects::Subject;

/// One run's figures; [`None`] if it failed, with the reason on standard error.
pub fn run(
    name: &str,
    emulator: &Subject,
    arguments: &[impl AsRef<OsStr>],
) -> Result<Option<Value>, Error> {
    let Some(path) = emulator.emulator() else {
        return Ok(None);
    };
    let mut command = Command::new(xtask()?);
    command
        .args(["boot", "riscv64", "--json", "--emulator"])
        .arg(path);
    if let Some(setting) = &emulator.jit {
        command.env("ISOMORPH_JIT", setting);
    }
    let output = command.args(arguments).output();
    let output = output.map_err(|source| Error::Start {
        program: "xtask".into(),
        source,
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = figures(&text);
    if figures.is_none() || !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        eprintln!("{name} under {} FAILED:\n{text}{errors}", emulator.label);
        return Ok(None);
    }
    Ok(figures)
}

/// The last line that is JSON.
fn figures(text: &str) -> Option<Value> {
    let mut lines = text.lines().rev();
    lines.find_map(|line| serde_json::from_str(line).ok())
}

/// The developers' command, which lies beside this one.
fn xtask() -> Result<PathBuf, Error> {
    let path = std::env::current_exe().map_err(Error::file("find", "xtask"))?;
    Ok(path.with_file_name("xtask"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_json_counts() {
        let text = "== inputs in x\n{\"end_cpu\":1.0}\n{\"end_cpu\":2.5}\nnot json\n";
        let found = figures(text).expect("figures");
        assert_eq!(found["end_cpu"].as_f64(), Some(2.5));
        assert!(figures("FAIL run 1 of 1\n").is_none());
    }
}
