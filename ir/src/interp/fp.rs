//! Floating-point operations, through the integer arithmetic of `isomorph-softfloat`.

use crate::{Op, Rm, Type};
use isomorph_softfloat as sf;
use isomorph_softfloat::Flags;

/// The floating-point environment of one vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FpEnv {
    /// Sticky flags, in the order that `getflags` gives.
    pub flags: Flags,
    /// What [`Rm::Dyn`] stands for.
    pub rounding: sf::Rm,
}

impl FpEnv {
    /// The value of floating-point operation `op` with attribute `aux` on these operands
    /// (zero-extended), its flags raised; `None` if it is no such operation.
    pub fn eval(&mut self, op: Op, ty: Type, aux: u8, operands: [u64; 3]) -> Option<u64> {
        eval(op, ty, aux, operands, self)
    }

    /// The mode that attribute byte `aux` selects.
    fn mode(&self, aux: u8) -> sf::Rm {
        match Rm::from_u8(aux) {
            Some(Rm::Rne) => sf::Rm::Rne,
            Some(Rm::Rtz) => sf::Rm::Rtz,
            Some(Rm::Rdn) => sf::Rm::Rdn,
            Some(Rm::Rup) => sf::Rm::Rup,
            Some(Rm::Rmm) => sf::Rm::Rmm,
            Some(Rm::Dyn) | None => self.rounding,
        }
    }

    /// Sets the dynamic mode as `setround` does.
    pub fn set_rounding(&mut self, number: u64) {
        let directed = u8::try_from(number).ok().filter(|&n| n < 4);
        self.rounding = directed
            .and_then(|n| sf::Rm::try_from(n).ok())
            .unwrap_or_default();
    }
}

const SIGN32: u32 = 1 << 31;
const SIGN64: u64 = 1 << 63;
const UPPER: u64 = 0xffff_ffff_0000_0000;
const NAN32: u64 = 0x7fc0_0000;

/// The value of a floating-point operation on `[a, b, c]`, zero-extended, or `None` if `op` is
/// another.
pub(super) fn eval(op: Op, ty: Type, aux: u8, x: [u64; 3], fp: &mut FpEnv) -> Option<u64> {
    let [a, b, _] = x;
    bits(op, ty, aux, a, b)
        .or_else(|| arithmetic(op, ty, aux, x, fp))
        .or_else(|| test(op, ty, a, b, fp))
        .or_else(|| convert(op, ty, aux, a, fp))
}

/// What only moves bits.
fn bits(op: Op, ty: Type, aux: u8, a: u64, b: u64) -> Option<u64> {
    let sign = if ty.bytes() == 4 {
        u64::from(SIGN32)
    } else {
        SIGN64
    };
    let mask = sign | (sign - 1);
    let v = match op {
        Op::Mov if ty.is_float() => a,
        Op::Bitcast if Type::from_u8(aux).is_some() => a,
        Op::NanBox => return Some(UPPER | a & !UPPER),
        Op::Unbox => {
            return Some(if a & UPPER == UPPER {
                a & !UPPER
            } else {
                NAN32
            });
        }
        Op::FCopySign => a & !sign | b & sign,
        Op::FCopySignNot => a & !sign | !b & sign,
        Op::FXorSign => a ^ b & sign,
        _ => return None,
    };
    Some(v & mask)
}

/// A function in both formats.
type Both<F32, F64> = Option<(F32, F64)>;

/// Rounded operations of one, two and three operands, and what needs no rounding.
fn arithmetic(op: Op, ty: Type, aux: u8, x: [u64; 3], fp: &mut FpEnv) -> Option<u64> {
    let rm = fp.mode(aux);
    let fl = &mut fp.flags;
    let single = ty == Type::F32;
    let [a, b, c] = x;
    let [a32, b32, c32] = x.map(|v| v as u32);
    if let Some((f32, f64)) = rounded_unary(op) {
        return Some(if single {
            f32(a32, rm, fl).into()
        } else {
            f64(a, rm, fl)
        });
    }
    if let Some((f32, f64)) = rounded_binary(op) {
        return Some(if single {
            f32(a32, b32, rm, fl).into()
        } else {
            f64(a, b, rm, fl)
        });
    }
    if let Some((f32, f64)) = extremum(op) {
        return Some(if single {
            f32(a32, b32, fl).into()
        } else {
            f64(a, b, fl)
        });
    }
    let (negate_product, negate_addend) = match op {
        Op::FMadd => (false, false),
        Op::FMsub => (false, true),
        Op::FNmadd => (true, true),
        Op::FNmsub => (true, false),
        _ => return None,
    };
    let flip = |negate: bool| if negate { SIGN64 } else { 0 };
    let (p, s) = (flip(negate_product), flip(negate_addend));
    Some(if single {
        let (p32, s32) = ((p >> 32) as u32, (s >> 32) as u32);
        sf::f32_fma(a32 ^ p32, b32, c32 ^ s32, rm, fl).into()
    } else {
        sf::f64_fma(a ^ p, b, c ^ s, rm, fl)
    })
}

type Unary<B> = fn(B, sf::Rm, &mut Flags) -> B;

fn rounded_unary(op: Op) -> Both<Unary<u32>, Unary<u64>> {
    Some(match op {
        Op::FSqrt => (sf::f32_sqrt, sf::f64_sqrt),
        Op::FRound => (
            |a, rm, fl| sf::f32_round_to_integral(a, rm, false, fl),
            |a, rm, fl| sf::f64_round_to_integral(a, rm, false, fl),
        ),
        Op::FRoundX => (
            |a, rm, fl| sf::f32_round_to_integral(a, rm, true, fl),
            |a, rm, fl| sf::f64_round_to_integral(a, rm, true, fl),
        ),
        _ => return None,
    })
}

type Binary<B> = fn(B, B, sf::Rm, &mut Flags) -> B;

fn rounded_binary(op: Op) -> Both<Binary<u32>, Binary<u64>> {
    Some(match op {
        Op::FAdd => (sf::f32_add, sf::f64_add),
        Op::FSub => (sf::f32_sub, sf::f64_sub),
        Op::FMul => (sf::f32_mul, sf::f64_mul),
        Op::FDiv => (sf::f32_div, sf::f64_div),
        _ => return None,
    })
}

type Extremum<B> = fn(B, B, &mut Flags) -> B;

fn extremum(op: Op) -> Both<Extremum<u32>, Extremum<u64>> {
    Some(match op {
        Op::FMinNum => (sf::f32_min_number, sf::f64_min_number),
        Op::FMaxNum => (sf::f32_max_number, sf::f64_max_number),
        Op::FMin => (sf::f32_min, sf::f64_min),
        Op::FMax => (sf::f32_max, sf::f64_max),
        _ => return None,
    })
}

type Relation<B> = fn(B, B, &mut Flags) -> bool;

fn relation(op: Op) -> Both<Relation<u32>, Relation<u64>> {
    Some(match op {
        Op::FCmpEq => (sf::f32_eq_quiet, sf::f64_eq_quiet),
        Op::FCmpLt => (sf::f32_lt_signaling, sf::f64_lt_signaling),
        Op::FCmpLe => (sf::f32_le_signaling, sf::f64_le_signaling),
        Op::FCmpLtQ => (sf::f32_lt_quiet, sf::f64_lt_quiet),
        Op::FCmpLeQ => (sf::f32_le_quiet, sf::f64_le_quiet),
        _ => return None,
    })
}

/// Comparisons and classification.
fn test(op: Op, ty: Type, a: u64, b: u64, fp: &mut FpEnv) -> Option<u64> {
    let single = ty == Type::F32;
    if op == Op::FClass {
        let mask = if single {
            sf::f32_classify(a as u32)
        } else {
            sf::f64_classify(a)
        };
        return Some(mask.into());
    }
    let (f32, f64) = relation(op)?;
    let fl = &mut fp.flags;
    let holds = if single {
        f32(a as u32, b as u32, fl)
    } else {
        f64(a, b, fl)
    };
    Some(holds.into())
}

/// Conversions between formats, and from and to integers.
fn convert(op: Op, ty: Type, aux: u8, a: u64, fp: &mut FpEnv) -> Option<u64> {
    let rm = fp.mode(aux);
    let fl = &mut fp.flags;
    match op {
        Op::FWiden => return Some(sf::f32_to_f64(a as u32, sf::Rm::Rne, fl)),
        Op::FNarrow => return Some(sf::f64_to_f32(a, rm, fl).into()),
        _ => {}
    }
    let single = ty == Type::F32;
    if let Some((f32, f64)) = to_int(op) {
        return Some(if single {
            f32(a as u32, rm, fl)
        } else {
            f64(a, rm, fl)
        });
    }
    let (f32, f64) = from_int(op)?;
    Some(if single {
        f32(a, rm, fl).into()
    } else {
        f64(a, rm, fl)
    })
}

type ToInt<B> = fn(B, sf::Rm, &mut Flags) -> u64;

fn to_int(op: Op) -> Both<ToInt<u32>, ToInt<u64>> {
    Some(match op {
        Op::FToI32S => (
            |a, rm, fl| sf::f32_to_i32(a, rm, fl) as u32 as u64,
            |a, rm, fl| sf::f64_to_i32(a, rm, fl) as u32 as u64,
        ),
        Op::FToI32U => (
            |a, rm, fl| sf::f32_to_u32(a, rm, fl).into(),
            |a, rm, fl| sf::f64_to_u32(a, rm, fl).into(),
        ),
        Op::FToI64S => (
            |a, rm, fl| sf::f32_to_i64(a, rm, fl) as u64,
            |a, rm, fl| sf::f64_to_i64(a, rm, fl) as u64,
        ),
        Op::FToI64U => (sf::f32_to_u64, sf::f64_to_u64),
        _ => return None,
    })
}

type FromInt<B> = fn(u64, sf::Rm, &mut Flags) -> B;

fn from_int(op: Op) -> Both<FromInt<u32>, FromInt<u64>> {
    Some(match op {
        Op::FFromI32S => (
            |a, rm, fl| sf::i32_to_f32(a as i32, rm, fl),
            |a, rm, fl| sf::i32_to_f64(a as i32, rm, fl),
        ),
        Op::FFromI32U => (
            |a, rm, fl| sf::u32_to_f32(a as u32, rm, fl),
            |a, rm, fl| sf::u32_to_f64(a as u32, rm, fl),
        ),
        Op::FFromI64S => (
            |a, rm, fl| sf::i64_to_f32(a as i64, rm, fl),
            |a, rm, fl| sf::i64_to_f64(a as i64, rm, fl),
        ),
        Op::FFromI64U => (sf::u64_to_f32, sf::u64_to_f64),
        _ => return None,
    })
}
