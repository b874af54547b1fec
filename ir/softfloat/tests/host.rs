//! Bit-for-bit comparison with the host's FPU: results and flags, in its four rounding modes.
//!
//! Operands are a fixed-seed mixture of special values, near-ties and random patterns.
#![cfg(target_arch = "x86_64")]

use core::arch::asm;
use isomorph_softfloat::*;

/// Cases per operation and format; each runs in every host rounding mode.
const CASES: u32 = 60_000;

struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// An operand with `exp` exponent bits and `frac` fraction bits.
    fn operand(&mut self, exp: u32, frac: u32) -> u64 {
        let (choice, random) = (self.next() >> 32, self.next());
        let sign = (random >> 63) << (exp + frac);
        let field_max = (1u64 << exp) - 1;
        let bias = field_max >> 1;
        let field = match choice % 8 {
            0 => 0,
            1 => 1,
            2 => field_max,
            3 => field_max - 1,
            // Near one: sums cancel, products stay in range.
            4 | 5 => bias + (choice >> 8) % 8 - 4,
            6 => bias + u64::from(frac) + (choice >> 8) % 8 - 4,
            _ => (choice >> 8) % (field_max + 1),
        };
        let field = field.min(field_max);
        let mask = (1u64 << frac) - 1;
        let fraction = match (choice >> 20) % 8 {
            0 => 0,
            1 => 1,
            2 => mask,
            3 => 1 << (frac - 1),
            4 => mask << ((choice >> 24) % u64::from(frac)) & mask,
            5 => 1 << ((choice >> 24) % u64::from(frac)),
            _ => random & mask,
        };
        sign | field << frac | fraction
    }

    fn f16(&mut self) -> u16 {
        self.operand(5, 10) as u16
    }

    fn f32(&mut self) -> u32 {
        self.operand(8, 23) as u32
    }

    fn f64(&mut self) -> u64 {
        self.operand(11, 52)
    }

    /// Integers of every magnitude, with runs of ones and zeros.
    fn int(&mut self) -> u64 {
        let (random, shift) = (self.next(), self.next() >> 58);
        let base = match random & 7 {
            0 => 1 << 63,
            1 => u64::MAX,
            2 => u64::MAX << (random >> 58),
            _ => random,
        };
        ((base as i64) >> shift) as u64
    }
}

/// The host's four modes, in the order of MXCSR.RC.
const MODES: [Rm; 4] = [Rm::Rne, Rm::Rdn, Rm::Rup, Rm::Rtz];
/// Every exception masked, no flag set, no flushing of subnormals.
const MXCSR_MASKED: u32 = 0x1f80;

/// MXCSR's IE, (DE,) ZE, OE, UE, PE as [`Flags`].
fn flags_of(mxcsr: u32) -> Flags {
    let mut fl = Flags(0);
    for (bit, flag) in [
        (0, Flags::NV),
        (2, Flags::DZ),
        (3, Flags::OF),
        (4, Flags::UF),
        (5, Flags::NX),
    ] {
        if mxcsr >> bit & 1 != 0 {
            fl.raise(flag);
        }
    }
    fl
}

fn control(mode: usize) -> u32 {
    MXCSR_MASKED | (mode as u32) << 13
}

/// Runs `$text` between loads of MXCSR; gives the flags that it raised.
macro_rules! with_mxcsr {
    ($mode:expr, $text:literal, $($operand:tt)+) => {{
        let set = control($mode);
        let mut got = 0u32;
        // SAFETY: the code touches the named operands, the two stack words and MXCSR, and leaves
        // MXCSR at its default before Rust code runs again.
        unsafe {
            asm!(
                "ldmxcsr [{set}]",
                $text,
                "stmxcsr [{got}]",
                "ldmxcsr [{reset}]",
                set = in(reg) &set,
                got = in(reg) &mut got,
                reset = in(reg) &MXCSR_MASKED,
                $($operand)+
                options(nostack),
            );
        }
        flags_of(got)
    }};
}

/// Host operations of two operands: `name(a, b, mode) -> (bits, flags)`.
macro_rules! host_binary {
    ($($name:ident $bits:ident $float:ident $text:literal;)+) => {$(
        fn $name(a: $bits, b: $bits, mode: usize) -> ($bits, Flags) {
            let mut x = $float::from_bits(a);
            let y = $float::from_bits(b);
            let fl = with_mxcsr!(mode, $text, x = inout(xmm_reg) x, y = in(xmm_reg) y,);
            (x.to_bits(), fl)
        }
    )+};
}

host_binary! {
    host_f32_add u32 f32 "addss {x}, {y}";
    host_f32_sub u32 f32 "subss {x}, {y}";
    host_f32_mul u32 f32 "mulss {x}, {y}";
    host_f32_div u32 f32 "divss {x}, {y}";
    host_f64_add u64 f64 "addsd {x}, {y}";
    host_f64_sub u64 f64 "subsd {x}, {y}";
    host_f64_mul u64 f64 "mulsd {x}, {y}";
    host_f64_div u64 f64 "divsd {x}, {y}";
    host_f32_sqrt u32 f32 "sqrtss {x}, {y}";
    host_f64_sqrt u64 f64 "sqrtsd {x}, {y}";
}

macro_rules! host_fma {
    ($($name:ident $bits:ident $float:ident $text:literal;)+) => {$(
        fn $name(a: $bits, b: $bits, c: $bits, mode: usize) -> ($bits, Flags) {
            let mut x = $float::from_bits(a);
            let (y, z) = ($float::from_bits(b), $float::from_bits(c));
            let fl = with_mxcsr!(
                mode, $text, x = inout(xmm_reg) x, y = in(xmm_reg) y, z = in(xmm_reg) z,
            );
            (x.to_bits(), fl)
        }
    )+};
}

host_fma! {
    host_f32_fma u32 f32 "vfmadd213ss {x}, {y}, {z}";
    host_f64_fma u64 f64 "vfmadd213sd {x}, {y}, {z}";
}

/// Host conversions to an integer: `name(a, mode) -> (int, flags)`.
macro_rules! host_to_int {
    ($($name:ident $bits:ident $float:ident $int:ident $text:literal;)+) => {$(
        fn $name(a: $bits, mode: usize) -> ($int, Flags) {
            let x = $float::from_bits(a);
            let mut out = 0u64;
            let fl = with_mxcsr!(mode, $text, out = inout(reg) out, x = in(xmm_reg) x,);
            (out as $int, fl)
        }
    )+};
}

host_to_int! {
    host_f32_to_i32 u32 f32 i32 "cvtss2si {out:e}, {x}";
    host_f32_to_i64 u32 f32 i64 "cvtss2si {out}, {x}";
    host_f64_to_i32 u64 f64 i32 "cvtsd2si {out:e}, {x}";
    host_f64_to_i64 u64 f64 i64 "cvtsd2si {out}, {x}";
}

/// Host conversions from an integer: `name(a, mode) -> (bits, flags)`.
macro_rules! host_from_int {
    ($($name:ident $int:ident $bits:ident $float:ident $text:literal;)+) => {$(
        fn $name(a: $int, mode: usize) -> ($bits, Flags) {
            let mut x: $float = 0.0;
            let fl = with_mxcsr!(mode, $text, x = inout(xmm_reg) x, a = in(reg) i64::from(a),);
            (x.to_bits(), fl)
        }
    )+};
}

host_from_int! {
    host_i32_to_f32 i32 u32 f32 "cvtsi2ss {x}, {a:e}";
    host_i64_to_f32 i64 u32 f32 "cvtsi2ss {x}, {a}";
    host_i32_to_f64 i32 u64 f64 "cvtsi2sd {x}, {a:e}";
    host_i64_to_f64 i64 u64 f64 "cvtsi2sd {x}, {a}";
}

fn host_f32_to_f64(a: u32, mode: usize) -> (u64, Flags) {
    let (x, mut y) = (f32::from_bits(a), 0f64);
    let fl = with_mxcsr!(mode, "cvtss2sd {y}, {x}", x = in(xmm_reg) x, y = inout(xmm_reg) y,);
    (y.to_bits(), fl)
}

fn host_f64_to_f32(a: u64, mode: usize) -> (u32, Flags) {
    let (x, mut y) = (f64::from_bits(a), 0f32);
    let fl = with_mxcsr!(mode, "cvtsd2ss {y}, {x}", x = in(xmm_reg) x, y = inout(xmm_reg) y,);
    (y.to_bits(), fl)
}

fn host_f16_to_f32(a: u16, mode: usize) -> (u32, Flags) {
    let (x, mut y) = (f32::from_bits(u32::from(a)), 0f32);
    let fl = with_mxcsr!(mode, "vcvtph2ps {y}, {x}", x = in(xmm_reg) x, y = inout(xmm_reg) y,);
    (y.to_bits(), fl)
}

fn host_f32_to_f16(a: u32, mode: usize) -> (u16, Flags) {
    let (x, mut y) = (f32::from_bits(a), 0f32);
    let fl = with_mxcsr!(mode, "vcvtps2ph {y}, {x}, 4", x = in(xmm_reg) x, y = inout(xmm_reg) y,);
    (y.to_bits() as u16, fl)
}

/// NaN results are the host's, made canonical.
macro_rules! canonical {
    ($name:ident $bits:ident $exp:literal $frac:literal) => {
        fn $name(x: $bits) -> $bits {
            let inf: $bits = ((1 << $exp) - 1) << $frac;
            if x & (inf | (inf - 1)) > inf {
                inf | 1 << ($frac - 1)
            } else {
                x
            }
        }
    };
}
canonical!(canon16 u16 5 10);
canonical!(canon32 u32 8 23);
canonical!(canon64 u64 11 52);

macro_rules! compare {
    ($test:ident, $seed:literal, $host:ident, $soft:ident, $canon:ident, $($x:ident)+) => {
        #[test]
        fn $test() {
            let mut rng = XorShift($seed);
            for _ in 0..CASES {
                let operands = [$(rng.$x()),+];
                for (mode, rm) in MODES.into_iter().enumerate() {
                    let (want, want_fl) = call!($host, operands, mode; $($x)+);
                    let mut fl = Flags(0);
                    let got = call!($soft, operands, rm, &mut fl; $($x)+);
                    assert_eq!(
                        (got, fl), ($canon(want), want_fl),
                        "{}({operands:x?}) {rm:?}", stringify!($soft)
                    );
                }
            }
        }
    };
}

macro_rules! call {
    ($f:ident, $o:ident, $($rest:expr),+; $a:ident) => { $f($o[0], $($rest),+) };
    ($f:ident, $o:ident, $($rest:expr),+; $a:ident $b:ident) => { $f($o[0], $o[1], $($rest),+) };
    ($f:ident, $o:ident, $($rest:expr),+; $a:ident $b:ident $c:ident) => {
        $f($o[0], $o[1], $o[2], $($rest),+)
    };
}

compare!(add32, 0x1111, host_f32_add, f32_add, canon32, f32 f32);
compare!(sub32, 0x2222, host_f32_sub, f32_sub, canon32, f32 f32);
compare!(mul32, 0x3333, host_f32_mul, f32_mul, canon32, f32 f32);
compare!(div32, 0x4444, host_f32_div, f32_div, canon32, f32 f32);
compare!(add64, 0x5555, host_f64_add, f64_add, canon64, f64 f64);
compare!(sub64, 0x6666, host_f64_sub, f64_sub, canon64, f64 f64);
compare!(mul64, 0x7777, host_f64_mul, f64_mul, canon64, f64 f64);
compare!(div64, 0x8888, host_f64_div, f64_div, canon64, f64 f64);

fn sqrt_of_second_32(_: u32, b: u32, rm: Rm, fl: &mut Flags) -> u32 {
    f32_sqrt(b, rm, fl)
}

fn sqrt_of_second_64(_: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    f64_sqrt(b, rm, fl)
}

compare!(sqrt32, 0x9999, host_f32_sqrt, sqrt_of_second_32, canon32, f32 f32);
compare!(sqrt64, 0xaaaa, host_f64_sqrt, sqrt_of_second_64, canon64, f64 f64);
compare!(narrow, 0xbbbb, host_f64_to_f32, f64_to_f32, canon32, f64);
compare!(widen, 0xcccc, host_f32_to_f64, f32_to_f64, canon64, f32);
compare!(
    from_i32_32,
    0xdd01,
    host_i32_to_f32,
    i32_to_f32,
    canon32,
    i32
);
compare!(
    from_i64_32,
    0xdd02,
    host_i64_to_f32,
    i64_to_f32,
    canon32,
    i64
);
compare!(
    from_i32_64,
    0xdd03,
    host_i32_to_f64,
    i32_to_f64,
    canon64,
    i32
);
compare!(
    from_i64_64,
    0xdd04,
    host_i64_to_f64,
    i64_to_f64,
    canon64,
    i64
);

impl XorShift {
    fn i32(&mut self) -> i32 {
        self.int() as i32
    }

    fn i64(&mut self) -> i64 {
        self.int() as i64
    }
}

/// Fused operations, half conversions and the FPU's own f16 need these extensions.
fn host_has_fma_and_f16c() -> bool {
    is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

macro_rules! fma_test {
    ($test:ident $seed:literal $x:ident $host:ident $soft:ident $canon:ident) => {
        #[test]
        fn $test() {
            if !host_has_fma_and_f16c() {
                return;
            }
            let mut rng = XorShift($seed);
            for i in 0..2 * CASES {
                let (a, b) = (rng.$x(), rng.$x());
                // Every other case cancels the product as far as its rounding allows.
                let c = if i % 2 == 0 {
                    rng.$x()
                } else {
                    $host(a, b, 0, 0).0 ^ 1 << (a.count_zeros() + a.count_ones() - 1)
                };
                for (mode, rm) in MODES.into_iter().enumerate() {
                    let (want, mut want_fl) = $host(a, b, c, mode);
                    // x86 leaves NV clear for ∞ × 0 + quiet NaN; RISC-V raises it.
                    let product = $host(a, b, 0, mode);
                    if product.1.contains(Flags::NV) {
                        want_fl.raise(Flags::NV);
                    }
                    let mut fl = Flags(0);
                    let got = $soft(a, b, c, rm, &mut fl);
                    let want = $canon(want);
                    assert_eq!(
                        (got, fl),
                        (want, want_fl),
                        "fma({a:x}, {b:x}, {c:x}) {rm:?}"
                    );
                }
            }
        }
    };
}

fma_test!(fma32 0xeee1 f32 host_f32_fma f32_fma canon32);
fma_test!(fma64 0xeee2 f64 host_f64_fma f64_fma canon64);

#[test]
fn half_precision_conversions() {
    if !host_has_fma_and_f16c() {
        return;
    }
    let mut rng = XorShift(0xf16);
    for (mode, rm) in MODES.into_iter().enumerate() {
        for a in 0..=u16::MAX {
            let (want, want_fl) = host_f16_to_f32(a, mode);
            let mut fl = Flags(0);
            let got = f16_to_f32(a, rm, &mut fl);
            assert_eq!((got, fl), (canon32(want), want_fl), "f16_to_f32({a:x})");
        }
        for _ in 0..4 * CASES {
            let a = if rng.next() & 1 == 0 {
                rng.f32()
            } else {
                // In the range of f16, with bits beyond its last place.
                f16_to_f32(rng.f16(), Rm::Rne, &mut Flags(0)) ^ (rng.next() as u32 >> 20)
            };
            let (want, want_fl) = host_f32_to_f16(a, mode);
            let mut fl = Flags(0);
            let got = f32_to_f16(a, rm, &mut fl);
            assert_eq!(
                (got, fl),
                (canon16(want), want_fl),
                "f32_to_f16({a:x}) {rm:?}"
            );
        }
    }
}

/// f16 arithmetic against f32's: 24 ≥ 2 × 11 + 2 bits make the double rounding innocuous where
/// the result is a normal number and the intermediate rounding is to odd, which sticky bits of
/// the f32 result provide.
#[test]
fn half_precision_arithmetic() {
    let mut rng = XorShift(0x1616);
    for _ in 0..4 * CASES {
        let (a, b) = (rng.f16(), rng.f16());
        let wide = |x| f16_to_f32(x, Rm::Rne, &mut Flags(0));
        for rm in Rm::ALL {
            let to_odd = |op: fn(u32, u32, Rm, &mut Flags) -> u32| {
                let mut fl = Flags(0);
                let r = op(wide(a), wide(b), Rm::Rtz, &mut fl);
                let sticky = fl.contains(Flags::NX);
                f32_to_f16(r | u32::from(sticky), rm, &mut fl)
            };
            let zero_sum = |r: u16| if r & 0x7fff == 0 { 0 } else { r };
            let mut fl = Flags(0);
            assert_eq!(
                zero_sum(f16_add(a, b, rm, &mut fl)),
                zero_sum(to_odd(f32_add)),
                "{a:x} + {b:x}"
            );
            assert_eq!(f16_mul(a, b, rm, &mut fl), to_odd(f32_mul), "{a:x} * {b:x}");
            assert_eq!(f16_div(a, b, rm, &mut fl), to_odd(f32_div), "{a:x} / {b:x}");
        }
    }
}

macro_rules! to_int_test {
    ($test:ident $seed:literal $x:ident $float:ident $host:ident $soft:ident) => {
        #[test]
        fn $test() {
            let mut rng = XorShift($seed);
            for _ in 0..CASES {
                let a = rng.$x();
                for (mode, rm) in MODES.into_iter().enumerate() {
                    let (int, want_fl) = $host(a, mode);
                    let float = $float::from_bits(a);
                    // The host has one indefinite integer; RISC-V saturates.
                    let want = match want_fl.contains(Flags::NV) {
                        true if float.is_nan() || float > 0.0 => !int,
                        _ => int,
                    };
                    let mut fl = Flags(0);
                    let got = $soft(a, rm, &mut fl);
                    assert_eq!((got, fl), (want, want_fl), "{a:x} {rm:?}");
                }
            }
        }
    };
}

to_int_test!(to_i32_32 0x0a01 f32 f32 host_f32_to_i32 f32_to_i32);
to_int_test!(to_i64_32 0x0a02 f32 f32 host_f32_to_i64 f32_to_i64);
to_int_test!(to_i32_64 0x0a03 f64 f64 host_f64_to_i32 f64_to_i32);
to_int_test!(to_i64_64 0x0a04 f64 f64 host_f64_to_i64 f64_to_i64);

/// Against the standard library, whose operations round to nearest, ties to even.
#[test]
fn integral_values_and_relations() {
    let mut rng = XorShift(0x0b0b);
    for _ in 0..8 * CASES {
        let (a, b) = (rng.f64(), rng.f64());
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let mut fl = Flags(0);
        for (rm, want) in [
            (Rm::Rne, x.round_ties_even()),
            (Rm::Rtz, x.trunc()),
            (Rm::Rdn, x.floor()),
            (Rm::Rup, x.ceil()),
            (Rm::Rmm, x.round()),
        ] {
            let got = f64_round_to_integral(a, rm, false, &mut fl);
            assert_eq!(got, canon64(want.to_bits()), "{a:x} {rm:?}");
            let mut exact = Flags(0);
            f64_round_to_integral(a, rm, true, &mut exact);
            assert_eq!(
                exact.contains(Flags::NX),
                !x.is_nan() && want != x,
                "{a:x} {rm:?}"
            );
        }
        assert_eq!(f64_eq_quiet(a, b, &mut fl), x == y);
        assert_eq!(f64_lt_quiet(a, b, &mut fl), x < y);
        assert_eq!(f64_le_signaling(a, b, &mut fl), x <= y);
    }
}
