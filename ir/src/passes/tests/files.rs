//! `ir/tests/passes/*.ir`: the passes to run, a region, `=>`, and the region they make of it.
//! `BLESS=1` writes what stands after the arrow.

use super::super::{Context, Faults, PASSES, edit};
use super::compare::same;
use crate::Region;
use crate::testing::TABLE;
use std::path::Path;

#[test]
fn every_file_gives_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passes");
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let wrong: Vec<String> = paths.iter().filter_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the file, if something is.
fn check(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let (before, want) = text.split_once("=>\n").unwrap_or((&text, ""));
    let words = before.split(':').next().unwrap_or("");
    let faults = match words.contains("recovered") {
        true => Faults::Recovered,
        false => Faults::Precise,
    };
    let context = Context {
        table: &TABLE,
        faults,
    };
    let region = Region::parse(before, &TABLE).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    assert_eq!(region.verify(&TABLE), Ok(()), "{path:?}");
    let mut after = region.clone();
    let named = |word: &str| PASSES.iter().find(|p| p.name == word);
    for pass in words.split_whitespace().filter_map(named) {
        (pass.run)(&mut after, &context);
        assert_eq!(after.verify(&TABLE), Ok(()), "{path:?}: {}", pass.name);
    }
    same(&region, &after, &context, 7, 200);
    if after.reprobes.is_empty() {
        edit::compact(&mut after);
    }
    let have = after.text(&TABLE).to_string();
    if have == want {
        return None;
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{before}=>\n{have}")).unwrap();
        return None;
    }
    Some(format!("{}\nwant\n{want}have\n{have}", path.display()))
}
