//! Every operation, in its text form, on operands at its edges.

use super::{Exit, FlatMemory, FpEnv, Helpers, Interp, MemFault, Memory, StateTooSmall};
use crate::testing::{Random, STATE_LEN, TABLE, g, random_block};
use crate::text::parse;
use crate::{AtomicOp, Block, JumpKind, Op, Order, Rm, TrapKind, verify};
use isomorph_softfloat::Flags;

mod floats;
mod memory;

/// Helpers that record their call.
#[derive(Default)]
struct Calls {
    last: Option<(u32, [u64; 3])>,
}

impl Helpers for Calls {
    fn helper(&mut self, index: u32, state: &mut [u8], fp: &mut FpEnv, args: [u64; 3]) -> u64 {
        self.last = Some((index, args));
        // Helpers see and change the guest state and the floating-point environment.
        state[16..24].copy_from_slice(&0xdead_u64.to_le_bytes());
        fp.flags.raise(Flags::DZ);
        args[0].wrapping_add(args[1])
    }

    fn counter(&mut self, which: u8) -> u64 {
        100 + u64::from(which)
    }
}

const BASE: u64 = 0x4000;

/// A vCPU of the test guest with 64 bytes of memory at [`BASE`].
struct Vm {
    cpu: Interp,
    state: Vec<u8>,
    memory: FlatMemory,
    calls: Calls,
}

impl Vm {
    fn new() -> Self {
        Self {
            cpu: Interp::new(&TABLE),
            state: vec![0; STATE_LEN],
            memory: FlatMemory::new(BASE, 64),
            calls: Calls::default(),
        }
    }

    fn slot(name: &str) -> (usize, usize) {
        let global = TABLE.get(g(name).as_global().unwrap()).unwrap();
        (global.offset as usize, global.ty.bytes() as usize)
    }

    fn set(&mut self, name: &str, value: u64) -> &mut Self {
        let (offset, len) = Self::slot(name);
        self.state[offset..][..len].copy_from_slice(&value.to_le_bytes()[..len]);
        self
    }

    fn get(&self, name: &str) -> u64 {
        let (offset, len) = Self::slot(name);
        let mut value = [0; 8];
        value[..len.min(8)].copy_from_slice(&self.state[offset..][..len.min(8)]);
        u64::from_le_bytes(value)
    }

    /// Runs these operations; where they do not leave, the block exits to 0x2000.
    fn run(&mut self, lines: &str) -> Exit {
        let head = "block 0x1000 flags 0 insns 1 end 0x1004\n-- 0x1000";
        let mut text = format!("{head}\n{lines}\nexit -> 0x2000");
        let mut block = parse(&text, &TABLE).unwrap_or_else(|e| panic!("{e}\n{text}"));
        if verify(&block, &TABLE).is_err() {
            text = format!("{head}\n{lines}");
            block = parse(&text, &TABLE).unwrap();
        }
        assert_eq!(verify(&block, &TABLE), Ok(()), "{text}");
        let exit = self
            .cpu
            .run(&block, &mut self.state, &mut self.memory, &mut self.calls);
        let exit = exit.unwrap();
        assert_eq!(self.get("pc"), exit.pc(), "{text}");
        exit
    }
}

const MIN64: u64 = 1 << 63;
const MIN32: u64 = 1 << 31;
const ONES: u64 = u64::MAX;

/// Runs `r1 = <op> r2, r3`.
fn binary(op: &str, a: u64, b: u64) -> u64 {
    let mut vm = Vm::new();
    vm.set("r2", a)
        .set("r3", b)
        .run(&format!("r1 = {op} r2, r3"));
    vm.get("r1")
}

/// Runs `w1 = <op> r2, r3`: the operation is I32, its operands are truncated.
fn binary32(op: &str, a: u64, b: u64) -> u64 {
    let mut vm = Vm::new();
    vm.set("r2", a)
        .set("r3", b)
        .run(&format!("w1 = {op} r2, r3"));
    assert_eq!(vm.get("w2"), 0, "the neighbour was written");
    vm.get("w1")
}

fn unary(op: &str, a: u64) -> u64 {
    let mut vm = Vm::new();
    vm.set("r2", a).run(&format!("r1 = {op} r2"));
    vm.get("r1")
}

fn unary32(op: &str, a: u64) -> u64 {
    let mut vm = Vm::new();
    vm.set("r2", a).run(&format!("w1 = {op} r2"));
    vm.get("w1")
}

#[test]
fn sums_products_and_logic() {
    assert_eq!(binary("add", ONES, 2), 1);
    assert_eq!(binary("sub", 1, 2), ONES);
    assert_eq!(binary("mul", MIN64 + 3, 2), 6);
    assert_eq!(binary("and", 0b1100, 0b1010), 0b1000);
    assert_eq!(binary("or", 0b1100, 0b1010), 0b1110);
    assert_eq!(binary("xor", 0b1100, 0b1010), 0b0110);
    assert_eq!(binary("andc", 0b1100, 0b1010), 0b0100);
    assert_eq!(unary("mov", MIN64), MIN64);
}

#[test]
fn wider_operands_are_truncated() {
    assert_eq!(binary32("add", 0xffff_ffff_ffff_ffff, 2), 1);
    assert_eq!(binary32("shr", 0x1_8000_0000, 4), 0x0800_0000);
    assert_eq!(binary32("sar", 0x1_8000_0000, 4), 0xf800_0000);
    assert_eq!(binary32("divu", 0xff_0000_0006, 0xff_0000_0002), 3);
    assert_eq!(unary32("mov", 0x12_3456_789a), 0x3456_789a);
    assert_eq!(unary32("clz", 0xff_0000_0000), 32);
    let mut vm = Vm::new();
    vm.set("r2", 0x1ff).run("b1 = add r2, 0x2");
    assert_eq!((vm.get("b1"), vm.get("h1")), (1, 0));
    let mut vm = Vm::new();
    vm.set("w1", 0xffff_ffff)
        .run("%0:i16 = add w1, 0x1\nr1 = zext i8 %0\nh1 = sub 0x0, 0x1");
    assert_eq!((vm.get("r1"), vm.get("h1"), vm.get("b1")), (0, 0xffff, 0));
}

#[test]
fn shift_counts_are_taken_modulo_the_width() {
    assert_eq!(binary("shl", 1, 63), MIN64);
    assert_eq!(binary("shl", 1, 64), 1);
    assert_eq!(binary("shr", MIN64, 63), 1);
    assert_eq!(binary("sar", MIN64, 63), ONES);
    assert_eq!(binary("sar", MIN64, ONES), ONES);
    assert_eq!(binary32("shl", 1, 33), 2);
    assert_eq!(binary32("sar", MIN32, 31), 0xffff_ffff);
    assert_eq!(binary("rotl", 0x8000_0000_0000_0001, 1), 3);
    assert_eq!(binary("rotl", 5, 64), 5);
    assert_eq!(binary("rotr", 3, 1), 0x8000_0000_0000_0001);
    assert_eq!(binary("rotr", 5, 0), 5);
    assert_eq!(binary32("rotl", 0xff_8000_0001, 1), 3);
    assert_eq!(binary32("rotr", 0xff_0000_0003, 33), 0x8000_0001);
}

#[test]
fn high_halves_of_products() {
    assert_eq!(binary("mulhs", ONES, ONES), 0);
    assert_eq!(binary("mulhs", MIN64, 2), ONES);
    assert_eq!(binary("mulhu", ONES, ONES), ONES - 1);
    assert_eq!(binary("mulhsu", ONES, ONES), ONES);
    assert_eq!(binary("mulhsu", 2, MIN64), 1);
    assert_eq!(binary32("mulhs", 0xffff_ffff, 2), 0xffff_ffff);
    assert_eq!(binary32("mulhu", 0xffff_ffff, 2), 1);
    assert_eq!(binary32("mulhsu", 0xffff_ffff, 0xffff_ffff), 0xffff_ffff);
    assert_eq!(binary("clmul", 0b101, 0b11), 0b1111);
    assert_eq!(binary("clmul", MIN64, 2), 0);
    assert_eq!(binary("clmulh", MIN64, 2), 1);
    assert_eq!(binary("clmulh", ONES, ONES), 0x5555_5555_5555_5555);
}

#[test]
fn division_is_total() {
    assert_eq!(binary("divs", 7, -2i64 as u64), -3i64 as u64);
    assert_eq!(binary("rems", -7i64 as u64, 2), -1i64 as u64);
    assert_eq!(binary("divs", 7, 0), ONES);
    assert_eq!(binary("divu", 7, 0), ONES);
    assert_eq!(binary("rems", 7, 0), 7);
    assert_eq!(binary("remu", 7, 0), 7);
    assert_eq!(binary("divs", MIN64, ONES), MIN64);
    assert_eq!(binary("rems", MIN64, ONES), 0);
    assert_eq!(binary("divu", MIN64, ONES), 0);
    assert_eq!(binary("remu", MIN64, ONES), MIN64);
    assert_eq!(binary32("divs", MIN32, 0xffff_ffff), MIN32);
    assert_eq!(binary32("rems", MIN32, 0xffff_ffff), 0);
    assert_eq!(binary32("divs", 7, 1 << 32), 0xffff_ffff);
    assert_eq!(binary32("rems", 0xffff_fff9, 0), 0xffff_fff9);
}

/// Quotient and remainder of `op` on (`hi`:`lo`) / `by`.
fn wide(op: &str, lo: u64, hi: u64, by: u64) -> (u64, u64) {
    let mut vm = Vm::new();
    vm.set("r1", lo).set("r2", hi).set("r3", by);
    vm.run(&format!(
        "%0:i64, %1:i64 = {op} r1, r2, r3\nr1 = mov %0\nr2 = mov %1"
    ));
    (vm.get("r1"), vm.get("r2"))
}

#[test]
fn double_width_division() {
    assert_eq!(wide("divwu", 5, 1, 2), (MIN64 + 2, 1));
    assert_eq!(wide("divwu", 5, 2, 2), (ONES, 5));
    assert_eq!(wide("divwu", 5, 0, 0), (ONES, 5));
    assert_eq!(wide("divws", -7i64 as u64, ONES, 2), (-3i64 as u64, ONES));
    assert_eq!(wide("divws", MIN64, ONES, ONES), (ONES, MIN64));
    assert_eq!(wide("divws", MIN64, 0, ONES), (MIN64, 0));
    assert_eq!(wide("divws", 0, MIN64, ONES), (ONES, 0));
    let mut vm = Vm::new();
    vm.set("r1", 0xff_0000_0001).set("r2", 1).set("r3", 16);
    vm.run("w1, w2 = divwu r1, r2, r3");
    assert_eq!((vm.get("w1"), vm.get("w2")), (0x1000_0000, 1));
}

#[test]
fn extension_takes_the_low_bits() {
    assert_eq!(unary("sext i8", 0x1280), ONES << 7);
    assert_eq!(unary("sext i16", 0x1_8000), ONES << 15);
    assert_eq!(unary("sext i32", 0x8000_0000), ONES << 31);
    assert_eq!(unary("sext i64", MIN64), MIN64);
    assert_eq!(unary("zext i8", ONES), 0xff);
    assert_eq!(unary("zext i32", ONES), 0xffff_ffff);
    assert_eq!(unary32("sext i8", 0x80), 0xffff_ff80);
    assert_eq!(unary32("zext i16", ONES), 0xffff);
}

#[test]
fn bits_are_counted_and_bytes_reversed() {
    assert_eq!(
        (unary("clz", 0), unary("clz", 1), unary("clz", ONES)),
        (64, 63, 0)
    );
    assert_eq!(
        (unary("ctz", 0), unary("ctz", MIN64), unary("ctz", 1)),
        (64, 63, 0)
    );
    assert_eq!((unary("popcnt", ONES), unary("popcnt", 0)), (64, 0));
    assert_eq!((unary32("clz", 0), unary32("ctz", ONES << 32)), (32, 32));
    assert_eq!(unary32("popcnt", ONES), 32);
    assert_eq!(unary("bswap", 0x0102_0304_0506_0708), 0x0807_0605_0403_0201);
    assert_eq!(unary32("bswap", 0xff_0102_0304), 0x0403_0201);
    let mut vm = Vm::new();
    vm.set("r2", 0xff0102).run("h1 = bswap r2");
    assert_eq!(vm.get("h1"), 0x0201);
}

#[test]
fn conditions() {
    // On I64, r2 = -1 and r3 = 1; on I32 likewise; as unsigned numbers the other way round.
    let holds = [
        ("eq", 0),
        ("ne", 1),
        ("lts", 1),
        ("ges", 0),
        ("les", 1),
        ("gts", 0),
        ("ltu", 0),
        ("geu", 1),
        ("leu", 0),
        ("gtu", 1),
        ("teq", 0),
        ("tne", 1),
    ];
    for (cond, want) in holds {
        for ty in ["", ".i32", ".i8"] {
            let mut vm = Vm::new();
            vm.set("r2", ONES)
                .set("r3", 1)
                .run(&format!("r1 = setcond{ty} {cond} r2, r3"));
            assert_eq!(vm.get("r1"), want, "{cond}{ty}");
        }
        let mut vm = Vm::new();
        vm.set("r2", ONES)
            .set("r3", 1)
            .run(&format!("r1 = select {cond} r2, r3, 0x7, 0x8"));
        assert_eq!(vm.get("r1"), 8 - want, "{cond}");
    }
    // Only the low bits are compared.
    let mut vm = Vm::new();
    vm.set("r2", 0x1_0000_0005).set("r3", 5);
    vm.run("r1 = setcond.i32 eq r2, r3\nw1 = select eq r2, r3, r2, 0x9");
    assert_eq!((vm.get("r1"), vm.get("w1")), (1, 5));
}

#[test]
fn exits_set_the_program_counter() {
    let direct = |pc| Exit::Direct { pc };
    assert_eq!(Vm::new().run("nop"), direct(0x2000));
    assert_eq!(
        Vm::new().run("exitif eq 0x0, 0x0 -> 0x3000"),
        direct(0x3000)
    );
    assert_eq!(
        Vm::new().run("exitif ne 0x0, 0x0 -> 0x3000"),
        direct(0x2000)
    );
    assert_eq!(
        Vm::new().run("exitif.i8 eq 0x100, 0x0 -> 0x3000"),
        direct(0x3000)
    );
    let call = Exit::Call {
        pc: 0x3000,
        ret: 0x1004,
    };
    assert_eq!(Vm::new().run("call 0x1004 -> 0x3000"), call);
    let mut vm = Vm::new();
    assert_eq!(vm.set("r1", 0x3000).run("callind r1, 0x1004"), call);
    let ret = Exit::Indirect {
        pc: 0x3000,
        kind: JumpKind::Ret,
    };
    assert_eq!(vm.run("jump ret r1"), ret);
    let syscall = Exit::Trap {
        kind: TrapKind::Syscall,
        pc: 0x1000,
        info: 0x3000,
    };
    assert_eq!(vm.run("trap syscall r1 @ 0x1000"), syscall);
    let illegal = Exit::Trap {
        kind: TrapKind::Illegal,
        pc: 0x1002,
        info: 7,
    };
    assert_eq!(
        vm.run("trapif geu illegal r1, 0x3000, 0x7 @ 0x1002"),
        illegal
    );
    assert_eq!(
        vm.run("trapif ltu illegal r1, 0x3000, 0x7 @ 0x1002"),
        direct(0x2000)
    );
}

#[test]
fn helpers_counters_and_instruction_counts() {
    let mut vm = Vm::new();
    vm.set("r1", 5);
    vm.run("-- 0x1002\nr3 = helper #4 r1, 0x6, none\n%0:i64 = counter 2\nr1 = add %0, r2");
    assert_eq!(vm.calls.last, Some((4, [5, 6, 0])));
    assert_eq!(vm.get("r3"), 11);
    assert_eq!(vm.get("r1"), 102 + 0xdead);
    assert_eq!(vm.cpu.fp.flags, Flags::DZ);
    assert_eq!(vm.cpu.insns, 2);
}

#[test]
fn a_short_state_is_refused() {
    let mut vm = Vm::new();
    let mut short = vec![0; STATE_LEN - 1];
    let result = vm
        .cpu
        .run(&Block::default(), &mut short, &mut vm.memory, &mut vm.calls);
    let error = StateTooSmall {
        have: STATE_LEN - 1,
        need: STATE_LEN,
    };
    assert_eq!(result, Err(error));
    assert!(error.to_string().contains("95 bytes"));
}

#[test]
fn no_valid_block_panics() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut vm = Vm::new();
    for i in 0..3000 {
        let block = random_block(&mut random, i % 60);
        let exit = vm
            .cpu
            .run(&block, &mut vm.state, &mut vm.memory, &mut vm.calls)
            .unwrap();
        assert_eq!(vm.get("pc"), exit.pc());
    }
}

#[test]
fn vectors_move_whole() {
    let mut vm = Vm::new();
    vm.memory.bytes[..16].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    let lines = "%0:v128 = load u128 [0x4000]\nv1 = mov %0\nstore.v128 u128 [0x4010], v1
        v2 = load u128.be [0x4000]";
    vm.run(lines);
    assert_eq!(vm.memory.bytes[16..32], vm.memory.bytes[..16]);
    assert_eq!(vm.get("v2"), 0x090a_0b0c_0d0e_0f10);
}

#[test]
fn every_operation_is_tested_here() {
    let text = [
        include_str!("tests.rs"),
        include_str!("tests/memory.rs"),
        include_str!("tests/floats.rs"),
    ]
    .concat()
    .replace("\\n", " ");
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for op in Op::ALL.iter().filter(|&&op| op != Op::InsnStart) {
        assert!(words.contains(&op.info().name), "{op:?}");
    }
}
