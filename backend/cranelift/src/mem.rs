//! Guest loads, stores and fences.

use crate::locate;
use crate::translate::{Step, TRUSTED, Translate};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::{FunctionBuilder, Variable};
use isomorph_baseline::{Header, MemKind, Memory, TLB_ADDEND, TLB_READ, TLB_WRITE};
use isomorph_ir::{Inst, MemOp, Op, OpFlags, Order, Region, Site, TrapKind, Type};
use std::collections::HashMap;
use std::mem::offset_of;

/// Flags of accesses to guest memory.
pub(crate) const GUEST: MemFlagsData = MemFlagsData::new();

/// Flags of accesses after which [`Translate::may_fault`] says what is to be recovered.
const RECOVERED: MemFlagsData = GUEST.with_trap_code(Some(locate::RECOVERED));

/// A guest address: a value, and a displacement beside it.
pub(crate) type Place = (Value, i32);

/// An access to guest memory.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub(crate) kind: MemKind,
    pub(crate) mem: MemOp,
    /// The IR's type, to which a loaded value is extended.
    pub(crate) ty: Type,
    /// The number of the operation of a read-modify-write.
    pub(crate) atomic: u8,
}

impl Access {
    /// As `isomorph_baseline::MemRequest` says.
    fn request(self) -> u64 {
        let narrow = u64::from(self.ty != Type::I64);
        u64::from(self.mem.0)
            | (self.kind as u64) << 8
            | u64::from(self.atomic) << 16
            | narrow << 24
    }

    fn writes(self) -> bool {
        !matches!(self.kind, MemKind::Load | MemKind::LoadReserved)
    }

    /// Bits of the address beside the page's that the TLB's tag is compared with, of which byte.
    fn keep(self) -> (i64, i64) {
        let n = i64::from(self.mem.bytes());
        let plain = matches!(self.kind, MemKind::Load | MemKind::Store);
        if self.mem.aligned() || !plain {
            (!0xfff | (n - 1), 0)
        } else {
            (!0xfff, n - 1)
        }
    }
}

/// A tag of no page (see [`isomorph_baseline::TLB_ENTRY_LEN`]).
const NO_PAGE: i64 = 1 << 11;

/// Within how many bytes behind an access another one does not look for its page itself, although
/// it could.
const CLOSE: u64 = 128;

/// What is known of the page of an access for those that follow it.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    /// As in the TLB.
    tag: Variable,
    addend: Variable,
}

impl Page {
    /// That of no access.
    pub(crate) fn none(f: &mut FunctionBuilder<'_>) -> Self {
        let (tag, addend) = (f.declare_var(types::I64), f.declare_var(types::I64));
        let none = f.ins().iconst(types::I64, NO_PAGE);
        f.def_var(tag, none);
        f.def_var(addend, none);
        Self { tag, addend }
    }
}

/// The accesses whose page is likely to be that of one before, their leader, and the distance from
/// that.
pub(crate) fn followers(region: &Region) -> HashMap<Site, (Site, i64)> {
    let probes = region.reprobes.iter();
    probes.map(|p| (p.access, (p.leader, p.delta))).collect()
}

/// An access whose page was found.
struct Found {
    /// Host address minus guest address.
    addend: Value,
    /// Where it goes if its page was not found, unless it leaves the region then.
    far: Option<ir::Block>,
    /// Its entry of the TLB and where in it the tag is, if it was looked up.
    entry: Option<(Value, i32)>,
    /// What is noted of it.
    page: Option<Page>,
}

/// The CLIF type of what an access moves.
pub(crate) fn unit(mem: MemOp) -> Option<ir::Type> {
    Some(match mem.size_log2() {
        0 => types::I8,
        1 => types::I16,
        2 => types::I32,
        3 => types::I64,
        _ => return None,
    })
}

impl Translate<'_> {
    /// The CLIF type of what an access moves, or a refusal.
    pub(crate) fn unit(&self, mem: MemOp) -> Step<ir::Type> {
        unit(mem).map_or_else(|| self.refuse(), Ok)
    }

    /// A number as memory has it, or back.
    fn swapped(&mut self, mem: MemOp, value: Value) -> Value {
        if mem.big_endian() && mem.bytes() > 1 {
            return self.f.ins().bswap(value);
        }
        value
    }

    /// A loaded number extended to `ty`.
    pub(crate) fn extended(&mut self, ty: Type, mem: MemOp, value: Value) -> Step<Value> {
        let to = self.clif(ty)?;
        if mem.signed() && ty.is_int() && self.type_of(value).bits() < to.bits() {
            return Ok(self.f.ins().sextend(to, value));
        }
        Ok(self.resize(value, to))
    }

    /// Performs an access: `fast` does so at a host address, with the displacement of `place`; if
    /// the software TLB does not know the page, the region is left for tier 1's code of it, or the
    /// slow path gives the same result. The new values of an atomic are `values`.
    pub(crate) fn access(
        &mut self,
        access: Access,
        place: Place,
        values: &[Value],
        fast: impl FnOnce(&mut Self, Value) -> Step<Option<Value>>,
    ) -> Step<Option<Value>> {
        let Memory::Tlb { bits, .. } = self.memory else {
            self.check_aligned(access, place.0);
            return fast(self, place.0);
        };
        let found = self.find(access, place, bits);
        let host = self.f.ins().iadd(place.0, found.addend);
        let result = fast(self, host)?;
        let Some(far) = found.far else {
            return Ok(result);
        };
        let done = self.f.create_block();
        let joined = result.map(|value| {
            let ty = self.type_of(value);
            self.f.append_block_param(done, ty)
        });
        let args: Vec<BlockArg> = result.into_iter().map(BlockArg::Value).collect();
        self.f.ins().jump(done, &args);
        self.f.switch_to_block(far);
        let address = self.whole(place);
        let slow = self.slow_path(access, address, values);
        self.reload(&found);
        let args: Vec<BlockArg> = result
            .into_iter()
            .map(|value| {
                let ty = self.type_of(value);
                BlockArg::Value(self.resize(slow, ty))
            })
            .collect();
        self.f.ins().jump(done, &args);
        self.f.switch_to_block(done);
        Ok(joined)
    }

    /// The address of a place.
    fn whole(&mut self, (address, disp): Place) -> Value {
        self.offset(address, disp.into())
    }

    /// Finds the page of an access, and goes to where that was found.
    fn find(&mut self, access: Access, place: Place, bits: u32) -> Found {
        let near = self.f.create_block();
        if let Some((page, last)) = self.probed_before(access) {
            let miss = self.is_out(page, access, place, last);
            let far = self.go_far(miss, near);
            return Found {
                addend: self.f.use_var(page.addend),
                far,
                entry: None,
                page: Some(page),
            };
        }
        let page = self.pages.get(&self.at).copied();
        let Some(stream) = page.filter(|_| self.streams.contains_key(&self.at)) else {
            return self.look_up(access, place, bits, (near, page));
        };
        let again = self.cold_block();
        let miss = self.is_out(stream, access, place, access.keep().1);
        self.f.ins().brif(miss, again, &[], near, &[]);
        self.f.switch_to_block(again);
        let noted = self.cold_block();
        let found = self.look_up(access, place, bits, (noted, page));
        self.f.ins().jump(near, &[]);
        self.f.switch_to_block(near);
        let addend = self.f.use_var(stream.addend);
        Found { addend, ..found }
    }

    /// Looks a page up in the software TLB, notes it, and goes to `near` if it is there.
    fn look_up(
        &mut self,
        access: Access,
        place: Place,
        bits: u32,
        (near, page): (ir::Block, Option<Page>),
    ) -> Found {
        let index_mask = ((1_i64 << bits.min(12)) - 1) << 5;
        let address = self.whole(place);
        let index = self.f.ins().ushr_imm_u(address, 7);
        let index = self.f.ins().band_imm_s(index, index_mask);
        let entries = self.header_word(offset_of!(Header, tlb));
        let entry = self.f.ins().iadd(entries, index);
        let tag = self.tag(access, place, access.keep().1);
        let stream = self.streams.get(&self.at);
        let writes = access.writes() || stream.is_some_and(|s| s.writes);
        let at = if writes { TLB_WRITE } else { TLB_READ } as i32;
        let known = self.f.ins().load(types::I64, TRUSTED, entry, at);
        let miss = self.f.ins().icmp(IntCC::NotEqual, tag, known);
        let far = self.go_far(miss, near);
        let addend_at = TLB_ADDEND as i32;
        let addend = self.f.ins().load(types::I64, TRUSTED, entry, addend_at);
        if let Some(page) = page {
            self.f.def_var(page.tag, tag);
            self.f.def_var(page.addend, addend);
        }
        Found {
            addend,
            far,
            entry: Some((entry, at)),
            page,
        }
    }

    /// The tag of the page of an access's byte `last`.
    fn tag(&mut self, access: Access, (address, disp): Place, last: i64) -> Value {
        let address = self.offset(address, i64::from(disp) + last);
        self.f.ins().band_imm_s(address, access.keep().0)
    }

    /// Goes to `near`, or far away on a miss: to where tier 1 performs the current instruction,
    /// which may well be in a page of a device or of code, or else to the block that is given.
    ///
    /// The way out is the branch's first, so that it is ordered behind loops that it leaves: the
    /// register allocator takes what stands in a loop for as frequent as the loop.
    fn go_far(&mut self, miss: Value, near: ir::Block) -> Option<ir::Block> {
        let far = self.cold_block();
        self.f.ins().brif(miss, far, &[], near, &[]);
        let leaves = self.may_leave();
        if leaves {
            self.f.switch_to_block(far);
            self.leave_here();
        }
        self.f.switch_to_block(near);
        (!leaves).then_some(far)
    }

    /// Whether tier 1 may do the current instruction from its beginning: it has changed nothing
    /// yet. That at the entry stays here, as tier 1 would come back to it.
    fn may_leave(&self) -> bool {
        let entry = self.region.blocks[self.region.entry].pc;
        if self.ways.alone || self.pc == entry {
            return false;
        }
        let before = self.region.blocks[self.at.block].insts[..self.at.inst].iter();
        let of_this = before.rev().take_while(|i| i.op != Op::InsnStart);
        let changes = |i: &Inst| {
            let pure = i.op == Op::Nop || i.op.info().flags.has(OpFlags::PURE);
            let results = [i.d, i.d2].into_iter();
            !pure || results.filter_map(|v| v.as_global()).next().is_some()
        };
        !of_this.clone().any(changes)
    }

    /// Whether the access's byte `last` is not in the page that was noted.
    fn is_out(&mut self, page: Page, access: Access, place: Place, last: i64) -> Value {
        let tag = self.tag(access, place, last);
        let known = self.f.use_var(page.tag);
        self.f.ins().icmp(IntCC::NotEqual, tag, known)
    }

    /// Notes for the accesses that come after one whose slow path has come back what is known
    /// since: what the TLB knows of this page, and nothing of others, as any translation may have
    /// changed.
    fn reload(&mut self, found: &Found) {
        self.forget_pages();
        let (Some(page), Some((entry, at))) = (found.page, found.entry) else {
            return;
        };
        let tag = self.f.ins().load(types::I64, TRUSTED, entry, at);
        self.f.def_var(page.tag, tag);
        let at = TLB_ADDEND as i32;
        let addend = self.f.ins().load(types::I64, TRUSTED, entry, at);
        self.f.def_var(page.addend, addend);
    }

    /// Any translation may have changed: nothing that was noted holds.
    pub(crate) fn forget_pages(&mut self) {
        for n in 0..self.noted.len() {
            let none = self.f.ins().iconst(types::I64, NO_PAGE);
            self.f.def_var(self.noted[n].tag, none);
        }
    }

    /// What is known of the current access's page from one that has run before, if the page of
    /// one byte tells that the access is in it: the number of that byte.
    fn probed_before(&self, access: Access) -> Option<(Page, i64)> {
        let (leader, delta) = *self.followers.get(&self.at)?;
        let close = leader.block == self.at.block && delta.unsigned_abs() <= CLOSE;
        if !close && self.streams.contains_key(&self.at) {
            return None;
        }
        let before = MemOp(self.region.inst(leader)?.aux);
        let (n, first) = (i64::from(access.mem.bytes()), i64::from(before.bytes()));
        let page = *self.pages.get(&leader)?;
        // Aligned, it cannot reach into another page than its first byte's.
        let last = match access.keep() {
            (_, 0) => 0,
            (_, last) if delta >= 0 => last,
            _ if delta + n <= first => 0,
            _ => return None,
        };
        Some((page, last))
    }

    /// Has the runtime perform an access. If that faults it does not come back.
    fn slow_path(&mut self, access: Access, address: Value, values: &[Value]) -> Value {
        self.write_back();
        let args = offset_of!(Header, args);
        let places = [offset_of!(Header, scratch), args + 16];
        for (&value, place) in values.iter().zip(places) {
            let value = self.resize(value, types::I64);
            self.set_header(place, value);
        }
        let request = self.word(access.request());
        self.set_header(offset_of!(Header, scratch) + 16, request);
        let pc = self.word(self.pc);
        self.set_header(offset_of!(Header, exit_pc), pc);
        self.set_header(offset_of!(Header, exit_info), address);
        self.call_slow();
        self.header_word(offset_of!(Header, scratch) + 24)
    }

    /// Traps if the address is not a multiple of the access size but must be.
    fn check_aligned(&mut self, access: Access, address: Value) {
        let n = i64::from(access.mem.bytes());
        if !access.mem.aligned() || n == 1 {
            return;
        }
        let off = self.f.ins().band_imm_u(address, n - 1);
        let pc = self.pc;
        self.trap_where(off, TrapKind::Misaligned as u8, pc, address);
    }

    pub(crate) fn load(&mut self, i: &Inst) -> Step {
        let mem = MemOp(i.aux);
        let (unit, to) = (self.unit(mem)?, self.clif(i.ty)?);
        if unit.bits() > to.bits() || i.ty.is_float() && unit != to {
            return self.refuse();
        }
        let address = self.read(i.a, Type::I64)?;
        let place = self.displaced(address, i.imm);
        let access = Access {
            kind: MemKind::Load,
            mem,
            ty: i.ty,
            atomic: 0,
        };
        let value = self.access(access, place, &[], |t, host| {
            let value = t.load_from(i.ty, mem, unit, (host, place.1))?;
            Ok(Some(value))
        })?;
        match value {
            Some(value) => self.write(i.d, value),
            None => self.malformed(),
        }
    }

    /// A number at a host address, extended to `ty`.
    fn load_from(
        &mut self,
        ty: Type,
        mem: MemOp,
        unit: ir::Type,
        (host, disp): (Value, i32),
    ) -> Step<Value> {
        let flags = self.flags();
        let to = self.clif(ty)?;
        let extends = unit.bits() < to.bits();
        if !extends || mem.big_endian() && mem.bytes() > 1 {
            let value = self.f.ins().load(unit, flags, host, disp);
            self.faults();
            let value = self.swapped(mem, value);
            return self.extended(ty, mem, value);
        }
        // One operation that extends: what follows an access is not merged with it.
        let ins = self.f.ins();
        let value = match (unit, mem.signed() && ty.is_int()) {
            (types::I8, false) => ins.uload8(to, flags, host, disp),
            (types::I8, true) => ins.sload8(to, flags, host, disp),
            (types::I16, false) => ins.uload16(to, flags, host, disp),
            (types::I16, true) => ins.sload16(to, flags, host, disp),
            (_, false) => ins.uload32(flags, host, disp),
            (_, true) => ins.sload32(flags, host, disp),
        };
        self.faults();
        Ok(value)
    }

    fn flags(&self) -> MemFlagsData {
        match self.memory {
            Memory::Identity => RECOVERED,
            Memory::Tlb { .. } => GUEST,
        }
    }

    /// What may fault on the host was just done.
    fn faults(&mut self) {
        if self.memory == Memory::Identity {
            self.may_fault();
        }
    }

    /// An address and the displacement that is left for the access itself.
    fn displaced(&mut self, address: Value, disp: i64) -> Place {
        let checked = self.memory == Memory::Identity && self.checks();
        match i32::try_from(disp) {
            Ok(small) if !checked => (address, small),
            _ => (self.offset(address, disp), 0),
        }
    }

    /// Whether the current access needs its whole address for a check of alignment.
    fn checks(&self) -> bool {
        self.region
            .inst(self.at)
            .is_some_and(|i| MemOp(i.aux).aligned())
    }

    pub(crate) fn store(&mut self, i: &Inst) -> Step {
        let mem = MemOp(i.aux);
        let unit = self.unit(mem)?;
        let whole = self.read(i.b, i.ty)?;
        let address = self.read(i.a, Type::I64)?;
        let place = self.displaced(address, i.imm);
        let access = Access {
            kind: MemKind::Store,
            mem,
            ty: Type::I64,
            atomic: 0,
        };
        self.access(access, place, &[whole], |t, host| {
            let value = t.resize(whole, unit);
            let value = t.swapped(mem, value);
            let flags = t.flags();
            t.f.ins().store(flags, value, host, place.1);
            t.faults();
            Ok(None)
        })?;
        if mem.order() == Order::SeqCst {
            self.f.ins().fence();
        }
        Ok(())
    }

    /// The host is TSO: all but store-load order is there already (SDM Vol. 3 §9.2.2).
    pub(crate) fn fence(&mut self, i: &Inst) -> Step {
        debug_assert_eq!(i.op, Op::Fence);
        if i.aux == Order::SeqCst as u8 {
            self.f.ins().fence();
        }
        Ok(())
    }
}
