//! F and D.
//!
//! Registers are 64 bits wide: a single-precision operand is unboxed before use (an ill-boxed one
//! is the canonical NaN) and a result is boxed (section "NaN Boxing of Narrower Values"). Moves,
//! loads and stores carry bits.

use isomorph_ir::{Dst, MemOp, Op, Rm, Type, Val};

use crate::decode::{ArgsFr, ArgsFr2, ArgsFr4, ArgsI, ArgsR, ArgsR2, ArgsS, Float};
use crate::state;
use crate::translate::Translator;

const I32: Type = Type::I32;
const I64: Type = Type::I64;
const F32: Type = Type::F32;
const F64: Type = Type::F64;

/// The upper half of a boxed single-precision value.
const BOX32: u64 = 0xffff_ffff_0000_0000;

impl Translator<'_> {
    /// A floating-point register as operand of type `ty`.
    pub(super) fn f(&mut self, ty: Type, n: u8) -> Val {
        let whole = state::f(n);
        if ty == F64 {
            whole
        } else {
            self.b.unary(Op::Unbox, F32, 0, Dst::Temp, whole)
        }
    }

    /// Where an operation of type `ty` leaves its result for [`Self::set_f`].
    pub(super) fn fd(&self, ty: Type, n: u8) -> Dst {
        if ty == F64 {
            Dst::To(state::f(n))
        } else {
            Dst::Temp
        }
    }

    /// Completes the write to a register after an operation whose destination was [`Self::fd`].
    pub(super) fn set_f(&mut self, ty: Type, n: u8, value: Val) {
        if ty == F32 {
            self.b
                .unary(Op::NanBox, F64, 0, Dst::To(state::f(n)), value);
        }
    }

    /// The bits of a whole register.
    pub(super) fn f_bits(&mut self, n: u8) -> Val {
        self.b
            .unary(Op::Bitcast, I64, F64 as u8, Dst::Temp, state::f(n))
    }

    /// Writes the bits of a whole register.
    pub(super) fn set_f_bits(&mut self, n: u8, bits: Val) {
        self.b
            .unary(Op::Bitcast, F64, I64 as u8, Dst::To(state::f(n)), bits);
    }

    fn float2(&mut self, op: Op, ty: Type, a: &ArgsFr) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let (d, x, y) = (self.fd(ty, a.rd), self.f(ty, a.rs1), self.f(ty, a.rs2));
        let value = self.b.fp2(op, ty, rm, d, x, y);
        self.set_f(ty, a.rd, value);
    }

    pub(super) fn float1(&mut self, op: Op, ty: Type, a: &ArgsFr2) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let (d, x) = (self.fd(ty, a.rd), self.f(ty, a.rs1));
        let value = self.b.fp1(op, ty, rm, d, x);
        self.set_f(ty, a.rd, value);
    }

    fn fused(&mut self, op: Op, ty: Type, a: &ArgsFr4) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let d = self.fd(ty, a.rd);
        let ops = (self.f(ty, a.rs1), self.f(ty, a.rs2), self.f(ty, a.rs3));
        let value = self.b.fma(op, ty, rm, d, ops);
        self.set_f(ty, a.rd, value);
    }

    /// Minimum and maximum: no rounding.
    pub(super) fn extreme(&mut self, op: Op, ty: Type, a: &ArgsR) {
        let (d, x, y) = (self.fd(ty, a.rd), self.f(ty, a.rs1), self.f(ty, a.rs2));
        let value = self.b.fp2(op, ty, Rm::Rne, d, x, y);
        self.set_f(ty, a.rd, value);
    }

    fn sign(&mut self, op: Op, ty: Type, a: &ArgsR) {
        let (d, x) = (self.fd(ty, a.rd), self.f(ty, a.rs1));
        if op == Op::FCopySign && a.rs1 == a.rs2 {
            let value = self.b.mov(ty, d, x);
            return self.set_f(ty, a.rd, value);
        }
        let y = if a.rs1 == a.rs2 { x } else { self.f(ty, a.rs2) };
        let value = self.b.binary(op, ty, d, x, y);
        self.set_f(ty, a.rd, value);
    }

    /// Comparisons have an effect even with x0 as destination: their flags.
    pub(super) fn compare(&mut self, op: Op, ty: Type, a: &ArgsR) {
        let (d, x, y) = (self.xd(a.rd), self.f(ty, a.rs1), self.f(ty, a.rs2));
        self.b.fp2(op, ty, Rm::Rne, d, x, y);
    }

    fn classify(&mut self, ty: Type, a: &ArgsR2) {
        let (d, x) = (self.xd(a.rd), self.f(ty, a.rs1));
        self.b.unary(Op::FClass, ty, 0, d, x);
    }

    fn convert_to_word(&mut self, op: Op, ty: Type, a: &ArgsFr2) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let x = self.f(ty, a.rs1);
        let value = self.b.fp1(op, ty, rm, Dst::Temp, x);
        self.set_w(a.rd, value);
    }

    fn convert_to_long(&mut self, op: Op, ty: Type, a: &ArgsFr2) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let (d, x) = (self.xd(a.rd), self.f(ty, a.rs1));
        self.b.fp1(op, ty, rm, d, x);
    }

    fn convert_integer(&mut self, op: Op, ty: Type, a: &ArgsFr2) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let (d, x) = (self.fd(ty, a.rd), self.x(a.rs1));
        let value = self.b.fp1(op, ty, rm, d, x);
        self.set_f(ty, a.rd, value);
    }
}

/// Families with a single-precision and a double-precision member.
macro_rules! pairs {
    ($($s:ident $d:ident $method:ident $op:ident $args:ident;)+) => {$(
        fn $s(&mut self, a: &$args) {
            self.$method(Op::$op, F32, a);
        }

        fn $d(&mut self, a: &$args) {
            self.$method(Op::$op, F64, a);
        }
    )+};
}

impl Float for Translator<'_> {
    pairs! {
        fmadd_s fmadd_d fused FMadd ArgsFr4;
        fmsub_s fmsub_d fused FMsub ArgsFr4;
        fnmsub_s fnmsub_d fused FNmsub ArgsFr4;
        fnmadd_s fnmadd_d fused FNmadd ArgsFr4;
        fadd_s fadd_d float2 FAdd ArgsFr;
        fsub_s fsub_d float2 FSub ArgsFr;
        fmul_s fmul_d float2 FMul ArgsFr;
        fdiv_s fdiv_d float2 FDiv ArgsFr;
        fsqrt_s fsqrt_d float1 FSqrt ArgsFr2;
        fsgnj_s fsgnj_d sign FCopySign ArgsR;
        fsgnjn_s fsgnjn_d sign FCopySignNot ArgsR;
        fsgnjx_s fsgnjx_d sign FXorSign ArgsR;
        fmin_s fmin_d extreme FMinNum ArgsR;
        fmax_s fmax_d extreme FMaxNum ArgsR;
        feq_s feq_d compare FCmpEq ArgsR;
        flt_s flt_d compare FCmpLt ArgsR;
        fle_s fle_d compare FCmpLe ArgsR;
        fcvt_w_s fcvt_w_d convert_to_word FToI32S ArgsFr2;
        fcvt_wu_s fcvt_wu_d convert_to_word FToI32U ArgsFr2;
        fcvt_l_s fcvt_l_d convert_to_long FToI64S ArgsFr2;
        fcvt_lu_s fcvt_lu_d convert_to_long FToI64U ArgsFr2;
        fcvt_s_w fcvt_d_w convert_integer FFromI32S ArgsFr2;
        fcvt_s_wu fcvt_d_wu convert_integer FFromI32U ArgsFr2;
        fcvt_s_l fcvt_d_l convert_integer FFromI64S ArgsFr2;
        fcvt_s_lu fcvt_d_lu convert_integer FFromI64U ArgsFr2;
    }

    fn flw(&mut self, a: &ArgsI) {
        let base = self.x(a.rs1);
        let value = self.b.load(F32, MemOp::U32, Dst::Temp, base, a.imm);
        self.set_f(F32, a.rd, value);
    }

    fn fld(&mut self, a: &ArgsI) {
        let base = self.x(a.rs1);
        self.b
            .load(F64, MemOp::U64, Dst::To(state::f(a.rd)), base, a.imm);
    }

    fn fsw(&mut self, a: &ArgsS) {
        let (bits, base) = (self.f_bits(a.rs2), self.x(a.rs1));
        self.b.store(I64, MemOp::U32, bits, base, a.imm);
    }

    fn fsd(&mut self, a: &ArgsS) {
        let base = self.x(a.rs1);
        self.b.store(F64, MemOp::U64, state::f(a.rs2), base, a.imm);
    }

    fn fclass_s(&mut self, a: &ArgsR2) {
        self.classify(F32, a);
    }

    fn fclass_d(&mut self, a: &ArgsR2) {
        self.classify(F64, a);
    }

    /// The low half, boxed or not.
    fn fmv_x_w(&mut self, a: &ArgsR2) {
        let bits = self.f_bits(a.rs1);
        self.set_w(a.rd, bits);
    }

    fn fmv_w_x(&mut self, a: &ArgsR2) {
        let x = self.x(a.rs1);
        if x.as_const().is_some() {
            let boxed = self.b.c(BOX32);
            return self.set_f_bits(a.rd, boxed);
        }
        let value = self.b.unary(Op::Bitcast, F32, I32 as u8, Dst::Temp, x);
        self.set_f(F32, a.rd, value);
    }

    fn fmv_x_d(&mut self, a: &ArgsR2) {
        let d = self.xd(a.rd);
        self.b
            .unary(Op::Bitcast, I64, F64 as u8, d, state::f(a.rs1));
    }

    fn fmv_d_x(&mut self, a: &ArgsR2) {
        let x = self.x(a.rs1);
        self.set_f_bits(a.rd, x);
    }

    fn fcvt_s_d(&mut self, a: &ArgsFr2) {
        let Some(rm) = self.rounding(a.rm) else {
            return;
        };
        let value = self.b.fp1(Op::FNarrow, F32, rm, Dst::Temp, state::f(a.rs1));
        self.set_f(F32, a.rd, value);
    }

    /// Exact, but a reserved rounding mode makes it illegal like the others.
    fn fcvt_d_s(&mut self, a: &ArgsFr2) {
        if self.rounding(a.rm).is_none() {
            return;
        }
        let x = self.f(F32, a.rs1);
        self.b
            .fp1(Op::FWiden, F64, Rm::Rne, Dst::To(state::f(a.rd)), x);
    }
}
