//! Floating-point operations that the host's unit cannot do as the IR says, in integers.

#[cfg(test)]
use crate::header::flags_of;
use crate::header::mxcsr_of;
use isomorph_ir::interp::FpEnv;
use isomorph_ir::{Op, Type};
use std::sync::LazyLock;

/// Result of [`run`]: both words are returned in registers (System V ABI §3.2.3).
#[repr(C)]
struct Outcome {
    value: u64,
    /// Flags to raise, as MXCSR bits.
    flags: u64,
}

/// An operation, its type and rounding mode (numbers of the IR) in one word.
pub(crate) const fn encode(op: Op, ty: Type, rm: u8) -> u32 {
    op as u32 | (ty as u32) << 8 | (rm as u32) << 16
}

/// Evaluates the encoded operation; `mxcsr` holds the dynamic rounding mode.
extern "C" fn run(a: u64, b: u64, c: u64, code: u64, mxcsr: u64) -> Outcome {
    let op = Op::ALL
        .get(code as usize & 0xff)
        .copied()
        .unwrap_or(Op::Nop);
    let ty = Type::from_u8((code >> 8) as u8).unwrap_or(Type::F64);
    let mut env = FpEnv::default();
    // MXCSR's modes, as the IR numbers them.
    env.set_rounding([0, 2, 3, 1][mxcsr as usize >> 13 & 3]);
    let value = env.eval(op, ty, (code >> 16) as u8, [a, b, c]).unwrap_or(0);
    let boxed = if gives_f32(op, ty) {
        0xffff_ffff_0000_0000
    } else {
        0
    };
    Outcome {
        value: value | boxed,
        flags: u64::from(mxcsr_of(env.flags.0, 0) & 0x3f),
    }
}

fn gives_f32(op: Op, ty: Type) -> bool {
    let integer = matches!(
        op,
        Op::FToI32S | Op::FToI32U | Op::FToI64S | Op::FToI64U | Op::FClass
    );
    ty == Type::F32 && !integer
}

/// The flags that [`run`] gave, in IR order.
#[cfg(test)]
fn ir_flags(o: &Outcome) -> u8 {
    flags_of(o.flags as u32)
}

static TABLE: LazyLock<[usize; 1]> = LazyLock::new(|| [run as *const () as usize]);

/// The table behind [`crate::Header::fp_runtime`].
pub(crate) fn table() -> &'static [usize] {
    &*TABLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_ir::Rm;

    #[test]
    fn dynamic_rounding_is_mxcsrs() {
        let one_third = |rm: u8| {
            let code = encode(Op::FDiv, Type::F64, Rm::Dyn as u8);
            let (one, three) = (1.0_f64.to_bits(), 3.0_f64.to_bits());
            run(one, three, 0, code.into(), mxcsr_of(0, rm).into())
        };
        let down = one_third(Rm::Rdn as u8);
        assert_eq!(one_third(Rm::Rup as u8).value, down.value + 1);
        assert_eq!(one_third(Rm::Rtz as u8).value, down.value);
        assert_eq!(ir_flags(&down), 1);
    }

    #[test]
    fn single_results_are_boxed() {
        let code = encode(Op::FAdd, Type::F32, Rm::Rmm as u8);
        let one = u64::from(1.0_f32.to_bits());
        let two = run(one, one, 0, code.into(), 0).value;
        assert_eq!(two, 0xffff_ffff_0000_0000 | u64::from(2.0_f32.to_bits()));
    }
}
