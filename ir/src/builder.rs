//! Builds a [`Block`] forward, folding constants and dropping overwritten results as it goes.

use crate::{
    AtomicOp, Aux, Block, Cond, GlobalTable, Inst, JumpKind, MemOp, Op, OpFlags, Order, Rm, Temp,
    TrapKind, Type, Val, eval,
};

/// Where a result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dst {
    /// A new temporary.
    Temp,
    /// A global (or a temporary that was made before and is not yet written).
    To(Val),
    /// Nowhere: a pure operation is not emitted at all.
    Discard,
}

/// What the builder knows about one global.
#[derive(Clone, Copy, Debug)]
struct Fact {
    /// The constant it holds, valid if `const_epoch` is the builder's.
    value: u64,
    const_epoch: u32,
    /// Index of the pure operation that wrote it last, not read since; valid if `write_epoch` is
    /// the builder's barrier epoch.
    write: u32,
    write_epoch: u32,
}

const FORGOTTEN: Fact = Fact {
    value: 0,
    const_epoch: 0,
    write: 0,
    write_epoch: 0,
};

/// A forward builder over one reused block.
///
/// Peepholes: constant folding (also through globals), `mov` of constants, dropping a pure write
/// to a global that is overwritten before anything could see it. All are linear and allocate
/// nothing once the storage has grown.
#[derive(Debug)]
pub struct Builder {
    block: Block,
    table: &'static GlobalTable,
    facts: Vec<Fact>,
    /// Changes when globals may have been clobbered.
    const_epoch: u32,
    /// Changes at every operation that may expose guest state.
    barrier_epoch: u32,
    /// Emit every operation as asked for.
    plain: bool,
}

impl Builder {
    /// A builder for blocks over these globals.
    pub fn new(table: &'static GlobalTable) -> Self {
        Self {
            block: Block::default(),
            table,
            facts: vec![FORGOTTEN; table.globals.len()],
            const_epoch: 1,
            barrier_epoch: 1,
            plain: false,
        }
    }

    /// A builder that folds nothing and drops nothing, to show what a front end emits.
    pub fn plain(table: &'static GlobalTable) -> Self {
        Self {
            plain: true,
            ..Self::new(table)
        }
    }

    /// Begins a block at `pc` in translation mode `flags`.
    pub fn start(&mut self, pc: u64, flags: u32) {
        self.block.clear(pc, flags);
        self.forget();
    }

    /// The block built so far.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The block built so far, for the translate loop's bookkeeping.
    pub fn block_mut(&mut self) -> &mut Block {
        &mut self.block
    }

    /// The guest's globals.
    pub fn table(&self) -> &'static GlobalTable {
        self.table
    }

    /// Forgets what is known of globals (they may have been changed from outside).
    pub fn forget(&mut self) {
        self.const_epoch += 1;
        self.barrier_epoch += 1;
    }

    /// True if the last operation ends the block.
    pub fn ended(&self) -> bool {
        self.block
            .insts
            .last()
            .is_some_and(|i| i.op.info().flags.has(OpFlags::END))
    }

    /// A constant operand.
    #[inline]
    pub fn c(&mut self, value: u64) -> Val {
        let consts = &mut self.block.consts;
        if let Some(n) = consts.iter().rev().take(8).position(|&v| v == value) {
            return Val::constant((consts.len() - 1 - n) as u16);
        }
        consts.push(value);
        Val::constant((consts.len() - 1) as u16)
    }

    /// A new temporary.
    #[inline]
    pub fn temp(&mut self, ty: Type) -> Val {
        self.block.temps.push(Temp { ty, uses: 0 });
        Val::temp((self.block.temps.len() - 1) as u16)
    }

    /// The constant that `v` is known to hold here.
    #[inline]
    pub fn known(&self, v: Val) -> Option<u64> {
        if let Some(n) = v.as_const() {
            return self.block.consts.get(n).copied();
        }
        let f = self.facts.get(v.as_global()?)?;
        (!self.plain && f.const_epoch == self.const_epoch).then_some(f.value)
    }

    /// Type of an operand (constants are I64).
    pub fn type_of(&self, v: Val) -> Type {
        match (v.as_global(), v.as_temp()) {
            (Some(n), _) => self.table.globals[n].ty,
            (_, Some(n)) => self.block.temps[n].ty,
            _ => Type::I64,
        }
    }

    /// Notes that `v` is read here, and replaces it by a constant where that is no longer code.
    #[inline]
    fn read(&mut self, v: Val) -> Val {
        if let Some(n) = v.as_temp() {
            self.block.temps[n].uses += 1;
        } else if let Some(n) = v.as_global() {
            let f = self.facts[n];
            if !self.plain
                && f.const_epoch == self.const_epoch
                && i32::try_from(f.value as i64).is_ok()
            {
                return self.c(f.value);
            }
            self.facts[n].write_epoch = 0;
        }
        v
    }

    /// Appends `inst`, whose operands went through [`Self::read`].
    #[inline]
    fn push(&mut self, inst: Inst) {
        let flags = inst.op.info().flags;
        if flags.0 & OpFlags::BARRIER.0 != 0 {
            self.barrier_epoch += 1;
            if flags.has(OpFlags::CLOBBER) {
                self.const_epoch += 1;
            }
        }
        self.note_write(inst.d, flags);
        self.note_write(inst.d2, flags);
        self.block.insts.push(inst);
    }

    /// Drops the pure write that the next operation overwrites, and forgets the old constant.
    #[inline]
    fn note_write(&mut self, d: Val, flags: OpFlags) {
        let Some(n) = d.as_global() else { return };
        let fact = &mut self.facts[n];
        if fact.write_epoch == self.barrier_epoch && !self.plain {
            let dead = &mut self.block.insts[fact.write as usize];
            for v in [dead.a, dead.b, dead.c, dead.e] {
                if let Some(t) = v.as_temp() {
                    self.block.temps[t].uses -= 1;
                }
            }
            *dead = Inst::new(Op::Nop, Type::I64);
        }
        fact.const_epoch = 0;
        if flags.has(OpFlags::PURE) {
            fact.write = self.block.insts.len() as u32;
            fact.write_epoch = self.barrier_epoch;
        } else {
            fact.write_epoch = 0;
        }
    }

    /// The value a destination stands for, or `None` if the result is not wanted.
    #[inline]
    fn dst(&mut self, dst: Dst, ty: Type) -> Val {
        match dst {
            Dst::To(v) => v,
            Dst::Temp | Dst::Discard => self.temp(ty),
        }
    }

    /// `d = value`. With [`Dst::Temp`] this is just the constant operand.
    pub fn constant(&mut self, ty: Type, dst: Dst, value: u64) -> Val {
        let c = self.c(value);
        let Dst::To(d) = dst else { return c };
        self.push(Inst {
            d,
            a: c,
            ..Inst::new(Op::Mov, ty)
        });
        if let Some(n) = d.as_global() {
            self.facts[n].value = value;
            self.facts[n].const_epoch = self.const_epoch;
        }
        c
    }

    /// `d = a`. With [`Dst::Temp`] a constant or temporary is returned as it is; a global is
    /// copied, since it may be written before the result is read.
    pub fn mov(&mut self, ty: Type, dst: Dst, a: Val) -> Val {
        if let (Some(v), true) = (self.known(a), ty.is_int()) {
            return self.constant(ty, dst, v);
        }
        let d = match dst {
            Dst::To(d) => d,
            Dst::Temp if a.as_global().is_some() => self.temp(ty),
            Dst::Temp | Dst::Discard => return a,
        };
        if d == a {
            return a;
        }
        let a = self.read(a);
        self.push(Inst {
            d,
            a,
            ..Inst::new(Op::Mov, ty)
        });
        d
    }

    /// A pure one-operand operation ([`Op::Bswap`] … [`Op::FClass`]); `aux` as the op says.
    pub fn unary(&mut self, op: Op, ty: Type, aux: u8, dst: Dst, a: Val) -> Val {
        let pure = op.info().flags.has(OpFlags::PURE);
        if pure && dst == Dst::Discard {
            return self.c(0);
        }
        if let Some(v) = self.known(a).and_then(|x| eval::unary(op, ty, aux, x)) {
            return self.constant(ty, dst, v);
        }
        let a = self.read(a);
        let d = self.dst(dst, result_type(op, ty));
        self.push(Inst {
            d,
            a,
            aux,
            ..Inst::new(op, ty)
        });
        d
    }

    /// A two-operand operation whose `aux` is 0.
    pub fn binary(&mut self, op: Op, ty: Type, dst: Dst, a: Val, b: Val) -> Val {
        self.binary_aux(op, ty, 0, dst, a, b)
    }

    /// A two-operand operation.
    pub fn binary_aux(&mut self, op: Op, ty: Type, aux: u8, dst: Dst, a: Val, b: Val) -> Val {
        if dst == Dst::Discard && op.info().flags.has(OpFlags::PURE) {
            return self.c(0);
        }
        let (ka, kb) = (self.known(a), self.known(b));
        if let (Some(x), Some(y)) = (ka, kb)
            && let Some(v) = eval::binary(op, ty, aux, x, y)
        {
            return self.constant(result_type(op, ty), dst, v);
        }
        if let Some(y) = kb
            && is_right_identity(op, ty, y)
            && self.type_of(a) == ty
        {
            return self.mov(ty, dst, a);
        }
        // Constants on the right, where both tiers encode them.
        let (a, b) = if ka.is_some() && kb.is_none() && is_commutative(op) {
            (b, a)
        } else {
            (a, b)
        };
        let (a, b) = (self.read(a), self.read(b));
        let d = self.dst(dst, result_type(op, ty));
        self.push(Inst {
            d,
            a,
            b,
            aux,
            ..Inst::new(op, ty)
        });
        d
    }

    /// `d = a + b`.
    pub fn add(&mut self, ty: Type, dst: Dst, a: Val, b: Val) -> Val {
        self.binary(Op::Add, ty, dst, a, b)
    }

    /// `d` = low bits of `a` that `from` holds, sign-extended to `ty`.
    pub fn sext(&mut self, ty: Type, from: Type, dst: Dst, a: Val) -> Val {
        self.unary(Op::Sext, ty, from as u8, dst, a)
    }

    /// `d` = low bits of `a` that `from` holds, zero-extended to `ty`.
    pub fn zext(&mut self, ty: Type, from: Type, dst: Dst, a: Val) -> Val {
        self.unary(Op::Zext, ty, from as u8, dst, a)
    }

    /// `d` (I64) = 1 if `a cond b` on type `ty`, else 0.
    pub fn setcond(&mut self, ty: Type, cond: Cond, dst: Dst, a: Val, b: Val) -> Val {
        self.binary_aux(Op::SetCond, ty, cond as u8, dst, a, b)
    }

    /// `d = if a cond b { c } else { e }`; comparison and values have type `ty`.
    pub fn select(
        &mut self,
        ty: Type,
        cond: Cond,
        dst: Dst,
        cmp: (Val, Val),
        c: Val,
        e: Val,
    ) -> Val {
        if dst == Dst::Discard {
            return self.c(0);
        }
        if let (Some(x), Some(y)) = (self.known(cmp.0), self.known(cmp.1)) {
            return self.mov(ty, dst, if cond.eval(ty, x, y) { c } else { e });
        }
        let (a, b) = (self.read(cmp.0), self.read(cmp.1));
        let (c, e) = (self.read(c), self.read(e));
        let d = self.dst(dst, ty);
        self.push(Inst {
            d,
            a,
            b,
            c,
            e,
            aux: cond as u8,
            ..Inst::new(Op::Select, ty)
        });
        d
    }

    /// `(d, d2) =` quotient and remainder of double-width `(hi:lo) / by`.
    pub fn div_wide(&mut self, op: Op, ty: Type, lo: Val, hi: Val, by: Val) -> (Val, Val) {
        let (a, b, c) = (self.read(lo), self.read(hi), self.read(by));
        let (d, d2) = (self.temp(ty), self.temp(ty));
        self.push(Inst {
            d,
            d2,
            a,
            b,
            c,
            ..Inst::new(op, ty)
        });
        (d, d2)
    }

    /// A floating-point operation of one operand; `rm` is ignored by those without rounding.
    pub fn fp1(&mut self, op: Op, ty: Type, rm: Rm, dst: Dst, a: Val) -> Val {
        let a = self.read(a);
        let d = self.dst(dst, result_type(op, ty));
        self.push(Inst {
            d,
            a,
            aux: rounding(op, rm),
            ..Inst::new(op, ty)
        });
        d
    }

    /// A floating-point operation of two operands.
    pub fn fp2(&mut self, op: Op, ty: Type, rm: Rm, dst: Dst, a: Val, b: Val) -> Val {
        let (a, b) = (self.read(a), self.read(b));
        let d = self.dst(dst, result_type(op, ty));
        self.push(Inst {
            d,
            a,
            b,
            aux: rounding(op, rm),
            ..Inst::new(op, ty)
        });
        d
    }

    /// A fused multiply-add ([`Op::FMadd`] and its kin) of `ops.0 * ops.1` and `ops.2`.
    pub fn fma(&mut self, op: Op, ty: Type, rm: Rm, dst: Dst, ops: (Val, Val, Val)) -> Val {
        let (a, b, c) = (self.read(ops.0), self.read(ops.1), self.read(ops.2));
        let d = self.dst(dst, ty);
        self.push(Inst {
            d,
            a,
            b,
            c,
            aux: rm as u8,
            ..Inst::new(op, ty)
        });
        d
    }

    /// `d = memory[addr + disp]`.
    pub fn load(&mut self, ty: Type, mem: MemOp, dst: Dst, addr: Val, disp: i64) -> Val {
        let (addr, disp) = self.address(addr, disp);
        let d = self.dst(dst, ty);
        let imm = disp;
        self.push(Inst {
            d,
            a: addr,
            aux: mem.0,
            imm,
            ..Inst::new(Op::Load, ty)
        });
        d
    }

    /// `memory[addr + disp] = value` (of type `ty`).
    pub fn store(&mut self, ty: Type, mem: MemOp, value: Val, addr: Val, disp: i64) {
        let (addr, disp) = self.address(addr, disp);
        let b = self.read(value);
        self.push(Inst {
            a: addr,
            b,
            aux: mem.0,
            imm: disp,
            ..Inst::new(Op::Store, ty)
        });
    }

    /// An address as base and displacement; a known small base is folded away.
    fn address(&mut self, addr: Val, disp: i64) -> (Val, i64) {
        (self.read(addr), disp)
    }

    /// Memory fence.
    pub fn fence(&mut self, order: Order) {
        self.push(Inst {
            aux: order as u8,
            ..Inst::new(Op::Fence, Type::I64)
        });
    }

    /// `d = old; memory[addr] = old op value`, atomically.
    pub fn rmw(
        &mut self,
        what: AtomicOp,
        ty: Type,
        mem: MemOp,
        dst: Dst,
        addr: Val,
        value: Val,
    ) -> Val {
        let (a, b) = (self.read(addr), self.read(value));
        let d = self.dst(dst, ty);
        let (aux, aux2) = (mem.0, what as u8);
        self.push(Inst {
            d,
            a,
            b,
            aux,
            aux2,
            ..Inst::new(Op::AtomicRmw, ty)
        });
        d
    }

    /// `d = old; if old == expected { memory[addr] = new }`, atomically.
    pub fn cas(
        &mut self,
        ty: Type,
        mem: MemOp,
        dst: Dst,
        addr: Val,
        expected: Val,
        new: Val,
    ) -> Val {
        let (a, b, c) = (self.read(addr), self.read(expected), self.read(new));
        let d = self.dst(dst, ty);
        self.push(Inst {
            d,
            a,
            b,
            c,
            aux: mem.0,
            ..Inst::new(Op::Cas, ty)
        });
        d
    }

    /// 128-bit compare and swap of the aligned pair at `addr`; returns the old pair (low, high).
    pub fn cas_pair(
        &mut self,
        mem: MemOp,
        addr: Val,
        expected: (Val, Val),
        new: (Val, Val),
    ) -> (Val, Val) {
        let a = self.read(addr);
        let (b, c) = (self.read(expected.0), self.read(expected.1));
        let (e, hi) = (self.read(new.0), self.read(new.1));
        let (d, d2) = (self.temp(Type::I64), self.temp(Type::I64));
        let imm = i64::from(hi.raw());
        self.push(Inst {
            d,
            d2,
            a,
            b,
            c,
            e,
            aux: mem.0,
            imm,
            ..Inst::new(Op::CasPair, Type::I64)
        });
        (d, d2)
    }

    /// Load and reserve.
    pub fn load_reserved(&mut self, ty: Type, mem: MemOp, dst: Dst, addr: Val) -> Val {
        let a = self.read(addr);
        let d = self.dst(dst, ty);
        self.push(Inst {
            d,
            a,
            aux: mem.0,
            ..Inst::new(Op::LoadReserved, ty)
        });
        d
    }

    /// Store if still reserved; the result is 0 on success, 1 on failure.
    pub fn store_cond(&mut self, ty: Type, mem: MemOp, dst: Dst, addr: Val, value: Val) -> Val {
        let (a, b) = (self.read(addr), self.read(value));
        let d = self.dst(dst, Type::I64);
        self.push(Inst {
            d,
            a,
            b,
            aux: mem.0,
            ..Inst::new(Op::StoreCond, ty)
        });
        d
    }

    /// Reads the sticky floating-point flags.
    pub fn get_flags(&mut self, dst: Dst) -> Val {
        let d = self.dst(dst, Type::I64);
        self.push(Inst {
            d,
            ..Inst::new(Op::GetFlags, Type::I64)
        });
        d
    }

    /// [`Op::SetFlags`], [`Op::OrFlags`] or [`Op::SetRound`] of `a`.
    pub fn set_fp(&mut self, op: Op, a: Val) {
        let a = self.read(a);
        self.push(Inst {
            a,
            ..Inst::new(op, Type::I64)
        });
    }

    /// Reads counter `which` (see [`Op::ReadCounter`]).
    pub fn counter(&mut self, which: u8, dst: Dst) -> Val {
        let d = self.dst(dst, Type::I64);
        self.push(Inst {
            d,
            aux: which,
            ..Inst::new(Op::ReadCounter, Type::I64)
        });
        d
    }

    /// Calls helper number `helper` with up to three arguments ([`Val::NONE`] for none).
    pub fn helper(&mut self, helper: u32, dst: Dst, args: [Val; 3]) -> Val {
        let [a, b, c] = args.map(|v| if v.is_none() { v } else { self.read(v) });
        let d = self.dst(dst, Type::I64);
        let imm = i64::from(helper);
        self.push(Inst {
            d,
            a,
            b,
            c,
            imm,
            ..Inst::new(Op::CallHelper, Type::I64)
        });
        d
    }

    /// A guest instruction starts at `pc`.
    #[inline]
    pub fn insn_start(&mut self, pc: u64) {
        self.block.insts.push(Inst {
            imm: pc as i64,
            ..Inst::new(Op::InsnStart, Type::I64)
        });
    }

    /// Trap at `pc` if `a cond b` (I64).
    pub fn trap_if(&mut self, cond: Cond, a: Val, b: Val, kind: TrapKind, pc: u64, info: Val) {
        let (a, b, c) = (self.read(a), self.read(b), self.read(info));
        let (aux, aux2, imm) = (cond as u8, kind as u8, pc as i64);
        self.push(Inst {
            a,
            b,
            c,
            aux,
            aux2,
            imm,
            ..Inst::new(Op::TrapIf, Type::I64)
        });
    }

    /// Side exit to `pc` if `a cond b` on `ty`.
    pub fn exit_if(&mut self, ty: Type, cond: Cond, a: Val, b: Val, pc: u64) {
        if let (Some(x), Some(y)) = (self.known(a), self.known(b)) {
            if cond.eval(ty, x, y) {
                self.exit(pc);
            }
            return;
        }
        let (a, b) = (self.read(a), self.read(b));
        self.push(Inst {
            a,
            b,
            aux: cond as u8,
            imm: pc as i64,
            ..Inst::new(Op::ExitIf, ty)
        });
    }

    /// Calls the function at constant `target`; the block goes on at `ret`.
    pub fn call(&mut self, target: u64, ret: u64) {
        let a = self.c(ret);
        self.push(Inst {
            a,
            imm: target as i64,
            ..Inst::new(Op::Call, Type::I64)
        });
    }

    /// Calls the function at `target`; the block goes on at `ret`.
    pub fn call_indirect(&mut self, target: Val, ret: u64) {
        if let Some(pc) = self.known(target) {
            return self.call(pc, ret);
        }
        let a = self.read(target);
        let b = self.c(ret);
        self.push(Inst {
            a,
            b,
            ..Inst::new(Op::CallInd, Type::I64)
        });
    }

    /// Ends the block: go on at `pc`.
    pub fn exit(&mut self, pc: u64) {
        self.push(Inst {
            imm: pc as i64,
            ..Inst::new(Op::Exit, Type::I64)
        });
    }

    /// Ends the block: go on at the address `a` holds.
    pub fn jump(&mut self, kind: JumpKind, a: Val) {
        if let Some(pc) = self.known(a) {
            return self.exit(pc);
        }
        let a = self.read(a);
        self.push(Inst {
            a,
            aux: kind as u8,
            ..Inst::new(Op::Jump, Type::I64)
        });
    }

    /// Ends the block with a trap at `pc`.
    pub fn trap(&mut self, kind: TrapKind, pc: u64, info: Val) {
        let a = if info.is_none() {
            self.c(0)
        } else {
            self.read(info)
        };
        self.push(Inst {
            a,
            aux: kind as u8,
            imm: pc as i64,
            ..Inst::new(Op::Trap, Type::I64)
        });
    }
}

/// The type an operation's result has.
pub(crate) fn result_type(op: Op, ty: Type) -> Type {
    match op {
        Op::SetCond
        | Op::FCmpEq
        | Op::FCmpLt
        | Op::FCmpLe
        | Op::FCmpLtQ
        | Op::FCmpLeQ
        | Op::FClass
        | Op::FToI64S
        | Op::FToI64U
        | Op::StoreCond => Type::I64,
        Op::FToI32S | Op::FToI32U => Type::I32,
        Op::NanBox | Op::FWiden => Type::F64,
        Op::Unbox | Op::FNarrow => Type::F32,
        _ => ty,
    }
}

/// The attribute byte for `rm`: 0 where the operation does not round.
fn rounding(op: Op, rm: Rm) -> u8 {
    if op.info().aux == Aux::Rm {
        rm as u8
    } else {
        0
    }
}

fn is_commutative(op: Op) -> bool {
    matches!(
        op,
        Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::MulHiS | Op::MulHiU
    )
}

fn is_right_identity(op: Op, ty: Type, y: u64) -> bool {
    if !ty.is_int() {
        return false;
    }
    let low = eval::zero_extend(ty, y);
    match op {
        Op::Add | Op::Sub | Op::Or | Op::Xor | Op::Andc => low == 0,
        Op::Shl | Op::Shr | Op::Sar | Op::Rotl | Op::Rotr => low & u64::from(ty.bits() - 1) == 0,
        Op::Mul => low == 1,
        Op::And => low == u64::MAX >> (64 - ty.bits()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Global;

    static GLOBALS: &[Global] = &[
        Global {
            name: "pc",
            ty: Type::I64,
            offset: 0,
            rank: 255,
        },
        Global {
            name: "r1",
            ty: Type::I64,
            offset: 8,
            rank: 0,
        },
        Global {
            name: "r2",
            ty: Type::I64,
            offset: 16,
            rank: 1,
        },
    ];
    static TABLE: GlobalTable = GlobalTable {
        globals: GLOBALS,
        pc: Val::global(0),
    };
    const R1: Val = Val::global(1);
    const R2: Val = Val::global(2);

    fn live(b: &Builder) -> Vec<Op> {
        b.block()
            .insts
            .iter()
            .map(|i| i.op)
            .filter(|&op| op != Op::Nop)
            .collect()
    }

    #[test]
    fn constants_fold_through_globals_and_dead_writes_go() {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        b.constant(Type::I64, Dst::To(R1), 0x1000);
        let c = b.c(0x234);
        b.add(Type::I64, Dst::To(R1), R1, c);
        assert_eq!(live(&b), [Op::Mov]);
        assert_eq!(b.known(R1), Some(0x1234));
    }

    #[test]
    fn a_memory_access_keeps_the_write_before_it() {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        b.constant(Type::I64, Dst::To(R1), 1);
        b.load(Type::I64, MemOp::U64, Dst::To(R2), R2, 8);
        b.constant(Type::I64, Dst::To(R1), 2);
        assert_eq!(live(&b), [Op::Mov, Op::Load, Op::Mov]);
    }

    #[test]
    fn a_read_keeps_the_write_before_it() {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        b.add(Type::I64, Dst::To(R1), R2, R2);
        b.add(Type::I64, Dst::To(R2), R1, R1);
        b.add(Type::I64, Dst::To(R1), R2, R2);
        assert_eq!(live(&b), [Op::Add, Op::Add, Op::Add]);
    }

    #[test]
    fn identities_become_moves() {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        let zero = b.c(0);
        b.add(Type::I64, Dst::To(R1), R2, zero);
        assert_eq!(live(&b), [Op::Mov]);
    }

    #[test]
    fn a_call_forgets_constants() {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        b.constant(Type::I64, Dst::To(R1), 7);
        b.call(0x2000, 0x1008);
        assert_eq!(b.known(R1), None);
    }

    #[test]
    fn a_copied_global_survives_its_overwriting() {
        // jalr ra, 0(ra): the target is read before the link is written.
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        let zero = b.c(0);
        let target = b.add(Type::I64, Dst::Temp, R1, zero);
        assert!(target.as_temp().is_some());
        b.constant(Type::I64, Dst::To(R1), 0x1004);
        b.jump(JumpKind::Jump, target);
        assert_eq!(live(&b), [Op::Mov, Op::Mov, Op::Jump]);
    }

    #[test]
    fn a_folded_comparison_keeps_its_result_type() {
        let mut b = Builder::new(&TABLE);
        b.start(0x1000, 0);
        let (one, two) = (b.c(1), b.c(2));
        b.setcond(Type::I32, Cond::LtU, Dst::To(R1), one, two);
        assert_eq!(b.block().insts[0].ty, Type::I64);
    }
}
