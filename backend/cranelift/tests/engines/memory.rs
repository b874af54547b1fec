//! One page of memory that all guest pages are, for the interpreter and behind a TLB.

use isomorph_baseline::{
    Header, MemKind, MemRequest, TLB_ADDEND, TLB_ENTRY_LEN, TLB_READ, TLB_WRITE,
};
use isomorph_ir::Order;
use isomorph_ir::interp::{MemFault, Memory};
use std::cell::RefCell;

/// Bytes of the page.
pub const PAGE: usize = 4096;
pub const BITS: u32 = 4;
const WORDS: usize = TLB_ENTRY_LEN / 8;
/// In a tag: no access without the slow path.
const MARK: u64 = 1 << 10;

/// Address, bytes and value, if it is a store, of each access.
pub type Accesses = Vec<(u64, u32, Option<u64>)>;

/// The interpreter's.
pub struct Shared {
    pub page: Vec<u8>,
    /// The access to refuse, counted down.
    pub refuse: u32,
    pub accesses: Accesses,
    /// Its address, if it is not everywhere.
    base: Option<u64>,
}

impl Shared {
    pub fn new(base: Option<u64>, page: Vec<u8>, refuse: u32) -> Self {
        Self {
            page,
            refuse,
            accesses: Vec::new(),
            base,
        }
    }

    fn access(&mut self, address: u64, bytes: u32, value: Option<u64>) -> Result<(), MemFault> {
        self.accesses.push((address, bytes, value));
        if let Some(base) = self.base {
            assert!((base..base + PAGE as u64 - u64::from(bytes)).contains(&address));
        }
        self.refuse = self.refuse.wrapping_sub(1);
        let write = value.is_some();
        match self.refuse {
            0 => Err(MemFault { address, write }),
            _ => Ok(()),
        }
    }

    fn byte(&mut self, address: u64, n: u32) -> &mut u8 {
        let at = address.wrapping_sub(self.base.unwrap_or(0));
        &mut self.page[at.wrapping_add(n.into()) as usize % PAGE]
    }
}

impl Memory for Shared {
    fn load(&mut self, address: u64, bytes: u32, _: Order) -> Result<u128, MemFault> {
        self.access(address, bytes, None)?;
        let byte = |value, n| value << 8 | u128::from(*self.byte(address, n));
        Ok((0..bytes).rev().fold(0, byte))
    }

    fn store(&mut self, at: u64, bytes: u32, _: Order, value: u128) -> Result<(), MemFault> {
        let low = value & (u128::MAX >> (128 - bytes * 8));
        self.access(at, bytes, Some(low as u64))?;
        (0..bytes).for_each(|n| *self.byte(at, n) = (value >> (8 * n)) as u8);
        Ok(())
    }

    fn cas(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault> {
        let old = self.load(address, bytes, order)?;
        if old == expected {
            self.store(address, bytes, order, new)?;
        }
        Ok(old)
    }

    fn fence(&mut self, _: Order) {}
}

/// What the slow path of this thread's machine works on.
#[derive(Clone, Default)]
struct Slow {
    tlb: usize,
    host: u64,
    fill: bool,
    refuse: u32,
    accesses: Accesses,
    /// More accesses than this: the code runs away.
    most: usize,
}

thread_local! {
    static SLOW: RefCell<Slow> = RefCell::default();
}

/// Generated code's: the page and the TLB that leads to it.
pub struct Page {
    bytes: Box<Aligned>,
    entries: Box<[u64; WORDS << BITS]>,
}

#[repr(align(4096))]
struct Aligned([u8; PAGE]);

impl Page {
    pub fn new(header: *mut Header) -> Self {
        let entries = Box::new([MARK; WORDS << BITS]);
        // SAFETY: the header is initialised and no code runs.
        let header = unsafe { &mut *header };
        header.tlb = entries.as_ptr() as usize;
        header.mem_runtime = slow as *const () as usize;
        Self {
            bytes: Box::new(Aligned([0; PAGE])),
            entries,
        }
    }

    pub fn address(&self) -> u64 {
        self.bytes.0.as_ptr() as u64
    }

    /// Prepares a run.
    pub fn begin(&mut self, page: &[u8], refuse: u32, fill: bool, most: usize) {
        self.bytes.0.copy_from_slice(page);
        self.entries.fill(MARK);
        SLOW.set(Slow {
            tlb: self.entries.as_mut_ptr() as usize,
            host: self.bytes.0.as_mut_ptr() as u64,
            fill,
            refuse,
            accesses: Vec::new(),
            most,
        });
    }

    /// The page after the run, and the accesses that took the slow path.
    pub fn end(&self) -> (Vec<u8>, Accesses) {
        (self.bytes.0.to_vec(), SLOW.take().accesses)
    }
}

extern "C" fn slow(header: *mut Header, address: u64, request: u64, value: u64) -> u64 {
    // SAFETY: generated code hands over its own header and waits.
    let header = unsafe { &mut *header };
    let request = MemRequest(request as u32);
    SLOW.with_borrow_mut(|s| s.access(header, address, request, value))
}

impl Slow {
    fn access(&mut self, header: &mut Header, at: u64, request: MemRequest, value: u64) -> u64 {
        let (bytes, kind) = (request.mem().bytes(), request.kind());
        assert!(matches!(kind, MemKind::Load | MemKind::Store), "{kind:?}");
        let store = kind == MemKind::Store;
        let low = value & (u64::MAX >> (64 - bytes * 8));
        self.accesses.push((at, bytes, store.then_some(low)));
        self.refuse = self.refuse.wrapping_sub(1);
        if self.refuse == 0 || (!self.fill && self.accesses.len() > self.most) {
            header.mem_fault = 7;
            return 0xdead;
        }
        if self.fill {
            self.fill(at);
        }
        let byte = |n: u32| {
            let offset = at.wrapping_add(n.into()) as usize % PAGE;
            (self.host as *mut u8).wrapping_add(offset)
        };
        if store {
            // SAFETY: the page outlives the run, and generated code waits.
            (0..bytes).for_each(|n| unsafe { *byte(n) = (value >> (8 * n)) as u8 });
            return 0;
        }
        // SAFETY: as above.
        let loaded = |value: u64, n| value << 8 | u64::from(unsafe { *byte(n) });
        request.extend((0..bytes).rev().fold(0, loaded))
    }

    fn fill(&mut self, address: u64) {
        let page = address & !(PAGE as u64 - 1);
        let entry = (address >> 12) as usize % (1 << BITS) * WORDS;
        let words = [
            (TLB_READ, page),
            (TLB_WRITE, page),
            (TLB_ADDEND, self.host.wrapping_sub(page)),
        ];
        for (offset, word) in words {
            // SAFETY: the entries outlive the run, and generated code waits.
            unsafe { *(self.tlb as *mut u64).add(entry + offset / 8) = word };
        }
    }
}
