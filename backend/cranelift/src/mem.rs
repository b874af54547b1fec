//! Guest loads, stores and fences.

use crate::locate;
use crate::translate::{Step, TRUSTED, Translate};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::{FunctionBuilder, Variable};
use isomorph_baseline::{Header, MemKind, Memory, TLB_ADDEND, TLB_READ, TLB_WRITE};
use isomorph_ir::{Inst, MemOp, Op, Order, Region, Site, TrapKind, Type};
use std::collections::HashMap;
use std::mem::offset_of;

/// Flags of accesses to guest memory.
pub(crate) const GUEST: MemFlagsData = MemFlagsData::new();

/// Flags of accesses after which [`Translate::may_fault`] says what is to be recovered.
const RECOVERED: MemFlagsData = GUEST.with_trap_code(Some(locate::RECOVERED));

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

/// The accesses whose page is known from one before, their leader, and the distance from that:
/// those of [`Region::reprobes`] between which and their leader there are no others, whose slow
/// paths could change any translation.
pub(crate) fn followers(region: &Region) -> HashMap<Site, (Site, i64)> {
    let mut followers = HashMap::new();
    let mut probes: Vec<_> = region.reprobes.iter().collect();
    probes.sort_unstable_by_key(|probe| probe.access);
    for probe in probes {
        let (leader, access) = (probe.leader, probe.access);
        let block = access.block;
        if leader.block != block || leader.inst >= access.inst {
            continue;
        }
        let between = leader.inst + 1..access.inst;
        let follows = |inst: usize| {
            let before = followers.get(&Site { block, inst });
            let op = region.blocks[block].insts[inst].op;
            !may_be_slow(op) || before.is_some_and(|&(first, _)| first == leader)
        };
        if between.into_iter().all(follows) {
            followers.insert(access, (leader, probe.delta));
        }
    }
    followers
}

/// Whether the operation may do more than compute.
fn may_be_slow(op: Op) -> bool {
    use Op::{AtomicRmw, CallHelper, Cas, CasPair, Load, LoadReserved, Store, StoreCond};
    matches!(
        op,
        Load | Store | AtomicRmw | Cas | CasPair | LoadReserved | StoreCond | CallHelper
    )
}

/// Whether the page of an access is known.
struct Probe {
    hit: Value,
    how: How,
}

enum How {
    /// By an entry of the TLB, whose tag is at `at`; `page` is what is noted of it.
    Entry {
        entry: Value,
        at: i32,
        tag: Value,
        page: Option<Page>,
    },
    /// Since an access before was in it.
    Page(Page),
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

    /// Performs an access: `fast` does so at a host address; if the software TLB does not know
    /// the page, the slow path gives the same result instead. The new values of an atomic are
    /// `values`.
    pub(crate) fn access(
        &mut self,
        access: Access,
        address: Value,
        values: &[Value],
        fast: impl FnOnce(&mut Self, Value) -> Step<Option<Value>>,
    ) -> Step<Option<Value>> {
        let Memory::Tlb { bits, .. } = self.memory else {
            self.check_aligned(access, address);
            return fast(self, address);
        };
        let probe = match self.probed_before(access) {
            Some((page, last)) => self.probe_page(access, address, page, last),
            None => self.probe(access, address, bits),
        };
        let (near, far) = (self.f.create_block(), self.cold_block());
        self.f.ins().brif(probe.hit, near, &[], far, &[]);
        self.f.switch_to_block(near);
        let addend = self.addend(&probe);
        let host = self.f.ins().iadd(address, addend);
        let result = fast(self, host)?;
        let done = self.f.create_block();
        let joined = result.map(|value| {
            let ty = self.type_of(value);
            self.f.append_block_param(done, ty)
        });
        let args: Vec<BlockArg> = result.into_iter().map(BlockArg::Value).collect();
        self.f.ins().jump(done, &args);
        self.f.switch_to_block(far);
        let slow = self.slow_path(access, address, values);
        self.reload(&probe);
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

    /// Looks a page up in the software TLB.
    fn probe(&mut self, access: Access, address: Value, bits: u32) -> Probe {
        let index_mask = ((1_i64 << bits.min(12)) - 1) << 5;
        let index = self.f.ins().ushr_imm_u(address, 7);
        let index = self.f.ins().band_imm_s(index, index_mask);
        let entries = self.header_word(offset_of!(Header, tlb));
        let entry = self.f.ins().iadd(entries, index);
        let (keep, last) = access.keep();
        let tag = self.offset(address, last);
        let tag = self.f.ins().band_imm_s(tag, keep);
        let at = if access.writes() { TLB_WRITE } else { TLB_READ };
        let known = self.f.ins().load(types::I64, TRUSTED, entry, at as i32);
        let hit = self.f.ins().icmp(IntCC::Equal, tag, known);
        let page = self.pages.get(&self.at).copied();
        let how = How::Entry {
            entry,
            at: at as i32,
            tag,
            page,
        };
        Probe { hit, how }
    }

    /// Compares the page of byte `last` with that of an access before.
    fn probe_page(&mut self, access: Access, address: Value, page: Page, last: i64) -> Probe {
        let tag = self.offset(address, last);
        let tag = self.f.ins().band_imm_s(tag, access.keep().0);
        let known = self.f.use_var(page.tag);
        let hit = self.f.ins().icmp(IntCC::Equal, tag, known);
        let how = How::Page(page);
        Probe { hit, how }
    }

    /// Host address minus guest address, after a probe that has hit.
    fn addend(&mut self, probe: &Probe) -> Value {
        match probe.how {
            How::Page(page) => self.f.use_var(page.addend),
            How::Entry {
                entry, tag, page, ..
            } => {
                let at = TLB_ADDEND as i32;
                let addend = self.f.ins().load(types::I64, TRUSTED, entry, at);
                if let Some(page) = page {
                    self.f.def_var(page.tag, tag);
                    self.f.def_var(page.addend, addend);
                }
                addend
            }
        }
    }

    /// Notes for the accesses that follow one whose slow path has come back what is known since:
    /// what the TLB knows, or nothing, as any translation may have changed.
    fn reload(&mut self, probe: &Probe) {
        let (entry, at, page) = match probe.how {
            How::Entry {
                entry,
                at,
                page: Some(page),
                ..
            } => (entry, at, page),
            How::Entry { .. } => return,
            How::Page(page) => {
                let none = self.f.ins().iconst(types::I64, NO_PAGE);
                return self.f.def_var(page.tag, none);
            }
        };
        let tag = self.f.ins().load(types::I64, TRUSTED, entry, at);
        self.f.def_var(page.tag, tag);
        let at = TLB_ADDEND as i32;
        let addend = self.f.ins().load(types::I64, TRUSTED, entry, at);
        self.f.def_var(page.addend, addend);
    }

    /// What is known of the current access's page from one that has run before, if the page of
    /// one byte tells that the access is in it: the number of that byte.
    fn probed_before(&self, access: Access) -> Option<(Page, i64)> {
        let (leader, delta) = *self.followers.get(&self.at)?;
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
        let mut value = address;
        if let Some(&first) = values.first() {
            value = self.resize(first, types::I64);
        }
        if let Some(&second) = values.get(1) {
            let new = self.resize(second, types::I64);
            self.set_header(offset_of!(Header, args) + 16, new);
        }
        let request = self.word(access.request());
        let pc = self.word(self.pc);
        self.call_slow([self.base, address, request, pc, value]);
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
        let (address, disp) = self.displaced(address, i.imm);
        let access = Access {
            kind: MemKind::Load,
            mem,
            ty: i.ty,
            atomic: 0,
        };
        let value = self.access(access, address, &[], |t, host| {
            let value = t.load_from(i.ty, mem, unit, (host, disp))?;
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
    fn displaced(&mut self, address: Value, disp: i64) -> (Value, i32) {
        match i32::try_from(disp) {
            Ok(small) if self.memory == Memory::Identity && !self.checks() => (address, small),
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
        let (address, disp) = self.displaced(address, i.imm);
        let access = Access {
            kind: MemKind::Store,
            mem,
            ty: Type::I64,
            atomic: 0,
        };
        self.access(access, address, &[whole], |t, host| {
            let value = t.resize(whole, unit);
            let value = t.swapped(mem, value);
            let flags = t.flags();
            t.f.ins().store(flags, value, host, disp);
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
