//! Integer operations.

use crate::translate::{Step, Translate};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};
use isomorph_ir::{Inst, Op, Type};

impl Translate<'_> {
    /// Any operation of the IR's integer section.
    pub(crate) fn integer(&mut self, i: &Inst) -> Step {
        let value = match i.op {
            Op::Mov => self.read(i.a, i.ty)?,
            Op::Sext | Op::Zext => self.extend(i)?,
            Op::Bswap | Op::Clz | Op::Ctz | Op::Popcnt => self.unary(i)?,
            Op::SetCond => {
                let cond = self.condition(i, i.ty)?;
                self.f.ins().uextend(types::I64, cond)
            }
            Op::Select => {
                let cond = self.condition(i, i.ty)?;
                let (c, e) = (self.read(i.c, i.ty)?, self.read(i.e, i.ty)?);
                self.f.ins().select(cond, c, e)
            }
            Op::DivWideU | Op::DivWideS => return self.div_wide(i),
            _ => self.binary(i)?,
        };
        self.write(i.d, value)
    }

    fn extend(&mut self, i: &Inst) -> Step<Value> {
        let Some(from) = Type::from_u8(i.aux) else {
            return self.malformed();
        };
        let (a, to) = (self.read(i.a, from)?, self.clif(i.ty)?);
        if from.bits() >= i.ty.bits() {
            return Ok(self.resize(a, to));
        }
        Ok(match i.op {
            Op::Sext => self.f.ins().sextend(to, a),
            _ => self.f.ins().uextend(to, a),
        })
    }

    fn unary(&mut self, i: &Inst) -> Step<Value> {
        let a = self.read(i.a, i.ty)?;
        Ok(match i.op {
            Op::Bswap if i.ty == Type::I8 => a,
            Op::Bswap => self.f.ins().bswap(a),
            Op::Clz => self.f.ins().clz(a),
            Op::Ctz => self.f.ins().ctz(a),
            _ => self.f.ins().popcnt(a),
        })
    }

    /// The constant that `i` adds to what it overwrites, if it is short.
    fn increment(&self, i: &Inst) -> Option<i64> {
        let by = self.constant(i.b)? as i64;
        let short = (-127..=128).contains(&by);
        (short && i.op == Op::Add && i.ty == Type::I64 && i.d == i.a).then_some(by)
    }

    fn binary(&mut self, i: &Inst) -> Step<Value> {
        if let Some(by) = self.increment(i) {
            // Cranelift has a short constant for subtractions only.
            let (a, by) = (self.read(i.a, i.ty)?, self.word(by.wrapping_neg() as u64));
            return Ok(self.f.ins().isub(a, by));
        }
        let (a, b) = (self.read(i.a, i.ty)?, self.read(i.b, i.ty)?);
        let ins = self.f.ins();
        Ok(match i.op {
            Op::Add => ins.iadd(a, b),
            Op::Sub => ins.isub(a, b),
            Op::Mul => ins.imul(a, b),
            Op::And => ins.band(a, b),
            Op::Or => ins.bor(a, b),
            Op::Xor => ins.bxor(a, b),
            Op::Andc => ins.band_not(a, b),
            Op::Shl => ins.ishl(a, b),
            Op::Shr => ins.ushr(a, b),
            Op::Sar => ins.sshr(a, b),
            Op::Rotl => ins.rotl(a, b),
            Op::Rotr => ins.rotr(a, b),
            Op::MulHiS | Op::MulHiU | Op::MulHiSU => self.mul_high(i.op, a, b),
            Op::DivS | Op::RemS => self.divide_signed(i.op, a, b),
            Op::DivU | Op::RemU => self.divide_unsigned(i.op, a, b),
            Op::Clmul | Op::ClmulHi => self.carry_less(i.op, a, b),
            _ => return self.refuse(),
        })
    }

    fn mul_high(&mut self, op: Op, a: Value, b: Value) -> Value {
        if self.type_of(a) == types::I64 {
            return match op {
                Op::MulHiS => self.f.ins().smulhi(a, b),
                Op::MulHiU => self.f.ins().umulhi(a, b),
                _ => {
                    // A negative a counts 2^64 too much as an unsigned number.
                    let high = self.f.ins().umulhi(a, b);
                    let sign = self.f.ins().sshr_imm_u(a, 63);
                    let excess = self.f.ins().band(sign, b);
                    self.f.ins().isub(high, excess)
                }
            };
        }
        let ty = self.type_of(a);
        let mut wide = |signed: bool, x: Value| match signed {
            true => self.f.ins().sextend(types::I64, x),
            false => self.f.ins().uextend(types::I64, x),
        };
        let (a, b) = (wide(op != Op::MulHiU, a), wide(op == Op::MulHiS, b));
        let product = self.f.ins().imul(a, b);
        let high = self.f.ins().ushr_imm_u(product, 32);
        self.f.ins().ireduce(ty, high)
    }

    fn divide_unsigned(&mut self, op: Op, a: Value, b: Value) -> Value {
        let ty = self.type_of(a);
        let zero = self.f.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let one = self.f.ins().iconst(ty, 1);
        let by = self.f.ins().select(zero, one, b);
        if op == Op::RemU {
            let rest = self.f.ins().urem(a, by);
            return self.f.ins().select(zero, a, rest);
        }
        let quotient = self.f.ins().udiv(a, by);
        let ones = self.ones(ty);
        self.f.ins().select(zero, ones, quotient)
    }

    /// All ones.
    fn ones(&mut self, ty: cranelift_codegen::ir::Type) -> Value {
        let ones = u64::MAX >> (64 - ty.bits());
        self.f.ins().iconst(ty, ones as i64)
    }

    fn divide_signed(&mut self, op: Op, a: Value, b: Value) -> Value {
        let ty = self.type_of(a);
        let zero = self.f.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let minus = self.f.ins().icmp_imm_s(IntCC::Equal, b, -1);
        let special = self.f.ins().bor(zero, minus);
        let one = self.f.ins().iconst(ty, 1);
        // By 1 instead of 0 and -1, which trap (the latter if it overflows).
        let by = self.f.ins().select(special, one, b);
        if op == Op::RemS {
            let rest = self.f.ins().srem(a, by);
            return self.f.ins().select(zero, a, rest);
        }
        let quotient = self.f.ins().sdiv(a, by);
        let negated = self.f.ins().ineg(a);
        let quotient = self.f.ins().select(minus, negated, quotient);
        let ones = self.ones(ty);
        self.f.ins().select(zero, ones, quotient)
    }

    /// One loop over the bits of `b`: the host's instruction is none of CLIF's.
    fn carry_less(&mut self, op: Op, a: Value, b: Value) -> Value {
        let zero = self.word(0);
        let (head, done) = (self.f.create_block(), self.f.create_block());
        let n = self.f.append_block_param(head, types::I64);
        let low = self.f.append_block_param(head, types::I64);
        let high = self.f.append_block_param(head, types::I64);
        let result = self.f.append_block_param(done, types::I64);
        let args = [zero, zero, zero].map(BlockArg::Value);
        self.f.ins().jump(head, &args);
        self.f.switch_to_block(head);
        // From the highest bit on: the sum so far moves up, a is added where b has a one.
        let up = self.f.ins().rotl_imm_u(low, 1);
        let carry = self.f.ins().band_imm_u(up, 1);
        let moved = self.f.ins().bxor(up, carry);
        let high = self.f.ins().ishl_imm_u(high, 1);
        let high = self.f.ins().bor(high, carry);
        let next = self.f.ins().iadd_imm_s(n, 1);
        let bit = self.f.ins().ineg(next);
        let bit = self.f.ins().ushr(b, bit);
        let bit = self.f.ins().band_imm_u(bit, 1);
        let mask = self.f.ins().ineg(bit);
        let term = self.f.ins().band(a, mask);
        let low = self.f.ins().bxor(moved, term);
        let more = self.f.ins().icmp_imm_s(IntCC::NotEqual, next, 64);
        let again = [next, low, high].map(BlockArg::Value);
        let out = if op == Op::Clmul { low } else { high };
        let out = [BlockArg::Value(out)];
        self.f.ins().brif(more, head, &again, done, &out);
        self.f.switch_to_block(done);
        result
    }

    fn div_wide(&mut self, i: &Inst) -> Step {
        let ty = i.ty;
        let lo = self.read(i.a, ty)?;
        let hi = self.read(i.b, ty)?;
        let by = self.read(i.c, ty)?;
        let (quotient, rest) = if i.op == Op::DivWideU {
            let (q, r, fits) = self.div_wide_unsigned(lo, hi, by);
            self.if_fits(fits, (q, r), lo)
        } else {
            self.div_wide_signed(lo, hi, by)
        };
        self.write(i.d, quotient)?;
        self.write(i.d2, rest)
    }

    /// Quotient and remainder, or what stands for a quotient that does not fit.
    fn if_fits(&mut self, fits: Value, qr: (Value, Value), lo: Value) -> (Value, Value) {
        let ones = self.ones(self.type_of(lo));
        let quotient = self.f.ins().select(fits, qr.0, ones);
        let rest = self.f.ins().select(fits, qr.1, lo);
        (quotient, rest)
    }

    /// Quotient and remainder of `hi:lo` by `by`, and whether the quotient fits: bit by bit, for
    /// CLIF divides one word only.
    fn div_wide_unsigned(&mut self, lo: Value, hi: Value, by: Value) -> (Value, Value, Value) {
        let ty = self.type_of(lo);
        let bits = i64::from(ty.bits());
        let fits = self.f.ins().icmp(IntCC::UnsignedLessThan, hi, by);
        let (head, done) = (self.f.create_block(), self.f.create_block());
        let [n, rest, low] = [types::I64, ty, ty].map(|ty| self.f.append_block_param(head, ty));
        let [quotient, remainder] = [ty, ty].map(|ty| self.f.append_block_param(done, ty));
        let zero = self.word(0);
        let args = [zero, hi, lo].map(BlockArg::Value);
        self.f.ins().jump(head, &args);
        self.f.switch_to_block(head);
        // rest:low moves up by one; the bit that leaves the rest counts as more than `by`.
        let out = self.f.ins().ushr_imm_u(rest, bits - 1);
        let top = self.f.ins().ushr_imm_u(low, bits - 1);
        let rest = self.f.ins().ishl_imm_u(rest, 1);
        let rest = self.f.ins().bor(rest, top);
        let low = self.f.ins().ishl_imm_u(low, 1);
        let over = self.f.ins().icmp_imm_s(IntCC::NotEqual, out, 0);
        let enough = self
            .f
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, rest, by);
        let take = self.f.ins().bor(over, enough);
        let less = self.f.ins().isub(rest, by);
        let rest = self.f.ins().select(take, less, rest);
        let bit = self.f.ins().uextend(types::I64, take);
        let bit = self.resize(bit, ty);
        let low = self.f.ins().bor(low, bit);
        let next = self.f.ins().iadd_imm_s(n, 1);
        let more = self.f.ins().icmp_imm_s(IntCC::NotEqual, next, bits);
        let again = [next, rest, low].map(BlockArg::Value);
        let result = [low, rest].map(BlockArg::Value);
        self.f.ins().brif(more, head, &again, done, &result);
        self.f.switch_to_block(done);
        (quotient, remainder, fits)
    }

    /// By magnitudes; the remainder has the dividend's sign.
    fn div_wide_signed(&mut self, lo: Value, hi: Value, by: Value) -> (Value, Value) {
        let ty = self.type_of(lo);
        let negative = self.f.ins().icmp_imm_s(IntCC::SignedLessThan, hi, 0);
        let by_negative = self.f.ins().icmp_imm_s(IntCC::SignedLessThan, by, 0);
        let flip = self.f.ins().bxor(negative, by_negative);
        // -(hi:lo) = !hi:-lo, and one more in the high half if lo is 0.
        let low = self.f.ins().ineg(lo);
        let borrow = self.f.ins().icmp_imm_s(IntCC::Equal, lo, 0);
        let borrow = self.f.ins().uextend(types::I64, borrow);
        let borrow = self.resize(borrow, ty);
        let high = self.f.ins().bnot(hi);
        let high = self.f.ins().iadd(high, borrow);
        let low = self.f.ins().select(negative, low, lo);
        let high = self.f.ins().select(negative, high, hi);
        let by_low = self.f.ins().ineg(by);
        let divisor = self.f.ins().select(by_negative, by_low, by);
        let (q, r, fits) = self.div_wide_unsigned(low, high, divisor);
        // The magnitude is at most 2^(n-1), or less by one if the quotient is positive.
        let smallest = self.f.ins().iconst(ty, (1_u64 << (ty.bits() - 1)) as i64);
        let below = self.f.ins().icmp(IntCC::UnsignedLessThan, q, smallest);
        let same = self.f.ins().icmp(IntCC::Equal, q, smallest);
        let same = self.f.ins().band(same, flip);
        let small = self.f.ins().bor(below, same);
        let fits = self.f.ins().band(fits, small);
        let minus = self.f.ins().ineg(q);
        let q = self.f.ins().select(flip, minus, q);
        let minus = self.f.ins().ineg(r);
        let r = self.f.ins().select(negative, minus, r);
        self.if_fits(fits, (q, r), lo)
    }
}
