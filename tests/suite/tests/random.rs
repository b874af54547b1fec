//! Random straight-line programs agree between the interpreter, tier 1 and QEMU.
//!
//! `RANDOM_SEED` and `RANDOM_PROGRAMS` choose the first seed and how many programs run.

mod native;

use isomorph_riscv::Riscv64;
use isomorph_tests::random::{Generator, Program, every_feature};
use isomorph_tests::rows::{Executor, Interpreter, Left, PC, differences};

/// Instructions in a program.
const INSNS: usize = 50;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The disassembly of a program, a line an instruction.
fn listing(program: &Program) -> String {
    use isomorph_frontend::Guest;
    let guest = Riscv64::default();
    let (mut at, mut text) = (0, String::new());
    while at < program.code.len() {
        text.push_str(&format!("  {at:3x}  "));
        at += guest.disassemble(PC + at as u64, &program.code[at..], &mut text) as usize;
        text.push('\n');
    }
    text
}

#[test]
fn interpreter_and_tier_1_agree() {
    let first = setting("RANDOM_SEED", 1);
    let programs = setting("RANDOM_PROGRAMS", 20_000);
    println!("seeds {first} to {}", first + programs - 1);
    let generator = Generator::new(every_feature());
    let mut reference = Interpreter::new(Riscv64::default());
    let mut tier_1 = native::Tier1::new(Riscv64::default());
    let mut insns = 0;
    for seed in first..first + programs {
        let program = generator.program(seed, INSNS, PC, 0);
        let (mut want, mut got) = (program.start.clone(), program.start.clone());
        let want_left = match reference.execute(&program.code, &mut want) {
            Left::Trap(kind, _) if tier_1.serves(kind) => Left::Next,
            other => other,
        };
        let left = tier_1.execute(&program.code, &mut got);
        let wrong = differences(&got, &want);
        if left != want_left || !wrong.is_empty() {
            let wrong = wrong.join("\n");
            panic!(
                "seed {seed}: {left:?}, {want_left:?}\n{wrong}\n{}",
                listing(&program)
            );
        }
        insns += program.insns;
    }
    println!("{insns} instructions");
}
