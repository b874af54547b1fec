//! The reference interpreter: what each operation means.
//!
//! Every tier must agree with it. It runs one block at a time over a slice of guest state, a
//! [`Memory`] and the guest's [`Helpers`], and says how the block was left. A block that
//! [`crate::verify`] refuses gives meaningless results here, but no panic.

mod fp;
mod mem;
mod region;

#[cfg(test)]
mod tests;

pub use fp::FpEnv;
pub use mem::{FlatMemory, MemFault, Memory};

use crate::{
    AtomicOp, Block, Cond, GlobalTable, Inst, JumpKind, MemOp, Op, Order, TrapKind, Type, Val, eval,
};

/// How a block was left. The global that holds the program counter has been set to `pc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// To a constant address.
    Direct {
        /// The next guest instruction.
        pc: u64,
    },
    /// To a computed address.
    Indirect {
        /// The next guest instruction.
        pc: u64,
        /// The kind of jump.
        kind: JumpKind,
    },
    /// Into a function.
    Call {
        /// Its first instruction.
        pc: u64,
        /// The return address.
        ret: u64,
    },
    /// Control goes to the owner of the vCPU.
    Trap {
        /// Why.
        kind: TrapKind,
        /// The program counter that the trap names.
        pc: u64,
        /// What else the trap says.
        info: u64,
    },
    /// A memory access failed; the guest state is that before the access.
    Fault {
        /// The instruction that accessed memory.
        pc: u64,
        /// The access.
        fault: MemFault,
    },
}

impl Exit {
    /// The guest program counter after the exit.
    pub fn pc(&self) -> u64 {
        match *self {
            Exit::Direct { pc }
            | Exit::Indirect { pc, .. }
            | Exit::Call { pc, .. }
            | Exit::Trap { pc, .. }
            | Exit::Fault { pc, .. } => pc,
        }
    }
}

/// What a block calls outside of itself.
pub trait Helpers {
    /// Helper number `index` of the guest's table, on the guest state and three arguments.
    fn helper(&mut self, index: u32, state: &mut [u8], fp: &mut FpEnv, args: [u64; 3]) -> u64;

    /// The value of counter `which` (see [`Op::ReadCounter`]).
    fn counter(&mut self, which: u8) -> u64;
}

/// The guest state is shorter than its globals need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest state has {have} bytes, its globals need {need}")]
pub struct StateTooSmall {
    /// Length of the slice.
    pub have: usize,
    /// Length that the globals need.
    pub need: usize,
}

/// One vCPU of the interpreter: what it keeps beside the guest state.
#[derive(Clone, Debug)]
pub struct Interp {
    table: &'static GlobalTable,
    state_len: usize,
    temps: Vec<u128>,
    locals: [u64; Val::LOCALS],
    reservation: Option<Reservation>,
    /// The floating-point environment.
    pub fp: FpEnv,
    /// Guest instructions begun so far.
    pub insns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reservation {
    address: u64,
    bytes: u32,
    token: u128,
}

impl Interp {
    /// A vCPU over these globals, with flags clear and rounding to nearest.
    pub fn new(table: &'static GlobalTable) -> Self {
        let end = |g: &crate::Global| g.offset as usize + g.ty.bytes() as usize;
        Self {
            table,
            state_len: table.globals.iter().map(end).max().unwrap_or(0),
            temps: Vec::new(),
            locals: [0; Val::LOCALS],
            reservation: None,
            fp: FpEnv::default(),
            insns: 0,
        }
    }

    /// Runs `block` on `state` (the bytes of the guest state structure) until it is left.
    pub fn run<M: Memory, H: Helpers>(
        &mut self,
        block: &Block,
        state: &mut [u8],
        memory: &mut M,
        helpers: &mut H,
    ) -> Result<Exit, StateTooSmall> {
        if state.len() < self.state_len {
            return Err(StateTooSmall {
                have: state.len(),
                need: self.state_len,
            });
        }
        self.temps.clear();
        self.temps.resize(block.temps.len(), 0);
        let pc = block.pc;
        let mut run = Run {
            cpu: self,
            block,
            state,
            memory,
            helpers,
            pc,
        };
        let left = block.insts.iter().find_map(|inst| run.step(inst).err());
        let exit = left.unwrap_or(Exit::Direct { pc: block.end });
        run.write(run.cpu.table.pc, u128::from(exit.pc()));
        Ok(exit)
    }
}

/// One run of one block.
struct Run<'a, M, H> {
    cpu: &'a mut Interp,
    block: &'a Block,
    state: &'a mut [u8],
    memory: &'a mut M,
    helpers: &'a mut H,
    /// The guest instruction being executed.
    pc: u64,
}

/// `Err` leaves the block.
type Step<T = ()> = Result<T, Exit>;

impl<M: Memory, H: Helpers> Run<'_, M, H> {
    fn step(&mut self, inst: &Inst) -> Step {
        let Inst { op, ty, aux, .. } = *inst;
        if ty == Type::V128 && op == Op::Mov {
            let value = self.read(inst.a);
            self.write(inst.d, value);
            return Ok(());
        }
        let (a, b, c) = (self.word(inst.a), self.word(inst.b), self.word(inst.c));
        let value = eval::unary(op, ty, aux, a)
            .or_else(|| eval::binary(op, ty, aux, a, b))
            .or_else(|| fp::eval(op, ty, aux, [a, b, c], &mut self.cpu.fp));
        if let Some(value) = value {
            self.set(inst, value);
            return Ok(());
        }
        match op {
            Op::DivWideU | Op::DivWideS => {
                let (q, r) = eval::div_wide(op, ty, a, b, c).unwrap_or_default();
                self.set(inst, q);
                self.write(inst.d2, u128::from(r));
            }
            Op::Select => {
                let from = if self.holds(inst) {
                    c
                } else {
                    self.word(inst.e)
                };
                self.set(inst, eval::zero_extend(ty, from));
            }
            Op::Load | Op::Store | Op::Fence => self.access(inst)?,
            Op::AtomicRmw | Op::Cas | Op::CasPair => self.atomic(inst)?,
            Op::LoadReserved | Op::StoreCond => self.exclusive(inst)?,
            _ => self.control(inst)?,
        }
        Ok(())
    }

    /// What is neither a computation nor a memory access.
    fn control(&mut self, inst: &Inst) -> Step {
        let (a, pc) = (self.word(inst.a), inst.pc());
        match inst.op {
            Op::InsnStart => {
                self.pc = pc;
                self.cpu.insns += 1;
            }
            Op::GetFlags => self.set(inst, u64::from(self.cpu.fp.flags.0)),
            Op::SetFlags => self.cpu.fp.flags.0 = a as u8 & 31,
            Op::OrFlags => self.cpu.fp.flags.0 |= a as u8 & 31,
            Op::SetRound => self.cpu.fp.set_rounding(a),
            Op::ReadCounter => {
                let value = self.helpers.counter(inst.aux);
                self.set(inst, value);
            }
            Op::CallHelper => {
                let args = [a, self.word(inst.b), self.word(inst.c)];
                let fp = &mut self.cpu.fp;
                let value = self.helpers.helper(inst.imm as u32, self.state, fp, args);
                self.set(inst, value);
            }
            Op::TrapIf if self.holds(inst) => {
                return Err(self.trap(inst.aux2, pc, self.word(inst.c)));
            }
            Op::ExitIf if self.holds(inst) => return Err(Exit::Direct { pc }),
            Op::Call => return Err(Exit::Call { pc, ret: a }),
            Op::CallInd => {
                return Err(Exit::Call {
                    pc: a,
                    ret: self.word(inst.b),
                });
            }
            Op::Exit => return Err(Exit::Direct { pc }),
            Op::Jump => {
                let kind = JumpKind::from_u8(inst.aux).unwrap_or(JumpKind::Jump);
                return Err(Exit::Indirect { pc: a, kind });
            }
            Op::Trap => return Err(self.trap(inst.aux, pc, a)),
            _ => {}
        }
        Ok(())
    }

    fn trap(&self, kind: u8, pc: u64, info: u64) -> Exit {
        let kind = TrapKind::from_u8(kind).unwrap_or(TrapKind::Illegal);
        Exit::Trap { kind, pc, info }
    }

    fn holds(&self, inst: &Inst) -> bool {
        let (a, b) = (self.word(inst.a), self.word(inst.b));
        let ty = if inst.ty.is_int() { inst.ty } else { Type::I64 };
        Cond::from_u8(inst.aux).is_some_and(|cond| cond.eval(ty, a, b))
    }

    fn access(&mut self, inst: &Inst) -> Step {
        let mem = MemOp(inst.aux);
        if inst.op == Op::Fence {
            self.memory
                .fence(Order::from_u8(inst.aux).unwrap_or(Order::SeqCst));
            return Ok(());
        }
        let address = self.address(inst, mem, inst.imm)?;
        if inst.op == Op::Load {
            let raw = self.memory.load(address, mem.bytes(), mem.order());
            let raw = raw.map_err(|fault| self.fault(fault))?;
            self.write(inst.d, extend(inst.ty, mem, raw));
        } else {
            let value = in_memory(mem, self.read(inst.b));
            let done = self.memory.store(address, mem.bytes(), mem.order(), value);
            done.map_err(|fault| self.fault(fault))?;
        }
        Ok(())
    }

    fn atomic(&mut self, inst: &Inst) -> Step {
        let mem = MemOp(inst.aux);
        if inst.op == Op::CasPair {
            return self.cas_pair(inst, mem);
        }
        let (bytes, order) = (mem.bytes(), mem.order());
        let address = self.address(inst, mem, 0)?;
        let operand = self.word(inst.b);
        let old = if inst.op == Op::Cas {
            let new = in_memory(mem, self.read(inst.c));
            let expected = in_memory(mem, u128::from(operand));
            self.memory.cas(address, bytes, order, expected, new)
        } else {
            let op = AtomicOp::from_u8(inst.aux2).unwrap_or(AtomicOp::Swap);
            let mut update = |old| {
                in_memory(
                    mem,
                    u128::from(op.apply(in_memory(mem, old) as u64, operand, 8 * mem.bytes())),
                )
            };
            self.memory.rmw(address, bytes, order, &mut update)
        };
        let old = old.map_err(|fault| self.fault(fault))?;
        self.write(inst.d, extend(inst.ty, mem, old));
        Ok(())
    }

    fn cas_pair(&mut self, inst: &Inst, mem: MemOp) -> Step {
        let half = MemOp(mem.0 & !7 | MemOp::U64.0);
        let address = self.word(inst.a);
        if !address.is_multiple_of(16) {
            return Err(self.misaligned(address));
        }
        let pair = |low: u64, high: u64| {
            in_memory(half, u128::from(low)) | in_memory(half, u128::from(high)) << 64
        };
        let expected = pair(self.word(inst.b), self.word(inst.c));
        let new = pair(self.word(inst.e), self.word(Val::from_raw(inst.imm as u16)));
        let old = self.memory.cas(address, 16, mem.order(), expected, new);
        let old = old.map_err(|fault| self.fault(fault))?;
        self.write(inst.d, in_memory(half, old & u128::from(u64::MAX)));
        self.write(inst.d2, in_memory(half, old >> 64));
        Ok(())
    }

    fn exclusive(&mut self, inst: &Inst) -> Step {
        let mem = MemOp(inst.aux);
        let (bytes, order) = (mem.bytes(), mem.order());
        let address = self.address(inst, mem, 0)?;
        if inst.op == Op::LoadReserved {
            let reserved = self.memory.load_reserved(address, bytes, order);
            let (raw, token) = reserved.map_err(|fault| self.fault(fault))?;
            self.cpu.reservation = Some(Reservation {
                address,
                bytes,
                token,
            });
            self.write(inst.d, extend(inst.ty, mem, raw));
            return Ok(());
        }
        let held = self.cpu.reservation.take();
        let held = held.filter(|r| (r.address, r.bytes) == (address, bytes));
        let value = in_memory(mem, self.read(inst.b));
        let done = match held {
            Some(r) => self
                .memory
                .store_conditional(address, bytes, order, r.token, value),
            None => Ok(false),
        };
        let done = done.map_err(|fault| self.fault(fault))?;
        self.set(inst, u64::from(!done));
        Ok(())
    }

    /// The address of an access, or a trap if it must be aligned and is not.
    fn address(&self, inst: &Inst, mem: MemOp, disp: i64) -> Step<u64> {
        let address = self.word(inst.a).wrapping_add(disp as u64);
        if mem.aligned() && !address.is_multiple_of(u64::from(mem.bytes())) {
            return Err(self.misaligned(address));
        }
        Ok(address)
    }

    fn misaligned(&self, address: u64) -> Exit {
        Exit::Trap {
            kind: TrapKind::Misaligned,
            pc: self.pc,
            info: address,
        }
    }

    fn fault(&self, fault: MemFault) -> Exit {
        Exit::Fault { pc: self.pc, fault }
    }

    /// The value of an operand; nothing reads as zero.
    fn read(&self, val: Val) -> u128 {
        if let Some(n) = val.as_temp() {
            return self.cpu.temps.get(n).copied().unwrap_or(0);
        }
        if let Some(value) = self.block.const_value(val) {
            return u128::from(value);
        }
        if let Some(n) = val.as_local() {
            return u128::from(self.cpu.locals[n]);
        }
        let Some(global) = val.as_global().and_then(|n| self.cpu.table.get(n)) else {
            return 0;
        };
        let bytes = &self.state[global.offset as usize..][..global.ty.bytes() as usize];
        let mut value = [0; 16];
        value[..bytes.len()].copy_from_slice(bytes);
        u128::from_le_bytes(value)
    }

    fn word(&self, val: Val) -> u64 {
        self.read(val) as u64
    }

    /// Writes the first result.
    fn set(&mut self, inst: &Inst, value: u64) {
        self.write(inst.d, u128::from(value));
    }

    /// Writes a result; a global takes the bytes that its type has.
    fn write(&mut self, val: Val, value: u128) {
        if let Some(temp) = val.as_temp().and_then(|n| self.cpu.temps.get_mut(n)) {
            *temp = value;
        } else if let Some(n) = val.as_local() {
            self.cpu.locals[n] = value as u64;
        } else if let Some(global) = val.as_global().and_then(|n| self.cpu.table.get(n)) {
            let len = global.ty.bytes() as usize;
            let bytes = &mut self.state[global.offset as usize..][..len];
            bytes.copy_from_slice(&value.to_le_bytes()[..len]);
        }
    }
}

/// A value as the little-endian integer of its bytes in memory, or back.
fn in_memory(mem: MemOp, value: u128) -> u128 {
    let unused = 128 - (8 * mem.bytes()).min(128);
    let low = value << unused;
    if mem.big_endian() {
        low.swap_bytes()
    } else {
        low >> unused
    }
}

/// What a load of `raw` gives on type `ty`.
fn extend(ty: Type, mem: MemOp, raw: u128) -> u128 {
    let value = in_memory(mem, raw);
    if !mem.signed() || !ty.is_int() {
        return value;
    }
    let unused = 128 - (8 * mem.bytes()).min(128);
    let extended = (value << unused) as i128 >> unused;
    u128::from(eval::zero_extend(ty, extended as u64))
}
