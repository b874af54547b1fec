//! One virtqueue: the ring of `virtio-queue`, and a strict walk of each chain.
//!
//! The walk is ours because a broken chain must be told from a finished one: it decides whether
//! the device goes on (§2.7.5 lists what a driver must not do).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thiserror::Error;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryError, Permissions};

use super::{Interrupt, Memory};

/// The most descriptors that one chain may have, indirect ones included.
const CHAIN_MAX: usize = 1024;
/// The most bytes that one chain may have (§2.7.5.2).
const LENGTH_MAX: u64 = 1 << 32;
const DESCRIPTOR_BYTES: u32 = 16;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT`: the driver wants no interrupt for used buffers.
const NO_INTERRUPT: u16 = 1;
const FLAG_INDIRECT: u16 = 4;

/// How a driver broke its ring.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The ring itself is wrong: its place, its size, its index.
    #[error("the ring is not usable")]
    Ring(#[from] virtio_queue::Error),
    /// A ring or a table lies outside guest memory.
    #[error("guest memory is not accessible")]
    Memory(#[from] GuestMemoryError),
    /// A descriptor index is not below the table's length.
    #[error("descriptor {index} is not in a table of {length}")]
    Index {
        /// The index given.
        index: u16,
        /// Descriptors in the table.
        length: u16,
    },
    /// More descriptors than the table has: a loop; or more than any request needs.
    #[error("the chain at descriptor {head} does not end")]
    Endless {
        /// The chain's first descriptor.
        head: u16,
    },
    /// A buffer lies outside guest memory, or its length carries it past the address space.
    #[error("buffer {address:#x}+{length:#x} is not in guest memory")]
    Buffer {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        length: u32,
    },
    /// The chain has more bytes than the 2^32 that a driver may give it (§2.7.5.2).
    #[error("the chain at descriptor {head} is too long")]
    Long {
        /// The chain's first descriptor.
        head: u16,
    },
    /// A device-readable buffer comes after a device-writable one (§2.7.4.2).
    #[error("the chain at descriptor {head} has a readable buffer after a writable one")]
    Order {
        /// The chain's first descriptor.
        head: u16,
    },
    /// A request has no room for its header or for its answer.
    #[error("the request at descriptor {head} is too short to answer")]
    Short {
        /// The chain's first descriptor.
        head: u16,
    },
    /// An indirect table that was not agreed on, is nested, is empty or has a torn entry
    /// (§2.7.5.3).
    #[error("the indirect table of chain {head} is not allowed")]
    Indirect {
        /// The chain's first descriptor.
        head: u16,
    },
}

/// One buffer of a chain: guest-physical address and length in bytes.
#[derive(Debug, Clone, Copy)]
struct Buffer {
    address: GuestAddress,
    length: u32,
}

/// A chain of buffers, checked: first those the device reads, then those it writes.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    readable: Vec<Buffer>,
    writable: Vec<Buffer>,
}

impl Chain {
    /// The error of a request that cannot even be answered.
    pub(crate) fn short(&self) -> QueueError {
        QueueError::Short { head: self.head }
    }

    /// Bytes that the device may read.
    pub fn readable_len(&self) -> u64 {
        self.readable
            .iter()
            .map(|buffer| u64::from(buffer.length))
            .sum()
    }

    /// Bytes that the device may write.
    pub fn writable_len(&self) -> u64 {
        self.writable
            .iter()
            .map(|buffer| u64::from(buffer.length))
            .sum()
    }

    /// The readable buffers: guest-physical address and length of each.
    pub fn readable(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.readable
            .iter()
            .map(|buffer| (buffer.address.0, buffer.length))
    }

    /// Reads from byte `offset` of the readable part; gives how many bytes there were.
    ///
    /// # Errors
    /// Guest memory refuses the access.
    pub fn read<M: Memory>(
        &self,
        memory: &M,
        offset: u64,
        data: &mut [u8],
    ) -> Result<usize, QueueError> {
        let mut done = 0;
        for (address, length) in spans(&self.readable, offset, data.len()) {
            memory.read_slice(&mut data[done..done + length], address)?;
            done += length;
        }
        Ok(done)
    }

    /// Writes at byte `offset` of the writable part; gives how many bytes found room.
    ///
    /// # Errors
    /// Guest memory refuses the access.
    pub fn write<M: Memory>(
        &self,
        memory: &M,
        offset: u64,
        data: &[u8],
    ) -> Result<usize, QueueError> {
        let mut done = 0;
        for (address, length) in spans(&self.writable, offset, data.len()) {
            memory.write_slice(&data[done..done + length], address)?;
            done += length;
        }
        Ok(done)
    }
}

/// The pieces of guest memory that bytes `offset..offset + length` of `buffers` cover.
fn spans(
    buffers: &[Buffer],
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (GuestAddress, usize)> + '_ {
    let mut skip = offset;
    let mut left = length;
    buffers.iter().filter_map(move |buffer| {
        let size = u64::from(buffer.length);
        if skip >= size {
            skip -= size;
            return None;
        }
        let here = usize::try_from(size - skip).unwrap_or(usize::MAX).min(left);
        let address = buffer.address.unchecked_add(skip);
        skip = 0;
        left -= here;
        (here != 0).then_some((address, here))
    })
}

/// Where a driver put a ring.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) size: u16,
    pub(crate) ready: bool,
    pub(crate) descriptors: u64,
    pub(crate) driver: u64,
    pub(crate) device: u64,
}

/// One queue of a running device.
pub struct VirtQueue<M> {
    index: u16,
    queue: Queue,
    memory: Arc<M>,
    interrupt: Arc<dyn Interrupt>,
    indirect: bool,
}

impl<M: Memory> VirtQueue<M> {
    pub(crate) fn new(
        index: u16,
        place: &Place,
        max: u16,
        memory: Arc<M>,
        interrupt: Arc<dyn Interrupt>,
        (indirect, event_index): (bool, bool),
    ) -> Result<Self, QueueError> {
        let mut queue = Queue::new(max)?;
        queue.try_set_size(place.size)?;
        queue.try_set_desc_table_address(GuestAddress(place.descriptors))?;
        queue.try_set_avail_ring_address(GuestAddress(place.driver))?;
        queue.try_set_used_ring_address(GuestAddress(place.device))?;
        queue.set_event_idx(event_index);
        queue.set_ready(true);
        if !queue.is_valid(&*memory) {
            return Err(virtio_queue::Error::QueueNotReady.into());
        }
        Ok(VirtQueue {
            index,
            queue,
            memory,
            interrupt,
            indirect,
        })
    }

    /// Which queue of its device this is.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The memory its buffers are in.
    pub fn memory(&self) -> &Arc<M> {
        &self.memory
    }

    /// The next chain that the driver made available.
    ///
    /// # Errors
    /// The driver broke the ring's rules.
    pub fn pop(&mut self) -> Result<Option<Chain>, QueueError> {
        let head = {
            let mut heads = self.queue.iter(Arc::clone(&self.memory))?;
            match heads.next() {
                Some(chain) => chain.head_index(),
                None => return Ok(None),
            }
        };
        self.walk(head).map(Some)
    }

    /// Puts the last popped chain back.
    pub fn unpop(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Gives `chain` back to the driver with `written` bytes in its writable part.
    ///
    /// # Errors
    /// Guest memory refuses the access.
    pub fn push(&mut self, chain: &Chain, written: u32) -> Result<(), QueueError> {
        Ok(self.queue.add_used(&*self.memory, chain.head, written)?)
    }

    /// Interrupts the driver, if it wants to hear about what was pushed.
    ///
    /// # Errors
    /// Guest memory refuses the access.
    pub fn signal(&mut self) -> Result<(), QueueError> {
        let wanted = if self.queue.event_idx_enabled() {
            self.queue.needs_notification(&*self.memory)?
        } else {
            std::sync::atomic::fence(Ordering::SeqCst);
            let flags = self.queue.avail_ring();
            let flags: u16 = self.memory.load(GuestAddress(flags), Ordering::Relaxed)?;
            u16::from_le(flags) & NO_INTERRUPT == 0
        };
        if wanted {
            self.interrupt.signal_queue(self.index);
        }
        Ok(())
    }

    /// Asks the driver to notify when it adds a chain; true if there is one already.
    ///
    /// # Errors
    /// Guest memory refuses the access.
    pub fn want_notification(&mut self) -> Result<bool, QueueError> {
        Ok(self.queue.enable_notification(&*self.memory)?)
    }

    /// Handles every available chain, then asks to be notified again. `handle` gives the bytes
    /// written, or `None` to stop with that chain put back.
    ///
    /// # Errors
    /// The driver broke the ring's rules, or `handle` says so.
    pub fn drain(
        &mut self,
        mut handle: impl FnMut(&M, &Chain) -> Result<Option<u32>, QueueError>,
    ) -> Result<(), QueueError> {
        let memory = Arc::clone(&self.memory);
        let mut pushed = false;
        let result = loop {
            if self.interrupt.is_broken() {
                break Ok(());
            }
            match self.pop() {
                Ok(Some(chain)) => match handle(&memory, &chain) {
                    Ok(Some(written)) => match self.push(&chain, written) {
                        Ok(()) => pushed = true,
                        Err(error) => break Err(error),
                    },
                    Ok(None) => {
                        self.unpop();
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                },
                Ok(None) => match self.queue.enable_notification(&*memory) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error.into()),
                },
                Err(error) => break Err(error),
            }
        };
        if pushed {
            self.signal()?;
        }
        result
    }

    fn walk(&self, head: u16) -> Result<Chain, QueueError> {
        let mut chain = Chain {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let mut table = (GuestAddress(self.queue.desc_table()), self.queue.size());
        let mut nested = false;
        let mut left = table.1;
        let mut index = head;
        let mut total = 0;
        loop {
            if left == 0 || chain.readable.len() + chain.writable.len() >= CHAIN_MAX {
                return Err(QueueError::Endless { head });
            }
            left -= 1;
            let descriptor = self.descriptor(table, index)?;
            if descriptor.flags() & FLAG_INDIRECT != 0 {
                if nested || !self.indirect || descriptor.has_next() {
                    return Err(QueueError::Indirect { head });
                }
                table = self.indirect_table(head, &descriptor)?;
                (nested, left, index) = (true, table.1, 0);
                continue;
            }
            self.add(&mut chain, &descriptor)?;
            total += u64::from(descriptor.len());
            if total > LENGTH_MAX {
                return Err(QueueError::Long { head });
            }
            if !descriptor.has_next() {
                return Ok(chain);
            }
            index = descriptor.next();
        }
    }

    fn descriptor(
        &self,
        (table, length): (GuestAddress, u16),
        index: u16,
    ) -> Result<Descriptor, QueueError> {
        if index >= length {
            return Err(QueueError::Index { index, length });
        }
        let offset = u64::from(index) * u64::from(DESCRIPTOR_BYTES);
        let address = table
            .checked_add(offset)
            .ok_or(virtio_queue::Error::AddressOverflow)?;
        Ok(self.memory.read_obj(address)?)
    }

    fn indirect_table(
        &self,
        head: u16,
        descriptor: &Descriptor,
    ) -> Result<(GuestAddress, u16), QueueError> {
        let length = descriptor.len();
        let entries = u16::try_from(length / DESCRIPTOR_BYTES).unwrap_or(0);
        if entries == 0 || !length.is_multiple_of(DESCRIPTOR_BYTES) {
            return Err(QueueError::Indirect { head });
        }
        Ok((descriptor.addr(), entries))
    }

    fn add(&self, chain: &mut Chain, descriptor: &Descriptor) -> Result<(), QueueError> {
        let (address, length) = (descriptor.addr(), descriptor.len());
        let write = descriptor.is_write_only();
        let access = if write {
            Permissions::Write
        } else {
            Permissions::Read
        };
        // `check_range` lets a range go on at 0 behind the end of the address space.
        let wraps = |last: u32| address.checked_add(last.into()).is_none();
        let outside = length.checked_sub(1).is_some_and(|last| {
            wraps(last) || !self.memory.check_range(address, length as usize, access)
        });
        if outside {
            return Err(QueueError::Buffer {
                address: address.0,
                length,
            });
        }
        let buffer = Buffer { address, length };
        if write {
            chain.writable.push(buffer);
        } else if chain.writable.is_empty() {
            chain.readable.push(buffer);
        } else {
            return Err(QueueError::Order { head: chain.head });
        }
        Ok(())
    }
}
