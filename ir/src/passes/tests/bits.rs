//! What is known of a result is true of it, whatever is known of the operands.

use super::super::bits::{Bits, compare, result};
use crate::testing::Random;
use crate::{Cond, Inst, Op, Type, eval, sig};

/// Something that is true of `value`.
fn known(random: &mut Random, value: u64) -> Bits {
    let sure = match random.below(4) {
        0 => u64::MAX,
        1 => 0,
        _ => random.next() | random.number(),
    };
    let bits = Bits::of(!value & sure, value & sure);
    let narrow = [Type::I8, Type::I16, Type::I32];
    let fits = |ty: &&Type| eval::sign_extend(**ty, value) as u64 == value;
    match narrow.iter().find(fits) {
        // The sign, and nothing else.
        Some(&ty) if random.below(2) == 0 => Bits::UNKNOWN.sign_extend(ty),
        _ => bits,
    }
}

fn holds(bits: Bits, value: u64) -> bool {
    let equal = value.leading_zeros().max(value.leading_ones());
    value & bits.zero == 0 && !value & bits.one == 0 && bits.sign_bits() <= equal
}

fn number(random: &mut Random) -> u64 {
    match random.below(3) {
        0 => random.below(70) as u64,
        _ => random.number(),
    }
}

#[test]
fn what_is_known_of_a_result_is_true() {
    let mut random = Random(0x5eed);
    let mut informative = 0;
    let integer = |op: &&Op| eval::binary(**op, Type::I64, 0, 1, 1).is_some() || **op == Op::Mov;
    let mut ops: Vec<Op> = Op::ALL.iter().filter(integer).copied().collect();
    ops.extend([Op::Sext, Op::Zext, Op::Clz, Op::Ctz, Op::Popcnt, Op::Bswap]);
    for _ in 0..400_000 {
        let op = ops[random.below(ops.len())];
        let types: Vec<Type> = Type::ALL
            .iter()
            .filter(|ty| ty.is_int() && sig::types(op).contains(**ty))
            .copied()
            .collect();
        let mut inst = Inst::new(op, types[random.below(types.len())]);
        if op == Op::SetCond {
            inst.aux = random.below(Cond::ALL.len()) as u8;
        } else if matches!(op, Op::Sext | Op::Zext) {
            inst.aux = random.below(inst.ty as usize + 1) as u8;
        }
        let (x, y) = (number(&mut random), number(&mut random));
        let (a, b) = (known(&mut random, x), known(&mut random, y));
        assert!(holds(a, x) && holds(b, y));
        let one = eval::unary(op, inst.ty, inst.aux, x);
        let value = one.or_else(|| eval::binary(op, inst.ty, inst.aux, x, y));
        let have = result(&inst, [a, b, Bits::UNKNOWN, Bits::UNKNOWN]);
        assert!(
            holds(have, value.unwrap()),
            "{inst:?} {x:#x} {y:#x} {a:x?} {b:x?}: {have:x?}"
        );
        informative += u32::from(!have.says_what(Bits::UNKNOWN.truncate(inst.ty)));
    }
    assert!(informative > 100_000, "{informative}");
}

#[test]
fn a_comparison_that_is_decided_is_decided_rightly() {
    let mut random = Random(0xc0de);
    let mut decided = 0;
    for _ in 0..100_000 {
        let cond = Cond::ALL[random.below(Cond::ALL.len())];
        let ty = [Type::I8, Type::I16, Type::I32, Type::I64][random.below(4)];
        let (x, y) = (number(&mut random), number(&mut random));
        let (a, b) = (known(&mut random, x), known(&mut random, y));
        if let Some(have) = compare(cond, ty, a, b) {
            assert_eq!(have, cond.eval(ty, x, y), "{cond:?} {ty:?} {a:x?} {b:x?}");
            decided += 1;
        }
    }
    assert!(decided > 10_000, "{decided}");
}
