//! What is told of a run: `explain`, `bench`, files for perf, logs of regions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ISOMORPH, check, folder, image, isomorph};

/// What `isomorph explain` does with the demo's image, its page in a folder of the test's own.
fn explained(test: &str, guest: &str, options: &[&str]) -> String {
    let page = folder(test).join("page.html");
    let (page, guest) = (page.to_str().unwrap(), image(guest));
    let mut words = vec!["explain", "-o", page];
    words.extend(options);
    words.push(&guest);
    check(&isomorph(&words), 0, "", &format!("wrote {page}"));
    fs::read_to_string(page).unwrap()
}

#[test]
fn a_page_shows_regions_at_every_stage() {
    let page = explained("explain", "queens", &["--jit", "tier2=always"]);
    assert!(page.contains("<h2 id=\"regions\">") && page.contains("<details id=\"r0\">"));
    for pane in [
        "Guest code",
        "IR before passes",
        "IR after passes",
        "CLIF",
        "Host code",
    ] {
        assert!(page.contains(&format!("aria-label=\"{pane}\"")), "{pane}");
    }
    assert!(page.contains("– installed") && !page.contains("http"));
}

#[test]
fn a_page_without_tier_2_shows_blocks() {
    let page = explained("explain-off", "queens", &["--jit", "tier2=off"]);
    assert!(page.contains("No region was formed") && page.contains("Hot blocks"));
}

#[test]
fn a_machine_is_explained_too() {
    let page = folder("explain-system").join("page.html");
    let (path, kernel) = (page.to_str().unwrap(), image("kernel"));
    let words = [
        "explain",
        "-o",
        path,
        "--system",
        "riscv64",
        "-nographic",
        "-kernel",
    ];
    let mut command = Command::new(ISOMORPH);
    let started = command.args(words).arg(kernel).stdin(Stdio::piped());
    let mut machine = started
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Ctrl-A x ends a machine.
    let mut keys = machine.stdin.take().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    std::io::Write::write_all(&mut keys, b"\x01x").unwrap();
    let output = machine.wait_with_output().unwrap();
    check(&output, 0, "", "wrote ");
    let text = fs::read_to_string(page).unwrap();
    assert!(text.contains("vCPU 0: ") && text.contains("accesses: "));
}

#[test]
fn figures_are_json_for_programs() {
    let file = folder("bench").join("figures.json");
    let path = file.to_str().unwrap();
    let words = [
        "bench",
        "--json",
        "--jit",
        "tier2=16",
        "-o",
        path,
        &image("fib"),
    ];
    check(&isomorph(&words), 0, "fib(38)", "wrote ");
    let text = fs::read_to_string(&file).unwrap();
    for key in [
        "\"tier1\":",
        "\"p99\":",
        "\"regions_formed\":",
        "\"share_of_cpu_time\":",
    ] {
        assert!(text.contains(key), "{key} in {text}");
    }
    let output = isomorph(&["bench", &image("fib")]);
    check(&output, 0, "fib(38)", "guest instructions a CPU second");
}

#[test]
fn what_cannot_be_told_is_an_error_before_the_guest_runs() {
    let words = ["explain", "-o", "/no/such/page.html", &image("fib")];
    let output = isomorph(&words);
    check(
        &output,
        1,
        "",
        "cannot write /no/such/page.html: No such file",
    );
    assert!(output.stdout.is_empty());
    check(&isomorph(&["explain"]), 1, "", "no program");
    check(&isomorph(&["bench", "/no/such"]), 1, "", "/no/such");
    let both = ["bench", "--system", "-L", "/", "riscv64"];
    check(&isomorph(&both), 2, "", "cannot be used with");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_after_the_guest_ran() {
    let full = isomorph(&["explain", "-o", "/dev/full", &image("fib")]);
    check(
        &full,
        1,
        "fib(38)",
        "isomorph: the report: cannot write /dev/full: No space",
    );
    let full = isomorph(&["bench", "-o", "/dev/full", &image("fib")]);
    check(&full, 1, "fib(38)", "cannot write /dev/full: No space left");
    // Nobody is there to be told, but for who asks for the status.
    let mut command = Command::new(ISOMORPH);
    command.args(["bench", &image("fib")]).stderr(full_disk());
    check(&command.output().unwrap(), 1, "fib(38)", "");
    let mut command = Command::new(ISOMORPH);
    command.args(["run", "/no/such"]).stderr(full_disk());
    check(&command.output().unwrap(), 1, "", "");
}

fn full_disk() -> fs::File {
    fs::File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_log_that_cannot_be_written_is_told_of_once() {
    let words = ["run", "-D", "/dev/full", "-d", "in_asm,op", &image("fib")];
    let output = isomorph(&words);
    let said = "isomorph: the log: cannot write /dev/full any further: No space left";
    check(&output, 0, "fib(38)", said);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    let words = "system riscv64 -nographic -D /dev/full -d in_asm";
    let mut command = Command::new(ISOMORPH);
    command
        .args(words.split(' '))
        .args(["-append", "demo", "-kernel", &image("kernel")]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    check(
        &output,
        0,
        "0 failed",
        "the log: cannot write /dev/full any further",
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("any further").count(), 1, "{said}");
}

/// Runs a program that may make files of 512 bytes (POSIX, `ulimit`), as on a full disk. The
/// folder that it runs in, and the process's number.
fn on_a_small_disk(test: &str, option: &str) -> (PathBuf, u32) {
    let folder = folder(test);
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", ISOMORPH, "run", "--jit", "tier2=always"]);
    command
        .args([option, &image("queens")])
        .current_dir(&folder);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let said = format!("isomorph: {}: cannot write /", &option[2..]);
    check(&output, 0, "92", &said);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("-{pid}.")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    (folder, pid)
}

#[test]
fn files_for_perf_end_with_a_whole_record_on_a_full_disk() {
    let (_, pid) = on_a_small_disk("perfmap-full", "--perfmap");
    let path = format!("/tmp/perf-{pid}.map");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    assert!(
        text.ends_with("@tier1\n") || text.ends_with("@tier2\n"),
        "{text}"
    );
    let (folder, pid) = on_a_small_disk("jitdump-full", "--jitdump");
    let dump = fs::read(folder.join(format!("jit-{pid}.dump"))).unwrap();
    let mut at = 40;
    while at < dump.len() {
        at += u32::from_ne_bytes(dump[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    assert_eq!(at, dump.len());
}

#[test]
fn a_dump_that_cannot_be_begun_is_an_error_before_the_guest_runs() {
    let folder = folder("jitdump-taken");
    let script = "mkdir jit-$$.dump; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", ISOMORPH, "run", "--jitdump"]);
    let output = command.arg(image("queens")).current_dir(folder).output();
    check(&output.unwrap(), 1, "", "isomorph: jitdump: cannot write /");
}

#[test]
fn a_jit_setting_that_is_wrong_is_named() {
    for (setting, words) in [
        ("tier=off", "did you mean `tier2`"),
        ("threads=0", "from 1 to 64"),
        (
            "without=hoisting",
            "there is no such pass; there are constants",
        ),
    ] {
        check(
            &isomorph(&["run", "--jit", setting, &image("fib")]),
            1,
            "",
            words,
        );
    }
    let mut command = Command::new(ISOMORPH);
    command
        .env("ISOMORPH_JIT", "mem=1")
        .args(["run", &image("fib")]);
    check(&command.output().unwrap(), 1, "", "ISOMORPH_JIT: `mem=1`");
}

#[test]
fn regions_are_logged_at_every_stage() {
    let items = "region,region_op,clif,region_asm";
    let output = isomorph(&["run", "--jit", "tier2=always", "-d", items, &image("fib")]);
    for words in [
        "chosen, everything is compiled",
        "OP after passes:",
        "CLIF:",
        "OUT: ",
    ] {
        check(&output, 0, "fib(38)", words);
    }
}

/// A program that says its process's number, under `isomorph run` with this option in `folder`.
fn profiled(folder: &Path, option: &str) -> u32 {
    let mut command = Command::new(ISOMORPH);
    command
        .args(["run", "--jit", "tier2=always", option, &image("queens")])
        .current_dir(folder);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait_with_output().unwrap().status.success());
    pid
}

#[test]
fn the_map_for_perf_names_both_tiers() {
    let pid = profiled(&folder("perfmap"), "--perfmap");
    let path = format!("/tmp/perf-{pid}.map");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    let mut tiers = [0, 0];
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut hex = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        assert!(hex() != 0 && hex() != 0);
        let name = words.next().unwrap();
        tiers[usize::from(name.ends_with("@tier2"))] += 1;
        assert!(name.contains("@tier"), "{line}");
    }
    assert!(tiers[0] > 10 && tiers[1] > 0, "{tiers:?}");
}

#[test]
fn the_dump_for_perf_is_whole() {
    let folder = folder("jitdump");
    let pid = profiled(&folder, "--jitdump");
    let bytes = fs::read(folder.join(format!("jit-{pid}.dump"))).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(
        (word(0), word(4), word(8), word(12)),
        (0x4a69_5444, 1, 40, 62)
    );
    let (mut at, mut loads) = (40, 0);
    while at < bytes.len() {
        // Loads of code, and the end.
        assert!(matches!(word(at), 0 | 3), "record {} at {at}", word(at));
        loads += usize::from(word(at) == 0);
        at += word(at + 4);
    }
    assert_eq!(at, bytes.len());
    assert!(loads > 10);
}
