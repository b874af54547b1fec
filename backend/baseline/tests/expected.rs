//! The code of short blocks, as it is meant to be: `tests/code/NAME.ir` compiles to
//! `tests/code/NAME.asm`. `BLESS=1` writes what it compiles to now.

mod common;

use common::{TABLE, disassemble};
use isomorph_baseline::{Compiled, Emitter, Layout, Memory};
use std::path::Path;

/// Compiles a block for address 0x1000000, the runtime lying at 0.
fn compile(text: &str, memory: Memory) -> Compiled {
    let block = isomorph_ir::text::parse(text, &TABLE).expect("a block");
    isomorph_ir::verify(&block, &TABLE).expect("a valid block");
    let mut emitter = Emitter::new(Layout {
        globals: &TABLE,
        memory,
    });
    let mut out = Compiled::default();
    let done = emitter.compile(&block, 0x100_0000, 0, &mut out);
    assert_eq!(done, Ok(()));
    out
}

/// The instructions but the poll at the entry and the stubs of edges, constants left out.
fn listing(c: &Compiled) -> String {
    let end = match (c.landings.first(), c.edges.first()) {
        (Some(l), None) => l.cell,
        (_, Some(e)) => e.stub,
        (None, None) => c.code.len() as u32,
    };
    let fast = c.fast_entry as usize;
    disassemble(
        &c.code[fast..end as usize],
        0x100_0000 + u64::from(c.fast_entry),
    )
}

#[test]
fn blocks_compile_to_what_they_did() {
    compare_all("tests/code", Memory::Identity);
}

#[test]
fn blocks_with_a_tlb_compile_to_what_they_did() {
    compare_all(
        "tests/code_tlb",
        Memory::Tlb {
            bits: 9,
            longest: 4,
        },
    );
}

fn compare_all(dir: &str, memory: Memory) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    let mut cases = 0;
    for file in std::fs::read_dir(&dir).expect("cases") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|e| e != "ir") {
            continue;
        }
        cases += 1;
        let text = std::fs::read_to_string(&path).expect("readable");
        let got = listing(&compile(&text, memory));
        let expected = path.with_extension("asm");
        if bless {
            std::fs::write(&expected, &got).expect("written");
            continue;
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        if got != want {
            wrong += &format!("{}:\n{got}instead of\n{want}\n", path.display());
        }
    }
    assert!(cases > 0);
    assert!(wrong.is_empty(), "{wrong}(BLESS=1 accepts)");
}
