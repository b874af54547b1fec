//! The slow path of guest accesses: page walk, TLB fill, devices, what crosses pages.

use super::mailbox::Mailbox;
use super::reserve;
use crate::engine::Engine;
use isomorph_baseline::{GUEST_OFFSET, Header, MemKind, MemRequest};
use isomorph_frontend::{MemoryAccess, PhysicalMemory, SystemGuest, Translation};
use isomorph_ir::TrapKind;
use isomorph_softmmu::{Access, AddressSpace, FlatView, PAGE_SIZE, RamBlock, SoftTlb, Walk};
use std::sync::Arc;

/// Entries of the TLB's banks, log2 (see `isomorph_softmmu::TLB_ENTRIES`).
pub(crate) const TLB_BITS: u32 = isomorph_softmmu::TLB_ENTRIES.trailing_zeros();
/// Banks of the TLB.
const TLB_BANKS: usize = 16;
/// Stores to pages with code after which the blocks there are looked at again.
const CODE_STORES: u64 = 16;

/// Counts of one vCPU's memory accesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmuStats {
    /// Accesses that took the slow path.
    pub slow: u64,
    /// Page walks.
    pub walks: u64,
    /// Accesses to devices.
    pub devices: u64,
    /// Accesses in two pages.
    pub crossing: u64,
    /// Stores to pages with translated code.
    pub code_stores: u64,
    /// Accesses that raised an exception.
    pub faults: u64,
}

/// Where an access of one page goes.
#[derive(Clone, Copy)]
struct Place {
    physical: u64,
}

/// What generated code's slow path works on. Its address is in the header.
pub(crate) struct Mmu<G: SystemGuest> {
    engine: Arc<Engine<G>>,
    space: Arc<AddressSpace>,
    /// The space as it was when the TLB was last emptied.
    pub view: Arc<FlatView>,
    pub tlb: SoftTlb,
    /// The part of the space that holds page tables, as far as the last walk told.
    tables: Option<Tables>,
    mail: Arc<Mailbox<G::State>>,
    /// The exception of the access that faulted.
    pub fault: Option<G::Exception>,
    pub stats: MmuStats,
}

/// RAM that answers at guest-physical addresses `start..start + len`.
struct Tables {
    start: u64,
    len: u64,
    ram: Arc<RamBlock>,
    /// Offset of `start` in the RAM.
    offset: u64,
}

/// Guest-physical memory for page walks.
struct Physical<'a> {
    view: &'a FlatView,
    tables: &'a mut Option<Tables>,
}

impl PhysicalMemory for Physical<'_> {
    #[inline]
    fn load_u64(&mut self, physical: u64) -> Option<u64> {
        if let Some(tables) = self.tables {
            let at = physical.wrapping_sub(tables.start);
            if at < tables.len {
                return tables.ram.load(tables.offset + at, 8);
            }
        }
        let (ram, offset, len) = self.view.ram(physical, false)?;
        *self.tables = Some(Tables {
            start: physical,
            len,
            ram: ram.clone(),
            offset,
        });
        ram.load(offset, 8)
    }

    fn compare_exchange_u64(&mut self, physical: u64, old: u64, new: u64) -> Option<u64> {
        self.view.compare_exchange(physical, 8, old, new)
    }
}

/// What the page table must allow, and which tag remembers it.
fn access_of(kind: MemKind) -> (MemoryAccess, Access) {
    match kind {
        MemKind::Load | MemKind::LoadReserved => (MemoryAccess::Load, Access::Read),
        MemKind::Store | MemKind::StoreCond => (MemoryAccess::Store, Access::Write),
        MemKind::Rmw | MemKind::Cas | MemKind::CasPair => (MemoryAccess::Amo, Access::Write),
    }
}

/// An instruction's page as host memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodePage {
    /// Host address of the instruction.
    pub host: u64,
    /// The translation holds in every address space.
    pub global: bool,
    /// Bytes that share the translation, the guest's page: a power of two.
    pub size: u64,
    /// What protects it has the grain of pages.
    pub whole: bool,
}

impl<G: SystemGuest> Mmu<G> {
    pub fn new(
        engine: Arc<Engine<G>>,
        space: Arc<AddressSpace>,
        mail: Arc<Mailbox<G::State>>,
    ) -> Self {
        Self {
            engine,
            view: space.snapshot(),
            space,
            tlb: SoftTlb::new(TLB_BANKS),
            tables: None,
            mail,
            fault: None,
            stats: MmuStats::default(),
        }
    }

    /// Addresses are answered differently now.
    pub fn renew(&mut self) {
        self.view = self.space.snapshot();
        self.tables = None;
        self.tlb.flush_all();
    }

    /// Translates `va` for an access of `bytes` bytes in one page, and remembers what was found.
    fn walk(
        &mut self,
        state: &G::State,
        va: u64,
        bytes: u64,
        access: MemoryAccess,
        tag: Access,
    ) -> Result<Translation, G::Exception> {
        self.stats.walks += 1;
        let memory = &mut Physical {
            view: &self.view,
            tables: &mut self.tables,
        };
        let found = G::translate_address(state, va, bytes, access, memory)?;
        let walk = Walk {
            physical: found.physical,
            size: found.size,
            read: found.read,
            write: found.write,
            exec: found.exec,
            global: found.global,
        };
        match self.tlb.fill(va, tag, &walk, &self.view) {
            Ok(_) => Ok(found),
            Err(_) => Err(G::bus_error(va, access)),
        }
    }

    /// Where the instruction at `pc` is.
    ///
    /// # Errors
    /// The exception of the fetch.
    pub fn code(&mut self, state: &G::State, pc: u64) -> Result<CodePage, G::Exception> {
        let known = self.tlb.code(pc).or_else(|| {
            self.tlb.recall(pc, Access::Exec);
            self.tlb.code(pc)
        });
        if let Some((host, global, size)) = known {
            let host = host as u64;
            return Ok(CodePage {
                host,
                global,
                size,
                whole: true,
            });
        }
        let found = self.walk(state, pc, G::INSN_ALIGN, MemoryAccess::Fetch, Access::Exec)?;
        let (ram, offset) = match self.view.ram(found.physical, false) {
            Some((ram, offset, _)) => (ram, offset),
            None => return Err(G::bus_error(pc, MemoryAccess::Fetch)),
        };
        if self.engine.rams.keep(ram) {
            ram.watch_code(self.engine.code_watch());
        }
        Ok(CodePage {
            host: ram.host_base() as u64 + offset,
            global: found.global,
            size: found.size,
            whole: found.size >= PAGE_SIZE && self.tlb.code(pc).is_some(),
        })
    }

    /// Performs an access that missed.
    fn access(
        &mut self,
        state: &G::State,
        header: &mut Header,
        address: u64,
        request: MemRequest,
        value: u64,
    ) -> Result<u64, G::Exception> {
        self.stats.slow += 1;
        let mem = request.mem();
        let bytes = u64::from(mem.bytes());
        if mem.aligned() && !address.is_multiple_of(bytes) {
            return Err(self.misaligned(state, header.exit_pc, address));
        }
        let room = PAGE_SIZE - address % PAGE_SIZE;
        if room < bytes {
            return self.access_two(state, address, request, value, room);
        }
        let place = self.place(state, address, bytes, request.kind())?;
        self.perform(header, place, address, request, value)
    }

    /// Where an access of one page goes.
    fn place(
        &mut self,
        state: &G::State,
        va: u64,
        bytes: u64,
        kind: MemKind,
    ) -> Result<Place, G::Exception> {
        let (access, tag) = access_of(kind);
        self.tlb.recall(va, tag);
        if let Some(physical) = self.tlb.lookup(va, tag)
            && !self.may_be_direct(va, tag, physical)
        {
            return Ok(Place { physical });
        }
        let found = self.walk(state, va, bytes, access, tag)?;
        Ok(Place {
            physical: found.physical,
        })
    }

    /// True if stores to `va` take the slow path, and would not any more if the page were looked
    /// up again: it was clean then, or had code.
    fn may_be_direct(&self, va: u64, tag: Access, physical: u64) -> bool {
        let slow = tag == Access::Write && self.tlb.probe(va, tag).is_none();
        let plain = |(ram, offset, _): (&Arc<RamBlock>, u64, u64)| !ram.code().get(offset);
        slow && self.view.ram(physical, true).is_some_and(plain)
    }

    /// A load or store whose last bytes are in the page after `room` bytes. Nothing is stored if
    /// either page refuses.
    fn access_two(
        &mut self,
        state: &G::State,
        address: u64,
        request: MemRequest,
        value: u64,
        room: u64,
    ) -> Result<u64, G::Exception> {
        self.stats.crossing += 1;
        let (mem, kind) = (request.mem(), request.kind());
        let bytes = u64::from(mem.bytes());
        let second = address.wrapping_add(room);
        let first = self.place(state, address, room, kind)?;
        let other = self.place(state, second, bytes - room, kind)?;
        let at = |n: u64| {
            if n < room {
                (first.physical + n, address.wrapping_add(n))
            } else {
                (other.physical + (n - room), address.wrapping_add(n))
            }
        };
        let (access, _) = access_of(kind);
        if kind == MemKind::Store {
            let value = in_memory(request, value);
            for n in 0..bytes {
                let (physical, va) = at(n);
                let byte = value >> (8 * n) & 0xff;
                self.write(physical, 1, byte)
                    .map_err(|_| G::bus_error(va, access))?;
            }
            return Ok(0);
        }
        let mut raw = 0;
        for n in 0..bytes {
            let (physical, va) = at(n);
            let byte = self.view.read(physical, 1);
            raw |= byte.map_err(|_| G::bus_error(va, access))? << (8 * n);
        }
        Ok(request.extend(in_memory(request, raw)))
    }

    /// The exception of an access that must be aligned and is not.
    fn misaligned(&mut self, state: &G::State, pc: u64, address: u64) -> G::Exception {
        let insn = self.insn(state, pc);
        let exception = G::exception_of(state, TrapKind::Misaligned, address, &insn);
        exception.unwrap_or_else(|| G::bus_error(address, MemoryAccess::Store))
    }

    /// The bytes of the instruction at `pc`, as far as they can be had.
    pub fn insn(&mut self, state: &G::State, pc: u64) -> Vec<u8> {
        let mut bytes = vec![0; G::INSN_MAX as usize];
        let room = (PAGE_SIZE - pc % PAGE_SIZE).min(G::INSN_MAX) as usize;
        let mut have = 0;
        for (va, part) in [
            (pc, 0..room),
            (pc.wrapping_add(room as u64), room..bytes.len()),
        ] {
            let count = part.len();
            let code = if count == 0 {
                None
            } else {
                self.code(state, va).ok()
            };
            let Some(code) = code else { break };
            let rams = &self.engine.rams;
            let out = &mut bytes[part];
            if rams.at(code.host, |ram, offset| ram.read(offset, out)) != Some(true) {
                break;
            }
            have += count;
        }
        bytes.truncate(have);
        bytes
    }

    /// Performs an access that is in one page.
    fn perform(
        &mut self,
        header: &mut Header,
        place: Place,
        va: u64,
        request: MemRequest,
        value: u64,
    ) -> Result<u64, G::Exception> {
        let kind = request.kind();
        let (access, _) = access_of(kind);
        let size = request.mem().bytes();
        let failed = |_| G::bus_error(va, access);
        match kind {
            MemKind::Load => {
                let raw = self.read(place.physical, size).map_err(failed)?;
                Ok(request.extend(in_memory(request, raw)))
            }
            MemKind::Store => {
                let value = in_memory(request, value);
                self.write(place.physical, size, value).map_err(failed)?;
                Ok(0)
            }
            _ => {
                let target = self.view.ram(place.physical, true);
                let Some((ram, offset, _)) = target else {
                    // Atomics on registers of devices: the memory attribute AMONone.
                    return Err(G::bus_error(va, access));
                };
                let ram = ram.clone();
                self.note_code_store(&ram, offset);
                Ok(atomic(header, &ram, offset, request, value)
                    .ok_or_else(|| G::bus_error(va, access))?)
            }
        }
    }

    fn read(&mut self, physical: u64, size: u32) -> Result<u64, isomorph_softmmu::BusError> {
        if self.view.ram(physical, false).is_none() {
            self.stats.devices += 1;
            let value = self.view.read(physical, size);
            self.after_device();
            return value;
        }
        self.view.read(physical, size)
    }

    fn write(
        &mut self,
        physical: u64,
        size: u32,
        value: u64,
    ) -> Result<(), isomorph_softmmu::BusError> {
        if let Some((ram, offset, _)) = self.view.ram(physical, true) {
            let ram = ram.clone();
            self.note_code_store(&ram, offset);
            return self.view.write(physical, size, value);
        }
        self.stats.devices += 1;
        let done = self.view.write(physical, size, value);
        self.after_device();
        done
    }

    /// A device may have changed what answers where: the next access must see that.
    fn after_device(&mut self) {
        if self.mail.wants_flush() {
            self.renew();
        }
    }

    /// Has the blocks of a page with code looked at again after a few stores to it.
    fn note_code_store(&mut self, ram: &RamBlock, offset: u64) {
        if ram.code().get(offset) {
            self.stats.code_stores += 1;
            if self.stats.code_stores.is_multiple_of(CODE_STORES) {
                self.mail.notify(super::mailbox::RECHECK);
            }
        }
    }
}

/// The bytes of an access as memory has them, and back.
fn in_memory(request: MemRequest, value: u64) -> u64 {
    let mem = request.mem();
    if mem.big_endian() {
        value.swap_bytes() >> (64 - mem.bytes() * 8)
    } else {
        value
    }
}

/// Performs an atomic on RAM; `None` if the RAM cannot do it.
fn atomic(
    header: &mut Header,
    ram: &RamBlock,
    offset: u64,
    request: MemRequest,
    value: u64,
) -> Option<u64> {
    let size = request.mem().bytes();
    let host = ram.host_base() as u64 + offset;
    match request.kind() {
        MemKind::LoadReserved => {
            let raw = reserve::load(header, host, || ram.load(offset, size))?;
            header.reserve_value = request.extend(raw);
            Some(header.reserve_value)
        }
        MemKind::StoreCond => reserve::store(header, host, |old| {
            let found = ram.compare_exchange(offset, size, old, value)?;
            Some(cut(found, size) == cut(old, size))
        }),
        MemKind::CasPair => {
            let [a0, a1, b0, b1] = header.args;
            let old = ram.compare_exchange_pair(offset, [a0, a1], [b0, b1])?;
            header.args[1] = old[1];
            Some(old[0])
        }
        MemKind::Cas => {
            let new = header.args[2];
            let old = update(ram, offset, size, |old| {
                (cut(old, size) == cut(value, size)).then_some(new)
            })?;
            Some(request.extend(old))
        }
        _ => {
            let op = request.atomic()?;
            let old = update(ram, offset, size, |old| {
                Some(op.apply(old, value, size * 8))
            })?;
            Some(request.extend(old))
        }
    }
}

/// Replaces `size` aligned bytes by what `new` makes of them (unless that is `None`), in one step
/// that all vCPUs agree on; what they were.
fn update(ram: &RamBlock, offset: u64, size: u32, new: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    // The smallest word that the host exchanges here has 4 bytes.
    let word = size.max(4);
    let start = offset - offset % u64::from(word);
    let shift = (offset - start) * 8;
    let mask = cut(u64::MAX, size) << shift;
    loop {
        let old = ram.load(start, word)?;
        let part = (old & mask) >> shift;
        let Some(value) = new(part) else {
            return Some(part);
        };
        let next = old & !mask | (value << shift & mask);
        if ram.compare_exchange(start, word, old, next)? == old {
            return Some(part);
        }
    }
}

/// The low `size` bytes.
fn cut(value: u64, size: u32) -> u64 {
    value & u64::MAX >> (64 - size * 8)
}

/// What generated code calls for accesses that miss the TLB (`isomorph_baseline::MemFunction`).
///
/// # Safety
/// `header` is the head of a machine's vCPU whose generated code has called, with
/// `header.engine[0]` pointing to its [`Mmu`].
pub(crate) unsafe extern "C" fn slow_path<G: SystemGuest>(
    header: *mut Header,
    address: u64,
    request: u64,
    value: u64,
) -> u64 {
    // SAFETY: generated code waits for this function, so the header, the state behind it and the
    // MMU, which belong to this vCPU and thread, are touched by nobody else.
    let (state, head, mmu) = unsafe {
        let state = &*header.cast::<u8>().add(GUEST_OFFSET).cast::<G::State>();
        let mmu = &mut *((*header).engine[0] as *mut Mmu<G>);
        (state, &mut *header, mmu)
    };
    match mmu.access(state, head, address, MemRequest(request as u32), value) {
        Ok(value) => value,
        Err(exception) => {
            mmu.stats.faults += 1;
            mmu.fault = Some(exception);
            head.mem_fault = 1;
            0
        }
    }
}
