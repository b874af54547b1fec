//! Regions among the blocks: what they were made of, where their code is, when they go.
//!
//! A region's code is a block like tier 1's: it has a place in code memory, edges and landings. It
//! takes the place of the block at its entry (its *head*) in the table and for every edge. What it
//! was made of are *spans* of guest code, in any number; when one changes, the region goes and the
//! head is back.

use super::heat::{Cold, Heat};
use super::samples::Waiting;
use super::trials::Trial;
use super::{BEFORE_BYTES, Block, Blocks, Context, NONE, PADDING, PAGE_BITS, hash_of};
use crate::config::{Config, Dropped, Observer, Origin, Part, Policy, Refusal, RegionEvent};
use crate::memory::VcpuRef;
use crate::site::{CodeAt, Reach, Site};
use crate::table::BlockTable;
use crate::tier2::{Choice, ChosenBlock, Mix, Way, behind, compile_region};
use isomorph_baseline::Layout;
use isomorph_cranelift::{CompiledRegion, Compiler, Floats, Recovery, steady_accesses};
use isomorph_frontend::{CodeSource, Guest, Limits, translate_block};
use isomorph_ir::{Op, OpFlags, Region};
use isomorph_softmmu::PAGE_SIZE;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

/// Guest code that a region was made of.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    site: Site,
    bytes: u64,
    /// Of the guest's code, if it may change silently.
    hash: Option<u64>,
}

impl Span {
    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.site.place < end && self.site.place + self.bytes > start
    }

    /// Of the guest's code as it is now.
    fn hash_now(&self, source: &CodeAt<'_>) -> u64 {
        let mut bytes = vec![0; self.bytes as usize];
        let have = source.read(self.site.pc, &mut bytes);
        hash_of(&bytes[..have])
    }

    fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        let last = self.site.place + self.bytes.max(1) - 1;
        self.site.place >> PAGE_BITS..=last >> PAGE_BITS
    }
}

/// What is to be compiled.
#[derive(Debug)]
pub(crate) struct Job {
    pub region: u32,
    pub ir: Region,
    pub chosen: Instant,
    /// Offset in a vCPU's memory of the counter of its rounds, if it is to be tried.
    pub rounds: Option<usize>,
}

/// Where a region's code now is.
pub(crate) struct Placed {
    /// Guest pc of the entry.
    pub pc: u64,
    /// Its block.
    id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Formed, not compiled yet.
    Pending,
    /// Entered as block `.0`.
    Live(u32),
    /// Gone, or refused.
    Gone,
}

#[derive(Debug)]
struct Record {
    /// Where it is entered.
    head: Site,
    /// Tier 1's block there, while the region is live.
    head_block: u32,
    state: State,
    spans: Vec<Span>,
    /// Where the guest state is at a fault.
    recovery: Recovery,
    /// Set until it is known to be faster than tier 1.
    trial: Option<Trial>,
    /// Addresses of blocks in which control is often while it stays in the region.
    covers: Vec<u64>,
}

/// The regions.
#[derive(Debug)]
pub(super) struct Regions {
    records: Vec<Record>,
    /// Number of the first record: those before are from before a flush.
    first: u32,
    /// Regions with code in a page.
    pages: BTreeMap<u64, Vec<u32>>,
    /// Live ones some of whose code may change silently.
    volatile: Vec<u32>,
    /// Bytes of code memory in use.
    code_bytes: usize,
    /// What was chosen to be compiled once it is worth while, by block.
    pub waiting: HashMap<u32, Waiting>,
    /// Regions under trial that were entered or can be.
    pub trials: Vec<u32>,
    /// See [`Blocks::take_gone`].
    gone: Vec<(u32, u64, Dropped)>,
    /// For [`Policy::Always`].
    compiler: Option<Box<Compiler>>,
}

impl Regions {
    pub fn new<G: Guest>(config: &Config) -> Self {
        let layout = Layout {
            globals: G::globals(),
            memory: config.memory,
        };
        let always = config.tier2.policy == Policy::Always;
        Self {
            records: Vec::new(),
            first: 0,
            pages: BTreeMap::new(),
            volatile: Vec::new(),
            code_bytes: 0,
            waiting: HashMap::new(),
            trials: Vec::new(),
            gone: Vec::new(),
            compiler: always
                .then(|| Compiler::new(layout, Floats::Call).ok().map(Box::new))
                .flatten(),
        }
    }

    fn get(&mut self, region: u32) -> Option<&mut Record> {
        let index = region.checked_sub(self.first)?;
        self.records.get_mut(index as usize)
    }

    /// Whether control is often in the block at `site` while it stays in a region, or in one that
    /// is being compiled.
    pub fn has_covered(&self, site: Site) -> bool {
        let regions = self.pages.get(&(site.place >> PAGE_BITS));
        regions.into_iter().flatten().any(|&region| {
            let record = &self.records[(region - self.first) as usize];
            let same = record.head.inside(site.pc).space == site.space;
            same && record.state != State::Gone && record.covers.contains(&site.pc)
        })
    }

    /// The head of a choice that waits, in which control is often in the block at `site`.
    pub fn waits_at(&self, site: Site) -> Option<u32> {
        let mut waiting = self.waiting.iter();
        let found = waiting.find(|(_, waiting)| {
            let choice = &waiting.choice;
            let same = choice.head.inside(site.pc).space == site.space;
            same && choice.covers(site.pc)
        });
        found.map(|(&id, _)| id)
    }

    fn add(&mut self, head: Site, spans: Vec<Span>, covers: Vec<u64>) -> u32 {
        let region = self.first + self.records.len() as u32;
        for span in &spans {
            for page in span.pages() {
                let all = self.pages.entry(page).or_default();
                if all.last() != Some(&region) {
                    all.push(region);
                }
            }
        }
        if spans.iter().any(|s| s.hash.is_some()) && head.reach == Reach::Flat {
            self.volatile.push(region);
        }
        self.records.push(Record {
            head,
            head_block: NONE,
            state: State::Pending,
            spans,
            recovery: Recovery::default(),
            trial: None,
            covers,
        });
        region
    }

    /// The blocks in which control is often while it stays in region `region`.
    pub fn covers(&mut self, region: u32) -> Vec<Site> {
        let record = self.get(region);
        record.map_or(Vec::new(), |r| {
            let sites = r.covers.iter().map(|&pc| r.head.inside(pc));
            sites.collect()
        })
    }

    /// The code of region `region`, and its trial, if both are there.
    pub fn trial(&mut self, region: u32) -> Option<(u32, &mut Trial)> {
        let record = self.get(region)?;
        match record.state {
            State::Live(id) => Some((id, record.trial.as_mut()?)),
            _ => None,
        }
    }

    /// Regions that are not gone and some of whose code may change silently.
    fn volatile(&mut self) -> Vec<u32> {
        let (records, first) = (&self.records, self.first);
        let gone = |region: u32| records[(region - first) as usize].state == State::Gone;
        self.volatile.retain(|&region| !gone(region));
        self.volatile.clone()
    }

    /// Regions with code in `[start, end)` that are not gone.
    pub fn in_range(&mut self, start: u64, end: u64) -> Vec<u32> {
        let mut found = Vec::new();
        if start >= end || self.pages.is_empty() {
            return found;
        }
        let (records, first) = (&self.records, self.first);
        let record = |region: &u32| &records[(region - first) as usize];
        let pages = start >> PAGE_BITS..=(end - 1) >> PAGE_BITS;
        for (_, all) in self.pages.range_mut(pages) {
            all.retain(|region| record(region).state != State::Gone);
            let hit = |region: &&u32| record(region).spans.iter().any(|s| s.overlaps(start, end));
            found.extend(all.iter().filter(hit));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// A region as it was formed, for its number still to be given.
pub(crate) struct Formed {
    ir: Region,
    spans: Vec<Span>,
    parts: Vec<Part>,
    mix: Mix,
}

/// A block of a region as it is formed.
struct Piece {
    ir: isomorph_ir::Block,
    span: Span,
    part: Part,
    /// The ways out of it that were seen, and perhaps out of what was before it.
    ways: Vec<Way>,
    /// Computed jumps or returns lead to it.
    computed: bool,
    /// How often its last jump led elsewhere than the time before.
    fickle: u32,
}

impl Formed {
    /// Guest instructions in it.
    pub fn insns(&self) -> u32 {
        self.ir.blocks.iter().map(|block| block.insns).sum()
    }

    /// Whether it is likely to be faster than tier 1.
    pub fn is_promising(&self) -> bool {
        self.mix.is_promising()
    }
}

/// The accesses that are cheaper in a region than behind a probe of the software TLB each.
fn steady(region: &Region, head: Site) -> HashSet<isomorph_ir::Site> {
    match head.reach {
        Reach::Flat => HashSet::new(),
        _ => steady_accesses(region),
    }
}

impl Blocks {
    /// Translates the blocks of `choice` and joins them.
    pub fn form<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        choice: &Choice,
    ) -> Result<Formed, Refusal> {
        let mut pieces = self.pieces(cx, choice);
        let head = pieces.iter().position(|p| p.part.pc == choice.head.pc);
        let head = head.ok_or(Refusal::NoCycle)?;
        if let Some(why) = refused(cx.config, &pieces[head].ir) {
            return Err(why);
        }
        pieces.swap(0, head);
        // Computed jumps compare with the targets in this order.
        pieces[1..].sort_by_key(|piece| std::cmp::Reverse(piece.part.visits));
        pieces.retain(|piece| refused(cx.config, &piece.ir).is_none());
        let mut ir = Region::default();
        for (n, from) in pieces.iter().enumerate() {
            if from.computed {
                ir.joins.push(n);
            }
            for way in from.ways.iter().filter(|way| way.computed) {
                let to = pieces.iter().position(|p| p.part.pc == way.to);
                ir.routes.extend(to.map(|to| (n, to)));
            }
        }
        if ir.routes.is_empty() && choice.recorded != 0 {
            ir.joins.clear();
        }
        let mut formed = Formed {
            ir,
            spans: Vec::new(),
            parts: Vec::new(),
            mix: Mix::default(),
        };
        let mut fickle = Vec::new();
        for piece in pieces {
            formed.ir.blocks.push(piece.ir);
            formed.spans.push(piece.span);
            formed.parts.push(piece.part);
            fickle.push(piece.fickle);
        }
        let steady = steady(&formed.ir, choice.head);
        for (n, block) in formed.ir.blocks.iter().enumerate() {
            let times = (formed.parts[n].visits, fickle[n]);
            let is_steady = |inst| steady.contains(&isomorph_ir::Site { block: n, inst });
            formed.mix.add(block, times, is_steady);
        }
        Ok(formed)
    }

    /// The blocks of `choice`, by address, none of which goes on into the next one, or behind the
    /// last exit that was seen to be taken.
    fn pieces<G: Guest>(&mut self, cx: &Context<'_, G>, choice: &Choice) -> Vec<Piece> {
        let mut order = choice.blocks.clone();
        order.sort_by_key(|block| block.pc);
        let mut pieces = Vec::new();
        // What was seen of a block is true of what it goes on into, too.
        let (mut ways, mut visits, mut fickle) = (Vec::new(), 0, 0);
        for (n, block) in order.iter().enumerate() {
            ways.extend(choice.ways.iter().filter(|way| way.from == block.pc));
            visits += block.visits;
            fickle += block.fickle;
            let next = order.get(n + 1).map(|next| next.pc);
            let mut piece = self.piece(cx, choice, block, next);
            let exit = piece.ir.insts.last().filter(|i| i.op == Op::Exit);
            let goes_on = exit.is_some_and(|i| Some(i.pc()) == next);
            if let Some(end) = behind(&piece.ir, &ways).filter(|_| !goes_on) {
                piece = self.piece(cx, choice, block, Some(end));
            }
            (piece.part.visits, piece.fickle) = (visits, fickle);
            piece.ways.clone_from(&ways);
            if !goes_on {
                ways.clear();
                (visits, fickle) = (0, 0);
            }
            // What may reach into the next page is looked up each time.
            let last_whole = PAGE_SIZE - G::INSN_MAX;
            if choice.head.reach == Reach::Flat || block.pc % PAGE_SIZE <= last_whole {
                pieces.push(piece);
            }
        }
        pieces
    }

    /// A block of `choice`, as far as the instruction at `end`.
    fn piece<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        choice: &Choice,
        block: &ChosenBlock,
        end: Option<u64>,
    ) -> Piece {
        let site = choice.head.inside(block.pc).stepping();
        let room = end.map_or(u64::MAX, |end| end.wrapping_sub(block.pc));
        let (span, bytes) = self.translate_part(cx, site, room);
        Piece {
            ir: self.builder.block().clone(),
            span,
            part: Part {
                pc: block.pc,
                bytes,
                visits: 0,
            },
            ways: Vec::new(),
            computed: block.computed,
            fickle: 0,
        }
    }

    /// Whether a region that begins at `site` may be faster than tier 1, as far as that block
    /// tells.
    pub fn promises<G: Guest>(&mut self, cx: &Context<'_, G>, site: Site) -> bool {
        self.translate_part(cx, site.stepping(), u64::MAX);
        let ir = Region {
            blocks: vec![self.builder.block().clone()],
            ..Region::default()
        };
        let steady = steady(&ir, site);
        let is_steady = |inst| steady.contains(&isomorph_ir::Site { block: 0, inst });
        let mut mix = Mix::default();
        mix.add(&ir.blocks[0], (1, 0), is_steady);
        mix.is_promising() && refused(cx.config, self.builder.block()).is_none()
    }

    /// Translates the block at `site` into the builder, as far as instructions begin in `room`
    /// bytes; what it was made of.
    fn translate_part<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        site: Site,
        room: u64,
    ) -> (Span, Vec<u8>) {
        site.places().for_each(|place| cx.note_code(place));
        let source = cx.code_at(site);
        // As in `translate`: what was there before counts.
        let mut before = vec![0; BEFORE_BYTES];
        let have = source.read(site.pc, &mut before);
        before.truncate(have);
        let limits = site.limits(cx.config);
        let limits = Limits {
            span: limits.span.min(room),
            ..limits
        };
        translate_block(
            cx.guest,
            &mut self.builder,
            &source,
            site.pc,
            site.mode,
            limits,
        );
        let block = self.builder.block();
        let bytes = block.end.wrapping_sub(block.pc);
        let changes = source.may_change(site.pc) || source.may_change(block.end.wrapping_sub(1));
        before.truncate(bytes as usize);
        let hash = changes.then(|| hash_of(&before));
        (Span { site, bytes, hash }, before)
    }

    /// Numbers a region that was formed.
    pub fn choose(
        &mut self,
        observer: Option<&dyn Observer>,
        choice: &Choice,
        formed: Formed,
        round_ns: Option<f64>,
    ) -> Job {
        let often = formed.parts.iter().filter(|p| choice.covers(p.pc));
        let covers = often.map(|p| p.pc).collect();
        let region = self.regions.add(choice.head, formed.spans, covers);
        if let Some(observer) = observer {
            observer.region(&RegionEvent::Chosen {
                region,
                pc: choice.head.pc,
                origin: choice.origin,
                recorded: choice.recorded,
                parts: &formed.parts,
            });
        }
        let slot = self.next_slot % crate::memory::COUNTERS;
        let trial = round_ns.map(|ns| Trial::new(ns, slot));
        if let Some(record) = self.regions.get(region).filter(|_| trial.is_some()) {
            record.trial = trial;
            self.next_slot = self.next_slot.wrapping_add(1);
        }
        Job {
            region,
            ir: formed.ir,
            chosen: Instant::now(),
            rounds: trial.map(|t| self.counters + t.slot as usize * 4),
        }
    }

    /// In the child of a fork: nobody compiles what was to be compiled, and the measurements that
    /// were under way are another process's.
    pub fn orphaned(&mut self) {
        for record in &mut self.regions.records {
            if record.state == State::Pending {
                record.state = State::Gone;
            }
        }
        self.settle_trials();
    }

    /// Whether region `region` is still wanted.
    pub fn is_pending(&mut self, region: u32) -> bool {
        let record = self.regions.get(region);
        record.is_some_and(|r| r.state == State::Pending)
    }

    /// Region `region` stays with tier 1.
    pub fn refuse(&mut self, observer: Option<&dyn Observer>, region: u32, why: &Refusal) {
        let Some(record) = self.regions.get(region) else {
            return;
        };
        record.state = State::Gone;
        let pc = record.head.pc;
        if let Some(observer) = observer {
            let region = Some(region);
            observer.region(&RegionEvent::Refused { region, pc, why });
        }
    }

    /// Places the code of region `region` and has it entered from now on, unless the guest's code
    /// has changed meanwhile. The jump caches are the caller's to see to.
    pub fn install<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        region: u32,
        code: &CompiledRegion,
    ) -> Option<Placed> {
        let config = cx.config;
        if !self.is_pending(region) {
            return None;
        }
        let observer = config.observer.as_deref();
        let skew = self.code.next_offset() as usize % CompiledRegion::ALIGN as usize;
        if skew != 0 {
            let _ = self.code.append(&PADDING[skew..]); // if it is full, this is found out below
        }
        let (base, host) = (self.code.exec_base(), self.code.next_offset());
        let runtime = (self.emitter.runtime(), base);
        let first_edge = self.edges.len() as u32;
        code.place(
            runtime,
            base + u64::from(host),
            first_edge,
            &mut self.compiled,
        );
        let len = self.compiled.code.len();
        let room = config
            .tier2
            .code_bytes
            .saturating_sub(self.regions.code_bytes);
        if len > room || self.code.append(&self.compiled.code).is_err() {
            self.refuse(observer, region, &Refusal::Memory);
            return None;
        }
        self.regions.code_bytes += len;
        let head = self.regions.get(region)?.head;
        let id = self.record_region(head, host, region);
        if let Some(record) = self.regions.get(region) {
            record.state = State::Live(id);
            record.recovery = code.recovery().clone();
            if record.trial.is_some() {
                self.regions.trials.push(region);
            }
        }
        if self.regions.trial(region).is_none() {
            self.blocks[id as usize].heat = Heat::Done;
        }
        self.replace(cx, head, id);
        if let Some(observer) = observer {
            observer.region(&RegionEvent::Installed {
                region,
                pc: head.pc,
                code: &self.compiled.code,
                host: base + u64::from(host),
                map: &self.compiled.map,
            });
        }
        Some(Placed { pc: head.pc, id })
    }

    /// Enters the region just placed into the books.
    fn record_region(&mut self, site: Site, host: u32, region: u32) -> u32 {
        let id = self.blocks.len() as u32;
        let compiled = &self.compiled;
        let (landings, map) = (self.landings.len() as u32, self.map.len() as u32);
        self.landings
            .extend(compiled.landings.iter().map(|l| host + l.cell));
        if site.reach == Reach::Flat {
            let entry = |m: &isomorph_baseline::MapEntry| super::MapEntry {
                host: m.host,
                guest: m.guest_pc.wrapping_sub(site.pc) as u32,
            };
            self.map.extend(compiled.map.iter().map(entry));
        }
        self.blocks.push(Block {
            site,
            bytes: 0,
            host,
            len: compiled.code.len() as u32,
            fast: host + compiled.fast_entry,
            alive: true,
            hash: None,
            landings: (landings, self.landings.len() as u32),
            map: (map, self.map.len() as u32),
            incoming: NONE,
            next_in_page: [NONE; 2],
            heat: Heat::Cold(Cold::default()),
            region,
            code_of: region,
        });
        self.record_edges(id, host);
        id
    }

    /// Lets everything that leads to the block at `head` lead to block `id`.
    fn replace<G: Guest>(&mut self, cx: &Context<'_, G>, head: Site, id: u32) {
        let table = cx.table;
        if let Some(old) = self.known(table, head) {
            let region = self.blocks[id as usize].region;
            let block = &mut self.blocks[old as usize];
            (block.heat, block.region) = (Heat::Done, region);
            self.blocks[id as usize].incoming = std::mem::replace(&mut block.incoming, NONE);
            if let Some(record) = self.regions.get(region) {
                record.head_block = old;
            }
        }
        self.enter_at(cx, id);
        table.remove(head.pc, head.space);
        let host = self.blocks[id as usize].host;
        let code = self.code.exec_base() + u64::from(host);
        table.insert(head.pc, head.space, code);
    }

    /// Drops a region: nothing leads to it any more, and its head is back if that still stands.
    /// Returns the pc of its entry.
    pub(super) fn drop_region(&mut self, table: &BlockTable, region: u32, why: Dropped) -> u64 {
        let Some(record) = self.regions.get(region) else {
            return super::STALE_PC;
        };
        let state = std::mem::replace(&mut record.state, State::Gone);
        let (head, old) = (record.head, record.head_block);
        let State::Live(id) = state else {
            return head.pc;
        };
        self.regions.gone.push((region, head.pc, why));
        self.blocks[id as usize].region = NONE;
        self.drop_block(table, id);
        if old != NONE {
            let block = &mut self.blocks[old as usize];
            block.region = NONE;
            let code = self.code.exec_base() + u64::from(block.host);
            table.insert(head.pc, head.space, code);
        }
        head.pc
    }

    /// Completes the guest state of a vCPU that is stopped after a fault at offset `host`, if that
    /// is in a region.
    pub fn restore(&self, host: u32, vcpu: &VcpuRef) {
        let Some(block) = self.at_host(host).map(|id| &self.blocks[id as usize]) else {
            return;
        };
        // A region that was dropped meanwhile is still on record.
        let region = block.code_of;
        let index = region.checked_sub(self.regions.first);
        let Some(record) = index.and_then(|n| self.regions.records.get(n as usize)) else {
            return;
        };
        let recovery = &record.recovery;
        let offset = host - block.host;
        // SAFETY: the vCPU is stopped, and nobody else looks at its state or its fault.
        unsafe {
            let (fault, state) = (&*vcpu.fault(), &mut *vcpu.guest_bytes());
            recovery.restore(offset, &fault.regs, &*vcpu.frame(), state);
        }
    }

    /// Whether block `id` is the code of a region.
    pub(super) fn is_region(&self, id: u32) -> bool {
        let block = &self.blocks[id as usize];
        block.region != NONE && block.code_of == block.region
    }

    /// The tier-1 block at the entry of region `region` is gone.
    pub(super) fn lose_head(&mut self, region: u32) {
        if let Some(record) = self.regions.get(region) {
            record.head_block = NONE;
        }
    }

    /// Regions that went since this was last asked: number, pc and why. Whoever is in their code
    /// is to be made to leave it.
    pub fn take_gone(&mut self) -> Vec<(u32, u64, Dropped)> {
        std::mem::take(&mut self.regions.gone)
    }

    /// The regions whose guest code is not what it was: see `recheck`.
    pub(super) fn changed_regions<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        range: Option<(u64, u64)>,
    ) -> Vec<u32> {
        let mut candidates = match range {
            Some((start, end)) => self.regions.in_range(start, end),
            None => self.regions.volatile(),
        };
        candidates.retain(|&region| {
            let Some(record) = self.regions.get(region) else {
                return false;
            };
            let named = |s: &Span| range.is_some_and(|(start, end)| s.overlaps(start, end));
            record.spans.iter().any(|span| match span.hash {
                Some(old) => span.hash_now(&cx.code_at(span.site)) != old,
                None => named(span),
            })
        });
        candidates
    }

    /// Forgets every region.
    pub(super) fn flush_regions(&mut self) {
        let regions = &mut self.regions;
        for (n, record) in regions.records.iter().enumerate() {
            if matches!(record.state, State::Live(_)) {
                let region = regions.first + n as u32;
                regions
                    .gone
                    .push((region, record.head.pc, Dropped::Flushed));
            }
        }
        regions.first += regions.records.len() as u32;
        regions.records.clear();
        regions.pages.clear();
        regions.volatile.clear();
        regions.waiting.clear();
        regions.trials.clear();
        regions.code_bytes = 0;
    }

    /// With [`Policy::Always`], a region that begins at block `id`, instead of it. Else, and if
    /// there is none, `id`.
    pub(super) fn always<G: Guest>(&mut self, cx: &Context<'_, G>, id: u32) -> u32 {
        let site = self.blocks[id as usize].site;
        let reach = matches!(site.reach, Reach::Flat | Reach::Page) && !site.is_stepping();
        if !reach {
            return id;
        }
        let Some(mut compiler) = self.regions.compiler.take() else {
            return id;
        };
        let placed = self.region_at(cx, site, &mut compiler);
        self.regions.compiler = Some(compiler);
        placed.map_or(id, |placed| placed.id)
    }

    fn region_at<G: Guest>(
        &mut self,
        cx: &Context<'_, G>,
        site: Site,
        compiler: &mut Compiler,
    ) -> Option<Placed> {
        let observer = cx.config.observer.as_deref();
        let choice = self.static_choice(cx, site);
        let formed = self.form(cx, &choice).ok()?;
        let job = self.choose(observer, &choice, formed, None);
        match compile_region::<G>(compiler, cx.config, &job) {
            Ok(code) => {
                let placed = self.install(cx, job.region, &code)?;
                cx.stats.installed(&code);
                Some(placed)
            }
            Err(why) => {
                cx.stats.regions_refused.add_alone(1);
                self.refuse(observer, job.region, &why);
                None
            }
        }
    }

    /// What direct exits and calls from `head` on reach, as far as a few blocks.
    fn static_choice<G: Guest>(&mut self, cx: &Context<'_, G>, head: Site) -> Choice {
        let mut choice = Choice::new(head, Origin::Always);
        let mut next = 0;
        while let Some(block) = choice.blocks.get(next) {
            let site = head.inside(block.pc).stepping();
            self.translate_part(cx, site, u64::MAX);
            for inst in &self.builder.block().insts {
                if choice.blocks.len() >= ALWAYS_BLOCKS {
                    break;
                }
                match inst.op {
                    Op::Exit | Op::ExitIf => choice.add(inst.pc(), false),
                    Op::Call => {
                        choice.add(inst.pc(), false);
                        let back = self.builder.block().const_value(inst.a);
                        back.into_iter().for_each(|pc| choice.add(pc, true));
                    }
                    _ => {}
                }
            }
            next += 1;
        }
        choice
    }
}

/// Most blocks of a region with [`Policy::Always`].
const ALWAYS_BLOCKS: usize = 6;

/// Why a block cannot be part of a region, if so.
fn refused(config: &Config, block: &isomorph_ir::Block) -> Option<Refusal> {
    let always = config.tier2.policy == Policy::Always;
    let slow = |op: Op| {
        let float = op.info().flags.has(OpFlags::FPENV) && !always;
        float || op == Op::ReadCounter
    };
    let inst = block.insts.iter().find(|i| slow(i.op))?;
    Some(Refusal::Code(format!(
        "{} at {:#x} is tier 1's",
        inst.op.info().name,
        block.pc
    )))
}
