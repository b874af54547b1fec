//! Random numbers for address layout and `AT_RANDOM`; repeatable with a seed.

/// A small generator (SplitMix64): statistical quality suffices, the seed is the kernel's.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by the user or by the kernel.
    #[must_use]
    pub fn new(seed: Option<u64>) -> Self {
        Self(seed.unwrap_or_else(kernel_seed))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `bits` random bits (0–63).
    pub fn bits(&mut self, bits: u32) -> u64 {
        self.next_u64() & ((1 << bits) - 1)
    }
}

fn kernel_seed() -> u64 {
    let mut seed = [0_u8; 8];
    // SAFETY: the buffer is live and eight bytes long.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), 8, libc::GRND_NONBLOCK) };
    if got == 8 {
        return u64::from_ne_bytes(seed);
    }
    // Early at boot the kernel may have no entropy: its own layout choice serves instead.
    let local = 0_u8;
    (&raw const local) as u64
}
