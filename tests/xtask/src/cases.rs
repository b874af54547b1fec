//! The table of Debian cases: a text file of programs to run in both trees.
//!
//! ```text
//! == name                  a case begins
//! run: sort -n data.txt    the command, words split at blanks; the program lies in /usr/bin
//! stdin: data.txt          optional: the file fed to standard input
//! timeout: 120             optional: seconds, 60 unless said
//! check: out.bin …         optional: files whose content must be equal too
//! normalise: arch          optional: names of the architecture count as equal
//! file data.txt:           a file of the scratch folder; its lines follow, each after `|`
//! |3
//! |1
//! ```
//!
//! Lines that begin with `#` outside files are comments.

use std::fs;
use std::path::Path;

use crate::error::{AtPath, Error, Result};

/// One case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// Its name, unique in the table.
    pub name: String,
    /// The program and its arguments.
    pub run: Vec<String>,
    /// The name of the file for standard input, or nothing.
    pub stdin: String,
    /// Limit in seconds under the emulator.
    pub timeout: u64,
    /// Files to compare after the run.
    pub check: Vec<String>,
    /// Replace the architecture's names in outputs before they are compared.
    pub normalise_arch: bool,
    /// Files to make before the run: name and content.
    pub files: Vec<(String, String)>,
}

/// A line that does not follow the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// Two cases share a name.
    #[error("a second case of this name")]
    Twice,
    /// A line before the first `==`.
    #[error("no case has begun")]
    NoCase,
    /// A line of content before the first `file`.
    #[error("no file has begun")]
    NoFile,
    /// `file name` without its colon.
    #[error("`file name:` needs its colon")]
    NoColon,
    /// A line that is none of the known kinds.
    #[error("unknown key or value")]
    Unknown,
    /// A time limit that is no number.
    #[error("not a number of seconds")]
    NoNumber,
    /// The table ends and a case has no command.
    #[error("a case without `run:`")]
    NoRun,
}

/// Reads a table.
pub fn read(path: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(path).at(path)?;
    let named = |(line, source)| Error::CaseTable {
        path: path.to_owned(),
        line,
        source,
    };
    parse(&text).map_err(named)
}

/// Parses a table; an error comes with its one-based line.
fn parse(text: &str) -> std::result::Result<Vec<Case>, (usize, Mistake)> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let error = |what| Err((index + 1, what));
        if let Some(name) = line.strip_prefix("== ") {
            if cases.iter().any(|case| case.name == name) {
                return error(Mistake::Twice);
            }
            cases.push(Case {
                name: name.to_owned(),
                timeout: 60,
                ..Case::default()
            });
            continue;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(case) = cases.last_mut() else {
            return error(Mistake::NoCase);
        };
        if let Err(what) = apply(case, line) {
            return error(what);
        }
    }
    match cases.iter().find(|case| case.run.is_empty()) {
        Some(_) => Err((text.lines().count(), Mistake::NoRun)),
        None => Ok(cases),
    }
}

fn apply(case: &mut Case, line: &str) -> std::result::Result<(), Mistake> {
    if let Some(content) = line.strip_prefix('|') {
        let Some((_, file)) = case.files.last_mut() else {
            return Err(Mistake::NoFile);
        };
        file.push_str(content);
        file.push('\n');
        return Ok(());
    }
    if let Some(name) = line.strip_prefix("file ") {
        let name = name.strip_suffix(':').ok_or(Mistake::NoColon)?;
        case.files.push((name.to_owned(), String::new()));
        return Ok(());
    }
    let (key, value) = line.split_once(':').ok_or(Mistake::Unknown)?;
    let value = value.trim();
    let words = || value.split_whitespace().map(str::to_owned).collect();
    match key {
        "run" => case.run = words(),
        "stdin" => value.clone_into(&mut case.stdin),
        "timeout" => case.timeout = value.parse().map_err(|_| Mistake::NoNumber)?,
        "check" => case.check = words(),
        "normalise" if value == "arch" => case.normalise_arch = true,
        _ => return Err(Mistake::Unknown),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_case() {
        let text = "# comment\n== a\nrun: sort -n x\nstdin: x\ncheck: y z\nfile x:\n|2\n||\n\n\
                    == b\nrun: true\ntimeout: 5\nnormalise: arch\n";
        let cases = parse(text).expect("valid");
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].run, ["sort", "-n", "x"]);
        assert_eq!(cases[0].files, [("x".to_owned(), "2\n|\n".to_owned())]);
        assert_eq!(cases[0].check, ["y", "z"]);
        assert!(cases[1].normalise_arch && cases[1].timeout == 5);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let mistake = |text| parse(text).expect_err("a mistake").0;
        assert_eq!(mistake("run: x\n"), 1);
        assert_eq!(mistake("== a\nrun: x\n== a\n"), 3);
        assert_eq!(mistake("== a\nrun: x\n|line\n"), 3);
        assert_eq!(mistake("== a\nrn: x\n"), 2);
        assert_eq!(mistake("== a\n"), 1);
    }
}
