//! What tells a block from others, and where its bytes are.

use crate::config::Config;
use isomorph_frontend::{CodeSource, Limits};
use isomorph_softmmu::{PAGE_SIZE, RamBlock};
use std::sync::{Arc, PoisonError, RwLock};

/// Bits of a translation mode.
const MODE_BITS: u32 = 16;
/// In a space: above the mode is the number of two pages, not that of one.
const PAIR: u64 = 1 << 63;
/// In a space: a block of one instruction.
const ONCE: u64 = 1 << 62;

/// In a space: a block whose exits all leave generated code.
const STEP: u64 = 1 << 61;

/// How far a block may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As far as the configuration allows: guest addresses do not change their meaning.
    Flat,
    /// To the end of its page.
    Page,
    /// One instruction, which may end in the page that is at this host address.
    Pair(Option<u64>),
    /// One instruction, whose neighbours must be looked up each time: what protects the memory has
    /// a finer grain than pages. What follows its first `first` bytes is at this host address.
    Once { first: u64, next: Option<u64> },
}

/// What tells a block from others, and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Guest address.
    pub pc: u64,
    /// Translation mode.
    pub mode: u32,
    /// With `pc` the block's key: the mode, and what memory it was translated from.
    pub space: u64,
    /// Address of the first byte under which it is dropped: the guest's, or in a machine the host
    /// address of the RAM that it is in.
    pub place: u64,
    pub reach: Reach,
}

impl Site {
    /// Code at a guest address that always means the same memory.
    pub fn flat(pc: u64, mode: u32) -> Self {
        Self {
            pc,
            mode,
            space: u64::from(mode),
            place: pc,
            reach: Reach::Flat,
        }
    }

    /// Code at a guest address that now is at host address `place`.
    pub fn page(pc: u64, mode: u32, place: u64) -> Self {
        // More bits would make blocks of other memory look like this one.
        assert!(
            mode >> MODE_BITS == 0,
            "translation mode {mode:#x} has too many bits"
        );
        Self {
            pc,
            mode,
            space: ((place / PAGE_SIZE) << MODE_BITS) | u64::from(mode),
            place,
            reach: Reach::Page,
        }
    }

    /// As `page`, for one instruction that may end in the page at `next`; `pair` is the number of
    /// these two pages.
    pub fn pair(self, next: Option<u64>, pair: u64) -> Self {
        Self {
            space: PAIR | (pair << MODE_BITS) | u64::from(self.mode),
            reach: Reach::Pair(next),
            ..self
        }
    }

    /// As `page`, for one instruction alone, of which `first` bytes are here and the others at
    /// `next`.
    pub fn once(self, first: u64, next: Option<u64>) -> Self {
        Self {
            space: self.space | ONCE,
            reach: Reach::Once { first, next },
            ..self
        }
    }

    /// As it is, with the number of its two places in its key: they are not successive.
    pub fn numbered(self, number: u64) -> Self {
        let space = PAIR | ONCE | number << MODE_BITS | u64::from(self.mode);
        Self { space, ..self }
    }

    /// As it is, with all exits leaving generated code.
    pub fn stepping(self) -> Self {
        let space = self.space | STEP;
        Self { space, ..self }
    }

    /// Whether all exits leave generated code.
    pub fn is_stepping(&self) -> bool {
        self.space & STEP != 0
    }

    /// How many bytes there are before others follow that are elsewhere; where those are.
    fn split(&self) -> Option<(u64, Option<u64>)> {
        match self.reach {
            Reach::Flat | Reach::Page => None,
            Reach::Pair(next) => Some((PAGE_SIZE - self.place % PAGE_SIZE, next)),
            Reach::Once { first, next } => Some((first, next)),
        }
    }

    /// Addresses of RAM whose pages its bytes are in.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        let first = (self.reach != Reach::Flat).then_some(self.place);
        let next = self.split().and_then(|(_, next)| next);
        first.into_iter().chain(next)
    }

    /// Where a direct exit of this block leads that is linked: the same page, or anywhere in flat
    /// memory.
    pub fn inside(&self, target: u64) -> Self {
        if self.reach == Reach::Flat {
            return Self::flat(target, self.mode);
        }
        let offset = target % PAGE_SIZE;
        Self::page(
            target,
            self.mode,
            self.place - self.place % PAGE_SIZE + offset,
        )
    }

    /// Bounds of the block.
    pub fn limits(&self, config: &Config) -> Limits {
        let limits = Limits {
            past_calls: config.limits.past_calls && !self.is_stepping(),
            ..config.limits
        };
        match self.reach {
            Reach::Flat => limits,
            Reach::Page => Limits {
                span: limits.span.min(PAGE_SIZE - self.pc % PAGE_SIZE),
                ..limits
            },
            Reach::Pair(_) | Reach::Once { .. } => Limits { insns: 1, ..limits },
        }
    }

    /// Place of the block's byte number `len - 1`.
    pub fn last_place(&self, len: u64) -> u64 {
        let last = len.saturating_sub(1);
        match self.split() {
            Some((room, Some(next))) if last >= room => next + (last - room),
            _ => self.place + last,
        }
    }
}

/// Memory that code was translated from. Kept as long as the engine lives.
#[derive(Debug, Default)]
pub(crate) struct Rams(RwLock<Vec<Arc<RamBlock>>>);

impl Rams {
    /// Keeps `ram`; true if it is new.
    pub fn keep(&self, ram: &Arc<RamBlock>) -> bool {
        let known = |all: &Vec<Arc<RamBlock>>| all.iter().any(|r| Arc::ptr_eq(r, ram));
        if known(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return false;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = !known(&all);
        if new {
            all.push(ram.clone());
        }
        new
    }

    /// Does `work` with the block and the offset of a host address.
    pub fn at<T>(&self, host: u64, work: impl FnOnce(&Arc<RamBlock>, u64) -> T) -> Option<T> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .find_map(|ram| {
                let offset = host.checked_sub(ram.host_base() as u64)?;
                (offset < ram.len()).then_some((ram, offset))
            })
            .map(|(ram, offset)| work(ram, offset))
    }

    /// Copies bytes from host address `host` on that lie in its page; how many.
    fn read(&self, host: u64, out: &mut [u8]) -> usize {
        let len = out.len().min((PAGE_SIZE - host % PAGE_SIZE) as usize);
        let read = self.at(host, |ram, offset| ram.read(offset, &mut out[..len]));
        if read == Some(true) { len } else { 0 }
    }
}

/// The bytes of the code at a site.
pub(crate) struct CodeAt<'a> {
    pub site: Site,
    pub flat: &'a (dyn CodeSource + Send + Sync),
    pub rams: &'a Rams,
}

impl CodeSource for CodeAt<'_> {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let Site { place, reach, .. } = self.site;
        if reach == Reach::Flat {
            return self.flat.read(pc, out);
        }
        let offset = pc.wrapping_sub(self.site.pc);
        let whole = (PAGE_SIZE - place % PAGE_SIZE, None);
        let (room, next) = self.site.split().unwrap_or(whole);
        if offset >= room {
            return next.map_or(0, |next| self.rams.read(next + (offset - room), out));
        }
        let (here, rest) = out.split_at_mut(out.len().min((room - offset) as usize));
        let have = self.rams.read(place + offset, here);
        if have < here.len() {
            return have;
        }
        have + next.map_or(0, |next| self.rams.read(next, rest))
    }

    fn may_change(&self, pc: u64) -> bool {
        self.site.reach != Reach::Flat || self.flat.may_change(pc)
    }
}
