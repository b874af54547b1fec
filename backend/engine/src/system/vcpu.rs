//! The run loop of a machine's vCPU.

use super::banks::Banks;
use super::mailbox::{FLUSH, KICK, Mailbox, PINS, PROTECT, RECHECK, START, TIMER, WORK};
use super::mmu::{CodePage, Mmu, MmuStats, slow_path};
use super::signals;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::site::Site;
use crate::vcpu::{BANKS, Cache, Next, Vcpu};
use isomorph_baseline::{ExitReason, MemFunction};
use isomorph_frontend::{SystemGuest, TlbContext, TlbFlush};
use isomorph_ir::TrapKind;
use isomorph_softmmu::{AddressSpace, PAGE_SIZE, TlbStats};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a vCPU does after a call to firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Goes on at the pc in its state.
    Continue,
    /// Has stopped until it is started.
    Stop,
    /// Waits for an interrupt, then goes on.
    Wait,
}

/// What is around a vCPU: time, and firmware that is not guest code.
pub trait Outside<G: SystemGuest>: Send + Sync {
    /// Ticks of the machine's counter now.
    fn ticks(&self) -> u64;

    /// Calls [`Mailbox::timer`] once the counter has reached `ticks`; replaces what was asked for
    /// before.
    fn arm(&self, ticks: Option<u64>);

    /// The guest asks its environment (the exception of [`TrapKind::Syscall`] is due, the pc is
    /// at the instruction). `None`: the guest takes the exception.
    fn call(&self, state: &mut G::State) -> Option<After>;

    /// The wait that a call has asked for ([`After::Wait`]) is over.
    fn resumed(&self);
}

/// Why [`SystemVcpu::run`] returned. The state is precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemExit {
    /// [`Mailbox::kick`] was called.
    Kicked,
}

/// Counts of one vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemStats {
    /// Interrupts taken.
    pub interrupts: u64,
    /// Exceptions taken.
    pub exceptions: u64,
    /// Calls that firmware outside the guest answered.
    pub firmware_calls: u64,
    /// Returns from traps.
    pub returns: u64,
    /// Other changes of privileged state.
    pub mode_changes: u64,
    /// Times asleep.
    pub waits: u64,
    /// Leaves of generated code for a block that was not linked or known.
    pub lookups: u64,
    /// Leaves because something was in the mailbox.
    pub polls: u64,
    /// Instruction fences.
    pub instruction_fences: u64,
    /// Selections of another jump cache.
    pub contexts: u64,
    /// Accesses to memory.
    pub mmu: MmuStats,
}

/// Blocks entered last, from the run loop.
const TRACE: usize = 16;

/// One virtual processor of a machine. Runs on one thread at a time.
pub struct SystemVcpu<G: SystemGuest> {
    core: Vcpu<G>,
    /// Its address is in the header, so it does not move.
    mmu: Box<Mmu<G>>,
    mail: Arc<Mailbox<G::State>>,
    outside: Arc<dyn Outside<G>>,
    banks: Banks,
    /// Translation mode and context that are selected.
    mode: u32,
    context: TlbContext,
    /// Levels of the interrupt pins as the state has them.
    pins: u64,
    /// When the timer was asked for.
    armed: Option<u64>,
    /// Privileged state may have changed since `settle`.
    changed: bool,
    /// Stopped until it is started.
    halted: bool,
    stats: SystemStats,
    /// Blocks dropped so far when the jump caches were last known to agree.
    trace: [u64; TRACE],
    traced: usize,
}

impl<G: SystemGuest> Engine<G> {
    /// A vCPU of a machine. `halted`: it waits to be started.
    ///
    /// # Errors
    /// The host gives no memory.
    pub fn new_system_vcpu(
        self: &Arc<Self>,
        space: Arc<AddressSpace>,
        state: G::State,
        halted: bool,
        mail: Arc<Mailbox<G::State>>,
        outside: Arc<dyn Outside<G>>,
    ) -> Result<SystemVcpu<G>, EngineError> {
        let core = self.new_vcpu(state)?;
        mail.connect(Some(core.kick()));
        let mut mmu = Box::new(Mmu::new(self.clone(), space, mail.clone()));
        let banks = Banks::new(core.memory_ref(), BANKS);
        // SAFETY: the vCPU is not running; the header is this thread's.
        unsafe {
            let header = &mut *core.header();
            header.engine[0] = std::ptr::from_mut(&mut *mmu) as u64;
            let slow: MemFunction = slow_path::<G>;
            header.mem_runtime = slow as usize;
        }
        self.lock().mail.push(mail.clone());
        Ok(SystemVcpu {
            core,
            mmu,
            mail,
            outside,
            banks,
            mode: u32::MAX,
            context: TlbContext::default(),
            pins: 0,
            armed: None,
            changed: true,
            halted,
            stats: SystemStats::default(),
            trace: [0; TRACE],
            traced: 0,
        })
    }
}

impl<G: SystemGuest> Drop for SystemVcpu<G> {
    fn drop(&mut self) {
        self.mail.connect(None);
        let mine = Arc::as_ptr(&self.mail).cast::<()>();
        let mut inner = self.core.engine().lock();
        inner
            .mail
            .retain(|other| Arc::as_ptr(other).cast::<()>() != mine);
    }
}

/// How a vCPU goes on.
enum Go {
    /// At a place that is looked up.
    On(Next),
    /// At the pc in the state, which may have changed in every way.
    Anew,
}

impl<G: SystemGuest> SystemVcpu<G> {
    /// The registers.
    pub fn state(&self) -> &G::State {
        self.core.state()
    }

    /// The registers, to change.
    pub fn state_mut(&mut self) -> &mut G::State {
        self.changed = true;
        self.core.state_mut()
    }

    /// What others reach it by.
    pub fn mailbox(&self) -> &Arc<Mailbox<G::State>> {
        &self.mail
    }

    /// Stops it until it is started, or undoes that.
    pub fn set_halted(&mut self, halted: bool) {
        self.halted = halted;
    }

    /// Whether it waits to be started.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The counters.
    pub fn stats(&self) -> SystemStats {
        SystemStats {
            mmu: self.mmu.stats,
            ..self.stats
        }
    }

    /// The TLB's counters.
    pub fn tlb_stats(&self) -> TlbStats {
        self.mmu.tlb.stats()
    }

    /// Guest addresses that the run loop was at last, latest first.
    pub fn trace(&self) -> Vec<u64> {
        let latest = self.traced;
        let count = latest.min(TRACE);
        (1..=count)
            .map(|n| self.trace[(latest - n) % TRACE])
            .collect()
    }

    /// Starts anew in another state: forgets everything remembered, and code that has changed
    /// meanwhile (memory may have been loaded anew, and no guest's fence tells).
    pub fn reset(&mut self, state: G::State, halted: bool) {
        *self.core.state_mut() = state;
        self.halted = halted;
        self.pins = 0;
        self.mmu.renew();
        self.banks.clear_all();
        self.core.memory_ref().reset_return_stack();
        self.core.engine().drop_written(true);
        self.changed = true;
        self.mail.notify(PINS);
    }

    /// Runs guest code, and sleeps when the guest waits, until somebody kicks.
    ///
    /// # Errors
    /// The emulator cannot go on.
    pub fn run(&mut self) -> Result<SystemExit, EngineError> {
        signals::prepare_thread().map_err(|source| EngineError::VcpuMemory { size: 0, source })?;
        self.mail.set_thread();
        self.core.set_current();
        self.changed = true;
        let mut go = Go::Anew;
        loop {
            if self.mail.any() {
                // Where an edge leads is looked up first: the books may change.
                if let Go::On(next) = go {
                    let pc = self.core.pc_of(next);
                    self.core.store_fp();
                    G::set_pc(self.core.state_mut(), pc);
                }
                go = Go::Anew;
                if self.read_mail() {
                    return Ok(SystemExit::Kicked);
                }
            }
            if self.halted {
                self.mail.sleep();
                continue;
            }
            let next = match go {
                Go::On(next) => next,
                Go::Anew => {
                    self.core.end_recording(false);
                    self.settle();
                    Next::Pc(G::pc(self.core.state()))
                }
            };
            // It may rest, since this vCPU was busy elsewhere, and a guest that never waits would
            // not wake it.
            self.core.engine().sampler.running();
            go = match self.find(next)? {
                Some(entry) => {
                    let raw = self.core.enter(entry);
                    self.serve(raw)?
                }
                None => Go::Anew,
            };
        }
    }

    /// Sees to the mailbox; true if `run` is to return.
    fn read_mail(&mut self) -> bool {
        self.core.clear_poll();
        let flags = self.mail.take();
        self.stats.polls += 1;
        if flags & PROTECT != 0 {
            self.protect_pages();
        }
        if flags & RECHECK != 0 {
            self.core.engine().drop_written(false);
        }
        if flags & FLUSH != 0 {
            self.mmu.renew();
            self.banks.clear_all();
            self.core.memory_ref().reset_return_stack();
        }
        if flags & START != 0 {
            self.halted = false;
        }
        if flags & WORK != 0 {
            for work in self.mail.take_work() {
                work(self.core.state_mut());
            }
        }
        if flags & PINS != 0 {
            self.read_pins();
        }
        if flags & TIMER != 0 {
            self.armed = None;
            let now = self.outside.ticks();
            G::set_time(self.core.state_mut(), now);
        }
        if flags & !PROTECT != 0 {
            self.changed = true;
        }
        flags & KICK != 0
    }

    fn read_pins(&mut self) {
        let pins = self.mail.pins();
        let mut changed = pins ^ self.pins;
        self.pins = pins;
        while changed != 0 {
            let pin = changed.trailing_zeros();
            changed &= changed - 1;
            G::set_pin(self.core.state_mut(), pin, pins >> pin & 1 != 0);
        }
    }

    /// Stores to pages with code are noticed from now on. If this vCPU could store there without
    /// notice since the code was read, it may have: the blocks are looked at again.
    fn protect_pages(&mut self) {
        let pages = self.mail.pages();
        let mut suspect = false;
        for &page in &pages {
            if self.mmu.tlb.protect(page as usize) {
                self.core.engine().code_written(page);
                suspect = true;
            }
        }
        if suspect {
            self.core.engine().drop_written(false);
        }
        self.mail.seen(pages.len());
    }

    /// After a change of privileged state: forgets what is to be forgotten, takes interrupts, and
    /// selects the TLB and jump cache of the context.
    fn settle(&mut self) {
        if !self.changed {
            return;
        }
        self.changed = false;
        self.rearm();
        if G::take_interrupt(self.core.state_mut()) {
            self.stats.interrupts += 1;
        }
        while let Some(flush) = G::take_flush(self.core.state_mut()) {
            self.forget(flush);
        }
        self.select();
        self.core.load_fp();
    }

    fn select(&mut self) {
        let state = self.core.state();
        let (mode, context) = (G::mode(state), G::tlb_context(state));
        let tlb = self.mmu.tlb.select(context.mode, context.asid);
        let bank = self.banks.select(mode, context.asid);
        (self.mode, self.context) = (mode, context);
        // SAFETY: generated code is not running; the header is this thread's.
        let header = unsafe { &mut *self.core.header() };
        header.tlb = tlb;
        if let Some(bank) = bank {
            self.stats.contexts += 1;
            header.jump_cache = bank;
            // Return addresses of another context mean something else here.
            self.core.memory_ref().reset_return_stack();
        }
    }

    fn forget(&mut self, flush: TlbFlush) {
        match flush {
            TlbFlush::All => self.mmu.tlb.flush_all(),
            TlbFlush::Space { asid } => self.mmu.tlb.flush_asid(asid),
            TlbFlush::Page { address, asid } => self.mmu.tlb.flush_page(address, asid),
        }
        if self.banks.flush(flush) {
            self.core.memory_ref().reset_return_stack();
        }
    }

    /// Asks for the next call of the timer if it has changed.
    fn rearm(&mut self) {
        if G::timer(self.core.state()) == self.armed {
            return;
        }
        // It may have come already.
        let now = self.outside.ticks();
        G::set_time(self.core.state_mut(), now);
        let want = G::timer(self.core.state());
        if want != self.armed {
            self.armed = want;
            self.outside.arm(want);
        }
    }

    /// Host address to enter; `None` if the fetch raised an exception, which was taken.
    fn find(&mut self, next: Next) -> Result<Option<u64>, EngineError> {
        let recording = self.core.is_recording();
        let pc = match next {
            Next::Edge(edge) if !recording => {
                self.stats.lookups += 1;
                return self.find_edge(edge);
            }
            _ => self.core.pc_of(next),
        };
        let computed = matches!(next, Next::Indirect(_));
        self.find_pc(pc, computed)
    }

    fn find_pc(&mut self, pc: u64, computed: bool) -> Result<Option<u64>, EngineError> {
        self.trace[self.traced % TRACE] = pc;
        self.traced += 1;
        let recording = self.core.is_recording();
        if !recording && let Some(code) = self.core.find_cached(pc) {
            return Ok(Some(code));
        }
        self.stats.lookups += 1;
        match self.site(pc) {
            Ok((site, cacheable, global)) => {
                // Trap handlers and what follows a return are met again and again, too.
                if cacheable {
                    self.banks.note(pc, global);
                }
                let cache = match (cacheable, computed) {
                    (false, _) => Cache::No,
                    (true, false) => Cache::Yes,
                    (true, true) => Cache::Computed,
                };
                if recording {
                    return self.core.find_recorded(site, computed, cache).map(Some);
                }
                self.core.find_site(site, cache).map(Some)
            }
            Err(exception) => {
                G::set_pc(self.core.state_mut(), pc);
                self.raise(exception);
                Ok(None)
            }
        }
    }

    fn find_edge(&mut self, edge: u32) -> Result<Option<u64>, EngineError> {
        let shared = self.core.memory_ref();
        let cell = shared.cell();
        let engine = self.core.engine().clone();
        let mut inner = engine.lock();
        let pc = if cell.pending.swap(0, Ordering::SeqCst) == 0 {
            cell.pending_pc.load(Ordering::SeqCst)
        } else if inner.blocks.is_hot(edge) {
            if let Some(recording) = engine.trip(&mut inner, edge, shared) {
                self.core.record(recording);
            }
            inner.blocks.edge_target(edge)
        } else if inner.blocks.is_loose(edge) {
            inner.blocks.edge_target(edge)
        } else {
            let entry = engine.follow(&mut inner, edge, shared)?;
            cell.running.store(1, Ordering::SeqCst);
            return Ok(Some(entry.polled));
        };
        drop(inner);
        self.find_pc(pc, false)
    }

    /// Where the code at `pc` is, whether it may go into the jump cache, and whether that holds in
    /// every address space.
    fn site(&mut self, pc: u64) -> Result<(Site, bool, bool), G::Exception> {
        let state = self.core.state();
        let CodePage {
            host,
            global,
            size,
            whole,
        } = self.mmu.code(state, pc)?;
        self.banks.note_size(pc, size);
        let site = Site::page(pc, self.mode, host);
        if !whole {
            return Ok((self.once(site), false, global));
        }
        if pc % PAGE_SIZE <= PAGE_SIZE - G::INSN_MAX {
            return Ok((site, true, global));
        }
        // The instruction may end in the next page; whether it does, only its bytes tell.
        let second = (pc | (PAGE_SIZE - 1)).wrapping_add(1);
        let next = self.mmu.code(state, second).ok();
        if let Some(next) = next {
            self.banks.note_size(second, next.size);
        }
        let (next, both) = match next {
            Some(next) if next.whole => (Some(next.host), global && next.global),
            Some(next) => return Ok((self.pair(site, Some(next.host)), false, global)),
            None => (None, false),
        };
        Ok((self.pair(site, next), true, both))
    }

    /// `site` for an instruction whose first part alone is known to be allowed.
    fn once(&mut self, site: Site) -> Site {
        let (first, state) = (G::INSN_ALIGN, self.core.state());
        let next = self.mmu.code(state, site.pc.wrapping_add(first)).ok();
        let next = next.map(|next| next.host);
        let once = site.once(first, next);
        if next == Some(site.place + first) {
            return once;
        }
        once.numbered(self.core.engine().lock().pair(once.space, next))
    }

    /// `site` for an instruction that may lie across two pages.
    fn pair(&self, site: Site, next: Option<u64>) -> Site {
        let number = self.core.engine().lock().pair(site.space, next);
        site.pair(next, number)
    }

    fn raise(&mut self, exception: G::Exception) {
        self.stats.exceptions += 1;
        G::take_exception(self.core.state_mut(), exception);
        self.changed = true;
    }

    /// Serves an exit from generated code.
    fn serve(&mut self, raw: u64) -> Result<Go, EngineError> {
        // SAFETY: generated code has returned, so the header is this thread's alone but for the
        // atomics.
        let (pc, info) = unsafe {
            let header = self.core.header();
            ((*header).exit_pc, (*header).exit_info)
        };
        let shared = self.core.memory_ref();
        let cell = shared.cell();
        let (reason, payload) = ExitReason::decode(raw).unwrap_or((ExitReason::Irq, 0));
        if reason == ExitReason::Edge {
            // Stays "running" until the edge is noted.
            let edge = payload as u32;
            cell.pending.store(1 + u64::from(edge), Ordering::SeqCst);
            cell.running.store(0, Ordering::SeqCst);
            return Ok(Go::On(Next::Edge(edge)));
        }
        cell.running.store(0, Ordering::SeqCst);
        match reason {
            ExitReason::Indirect => Ok(Go::On(Next::Indirect(pc))),
            ExitReason::Fault => self.fault(pc),
            ExitReason::Trap => {
                // A round with a trap in it is no round that a region could go.
                self.core.end_recording(true);
                self.core.store_fp();
                G::set_pc(self.core.state_mut(), pc);
                let kind = TrapKind::from_u8(payload as u8).unwrap_or(TrapKind::Illegal);
                Ok(self.trap(kind, pc, info))
            }
            _ => {
                self.core.clear_poll();
                let (next, sample) = self.core.polled(pc);
                // What is in the mailbox may change what the pc means.
                if sample
                    && !self.mail.any()
                    && let Ok((site, true, _)) = self.site(pc)
                    && let Some(recording) = self.core.engine().sampled(site, shared)
                {
                    self.core.record(recording);
                }
                Ok(Go::On(next))
            }
        }
    }

    /// An access on the slow path has faulted.
    fn fault(&mut self, pc: u64) -> Result<Go, EngineError> {
        self.core.store_fp();
        self.core.release_reservation();
        let Some(exception) = self.mmu.fault.take() else {
            return Err(EngineError::HostMemory { pc });
        };
        G::set_pc(self.core.state_mut(), pc);
        self.raise(exception);
        Ok(Go::Anew)
    }

    fn trap(&mut self, kind: TrapKind, pc: u64, info: u64) -> Go {
        match kind {
            TrapKind::InsnSync => {
                self.stats.instruction_fences += 1;
                self.core.engine().drop_written(true);
                return Go::On(Next::Pc(pc));
            }
            TrapKind::Yield => {
                std::thread::yield_now();
                return Go::On(Next::Pc(pc));
            }
            TrapKind::Return => {
                self.stats.returns += 1;
                G::set_pc(self.core.state_mut(), info);
            }
            TrapKind::Mode => self.stats.mode_changes += 1,
            TrapKind::Wfi => self.wait(),
            TrapKind::Syscall => self.call(),
            TrapKind::Fetch => {
                let exception = self.mmu.code(self.core.state(), info).err();
                // If it can be fetched by now, the instruction is tried again.
                if let Some(exception) = exception {
                    self.raise(exception);
                }
            }
            _ => {
                let insn = match kind {
                    TrapKind::Misaligned => self.mmu.insn(self.core.state(), pc),
                    _ => Vec::new(),
                };
                if let Some(e) = G::exception_of(self.core.state(), kind, info, &insn) {
                    self.raise(e);
                }
            }
        }
        self.changed = true;
        Go::Anew
    }

    /// Waits for an interrupt; the pc is behind the instruction.
    fn wait(&mut self) {
        self.changed = true;
        loop {
            self.rearm();
            if G::wakes(self.core.state()) {
                return;
            }
            self.stats.waits += 1;
            self.mail.sleep();
            let kicked = self.read_mail();
            if kicked {
                // The wait may end for any reason; the guest waits again if it must.
                self.mail.kick();
                return;
            }
            if self.halted {
                return;
            }
        }
    }

    /// The guest calls its environment.
    fn call(&mut self) {
        let outside = self.outside.clone();
        let state = self.core.state_mut();
        match outside.call(state) {
            Some(after) => {
                self.stats.firmware_calls += 1;
                self.changed = true;
                match after {
                    After::Continue => {}
                    After::Stop => self.halted = true,
                    After::Wait => {
                        self.wait();
                        outside.resumed();
                    }
                }
            }
            None => {
                if let Some(e) = G::exception_of(self.core.state(), TrapKind::Syscall, 0, &[]) {
                    self.raise(e);
                }
            }
        }
    }
}
