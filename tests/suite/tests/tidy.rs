//! Habits of the house that a program can check (docs/ARCHITECTURE.md), for every source file.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates of the product: no guest and no user may meet an `unwrap` there.
const PRODUCT: &[&str] = &["ir", "frontend", "backend", "softmmu", "machine", "src"];

/// The only crates that may use `unsafe`; clippy asks for `// SAFETY:` on each block.
const UNSAFE_CRATES: &[&str] = &[
    "backend/code",
    "backend/baseline",
    "backend/engine",
    "backend/probe",
    "machine/linux-user",
    "softmmu",
];

/// Columns of a line.
const LINE: usize = 100;

/// Lines of a function.
const FUNCTION: usize = 100;

/// Lines of a file, unless it is a table.
const FILE: usize = 900;

/// Files that are a table: they are as long, and their lines as wide, as what they list.
const TABLES: &[&str] = &["ir/src/op.rs", "tests/rows"];

/// A source file: its path from the root of the repository and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines with their one-based numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The lines outside unit tests, as far as the file is not a test as a whole.
    fn product_lines(&self) -> Vec<(usize, &str)> {
        let product = PRODUCT
            .iter()
            .any(|folder| self.path.starts_with(&format!("{folder}/")));
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let test =
            self.path.contains("/tests/") || name.ends_with("tests.rs") || name == "build.rs";
        // A module of nothing but tests is left to its parent's `#[cfg(test)]`.
        let module = self.text.contains("#[test]") && !self.text.contains("#[cfg(test)]");
        if !product || test || module {
            return Vec::new();
        }
        let mut inside: Option<String> = None;
        let mut attribute = false;
        let mut lines = Vec::new();
        for (number, line) in self.lines() {
            if let Some(end) = &inside {
                if line == end {
                    inside = None;
                }
                continue;
            }
            if attribute && line.ends_with('{') {
                inside = Some(format!("{}}}", indent(line)));
            } else if !attribute {
                lines.push((number, line));
            }
            attribute = line.trim() == "#[cfg(test)]";
        }
        lines
    }
}

/// The blanks before the first word.
fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository is there")
}

/// All files of the repository with one of these extensions.
fn sources(extensions: &[&str]) -> Vec<Source> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let relative = path
                .strip_prefix(&root)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if extensions.iter().any(|extension| name.ends_with(extension)) {
                // A file that vanishes in the meantime is no concern of ours.
                if let Ok(text) = fs::read_to_string(&path) {
                    found.push(Source {
                        path: relative,
                        text,
                    });
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty());
    found
}

/// Fails with all `violations`, each on its own line.
fn none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "\n{}\n{} in all",
        violations.join("\n"),
        violations.len()
    );
}

/// Collects `path:line: what` for each line that `wrong` finds fault with.
fn lines_that(sources: &[Source], wrong: impl Fn(&Source, &str) -> Option<String>) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for (number, line) in source.lines() {
            if let Some(what) = wrong(source, line) {
                violations.push(format!("{}:{number}: {what}", source.path));
            }
        }
    }
    violations
}

#[test]
fn nothing_is_left_to_do() {
    let macros = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    let wrong = |_: &Source, line: &str| {
        macros
            .iter()
            .find(|name| line.contains(*name))
            .map(|name| format!("{name})"))
    };
    none(&lines_that(&sources(&[".rs"]), wrong));
}

#[test]
fn the_product_does_not_unwrap() {
    let mut violations = Vec::new();
    for source in sources(&[".rs"]) {
        for (number, line) in source.product_lines() {
            let comment = line.trim_start().starts_with("//");
            if !comment && line.contains(".unwrap()") {
                violations.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none(&violations);
}

#[test]
fn unsafe_stays_in_its_crates() {
    let word = concat!("uns", "afe");
    let uses = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        [" {", " fn", " impl", " extern", " trait"]
            .iter()
            .any(|after| code.contains(&format!("{word}{after}")))
    };
    let allowed = |path: &str| UNSAFE_CRATES.iter().any(|name| path.starts_with(name));
    let wrong = |source: &Source, line: &str| {
        (uses(line) && !allowed(&source.path) && !source.path.contains("/tests/"))
            .then(|| line.trim().to_owned())
    };
    none(&lines_that(&sources(&[".rs"]), wrong));
}

#[test]
fn every_other_crate_forbids_unsafe() {
    let attribute = concat!("#![forbid(uns", "afe_code)]");
    let mut violations = Vec::new();
    for source in crate_roots() {
        let allowed = UNSAFE_CRATES
            .iter()
            .any(|name| source.path.starts_with(name));
        if !allowed && !source.text.contains(attribute) {
            violations.push(format!("{}: lacks {attribute}", source.path));
        }
    }
    none(&violations);
}

/// The root files of all crates.
fn crate_roots() -> Vec<Source> {
    let manifests = sources(&["Cargo.toml"]);
    let folders: Vec<String> = manifests
        .iter()
        .map(|manifest| manifest.path.replace("Cargo.toml", "src/"))
        .collect();
    let is_root = |source: &Source| {
        let roots = ["lib.rs", "main.rs"];
        roots.iter().any(|name| {
            folders
                .iter()
                .any(|folder| source.path == format!("{folder}{name}"))
        })
    };
    sources(&[".rs"]).into_iter().filter(is_root).collect()
}

#[test]
fn every_crate_says_its_duty_first() {
    let silent = |source: &Source| {
        let first = source.text.lines().next().unwrap_or_default();
        (!first.starts_with("//! ") || !first.ends_with('.'))
            .then(|| format!("{}: its first line is no `//! ` sentence", source.path))
    };
    none(&crate_roots().iter().filter_map(silent).collect::<Vec<_>>());
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let without = |source: &Source| {
        let package = source.text.contains("[package]");
        (package && !source.text.contains("[lints]\nworkspace = true"))
            .then(|| format!("{}: no `[lints] workspace = true`", source.path))
    };
    none(
        &sources(&["Cargo.toml"])
            .iter()
            .filter_map(without)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn lines_fit() {
    let wrong = |source: &Source, line: &str| {
        let columns = line.chars().count();
        (columns > LINE && !is_table(source) && !line.contains("://"))
            .then(|| format!("{columns} columns"))
    };
    none(&lines_that(&sources(&[".rs", ".c", ".sh"]), wrong));
}

fn is_table(source: &Source) -> bool {
    TABLES.iter().any(|table| source.path.starts_with(table))
}

#[test]
fn files_are_short() {
    let long = |source: &Source| {
        let lines = source.text.lines().count();
        (lines > FILE && !is_table(source)).then(|| format!("{}: {lines} lines", source.path))
    };
    none(
        &sources(&[".rs"])
            .iter()
            .filter_map(long)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn functions_are_short() {
    let mut violations = Vec::new();
    for source in sources(&[".rs"]) {
        let mut open: Option<(usize, String, String)> = None;
        for (number, line) in source.lines() {
            if let Some((start, end, head)) = &open {
                if line == end {
                    let length = number - start + 1;
                    if length > FUNCTION {
                        violations.push(format!("{}:{start}: {length} lines: {head}", source.path));
                    }
                    open = None;
                }
            } else if is_function(line) && !line.ends_with('}') && !line.ends_with(';') {
                let end = format!("{}}}", indent(line));
                open = Some((number, end, line.trim().to_owned()));
            }
        }
    }
    none(&violations);
}

/// Whether a function's head begins on this line.
fn is_function(line: &str) -> bool {
    let qualifiers = ["const", "async", "uns\u{61}fe", "extern", "\"C\""];
    let mut words = line.split_whitespace().peekable();
    while words
        .next_if(|w| w.starts_with("pub") || qualifiers.contains(w))
        .is_some()
    {}
    words.next() == Some("fn")
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "iso/"),
        concat!("/tmp/", "target"),
        concat!("/ro", "ot/."),
        concat!("deb.", "debian.org"),
        concat!("crates", ".io"),
        concat!("registry.", "npmjs"),
    ];
    let wrong = |_: &Source, line: &str| {
        words
            .iter()
            .find(|word| line.contains(*word))
            .map(|word| format!("names {word}"))
    };
    none(&lines_that(
        &sources(&[".rs", ".md", ".toml", ".sh", ".c", ".cases"]),
        wrong,
    ));
}

#[test]
fn errors_are_no_strings() {
    let mut violations = Vec::new();
    for source in sources(&[".rs"]) {
        let lines = source.product_lines();
        let lines = if lines.is_empty() {
            source.lines().collect()
        } else {
            lines
        };
        for (number, line) in lines {
            let code = line.split("//").next().unwrap_or_default();
            let mut errors = error_types(code).into_iter();
            if let Some(error) = errors.find(|error| error == "String" || error.ends_with("str")) {
                violations.push(format!("{}:{number}: {error}", source.path));
            }
        }
    }
    none(&violations);
}

/// The second arguments of each `Result<…, …>` on a line.
fn error_types(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, name) in code.match_indices("Result<") {
        let (mut depth, mut comma) = (1, None);
        for (offset, byte) in code.bytes().enumerate().skip(at + name.len()) {
            match byte {
                b'<' | b'(' | b'[' => depth += 1,
                b'>' | b')' | b']' if code.as_bytes()[offset - 1] != b'-' => depth -= 1,
                b',' if depth == 1 => comma = Some(offset),
                _ => {}
            }
            if depth == 0 {
                found.extend(comma.map(|comma| code[comma + 1..offset].trim().to_owned()));
                break;
            }
        }
    }
    found
}

#[test]
fn error_types_are_found() {
    let result = concat!("Resu", "lt<");
    let types = |arguments: &str| error_types(&format!("{result}{arguments}"));
    assert_eq!(types("Vec<(u8, u8)>, String> {"), ["String"]);
    assert_eq!(
        types("u8>, fn(u8) -> Option<u8>, Error>"),
        Vec::<String>::new()
    );
    assert_eq!(types("fn() -> u8, Error>"), ["Error"]);
    assert_eq!(types("(), &'static str>"), ["&'static str"]);
}

#[test]
fn every_dependency_has_its_reason() {
    let reasons = fs::read_to_string(root().join("docs/dependencies.md")).unwrap_or_default();
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    let section = manifest
        .split("[workspace.dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name));
    let others: Vec<&str> = names.filter(|name| !name.starts_with("isomorph")).collect();
    assert!(!others.is_empty());
    let silent = others
        .iter()
        .filter(|name| !reasons.contains(&format!("`{name}`")));
    none(
        &silent
            .map(|name| format!("docs/dependencies.md: no reason for `{name}`"))
            .collect::<Vec<_>>(),
    );
}
