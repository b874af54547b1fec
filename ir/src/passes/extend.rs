//! Extensions that change nothing.

use super::edit::{finish, mov, operands, set_operand, type_of};
use super::values::{Known, Values};
use super::{Cfg, Changes, Context};
use crate::sig::{self, Want};
use crate::{Block, GlobalTable, Inst, MemOp, Op, OpFlags, Region, Type, Val, eval};

/// Replaces sign and zero extensions and masks that change nothing, by the known bits of their
/// operand, by moves; shifts up and down again by extensions; and lets an operation that reads
/// the low bits only read what an extension was made from.
///
/// Relies on the interpreter's rule that an integer operand is read truncated. Never moves an
/// operation; a shift up goes only if nothing can see its result before it is shifted down.
pub fn extensions(region: &mut Region, context: &Context) -> Changes {
    let cfg = Cfg::new(region);
    let values = Values::new(region, &cfg, context);
    let mut changes = 0;
    for n in 0..region.blocks.len() {
        let block = &mut region.blocks[n];
        changes += (0..block.insts.len())
            .filter(|&i| fuse_shifts(block, i))
            .count();
        let mut known = values.head(block, n);
        let mut sources = Vec::new();
        for i in 0..block.insts.len() {
            let inst = block.insts[i];
            if is_identity(block, &inst, &known, context.table) {
                block.insts[i] = match inst.d == inst.a {
                    true => Inst::new(Op::Nop, Type::I64),
                    false => mov(inst.ty, inst.d, inst.a),
                };
                changes += 1;
            } else {
                changes += read_sources(block, i, context.table, &sources);
            }
            known.step(block, &inst);
            remember(&block.insts[i], &mut sources);
        }
    }
    finish(region);
    Changes(changes as u32)
}

/// Whether `inst` is an extension or a mask that gives its first operand.
fn is_identity(block: &Block, inst: &Inst, known: &Known, table: &GlobalTable) -> bool {
    let a = known.of(block, inst.a);
    let ty = inst.ty;
    let from = Type::from_u8(inst.aux).filter(|ty| ty.is_int());
    if inst.a.is_none() || inst.a.as_const().is_some() || type_of(block, table, inst.a) != ty {
        return false;
    }
    match (inst.op, from) {
        (Op::Sext, Some(from)) => a.sign_extend(ty).sign_bits() > 64 - from.bits(),
        (Op::Zext, Some(from)) => !a.truncate(ty).zero & !eval::zero_extend(from, u64::MAX) == 0,
        (Op::And, _) => match known.of(block, inst.b).value() {
            Some(mask) => !a.truncate(ty).zero & !mask == 0,
            None => false,
        },
        _ => false,
    }
}

/// An extension whose operand still holds what it held.
struct Source {
    result: Val,
    operand: Val,
    from: Type,
}

fn remember(inst: &Inst, sources: &mut Vec<Source>) {
    if inst.op.info().flags.has(OpFlags::CLOBBER) {
        sources.clear();
    }
    for d in [inst.d, inst.d2] {
        sources.retain(|s| s.result != d && s.operand != d);
    }
    let from = Type::from_u8(inst.aux).filter(|ty| ty.is_int());
    if let (Op::Sext | Op::Zext, Some(from)) = (inst.op, from)
        && inst.a != inst.d
        && inst.a.as_const().is_none()
    {
        sources.push(Source {
            result: inst.d,
            operand: inst.a,
            from,
        });
    }
}

/// Reads the operand of an extension where its result is read truncated.
fn read_sources(block: &mut Block, i: usize, table: &GlobalTable, sources: &[Source]) -> usize {
    let inst = block.insts[i];
    let mut changes = 0;
    for (number, val) in operands(&inst).into_iter().enumerate() {
        let Some(Want::Type(want)) = sig::operand(&inst, number) else {
            continue;
        };
        let stored = inst.op == Op::Store && number == 1 && want.is_int();
        let bits = match stored {
            true => 8 * MemOp(inst.aux).bytes(),
            false => want.bits(),
        };
        let fits = |s: &&Source| s.result == val && bits <= s.from.bits();
        let source = sources.iter().find(fits).map(|s| s.operand);
        let source = source.filter(|&s| sig::reads_as(type_of(block, table, s), want));
        if let Some(source) = source.filter(|_| want.is_int()) {
            set_operand(&mut block.insts[i], number, source);
            changes += 1;
        }
    }
    changes
}

/// If operation `i` shifts down what was shifted up as far, makes an extension of it.
fn fuse_shifts(block: &mut Block, i: usize) -> bool {
    let down = block.insts[i];
    let extension = match down.op {
        Op::Shr => Op::Zext,
        Op::Sar => Op::Sext,
        _ => return false,
    };
    let from = match block.const_value(down.b) {
        Some(32) => Type::I32,
        Some(48) => Type::I16,
        Some(56) => Type::I8,
        _ => return false,
    };
    let writes = |n: usize, val: Val| [block.insts[n].d, block.insts[n].d2].contains(&val);
    let Some(first) = (0..i).rev().find(|&n| writes(n, down.a)) else {
        return false;
    };
    let up = block.insts[first];
    let count = block.const_value(up.b);
    let shifts = up.op == Op::Shl && count == block.const_value(down.b);
    if !shifts || up.ty != Type::I64 || down.ty != Type::I64 {
        return false;
    }
    let between = first + 1..i;
    let clobbers = |n: usize| block.insts[n].op.info().flags.has(OpFlags::CLOBBER);
    let kept = up.a != up.d && !between.clone().any(|n| writes(n, up.a) || clobbers(n));
    let unseen = |n: usize| {
        let inst = &block.insts[n];
        !inst.op.info().flags.has(OpFlags::BARRIER) && !operands(inst).contains(&up.d)
    };
    let in_place = up.a == up.d && down.d == up.d && between.clone().all(unseen);
    if in_place {
        block.insts[first] = Inst::new(Op::Nop, Type::I64);
    }
    if kept || in_place {
        block.insts[i] = Inst {
            d: down.d,
            a: up.a,
            aux: from as u8,
            ..Inst::new(extension, Type::I64)
        };
    }
    kept || in_place
}
