//! Loop-invariant computations before their loop.

use super::copies::Written;
use super::edit::{Slots, finish, mov, operands, set_operand};
use super::{Cfg, Changes, Context, Loop};
use crate::sig;
use crate::{Block, Inst, Op, OpFlags, Preheader, Region, Site, Type, Val};

/// How many values a loop may get from its preheader: each takes a host register.
const MAX_PER_LOOP: usize = 8;

/// Computes what is the same in every round of a loop, addresses first of all, once in a block
/// before the loop, into locals.
///
/// Relies on natural loops (a loop with two entries is left alone). Moves pure I64 operations
/// only, and only from blocks that every round runs through, so that no work is added to a round;
/// never moves an operation over a call, nor guest state: a global gets its value where it did.
pub fn hoist(region: &mut Region, context: &Context) -> Changes {
    let mut changes = 0;
    let heads: Vec<usize> = Cfg::new(region).loops().iter().map(|l| l.head).collect();
    for head in heads {
        // Edges change with each preheader.
        let cfg = Cfg::new(region);
        let natural = cfg.loops().into_iter().find(|l| l.head == head);
        if let Some(natural) = natural {
            changes += from_loop(region, context, &cfg, &natural);
        }
    }
    finish(region);
    Changes(changes)
}

fn from_loop(region: &mut Region, context: &Context, cfg: &Cfg, natural: &Loop) -> u32 {
    let slots = Slots::new(region, context.table);
    let written = Written::by(region, context, &natural.blocks);
    if written.clobbers {
        return 0;
    }
    let every_round = |&&n: &&usize| natural.latches.iter().all(|&l| cfg.dominates(n, l));
    let blocks: Vec<usize> = natural.blocks.iter().filter(every_round).copied().collect();
    let mut hoisted = Vec::new();
    for n in blocks {
        // Temporaries that the preheader computes now, and their locals.
        let mut moved: Vec<(Val, Val)> = Vec::new();
        for i in 0..region.blocks[n].insts.len() {
            for (number, val) in operands(&region.blocks[n].insts[i]).into_iter().enumerate() {
                if let Some(&(_, local)) = moved.iter().find(|m| m.0 == val) {
                    set_operand(&mut region.blocks[n].insts[i], number, local);
                }
            }
            let full = hoisted.len() >= MAX_PER_LOOP || region.locals >= Val::LOCALS;
            let keeps = |v: Val| {
                v.as_local()
                    .is_some_and(|l| l >= slots.len() - slots.globals().end)
                    || written.keeps(slots, v)
            };
            if full || !invariant(&region.blocks[n], i, keeps) {
                continue;
            }
            let local = Val::local(region.locals as u16);
            region.locals += 1;
            let site = Site { block: n, inst: i };
            hoisted.push(lift(region, site, local, &mut moved));
        }
    }
    let count = hoisted.len() as u32;
    if count > 0 {
        preheader(region, natural, hoisted);
    }
    count
}

/// Whether operation `i` of `block` gives the same in each round.
fn invariant(block: &Block, i: usize, keeps: impl Fn(Val) -> bool) -> bool {
    let inst = &block.insts[i];
    let info = inst.op.info();
    let kind = info.flags.has(OpFlags::PURE) && info.results == 1 && inst.op != Op::Mov;
    let vals = operands(inst);
    let mut read = vals
        .iter()
        .filter(|v| !v.is_none() && v.as_const().is_none());
    let some = read.clone().next().is_some();
    kind && some && sig::result(inst) == Type::I64 && read.all(|&v| keeps(v))
}

/// Takes the operation at `site` out of its block; what is left there is a move, or nothing.
fn lift(region: &mut Region, site: Site, local: Val, moved: &mut Vec<(Val, Val)>) -> HoistedInst {
    let block = &mut region.blocks[site.block];
    let mut inst = block.insts[site.inst];
    let d = std::mem::replace(&mut inst.d, local);
    block.insts[site.inst] = if d.as_temp().is_some() {
        moved.push((d, local));
        Inst::new(Op::Nop, Type::I64)
    } else {
        mov(Type::I64, d, local)
    };
    let constants = operands(&inst).map(|v| block.const_value(v));
    HoistedInst { inst, constants }
}

/// An operation on its way to another block, with the constants it reads.
struct HoistedInst {
    inst: Inst,
    constants: [Option<u64>; 5],
}

/// Puts the operations into the loop's preheader, which is made if there is none.
fn preheader(region: &mut Region, natural: &Loop, hoisted: Vec<HoistedInst>) {
    let head = natural.head;
    let known = region.preheaders.iter().find(|p| p.head == head);
    let at = known.map(|p| p.block).unwrap_or_else(|| {
        let (pc, flags) = (region.blocks[head].pc, region.blocks[head].flags);
        let mut block = Block::default();
        block.clear(pc, flags);
        block.insts.push(Inst {
            imm: pc as i64,
            ..Inst::new(Op::Exit, Type::I64)
        });
        region.blocks.push(block);
        region.preheaders.push(Preheader {
            block: region.blocks.len() - 1,
            head,
            inside: natural.blocks.clone(),
        });
        if region.entry == head {
            region.entry = region.blocks.len() - 1;
        }
        region.blocks.len() - 1
    });
    let block = &mut region.blocks[at];
    for HoistedInst {
        mut inst,
        constants,
    } in hoisted
    {
        for (number, value) in constants.into_iter().enumerate() {
            if let Some(value) = value {
                block.consts.push(value);
                let c = Val::constant((block.consts.len() - 1) as u16);
                set_operand(&mut inst, number, c);
            }
        }
        let end = block.insts.len() - 1;
        block.insts.insert(end, inst);
    }
}
