//! Guest loads, stores and fences. A guest address is the host address: an access that the guest
//! may not make faults on the host, with the guest state precise. (`tlb` has them where there is
//! a software TLB.)

use crate::asm::{
    Alu, Cc, MOV_STORE, MOV_STORE8, MOV_STORE16, MOVBE_LOAD, MOVBE_LOAD16, MOVBE_STORE,
    MOVBE_STORE16, MOVSX8, MOVSX16, MOVSXD, MOVZX8, MOVZX16, Mem, Opc, Rm, XCHG, v,
};
use crate::emit::{Cold, Compile};
use crate::header::Header;
use crate::regs::{Opnd, header};
use isomorph_ir::{Inst, MemOp, Order, TrapKind, Type};
use std::mem::offset_of;

impl Compile<'_> {
    /// The operand for the guest memory at `a + disp`.
    #[inline(always)]
    pub(crate) fn address(&mut self, a: Opnd, disp: i64) -> Mem {
        if let Opnd::R(r) = a
            && disp as i32 as i64 == disp
        {
            return Mem::base(r, disp as i32);
        }
        self.address_other(a, disp)
    }

    #[inline(never)]
    fn address_other(&mut self, a: Opnd, disp: i64) -> Mem {
        if let Opnd::I(base) = a {
            let at = base.wrapping_add(disp as u64);
            if at as i32 as i64 as u64 == at {
                return Mem::absolute(at as i32);
            }
            let r = self.reg(Opnd::I(at));
            return Mem::base(r, 0);
        }
        let Ok(small) = i32::try_from(disp) else {
            let r = self.regs.scratch(self.asm);
            self.asm.mov_imm(r, disp as u64);
            let a = self.rm(a);
            self.asm.alu(Alu::Add, true, r, a);
            return Mem::base(r, 0);
        };
        let r = self.reg(a);
        Mem::base(r, small)
    }

    /// Traps if the address is not a multiple of the access size.
    #[inline(always)]
    fn check_aligned(&mut self, mem: MemOp, at: Mem) {
        if mem.aligned() && mem.bytes() != 1 {
            self.emit_alignment_check(mem, at);
        }
    }

    #[inline(never)]
    fn emit_alignment_check(&mut self, mem: MemOp, at: Mem) {
        let r = self.regs.scratch(self.asm);
        self.asm.lea(true, r, at);
        self.aligned_or_trap(mem, r);
    }

    /// Traps if the address in `r` is not a multiple of the access size.
    pub(crate) fn aligned_or_trap(&mut self, mem: MemOp, r: u8) {
        self.asm.test_imm(false, Rm::R(r), mem.bytes() as i32 - 1);
        let from = self.asm.jcc(Cc::Ne);
        self.cold.push(Cold::Trap {
            from,
            kind: TrapKind::Misaligned as u8,
            pc: self.pc,
            info: Opnd::R(r),
        });
    }

    pub(crate) fn op_load(&mut self, i: &Inst) {
        if self.tlb.is_some() {
            return self.tlb_load(i);
        }
        let mem = MemOp(i.aux);
        let a = self.take(i.a);
        let at = self.address(a, i.imm);
        self.check_aligned(mem, at);
        if i.ty.is_float() {
            return self.load_float(i, mem, at);
        }
        if i.ty == Type::V128 || mem.size_log2() > 3 {
            return self.unsupported(i);
        }
        let d = self.dst(i.d, a);
        self.load_int(d, i.ty, mem, at);
        self.finish(i.d, d);
    }

    /// `d = [at]`, extended to `ty`.
    #[inline(never)]
    pub(crate) fn load_int(&mut self, d: u8, ty: Type, mem: MemOp, at: Mem) {
        if mem.big_endian() && mem.size_log2() != 0 {
            return self.load_swapped(d, ty, mem, at);
        }
        let w = ty == Type::I64;
        let (op, w) = match (mem.size_log2(), mem.signed()) {
            (0, false) => (MOVZX8, false),
            (0, true) => (MOVSX8, w),
            (1, false) => (MOVZX16, false),
            (1, true) => (MOVSX16, w),
            (2, true) if w => (MOVSXD, true),
            (2, _) => (crate::asm::MOV_LOAD, false),
            _ => (crate::asm::MOV_LOAD, true),
        };
        self.asm.op(op, w, d, Rm::M(at));
    }

    fn load_swapped(&mut self, d: u8, ty: Type, mem: MemOp, at: Mem) {
        let wide = ty == Type::I64;
        match mem.size_log2() {
            1 => {
                self.asm.op(MOVBE_LOAD16, false, d, Rm::M(at));
                if mem.signed() {
                    self.asm.op(MOVSX16, wide, d, Rm::R(d));
                } else {
                    self.asm.op(MOVZX16, false, d, Rm::R(d));
                }
            }
            2 => {
                self.asm.op(MOVBE_LOAD, false, d, Rm::M(at));
                if mem.signed() && wide {
                    self.asm.op(MOVSXD, true, d, Rm::R(d));
                }
            }
            _ => self.asm.op(MOVBE_LOAD, true, d, Rm::M(at)),
        }
    }

    pub(crate) fn op_store(&mut self, i: &Inst) {
        if self.tlb.is_some() {
            return self.tlb_store(i);
        }
        let mem = MemOp(i.aux);
        let (a, b) = (self.take(i.a), self.take(i.b));
        let at = self.address(a, i.imm);
        self.check_aligned(mem, at);
        if i.ty == Type::V128 || mem.size_log2() > 3 {
            return self.unsupported(i);
        }
        let ordered = mem.order() == Order::SeqCst;
        if mem.big_endian() && mem.size_log2() != 0 {
            let b = self.reg(b);
            self.store_swapped(mem, at, b);
        } else if let Opnd::X(x) = b
            && mem.size_log2() >= 2
        {
            let w = mem.size_log2() == 3;
            let op = if w { v::MOVSD_STORE } else { v::MOVSS_STORE };
            self.asm.vex(op, false, x, 0, Rm::M(at));
        } else {
            self.store_int(mem, at, b);
        }
        if ordered {
            self.full_fence();
        }
    }

    pub(crate) fn store_int(&mut self, mem: MemOp, at: Mem, b: Opnd) {
        if let Opnd::I(x) = b
            && (mem.size_log2() < 3 || x as i32 as i64 as u64 == x)
        {
            return self.asm.store_const(mem.size_log2(), at, x as i32);
        }
        let b = self.reg(b);
        match mem.size_log2() {
            0 => self.asm.op8(MOV_STORE8, false, b, Rm::M(at)),
            1 => self.asm.op(MOV_STORE16, false, b, Rm::M(at)),
            n => self.asm.op(MOV_STORE, n == 3, b, Rm::M(at)),
        }
    }

    pub(crate) fn store_swapped(&mut self, mem: MemOp, at: Mem, b: u8) {
        match mem.size_log2() {
            1 => self.asm.op(MOVBE_STORE16, false, b, Rm::M(at)),
            n => self.asm.op(MOVBE_STORE, n == 3, b, Rm::M(at)),
        }
    }

    /// Orders everything: a locked operation on the vCPU's own line is cheaper than `mfence`.
    pub(crate) fn full_fence(&mut self) {
        self.asm.byte(0xf0);
        let word = header(offset_of!(Header, scratch));
        self.asm.alu_imm(Alu::Or, false, Rm::M(word), 0);
    }

    pub(crate) fn fence(&mut self, i: &Inst) {
        // The host is TSO: all but store-load order is there already (SDM Vol. 3 §9.2.2).
        if i.aux == Order::SeqCst as u8 {
            self.full_fence();
        }
    }

    /// `lock xadd`/`xchg`/`cmpxchg` of a size, from the opcode of its 32- and 64-bit form.
    pub(crate) fn locked(&mut self, op: Opc, mem: MemOp, reg: u8, at: Mem) {
        if op == XCHG {
            return self.asm.op_sized(op, mem.size_log2(), reg, Rm::M(at));
        }
        self.asm.byte(0xf0);
        self.asm.op_sized(op, mem.size_log2(), reg, Rm::M(at));
    }
}
