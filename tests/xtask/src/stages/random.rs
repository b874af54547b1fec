//! Ten thousand programs of random bytes: each dies as a guest, or loops; none hurts isomorph.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::crash::{is_accident, run_bytes};
use super::elf::{EM_RISCV, Random, executable};
use super::{Context, scratch};
use crate::emulator::Emulator;
use crate::error::Result;
use crate::pool;
use crate::process::Outcome;
use crate::report::{Stage, Tally, Verdict};

/// How many programs.
const PROGRAMS: u64 = 10_000;

/// A program that runs longer is a loop and ends well.
const LIMIT: Duration = Duration::from_millis(400);

/// The signals by which a guest may die of its own instructions, as a shell shows them:
/// SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
const DEATHS: &[i32] = &[132, 133, 135, 136, 139, 159];

/// Runs the programs of a seed: `ISOMORPH_SEED`, or a new one.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("random");
    let seed = seed();
    stage.note(&format!("ISOMORPH_SEED={seed}"));
    let folder = scratch(context.paths, "random")?;
    let numbers: Vec<u64> = (0..PROGRAMS).collect();
    let endings = pool::map(&numbers, |number| {
        let bytes = executable(EM_RISCV, &code(seed, *number), 0);
        let outcome = run_bytes(
            &context.emulator,
            &bytes,
            folder.join(number.to_string()),
            LIMIT,
        )?;
        if outcome.timed_out {
            looping(&context.emulator, &bytes, &folder, *number)
        } else {
            Ok(outcome)
        }
    });
    let mut loops = 0;
    for (number, outcome) in numbers.iter().zip(endings) {
        let outcome = outcome?;
        loops += usize::from(outcome.timed_out);
        stage.record(&format!("program {number}"), &judge(&outcome));
    }
    stage.note(&format!("{loops} of {PROGRAMS} programs loop"));
    Ok(stage.end())
}

/// Looks again at a program that ran out of time, lest a busy machine be taken for a loop.
fn looping(
    emulator: &Emulator,
    bytes: &[u8],
    folder: &std::path::Path,
    number: u64,
) -> Result<Outcome> {
    run_bytes(emulator, bytes, folder.join(number.to_string()), LIMIT * 2)
}

fn judge(outcome: &Outcome) -> Verdict {
    let ended = outcome.timed_out || DEATHS.contains(&outcome.shell_status());
    Verdict::expect(ended && !is_accident(outcome), || {
        format!("{}\n{}", outcome.describe(), outcome.stderr_tail(5))
    })
}

/// The number in a variable of the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `ISOMORPH_SEED`, or a new seed.
pub fn seed() -> u64 {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs())
    };
    setting("ISOMORPH_SEED").unwrap_or_else(now)
}

/// The code of one program: raw bytes, or words and halfwords that look like instructions.
fn code(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random(seed ^ number.rotate_left(32));
    let length = 64 + random.below(448);
    match number % 3 {
        0 => random.bytes(length * 4),
        1 => (0..length)
            .flat_map(|_| word(&mut random).to_le_bytes())
            .collect(),
        _ => (0..length * 2)
            .flat_map(|_| half(&mut random).to_le_bytes())
            .collect(),
    }
}

/// A word of a major opcode of the base map (Unprivileged ISA, "RV32/64G Instruction Set
/// Listings"), without `ecall`: a random system call might reach beyond the guest.
fn word(random: &mut Random) -> u32 {
    const OPCODES: &[u32] = &[
        0x03, 0x07, 0x0f, 0x13, 0x17, 0x1b, 0x23, 0x27, 0x2f, 0x33, 0x37, 0x3b, 0x43, 0x47, 0x4b,
        0x4f, 0x53, 0x63, 0x67, 0x6f, 0x73,
    ];
    let opcode = OPCODES[random.below(OPCODES.len())];
    let word = (random.next() as u32) & !0x7f | opcode;
    if word == 0x73 { 0x13 } else { word }
}

/// A compressed instruction, or any halfword with 11 in its low bits once in a while.
fn half(random: &mut Random) -> u16 {
    let half = random.next() as u16;
    if half & 3 == 3 && random.below(4) != 0 {
        half & !2
    } else {
        half
    }
}
