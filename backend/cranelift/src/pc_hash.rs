//! A hash of program counters that keeps a handful of known ones apart, for jump tables.

/// `((pc ^ pc >> fold) >> shift) % len`, without the fold if that is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PcHash {
    pub(crate) fold: u32,
    pub(crate) shift: u32,
    /// A power of 2.
    pub(crate) len: usize,
}

impl PcHash {
    /// The one with the fewest collisions; of these, one with the shortest table and no fold.
    pub(crate) fn new(pcs: &[u64]) -> Self {
        let least = pcs.len().next_power_of_two();
        let lens = [least, 2 * least, 4 * least];
        let all = [0, 3, 5, 7, 9].into_iter().flat_map(|fold| {
            let shifts = 0..12;
            shifts.flat_map(move |shift| lens.map(|len| Self { fold, shift, len }))
        });
        let cost = |hash: &Self| (hash.collisions(pcs), hash.len, hash.fold);
        let first = Self {
            fold: 0,
            shift: 1,
            len: least,
        };
        all.min_by_key(cost).unwrap_or(first)
    }

    pub(crate) fn of(self, pc: u64) -> usize {
        let folded = match self.fold {
            0 => pc,
            fold => pc ^ pc >> fold,
        };
        (folded >> self.shift) as usize & (self.len - 1)
    }

    /// How many share their place with another.
    fn collisions(self, pcs: &[u64]) -> usize {
        let mut taken = vec![false; self.len];
        let again = |&&pc: &&u64| std::mem::replace(&mut taken[self.of(pc)], true);
        pcs.iter().filter(again).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_kept_apart() {
        let even: Vec<u64> = (0..100).map(|n| 0x1_0000 + n * 0x40).collect();
        let hash = PcHash::new(&even);
        assert_eq!((hash.collisions(&even), hash.len, hash.fold), (0, 128, 0));
        let odd: Vec<u64> = (0..40_u64)
            .map(|n| 0x1_0000 + n * 30 + n * n % 7 * 2)
            .collect();
        assert_eq!(PcHash::new(&odd).collisions(&odd), 0);
        // Far from each other by the same distance.
        let far: Vec<u64> = (0..6).map(|n| n << 20).collect();
        let places: Vec<usize> = far.iter().map(|&pc| PcHash::new(&far).of(pc)).collect();
        assert!(places.iter().all(|&p| p < PcHash::new(&far).len));
    }
}
