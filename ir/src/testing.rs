//! What the crate's tests share: a guest of no particular kind, and random valid blocks over it.

use crate::sig::{self, Want};
use crate::{
    AtomicOp, Aux, Block, Cond, Global, GlobalTable, Imm, Inst, JumpKind, MemOp, Op, OpFlags,
    Order, Rm, Temp, TrapKind, Type, Val, verify,
};

const fn global(name: &'static str, ty: Type, offset: u32) -> Global {
    Global {
        name,
        ty,
        offset,
        rank: 255,
    }
}

static GLOBALS: &[Global] = &[
    global("pc", Type::I64, 0),
    global("r1", Type::I64, 8),
    global("r2", Type::I64, 16),
    global("r3", Type::I64, 24),
    global("w1", Type::I32, 32),
    global("w2", Type::I32, 36),
    global("h1", Type::I16, 40),
    global("b1", Type::I8, 42),
    global("s1", Type::F32, 44),
    global("d1", Type::F64, 48),
    global("d2", Type::F64, 56),
    global("v1", Type::V128, 64),
    global("v2", Type::V128, 80),
];

/// Bytes of guest state that [`TABLE`]'s globals need.
pub(crate) const STATE_LEN: usize = 96;

pub(crate) static TABLE: GlobalTable = GlobalTable {
    globals: GLOBALS,
    pc: Val::global(0),
};

/// The test guest's global of this name.
pub(crate) fn g(name: &str) -> Val {
    let n = GLOBALS.iter().position(|g| g.name == name);
    Val::global(n.unwrap_or_else(|| panic!("no global {name}")) as u16)
}

/// A small deterministic source of randomness.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Numbers of every size, small ones and their negatives more often.
    pub fn number(&mut self) -> u64 {
        let (value, shift) = (self.next(), self.below(64));
        if value & 1 == 0 {
            value >> shift
        } else {
            ((value as i64) >> shift) as u64
        }
    }
}

/// A valid block of `len` operations before its end.
pub(crate) fn random_block(random: &mut Random, len: usize) -> Block {
    let mut block = Block {
        pc: random.number(),
        flags: random.next() as u32,
        insns: random.below(65) as u32,
        end: random.number(),
        ..Block::default()
    };
    let (end, middle): (Vec<Op>, Vec<Op>) = Op::ALL
        .iter()
        .partition(|op| op.info().flags.has(OpFlags::END));
    for _ in 0..len {
        let op = random.pick(&middle);
        push(random, &mut block, op);
    }
    let op = random.pick(&end);
    push(random, &mut block, op);
    assert_eq!(verify(&block, &TABLE), Ok(()));
    block
}

/// Appends a random valid operation.
pub(crate) fn push(random: &mut Random, block: &mut Block, op: Op) {
    let types: Vec<Type> = Type::ALL
        .iter()
        .copied()
        .filter(|&ty| sig::types(op).contains(ty))
        .collect();
    let mut inst = Inst::new(op, random.pick(&types));
    inst.aux = attribute(random, &inst, op.info().aux);
    inst.aux2 = attribute(random, &inst, op.aux2());
    inst.imm = match op.info().imm {
        Imm::None | Imm::Val => 0,
        Imm::Disp | Imm::Pc => random.number() as i64,
        Imm::Helper => random.below(1000) as i64,
    };
    let operands = [0, 1, 2, 3].map(|i| operand(random, block, sig::operand(&inst, i)));
    [inst.a, inst.b, inst.c, inst.e] = operands;
    if op.info().imm == Imm::Val {
        inst.imm = i64::from(operand(random, block, sig::operand(&inst, 4)).raw());
    }
    let results = op.info().results;
    if results > 0 {
        inst.d = result(random, block, sig::result(&inst));
    }
    if results > 1 {
        inst.d2 = result(random, block, sig::result(&inst));
    }
    block.insts.push(inst);
}

fn attribute(random: &mut Random, inst: &Inst, kind: Aux) -> u8 {
    let count = match kind {
        Aux::None => 1,
        Aux::Cond => Cond::ALL.len(),
        Aux::Rm => Rm::ALL.len(),
        Aux::Jump => JumpKind::ALL.len(),
        Aux::Trap => TrapKind::ALL.len(),
        Aux::Order => Order::ALL.len(),
        Aux::Atomic => AtomicOp::ALL.len(),
        Aux::Number => 3,
        Aux::Mem => return memory(random, inst),
        Aux::Type => return source_type(random, inst),
    };
    random.below(count) as u8
}

fn memory(random: &mut Random, inst: &Inst) -> u8 {
    let natural = inst.ty.bytes().trailing_zeros() as u8;
    let size = if inst.ty.is_int() {
        random.below(usize::from(natural) + 1) as u8
    } else {
        natural
    };
    let size = if inst.op == Op::CasPair { 3 } else { size };
    let sign = if inst.ty.is_int() {
        random.next() as u8 & MemOp::S8.0
    } else {
        0
    };
    size | sign | random.next() as u8 & 0xf0
}

fn source_type(random: &mut Random, inst: &Inst) -> u8 {
    let fits = |from: Type| match inst.op {
        Op::Bitcast => from.bits() == inst.ty.bits() && from.is_int() != inst.ty.is_int(),
        _ => from.is_int() && from.bits() <= inst.ty.bits(),
    };
    let types: Vec<Type> = Type::ALL
        .iter()
        .copied()
        .filter(|&from| fits(from))
        .collect();
    random.pick(&types) as u8
}

fn operand(random: &mut Random, block: &mut Block, want: Option<Want>) -> Val {
    let ty = match want {
        None => return Val::NONE,
        Some(Want::Const) => return constant(random, block),
        Some(Want::Optional) if random.below(2) == 0 => return Val::NONE,
        Some(Want::Optional) => Type::I64,
        Some(Want::Type(ty)) => ty,
    };
    if ty != Type::V128 && random.below(4) == 0 {
        return constant(random, block);
    }
    let temps = block.temps.iter().map(|t| t.ty).enumerate();
    let fits: Vec<usize> = temps
        .filter(|t| sig::reads_as(t.1, ty))
        .map(|t| t.0)
        .collect();
    if !fits.is_empty() && random.below(2) == 0 {
        let n = random.pick(&fits);
        block.temps[n].uses += 1;
        return Val::temp(n as u16);
    }
    let globals = GLOBALS.iter().enumerate();
    let fits: Vec<usize> = globals
        .filter(|g| sig::reads_as(g.1.ty, ty))
        .map(|g| g.0)
        .collect();
    Val::global(random.pick(&fits) as u16)
}

fn constant(random: &mut Random, block: &mut Block) -> Val {
    block.consts.push(random.number());
    Val::constant(block.consts.len() as u16 - 1)
}

fn result(random: &mut Random, block: &mut Block, ty: Type) -> Val {
    let globals = GLOBALS.iter().enumerate().skip(1);
    let fits: Vec<usize> = globals.filter(|g| g.1.ty == ty).map(|g| g.0).collect();
    if !fits.is_empty() && random.below(2) == 0 {
        return Val::global(random.pick(&fits) as u16);
    }
    block.temps.push(Temp { ty, uses: 0 });
    Val::temp(block.temps.len() as u16 - 1)
}
