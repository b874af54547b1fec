//! Who follows whom in a region: edges, order, dominators, loops.

use crate::{Inst, Op, Region};

/// The control-flow graph of a region. Holds until edges or blocks change.
#[derive(Clone, Debug, Default)]
pub struct Cfg {
    succs: Vec<Vec<usize>>,
    preds: Vec<Vec<usize>>,
    /// By block: which operation leads to which block.
    exits: Vec<Vec<(usize, usize)>>,
    /// Reachable blocks in reverse postorder; the entry is first.
    order: Vec<usize>,
    /// Place in `order`; `usize::MAX` where control never comes.
    place: Vec<usize>,
    /// Immediate dominator of each reachable block (the entry's is itself).
    idom: Vec<usize>,
    /// Heads of loops; all blocks if a loop has two entries.
    heads: Vec<bool>,
    /// A loop has two entries.
    odd: bool,
}

/// A natural loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The block through which the loop is entered.
    pub head: usize,
    /// Its blocks, the head first.
    pub blocks: Vec<usize>,
    /// Those of its blocks that have an edge to the head.
    pub latches: Vec<usize>,
}

/// The blocks of the region to which `inst`, an operation of block `from`, may lead.
pub fn targets<'a>(
    region: &'a Region,
    from: usize,
    inst: &Inst,
) -> impl Iterator<Item = usize> + use<'a> {
    let direct = match inst.op {
        Op::Exit | Op::ExitIf | Op::Call => region.successor(from, inst.pc()),
        _ => None,
    };
    let jumps = matches!(inst.op, Op::Jump | Op::CallInd);
    let joins = jumps.then(|| region.joins_from(from)).into_iter().flatten();
    let computed = joins.filter_map(move |n| region.successor(from, region.blocks[n].pc));
    direct.into_iter().chain(computed)
}

impl Cfg {
    /// The graph of `region`.
    pub fn new(region: &Region) -> Self {
        let count = region.blocks.len();
        let mut cfg = Self {
            succs: vec![Vec::new(); count],
            preds: vec![Vec::new(); count],
            exits: vec![Vec::new(); count],
            place: vec![usize::MAX; count],
            idom: vec![usize::MAX; count],
            heads: vec![false; count],
            ..Self::default()
        };
        for from in 0..count {
            for (i, inst) in region.blocks[from].insts.iter().enumerate() {
                for to in targets(region, from, inst) {
                    cfg.exits[from].push((i, to));
                    if !cfg.succs[from].contains(&to) {
                        cfg.succs[from].push(to);
                        cfg.preds[to].push(from);
                    }
                }
            }
        }
        if count > 0 {
            cfg.walk(region.entry);
            cfg.dominators(region.entry);
            cfg.irreducible();
        }
        cfg
    }

    /// Depth-first, without recursion: order and the targets of edges that go back.
    fn walk(&mut self, entry: usize) {
        let mut open = vec![false; self.succs.len()];
        let mut seen = open.clone();
        let mut stack = vec![(entry, 0)];
        (open[entry], seen[entry]) = (true, true);
        while let Some((block, next)) = stack.last_mut() {
            let block = *block;
            let Some(&to) = self.succs[block].get(*next) else {
                open[block] = false;
                self.order.push(block);
                stack.pop();
                continue;
            };
            *next += 1;
            self.heads[to] |= open[to];
            if !seen[to] {
                (open[to], seen[to]) = (true, true);
                stack.push((to, 0));
            }
        }
        self.order.reverse();
        for (n, &block) in self.order.iter().enumerate() {
            self.place[block] = n;
        }
    }

    /// Where a cycle has two entries, which of its blocks is its head depends on the walk, and so
    /// on what passes made of other edges: every block is one.
    fn irreducible(&mut self) {
        let back = |from: usize, to: usize| self.place[from] >= self.place[to];
        let odd = |&from: &usize| {
            let mut targets = self.succs[from].iter();
            targets.any(|&to| back(from, to) && !self.dominates(to, from))
        };
        self.odd = self.order.iter().any(odd);
        if self.odd {
            self.heads.fill(true);
        }
    }

    /// Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
    fn dominators(&mut self, entry: usize) {
        self.idom[entry] = entry;
        let mut changed = true;
        while changed {
            changed = false;
            for &block in &self.order[1..] {
                let known = self.preds[block]
                    .iter()
                    .copied()
                    .filter(|&p| self.idom[p] != usize::MAX);
                let new = known.reduce(|a, b| self.meet(a, b));
                if let Some(new) = new
                    && self.idom[block] != new
                {
                    self.idom[block] = new;
                    changed = true;
                }
            }
        }
    }

    fn meet(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            while self.place[a] > self.place[b] {
                a = self.idom[a];
            }
            while self.place[b] > self.place[a] {
                b = self.idom[b];
            }
        }
        a
    }

    /// Reachable blocks, each after those that dominate it.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Whether control ever comes to `block`.
    pub fn reachable(&self, block: usize) -> bool {
        self.place[block] != usize::MAX
    }

    /// The blocks to which operation `inst` of `block` may lead.
    pub fn targets(&self, block: usize, inst: usize) -> impl Iterator<Item = usize> {
        let exits = self.exits[block].iter();
        exits.filter(move |e| e.0 == inst).map(|e| e.1)
    }

    /// The blocks with an edge to `block`.
    pub fn preds(&self, block: usize) -> &[usize] {
        &self.preds[block]
    }

    /// The blocks to which `block` has an edge.
    pub fn succs(&self, block: usize) -> &[usize] {
        &self.succs[block]
    }

    /// Whether an edge goes back to `block`: an interrupt may be taken before its first operation.
    pub fn is_loop_head(&self, block: usize) -> bool {
        self.heads[block]
    }

    /// Whether every path from the entry to `b` comes through `a`.
    pub fn dominates(&self, a: usize, mut b: usize) -> bool {
        if !self.reachable(a) || !self.reachable(b) {
            return false;
        }
        while self.place[b] > self.place[a] {
            b = self.idom[b];
        }
        a == b
    }

    /// The natural loop of `head`, if what it writes is all that can happen between two visits of
    /// the head: not where a loop has two entries, which may come through any block.
    pub fn only_loop<'a>(&self, loops: &'a [Loop], head: usize) -> Option<&'a Loop> {
        loops.iter().find(|l| l.head == head && !self.odd)
    }

    /// The natural loops, inner ones first.
    pub fn loops(&self) -> Vec<Loop> {
        let mut loops = Vec::new();
        for &head in self.order.iter().rev() {
            let back = |&p: &usize| self.dominates(head, p);
            let latches: Vec<usize> = self.preds[head].iter().copied().filter(back).collect();
            if latches.is_empty() {
                continue;
            }
            let mut blocks = vec![head];
            let mut stack = latches.clone();
            while let Some(block) = stack.pop() {
                if !blocks.contains(&block) {
                    blocks.push(block);
                    let preds = self.preds[block].iter().copied();
                    stack.extend(preds.filter(|&p| self.reachable(p)));
                }
            }
            loops.push(Loop {
                head,
                blocks,
                latches,
            });
        }
        loops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TABLE;

    /// 0 → 1 ⇄ 2, 1 → 3, and block 4 to which nothing leads.
    const LOOP: &str = "\
region entry 0 locals 0 joins
block 0x0 flags 0 insns 1 end 0x4
  exit -> 0x10
block 0x10 flags 0 insns 1 end 0x14
  exitif eq r1, r2 -> 0x30
  exit -> 0x20
block 0x20 flags 0 insns 1 end 0x24
  exit -> 0x10
block 0x30 flags 0 insns 1 end 0x34
  exit -> 0x99
block 0x40 flags 0 insns 1 end 0x44
  exit -> 0x10
";

    #[test]
    fn a_loop_is_found() {
        let region = Region::parse(LOOP, &TABLE).unwrap();
        assert_eq!(region.verify(&TABLE), Ok(()));
        let cfg = Cfg::new(&region);
        assert_eq!(cfg.order()[..2], [0, 1]);
        assert!(!cfg.reachable(4));
        assert!(cfg.is_loop_head(1) && !cfg.is_loop_head(0));
        assert!(cfg.dominates(1, 3) && !cfg.dominates(2, 3));
        let loops = cfg.loops();
        assert_eq!(loops.len(), 1);
        assert_eq!((loops[0].head, loops[0].blocks.len()), (1, 2));
        assert_eq!(loops[0].latches, [2]);
    }

    #[test]
    fn the_text_form_survives() {
        let mut text = LOOP.replace("flags 0 ", "flags 0x0 ");
        text.insert_str(text.find("block").unwrap(), "preheader 0 of 1 inside 2\n");
        let text = text
            .replace("block 0x0 ", "block 0x10 ")
            .replace("joins\n", "joins 3 4\n");
        let region = Region::parse(&text, &TABLE).unwrap();
        assert_eq!(region.text(&TABLE).to_string(), text);
        assert_eq!(region.verify(&TABLE), Ok(()));
        assert_eq!(region.successor(0, 0x10), Some(1));
        assert_eq!(region.successor(4, 0x10), Some(0));
        assert_eq!(region.successor(2, 0x10), Some(1));
        assert_eq!(region.computed_successor(2, 0x20), None);
        assert_eq!(region.computed_successor(2, 0x30), Some(3));
    }
}
