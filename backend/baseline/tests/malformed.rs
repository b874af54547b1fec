//! Whatever the IR holds, compiling ends with code or an error, never a panic.

mod common;

use common::{Random, TABLE};
use isomorph_baseline::{Compiled, EmitError, Emitter, Layout, Memory};
use isomorph_ir::{Block, Inst, Op, Temp, Type, Val};

fn value(r: &mut Random) -> Val {
    match r.below(8) {
        0 => Val::NONE,
        1 => Val::constant(r.below(6) as u16),
        2..=3 => Val::temp(r.below(6) as u16),
        4 => Val::from_raw(r.next() as u16),
        _ => Val::global(r.below(33) as u16),
    }
}

fn inst(r: &mut Random) -> Inst {
    Inst {
        op: r.pick(Op::ALL),
        ty: r.pick(Type::ALL),
        aux: if r.below(4) == 0 {
            r.next() as u8
        } else {
            r.below(12) as u8
        },
        aux2: r.below(12) as u8,
        d: value(r),
        d2: value(r),
        a: value(r),
        b: value(r),
        c: value(r),
        e: value(r),
        imm: if r.below(2) == 0 {
            r.next() as i64
        } else {
            r.below(64) as i64
        },
    }
}

#[test]
fn any_block_compiles_or_is_refused() {
    try_random(Memory::Identity);
    try_random(Memory::Tlb {
        bits: 9,
        longest: 4,
    });
}

fn try_random(memory: Memory) {
    let mut emitter = Emitter::new(Layout {
        globals: &TABLE,
        memory,
    });
    let mut out = Compiled::default();
    let mut fine = 0;
    for seed in 0..100_000 {
        let mut r = Random(seed);
        let mut block = Block::default();
        block.clear(0x1000, 0);
        block.consts.extend((0..5).map(|_| r.next()));
        let temp = |r: &mut Random| Temp {
            ty: r.pick(Type::ALL),
            uses: r.below(3) as u16,
        };
        block.temps.extend((0..5).map(|_| temp(&mut r)));
        for _ in 0..r.below(4) {
            block.insts.push(inst(&mut r));
        }
        block.insts.push(Inst::new(Op::Exit, Type::I64));
        fine += usize::from(emitter.compile(&block, 0x1_0000, 0, &mut out).is_ok());
    }
    assert!(fine > 1000, "only {fine} blocks compile");
}

#[test]
fn a_block_must_end() {
    let mut emitter = Emitter::new(Layout {
        globals: &TABLE,
        memory: Memory::Identity,
    });
    let block = Block::default();
    let done = emitter.compile(&block, 0, 0, &mut Compiled::default());
    assert_eq!(done, Err(EmitError::NoEnd));
}
