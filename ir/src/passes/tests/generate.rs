//! Random regions: what front ends emit, and everything else the IR can say.

use crate::testing::{Random, TABLE, g, push};
use crate::{
    Block, Cond, Inst, JumpKind, MemOp, Op, OpFlags, Region, Temp, TrapKind, Type, Val, verify,
};

/// Globals that the patterns work on.
const WORDS: [&str; 3] = ["r1", "r2", "r3"];

/// A region of a few blocks that mostly lead to each other.
pub fn region(random: &mut Random) -> Region {
    let count = 1 + random.below(6);
    let pc = |n: usize| 0x1000 + 0x100 * n as u64;
    let joins: Vec<usize> = (0..count).filter(|_| random.below(3) == 0).collect();
    let blocks = (0..count).map(|n| {
        let mut block = Block::default();
        block.clear(pc(n), 0);
        let mut at = Pen {
            random,
            block: &mut block,
            pcs: (0..count + 1).map(pc).collect(),
        };
        for i in 0..at.random.below(10) {
            at.inst(Inst {
                imm: (pc(n) + 4 * i as u64) as i64,
                ..Inst::new(Op::InsnStart, Type::I64)
            });
            (0..1 + at.random.below(3)).for_each(|_| at.any());
        }
        at.end();
        assert_eq!(verify(&block, &TABLE), Ok(()), "{}", block.text(&TABLE));
        block
    });
    let blocks = blocks.collect();
    let routes = match random.below(2) {
        0 => Vec::new(),
        _ => some_routes(random, count, &joins),
    };
    let region = Region {
        entry: random.below(count),
        joins,
        routes,
        ..Region::new(blocks)
    };
    assert_eq!(region.verify(&TABLE), Ok(()));
    region
}

/// Some of the pairs of a block and a join.
fn some_routes(random: &mut Random, count: usize, joins: &[usize]) -> Vec<(usize, usize)> {
    let pairs = (0..count).flat_map(|from| joins.iter().map(move |&to| (from, to)));
    pairs.filter(|_| random.below(2) == 0).collect()
}

/// Writes one block.
struct Pen<'a> {
    random: &'a mut Random,
    block: &'a mut Block,
    pcs: Vec<u64>,
}

impl Pen<'_> {
    fn inst(&mut self, inst: Inst) {
        for n in [inst.a, inst.b, inst.c, inst.e]
            .into_iter()
            .filter_map(Val::as_temp)
        {
            self.block.temps[n].uses += 1;
        }
        self.block.insts.push(inst);
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len())]
    }

    fn c(&mut self, value: u64) -> Val {
        self.block.consts.push(value);
        Val::constant(self.block.consts.len() as u16 - 1)
    }

    fn word(&mut self) -> Val {
        let name = self.pick(&WORDS);
        g(name)
    }

    fn temp(&mut self, ty: Type) -> Val {
        self.block.temps.push(Temp { ty, uses: 0 });
        Val::temp(self.block.temps.len() as u16 - 1)
    }

    fn small(&mut self) -> Val {
        let value = match self.random.below(3) {
            0 => self.random.below(10) as u64,
            1 => 1 << self.random.below(64),
            _ => self.random.number(),
        };
        self.c(value)
    }

    fn target(&mut self) -> i64 {
        let pcs = self.pcs.clone();
        self.pick(&pcs) as i64
    }

    /// `d = op a, b` on I64 globals.
    fn binary(&mut self, op: Op, ty: Type, d: Val, a: Val, b: Val) {
        self.inst(Inst {
            d,
            a,
            b,
            ..Inst::new(op, ty)
        });
    }

    fn any(&mut self) {
        match self.random.below(16) {
            0..4 => self.anything(),
            4 => self.constant(),
            5 => self.side_exit(),
            6..8 => self.access(),
            8 => self.shifts(),
            9..11 => self.short(),
            11 => self.division(),
            12 => self.mask(),
            13 => self.jump_target(),
            _ => self.sum(),
        }
    }

    fn anything(&mut self) {
        let rare = |op: &&Op| op.info().flags.has(OpFlags::CLOBBER) || **op > Op::ReadCounter;
        let middle = Op::ALL.iter().filter(|op| {
            let flags = op.info().flags;
            !flags.has(OpFlags::END) && (!rare(op) || self.random.below(5) == 0)
        });
        let ops: Vec<Op> = middle.copied().collect();
        let op = self.pick(&ops);
        push(self.random, self.block, op);
        if matches!(op, Op::ExitIf | Op::Call)
            && let Some(last) = self.block.insts.len().checked_sub(1)
        {
            self.block.insts[last].imm = self.target();
        }
    }

    fn constant(&mut self) {
        let (d, a) = (self.word(), self.small());
        self.inst(Inst {
            d,
            a,
            ..Inst::new(Op::Mov, Type::I64)
        });
    }

    fn sum(&mut self) {
        let op = self.pick(&[
            Op::Add,
            Op::Sub,
            Op::Mul,
            Op::And,
            Op::Xor,
            Op::Mov,
            Op::Shl,
        ]);
        let (d, a) = (self.word(), self.word());
        let temp = self.random.below(2) == 0;
        let b = if self.random.below(2) == 0 {
            self.small()
        } else {
            self.word()
        };
        let b = if op == Op::Mov { Val::NONE } else { b };
        let first = if temp { self.temp(Type::I64) } else { d };
        self.binary(op, Type::I64, first, a, b);
        if temp {
            let mem = Inst {
                a: first,
                d,
                aux: MemOp::U16.0,
                ..Inst::new(Op::Load, Type::I64)
            };
            let mov = Inst {
                a: first,
                d,
                ..Inst::new(Op::Mov, Type::I64)
            };
            let inst = if self.random.below(2) == 0 { mem } else { mov };
            self.inst(inst);
        }
    }

    fn access(&mut self) {
        let (a, b) = (self.word(), self.word());
        let mem = self.pick(&[MemOp::U8, MemOp::S8, MemOp::U32, MemOp::S32, MemOp::U64]);
        let store = self.random.below(2) == 0;
        let op = if store { Op::Store } else { Op::Load };
        let (d, b) = if store {
            (Val::NONE, b)
        } else {
            (b, Val::NONE)
        };
        let imm = self.random.below(64) as i64;
        self.inst(Inst {
            d,
            a,
            b,
            imm,
            aux: mem.0,
            ..Inst::new(op, Type::I64)
        });
    }

    fn shifts(&mut self) {
        let (a, d) = (self.word(), self.word());
        let count = self.pick(&[32, 48, 56, 40]);
        let count = self.c(count);
        self.binary(Op::Shl, Type::I64, d, a, count);
        if self.random.below(3) == 0 {
            self.sum();
        }
        let op = self.pick(&[Op::Shr, Op::Sar]);
        let d2 = if self.random.below(2) == 0 {
            d
        } else {
            self.word()
        };
        self.binary(op, Type::I64, d2, d, count);
    }

    /// `d = sext i32 (a op b)`, as 32-bit instructions of 64-bit guests.
    fn short(&mut self) {
        let op = self.pick(&[Op::Add, Op::Sub, Op::Mul, Op::Sar, Op::DivS, Op::RemU]);
        let (a, b, d) = (self.word(), self.small(), self.word());
        let t = self.temp(Type::I32);
        self.binary(op, Type::I32, t, a, b);
        let extend = self.pick(&[Op::Sext, Op::Zext]);
        self.inst(Inst {
            d,
            a: t,
            aux: Type::I32 as u8,
            ..Inst::new(extend, Type::I64)
        });
    }

    fn division(&mut self) {
        let op = self.pick(&[Op::DivS, Op::DivU, Op::RemS, Op::RemU, Op::Mul]);
        let (a, b, d) = (self.word(), self.small(), self.word());
        self.binary(op, Type::I64, d, a, b);
    }

    fn mask(&mut self) {
        let mask = self.pick(&[1, 0xff, 0xffff, 0xffff_ffff]);
        let (a, d, b) = (self.word(), self.word(), self.c(mask));
        if self.random.below(2) == 0 {
            return self.binary(Op::And, Type::I64, d, a, b);
        }
        let op = self.pick(&[Op::Sext, Op::Zext]);
        let from = self.pick(&[Type::I8, Type::I16, Type::I32]);
        self.inst(Inst {
            d,
            a,
            aux: from as u8,
            ..Inst::new(op, Type::I64)
        });
    }

    fn jump_target(&mut self) {
        let target = self.target();
        let (d, a) = (self.word(), self.c(target as u64));
        self.inst(Inst {
            d,
            a,
            ..Inst::new(Op::Mov, Type::I64)
        });
    }

    fn side_exit(&mut self) {
        let b = match self.random.below(2) {
            0 => self.small(),
            _ => self.word(),
        };
        let a = self.word();
        let aux = self.pick(Cond::ALL) as u8;
        let imm = self.target();
        self.inst(Inst {
            a,
            b,
            aux,
            imm,
            ..Inst::new(Op::ExitIf, Type::I64)
        });
    }

    fn end(&mut self) {
        let imm = self.target();
        let exit = Inst {
            imm,
            ..Inst::new(Op::Exit, Type::I64)
        };
        let inst = match self.random.below(8) {
            0 => {
                self.jump_target();
                let a = self.word();
                Inst {
                    a,
                    aux: JumpKind::Ret as u8,
                    ..Inst::new(Op::Jump, Type::I64)
                }
            }
            1 => {
                let a = self.word();
                Inst {
                    a,
                    imm,
                    aux: TrapKind::ALL[0] as u8,
                    ..Inst::new(Op::Trap, Type::I64)
                }
            }
            _ => exit,
        };
        self.inst(inst);
    }
}
