//! Checks that a block keeps the IR's rules. For tests and debug builds: costs more than building.

use crate::sig::{self, Want};
use crate::{
    AtomicOp, Aux, Block, Cond, GlobalTable, Imm, Inst, JumpKind, MemOp, Op, OpFlags, Order, Rm,
    TrapKind, Type, Val,
};

/// How a block breaks the IR's rules. `op` is the index of the operation in [`Block::insts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The last operation does not end the block, or there is none.
    #[error("the block does not end")]
    NoEnd,
    /// An operation that ends the block is not the last one.
    #[error("op {op} ends the block but is not the last")]
    EarlyEnd {
        /// The operation.
        op: usize,
    },
    /// The operation is not defined on its type.
    #[error("op {op} is not defined on {}", ty.name())]
    BadType {
        /// The operation.
        op: usize,
        /// Its type.
        ty: Type,
    },
    /// The `aux` or `aux2` byte is not what the operation wants there.
    #[error("op {op}: {value:#x} is no {kind:?} attribute here")]
    BadAttribute {
        /// The operation.
        op: usize,
        /// What the byte should hold.
        kind: Aux,
        /// The byte.
        value: u8,
    },
    /// `imm` is not what the operation wants there.
    #[error("op {op}: {value:#x} is no {kind:?} immediate")]
    BadImmediate {
        /// The operation.
        op: usize,
        /// What it should hold.
        kind: Imm,
        /// What it holds.
        value: i64,
    },
    /// An operand or result names a global, constant or temporary that does not exist.
    #[error("op {op} names {val:?}, which does not exist")]
    OutOfRange {
        /// The operation.
        op: usize,
        /// The operand or result.
        val: Val,
    },
    /// An operand or result that the operation wants is absent.
    #[error("op {op} lacks an operand or result")]
    Missing {
        /// The operation.
        op: usize,
    },
    /// An operand or result that the operation does not have is present.
    #[error("op {op} has no place for {val:?}")]
    Surplus {
        /// The operation.
        op: usize,
        /// The operand or result.
        val: Val,
    },
    /// A temporary is read before it is written.
    #[error("op {op} reads {val:?} before it is written")]
    Undefined {
        /// The operation.
        op: usize,
        /// The temporary.
        val: Val,
    },
    /// A temporary is written twice.
    #[error("op {op} writes {val:?} a second time")]
    Rewritten {
        /// The operation.
        op: usize,
        /// The temporary.
        val: Val,
    },
    /// An operand or result has the wrong type.
    #[error("op {op}: {val:?} is {}, not {}", have.name(), want.name())]
    TypeMismatch {
        /// The operation.
        op: usize,
        /// The operand or result.
        val: Val,
        /// Its type.
        have: Type,
        /// The type wanted.
        want: Type,
    },
    /// An operand must be a constant, or a result must not be one.
    #[error("op {op}: {val:?} is a constant where none may be, or is none where one must be")]
    Constness {
        /// The operation.
        op: usize,
        /// The operand or result.
        val: Val,
    },
    /// A temporary's count of uses is not the number of operands that name it.
    #[error("temporary {temp} is read {found} times, not {counted}")]
    UseCount {
        /// The temporary's number.
        temp: usize,
        /// The count the block holds.
        counted: u16,
        /// The operands that name it.
        found: u16,
    },
}

/// Checks every rule; the first one broken is the error.
pub fn verify(block: &Block, table: &GlobalTable) -> Result<(), VerifyError> {
    verify_with_locals(block, table, 0)
}

/// [`verify`] for a block of a region with so many locals.
pub(crate) fn verify_with_locals(
    block: &Block,
    table: &GlobalTable,
    locals: usize,
) -> Result<(), VerifyError> {
    let mut check = Check {
        block,
        table,
        locals,
        written: vec![false; block.temps.len()],
        read: vec![0; block.temps.len()],
    };
    for (op, inst) in block.insts.iter().enumerate() {
        check.inst(op, inst)?;
    }
    let last = block.insts.last().ok_or(VerifyError::NoEnd)?;
    if !last.op.info().flags.has(OpFlags::END) {
        return Err(VerifyError::NoEnd);
    }
    for (temp, (t, &found)) in block.temps.iter().zip(&check.read).enumerate() {
        if t.uses != found {
            let counted = t.uses;
            return Err(VerifyError::UseCount {
                temp,
                counted,
                found,
            });
        }
    }
    Ok(())
}

struct Check<'a> {
    block: &'a Block,
    table: &'a GlobalTable,
    locals: usize,
    written: Vec<bool>,
    read: Vec<u16>,
}

impl Check<'_> {
    fn inst(&mut self, op: usize, inst: &Inst) -> Result<(), VerifyError> {
        let info = inst.op.info();
        if info.flags.has(OpFlags::END) && op + 1 != self.block.insts.len() {
            return Err(VerifyError::EarlyEnd { op });
        }
        if !sig::types(inst.op).contains(inst.ty) {
            return Err(VerifyError::BadType { op, ty: inst.ty });
        }
        attribute(op, inst, info.aux, inst.aux)?;
        attribute(op, inst, inst.op.aux2(), inst.aux2)?;
        immediate(op, inst, info.imm)?;
        self.operands(op, inst)?;
        self.results(op, inst)
    }

    fn operands(&mut self, op: usize, inst: &Inst) -> Result<(), VerifyError> {
        for (i, val) in [inst.a, inst.b, inst.c, inst.e].into_iter().enumerate() {
            self.operand(op, val, sig::operand(inst, i))?;
        }
        if inst.op.info().imm == Imm::Val {
            let val = Val::from_raw(inst.imm as u16);
            self.operand(op, val, sig::operand(inst, 4))?;
        }
        Ok(())
    }

    fn operand(&mut self, op: usize, val: Val, want: Option<Want>) -> Result<(), VerifyError> {
        let Some(want) = want else {
            return absent(op, val);
        };
        if val.is_none() {
            return match want {
                Want::Optional => Ok(()),
                _ => Err(VerifyError::Missing { op }),
            };
        }
        let have = self.type_of(op, val)?;
        if let Some(t) = val.as_temp() {
            if !self.written[t] {
                return Err(VerifyError::Undefined { op, val });
            }
            self.read[t] += 1;
        }
        let want = match want {
            Want::Const if have.is_some() => return Err(VerifyError::Constness { op, val }),
            Want::Const => return Ok(()),
            Want::Optional => Type::I64,
            Want::Type(ty) => ty,
        };
        match have {
            Some(have) if !sig::reads_as(have, want) => Err(VerifyError::TypeMismatch {
                op,
                val,
                have,
                want,
            }),
            None if want == Type::V128 => Err(VerifyError::Constness { op, val }),
            _ => Ok(()),
        }
    }

    fn results(&mut self, op: usize, inst: &Inst) -> Result<(), VerifyError> {
        let want = sig::result(inst);
        let count = usize::from(inst.op.info().results);
        for (i, val) in [inst.d, inst.d2].into_iter().enumerate() {
            if i >= count {
                absent(op, val)?;
                continue;
            }
            if val.is_none() {
                return Err(VerifyError::Missing { op });
            }
            let have = self
                .type_of(op, val)?
                .ok_or(VerifyError::Constness { op, val })?;
            if have != want {
                return Err(VerifyError::TypeMismatch {
                    op,
                    val,
                    have,
                    want,
                });
            }
            if let Some(t) = val.as_temp()
                && std::mem::replace(&mut self.written[t], true)
            {
                return Err(VerifyError::Rewritten { op, val });
            }
        }
        Ok(())
    }

    /// The type of an operand or result; `None` for a constant.
    fn type_of(&self, op: usize, val: Val) -> Result<Option<Type>, VerifyError> {
        if val.as_local().is_some_and(|n| n < self.locals) {
            return Ok(Some(Type::I64));
        }
        let exists = match (val.as_global(), val.as_const(), val.as_temp()) {
            (Some(n), _, _) => self.table.get(n).map(|g| Some(g.ty)),
            (_, Some(n), _) => self.block.consts.get(n).map(|_| None),
            (_, _, Some(n)) => self.block.temps.get(n).map(|t| Some(t.ty)),
            _ => None,
        };
        exists.ok_or(VerifyError::OutOfRange { op, val })
    }
}

fn absent(op: usize, val: Val) -> Result<(), VerifyError> {
    if val.is_none() {
        Ok(())
    } else {
        Err(VerifyError::Surplus { op, val })
    }
}

fn attribute(op: usize, inst: &Inst, kind: Aux, value: u8) -> Result<(), VerifyError> {
    let valid = match kind {
        Aux::None => value == 0,
        Aux::Cond => Cond::from_u8(value).is_some(),
        Aux::Mem => memory_attribute(inst),
        Aux::Rm => Rm::from_u8(value).is_some(),
        Aux::Jump => JumpKind::from_u8(value).is_some(),
        Aux::Trap => TrapKind::from_u8(value).is_some(),
        Aux::Order => Order::from_u8(value).is_some(),
        Aux::Type => Type::from_u8(value).is_some_and(|from| source_type(inst, from)),
        Aux::Atomic => AtomicOp::from_u8(value).is_some(),
        Aux::Number => value < 3,
    };
    if valid {
        Ok(())
    } else {
        Err(VerifyError::BadAttribute { op, kind, value })
    }
}

/// Integers of the type's size or narrower, other types of exactly its size; signs on integer
/// loads only.
fn memory_attribute(inst: &Inst) -> bool {
    let mem = MemOp(inst.aux);
    let bytes = mem.bytes();
    let ty = inst.ty;
    let size = match inst.op {
        Op::CasPair => mem.size_log2() == 3 || mem.size_log2() == 4,
        _ if ty.is_int() => bytes <= ty.bytes(),
        _ => bytes == ty.bytes(),
    };
    size && (!mem.signed() || ty.is_int())
}

fn source_type(inst: &Inst, from: Type) -> bool {
    match inst.op {
        Op::Bitcast => from.bits() == inst.ty.bits() && from.is_int() != inst.ty.is_int(),
        _ => from.is_int() && from.bits() <= inst.ty.bits(),
    }
}

fn immediate(op: usize, inst: &Inst, kind: Imm) -> Result<(), VerifyError> {
    let value = inst.imm;
    let valid = match kind {
        Imm::None => value == 0,
        Imm::Disp | Imm::Pc => true,
        Imm::Helper => u32::try_from(value).is_ok(),
        Imm::Val => u16::try_from(value).is_ok(),
    };
    if valid {
        Ok(())
    } else {
        Err(VerifyError::BadImmediate { op, kind, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TABLE, g};
    use crate::text::parse;

    /// The block of these lines, which parse but need not be valid.
    fn block(lines: &str) -> Block {
        let text = format!("block 0 flags 0 insns 0 end 0\n{lines}");
        parse(&text, &TABLE).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    fn error(lines: &str) -> VerifyError {
        verify(&block(lines), &TABLE).expect_err(lines)
    }

    /// The error of a block whose first operation `change` spoils, the second ending it.
    fn spoilt(line: &str, change: impl FnOnce(&mut Inst)) -> VerifyError {
        let mut block = block(&format!("{line}\nexit -> 0"));
        assert_eq!(verify(&block, &TABLE), Ok(()), "{line}");
        change(&mut block.insts[0]);
        verify(&block, &TABLE).expect_err(line)
    }

    #[test]
    fn a_block_ends_once_and_last() {
        assert_eq!(error(""), VerifyError::NoEnd);
        assert_eq!(error("r1 = mov r2"), VerifyError::NoEnd);
        assert_eq!(
            error("exit -> 0\nexit -> 4"),
            VerifyError::EarlyEnd { op: 0 }
        );
    }

    #[test]
    fn operations_are_defined_on_some_types_only() {
        let bad = |line: &str| match error(&format!("{line}\nexit -> 0")) {
            VerifyError::BadType { op: 0, ty } => ty,
            other => panic!("{line}: {other}"),
        };
        assert_eq!(bad("d1 = add d1, d2"), Type::F64);
        assert_eq!(bad("r1 = fadd rne r1, r2"), Type::I64);
        assert_eq!(bad("h1 = divs h1, h1"), Type::I16);
        assert_eq!(bad("b1 = bswap b1"), Type::I8);
        assert_eq!(bad("w1 = clmul w1, w2"), Type::I32);
        assert_eq!(bad("h1 = select eq h1, h1, h1, h1"), Type::I16);
        assert_eq!(bad("exitif.f64 eq d1, d2 -> 0"), Type::F64);
    }

    #[test]
    fn attributes_have_their_values() {
        let bad = |line: &str, value: u8| {
            let error = spoilt(line, |inst| inst.aux = value);
            assert!(
                matches!(error, VerifyError::BadAttribute { op: 0, .. }),
                "{line}: {error}"
            );
        };
        bad("r1 = add r1, r2", 1);
        bad("r1 = setcond eq r1, r2", 12);
        bad("d1 = fadd rne d1, d2", 6);
        bad("fence seqcst", 4);
        bad("r1 = counter 0", 3);
        bad("r1 = sext i8 r1", 7);
        bad("r1 = sext i8 r1", Type::F32 as u8);
        bad("w1 = zext i8 w1", Type::I64 as u8);
        bad("r1 = bitcast f64 d1", Type::F32 as u8);
        bad("r1 = bitcast f64 d1", Type::I64 as u8);
        bad("r1 = load u64 [r1]", 4);
        bad("w1 = load u32 [r1]", 3);
        bad("d1 = load u64 [r1]", 2);
        bad("s1 = load u32 [r1]", MemOp::S32.0);
        let error = spoilt("r1 = rmw u64 add [r1], r2", |inst| inst.aux2 = 9);
        let want = VerifyError::BadAttribute {
            op: 0,
            kind: Aux::Atomic,
            value: 9,
        };
        assert_eq!(error, want);
    }

    #[test]
    fn immediates_have_their_values() {
        let error = spoilt("r1 = add r1, r2", |inst| inst.imm = 1);
        assert_eq!(
            error,
            VerifyError::BadImmediate {
                op: 0,
                kind: Imm::None,
                value: 1
            }
        );
        let error = spoilt("r1 = helper #1 r1, none, r2", |inst| inst.imm = -1);
        assert_eq!(
            error,
            VerifyError::BadImmediate {
                op: 0,
                kind: Imm::Helper,
                value: -1
            }
        );
        let line = "%0:i64, %1:i64 = caspair u64 [r1], r1, r2, r3, r1";
        let error = spoilt(line, |inst| inst.imm = 1 << 16);
        assert_eq!(
            error,
            VerifyError::BadImmediate {
                op: 0,
                kind: Imm::Val,
                value: 1 << 16
            }
        );
    }

    #[test]
    fn operands_exist() {
        for val in [Val::global(99), Val::constant(5), Val::temp(7)] {
            let error = spoilt("r1 = add r1, r2", |inst| inst.b = val);
            assert_eq!(error, VerifyError::OutOfRange { op: 0, val });
            let error = spoilt("r1 = add r1, r2", |inst| inst.d = val);
            assert_eq!(error, VerifyError::OutOfRange { op: 0, val });
        }
        let val = g("r1");
        let error = spoilt("r1 = add r1, r2", |inst| inst.b = Val::NONE);
        assert_eq!(error, VerifyError::Missing { op: 0 });
        let error = spoilt("r1 = add r1, r2", |inst| inst.d = Val::NONE);
        assert_eq!(error, VerifyError::Missing { op: 0 });
        let error = spoilt("r1 = add r1, r2", |inst| inst.c = val);
        assert_eq!(error, VerifyError::Surplus { op: 0, val });
        let error = spoilt("r1 = add r1, r2", |inst| inst.d2 = val);
        assert_eq!(error, VerifyError::Surplus { op: 0, val });
    }

    #[test]
    fn temporaries_are_written_once_before_they_are_read() {
        let val = Val::temp(0);
        let mut late = block("%0:i64 = mov r1\nr2 = mov %0\nexit -> 0");
        late.insts.swap(0, 1);
        assert_eq!(
            verify(&late, &TABLE),
            Err(VerifyError::Undefined { op: 0, val })
        );
        let twice = error("%0:i64 = mov r1\n%0:i64 = mov r2\nexit -> 0");
        assert_eq!(twice, VerifyError::Rewritten { op: 1, val });
        let itself = spoilt("%0:i64 = add r1, r2", |inst| inst.a = val);
        assert_eq!(itself, VerifyError::Undefined { op: 0, val });
    }

    #[test]
    fn wider_integers_are_truncated_and_nothing_else_is_converted() {
        let lines = "b1 = add r1, h1\n%0:i64 = setcond.i8 eq w1, 0x1\nd1 = mov 0x1\nexit -> 0";
        assert_eq!(verify(&block(lines), &TABLE), Ok(()));
        let mismatch = |line: &str| match error(&format!("{line}\nexit -> 0")) {
            VerifyError::TypeMismatch {
                op: 0, have, want, ..
            } => (have, want),
            other => panic!("{line}: {other}"),
        };
        assert_eq!(mismatch("r1 = add r1, w1"), (Type::I32, Type::I64));
        assert_eq!(mismatch("d1 = fadd rne d1, s1"), (Type::F32, Type::F64));
        assert_eq!(mismatch("r1 = mov d1"), (Type::F64, Type::I64));
        assert_eq!(mismatch("r1 = load u64 [w1]"), (Type::I32, Type::I64));
        assert_eq!(mismatch("r1 = add.i32 w1, w2"), (Type::I64, Type::I32));
        assert_eq!(mismatch("w1 = setcond eq r1, r2"), (Type::I32, Type::I64));
        assert_eq!(mismatch("d1 = nanbox d2"), (Type::F64, Type::F32));
        assert_eq!(mismatch("orflags w1"), (Type::I32, Type::I64));
    }

    #[test]
    fn constants_stand_where_they_may() {
        let c = Val::constant(0);
        let error = spoilt("r1 = add r1, 0x5", |inst| inst.d = c);
        assert_eq!(error, VerifyError::Constness { op: 0, val: c });
        let error = spoilt("call 0x8 -> 0", |inst| inst.a = g("r1"));
        assert_eq!(
            error,
            VerifyError::Constness {
                op: 0,
                val: g("r1")
            }
        );
        let mut vector = block("v1 = mov v2\nr1 = mov 0x0\nexit -> 0");
        vector.insts[0].a = c;
        let want = VerifyError::Constness { op: 0, val: c };
        assert_eq!(verify(&vector, &TABLE), Err(want));
    }

    #[test]
    fn uses_are_counted() {
        let mut counted = block("%0:i64 = mov r1\nr2 = add %0, %0\nexit -> 0");
        assert_eq!(verify(&counted, &TABLE), Ok(()));
        counted.temps[0].uses = 1;
        let want = VerifyError::UseCount {
            temp: 0,
            counted: 1,
            found: 2,
        };
        assert_eq!(verify(&counted, &TABLE), Err(want));
    }
}
