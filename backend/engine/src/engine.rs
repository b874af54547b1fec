//! What all vCPUs share: translations, and the protocol by which they stop for each other.

use crate::blocks::{Again, Blocks, Context, Entry, Terms, Trip, Tripped, Weight, ticks};
use crate::config::{Config, Origin, Policy, Refusal, RegionEvent, Tier2};
use crate::error::EngineError;
use crate::memory::{PENDING_FAULT, VcpuMemory, VcpuRef};
use crate::site::{Rams, Reach, Site};
use crate::stats::{Snapshot, Stats};
use crate::system::Protect;
use crate::table::BlockTable;
use crate::tier2::{Budget, Choice, Queue, QueueGuard, Recording, Sampler, SamplerGuard};
use isomorph_code::CodeError;
use isomorph_cranelift::CompiledRegion;
use isomorph_frontend::{CodeSource, Guest};
use isomorph_softmmu::PAGE_SIZE;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Buckets of the reservation table (see `isomorph_baseline`).
const RESERVATIONS: usize = 4096;

/// A translator for one guest address space, shared by its vCPUs.
pub struct Engine<G: Guest> {
    pub(crate) guest: G,
    pub(crate) config: Config,
    source: Box<dyn CodeSource + Send + Sync>,
    /// When the engine was made, in ticks and by the clock: the rate of the one to the other.
    born: (u64, Instant),
    pub(crate) table: BlockTable,
    /// `Blocks::targets`.
    pub(crate) targets: Arc<BlockTable>,
    pub(crate) stats: Stats,
    /// Set while a flush waits for vCPUs to leave generated code.
    pub(crate) stop: AtomicBool,
    /// Changes whenever a block is dropped.
    pub(crate) drops: AtomicU64,
    pub(crate) inner: Mutex<Inner>,
    pub(crate) helpers: Box<[usize]>,
    pub(crate) reservations: Box<[AtomicU64]>,
    /// Memory that code was translated from, in a machine.
    pub(crate) rams: Rams,
    /// Pages of RAM (host addresses) whose code may have changed.
    pub(crate) written: Mutex<Vec<u64>>,
    /// Regions that wait to be compiled.
    pub(crate) queue: Arc<Queue>,
    /// Says where time is spent, if what is hot enough depends on what it costs.
    pub(crate) sampler: Arc<Sampler>,
    /// Regions are under trial: a vCPU that polls looks at them, so many times more.
    looks: AtomicU32,
    /// What tier 2 may take of the process's time.
    budget: Budget,
    /// Processors of the host that this process may use.
    processors: usize,
}

/// What the engine's lock guards.
pub(crate) struct Inner {
    pub blocks: Blocks,
    pub vcpus: Vec<VcpuRef>,
    /// Memory of vCPUs that are gone, for those to come: threads may be short-lived.
    pub spare: Vec<VcpuMemory>,
    /// A machine's vCPUs, as far as they are told of pages with code.
    pub mail: Vec<Arc<dyn Protect>>,
    /// Numbers of pages that instructions lie across: by space of the first, and the second.
    pub pairs: HashMap<(u64, Option<u64>), u64>,
    /// The next such number. None is used twice: a block may be translated by a number that it
    /// got before a flush.
    pub next_pair: u64,
}

impl Inner {
    /// The number of two pages.
    pub fn pair(&mut self, space: u64, next: Option<u64>) -> u64 {
        let free = self.next_pair;
        let number = *self.pairs.entry((space, next)).or_insert(free);
        self.next_pair += u64::from(number == free);
        number
    }
}

/// Entries after which a counter runs out, where no number is given: some 100 µs of a small loop.
const THRESHOLD: i32 = 1 << 14;

/// Samples that make a block hot: at first, and after very many samples.
const HITS: (u8, u8) = (2, 8);
/// Samples after which one more is needed.
const MORE_HITS: u64 = 256;
/// Polls at which a region under trial is looked at before it stays as it is.
const LOOKS: u32 = 100;

/// Most vCPU memories kept for reuse.
pub(crate) const SPARE_MAX: usize = 8;

impl<G: Guest> Engine<G> {
    /// An engine that runs `guest` code from `source`.
    pub fn new(
        guest: G,
        config: Config,
        source: Box<dyn CodeSource + Send + Sync>,
    ) -> Result<Arc<Self>, EngineError> {
        isomorph_baseline::host_supported()
            .map_err(|missing| EngineError::Processor { missing })?;
        let blocks = Blocks::new::<G>(&config)?;
        let targets = blocks.targets.clone();
        let inner = Inner {
            blocks,
            vcpus: Vec::new(),
            spare: Vec::new(),
            mail: Vec::new(),
            pairs: HashMap::new(),
            next_pair: 0,
        };
        let Tier2 {
            policy, threads, ..
        } = config.tier2;
        let sampler = Arc::new(Sampler::new(policy == Policy::Hot(None) && threads != 0));
        Ok(Arc::new(Self {
            guest,
            config,
            source,
            born: (ticks(), Instant::now()),
            table: BlockTable::new(),
            targets,
            stats: Stats::default(),
            stop: AtomicBool::new(false),
            drops: AtomicU64::new(0),
            inner: Mutex::new(inner),
            helpers: G::helpers().iter().map(|h| h.func as usize).collect(),
            reservations: (0..RESERVATIONS).map(|_| AtomicU64::new(0)).collect(),
            rams: Rams::default(),
            written: Mutex::default(),
            queue: Arc::default(),
            sampler,
            looks: AtomicU32::new(0),
            budget: Budget::default(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }))
    }

    /// The guest configuration.
    pub fn guest(&self) -> &G {
        &self.guest
    }

    /// What was done so far.
    pub fn stats(&self) -> Snapshot {
        let mut stats = self.stats.snapshot();
        stats.sampler_ticks = self.sampler.ticks.get();
        stats.translate_ns = (stats.translate_ns as f64 * self.ns_per_tick()) as u64;
        stats
    }

    fn ns_per_tick(&self) -> f64 {
        let ticks = ticks().wrapping_sub(self.born.0).max(1);
        self.born.1.elapsed().as_nanos() as f64 / ticks as f64
    }

    /// Takes the lock. A panic of another holder leaves books that are still usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries after which a counter runs out.
    fn threshold(&self) -> i32 {
        match self.config.tier2.policy {
            Policy::Hot(Some(entries)) => entries.clamp(1, i32::MAX as u32) as i32,
            _ => THRESHOLD,
        }
    }

    fn context<'a>(&'a self, protect: &'a dyn Fn(u64), vcpu: Option<VcpuRef>) -> Context<'a, G> {
        Context {
            guest: &self.guest,
            source: &*self.source,
            config: &self.config,
            rams: &self.rams,
            table: &self.table,
            stats: &self.stats,
            protect,
            vcpu,
            threshold: self.threshold(),
            counting: !self.is_adaptive() || self.sampler.is_unstarted(),
        }
    }

    /// Drops every translation that overlaps guest addresses `[start, end)`: what is there was
    /// unmapped, replaced or given other permissions.
    pub fn invalidate(&self, start: u64, end: u64) {
        let mut inner = self.lock();
        let Inner { blocks, vcpus, .. } = &mut *inner;
        blocks.invalidate(&self.table, start, end, |pc| self.dropped(vcpus, pc));
        self.regions_gone(&mut inner);
    }

    /// Makes instruction memory coherent: translations whose guest code has changed are dropped,
    /// in `range` (start, end) or wherever code can change unseen.
    pub fn insn_sync(&self, range: Option<(u64, u64)>) {
        let mut inner = self.lock();
        let Inner { blocks, vcpus, .. } = &mut *inner;
        let cx = self.context(&|_| {}, None);
        blocks.recheck(&cx, range, |pc| self.dropped(vcpus, pc));
        self.regions_gone(&mut inner);
    }

    /// As `insn_sync`, for a machine's page of RAM at a host address.
    pub(crate) fn recheck_page(&self, inner: &mut Inner, page: u64) {
        let Inner { blocks, vcpus, .. } = inner;
        let cx = self.context(&|_| {}, None);
        let range = Some((page, page + PAGE_SIZE));
        if blocks.recheck(&cx, range, |pc| self.dropped(vcpus, pc)) {
            self.rams.at(page, |ram, offset| ram.code().clear(offset));
        }
        self.regions_gone(inner);
    }

    /// Tells of regions that went. Whoever is in their code may go round in it: all are asked to
    /// leave at the next loop head.
    fn regions_gone(&self, inner: &mut Inner) {
        let gone = inner.blocks.take_gone();
        if gone.is_empty() {
            return;
        }
        self.stats.regions_dropped.add_alone(gone.len() as u64);
        for vcpu in &inner.vcpus {
            vcpu.irq().store(1, Ordering::SeqCst);
        }
        if let Some(observer) = &self.config.observer {
            for (region, pc, why) in gone {
                observer.region(&RegionEvent::Dropped { region, pc, why });
            }
        }
    }

    fn dropped(&self, vcpus: &[VcpuRef], pc: u64) {
        self.stats.invalidated.add(1);
        self.forget(vcpus, pc);
    }

    /// Translates the block at `site` if need be. The caller is not in generated code.
    pub(crate) fn entry(&self, inner: &mut Inner, site: Site) -> Result<Entry, EngineError> {
        match self.try_entry(inner, site) {
            Err(EngineError::Code(CodeError::Full)) => {
                self.flush(inner)?;
                self.try_entry(inner, site)
            }
            other => other,
        }
    }

    fn try_entry(&self, inner: &mut Inner, site: Site) -> Result<Entry, EngineError> {
        let mail = &inner.mail;
        let protect = |page| mail.iter().for_each(|vcpu| vcpu.protect(page));
        inner.blocks.entry(&self.context(&protect, None), site)
    }

    /// Serves the edge of a counter that ran out: what to record from there, if anything. The
    /// caller is not in generated code, and no flush came between.
    pub(crate) fn trip(
        self: &Arc<Self>,
        inner: &mut Inner,
        edge: u32,
        vcpu: VcpuRef,
    ) -> Option<Recording> {
        let trip = self.on_terms(inner, |blocks, terms| blocks.trip(edge, vcpu, terms));
        self.tripped(inner, trip, vcpu)
    }

    /// Calls `f` with the terms on which code becomes a region now. The caller's vCPU is not
    /// counted as running, but it will be.
    fn on_terms(&self, inner: &mut Inner, f: impl FnOnce(&mut Blocks, &Terms<'_>) -> Trip) -> Trip {
        let running = |v: &&VcpuRef| v.cell().running.load(Ordering::Relaxed) != 0;
        let busy = 1 + inner.vcpus.iter().filter(running).count();
        let adaptive = self.is_adaptive();
        let alone = !inner.blocks.any_trial();
        let terms = Terms {
            threshold: self.threshold(),
            adaptive,
            idle: busy < self.processors || !adaptive,
            affordable: &|ns| alone && self.can_afford(ns),
        };
        f(&mut inner.blocks, &terms)
    }

    fn tripped(
        self: &Arc<Self>,
        inner: &mut Inner,
        trip: Trip,
        vcpu: VcpuRef,
    ) -> Option<Recording> {
        match trip {
            Trip::Nothing => {}
            Trip::Record(tripped) => {
                if self.is_adaptive() && !self.may_record(inner, tripped) {
                    return None;
                }
                self.stats.recordings.add_alone(1);
                return Some(Recording::new(tripped));
            }
            Trip::Compile { choice, round_ns } => self.submit(inner, &choice, round_ns),
            Trip::Trial => self.look_at_trials(inner, vcpu),
            Trip::Start => self.sampler.start(),
        }
        None
    }

    /// A sample was taken of a vCPU that is about to enter `site`: what to record from there, if
    /// anything. It is not running.
    pub(crate) fn sampled(self: &Arc<Self>, site: Site, vcpu: VcpuRef) -> Option<Recording> {
        let mut inner = self.lock();
        self.stats.samples.add_alone(1);
        let more = self.stats.samples.get() / MORE_HITS;
        let needed = HITS.1.min(HITS.0.saturating_add(more as u8));
        let ns = self.sampler.sample_ns();
        let trip = self.on_terms(&mut inner, |blocks, terms| {
            let needed = needed << u8::from(!terms.idle);
            blocks.sampled(&self.table, site, Weight { ns, needed }, terms)
        });
        let recording = self.tripped(&mut inner, trip, vcpu);
        self.sampler.told(recording.is_some());
        recording
    }

    /// Has what runs from a site on recorded, if that is worth while now. If it never is, that is
    /// noted.
    fn may_record(&self, inner: &mut Inner, tripped: Tripped) -> bool {
        if !self.budget.records(self.stats.recordings.get()) {
            return false;
        }
        let Inner { blocks, mail, .. } = &mut *inner;
        let protect = |page| mail.iter().for_each(|vcpu| vcpu.protect(page));
        let cx = self.context(&protect, None);
        let site = tripped.site;
        // A part of an interpreter, say, says little of the whole, nor does a block of a loop of
        // accesses of a page's part each.
        let unsure = tripped.origin == Origin::Computed || site.reach != Reach::Flat;
        if unsure || blocks.promises(&cx, site) {
            return blocks.begin(&cx, tripped);
        }
        inner.blocks.stop_counting(&self.table, site);
        self.forget(&inner.vcpus, site.pc);
        self.stays(site.pc, &Refusal::NoGain);
        false
    }

    /// Whether compiling may take so many nanoseconds more.
    fn can_afford(&self, ns: f64) -> bool {
        if self.queue.lock().is_busy() {
            return false; // one at a time, so that each can be measured
        }
        self.budget.compiles(self.stats.region_ns.get() as f64, ns)
    }

    /// Whether what is hot enough depends on what it costs.
    fn is_adaptive(&self) -> bool {
        self.config.tier2.policy == Policy::Hot(None)
    }

    /// How it goes on after a recording that led to nothing.
    fn again(&self) -> Again {
        match self.is_adaptive() {
            true => Again::Sampled,
            false => Again::Counted(self.threshold()),
        }
    }

    /// Chooses a region from a recording.
    pub(crate) fn recorded(self: &Arc<Self>, recording: &Recording, vcpu: VcpuRef) {
        let mut inner = self.lock();
        let head = recording.head();
        let why = match recording.choose() {
            Ok(choice) if !self.is_adaptive() => return self.submit(&mut inner, &choice, None),
            Ok(choice) => return self.consider(&mut inner, choice, vcpu),
            Err(why) => why,
        };
        self.budget.recorded(false);
        let given_up = inner
            .blocks
            .give_back(&self.table, head, vcpu, self.again());
        if given_up {
            self.forget(&inner.vcpus, head.pc);
            self.stays(head.pc, &why);
        }
    }

    /// Keeps a choice until it is worth while, or not.
    fn consider(&self, inner: &mut Inner, mut choice: Choice, vcpu: VcpuRef) {
        let pc = choice.head.pc;
        let Inner { blocks, mail, .. } = &mut *inner;
        let protect = |page| mail.iter().for_each(|vcpu| vcpu.protect(page));
        let cx = self.context(&protect, None);
        let why = match blocks.form(&cx, &choice) {
            Ok(formed) if formed.is_promising() => {
                choice.insns = formed.insns();
                self.budget.recorded(true);
                for site in choice.covered().filter(|site| site.pc != pc) {
                    inner.blocks.stop_counting(&self.table, site);
                    self.forget(&inner.vcpus, site.pc);
                }
                let ns = self.sampler.sample_ns();
                inner.blocks.keep(&self.table, choice, vcpu, ns);
                return self.forget(&inner.vcpus, pc);
            }
            Ok(_) => Refusal::NoGain,
            Err(why) => why,
        };
        self.budget.recorded(false);
        for site in choice.covered() {
            inner.blocks.stop_counting(&self.table, site);
            self.forget(&inner.vcpus, site.pc);
        }
        self.stays(pc, &why);
    }

    /// Forms a region and has it compiled.
    fn submit(self: &Arc<Self>, inner: &mut Inner, choice: &Choice, round_ns: Option<f64>) {
        let head = choice.head;
        let observer = self.config.observer.as_deref();
        let Inner { blocks, mail, .. } = inner;
        let protect = |page| mail.iter().for_each(|vcpu| vcpu.protect(page));
        let cx = self.context(&protect, None);
        let formed = blocks.form(&cx, choice);
        blocks.stop_counting(&self.table, head);
        match formed {
            Ok(formed) => {
                let job = blocks.choose(observer, choice, formed, round_ns);
                let region = job.region;
                if !Queue::push(self, job) {
                    blocks.refuse(observer, region, &Refusal::Busy);
                    self.stats.regions_refused.add_alone(1);
                }
            }
            Err(why) => self.stays(head.pc, &why),
        }
        self.forget(&inner.vcpus, head.pc);
    }

    /// Code stays with tier 1.
    fn stays(&self, pc: u64, why: &Refusal) {
        self.stats.regions_refused.add(1);
        if let Some(observer) = &self.config.observer {
            let region = None;
            observer.region(&RegionEvent::Refused { region, pc, why });
        }
    }

    /// A vCPU was asked to leave generated code: perhaps to look at regions. It is not running.
    pub(crate) fn polled(&self, vcpu: VcpuRef) {
        if self.looks.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut inner = self.lock();
        let left = self.looks.load(Ordering::Relaxed).saturating_sub(1);
        self.looks.store(left, Ordering::Relaxed);
        if left == 0 {
            inner.blocks.settle_trials();
        }
        self.look_at_trials(&mut inner, vcpu);
    }

    fn look_at_trials(&self, inner: &mut Inner, vcpu: VcpuRef) {
        let (gained, lost) = inner.blocks.look_at_trials(&self.table, vcpu);
        (0..gained).for_each(|_| self.budget.tried(true));
        for pcs in lost {
            self.budget.tried(false);
            pcs.iter().for_each(|&pc| self.forget(&inner.vcpus, pc));
        }
        if !inner.blocks.any_trial() {
            self.looks.store(0, Ordering::Relaxed);
        }
        self.regions_gone(inner);
    }

    /// A recording was cut short by something that has nothing to do with what it records.
    pub(crate) fn cut(&self, recording: &Recording, vcpu: VcpuRef) {
        let head = recording.head();
        let mut inner = self.lock();
        inner.blocks.retry(&self.table, head, vcpu, self.again());
    }

    /// Has a compiled region entered from now on. On a thread that compiles.
    pub(crate) fn install(&self, region: u32, code: &CompiledRegion) {
        let mut inner = self.lock();
        let Inner { blocks, vcpus, .. } = &mut *inner;
        let cx = self.context(&|_| {}, None);
        match blocks.install(&cx, region, code) {
            Some(placed) => {
                self.stats.installed(code);
                self.forget(vcpus, placed.pc);
                if inner.blocks.any_trial() {
                    self.looks.store(LOOKS, Ordering::Relaxed);
                    self.sampler.told(true);
                }
            }
            None => self.stats.regions_refused.add_alone(1),
        }
    }

    /// A region stays with tier 1.
    pub(crate) fn refuse(&self, region: u32, why: &Refusal) {
        let observer = self.config.observer.as_deref();
        self.lock().blocks.refuse(observer, region, why);
        self.stats.regions_refused.add(1);
    }

    /// No jump cache leads to what `pc` was up to now.
    fn forget(&self, vcpus: &[VcpuRef], pc: u64) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        vcpus.iter().for_each(|vcpu| vcpu.forget(pc));
    }

    /// Whether entries by computed jumps are counted from the first one on.
    pub(crate) fn counts_targets(&self) -> bool {
        match self.config.tier2.policy {
            Policy::Hot(Some(_)) => true,
            Policy::Hot(None) => self.sampler.is_unstarted(),
            Policy::Off | Policy::Always => false,
        }
    }

    /// Host address at which to enter the code at `code` as the target of a computed jump.
    pub(crate) fn computed_entry(&self, inner: &mut Inner, code: u64, vcpu: VcpuRef) -> u64 {
        let cx = self.context(&|_| {}, Some(vcpu));
        inner.blocks.computed_entry(&cx, code)
    }

    /// Serves edge `edge`. The caller is not in generated code, and no flush came between.
    pub(crate) fn follow(
        &self,
        inner: &mut Inner,
        edge: u32,
        vcpu: VcpuRef,
    ) -> Result<Entry, EngineError> {
        let mail = &inner.mail;
        let protect = |page| mail.iter().for_each(|vcpu| vcpu.protect(page));
        let cx = self.context(&protect, Some(vcpu));
        match inner.blocks.follow(&cx, edge) {
            Err(EngineError::Code(CodeError::Full)) => {
                let site = inner.blocks.edge_site(edge);
                self.flush(inner)?;
                self.try_entry(inner, site)
            }
            other => other,
        }
    }

    /// Waits until no vCPU is in generated code, then drops every translation. The caller's own
    /// vCPU is stopped.
    fn flush(&self, inner: &mut Inner) -> Result<(), EngineError> {
        if inner.blocks.is_empty() {
            return Err(EngineError::CodeTooSmall {
                size: inner.blocks.code.size(),
            });
        }
        self.stop.store(true, Ordering::SeqCst);
        for vcpu in &inner.vcpus {
            while vcpu.cell().running.load(Ordering::SeqCst) != 0 {
                vcpu.irq().store(1, Ordering::SeqCst);
                std::thread::yield_now();
            }
        }
        for vcpu in &inner.vcpus {
            resolve_pending(&inner.blocks, vcpu);
            vcpu.clear_jump_cache();
            vcpu.reset_return_stack();
        }
        inner.blocks.flush(&self.table);
        inner.pairs.clear();
        self.regions_gone(inner);
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.stats.flushes.add(1);
        self.stop.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Ends the threads that the engine has of its own, until they are needed again: some system
    /// calls are refused to processes with more than one.
    pub fn end_threads(&self) {
        self.sampler.end();
        self.queue.end();
    }

    /// To be called before `fork(2)`: no thread is amid a translation while the guard lives.
    pub fn fork_prepare(self: &Arc<Self>) -> ForkGuard<'_, G> {
        ForkGuard {
            engine: self,
            inner: self.lock(),
            queue: self.queue.lock(),
            sampler: self.sampler.lock(),
        }
    }
}

impl<G: Guest> Engine<G> {
    /// Finishes the store-conditionals of threads that a fork has left behind: their buckets are
    /// odd, and nobody else would ever make them even.
    fn release_reservations(&self) {
        for bucket in &self.reservations {
            let version = bucket.load(Ordering::Relaxed);
            if version & 1 != 0 {
                bucket.store(version + 1, Ordering::Relaxed);
            }
        }
    }
}

impl<G: Guest> Drop for Engine<G> {
    fn drop(&mut self) {
        self.queue.close();
        self.sampler.close();
    }
}

/// Replaces what a stopped vCPU still wanted to look up by the guest pc that it stands for.
fn resolve_pending(blocks: &Blocks, vcpu: &VcpuRef) {
    let cell = vcpu.cell();
    let pending = cell.pending.swap(0, Ordering::SeqCst);
    let pc = match pending {
        0 => return,
        p if p >= PENDING_FAULT => {
            let host = (p - PENDING_FAULT) as u32;
            blocks.restore(host, vcpu);
            blocks.guest_pc(host).unwrap_or(0)
        }
        p => blocks.edge_target((p - 1) as u32),
    };
    cell.pending_pc.store(pc, Ordering::SeqCst);
}

/// Holds translation still over a `fork(2)`. Drop it in the parent; call [`ForkGuard::child`] in
/// the child.
pub struct ForkGuard<'a, G: Guest> {
    engine: &'a Engine<G>,
    inner: MutexGuard<'a, Inner>,
    queue: QueueGuard<'a>,
    sampler: SamplerGuard<'a>,
}

impl<G: Guest> ForkGuard<'_, G> {
    /// In the parent: go on.
    pub fn parent(self) {}

    /// In the child: the other threads are gone, and code memory becomes the child's own.
    /// `vcpu` is the one vCPU that goes on.
    pub fn child(mut self, vcpu: &crate::Vcpu<G>) -> Result<(), EngineError> {
        let mine = vcpu.memory_ref();
        self.inner.vcpus.retain(|v| v.same(mine));
        self.engine.stop.store(false, Ordering::SeqCst);
        self.queue.orphaned();
        self.sampler.orphaned(&self.engine.sampler, mine);
        self.inner.blocks.orphaned();
        self.engine.release_reservations();
        Ok(self.inner.blocks.code.unshare()?)
    }
}
