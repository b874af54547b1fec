//! Constants and copies across blocks.

use super::copies::Copies;
use super::edit::{constant, finish, mov, operands, set_operand};
use super::values::{Known, Values};
use super::{Cfg, Changes, Context, bits};
use crate::sig::{self, Want};
use crate::{Block, Cond, Inst, Op, OpFlags, Region, Type};

/// Replaces what is known to be constant by the constant, decides comparisons and exits, gives
/// computed jumps their known targets, and reads a copy's source instead of the copy.
///
/// Relies on the region's contract about entries and joins, and on globals that do not overlap.
/// Never moves an operation; removes only conditional exits and traps that are never taken and
/// what follows an exit that always is. 64-bit constants stay in the register that holds them.
pub fn constants(region: &mut Region, context: &Context) -> Changes {
    let mut changes = copies(region, context);
    let cfg = Cfg::new(region);
    let values = Values::new(region, &cfg, context);
    for &n in cfg.order() {
        let mut known = values.head(&region.blocks[n], n);
        let mut i = 0;
        while i < region.blocks[n].insts.len() {
            let old = region.blocks[n].insts[i];
            changes += u32::from(decide(region, n, i, &known));
            changes += u32::from(fold(&mut region.blocks[n], i, &known));
            changes += operand_constants(&mut region.blocks[n], i, &known);
            known.step(&region.blocks[n], &old);
            i += 1;
        }
    }
    finish(region);
    Changes(changes)
}

/// Reads sources instead of copies.
fn copies(region: &mut Region, context: &Context) -> u32 {
    let cfg = Cfg::new(region);
    let copies = Copies::new(region, &cfg, context);
    let mut changes = 0;
    for &n in cfg.order() {
        let mut known = copies.head(n);
        for i in 0..region.blocks[n].insts.len() {
            let block = &mut region.blocks[n];
            let old = block.insts[i];
            for (number, val) in operands(&old).into_iter().enumerate() {
                if let Some(source) = known.source(val) {
                    set_operand(&mut block.insts[i], number, source);
                    changes += 1;
                }
            }
            known.step(block, context.table, &old);
        }
    }
    changes
}

/// Turns a pure operation with a known result into a move of it.
fn fold(block: &mut Block, i: usize, known: &Known) -> bool {
    let inst = block.insts[i];
    let done = inst.op == Op::Mov && inst.a.as_const().is_some();
    let ty = sig::result(&inst);
    let info = inst.op.info();
    if !info.flags.has(OpFlags::PURE) || info.results != 1 || !ty.is_int() || done {
        return false;
    }
    if let Some(c) = known.result(block, &inst).value() {
        let c = constant(block, c);
        return c.map(|c| block.insts[i] = mov(ty, inst.d, c)).is_some();
    }
    if inst.op == Op::Select
        && let Some(taken) = holds(block, &inst, known)
    {
        let from = if taken { inst.c } else { inst.e };
        block.insts[i] = mov(ty, inst.d, from);
        return true;
    }
    false
}

fn holds(block: &Block, inst: &Inst, known: &Known) -> Option<bool> {
    let (a, b) = (known.of(block, inst.a), known.of(block, inst.b));
    bits::compare(Cond::from_u8(inst.aux)?, inst.ty, a, b)
}

/// Reads constants instead of the integers that hold them.
fn operand_constants(block: &mut Block, i: usize, known: &Known) -> u32 {
    let mut changes = 0;
    for (number, val) in operands(&block.insts[i]).into_iter().enumerate() {
        let int = match sig::operand(&block.insts[i], number) {
            Some(Want::Type(ty)) => ty.is_int(),
            Some(Want::Optional) => true,
            _ => false,
        };
        if !int || val.is_none() || val.as_const().is_some() {
            continue;
        }
        let small = |v: &u64| i32::try_from(*v as i64).is_ok();
        let value = known.of(block, val).value().filter(small);
        if let Some(c) = value.and_then(|v| constant(block, v)) {
            set_operand(&mut block.insts[i], number, c);
            changes += 1;
        }
    }
    changes
}

/// Decides a conditional exit or trap, or the target of a computed jump.
fn decide(region: &mut Region, n: usize, i: usize, known: &Known) -> bool {
    let block = &region.blocks[n];
    let inst = block.insts[i];
    let exit = |pc: u64| Inst {
        imm: pc as i64,
        ..Inst::new(Op::Exit, Type::I64)
    };
    let new = match inst.op {
        Op::ExitIf => match holds(block, &inst, known) {
            Some(true) => exit(inst.pc()),
            Some(false) => Inst::new(Op::Nop, Type::I64),
            None => return false,
        },
        Op::TrapIf if holds(block, &inst, known) == Some(false) => Inst::new(Op::Nop, Type::I64),
        Op::Jump | Op::CallInd => {
            let Some(pc) = known.of(block, inst.a).value() else {
                return false;
            };
            // Direct exits to a block stay inside; so may a computed one only if it did before.
            if region.successor(n, pc) != region.computed_successor(n, pc) {
                return false;
            }
            match inst.op {
                Op::Jump => exit(pc),
                _ => Inst {
                    a: inst.b,
                    imm: pc as i64,
                    ..Inst::new(Op::Call, Type::I64)
                },
            }
        }
        _ => return false,
    };
    let block = &mut region.blocks[n];
    block.insts[i] = new;
    if new.op == Op::Exit {
        block.insts.truncate(i + 1);
    }
    true
}
