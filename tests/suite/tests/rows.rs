//! The instruction rows of riscv64: every instruction of the specification has some, and all of
//! them hold.

mod native;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use isomorph_frontend::Guest;
use isomorph_riscv::Riscv64;
use isomorph_riscv::decode::{Op, decode_c16, decode_w32};
use isomorph_tests::rows::{Executor, Interpreter, PC, Row, parse};

/// Failures that are printed before the rest is only counted.
const MAX_SHOWN: usize = 40;

fn all() -> Vec<(PathBuf, Vec<Row>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rows/riscv64");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("rows")
        .map(|f| f.expect("a file").path())
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        let rows = parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, rows)
    };
    files.into_iter().map(read).collect()
}

/// Fails with every row for which `check` has something to say.
fn each(what: &str, mut check: impl FnMut(&Row) -> Vec<String>) {
    let mut failed = 0;
    let mut report = String::new();
    for (path, rows) in all() {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for row in rows {
            let wrong = check(&row);
            if wrong.is_empty() {
                continue;
            }
            failed += 1;
            if failed <= MAX_SHOWN {
                let (line, text, wrong) = (row.line, &row.text, wrong.join("; "));
                report.push_str(&format!("{file}:{line}: {text}: {wrong}\n"));
            }
        }
    }
    assert!(failed == 0, "{what}: {failed} rows fail\n{report}");
}

fn run_on(executor: &mut dyn Executor) {
    let name = executor.name();
    each(name, |row| row.check(executor));
}

#[test]
fn rows_hold_on_the_interpreter() {
    run_on(&mut Interpreter::new(Riscv64::default()));
}

#[test]
fn rows_name_the_instruction_that_is_decoded() {
    each("decoding", |row| {
        let op = if row.len == 2 {
            decode_c16(row.bits)
        } else {
            decode_w32(row.bits)
        };
        let name = op.map_or("illegal", |op| op.info().name);
        if name == row.name {
            vec![]
        } else {
            vec![format!("decoded as {name}")]
        }
    });
}

#[test]
fn rows_show_the_disassembly() {
    let guest = Riscv64::default();
    each("disassembly", |row| {
        let mut text = String::new();
        guest.disassemble(PC, &row.code(), &mut text);
        let text = text.replace('\t', " ");
        if text == row.text {
            vec![]
        } else {
            vec![format!("disassembled as {text}")]
        }
    });
}

#[test]
fn every_instruction_has_a_row() {
    let named: BTreeSet<String> = all()
        .into_iter()
        .flat_map(|f| f.1)
        .map(|r| r.name)
        .collect();
    let without: Vec<&str> = Op::ALL
        .iter()
        .map(|op| op.info().name)
        .filter(|n| !named.contains(*n))
        .collect();
    assert!(without.is_empty(), "no row for {}", without.join(", "));
}

#[test]
fn a_wrong_row_fails() {
    let mut interpreter = Interpreter::new(Riscv64::default());
    for wrong in [
        "addi 00150513 addi a0,a0,1 | a0=1 => a0=3",
        "addi 00150513 addi a0,a0,1 | a0=1 => a0=2 a1=0",
        "addi 00150513 addi a0,a0,1 | a0=1 => a0=2 pc=0x10002",
        "addi 00150513 addi a0,a0,1 | a0=1 => trap=illegal",
        "addi 00150513 addi a0,a0,1 | a0=1 => a0=2 flags=NX",
        "addi 00150513 addi a0,a0,1 | a0=1 => a0=2 [0x20000]=01",
    ] {
        let rows = parse(wrong).expect("a row");
        assert!(!rows[0].check(&mut interpreter).is_empty(), "{wrong}");
    }
}

#[test]
fn rows_hold_on_tier_1() {
    run_on(&mut native::Native::tier_1());
}

/// Rows that tier 2 refuses run on tier 1: their number is bounded, or this would test nothing.
#[test]
fn rows_hold_on_tier_2() {
    let mut tier_2 = native::Native::tier_2();
    run_on(&mut tier_2);
    let (compiled, refused) = tier_2.regions();
    println!("{compiled} regions, refused: {refused:?}");
    let rows: usize = all().iter().map(|file| file.1.len()).sum();
    assert!(
        compiled * 10 > rows * 9,
        "{compiled} of {rows}, {refused:?}"
    );
}
