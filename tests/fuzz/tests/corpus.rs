//! Every target over its corpus: seeds, inputs that failed once, and small changes of both.

use isomorph_fuzz::{TARGETS, Target};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Changed inputs for each input of the corpus.
const CHANGES: u64 = 8;

/// An input that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(10);

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = (target.seeds)();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    // A target that never failed has no folder.
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().collect();
    files.sort_by_key(|file| file.as_ref().map(fs::DirEntry::file_name).ok());
    for file in files {
        inputs.push(fs::read(file.expect("an entry").path()).expect("readable"));
    }
    inputs
}

/// A few bytes changed, taken away or put in (xorshift64).
fn changed(input: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below.max(1)
    };
    let mut bytes = input.to_vec();
    for _ in 0..=random(4) {
        let at = random(bytes.len());
        match random(3) {
            0 if !bytes.is_empty() => drop(bytes.remove(at)),
            1 => bytes.insert(at, random(256) as u8),
            _ if !bytes.is_empty() => bytes[at] ^= 1 << random(8),
            _ => {}
        }
    }
    bytes
}

fn check(name: &str) {
    let target = isomorph_fuzz::find(name).expect("a target");
    for (number, input) in corpus(target).iter().enumerate() {
        for change in 0..=CHANGES {
            let bytes = match change {
                0 => input.clone(),
                _ => changed(input, (number as u64) << 32 | change),
            };
            let start = Instant::now();
            (target.run)(&bytes);
            assert!(
                start.elapsed() < LIMIT,
                "{name}, input {number}.{change}: slow"
            );
        }
    }
}

macro_rules! smoke {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            check($name);
        })*

        #[test]
        fn every_target_is_here() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

smoke! {
    virtio_mmio: "virtio-mmio",
    virtio_pci: "virtio-pci",
    pci: "pci",
    fw_cfg: "fw-cfg",
    flash: "flash",
    registers: "registers",
    load: "load",
    net: "net",
    elf: "elf",
    disk: "disk",
}
