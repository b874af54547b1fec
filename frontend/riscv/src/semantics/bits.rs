//! Zba, Zbb, Zbc, Zbs and Zicond.

use isomorph_ir::{Cond, Dst, Op, Type, Val};

use crate::decode::{ArgsI, ArgsR, ArgsR2, Bits};
use crate::translate::Translator;

const I64: Type = Type::I64;
const I32: Type = Type::I32;

impl Translator<'_> {
    fn temp2(&mut self, op: Op, x: Val, y: Val) -> Val {
        self.b.binary(op, I64, Dst::Temp, x, y)
    }

    /// `rd = (index << shift) + rs2`.
    fn shift_add(&mut self, shift: i64, index: Val, a: &ArgsR) {
        let (d, base, shift) = (self.xd(a.rd), self.x(a.rs2), self.imm(shift));
        let scaled = self.temp2(Op::Shl, index, shift);
        self.b.add(I64, d, scaled, base);
    }

    fn zext_w(&mut self, register: u8) -> Val {
        let x = self.x(register);
        self.b.zext(I64, I32, Dst::Temp, x)
    }

    fn shift_add_uw(&mut self, shift: i64, a: &ArgsR) {
        let index = self.zext_w(a.rs1);
        self.shift_add(shift, index, a);
    }

    /// `rd = op(rs1)` on 64 bits.
    fn unary(&mut self, op: Op, aux: u8, a: &ArgsR2) {
        let (d, x) = (self.xd(a.rd), self.x(a.rs1));
        self.b.unary(op, I64, aux, d, x);
    }

    /// A count on the low 32 bits.
    fn count_w(&mut self, op: Op, a: &ArgsR2) {
        let (d, x) = (self.xd(a.rd), self.x(a.rs1));
        let count = self.b.unary(op, I32, 0, Dst::Temp, x);
        self.b.zext(I64, I32, d, count);
    }

    /// `rd = cond(rs1, rs2) ? rs1 : rs2`.
    fn choose(&mut self, cond: Cond, a: &ArgsR) {
        let (d, x, y) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        self.b.select(I64, cond, d, (x, y), x, y);
    }

    /// The word with bit `index` (mod 64) set.
    fn bit(&mut self, index: Val) -> Val {
        let one = self.imm(1);
        self.temp2(Op::Shl, one, index)
    }

    /// `rd = rs1 op (1 << index)`.
    fn with_bit(&mut self, op: Op, rd: u8, rs1: u8, index: Val) {
        let (d, x, bit) = (self.xd(rd), self.x(rs1), self.bit(index));
        self.b.binary(op, I64, d, x, bit);
    }

    fn extract_bit(&mut self, rd: u8, rs1: u8, index: Val) {
        let (d, x, one) = (self.xd(rd), self.x(rs1), self.imm(1));
        let low = self.temp2(Op::Shr, x, index);
        self.b.binary(Op::And, I64, d, low, one);
    }

    fn czero(&mut self, cond: Cond, a: &ArgsR) {
        let (d, value, test) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        let zero = self.imm(0);
        self.b.select(I64, cond, d, (test, zero), zero, value);
    }
}

impl Bits for Translator<'_> {
    fn sh1add(&mut self, a: &ArgsR) {
        let x = self.x(a.rs1);
        self.shift_add(1, x, a);
    }

    fn sh2add(&mut self, a: &ArgsR) {
        let x = self.x(a.rs1);
        self.shift_add(2, x, a);
    }

    fn sh3add(&mut self, a: &ArgsR) {
        let x = self.x(a.rs1);
        self.shift_add(3, x, a);
    }

    fn add_uw(&mut self, a: &ArgsR) {
        let (d, x, y) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        if a.rs2 == 0 {
            self.b.zext(I64, I32, d, x);
            return;
        }
        let low = self.b.zext(I64, I32, Dst::Temp, x);
        self.b.add(I64, d, low, y);
    }

    fn sh1add_uw(&mut self, a: &ArgsR) {
        self.shift_add_uw(1, a);
    }

    fn sh2add_uw(&mut self, a: &ArgsR) {
        self.shift_add_uw(2, a);
    }

    fn sh3add_uw(&mut self, a: &ArgsR) {
        self.shift_add_uw(3, a);
    }

    fn slli_uw(&mut self, a: &ArgsI) {
        let (d, low, shift) = (self.xd(a.rd), self.zext_w(a.rs1), self.imm(a.imm));
        self.b.binary(Op::Shl, I64, d, low, shift);
    }

    fn andn(&mut self, a: &ArgsR) {
        self.binary(Op::Andc, a);
    }

    fn orn(&mut self, a: &ArgsR) {
        let (d, x, y, ones) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2), self.imm(-1));
        let not = self.temp2(Op::Xor, y, ones);
        self.b.binary(Op::Or, I64, d, x, not);
    }

    fn xnor(&mut self, a: &ArgsR) {
        let (d, x, y, ones) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2), self.imm(-1));
        let xor = self.temp2(Op::Xor, x, y);
        self.b.binary(Op::Xor, I64, d, xor, ones);
    }

    fn clz(&mut self, a: &ArgsR2) {
        self.unary(Op::Clz, 0, a);
    }

    fn ctz(&mut self, a: &ArgsR2) {
        self.unary(Op::Ctz, 0, a);
    }

    fn cpop(&mut self, a: &ArgsR2) {
        self.unary(Op::Popcnt, 0, a);
    }

    fn clzw(&mut self, a: &ArgsR2) {
        self.count_w(Op::Clz, a);
    }

    fn ctzw(&mut self, a: &ArgsR2) {
        self.count_w(Op::Ctz, a);
    }

    fn cpopw(&mut self, a: &ArgsR2) {
        self.count_w(Op::Popcnt, a);
    }

    fn sext_b(&mut self, a: &ArgsR2) {
        self.unary(Op::Sext, Type::I8 as u8, a);
    }

    fn sext_h(&mut self, a: &ArgsR2) {
        self.unary(Op::Sext, Type::I16 as u8, a);
    }

    fn zext_h(&mut self, a: &ArgsR2) {
        self.unary(Op::Zext, Type::I16 as u8, a);
    }

    /// Each byte becomes 0xff if any of its bits is set: carries out of the low seven bits meet
    /// the eighth, and the eighth bits are then spread downwards.
    fn orc_b(&mut self, a: &ArgsR2) {
        let (d, x) = (self.xd(a.rd), self.x(a.rs1));
        let low_bits = self.b.c(0x7f7f_7f7f_7f7f_7f7f);
        let (seven, eight) = (self.imm(7), self.imm(8));
        let low = self.temp2(Op::And, x, low_bits);
        let carried = self.temp2(Op::Add, low, low_bits);
        let any = self.temp2(Op::Or, carried, x);
        let tops = self.temp2(Op::Andc, any, low_bits);
        let ones = self.temp2(Op::Shr, tops, seven);
        let spread = self.temp2(Op::Shl, ones, eight);
        self.b.binary(Op::Sub, I64, d, spread, ones);
    }

    fn rev8(&mut self, a: &ArgsR2) {
        self.unary(Op::Bswap, 0, a);
    }

    fn min(&mut self, a: &ArgsR) {
        self.choose(Cond::LtS, a);
    }

    fn minu(&mut self, a: &ArgsR) {
        self.choose(Cond::LtU, a);
    }

    fn max(&mut self, a: &ArgsR) {
        self.choose(Cond::GtS, a);
    }

    fn maxu(&mut self, a: &ArgsR) {
        self.choose(Cond::GtU, a);
    }

    fn rol(&mut self, a: &ArgsR) {
        self.binary(Op::Rotl, a);
    }

    fn ror(&mut self, a: &ArgsR) {
        self.binary(Op::Rotr, a);
    }

    fn rori(&mut self, a: &ArgsI) {
        self.immediate(Op::Rotr, a);
    }

    fn rolw(&mut self, a: &ArgsR) {
        self.binary_w(Op::Rotl, a);
    }

    fn rorw(&mut self, a: &ArgsR) {
        self.binary_w(Op::Rotr, a);
    }

    fn roriw(&mut self, a: &ArgsI) {
        self.immediate_w(Op::Rotr, a);
    }

    fn clmul(&mut self, a: &ArgsR) {
        self.binary(Op::Clmul, a);
    }

    /// Bits 126 to 63 of the 127-bit product.
    fn clmulr(&mut self, a: &ArgsR) {
        let (d, x, y) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        let (one, top) = (self.imm(1), self.imm(63));
        let high = self.temp2(Op::ClmulHi, x, y);
        let low = self.temp2(Op::Clmul, x, y);
        let high = self.temp2(Op::Shl, high, one);
        let low = self.temp2(Op::Shr, low, top);
        self.b.binary(Op::Or, I64, d, high, low);
    }

    fn clmulh(&mut self, a: &ArgsR) {
        self.binary(Op::ClmulHi, a);
    }

    fn bclr(&mut self, a: &ArgsR) {
        let index = self.x(a.rs2);
        self.with_bit(Op::Andc, a.rd, a.rs1, index);
    }

    fn bclri(&mut self, a: &ArgsI) {
        let index = self.imm(a.imm);
        self.with_bit(Op::Andc, a.rd, a.rs1, index);
    }

    fn bext(&mut self, a: &ArgsR) {
        let index = self.x(a.rs2);
        self.extract_bit(a.rd, a.rs1, index);
    }

    fn bexti(&mut self, a: &ArgsI) {
        let index = self.imm(a.imm);
        self.extract_bit(a.rd, a.rs1, index);
    }

    fn binv(&mut self, a: &ArgsR) {
        let index = self.x(a.rs2);
        self.with_bit(Op::Xor, a.rd, a.rs1, index);
    }

    fn binvi(&mut self, a: &ArgsI) {
        let index = self.imm(a.imm);
        self.with_bit(Op::Xor, a.rd, a.rs1, index);
    }

    fn bset(&mut self, a: &ArgsR) {
        let index = self.x(a.rs2);
        self.with_bit(Op::Or, a.rd, a.rs1, index);
    }

    fn bseti(&mut self, a: &ArgsI) {
        let index = self.imm(a.imm);
        self.with_bit(Op::Or, a.rd, a.rs1, index);
    }

    fn czero_eqz(&mut self, a: &ArgsR) {
        self.czero(Cond::Eq, a);
    }

    fn czero_nez(&mut self, a: &ArgsR) {
        self.czero(Cond::Ne, a);
    }
}
