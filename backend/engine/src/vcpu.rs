//! One virtual processor: enters generated code and serves its exits.

use crate::engine::{Engine, SPARE_MAX};
use crate::error::EngineError;
use crate::fault;
use crate::memory::{GUEST_BYTES_MAX, PENDING_FAULT, VcpuMemory, VcpuRef};
use crate::site::Site;
use crate::tier2::Recording;
use isomorph_baseline::{ExitReason, Header, Memory};
use isomorph_frontend::Guest;
use isomorph_ir::TrapKind;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

/// Why [`Vcpu::run`] returned. The guest state is precise; its pc is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A trap instruction or condition, see [`TrapKind`].
    Trap {
        /// What happened.
        kind: TrapKind,
        /// Address of the instruction (or the next one, as the kind says); also in the state.
        pc: u64,
        /// Additional value, as the kind says.
        info: u64,
    },
    /// A guest memory access faulted.
    Fault(Fault),
    /// [`Kick::request`] was called.
    Interrupted,
}

/// A guest memory access that the host refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Host signal number: `SIGSEGV` or `SIGBUS`.
    pub signo: i32,
    /// Host `si_code`.
    pub code: i32,
    /// Guest address that was accessed.
    pub address: u64,
    /// Guest instruction that accessed it; also in the state.
    pub pc: u64,
}

/// Asks a vCPU to return from `run` soon. Valid as long as the vCPU lives.
#[derive(Clone, Copy, Debug)]
pub struct Kick(VcpuRef);

// SAFETY: only atomics are reached through it.
unsafe impl Sync for Kick {}

impl Kick {
    /// Makes the vCPU return [`Exit::Interrupted`] at its next poll, or at its next `run`.
    /// Async-signal-safe.
    pub fn request(&self) {
        self.0.cell().kicked.store(1, Ordering::SeqCst);
        self.0.irq().store(1, Ordering::SeqCst);
    }

    /// Makes the vCPU leave generated code at its next poll.
    pub(crate) fn poll(&self) {
        self.0.irq().store(1, Ordering::SeqCst);
    }

    /// Whether the vCPU is in generated code.
    pub(crate) fn is_running(&self) -> bool {
        self.0.is_running()
    }
}

/// Jump caches of a machine's vCPU.
pub(crate) const BANKS: usize = 16;

/// Jump caches of a vCPU.
pub(crate) const fn banks(memory: Memory) -> usize {
    match memory {
        Memory::Identity => 1,
        Memory::Tlb { .. } => BANKS,
    }
}

/// Whether what was looked up is worth a place in the jump cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// No.
    No,
    /// Yes.
    Yes,
    /// Yes, and a computed jump leads there.
    Computed,
}

/// Where to go on.
#[derive(Clone, Copy)]
pub(crate) enum Next {
    /// At a guest pc that is looked up.
    Pc(u64),
    /// As `Pc`, from an indirect jump: worth a place in the jump cache.
    Indirect(u64),
    /// At edge number `.0`.
    Edge(u32),
}

/// One virtual processor. Runs on one thread at a time.
pub struct Vcpu<G: Guest> {
    engine: Arc<Engine<G>>,
    /// Given back to the engine when the vCPU is dropped.
    memory: ManuallyDrop<VcpuMemory>,
    shared: VcpuRef,
    mode: u32,
    enter: extern "C" fn(*mut Header, u64) -> u64,
    code: (u64, u64),
    exits: (u64, u64),
    /// What is recorded since a counter ran out.
    recording: Option<Box<Recording>>,
}

impl<G: Guest> Engine<G> {
    /// A new vCPU with these registers.
    pub fn new_vcpu(self: &Arc<Self>, state: G::State) -> Result<Vcpu<G>, EngineError> {
        const { assert!(size_of::<G::State>() <= GUEST_BYTES_MAX) };
        let mut inner = self.lock();
        let base = inner.blocks.code.exec_base();
        let code = (base, base + inner.blocks.code.size() as u64);
        let runtime = inner.blocks.runtime();
        let at = |offset: u32| base + u64::from(offset);
        let (sentinel, enter) = (at(runtime.sentinel), at(runtime.enter));
        let exits = (at(runtime.exit_fault), at(runtime.region_fault));
        let memory = match inner.spare.pop() {
            Some(mut memory) => {
                memory.refresh();
                memory
            }
            None => {
                let banks = banks(self.config.memory);
                VcpuMemory::new(self.config.return_stack_bytes, sentinel, banks)?
            }
        };
        // SAFETY: the runtime stub has exactly this signature (isomorph_baseline::Runtime::enter),
        // and code memory stays mapped as long as the engine, which the vCPU holds.
        let enter = unsafe {
            std::mem::transmute::<usize, extern "C" fn(*mut Header, u64) -> u64>(enter as usize)
        };
        let shared = memory.as_ref();
        // SAFETY: freshly mapped memory that nobody else knows yet.
        unsafe {
            memory.header().write(Header::new());
            let header = &mut *memory.header();
            header.shadow_rsp = shared.stack_empty();
            header.helpers = self.helpers.as_ptr() as usize;
            header.fp_runtime = isomorph_baseline::fp_runtime_table().as_ptr() as usize;
            header.reserve_table = self.reservations.as_ptr() as usize;
            header.jump_cache = shared.bank(0);
            memory.guest::<G::State>().write(state);
        }
        inner.vcpus.push(shared);
        self.sampler.lock().vcpus.push(shared);
        drop(inner);
        let engine = self.clone();
        Ok(Vcpu {
            engine,
            memory: ManuallyDrop::new(memory),
            shared,
            mode: u32::MAX,
            enter,
            code,
            exits,
            recording: None,
        })
    }
}

impl<G: Guest> Drop for Vcpu<G> {
    fn drop(&mut self) {
        fault::clear_current(&self.memory);
        let mut inner = self.engine.lock();
        let mine = |v: &VcpuRef| v.same(self.shared);
        inner.vcpus.retain(|v| !mine(v));
        self.engine.sampler.lock().vcpus.retain(|v| !mine(v));
        // SAFETY: taken once, here; nothing uses the field afterwards.
        let memory = unsafe { ManuallyDrop::take(&mut self.memory) };
        if inner.spare.len() < SPARE_MAX {
            inner.spare.push(memory);
        }
    }
}

impl<G: Guest> Vcpu<G> {
    /// The head of the vCPU's memory.
    pub(crate) fn header(&self) -> *mut Header {
        self.memory.header()
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine<G>> {
        &self.engine
    }

    /// The registers.
    pub fn state(&self) -> &G::State {
        // SAFETY: initialised in `new_vcpu`; generated code is not running while `self` is
        // borrowed from outside `run`.
        unsafe { &*self.memory.guest() }
    }

    /// The registers, to change.
    pub fn state_mut(&mut self) -> &mut G::State {
        // SAFETY: as in `state`, and the borrow is exclusive.
        unsafe { &mut *self.memory.guest() }
    }

    /// A handle to interrupt this vCPU.
    pub fn kick(&self) -> Kick {
        Kick(self.shared)
    }

    pub(crate) fn memory_ref(&self) -> VcpuRef {
        self.shared
    }

    /// Runs guest code until something happens that its owner must see.
    pub fn run(&mut self) -> Result<Exit, EngineError> {
        self.set_current();
        self.load_fp();
        self.update_mode();
        let mut next = Next::Pc(G::pc(self.state()));
        let exit = loop {
            if self.shared.cell().kicked.load(Ordering::Relaxed) != 0
                && let Some(pc) = self.interrupted(&next)
            {
                G::set_pc(self.state_mut(), pc);
                break Exit::Interrupted;
            }
            self.engine.sampler.running();
            let entry = self.find(&next)?;
            let raw = self.enter(entry);
            match self.serve(raw) {
                Ok(go_on) => next = go_on,
                Err(exit) => break exit,
            }
        };
        if self.recording.is_some() {
            self.end_recording(matches!(exit, Exit::Trap { .. }));
        }
        self.store_fp();
        Ok(exit)
    }

    /// The pc to report if the request to stop still stands.
    fn interrupted(&self, next: &Next) -> Option<u64> {
        let pc = match *next {
            Next::Pc(pc) | Next::Indirect(pc) => pc,
            Next::Edge(_) => return None, // the next poll will see it
        };
        let cell = self.shared.cell();
        self.shared.irq().store(0, Ordering::SeqCst);
        (cell.kicked.swap(0, Ordering::SeqCst) != 0).then_some(pc)
    }

    /// Runs generated code from host address `entry` on until it leaves; what it says of that.
    pub(crate) fn enter(&mut self, entry: u64) -> u64 {
        (self.enter)(self.memory.header(), entry)
    }

    /// Clears the request that generated code polls.
    pub(crate) fn clear_poll(&self) {
        self.shared.irq().store(0, Ordering::SeqCst);
    }

    /// Prepares this thread for host faults in generated code.
    pub(crate) fn set_current(&self) {
        let resets = &self.engine.stats.return_stack_resets;
        fault::set_current(&self.memory, self.code, self.exits, resets);
    }

    /// Host address to enter. On return this vCPU counts as running.
    fn find(&mut self, next: &Next) -> Result<u64, EngineError> {
        if self.recording.is_some() {
            let pc = self.pc_of(*next);
            let computed = matches!(next, Next::Indirect(_));
            return self.find_recorded(Site::flat(pc, self.mode), computed, Cache::No);
        }
        match *next {
            Next::Pc(pc) => self.find_site(Site::flat(pc, self.mode), Cache::No),
            Next::Indirect(pc) => self.find_site(Site::flat(pc, self.mode), Cache::Computed),
            Next::Edge(edge) => self.find_edge(edge),
        }
    }

    /// The guest address of a place. The vCPU is not running.
    pub(crate) fn pc_of(&self, next: Next) -> u64 {
        let edge = match next {
            Next::Pc(pc) | Next::Indirect(pc) => return pc,
            Next::Edge(edge) => edge,
        };
        let cell = self.shared.cell();
        let inner = self.engine.lock();
        if cell.pending.swap(0, Ordering::SeqCst) == 0 {
            return cell.pending_pc.load(Ordering::SeqCst); // a flush resolved it
        }
        inner.blocks.edge_target(edge)
    }

    /// Whether the vCPU records what it goes through.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// After a poll at `pc`: where to go on, and whether that is a sample of time. Recordings are
    /// not disturbed.
    pub(crate) fn polled(&mut self, pc: u64) -> (Next, bool) {
        self.engine.polled(self.shared);
        let sample = self.shared.cell().sample.swap(0, Ordering::Relaxed) != 0;
        match self.recording.as_mut().map(|r| r.undo(pc)) {
            Some(true) => (Next::Indirect(pc), false),
            Some(false) => (Next::Pc(pc), false),
            None => (Next::Pc(pc), sample),
        }
    }

    /// Records from now on.
    pub(crate) fn record(&mut self, recording: Recording) {
        self.recording = Some(Box::new(recording));
    }

    /// As `find_site`, while recording.
    pub(crate) fn find_recorded(
        &mut self,
        site: Site,
        computed: bool,
        cache: Cache,
    ) -> Result<u64, EngineError> {
        let enough = self
            .recording
            .as_mut()
            .is_none_or(|r| r.step(site, computed));
        if enough {
            self.end_recording(true);
            return self.find_site(site, cache);
        }
        self.find_site(site.stepping(), Cache::No)
    }

    /// Ends a recording. `whole`: what it shows is what there is.
    pub(crate) fn end_recording(&mut self, whole: bool) {
        let Some(recording) = self.recording.take() else {
            return;
        };
        // Calls have left no landings meanwhile.
        self.shared.reset_return_stack();
        if whole {
            self.engine.recorded(&recording, self.shared);
        } else {
            self.engine.cut(&recording, self.shared);
        }
    }

    /// Host address of the block at `pc` if the jump cache knows it. Then this vCPU counts as
    /// running.
    pub(crate) fn find_cached(&self, pc: u64) -> Option<u64> {
        let cell = self.shared.cell();
        cell.running.store(1, Ordering::SeqCst);
        // In this order: a flush that was seen to be over has emptied the jump cache.
        let stopped = self.engine.stop.load(Ordering::SeqCst);
        let code = self.shared.probe_jump_cache(pc).filter(|_| !stopped);
        if code.is_none() {
            cell.running.store(0, Ordering::SeqCst);
        }
        code
    }

    /// Host address of the block at `site`; if `cache`, it is worth a place in the jump cache. On
    /// return this vCPU counts as running.
    pub(crate) fn find_site(&self, site: Site, cache: Cache) -> Result<u64, EngineError> {
        let pc = site.pc;
        let cell = self.shared.cell();
        loop {
            cell.running.store(1, Ordering::SeqCst);
            if self.engine.stop.load(Ordering::SeqCst) {
                cell.running.store(0, Ordering::SeqCst);
                drop(self.engine.lock()); // the flusher holds it until it is done
                continue;
            }
            let drops = self.engine.drops.load(Ordering::SeqCst);
            let counted = cache == Cache::Computed && self.engine.counts_targets();
            if let Some(code) = self.known(site, cache, counted) {
                if cache != Cache::No {
                    self.engine.stats.lookup_hits.add(1);
                    self.cache(pc, code, drops);
                }
                return Ok(code);
            }
            cell.running.store(0, Ordering::SeqCst);
            let mut inner = self.engine.lock();
            let mut code = self.engine.entry(&mut inner, site)?.polled;
            if counted {
                code = self.engine.computed_entry(&mut inner, code, self.shared);
            }
            cell.running.store(1, Ordering::SeqCst);
            if cache != Cache::No {
                self.shared.fill_jump_cache(pc, code);
            }
            return Ok(code);
        }
    }

    /// Host address of the block at `site`, or of what counts its entries on the way there, if
    /// there is such. `counted`: there has to be.
    fn known(&self, site: Site, cache: Cache, counted: bool) -> Option<u64> {
        let Site { pc, space, .. } = site;
        let engine = &self.engine;
        let table = || engine.table.get(pc, space).filter(|_| !counted);
        match cache {
            Cache::No => table(),
            Cache::Yes | Cache::Computed => engine.targets.get(pc, space).or_else(table),
        }
    }

    /// Fills the jump cache with what was found while `drops` was current.
    fn cache(&self, pc: u64, code: u64, drops: u64) {
        self.shared.fill_jump_cache(pc, code);
        if self.engine.drops.load(Ordering::SeqCst) != drops {
            self.shared.forget(pc); // perhaps that very block was dropped meanwhile
        }
    }

    /// As `find`, for an edge whose number was noted in `pending` while running.
    fn find_edge(&mut self, edge: u32) -> Result<u64, EngineError> {
        let shared = self.shared;
        let cell = shared.cell();
        cell.running.store(0, Ordering::SeqCst);
        let engine = self.engine.clone();
        let mut inner = engine.lock();
        let entry = if cell.pending.swap(0, Ordering::SeqCst) == 0 {
            let pc = cell.pending_pc.load(Ordering::SeqCst); // a flush resolved it
            engine.entry(&mut inner, Site::flat(pc, self.mode))?
        } else if inner.blocks.is_hot(edge) {
            let site = Site::flat(inner.blocks.edge_target(edge), self.mode);
            if let Some(recording) = engine.trip(&mut inner, edge, shared) {
                drop(inner);
                self.record(recording);
                return self.find_recorded(site, false, Cache::No);
            }
            engine.entry(&mut inner, site)?
        } else {
            engine.follow(&mut inner, edge, shared)?
        };
        cell.running.store(1, Ordering::SeqCst);
        Ok(entry.polled)
    }

    /// Serves an exit from generated code: where to go on, or what to report.
    fn serve(&mut self, raw: u64) -> Result<Next, Exit> {
        // SAFETY: generated code has returned, so the header is this thread's alone but for the
        // atomics.
        let (pc, info) = unsafe {
            let header = self.memory.header();
            ((*header).exit_pc, (*header).exit_info)
        };
        let stats = &self.engine.stats;
        let cell = self.shared.cell();
        let (reason, payload) = ExitReason::decode(raw).unwrap_or((ExitReason::Irq, 0));
        match reason {
            ExitReason::Edge => {
                // Stays "running" until the edge is noted: see `resolve_pending`.
                stats.exits_edge.add(1);
                let edge = payload as u32;
                cell.pending.store(1 + u64::from(edge), Ordering::SeqCst);
                cell.running.store(0, Ordering::SeqCst);
                Ok(Next::Edge(edge))
            }
            ExitReason::Indirect => {
                stats.exits_indirect.add(1);
                cell.running.store(0, Ordering::SeqCst);
                Ok(Next::Indirect(pc))
            }
            ExitReason::Irq => {
                stats.exits_poll.add(1);
                cell.running.store(0, Ordering::SeqCst);
                self.shared.irq().store(0, Ordering::SeqCst);
                let kicked = cell.kicked.swap(0, Ordering::SeqCst) != 0;
                let (next, sample) = self.polled(pc);
                if kicked {
                    G::set_pc(self.state_mut(), pc);
                    return Err(Exit::Interrupted);
                }
                if sample {
                    let site = Site::flat(pc, self.mode);
                    self.recording = self.engine.sampled(site, self.shared).map(Box::new);
                }
                Ok(next)
            }
            ExitReason::Fault => {
                stats.exits_fault.add(1);
                Err(self.fault())
            }
            ExitReason::Trap => {
                stats.exits_trap.add(1);
                cell.running.store(0, Ordering::SeqCst);
                let kind = TrapKind::from_u8(payload as u8).unwrap_or(TrapKind::Illegal);
                self.trap(kind, pc, info)
            }
        }
    }

    fn trap(&mut self, kind: TrapKind, pc: u64, info: u64) -> Result<Next, Exit> {
        match kind {
            TrapKind::InsnSync => {
                self.engine.insn_sync(None);
                Ok(Next::Pc(pc))
            }
            TrapKind::Mode => {
                self.update_mode();
                Ok(Next::Pc(pc))
            }
            _ => {
                G::set_pc(self.state_mut(), pc);
                Err(Exit::Trap { kind, pc, info })
            }
        }
    }

    /// Reports the fault that the signal handler has noted.
    fn fault(&mut self) -> Exit {
        compiler_fence(Ordering::Acquire);
        // SAFETY: the handler ran on this thread and is done.
        let noted = unsafe { &*self.shared.fault() };
        let cell = self.shared.cell();
        let host = (noted.host - self.code.0) as u32;
        cell.pending
            .store(PENDING_FAULT + u64::from(host), Ordering::SeqCst);
        cell.running.store(0, Ordering::SeqCst);
        let inner = self.engine.lock();
        let (pc, bytes) = if cell.pending.swap(0, Ordering::SeqCst) == 0 {
            (cell.pending_pc.load(Ordering::SeqCst), Vec::new())
        } else {
            inner.blocks.restore(host, &self.shared);
            (
                inner.blocks.guest_pc(host).unwrap_or(0),
                inner.blocks.code.bytes(host, 15),
            )
        };
        drop(inner);
        self.release_reservation();
        let address = crate::address::of_fault(noted, &bytes);
        let fault = Fault {
            signo: noted.signo,
            code: noted.code,
            address,
            pc,
        };
        G::set_pc(self.state_mut(), pc);
        Exit::Fault(fault)
    }

    /// Opens the bucket that a store-conditional held when it faulted.
    pub(crate) fn release_reservation(&mut self) {
        // SAFETY: generated code is not running; the header is this thread's.
        let held = unsafe { std::mem::take(&mut (*self.memory.header()).sc_lock) };
        let first = self.engine.reservations.as_ptr() as u64;
        if held < first {
            return;
        }
        let index = ((held - first) / 8) as usize;
        if let Some(bucket) = self.engine.reservations.get(index) {
            bucket.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes the translation mode from the state; return addresses of the old one are forgotten.
    fn update_mode(&mut self) {
        let mode = G::mode(self.state());
        if mode != self.mode {
            self.mode = mode;
            self.shared.clear_jump_cache();
            self.shared.reset_return_stack();
        }
    }

    pub(crate) fn load_fp(&mut self) {
        let state = self.state();
        let (rounding, flags) = (G::rounding(state), G::fp_flags(state));
        // SAFETY: generated code is not running; the header is this thread's.
        unsafe { (*self.memory.header()).mxcsr = isomorph_baseline::mxcsr_of(flags, rounding) };
    }

    pub(crate) fn store_fp(&mut self) {
        // SAFETY: as in `load_fp`.
        let mxcsr = unsafe { (*self.memory.header()).mxcsr };
        G::set_fp_flags(self.state_mut(), isomorph_baseline::flags_of(mxcsr));
    }
}
