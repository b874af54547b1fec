//! Every instruction, with many operands and in every mode, becomes a block that keeps the IR's
//! rules; every other word becomes an illegal-instruction trap.

use isomorph_frontend::{Guest, Step};
use isomorph_ir::{Builder, JumpKind, Op as IrOp, OpFlags, verify};
use isomorph_riscv::decode::{self, Op};
use isomorph_riscv::{CpuModel, Riscv64};

/// A small generator of test words (xorshift64*).
struct Words(u64);

impl Words {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// Translates the instruction in `bits` alone, ends the block and verifies it.
fn translate(guest: &Riscv64, b: &mut Builder, bits: u32, mode: u32) -> Step {
    const PC: u64 = 0x1_0000;
    b.start(PC, mode);
    b.insn_start(PC);
    let step = guest.translate(b, PC, &bits.to_le_bytes(), mode);
    match step {
        Step::Next { len } => {
            assert!(!b.ended(), "{bits:#x}");
            b.exit(PC + u64::from(len));
        }
        Step::End { .. } => assert!(b.ended(), "{bits:#x}"),
        Step::Short { .. } => panic!("{bits:#x} is whole"),
    }
    if let Err(error) = verify(b.block(), b.table()) {
        let mut text = String::new();
        guest.disassemble(PC, &bits.to_le_bytes(), &mut text);
        panic!("{text}: {error}: {:#?}", b.block().insts);
    }
    step
}

#[test]
fn every_instruction_makes_a_valid_block() {
    let guest = Riscv64::default();
    let mut b = Builder::new(Riscv64::globals());
    let mut words = Words(1);
    for op in Op::ALL {
        let info = op.info();
        let fills = [0, u32::MAX];
        for round in 0..200 {
            let fill = fills.get(round).copied().unwrap_or_else(|| words.next());
            let bits = fill & !info.mask | info.value;
            for mode in 0..3 {
                translate(&guest, &mut b, bits, mode);
            }
        }
    }
}

#[test]
fn decoding_is_total() {
    let guest = Riscv64::default();
    let mut b = Builder::new(Riscv64::globals());
    for bits in 0..=0xffff {
        if bits & 3 != 3 {
            translate(&guest, &mut b, bits, 0);
        }
    }
    let mut words = Words(2);
    for _ in 0..100_000 {
        translate(&guest, &mut b, words.next() | 3, 0);
    }
}

#[test]
fn tree_agrees_with_a_search_of_the_table() {
    let matches = |bits: u32, width: u32| {
        let fits = |op: &&Op| {
            let info = op.info();
            (op.info().semantic != op.info().name || width == 32 || info.mask >> 16 == 0)
                && bits & info.mask == info.value
        };
        Op::ALL.iter().filter(fits).copied().collect::<Vec<_>>()
    };
    let mut words = Words(3);
    for op in Op::ALL.iter().filter(|op| op.info().value & 3 == 3) {
        for _ in 0..200 {
            let info = op.info();
            let bits = words.next() & !info.mask | info.value;
            match decode::decode_w32(bits) {
                Some(found) => assert!(matches(bits, 32).contains(&found), "{bits:#x}"),
                // Only words that an exclusion takes out of the pattern.
                None => assert!(info.mask & 0x7000 == 0, "{bits:#x} {}", info.name),
            }
        }
    }
}

#[test]
fn common_code_needs_about_one_operation_an_instruction() {
    let guest = Riscv64::default();
    let mut b = Builder::new(Riscv64::globals());
    // add, addi, ld, sd, slli, lui, c.mv, c.addi, c.ldsp, beq: one operation each.
    let plain = [
        0x00b5_0533,
        0x0105_0513,
        0x0085_3503,
        0x00a5_b423,
        0x0035_1513,
        0x0000_1537,
        0x852e,
        0x0505,
        0x6522,
        0x00b5_0463,
    ];
    for bits in plain {
        translate(&guest, &mut b, bits, 0);
        let live = b.block().insts.iter().filter(|i| {
            !matches!(i.op, IrOp::Nop | IrOp::InsnStart) && !i.op.info().flags.has(OpFlags::END)
        });
        assert_eq!(live.count(), 1, "{bits:#x}: {:#?}", b.block().insts);
    }
}

#[test]
fn a_cpu_without_the_extension_traps() {
    let guest = Riscv64::new(CpuModel::parse("rv64i").expect("a model"));
    let mut b = Builder::new(Riscv64::globals());
    for op in Op::ALL {
        let info = op.info();
        let step = translate(&guest, &mut b, info.value | 0x0010_8000 & !info.mask, 0);
        if info.exts & !1 != 0 {
            assert!(matches!(step, Step::End { .. }), "{}", info.name);
        }
    }
}

/// The last operation that the instructions leave, and the constant it goes to.
fn left(words: &[u32]) -> (IrOp, u64, u8) {
    const PC: u64 = 0x1_0000;
    let guest = Riscv64::default();
    let mut b = Builder::new(Riscv64::globals());
    b.start(PC, 0);
    let mut pc = PC;
    for bits in words {
        b.insn_start(pc);
        match guest.translate(&mut b, pc, &bits.to_le_bytes(), 0) {
            Step::Next { len } | Step::End { len } => pc += u64::from(len),
            Step::Short { .. } => panic!("{bits:#x} is whole"),
        }
    }
    let last = *b.block().insts.last().expect("an operation");
    (last.op, last.pc(), last.aux)
}

/// `jalr rd, 0(rs1)`.
fn jalr(rd: u32, rs1: u32) -> u32 {
    rs1 << 15 | rd << 7 | 0x67
}

#[test]
fn jumps_follow_the_return_address_stack_hints() {
    let jump = JumpKind::Jump as u8;
    let ret = JumpKind::Ret as u8;
    assert_eq!(left(&[jalr(0, 10)]), (IrOp::Jump, 0, jump));
    assert_eq!(left(&[jalr(0, 1)]), (IrOp::Jump, 0, ret));
    assert_eq!(left(&[jalr(0, 5)]), (IrOp::Jump, 0, ret));
    assert_eq!(left(&[jalr(10, 5)]), (IrOp::Jump, 0, ret));
    assert_eq!(left(&[jalr(1, 10)]).0, IrOp::CallInd);
    assert_eq!(left(&[jalr(5, 10)]).0, IrOp::CallInd);
    assert_eq!(left(&[jalr(1, 1)]).0, IrOp::CallInd);
    assert_eq!(left(&[jalr(1, 5)]).0, IrOp::CallInd);
    assert_eq!(left(&[0x8082]), (IrOp::Jump, 0, ret));
}

#[test]
fn known_targets_become_direct() {
    // auipc ra, 1; jalr ra, 16(ra)
    assert_eq!(left(&[0x0000_1097, 0x0100_80e7]), (IrOp::Call, 0x1_1010, 0));
    // auipc t1, 1; jalr zero, 16(t1)
    assert_eq!(left(&[0x0000_1317, 0x0103_0067]), (IrOp::Exit, 0x1_1010, 0));
    // jal ra, +0x800; jal zero, +0x800
    assert_eq!(left(&[0x0010_00ef]), (IrOp::Call, 0x1_0800, 0));
    assert_eq!(left(&[0x0010_006f]), (IrOp::Exit, 0x1_0800, 0));
}

#[test]
fn rounding_mode_writes_leave_only_for_another_mode() {
    // fsrmi 1: known and of the same mode.
    assert_eq!(left(&[0x0020_d073]).0, IrOp::SetRound);
    // fsrmi 4: known and of another mode.
    assert_eq!(left(&[0x0022_5073]).0, IrOp::Trap);
    // fsrm a0: found out when it runs.
    assert_eq!(left(&[0x0025_1073]).0, IrOp::TrapIf);
}
