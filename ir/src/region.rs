//! Several blocks that are compiled as one.
//!
//! Control enters a region at its [entry](Region::entry) only. A block's direct exit (`exit`,
//! `exitif`, `call`) to the pc of another block of the region *always* goes to that block; every
//! other exit leaves the region. A computed one (`jump`, `callind`) goes to a block only if that
//! block is a [join](Region::joins), and one to which a [route](Region::routes) leads from there if
//! there are any routes. What follows a `call` in its own block is entered from
//! outside, with nothing known of the guest state.
//!
//! Guest state is visible where control leaves the region, where an operation can fault, trap or
//! call, and at every [loop head](crate::passes::Cfg::is_loop_head), where an interrupt may be
//! taken before the block's first operation.

use crate::text::{self, ParseError, ParseErrorKind};
use crate::verify::{self, VerifyError};
use crate::{Block, GlobalTable, Inst, Op, Val};
use std::fmt::{self, Display, Formatter};

/// An operation of a region: block and index in [`Block::insts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// The block's index.
    pub block: usize,
    /// The operation's index in it.
    pub inst: usize,
}

/// A block that runs once before a loop: edges to the loop's head from outside of the loop go
/// through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preheader {
    /// The block that runs before the loop. Its pc is the head's; it ends with an exit to it.
    pub block: usize,
    /// The loop's first block.
    pub head: usize,
    /// The blocks whose edges to the head do not go through the preheader: those of the loop.
    pub inside: Vec<usize>,
}

/// An access whose page a dominating access of the same kind has probed: a fact about the region,
/// not a change of it. Between the two nothing can have emptied the TLB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reprobe {
    /// The `load` or `store`.
    pub access: Site,
    /// The access, of the same kind, that ran before on every path.
    pub leader: Site,
    /// This access's address minus the leader's (their bases hold the same value plus constants).
    /// The page is the same only if both lie in the same page: the back end checks that, or widens
    /// the leader's probe.
    pub delta: i64,
}

/// Blocks joined where an exit leads to another block's pc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// The blocks, in no particular order. All have the same flags, and different pcs but for
    /// preheaders.
    pub blocks: Vec<Block>,
    /// Index of the block where control enters.
    pub entry: usize,
    /// Blocks that computed jumps of the region may go to: observed targets and return addresses.
    pub joins: Vec<usize>,
    /// If there are any: the only pairs of a block and a join between which computed jumps go.
    pub routes: Vec<(usize, usize)>,
    /// Number of locals: I64 values ([`Val::local`]) that live across blocks and are no guest
    /// state. Their value at the entry is not defined.
    pub locals: usize,
    /// Blocks that were put before loops.
    pub preheaders: Vec<Preheader>,
    /// Accesses that need no full TLB probe. Any pass that moves operations empties it.
    pub reprobes: Vec<Reprobe>,
}

/// How a region breaks its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// A block breaks the IR's rules.
    #[error("block {block}")]
    Block {
        /// Its index.
        block: usize,
        /// The rule.
        #[source]
        source: VerifyError,
    },
    /// The entry, a join, a preheader or a probe names what does not exist.
    #[error("the region names block {0}, which does not exist or does not fit")]
    NoBlock(usize),
    /// Two blocks have the same pc and neither is the other's preheader.
    #[error("two blocks begin at {0:#x}")]
    SamePc(u64),
    /// A block was translated in another mode than the first.
    #[error("block {0} has other flags")]
    Flags(usize),
    /// More locals than there are numbers.
    #[error("{0} locals are too many")]
    Locals(usize),
}

impl Region {
    /// A region of these blocks that is entered at the first.
    pub fn new(blocks: Vec<Block>) -> Self {
        Self {
            blocks,
            ..Self::default()
        }
    }

    /// Where an exit of block `from` to `pc` leads inside of the region.
    pub fn successor(&self, from: usize, pc: u64) -> Option<usize> {
        let is_preheader = |n: usize| self.preheaders.iter().any(|p| p.block == n);
        if let Some(p) = self.preheaders.iter().find(|p| p.block == from) {
            return Some(p.head);
        }
        let head = (0..self.blocks.len()).find(|&n| self.blocks[n].pc == pc && !is_preheader(n))?;
        let before = self.preheaders.iter().find(|p| p.head == head);
        let before = before.filter(|p| !p.inside.contains(&from));
        Some(before.map_or(head, |p| p.block))
    }

    /// Where a computed jump of block `from` to `pc` leads inside of the region.
    pub fn computed_successor(&self, from: usize, pc: u64) -> Option<usize> {
        let is = |n: &usize| self.blocks.get(*n).is_some_and(|b| b.pc == pc);
        self.joins_from(from).find(is)?;
        self.successor(from, pc)
    }

    /// The joins that computed jumps of block `from` may go to.
    pub fn joins_from(&self, from: usize) -> impl Iterator<Item = usize> + use<'_> {
        let free = self.routes.is_empty();
        let goes = move |to: &usize| free || self.routes.contains(&(from, *to));
        self.joins.iter().copied().filter(goes)
    }

    /// The operation at `site`.
    pub fn inst(&self, site: Site) -> Option<&Inst> {
        self.blocks.get(site.block)?.insts.get(site.inst)
    }

    /// Checks the region's rules and each block's.
    pub fn verify(&self, table: &GlobalTable) -> Result<(), RegionError> {
        self.names()?;
        let flags = self.blocks.first().map_or(0, |b| b.flags);
        for (n, block) in self.blocks.iter().enumerate() {
            verify::verify_with_locals(block, table, self.locals)
                .map_err(|source| RegionError::Block { block: n, source })?;
            if block.flags != flags {
                return Err(RegionError::Flags(n));
            }
            let pre = |i: usize| self.preheaders.iter().any(|p| p.block == i);
            let same = |i: &usize| self.blocks[*i].pc == block.pc && !pre(*i);
            if !pre(n) && (0..n).find(same).is_some() {
                return Err(RegionError::SamePc(block.pc));
            }
        }
        Ok(())
    }

    /// That what the region names exists.
    fn names(&self) -> Result<(), RegionError> {
        if self.locals > Val::LOCALS {
            return Err(RegionError::Locals(self.locals));
        }
        let exists = |n: usize| match n < self.blocks.len() {
            true => Ok(()),
            false => Err(RegionError::NoBlock(n)),
        };
        exists(self.entry)?;
        self.joins.iter().try_for_each(|&n| exists(n))?;
        for &(from, to) in &self.routes {
            exists(from)?;
            if !self.joins.contains(&to) {
                return Err(RegionError::NoBlock(to));
            }
        }
        for p in &self.preheaders {
            exists(p.block)?;
            exists(p.head)?;
            p.inside.iter().try_for_each(|&n| exists(n))?;
            if self.blocks[p.block].pc != self.blocks[p.head].pc || p.inside.contains(&p.block) {
                return Err(RegionError::NoBlock(p.block));
            }
        }
        for r in &self.reprobes {
            for site in [r.access, r.leader] {
                let inst = self.inst(site);
                inst.filter(|i| matches!(i.op, Op::Load | Op::Store))
                    .ok_or(RegionError::NoBlock(site.block))?;
            }
        }
        Ok(())
    }

    /// The text form: a line for the region, one for each preheader and probe, then the blocks.
    pub fn text<'a>(&'a self, table: &'a GlobalTable) -> RegionText<'a> {
        RegionText {
            region: self,
            table,
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str, table: &GlobalTable) -> Result<Self, ParseError> {
        let mut region = Self::default();
        let lines: Vec<&str> = text.lines().collect();
        let heads = |line: &&str| line.starts_with("block ");
        let starts = (0..lines.len()).filter(|&n| heads(&lines[n]));
        let starts: Vec<usize> = starts.chain([lines.len()]).collect();
        for (n, line) in lines[..starts[0]].iter().enumerate() {
            let words: Vec<&str> = line
                .split(';')
                .next()
                .unwrap_or("")
                .split_whitespace()
                .collect();
            region.header(&words).ok_or(ParseError {
                line: n + 1,
                kind: ParseErrorKind::Header,
            })?;
        }
        for pair in starts.windows(2) {
            let body = lines[pair[0]..pair[1]].join("\n");
            let block = text::parse(&body, table).map_err(|error| ParseError {
                line: error.line + pair[0],
                ..error
            })?;
            region.blocks.push(block);
        }
        Ok(region)
    }

    /// A line before the first block: keywords, each followed by its numbers.
    fn header(&mut self, words: &[&str]) -> Option<()> {
        let mut list: &mut Vec<usize> = &mut Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "region" => {}
                "entry" => self.entry = words.next()?.parse().ok()?,
                "locals" => self.locals = words.next()?.parse().ok()?,
                "joins" => list = &mut self.joins,
                "route" => {
                    let from = words.next()?.parse().ok()?;
                    words.next().filter(|w| **w == "to")?;
                    self.routes.push((from, words.next()?.parse().ok()?));
                }
                "preheader" => {
                    let block = words.next()?.parse().ok()?;
                    words.next().filter(|w| **w == "of")?;
                    let head = words.next()?.parse().ok()?;
                    words.next().filter(|w| **w == "inside")?;
                    let inside = Vec::new();
                    self.preheaders.push(Preheader {
                        block,
                        head,
                        inside,
                    });
                    list = &mut self.preheaders.last_mut()?.inside;
                }
                "reprobe" => {
                    let access = site(words.next()?)?;
                    words.next().filter(|w| **w == "after")?;
                    let leader = site(words.next()?)?;
                    words.next().filter(|w| **w == "delta")?;
                    let delta = words.next()?.parse().ok()?;
                    self.reprobes.push(Reprobe {
                        access,
                        leader,
                        delta,
                    });
                }
                number => list.push(number.parse().ok()?),
            }
        }
        Some(())
    }
}

/// `block.inst`.
fn site(word: &str) -> Option<Site> {
    let (block, inst) = word.split_once('.')?;
    Some(Site {
        block: block.parse().ok()?,
        inst: inst.parse().ok()?,
    })
}

/// A region's text form, through [`Display`].
#[derive(Clone, Copy, Debug)]
pub struct RegionText<'a> {
    region: &'a Region,
    table: &'a GlobalTable,
}

impl Display for Site {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.block, self.inst)
    }
}

impl Display for RegionText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Region {
            entry,
            joins,
            locals,
            ..
        } = self.region;
        write!(f, "region entry {entry} locals {locals} joins")?;
        numbers(f, joins)?;
        for (from, to) in &self.region.routes {
            writeln!(f, "route {from} to {to}")?;
        }
        for Preheader {
            block,
            head,
            inside,
        } in &self.region.preheaders
        {
            write!(f, "preheader {block} of {head} inside")?;
            numbers(f, inside)?;
        }
        for Reprobe {
            access,
            leader,
            delta,
        } in &self.region.reprobes
        {
            writeln!(f, "reprobe {access} after {leader} delta {delta}")?;
        }
        let blocks = &self.region.blocks;
        blocks
            .iter()
            .try_for_each(|b| write!(f, "{}", b.text(self.table)))
    }
}

fn numbers(f: &mut Formatter<'_>, list: &[usize]) -> fmt::Result {
    list.iter().try_for_each(|n| write!(f, " {n}"))?;
    writeln!(f)
}
