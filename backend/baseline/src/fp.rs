//! Floating point on the host's unit: the guest's sticky flags and dynamic rounding mode are
//! MXCSR's. What the unit does otherwise than the IR says is found by cheap tests and mended out
//! of line, at worst by integer arithmetic (`isomorph-softfloat`).
//!
//! An F32 lies in the low half of a vector register; "boxed" says that the upper half is known to
//! be all ones, as a NaN-boxed guest register wants it. Scalar operations keep the upper half of
//! their first operand, so that in steady state boxing costs nothing.

use crate::asm::{Alu, Cc, Fix, MOVZX8, Mem, RAX, Rm as Loc, Shift, Vex, v};
use crate::emit::{Cold, Compile};
use crate::header::Header;
use crate::regs::{Opnd, header};
use crate::runtime::consts;
use crate::soft;
use isomorph_ir::{Inst, MemOp, Op, Rm, Type, Val};
use std::mem::offset_of;

macro_rules! field {
    ($name:ident) => {
        header(offset_of!(Header, $name))
    };
}

/// Where an out-of-line result goes.
#[derive(Clone, Copy, Debug)]
enum To {
    General(u8),
    Vector(u8),
}

/// An operation redone in integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftCall {
    op: Op,
    ty: Type,
    rm: u8,
    args: [Option<Opnd>; 3],
    to: To,
}

/// Work out of line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ColdFp {
    /// The whole operation.
    Soft {
        from: Fix,
        back: u32,
        call: SoftCall,
    },
    /// Minimum or maximum of equal or unordered operands (flags of their comparison at hand).
    Equal {
        from: Fix,
        back: u32,
        max: bool,
        call: SoftCall,
    },
    /// Unboxing what is not boxed: the canonical NaN.
    NotBoxed { from: Fix, back: u32, d: u8 },
}

/// A scalar instruction for both formats: implied prefixes 2 (single) and 3 (double).
const fn scalar(ty: Type, op: u8) -> Vex {
    Vex::new(1, if matches!(ty, Type::F32) { 2 } else { 3 }, op)
}

/// `vucomis` or (`signaling`) `vcomis`.
const fn comis(ty: Type, signaling: bool) -> Vex {
    let pp = if matches!(ty, Type::F32) { 0 } else { 1 };
    Vex::new(1, pp, if signaling { 0x2f } else { 0x2e })
}

const ANDN: Vex = Vex::new(1, 0, 0x55);

impl Compile<'_> {
    pub(crate) fn fp(&mut self, i: &Inst) {
        match i.op {
            Op::FAdd | Op::FSub | Op::FMul | Op::FDiv => self.arithmetic(i),
            Op::FMadd | Op::FMsub | Op::FNmadd | Op::FNmsub => self.fused(i),
            Op::FSqrt => self.sqrt(i),
            Op::Unbox => self.unbox(i),
            Op::NanBox => self.nan_box(i),
            Op::Bitcast => self.bitcast(i),
            Op::FCopySign | Op::FCopySignNot | Op::FXorSign => self.sign(i),
            Op::FMinNum | Op::FMaxNum | Op::FMin | Op::FMax => self.extreme(i),
            Op::FCmpEq => self.equal(i),
            Op::FCmpLt | Op::FCmpLe | Op::FCmpLtQ | Op::FCmpLeQ => self.less(i),
            Op::FToI32S | Op::FToI64S => self.signed_int(i),
            Op::FToI32U | Op::FToI64U => self.unsigned_int(i),
            Op::FFromI32S | Op::FFromI32U | Op::FFromI64S | Op::FFromI64U => self.int_to_float(i),
            Op::FWiden | Op::FNarrow => self.change_format(i),
            Op::FRound | Op::FRoundX => self.round(i),
            Op::FClass => self.class(i),
            Op::GetFlags => self.get_flags(i),
            Op::SetFlags | Op::OrFlags => self.set_flags(i),
            Op::SetRound => self.set_round(i),
            _ => self.malformed(),
        }
    }

    fn constant(&self, at: u32) -> Loc {
        Loc::M(Mem::runtime(self.rt.consts + at))
    }

    /// The value of `o` in a vector register (its own, or a scratch register).
    fn xreg(&mut self, o: Opnd) -> u8 {
        if let Opnd::X(x) = o {
            return x;
        }
        let x = self.regs.scratch_x(self.asm);
        self.move_x(x, o);
        x
    }

    /// The value of `o` as a vector register or memory operand.
    fn xrm(&mut self, o: Opnd) -> Loc {
        match o {
            Opnd::X(x) => Loc::R(x),
            Opnd::M(m) => Loc::M(m),
            _ => Loc::R(self.xreg(o)),
        }
    }

    /// `d = o`, 64 bits.
    fn move_x(&mut self, d: u8, o: Opnd) {
        match o {
            Opnd::X(x) if x == d => {}
            Opnd::X(x) => self.asm.vex(v::MOVAPS, false, d, 0, Loc::R(x)),
            Opnd::M(m) => self.asm.vex(v::MOVSD_LOAD, false, d, 0, Loc::M(m)),
            Opnd::I(0) => self.asm.vex(v::XOR, false, d, d, Loc::R(d)),
            _ => {
                let r = self.reg(o);
                self.asm.vex(v::MOV_FROM_INT, true, d, 0, Loc::R(r));
            }
        }
    }

    fn finish_x(&mut self, d: Val, x: u8) {
        self.regs.finish_x(self.asm, d, x);
    }

    pub(crate) fn mov_float(&mut self, i: &Inst) {
        if i.ty == Type::V128 {
            return self.unsupported(i);
        }
        let boxed = self.regs.is_boxed(i.a);
        let a = self.take(i.a);
        let d = self.dst_x(i.d, a);
        self.move_x(d, a);
        self.regs.set_boxed(i.d, boxed);
        self.finish_x(i.d, d);
    }

    pub(crate) fn load_float(&mut self, i: &Inst, mem: MemOp, at: Mem) {
        if mem.bytes() != i.ty.bytes() {
            return self.unsupported(i);
        }
        if mem.big_endian() {
            let r = self.regs.scratch(self.asm);
            let ty = if i.ty == Type::F32 {
                Type::I32
            } else {
                Type::I64
            };
            self.load_int(r, ty, mem, at);
            let d = self.dst_x(i.d, Opnd::I(0));
            self.move_x(d, Opnd::R(r));
            return self.finish_x(i.d, d);
        }
        let d = self.dst_x(i.d, Opnd::I(0));
        let op = if i.ty == Type::F32 {
            v::MOVSS_LOAD
        } else {
            v::MOVSD_LOAD
        };
        self.asm.vex(op, false, d, 0, Loc::M(at));
        self.finish_x(i.d, d);
    }

    pub(crate) fn load_nan(&mut self, d: u8, ty: Type) {
        let at = if ty == Type::F32 {
            consts::NAN32
        } else {
            consts::NAN64
        };
        let nan = self.constant(at);
        self.asm.vex(v::MOVSD_LOAD, false, d, 0, nan);
    }

    /// Makes a NaN in `d` the canonical one.
    fn canonical(&mut self, ty: Type, d: u8) {
        self.asm.vex(comis(ty, false), false, d, 0, Loc::R(d));
        let from = self.asm.jcc(Cc::P);
        let back = self.asm.pos();
        self.cold.push(Cold::Nan { from, back, d, ty });
    }

    /// Emits `body` under the operation's rounding mode.
    fn rounded(&mut self, i: &Inst, body: impl FnOnce(&mut Self)) {
        match Rm::from_u8(i.aux) {
            Some(Rm::Dyn | Rm::Rmm) | None => body(self),
            Some(rm) => {
                self.asm.call_runtime(self.rt.round_push[rm as usize]);
                body(self);
                self.asm.call_runtime(self.rt.round_pop);
            }
        }
    }

    /// If the mode is one that the unit does not have, redoes the whole operation in integers.
    fn rounds_in_software(&mut self, i: &Inst, args: [Option<Opnd>; 3], to: To) -> bool {
        if i.aux != Rm::Rmm as u8 {
            return false;
        }
        let from = self.asm.jmp();
        self.soft(i, from, args, to);
        true
    }

    /// Redoes the operation in integers when `from` is taken, and goes on here.
    fn soft(&mut self, i: &Inst, from: Fix, args: [Option<Opnd>; 3], to: To) {
        let call = SoftCall {
            op: i.op,
            ty: i.ty,
            rm: i.aux,
            args,
            to,
        };
        let back = self.asm.pos();
        self.cold.push(Cold::Fp(ColdFp::Soft { from, back, call }));
    }

    fn arithmetic(&mut self, i: &Inst) {
        let op = match i.op {
            Op::FAdd => 0x58,
            Op::FMul => 0x59,
            Op::FSub => 0x5c,
            _ => 0x5e,
        };
        let boxed = [self.regs.is_boxed(i.a), self.regs.is_boxed(i.b)];
        let (mut a, mut b, mut first) = (self.take(i.a), self.take(i.b), 0);
        if matches!(i.op, Op::FAdd | Op::FMul) && !matches!(a, Opnd::X(_)) {
            (a, b, first) = (b, a, 1);
        }
        if i.aux == Rm::Rmm as u8 {
            b = Opnd::X(self.xreg(b));
        }
        let x = self.xreg(a);
        let y = self.xrm(b);
        let d = self.dst_x(i.d, a);
        if !self.rounds_in_software(i, [Some(Opnd::X(x)), Some(b), None], To::Vector(d)) {
            self.rounded(i, |c| c.asm.vex(scalar(i.ty, op), false, d, x, y));
            self.canonical(i.ty, d);
        }
        self.regs.set_boxed(i.d, i.ty == Type::F32 && boxed[first]);
        self.finish_x(i.d, d);
    }

    fn sqrt(&mut self, i: &Inst) {
        let boxed = self.regs.is_boxed(i.a);
        let a = self.take(i.a);
        let x = self.xreg(a);
        let d = self.dst_x(i.d, a);
        if !self.rounds_in_software(i, [Some(Opnd::X(x)), None, None], To::Vector(d)) {
            self.rounded(i, |c| c.asm.vex(scalar(i.ty, 0x51), false, d, x, Loc::R(x)));
            self.canonical(i.ty, d);
        }
        self.regs.set_boxed(i.d, i.ty == Type::F32 && boxed);
        self.finish_x(i.d, d);
    }

    /// The operands are kept beside the result: a NaN needs them again, as the unit does not
    /// raise invalid for infinity times zero plus a quiet NaN.
    fn fused(&mut self, i: &Inst) {
        // The forms that add to or subtract from their first operand.
        let op = match i.op {
            Op::FMadd => 0xb9,
            Op::FMsub => 0xbb,
            Op::FNmsub => 0xbd,
            _ => 0xbf,
        };
        let op = Vex::new(2, 1, op);
        let boxed = self.regs.is_boxed(i.c);
        let (mut a, mut b, c) = (self.take(i.a), self.take(i.b), self.take(i.c));
        if !matches!(a, Opnd::X(_)) {
            (a, b) = (b, a);
        }
        let (mut x, mut y) = (self.xreg(a), self.xrm(b));
        let d = self.dst_x(i.d, c);
        let mut args = [Opnd::X(x), b, c];
        let mut at = d;
        if x == d || [b, c].contains(&Opnd::X(d)) {
            match self.regs.try_scratch_x(self.asm, &args, d) {
                Some(free) => at = free,
                None => (x, y) = self.park_operands(&mut args, d),
            }
        }
        let args = args.map(Some);
        if !self.rounds_in_software(i, args, To::Vector(at)) {
            self.move_x(at, c);
            self.rounded(i, |c| c.asm.vex(op, i.ty == Type::F64, at, x, y));
            self.asm.vex(comis(i.ty, false), false, at, 0, Loc::R(at));
            let from = self.asm.jcc(Cc::P);
            self.soft(i, from, args, To::Vector(at));
        }
        self.move_x(d, Opnd::X(at));
        self.regs.set_boxed(i.d, i.ty == Type::F32 && boxed);
        self.finish_x(i.d, d);
    }

    /// With all scratch registers in use the operands are kept in memory. Returns the factors to
    /// use, none of them in `d`.
    fn park_operands(&mut self, args: &mut [Opnd; 3], d: u8) -> (u8, Loc) {
        let before = *args;
        for (n, o) in args.iter_mut().enumerate() {
            let slot = field!(args).offset(n as i32 * 8);
            if let Opnd::X(x) = *o {
                self.asm.vex(v::MOVSD_STORE, false, x, 0, Loc::M(slot));
                *o = Opnd::M(slot);
            }
        }
        match (before, *args) {
            ([Opnd::X(x), Opnd::X(y), _], [first, _, _]) if x == d && y != d => {
                (y, self.xrm(first))
            }
            ([Opnd::X(x), _, _], [_, second, _]) => (x, self.xrm(second)),
            _ => {
                self.malformed();
                (d, Loc::R(d))
            }
        }
    }

    fn unbox(&mut self, i: &Inst) {
        let known = self.regs.is_boxed(i.a);
        let a = self.take(i.a);
        if known && let Opnd::X(x) = a {
            if x >= 3 && i.d.as_temp().is_some() {
                return self.regs.alias_x(i.d, x, true);
            }
            let d = self.dst_x(i.d, a);
            self.move_x(d, a);
            self.regs.set_boxed(i.d, true);
            return self.finish_x(i.d, d);
        }
        if let Opnd::M(m) = a {
            self.asm.alu_imm(Alu::Cmp, false, Loc::M(m.offset(4)), -1);
        } else {
            let x = self.xreg(a);
            let r = self.regs.scratch(self.asm);
            self.asm.vex_imm(v::PEXTRD, false, x, 0, Loc::R(r), 1);
            self.asm.alu_imm(Alu::Cmp, false, Loc::R(r), -1);
        }
        let d = self.dst_x(i.d, Opnd::I(0));
        // Before the branch: moves change no flags, and the canonical NaN overwrites it.
        self.move_x(d, a);
        let from = self.asm.jcc(Cc::Ne);
        let back = self.asm.pos();
        self.cold.push(Cold::Fp(ColdFp::NotBoxed { from, back, d }));
        self.regs.set_boxed(i.d, true);
        self.finish_x(i.d, d);
    }

    fn nan_box(&mut self, i: &Inst) {
        let boxed = self.regs.is_boxed(i.a);
        let a = self.take(i.a);
        let d = self.dst_x(i.d, a);
        if boxed {
            self.move_x(d, a);
        } else {
            let x = self.xreg(a);
            let ones = self.constant(consts::BOX);
            self.asm.vex(v::OR, false, d, x, ones);
        }
        self.regs.set_boxed(i.d, true);
        self.finish_x(i.d, d);
    }

    fn bitcast(&mut self, i: &Inst) {
        let a = self.take(i.a);
        if i.ty.is_float() {
            let d = self.dst_x(i.d, a);
            self.move_x(d, a);
            return self.finish_x(i.d, d);
        }
        if let (Opnd::X(x @ 3..), Some(_)) = (a, i.d.as_temp()) {
            return self.regs.alias_x(i.d, x, false);
        }
        let d = self.dst(i.d, a);
        self.to(i.ty == Type::I64, d, a);
        self.finish(i.d, d);
    }

    fn sign(&mut self, i: &Inst) {
        let (sign, abs) = match i.ty {
            Type::F32 => (consts::SIGN32, consts::ABS32),
            _ => (consts::SIGN64, consts::ABS64),
        };
        let (sign, abs) = (self.constant(sign), self.constant(abs));
        let boxed = i.ty == Type::F32 && self.regs.is_boxed(i.a);
        let (a, b) = (self.take(i.a), self.take(i.b));
        let x = self.xreg(a);
        if i.a == i.b {
            let d = self.dst_x(i.d, a);
            match i.op {
                Op::FCopySignNot => self.asm.vex(v::XOR, false, d, x, sign),
                Op::FXorSign => self.asm.vex(v::AND, false, d, x, abs),
                _ => self.move_x(d, a),
            }
            self.regs.set_boxed(i.d, boxed);
            return self.finish_x(i.d, d);
        }
        let s = self.regs.scratch_x(self.asm);
        let y = if let Opnd::X(y) = b {
            y
        } else {
            self.move_x(s, b);
            s
        };
        let take = if i.op == Op::FCopySignNot {
            ANDN
        } else {
            v::AND
        };
        self.asm.vex(take, false, s, y, sign);
        let d = self.dst_x(i.d, a);
        if i.op == Op::FXorSign {
            self.asm.vex(v::XOR, false, d, x, Loc::R(s));
        } else {
            self.asm.vex(v::AND, false, d, x, abs);
            self.asm.vex(v::OR, false, d, d, Loc::R(s));
        }
        self.regs.set_boxed(i.d, boxed);
        self.finish_x(i.d, d);
    }

    fn extreme(&mut self, i: &Inst) {
        let max = matches!(i.op, Op::FMax | Op::FMaxNum);
        let boxed = self.regs.is_boxed(i.a) && self.regs.is_boxed(i.b);
        let (a, b) = (self.take(i.a), self.take(i.b));
        let (x, y) = (self.xreg(a), self.xreg(b));
        let d = self.dst_x(i.d, Opnd::I(0));
        self.asm.vex(comis(i.ty, false), false, x, 0, Loc::R(y));
        // Unordered operands compare "equal" too.
        let from = self.asm.jcc(Cc::E);
        let op = scalar(i.ty, if max { 0x5f } else { 0x5d });
        self.asm.vex(op, false, d, x, Loc::R(y));
        let call = SoftCall {
            op: i.op,
            ty: i.ty,
            rm: 0,
            args: [Some(Opnd::X(x)), Some(Opnd::X(y)), None],
            to: To::Vector(d),
        };
        let back = self.asm.pos();
        self.cold.push(Cold::Fp(ColdFp::Equal {
            from,
            back,
            max,
            call,
        }));
        self.regs.set_boxed(i.d, i.ty == Type::F32 && boxed);
        self.finish_x(i.d, d);
    }

    fn equal(&mut self, i: &Inst) {
        let (a, b) = (self.take(i.a), self.take(i.b));
        let (x, y) = (self.xreg(a), self.xrm(b));
        let s = self.regs.scratch_x(self.asm);
        // vcmpeqs: quiet.
        self.asm.vex_imm(scalar(i.ty, 0xc2), false, s, x, y, 0);
        let d = self.dst(i.d, Opnd::I(0));
        self.asm.vex(v::MOV_TO_INT, false, s, 0, Loc::R(d));
        self.asm.alu_imm(Alu::And, false, Loc::R(d), 1);
        self.finish(i.d, d);
    }

    /// `a < b` is `b > a`, which unordered operands do not fulfil.
    fn less(&mut self, i: &Inst) {
        let signaling = matches!(i.op, Op::FCmpLt | Op::FCmpLe);
        let cc = match i.op {
            Op::FCmpLt | Op::FCmpLtQ => Cc::A,
            _ => Cc::Ae,
        };
        let (a, b) = (self.take(i.a), self.take(i.b));
        let (y, x) = (self.xreg(b), self.xrm(a));
        let d = self.dst(i.d, Opnd::I(0));
        self.asm.alu(Alu::Xor, false, d, Loc::R(d));
        self.asm.vex(comis(i.ty, signaling), false, y, 0, x);
        self.asm.setcc(cc, d);
        self.finish(i.d, d);
    }

    fn signed_int(&mut self, i: &Inst) {
        let w = i.op == Op::FToI64S;
        let a = self.take(i.a);
        let x = self.xreg(a);
        let d = self.dst(i.d, Opnd::I(0));
        let args = [Some(Opnd::X(x)), None, None];
        if !self.rounds_in_software(i, args, To::General(d)) {
            self.convert(i, w, d, x);
            // Only the smallest integer, the unit's answer to what has no value, overflows.
            self.asm.alu_imm(Alu::Cmp, w, Loc::R(d), 1);
            let from = self.asm.jcc(Cc::O);
            self.soft(i, from, args, To::General(d));
        }
        self.finish(i.d, d);
    }

    /// `d` = `x` as a signed integer.
    fn convert(&mut self, i: &Inst, w: bool, d: u8, x: u8) {
        if i.aux == Rm::Rtz as u8 {
            self.asm.vex(scalar(i.ty, 0x2c), w, d, 0, Loc::R(x));
        } else {
            self.rounded(i, |c| c.asm.vex(scalar(i.ty, 0x2d), w, d, 0, Loc::R(x)));
        }
    }

    /// What is surely in range after any rounding (by sign and exponent) is converted as a signed
    /// 64-bit integer.
    fn unsigned_int(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let x = self.xreg(a);
        let d = self.dst(i.d, Opnd::I(0));
        let args = [Some(Opnd::X(x)), None, None];
        if !self.rounds_in_software(i, args, To::General(d)) {
            let power = match i.op {
                Op::FToI64U => 63,
                _ if i.aux == Rm::Rtz as u8 => 32,
                _ => 31,
            };
            let (w, fraction, bias) = match i.ty {
                Type::F32 => (false, 23, 127),
                _ => (true, 52, 1023),
            };
            self.asm.vex(v::MOV_TO_INT, w, x, 0, Loc::R(d));
            self.asm.shift_imm(Shift::Shr, w, d, fraction);
            self.asm.alu_imm(Alu::Cmp, false, Loc::R(d), bias + power);
            let from = self.asm.jcc(Cc::Ae);
            self.convert(i, true, d, x);
            self.soft(i, from, args, To::General(d));
        }
        self.finish(i.d, d);
    }

    fn int_to_float(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let (w, r) = match i.op {
            Op::FFromI32S => (false, self.reg(a)),
            Op::FFromI32U => {
                let r = self.regs.scratch(self.asm);
                let a = self.rm(a);
                self.asm.op(crate::asm::MOV_LOAD, false, r, a);
                (true, r)
            }
            _ => (true, self.reg(a)),
        };
        let d = self.dst_x(i.d, Opnd::I(0));
        let args = [Some(Opnd::R(r)), None, None];
        if !self.rounds_in_software(i, args, To::Vector(d)) {
            let from = (i.op == Op::FFromI64U).then(|| {
                self.asm.op(crate::asm::TEST, true, r, Loc::R(r));
                self.asm.jcc(Cc::S)
            });
            // What is written before breaks the dependency on the old value.
            if i.ty == Type::F32 {
                let ones = self.constant(consts::BOX);
                self.asm.vex(v::MOVSD_LOAD, false, d, 0, ones);
            } else {
                self.asm.vex(v::XOR, false, d, d, Loc::R(d));
            }
            let exact = i.ty == Type::F64 && matches!(i.op, Op::FFromI32S | Op::FFromI32U);
            let op = scalar(i.ty, 0x2a);
            if exact {
                self.asm.vex(op, w, d, d, Loc::R(r));
            } else {
                self.rounded(i, |c| c.asm.vex(op, w, d, d, Loc::R(r)));
            }
            if let Some(from) = from {
                self.soft(i, from, args, To::Vector(d));
            }
        }
        self.regs.set_boxed(i.d, i.ty == Type::F32);
        self.finish_x(i.d, d);
    }

    fn change_format(&mut self, i: &Inst) {
        let widen = i.op == Op::FWiden;
        let from = if widen { Type::F32 } else { Type::F64 };
        let to = if widen { Type::F64 } else { Type::F32 };
        let a = self.take(i.a);
        let x = self.xreg(a);
        let d = self.dst_x(i.d, a);
        let args = [Some(Opnd::X(x)), None, None];
        if widen {
            self.asm.vex(scalar(from, 0x5a), false, d, x, Loc::R(x));
            self.canonical(to, d);
        } else if !self.rounds_in_software(i, args, To::Vector(d)) {
            self.rounded(i, |c| c.asm.vex(scalar(from, 0x5a), false, d, x, Loc::R(x)));
            self.canonical(to, d);
        }
        self.finish_x(i.d, d);
    }

    fn round(&mut self, i: &Inst) {
        let boxed = self.regs.is_boxed(i.a);
        let a = self.take(i.a);
        let x = self.xreg(a);
        let d = self.dst_x(i.d, a);
        let args = [Some(Opnd::X(x)), None, None];
        if !self.rounds_in_software(i, args, To::Vector(d)) {
            let mode = match Rm::from_u8(i.aux) {
                Some(Rm::Dyn) | None => 4,
                Some(rm) => crate::header::rounding_control(rm as u8) as u8,
            };
            let quiet = if i.op == Op::FRound { 8 } else { 0 };
            let op = Vex::new(3, 1, if i.ty == Type::F32 { 0x0a } else { 0x0b });
            self.asm.vex_imm(op, false, d, x, Loc::R(x), mode | quiet);
            self.canonical(i.ty, d);
        }
        self.regs.set_boxed(i.d, i.ty == Type::F32 && boxed);
        self.finish_x(i.d, d);
    }

    fn class(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let x = self.xreg(a);
        let d = self.dst(i.d, Opnd::I(0));
        let from = self.asm.jmp();
        self.soft(i, from, [Some(Opnd::X(x)), None, None], To::General(d));
        self.finish(i.d, d);
    }

    fn get_flags(&mut self, i: &Inst) {
        let word = field!(mxcsr_scratch);
        let r = self.regs.scratch(self.asm);
        let d = self.dst(i.d, Opnd::I(0));
        self.asm.stmxcsr(word);
        self.asm.load(false, r, word);
        self.asm.alu_imm(Alu::And, false, Loc::R(r), 0x3f);
        self.asm
            .lea(true, d, Mem::runtime(self.rt.consts + consts::FLAGS_OF));
        self.asm
            .op8(MOVZX8, false, d, Loc::M(Mem::index(d, r, 0, 0)));
        self.finish(i.d, d);
    }

    fn set_flags(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let (r, s) = (self.regs.scratch(self.asm), self.regs.scratch(self.asm));
        self.to(true, r, a);
        self.asm.alu_imm(Alu::And, false, Loc::R(r), 31);
        self.asm
            .lea(true, s, Mem::runtime(self.rt.consts + consts::MXCSR_OF));
        self.asm
            .op8(MOVZX8, false, r, Loc::M(Mem::index(s, r, 0, 0)));
        let keep = if i.op == Op::SetFlags { !0x3f } else { -1 };
        self.change_mxcsr(keep, r, s);
    }

    fn set_round(&mut self, i: &Inst) {
        let a = self.take(i.a);
        let (r, s) = (self.regs.scratch(self.asm), self.regs.scratch(self.asm));
        self.to(true, r, a);
        self.asm.alu_imm(Alu::Cmp, true, Loc::R(r), 4);
        let valid = self.asm.jcc8(Cc::B);
        self.asm.alu(Alu::Xor, false, r, Loc::R(r));
        self.asm.bind8(valid);
        self.asm
            .lea(true, s, Mem::runtime(self.rt.consts + consts::ROUND_OF));
        self.asm.load(false, r, Mem::index(s, r, 2, 0));
        self.change_mxcsr(!0x6000, r, s);
    }

    /// MXCSR = MXCSR & keep | r. Loading it is slow and mostly changes nothing, so that is found
    /// out before.
    fn change_mxcsr(&mut self, keep: i32, r: u8, s: u8) {
        let word = field!(mxcsr_scratch);
        self.asm.stmxcsr(word);
        self.asm.load(false, s, word);
        if keep != -1 {
            self.asm.alu_imm(Alu::And, false, Loc::R(s), keep);
        }
        self.asm.alu(Alu::Or, false, r, Loc::R(s));
        self.asm.alu(Alu::Cmp, false, r, Loc::M(word));
        let same = self.asm.jcc8(Cc::E);
        self.asm.store(false, word, r);
        self.asm.ldmxcsr(word);
        self.asm.bind8(same);
    }

    pub(crate) fn cold_fp(&mut self, item: ColdFp) {
        match item {
            ColdFp::Soft { from, back, call } => {
                self.asm.bind(from);
                self.soft_call(&call);
                self.asm.jmp_to(back);
            }
            ColdFp::Equal {
                from,
                back,
                max,
                call,
            } => {
                self.asm.bind(from);
                let unordered = self.asm.jcc8(Cc::P);
                if let ([Some(Opnd::X(x)), Some(Opnd::X(y)), _], To::Vector(d)) =
                    (call.args, call.to)
                {
                    // Of two zeros one may be negative; all else is equal.
                    let op = if max { v::AND } else { v::OR };
                    self.asm.vex(op, false, d, x, Loc::R(y));
                }
                self.asm.jmp_to(back);
                self.asm.bind8(unordered);
                self.soft_call(&call);
                self.asm.jmp_to(back);
            }
            ColdFp::NotBoxed { from, back, d } => {
                self.asm.bind(from);
                self.load_nan(d, Type::F32);
                self.asm.jmp_to(back);
            }
        }
    }

    /// Calls the integer implementation; no register changes but the result's.
    fn soft_call(&mut self, call: &SoftCall) {
        for (n, &o) in call.args.iter().enumerate() {
            let Some(o) = o else { continue };
            let slot = field!(args).offset(n as i32 * 8);
            match o {
                Opnd::X(x) => self.asm.vex(v::MOVSD_STORE, false, x, 0, Loc::M(slot)),
                Opnd::R(r) => self.asm.store(true, slot, r),
                Opnd::M(m) if m == slot => {}
                Opnd::M(m) => {
                    let save = field!(scratch).offset(24);
                    self.asm.store(true, save, RAX);
                    self.asm.load(true, RAX, m);
                    self.asm.store(true, slot, RAX);
                    self.asm.load(true, RAX, save);
                }
                Opnd::I(value) => {
                    self.asm.store_imm(false, slot, value as i32);
                    self.asm
                        .store_imm(false, slot.offset(4), (value >> 32) as i32);
                }
            }
        }
        let code = soft::encode(call.op, call.ty, call.rm);
        self.asm
            .store_imm(true, field!(args).offset(24), code as i32);
        self.asm.call_runtime(self.rt.soft_fp);
        match call.to {
            To::General(r) => self.asm.load(true, r, field!(args)),
            To::Vector(x) => self
                .asm
                .vex(v::MOVSD_LOAD, false, x, 0, Loc::M(field!(args))),
        }
    }
}
