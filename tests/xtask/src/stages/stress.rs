//! Many starts of big programs under full address randomisation: not one may go wrong.

use std::fs;
use std::time::Duration;

use super::random::setting;
use super::{Context, existing, scratch};
use crate::error::{AtPath, Error, Result};
use crate::inputs;
use crate::pool;
use crate::process;
use crate::report::{Stage, Tally, Verdict};
use crate::sandbox::Sandbox;

/// How often each program runs, unless `ISOMORPH_RUNS` says.
const RUNS: u64 = 200;

/// Per run.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the kernel says how much it randomises.
const RANDOMISATION: &str = "/proc/sys/kernel/randomize_va_space";

/// Name, command, standard input, and what must be printed.
const PROGRAMS: &[(&str, &[&str], &str, Expected)] = &[
    (
        "gcc",
        &["gcc", "-O2", "-x", "c", "-S", "-o", "-", "-"],
        "int f(int *a, int n) { int s = 0; while (n--) s += *a++; return s; }\n",
        Expected::SameEachTime,
    ),
    (
        "bash",
        &["bash", "-s"],
        "x=(a b c); s=0; for i in {1..50}; do ((s += i)); done; echo \"${x[*]} $(echo $s) $?\"\n",
        Expected::Text("a b c 1275 0\n"),
    ),
    (
        "python3",
        &["python3", "-"],
        "import json, re\nprint(json.dumps(sorted(set(re.findall(r'\\w', 'isomorph')))))\n",
        Expected::Text("[\"h\", \"i\", \"m\", \"o\", \"p\", \"r\", \"s\"]\n"),
    ),
];

/// What a program must print.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Text(&'static str),
    SameEachTime,
}

/// Runs each program many times in the guest's tree.
pub fn run(context: &Context) -> Result<Tally> {
    let mut stage = Stage::begin("stress");
    let level = fs::read_to_string(RANDOMISATION).at(RANDOMISATION)?;
    if level.trim() != "2" {
        return Err(Error::Machine(
            "full address randomisation (kernel.randomize_va_space=2)",
        ));
    }
    let root = existing(context.paths.root(inputs::GUEST))?;
    let sandbox = Sandbox::emulated(&root, &context.emulator)?;
    let folder = scratch(context.paths, "stress")?;
    for (name, words, stdin, expected) in PROGRAMS {
        if !context.options.wants(name) {
            continue;
        }
        let runs = vec![(); setting("ISOMORPH_RUNS").unwrap_or(RUNS) as usize];
        let runs = pool::map(&runs, |()| {
            let mut command = sandbox.command(&folder, &format!("/usr/bin/{}", words[0]));
            process::run(command.args(&words[1..]), stdin.as_bytes(), LIMIT)
        });
        let mut first: Option<Vec<u8>> = None;
        for (number, outcome) in runs.into_iter().enumerate() {
            let outcome = outcome?;
            let wanted: Vec<u8> = match expected {
                Expected::Text(text) => text.as_bytes().to_vec(),
                Expected::SameEachTime => first.get_or_insert(outcome.stdout.clone()).clone(),
            };
            let right = outcome.success() && !wanted.is_empty() && outcome.stdout == wanted;
            let verdict = Verdict::expect(right, || super::harness::describe(&outcome));
            stage.record(&format!("{name} run {number}"), &verdict);
        }
    }
    Ok(stage.end())
}
