//! Inputs: bytes taken one by one, and the same way written.

/// Reads an input; behind its end there are zeros.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// An input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes, or what is left of them.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    /// The next `size` (at most 8) bytes, little-endian.
    pub fn number(&mut self, size: usize) -> u64 {
        let taken = self.bytes(size.min(8)).iter().rev();
        taken.fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> u64 {
        self.number(8)
    }

    /// A size of an access: 1, 2, 4 or 8.
    pub fn size(&mut self) -> u8 {
        1 << (self.u8() % 4)
    }
}

/// Writes an input.
#[derive(Clone, Debug, Default)]
pub struct Script(Vec<u8>);

impl Script {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Appends the low `size` bytes of a number, little-endian.
    pub fn number(self, size: usize, value: u64) -> Self {
        self.bytes(&value.to_le_bytes()[..size.min(8)])
    }

    /// Appends a byte.
    pub fn u8(self, value: u8) -> Self {
        self.number(1, value.into())
    }

    /// Appends two bytes.
    pub fn u16(self, value: u16) -> Self {
        self.number(2, value.into())
    }

    /// Appends four bytes.
    pub fn u32(self, value: u32) -> Self {
        self.number(4, value.into())
    }

    /// Appends a size as [`Input::size`] reads it.
    pub fn size(self, size: u8) -> Self {
        self.u8(size.trailing_zeros() as u8)
    }

    /// The input.
    pub fn end(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = Script::new().u8(1).size(4).u16(2).u32(3).bytes(b"xy").end();
        let mut input = Input::new(&bytes);
        assert_eq!((input.u8(), input.size(), input.u16()), (1, 4, 2));
        assert_eq!((input.u32(), input.bytes(1)), (3, &b"x"[..]));
        assert_eq!((input.rest(), input.u64()), (&b"y"[..], 0));
        assert!(input.is_empty());
    }
}
