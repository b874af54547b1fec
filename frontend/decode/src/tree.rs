//! Patterns to a decision tree.

use std::collections::BTreeSet;

use crate::error::SpecError;
use crate::spec::{Cube, Insn, Spec};

/// The widest group of bits that one `match` looks at.
const MAX_GROUP_BITS: u32 = 8;

/// The most candidates that are tested one after the other.
const MAX_LEAVES: usize = 2;

/// The word is `insn` if `rest` contains it and no cube of `except` does.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub insn: usize,
    pub rest: Cube,
    pub except: Vec<Cube>,
}

/// One step of decoding.
#[derive(Debug)]
pub(crate) enum Node {
    /// No instruction.
    Illegal,
    /// Only these are left, at most [`MAX_LEAVES`] of them.
    Leaves(Vec<Leaf>),
    /// A `match` on the value of a group.
    Switch {
        group: Group,
        arms: Vec<(u32, Node)>,
        default: Box<Node>,
    },
}

/// The tree of one space.
pub(crate) fn build(spec: &Spec, space: usize) -> Result<Node, SpecError> {
    let all = (0..spec.insns.len())
        .filter(|i| spec.insns[*i].space == space)
        .collect();
    let builder = Builder {
        insns: &spec.insns,
        width: spec.spaces[space].width,
    };
    builder.node(all, Cube { mask: 0, value: 0 })
}

struct Builder<'a> {
    insns: &'a [Insn],
    width: u32,
}

/// Less is better: does not narrow, duplicates, fullest arm, all arms, bits not used.
type Score = (bool, bool, usize, usize, u32);

/// The bits that one `match` looks at: `bits` from `shift` up, and above them, if `high_bits` is
/// not 0, as many from `high_shift` up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub shift: u32,
    pub bits: u32,
    pub high_shift: u32,
    pub high_bits: u32,
}

impl Group {
    fn run(shift: u32, bits: u32) -> Self {
        Group {
            shift,
            bits,
            high_shift: 0,
            high_bits: 0,
        }
    }

    fn with(self, high: Group) -> Self {
        Group {
            high_shift: high.shift,
            high_bits: high.bits,
            ..self
        }
    }

    fn width(self) -> u32 {
        self.bits + self.high_bits
    }

    fn mask(self) -> u32 {
        window(self.bits) << self.shift | window(self.high_bits) << self.high_shift
    }

    /// The value of the group in a word.
    fn of(self, word: u32) -> u32 {
        let high = word >> self.high_shift & window(self.high_bits);
        word >> self.shift & window(self.bits) | high << self.bits
    }

    /// The word whose group has this value, and nothing else.
    fn word(self, value: u32) -> u32 {
        let high = value >> self.bits & window(self.high_bits);
        (value & window(self.bits)) << self.shift | high << self.high_shift
    }
}

/// The lowest `bits` bits.
pub(crate) fn window(bits: u32) -> u32 {
    ((1u64 << bits) - 1) as u32
}

impl Builder<'_> {
    /// Those that may still match when the bits of `known` are known.
    fn alive(&self, candidates: &[usize], known: Cube) -> Vec<usize> {
        let lives = |at: &&usize| {
            let insn = &self.insns[**at];
            match insn.cube.and(known) {
                None => false,
                Some(both) => !insn.except.iter().any(|e| e.contains(both)),
            }
        };
        candidates.iter().filter(lives).copied().collect()
    }

    fn node(&self, candidates: Vec<usize>, known: Cube) -> Result<Node, SpecError> {
        match candidates[..] {
            [] => return Ok(Node::Illegal),
            _ if candidates.len() <= MAX_LEAVES => return Ok(self.leaves(&candidates, known)),
            _ => {}
        }
        let Some(group) = self.best_group(&candidates, known) else {
            let insn = &self.insns[candidates[0]];
            return Err(SpecError::Undecidable {
                line: insn.line,
                insn: insn.name.clone(),
            });
        };
        let mut arms = Vec::new();
        for value in self.values(&candidates, group, known) {
            let inner = narrow(known, group, value);
            arms.push((value, self.node(self.alive(&candidates, inner), inner)?));
        }
        let rest = self.free(&candidates, group);
        let default = Box::new(self.node(rest, known)?);
        Ok(Node::Switch {
            group,
            arms,
            default,
        })
    }

    fn leaves(&self, candidates: &[usize], known: Cube) -> Node {
        Node::Leaves(candidates.iter().map(|at| self.leaf(*at, known)).collect())
    }

    fn leaf(&self, at: usize, known: Cube) -> Leaf {
        let insn = &self.insns[at];
        let mask = insn.cube.mask & !known.mask;
        let here = insn.cube.and(known).unwrap_or(insn.cube);
        let except = insn.except.iter().filter(|e| e.and(here).is_some());
        let except = except.map(|e| Cube {
            mask: e.mask & !here.mask,
            value: e.value & !here.mask,
        });
        let rest = Cube {
            mask,
            value: insn.cube.value & mask,
        };
        Leaf {
            insn: at,
            rest,
            except: except.collect(),
        }
    }

    /// Candidates that do not test the whole group: they also live in the default arm.
    fn free(&self, candidates: &[usize], group: Group) -> Vec<usize> {
        let free = |at: &&usize| self.insns[**at].cube.mask & group.mask() != group.mask();
        candidates.iter().filter(free).copied().collect()
    }

    /// The values of the group that some candidate asks for.
    fn values(&self, candidates: &[usize], group: Group, known: Cube) -> BTreeSet<u32> {
        let mask = group.mask();
        let mut values = BTreeSet::new();
        for insn in candidates.iter().map(|at| &self.insns[*at]) {
            for cube in insn.except.iter().chain([&insn.cube]) {
                if cube.mask & mask == mask && cube.and(known).is_some() {
                    values.insert(group.of(cube.value));
                }
            }
        }
        values
    }

    /// The group that leaves the fewest candidates in the fullest arm; a group that all of them
    /// test goes before one that duplicates some. Two runs of bits are looked at together only if
    /// all candidates test both.
    fn best_group(&self, candidates: &[usize], known: Cube) -> Option<Group> {
        let runs = self.runs(known);
        let tested = |group: &&Group| self.free(candidates, **group).is_empty();
        let tested: Vec<Group> = runs.iter().filter(tested).copied().collect();
        let pairs = tested.iter().flat_map(|low| {
            let apart = |high: &&Group| {
                high.shift > low.shift + low.bits && low.bits + high.bits <= MAX_GROUP_BITS
            };
            tested.iter().filter(apart).map(|high| low.with(*high))
        });
        let scored = runs.iter().copied().chain(pairs);
        let scored = scored.filter_map(|g| Some((self.score(candidates, g, known)?, g)));
        scored
            .min_by_key(|(score, _)| *score)
            .map(|(_, group)| group)
    }

    /// Every run of bits that are not yet known.
    fn runs(&self, known: Cube) -> Vec<Group> {
        let all = (0..self.width).flat_map(|shift| {
            let most = MAX_GROUP_BITS.min(self.width - shift);
            (1..=most).map(move |bits| Group::run(shift, bits))
        });
        all.filter(|group| group.mask() & known.mask == 0).collect()
    }

    fn score(&self, candidates: &[usize], group: Group, known: Cube) -> Option<Score> {
        let values = self.values(candidates, group, known);
        if values.is_empty() {
            return None;
        }
        let free = self.free(candidates, group).len();
        let sizes = values
            .iter()
            .map(|value| self.alive(candidates, narrow(known, group, *value)).len());
        let (mut worst, mut total) = (free, free);
        for size in sizes {
            worst = worst.max(size);
            total += size;
        }
        // Each arm knows more bits and the default arm has fewer candidates: the tree is finite.
        let narrows = worst < candidates.len();
        (free < candidates.len()).then_some((
            !narrows,
            free != 0,
            worst,
            total,
            MAX_GROUP_BITS - group.width(),
        ))
    }
}

fn narrow(known: Cube, group: Group, value: u32) -> Cube {
    Cube {
        mask: known.mask | group.mask(),
        value: known.value | group.word(value),
    }
}
