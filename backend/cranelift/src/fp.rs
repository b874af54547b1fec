//! Floating-point numbers: bits are moved here, arithmetic is the runtime's.

use crate::Floats;
use crate::translate::{Step, TRUSTED, Translate, at};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use isomorph_baseline::{Header, fp_runtime_code, mxcsr_of};
use isomorph_ir::{Inst, Op, Type};
use std::mem::offset_of;

const CANONICAL_NAN32: i64 = 0x7fc0_0000;
const MXCSR: i32 = at(offset_of!(Header, mxcsr));
/// MXCSR's sticky flags, and its rounding control.
const FLAGS: i64 = 0x3f;
const ROUNDING: i64 = 0x6000;

/// The type of operand `n` where it is not the operation's.
fn operand_type(i: &Inst) -> Type {
    match i.op {
        Op::NanBox | Op::FWiden => Type::F32,
        Op::Unbox | Op::FNarrow => Type::F64,
        Op::FFromI32S | Op::FFromI32U => Type::I32,
        Op::FFromI64S | Op::FFromI64U => Type::I64,
        _ => i.ty,
    }
}

impl Translate<'_> {
    /// Any operation of the IR's floating-point section.
    pub(crate) fn float(&mut self, i: &Inst) -> Step {
        let value = match i.op {
            Op::Bitcast => {
                let Some(from) = Type::from_u8(i.aux) else {
                    return self.malformed();
                };
                self.read(i.a, from)?
            }
            Op::NanBox => {
                let a = self.read(i.a, Type::F32)?;
                let low = self.f.ins().uextend(types::I64, a);
                self.f.ins().bor_imm_s(low, !0xffff_ffff)
            }
            Op::Unbox => {
                let a = self.read(i.a, Type::F64)?;
                let high = self.f.ins().sshr_imm_u(a, 32);
                let boxed = self.f.ins().icmp_imm_s(IntCC::Equal, high, -1);
                let low = self.f.ins().ireduce(types::I32, a);
                let nan = self.f.ins().iconst(types::I32, CANONICAL_NAN32);
                self.f.ins().select(boxed, low, nan)
            }
            Op::FCopySign | Op::FCopySignNot | Op::FXorSign => self.sign(i)?,
            Op::GetFlags => self.get_flags(),
            Op::SetFlags | Op::OrFlags => return self.set_flags(i),
            Op::SetRound => return self.set_round(i),
            _ => self.arithmetic(i)?,
        };
        self.write(i.d, value)
    }

    fn sign(&mut self, i: &Inst) -> Step<Value> {
        let (a, b) = (self.read(i.a, i.ty)?, self.read(i.b, i.ty)?);
        let ty = self.clif(i.ty)?;
        let sign = self.f.ins().iconst(ty, (1_u64 << (ty.bits() - 1)) as i64);
        let b = match i.op {
            Op::FCopySignNot => self.f.ins().bnot(b),
            _ => b,
        };
        let wanted = self.f.ins().band(b, sign);
        if i.op == Op::FXorSign {
            return Ok(self.f.ins().bxor(a, wanted));
        }
        let rest = self.f.ins().band_not(a, sign);
        Ok(self.f.ins().bor(rest, wanted))
    }

    /// The guest's MXCSR, which is in memory while a body runs.
    fn mxcsr(&mut self) -> Value {
        let word = self.f.ins().load(types::I32, TRUSTED, self.base, MXCSR);
        self.f.ins().uextend(types::I64, word)
    }

    fn set_mxcsr(&mut self, value: Value) {
        let word = self.f.ins().ireduce(types::I32, value);
        self.f.ins().store(TRUSTED, word, self.base, MXCSR);
    }

    /// `value` with each bit of the IR's flags moved to or from MXCSR's place.
    fn moved_flags(&mut self, value: Value, to_mxcsr: bool) -> Value {
        let mut sum = self.word(0);
        for flag in 0..5_u8 {
            let place = (mxcsr_of(1 << flag, 0) & FLAGS as u32).trailing_zeros();
            let (from, to) = match to_mxcsr {
                true => (u32::from(flag), place),
                false => (place, u32::from(flag)),
            };
            let bit = self.f.ins().ushr_imm_u(value, i64::from(from));
            let bit = self.f.ins().band_imm_u(bit, 1);
            let bit = self.f.ins().ishl_imm_u(bit, i64::from(to));
            sum = self.f.ins().bor(sum, bit);
        }
        sum
    }

    fn get_flags(&mut self) -> Value {
        let mxcsr = self.mxcsr();
        self.moved_flags(mxcsr, false)
    }

    fn set_flags(&mut self, i: &Inst) -> Step {
        let flags = self.read(i.a, Type::I64)?;
        let flags = self.moved_flags(flags, true);
        let mut mxcsr = self.mxcsr();
        if i.op == Op::SetFlags {
            mxcsr = self.f.ins().band_imm_s(mxcsr, !FLAGS);
        }
        let mxcsr = self.f.ins().bor(mxcsr, flags);
        self.set_mxcsr(mxcsr);
        Ok(())
    }

    fn set_round(&mut self, i: &Inst) -> Step {
        // MXCSR's rounding control for modes 0 to 3, two bits each (SDM Vol. 1 §4.8.4).
        let table = (0..4).fold(0, |t, rm| {
            t | (mxcsr_of(0, rm) as u64 & 0x6000) >> 13 << (2 * rm)
        });
        let mode = self.read(i.a, Type::I64)?;
        let directed = self.f.ins().icmp_imm_u(IntCC::UnsignedLessThan, mode, 4);
        let zero = self.word(0);
        let mode = self.f.ins().select(directed, mode, zero);
        let shift = self.f.ins().ishl_imm_u(mode, 1);
        let table = self.word(table);
        let control = self.f.ins().ushr(table, shift);
        let control = self.f.ins().band_imm_u(control, 3);
        let control = self.f.ins().ishl_imm_u(control, 13);
        let mxcsr = self.mxcsr();
        let mxcsr = self.f.ins().band_imm_s(mxcsr, !ROUNDING);
        let mxcsr = self.f.ins().bor(mxcsr, control);
        self.set_mxcsr(mxcsr);
        Ok(())
    }

    /// A call of the runtime's function, whose flags are raised.
    fn arithmetic(&mut self, i: &Inst) -> Step<Value> {
        let pure = i.op == Op::FClass;
        if self.ways.floats == Floats::Refuse && !pure {
            return self.refuse();
        }
        let ty = operand_type(i);
        let mut args = vec![];
        for val in [i.a, i.b, i.c] {
            let value = self.read(val, ty)?;
            args.push(self.resize(value, types::I64));
        }
        args.push(self.word(fp_runtime_code(i.op, i.ty, i.aux).into()));
        let mxcsr = self.mxcsr();
        args.push(mxcsr);
        let table = self.header_word(offset_of!(Header, fp_runtime));
        let function = self.f.ins().load(types::I64, TRUSTED, table, 0);
        let results = self.call_host(function, &args, 2);
        let mxcsr = self.f.ins().bor(mxcsr, results[1]);
        self.set_mxcsr(mxcsr);
        let to = match i.op {
            Op::FCmpEq | Op::FCmpLt | Op::FCmpLe | Op::FCmpLtQ | Op::FCmpLeQ => {
                // The function has ones above what it takes for an F32.
                return Ok(self.f.ins().band_imm_u(results[0], 1));
            }
            Op::FClass | Op::FToI64S | Op::FToI64U => types::I64,
            Op::FToI32S | Op::FToI32U => types::I32,
            _ => self.clif(i.ty)?,
        };
        Ok(self.resize(results[0], to))
    }
}
