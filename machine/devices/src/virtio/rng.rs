//! The entropy device (§5.4).

use std::fs::File;
use std::io::{self, Read};

use super::{ActivateError, Activation, Chain, Memory, QueueError, VirtQueue, VirtioDevice};

const TYPE: u16 = 4;
const QUEUE_SIZE: u16 = 64;
/// The most bytes for one request; a driver takes what it gets (§5.4.6).
const REQUEST_MAX: u64 = 1 << 16;

/// Where entropy comes from.
pub type Source = Box<dyn Read + Send>;

/// A virtio entropy device.
pub struct Rng<M> {
    source: Source,
    queue: Option<VirtQueue<M>>,
}

impl<M: Memory> Rng<M> {
    /// A device that gives the host's random numbers.
    ///
    /// # Errors
    /// The host has no source of them.
    pub fn host() -> io::Result<Self> {
        Ok(Rng::new(Box::new(File::open("/dev/urandom")?)))
    }

    /// A device that gives what `source` gives.
    pub fn new(source: Source) -> Self {
        Rng {
            source,
            queue: None,
        }
    }
}

impl<M: Memory> VirtioDevice<M> for Rng<M> {
    fn device_type(&self) -> u16 {
        TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, activation: Activation<M>) -> Result<(), ActivateError> {
        self.queue = activation.queues.into_iter().next().flatten();
        Ok(())
    }

    fn notify(&mut self, _queue: u16) -> Result<(), QueueError> {
        let Rng { source, queue } = self;
        let Some(queue) = queue else { return Ok(()) };
        queue.drain(|memory, chain| fill(source, memory, chain).map(Some))
    }

    fn reset(&mut self) {
        self.queue = None;
    }
}

fn fill<M: Memory>(source: &mut Source, memory: &M, chain: &Chain) -> Result<u32, QueueError> {
    let mut data = vec![0; chain.writable_len().min(REQUEST_MAX) as usize];
    if source.read_exact(&mut data).is_err() {
        return Ok(0);
    }
    Ok(chain.write(memory, 0, &data)? as u32)
}
