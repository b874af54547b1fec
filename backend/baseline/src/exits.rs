//! Leaving a block: edges, indirect jumps, calls, returns, traps and helper calls.

use crate::asm::{Alu, Cc, RAX, RCX, RDX, Rm, Shift};
use crate::compiled::Landing;
use crate::emit::{Cold, Compile};
use crate::header::Header;
use crate::regs::{Opnd, header};
use isomorph_ir::{Cond, Inst, JumpKind, Type};
use std::mem::offset_of;

impl Compile<'_> {
    pub(crate) fn exit_if(&mut self, i: &Inst) {
        let Some(cond) = Cond::from_u8(i.aux) else {
            return self.malformed();
        };
        let (a, b) = (self.take(i.a), self.take(i.b));
        let (start, cc) = self.compare(i.ty, cond, a, b);
        if self.leaves_page(i.pc()) {
            let (from, target) = (self.asm.jcc(cc), i.pc());
            return self.cold.push(Cold::PageExit { from, target });
        }
        self.asm.align_rel32(start, 2);
        let fix = self.asm.jcc(cc);
        self.edge(fix, i.pc(), false);
    }

    pub(crate) fn exit(&mut self, i: &Inst) {
        if self.leaves_page(i.pc()) {
            return self.page_exit(i.pc());
        }
        self.asm.align_rel32(self.asm.pos(), 1);
        let fix = self.asm.jmp();
        self.edge(fix, i.pc(), false);
    }

    pub(crate) fn jump(&mut self, i: &Inst) {
        let a = self.take(i.a);
        self.to(true, RAX, a);
        if self.stepping {
            return self.asm.jmp_runtime(self.rt.exit_indirect);
        }
        if i.aux == JumpKind::Ret as u8 {
            return self.asm.ret();
        }
        let code = Self::probe(self.asm, self.tlb.is_some());
        self.asm.jcc_runtime(Cc::Ne, self.rt.exit_indirect);
        self.asm.jmp_mem(code);
    }

    pub(crate) fn call(&mut self, i: &Inst) {
        if self.stepping {
            self.take(i.a);
            self.exit(i);
            return self.regs.clobber();
        }
        if self.leaves_page(i.pc()) {
            let code = self.page_probe(i.pc());
            let from = self.asm.jcc(Cc::Ne);
            self.asm.call_mem(code);
            let back = self.asm.pos();
            self.cold.push(Cold::CallMiss { from, back });
            let ret = self.take(i.a);
            return self.landing(ret);
        }
        self.asm.align_rel32(self.asm.pos(), 1);
        let fix = self.asm.call();
        self.edge(fix, i.pc(), true);
        let ret = self.take(i.a);
        self.landing(ret);
    }

    pub(crate) fn call_indirect(&mut self, i: &Inst) {
        let (a, ret) = (self.take(i.a), self.take(i.b));
        self.to(true, RAX, a);
        if self.stepping {
            self.asm.jmp_runtime(self.rt.exit_indirect);
            return self.regs.clobber();
        }
        let code = Self::probe(self.asm, self.tlb.is_some());
        let from = self.asm.jcc(Cc::Ne);
        self.asm.call_mem(code);
        let back = self.asm.pos();
        self.cold.push(Cold::CallMiss { from, back });
        self.landing(ret);
    }

    /// The return point of a call: `rax` must hold the pc that it continues.
    fn landing(&mut self, ret: Opnd) {
        let Opnd::I(ret_pc) = ret else {
            return self.malformed();
        };
        if self.regs.any_live() {
            return self.malformed();
        }
        let cell = self.asm.cmp_rax_const();
        self.cells.push(cell);
        self.out.landings.push(Landing { cell: 0, ret_pc });
        self.asm.jcc_runtime(Cc::Ne, self.rt.lookup);
        self.regs.clobber();
    }

    pub(crate) fn trap(&mut self, i: &Inst) {
        let info = self.take(i.a);
        self.leave_with_trap(i.aux, i.pc(), info);
    }

    pub(crate) fn trap_if(&mut self, i: &Inst) {
        let Some(cond) = Cond::from_u8(i.aux) else {
            return self.malformed();
        };
        let (a, b, info) = (self.take(i.a), self.take(i.b), self.take(i.c));
        let (_, cc) = self.compare(Type::I64, cond, a, b);
        let from = self.asm.jcc(cc);
        self.cold.push(Cold::Trap {
            from,
            kind: i.aux2,
            pc: i.pc(),
            info,
        });
    }

    pub(crate) fn call_helper(&mut self, i: &Inst) {
        for (n, v) in [i.a, i.b, i.c].into_iter().enumerate() {
            let o = if v.is_none() {
                Opnd::I(0)
            } else {
                self.take(v)
            };
            let slot = header(offset_of!(Header, args)).offset(n as i32 * 8);
            self.store_slot(slot, o);
        }
        self.regs.flush_all(self.asm);
        self.asm.mov_imm(RCX, u64::from(i.imm as u32));
        self.asm.call_runtime(self.rt.helper);
        self.regs.clobber();
        self.result_rax(i);
    }

    /// Moves a result from `rax`, all scratch registers being free.
    pub(crate) fn result_rax(&mut self, i: &Inst) {
        self.regs.next_op();
        let d = self.dst(i.d, Opnd::R(RAX));
        self.asm.mov(true, d, RAX);
        self.finish(i.d, d);
    }

    /// `[m] = o`, 64 bits.
    pub(crate) fn store_slot(&mut self, m: crate::asm::Mem, o: Opnd) {
        match o {
            Opnd::I(x) if x as i32 as i64 as u64 == x => self.asm.store_imm(true, m, x as i32),
            Opnd::X(x) => self
                .asm
                .vex(crate::asm::v::MOVSD_STORE, false, x, 0, Rm::M(m)),
            _ => {
                let r = self.reg(o);
                self.asm.store(true, m, r);
            }
        }
    }

    pub(crate) fn read_counter(&mut self, i: &Inst) {
        self.regs.flush(self.asm);
        self.asm.rdtsc();
        self.asm.shift_imm(Shift::Shl, true, RDX, 32);
        self.asm.alu(Alu::Or, true, RAX, Rm::R(RDX));
        self.result_rax(i);
    }
}
