//! The dependency arrows between the crates, read from `cargo metadata`.
//!
//! What a crate does not depend on it cannot name: these tables are the borders of the house
//! (docs/ARCHITECTURE.md). A new arrow is a change of the design and belongs here first.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Each crate of the product and the only crates of ours that it may build on.
const ARROWS: &[(&str, &[&str])] = &[
    ("isomorph-softfloat", &[]),
    ("isomorph-ir", &["isomorph-softfloat"]),
    ("isomorph-frontend", &["isomorph-ir"]),
    ("isomorph-decode", &[]),
    (
        "isomorph-riscv",
        &[
            "isomorph-decode",
            "isomorph-frontend",
            "isomorph-ir",
            "isomorph-softfloat",
        ],
    ),
    ("isomorph-code", &["isomorph-ir"]),
    (
        "isomorph-baseline",
        &["isomorph-code", "isomorph-ir", "isomorph-softfloat"],
    ),
    // Tier 2 comes and goes as tier 1's blocks do: by its conventions.
    (
        "isomorph-cranelift",
        &["isomorph-baseline", "isomorph-code", "isomorph-ir"],
    ),
    ("isomorph-softmmu", &[]),
    (
        "isomorph-engine",
        &[
            "isomorph-baseline",
            "isomorph-code",
            "isomorph-cranelift",
            "isomorph-frontend",
            "isomorph-ir",
            "isomorph-softmmu",
        ],
    ),
    // Timers and maps of the host, for whoever measures.
    ("isomorph-probe", &[]),
    // Observers of an engine: they know what it tells, and neither flags nor machines.
    (
        "isomorph-report",
        &["isomorph-engine", "isomorph-ir", "isomorph-probe"],
    ),
    ("isomorph-machine", &["isomorph-softmmu"]),
    ("isomorph-block", &[]),
    ("isomorph-chardev", &[]),
    ("isomorph-net", &[]),
    // A device names neither a board nor an accelerator.
    (
        "isomorph-devices",
        &[
            "isomorph-block",
            "isomorph-chardev",
            "isomorph-machine",
            "isomorph-net",
            "isomorph-softmmu",
        ],
    ),
    (
        "isomorph-boards",
        &["isomorph-devices", "isomorph-machine", "isomorph-softmmu"],
    ),
    // The translator as an accelerator knows no device and no guest.
    (
        "isomorph-accel-tcg",
        &[
            "isomorph-engine",
            "isomorph-frontend",
            "isomorph-machine",
            "isomorph-softmmu",
        ],
    ),
    // Firmware for one instruction set: it knows that set's privileged registers.
    (
        "isomorph-sbi",
        &[
            "isomorph-frontend",
            "isomorph-machine",
            "isomorph-riscv",
            "isomorph-softmmu",
        ],
    ),
    // User mode runs guest programs of one instruction set: it knows that set's registers.
    (
        "isomorph-linux-user",
        &[
            "isomorph-engine",
            "isomorph-frontend",
            "isomorph-ir",
            "isomorph-probe",
            "isomorph-report",
            "isomorph-riscv",
        ],
    ),
    (
        "isomorph",
        &[
            "isomorph-accel-tcg",
            "isomorph-block",
            "isomorph-boards",
            "isomorph-chardev",
            "isomorph-devices",
            "isomorph-engine",
            "isomorph-frontend",
            "isomorph-ir",
            "isomorph-linux-user",
            "isomorph-machine",
            "isomorph-net",
            "isomorph-report",
            "isomorph-riscv",
            "isomorph-sbi",
            "isomorph-softmmu",
        ],
    ),
    // The harness measures programs; it links nothing that it measures.
    ("isomorph-bench", &[]),
    // Random programs are made and judged where the others are.
    (
        "isomorph-tests",
        &["isomorph-frontend", "isomorph-ir", "isomorph-riscv"],
    ),
    ("xtask", &["isomorph-tests"]),
    // Fuzz targets feed whatever reads data from outside.
    (
        "isomorph-fuzz",
        &[
            "isomorph-block",
            "isomorph-boards",
            "isomorph-chardev",
            "isomorph-devices",
            "isomorph-linux-user",
            "isomorph-machine",
            "isomorph-net",
            "isomorph-softmmu",
        ],
    ),
];

/// Crates of others that only these crates of the product may name: what is absent elsewhere.
const ONLY_HERE: &[(&str, &[&str])] = &[
    // Only the command line knows flags.
    ("clap", &["isomorph", "isomorph-bench"]),
    // Only tier 2 knows Cranelift.
    ("cranelift-codegen", &["isomorph-cranelift"]),
    ("cranelift-frontend", &["isomorph-cranelift"]),
    // Executable files are known to user mode, boards, and where functions get their names.
    (
        "goblin",
        &["isomorph-boards", "isomorph-linux-user", "isomorph-report"],
    ),
    // Host code is read where a fault's address is found and where it is shown.
    ("iced-x86", &["isomorph-engine", "isomorph-report"]),
    // The host's system interface stays where `unsafe` is allowed.
    (
        "libc",
        &[
            "isomorph-code",
            "isomorph-engine",
            "isomorph-linux-user",
            "isomorph-probe",
            "isomorph-softmmu",
        ],
    ),
    // What needs a C++ compiler is built by one stage of the tests alone.
    ("libfuzzer-sys", &["isomorph-fuzz"]),
    // The product writes JSON where it tells figures.
    ("serde", &["isomorph-bench"]),
    ("serde_json", &["isomorph-bench", "isomorph-report"]),
];

/// The crate that tests the others may depend on all of them.
const TESTS: &str = "isomorph-tests";

/// One dependency as `cargo metadata` tells it; dependencies for tests alone are left out.
struct Arrow {
    from: String,
    to: String,
    ours: bool,
}

fn arrows() -> Vec<Arrow> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut arrows = Vec::new();
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            if dependency["kind"] == "dev" {
                continue;
            }
            let (from, to) = (text(&package["name"]), text(&dependency["name"]));
            arrows.push(Arrow {
                from,
                to,
                ours: dependency["path"].is_string(),
            });
        }
    }
    assert!(
        !arrows.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    arrows
}

/// Fails with all `violations`, each on its own line.
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn crates_build_only_on_what_the_design_allows() {
    let allowed = |arrow: &Arrow| {
        let entry = ARROWS.iter().find(|(name, _)| *name == arrow.from);
        entry.is_some_and(|(_, targets)| targets.contains(&arrow.to.as_str()))
    };
    let arrows = arrows();
    let bad = arrows
        .iter()
        .filter(|a| a.ours && a.from != TESTS && !allowed(a));
    none(
        &bad.map(|a| format!("{} must not depend on {}", a.from, a.to))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn crates_of_others_stay_where_they_belong() {
    let forbidden = |arrow: &Arrow| {
        let entry = ONLY_HERE.iter().find(|(name, _)| *name == arrow.to);
        entry.is_some_and(|(_, homes)| !homes.contains(&arrow.from.as_str()))
    };
    let arrows = arrows();
    let bad = arrows
        .iter()
        .filter(|a| !a.ours && a.from != TESTS && forbidden(a));
    none(
        &bad.map(|a| format!("{} must not name {}", a.from, a.to))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_allowed_arrows_are_acyclic() {
    // Each crate of the table comes after everything that it may build on.
    let mut before = BTreeSet::new();
    for (name, targets) in ARROWS {
        let later = targets.iter().filter(|target| !before.contains(*target));
        none(
            &later
                .map(|target| format!("{name} -> {target} points upwards"))
                .collect::<Vec<_>>(),
        );
        before.insert(name);
    }
}
