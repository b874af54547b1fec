//! Hand-picked vectors: what the host cannot be asked (ties away, minimum and maximum,
//! classification, modular conversion), and the edges of each rule.

use isomorph_softfloat::*;

const ONE: u32 = 0x3f80_0000;
const INF: u32 = 0x7f80_0000;
const NEG_INF: u32 = 0xff80_0000;
const QNAN: u32 = 0x7fc0_0000;
const SNAN: u32 = 0x7f80_0001;
const NEG: u32 = 0x8000_0000;
const MAX: u32 = 0x7f7f_ffff;
const MIN_NORMAL: u32 = 0x0080_0000;

const NONE: Flags = Flags(0);

/// Runs an operation on clear flags.
fn run<T>(op: impl FnOnce(&mut Flags) -> T) -> (T, Flags) {
    let mut fl = NONE;
    let result = op(&mut fl);
    (result, fl)
}

#[test]
fn rounding_modes_from_numbers() {
    for rm in Rm::ALL {
        assert_eq!(Rm::try_from(rm as u8), Ok(rm));
    }
    assert_eq!(Rm::try_from(5), Err(InvalidRm(5)));
    assert_eq!(
        InvalidRm(7).to_string(),
        "7 is not a rounding mode (0 to 4 are)"
    );
}

#[test]
fn ties_in_every_mode() {
    // 1 + 2^-24 lies halfway between 1 and its successor.
    let half_ulp = 0x3380_0000;
    let cases = [
        (Rm::Rne, ONE, ONE | NEG),
        (Rm::Rtz, ONE, ONE | NEG),
        (Rm::Rdn, ONE, (ONE + 1) | NEG),
        (Rm::Rup, ONE + 1, ONE | NEG),
        (Rm::Rmm, ONE + 1, (ONE + 1) | NEG),
    ];
    for (rm, plus, minus) in cases {
        assert_eq!(
            run(|fl| f32_add(ONE, half_ulp, rm, fl)),
            (plus, Flags::NX),
            "{rm:?}"
        );
        let (a, b) = (ONE | NEG, half_ulp | NEG);
        assert_eq!(
            run(|fl| f32_add(a, b, rm, fl)),
            (minus, Flags::NX),
            "-{rm:?}"
        );
    }
    // Halfway above an odd last place goes up to the even one.
    assert_eq!(f32_add(ONE + 1, half_ulp, Rm::Rne, &mut Flags(0)), ONE + 2);
}

#[test]
fn ties_away_match_nearest_except_on_ties() {
    for i in 0..0x1000u32 {
        let b = 0x3300_0000 + (i << 12);
        let (near, _) = run(|fl| f32_add(ONE, b, Rm::Rne, fl));
        let (away, _) = run(|fl| f32_add(ONE, b, Rm::Rmm, fl));
        let tie = b == 0x3380_0000;
        assert_eq!(away, near + u32::from(tie), "{b:x}");
    }
}

#[test]
fn overflow_goes_where_the_mode_points() {
    let cases = [
        (Rm::Rne, INF, NEG_INF),
        (Rm::Rtz, MAX, MAX | NEG),
        (Rm::Rdn, MAX, NEG_INF),
        (Rm::Rup, INF, MAX | NEG),
        (Rm::Rmm, INF, NEG_INF),
    ];
    for (rm, plus, minus) in cases {
        let flags = Flags::OF | Flags::NX;
        assert_eq!(run(|fl| f32_add(MAX, MAX, rm, fl)), (plus, flags));
        assert_eq!(run(|fl| f32_mul(MAX, MAX | NEG, rm, fl)), (minus, flags));
    }
}

#[test]
fn tininess_is_after_rounding() {
    let half = 0x3f00_0000;
    // Exact subnormal results raise nothing.
    let exact = run(|fl| f32_mul(MIN_NORMAL, half, Rm::Rne, fl));
    assert_eq!(exact, (MIN_NORMAL >> 1, NONE));
    // (1 − 2^-24) × 2^-126 × … rounds up to the smallest normal: inexact, not tiny.
    let just_below_one = ONE - 1;
    let up = run(|fl| f32_mul(MIN_NORMAL, just_below_one, Rm::Rup, fl));
    assert_eq!(up, (MIN_NORMAL, Flags::NX | Flags::UF));
    let almost = run(|fl| f32_mul(MIN_NORMAL + 1, just_below_one, Rm::Rne, fl));
    assert_eq!(almost, (MIN_NORMAL, Flags::NX));
    let smallest = run(|fl| f32_mul(1, half, Rm::Rmm, fl));
    assert_eq!(smallest, (1, Flags::NX | Flags::UF));
    let gone = run(|fl| f32_mul(1, half, Rm::Rne, fl));
    assert_eq!(gone, (0, Flags::NX | Flags::UF));
}

#[test]
fn signs_of_zero() {
    for rm in Rm::ALL {
        let want = if rm == Rm::Rdn { NEG } else { 0 };
        assert_eq!(run(|fl| f32_sub(ONE, ONE, rm, fl)), (want, NONE));
        assert_eq!(run(|fl| f32_add(0, NEG, rm, fl)), (want, NONE));
        assert_eq!(run(|fl| f32_fma(ONE, ONE, ONE | NEG, rm, fl)), (want, NONE));
        assert_eq!(run(|fl| f32_add(NEG, NEG, rm, fl)), (NEG, NONE));
    }
    assert_eq!(run(|fl| f32_sqrt(NEG, Rm::Rne, fl)), (NEG, NONE));
}

#[test]
fn invalid_operations() {
    let rm = Rm::Rne;
    let nv = (QNAN, Flags::NV);
    assert_eq!(run(|fl| f32_sub(INF, INF, rm, fl)), nv);
    assert_eq!(run(|fl| f32_mul(INF, 0, rm, fl)), nv);
    assert_eq!(run(|fl| f32_div(0, NEG, rm, fl)), nv);
    assert_eq!(run(|fl| f32_div(INF, INF, rm, fl)), nv);
    assert_eq!(run(|fl| f32_sqrt(ONE | NEG, rm, fl)), nv);
    assert_eq!(run(|fl| f32_fma(INF, 0, QNAN, rm, fl)), nv);
    assert_eq!(run(|fl| f32_fma(0, NEG_INF, ONE, rm, fl)), nv);
    assert_eq!(run(|fl| f32_fma(INF, ONE, NEG_INF, rm, fl)), nv);
    assert_eq!(run(|fl| f32_add(SNAN, ONE, rm, fl)), nv);
    assert_eq!(run(|fl| f32_fma(ONE, ONE, SNAN, rm, fl)), nv);
    // Payload and sign of a quiet NaN vanish, silently.
    assert_eq!(run(|fl| f32_add(0xffc1_2345, ONE, rm, fl)), (QNAN, NONE));
    let wide = run(|fl| f32_to_f64(SNAN, rm, fl));
    assert_eq!(wide, (0x7ff8_0000_0000_0000, Flags::NV));
    assert_eq!(
        run(|fl| f64_to_f16(0xfff8_0000_0000_0001, rm, fl)),
        (0x7e00, NONE)
    );
}

#[test]
fn division_by_zero() {
    assert_eq!(
        run(|fl| f32_div(ONE, NEG, Rm::Rne, fl)),
        (NEG_INF, Flags::DZ)
    );
    assert_eq!(run(|fl| f32_div(INF, 0, Rm::Rne, fl)), (INF, NONE));
}

#[test]
fn relations_with_nans() {
    assert_eq!(run(|fl| f32_eq_quiet(QNAN, QNAN, fl)), (false, NONE));
    assert_eq!(run(|fl| f32_eq_quiet(SNAN, ONE, fl)), (false, Flags::NV));
    assert_eq!(
        run(|fl| f32_eq_signaling(QNAN, ONE, fl)),
        (false, Flags::NV)
    );
    assert_eq!(run(|fl| f32_lt_quiet(QNAN, ONE, fl)), (false, NONE));
    assert_eq!(
        run(|fl| f32_lt_signaling(QNAN, ONE, fl)),
        (false, Flags::NV)
    );
    assert_eq!(run(|fl| f32_le_quiet(ONE, QNAN, fl)), (false, NONE));
    assert_eq!(
        run(|fl| f32_le_signaling(ONE, QNAN, fl)),
        (false, Flags::NV)
    );
    assert_eq!(run(|fl| f32_lt_signaling(NEG, 0, fl)), (false, NONE));
    assert_eq!(run(|fl| f32_le_signaling(0, NEG, fl)), (true, NONE));
    assert_eq!(
        run(|fl| f32_lt_signaling(NEG_INF, MAX | NEG, fl)),
        (true, NONE)
    );
}

#[test]
fn minima_and_maxima() {
    assert_eq!(run(|fl| f32_min_number(0, NEG, fl)), (NEG, NONE));
    assert_eq!(run(|fl| f32_min_number(NEG, 0, fl)), (NEG, NONE));
    assert_eq!(run(|fl| f32_max_number(NEG, 0, fl)), (0, NONE));
    assert_eq!(run(|fl| f32_max_number(0, NEG, fl)), (0, NONE));
    assert_eq!(run(|fl| f32_min_number(QNAN, ONE, fl)), (ONE, NONE));
    assert_eq!(run(|fl| f32_max_number(ONE, SNAN, fl)), (ONE, Flags::NV));
    assert_eq!(
        run(|fl| f32_min_number(0xffff_ffff, QNAN, fl)),
        (QNAN, NONE)
    );
    assert_eq!(run(|fl| f32_min(QNAN, ONE, fl)), (QNAN, NONE));
    assert_eq!(run(|fl| f32_max(ONE, SNAN, fl)), (QNAN, Flags::NV));
    assert_eq!(run(|fl| f32_min(ONE | NEG, NEG_INF, fl)), (NEG_INF, NONE));
    assert_eq!(run(|fl| f64_max(1, 1 << 63, fl)), (1, NONE));
    assert_eq!(run(|fl| f16_min_number(0x3c00, 0xbc00, fl)), (0xbc00, NONE));
}

#[test]
fn classification() {
    let data = [NEG_INF, ONE | NEG, NEG | 1, NEG, 0, 1, ONE, INF, SNAN, QNAN];
    for (bit, datum) in data.into_iter().enumerate() {
        assert_eq!(f32_classify(datum), 1 << bit, "{datum:x}");
    }
    assert_eq!(f32_classify(MIN_NORMAL), 1 << 6);
    assert_eq!(f32_classify(MIN_NORMAL - 1), 1 << 5);
    assert_eq!(f64_classify(0xfff0_0000_0000_0001), 1 << 8);
    assert_eq!(f16_classify(0xfe00), 1 << 9);
}

#[test]
fn saturating_conversions() {
    let nv = Flags::NV;
    let rtz = Rm::Rtz;
    assert_eq!(run(|fl| f32_to_i32(QNAN | NEG, rtz, fl)), (i32::MAX, nv));
    assert_eq!(run(|fl| f32_to_u64(QNAN, rtz, fl)), (u64::MAX, nv));
    assert_eq!(run(|fl| f32_to_i32(NEG_INF, rtz, fl)), (i32::MIN, nv));
    assert_eq!(run(|fl| f32_to_u32(NEG_INF, rtz, fl)), (0, nv));
    assert_eq!(run(|fl| f32_to_i64(0x5f00_0000, rtz, fl)), (i64::MAX, nv));
    assert_eq!(run(|fl| f32_to_i64(0xdf00_0000, rtz, fl)), (i64::MIN, NONE));
    assert_eq!(run(|fl| f32_to_u64(0x5f00_0000, rtz, fl)), (1 << 63, NONE));
    assert_eq!(run(|fl| f32_to_u64(0x5f80_0000, rtz, fl)), (u64::MAX, nv));
    // −0.5 rounds to 0 or to −1, and −1 is out of an unsigned range.
    let minus_half = 0xbf00_0000;
    assert_eq!(run(|fl| f32_to_u32(minus_half, rtz, fl)), (0, Flags::NX));
    assert_eq!(run(|fl| f32_to_u32(minus_half, Rm::Rdn, fl)), (0, nv));
    assert_eq!(run(|fl| f32_to_u32(minus_half, Rm::Rmm, fl)), (0, nv));
    assert_eq!(
        run(|fl| f32_to_i32(minus_half, Rm::Rmm, fl)),
        (-1, Flags::NX)
    );
    // 2^31 − 0.5 and 2^32 − 0.5.
    assert_eq!(
        run(|fl| f64_to_i32(0x41df_ffff_ffe0_0000, Rm::Rne, fl)),
        (i32::MAX, nv)
    );
    assert_eq!(
        run(|fl| f64_to_i32(0x41df_ffff_ffe0_0000, rtz, fl)),
        (i32::MAX, Flags::NX)
    );
    assert_eq!(
        run(|fl| f64_to_u32(0x41ef_ffff_fff0_0000, Rm::Rup, fl)),
        (u32::MAX, nv)
    );
    assert_eq!(
        run(|fl| f64_to_u32(0x41ef_ffff_fff0_0000, Rm::Rdn, fl)),
        (u32::MAX, Flags::NX)
    );
}

#[test]
fn unsigned_sources() {
    assert_eq!(
        run(|fl| u64_to_f32(u64::MAX, Rm::Rne, fl)),
        (0x5f80_0000, Flags::NX)
    );
    assert_eq!(
        run(|fl| u64_to_f32(u64::MAX, Rm::Rtz, fl)),
        (0x5f7f_ffff, Flags::NX)
    );
    assert_eq!(
        run(|fl| u64_to_f64(1 << 63, Rm::Rne, fl)),
        (0x43e0_0000_0000_0000, NONE)
    );
    assert_eq!(
        run(|fl| u32_to_f64(u32::MAX, Rm::Rne, fl)),
        (0x41ef_ffff_ffe0_0000, NONE)
    );
    assert_eq!(
        run(|fl| u32_to_f16(65520, Rm::Rne, fl)),
        (0x7c00, Flags::OF | Flags::NX)
    );
    assert_eq!(
        run(|fl| u32_to_f16(65519, Rm::Rne, fl)),
        (0x7bff, Flags::NX)
    );
    assert_eq!(
        run(|fl| i64_to_f64(i64::MIN, Rm::Rne, fl)),
        (0xc3e0_0000_0000_0000, NONE)
    );
    assert_eq!(run(|fl| i32_to_f32(0, Rm::Rdn, fl)), (0, NONE));
}

#[test]
fn integral_values() {
    let (half, half_and_two) = (0x3f00_0000, 0x4020_0000);
    assert_eq!(
        run(|fl| f32_round_to_integral(half, Rm::Rne, true, fl)),
        (0, Flags::NX)
    );
    assert_eq!(
        run(|fl| f32_round_to_integral(half, Rm::Rne, false, fl)),
        (0, NONE)
    );
    assert_eq!(
        run(|fl| f32_round_to_integral(half | NEG, Rm::Rne, false, fl)),
        (NEG, NONE)
    );
    assert_eq!(
        run(|fl| f32_round_to_integral(half, Rm::Rmm, false, fl)),
        (ONE, NONE)
    );
    let two = 0x4000_0000;
    assert_eq!(
        run(|fl| f32_round_to_integral(half_and_two, Rm::Rne, true, fl)),
        (two, Flags::NX)
    );
    assert_eq!(
        run(|fl| f32_round_to_integral(SNAN, Rm::Rne, false, fl)),
        (QNAN, Flags::NV)
    );
    assert_eq!(
        run(|fl| f32_round_to_integral(NEG_INF, Rm::Rne, true, fl)),
        (NEG_INF, NONE)
    );
    assert_eq!(
        run(|fl| f32_round_to_integral(MAX, Rm::Rup, true, fl)),
        (MAX, NONE)
    );
}

#[test]
fn modular_conversion() {
    let of = |x: f64| run(|fl| fcvtmod_w_d(x.to_bits(), fl));
    assert_eq!(of(1.5), (1, Flags::NX));
    assert_eq!(of(-1.5), (u32::MAX, Flags::NX));
    assert_eq!(of(-0.25), (0, Flags::NX));
    assert_eq!(of(2147483648.0), (1 << 31, Flags::NV));
    assert_eq!(of(-2147483648.0), (1 << 31, NONE));
    assert_eq!(of(4294967297.75), (1, Flags::NV));
    assert_eq!(of(-4294967297.0), (u32::MAX, Flags::NV));
    assert_eq!(of((1u64 << 62) as f64 + 1024.0), (1024, Flags::NV));
    assert_eq!(of(9007199254740993.0 * 2.0), (0, Flags::NV));
    assert_eq!(of(2f64.powi(83) + 2f64.powi(31)), (1 << 31, Flags::NV));
    assert_eq!(of(2f64.powi(84) + 2f64.powi(32)), (0, Flags::NV));
    assert_eq!(of(f64::INFINITY), (0, Flags::NV));
    assert_eq!(of(f64::NAN), (0, Flags::NV));
    assert_eq!(of(-0.0), (0, NONE));
}
