//! Integer operations.

use crate::asm::{
    Alu, Cc, Fix, IMUL, LZCNT, MOVSX8, MOVSX16, MOVSXD, MOVZX8, MOVZX16, Mem, Opc, POPCNT, RAX,
    RCX, RDX, Rm, Shift, TEST, TZCNT, v,
};
use crate::emit::{Cold, Compile};
use crate::header::Header;
use crate::regs::{Opnd, header};
use isomorph_ir::{Cond, Inst, MemOp, Op, Type, Val};
use std::mem::offset_of;

/// The constant as the immediate of an instruction of this width, if it is one.
#[inline(always)]
fn imm32(w: bool, x: u64) -> Option<i32> {
    (!w || x as i32 as i64 as u64 == x).then_some(x as i32)
}

/// True if the operation works on 64 bits.
#[inline(always)]
fn wide(i: &Inst) -> bool {
    i.ty == Type::I64
}

impl Compile<'_> {
    pub(crate) fn mov(&mut self, i: &Inst) {
        if i.ty.is_float() || i.ty == Type::V128 {
            return self.mov_float(i);
        }
        let a = self.take(i.a);
        if let (Some(n), Opnd::I(x)) = (i.d.as_global(), a)
            && let Opnd::M(m) = self.regs.place(n)
            && let Some(imm) = imm32(true, x)
            && self.regs.type_of(n) == Type::I64
        {
            return self.asm.store_imm(true, m, imm);
        }
        let d = self.dst(i.d, a);
        match a {
            Opnd::I(0) => self.asm.alu(Alu::Xor, false, d, Rm::R(d)),
            _ => self.to(wide(i), d, a),
        }
        self.finish(i.d, d);
    }

    /// Emits `op [d], b` if `d` lives in memory and is the first operand too.
    fn in_memory(&mut self, alu: Alu, i: &Inst, a: Opnd, b: Opnd) -> bool {
        let Opnd::M(m) = a else { return false };
        if i.d != i.a || i.ty != Type::I64 {
            return false;
        }
        match b {
            Opnd::R(r) => self.asm.alu_mem(alu, true, m, r),
            Opnd::I(x) => {
                let Some(imm) = imm32(true, x) else {
                    return false;
                };
                self.asm.alu_imm(alu, true, Rm::M(m), imm);
            }
            _ => return false,
        }
        true
    }

    /// `d = d op b`.
    #[inline(never)]
    fn alu_operand(&mut self, alu: Alu, w: bool, d: u8, b: Opnd) {
        match b {
            Opnd::I(x) => match imm32(w, x) {
                Some(imm) => self.asm.alu_imm(alu, w, Rm::R(d), imm),
                None => {
                    let b = self.reg(b);
                    self.asm.alu(alu, w, d, Rm::R(b));
                }
            },
            _ => {
                let b = self.rm(b);
                self.asm.alu(alu, w, d, b);
            }
        }
    }

    /// Brings a constant that is no immediate into a register before the result's is chosen.
    fn small(&mut self, w: bool, o: Opnd) -> Opnd {
        match o {
            Opnd::I(x) if imm32(w, x).is_none() => Opnd::R(self.reg(o)),
            Opnd::X(_) => Opnd::R(self.reg(o)),
            _ => o,
        }
    }

    pub(crate) fn add(&mut self, i: &Inst) {
        let w = wide(i);
        let (a, b) = (self.take(i.a), self.take(i.b));
        if self.in_memory(Alu::Add, i, a, b) {
            return;
        }
        let b = self.small(w, b);
        let d = self.dst(i.d, a);
        match (a, b) {
            (Opnd::R(x), Opnd::I(c)) if x != d => self.asm.lea(w, d, Mem::base(x, c as i32)),
            (Opnd::R(x), Opnd::R(y)) if x != d && y != d => {
                self.asm.lea(w, d, Mem::index(x, y, 0, 0));
            }
            (_, Opnd::R(y)) if y == d => self.alu_operand(Alu::Add, w, d, a),
            _ => {
                self.to(w, d, a);
                self.alu_operand(Alu::Add, w, d, b);
            }
        }
        self.finish(i.d, d);
    }

    pub(crate) fn sub(&mut self, i: &Inst) {
        let w = wide(i);
        let (a, b) = (self.take(i.a), self.take(i.b));
        if self.in_memory(Alu::Sub, i, a, b) {
            return;
        }
        let (a, b) = (self.small(w, a), self.small(w, b));
        let d = self.dst(i.d, a);
        if b == Opnd::R(d) && a != b {
            self.asm.group3(3, w, Rm::R(d));
            if a != Opnd::I(0) {
                self.alu_operand(Alu::Add, w, d, a);
            }
        } else {
            self.to(w, d, a);
            self.alu_operand(Alu::Sub, w, d, b);
        }
        self.finish(i.d, d);
    }

    pub(crate) fn logic(&mut self, i: &Inst) {
        let w = wide(i);
        let alu = match i.op {
            Op::And => Alu::And,
            Op::Or => Alu::Or,
            _ => Alu::Xor,
        };
        let (a, b) = (self.take(i.a), self.take(i.b));
        if let (Alu::And, Opnd::I(mask @ (0xff | 0xffff | 0xffff_ffff))) = (alu, b) {
            return self.zero_extend(i.d, a, mask);
        }
        if self.in_memory(alu, i, a, b) {
            return;
        }
        let (a, b) = (self.small(w, a), self.small(w, b));
        let d = self.dst(i.d, a);
        match b {
            Opnd::R(y) if y == d => self.alu_operand(alu, w, d, a),
            Opnd::I(u64::MAX) if alu == Alu::Xor => {
                self.to(w, d, a);
                self.asm.group3(2, w, Rm::R(d));
            }
            _ => {
                self.to(w, d, a);
                self.alu_operand(alu, w, d, b);
            }
        }
        self.finish(i.d, d);
    }

    /// `d = a & mask`, the mask being of 8, 16 or 32 ones.
    fn zero_extend(&mut self, v: Val, a: Opnd, mask: u64) {
        let src = self.rm(a);
        let d = self.dst(v, a);
        match mask {
            0xff => self.asm.op8(MOVZX8, false, d, src),
            0xffff => self.asm.op(MOVZX16, false, d, src),
            _ => self.asm.op(crate::asm::MOV_LOAD, false, d, src),
        }
        self.finish(v, d);
    }

    pub(crate) fn andc(&mut self, i: &Inst) {
        let w = wide(i);
        let (a, b) = (self.take(i.a), self.take(i.b));
        let b = self.reg(b);
        let a = self.rm(a);
        let d = self.dst(i.d, Opnd::R(b));
        self.asm.andn(w, d, b, a);
        self.finish(i.d, d);
    }

    pub(crate) fn mul(&mut self, i: &Inst) {
        let w = wide(i);
        let (a, b) = (self.take(i.a), self.take(i.b));
        if let Opnd::I(c) = b
            && let Some(imm) = imm32(w, c)
        {
            let src = self.rm(a);
            let d = self.dst(i.d, a);
            self.asm.imul_imm(w, d, src, imm);
            return self.finish(i.d, d);
        }
        let b = self.rm(b);
        let d = self.dst(i.d, a);
        if b == Rm::R(d) {
            let a = self.rm(a);
            self.asm.op(IMUL, w, d, a);
        } else {
            self.to(w, d, a);
            self.asm.op(IMUL, w, d, b);
        }
        self.finish(i.d, d);
    }

    /// The operand with the bits above an 8- or 16-bit type made its sign or zeros.
    fn narrow(&mut self, ty: Type, signed: bool, o: Opnd) -> Opnd {
        let op = match (ty, signed) {
            (Type::I8, true) => MOVSX8,
            (Type::I8, false) => MOVZX8,
            (Type::I16, true) => MOVSX16,
            (Type::I16, false) => MOVZX16,
            _ => return o,
        };
        if let Opnd::I(x) = o {
            let s = 64 - ty.bits();
            let up = x << s;
            return Opnd::I(if signed {
                (up as i64 >> s) as u64
            } else {
                up >> s
            });
        }
        let src = self.rm(o);
        let r = self.regs.scratch(self.asm);
        self.asm.op8(op, signed, r, src);
        Opnd::R(r)
    }

    /// Two operands, extended as [`Self::narrow`] does, in `rax` and `rcx`.
    fn narrow_both(&mut self, ty: Type, signed: bool, a: Opnd, b: Opnd) -> (Opnd, Opnd) {
        let slot = header(offset_of!(Header, scratch));
        self.store_slot(slot, b);
        self.regs.flush(self.asm);
        self.to(true, RAX, a);
        let mem = MemOp(ty.bytes().trailing_zeros() as u8);
        let mem = if signed { mem.with_sign() } else { mem };
        self.extend_loaded(RAX, Type::I32, mem);
        self.load_int(RCX, Type::I32, mem, slot);
        (Opnd::R(RAX), Opnd::R(RCX))
    }

    /// The shift count of an operation: reduced if it is a constant or the type is narrow.
    fn shift_count(&mut self, i: &Inst, b: Opnd) -> Opnd {
        let mask = i.ty.bits() - 1;
        match b {
            Opnd::I(n) => Opnd::I(n & u64::from(mask)),
            _ if i.ty.bits() < 32 => {
                let r = self.regs.scratch(self.asm);
                self.to(false, r, b);
                self.asm.alu_imm(Alu::And, false, Rm::R(r), mask as i32);
                Opnd::R(r)
            }
            _ => Opnd::R(self.reg(b)),
        }
    }

    pub(crate) fn shift(&mut self, i: &Inst) {
        let w = wide(i);
        let (op, signed) = match i.op {
            Op::Shl => (Shift::Shl, false),
            Op::Shr => (Shift::Shr, false),
            _ => (Shift::Sar, true),
        };
        let (mut a, b) = (self.take(i.a), self.take(i.b));
        if op != Shift::Shl {
            a = self.narrow(i.ty, signed, a);
        }
        let b = self.shift_count(i, b);
        if let Opnd::I(n) = b {
            let d = self.dst(i.d, a);
            match a {
                Opnd::R(x) if x != d && n == 1 && op == Shift::Shl => {
                    self.asm.lea(w, d, Mem::index(x, x, 0, 0));
                }
                _ => {
                    self.to(w, d, a);
                    if n != 0 {
                        self.asm.shift_imm(op, w, d, n as u8);
                    }
                }
            }
            return self.finish(i.d, d);
        }
        let count = self.reg(b);
        let a_rm = self.rm(a);
        let d = self.dst(i.d, a);
        self.asm.shift_x(op, w, d, a_rm, count);
        self.finish(i.d, d);
    }

    pub(crate) fn rotate(&mut self, i: &Inst) {
        let w = wide(i);
        if i.ty.bits() < 32 {
            return self.unsupported(i);
        }
        let (a, b) = (self.take(i.a), self.take(i.b));
        let bits = i.ty.bits();
        if let Opnd::I(n) = b {
            let n = n as u32 & (bits - 1);
            let right = if i.op == Op::Rotr {
                n
            } else {
                (bits - n) & (bits - 1)
            };
            let src = self.rm(a);
            let d = self.dst(i.d, a);
            self.asm.rorx(w, d, src, right as u8);
            return self.finish(i.d, d);
        }
        let op = if i.op == Op::Rotr {
            Shift::Ror
        } else {
            Shift::Rol
        };
        self.regs.flush(self.asm);
        match (a, b) {
            (Opnd::R(RCX), Opnd::R(RAX)) => {
                self.asm.op(crate::asm::XCHG, true, RAX, Rm::R(RCX));
            }
            (Opnd::R(RCX), _) => {
                self.to(true, RAX, a);
                self.to(true, RCX, b);
            }
            _ => {
                self.to(true, RCX, b);
                self.to(true, RAX, a);
            }
        }
        self.asm.shift_cl(op, w, RAX);
        self.result_rax(i);
    }

    pub(crate) fn extend(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let src = self.rm(a);
        let w = wide(i);
        let signed = i.op == Op::Sext;
        let d = self.dst(i.d, a);
        match (Type::from_u8(i.aux), signed) {
            (Some(Type::I8), true) => self.asm.op8(MOVSX8, w, d, src),
            (Some(Type::I16), true) => self.asm.op(MOVSX16, w, d, src),
            (Some(Type::I32), true) if w => self.asm.op(MOVSXD, true, d, src),
            (Some(Type::I8), false) => self.asm.op8(MOVZX8, false, d, src),
            (Some(Type::I16), false) => self.asm.op(MOVZX16, false, d, src),
            (Some(Type::I32), _) => self.asm.op(crate::asm::MOV_LOAD, false, d, src),
            (Some(Type::I64), _) => self.to(true, d, a),
            _ => return self.malformed(),
        }
        self.finish(i.d, d);
    }

    /// Compares and returns the condition code that holds exactly if `a cond b`, and the offset
    /// of the instruction that sets the flags (the last one emitted).
    #[inline(never)]
    pub(crate) fn compare(&mut self, ty: Type, cond: Cond, a: Opnd, b: Opnd) -> (u32, Cc) {
        let (mut a, mut b, mut cond) = (a, b, cond);
        if ty.bits() < 32 {
            let signed = matches!(cond, Cond::LtS | Cond::GeS | Cond::LeS | Cond::GtS);
            (a, b) = self.narrow_both(ty, signed, a, b);
        }
        let w = ty == Type::I64;
        if matches!(a, Opnd::I(_)) {
            if matches!(b, Opnd::I(_)) {
                a = Opnd::R(self.reg(a));
            } else {
                (a, b) = (b, a);
                cond = cond.swap();
            }
        }
        let (a, b) = (self.small(w, a), self.small(w, b));
        let cc = match cond {
            Cond::Eq | Cond::TestEq => Cc::E,
            Cond::Ne | Cond::TestNe => Cc::Ne,
            Cond::LtS => Cc::L,
            Cond::GeS => Cc::Ge,
            Cond::LeS => Cc::Le,
            Cond::GtS => Cc::G,
            Cond::LtU => Cc::B,
            Cond::GeU => Cc::Ae,
            Cond::LeU => Cc::Be,
            Cond::GtU => Cc::A,
        };
        if matches!(cond, Cond::TestEq | Cond::TestNe) {
            return (self.emit_test(w, a, b), cc);
        }
        (self.emit_cmp(w, a, b), cc)
    }

    #[inline(never)]
    fn emit_cmp(&mut self, w: bool, a: Opnd, b: Opnd) -> u32 {
        let a = match (a, b) {
            (Opnd::M(m), Opnd::R(r)) => {
                let start = self.asm.pos();
                self.asm.op(Opc::one(0x39), w, r, Rm::M(m));
                return start;
            }
            (Opnd::M(_), Opnd::M(_)) => Opnd::R(self.reg(a)),
            _ => a,
        };
        let start = self.asm.pos();
        match (a, b) {
            (Opnd::R(r), Opnd::I(0)) => self.asm.op(TEST, w, r, Rm::R(r)),
            (Opnd::M(m), Opnd::I(x)) => self.asm.alu_imm(Alu::Cmp, w, Rm::M(m), x as i32),
            (Opnd::R(r), Opnd::I(x)) => self.asm.alu_imm(Alu::Cmp, w, Rm::R(r), x as i32),
            (Opnd::R(r), Opnd::M(m)) => self.asm.alu(Alu::Cmp, w, r, Rm::M(m)),
            (Opnd::R(r), Opnd::R(s)) => self.asm.alu(Alu::Cmp, w, r, Rm::R(s)),
            _ => self.malformed(),
        }
        start
    }

    fn emit_test(&mut self, w: bool, a: Opnd, b: Opnd) -> u32 {
        if let Opnd::I(x) = b {
            let a = self.rm(a);
            let start = self.asm.pos();
            self.asm.test_imm(w, a, x as i32);
            return start;
        }
        let (a, b) = if matches!(b, Opnd::M(_)) {
            (b, a)
        } else {
            (a, b)
        };
        let (a, b) = (self.rm(a), self.reg(b));
        let start = self.asm.pos();
        self.asm.op(TEST, w, b, a);
        start
    }

    pub(crate) fn setcond(&mut self, i: &Inst) {
        let Some(cond) = Cond::from_u8(i.aux) else {
            return self.malformed();
        };
        let (a, b) = (self.take(i.a), self.take(i.b));
        let mapped = match i.d.as_global().map(|n| self.regs.place(n)) {
            Some(d @ Opnd::R(_)) => a != d && b != d,
            _ => false,
        };
        if mapped && i.ty.bits() >= 32 {
            let d = self.dst(i.d, Opnd::I(0));
            self.asm.alu(Alu::Xor, false, d, Rm::R(d));
            let (_, cc) = self.compare(i.ty, cond, a, b);
            return self.asm.setcc(cc, d);
        }
        let (_, cc) = self.compare(i.ty, cond, a, b);
        // The flags are all that is left of the operands.
        self.regs.restart_scratch([Opnd::I(0); 2]);
        let d = self.dst(i.d, a);
        self.asm.setcc(cc, d);
        self.asm.op8(MOVZX8, false, d, Rm::R(d));
        self.finish(i.d, d);
    }

    pub(crate) fn select(&mut self, i: &Inst) {
        let Some(cond) = Cond::from_u8(i.aux) else {
            return self.malformed();
        };
        if i.ty.bits() < 32 {
            return self.unsupported(i);
        }
        let w = wide(i);
        let (a, b) = (self.take(i.a), self.take(i.b));
        let (_, cc) = self.compare(i.ty, cond, a, b);
        let (c, e) = (self.take(i.c), self.take(i.e));
        // What the comparison took is free again: its flags are all that is left of it.
        self.regs.restart_scratch([c, e]);
        let not = negate(cc);
        let d = self.dst(i.d, e);
        let (cc, first, second) = if c == Opnd::R(d) {
            (not, c, e)
        } else {
            (cc, e, c)
        };
        self.to(w, d, first);
        let second = self.rm(second);
        self.asm.cmov(cc, w, d, second);
        self.finish(i.d, d);
    }

    pub(crate) fn bswap(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let d = self.dst(i.d, a);
        self.to(wide(i), d, a);
        self.asm.bswap(wide(i), d);
        if i.ty == Type::I16 {
            self.asm.shift_imm(Shift::Shr, false, d, 16);
        }
        self.finish(i.d, d);
    }

    pub(crate) fn count(&mut self, i: &Inst) {
        let op = match i.op {
            Op::Clz => LZCNT,
            Op::Ctz => TZCNT,
            _ => POPCNT,
        };
        let a = self.take(i.a);
        let src = self.rm(a);
        let d = self.dst(i.d, a);
        self.asm.op(op, wide(i), d, src);
        self.finish(i.d, d);
    }

    pub(crate) fn clmul(&mut self, i: &Inst) {
        let (a, b) = (self.take(i.a), self.take(i.b));
        let (x, y) = (self.regs.scratch_x(self.asm), self.regs.scratch_x(self.asm));
        let a = self.rm(a);
        self.asm.vex(v::MOV_FROM_INT, true, x, 0, a);
        let b = self.rm(b);
        self.asm.vex(v::MOV_FROM_INT, true, y, 0, b);
        self.asm.vex_imm(v::PCLMULQDQ, false, x, x, Rm::R(y), 0);
        if i.op == Op::ClmulHi {
            // vpsrldq x, x, 8
            self.asm.vex_imm(v::PSRLDQ, false, 3, x, Rm::R(x), 8);
        }
        let d = self.dst(i.d, Opnd::I(0));
        self.asm.vex(v::MOV_TO_INT, true, x, 0, Rm::R(d));
        self.finish(i.d, d);
    }

    pub(crate) fn mul_high(&mut self, i: &Inst) {
        match i.ty {
            Type::I64 => {}
            Type::I32 => return self.mul_high32(i),
            _ => return self.unsupported(i),
        }
        let (a, b) = (self.take(i.a), self.take(i.b));
        let slot = |n: i32| header(offset_of!(Header, scratch)).offset(n * 8);
        // The second operand is read from memory if the multiplication's registers hold it.
        let by = match b {
            Opnd::R(r) if r >= 3 => Rm::R(r),
            Opnd::M(m) => Rm::M(m),
            _ => {
                self.store_slot(slot(1), b);
                Rm::M(slot(1))
            }
        };
        self.regs.flush(self.asm);
        if i.op == Op::MulHiSU {
            self.to(true, RAX, a);
            self.asm.store(true, slot(0), RAX);
            self.asm.group3(4, true, by);
            self.asm.load(true, RAX, slot(0));
            self.asm.shift_imm(Shift::Sar, true, RAX, 63);
            self.asm.alu(Alu::And, true, RAX, by);
            self.asm.alu(Alu::Sub, true, RDX, Rm::R(RAX));
        } else {
            self.to(true, RAX, a);
            self.asm
                .group3(if i.op == Op::MulHiS { 5 } else { 4 }, true, by);
        }
        self.result_rdx(i);
    }

    fn mul_high32(&mut self, i: &Inst) {
        let (a, b) = (self.take(i.a), self.take(i.b));
        let extend = |signed: bool| if signed { MOVSXD } else { crate::asm::MOV_LOAD };
        let (sa, sb) = (i.op != Op::MulHiU, i.op == Op::MulHiS);
        let (a, b) = (self.rm(a), self.rm(b));
        let x = self.regs.scratch(self.asm);
        self.asm.op(extend(sb), sb, x, b);
        let d = self.dst(i.d, Opnd::I(0));
        self.asm.op(extend(sa), sa, d, a);
        self.asm.op(IMUL, true, d, Rm::R(x));
        self.asm.shift_imm(Shift::Shr, true, d, 32);
        self.finish(i.d, d);
    }

    /// Moves a result from `rdx`, all scratch registers being free.
    fn result_rdx(&mut self, i: &Inst) {
        self.regs.next_op();
        let d = self.dst(i.d, Opnd::R(RDX));
        self.asm.mov(true, d, RDX);
        self.finish(i.d, d);
    }

    /// Brings the dividend to `rax` and the divisor to `rcx` unless it is a mapped register.
    fn division_operands(&mut self, w: bool, a: Opnd, b: Opnd) -> u8 {
        self.regs.flush(self.asm);
        match (a, b) {
            (_, Opnd::R(r)) if r >= 3 => {
                self.to(w, RAX, a);
                return r;
            }
            (Opnd::R(RCX), Opnd::R(RAX)) => {
                self.asm.op(crate::asm::XCHG, true, RAX, Rm::R(RCX));
            }
            (_, Opnd::R(RAX)) => {
                self.to(w, RCX, b);
                self.to(w, RAX, a);
            }
            _ => {
                self.to(w, RAX, a);
                self.to(w, RCX, b);
            }
        }
        RCX
    }

    pub(crate) fn divide(&mut self, i: &Inst) {
        if i.ty.bits() < 32 {
            return self.unsupported(i);
        }
        let w = wide(i);
        let signed = matches!(i.op, Op::DivS | Op::RemS);
        let (a, b) = (self.take(i.a), self.take(i.b));
        let by = self.division_operands(w, a, b);
        let safe = match b {
            Opnd::I(x) => {
                let low = if w { x as i64 } else { i64::from(x as i32) };
                low != 0 && low != -1
            }
            _ => false,
        };
        let from = (!safe).then(|| {
            if signed {
                self.asm.lea(w, RDX, Mem::base(by, 1));
                self.asm.alu_imm(Alu::Cmp, w, Rm::R(RDX), 1);
                self.asm.jcc(Cc::Be)
            } else {
                self.asm.op(TEST, w, by, Rm::R(by));
                self.asm.jcc(Cc::E)
            }
        });
        if signed {
            self.asm.sign_rax(w);
            self.asm.group3(7, w, Rm::R(by));
        } else {
            self.asm.alu(Alu::Xor, false, RDX, Rm::R(RDX));
            self.asm.group3(6, w, Rm::R(by));
        }
        if let Some(from) = from {
            let back = self.asm.pos();
            let by = Opnd::R(by);
            self.cold.push(Cold::Div {
                from,
                back,
                op: i.op,
                w,
                by,
            });
        }
        if matches!(i.op, Op::DivS | Op::DivU) {
            self.result_rax(i);
        } else {
            self.result_rdx(i);
        }
    }

    /// Quotient and remainder of a double-width dividend.
    pub(crate) fn div_wide(&mut self, i: &Inst) {
        if i.ty.bits() < 32 {
            return self.unsupported(i);
        }
        let w = wide(i);
        let signed = i.op == Op::DivWideS;
        let slot = |n: i32| header(offset_of!(Header, scratch)).offset(n * 8);
        for (n, v) in [i.a, i.b, i.c].into_iter().enumerate() {
            let o = self.take(v);
            self.store_slot(slot(n as i32), o);
        }
        self.regs.flush(self.asm);
        for (n, r) in [RAX, RDX, RCX].into_iter().enumerate() {
            self.asm.load(w, r, slot(n as i32));
        }
        if signed {
            self.magnitudes(w);
        }
        self.asm.alu(Alu::Cmp, w, RDX, Rm::R(RCX));
        let overflow = self.asm.jcc8(Cc::Ae);
        self.asm.group3(6, w, Rm::R(RCX));
        let misfit = signed.then(|| self.apply_signs(w, slot(1), slot(2)));
        let done = self.asm.jmp8();
        self.asm.bind8(overflow);
        if let Some(misfit) = misfit {
            self.asm.bind8(misfit);
        }
        self.asm.load(w, RDX, slot(0));
        self.asm.mov_imm(RAX, u64::MAX);
        self.asm.bind8(done);
        self.regs.next_op();
        let d = self.dst(i.d, Opnd::R(RAX));
        self.asm.mov(true, d, RAX);
        self.finish(i.d, d);
        let d2 = self.dst(i.d2, Opnd::R(RDX));
        self.asm.mov(true, d2, RDX);
        self.finish(i.d2, d2);
    }

    /// Replaces `rdx:rax` and `rcx` by their absolute values.
    fn magnitudes(&mut self, w: bool) {
        self.asm.op(TEST, w, RDX, Rm::R(RDX));
        let positive = self.asm.jcc8(Cc::Ns);
        self.asm.group3(3, w, Rm::R(RAX));
        self.asm.alu_imm(Alu::Adc, w, Rm::R(RDX), 0);
        self.asm.group3(3, w, Rm::R(RDX));
        self.asm.bind8(positive);
        self.asm.op(TEST, w, RCX, Rm::R(RCX));
        let positive = self.asm.jcc8(Cc::Ns);
        self.asm.group3(3, w, Rm::R(RCX));
        self.asm.bind8(positive);
    }

    /// Gives quotient and remainder of magnitudes the signs that dividend (its high half is in
    /// memory) and divisor ask for. The jump to bind is taken if the quotient does not fit.
    fn apply_signs(&mut self, w: bool, high: Mem, by: Mem) -> Fix {
        self.asm.load(w, RCX, high);
        self.asm.op(TEST, w, RCX, Rm::R(RCX));
        let positive = self.asm.jcc8(Cc::Ns);
        self.asm.group3(3, w, Rm::R(RDX));
        self.asm.bind8(positive);
        self.asm.alu(Alu::Xor, w, RCX, Rm::M(by));
        let positive = self.asm.jcc8(Cc::Ns);
        self.asm.group3(3, w, Rm::R(RAX));
        self.asm.bind8(positive);
        // The sign is as wanted, or the quotient is 0.
        self.asm.alu(Alu::Xor, w, RCX, Rm::R(RAX));
        let fits = self.asm.jcc8(Cc::Ns);
        self.asm.op(TEST, w, RAX, Rm::R(RAX));
        let misfit = self.asm.jcc8(Cc::Ne);
        self.asm.bind8(fits);
        misfit
    }

    /// The result of a division by 0 or (signed) -1: quotient in `rax` or remainder in `rdx`.
    pub(crate) fn cold_div(&mut self, op: Op, w: bool, by: Opnd) {
        let Opnd::R(by) = by else { return };
        match op {
            Op::DivS => {
                self.asm.group3(3, w, Rm::R(RAX));
                self.asm.op(TEST, w, by, Rm::R(by));
                let minus_one = self.asm.jcc8(Cc::Ne);
                self.asm.alu_imm(Alu::Or, w, Rm::R(RAX), -1);
                self.asm.bind8(minus_one);
            }
            Op::DivU => self.asm.alu_imm(Alu::Or, w, Rm::R(RAX), -1),
            Op::RemU => self.asm.mov(true, RDX, RAX),
            _ => {
                self.asm.mov(true, RDX, RAX);
                self.asm.op(TEST, w, by, Rm::R(by));
                let zero = self.asm.jcc8(Cc::E);
                self.asm.alu(Alu::Xor, false, RDX, Rm::R(RDX));
                self.asm.bind8(zero);
            }
        }
    }
}

/// The condition code that holds exactly if `cc` does not.
pub(crate) fn negate(cc: Cc) -> Cc {
    match cc {
        Cc::B => Cc::Ae,
        Cc::Ae => Cc::B,
        Cc::E => Cc::Ne,
        Cc::Ne => Cc::E,
        Cc::Be => Cc::A,
        Cc::A => Cc::Be,
        Cc::L => Cc::Ge,
        Cc::Ge => Cc::L,
        Cc::Le => Cc::G,
        Cc::G => Cc::Le,
        Cc::P => Cc::Np,
        Cc::Np => Cc::P,
        other => other,
    }
}
