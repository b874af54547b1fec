use super::{ParseErrorKind as Kind, parse};
use crate::testing::{Random, TABLE, push, random_block};
use crate::{Block, Inst, Op, Type, Val, verify};

/// The block with its constants renumbered in the order of their first use.
fn normal(block: &Block) -> Block {
    let mut out = Block {
        consts: Vec::new(),
        ..block.clone()
    };
    let mut renumber = |val: Val| {
        let Some(value) = block.const_value(val) else {
            return val;
        };
        let n = out
            .consts
            .iter()
            .position(|&c| c == value)
            .unwrap_or(out.consts.len());
        if n == out.consts.len() {
            out.consts.push(value);
        }
        Val::constant(n as u16)
    };
    for inst in &mut out.insts {
        for val in [&mut inst.a, &mut inst.b, &mut inst.c, &mut inst.e] {
            *val = renumber(*val);
        }
        if inst.op == Op::CasPair {
            inst.imm = i64::from(renumber(Val::from_raw(inst.imm as u16)).raw());
        }
    }
    out
}

#[test]
fn random_blocks_survive_printing_and_parsing() {
    let mut random = Random(0x0001_50c0_ffee);
    for i in 0..2000 {
        let block = random_block(&mut random, i % 80);
        let text = block.text(&TABLE).to_string();
        let again = parse(&text, &TABLE).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(normal(&again), normal(&block), "{text}");
        assert_eq!(again.text(&TABLE).to_string(), text);
    }
}

#[test]
fn every_operation_survives_alone() {
    let mut random = Random(0xabcdef);
    for &op in Op::ALL {
        for _ in 0..50 {
            let mut block = Block::default();
            push(&mut random, &mut block, op);
            let text = block.text(&TABLE).to_string();
            let again = parse(&text, &TABLE).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(normal(&again), normal(&block), "{text}");
        }
    }
}

const EXAMPLE: &str = "\
block 0x10000 flags 0x3 insns 4 end 0x10010
-- 0x10000
  %0:i64 = add r1, 0x10
  r2 = load s32.acquire [%0-0x8]
  v1 = load u128.be [r1]
-- 0x10004
  %1:i64 = setcond.i32 lts r2, -0x1
  w1 = sext i8 %1
  %2:f64 = ffroms32 dyn w1
  %3:i64 = flt.f64 %2, d1
  s1 = fnarrow rtz %2
  %4:i64, %5:i64 = caspair u64.seqcst [r1], r2, r3, %1, %3
  %6:i32 = rmw u16.seqcst.aligned maxs [r1], w1
-- 0x10008
  trapif ne misaligned %4, 0x0, r1 @ 0x10008
  %7:i64 = helper #3 r1, none, %5
  store.i16 u16 [0x1000+0x4], w2
  exitif.i32 ltu w1, 0x80000000 -> 0x10020
-- 0x1000c
  jump ret r1
";

#[test]
fn an_example_is_stable() {
    let block = parse(EXAMPLE, &TABLE).unwrap();
    assert_eq!(verify(&block, &TABLE), Ok(()), "{block:?}");
    assert_eq!(block.text(&TABLE).to_string(), EXAMPLE);
}

#[test]
fn comments_blank_lines_and_decimal_numbers_are_read() {
    let text = "; a block\n\nblock 4096 flags 0 insns 1 end 4100 ; its header\n exit -> 4100\n";
    let block = parse(text, &TABLE).unwrap();
    assert_eq!((block.pc, block.end), (4096, 4100));
    assert_eq!(
        block.insts,
        [Inst {
            imm: 4100,
            ..Inst::new(Op::Exit, Type::I64)
        }]
    );
}

#[test]
fn a_broken_block_is_printed_and_refused() {
    let mut block = Block::default();
    let (a, b) = (Val::constant(7), Val::global(99));
    block.insts.push(Inst {
        a,
        b,
        aux: 77,
        ..Inst::new(Op::ExitIf, Type::I64)
    });
    let text = block.text(&TABLE).to_string();
    assert!(text.ends_with("  exitif ?77 ?c7, ?g99 -> 0x0\n"), "{text}");
    assert!(parse(&text, &TABLE).is_err());
}

#[test]
fn errors_name_the_line() {
    let head = "block 0 flags 0 insns 0 end 0\n";
    let kind = |line: &str| {
        let error = parse(&format!("{head}{line}\n"), &TABLE).unwrap_err();
        assert_eq!(error.line, 2, "{line}");
        error.kind
    };
    let word = |s: &str| s.to_owned();
    assert_eq!(kind("frob r1"), Kind::UnknownOp(word("frob")));
    assert_eq!(kind("r1 = add.i7 r1, r2"), Kind::UnknownType(word("i7")));
    assert_eq!(kind("r1 = add r1, r9"), Kind::UnknownOperand(word("r9")));
    assert_eq!(kind("r1 = add r1"), Kind::Expected(","));
    assert_eq!(kind("r1 = add r1, r2, r3"), Kind::Trailing(word(",")));
    assert_eq!(
        kind("r1 = add r1, 0xfffffffffffffffff"),
        Kind::BadNumber(word("0xfffffffffffffffff"))
    );
    assert_eq!(
        kind("add r1, r2"),
        Kind::ResultCount {
            op: "add",
            wanted: 1
        }
    );
    assert_eq!(kind("r1 = add %0, r2"), Kind::Untyped(0));
    assert_eq!(kind("%0 = add r1, r2"), Kind::Expected("%number:type"));
    assert_eq!(kind("%0:i64, %0:i32 = divwu r1, r2, r3"), Kind::TwoTypes(0));
    assert_eq!(kind("%99999:i64 = add r1, r2"), Kind::TooMany);
    assert_eq!(kind("r1 = load u33 [r1]"), unknown(crate::Aux::Mem, "u33"));
    assert_eq!(
        kind("exitif maybe r1, r2 -> 0"),
        unknown(crate::Aux::Cond, "maybe")
    );
    assert_eq!(kind("exitif eq r1, r2 @ 0"), Kind::Expected("->"));
    assert_eq!(kind("r1 = helper 3 r1, r1, r1"), Kind::Expected("#number"));
    let error = parse("exit -> 0", &TABLE).unwrap_err();
    assert_eq!((error.line, error.kind), (1, Kind::Header));
    assert_eq!(parse("", &TABLE).unwrap_err().kind, Kind::Header);
    let shown = parse(&format!("{head}\nexit"), &TABLE)
        .unwrap_err()
        .to_string();
    assert_eq!(shown, "line 3: expected ->");
}

fn unknown(kind: crate::Aux, word: &str) -> Kind {
    Kind::UnknownAttribute {
        kind,
        word: word.to_owned(),
    }
}
