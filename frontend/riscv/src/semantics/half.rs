//! Zfhmin and Zfa.

use isomorph_ir::{Dst, MemOp, Op, Rm, Type, Val};

use crate::decode::{ArgsFli, ArgsFr2, ArgsI, ArgsR, ArgsR2, ArgsS, HalfAndMore};
use crate::helpers::HelperId;
use crate::translate::Translator;

const I16: Type = Type::I16;
const I64: Type = Type::I64;
const F32: Type = Type::F32;
const F64: Type = Type::F64;

/// What lies above a boxed half-precision value.
const BOX16: u64 = 0xffff_ffff_ffff_0000;
/// The upper half of a boxed single-precision value.
const BOX32: u64 = 0xffff_ffff_0000_0000;

/// The constants of `fli` (Zfa, table "Immediate values loaded by FLI") as doubles; index 1 is the
/// format's own smallest normal number, the last two are infinity and the canonical NaN.
const FLI: [f64; 32] = [
    -1.0,
    f64::MIN_POSITIVE,
    1.0 / 65536.0,
    1.0 / 32768.0,
    1.0 / 256.0,
    1.0 / 128.0,
    0.0625,
    0.125,
    0.25,
    0.3125,
    0.375,
    0.4375,
    0.5,
    0.625,
    0.75,
    0.875,
    1.0,
    1.25,
    1.5,
    1.75,
    2.0,
    2.5,
    3.0,
    4.0,
    8.0,
    16.0,
    128.0,
    256.0,
    32768.0,
    65536.0,
    f64::INFINITY,
    f64::NAN,
];

const FLI_SMALLEST_NORMAL: u8 = 1;
const FLI_NAN: u8 = 31;

/// The bits of constant `index` in double precision.
pub(crate) fn fli_double(index: u8) -> u64 {
    match index {
        FLI_NAN => 0x7ff8_0000_0000_0000,
        n => FLI[usize::from(n & 31)].to_bits(),
    }
}

/// The bits of constant `index` in single precision.
pub(crate) fn fli_single(index: u8) -> u32 {
    match index {
        FLI_SMALLEST_NORMAL => f32::MIN_POSITIVE.to_bits(),
        FLI_NAN => 0x7fc0_0000,
        n => (FLI[usize::from(n & 31)] as f32).to_bits(),
    }
}

/// Constant `index` as the assembler spells it: hexadecimal floating-point.
pub(crate) fn fli_name(index: i64) -> String {
    let value = FLI[(index & 31) as usize];
    match index {
        1 => return "min".to_owned(),
        30 => return "inf".to_owned(),
        31 => return "nan".to_owned(),
        _ => {}
    }
    let bits = value.to_bits();
    let sign = if value < 0.0 { "-" } else { "" };
    let exponent = (bits >> 52 & 0x7ff) as i64 - 1023;
    let digits = format!("{:013x}", bits & ((1 << 52) - 1));
    match digits.trim_end_matches('0') {
        "" => format!("{sign}0x1p{exponent:+}"),
        fraction => format!("{sign}0x1.{fraction}p{exponent:+}"),
    }
}

impl Translator<'_> {
    /// Calls a helper that writes register `rd` itself and answers the flags to raise.
    fn flags_from(&mut self, helper: HelperId, rd: u8, rs1: u8, rm: Rm) {
        let args = [i64::from(rd), i64::from(rs1), rm as i64].map(|n| self.imm(n));
        let flags = self.b.helper(helper as u32, Dst::Temp, args);
        self.b.set_fp(Op::OrFlags, flags);
    }

    fn convert_half(&mut self, helper: HelperId, a: &ArgsFr2) {
        if let Some(rm) = self.rounding(a.rm) {
            self.flags_from(helper, a.rd, a.rs1, rm);
        }
    }

    /// Boxes the low 16 bits of `bits`.
    fn set_half(&mut self, rd: u8, bits: Val) {
        let (low, ones) = (self.b.zext(I64, I16, Dst::Temp, bits), self.b.c(BOX16));
        let boxed = self.b.binary(Op::Or, I64, Dst::Temp, low, ones);
        self.set_f_bits(rd, boxed);
    }
}

impl HalfAndMore for Translator<'_> {
    fn flh(&mut self, a: &ArgsI) {
        let (base, ones) = (self.x(a.rs1), self.b.c(BOX16));
        let bits = self.b.load(I64, MemOp::U16, Dst::Temp, base, a.imm);
        let boxed = self.b.binary(Op::Or, I64, Dst::Temp, bits, ones);
        self.set_f_bits(a.rd, boxed);
    }

    fn fsh(&mut self, a: &ArgsS) {
        let (bits, base) = (self.f_bits(a.rs2), self.x(a.rs1));
        self.b.store(I64, MemOp::U16, bits, base, a.imm);
    }

    fn fmv_x_h(&mut self, a: &ArgsR2) {
        let (d, bits) = (self.xd(a.rd), self.f_bits(a.rs1));
        self.b.sext(I64, I16, d, bits);
    }

    fn fmv_h_x(&mut self, a: &ArgsR2) {
        let x = self.x(a.rs1);
        self.set_half(a.rd, x);
    }

    fn fcvt_s_h(&mut self, a: &ArgsFr2) {
        self.convert_half(HelperId::HalfToSingle, a);
    }

    fn fcvt_h_s(&mut self, a: &ArgsFr2) {
        self.convert_half(HelperId::SingleToHalf, a);
    }

    fn fcvt_d_h(&mut self, a: &ArgsFr2) {
        self.convert_half(HelperId::HalfToDouble, a);
    }

    fn fcvt_h_d(&mut self, a: &ArgsFr2) {
        self.convert_half(HelperId::DoubleToHalf, a);
    }

    fn fli_s(&mut self, a: &ArgsFli) {
        let bits = self.b.c(BOX32 | u64::from(fli_single(a.index)));
        self.set_f_bits(a.rd, bits);
    }

    fn fli_d(&mut self, a: &ArgsFli) {
        let bits = self.b.c(fli_double(a.index));
        self.set_f_bits(a.rd, bits);
    }

    fn fminm_s(&mut self, a: &ArgsR) {
        self.extreme(Op::FMin, F32, a);
    }

    fn fminm_d(&mut self, a: &ArgsR) {
        self.extreme(Op::FMin, F64, a);
    }

    fn fmaxm_s(&mut self, a: &ArgsR) {
        self.extreme(Op::FMax, F32, a);
    }

    fn fmaxm_d(&mut self, a: &ArgsR) {
        self.extreme(Op::FMax, F64, a);
    }

    fn fround_s(&mut self, a: &ArgsFr2) {
        self.float1(Op::FRound, F32, a);
    }

    fn fround_d(&mut self, a: &ArgsFr2) {
        self.float1(Op::FRound, F64, a);
    }

    fn froundnx_s(&mut self, a: &ArgsFr2) {
        self.float1(Op::FRoundX, F32, a);
    }

    fn froundnx_d(&mut self, a: &ArgsFr2) {
        self.float1(Op::FRoundX, F64, a);
    }

    fn fleq_s(&mut self, a: &ArgsR) {
        self.compare(Op::FCmpLeQ, F32, a);
    }

    fn fleq_d(&mut self, a: &ArgsR) {
        self.compare(Op::FCmpLeQ, F64, a);
    }

    fn fltq_s(&mut self, a: &ArgsR) {
        self.compare(Op::FCmpLtQ, F32, a);
    }

    fn fltq_d(&mut self, a: &ArgsR) {
        self.compare(Op::FCmpLtQ, F64, a);
    }

    fn fcvtmod_w_d(&mut self, a: &ArgsR2) {
        self.flags_from(HelperId::DoubleToWordModular, a.rd, a.rs1, Rm::Rtz);
    }
}
