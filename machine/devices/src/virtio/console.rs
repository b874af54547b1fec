//! The console device (§5.3): one port, no control queues.

use std::sync::{Arc, Mutex};

use isomorph_chardev::{CharBackend, CharSink};

use super::{ActivateError, Activation, Chain, Interrupt, Memory, QueueError, VirtQueue};
use super::{VirtioDevice, copy_config, lock};

const TYPE: u16 = 3;
const QUEUE_SIZE: u16 = 128;
const RX: usize = 0;
const TX: usize = 1;
const F_SIZE: u64 = 1;
const F_EMERG_WRITE: u64 = 4;
/// Offset of `emerg_wr` in the configuration (§5.3.4).
const EMERG_WRITE: u64 = 8;
/// What moves at once.
const PIECE: usize = 4096;
/// The most input offered to the driver at once.
const ROOM_MAX: usize = 4096;

/// A virtio console over a [`CharBackend`].
pub struct Console<M> {
    backend: Arc<dyn CharBackend>,
    input: Arc<Input<M>>,
    tx: Option<VirtQueue<M>>,
    columns: u16,
    rows: u16,
}

impl<M: Memory> Console<M> {
    /// A console of 80 columns and 25 rows, joined to `backend`.
    pub fn new(backend: Arc<dyn CharBackend>) -> Self {
        let input = Arc::new(Input {
            running: Mutex::new(None),
        });
        backend.attach(input.clone());
        Console {
            backend,
            input,
            tx: None,
            columns: 80,
            rows: 25,
        }
    }
}

impl<M: Memory> VirtioDevice<M> for Console<M> {
    fn device_type(&self) -> u16 {
        TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        F_SIZE | F_EMERG_WRITE
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = [0; 12];
        config[..2].copy_from_slice(&self.columns.to_le_bytes());
        config[2..4].copy_from_slice(&self.rows.to_le_bytes());
        config[4..8].copy_from_slice(&1u32.to_le_bytes());
        copy_config(&config, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if offset == EMERG_WRITE && !data.is_empty() {
            // An emergency has no one to tell about a failed host.
            let _ = self.backend.write(&data[..1]);
        }
    }

    fn activate(&mut self, activation: Activation<M>) -> Result<(), ActivateError> {
        let Activation {
            mut queues,
            interrupt,
            ..
        } = activation;
        self.tx = queues.get_mut(TX).and_then(Option::take);
        if let Some(queue) = queues.get_mut(RX).and_then(Option::take) {
            *lock(&self.input.running) = Some(Running { queue, interrupt });
        }
        self.backend.ready();
        Ok(())
    }

    fn notify(&mut self, queue: u16) -> Result<(), QueueError> {
        if usize::from(queue) == RX {
            self.backend.ready();
            return Ok(());
        }
        let Console { backend, tx, .. } = self;
        let Some(tx) = tx else { return Ok(()) };
        tx.drain(|memory, chain| send(&**backend, memory, chain).map(Some))
    }

    fn reset(&mut self) {
        self.tx = None;
        *lock(&self.input.running) = None;
    }
}

fn send<M: Memory>(
    backend: &dyn CharBackend,
    memory: &M,
    chain: &Chain,
) -> Result<u32, QueueError> {
    let mut piece = [0; PIECE];
    let mut done = 0;
    loop {
        let here = chain.read(memory, done, &mut piece)?;
        if here == 0 {
            return Ok(0);
        }
        // What the host cannot take is lost, as on a wire.
        let _ = backend.write(&piece[..here]);
        done += here as u64;
    }
}

/// Where input from the back end's thread meets the receive queue.
struct Input<M> {
    running: Mutex<Option<Running<M>>>,
}

struct Running<M> {
    queue: VirtQueue<M>,
    interrupt: Arc<dyn Interrupt>,
}

impl<M: Memory> CharSink for Input<M> {
    fn room(&self) -> usize {
        let mut running = lock(&self.running);
        let Some(running) = running.as_mut() else {
            return 0;
        };
        running.room().unwrap_or_else(|_| {
            running.interrupt.needs_reset();
            0
        })
    }

    fn receive(&self, data: &[u8]) {
        let mut running = lock(&self.running);
        let Some(running) = running.as_mut() else {
            return;
        };
        if running.receive(data).is_err() {
            running.interrupt.needs_reset();
        }
    }
}

impl<M: Memory> Running<M> {
    /// Room in the next chain only: the driver of a console gives few and small ones.
    fn room(&mut self) -> Result<usize, QueueError> {
        if self.interrupt.is_broken() {
            return Ok(0);
        }
        let chain = loop {
            match self.queue.pop()? {
                Some(chain) => break chain,
                None if self.queue.want_notification()? => {}
                None => return Ok(0),
            }
        };
        self.queue.unpop();
        match chain.writable_len() {
            0 => Err(chain.short()),
            room => Ok(room.min(ROOM_MAX as u64) as usize),
        }
    }

    fn receive(&mut self, mut data: &[u8]) -> Result<(), QueueError> {
        let memory = Arc::clone(self.queue.memory());
        while !data.is_empty() {
            let Some(chain) = self.queue.pop()? else {
                break;
            };
            let written = chain.write(&*memory, 0, data)?;
            self.queue.push(&chain, written as u32)?;
            if written == 0 {
                return Err(chain.short());
            }
            data = &data[written..];
        }
        self.queue.signal()
    }
}
