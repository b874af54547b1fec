//! Random blocks, as regions of one, on tier 2 and on the reference interpreter agree.

#[path = "../../baseline/tests/common/mod.rs"]
mod common;

use common::rounds::run_rounds;
use common::{Machine, TABLE};
use isomorph_baseline::{Compiled, Layout, Memory};
use isomorph_cranelift::{CompileError, Compiler, Floats};
use isomorph_ir::{Block, Region};

fn load(c: &mut Compiler, m: &mut Machine, block: &Block) -> Result<bool, CompileError> {
    let region = c.compile(&Region::new(vec![block.clone()]))?;
    let mut out = Compiled::default();
    region.place(m.runtime(), m.block_address(), 0, &mut out);
    m.put(out, 0);
    Ok(true)
}

fn tier2(rounds: u64, kinds: usize, paged: bool) {
    let memory = match paged {
        true => Memory::Tlb {
            bits: common::paging::BITS,
            longest: 4,
        },
        false => Memory::Identity,
    };
    let layout = Layout {
        globals: &TABLE,
        memory,
    };
    let mut compiler = Compiler::new(layout, Floats::Call).expect("a compiler");
    compiler.alone(true);
    let ran = run_rounds(rounds, kinds, paged, |m, block| {
        load(&mut compiler, m, block)
    });
    assert!(ran > rounds * 9 / 10 || std::env::var_os("ISOMORPH_ROUNDS").is_some());
}

#[test]
fn integer_blocks_agree() {
    tier2(2_000, 10, false);
}

#[test]
fn all_blocks_agree() {
    tier2(2_000, 20, false);
}

#[test]
fn blocks_with_a_tlb_agree() {
    tier2(2_000, 10, true);
    tier2(1_000, 20, true);
}
