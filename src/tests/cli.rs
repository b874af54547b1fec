//! The command from outside: exit statuses, messages, the names it answers to, guests that run.

mod measured;
mod system;

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ISOMORPH: &str = env!("CARGO_BIN_EXE_isomorph");

fn image(name: &str) -> String {
    format!("{}/guests/images/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A fresh folder of a test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A link to the command under another name.
fn link(test: &str, name: &str) -> PathBuf {
    let link = folder(test).join(name);
    symlink(ISOMORPH, &link).unwrap();
    link
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QEMU_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().unwrap()
}

fn isomorph(arguments: &[&str]) -> Output {
    run(Path::new(ISOMORPH), arguments)
}

fn check(output: &Output, status: i32, stdout: &str, stderr: &str) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let shown = format!("{}\n{out}\n{err}", output.status);
    assert_eq!(output.status.code(), Some(status), "{shown}");
    assert!(out.contains(stdout), "no {stdout:?} in {shown}");
    assert!(err.contains(stderr), "no {stderr:?} in {shown}");
}

#[test]
fn help_and_versions_succeed() {
    check(&isomorph(&["--version"]), 0, env!("CARGO_PKG_VERSION"), "");
    check(&isomorph(&["help"]), 0, "binfmt", "");
    check(&isomorph(&["run", "--help"]), 0, "QEMU_LD_PREFIX", "");
    check(&isomorph(&["run", "-d", "help"]), 0, "out_asm", "");
    check(&isomorph(&["run", "--cpu", "help"]), 0, "rv64", "");
    check(&isomorph(&["run", "--jit", "help"]), 0, "tier2=auto", "");
    let machine = ["system", "riscv64", "-jit", "help"];
    check(&isomorph(&machine), 0, "dead-stores", "");
    check(&isomorph(&["binfmt"]), 0, ":POCF\n", "");
}

#[test]
fn output_that_nobody_takes_is_an_error() {
    for arguments in [
        ["binfmt", "--print"].as_slice(),
        &["run", "-d", "help"],
        &["--help"],
        &["--version"],
        &["demo"],
    ] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = Command::new(ISOMORPH);
        let output = command.args(arguments).stdout(full).output().unwrap();
        check(
            &output,
            1,
            "",
            "cannot write to standard output: No space left",
        );
    }
}

#[test]
fn mistakes_are_named() {
    check(&isomorph(&["run", "--strce", "x"]), 2, "", "--strace");
    check(&isomorph(&["run"]), 1, "", "no program");
    check(&isomorph(&["run", "-d", "nosuch", "x"]), 1, "", "in_asm");
    check(&isomorph(&["run", "-s", "much", "x"]), 1, "", "`much`");
    check(
        &isomorph(&["run", "--cpu", "nosuch", &image("fib")]),
        1,
        "",
        "nosuch",
    );
}

#[test]
fn programs_that_cannot_run_exit_as_under_qemu() {
    check(
        &isomorph(&["run", "/no/such/program"]),
        1,
        "",
        "/no/such/program",
    );
    check(&isomorph(&["run", "/etc/passwd"]), 1, "", "/etc/passwd");
    let text = folder("text").join("executable");
    std::fs::write(&text, "no program\n").unwrap();
    std::fs::set_permissions(&text, Permissions::from_mode(0o755)).unwrap();
    check(
        &run(Path::new(ISOMORPH), &["run", text.to_str().unwrap()]),
        1,
        "",
        "Exec format",
    );
    check(&isomorph(&["run", "/etc"]), 1, "", "/etc");
    check(&isomorph(&["run", ISOMORPH]), 255, "", "isomorph");
}

#[test]
fn through_qemus_name_it_takes_qemus_options() {
    let qemu = link("qemu", "qemu-riscv64-static");
    check(&run(&qemu, &["-version"]), 0, "qemu-riscv64 version", "");
    check(&run(&qemu, &["-h"]), 0, "-strace", "");
    check(&run(&qemu, &[]), 1, "", "no program");
    check(&run(&qemu, &["-strce", "x"]), 1, "", "`-strace`");
    check(&run(&qemu, &["-L"]), 1, "", "`-L` needs a value");
    check(&run(&qemu, &["-g", "1", "x"]), 1, "", "gdb");
    check(
        &run(&qemu, &["-cpu", "rv64", "-0", "q", &image("queens")]),
        0,
        "2680",
        "",
    );
}

#[test]
fn guests_run_and_are_counted() {
    check(
        &isomorph(&["run", &image("queens")]),
        0,
        "queens: 1 0 0 2 10 4 40",
        "",
    );
    check(
        &isomorph(&["run", "--stats", &image("queens")]),
        0,
        "queens:",
        "blocks",
    );
    let logged = isomorph(&["run", "--strace", "-d", "in_asm", &image("queens")]);
    check(&logged, 0, "queens:", "exit_group");
}

#[test]
fn the_kernels_call_keeps_argv0() {
    let binfmt = link("binfmt", "isomorph-binfmt-P");
    let queens = image("queens");
    check(&run(&binfmt, &[&queens, "other-name"]), 0, "queens:", "");
    check(&run(&binfmt, &[]), 1, "", "binfmt");
}

#[test]
fn the_demo_shows_what_happened() {
    check(&isomorph(&["demo", "queens"]), 0, "native ms", "");
}

/// What the kernel of `guests/kernel` checks on its tour, in order.
const TOUR: [&str; 12] = [
    "info", "time", "mem", "page", "spaces", "traps", "code", "irq", "user", "harts", "prime",
    "mandel",
];

#[test]
fn the_demo_boots_a_kernel() {
    let output = isomorph(&["demo", "kernel"]);
    check(&output, 0, "12 ok, 0 failed", "");
    check(&output, 0, "passed its checks and powered off", "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(str::trim_end);
    let passed: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("ok     "))
        .collect();
    assert_eq!(passed, TOUR, "{text}");
}

#[test]
fn the_kernels_tour_does_without_what_is_optional() {
    let kernel = image("kernel");
    for (harts, cpu) in [("1", "rv64,sstc=off"), ("3", "rv64,svadu=off")] {
        let machine = ["system", "riscv64", "-nographic", "-m", "64"];
        let guest = [
            "-smp", harts, "-cpu", cpu, "-kernel", &kernel, "-append", "demo",
        ];
        check(
            &isomorph(&[&machine[..], &guest[..]].concat()),
            0,
            "12 ok, 0 failed",
            "",
        );
    }
}
