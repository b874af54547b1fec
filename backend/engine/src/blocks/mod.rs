//! Everything behind the engine's lock: code memory, translated blocks and the edges between them.

mod heat;
mod regions;
mod samples;
mod trials;

pub(crate) use heat::{Again, Terms, Trip, Tripped};
pub(crate) use regions::Job;
pub(crate) use samples::Weight;

use crate::config::{Config, Dropped, Policy, Translation};
use crate::error::EngineError;
use crate::memory::VcpuRef;
use crate::site::{CodeAt, Rams, Reach, Site};
use crate::stats::Stats;
use crate::table::BlockTable;
use heat::{Cold, Heat};
use isomorph_baseline::{Compiled, Emitter, Layout, Runtime};
use isomorph_code::CodeMemory;
use isomorph_cranelift::CompiledRegion;
use isomorph_frontend::{CodeSource, Guest, translate_block};
use isomorph_ir::Builder;
use isomorph_softmmu::PAGE_SIZE;
use regions::Regions;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Guest bytes are indexed in pages of this size (log2).
const PAGE_BITS: u32 = 12;
/// No block or edge.
const NONE: u32 = u32::MAX;
/// No page: page numbers have 52 bits.
const NO_PAGE: u64 = u64::MAX;
/// What a landing is compared with once its block is gone: no guest pc is odd.
const STALE_PC: u64 = 1;

/// A translated block.
struct Block {
    site: Site,
    /// Guest bytes from the first instruction to the last.
    bytes: u32,
    /// Offset of the polled entry in code memory.
    host: u32,
    len: u32,
    /// Offset of the entry behind the poll.
    fast: u32,
    alive: bool,
    /// Of its guest code before it was translated, if that may change silently: compared at
    /// instruction-memory fences.
    hash: Option<u64>,
    /// Ranges in `Blocks::{landings, map}`.
    landings: (u32, u32),
    map: (u32, u32),
    /// First edge that jumps here.
    incoming: u32,
    /// Next block that starts or ends in the same page as this one's first / last byte.
    next_in_page: [u32; 2],
    /// Whether it is counted how often it is entered.
    heat: Heat,
    /// The live region that is entered in its place, or whose code it is.
    region: u32,
    /// The region whose code it is, live or not.
    code_of: u32,
}

impl Block {
    /// Which of its two page lists is `page`'s.
    fn side(&self, page: u64) -> usize {
        usize::from(self.site.place >> PAGE_BITS != page)
    }

    /// Whether a byte of it is at a place in `start..end`, which is no larger than its two pages.
    fn overlaps(&self, start: u64, end: u64) -> bool {
        let (first, last) = (self.site.place, self.site.last_place(self.bytes.into()));
        if last.wrapping_sub(first) == u64::from(self.bytes) - 1 {
            return first < end && last >= start;
        }
        let whole = |place: u64| place - place % PAGE_SIZE;
        (first < end && whole(first) + PAGE_SIZE > start) || (whole(last) < end && last >= start)
    }
}

/// A direct exit of a block.
struct Edge {
    /// Offset of the patchable `rel32`.
    rel32: u32,
    /// Offset of the stub that it jumps to while not linked.
    stub: u32,
    target: u64,
    source: u32,
    polled: bool,
    linked: bool,
    /// What it says of its target that it is taken.
    leads: Leads,
    /// Next edge that jumps to the same block.
    next: u32,
}

/// What an edge says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    /// Nothing.
    On,
    /// It is a loop's head.
    Back,
    /// It is a function.
    Into,
    /// It is the edge's own block, which was entered so often that its counter ran out.
    Hot,
}

/// Where a guest instruction's host code starts, relative to its block.
struct MapEntry {
    host: u32,
    guest: u32,
}

/// Where to enter a translated block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Host address of the polled entry.
    pub polled: u64,
}

/// Translations and how they hang together.
pub(crate) struct Blocks {
    pub code: CodeMemory,
    emitter: Emitter,
    builder: Builder,
    /// Folds nothing; made for the first observer that wants its blocks.
    plain: Option<Builder>,
    compiled: Compiled,
    blocks: Vec<Block>,
    edges: Vec<Edge>,
    landings: Vec<u32>,
    map: Vec<MapEntry>,
    /// Page number to its place in `heads`.
    pages: BTreeMap<u64, u32>,
    /// The newest block of each page.
    heads: Vec<u32>,
    /// The page looked up last, and its place: blocks come page by page.
    last_page: (u64, u32),
    volatile: Vec<u32>,
    regions: Regions,
    /// Where computed jumps enter what they lead to: through its counter, if it has one. Only what
    /// was asked for is there.
    pub targets: Arc<BlockTable>,
    /// Offset of the counters in a vCPU's memory; the next of them to be used.
    counters: usize,
    next_slot: u32,
    /// Bytes of the runtime stubs at the start of code memory.
    runtime_bytes: usize,
    bytes: Vec<u8>,
    /// The guest's bytes as they were before the translation under way, if they may change.
    before: Vec<u8>,
}

/// How many bytes are kept of them: a block that is longer goes at every fence.
const BEFORE_BYTES: usize = 320;

/// A hash of guest code.
fn hash_of(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |h, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (h.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

/// The host's time-stamp counter: what translated code reads as counter 1.
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux leaves it to user mode.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// What a translation needs besides the blocks.
pub(crate) struct Context<'a, G: Guest> {
    pub guest: &'a G,
    pub source: &'a (dyn CodeSource + Send + Sync),
    pub config: &'a Config,
    pub rams: &'a Rams,
    pub table: &'a BlockTable,
    pub stats: &'a Stats,
    /// Is told the host address of a page of RAM before the first code in it is translated.
    pub protect: &'a dyn Fn(u64),
    /// The vCPU that asks.
    pub vcpu: Option<VcpuRef>,
    /// Entries after which a counter runs out.
    pub threshold: i32,
    /// What may be hot is counted from the first edge to it on.
    pub counting: bool,
}

impl<'a, G: Guest> Context<'a, G> {
    /// What is hot enough depends on what it costs.
    fn is_adaptive(&self) -> bool {
        self.config.tier2.policy == Policy::Hot(None)
    }

    fn code_at(&self, site: Site) -> CodeAt<'a> {
        CodeAt {
            site,
            flat: self.source,
            rams: self.rams,
        }
    }

    /// Has stores to the RAM at `host` noticed from now on.
    fn note_code(&self, host: u64) {
        let page = host - host % PAGE_SIZE;
        let new = self.rams.at(page, |ram, offset| ram.code().set(offset));
        if new == Some(true) {
            (self.protect)(page);
        }
    }
}

/// What lies before a loop's code, up to a line of the instruction cache: `int3`.
static PADDING: [u8; CompiledRegion::ALIGN as usize] = [0xcc; CompiledRegion::ALIGN as usize];

impl Blocks {
    /// Code memory with the runtime stubs, and no blocks.
    pub fn new<G: Guest>(config: &Config) -> Result<Self, EngineError> {
        let mut code = CodeMemory::new(config.code_bytes)?;
        let mut emitter = Emitter::new(Layout {
            globals: G::globals(),
            memory: config.memory,
        });
        code.append(&emitter.runtime().code)?;
        emitter.set_runtime_base(code.exec_base());
        let runtime_bytes = code.used();
        Ok(Self {
            code,
            emitter,
            builder: Builder::new(G::globals()),
            plain: None,
            compiled: Compiled::default(),
            blocks: Vec::new(),
            edges: Vec::new(),
            landings: Vec::new(),
            map: Vec::new(),
            pages: BTreeMap::new(),
            heads: Vec::new(),
            last_page: (NO_PAGE, 0),
            volatile: Vec::new(),
            regions: Regions::new::<G>(config),
            targets: Arc::new(BlockTable::new()),
            counters: crate::memory::counters_offset(crate::vcpu::banks(config.memory)),
            next_slot: 0,
            runtime_bytes,
            bytes: Vec::new(),
            before: Vec::new(),
        })
    }

    /// The runtime stubs (offsets from the start of code memory).
    pub fn runtime(&self) -> &Runtime {
        self.emitter.runtime()
    }

    /// The block at `site`, translated if need be. `Full` asks for a flush.
    fn block<G: Guest>(&mut self, cx: &Context<'_, G>, site: Site) -> Result<u32, EngineError> {
        if let Some(code) = cx.table.get(site.pc, site.space)
            && let Some(id) = self.at_host((code - self.code.exec_base()) as u32)
        {
            return Ok(id);
        }
        self.translate(cx, site)
    }

    /// Translates the block at `site` if it is not there, and says where to enter it.
    pub fn entry<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        site: Site,
    ) -> Result<Entry, EngineError> {
        let id = self.block(cx, site)?;
        Ok(self.entry_of(id))
    }

    fn entry_of(&self, id: u32) -> Entry {
        Entry {
            polled: self.code.exec_base() + u64::from(self.blocks[id as usize].host),
        }
    }

    fn translate<G: Guest>(&mut self, cx: &Context<'_, G>, site: Site) -> Result<u32, EngineError> {
        let begin = ticks();
        let mut host = self.code.next_offset();
        let mut base = self.code.exec_base() + u64::from(host);
        site.places().for_each(|place| cx.note_code(place));
        let source = cx.code_at(site);
        // Taken before the translation: if the guest's code changes meanwhile, this is not what the
        // next fence finds, and the block goes. Taken afterwards it could match the new code while
        // the block is the old one.
        self.before.clear();
        if source.may_change(site.pc) {
            self.before.resize(BEFORE_BYTES, 0);
            let have = source.read(site.pc, &mut self.before);
            self.before.truncate(have);
        }
        self.compile(cx, &source, base)?;
        if let Some(padding) = self.loop_padding(host) {
            self.code.append(padding)?;
            host = self.code.next_offset();
            base = self.code.exec_base() + u64::from(host);
            self.compile(cx, &source, base)?;
        }
        self.code.append(&self.compiled.code)?;
        let id = self.record(&source, host);
        cx.table.insert(site.pc, site.space, base);
        let stats = cx.stats;
        stats.blocks.add_alone(1);
        stats.insns.add_alone(u64::from(self.builder.block().insns));
        stats.code_bytes.add_alone(self.compiled.code.len() as u64);
        stats.translate_ns.add_alone(ticks().wrapping_sub(begin));
        self.observe(cx, &source, base);
        Ok(self.always(cx, id))
    }

    /// What to put before the block just compiled, if that is a loop that would lie in more lines
    /// of the instruction cache at `host` than it has to: it can take twice the time.
    fn loop_padding(&self, host: u32) -> Option<&'static [u8]> {
        const LINE: usize = PADDING.len();
        let pc = self.builder.block().pc;
        let back = self.compiled.edges.iter();
        let back = back.filter(|e| e.target == pc && !e.call);
        let bytes = back.map(|e| e.rel32 as usize + 4).max()?;
        let skew = host as usize % LINE;
        let lines = |from: usize| (from + bytes).div_ceil(LINE);
        (lines(skew) > lines(0)).then_some(&PADDING[skew..])
    }

    /// Translates and compiles for `base`. A block with more temporaries than tier 1 can keep is
    /// tried again with fewer instructions.
    fn compile<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        source: &CodeAt<'_>,
        base: u64,
    ) -> Result<(), EngineError> {
        let Site { pc, mode, .. } = source.site;
        let mut limits = source.site.limits(cx.config);
        let first_edge = self.edges.len() as u32;
        loop {
            translate_block(cx.guest, &mut self.builder, source, pc, mode, limits);
            let block = self.builder.block();
            let (emitter, out) = (&mut self.emitter, &mut self.compiled);
            let compiled = match source.site.is_stepping() {
                true => emitter.compile_stepping(block, base, first_edge, out),
                false => emitter.compile(block, base, first_edge, out),
            };
            match compiled {
                Ok(()) => return Ok(()),
                Err(_) if block.insns > 1 => limits.insns = block.insns / 2,
                Err(source) => return Err(EngineError::Compile { pc, source }),
            }
        }
    }

    /// Enters the block just compiled into the books.
    fn record(&mut self, source: &CodeAt<'_>, host: u32) -> u32 {
        let id = self.blocks.len() as u32;
        let (pc, end) = {
            let b = self.builder.block();
            (b.pc, b.end)
        };
        let bytes = end.wrapping_sub(pc);
        let site = source.site;
        let first_landing = self.landings.len() as u32;
        self.landings
            .extend(self.compiled.landings.iter().map(|l| host + l.cell));
        let first_map = self.map.len() as u32;
        // A machine's accesses fault in the slow path, which knows its instruction.
        if site.reach == Reach::Flat {
            self.map.extend(self.compiled.map.iter().map(|m| MapEntry {
                host: m.host,
                guest: m.guest_pc.wrapping_sub(pc) as u32,
            }));
        }
        self.record_edges(id, host);
        // In a machine, what changes is noticed by pages.
        let volatile = site.reach == Reach::Flat
            && (source.may_change(pc) || source.may_change(end.wrapping_sub(1)));
        let hash = self.before.get(..bytes as usize).map(hash_of);
        let pages = [site.place, site.last_place(bytes)].map(|place| place >> PAGE_BITS);
        let first = self.head_of(pages[0], id);
        let second = if pages[1] == pages[0] {
            NONE
        } else {
            self.head_of(pages[1], id)
        };
        if volatile {
            self.volatile.push(id);
        }
        self.blocks.push(Block {
            site,
            bytes: bytes as u32,
            host,
            len: self.compiled.code.len() as u32,
            fast: host + self.compiled.fast_entry,
            alive: true,
            hash,
            landings: (first_landing, self.landings.len() as u32),
            map: (first_map, self.map.len() as u32),
            incoming: NONE,
            next_in_page: [first, second],
            heat: Heat::Cold(Cold::default()),
            region: NONE,
            code_of: NONE,
        });
        id
    }

    /// Enters the edges of the code just compiled into the books.
    fn record_edges(&mut self, source: u32, host: u32) {
        for e in &self.compiled.edges {
            let leads = match (e.call, e.polled) {
                (true, _) => Leads::Into,
                (false, true) => Leads::Back,
                (false, false) => Leads::On,
            };
            self.edges.push(Edge {
                rel32: host + e.rel32,
                stub: host + e.stub,
                target: e.target,
                source,
                polled: e.polled,
                linked: false,
                leads,
                next: NONE,
            });
        }
    }

    /// Makes `id` the newest block of `page`; returns the one before.
    fn head_of(&mut self, page: u64, id: u32) -> u32 {
        if self.last_page.0 != page {
            let free = self.heads.len() as u32;
            let place = *self.pages.entry(page).or_insert(free);
            if place == free {
                self.heads.push(NONE);
            }
            self.last_page = (page, place);
        }
        std::mem::replace(&mut self.heads[self.last_page.1 as usize], id)
    }

    /// A hash of `bytes` guest bytes as they are now.
    fn hash(&mut self, source: &CodeAt<'_>, bytes: u32) -> u64 {
        self.bytes.resize(bytes as usize, 0);
        let n = source.read(source.site.pc, &mut self.bytes);
        hash_of(&self.bytes[..n])
    }

    fn observe<G: Guest>(&mut self, cx: &Context<'_, G>, source: &CodeAt<'_>, host: u64) {
        let Some(observer) = &cx.config.observer else {
            return;
        };
        let block = self.builder.block();
        let plain = observer.wants().plain.then(|| {
            let new = || Builder::plain(G::globals());
            let plain = self.plain.get_or_insert_with(new);
            let limits = source.site.limits(cx.config);
            translate_block(cx.guest, plain, source, block.pc, block.flags, limits);
            plain.block()
        });
        self.bytes
            .resize(block.end.wrapping_sub(block.pc) as usize, 0);
        let have = source.read(block.pc, &mut self.bytes);
        observer.translated(&Translation {
            guest: &self.bytes[..have],
            plain,
            block,
            code: &self.compiled.code,
            host,
            map: &self.compiled.map,
        });
    }

    /// Serves an edge that was taken while not linked: links it and says where to go on.
    pub fn follow<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        edge: u32,
    ) -> Result<Entry, EngineError> {
        let source = self.edges[edge as usize].source;
        let id = self.block(cx, self.edge_site(edge))?;
        let linked = self.edges[edge as usize].linked;
        let from = &self.blocks[source as usize];
        if cx.config.chain && !linked && from.alive && !from.site.is_stepping() {
            self.link(cx, edge, id);
            cx.stats.chained.add_alone(1);
        }
        Ok(self.entry_of(id))
    }

    /// The guest pc that edge `edge` leads to.
    pub fn edge_target(&self, edge: u32) -> u64 {
        self.edges[edge as usize].target
    }

    /// Where edge `edge` leads to.
    pub fn edge_site(&self, edge: u32) -> Site {
        let e = &self.edges[edge as usize];
        self.blocks[e.source as usize].site.inside(e.target)
    }

    /// True if the target of edge `edge` must be looked up: what is there is known for the page of
    /// the block alone.
    pub fn is_loose(&self, edge: u32) -> bool {
        let e = &self.edges[edge as usize];
        let site = &self.blocks[e.source as usize].site;
        match site.reach {
            Reach::Flat => false,
            Reach::Page | Reach::Pair(_) => e.target / PAGE_SIZE != site.pc / PAGE_SIZE,
            Reach::Once { .. } => true,
        }
    }

    fn link<G: Guest>(&mut self, cx: &Context<'_, G>, edge: u32, to: u32) {
        let counted = self.counted_entry(cx, edge, to);
        let block = &mut self.blocks[to as usize];
        let e = &mut self.edges[edge as usize];
        let plain = if e.polled { block.host } else { block.fast };
        let dest = counted.unwrap_or(plain);
        self.code.patch_u32(e.rel32, dest.wrapping_sub(e.rel32 + 4));
        e.linked = true;
        e.next = block.incoming;
        block.incoming = edge;
    }

    /// The live or dead block whose host code contains offset `host`.
    fn at_host(&self, host: u32) -> Option<u32> {
        let i = self
            .blocks
            .partition_point(|b| b.host <= host)
            .checked_sub(1)?;
        (host - self.blocks[i].host < self.blocks[i].len).then_some(i as u32)
    }

    /// The guest instruction whose host code contains host offset `host`.
    pub fn guest_pc(&self, host: u32) -> Option<u64> {
        let block = &self.blocks[self.at_host(host)? as usize];
        let map = &self.map[block.map.0 as usize..block.map.1 as usize];
        let i = map
            .partition_point(|m| m.host <= host - block.host)
            .checked_sub(1)?;
        let offset = i64::from(map[i].guest as i32); // of a region, it may be negative
        Some(block.site.pc.wrapping_add_signed(offset))
    }

    /// Drops a block: nothing leads to it any more. Its code stays until the next flush, since a
    /// thread may be in it. Returns its key.
    fn drop_block(&mut self, table: &BlockTable, id: u32) -> u64 {
        let block = &mut self.blocks[id as usize];
        block.alive = false;
        let mut edge = std::mem::replace(&mut block.incoming, NONE);
        let (Site { pc, space, .. }, landings) = (block.site, block.landings);
        let replaced = std::mem::replace(&mut block.region, NONE);
        self.targets.remove(pc, space);
        self.regions.waiting.remove(&id);
        if replaced == NONE {
            table.remove(pc, space);
        } else {
            self.lose_head(replaced); // the region stays in its place
        }
        while edge != NONE {
            let e = &mut self.edges[edge as usize];
            self.code
                .patch_u32(e.rel32, e.stub.wrapping_sub(e.rel32 + 4));
            e.linked = false;
            edge = std::mem::replace(&mut e.next, NONE);
        }
        for &cell in &self.landings[landings.0 as usize..landings.1 as usize] {
            self.code.store_u64(cell, STALE_PC);
        }
        pc
    }

    /// Drops the blocks that overlap `[start, end)`; calls `dropped` with the pc of each.
    pub fn invalidate(
        &mut self,
        table: &BlockTable,
        start: u64,
        end: u64,
        mut dropped: impl FnMut(u64),
    ) {
        for region in self.regions.in_range(start, end) {
            dropped(self.drop_region(table, region, Dropped::CodeChanged));
        }
        for id in self.in_range(start, end) {
            dropped(self.drop_block(table, id));
        }
    }

    /// Blocks alive that overlap `[start, end)`. Dead ones are taken out of the lists on the way,
    /// so that code which keeps changing does not make them longer and longer.
    fn in_range(&mut self, start: u64, end: u64) -> Vec<u32> {
        let mut found = Vec::new();
        if start >= end {
            return found;
        }
        let (blocks, heads) = (&mut self.blocks, &mut self.heads);
        let pages = start >> PAGE_BITS..=(end - 1) >> PAGE_BITS;
        for (&page, &place) in self.pages.range(pages) {
            let head = &mut heads[place as usize];
            let (mut id, mut last) = (*head, NONE);
            while id != NONE {
                let b = &blocks[id as usize];
                let next = b.next_in_page[b.side(page)];
                if b.alive {
                    if b.overlaps(start, end) {
                        found.push(id);
                    }
                    last = id;
                } else if last == NONE {
                    *head = next;
                } else {
                    let before = &mut blocks[last as usize];
                    let side = before.side(page);
                    before.next_in_page[side] = next;
                }
                id = next;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Drops the blocks whose guest code is not what it was: of all that may change silently, or
    /// of those in `range`. True if none in `range` is left.
    pub fn recheck<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        range: Option<(u64, u64)>,
        mut dropped: impl FnMut(u64),
    ) -> bool {
        let ids = match range {
            Some((start, end)) => self.in_range(start, end),
            None => {
                let mut all = std::mem::take(&mut self.volatile);
                all.retain(|&id| self.blocks[id as usize].alive);
                let copy = all.clone();
                self.volatile = all;
                copy
            }
        };
        for region in self.changed_regions(cx, range) {
            dropped(self.drop_region(cx.table, region, Dropped::CodeChanged));
        }
        let left = range.map(|(start, end)| self.regions.in_range(start, end));
        let mut empty = left.is_none_or(|left| left.is_empty());
        for id in ids {
            let b = &self.blocks[id as usize];
            let (site, bytes, old) = (b.site, b.bytes, b.hash);
            // Without a hash the code should not have changed, but the guest names it: believe it.
            if old.is_none_or(|old| self.hash(&cx.code_at(site), bytes) != old) {
                dropped(self.drop_block(cx.table, id));
            } else {
                empty = false;
            }
        }
        empty
    }

    /// Forgets every translation. No vCPU may be in generated code or about to enter it.
    pub fn flush(&mut self, table: &BlockTable) {
        self.code.reset(self.runtime_bytes);
        self.blocks.clear();
        self.edges.clear();
        self.landings.clear();
        self.map.clear();
        self.pages.clear();
        self.heads.clear();
        self.last_page = (NO_PAGE, 0);
        self.volatile.clear();
        self.flush_regions();
        table.clear();
        self.targets.clear();
    }

    /// True if nothing but the runtime stubs is in code memory.
    pub fn is_empty(&self) -> bool {
        self.code.used() <= self.runtime_bytes
    }
}
