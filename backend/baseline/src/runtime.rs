//! The runtime: stubs that all generated code shares, and its constants.

use crate::asm::{
    Alu, Asm, Cc, Fix, Mem, Opc, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Rm, Shift, v,
};
use crate::compiled::{ExitReason, Runtime};
use crate::emit::Compile;
use crate::header::{ADDENDS, GUEST_OFFSET, Header, RBP_BIAS, rounding_control};
use crate::regs::{Opnd, Place, header};
use std::mem::offset_of;

/// Offsets of the constants from [`Runtime::consts`]. Vector constants are 16-byte aligned.
pub(crate) mod consts {
    /// Canonical NaN of binary64, then of binary32 boxed.
    pub(crate) const NAN64: u32 = 0;
    pub(crate) const NAN32: u32 = 16;
    /// Sign bit of a binary64 / of the low binary32.
    pub(crate) const SIGN64: u32 = 32;
    pub(crate) const SIGN32: u32 = 48;
    /// All but the sign bit.
    pub(crate) const ABS64: u32 = 64;
    pub(crate) const ABS32: u32 = 80;
    /// Ones above the low binary32.
    pub(crate) const BOX: u32 = 96;
    /// IR flags by MXCSR flags (64 bytes), MXCSR flags by IR flags (32 bytes), MXCSR rounding
    /// control by rounding mode (dwords, 8).
    pub(crate) const FLAGS_OF: u32 = 112;
    pub(crate) const MXCSR_OF: u32 = 176;
    pub(crate) const ROUND_OF: u32 = 208;
}

/// Callee-saved registers of the System V ABI.
const SAVED: [u8; 6] = [RBX, RBP, 12, 13, 14, 15];

macro_rules! field {
    ($name:ident) => {
        header(offset_of!(Header, $name))
    };
}

impl Asm {
    fn call_reg(&mut self, r: u8) {
        self.op(Opc::one(0xff), false, 2, Rm::R(r));
    }
}

/// Builds the runtime for globals in these places.
pub(crate) fn build(places: &[Place], memory: crate::Memory) -> Runtime {
    let mut asm = Asm::default();
    asm.start(0, 0);
    let mut rt = Runtime::default();
    enter(&mut asm, places, &mut rt);
    let leave = leave(&mut asm, places);
    exits(&mut asm, &mut rt, leave);
    rt.lookup = asm.pos();
    let code = Compile::probe(&mut asm, memory != crate::Memory::Identity);
    let miss = asm.jcc(Cc::Ne);
    asm.bind_to(miss, rt.exit_indirect);
    asm.jmp_mem(code);
    sentinel(&mut asm, &mut rt);
    calls(&mut asm, places, &mut rt);
    rounding(&mut asm, &mut rt);
    constants(&mut asm, &mut rt);
    mem_slow(&mut asm, places, &mut rt, leave);
    let (out, out_plain) = region(&mut asm, places, &mut rt);
    rt.region_slow = region_slow(&mut asm, places, Border::Whole, out);
    rt.region_plain_slow = region_slow(&mut asm, places, Border::Plain, out_plain);
    rt.code = asm.bytes().to_vec();
    rt
}

fn align(asm: &mut Asm) {
    asm.reserve();
    while !asm.pos().is_multiple_of(16) {
        asm.byte(0xcc);
    }
}

fn load_globals(asm: &mut Asm, places: &[Place]) {
    for p in places {
        match p.opnd {
            Opnd::R(r) => asm.load(true, r, p.slot),
            Opnd::X(x) => asm.vex(v::MOVSD_LOAD, false, x, 0, Rm::M(p.slot)),
            _ => {}
        }
    }
}

fn store_globals(asm: &mut Asm, places: &[Place]) {
    for p in places {
        match p.opnd {
            Opnd::R(r) => asm.store(true, p.slot, r),
            Opnd::X(x) => asm.vex(v::MOVSD_STORE, false, x, 0, Rm::M(p.slot)),
            _ => {}
        }
    }
}

/// Saves what a helper function may change, and goes to the host's stack and MXCSR.
fn store_state(asm: &mut Asm, places: &[Place]) {
    store_globals(asm, places);
    asm.store(true, field!(shadow_rsp), RSP);
    asm.stmxcsr(field!(mxcsr));
    asm.ldmxcsr(field!(host_mxcsr));
    asm.load(true, RSP, field!(host_rsp));
}

/// From the host to generated code.
fn enter(asm: &mut Asm, places: &[Place], rt: &mut Runtime) {
    rt.enter = asm.pos();
    for r in SAVED {
        asm.push(r);
    }
    // The stack is now 8 bytes from a multiple of 16; a helper is called at a multiple.
    asm.push(RAX);
    asm.lea(true, RBP, Mem::base(RDI, RBP_BIAS as i32));
    asm.store(true, field!(host_rsp), RSP);
    asm.stmxcsr(field!(host_mxcsr));
    asm.ldmxcsr(field!(mxcsr));
    asm.load(true, RSP, field!(shadow_rsp));
    asm.mov(true, RAX, RSI);
    load_globals(asm, places);
    asm.jmp_reg(RAX);
}

/// From generated code back to the host; the result is in `rax`.
fn leave(asm: &mut Asm, places: &[Place]) -> u32 {
    align(asm);
    let at = asm.pos();
    store_state(asm, places);
    asm.pop(RCX);
    for &r in SAVED.iter().rev() {
        asm.pop(r);
    }
    asm.ret();
    at
}

fn exits(asm: &mut Asm, rt: &mut Runtime, leave: u32) {
    align(asm);
    rt.exit_edge = asm.pos();
    asm.shift_imm(Shift::Shl, true, RAX, 8);
    asm.jmp_to(leave);

    align(asm);
    rt.exit_indirect = asm.pos();
    asm.store(true, field!(exit_pc), RAX);
    asm.mov_imm(RAX, ExitReason::Indirect as u64);
    asm.jmp_to(leave);

    align(asm);
    rt.exit_trap = asm.pos();
    asm.store(true, field!(exit_pc), RCX);
    asm.store(true, field!(exit_info), RDX);
    asm.shift_imm(Shift::Shl, true, RAX, 8);
    asm.alu_imm(Alu::Or, true, Rm::R(RAX), ExitReason::Trap as i32);
    asm.jmp_to(leave);

    align(asm);
    rt.exit_irq = asm.pos();
    asm.store(true, field!(exit_pc), RAX);
    asm.mov_imm(RAX, ExitReason::Irq as u64);
    asm.jmp_to(leave);

    align(asm);
    rt.exit_fault = asm.pos();
    asm.mov_imm(RAX, ExitReason::Fault as u64);
    asm.jmp_to(leave);
    align(asm);
}

fn sentinel(asm: &mut Asm, rt: &mut Runtime) {
    align(asm);
    rt.sentinel = asm.pos();
    asm.lea(true, RCX, Mem::runtime(rt.sentinel));
    asm.push(RCX);
    asm.jmp_to(rt.lookup);
}

/// The ways to Rust functions: on the host's stack, with the guest's registers in its state.
fn calls(asm: &mut Asm, places: &[Place], rt: &mut Runtime) {
    let arg = |n: i32| field!(args).offset(n * 8);
    let end = |asm: &mut Asm| {
        asm.ldmxcsr(field!(mxcsr));
        asm.load(true, RSP, field!(shadow_rsp));
        load_globals(asm, places);
        asm.ret();
    };
    align(asm);
    rt.helper = asm.pos();
    store_state(asm, places);
    asm.mov(true, 10, RCX);
    asm.lea(
        true,
        RDI,
        Mem::base(RBP, GUEST_OFFSET as i32 - RBP_BIAS as i32),
    );
    asm.load(true, RSI, arg(0));
    asm.load(true, RDX, arg(1));
    asm.load(true, RCX, arg(2));
    asm.load(true, RAX, field!(helpers));
    asm.call_mem(Mem::index(RAX, 10, 3, 0));
    end(asm);

    // No register changes; the flags come back in rdx, as MXCSR bits.
    align(asm);
    let saved = |n: u8| field!(saved).offset(i32::from(n) * 8);
    let at = asm.pos();
    for r in 0..3 {
        asm.store(true, saved(r), r);
        asm.vex(v::MOVSD_STORE, false, r, 0, Rm::M(saved(r + 3)));
    }
    rt.soft_fp = at;
    store_state(asm, places);
    asm.load(true, RDI, arg(0));
    asm.load(true, RSI, arg(1));
    asm.load(true, RDX, arg(2));
    asm.load(true, RCX, arg(3));
    asm.load(false, 8, field!(mxcsr));
    asm.reserve();
    asm.load(true, RAX, field!(fp_runtime));
    asm.call_mem(Mem::base(RAX, 0));
    asm.alu_mem(Alu::Or, false, field!(mxcsr), RDX);
    asm.store(true, arg(0), RAX);
    for r in 0..3 {
        asm.load(true, r, saved(r));
        asm.vex(v::MOVSD_LOAD, false, r, 0, Rm::M(saved(r + 3)));
    }
    end(asm);
}

/// The slow path of an access. Any translation may have changed in it, so nothing that was known
/// of addends holds after it.
fn mem_slow(asm: &mut Asm, places: &[Place], rt: &mut Runtime, leave: u32) {
    let saved = |n: u8| field!(saved).offset(i32::from(n) * 8);
    align(asm);
    rt.mem_slow = asm.pos();
    for r in 0..3 {
        asm.store(true, saved(r), r);
        asm.vex(v::MOVSD_STORE, false, r, 0, Rm::M(saved(r + 3)));
    }
    store_state(asm, places);
    asm.reserve();
    asm.lea(true, RDI, Mem::base(RBP, -(RBP_BIAS as i32)));
    asm.load(true, RSI, field!(exit_info));
    asm.load(true, RDX, field!(scratch).offset(16));
    asm.load(true, RCX, field!(scratch).offset(24));
    asm.call_mem(field!(mem_runtime));
    asm.store(true, field!(scratch).offset(24), RAX);
    for n in 0..ADDENDS as i32 {
        asm.store_imm(true, field!(mem_addends).offset(n * 8), 1);
    }
    asm.ldmxcsr(field!(mxcsr));
    asm.load(true, RSP, field!(shadow_rsp));
    load_globals(asm, places);
    asm.reserve();
    asm.alu_imm(Alu::Cmp, true, Rm::M(field!(mem_fault)), 0);
    let fault = asm.jcc(Cc::Ne);
    for r in 0..3 {
        asm.load(true, r, saved(r));
        asm.vex(v::MOVSD_LOAD, false, r, 0, Rm::M(saved(r + 3)));
    }
    asm.ret();
    asm.bind(fault);
    asm.pop(RCX);
    asm.load(true, RAX, field!(mem_fault));
    asm.store_imm(true, field!(mem_fault), 0);
    asm.shift_imm(Shift::Shl, true, RAX, 8);
    asm.alu_imm(Alu::Or, true, Rm::R(RAX), ExitReason::Fault as i32);
    asm.jmp_to(leave);
}

/// Which of the globals that live in registers, and whether MXCSR, a border hands over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Border {
    Whole,
    /// General registers only.
    Plain,
}

/// The borders between this tier's code and functions that follow the System V ABI, whose
/// argument is `rbp`. Gives where the result of such a function goes to the host, by border.
fn region(asm: &mut Asm, places: &[Place], rt: &mut Runtime) -> (u32, u32) {
    let (general, rest) = split(places);
    let out_whole;
    (rt.region, out_whole) = border(asm, Border::Whole, places);
    let out_plain;
    (rt.region_plain, out_plain) = border(asm, Border::Plain, &general);

    align(asm);
    rt.region_fault = asm.pos();
    asm.mov_imm(RAX, ExitReason::Fault as u64);
    asm.load(true, RSP, field!(host_rsp));
    // What the border pushed last tells which it was.
    asm.alu_imm(Alu::Cmp, true, Rm::M(Mem::base(RSP, -16)), 0);
    let whole = asm.jcc(Cc::E);
    asm.bind(out_plain);
    asm.reserve();
    let out_plain = asm.pos();
    store_globals(asm, &rest);
    asm.stmxcsr(field!(mxcsr));
    asm.ldmxcsr(field!(host_mxcsr));
    asm.bind(whole);
    asm.bind(out_whole);
    asm.reserve();
    let out = asm.pos();
    asm.pop(RCX);
    for &r in SAVED.iter().rev() {
        asm.pop(r);
    }
    asm.ret();
    (out, out_plain)
}

/// From generated code to the function and back. Gives where that is, and a jump for when the
/// function's result goes to the host.
fn border(asm: &mut Asm, border: Border, places: &[Place]) -> (u32, Fix) {
    align(asm);
    let at = asm.pos();
    if border == Border::Whole {
        store_state(asm, places);
    } else {
        store_globals(asm, places);
        asm.store(true, field!(shadow_rsp), RSP);
        asm.load(true, RSP, field!(host_rsp));
    }
    asm.reserve();
    asm.push(RDX);
    asm.mov_imm(RAX, border as u64);
    asm.push(RAX);
    asm.mov(true, RDI, RBP);
    asm.call_reg(RCX);
    asm.pop(RCX);
    asm.pop(RCX);
    asm.alu_imm(Alu::Cmp, true, Rm::R(RDX), 0);
    let out = asm.jcc(Cc::E);
    asm.alu(Alu::Add, true, RDX, Rm::R(RCX));
    asm.load(true, RSP, field!(shadow_rsp));
    if border == Border::Whole {
        asm.ldmxcsr(field!(mxcsr));
    }
    load_globals(asm, places);
    asm.jmp_reg(RDX);
    (at, out)
}

/// The globals in general registers, and the others.
fn split(places: &[Place]) -> (Vec<Place>, Vec<Place>) {
    let general = |p: &&Place| matches!(p.opnd, Opnd::R(_));
    let others = places.iter().filter(|p| !general(p));
    let general = places.iter().filter(general);
    (general.copied().collect(), others.copied().collect())
}

/// The slow path of an access by such a function, with what was its argument in `rdi`: it keeps
/// every general register, and behind the plain border the vector registers that hold globals. If
/// the access faults it leaves by `out`, the function's frame being no longer needed.
fn region_slow(asm: &mut Asm, places: &[Place], border: Border, out: u32) -> u32 {
    // An even number, with the return address: the stack is aligned at the call.
    const KEPT: [u8; 11] = [RBP, RBP, RAX, RCX, RDX, RSI, 8, 9, 10, 11, RDI];
    let (_, rest) = split(places);
    align(asm);
    let at = asm.pos();
    for r in KEPT {
        asm.push(r);
    }
    asm.mov(true, RBP, RDI);
    if border == Border::Plain {
        store_globals(asm, &rest);
        asm.stmxcsr(field!(mxcsr));
        asm.ldmxcsr(field!(host_mxcsr));
    }
    asm.reserve();
    asm.load(true, RSI, field!(exit_info));
    asm.load(true, RDX, field!(scratch).offset(16));
    asm.load(true, RCX, field!(scratch));
    asm.lea(true, RDI, Mem::base(RBP, -(RBP_BIAS as i32)));
    asm.call_mem(field!(mem_runtime));
    asm.store(true, field!(scratch).offset(24), RAX);
    if border == Border::Plain {
        asm.ldmxcsr(field!(mxcsr));
        load_globals(asm, &rest);
    }
    asm.reserve();
    asm.alu_imm(Alu::Cmp, true, Rm::M(field!(mem_fault)), 0);
    let fault = asm.jcc(Cc::Ne);
    for &r in KEPT.iter().rev() {
        asm.pop(r);
    }
    asm.ret();
    asm.bind(fault);
    asm.reserve();
    asm.load(true, RAX, field!(mem_fault));
    asm.store_imm(true, field!(mem_fault), 0);
    asm.shift_imm(Shift::Shl, true, RAX, 8);
    asm.alu_imm(Alu::Or, true, Rm::R(RAX), ExitReason::Fault as i32);
    asm.load(true, RSP, field!(host_rsp));
    asm.jmp_to(out);
    at
}

fn rounding(asm: &mut Asm, rt: &mut Runtime) {
    let word = field!(mxcsr_scratch);
    let old = field!(scratch).offset(8);
    for rm in 0..4_u8 {
        align(asm);
        rt.round_push[usize::from(rm)] = asm.pos();
        asm.store(true, field!(scratch), RAX);
        asm.stmxcsr(word);
        asm.load(false, RAX, word);
        asm.store(false, old, RAX);
        asm.alu_imm(Alu::And, false, Rm::R(RAX), !0x6000);
        asm.alu_imm(
            Alu::Or,
            false,
            Rm::R(RAX),
            (rounding_control(rm) << 13) as i32,
        );
        asm.store(false, word, RAX);
        asm.ldmxcsr(word);
        asm.load(true, RAX, field!(scratch));
        asm.ret();
    }
    align(asm);
    rt.round_pop = asm.pos();
    asm.store(true, field!(scratch), RAX);
    asm.stmxcsr(word);
    asm.load(false, RAX, old);
    asm.alu_imm(Alu::And, false, Rm::R(RAX), 0x6000);
    asm.alu_imm(Alu::And, false, Rm::M(word), !0x6000);
    asm.alu_mem(Alu::Or, false, word, RAX);
    asm.ldmxcsr(word);
    asm.load(true, RAX, field!(scratch));
    asm.ret();
}

fn constants(asm: &mut Asm, rt: &mut Runtime) {
    asm.align_data(64);
    asm.reserve();
    rt.consts = asm.pos();
    let vectors: [(u32, u64, u64); 7] = [
        (consts::NAN64, 0x7ff8_0000_0000_0000, 0),
        (consts::NAN32, 0xffff_ffff_7fc0_0000, 0),
        (consts::SIGN64, 1 << 63, 0),
        (consts::SIGN32, 1 << 31, 0),
        (consts::ABS64, !(1 << 63), u64::MAX),
        (consts::ABS32, !(1 << 31), u64::MAX),
        (consts::BOX, 0xffff_ffff_0000_0000, 0),
    ];
    for (at, low, high) in vectors {
        debug_assert_eq!(asm.pos(), rt.consts + at);
        asm.qword(low);
        asm.qword(high);
    }
    for mxcsr in 0..64 {
        asm.byte(crate::flags_of(mxcsr));
    }
    for flags in 0..32 {
        asm.byte(crate::mxcsr_of(flags, 0) as u8 & 0x3f);
    }
    for rm in 0..8 {
        asm.dword(rounding_control(rm) << 13);
    }
}
