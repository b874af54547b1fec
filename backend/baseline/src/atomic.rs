//! Atomic read-modify-writes, compare-and-swap, load-reserved and store-conditional.

use crate::asm::{
    Alu, CMPXCHG, Cc, LEA, MOVSX8, MOVSX16, MOVSXD, MOVZX8, MOVZX16, Mem, Opc, RAX, RBX, RCX, RDX,
    Rm, XADD, XCHG,
};
use crate::emit::Compile;
use crate::header::{Header, RESERVE_LEN};
use crate::int::negate;
use crate::regs::{Opnd, header};
use isomorph_ir::{AtomicOp, Inst, MemOp, Type, Val};
use std::mem::offset_of;

macro_rules! field {
    ($name:ident) => {
        header(offset_of!(Header, $name))
    };
}

/// Scratch word `n` of the header.
fn scratch_word(n: i32) -> Mem {
    field!(scratch).offset(n * 8)
}

impl Compile<'_> {
    /// `r` extended from the access size to `ty`, in place.
    pub(crate) fn extend_loaded(&mut self, r: u8, ty: Type, mem: MemOp) {
        let w = ty == Type::I64;
        match (mem.size_log2(), mem.signed()) {
            (0, true) => self.asm.op8(MOVSX8, w, r, Rm::R(r)),
            (0, false) => self.asm.op8(MOVZX8, false, r, Rm::R(r)),
            (1, true) => self.asm.op(MOVSX16, w, r, Rm::R(r)),
            (1, false) => self.asm.op(MOVZX16, false, r, Rm::R(r)),
            (2, true) if w => self.asm.op(MOVSXD, true, r, Rm::R(r)),
            (2, false) => self.asm.op(crate::asm::MOV_LOAD, false, r, Rm::R(r)),
            _ => {}
        }
    }

    /// Moves a result, loaded into `r` (a scratch register), to `d`.
    fn result_from(&mut self, v: Val, r: u8) {
        self.end_atomic();
        self.regs.next_op();
        let d = self.dst(v, Opnd::R(r));
        self.asm.mov(true, d, r);
        self.finish(v, d);
    }

    /// True if the operation is one that this tier has: little-endian, at most 8 bytes.
    fn plain(&mut self, i: &Inst) -> bool {
        let mem = MemOp(i.aux);
        let good = mem.size_log2() <= 3 && (!mem.big_endian() || mem.bytes() == 1);
        if !good || !i.ty.is_int() {
            self.unsupported(i);
            return false;
        }
        true
    }

    /// Brings an address to a register that is mapped or `rdx`, checked for alignment, and parks
    /// the value operand in a mapped register or memory. All scratch registers are free then but
    /// `rdx`.
    fn atomic_operands(&mut self, i: &Inst, a: Opnd, values: &mut [Opnd]) -> Mem {
        let mem = MemOp(i.aux);
        for (n, o) in values.iter_mut().enumerate() {
            match *o {
                Opnd::R(r) if r >= 3 => {}
                Opnd::I(x) if x as i32 as i64 as u64 == x => {}
                _ => {
                    let slot = scratch_word(n as i32);
                    self.store_slot(slot, *o);
                    *o = Opnd::M(slot);
                }
            }
        }
        self.regs.flush(self.asm);
        let at = match a {
            Opnd::R(r) if r >= 3 => r,
            _ => {
                self.to(true, RDX, a);
                RDX
            }
        };
        let at = Mem::base(at, 0);
        if self.tlb.is_some() {
            return self.tlb_atomic(i, at, values);
        }
        if mem.aligned() && mem.bytes() > 1 {
            self.asm.lea(true, RDX, at);
            self.aligned_or_trap(mem, RDX);
        }
        at
    }

    pub(crate) fn rmw(&mut self, i: &Inst) {
        let (mem, Some(op)) = (MemOp(i.aux), AtomicOp::from_u8(i.aux2)) else {
            return self.malformed();
        };
        if !self.plain(i) {
            return;
        }
        let a = self.take(i.a);
        let mut values = [self.take(i.b)];
        let at = self.atomic_operands(i, a, &mut values);
        let value = values[0];
        let unused = i.d.as_temp().is_some() && self.regs.uses(i.d) == 0;
        match op {
            AtomicOp::Swap | AtomicOp::Add => {
                self.to(true, RAX, value);
                let op = if op == AtomicOp::Add { XADD } else { XCHG };
                self.locked(op, mem, RAX, at);
            }
            AtomicOp::And | AtomicOp::Or | AtomicOp::Xor if unused => {
                self.to(true, RAX, value);
                let alu = bitwise(op);
                self.locked(Opc::one((alu as u8) << 3 | 1), mem, RAX, at);
            }
            _ => self.rmw_loop(op, mem, at, value),
        }
        self.extend_loaded(RAX, i.ty, mem);
        self.result_from(i.d, RAX);
    }

    /// `rax` = old value; retries until the update took place.
    fn rmw_loop(&mut self, op: AtomicOp, mem: MemOp, at: Mem, value: Opnd) {
        let wide = mem.size_log2() == 3;
        // Sign or zeros above a narrow value, so that minimum and maximum compare 32 bits.
        let signed = matches!(op, AtomicOp::MinS | AtomicOp::MaxS);
        let load = MemOp(mem.size_log2() as u8);
        let load = if signed { load.with_sign() } else { load };
        self.load_int(RAX, Type::I32, load, at);
        let again = self.asm.pos();
        match op {
            AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => {
                self.to(true, RCX, value);
                self.asm.alu(bitwise(op), true, RCX, Rm::R(RAX));
            }
            _ => {
                self.to(true, RCX, value);
                self.extend_loaded(RCX, Type::I32, load);
                if mem.size_log2() < 2 {
                    self.extend_loaded(RAX, Type::I32, load);
                }
                self.asm.alu(Alu::Cmp, wide, RAX, Rm::R(RCX));
                let keep = match op {
                    AtomicOp::MinS => Cc::L,
                    AtomicOp::MaxS => Cc::G,
                    AtomicOp::MinU => Cc::B,
                    _ => Cc::A,
                };
                self.asm.cmov(keep, wide, RCX, Rm::R(RAX));
            }
        }
        self.locked(CMPXCHG, mem, RCX, at);
        self.asm.jcc8_back(Cc::Ne, again);
    }

    pub(crate) fn cas(&mut self, i: &Inst) {
        let mem = MemOp(i.aux);
        if !self.plain(i) {
            return;
        }
        let a = self.take(i.a);
        let mut values = [self.take(i.b), self.take(i.c)];
        let at = self.atomic_operands(i, a, &mut values);
        self.to(true, RAX, values[0]);
        self.to(true, RCX, values[1]);
        self.locked(CMPXCHG, mem, RCX, at);
        self.extend_loaded(RAX, i.ty, mem);
        self.result_from(i.d, RAX);
    }

    /// `cmpxchg16b` wants `rbx`, which is mapped, and a fault must find it intact: the pair is
    /// touched first (a compare-and-swap of zero for zero would write; an `or` of 0 does not
    /// change it), then swapped with `rbx` exchanged around the instruction.
    pub(crate) fn cas_pair(&mut self, i: &Inst) {
        let mem = MemOp(i.aux);
        if mem.big_endian() {
            return self.unsupported(i);
        }
        let new_high = Val::from_raw(i.imm as u16);
        let a = self.take(i.a);
        for (n, v) in [i.b, i.c, i.e, new_high].into_iter().enumerate() {
            let o = self.take(v);
            let slot = field!(args).offset(n as i32 * 8);
            self.store_slot(slot, o);
            self.regs.restart_scratch([a, a]);
        }
        self.regs.flush(self.asm);
        self.to(true, RAX, a);
        if self.tlb.is_some() {
            self.tlb_cas_pair(i);
        } else {
            self.aligned_or_trap(MemOp(mem.0 & !7 | 4).with_alignment(), RAX);
            // Faults here, if it does.
            self.asm.byte(0xf0);
            self.asm
                .alu_imm(Alu::Or, false, Rm::M(Mem::base(RAX, 0)), 0);
        }
        self.asm.store(true, scratch_word(0), RBX);
        self.asm.store(true, scratch_word(1), 8);
        self.asm.mov(true, 8, RAX);
        self.asm.load(true, RAX, field!(args));
        self.asm.load(true, RDX, field!(args).offset(8));
        self.asm.load(true, RBX, field!(args).offset(16));
        self.asm.load(true, RCX, field!(args).offset(24));
        self.asm.byte(0xf0);
        // cmpxchg16b [r8]
        self.asm
            .op(Opc::two(0, 0xc7), true, 1, Rm::M(Mem::base(8, 0)));
        self.asm.load(true, RBX, scratch_word(0));
        self.asm.load(true, 8, scratch_word(1));
        self.end_atomic();
        self.regs.next_op();
        self.regs.reserve_scratch(RDX);
        let d = self.dst(i.d, Opnd::R(RAX));
        self.asm.mov(true, d, RAX);
        self.finish(i.d, d);
        self.regs.next_op();
        let d2 = self.dst(i.d2, Opnd::R(RDX));
        self.asm.mov(true, d2, RDX);
        self.finish(i.d2, d2);
    }

    /// `rcx` = address of the reservation bucket of the address in `r`.
    fn bucket(&mut self, r: u8) {
        self.asm.mov(true, RCX, r);
        self.asm
            .alu_imm(Alu::And, false, Rm::R(RCX), ((RESERVE_LEN - 1) << 4) as i32);
        self.asm.shift_imm(crate::asm::Shift::Shr, false, RCX, 1);
        self.asm
            .alu(Alu::Add, true, RCX, Rm::M(field!(reserve_table)));
    }

    /// The version is read before the value: a store conditional that comes between them changes
    /// it and makes ours fail.
    pub(crate) fn load_reserved(&mut self, i: &Inst) {
        let mem = MemOp(i.aux);
        if !self.plain(i) {
            return;
        }
        let a = self.take(i.a);
        let at = self.atomic_operands(i, a, &mut []);
        self.asm.op(LEA, true, RDX, Rm::M(at));
        self.bucket(RDX);
        self.asm.load(true, RCX, Mem::base(RCX, 0));
        self.asm.alu_imm(Alu::And, true, Rm::R(RCX), !1);
        self.load_int(RAX, i.ty, mem, Mem::base(RDX, 0));
        self.asm.store(true, field!(reserve_version), RCX);
        self.asm.store(true, field!(reserve_value), RAX);
        self.asm.store(true, field!(reserve_addr), RDX);
        self.result_from(i.d, RAX);
    }

    /// Store conditional: the address must match, the bucket's version must be the one seen and
    /// even (it is made odd meanwhile), and memory must still hold the value seen. Together these
    /// catch every store by another store conditional (no ABA among them) and every plain store
    /// that changed the value.
    pub(crate) fn store_cond(&mut self, i: &Inst) {
        let mem = MemOp(i.aux);
        if !self.plain(i) || mem.size_log2() < 2 {
            return self.unsupported(i);
        }
        let a = self.take(i.a);
        let mut values = [self.take(i.b)];
        let at = self.atomic_operands(i, a, &mut values);
        self.asm.op(LEA, true, RDX, Rm::M(at));
        self.asm
            .alu(Alu::Cmp, true, RDX, Rm::M(field!(reserve_addr)));
        self.asm.store_imm(true, field!(reserve_addr), 1);
        let other = self.asm.jcc(Cc::Ne);
        self.bucket(RDX);
        self.asm.load(true, RAX, field!(reserve_version));
        self.asm.store(true, scratch_word(1), RDX);
        self.asm.lea(true, RDX, Mem::base(RAX, 1));
        self.asm.store(true, field!(sc_lock), RCX);
        self.locked(CMPXCHG, MemOp::U64, RDX, Mem::base(RCX, 0));
        let lost = self.asm.jcc(Cc::Ne);
        self.asm.load(true, RDX, scratch_word(1));
        self.asm.load(true, RAX, field!(reserve_value));
        self.to(true, RCX, values[0]);
        self.locked(CMPXCHG, mem, RCX, Mem::base(RDX, 0));
        self.asm.load(true, RCX, field!(sc_lock));
        // Neither instruction changes the zero flag.
        self.asm.load(true, RDX, field!(reserve_version));
        self.asm.lea(true, RDX, Mem::base(RDX, 2));
        self.asm.store(true, Mem::base(RCX, 0), RDX);
        self.asm.bind(lost);
        self.asm.store_imm(true, field!(sc_lock), 0);
        self.asm.bind(other);
        self.asm.setcc(negate(Cc::E), RAX);
        self.asm.op8(MOVZX8, false, RAX, Rm::R(RAX));
        self.result_from(i.d, RAX);
    }
}

fn bitwise(op: AtomicOp) -> Alu {
    match op {
        AtomicOp::And => Alu::And,
        AtomicOp::Or => Alu::Or,
        _ => Alu::Xor,
    }
}
