//! Guest memory behind a software TLB: probes in line, the slow path out of line, and one probe
//! for several accesses off one register.
//!
//! A probe compares the page of the access's last byte (for an atomic, the alignment bits too)
//! with the tag of the first byte's entry, so that what crosses a page or is misaligned for an
//! atomic misses. What misses is performed by the [`MemFunction`].
//!
//! Coalescing: the first of several loads (or stores) off one base value probes for all of their
//! bytes at once and leaves the addend in [`Header::mem_addends`]; the others use that. They are
//! all in one block, with no write to the base, call, helper or fence between. Each slow path
//! taken by anything makes all addends unknown; where one is unknown (also because the bytes lie
//! in two pages), the access probes for itself, out of line.

use crate::Memory;
use crate::asm::{Alu, Cc, Fix, Mem, RAX, RCX, RDX, Rm, Shift, v};
use crate::emit::{Cold, Compile};
use crate::header::{ADDENDS, Header, JUMP_CACHE_LEN, TLB_ADDEND, TLB_READ, TLB_WRITE};
use crate::regs::{Opnd, header};
use isomorph_ir::{AtomicOp, Inst, MemOp, Op, Order, Type, Val};
use std::mem::offset_of;

/// The slow path of [`Memory::Tlb`]: `(header, address, request, value) -> result`.
///
/// `request` is a [`MemRequest`]; `value` and the result are as [`MemKind`] says. The guest state
/// is complete meanwhile, [`Header::exit_pc`] is the guest pc of the access and
/// [`Header::exit_info`] its address. The function performs the whole access, wherever its bytes
/// lie; it may fill the TLB, and it may change the header's TLB pointer. If the access faults it
/// sets [`Header::mem_fault`], and the result does not count. It must not unwind.
pub type MemFunction =
    unsafe extern "C" fn(header: *mut Header, address: u64, request: u64, value: u64) -> u64;

/// What a [`MemFunction`] is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemKind {
    /// Returns the loaded value, extended.
    Load = 0,
    /// Stores the low bytes of `value`.
    Store = 1,
    /// Applies [`MemRequest::atomic`] with `value`; returns the old value, extended.
    Rmw = 2,
    /// Stores `args[2]` if memory holds `value`; returns the old value, extended.
    Cas = 3,
    /// As `Cas` with 16 bytes, low half first: `args[0..2]` is expected, `args[2..4]` is new;
    /// returns the old low half, the high half goes to `args[1]`.
    CasPair = 4,
    /// Loads and sets the header's reservation; returns the value, extended. Where generated code
    /// reserves, `reserve_addr` is the host address.
    LoadReserved = 5,
    /// Stores `value` if the reservation holds, and ends it; returns 0 if it stored, else 1.
    StoreCond = 6,
}

/// An access, packed: [`MemOp`] in bits 0–7, [`MemKind`] in 8–15, [`AtomicOp`] number in 16–23,
/// bit 24 set if a loaded value is extended to 32 bits only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemRequest(pub u32);

impl MemRequest {
    const NARROW: u32 = 1 << 24;

    const fn new(kind: MemKind, mem: MemOp, atomic: u8, ty: Type) -> Self {
        let narrow = if matches!(ty, Type::I64) {
            0
        } else {
            Self::NARROW
        };
        Self(mem.0 as u32 | (kind as u32) << 8 | (atomic as u32) << 16 | narrow)
    }

    /// Size, order, endianness, and whether it must be aligned (to trap with `Misaligned` if it
    /// is not).
    pub const fn mem(self) -> MemOp {
        MemOp(self.0 as u8)
    }

    /// What to do.
    pub const fn kind(self) -> MemKind {
        match self.0 >> 8 & 0xff {
            0 => MemKind::Load,
            1 => MemKind::Store,
            2 => MemKind::Rmw,
            3 => MemKind::Cas,
            4 => MemKind::CasPair,
            5 => MemKind::LoadReserved,
            _ => MemKind::StoreCond,
        }
    }

    /// The operation of a read-modify-write.
    pub fn atomic(self) -> Option<AtomicOp> {
        match self.kind() {
            MemKind::Rmw => AtomicOp::from_u8((self.0 >> 16) as u8),
            _ => None,
        }
    }

    /// A loaded number (the access's bytes, after a swap if it is big-endian) as the function
    /// returns it.
    pub const fn extend(self, raw: u64) -> u64 {
        let mem = self.mem();
        if mem.size_log2() >= 3 {
            return raw;
        }
        let gone = 64 - mem.bytes() * 8;
        if !mem.signed() {
            return raw << gone >> gone;
        }
        let value = ((raw << gone) as i64 >> gone) as u64;
        if self.0 & Self::NARROW != 0 {
            value as u32 as u64
        } else {
            value
        }
    }
}

/// What the emitter knows of the TLB and of addends while it compiles a block.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    index_mask: i32,
    /// Offsets in a page beyond this one start instructions that may end in the next page.
    last_whole: u64,
    groups: [Option<Group>; ADDENDS],
    /// The cold part of the atomic that is being compiled.
    open: Option<usize>,
}

/// Accesses that share a probe.
#[derive(Clone, Copy, Debug)]
struct Group {
    base: Val,
    write: bool,
    /// The last member's position in the block.
    last: usize,
}

/// Most bytes between the first and the last byte of accesses that share a probe.
const MAX_EXTENT: i64 = 512;
/// Operations that are searched for accesses to share a probe with.
const MAX_SEARCH: usize = 96;
/// Displacements up to this may be added in an address operand.
const MAX_DISP: i64 = 1 << 30;

impl Probes {
    /// None for memory that needs no probes.
    pub(crate) fn new(memory: Memory) -> Option<Self> {
        let Memory::Tlb { bits, longest } = memory else {
            return None;
        };
        Some(Self {
            index_mask: ((1 << bits.min(12)) - 1) << 5,
            last_whole: 0x1000_u64.saturating_sub(longest.into()),
            groups: [None; ADDENDS],
            open: None,
        })
    }
}

/// How an access comes to its addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// Probes for itself.
    Alone,
    /// Probes for bytes `low..high` off the base, and keeps the addend.
    Lead { slot: usize, low: i32, high: i32 },
    /// Uses the addend that is kept.
    Follow { slot: usize },
}

/// An access that misses, out of line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColdMem {
    from: Fix,
    /// Where the access itself is.
    access: u32,
    /// What follows the access.
    back: u32,
    pc: u64,
    request: MemRequest,
    at: Mem,
    /// The second is the new value of a compare-and-swap.
    values: [Option<Opnd>; 2],
    result: Option<Opnd>,
    /// Gets the addend.
    addend: u8,
    /// Free.
    tmp: u8,
    share: Share,
}

/// Registers of a probe: where the address is, what gets the addend, what is used beside.
#[derive(Clone, Copy)]
struct Probe {
    at: Mem,
    addend: u8,
    tmp: u8,
}

const fn addend_slot(n: usize) -> Mem {
    header(offset_of!(Header, mem_addends)).offset(n as i32 * 8)
}

/// True for stores and atomics that may store.
fn writes(op: Op) -> bool {
    !matches!(op, Op::Load | Op::LoadReserved)
}

/// The bytes off its base that an access touches, if it may share a probe.
fn extent(i: &Inst) -> Option<(i64, i64)> {
    let mem = MemOp(i.aux);
    let plain = matches!(i.op, Op::Load | Op::Store) && mem.size_log2() <= 3 && !mem.aligned();
    let named = i.a.as_global().is_some() || i.a.as_temp().is_some();
    let near = i.imm.unsigned_abs() < MAX_DISP as u64 / 2;
    (plain && named && near).then(|| (i.imm, i.imm + i64::from(mem.bytes())))
}

impl Compile<'_> {
    /// An operand with a base register for the guest address `a + disp`.
    fn guest_address(&mut self, a: Opnd, disp: i64) -> Mem {
        if let Opnd::I(base) = a {
            let r = self.reg(Opnd::I(base.wrapping_add(disp as u64)));
            return Mem::base(r, 0);
        }
        if (-MAX_DISP..MAX_DISP).contains(&disp) {
            let r = self.reg(a);
            self.regs.restart_scratch([Opnd::R(r); 2]);
            return Mem::base(r, disp as i32);
        }
        let r = self.regs.scratch(self.asm);
        self.asm.mov_imm(r, disp as u64);
        let a = self.rm(a);
        self.asm.alu(Alu::Add, true, r, a);
        self.regs.restart_scratch([Opnd::R(r); 2]);
        Mem::base(r, 0)
    }

    /// The address of an access and the registers for its probe. They are not taken: the result
    /// may be in them.
    fn probe_registers(&mut self, i: &Inst, a: Opnd, keep: Opnd) -> Probe {
        let at = self.guest_address(a, i.imm);
        if let Opnd::R(r) = keep {
            self.regs.lock(r);
        }
        let (addend, tmp) = (self.regs.scratch(self.asm), self.regs.scratch(self.asm));
        self.regs.release_scratch(addend);
        self.regs.release_scratch(tmp);
        Probe { at, addend, tmp }
    }

    /// How access `i` comes to its addend.
    fn share(&mut self, i: &Inst) -> Share {
        let write = writes(i.op);
        let Some(probes) = self.tlb.as_mut() else {
            return Share::Alone;
        };
        let now = self.at;
        if let Some(own) = extent(i) {
            let mine = |g: &Option<Group>| {
                g.is_some_and(|g| g.base == i.a && g.write == write && now <= g.last)
            };
            if let Some(slot) = probes.groups.iter().position(mine) {
                return Share::Follow { slot };
            }
            let free = |g: &Option<Group>| g.is_none_or(|g| g.last < now);
            let slot = probes.groups.iter().position(free);
            if let (Some(slot), Some((low, high, last))) = (slot, self.followers(i, own)) {
                self.set_group(
                    slot,
                    Group {
                        base: i.a,
                        write,
                        last,
                    },
                );
                return Share::Lead { slot, low, high };
            }
        }
        Share::Alone
    }

    fn set_group(&mut self, slot: usize, group: Group) {
        if let Some(probes) = self.tlb.as_mut() {
            probes.groups[slot] = Some(group);
        }
    }

    /// The bytes that `i` and the accesses that can share its probe touch, and the last one's
    /// position, if there is another.
    fn followers(&self, i: &Inst, own: (i64, i64)) -> Option<(i32, i32, usize)> {
        let (mut low, mut high) = own;
        let mut last = None;
        let overwrites = |n: &Inst| n.d == i.a || n.d2 == i.a;
        if overwrites(i) {
            return None;
        }
        let rest = self.block.insts.iter().enumerate().skip(self.at + 1);
        for (n, next) in rest.take(MAX_SEARCH) {
            use Op::{Call, CallHelper, CallInd, Exit, Fence, Jump, Trap};
            if matches!(
                next.op,
                Call | CallHelper | CallInd | Exit | Fence | Jump | Trap
            ) {
                break;
            }
            if next.op == Op::InsnStart {
                continue;
            }
            if next.op == i.op
                && next.a == i.a
                && let Some((l, h)) = extent(next)
            {
                if high.max(h) - low.min(l) > MAX_EXTENT {
                    break;
                }
                (low, high, last) = (low.min(l), high.max(h), Some(n));
            }
            if overwrites(next) {
                break;
            }
        }
        Some((low as i32, high as i32, last?))
    }

    /// Compares the tag for the bytes from `first` to `last`; misses go to the result.
    fn compare_tag(&mut self, p: Probe, first: Mem, last: Mem, keep: i32, write: bool) -> Fix {
        let index_mask = self.tlb.as_ref().map_or(0, |t| t.index_mask);
        let tag = if write { TLB_WRITE } else { TLB_READ };
        self.asm.lea(false, p.addend, first);
        self.asm.shift_imm(Shift::Shr, false, p.addend, 7);
        self.asm
            .alu_imm(Alu::And, false, Rm::R(p.addend), index_mask);
        let entries = header(offset_of!(Header, tlb));
        self.asm.alu(Alu::Add, true, p.addend, Rm::M(entries));
        self.asm.lea(true, p.tmp, last);
        self.asm.alu_imm(Alu::And, true, Rm::R(p.tmp), keep);
        let tag = Mem::base(p.addend, tag as i32);
        self.asm.alu(Alu::Cmp, true, p.tmp, Rm::M(tag));
        let miss = self.asm.jcc(Cc::Ne);
        self.asm
            .load(true, p.addend, Mem::base(p.addend, TLB_ADDEND as i32));
        miss
    }

    /// The probe of one load or store alone.
    fn probe_alone(&mut self, p: Probe, mem: MemOp, write: bool) -> Fix {
        let n = mem.bytes() as i32;
        if mem.aligned() {
            return self.compare_tag(p, p.at, p.at, !0xfff | (n - 1), write);
        }
        self.compare_tag(p, p.at, p.at.offset(n - 1), !0xfff, write)
    }

    /// Brings the addend of access `i` to its register, or goes to the result.
    fn find_addend(&mut self, p: Probe, i: &Inst, share: Share) -> Fix {
        let (mem, write) = (MemOp(i.aux), writes(i.op));
        match share {
            Share::Alone => self.probe_alone(p, mem, write),
            Share::Lead { slot, low, high } => {
                let own = i.imm as i32;
                let (first, last) = (p.at.offset(low - own), p.at.offset(high - 1 - own));
                let miss = self.compare_tag(p, first, last, !0xfff, write);
                self.asm.store(true, addend_slot(slot), p.addend);
                miss
            }
            Share::Follow { slot } => {
                self.asm.load(true, p.addend, addend_slot(slot));
                self.asm.test_imm(false, Rm::R(p.addend), 1);
                self.asm.jcc(Cc::Ne)
            }
        }
    }

    pub(crate) fn tlb_load(&mut self, i: &Inst) {
        let mem = MemOp(i.aux);
        let float = i.ty.is_float();
        let a = self.take(i.a);
        let odd = float && mem.bytes() != i.ty.bytes();
        if i.ty == Type::V128 || mem.size_log2() > 3 || odd {
            return self.unsupported(i);
        }
        let share = self.share(i);
        let p = self.probe_registers(i, a, Opnd::I(0));
        // Registers are chosen before code splits in two.
        let d = if float {
            Opnd::X(self.dst_x(i.d, Opnd::I(0)))
        } else {
            Opnd::R(self.dst(i.d, a))
        };
        let from = self.find_addend(p, i, share);
        let access = self.asm.pos();
        let host = p.at.plus(p.addend);
        match d {
            Opnd::X(x) if mem.big_endian() => {
                let ty = if i.ty == Type::F32 {
                    Type::I32
                } else {
                    Type::I64
                };
                self.load_int(p.tmp, ty, mem, host);
                self.asm.vex(v::MOV_FROM_INT, true, x, 0, Rm::R(p.tmp));
            }
            Opnd::X(x) => {
                let single = i.ty == Type::F32;
                let op = if single { v::MOVSS_LOAD } else { v::MOVSD_LOAD };
                self.asm.vex(op, false, x, 0, Rm::M(host));
            }
            Opnd::R(r) => self.load_int(r, i.ty, mem, host),
            _ => {}
        }
        self.push_cold(p, i, from, access, share, None, Some(d));
        match d {
            Opnd::X(x) => self.regs.finish_x(self.asm, i.d, x),
            Opnd::R(r) => self.finish(i.d, r),
            _ => {}
        }
    }

    pub(crate) fn tlb_store(&mut self, i: &Inst) {
        let mem = MemOp(i.aux);
        let (a, mut b) = (self.take(i.a), self.take(i.b));
        if i.ty == Type::V128 || mem.size_log2() > 3 {
            return self.unsupported(i);
        }
        let share = self.share(i);
        let easy = matches!(a, Opnd::R(r) if r >= 3) && i.imm.unsigned_abs() < MAX_DISP as u64;
        if let Opnd::R(r) = b
            && r < 3
            && !easy
        {
            // Four registers were needed else.
            b = Opnd::M(header(offset_of!(Header, scratch)));
            self.store_slot(header(offset_of!(Header, scratch)), Opnd::R(r));
            self.regs.restart_scratch([a, a]);
        }
        let p = self.probe_registers(i, a, b);
        let from = self.find_addend(p, i, share);
        let access = self.asm.pos();
        self.store_value(mem, p.at.plus(p.addend), b, p.tmp);
        self.push_cold(p, i, from, access, share, Some(b), None);
        if mem.order() == Order::SeqCst {
            self.full_fence();
        }
    }

    /// Stores `b`, by way of `tmp` if need be.
    fn store_value(&mut self, mem: MemOp, host: Mem, b: Opnd, tmp: u8) {
        let size = mem.size_log2();
        let swap = mem.big_endian() && size != 0;
        let direct = match b {
            Opnd::R(_) => true,
            Opnd::I(x) => !swap && (size < 3 || x as i32 as i64 as u64 == x),
            Opnd::X(_) => !swap && size >= 2,
            Opnd::M(_) => false,
        };
        let b = if direct {
            b
        } else {
            self.to(true, tmp, b);
            Opnd::R(tmp)
        };
        match b {
            Opnd::R(r) if swap => self.store_swapped(mem, host, r),
            Opnd::X(x) => {
                let op = if size == 3 {
                    v::MOVSD_STORE
                } else {
                    v::MOVSS_STORE
                };
                self.asm.vex(op, false, x, 0, Rm::M(host));
            }
            _ => self.store_int(mem, host, b),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one field of the cold part"
    )]
    fn push_cold(
        &mut self,
        p: Probe,
        i: &Inst,
        from: Fix,
        access: u32,
        share: Share,
        value: Option<Opnd>,
        result: Option<Opnd>,
    ) {
        let kind = if i.op == Op::Load {
            MemKind::Load
        } else {
            MemKind::Store
        };
        self.cold.push(Cold::Mem(ColdMem {
            from,
            access,
            back: self.asm.pos(),
            pc: self.pc,
            request: MemRequest::new(kind, MemOp(i.aux), 0, i.ty),
            at: p.at,
            values: [value, None],
            result,
            addend: p.addend,
            tmp: p.tmp,
            share,
        }));
    }

    /// Brings the host address of an atomic, whose scratch registers are free but for `rdx` in
    /// `at`, to `rdx`. [`Self::end_atomic`] follows when its result is in `rax`.
    pub(crate) fn tlb_atomic(&mut self, i: &Inst, at: Mem, values: &[Opnd]) -> Mem {
        let kind = match i.op {
            Op::AtomicRmw => MemKind::Rmw,
            Op::Cas => MemKind::Cas,
            Op::LoadReserved => MemKind::LoadReserved,
            _ => MemKind::StoreCond,
        };
        let values = [values.first().copied(), values.get(1).copied()];
        let (addend, tmp) = (RAX, RCX);
        self.probe_atomic(Probe { at, addend, tmp }, i, kind, values);
        self.asm.lea(true, RDX, at.plus(RAX));
        Mem::base(RDX, 0)
    }

    /// Brings the host address of a compare-and-swap of a pair from `rax` there, its operands
    /// being in the header.
    pub(crate) fn tlb_cas_pair(&mut self, i: &Inst) {
        let (at, addend, tmp) = (Mem::base(RAX, 0), RCX, RDX);
        self.probe_atomic(Probe { at, addend, tmp }, i, MemKind::CasPair, [None; 2]);
        self.asm.alu(Alu::Add, true, RAX, Rm::R(RCX));
    }

    fn probe_atomic(&mut self, p: Probe, i: &Inst, kind: MemKind, values: [Option<Opnd>; 2]) {
        let mut mem = MemOp(i.aux);
        if kind == MemKind::CasPair {
            mem = MemOp(mem.0 & !7 | 4).with_alignment();
        }
        let keep = !0xfff | (mem.bytes() as i32 - 1);
        let from = self.compare_tag(p, p.at, p.at, keep, writes(i.op));
        let access = self.asm.pos();
        if let Some(probes) = self.tlb.as_mut() {
            probes.open = Some(self.cold.len());
        }
        self.cold.push(Cold::Mem(ColdMem {
            from,
            access,
            back: access,
            pc: self.pc,
            request: MemRequest::new(kind, mem, i.aux2, i.ty),
            at: p.at,
            values,
            result: Some(Opnd::R(RAX)),
            addend: p.addend,
            tmp: p.tmp,
            share: Share::Alone,
        }));
    }

    /// The slow path of the atomic that was begun joins here.
    #[inline]
    pub(crate) fn end_atomic(&mut self) {
        let Some(n) = self.tlb.as_mut().and_then(|p| p.open.take()) else {
            return;
        };
        if let Some(Cold::Mem(cold)) = self.cold.get_mut(n) {
            cold.back = self.asm.pos();
        }
    }

    pub(crate) fn cold_mem(&mut self, c: &ColdMem) {
        self.asm.bind(c.from);
        if c.share != Share::Alone {
            let p = Probe {
                at: c.at,
                addend: c.addend,
                tmp: c.tmp,
            };
            let write = c.request.kind() == MemKind::Store;
            let miss = self.probe_alone(p, c.request.mem(), write);
            if let Share::Lead { slot, .. } = c.share {
                self.asm.store_imm(true, addend_slot(slot), 1);
            }
            self.asm.jmp_to(c.access);
            self.asm.bind(miss);
            self.asm.reserve();
        }
        self.asm.lea(true, c.tmp, c.at);
        self.asm
            .store(true, header(offset_of!(Header, exit_info)), c.tmp);
        let scratch = header(offset_of!(Header, scratch));
        let args = header(offset_of!(Header, args));
        for (value, slot) in c
            .values
            .into_iter()
            .zip([scratch.offset(24), args.offset(16)])
        {
            if let Some(o) = value {
                self.to(true, c.tmp, o);
                self.asm.store(true, slot, c.tmp);
            }
        }
        self.asm.mov_imm(c.tmp, c.pc);
        self.asm
            .store(true, header(offset_of!(Header, exit_pc)), c.tmp);
        self.asm
            .store_imm(true, scratch.offset(16), c.request.0 as i32);
        self.asm.call_runtime(self.rt.mem_slow);
        match c.result {
            Some(Opnd::R(r)) => self.asm.load(true, r, scratch.offset(24)),
            Some(Opnd::X(x)) => {
                self.asm
                    .vex(v::MOVSD_LOAD, false, x, 0, Rm::M(scratch.offset(24)));
            }
            _ => {}
        }
        if c.request.kind() == MemKind::CasPair {
            self.asm.load(true, RDX, args.offset(8));
        }
        self.asm.jmp_to(c.back);
    }

    /// True if a direct exit to `target` must not be linked, since other code may be mapped there,
    /// or behind it, by the time it is taken.
    pub(crate) fn leaves_page(&self, target: u64) -> bool {
        let Some(probes) = &self.tlb else {
            return false;
        };
        (self.pc ^ target) >> 12 != 0 || target & 0xfff > probes.last_whole
    }

    /// `rax` = `target`; compares it with its jump cache entry, whose code address is the result.
    pub(crate) fn page_probe(&mut self, target: u64) -> Mem {
        let entry = (target >> 1) as usize & (JUMP_CACHE_LEN - 1);
        let cache = header(offset_of!(Header, jump_cache));
        self.asm.load(true, RDX, cache);
        let entry = Mem::base(RDX, entry as i32 * 16);
        self.asm.mov_imm(RAX, target);
        self.asm.alu(Alu::Cmp, true, RAX, Rm::M(entry));
        entry.offset(8)
    }

    /// Leaves for another page.
    pub(crate) fn page_exit(&mut self, target: u64) {
        if self.stepping {
            self.asm.mov_imm(RAX, target);
            return self.asm.jmp_runtime(self.rt.exit_indirect);
        }
        let code = self.page_probe(target);
        self.asm.jcc_runtime(Cc::Ne, self.rt.exit_indirect);
        self.asm.jmp_mem(code);
    }
}
