//! Floating-point operations: that each one reaches the right function with its mode and flags.
//! The arithmetic itself is tested in `isomorph-softfloat`.

use super::*;

const QNAN: u64 = 0x7ff8_0000_0000_0000;
const SNAN: u64 = 0x7ff0_0000_0000_0001;
const QNAN32: u64 = 0x7fc0_0000;
const NEG: u64 = 1 << 63;

fn bits(x: f64) -> u64 {
    x.to_bits()
}

fn bits32(x: f32) -> u64 {
    x.to_bits().into()
}

/// `result = <text>` on F64 operands `d1` and `d2`; the flags raised.
fn eval(result: &str, text: &str, a: u64, b: u64) -> (u64, Flags) {
    let mut vm = Vm::new();
    vm.set("d1", a)
        .set("d2", b)
        .run(&format!("{result} = {text}"));
    (vm.get(result), vm.cpu.fp.flags)
}

fn doubles(op: &str, a: f64, b: f64) -> (f64, Flags) {
    let (value, flags) = eval("d1", &format!("{op} d1, d2"), bits(a), bits(b));
    (f64::from_bits(value), flags)
}

/// The same on F32, both operands from one register and a constant.
fn singles(op: &str, a: f32, b: f32) -> (f32, Flags) {
    let mut vm = Vm::new();
    vm.set("s1", bits32(a))
        .run(&format!("s1 = {op} s1, {:#x}", b.to_bits()));
    (f32::from_bits(vm.get("s1") as u32), vm.cpu.fp.flags)
}

const NONE: Flags = Flags(0);

#[test]
fn arithmetic() {
    assert_eq!(doubles("fadd rne", 1.5, 2.25), (3.75, NONE));
    assert_eq!(doubles("fsub rne", 1.5, 2.25), (-0.75, NONE));
    assert_eq!(doubles("fmul rne", 1.5, -2.0), (-3.0, NONE));
    assert_eq!(doubles("fdiv rne", 1.0, 3.0), (1.0 / 3.0, Flags::NX));
    assert_eq!(doubles("fdiv rne", 1.0, 0.0), (f64::INFINITY, Flags::DZ));
    assert_eq!(
        eval("d1", "fsqrt rne d1", bits(2.0), 0),
        (bits(2f64.sqrt()), Flags::NX)
    );
    assert_eq!(eval("d1", "fadd rne d1, d2", SNAN, 0), (QNAN, Flags::NV));
    assert_eq!(singles("fadd rne", 1.5, 2.25), (3.75, NONE));
    assert_eq!(singles("fsub rne", 1.5, 2.25), (-0.75, NONE));
    assert_eq!(singles("fmul rne", 1.5, -2.0), (-3.0, NONE));
    assert_eq!(singles("fdiv rne", 1.0, 3.0), (1.0 / 3.0, Flags::NX));
}

#[test]
fn fused_operations() {
    let fused = |op: &str| {
        let mut vm = Vm::new();
        vm.set("d1", bits(3.0))
            .set("d2", bits(4.0))
            .set("s1", bits32(3.0));
        let d = format!("d1 = {op} rne d1, d2, {:#x}", bits(5.0));
        let s = format!("s1 = {op} rne s1, {:#x}, {:#x}", bits32(4.0), bits32(5.0));
        vm.run(&format!("{d}\n{s}"));
        assert_eq!(vm.cpu.fp.flags, NONE);
        let (d, s) = (
            f64::from_bits(vm.get("d1")),
            f32::from_bits(vm.get("s1") as u32),
        );
        assert_eq!(d, f64::from(s), "{op}");
        d
    };
    assert_eq!(fused("fmadd"), 17.0);
    assert_eq!(fused("fmsub"), 7.0);
    assert_eq!(fused("fnmadd"), -17.0);
    assert_eq!(fused("fnmsub"), -7.0);
    let text = format!("fmadd rne d1, d2, {QNAN:#x}");
    assert_eq!(eval("d1", &text, bits(f64::INFINITY), 0), (QNAN, Flags::NV));
}

#[test]
fn rounding_modes() {
    let third = |rm: &str| doubles(&format!("fdiv {rm}"), 1.0, 3.0).0;
    assert_eq!(third("rdn"), third("rtz"));
    assert!(third("rup") > third("rdn"));
    assert_eq!(third("rmm"), third("rne"));
    let dynamic = |mode: u64| {
        let mut vm = Vm::new();
        let (one, three) = (bits(1.0), bits(3.0));
        vm.set("r1", mode)
            .run(&format!("setround r1\nd1 = fdiv dyn {one:#x}, {three:#x}"));
        f64::from_bits(vm.get("d1"))
    };
    assert_eq!(dynamic(Rm::Rup as u64), third("rup"));
    assert_eq!(dynamic(Rm::Rdn as u64), third("rdn"));
    assert_eq!(dynamic(Rm::Rtz as u64), third("rtz"));
    for to_nearest in [0, 4, 5, 0x103, ONES] {
        assert_eq!(dynamic(to_nearest), third("rne"));
    }
    let down = -(1.0f64 / 3.0);
    assert!(doubles("fdiv rdn", -1.0, 3.0).0 < down);
}

#[test]
fn minima_maxima_and_signs() {
    let both = |op: &str, a, b| eval("d1", &format!("{op} d1, d2"), a, b);
    let (zero, one) = (0, bits(1.0));
    assert_eq!(both("fminnum", zero, NEG), (NEG, NONE));
    assert_eq!(both("fmaxnum", NEG, zero), (zero, NONE));
    assert_eq!(both("fminnum", QNAN, one), (one, NONE));
    assert_eq!(both("fmaxnum", SNAN, one), (one, Flags::NV));
    assert_eq!(both("fmin", QNAN, one), (QNAN, NONE));
    assert_eq!(both("fmax", one, SNAN), (QNAN, Flags::NV));
    assert_eq!(singles("fminnum", 1.0, -1.0), (-1.0, NONE));
    assert_eq!(singles("fmaxnum", 1.0, -1.0), (1.0, NONE));
    assert_eq!(singles("fmin", 1.0, -1.0), (-1.0, NONE));
    assert_eq!(singles("fmax", 1.0, -1.0), (1.0, NONE));
    assert_eq!(both("fsgnj", SNAN, NEG), (SNAN | NEG, NONE));
    assert_eq!(both("fsgnjn", one, NEG), (one, NONE));
    assert_eq!(both("fsgnjn", one, one), (one | NEG, NONE));
    assert_eq!(both("fsgnjx", one | NEG, NEG), (one, NONE));
    assert_eq!(singles("fsgnj", 1.0, -0.0), (-1.0, NONE));
    assert_eq!(singles("fsgnjn", 1.0, 2.0), (-1.0, NONE));
    assert_eq!(singles("fsgnjx", -1.0, -0.0), (1.0, NONE));
}

#[test]
fn comparisons_and_classes() {
    let both = |op: &str, a, b| eval("r1", &format!("{op}.f64 d1, d2"), a, b);
    let (one, two) = (bits(1.0), bits(2.0));
    for (op, less, equal, more) in [
        ("feq", 0, 1, 0),
        ("flt", 1, 0, 0),
        ("fle", 1, 1, 0),
        ("fltq", 1, 0, 0),
        ("fleq", 1, 1, 0),
    ] {
        assert_eq!(both(op, one, two), (less, NONE), "{op}");
        assert_eq!(both(op, one, one), (equal, NONE), "{op}");
        assert_eq!(both(op, two, one), (more, NONE), "{op}");
        let quiet = !matches!(op, "flt" | "fle");
        let flags = if quiet { NONE } else { Flags::NV };
        assert_eq!(both(op, one, QNAN), (0, flags), "{op}");
        assert_eq!(both(op, SNAN, one), (0, Flags::NV), "{op}");
        let mut vm = Vm::new();
        vm.set("s1", bits32(1.0))
            .run(&format!("r1 = {op}.f32 s1, {:#x}", bits32(2.0)));
        assert_eq!(vm.get("r1"), less, "{op}");
    }
    assert_eq!(eval("r1", "fclass.f64 d1", NEG, 0), (1 << 3, NONE));
    assert_eq!(eval("r1", "fclass.f64 d1", SNAN, 0), (1 << 8, NONE));
    let mut vm = Vm::new();
    vm.set("s1", QNAN32).run("r1 = fclass.f32 s1");
    assert_eq!(vm.get("r1"), 1 << 9);
}

#[test]
fn bits_and_boxes() {
    assert_eq!(eval("r1", "bitcast f64 d1", SNAN, 0), (SNAN, NONE));
    let mut vm = Vm::new();
    vm.set("r1", 0xffff_ffff_3f80_0000)
        .set("s1", 0x7f80_0001)
        .set("w2", 5);
    vm.run("w1 = bitcast f32 s1\ns1 = bitcast i32 r1\nd1 = bitcast i64 r1");
    assert_eq!((vm.get("w1"), vm.get("w2")), (0x7f80_0001, 5));
    assert_eq!(
        (vm.get("s1"), vm.get("d1")),
        (0x3f80_0000, 0xffff_ffff_3f80_0000)
    );
    vm.run("s1 = unbox d1\nd2 = nanbox s1\nd1 = mov d2");
    assert_eq!(
        (vm.get("s1"), vm.get("d1")),
        (0x3f80_0000, 0xffff_ffff_3f80_0000)
    );
    // A value that is not boxed, and a boxed signaling NaN, which is only moved.
    vm.set("d1", 0x3f80_0000).set("d2", 0xffff_ffff_7f80_0001);
    vm.run("s1 = unbox d1\n%0:f32 = unbox d2\nw1 = bitcast f32 %0");
    assert_eq!((vm.get("s1"), vm.get("w1")), (QNAN32, 0x7f80_0001));
    assert_eq!(vm.cpu.fp.flags, NONE);
}

#[test]
fn rounding_to_integral_values() {
    let a = bits(2.5);
    assert_eq!(eval("d1", "fround rne d1", a, 0), (bits(2.0), NONE));
    assert_eq!(eval("d1", "fround rmm d1", a, 0), (bits(3.0), NONE));
    assert_eq!(eval("d1", "froundx rup d1", a, 0), (bits(3.0), Flags::NX));
    assert_eq!(eval("d1", "fround rne d1", SNAN, 0), (QNAN, Flags::NV));
    let mut vm = Vm::new();
    vm.set("s1", bits32(-2.5))
        .run("s1 = froundx rdn s1\nd1 = fwiden s1");
    assert_eq!(f64::from_bits(vm.get("d1")), -3.0);
    vm.set("s1", bits32(-2.5)).run("s1 = fround rtz s1");
    assert_eq!(vm.get("s1"), bits32(-2.0));
}

#[test]
fn to_integers() {
    let minus = bits(-1.5);
    assert_eq!(
        eval("w1", "ftos32.f64 rtz d1", minus, 0),
        (0xffff_ffff, Flags::NX)
    );
    assert_eq!(eval("w1", "ftou32.f64 rtz d1", minus, 0), (0, Flags::NV));
    assert_eq!(eval("r1", "ftos64.f64 rtz d1", minus, 0), (ONES, Flags::NX));
    assert_eq!(eval("r1", "ftou64.f64 rtz d1", minus, 0), (0, Flags::NV));
    assert_eq!(
        eval("w1", "ftos32.f64 rtz d1", QNAN, 0),
        (0x7fff_ffff, Flags::NV)
    );
    assert_eq!(eval("r1", "ftou64.f64 rtz d1", QNAN, 0), (ONES, Flags::NV));
    assert_eq!(eval("w1", "ftos32.f64 rdn d1", minus, 0).0, 0xffff_fffe);
    let single = |result: &str, op: &str, a: f32| {
        let mut vm = Vm::new();
        vm.set("s1", bits32(a))
            .run(&format!("{result} = {op}.f32 rtz s1"));
        vm.get(result)
    };
    assert_eq!(single("w1", "ftos32", -1.5), 0xffff_ffff);
    assert_eq!(single("w1", "ftou32", 4e9), 4_000_000_000);
    assert_eq!(single("r1", "ftos64", -1.5), ONES);
    assert_eq!(single("r1", "ftou64", 1.5), 1);
}

#[test]
fn from_integers() {
    let from = |text: &str, r1: u64| {
        let mut vm = Vm::new();
        vm.set("r1", r1)
            .run(&format!("d1 = {text} rne r1\ns1 = {text} rne r1"));
        let (d, s) = (
            f64::from_bits(vm.get("d1")),
            f32::from_bits(vm.get("s1") as u32),
        );
        assert_eq!(d as f32, s, "{text}");
        d
    };
    // The 32-bit conversions read a truncated operand.
    assert_eq!(from("ffroms32", 0x5_ffff_ffff), -1.0);
    assert_eq!(from("ffromu32", 0x5_ffff_ffff), 4294967295.0);
    assert_eq!(from("ffroms64", ONES), -1.0);
    assert_eq!(from("ffromu64", ONES), 18446744073709551616.0);
}

#[test]
fn between_formats() {
    assert_eq!(
        eval("s1", "fnarrow rne d1", bits(0.1), 0),
        (bits32(0.1), Flags::NX)
    );
    assert_eq!(
        eval("s1", "fnarrow rtz d1", bits(1e300), 0).0,
        bits32(f32::MAX)
    );
    let mut vm = Vm::new();
    vm.set("s1", bits32(0.1)).run("d1 = fwiden s1");
    assert_eq!(vm.get("d1"), bits(f64::from(0.1f32)));
    vm.set("s1", 0x7f80_0001).run("d1 = fwiden s1");
    assert_eq!((vm.get("d1"), vm.cpu.fp.flags), (QNAN, Flags::NV));
}

#[test]
fn flags_are_sticky_until_set() {
    let mut vm = Vm::new();
    vm.run("d1 = fdiv rne 0x3ff0000000000000, 0x0\nr1 = getflags");
    assert_eq!(vm.get("r1"), u64::from(Flags::DZ.0));
    vm.run("orflags 0xff1\nr1 = getflags\nsetflags 0x22\nr2 = getflags");
    assert_eq!((vm.get("r1"), vm.get("r2")), (0x19, 2));
}
