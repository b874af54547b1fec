//! Leaving a region, and the edges inside of it.

use crate::flow::Set;
use crate::pc_hash::PcHash;
use crate::translate::{Step, Translate, at};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, BlockCall, InstBuilder, JumpTableData, Value, types};
use isomorph_baseline::{ExitReason, GUEST_OFFSET, Header, Memory};
use isomorph_ir::{Inst, JumpKind, Op, Region, Type};
use std::mem::offset_of;

/// As many joins of a computed jump are reached by way of a table; fewer one after the other.
const TABLE_JOINS: usize = 16;

/// If a region's computed jumps have more ways together, those with a table share it.
const MOST_WAYS: usize = 400;

/// Where jumps with the same joins come together.
#[derive(Debug)]
pub(crate) struct Dispatch {
    /// Its parameter is the target.
    block: ir::Block,
    joins: Joins,
    /// Globals that may be newer than memory at some of the jumps.
    dirty: Set,
}

/// Program counters and the blocks for them.
type Joins = Vec<(u64, ir::Block)>;

/// True if the computed jumps of a region have so many ways that they are to share tables.
pub(crate) fn shares(region: &Region) -> bool {
    let blocks = region.blocks.iter().enumerate();
    let jumps = blocks.filter(|(_, b)| b.insts.iter().any(|i| i.op == Op::Jump));
    let ways = jumps.map(|(n, _)| region.joins_from(n).count());
    ways.sum::<usize>() > MOST_WAYS
}

/// Where the body's second result leads. The payload is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// To a guest pc.
    Edge {
        target: u64,
        /// The edge leads backward.
        polled: bool,
    },
    /// To the guest pc in the payload, through the jump cache.
    Lookup,
    /// A return to the guest pc in the payload.
    Ret,
    /// Into the function at a guest pc.
    Call {
        target: u64,
        polled: bool,
        ret: Return,
    },
    /// Into the function at the payload.
    CallInd { ret: Return },
}

/// Where a call outside of the region returns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// To this pc, along an edge.
    Edge {
        pc: u64,
        /// It leads backward.
        polled: bool,
    },
    /// To another page, whose mapping may have changed meanwhile: through the jump cache.
    Lookup,
}

impl Translate<'_> {
    /// The number of an exit of this kind, from 1.
    fn slot(&mut self, kind: ExitKind) -> i64 {
        let known = self.exits.iter().position(|k| *k == kind);
        let n = known.unwrap_or_else(|| {
            self.exits.push(kind);
            self.exits.len() - 1
        });
        n as i64 + 1
    }

    /// Returns from the body, all guest state being in memory by then.
    fn leave(&mut self, payload: Value, kind: ExitKind) {
        self.write_back();
        self.note_rounds();
        let slot = self.slot(kind);
        let slot = self.f.ins().iconst(types::I64, slot * 8);
        self.f.ins().return_(&[payload, slot]);
    }

    /// Returns from generated code for this reason.
    fn stop(&mut self, reason: ExitReason, payload: u64) {
        self.write_back();
        self.note_rounds();
        let raw = self.word(payload << 8 | reason as u64);
        let zero = self.word(0);
        self.f.ins().return_(&[raw, zero]);
    }

    /// True if a direct exit to `target` must be looked up: see tier 1's `leaves_page`.
    fn leaves_page(&self, target: u64) -> bool {
        let Memory::Tlb { longest, .. } = self.memory else {
            return false;
        };
        let last_whole = 0x1000_u64.saturating_sub(longest.into());
        (self.pc ^ target) >> 12 != 0 || target & 0xfff > last_whole
    }

    /// Where an exit of this block to `pc` leads inside of the region. An edge to another page,
    /// whose mapping may have changed, leaves the region.
    fn inside(&self, pc: u64) -> Option<usize> {
        let to = self.region.successor(self.at.block, pc)?;
        (!self.leaves_page(pc)).then_some(to)
    }

    /// Goes to the guest instruction at `pc`.
    fn go(&mut self, pc: u64) {
        if let Some(to) = self.inside(pc) {
            let to = self.blocks[to];
            self.f.ins().jump(to, &[]);
            return;
        }
        if self.leaves_page(pc) {
            let pc = self.word(pc);
            self.leave(pc, ExitKind::Lookup);
            return;
        }
        let zero = self.word(0);
        let polled = pc <= self.pc;
        self.leave(zero, ExitKind::Edge { target: pc, polled });
    }

    /// Has tier 1 perform the current guest instruction and go on from there.
    pub(crate) fn leave_here(&mut self) {
        let target = self.pc;
        if self.leaves_page(target) {
            let pc = self.word(target);
            return self.leave(pc, ExitKind::Lookup);
        }
        let zero = self.word(0);
        let polled = false;
        self.leave(zero, ExitKind::Edge { target, polled });
    }

    /// The joins of a computed jump.
    fn joins(&self) -> Joins {
        let (region, from) = (self.region, self.at.block);
        let joins = region.joins_from(from).filter_map(|join| {
            let pc = region.blocks.get(join)?.pc;
            Some((pc, self.blocks[self.inside(pc)?]))
        });
        joins.collect()
    }

    /// Goes to where jumps with these joins come together.
    fn go_to_dispatch(&mut self, target: Value, joins: Joins) {
        let known = self.dispatches.iter().position(|d| d.joins == joins);
        let n = known.unwrap_or_else(|| {
            let block = self.f.create_block();
            self.f.append_block_param(block, types::I64);
            let dirty = Set::default();
            self.dispatches.push(Dispatch {
                block,
                joins,
                dirty,
            });
            self.dispatches.len() - 1
        });
        self.dispatches[n].dirty.merge(&self.dirty);
        let block = self.dispatches[n].block;
        self.f.ins().jump(block, &[BlockArg::Value(target)]);
    }

    /// The code of shared dispatches, once all jumps are known.
    pub(crate) fn dispatches(&mut self) {
        for dispatch in std::mem::take(&mut self.dispatches) {
            self.f.switch_to_block(dispatch.block);
            let target = self.f.block_params(dispatch.block)[0];
            self.dirty = dispatch.dirty;
            self.go_to_join(target, &dispatch.joins);
            self.leave(target, ExitKind::Lookup);
        }
    }

    /// Goes to the join that a computed target is, if it is one.
    fn go_to_join(&mut self, target: Value, joins: &[(u64, ir::Block)]) {
        if joins.len() < TABLE_JOINS {
            joins.iter().for_each(|&join| self.go_if_same(target, join));
            return;
        }
        let pcs: Vec<u64> = joins.iter().map(|j| j.0).collect();
        let hash = PcHash::new(&pcs);
        let folded = match hash.fold {
            0 => target,
            fold => {
                let high = self.f.ins().ushr_imm_u(target, i64::from(fold));
                self.f.ins().bxor(target, high)
            }
        };
        let index = self.f.ins().ushr_imm_u(folded, i64::from(hash.shift));
        let index = self.f.ins().band_imm_u(index, (hash.len - 1) as i64);
        let index = self.f.ins().ireduce(types::I32, index);
        let none = self.f.create_block();
        let mut arms = vec![none; hash.len];
        for arm in pcs.iter().map(|&pc| hash.of(pc)) {
            if arms[arm] == none {
                arms[arm] = self.f.create_block();
            }
        }
        let pool = &mut self.f.func.dfg.value_lists;
        let mut call = |&block: &ir::Block| BlockCall::new(block, [], pool);
        let (default, calls) = (call(&none), arms.iter().map(&mut call).collect::<Vec<_>>());
        let table = self
            .f
            .create_jump_table(JumpTableData::new(default, &calls));
        self.f.ins().br_table(index, table);
        for (n, &arm) in arms.iter().enumerate().filter(|(_, arm)| **arm != none) {
            self.f.switch_to_block(arm);
            for &join in joins.iter().filter(|j| hash.of(j.0) == n) {
                self.go_if_same(target, join);
            }
            self.f.ins().jump(none, &[]);
        }
        self.f.switch_to_block(none);
    }

    /// Goes to a join if the target is its pc.
    fn go_if_same(&mut self, target: Value, (pc, to): (u64, ir::Block)) {
        let pc = self.word(pc);
        let same = self.f.ins().icmp(IntCC::Equal, target, pc);
        let next = self.f.create_block();
        self.f.ins().brif(same, to, &[], next, &[]);
        self.f.switch_to_block(next);
    }

    pub(crate) fn exit(&mut self, i: &Inst) -> Step {
        self.go(i.pc());
        Ok(())
    }

    pub(crate) fn exit_if(&mut self, i: &Inst) -> Step {
        let cond = self.condition(i, i.ty)?;
        let next = self.f.create_block();
        if let Some(to) = self.inside(i.pc()) {
            let to = self.blocks[to];
            self.f.ins().brif(cond, to, &[], next, &[]);
        } else {
            let out = self.cold_block();
            self.f.ins().brif(cond, out, &[], next, &[]);
            self.f.switch_to_block(out);
            self.go(i.pc());
        }
        self.f.switch_to_block(next);
        Ok(())
    }

    pub(crate) fn jump(&mut self, i: &Inst) -> Step {
        let target = self.read(i.a, Type::I64)?;
        let ret = i.aux == JumpKind::Ret as u8;
        let joins = self.joins();
        if !ret && self.shares && joins.len() >= TABLE_JOINS {
            self.go_to_dispatch(target, joins);
            return Ok(());
        }
        self.go_to_join(target, &joins);
        self.leave(target, if ret { ExitKind::Ret } else { ExitKind::Lookup });
        Ok(())
    }

    fn return_to(&self, pc: u64) -> Return {
        if self.leaves_page(pc) {
            return Return::Lookup;
        }
        let polled = pc <= self.pc;
        Return::Edge { pc, polled }
    }

    pub(crate) fn call(&mut self, i: &Inst) -> Step {
        let Some(ret) = self.constant(i.a) else {
            return self.malformed();
        };
        let target = i.pc();
        if self.inside(target).is_some() {
            self.go(target);
            return Ok(());
        }
        let ret = self.return_to(ret);
        if self.leaves_page(target) {
            let target = self.word(target);
            self.leave(target, ExitKind::CallInd { ret });
            return Ok(());
        }
        let zero = self.word(0);
        let polled = target <= self.pc;
        let kind = ExitKind::Call {
            target,
            polled,
            ret,
        };
        self.leave(zero, kind);
        Ok(())
    }

    pub(crate) fn call_indirect(&mut self, i: &Inst) -> Step {
        let Some(ret) = self.constant(i.b) else {
            return self.malformed();
        };
        let target = self.read(i.a, Type::I64)?;
        let joins = self.joins();
        self.go_to_join(target, &joins);
        let ret = self.return_to(ret);
        self.leave(target, ExitKind::CallInd { ret });
        Ok(())
    }

    /// Leaves with a trap.
    pub(crate) fn leave_with_trap(&mut self, kind: u8, pc: u64, info: Value) {
        let pc = self.word(pc);
        self.set_header(offset_of!(Header, exit_pc), pc);
        self.set_header(offset_of!(Header, exit_info), info);
        self.stop(ExitReason::Trap, kind.into());
    }

    pub(crate) fn trap(&mut self, i: &Inst) -> Step {
        let info = self.read(i.a, Type::I64)?;
        self.leave_with_trap(i.aux, i.pc(), info);
        Ok(())
    }

    pub(crate) fn trap_if(&mut self, i: &Inst) -> Step {
        let cond = self.condition(i, Type::I64)?;
        let info = self.read(i.c, Type::I64)?;
        self.trap_where(cond, i.aux2, i.pc(), info);
        Ok(())
    }

    /// Traps if `cond` is not 0.
    pub(crate) fn trap_where(&mut self, cond: Value, kind: u8, pc: u64, info: Value) {
        let (out, next) = (self.cold_block(), self.f.create_block());
        self.f.ins().brif(cond, out, &[], next, &[]);
        self.f.switch_to_block(out);
        self.leave_with_trap(kind, pc, info);
        self.f.switch_to_block(next);
    }

    /// Leaves for an interrupt that is pending at a loop head.
    pub(crate) fn poll(&mut self, pc: u64) {
        let (flags, at) = (crate::translate::TRUSTED, at(offset_of!(Header, irq)));
        let irq = self.f.ins().load(types::I32, flags, self.base, at);
        let (out, next) = (self.cold_block(), self.f.create_block());
        let asked = self.f.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, irq, 0);
        self.f.ins().brif(asked, out, &[], next, &[]);
        self.f.switch_to_block(out);
        let pc = self.word(pc);
        self.set_header(offset_of!(Header, exit_pc), pc);
        self.stop(ExitReason::Irq, 0);
        self.f.switch_to_block(next);
    }

    /// Calls a helper on the guest state; the globals may hold anything afterwards.
    pub(crate) fn call_helper(&mut self, i: &Inst) -> Step {
        let mut args = [self.offset(self.base, at(GUEST_OFFSET).into()); 4];
        for (arg, val) in args[1..].iter_mut().zip([i.a, i.b, i.c]) {
            *arg = self.read(val, Type::I64)?;
        }
        let table = self.header_word(offset_of!(Header, helpers));
        let Ok(at) = i32::try_from(i.imm * 8) else {
            return self.malformed();
        };
        let flags = crate::translate::TRUSTED;
        let helper = self.f.ins().load(types::I64, flags, table, at);
        let value = self.call_host(helper, &args, 1)[0];
        self.load_globals();
        self.forget_pages();
        self.write(i.d, value)
    }
}
