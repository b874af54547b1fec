//! Leaving a region, and the edges inside of it.

use crate::CompileError;
use crate::translate::{Step, Translate};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use isomorph_baseline::{ExitReason, Header, Memory};
use isomorph_ir::{Inst, JumpKind, Type};
use std::mem::offset_of;

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
        ret: u64,
        /// The return leads backward.
        ret_polled: bool,
    },
    /// Into the function at the payload.
    CallInd { ret: u64, ret_polled: bool },
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
        let slot = self.slot(kind);
        let slot = self.f.ins().iconst(types::I64, slot * 8);
        self.f.ins().return_(&[payload, slot]);
    }

    /// Returns from generated code for this reason.
    fn stop(&mut self, reason: ExitReason, payload: u64) {
        self.write_back();
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

    /// Where an exit of this block to `pc` leads inside of the region.
    fn inside(&self, pc: u64) -> Step<Option<usize>> {
        let block = self.at.block;
        let Some(to) = self.region.successor(block, pc) else {
            return Ok(None);
        };
        if self.leaves_page(pc) {
            return Err(CompileError::PageEdge { block, target: pc });
        }
        Ok(Some(to))
    }

    /// Goes to the guest instruction at `pc`.
    fn go(&mut self, pc: u64) -> Step {
        if let Some(to) = self.inside(pc)? {
            let to = self.blocks[to];
            self.f.ins().jump(to, &[]);
            return Ok(());
        }
        if self.leaves_page(pc) {
            let pc = self.word(pc);
            self.leave(pc, ExitKind::Lookup);
            return Ok(());
        }
        let zero = self.word(0);
        let polled = pc <= self.pc;
        self.leave(zero, ExitKind::Edge { target: pc, polled });
        Ok(())
    }

    /// Goes to the join that a computed target is, if it is one.
    fn go_to_join(&mut self, target: Value) -> Step {
        let region = self.region;
        for &join in &region.joins {
            let Some(pc) = region.blocks.get(join).map(|b| b.pc) else {
                continue;
            };
            let Some(to) = self.inside(pc)? else { continue };
            let pc = self.word(pc);
            let same =
                self.f
                    .ins()
                    .icmp(cranelift_codegen::ir::condcodes::IntCC::Equal, target, pc);
            let next = self.f.create_block();
            let to = self.blocks[to];
            self.f.ins().brif(same, to, &[], next, &[]);
            self.f.switch_to_block(next);
        }
        Ok(())
    }

    pub(crate) fn exit(&mut self, i: &Inst) -> Step {
        self.go(i.pc())
    }

    pub(crate) fn exit_if(&mut self, i: &Inst) -> Step {
        let cond = self.condition(i, i.ty)?;
        let next = self.f.create_block();
        if let Some(to) = self.inside(i.pc())? {
            let to = self.blocks[to];
            self.f.ins().brif(cond, to, &[], next, &[]);
        } else {
            let out = self.cold_block();
            self.f.ins().brif(cond, out, &[], next, &[]);
            self.f.switch_to_block(out);
            self.go(i.pc())?;
        }
        self.f.switch_to_block(next);
        Ok(())
    }

    pub(crate) fn jump(&mut self, i: &Inst) -> Step {
        let target = self.read(i.a, Type::I64)?;
        self.go_to_join(target)?;
        let ret = i.aux == JumpKind::Ret as u8;
        self.leave(target, if ret { ExitKind::Ret } else { ExitKind::Lookup });
        Ok(())
    }

    pub(crate) fn call(&mut self, i: &Inst) -> Step {
        let Some(ret) = self.constant(i.a) else {
            return self.malformed();
        };
        let target = i.pc();
        if self.inside(target)?.is_some() {
            return self.go(target);
        }
        let ret_polled = ret <= self.pc;
        if self.leaves_page(target) {
            let target = self.word(target);
            self.leave(target, ExitKind::CallInd { ret, ret_polled });
            return Ok(());
        }
        let zero = self.word(0);
        let polled = target <= self.pc;
        let kind = ExitKind::Call {
            target,
            polled,
            ret,
            ret_polled,
        };
        self.leave(zero, kind);
        Ok(())
    }

    pub(crate) fn call_indirect(&mut self, i: &Inst) -> Step {
        let Some(ret) = self.constant(i.b) else {
            return self.malformed();
        };
        let target = self.read(i.a, Type::I64)?;
        self.go_to_join(target)?;
        let ret_polled = ret <= self.pc;
        self.leave(target, ExitKind::CallInd { ret, ret_polled });
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
        let at = self.offset(self.header, offset_of!(Header, irq) as i64);
        let flags = crate::translate::TRUSTED;
        // Atomic, so that it stays in the loop.
        let irq = self.f.ins().atomic_load(types::I32, flags, at);
        let (out, next) = (self.cold_block(), self.f.create_block());
        self.f.ins().brif(irq, out, &[], next, &[]);
        self.f.switch_to_block(out);
        let pc = self.word(pc);
        self.set_header(offset_of!(Header, exit_pc), pc);
        self.stop(ExitReason::Irq, 0);
        self.f.switch_to_block(next);
    }

    /// Calls a helper on the guest state; the globals may hold anything afterwards.
    pub(crate) fn call_helper(&mut self, i: &Inst) -> Step {
        let mut args = [self.offset(self.header, isomorph_baseline::GUEST_OFFSET as i64); 4];
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
        self.write(i.d, value)
    }
}
