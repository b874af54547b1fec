//! The network device (§5.1): one pair of queues, mergeable receive buffers.

use std::sync::{Arc, Mutex};

use isomorph_net::{FRAME_MAX, FrameSink, NetBackend};

use super::{ActivateError, Activation, Chain, Interrupt, Memory, QueueError, VirtQueue};
use super::{VirtioDevice, copy_config, lock};

const TYPE: u16 = 1;
const QUEUE_SIZE: u16 = 256;
const RX: usize = 0;
const TX: usize = 1;

const F_MAC: u64 = 1 << 5;
const F_MRG_RXBUF: u64 = 1 << 15;
const F_STATUS: u64 = 1 << 16;

/// Bytes of `struct virtio_net_hdr` (§5.1.6); `num_buffers` is its last field.
const HEADER_BYTES: usize = 12;
const HEADER_GSO: usize = 1;
const HEADER_NUM_BUFFERS: usize = 10;
const STATUS_LINK_UP: u16 = 1;

/// A virtio network device over a [`NetBackend`].
pub struct Net<M> {
    mac: [u8; 6],
    backend: Arc<dyn NetBackend>,
    receiver: Arc<Receiver<M>>,
    tx: Option<VirtQueue<M>>,
}

impl<M: Memory> Net<M> {
    /// A device with address `mac`, joined to `backend`.
    pub fn new(backend: Arc<dyn NetBackend>, mac: [u8; 6]) -> Self {
        let receiver = Arc::new(Receiver {
            running: Mutex::new(None),
        });
        backend.attach(receiver.clone());
        Net {
            mac,
            backend,
            receiver,
            tx: None,
        }
    }
}

impl<M: Memory> VirtioDevice<M> for Net<M> {
    fn device_type(&self) -> u16 {
        TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        F_MAC | F_MRG_RXBUF | F_STATUS
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = [0; 12];
        config[..6].copy_from_slice(&self.mac);
        config[6..8].copy_from_slice(&STATUS_LINK_UP.to_le_bytes());
        config[8..10].copy_from_slice(&1u16.to_le_bytes());
        copy_config(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation<M>) -> Result<(), ActivateError> {
        let Activation {
            features,
            mut queues,
            interrupt,
        } = activation;
        self.tx = queues.get_mut(TX).and_then(Option::take);
        if let Some(queue) = queues.get_mut(RX).and_then(Option::take) {
            let mergeable = features & F_MRG_RXBUF != 0;
            *lock(&self.receiver.running) = Some(Running {
                queue,
                mergeable,
                interrupt,
            });
        }
        Ok(())
    }

    fn notify(&mut self, queue: u16) -> Result<(), QueueError> {
        if usize::from(queue) == RX {
            self.backend.ready();
            return Ok(());
        }
        let Net { backend, tx, .. } = self;
        let Some(tx) = tx else { return Ok(()) };
        tx.drain(|memory, chain| send(&**backend, memory, chain).map(Some))
    }

    fn reset(&mut self) {
        self.tx = None;
        *lock(&self.receiver.running) = None;
    }
}

/// Sends one frame; one that is too long, or that wants offloads never agreed on, is lost.
fn send<M: Memory>(backend: &dyn NetBackend, memory: &M, chain: &Chain) -> Result<u32, QueueError> {
    let length = chain.readable_len();
    if length < HEADER_BYTES as u64 {
        return Err(chain.short());
    }
    if length > (HEADER_BYTES + FRAME_MAX) as u64 {
        return Ok(0);
    }
    let mut data = vec![0; length as usize];
    chain.read(memory, 0, &mut data)?;
    if data[HEADER_GSO] == 0 {
        backend.send(&data[HEADER_BYTES..]);
    }
    Ok(0)
}

/// The end of the wire: frames come from the back end's thread.
struct Receiver<M> {
    running: Mutex<Option<Running<M>>>,
}

struct Running<M> {
    queue: VirtQueue<M>,
    mergeable: bool,
    interrupt: Arc<dyn Interrupt>,
}

impl<M: Memory> FrameSink for Receiver<M> {
    fn deliver(&self, frame: &[u8]) -> bool {
        let mut running = lock(&self.running);
        // No driver: nothing is plugged in, and the frame is gone.
        let Some(running) = running.as_mut() else {
            return true;
        };
        if running.interrupt.is_broken() {
            return true;
        }
        running.receive(frame).unwrap_or_else(|_| {
            running.interrupt.needs_reset();
            true
        })
    }
}

impl<M: Memory> Running<M> {
    /// Puts one frame into as many chains as it needs (§5.1.6.4); false if there are too few.
    fn receive(&mut self, frame: &[u8]) -> Result<bool, QueueError> {
        let needed = (HEADER_BYTES + frame.len()) as u64;
        let mut chains: Vec<Chain> = Vec::new();
        let mut room = 0;
        while room < needed {
            let Some(chain) = self.queue.pop()? else {
                if self.queue.want_notification()? {
                    continue;
                }
                chains.iter().for_each(|_| self.queue.unpop());
                return Ok(false);
            };
            let here = chain.writable_len();
            let enough = here >= needed || (self.mergeable && here >= HEADER_BYTES as u64);
            if !enough {
                return Err(chain.short());
            }
            room += here;
            chains.push(chain);
        }
        self.fill(&chains, frame)?;
        self.queue.signal()?;
        Ok(true)
    }

    fn fill(&mut self, chains: &[Chain], frame: &[u8]) -> Result<(), QueueError> {
        let mut data = vec![0; HEADER_BYTES + frame.len()];
        let count = u16::try_from(chains.len()).unwrap_or(u16::MAX);
        data[HEADER_NUM_BUFFERS..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        data[HEADER_BYTES..].copy_from_slice(frame);
        let memory = Arc::clone(self.queue.memory());
        let mut done = 0;
        for chain in chains {
            let written = chain.write(&*memory, 0, &data[done..])?;
            self.queue.push(chain, written as u32)?;
            done += written;
        }
        Ok(())
    }
}
