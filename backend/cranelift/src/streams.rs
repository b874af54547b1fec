//! Accesses in loops that are likely to stay in the page of the round before.
//!
//! Such an access first compares its page with the one it was in last, which the region keeps in
//! values of its own; only when that differs does it look the page up in the software TLB. So it
//! needs neither the entry's address nor a load of the entry, and its address waits for nothing.
//!
//! What is found here is a guess about addresses that decides how fast the code is, never what
//! it does.

use isomorph_ir::passes::{Cfg, Loop};
use isomorph_ir::{Block, Inst, MemOp, Op, Region, Site, Type, Val};
use std::collections::{HashMap, HashSet};

/// The most bytes of a table that an address moves about in.
const MAX_EXTENT: u64 = 2048;

/// Rounds after which an address that moves on may leave its page: a page that is left costs a
/// branch that was not foretold, more than what these save (docs/jit.md).
const ROUNDS: u64 = 8;

/// How many values an address is followed through.
const DEPTH: usize = 6;

/// What is known of a page is shared by all accesses of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Its number, from 0.
    pub(crate) number: usize,
    /// There is a store among the accesses, in each round: all look for a page that may be
    /// written, which may be read too.
    pub(crate) writes: bool,
}

/// Accesses that share a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    /// Those off one base that only moves by constants, no further apart than a part of a page.
    Base { head: usize, base: Val, part: i64 },
    /// A single one.
    Access(Site),
}

/// The loads and stores of a region that need no look at the software TLB in most rounds of their
/// loop.
pub fn steady_accesses(region: &Region) -> HashSet<Site> {
    streams(region, &Cfg::new(region)).into_keys().collect()
}

/// The loads and stores of a region that are likely to stay in a page.
pub(crate) fn streams(region: &Region, cfg: &Cfg) -> HashMap<Site, Stream> {
    let mut members: Vec<(Site, Op, Who)> = Vec::new();
    // Those that a store in each round belongs to.
    let mut written: HashSet<Who> = HashSet::new();
    let loops = innermost(region, cfg);
    for &n in cfg.order() {
        let Some(inner) = loops.iter().find(|l| l.blocks.contains(&n)) else {
            continue;
        };
        let in_each_round = inner.latches.iter().all(|&latch| cfg.dominates(n, latch));
        let moves = Moves { region, inner };
        for (i, inst) in inner.insts(region, n) {
            let site = Site { block: n, inst: i };
            if !matches!(inst.op, Op::Load | Op::Store) {
                continue;
            }
            let Some(who) = moves.who(site, inst) else {
                continue;
            };
            if in_each_round && inst.op == Op::Store {
                written.insert(who);
            }
            members.push((site, inst.op, who));
        }
    }
    let mut known: HashMap<(Who, bool), Stream> = HashMap::new();
    let streams = members.into_iter().map(|(site, op, who)| {
        let writes = op == Op::Store || written.contains(&who);
        let number = known.len();
        let stream = known
            .entry((who, writes))
            .or_insert(Stream { number, writes });
        (site, *stream)
    });
    streams.collect()
}

/// A loop without another one inside.
struct Inner {
    head: usize,
    blocks: Vec<usize>,
    /// See [`Loop::latches`].
    latches: Vec<usize>,
    /// Operations from here on are no longer in it, if it is a single block.
    end: usize,
}

impl Inner {
    /// The operations of `block` that are in the loop.
    fn insts<'a>(
        &self,
        region: &'a Region,
        block: usize,
    ) -> impl Iterator<Item = (usize, &'a Inst)> {
        region.blocks[block].insts.iter().enumerate().take(self.end)
    }
}

/// The loops without others inside. A block that leads to itself is one up to there, also where a
/// loop around it has the same head.
fn innermost(region: &Region, cfg: &Cfg) -> Vec<Inner> {
    let back = |&n: &usize| {
        let ends = 0..region.blocks[n].insts.len();
        let last = ends.rev().find(|&i| cfg.targets(n, i).any(|to| to == n));
        last.map(|i| Inner {
            head: n,
            blocks: vec![n],
            latches: vec![n],
            end: i + 1,
        })
    };
    let mut found: Vec<Inner> = cfg.order().iter().filter_map(back).collect();
    for natural in cfg.loops() {
        let is_outer = found.iter().any(|l| natural.blocks.contains(&l.head));
        if !is_outer {
            let Loop {
                head,
                blocks,
                latches,
            } = natural;
            found.push(Inner {
                head,
                blocks,
                latches,
                end: usize::MAX,
            });
        }
    }
    found
}

/// How far a value is likely to move between two rounds.
#[derive(Clone, Copy)]
struct Move {
    by: u64,
    /// The movement is beside that of this value, of which the value at hand is computed.
    beside: Option<Val>,
}

impl Move {
    const NONE: Self = Self::within(0);

    const fn within(by: u64) -> Self {
        Self { by, beside: None }
    }
}

/// How the values of a loop move from round to round.
struct Moves<'a> {
    region: &'a Region,
    inner: &'a Inner,
}

impl Moves<'_> {
    /// What the access `inst` at `site` shares a page with, if it is likely to stay in it.
    fn who(&self, site: Site, inst: &Inst) -> Option<Who> {
        let address = self.of(site, inst.a, &mut Vec::new())?;
        if address.by > MAX_EXTENT {
            return None;
        }
        Some(if self.is_steady(inst.a) {
            Who::Base {
                head: self.inner.head,
                base: inst.a,
                part: inst.imm.div_euclid(MAX_EXTENT as i64),
            }
        } else {
            Who::Access(site)
        })
    }

    /// The definitions of `val` in the loop.
    fn definitions(&self, val: Val) -> impl Iterator<Item = (Site, &Inst)> {
        self.inner.blocks.iter().flat_map(move |&block| {
            let insts = self.inner.insts(self.region, block);
            let defs = insts.filter(move |(_, i)| i.d == val || i.d2 == val);
            defs.map(move |(inst, i)| (Site { block, inst }, i))
        })
    }

    /// Whether `val` is a global that changes in the loop only by constants that are added.
    fn is_steady(&self, val: Val) -> bool {
        let adds = |(site, inst): (Site, &Inst)| {
            let constant = self.region.blocks[site.block].const_value(inst.b);
            inst.op == Op::Add && inst.a == val && inst.ty == Type::I64 && constant.is_some()
        };
        val.as_global().is_some() && self.definitions(val).all(adds)
    }

    /// How `val` moves, as the operation at `site` reads it. `open` are the values whose movement
    /// is being looked for.
    fn of(&self, site: Site, val: Val, open: &mut Vec<Val>) -> Option<Move> {
        let block = &self.region.blocks[site.block];
        if val.is_none() || block.const_value(val).is_some() {
            return Some(Move::NONE);
        }
        let before = block.insts[..site.inst].iter();
        if let Some(inst) = before.clone().rposition(|i| i.d == val || i.d2 == val) {
            let at = Site { inst, ..site };
            return self.result(at, &block.insts[inst], val, open);
        }
        if open.contains(&val) {
            let beside = Some(val);
            return Some(Move { by: 0, beside });
        }
        if open.len() >= DEPTH {
            return None;
        }
        open.push(val);
        let moves = self
            .definitions(val)
            .map(|(at, inst)| self.result(at, inst, val, open));
        let all: Option<Vec<Move>> = moves.collect();
        open.pop();
        let rounds = |m: &Move| if m.beside == Some(val) { ROUNDS } else { 1 };
        let extents = all?.into_iter().map(|m| m.by.saturating_mul(rounds(&m)));
        Some(Move::within(extents.max().unwrap_or(0)))
    }

    /// As `of`, for the result `val` of the operation `inst` at `site`.
    fn result(&self, site: Site, inst: &Inst, val: Val, open: &mut Vec<Val>) -> Option<Move> {
        if inst.d != val {
            return None;
        }
        let block: &Block = &self.region.blocks[site.block];
        if let (Op::And, Some(mask)) = (inst.op, block.const_value(inst.b))
            && mask <= MAX_EXTENT
        {
            return Some(Move::within(mask));
        }
        let a = match inst.op {
            Op::Add | Op::Sub | Op::Mov | Op::Sext | Op::Zext | Op::Shl | Op::Mul => {
                self.of(site, inst.a, open)?
            }
            Op::Load if MemOp(inst.aux).bytes() == 1 => return Some(Move::within(255)),
            _ => return None,
        };
        let constant = block.const_value(inst.b);
        let times = match (inst.op, constant) {
            (Op::Mov | Op::Sext | Op::Zext, _) => return Some(a),
            (Op::Shl, Some(by)) => 1 << (by & 63),
            (Op::Mul, Some(times)) => times,
            (Op::Add | Op::Sub, Some(c)) => {
                let by = a.by.saturating_add((c as i64).unsigned_abs());
                return Some(Move {
                    by: if a.beside.is_some() { by } else { a.by },
                    ..a
                });
            }
            (Op::Add | Op::Sub, None) => {
                let b = self.of(site, inst.b, open)?;
                let apart = a.beside.is_none() && b.beside.is_none();
                return apart.then(|| Move::within(a.by.saturating_add(b.by)));
            }
            _ => return None,
        };
        let by = a.by.checked_mul(times).filter(|_| a.beside.is_none())?;
        Some(Move::within(by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isomorph_frontend::Guest;
    use isomorph_riscv::Riscv64;

    /// The streams of the accesses of a loop from block 1 to itself, in order.
    fn of(body: &str) -> Vec<Option<(usize, bool)>> {
        let text = format!(
            "\
region entry 0 locals 0 joins
block 0x1000 flags 0x0 insns 1 end 0x1004
-- 0x1000
  exit -> 0x1010
block 0x1010 flags 0x0 insns 1 end 0x1014
-- 0x1010
{body}  exitif ne t1, 0x0 -> 0x1010
  a2 = load u64 [s1]
  exit -> 0x1014
"
        );
        let region = Region::parse(&text, Riscv64::globals()).expect("a region");
        let found = streams(&region, &Cfg::new(&region));
        let insts = region.blocks[1].insts.iter().enumerate();
        let accesses = insts.filter(|(_, i)| matches!(i.op, Op::Load | Op::Store));
        let mut all: Vec<_> = accesses
            .map(|(inst, _)| {
                let stream = found.get(&Site { block: 1, inst })?;
                Some((stream.number, stream.writes))
            })
            .collect();
        assert_eq!(all.pop(), Some(None), "behind the loop");
        all
    }

    #[test]
    fn what_moves_by_little_has_a_stream() {
        assert_eq!(of("  a2 = load u64 [a3]\n"), [Some((0, false))]);
        assert_eq!(
            of("  a2 = load u64 [a3]\n  a3 = add a3, 0x8\n"),
            [Some((0, false))]
        );
        assert_eq!(
            of("  a3 = sub a3, 0x8\n  a2 = load u64 [a3]\n"),
            [Some((0, false))]
        );
        assert_eq!(of("  a2 = load u64 [a3]\n  a3 = add a3, 0x300\n"), [None]);
        assert_eq!(of("  a2 = load u64 [a3]\n  a3 = add a3, a4\n"), [None]);
        assert_eq!(of("  a3 = load u64 [a3]\n"), [None]);
    }

    #[test]
    fn an_index_has_the_extent_of_its_table() {
        let index = |mask: u64| {
            format!("  %0:i64 = and a3, {mask:#x}\n  %1:i64 = add a4, %0\n  a3 = load u64 [%1]\n")
        };
        assert_eq!(of(&index(0xff)), [Some((0, false))]);
        assert_eq!(of(&index(0xffff)), [None]);
        let counter = "  a3 = add a3, 0x1\n  %0:i64 = shl a3, 0x3\n  %1:i64 = add %0, a4\n";
        assert_eq!(
            of(&format!("{counter}  a2 = load u64 [%1]\n")),
            [Some((0, false))]
        );
        let far = counter.replace("0x3", "0x9");
        assert_eq!(of(&format!("{far}  a2 = load u64 [%1]\n")), [None]);
    }

    #[test]
    fn accesses_off_one_base_share_a_stream() {
        let body = "\
  a2 = load u64 [a3]
  a4 = load u64 [a3+0x20]
  store u64 [a3], a2
  a5 = load u64 [a3+0x1000]
  a3 = add a3, 0x8
";
        assert_eq!(of(body), [0, 0, 0, 1].map(|n| Some((n, n == 0))));
    }
}
