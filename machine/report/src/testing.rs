//! A small recorded run, for the tests of this crate.

use crate::record::{Detail, Recorder};
use isomorph_engine::{Dropped, Guest, Observer, Origin, Part, Refusal, RegionEvent, Translation};
use isomorph_ir::{Region, passes};
use isomorph_riscv::{CpuModel, Riscv64};
use std::path::PathBuf;
use std::time::Duration;

/// A function that a test looks for.
#[inline(never)]
pub fn landmark() -> u32 {
    std::hint::black_box(7)
}

/// A path for a file of a test's own.
pub fn scratch(name: &str) -> PathBuf {
    let (pid, tid) = (std::process::id(), isomorph_probe::thread_id());
    std::env::temp_dir().join(format!("isomorph-{name}-{pid}-{tid}"))
}

/// A guest.
pub fn guest() -> Riscv64 {
    Riscv64::new(CpuModel::default())
}

/// `addi a0, a0, -1; bnez a0, .-4`.
pub const LOOP: [u8; 8] = [0x13, 0x05, 0xf5, 0xff, 0xe3, 0x1e, 0x05, 0xfe];

/// The loop as a region.
pub fn region() -> Region {
    let text = "region entry 0 locals 0 joins\n\
        block 0x80000020 flags 0x0 insns 2 end 0x80000028\n\
        -- 0x80000020\n  a0 = sub a0, 0x1\n\
        -- 0x80000024\n  exitif ne a0, 0x0 -> 0x80000020\n  exit -> 0x80000028\n";
    match Region::parse(text, Riscv64::globals()) {
        Ok(region) => region,
        Err(error) => panic!("{error}"),
    }
}

/// The loop's code in tier 2.
pub fn installed() -> RegionEvent<'static> {
    RegionEvent::Installed {
        region: 0,
        pc: 0x8000_0020,
        code: &[0x31, 0xc0, 0xc3],
        host: 0x9000,
        map: &[],
    }
}

/// A run in which the loop became a region, another region was refused and code was left.
pub fn recorded() -> Recorder {
    let recorder = Recorder::new::<Riscv64>(Detail::Code);
    let block = region().blocks[0].clone();
    recorder.translated(&Translation {
        guest: &LOOP,
        plain: Some(&block),
        block: &block,
        code: &[0x83, 0xe8, 0x01, 0xc3],
        host: 0x7000,
        map: &[],
    });
    for region in [0, 1] {
        recorder.region(&RegionEvent::Chosen {
            region,
            pc: 0x8000_0020,
            origin: Origin::Loop,
            recorded: 4,
            parts: &[Part {
                pc: 0x8000_0020,
                bytes: LOOP.to_vec(),
                visits: 4,
            }],
        });
    }
    compiled(&recorder);
    recorder.region(&installed());
    recorder.region(&RegionEvent::Refused {
        region: Some(1),
        pc: 0x8000_0020,
        why: &Refusal::Code("vectors <have> no code".into()),
    });
    recorder.region(&RegionEvent::Refused {
        region: None,
        pc: 0x8000_0100,
        why: &Refusal::NoCycle,
    });
    recorder.region(&RegionEvent::Dropped {
        region: 0,
        pc: 0x8000_0020,
        why: Dropped::CodeChanged,
    });
    recorder
}

fn compiled(recorder: &Recorder) {
    let stats = isomorph_cranelift::Stats {
        blocks: 1,
        insns: 2,
        ops: 3,
        clif: 4,
        bytes: 3,
        ..Default::default()
    };
    let clif = "function u0:0(i64) -> i64 {\n@80000020    v1 = iconst.i64 1\n}\n";
    recorder.region(&RegionEvent::Compiled {
        region: 0,
        before: &region(),
        after: &region(),
        passes: &passes::Stats::default(),
        clif: Some(clif.into()),
        stats: &stats,
        queued: Duration::from_micros(5),
        took: Duration::from_micros(300),
    });
}
