//! Cheaper operations for products, quotients and remainders by constants.

use super::edit::{constant, finish, mov, temp};
use super::{Changes, Context};
use crate::{Block, Inst, Op, Region, Type, Val, eval};

/// Replaces multiplications, divisions and remainders by constants, and double-width divisions
/// whose high half is 0, by cheaper operations.
///
/// Relies on the operations' definitions for 0 and overflow; every replaced operation is pure. The
/// new operations stand where the old one stood, and only the last of them writes its result.
///
/// Quotients are products by reciprocals: Granlund and Montgomery, "Division by Invariant Integers
/// using Multiplication"; Warren, "Hacker's Delight", chapter 10.
pub fn strength(region: &mut Region, _: &Context) -> Changes {
    let mut changes = 0;
    for block in &mut region.blocks {
        let old = std::mem::take(&mut block.insts);
        let mut new = Vec::with_capacity(old.len());
        for inst in old {
            let mut cheaper = Sequence {
                block,
                insts: Vec::new(),
                ty: inst.ty,
            };
            if cheaper.reduce(&inst).is_some() {
                new.append(&mut cheaper.insts);
                changes += 1;
            } else {
                new.push(inst);
            }
        }
        block.insts = new;
    }
    finish(region);
    Changes(changes)
}

/// The operations that replace one.
struct Sequence<'a> {
    block: &'a mut Block,
    insts: Vec<Inst>,
    /// The type of those being added.
    ty: Type,
}

impl Sequence<'_> {
    /// Adds the operations for `inst`; `None` if there are no cheaper ones.
    fn reduce(&mut self, inst: &Inst) -> Option<()> {
        if inst.op == Op::DivWideU {
            return self.narrow(inst);
        }
        let bits = self.ty.is_int().then(|| self.ty.bits())?;
        let by = self.block.const_value(inst.b)?;
        let (unsigned, signed) = (
            eval::zero_extend(self.ty, by),
            eval::sign_extend(self.ty, by),
        );
        match inst.op {
            Op::Mul => self.product(inst, unsigned, signed),
            Op::DivU | Op::RemU if unsigned < 2 => self.trivial(inst, unsigned),
            Op::DivS | Op::RemS if (0..2).contains(&signed) => self.trivial(inst, unsigned),
            Op::DivU if unsigned.is_power_of_two() => {
                let count = self.c(unsigned.trailing_zeros().into())?;
                self.last(Op::Shr, inst.d, inst.a, count)
            }
            Op::RemU if unsigned.is_power_of_two() => {
                let mask = self.c(unsigned - 1)?;
                self.last(Op::And, inst.d, inst.a, mask)
            }
            Op::DivU | Op::RemU => {
                let q = self.quotient_u(inst.a, unsigned, bits)?;
                self.finish(inst, inst.op == Op::DivU, q)
            }
            Op::DivS | Op::RemS => {
                let magnitude = eval::zero_extend(self.ty, signed.unsigned_abs());
                let q = match magnitude.is_power_of_two() {
                    true => self.quotient_by_power(inst.a, signed, bits)?,
                    false => self.quotient_s(inst.a, signed, bits)?,
                };
                self.finish(inst, inst.op == Op::DivS, q)
            }
            _ => None,
        }
    }

    fn c(&mut self, value: u64) -> Option<Val> {
        constant(self.block, value)
    }

    /// `op a, b` into a new temporary.
    fn op(&mut self, op: Op, a: Val, b: Val) -> Option<Val> {
        let d = temp(self.block, self.ty)?;
        self.last(op, d, a, b)?;
        Some(d)
    }

    /// `op a, b` by a constant, into a new temporary.
    fn by(&mut self, op: Op, a: Val, b: u64) -> Option<Val> {
        let b = self.c(b)?;
        self.op(op, a, b)
    }

    /// `d = op a, b`.
    fn last(&mut self, op: Op, d: Val, a: Val, b: Val) -> Option<()> {
        self.insts.push(Inst {
            d,
            a,
            b,
            ..Inst::new(op, self.ty)
        });
        Some(())
    }

    /// The quotient `q`, or the remainder that belongs to it.
    fn finish(&mut self, inst: &Inst, quotient: bool, q: Val) -> Option<()> {
        self.ty = inst.ty;
        if quotient {
            self.insts.push(mov(self.ty, inst.d, q));
            return Some(());
        }
        let product = self.op(Op::Mul, q, inst.b)?;
        self.last(Op::Sub, inst.d, inst.a, product)
    }

    /// By 0 or 1.
    fn trivial(&mut self, inst: &Inst, by: u64) -> Option<()> {
        let result = match (inst.op, by) {
            (Op::DivU | Op::DivS, 0) => self.c(u64::MAX)?,
            (Op::RemU | Op::RemS, 1) => self.c(0)?,
            _ => inst.a,
        };
        self.insts.push(mov(self.ty, inst.d, result));
        Some(())
    }

    fn product(&mut self, inst: &Inst, by: u64, signed: i64) -> Option<()> {
        if by.is_power_of_two() {
            let count = self.c(by.trailing_zeros().into())?;
            return self.last(Op::Shl, inst.d, inst.a, count);
        }
        match signed {
            -1 => {
                let zero = self.c(0)?;
                self.last(Op::Sub, inst.d, zero, inst.a)
            }
            // One host instruction: base plus scaled index.
            3 | 5 | 9 => {
                let scaled = self.by(Op::Shl, inst.a, (by - 1).trailing_zeros().into())?;
                self.last(Op::Add, inst.d, scaled, inst.a)
            }
            _ => None,
        }
    }

    /// A double-width division whose high half is 0: the quotient fits unless the divisor is 0,
    /// where the results agree, too.
    fn narrow(&mut self, inst: &Inst) -> Option<()> {
        let high = self.block.const_value(inst.b)?;
        if eval::zero_extend(self.ty, high) != 0 {
            return None;
        }
        let q = self.op(Op::DivU, inst.a, inst.c)?;
        let r = self.op(Op::RemU, inst.a, inst.c)?;
        self.insts.push(mov(self.ty, inst.d, q));
        self.insts.push(mov(self.ty, inst.d2, r));
        Some(())
    }

    /// `a / by`, where `by` is neither 0 nor a power of 2.
    fn quotient_u(&mut self, a: Val, by: u64, bits: u32) -> Option<Val> {
        if bits == 32 {
            let a = self.widened(Op::Zext, a)?;
            // Exact: the reciprocal's error times a is less than 2^64.
            return self.by(Op::MulHiU, a, u64::MAX / by + 1);
        }
        let shift = by.ilog2();
        let power = 1u128 << (64 + shift);
        let reciprocal = power / u128::from(by) + 1;
        let error = reciprocal * u128::from(by) - power;
        if error <= 1 << shift {
            let high = self.by(Op::MulHiU, a, reciprocal as u64)?;
            return self.by(Op::Shr, high, shift.into());
        }
        // The reciprocal has 65 bits: (high + (a - high) / 2) / 2^shift.
        let (half, rest) = (power / u128::from(by), power % u128::from(by));
        let reciprocal = (2 * half + u128::from(2 * rest >= by.into()) + 1) as u64;
        let high = self.by(Op::MulHiU, a, reciprocal)?;
        let rest = self.op(Op::Sub, a, high)?;
        let half = self.by(Op::Shr, rest, 1)?;
        let sum = self.op(Op::Add, half, high)?;
        self.by(Op::Shr, sum, shift.into())
    }

    /// `a / by`, where `by` is a power of 2 or its negative: negative dividends are rounded up.
    fn quotient_by_power(&mut self, a: Val, by: i64, bits: u32) -> Option<Val> {
        let log2 = by.trailing_zeros();
        let mut q = a;
        if log2 > 0 {
            let sign = self.by(Op::Sar, a, u64::from(bits) - 1)?;
            let round = self.by(Op::Shr, sign, (bits - log2).into())?;
            let sum = self.op(Op::Add, a, round)?;
            q = self.by(Op::Sar, sum, log2.into())?;
        }
        if by < 0 {
            let zero = self.c(0)?;
            q = self.op(Op::Sub, zero, q)?;
        }
        Some(q)
    }

    /// `a / by`, where the magnitude of `by` is neither 0 nor a power of 2.
    fn quotient_s(&mut self, a: Val, by: i64, bits: u32) -> Option<Val> {
        let (reciprocal, shift) = signed_reciprocal(by, bits);
        let q = if bits == 32 {
            let a = self.widened(Op::Sext, a)?;
            let product = self.by(Op::Mul, a, reciprocal as u64)?;
            self.by(Op::Sar, product, (32 + shift).into())?
        } else {
            let low = reciprocal as u64;
            let mut high = self.by(Op::MulHiS, a, low)?;
            match (by > 0, (low as i64) < 0) {
                (true, true) => high = self.op(Op::Add, high, a)?,
                (false, false) => high = self.op(Op::Sub, high, a)?,
                _ => {}
            }
            self.by(Op::Sar, high, shift.into())?
        };
        let one_if_negative = self.by(Op::Shr, q, 63)?;
        self.op(Op::Add, q, one_if_negative)
    }

    /// The I32 `a` as I64, which is the type of what is added from now on.
    fn widened(&mut self, op: Op, a: Val) -> Option<Val> {
        self.ty = Type::I64;
        let d = temp(self.block, Type::I64)?;
        self.insts.push(Inst {
            d,
            a,
            aux: Type::I32 as u8,
            ..Inst::new(op, Type::I64)
        });
        Some(d)
    }
}

/// Reciprocal of `by` and shift after the high half of the product, for dividends of `bits` bits
/// ("Hacker's Delight", 10-1). The reciprocal has one bit more than `bits`.
fn signed_reciprocal(by: i64, bits: u32) -> (i128, u32) {
    let magnitude = u128::from(by.unsigned_abs());
    let limit = (1u128 << (bits - 1)) + u128::from(by < 0);
    let limit = limit - 1 - limit % magnitude;
    let enough = |p: &u32| {
        let power = 1u128 << p;
        power > limit * (magnitude - power % magnitude)
    };
    let power = (bits..2 * bits - 1).find(enough).unwrap_or(2 * bits - 1);
    let reciprocal = (1u128 << power) / magnitude + 1;
    let signed = if by < 0 {
        -(reciprocal as i128)
    } else {
        reciprocal as i128
    };
    (signed, power - bits)
}
