//! Random blocks over the test guest.

use super::{FLOATS, INTS, Random, f, x};
use isomorph_ir::{
    AtomicOp, Builder, Cond, Dst, JumpKind, MemOp, Op, Order, Rm, TrapKind, Type, Val,
};

/// Bytes of the memory that blocks access.
pub const BUFFER: usize = 256;

const WORDS: [u64; 16] = [
    0,
    1,
    2,
    31,
    63,
    0x7f,
    0x80,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
    0xffff_ffff_8000_0000,
];

const DOUBLES: [u64; 22] = [
    0,
    0x8000_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7ff4_0000_0000_0000,
    0xfff8_0000_0000_1234,
    1,
    0x8000_0000_0000_0001,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x41df_ffff_ffc0_0000,
    0x41ef_ffff_ffe0_0000,
    0x41f0_0000_0000_0000,
    0xc1e0_0000_0000_0000,
    0x43e0_0000_0000_0000,
    0xc3e0_0000_0020_0000,
];

const SINGLES: [u32; 18] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0x4020_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7fa0_0000,
    0xffc0_1234,
    1,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0x4f00_0000,
    0x4f80_0000,
    0xcf00_0001,
];

/// A word of any size.
pub fn word(r: &mut Random) -> u64 {
    match r.below(3) {
        0 => r.pick(&WORDS),
        1 => r.next() >> r.below(64),
        _ => (r.next() as i64 >> r.below(64)) as u64,
    }
}

/// A number, or a boxed single.
pub fn double(r: &mut Random) -> u64 {
    let boxed = |x: u32| 0xffff_ffff_0000_0000 | u64::from(x);
    match r.below(6) {
        0 => r.pick(&DOUBLES),
        1 => boxed(r.pick(&SINGLES)),
        2 => boxed(r.next() as u32),
        3 => (r.below(2000) as f64 / 8.0 - 100.0).to_bits(),
        4 => boxed((r.below(2000) as f32 / 8.0 - 100.0).to_bits()),
        _ => r.next(),
    }
}

/// Builds one random block.
pub struct Gen<'a> {
    pub r: &'a mut Random,
    pub b: &'a mut Builder,
    /// Temporaries that may be read, by type.
    pub i32s: Vec<Val>,
    pub i64s: Vec<Val>,
    pub f32s: Vec<Val>,
    pub pc: u64,
}

impl Gen<'_> {
    pub fn int(&mut self) -> Val {
        match self.r.below(8) {
            0 => {
                let c = word(self.r);
                self.b.c(c)
            }
            1 if !self.i64s.is_empty() => self.r.pick(&self.i64s),
            _ => x(self.r.below(INTS)),
        }
    }

    fn word32(&mut self) -> Val {
        if !self.i32s.is_empty() && self.r.below(2) == 0 {
            return self.r.pick(&self.i32s);
        }
        self.int()
    }

    fn operand(&mut self, ty: Type) -> Val {
        if ty == Type::I32 {
            self.word32()
        } else {
            self.int()
        }
    }

    fn int_dst(&mut self) -> Dst {
        if self.r.below(5) == 0 {
            Dst::Temp
        } else {
            Dst::To(x(self.r.below(INTS)))
        }
    }

    fn keep64(&mut self, d: Dst, v: Val) {
        if d == Dst::Temp && v.as_temp().is_some() {
            self.i64s.push(v);
        }
    }

    fn keep32(&mut self, v: Val) {
        if v.as_temp().is_some() {
            self.i32s.push(v);
        }
        if self.r.below(2) == 0 {
            let d = x(self.r.below(INTS));
            let op = if self.r.below(2) == 0 {
                Op::Sext
            } else {
                Op::Zext
            };
            self.b.unary(op, Type::I64, Type::I32 as u8, Dst::To(d), v);
        }
    }

    fn float(&mut self) -> Val {
        f(self.r.below(FLOATS))
    }

    fn single(&mut self) -> Val {
        if !self.f32s.is_empty() && self.r.below(4) == 0 {
            return self.r.pick(&self.f32s);
        }
        let whole = self.float();
        self.b.unary(Op::Unbox, Type::F32, 0, Dst::Temp, whole)
    }

    fn fp_operand(&mut self, ty: Type) -> Val {
        if ty == Type::F32 {
            self.single()
        } else {
            self.float()
        }
    }

    fn fp_dst(&mut self, ty: Type) -> Dst {
        if ty == Type::F32 {
            Dst::Temp
        } else {
            Dst::To(f(self.r.below(FLOATS)))
        }
    }

    fn keep_fp(&mut self, ty: Type, v: Val) {
        if ty != Type::F32 {
            return;
        }
        if self.r.below(8) == 0 {
            self.f32s.push(v);
        }
        if self.r.below(8) != 0 {
            let d = f(self.r.below(FLOATS));
            self.b.unary(Op::NanBox, Type::F64, 0, Dst::To(d), v);
        }
    }

    fn rm(&mut self) -> Rm {
        match self.r.below(3) {
            0 => self.r.pick(Rm::ALL),
            _ => Rm::Dyn,
        }
    }

    fn int_type(&mut self) -> Type {
        self.r.pick(&[Type::I64, Type::I64, Type::I32])
    }

    fn binary_int(&mut self) {
        const OPS: [Op; 24] = [
            Op::Add,
            Op::Sub,
            Op::Mul,
            Op::And,
            Op::Or,
            Op::Xor,
            Op::Andc,
            Op::Shl,
            Op::Shr,
            Op::Sar,
            Op::Rotl,
            Op::Rotr,
            Op::MulHiS,
            Op::MulHiU,
            Op::MulHiSU,
            Op::DivS,
            Op::DivU,
            Op::RemS,
            Op::RemU,
            Op::Add,
            Op::Sub,
            Op::And,
            Op::Clmul,
            Op::ClmulHi,
        ];
        let op = self.r.pick(&OPS);
        let clmul = matches!(op, Op::Clmul | Op::ClmulHi);
        let ty = if clmul { Type::I64 } else { self.int_type() };
        let (a, b) = (self.operand(ty), self.operand(ty));
        if ty == Type::I32 {
            let v = self.b.binary(op, ty, Dst::Temp, a, b);
            return self.keep32(v);
        }
        let d = self.int_dst();
        let v = self.b.binary(op, ty, d, a, b);
        self.keep64(d, v);
    }

    fn divide_wide(&mut self) {
        let op = self.r.pick(&[Op::DivWideS, Op::DivWideU]);
        let ty = self.int_type();
        let (lo, by) = (self.operand(ty), self.operand(ty));
        let hi = match self.r.below(3) {
            0 => self.b.c(0),
            1 => self.b.c(u64::MAX),
            _ => self.operand(ty),
        };
        let (q, r) = self.b.div_wide(op, ty, lo, hi, by);
        let (x, y) = (x(self.r.below(INTS)), x(self.r.below(INTS)));
        for (v, d) in [(q, x), (r, y)] {
            self.b.unary(Op::Sext, Type::I64, ty as u8, Dst::To(d), v);
        }
    }

    fn unary_int(&mut self) {
        let op = self
            .r
            .pick(&[Op::Bswap, Op::Clz, Op::Ctz, Op::Popcnt, Op::Sext, Op::Zext]);
        if matches!(op, Op::Sext | Op::Zext) {
            let from = self.r.pick(&[Type::I8, Type::I16, Type::I32]);
            let a = self.operand(from);
            let d = self.int_dst();
            let v = self.b.unary(op, Type::I64, from as u8, d, a);
            return self.keep64(d, v);
        }
        let ty = self.int_type();
        let a = self.operand(ty);
        if ty == Type::I32 {
            let v = self.b.unary(op, ty, 0, Dst::Temp, a);
            return self.keep32(v);
        }
        let d = self.int_dst();
        let v = self.b.unary(op, ty, 0, d, a);
        self.keep64(d, v);
    }

    fn compare(&mut self) {
        let ty = self
            .r
            .pick(&[Type::I64, Type::I64, Type::I32, Type::I8, Type::I16]);
        let cond = self.r.pick(Cond::ALL);
        let (a, b) = (self.operand(ty), self.operand(ty));
        if self.r.below(2) == 0 || ty.bits() < 32 {
            let d = self.int_dst();
            let v = self.b.setcond(ty, cond, d, a, b);
            return self.keep64(d, v);
        }
        let (c, e) = (self.operand(ty), self.operand(ty));
        if ty == Type::I32 {
            let v = self.b.select(ty, cond, Dst::Temp, (a, b), c, e);
            return self.keep32(v);
        }
        let d = self.int_dst();
        let v = self.b.select(ty, cond, d, (a, b), c, e);
        self.keep64(d, v);
    }

    /// Accesses off one base, until it is overwritten.
    fn memory(&mut self, buffer: u64) {
        let base = self.r.pick(&[x(0), x(0), x(INTS - 1)]);
        self.b.constant(Type::I64, Dst::To(base), buffer);
        for _ in 0..self.r.below(4) + 1 {
            if self.access(base) {
                break;
            }
            if self.r.below(3) == 0 {
                self.b.insn_start(self.pc);
                self.pc += 4;
            }
        }
    }

    /// One access; true if it overwrites the base.
    fn access(&mut self, base: Val) -> bool {
        let offset = self.r.below(BUFFER / 8 - 2) as u64 * 8;
        let flags = [0, 8, 16, 24];
        let mem =
            MemOp(self.r.below(4) as u8 | self.r.pick(&flags)).with_order(self.r.pick(Order::ALL));
        let disp = offset as i64 + self.r.below(8) as i64;
        match self.r.below(6) {
            0 => {
                let d = self.int_dst();
                let v = self.b.load(Type::I64, mem, d, base, disp);
                self.keep64(d, v);
                return d == Dst::To(base);
            }
            1 => {
                let v = self.int();
                self.b.store(Type::I64, mem, v, base, disp);
            }
            2 => {
                let v = self.b.load(Type::F32, MemOp::U32, Dst::Temp, base, disp);
                self.keep_fp(Type::F32, v);
            }
            3 => {
                let d = self.fp_dst(Type::F64);
                self.b.load(Type::F64, MemOp::U64, d, base, disp);
            }
            4 => {
                let v = self.float();
                let bits = self
                    .b
                    .unary(Op::Bitcast, Type::I64, Type::F64 as u8, Dst::Temp, v);
                let size = self.r.pick(&[MemOp::U32, MemOp::U64]);
                self.b.store(Type::I64, size, bits, base, disp);
            }
            _ => {
                let v = self.float();
                self.b.store(Type::F64, MemOp::U64, v, base, disp);
            }
        }
        false
    }

    fn atomic(&mut self, buffer: u64) {
        let base = x(1);
        let pair = self.r.below(6) == 0;
        let scale = if pair { 16 } else { 8 };
        let at = buffer + (self.r.below(BUFFER / 16) * scale) as u64;
        self.b.constant(Type::I64, Dst::To(base), at);
        if pair {
            let (lo, hi) = (self.b.temp(Type::I64), self.b.temp(Type::I64));
            let (lo, hi) = if self.r.below(2) == 0 {
                let lo = self.b.load(Type::I64, MemOp::U64, Dst::To(lo), base, 0);
                (lo, self.b.load(Type::I64, MemOp::U64, Dst::To(hi), base, 8))
            } else {
                (self.int(), self.int())
            };
            let new = (self.int(), self.int());
            let (a, b) = self
                .b
                .cas_pair(MemOp::V128.with_alignment(), base, (lo, hi), new);
            self.b.mov(Type::I64, Dst::To(x(2)), a);
            self.b.mov(Type::I64, Dst::To(x(12)), b);
            return;
        }
        let mem = self.r.pick(&[
            MemOp::U32,
            MemOp::S32,
            MemOp::U64,
            MemOp::U64,
            MemOp::U8,
            MemOp::S16,
        ]);
        let mem = mem.with_alignment();
        let value = self.int();
        let d = self.int_dst();
        let v = match self.r.below(4) {
            0 => {
                let expected = self.int();
                self.b.cas(Type::I64, mem, d, base, expected, value)
            }
            1 if mem.bytes() >= 4 => {
                let d2 = x(self.r.below(INTS));
                let v = self.b.load_reserved(Type::I64, mem, Dst::To(d2), base);
                let mut at = base;
                if d2 == base || self.r.below(8) == 0 {
                    at = x(3);
                    self.b.constant(Type::I64, Dst::To(at), buffer);
                }
                let _ = v;
                self.b.store_cond(Type::I64, mem, d, at, value)
            }
            _ => {
                let op = self.r.pick(AtomicOp::ALL);
                let d = if self.r.below(4) == 0 {
                    Dst::Discard
                } else {
                    d
                };
                self.b.rmw(op, Type::I64, mem, d, base, value)
            }
        };
        if d == Dst::Temp && v.as_temp().is_some() {
            self.i64s.push(v);
        }
    }

    fn fp(&mut self) {
        let ty = self.r.pick(&[Type::F32, Type::F64]);
        let rm = self.rm();
        match self.r.below(10) {
            0..3 => {
                let op = self.r.pick(&[Op::FAdd, Op::FSub, Op::FMul, Op::FDiv]);
                let (d, a, b) = (self.fp_dst(ty), self.fp_operand(ty), self.fp_operand(ty));
                let v = self.b.fp2(op, ty, rm, d, a, b);
                self.keep_fp(ty, v);
            }
            3 => {
                let op = self.r.pick(&[Op::FMadd, Op::FMsub, Op::FNmadd, Op::FNmsub]);
                let d = self.fp_dst(ty);
                let ops = (
                    self.fp_operand(ty),
                    self.fp_operand(ty),
                    self.fp_operand(ty),
                );
                let v = self.b.fma(op, ty, rm, d, ops);
                self.keep_fp(ty, v);
            }
            4 => {
                let op = self.r.pick(&[Op::FSqrt, Op::FRound, Op::FRoundX]);
                let (d, a) = (self.fp_dst(ty), self.fp_operand(ty));
                let v = self.b.fp1(op, ty, rm, d, a);
                self.keep_fp(ty, v);
            }
            5 => {
                let op = self.r.pick(&[Op::FMin, Op::FMax, Op::FMinNum, Op::FMaxNum]);
                let (d, a, b) = (self.fp_dst(ty), self.fp_operand(ty), self.fp_operand(ty));
                let v = self.b.fp2(op, ty, Rm::Rne, d, a, b);
                self.keep_fp(ty, v);
            }
            6 => {
                let op = self
                    .r
                    .pick(&[Op::FCopySign, Op::FCopySignNot, Op::FXorSign]);
                let (d, a) = (self.fp_dst(ty), self.fp_operand(ty));
                let b = if self.r.below(2) == 0 {
                    a
                } else {
                    self.fp_operand(ty)
                };
                let v = self.b.binary(op, ty, d, a, b);
                self.keep_fp(ty, v);
            }
            7 => self.fp_to_int(ty, rm),
            8 => self.fp_from_int(ty, rm),
            _ => self.fp_rest(ty, rm),
        }
    }

    fn fp_to_int(&mut self, ty: Type, rm: Rm) {
        const TESTS: [Op; 5] = [Op::FCmpEq, Op::FCmpLt, Op::FCmpLe, Op::FCmpLtQ, Op::FCmpLeQ];
        match self.r.below(4) {
            0 => {
                let op = self.r.pick(&[Op::FToI32S, Op::FToI32U]);
                let a = self.fp_operand(ty);
                let v = self.b.fp1(op, ty, rm, Dst::Temp, a);
                self.keep32(v);
            }
            1 => {
                let op = self.r.pick(&[Op::FToI64S, Op::FToI64U]);
                let (d, a) = (self.int_dst(), self.fp_operand(ty));
                let v = self.b.fp1(op, ty, rm, d, a);
                self.keep64(d, v);
            }
            2 => {
                let op = self.r.pick(&TESTS);
                let (d, a, b) = (self.int_dst(), self.fp_operand(ty), self.fp_operand(ty));
                let v = self.b.fp2(op, ty, Rm::Rne, d, a, b);
                self.keep64(d, v);
            }
            _ => {
                let (d, a) = (self.int_dst(), self.fp_operand(ty));
                let v = self.b.unary(Op::FClass, ty, 0, d, a);
                self.keep64(d, v);
            }
        }
    }

    fn fp_from_int(&mut self, ty: Type, rm: Rm) {
        let op = self
            .r
            .pick(&[Op::FFromI32S, Op::FFromI32U, Op::FFromI64S, Op::FFromI64U]);
        let (d, a) = (self.fp_dst(ty), self.int());
        let v = self.b.fp1(op, ty, rm, d, a);
        self.keep_fp(ty, v);
    }

    fn fp_rest(&mut self, ty: Type, rm: Rm) {
        match self.r.below(7) {
            0 => {
                let a = self.float();
                let v = self.b.fp1(Op::FNarrow, Type::F32, rm, Dst::Temp, a);
                self.keep_fp(Type::F32, v);
            }
            1 => {
                let (d, a) = (self.fp_dst(Type::F64), self.single());
                self.b.fp1(Op::FWiden, Type::F64, Rm::Rne, d, a);
            }
            2 => {
                let d = self.int_dst();
                let v = self.b.get_flags(d);
                self.keep64(d, v);
            }
            3 => {
                let op = self.r.pick(&[Op::SetFlags, Op::OrFlags, Op::SetRound]);
                let a = self.int();
                self.b.set_fp(op, a);
            }
            4 => {
                let (a, d) = (self.int(), self.fp_dst(Type::F64));
                self.b.unary(Op::Bitcast, Type::F64, Type::I64 as u8, d, a);
            }
            5 => {
                let a = self.int();
                let v = self
                    .b
                    .unary(Op::Bitcast, Type::F32, Type::I32 as u8, Dst::Temp, a);
                self.keep_fp(Type::F32, v);
            }
            _ => {
                let a = self.fp_operand(ty);
                let d = self.fp_dst(ty);
                let v = self.b.mov(ty, d, a);
                self.keep_fp(ty, v);
            }
        }
    }

    fn exit(&mut self) {
        let (a, b) = (self.int(), self.int());
        let cond = self.r.pick(Cond::ALL);
        let ty = self.r.pick(&[Type::I64, Type::I32, Type::I8]);
        if self.r.below(2) == 0 {
            self.b.exit_if(ty, cond, a, b, 0x9000 + self.pc);
        } else {
            let info = self.int();
            self.b
                .trap_if(cond, a, b, TrapKind::Breakpoint, self.pc, info);
        }
    }

    pub fn insn(&mut self, buffer: u64, kinds: usize) {
        self.b.insn_start(self.pc);
        // Temporaries that were built but are not read are fine; few survive for long.
        if self.r.below(3) == 0 {
            self.i32s.clear();
            self.i64s.clear();
            self.f32s.clear();
        }
        match self.r.below(kinds) {
            0..=3 => self.binary_int(),
            4 if self.r.below(4) == 0 => self.divide_wide(),
            4 => self.unary_int(),
            5 => self.compare(),
            6..=7 => self.memory(buffer),
            8 => self.atomic(buffer),
            9 => {
                if self.r.below(6) == 0 {
                    self.exit();
                } else {
                    let (d, c) = (x(self.r.below(INTS)), word(self.r));
                    self.b.constant(Type::I64, Dst::To(d), c);
                }
            }
            _ => self.fp(),
        }
        self.pc += 4;
    }
}

/// Builds a random block at 0x1000 whose accesses lie in the buffer at `address`.
pub fn build(r: &mut Random, b: &mut Builder, address: u64, kinds: usize) {
    b.start(0x1000, 0);
    let mut g = Gen {
        r,
        b,
        i32s: Vec::new(),
        i64s: Vec::new(),
        f32s: Vec::new(),
        pc: 0x1000,
    };
    for _ in 0..g.r.below(40) + 1 {
        g.insn(address, kinds);
    }
    let end = g.pc;
    if r.below(2) == 0 {
        b.exit(end);
    } else {
        // An odd pc is no guest's: the jump cache marks empty entries so.
        let even = b.c(!1);
        let to = b.binary(Op::And, Type::I64, Dst::Temp, x(r.below(INTS)), even);
        b.jump(JumpKind::Jump, to);
    }
    b.block_mut().end = end;
}
