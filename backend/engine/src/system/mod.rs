//! A machine's vCPU: privilege, address translation, interrupts, sleep.
//!
//! Invariants:
//! - Everything that another thread has for a vCPU goes through its [`Mailbox`], and is seen to on
//!   the vCPU's own thread before it executes another block.
//! - Whatever may have changed privileged state is followed by [`SystemVcpu::settle`]: what is to
//!   be forgotten is forgotten, then the TLB and the jump cache of the new context are selected.
//! - A page's code mark is set before its bytes are read for a translation. A vCPU that could
//!   still store there without notice is told, and until it has seen to that, instruction
//!   fences look at the page's blocks again.

mod banks;
mod mailbox;
mod mmu;
mod reserve;
mod signals;
mod vcpu;

pub use mailbox::{Mailbox, Work};
pub use mmu::MmuStats;
pub use vcpu::{After, Outside, SystemExit, SystemStats, SystemVcpu};

pub(crate) use mailbox::Protect;

use crate::config::Config;
use crate::engine::Engine;
use crate::error::EngineError;
use isomorph_baseline::Memory;
use isomorph_frontend::{CodeSource, SystemGuest};
use isomorph_softmmu::{CodeWatch, PAGE_SIZE, RamBlock};
use std::sync::{Arc, PoisonError, Weak};

/// Guest addresses mean nothing by themselves here.
struct NoSource;

impl CodeSource for NoSource {
    fn read(&self, _: u64, _: &mut [u8]) -> usize {
        0
    }

    fn may_change(&self, _: u64) -> bool {
        true
    }
}

impl<G: SystemGuest> Engine<G> {
    /// An engine for a machine's vCPUs, which all see one guest-physical space.
    ///
    /// # Errors
    /// The host lacks something.
    pub fn for_machine(guest: G, config: Config) -> Result<Arc<Self>, EngineError> {
        let memory = Memory::Tlb {
            bits: mmu::TLB_BITS,
            longest: G::INSN_MAX as u32,
        };
        Self::new(guest, Config { memory, ..config }, Box::new(NoSource))
    }

    /// Notes that bytes of a page with code were written.
    pub(crate) fn code_written(&self, page: u64) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.last() != Some(&page) {
            written.push(page);
        }
    }

    /// Whatever is entered from now on is translated from memory as it is now: an instruction
    /// fence of all vCPUs, those in generated code aside.
    pub fn fence_instructions(&self) {
        self.drop_written(true);
    }

    /// Looks again at the blocks of the pages that were written, and (if `fence`) of those that
    /// may be written unnoticed. The caller's vCPU is stopped.
    pub(crate) fn drop_written(&self, fence: bool) {
        let mut pages = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *written)
        };
        if pages.is_empty() && !fence {
            return;
        }
        let mut inner = self.lock();
        if fence {
            pages.extend(inner.mail.iter().flat_map(|vcpu| vcpu.unseen()));
        }
        pages.sort_unstable();
        pages.dedup();
        for page in pages {
            self.recheck_page(&mut inner, page);
        }
    }

    /// What is to be told of writes to pages with code, for `RamBlock::watch_code`.
    pub(crate) fn code_watch(self: &Arc<Self>) -> Arc<dyn CodeWatch> {
        Arc::new(Watch(Arc::downgrade(self)))
    }
}

struct Watch<G: SystemGuest>(Weak<Engine<G>>);

impl<G: SystemGuest> CodeWatch for Watch<G> {
    fn code_written(&self, ram: &RamBlock, offset: u64, _: u64) {
        if let Some(engine) = self.0.upgrade() {
            let host = ram.host_base() as u64 + offset;
            engine.code_written(host - host % PAGE_SIZE);
        }
    }
}
