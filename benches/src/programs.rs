//! Debian's programs: what is run, and the input files for them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::compile::Workshop;
use crate::error::Error;
use crate::workloads::Program;

/// 2^1279 - 1, a prime, in hexadecimal.
const PRIME: &str = "\
    7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
    FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
    FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\
    FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";

const fn plain(path: &'static str, arguments: &'static [&'static str]) -> Program {
    Program {
        path,
        native_path: None,
        arguments,
    }
}

/// `true` of coreutils: a dynamic program that does nothing.
pub const TRUE: Program = plain("usr/bin/true", &[]);
/// Python's start with a few modules.
pub const PYTHON_START: Program = plain(
    "usr/bin/python3",
    &["-c", "import json, re, decimal; print(json.dumps([1, 2]))"],
);
/// Python at work.
pub const PYTHON: Program = plain("usr/bin/python3", &["{data}/work.py"]);
/// Python in one loop of dictionary and integer arithmetic.
pub const PYTHON_LOOP: Program = plain("usr/bin/python3", &["{data}/loop.py"]);
/// Perl at work.
pub const PERL: Program = plain("usr/bin/perl", &["{data}/work.pl"]);
/// Lua at work.
pub const LUA: Program = plain("usr/bin/lua5.4", &["{data}/work.lua"]);
/// The C compiler proper; natively Debian's cross compiler, so that both write the same text.
pub const CC1: Program = Program {
    path: "usr/libexec/gcc/riscv64-linux-gnu/14/cc1",
    native_path: Some("{packages}/cross-cc1/usr/libexec/gcc-cross/riscv64-linux-gnu/14/cc1"),
    arguments: &[
        "-quiet",
        "-O2",
        "-w",
        "-fno-ident",
        "-march=rv64gc",
        "-mabi=lp64d",
        "-fpreprocessed",
        "{data}/unit.i",
        "-o",
        "/dev/stdout",
    ],
};
/// SQLite in memory.
pub const SQLITE3: Program = plain("usr/bin/sqlite3", &[":memory:", ".read {data}/work.sql"]);
/// xz, compressing.
pub const XZ: Program = plain("usr/bin/xz", &["-4", "-T1", "-c", "{data}/text"]);
/// xz, decompressing.
pub const XZ_DECOMPRESS: Program = plain("usr/bin/xz", &["-d", "-T1", "-c", "{data}/text.xz"]);
/// A digest by OpenSSL.
pub const OPENSSL_DIGEST: Program = plain(
    "usr/bin/openssl",
    &["dgst", "-sha3-256", "-r", "{data}/text"],
);
/// A primality test by OpenSSL's big integers.
pub const OPENSSL_PRIME: Program = plain("usr/bin/openssl", &["prime", "-hex", PRIME]);
/// A shell's loop, without any other process.
pub const BASH: Program = plain("usr/bin/bash", &["{data}/work.sh"]);

/// The name of the compressed text, which the native `xz` has to write.
pub const COMPRESSED: &str = "text.xz";

/// The text of `loop.py`.
const LOOP: &str = "\
def total(rounds):
    seen = {}
    for i in range(rounds):
        seen[i % 97] = seen.get(i % 97, 0) + i * i % 7
    return sum(seen.values())

print(total(600000))
";

/// The input files of the programs that run inside a machine, too.
pub const IN_MACHINE: [&str; 4] = ["loop.py", "work.py", "work.pl", "work.lua"];

const SCRIPTS: [&str; 5] = ["work.py", "work.pl", "work.lua", "work.sql", "work.sh"];
const TEXT_BYTES: usize = 1_500_000;
/// What the compiler compiles: sources of ours that can stand in one file.
const UNIT: [&str; 8] = [
    "kernel_mix",
    "sort",
    "sha256",
    "fft",
    "convert",
    "libm",
    "bytecode_switch",
    "divide",
];

/// Writes the input files to `data`.
pub fn prepare(repository: &Path, workshop: &Workshop, data: &Path) -> Result<(), Error> {
    fs::create_dir_all(data).map_err(Error::file("create", data))?;
    for script in SCRIPTS {
        let from = repository.join("guests/bench/programs").join(script);
        fs::copy(&from, data.join(script)).map_err(Error::file("copy", &from))?;
    }
    let script = data.join("loop.py");
    fs::write(&script, LOOP).map_err(Error::file("write", &script))?;
    let text = data.join("text");
    fs::write(&text, prose()).map_err(Error::file("write", &text))?;
    workshop.preprocessed(&UNIT, &data.join("unit.i"))
}

/// Text with the repetitions of prose: numbered lines of words, common ones first.
fn prose() -> String {
    let mut text = String::with_capacity(TEXT_BYTES + 128);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut line = 0;
    while text.len() < TEXT_BYTES {
        line += 1;
        let _ = write!(text, "{line}:");
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let rank = (seed >> 33) % 900 * ((seed >> 48) % 900) / 900;
            text.push(' ');
            word(&mut text, rank);
        }
        text.push('\n');
    }
    text
}

fn word(text: &mut String, rank: u64) {
    const SYLLABLES: [&str; 12] = [
        "ba", "ter", "lo", "ni", "sa", "mor", "qui", "e", "tan", "ux", "ri", "den",
    ];
    let mut rest = rank + 1;
    while rest > 0 {
        text.push_str(SYLLABLES[(rest % 12) as usize]);
        rest /= 12;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prime_has_its_digits() {
        assert_eq!(PRIME.len(), 320);
        assert!(
            PRIME
                .strip_prefix('7')
                .is_some_and(|rest| rest.bytes().all(|b| b == b'F'))
        );
    }

    #[test]
    fn prose_is_the_same_each_time() {
        assert_eq!(prose(), prose());
        assert!(prose().len() >= TEXT_BYTES);
    }
}
