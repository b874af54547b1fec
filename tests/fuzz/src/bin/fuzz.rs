//! libFuzzer over the target that `ISOMORPH_FUZZ_TARGET` names.
#![no_main]
#![forbid(unsafe_code)]

use isomorph_fuzz::{Target, find};
use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::process::{abort, exit};
use std::sync::OnceLock;

/// Where the input at hand is kept: of a stack that is full libFuzzer cannot tell.
static CURRENT: OnceLock<Option<OsString>> = OnceLock::new();
static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn target() -> &'static Target {
    TARGET.get_or_init(|| {
        let name = std::env::var("ISOMORPH_FUZZ_TARGET").unwrap_or_default();
        find(&name).unwrap_or_else(|| {
            eprintln!("ISOMORPH_FUZZ_TARGET: no target `{name}`");
            exit(2);
        })
    })
}

/// Every panic ends the fuzzer, on every thread, but those that the part under test answers.
fn end_at_panics(target: &'static Target) {
    // The hook that is there aborts at once.
    drop(take_hook());
    let show = take_hook();
    set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        let file = panic.location().map_or("", |place| place.file());
        if !target.guarded.is_some_and(|name| file.contains(name)) {
            show(panic);
            abort();
        }
    }));
}

/// Writes the target's seeds into the folder that `ISOMORPH_FUZZ_SEEDS` names.
fn write_seeds(target: &Target) {
    let Some(folder) = std::env::var_os("ISOMORPH_FUZZ_SEEDS") else {
        return;
    };
    for (number, seed) in (target.seeds)().iter().enumerate() {
        let path = std::path::Path::new(&folder).join(format!("seed-{number}"));
        if let Err(error) = std::fs::write(&path, seed) {
            eprintln!("{}: {error}", path.display());
            exit(2);
        }
    }
}

fn start() {
    write_seeds(target());
    end_at_panics(target());
}

fn run(bytes: &[u8]) {
    let current = CURRENT.get_or_init(|| std::env::var_os("ISOMORPH_FUZZ_CURRENT"));
    if let Some(Err(error)) = current.as_ref().map(|path| std::fs::write(path, bytes)) {
        eprintln!("ISOMORPH_FUZZ_CURRENT: {error}");
        exit(2);
    }
    (target().run)(bytes);
}

fuzz_target!(init: start(), |bytes: &[u8]| run(bytes));
