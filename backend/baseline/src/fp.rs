//! Floating point on the host's unit.

use crate::asm::{Fix, Mem, Rm, v};
use crate::emit::Compile;
use crate::regs::Opnd;
use crate::runtime::consts;
use isomorph_ir::{Inst, MemOp, Type, Val};

/// Work out of line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColdFp {
    from: Fix,
    back: u32,
}

impl Compile<'_> {
    pub(crate) fn fp(&mut self, i: &Inst) {
        self.unsupported(i);
    }

    pub(crate) fn cold_fp(&mut self, item: ColdFp) {
        self.asm.bind(item.from);
        self.asm.jmp_to(item.back);
    }

    /// The value of `o` in a vector register (its own, or a scratch register).
    pub(crate) fn xreg(&mut self, ty: Type, o: Opnd) -> u8 {
        if let Opnd::X(x) = o {
            return x;
        }
        let x = self.regs.scratch_x(self.asm);
        self.to_x(ty, x, o);
        x
    }

    /// `d = o`.
    pub(crate) fn to_x(&mut self, ty: Type, d: u8, o: Opnd) {
        match o {
            Opnd::X(x) if x == d => {}
            Opnd::X(x) => self.asm.vex(v::MOVAPS, false, d, 0, Rm::R(x)),
            Opnd::M(m) => self.load_x(ty, d, m),
            _ => {
                let r = self.reg(o);
                self.asm
                    .vex(v::MOV_FROM_INT, ty == Type::F64, d, 0, Rm::R(r));
            }
        }
    }

    pub(crate) fn load_x(&mut self, ty: Type, d: u8, m: Mem) {
        let op = if ty == Type::F32 {
            v::MOVSS_LOAD
        } else {
            v::MOVSD_LOAD
        };
        self.asm.vex(op, false, d, 0, Rm::M(m));
    }

    pub(crate) fn mov_float(&mut self, i: &Inst) {
        if i.ty == Type::V128 {
            return self.unsupported(i);
        }
        let a = self.take(i.a);
        let boxed = self.regs.is_boxed(i.a);
        let d = self.dst_x(i.d, a);
        self.to_x(i.ty, d, a);
        self.regs.set_boxed(i.d, boxed);
        self.finish_x(i.d, d);
    }

    pub(crate) fn finish_x(&mut self, d: Val, x: u8) {
        self.regs.finish_x(self.asm, d, x);
    }

    pub(crate) fn load_float(&mut self, i: &Inst, mem: MemOp, at: Mem) {
        if mem.bytes() != i.ty.bytes() || mem.big_endian() {
            return self.unsupported(i);
        }
        let d = self.dst_x(i.d, Opnd::I(0));
        self.load_x(i.ty, d, at);
        self.finish_x(i.d, d);
    }

    pub(crate) fn load_nan(&mut self, d: u8, ty: Type) {
        let (op, at) = match ty {
            Type::F32 => (v::MOVSD_LOAD, consts::NAN32),
            _ => (v::MOVSD_LOAD, consts::NAN64),
        };
        let m = Mem::runtime(self.rt.consts + at);
        self.asm.vex(op, false, d, 0, Rm::M(m));
    }
}
