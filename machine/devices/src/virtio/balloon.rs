//! The memory balloon (§5.5): the driver hands pages back while the host wants fewer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use isomorph_softmmu::AddressSpace;

use super::{ActivateError, Activation, Chain, Interrupt, Memory, QueueError, VirtQueue};
use super::{VirtioDevice, copy_config, lock};

const TYPE: u16 = 5;
const QUEUE_SIZE: u16 = 128;
const INFLATE: u16 = 0;
const F_DEFLATE_ON_OOM: u64 = 1 << 2;
/// Page numbers count in these bytes, whatever the guest's page size (§5.5.6).
const PAGE: u64 = 4096;
const PAGE_SHIFT: u32 = 12;
/// Offset of `actual` in the configuration (§5.5.4).
const ACTUAL: u64 = 4;
/// Page numbers read at once.
const PIECE: usize = 4096;

/// Gets the pages that the guest gave up: guest-physical address and bytes. The guest expects
/// nothing of their contents from then on.
pub type Release = Box<dyn FnMut(u64, u64) + Send>;

/// Gives the pages of `space` back to the host.
pub fn release_to_host(space: &Arc<AddressSpace>) -> Release {
    let space = Arc::downgrade(space);
    Box::new(move |address, length| {
        if let Some(space) = space.upgrade() {
            // A page that is not RAM any more has nothing to give.
            let _ = space.view().discard_memory(address, length);
        }
    })
}

/// The host's side of a balloon.
#[derive(Default)]
pub struct BalloonTarget {
    wanted: AtomicU32,
    actual: AtomicU32,
    interrupt: Mutex<Option<Arc<dyn Interrupt>>>,
}

impl BalloonTarget {
    /// Asks the guest to give up `bytes` in all, rounded down to pages.
    pub fn set(&self, bytes: u64) {
        let pages = u32::try_from(bytes / PAGE).unwrap_or(u32::MAX);
        self.wanted.store(pages, Ordering::Release);
        if let Some(interrupt) = lock(&self.interrupt).as_ref() {
            interrupt.signal_config();
        }
    }

    /// The bytes that the guest says it gave up.
    pub fn actual(&self) -> u64 {
        u64::from(self.actual.load(Ordering::Acquire)) * PAGE
    }
}

/// A virtio memory balloon.
pub struct Balloon<M> {
    target: Arc<BalloonTarget>,
    release: Release,
    queues: Vec<Option<VirtQueue<M>>>,
}

impl<M: Memory> Balloon<M> {
    /// A balloon that hands pages to `release`, and the host's side of it.
    pub fn new(release: Release) -> (Self, Arc<BalloonTarget>) {
        let target = Arc::<BalloonTarget>::default();
        (
            Balloon {
                target: Arc::clone(&target),
                release,
                queues: Vec::new(),
            },
            target,
        )
    }
}

impl<M: Memory> VirtioDevice<M> for Balloon<M> {
    fn device_type(&self) -> u16 {
        TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        F_DEFLATE_ON_OOM
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = [0; 8];
        config[..4].copy_from_slice(&self.target.wanted.load(Ordering::Acquire).to_le_bytes());
        config[4..].copy_from_slice(&self.target.actual.load(Ordering::Acquire).to_le_bytes());
        copy_config(&config, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let (ACTUAL, Ok(actual)) = (offset, <[u8; 4]>::try_from(data)) {
            self.target
                .actual
                .store(u32::from_le_bytes(actual), Ordering::Release);
        }
    }

    fn activate(&mut self, activation: Activation<M>) -> Result<(), ActivateError> {
        self.queues = activation.queues;
        *lock(&self.target.interrupt) = Some(activation.interrupt);
        Ok(())
    }

    fn notify(&mut self, queue: u16) -> Result<(), QueueError> {
        let release = &mut self.release;
        let Some(Some(ring)) = self.queues.get_mut(usize::from(queue)) else {
            return Ok(());
        };
        ring.drain(|memory, chain| {
            if queue == INFLATE {
                inflate(release, memory, chain)?;
            }
            // A deflated page needs nothing: the guest's next access brings it back.
            Ok(Some(0))
        })
    }

    fn reset(&mut self) {
        self.queues.clear();
        *lock(&self.target.interrupt) = None;
        self.target.actual.store(0, Ordering::Release);
    }
}

/// Releases the pages of one request; a page number that is not memory is passed over.
fn inflate<M: Memory>(release: &mut Release, memory: &M, chain: &Chain) -> Result<(), QueueError> {
    let mut piece = [0; PIECE];
    let mut done = 0;
    loop {
        let here = chain.read(memory, done, &mut piece)? & !3;
        if here == 0 {
            return Ok(());
        }
        for number in piece[..here].chunks_exact(4) {
            let number = u32::from_le_bytes([number[0], number[1], number[2], number[3]]);
            let address = u64::from(number) << PAGE_SHIFT;
            let access = vm_memory::Permissions::Write;
            if memory.check_range(vm_memory::GuestAddress(address), PAGE as usize, access) {
                release(address, PAGE);
            }
        }
        done += here as u64;
    }
}
