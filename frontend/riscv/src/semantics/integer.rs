//! RV64I and M.

use isomorph_ir::{Cond, Dst, JumpKind, MemOp, Op, TrapKind, Type, Val};

use crate::decode::{ArgsI, ArgsPrefetch, ArgsR, ArgsS, ArgsU, Integer, ext};
use crate::state;
use crate::translate::Translator;

const I64: Type = Type::I64;
const I32: Type = Type::I32;

/// x1 and x5 are link registers (section "Unconditional Jumps", return-address-stack hints).
const fn is_link(register: u8) -> bool {
    register == 1 || register == 5
}

/// `d = a op b` on 64 bits.
macro_rules! binary {
    ($($f:ident $op:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsR) {
            self.binary(Op::$op, a);
        }
    )+};
}

/// `d = sign-extended (a op b)` on 32 bits.
macro_rules! binary_w {
    ($($f:ident $op:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsR) {
            self.binary_w(Op::$op, a);
        }
    )+};
}

macro_rules! immediate {
    ($($f:ident $op:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsI) {
            self.immediate(Op::$op, a);
        }
    )+};
}

macro_rules! immediate_w {
    ($($f:ident $op:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsI) {
            self.immediate_w(Op::$op, a);
        }
    )+};
}

macro_rules! loads {
    ($($f:ident $mem:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsI) {
            let (d, base) = (self.xd(a.rd), self.x(a.rs1));
            self.b.load(I64, MemOp::$mem, d, base, a.imm);
        }
    )+};
}

macro_rules! stores {
    ($($f:ident $mem:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsS) {
            let (value, base) = (self.x(a.rs2), self.x(a.rs1));
            self.b.store(I64, MemOp::$mem, value, base, a.imm);
        }
    )+};
}

macro_rules! branches {
    ($($f:ident $cond:ident;)+) => {$(
        fn $f(&mut self, a: &ArgsS) {
            self.branch(Cond::$cond, a);
        }
    )+};
}

impl Translator<'_> {
    pub(super) fn binary(&mut self, op: Op, a: &ArgsR) {
        let (d, mut x, mut y) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        if a.rs1 == 0 && matches!(op, Op::Add | Op::Or | Op::Xor | Op::And) {
            (x, y) = (y, x);
        }
        self.b.binary(op, I64, d, x, y);
    }

    pub(super) fn binary_w(&mut self, op: Op, a: &ArgsR) {
        if a.rd == 0 {
            return;
        }
        let (x, y) = (self.x(a.rs1), self.x(a.rs2));
        let value = self.b.binary(op, I32, Dst::Temp, x, y);
        self.set_w(a.rd, value);
    }

    pub(super) fn immediate(&mut self, op: Op, a: &ArgsI) {
        let (d, x, y) = (self.xd(a.rd), self.x(a.rs1), self.imm(a.imm));
        self.b.binary(op, I64, d, x, y);
    }

    /// As [`Self::binary_w`]; with 0 as immediate all of them are a plain sign extension.
    pub(super) fn immediate_w(&mut self, op: Op, a: &ArgsI) {
        let x = self.x(a.rs1);
        if a.imm == 0 || a.rd == 0 {
            return self.set_w(a.rd, x);
        }
        let y = self.imm(a.imm);
        let value = self.b.binary(op, I32, Dst::Temp, x, y);
        self.set_w(a.rd, value);
    }

    fn set_less(&mut self, cond: Cond, rd: u8, x: Val, y: Val) {
        let d = self.xd(rd);
        let constant_left = x.as_const().is_some() && y.as_const().is_none();
        let (cond, x, y) = if constant_left {
            (cond.swap(), y, x)
        } else {
            (cond, x, y)
        };
        self.b.setcond(I64, cond, d, x, y);
    }

    fn branch(&mut self, cond: Cond, a: &ArgsS) {
        let (x, y) = (self.x(a.rs1), self.x(a.rs2));
        let (cond, x, y) = if a.rs1 == 0 {
            (cond.swap(), y, x)
        } else {
            (cond, x, y)
        };
        let target = self.pc.wrapping_add(a.imm as u64);
        if self.target_is_misaligned(target) {
            let info = self.b.c(target);
            return self
                .b
                .trap_if(cond, x, y, TrapKind::Misaligned, self.pc, info);
        }
        self.b.exit_if(I64, cond, x, y, target);
    }

    /// Without C, instructions are aligned to 4 bytes and a taken jump elsewhere is an exception.
    fn target_is_misaligned(&self, target: u64) -> bool {
        target & 2 != 0 && !self.features.has(ext::C)
    }

    fn link(&mut self, rd: u8) {
        if rd != 0 {
            let next = self.next();
            self.b.constant(I64, Dst::To(state::x(rd)), next);
        }
    }

    /// rs1 + imm with the lowest bit cleared.
    fn jalr_target(&mut self, a: &ArgsI) -> Val {
        let (base, imm, mask) = (self.x(a.rs1), self.imm(a.imm), self.imm(-2));
        let sum = self.b.add(I64, Dst::Temp, base, imm);
        let target = self.b.binary(Op::And, I64, Dst::Temp, sum, mask);
        if !self.features.has(ext::C) {
            let two = self.imm(2);
            self.b.trap_if(
                Cond::TestNe,
                target,
                two,
                TrapKind::Misaligned,
                self.pc,
                target,
            );
        }
        target
    }
}

impl Integer for Translator<'_> {
    fn lui(&mut self, a: &ArgsU) {
        let d = self.xd(a.rd);
        self.b.constant(I64, d, a.imm as u64);
    }

    fn auipc(&mut self, a: &ArgsU) {
        let d = self.xd(a.rd);
        self.b.constant(I64, d, self.pc.wrapping_add(a.imm as u64));
    }

    fn jal(&mut self, a: &ArgsU) {
        let target = self.pc.wrapping_add(a.imm as u64);
        if self.target_is_misaligned(target) {
            let info = self.b.c(target);
            return self.b.trap(TrapKind::Misaligned, self.pc, info);
        }
        self.link(a.rd);
        if is_link(a.rd) {
            self.b.call(target, self.next());
        } else {
            self.b.exit(target);
        }
    }

    /// Calls and returns follow the manual's table of return-address-stack hints; "pop, then push"
    /// counts as a call.
    fn jalr(&mut self, a: &ArgsI) {
        let target = self.jalr_target(a);
        self.link(a.rd);
        if is_link(a.rd) {
            self.b.call_indirect(target, self.next());
        } else if is_link(a.rs1) {
            self.b.jump(JumpKind::Ret, target);
        } else {
            self.b.jump(JumpKind::Jump, target);
        }
    }

    branches! {
        beq Eq;
        bne Ne;
        blt LtS;
        bge GeS;
        bltu LtU;
        bgeu GeU;
    }

    loads! {
        lb S8;
        lh S16;
        lw S32;
        ld U64;
        lbu U8;
        lhu U16;
        lwu U32;
    }

    stores! {
        sb U8;
        sh U16;
        sw U32;
        sd U64;
    }

    fn prefetch_i(&mut self, _: &ArgsPrefetch) {}

    fn prefetch_r(&mut self, _: &ArgsPrefetch) {}

    fn prefetch_w(&mut self, _: &ArgsPrefetch) {}

    immediate! {
        addi Add;
        xori Xor;
        ori Or;
        andi And;
        slli Shl;
        srli Shr;
        srai Sar;
    }

    fn slti(&mut self, a: &ArgsI) {
        let (x, y) = (self.x(a.rs1), self.imm(a.imm));
        self.set_less(Cond::LtS, a.rd, x, y);
    }

    fn sltiu(&mut self, a: &ArgsI) {
        let (x, y) = (self.x(a.rs1), self.imm(a.imm));
        self.set_less(Cond::LtU, a.rd, x, y);
    }

    immediate_w! {
        addiw Add;
        slliw Shl;
        srliw Shr;
        sraiw Sar;
    }

    binary! {
        add Add;
        sub Sub;
        sll Shl;
        xor Xor;
        srl Shr;
        sra Sar;
        or Or;
        and And;
        mul Mul;
        mulh MulHiS;
        mulhsu MulHiSU;
        mulhu MulHiU;
        div DivS;
        divu DivU;
        rem RemS;
        remu RemU;
    }

    fn slt(&mut self, a: &ArgsR) {
        let (x, y) = (self.x(a.rs1), self.x(a.rs2));
        self.set_less(Cond::LtS, a.rd, x, y);
    }

    fn sltu(&mut self, a: &ArgsR) {
        let (x, y) = (self.x(a.rs1), self.x(a.rs2));
        self.set_less(Cond::LtU, a.rd, x, y);
    }

    binary_w! {
        addw Add;
        subw Sub;
        sllw Shl;
        srlw Shr;
        sraw Sar;
        mulw Mul;
        divw DivS;
        divuw DivU;
        remw RemS;
        remuw RemU;
    }
}
