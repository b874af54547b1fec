//! Random straight-line programs agree between the interpreter, both tiers and QEMU.
//!
//! `ISOMORPH_SEED` repeats a run and `ISOMORPH_PROGRAMS` says how many programs it has;
//! `ISOMORPH_RANDOM_EMULATOR` is another command than `qemu-riscv64` to compare with.

mod native;

use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use isomorph_frontend::Guest;
use isomorph_riscv::Riscv64;
use isomorph_tests::random::{Generator, Program, common_features, every_feature};
use isomorph_tests::random_elf::{batch, result};
use isomorph_tests::rows::{Executor, Interpreter, Left, PC, Situation, differences};

/// Instructions in a program.
const INSNS: usize = 50;

/// Programs of a run: a million instructions.
const PROGRAMS: u64 = 20_000;

/// Tier 2 takes so many times as long to compile a program as tier 1 takes to run it.
const SLOWER: u64 = 20;

/// The seeds of this run.
fn seeds() -> Range<u64> {
    let setting = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |time| u64::from(time.subsec_nanos()))
    };
    let first = setting("ISOMORPH_SEED").unwrap_or_else(clock);
    let programs = setting("ISOMORPH_PROGRAMS").unwrap_or(PROGRAMS);
    println!("ISOMORPH_SEED={first} ISOMORPH_PROGRAMS={programs}");
    first..first + programs
}

/// Fails if the situations differ.
fn agree(seed: u64, program: &Program, got: &Situation, want: &Situation) {
    let wrong = differences(got, want);
    if !wrong.is_empty() {
        panic!("seed {seed}\n{}\n{}", wrong.join("\n"), listing(program));
    }
}

/// The disassembly of a program, a line an instruction.
fn listing(program: &Program) -> String {
    let guest = Riscv64::default();
    let (mut at, mut text) = (0, String::new());
    while at < program.code.len() {
        text.push_str(&format!("  {at:3x}  "));
        at += guest.disassemble(
            program.start.state.pc + at as u64,
            &program.code[at..],
            &mut text,
        ) as usize;
        text.push('\n');
    }
    text
}

/// Runs programs on the interpreter and on a tier.
fn interpreter_and_tier_agree(mut tier: native::Native, seeds: Range<u64>) -> native::Native {
    let generator = Generator::new(every_feature());
    let mut reference = Interpreter::new(Riscv64::default());
    let mut insns = 0;
    for seed in seeds {
        let program = generator.program(seed, INSNS, PC, 0);
        let (mut want, mut got) = (program.start.clone(), program.start.clone());
        let want_left = match reference.execute(&program.code, &mut want) {
            Left::Trap(kind, _) if tier.serves(kind) => Left::Next,
            other => other,
        };
        let left = tier.execute(&program.code, &mut got);
        agree(seed, &program, &got, &want);
        assert_eq!(left, want_left, "seed {seed}");
        insns += program.insns;
    }
    println!("{insns} instructions");
    tier
}

#[test]
fn interpreter_and_tier_1_agree() {
    interpreter_and_tier_agree(native::Native::tier_1(), seeds());
}

#[test]
fn interpreter_and_tier_2_agree() {
    let all = seeds();
    let some = all.start..all.start + (all.end - all.start).div_ceil(SLOWER);
    let tier = interpreter_and_tier_agree(native::Native::tier_2(), some);
    let (compiled, why) = tier.regions();
    println!("{compiled} regions, refused: {why:?}");
    let refused: usize = why.values().sum();
    assert!(
        compiled > 10 * refused,
        "{compiled} regions, refused: {why:?}"
    );
}

/// Programs in one executable.
const BATCH: u64 = 500;

/// What QEMU 7.2 gets wrong: it counts beyond bit 31.
const WRONG_IN_OLD_QEMU: &[&str] = &["ctzw"];
/// The emulator that must agree, or nothing if this machine has none.
fn emulator(arguments: &[&str]) -> Option<Output> {
    let command = std::env::var("ISOMORPH_RANDOM_EMULATOR");
    let command = command.unwrap_or_else(|_| "qemu-riscv64".into());
    let mut words = command.split_whitespace();
    Command::new(words.next()?)
        .args(words)
        .args(arguments)
        .output()
        .ok()
}

/// What the emulator can do, and how it is asked for it. QEMU 10.0 miscompiles some blocks (a
/// division after a multiplication, a constant after an atomic); alone, an instruction is right.
fn capabilities(help: &Output) -> (&'static [&'static str], Generator) {
    let models = String::from_utf8_lossy(&help.stdout);
    if models.split_whitespace().any(|model| model == "max") {
        let options = &["-cpu", "max", "-one-insn-per-tb"];
        (options, Generator::new(every_feature()))
    } else {
        (
            &["-cpu", "rv64"],
            Generator::new(common_features()).without(WRONG_IN_OLD_QEMU),
        )
    }
}

#[test]
fn interpreter_and_qemu_agree() {
    let Some(help) = emulator(&["-cpu", "help"]) else {
        eprintln!("skipped: there is no qemu-riscv64");
        return;
    };
    let (options, generator) = capabilities(&help);
    println!("{}", options.join(" "));
    let mut reference = Interpreter::new(Riscv64::default());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("random-programs");
    let mut insns = 0;
    let seeds = seeds();
    for first in seeds.clone().step_by(BATCH as usize) {
        let batch = batch(&generator, first, BATCH.min(seeds.end - first), INSNS);
        std::fs::write(&path, &batch.file).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
        let output = emulator(&[options, &[&path.to_string_lossy()]].concat()).expect("runs");
        assert!(
            output.status.success(),
            "seeds from {first}: {:?}",
            output.status
        );
        for (index, program) in batch.programs.iter().enumerate() {
            let mut want = program.start.clone();
            reference.execute(&program.code, &mut want);
            let got = result(&batch, &output.stdout, index).expect("as many results as programs");
            agree(first + index as u64, program, &got, &want);
            insns += program.insns;
        }
    }
    println!("{insns} instructions");
}
