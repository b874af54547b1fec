//! Where in a line of the instruction cache a body should begin: hosts fetch decoded instructions
//! by the line, so that a loop over one line more takes a cycle more in each turn.

/// Bytes of a line.
pub(crate) const LINE: u32 = 64;

/// Loops of more lines do not count: what is left of a cycle in them is small.
const MOST_LINES: u32 = 8;

/// What is known of the loops of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Align {
    /// The body's best place in a line, if it has short loops.
    start: Option<u32>,
}

/// First and last byte of a loop.
#[derive(Clone, Copy, Debug)]
struct Loop {
    first: u32,
    last: u32,
}

impl Loop {
    /// How many lines it is on, in a body that begins at `start`.
    fn lines(self, start: u32) -> u32 {
        (self.last + start) / LINE - (self.first + start) / LINE + 1
    }

    fn least(self) -> u32 {
        (self.last - self.first) / LINE + 1
    }

    fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last < self.last
    }
}

impl Align {
    /// For a body of `len` bytes, from the offsets of its blocks and the edges between them.
    pub(crate) fn new(len: usize, blocks: &[u32], edges: &[(u32, u32)]) -> Self {
        let end = |from: u32| {
            let later = blocks.iter().copied().filter(|&b| b > from);
            later.min().unwrap_or(len as u32)
        };
        let back = edges.iter().filter(|(from, to)| to <= from);
        let loops = back.map(|&(from, first)| Loop {
            first,
            last: end(from) - 1,
        });
        let loops: Vec<Loop> = loops.filter(|l| l.least() <= MOST_LINES).collect();
        // A loop in a loop runs more often.
        let weight = |inner: &Loop| {
            let outer = loops.iter().filter(|l| l.contains(*inner)).count();
            (1 << (3 * outer.min(3))) * 64 / inner.least()
        };
        let weights: Vec<u32> = loops.iter().map(weight).collect();
        let cost = |&start: &u32| -> u32 {
            let costs = loops.iter().zip(&weights);
            costs
                .map(|(l, weight)| (l.lines(start) - l.least()) * weight)
                .sum()
        };
        let start = (0..LINE).min_by_key(cost).filter(|_| !loops.is_empty());
        Self { start }
    }

    /// How many bytes to leave before a body that could begin at `at`, an offset from the start of
    /// a line.
    pub(crate) fn pad(self, at: u32) -> u32 {
        let start = self.start.unwrap_or(at);
        start.wrapping_sub(at) % LINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_loop_is_put_on_one_line() {
        // Blocks at 0, 20, 50; the second is a loop of 30 bytes.
        let align = Align::new(80, &[0, 20, 50], &[(0, 20), (20, 20), (20, 50)]);
        for at in [0, 16, 48, 112] {
            let start = at + align.pad(at);
            assert_eq!((start + 20) / LINE, (start + 49) / LINE, "{at}");
        }
    }

    #[test]
    fn the_inner_loop_counts_for_more() {
        // A loop of 120 bytes around one of 40.
        let edges = [(0, 10), (10, 50), (50, 50), (50, 90), (90, 10)];
        let align = Align::new(140, &[0, 10, 50, 90, 130], &edges);
        let start = align.pad(0);
        assert_eq!((start + 50) / LINE, (start + 89) / LINE);
    }

    #[test]
    fn code_without_loops_is_not_moved() {
        assert_eq!(Align::new(40, &[0, 20], &[(0, 20)]).pad(48), 0);
    }
}
