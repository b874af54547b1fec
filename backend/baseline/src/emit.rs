//! One pass over a block: the dispatch, operand access and cold code.

use crate::asm::{Asm, Cc, Fix, Mem, RAX, RBP, RCX, RDX, Rm, v};
use crate::compiled::{Compiled, EdgeSite, EmitError, MapEntry, Runtime};
use crate::header::{Header, JUMP_CACHE_OFFSET, RBP_BIAS};
use crate::regs::{Opnd, Regs, header};
use isomorph_ir::{Block, Inst, Op, OpFlags, Type, Val};
use std::mem::offset_of;

/// Code that is seldom run, emitted behind the block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cold {
    /// The interrupt flag was set at the polled entry.
    Poll { from: Fix, pc: u64 },
    /// A trap out of line.
    Trap {
        from: Fix,
        kind: u8,
        pc: u64,
        info: Opnd,
    },
    /// An indirect call that missed the jump cache; goes back to the landing.
    CallMiss { from: Fix, back: u32 },
    /// A division by 0 or -1.
    Div {
        from: Fix,
        back: u32,
        op: Op,
        w: bool,
        by: Opnd,
    },
    /// Loads the canonical NaN into a vector register.
    Nan {
        from: Fix,
        back: u32,
        d: u8,
        ty: Type,
    },
    /// An access that missed the TLB.
    Mem(crate::tlb::ColdMem),
    /// A conditional exit to another page.
    PageExit { from: Fix, target: u64 },
    /// Anything that `fp` does out of line.
    Fp(crate::fp::ColdFp),
}

/// A block on its way to code.
pub(crate) struct Compile<'a> {
    pub(crate) asm: &'a mut Asm,
    pub(crate) regs: &'a mut Regs,
    pub(crate) cold: &'a mut Vec<Cold>,
    pub(crate) rt: &'a Runtime,
    pub(crate) block: &'a Block,
    pub(crate) out: &'a mut Compiled,
    /// Address of the current guest instruction.
    pub(crate) pc: u64,
    /// Position in the block's operations.
    pub(crate) at: usize,
    /// Fixes of `cmp rax, [cell]` by landing.
    pub(crate) cells: &'a mut Vec<Fix>,
    pub(crate) error: Option<EmitError>,
    /// See `Emitter::compile_stepping`.
    pub(crate) stepping: bool,
    /// What is known of the software TLB, if there is one.
    pub(crate) tlb: Option<crate::tlb::Probes>,
}

impl Compile<'_> {
    /// Emits everything for a block whose edges count up from `first_edge`.
    pub(crate) fn run(&mut self, first_edge: u32) -> Result<(), EmitError> {
        self.entry();
        let mut ended = false;
        let block = self.block;
        while let Some(inst) = block.insts.get(self.at) {
            if inst.op == Op::InsnStart {
                self.insn_start(inst);
                self.at += 1;
                continue;
            }
            self.asm.reserve();
            self.regs.next_op();
            self.inst(inst);
            if self.regs.malformed | self.regs.exhausted | self.error.is_some() {
                return Err(self.failure(inst.op));
            }
            self.at += 1;
            if matches!(inst.op, Op::Exit | Op::Jump | Op::Trap) {
                ended = true;
                break;
            }
        }
        if !ended {
            return Err(EmitError::NoEnd);
        }
        self.cold_code();
        self.edge_stubs(first_edge);
        self.landing_cells();
        Ok(())
    }

    fn failure(&self, op: Op) -> EmitError {
        if let Some(e) = self.error {
            return e;
        }
        if self.regs.malformed {
            return EmitError::Malformed { index: self.at, op };
        }
        EmitError::TooManyTemps
    }

    /// Notes that this operation has no code on its type.
    #[cold]
    pub(crate) fn unsupported(&mut self, inst: &Inst) {
        let (index, op) = (self.at, inst.op);
        self.error = Some(EmitError::Unsupported { index, op });
    }

    /// Notes that this operation is malformed.
    #[cold]
    pub(crate) fn malformed(&mut self) {
        self.regs.malformed = true;
    }

    fn entry(&mut self) {
        self.asm.alu_imm(
            crate::asm::Alu::Cmp,
            false,
            Rm::M(header(offset_of!(Header, irq))),
            0,
        );
        let from = self.asm.jcc(Cc::Ne);
        self.cold.push(Cold::Poll {
            from,
            pc: self.block.pc,
        });
        self.out.fast_entry = self.asm.pos();
    }

    #[inline(always)]
    fn insn_start(&mut self, i: &Inst) {
        self.pc = i.pc();
        self.out.map.push(MapEntry {
            host: self.asm.pos(),
            guest_pc: i.pc(),
        });
    }

    #[inline(always)]
    fn inst(&mut self, i: &Inst) {
        match i.op {
            Op::Nop | Op::InsnStart => {}
            Op::Mov => self.mov(i),
            Op::Add => self.add(i),
            Op::Sub => self.sub(i),
            Op::And | Op::Or | Op::Xor => self.logic(i),
            Op::Andc => self.andc(i),
            Op::Mul => self.mul(i),
            Op::Shl | Op::Shr | Op::Sar => self.shift(i),
            Op::Sext | Op::Zext => self.extend(i),
            Op::SetCond => self.setcond(i),
            Op::Select => self.select(i),
            Op::Load => self.op_load(i),
            Op::Store => self.op_store(i),
            Op::ExitIf => self.exit_if(i),
            Op::Exit => self.exit(i),
            Op::Jump => self.jump(i),
            Op::Call => self.call(i),
            Op::CallInd => self.call_indirect(i),
            _ => self.inst_rare(i),
        }
    }

    fn inst_rare(&mut self, i: &Inst) {
        match i.op {
            Op::Rotl | Op::Rotr => self.rotate(i),
            Op::MulHiS | Op::MulHiU | Op::MulHiSU => self.mul_high(i),
            Op::DivS | Op::DivU | Op::RemS | Op::RemU => self.divide(i),
            Op::DivWideU | Op::DivWideS => self.div_wide(i),
            Op::Bswap => self.bswap(i),
            Op::Clz | Op::Ctz | Op::Popcnt => self.count(i),
            Op::Clmul | Op::ClmulHi => self.clmul(i),
            Op::Trap => self.trap(i),
            Op::TrapIf => self.trap_if(i),
            Op::CallHelper => self.call_helper(i),
            Op::ReadCounter => self.read_counter(i),
            Op::Fence => self.fence(i),
            Op::AtomicRmw => self.rmw(i),
            Op::Cas => self.cas(i),
            Op::CasPair => self.cas_pair(i),
            Op::LoadReserved => self.load_reserved(i),
            Op::StoreCond => self.store_cond(i),
            _ => self.fp(i),
        }
    }

    /// Reads an operand.
    #[inline(always)]
    pub(crate) fn take(&mut self, v: Val) -> Opnd {
        self.regs.take(v, self.block)
    }

    /// The value of `o` in a general register (its own, or a scratch register).
    #[inline]
    pub(crate) fn reg(&mut self, o: Opnd) -> u8 {
        match o {
            Opnd::R(r) => r,
            _ => {
                let r = self.regs.scratch(self.asm);
                self.to(true, r, o);
                r
            }
        }
    }

    /// `d = o` (64 bits, or at least the low 32 if not `w`).
    #[inline(never)]
    pub(crate) fn to(&mut self, w: bool, d: u8, o: Opnd) {
        match o {
            Opnd::R(r) => self.asm.mov(true, d, r),
            Opnd::M(m) => self.asm.load(w, d, m),
            Opnd::I(x) => self.asm.mov_imm(d, if w { x } else { u64::from(x as u32) }),
            Opnd::X(x) => self.asm.vex(v::MOV_TO_INT, w, x, 0, Rm::R(d)),
        }
    }

    /// The value of `o` as a register-or-memory operand; constants and vector registers go to a
    /// scratch register.
    #[inline]
    pub(crate) fn rm(&mut self, o: Opnd) -> Rm {
        match o {
            Opnd::R(r) => Rm::R(r),
            Opnd::M(m) => Rm::M(m),
            _ => Rm::R(self.reg(o)),
        }
    }

    /// Where the next operation would move the temporary `d`, if it is its only reader: a result
    /// may be computed there directly.
    #[inline(never)]
    fn hint(&mut self, d: Val) -> Option<Opnd> {
        if self.regs.uses(d) != 1 {
            return None;
        }
        let next = self.block.insts.get(self.at + 1)?;
        let g = next.d.as_global()?;
        let reads = [next.a, next.b, next.c, next.e];
        if !reads.contains(&d) || reads.contains(&next.d) || !next.d2.is_none() {
            return None;
        }
        if next.op.info().flags.has(OpFlags::BARRIER) {
            return None;
        }
        Some(self.regs.place(g))
    }

    /// The general register to compute result `d` in, see [`Regs::dst`].
    #[inline]
    pub(crate) fn dst(&mut self, d: Val, prefer: Opnd) -> u8 {
        let hint = match d.as_temp().and_then(|_| self.hint(d)) {
            Some(Opnd::R(r)) => Some(r),
            _ => None,
        };
        self.regs.dst(self.asm, d, prefer, hint)
    }

    /// The vector register to compute result `d` in.
    #[inline(never)]
    pub(crate) fn dst_x(&mut self, d: Val, prefer: Opnd) -> u8 {
        let hint = match d.as_temp().and_then(|_| self.hint(d)) {
            Some(Opnd::X(x)) => Some(x),
            _ => None,
        };
        self.regs.dst_x(self.asm, d, prefer, hint)
    }

    /// Stores result `d`, computed in `r`, if it lives in memory.
    #[inline(always)]
    pub(crate) fn finish(&mut self, d: Val, r: u8) {
        self.regs.finish(self.asm, d, r);
    }

    /// A direct exit whose displacement is `fix`.
    pub(crate) fn edge(&mut self, fix: Fix, target: u64, call: bool) {
        self.out.edges.push(EdgeSite {
            rel32: fix.0,
            stub: 0,
            target,
            polled: target <= self.pc,
            call,
        });
    }

    /// The jump cache entry for the guest pc in `rax`: compares its tag, with the scaled index
    /// left in `rcx`. Returns the operand of its code address.
    ///
    /// `moves`: the jump cache is where the header says (`rdx` is used).
    pub(crate) fn probe(asm: &mut Asm, moves: bool) -> Mem {
        const MASK: i32 = ((crate::JUMP_CACHE_LEN - 1) << 1) as i32;
        asm.op(crate::asm::MOV_LOAD, false, RCX, Rm::R(RAX));
        asm.alu_imm(crate::asm::Alu::And, false, Rm::R(RCX), MASK);
        let entry = if moves {
            asm.load(true, RDX, header(offset_of!(Header, jump_cache)));
            Mem::index(RDX, RCX, 3, 0)
        } else {
            Mem::index(RBP, RCX, 3, JUMP_CACHE_OFFSET as i32 - RBP_BIAS as i32)
        };
        asm.alu(crate::asm::Alu::Cmp, true, RAX, Rm::M(entry));
        entry.offset(8)
    }

    fn cold_code(&mut self) {
        let mut cold = std::mem::take(self.cold);
        for item in cold.drain(..) {
            self.asm.reserve();
            self.cold_item(item);
        }
        *self.cold = cold;
    }

    fn cold_item(&mut self, item: Cold) {
        match item {
            Cold::Poll { from, pc } => {
                self.asm.bind(from);
                self.asm.mov_imm(RAX, pc);
                self.asm.jmp_runtime(self.rt.exit_irq);
            }
            Cold::Trap {
                from,
                kind,
                pc,
                info,
            } => {
                self.asm.bind(from);
                self.leave_with_trap(kind, pc, info);
            }
            Cold::CallMiss { from, back } => {
                self.asm.bind(from);
                self.asm.call_runtime(self.rt.exit_indirect);
                self.asm.jmp_to(back);
            }
            Cold::Div {
                from,
                back,
                op,
                w,
                by,
            } => {
                self.asm.bind(from);
                self.cold_div(op, w, by);
                self.asm.jmp_to(back);
            }
            Cold::Nan { from, back, d, ty } => {
                self.asm.bind(from);
                self.load_nan(d, ty);
                self.asm.jmp_to(back);
            }
            Cold::Mem(item) => self.cold_mem(&item),
            Cold::PageExit { from, target } => {
                self.asm.bind(from);
                self.page_exit(target);
            }
            Cold::Fp(item) => self.cold_fp(item),
        }
    }

    /// Moves the operands of a trap into place and leaves.
    pub(crate) fn leave_with_trap(&mut self, kind: u8, pc: u64, info: Opnd) {
        self.to(true, RDX, info);
        self.asm.mov_imm(RCX, pc);
        self.asm.mov_imm(RAX, u64::from(kind));
        self.asm.jmp_runtime(self.rt.exit_trap);
    }

    fn edge_stubs(&mut self, first_edge: u32) {
        for n in 0..self.out.edges.len() {
            self.asm.reserve();
            let stub = self.asm.pos();
            let edge = &mut self.out.edges[n];
            edge.stub = stub;
            self.asm.bind_to(Fix(edge.rel32), stub);
            self.asm
                .mov_imm(RAX, u64::from(first_edge.wrapping_add(n as u32)));
            self.asm.jmp_runtime(self.rt.exit_edge);
        }
    }

    fn landing_cells(&mut self) {
        if self.cells.is_empty() {
            return;
        }
        self.asm.align_data(8);
        for (n, fix) in self.cells.drain(..).enumerate() {
            self.asm.reserve();
            let landing = &mut self.out.landings[n];
            landing.cell = self.asm.pos();
            self.asm.bind(fix);
            self.asm.qword(landing.ret_pc);
        }
    }
}
