//! Guest memory as the interpreter sees it.

use crate::Order;

/// An access that the memory refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {} {address:#x}", if *.write { "write" } else { "read" })]
pub struct MemFault {
    /// The first byte that cannot be accessed.
    pub address: u64,
    /// True for stores and for every atomic that may store.
    pub write: bool,
}

/// Guest memory.
///
/// Values are little-endian integers of the accessed bytes, zero-extended; `bytes` is 1, 2, 4, 8
/// or 16. A misaligned access is the memory's to allow or to refuse.
pub trait Memory {
    /// Reads memory.
    fn load(&mut self, address: u64, bytes: u32, order: Order) -> Result<u128, MemFault>;

    /// Writes the low bytes of `value`.
    fn store(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        value: u128,
    ) -> Result<(), MemFault>;

    /// Reads memory and, if it holds `expected`, writes `new`, atomically; returns what it held.
    fn cas(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault>;

    /// Replaces the value `v` by `update(v)`, atomically; returns `v`.
    fn rmw(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        update: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, MemFault> {
        let as_write = |fault| MemFault {
            write: true,
            ..fault
        };
        let mut old = self
            .load(address, bytes, Order::Relaxed)
            .map_err(as_write)?;
        loop {
            let found = self.cas(address, bytes, order, old, update(old))?;
            if found == old {
                return Ok(old);
            }
            old = found;
        }
    }

    /// Reads memory for a store-conditional to come; the second value is handed back to it.
    ///
    /// As provided, the reservation is the value itself, which a change and a change back deceive.
    fn load_reserved(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
    ) -> Result<(u128, u128), MemFault> {
        let value = self.load(address, bytes, order)?;
        Ok((value, value))
    }

    /// Writes `value` if nobody wrote since the `load_reserved` that gave `reservation`; says
    /// whether it did.
    fn store_conditional(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        reservation: u128,
        value: u128,
    ) -> Result<bool, MemFault> {
        Ok(self.cas(address, bytes, order, reservation, value)? == reservation)
    }

    /// Orders earlier accesses before later ones.
    fn fence(&mut self, order: Order);
}

/// One run of bytes at a guest address: memory for tests of translated code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatMemory {
    /// Guest address of the first byte.
    pub base: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl FlatMemory {
    /// `len` zero bytes at `base`.
    pub fn new(base: u64, len: usize) -> Self {
        Self {
            base,
            bytes: vec![0; len],
        }
    }

    fn slice(&mut self, address: u64, bytes: u32, write: bool) -> Result<&mut [u8], MemFault> {
        let len = self.bytes.len() as u64;
        let start = address.wrapping_sub(self.base);
        if start >= len {
            return Err(MemFault { address, write });
        }
        if len - start < u64::from(bytes) {
            let address = self.base.wrapping_add(len);
            return Err(MemFault { address, write });
        }
        Ok(&mut self.bytes[start as usize..][..bytes as usize])
    }

    fn read(&mut self, address: u64, bytes: u32, write: bool) -> Result<u128, MemFault> {
        let slice = self.slice(address, bytes, write)?;
        let mut value = [0; 16];
        value[..slice.len()].copy_from_slice(slice);
        Ok(u128::from_le_bytes(value))
    }
}

impl Memory for FlatMemory {
    fn load(&mut self, address: u64, bytes: u32, _: Order) -> Result<u128, MemFault> {
        self.read(address, bytes, false)
    }

    fn store(&mut self, address: u64, bytes: u32, _: Order, value: u128) -> Result<(), MemFault> {
        let slice = self.slice(address, bytes, true)?;
        slice.copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
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
        let old = self.read(address, bytes, true)?;
        if old == expected {
            self.store(address, bytes, order, new)?;
        }
        Ok(old)
    }

    fn fence(&mut self, _: Order) {}
}
