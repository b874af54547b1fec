//! Guest state at a host fault in a body: from registers, the frame, and what follows from them.

/// How to bring guest state up to date where an access of a body has faulted on the host.
///
/// It holds for the code of one [`CompiledRegion`](crate::CompiledRegion), wherever that is
/// placed, and refers to nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes from the stack pointer up that [`Recovery::restore`] reads.
    pub(crate) frame_bytes: u32,
    /// Offset of the body in the placed code.
    pub(crate) body: u32,
    /// By offset in the body.
    pub(crate) points: Vec<Point>,
    pub(crate) places: Vec<Place>,
    pub(crate) sources: Vec<Source>,
}

/// An instruction that may fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Offset in the body.
    pub(crate) host: u32,
    /// The end of its globals in `places`; they begin where the last point's end.
    pub(crate) end: u32,
}

/// A global that is newer than memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset and size in the guest state.
    pub(crate) offset: u32,
    pub(crate) bytes: u8,
    /// Its value: a number in `sources`.
    pub(crate) source: u32,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Const(u64),
    /// A register, by the processor's number.
    Register(u8),
    /// A word of the frame, off the frame pointer.
    Frame(i32),
    /// An operation of so many bits on earlier sources.
    Compute(Compute, u8, u32, u32),
}

/// An operation, with CLIF's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compute {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Not,
    Neg,
    Shl,
    Shr,
    Sar,
    Rotl,
    Rotr,
    /// Sign extension from so many bits.
    Sext(u8),
    /// Zero extension from so many bits, and truncation.
    Zext(u8),
}

/// The processor's number of the frame pointer.
const RBP: usize = 5;
/// The processor's number of the stack pointer.
const RSP: usize = 4;

impl Recovery {
    /// How many bytes from the stack pointer up have to be noted where a fault is: at most
    /// [`Recovery::FRAME_LIMIT`].
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes as usize
    }

    /// What [`Recovery::frame_bytes`] never exceeds.
    pub const FRAME_LIMIT: usize = 1024;

    /// Completes the guest state after a fault at `offset` in the placed code. `regs` are the
    /// general registers there, by the processor's numbers (rax, rcx, rdx, rbx, rsp, rbp, rsi,
    /// rdi, r8 to r15), `frame` the bytes from `rsp` up. True if the offset is that of an access
    /// for which something is known: for any other, memory holds the state already.
    pub fn restore(&self, offset: u32, regs: &[u64; 16], frame: &[u8], state: &mut [u8]) -> bool {
        let Some(host) = offset.checked_sub(self.body) else {
            return false;
        };
        let Ok(n) = self.points.binary_search_by_key(&host, |p| p.host) else {
            return false;
        };
        let start = n.checked_sub(1).map_or(0, |n| self.points[n].end as usize);
        let fault = Fault {
            sources: &self.sources,
            regs,
            frame,
        };
        for place in &self.places[start..self.points[n].end as usize] {
            let value = fault.value(place.source).to_le_bytes();
            let (at, bytes) = (place.offset as usize, usize::from(place.bytes));
            if let Some(to) = state.get_mut(at..at + bytes) {
                to.copy_from_slice(&value[..bytes]);
            }
        }
        true
    }
}

/// What is known where a fault is.
struct Fault<'a> {
    sources: &'a [Source],
    regs: &'a [u64; 16],
    frame: &'a [u8],
}

impl Fault<'_> {
    fn value(&self, source: u32) -> u64 {
        match self.sources[source as usize] {
            Source::Const(x) => x,
            Source::Register(r) => self.regs[usize::from(r) & 15],
            Source::Frame(off) => {
                let at = self.regs[RBP].wrapping_add(off as u64);
                let at = at.wrapping_sub(self.regs[RSP]) as usize;
                let word = self.frame.get(at..).and_then(|f| f.first_chunk());
                word.map_or(0, |w| u64::from_le_bytes(*w))
            }
            Source::Compute(op, bits, a, b) => op.apply(bits, self.value(a), self.value(b)),
        }
    }
}

impl Compute {
    /// The result on operands of `bits` bits, whose higher bits may be anything, as the result's.
    fn apply(self, bits: u8, a: u64, b: u64) -> u64 {
        let bits = u32::from(bits);
        let (unsigned, signed) = (zext(a, bits), sext(a, bits));
        let by = (b % u64::from(bits)) as u32;
        match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::Not => !a,
            Self::Neg => a.wrapping_neg(),
            Self::Shl => a << by,
            Self::Shr => unsigned >> by,
            Self::Sar => (signed as i64 >> by) as u64,
            Self::Rotl => rotated(unsigned, by, bits),
            Self::Rotr => rotated(unsigned, bits - by, bits),
            Self::Sext(from) => sext(a, from.into()),
            Self::Zext(from) => zext(a, from.into()),
        }
    }
}

fn zext(x: u64, bits: u32) -> u64 {
    x << (64 - bits) >> (64 - bits)
}

fn sext(x: u64, bits: u32) -> u64 {
    ((x << (64 - bits)) as i64 >> (64 - bits)) as u64
}

/// `x`, of `bits` bits, rotated to the left.
fn rotated(x: u64, by: u32, bits: u32) -> u64 {
    match by % bits {
        0 => x,
        by => x << by | x >> (bits - by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_clifs() {
        use Compute::*;
        let cases: [(Compute, u8, u64, u64, u64); 12] = [
            (Add, 64, u64::MAX, 2, 1),
            (Sub, 32, 0, 1, 0xffff_ffff),
            (Mul, 64, 3, 5, 15),
            (Not, 8, 0xf, 0, 0xf0),
            (Shl, 32, 1, 33, 2),
            (Shr, 32, 0xf_8000_0000, 31, 1),
            (Sar, 32, 0x8000_0000, 31, 0xffff_ffff),
            (Rotl, 8, 0x181, 1, 0x03),
            (Rotr, 16, 0x1_0001, 1, 0x8000),
            (Rotr, 64, 7, 0, 7),
            (Sext(8), 64, 0x180, 0, 0xffff_ffff_ffff_ff80),
            (Zext(8), 64, 0x180, 0, 0x80),
        ];
        for (op, bits, a, b, want) in cases {
            let got = zext(op.apply(bits, a, b), bits.into());
            assert_eq!(got, want, "{op:?}.{bits} {a:#x}, {b:#x}");
        }
    }

    #[test]
    fn a_state_is_completed() {
        let point = |host, end| Point { host, end };
        let place = |offset, bytes, source| Place {
            offset,
            bytes,
            source,
        };
        let recovery = Recovery {
            frame_bytes: 16,
            body: 0x10,
            points: vec![point(4, 1), point(8, 4)],
            places: vec![
                place(0, 8, 0),
                place(8, 8, 1),
                place(0, 4, 2),
                place(16, 8, 3),
            ],
            sources: vec![
                Source::Const(7),
                Source::Frame(-8),
                Source::Register(3),
                Source::Compute(Compute::Add, 64, 0, 2),
            ],
        };
        let mut regs = [0; 16];
        (regs[3], regs[4], regs[5]) = (0x1_2345_6789, 0x1000, 0x1010);
        let mut frame = [0; 16];
        frame[8] = 9;
        let mut state = [0xff; 24];
        assert!(!recovery.restore(0x13, &regs, &frame, &mut state));
        assert!(!recovery.restore(2, &regs, &frame, &mut state));
        assert!(recovery.restore(0x18, &regs, &frame, &mut state));
        let word = |n: usize| u64::from_le_bytes(state[n..n + 8].try_into().unwrap());
        assert_eq!(word(0), 0xffff_ffff_2345_6789);
        assert_eq!((word(8), word(16)), (9, 0x1_2345_6790));
    }
}
