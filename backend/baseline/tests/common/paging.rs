//! A hand-filled TLB and a slow path over one run of host memory.

use super::{Machine, Random};
use isomorph_baseline::{
    Header, MemKind, MemRequest, RESERVE_LEN, TLB_ADDEND, TLB_ENTRY_LEN, TLB_READ, TLB_WRITE,
};
use isomorph_ir::{AtomicOp, MemOp};
use std::cell::RefCell;

pub const BITS: u32 = 4;
const ENTRIES: usize = 1 << BITS;
const WORDS: usize = TLB_ENTRY_LEN / 8;

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
    misses: Vec<Miss>,
}

thread_local! {
    static SLOW: RefCell<Slow> = RefCell::default();
}

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
        let entries = Box::new([1; ENTRIES * WORDS]);
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

    fn publish(&mut self, fault: Option<u64>) {
        SLOW.set(Slow {
            tlb: self.entries.as_mut_ptr() as usize,
            host: self.host,
            keep: self.keep,
            fault,
            misses: Vec::new(),
        });
    }

    /// Empties the TLB; accesses to the page of `fault` fault.
    pub fn clear(&mut self, fault: Option<u64>) {
        self.entries.fill(1);
        self.publish(fault);
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
    entry[TLB_READ / 8] = if read { page } else { page | 2 };
    entry[TLB_WRITE / 8] = if write { page } else { page | 2 };
    entry[TLB_ADDEND / 8] = host;
}

fn read(host: u64, bytes: u32) -> u64 {
    let mut value = [0; 8];
    // SAFETY: tests access only their buffer; no other thread has it.
    unsafe { std::ptr::copy_nonoverlapping(host as *const u8, value.as_mut_ptr(), bytes as usize) };
    u64::from_le_bytes(value)
}

fn write(host: u64, bytes: u32, value: u64) {
    let value = value.to_le_bytes();
    // SAFETY: as above.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), host as *mut u8, bytes as usize) };
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
        if s.keep {
            // SAFETY: the entries outlive the machine's run; generated code waits.
            let entries =
                unsafe { std::slice::from_raw_parts_mut(s.tlb as *mut u64, ENTRIES * WORDS) };
            fill(entries, address, s.host, (true, true));
        }
        perform(header, address.wrapping_add(s.host), request, value)
    })
}

fn perform(header: &mut Header, host: u64, request: MemRequest, value: u64) -> u64 {
    let mem = request.mem();
    let bytes = mem.bytes();
    if request.kind() == MemKind::CasPair {
        let old = [read(host, 8), read(host + 8, 8)];
        if old == [header.args[0], header.args[1]] {
            write(host, 8, header.args[2]);
            write(host + 8, 8, header.args[3]);
        }
        header.args[1] = old[1];
        return old[0];
    }
    let raw = read(host, bytes);
    let old = request.extend(swapped(mem, raw));
    let cut = |x: u64| x << (64 - bytes * 8) >> (64 - bytes * 8);
    match request.kind() {
        MemKind::Load => {}
        MemKind::Store => write(host, bytes, swapped(mem, value)),
        MemKind::Rmw => {
            let op = request.atomic().expect("an operation");
            write(host, bytes, modify(op, raw, value, bytes * 8));
        }
        MemKind::Cas if raw == cut(value) => write(host, bytes, header.args[2]),
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
                write(host, bytes, value);
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

fn modify(op: AtomicOp, old: u64, value: u64, bits: u32) -> u64 {
    let up = 64 - bits;
    let (a, b) = (old << up, value << up);
    let (sa, sb) = (a as i64, b as i64);
    let new = match op {
        AtomicOp::Swap => b,
        AtomicOp::Add => a.wrapping_add(b),
        AtomicOp::And => a & b,
        AtomicOp::Or => a | b,
        AtomicOp::Xor => a ^ b,
        AtomicOp::MinS => sa.min(sb) as u64,
        AtomicOp::MaxS => sa.max(sb) as u64,
        AtomicOp::MinU => a.min(b),
        AtomicOp::MaxU => a.max(b),
    };
    new >> up
}
