//! Helps that the devices' tests share.

use isomorph_machine::{ScriptError, Scripted, Step};
use isomorph_softmmu::{AccessRules, AddressSpace, Backing, Mmio, Region};
use std::sync::Arc;

/// A space with `device` at `base`.
pub fn space(device: Arc<dyn Mmio>, base: u64, len: u64, rules: AccessRules) -> Arc<AddressSpace> {
    let space = AddressSpace::new();
    let region = Region::new("device", base, len, 0, Backing::Mmio(device, rules));
    space.add(region.expect("a region"));
    space
}

/// Plays steps; panics with the first that goes otherwise.
pub fn play(space: &AddressSpace, steps: &[Step]) {
    let played: Result<(), ScriptError> = Scripted::play(space, 0, steps);
    if let Err(error) = played {
        panic!("{error}");
    }
}

/// A generator of numbers (xorshift64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Throws accesses of all sizes at `len` bytes of a device, past every rule: none may panic.
pub fn batter(device: &dyn Mmio, len: u64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..50_000 {
        let offset = match random.next() % 4 {
            0 => random.next(),
            1 => random.next() % 64,
            _ => random.next() % len,
        };
        let size = 1 << (random.next() % 4);
        let value = random.next() >> (random.next() % 64);
        if random.next().is_multiple_of(3) {
            device.read(offset, size);
        } else {
            device.write(offset, size, value);
        }
    }
}
