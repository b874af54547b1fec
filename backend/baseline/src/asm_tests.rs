//! What the encoder emits, seen by a disassembler.

use super::*;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

const GPR64: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Emits one instruction at address 0x10000 and decodes it; its length must agree.
fn one(emit: impl FnOnce(&mut Asm)) -> Instruction {
    let mut asm = Asm::default();
    asm.start(0x10000, 0x20000);
    emit(&mut asm);
    let bytes = asm.bytes();
    let i = Decoder::with_ip(64, bytes, 0x10000, DecoderOptions::NONE).decode();
    assert_eq!(i.len(), bytes.len(), "{i} from {bytes:02x?}");
    assert_ne!(i.code(), Code::INVALID, "{bytes:02x?}");
    i
}

/// The general register of operand `n`, widened to its 64-bit name.
fn gpr(i: &Instruction, n: u32) -> Register {
    i.op_register(n).full_register()
}

fn xmm(i: &Instruction, n: u32) -> usize {
    i.op_register(n).number()
}

const MEMS: [Mem; 12] = [
    Mem::base(RAX, 0),
    Mem::base(RSP, 8),
    Mem::base(RBP, 0),
    Mem::base(12, 0),
    Mem::base(13, 0),
    Mem::base(RSI, -128),
    Mem::base(15, 128),
    Mem::base(RBX, i32::MIN),
    Mem::index(RAX, 12, 3, 0),
    Mem::index(13, 9, 0, 4),
    Mem::index(RBP, RCX, 3, 0x1d88),
    Mem::absolute(-8),
];

fn check_mem(i: &Instruction, m: Mem) {
    let reg = |r: u8| {
        let none = Register::None;
        GPR64.get(usize::from(r)).copied().unwrap_or(none)
    };
    assert_eq!(i.memory_base(), reg(m.base), "{i} for {m:?}");
    assert_eq!(i.memory_index(), reg(m.index), "{i} for {m:?}");
    assert_eq!(
        i.memory_displacement64() as i64,
        i64::from(m.disp),
        "{i} for {m:?}"
    );
    if m.index != NO_REG {
        assert_eq!(i.memory_index_scale(), 1 << m.scale);
    }
}

#[test]
fn register_forms() {
    for d in 0..16_u8 {
        for s in 0..16_u8 {
            let (rd, rs) = (GPR64[usize::from(d)], GPR64[usize::from(s)]);
            let both = |i: Instruction, m: Mnemonic| {
                assert_eq!((i.mnemonic(), gpr(&i, 0), gpr(&i, 1)), (m, rd, rs), "{i}");
            };
            for w in [false, true] {
                both(one(|a| a.alu(Alu::Add, w, d, Rm::R(s))), Mnemonic::Add);
                both(one(|a| a.alu(Alu::Cmp, w, d, Rm::R(s))), Mnemonic::Cmp);
                both(one(|a| a.op(IMUL, w, d, Rm::R(s))), Mnemonic::Imul);
                both(one(|a| a.op(LZCNT, w, d, Rm::R(s))), Mnemonic::Lzcnt);
                both(one(|a| a.op8(MOVZX8, w, d, Rm::R(s))), Mnemonic::Movzx);
                both(one(|a| a.cmov(Cc::G, w, d, Rm::R(s))), Mnemonic::Cmovg);
                both(one(|a| a.rorx(w, d, Rm::R(s), 7)), Mnemonic::Rorx);
            }
            both(one(|a| a.op(MOVSXD, true, d, Rm::R(s))), Mnemonic::Movsxd);
            let i = one(|a| a.shift_x(Shift::Sar, true, d, Rm::R(s), 9));
            assert_eq!((i.mnemonic(), gpr(&i, 2)), (Mnemonic::Sarx, Register::R9));
            let i = one(|a| a.andn(true, d, s, Rm::R(11)));
            assert_eq!(
                (gpr(&i, 0), gpr(&i, 1), gpr(&i, 2)),
                (rd, rs, Register::R11)
            );
        }
        let rd = GPR64[usize::from(d)];
        let i = one(|a| a.bswap(true, d));
        assert_eq!((i.mnemonic(), gpr(&i, 0)), (Mnemonic::Bswap, rd));
        let i = one(|a| a.setcc(Cc::Be, d));
        assert_eq!((i.mnemonic(), gpr(&i, 0)), (Mnemonic::Setbe, rd));
        let i = one(|a| a.push(d));
        assert_eq!((i.mnemonic(), gpr(&i, 0)), (Mnemonic::Push, rd));
        let i = one(|a| a.test_imm(false, Rm::R(d), 7));
        assert_eq!(
            (i.mnemonic(), gpr(&i, 0), i.immediate(1)),
            (Mnemonic::Test, rd, 7)
        );
    }
}

#[test]
fn memory_forms() {
    for m in MEMS {
        for r in [RAX, RBX, RSI, 8, 12, 15] {
            let i = one(|a| a.load(true, r, m));
            assert_eq!(
                (i.code(), gpr(&i, 0)),
                (Code::Mov_r64_rm64, GPR64[usize::from(r)])
            );
            check_mem(&i, m);
            let i = one(|a| a.op8(MOV_STORE8, false, r, Rm::M(m)));
            assert_eq!(
                (i.code(), gpr(&i, 1)),
                (Code::Mov_rm8_r8, GPR64[usize::from(r)])
            );
            check_mem(&i, m);
            let i = one(|a| a.op(MOV_STORE16, false, r, Rm::M(m)));
            assert_eq!(i.code(), Code::Mov_rm16_r16);
            check_mem(&i, m);
            let i = one(|a| a.op(MOVBE_LOAD16, false, r, Rm::M(m)));
            assert_eq!(i.code(), Code::Movbe_r16_m16);
            check_mem(&i, m);
            let i = one(|a| a.vex(v::MOVSD_STORE, false, r, 0, Rm::M(m)));
            assert_eq!(
                (i.mnemonic(), xmm(&i, 1)),
                (Mnemonic::Vmovsd, usize::from(r))
            );
            check_mem(&i, m);
        }
        let i = one(|a| a.alu_imm(Alu::Cmp, false, Rm::M(m), 0));
        assert_eq!((i.code(), i.immediate(1)), (Code::Cmp_rm32_imm8, 0));
        check_mem(&i, m);
        let i = one(|a| a.store_imm(true, m, -5));
        assert_eq!(
            (i.code(), i.immediate(1) as i64),
            (Code::Mov_rm64_imm32, -5)
        );
        check_mem(&i, m);
        for size in 0..4 {
            let i = one(|a| a.store_const(size, m, 0x11));
            assert_eq!((i.mnemonic(), i.immediate(1)), (Mnemonic::Mov, 0x11));
            assert_eq!(i.memory_size().size(), 1 << size);
            check_mem(&i, m);
            let i = one(|a| a.op_sized(XADD, size, RSI, Rm::M(m)));
            assert_eq!((i.mnemonic(), gpr(&i, 1)), (Mnemonic::Xadd, Register::RSI));
            assert_eq!(i.memory_size().size(), 1 << size);
            let i = one(|a| a.op_sized(CMPXCHG, size, RDI, Rm::M(m)));
            assert_eq!(
                (i.mnemonic(), gpr(&i, 1)),
                (Mnemonic::Cmpxchg, Register::RDI)
            );
        }
    }
}

#[test]
fn runtime_operands_are_relative() {
    let i = one(|a| a.op(MOV_LOAD, true, RAX, Rm::M(Mem::runtime(0x40))));
    assert_eq!(i.memory_displacement64(), 0x20040);
    let i = one(|a| a.alu_imm(Alu::Add, true, Rm::M(Mem::runtime(0x40)), 1000));
    assert_eq!(i.memory_displacement64(), 0x20040);
    let i = one(|a| a.vex_imm(v::PCLMULQDQ, false, 9, 10, Rm::M(Mem::runtime(8)), 1));
    assert_eq!(i.memory_displacement64(), 0x20008);
    let i = one(|a| a.jcc_runtime(Cc::Np, 0x100));
    assert_eq!(
        (i.mnemonic(), i.near_branch_target()),
        (Mnemonic::Jnp, 0x20100)
    );
    let i = one(|a| a.call_runtime(0x100));
    assert_eq!(
        (i.mnemonic(), i.near_branch_target()),
        (Mnemonic::Call, 0x20100)
    );
}

#[test]
fn immediates_are_short() {
    let cases: [(u64, usize); 6] = [
        (0, 5),
        (0xffff_ffff, 5),
        (u64::MAX, 7),
        (0xffff_ffff_8000_0000, 7),
        (0x1_0000_0000, 10),
        (0x7fff_ffff_ffff_ffff, 10),
    ];
    for (value, len) in cases {
        let i = one(|a| a.mov_imm(RAX, value));
        assert_eq!(i.len(), len, "{value:#x}");
        let got = match i.op_kind(1) {
            OpKind::Immediate32 => u64::from(i.immediate32()),
            _ => i.immediate(1),
        };
        assert_eq!(got, value);
        one(|a| a.mov_imm(12, value));
    }
    assert_eq!(
        one(|a| a.alu_imm(Alu::And, true, Rm::R(RBX), -128)).len(),
        4
    );
    assert_eq!(
        one(|a| a.alu_imm(Alu::And, true, Rm::R(RAX), 4096)).len(),
        6
    );
    assert_eq!(
        one(|a| a.alu_imm(Alu::And, false, Rm::R(RBX), 4096)).len(),
        6
    );
    assert_eq!(
        one(|a| a.shift_imm(Shift::Sar, true, RDI, 63)).immediate(1),
        63
    );
}

#[test]
fn vector_forms() {
    for d in [0_u8, 7, 8, 15] {
        for s in [0_u8, 7, 8, 15] {
            for t in [0_u8, 7, 8, 15] {
                let i = one(|a| a.vex(Vex::new(1, 3, 0x58), false, d, s, Rm::R(t)));
                assert_eq!(i.mnemonic(), Mnemonic::Vaddsd);
                let regs = (xmm(&i, 0), xmm(&i, 1), xmm(&i, 2));
                assert_eq!(regs, (usize::from(d), usize::from(s), usize::from(t)));
                let i = one(|a| a.vex(Vex::new(2, 1, 0xb9), true, d, s, Rm::R(t)));
                assert_eq!(i.mnemonic(), Mnemonic::Vfmadd231sd);
                let i = one(|a| a.vex(Vex::new(2, 1, 0xbf), false, d, s, Rm::R(t)));
                assert_eq!(i.mnemonic(), Mnemonic::Vfnmsub231ss);
            }
            let i = one(|a| a.vex(v::MOV_TO_INT, true, d, 0, Rm::R(s)));
            assert_eq!(i.mnemonic(), Mnemonic::Vmovq);
            assert_eq!(
                (gpr(&i, 0), xmm(&i, 1)),
                (GPR64[usize::from(s)], usize::from(d))
            );
            let i = one(|a| a.vex_imm(v::PEXTRD, false, d, 0, Rm::R(s), 1));
            assert_eq!(
                (i.mnemonic(), xmm(&i, 1)),
                (Mnemonic::Vpextrd, usize::from(d))
            );
            let i = one(|a| a.vex(Vex::new(1, 2, 0x2d), true, d, 0, Rm::R(s)));
            assert_eq!(
                (i.mnemonic(), xmm(&i, 1)),
                (Mnemonic::Vcvtss2si, usize::from(s))
            );
        }
    }
}

#[test]
fn padding_keeps_displacements_in_a_word() {
    for start in 0..16 {
        let mut asm = Asm::default();
        asm.start(0x10000, 0);
        for _ in 0..start {
            asm.byte(0x90);
        }
        let compare = asm.pos();
        asm.alu(Alu::Cmp, true, RBX, Rm::R(RSI));
        asm.align_rel32(compare, 2);
        let fix = asm.jcc(Cc::L);
        assert!(fix.0 % 8 <= 4);
        let code = &asm.bytes()[start..];
        let mnemonics: Vec<Mnemonic> = Decoder::with_ip(64, code, 0, DecoderOptions::NONE)
            .iter()
            .map(|i| i.mnemonic())
            .filter(|&m| m != Mnemonic::Nop)
            .collect();
        assert_eq!(mnemonics, [Mnemonic::Cmp, Mnemonic::Jl]);
    }
    for (n, &bytes) in NOPS.iter().enumerate().skip(1) {
        assert_eq!(one(|a| a.put(bytes, n)).mnemonic(), Mnemonic::Nop);
    }
}
