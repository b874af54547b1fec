//! A type-0 configuration space: header, BARs, capabilities, and what of them is writable.

/// Bytes of a PCI Express configuration space.
pub const CONFIG_BYTES: usize = 4096;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const CACHE_LINE: usize = 0x0c;
const BAR0: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
const FIRST_CAPABILITY: usize = 0x40;

const COMMAND_IO: u16 = 1 << 0;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_INTX_DISABLE: u16 = 1 << 10;
const STATUS_INTERRUPT: u8 = 1 << 3;
const STATUS_CAPABILITIES: u8 = 1 << 4;

const BARS: usize = 6;

/// What a BAR maps (§6.2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two BARs.
    Memory64,
}

/// One BAR of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// What it maps.
    pub kind: BarKind,
    /// Bytes: a power of two, at least 16.
    pub size: u64,
    /// Reads have no side effects.
    pub prefetchable: bool,
}

/// What a function says it is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass and interface, 24 bits.
    pub class: u32,
    /// Subsystem vendor.
    pub subsystem_vendor: u16,
    /// Subsystem.
    pub subsystem: u16,
    /// 1 for INTA, …, 4 for INTD, 0 for none.
    pub interrupt_pin: u8,
}

/// A configuration space.
#[derive(Clone)]
pub struct ConfigSpace {
    bytes: Box<[u8; CONFIG_BYTES]>,
    writable: Box<[u8; CONFIG_BYTES]>,
    bars: [Option<Bar>; BARS],
    next_capability: usize,
    last_link: usize,
}

impl ConfigSpace {
    /// A header for `identity`, without BARs and capabilities.
    pub fn new(identity: &Identity) -> Self {
        let mut space = ConfigSpace {
            bytes: Box::new([0; CONFIG_BYTES]),
            writable: Box::new([0; CONFIG_BYTES]),
            bars: [None; BARS],
            next_capability: FIRST_CAPABILITY,
            last_link: CAPABILITIES,
        };
        space.set(0x00, &identity.vendor.to_le_bytes());
        space.set(0x02, &identity.device.to_le_bytes());
        space.set(0x08, &[identity.revision]);
        space.set(0x09, &identity.class.to_le_bytes()[..3]);
        space.set(0x2c, &identity.subsystem_vendor.to_le_bytes());
        space.set(0x2e, &identity.subsystem.to_le_bytes());
        space.set(INTERRUPT_PIN, &[identity.interrupt_pin]);
        let command = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_DISABLE;
        space.set_writable(COMMAND, &command.to_le_bytes());
        space.set_writable(CACHE_LINE, &[0xff]);
        space.set_writable(INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Declares BAR `index`. One that does not fit (a sixth 64-bit one, a size that is no power
    /// of two) is left out: a function's BARs are constants, which its test reads back.
    pub fn set_bar(&mut self, index: usize, bar: Bar) {
        let wide = bar.kind == BarKind::Memory64;
        if index + usize::from(wide) >= BARS || !bar.size.is_power_of_two() || bar.size < 16 {
            return;
        }
        let prefetchable = u8::from(bar.prefetchable) << 3;
        let flags = match bar.kind {
            BarKind::Io => 1,
            BarKind::Memory32 => prefetchable,
            BarKind::Memory64 => 4 | prefetchable,
        };
        let at = BAR0 + 4 * index;
        let mask = !(bar.size - 1);
        self.set(at, &[flags]);
        self.set_writable(at, &mask.to_le_bytes()[..if wide { 8 } else { 4 }]);
        self.bars[index] = Some(bar);
    }

    /// Appends a capability (§6.7): `body` follows identifier and link; `writable` says which of
    /// its bits software can change. Gives its offset, or `None` when the header is full.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Option<u16> {
        let at = self.next_capability;
        let end = at + 2 + body.len();
        if end > 0x100 {
            return None;
        }
        self.set(self.last_link, &[at as u8]);
        self.set(at, &[id, 0]);
        self.set(at + 2, body);
        self.set_writable(at + 2, writable);
        self.set(STATUS, &[self.bytes[STATUS] | STATUS_CAPABILITIES]);
        self.last_link = at + 1;
        self.next_capability = end.next_multiple_of(4);
        Some(at as u16)
    }

    /// Reads 1, 2 or 4 bytes; what is not inside the space is all ones.
    pub fn read(&self, offset: u16, size: u8) -> u32 {
        let (at, size) = (usize::from(offset), usize::from(size.min(4)));
        let Some(bytes) = self.bytes.get(at..at + size) else {
            return u32::MAX;
        };
        bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u32::from(byte))
    }

    /// Writes 1, 2 or 4 bytes, as far as they are writable.
    pub fn write(&mut self, offset: u16, size: u8, value: u32) {
        let at = usize::from(offset);
        for (index, byte) in value
            .to_le_bytes()
            .into_iter()
            .take(usize::from(size))
            .enumerate()
        {
            let Some(old) = self.bytes.get_mut(at + index) else {
                return;
            };
            let mask = self.writable[at + index];
            *old = (*old & !mask) | (byte & mask);
        }
    }

    /// Copies bytes of the space, for a function that has registers in it.
    pub fn set(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(space) = self.bytes.get_mut(offset..offset + bytes.len()) {
            space.copy_from_slice(bytes);
        }
    }

    fn set_writable(&mut self, offset: usize, mask: &[u8]) {
        if let Some(space) = self.writable.get_mut(offset..offset + mask.len()) {
            space.copy_from_slice(mask);
        }
    }

    /// The BAR declared at `index`.
    pub fn bar(&self, index: usize) -> Option<Bar> {
        self.bars.get(index).copied().flatten()
    }

    /// Where BAR `index` is mapped now; `None` while the command register disables it, and for
    /// the address that sizing leaves behind.
    pub fn mapped(&self, index: usize) -> Option<(Bar, u64)> {
        let bar = self.bar(index)?;
        let at = (BAR0 + 4 * index) as u16;
        let low = u64::from(self.read(at, 4)) & !(bar.size - 1);
        let (enable, address) = match bar.kind {
            BarKind::Io => (COMMAND_IO, low),
            BarKind::Memory32 => (COMMAND_MEMORY, low),
            BarKind::Memory64 => (COMMAND_MEMORY, low | u64::from(self.read(at + 4, 4)) << 32),
        };
        let enabled = self.command() & enable != 0;
        (enabled && address.checked_add(bar.size).is_some()).then_some((bar, address))
    }

    fn command(&self) -> u16 {
        self.read(COMMAND as u16, 2) as u16
    }

    /// Records a pending INTx interrupt in the status register; gives the level that the pin has,
    /// which the command register can hold low.
    pub fn set_interrupt(&mut self, pending: bool) -> bool {
        let status = self.bytes[STATUS] & !STATUS_INTERRUPT;
        self.bytes[STATUS] = status | if pending { STATUS_INTERRUPT } else { 0 };
        self.interrupt_level()
    }

    /// The level of the INTx pin.
    pub fn interrupt_level(&self) -> bool {
        let pending = self.bytes[STATUS] & STATUS_INTERRUPT != 0;
        pending && self.command() & COMMAND_INTX_DISABLE == 0
    }
}
