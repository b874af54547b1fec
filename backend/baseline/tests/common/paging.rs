//! A hand-filled TLB and a slow path over one run of host memory.

use super::{Machine, Random};
use isomorph_baseline::{
    Header, MemKind, MemRequest, RESERVE_LEN, TLB_ADDEND, TLB_ENTRY_LEN, TLB_READ, TLB_WRITE,
};
use isomorph_ir::MemOp;
use std::cell::RefCell;

pub const BITS: u32 = 4;
const ENTRIES: usize = 1 << BITS;
const WORDS: usize = TLB_ENTRY_LEN / 8;
/// Bytes that pages of odd number lie further than the others.
pub const SKEW: u64 = 256;

/// What leads from a guest address to the host's, `host` doing so for even pages.
pub fn addend(host: u64, address: u64) -> u64 {
    host.wrapping_add((address >> 12 & 1) * SKEW)
}

/// What the slow path was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    pub address: u64,
    pub request: MemRequest,
    pub value: u64,
    pub pc: u64,
}

/// What the slow path of this thread's machine knows.
#[derive(Default)]
struct Slow {
    tlb: usize,
    host: u64,
    keep: bool,
    fault: Option<u64>,
    /// The one page that there is, if not all are; and what must be aligned is.
    only: Option<u64>,
    misses: Vec<Miss>,
}

thread_local! {
    static SLOW: RefCell<Slow> = RefCell::default();
}

/// In a tag: no access without the slow path.
const MARK: u64 = 1 << 10;

/// The TLB of the thread's one machine.
pub struct Paging {
    entries: Box<[u64; ENTRIES * WORDS]>,
    /// Host address minus guest address.
    pub host: u64,
    /// The slow path fills the TLB.
    pub keep: bool,
}

impl Paging {
    pub fn new(m: &mut Machine) -> Self {
        let entries = Box::new([MARK; ENTRIES * WORDS]);
        // SAFETY: the header is initialised and no code runs.
        let header = unsafe { &mut *m.header() };
        header.tlb = entries.as_ptr() as usize;
        header.mem_runtime = slow as *const () as usize;
        Self {
            entries,
            host: 0,
            keep: false,
        }
    }

    fn publish(&mut self, (fault, only): (Option<u64>, Option<u64>)) {
        SLOW.set(Slow {
            tlb: self.entries.as_mut_ptr() as usize,
            host: self.host,
            keep: self.keep,
            fault,
            only,
            misses: Vec::new(),
        });
    }

    /// Empties the TLB; accesses to the page of `fault` fault.
    pub fn clear(&mut self, fault: Option<u64>) {
        self.entries.fill(MARK);
        self.publish((fault, None));
    }

    /// Empties the TLB; there is one page, and what is not aligned but should be is refused.
    pub fn clear_but(&mut self, page: u64) {
        self.entries.fill(MARK);
        self.publish((None, Some(page)));
    }

    pub fn fill(&mut self, address: u64, read: bool, write: bool) {
        fill(&mut self.entries[..], address, self.host, (read, write));
    }

    /// Fills at random for the two pages from `address` on.
    pub fn fill_some(&mut self, address: u64, r: &mut Random) {
        self.clear(None);
        for page in [address, address + 4096] {
            self.fill(page, r.below(2) == 0, r.below(2) == 0);
        }
    }

    /// Accesses that took the slow path since the last call of `clear`.
    pub fn misses(&self) -> Vec<Miss> {
        SLOW.with_borrow(|s| s.misses.clone())
    }
}

fn fill(entries: &mut [u64], address: u64, host: u64, (read, write): (bool, bool)) {
    let entry = &mut entries[(address >> 12) as usize % ENTRIES * WORDS..][..WORDS];
    let page = address & !0xfff;
    entry[TLB_READ / 8] = if read { page } else { page | MARK };
    entry[TLB_WRITE / 8] = if write { page } else { page | MARK };
    entry[TLB_ADDEND / 8] = addend(host, address);
}

/// Where an access is.
#[derive(Clone, Copy)]
struct Place {
    host: u64,
    address: u64,
}

impl Place {
    /// Host address of byte `n`.
    fn byte(self, n: u64) -> u64 {
        let at = self.address.wrapping_add(n);
        at.wrapping_add(addend(self.host, at))
    }

    fn read(self, from: u64, bytes: u32) -> u64 {
        (0..u64::from(bytes)).fold(0, |value, n| {
            // SAFETY: tests access only their buffer; no other thread has it.
            let byte = unsafe { *(self.byte(from + n) as *const u8) };
            value | u64::from(byte) << (8 * n)
        })
    }

    fn write(self, from: u64, bytes: u32, value: u64) {
        for n in 0..u64::from(bytes) {
            // SAFETY: as above.
            unsafe { *(self.byte(from + n) as *mut u8) = (value >> (8 * n)) as u8 };
        }
    }
}

/// `value` as memory has it, and back.
fn swapped(mem: MemOp, value: u64) -> u64 {
    if mem.big_endian() {
        value.swap_bytes() >> (64 - mem.bytes() * 8)
    } else {
        value
    }
}

extern "C" fn slow(header: *mut Header, address: u64, request: u64, value: u64) -> u64 {
    // SAFETY: generated code hands over its own header and waits.
    let header = unsafe { &mut *header };
    let request = MemRequest(request as u32);
    SLOW.with_borrow_mut(|s| {
        let pc = header.exit_pc;
        s.misses.push(Miss {
            address,
            request,
            value,
            pc,
        });
        let last = address + u64::from(request.mem().bytes()) - 1;
        let page = |a: u64| Some(a >> 12);
        let bad = s.fault.map(|f| f >> 12);
        if bad.is_some() && (bad == page(address) || bad == page(last)) {
            header.mem_fault = 7;
            return 0xdead;
        }
        if let Some(code) = s.refuses(header, address, request) {
            header.mem_fault = code;
            return 0xdead;
        }
        if s.keep {
            let (first, words) = (s.tlb as *mut u64, ENTRIES * WORDS);
            // SAFETY: the entries outlive the machine's run; generated code waits.
            let entries = unsafe { std::slice::from_raw_parts_mut(first, words) };
            fill(entries, address, s.host, (true, true));
        }
        let place = Place {
            host: s.host,
            address,
        };
        perform(header, place, request, value)
    })
}

/// Why an access is refused: there is no such page, or it is not aligned.
pub const NO_PAGE: u64 = 8;
pub const MISALIGNED: u64 = 9;

impl Slow {
    /// Why the access is refused where there is one page only. An access that ends behind the page
    /// faults there.
    fn refuses(&self, header: &mut Header, address: u64, request: MemRequest) -> Option<u64> {
        let page = self.only? >> 12;
        let bytes = u64::from(request.mem().bytes());
        if request.mem().aligned() && !address.is_multiple_of(bytes) {
            return Some(MISALIGNED);
        }
        let bad = [address, address.wrapping_add(bytes - 1)];
        let at = bad.into_iter().find(|a| a >> 12 != page)?;
        header.exit_info = if at == address { at } else { at & !0xfff };
        Some(NO_PAGE)
    }
}

fn perform(header: &mut Header, place: Place, request: MemRequest, value: u64) -> u64 {
    let mem = request.mem();
    let bytes = mem.bytes();
    let host = place.byte(0);
    if request.kind() == MemKind::CasPair {
        let old = [place.read(0, 8), place.read(8, 8)];
        if old == [header.args[0], header.args[1]] {
            place.write(0, 8, header.args[2]);
            place.write(8, 8, header.args[3]);
        }
        header.args[1] = old[1];
        return old[0];
    }
    let raw = place.read(0, bytes);
    let old = request.extend(swapped(mem, raw));
    let cut = |x: u64| x << (64 - bytes * 8) >> (64 - bytes * 8);
    match request.kind() {
        MemKind::Load => {}
        MemKind::Store => place.write(0, bytes, swapped(mem, value)),
        MemKind::Rmw => {
            let op = request.atomic().expect("an operation");
            place.write(0, bytes, op.apply(raw, value, bytes * 8));
        }
        MemKind::Cas if raw == cut(value) => place.write(0, bytes, header.args[2]),
        MemKind::LoadReserved => {
            header.reserve_addr = host;
            header.reserve_value = old;
            header.reserve_version = version(header, host, 0) & !1;
        }
        MemKind::StoreCond => {
            let held = header.reserve_addr == host
                && cut(header.reserve_value) == raw
                && header.reserve_version == version(header, host, 0);
            header.reserve_addr = 1;
            if held {
                place.write(0, bytes, value);
                version(header, host, 2);
            }
            return u64::from(!held);
        }
        _ => {}
    }
    old
}

fn version(header: &Header, host: u64, add: u64) -> u64 {
    let n = (host >> 4) as usize & (RESERVE_LEN - 1);
    let bucket = (header.reserve_table + n * 8) as *mut u64;
    // SAFETY: the table has that many words, and no other thread uses it.
    unsafe {
        let old = *bucket;
        *bucket = old + add;
        old
    }
}
