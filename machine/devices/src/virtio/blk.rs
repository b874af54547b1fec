//! The block device (§5.2).

use std::sync::Arc;

use isomorph_block::{BlockBackend, BlockError};

use super::worker::Worker;
use super::{ActivateError, Activation, Chain, Interrupt, Memory, QueueError, VirtQueue};
use super::{VirtioDevice, copy_config};

const TYPE: u16 = 2;
const QUEUE_SIZE: u16 = 256;
const SECTOR: u64 = 512;
const ID_BYTES: usize = 20;
const HEADER_BYTES: usize = 16;
const SEGMENT_BYTES: u64 = 16;
/// Data moves in pieces of this size, whatever the request asks for.
const PIECE: usize = 1 << 18;

const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
const MAX_ZERO_SECTORS: u32 = 0x3f_ffff;
const MAX_ZERO_SEGMENTS: u32 = 32;

const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;
const F_DISCARD: u64 = 1 << 13;
const F_WRITE_ZEROES: u64 = 1 << 14;

/// Request types (§5.2.6).
mod request {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
}

/// The last byte of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok = 0,
    IoErr = 1,
    Unsupported = 2,
}

impl From<BlockError> for Status {
    fn from(_: BlockError) -> Self {
        Status::IoErr
    }
}

/// What a write promises once it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cache {
    /// To be on the disk after the driver's next flush.
    #[default]
    WriteBack,
    /// To be on the disk: the driver is not offered to flush.
    WriteThrough,
    /// Nothing: flushes are not passed on.
    Unsafe,
}

/// A virtio block device over a [`BlockBackend`].
pub struct Blk {
    disk: Disk,
    worker: Option<Worker>,
}

#[derive(Clone)]
struct Disk {
    backend: Arc<dyn BlockBackend>,
    serial: [u8; ID_BYTES],
    /// Without `F_FLUSH` the driver cannot ask for it: each write is stable (§5.2.6.2), so then
    /// this is not [`Cache::WriteBack`].
    cache: Cache,
}

impl Blk {
    /// A device over `backend` whose identity is the first 20 bytes of `serial`.
    /// Its cache is [`Cache::WriteBack`].
    pub fn new(backend: Arc<dyn BlockBackend>, serial: &str) -> Self {
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(serial.bytes()) {
            *to = from;
        }
        Blk {
            disk: Disk {
                backend,
                serial: id,
                cache: Cache::default(),
            },
            worker: None,
        }
    }

    /// The same device with another promise.
    pub fn with_cache(mut self, cache: Cache) -> Self {
        self.disk.cache = cache;
        self
    }

    fn config(&self) -> [u8; 60] {
        let mut config = [0; 60];
        let mut put = |at: usize, value: &[u8]| config[at..at + value.len()].copy_from_slice(value);
        put(0, &(self.disk.backend.capacity() / SECTOR).to_le_bytes());
        put(12, &SEG_MAX.to_le_bytes());
        put(20, &(SECTOR as u32).to_le_bytes());
        put(34, &1u16.to_le_bytes());
        put(36, &MAX_ZERO_SECTORS.to_le_bytes());
        put(40, &MAX_ZERO_SEGMENTS.to_le_bytes());
        put(44, &1u32.to_le_bytes());
        put(48, &MAX_ZERO_SECTORS.to_le_bytes());
        put(52, &MAX_ZERO_SEGMENTS.to_le_bytes());
        put(56, &[1]);
        config
    }
}

impl<M: Memory> VirtioDevice<M> for Blk {
    fn device_type(&self) -> u16 {
        TYPE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn features(&self) -> u64 {
        let flush = match self.disk.cache {
            Cache::WriteThrough => 0,
            Cache::WriteBack | Cache::Unsafe => F_FLUSH,
        };
        let common = F_SEG_MAX | F_BLK_SIZE | flush;
        if self.disk.backend.read_only() {
            common | F_RO
        } else {
            common | F_DISCARD | F_WRITE_ZEROES
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        copy_config(&self.config(), offset, data);
    }

    fn activate(&mut self, activation: Activation<M>) -> Result<(), ActivateError> {
        let Some(Some(mut queue)) = activation.queues.into_iter().next() else {
            return Ok(());
        };
        let mut disk = self.disk.clone();
        if disk.cache == Cache::WriteBack && activation.features & F_FLUSH == 0 {
            disk.cache = Cache::WriteThrough;
        }
        let interrupt = activation.interrupt;
        let mut piece = vec![0; PIECE];
        let worker = Worker::start("virtio-blk", move || {
            serve(&disk, &mut queue, &*interrupt, &mut piece);
        })?;
        // The driver may have queued requests before it said that it is ready.
        worker.kick();
        self.worker = Some(worker);
        Ok(())
    }

    fn notify(&mut self, _queue: u16) -> Result<(), QueueError> {
        if let Some(worker) = &self.worker {
            worker.kick();
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.worker = None;
    }
}

fn serve<M: Memory>(
    disk: &Disk,
    queue: &mut VirtQueue<M>,
    interrupt: &dyn Interrupt,
    piece: &mut [u8],
) {
    let handle = |memory: &M, chain: &Chain| disk.handle(memory, chain, piece).map(Some);
    if queue.drain(handle).is_err() {
        interrupt.needs_reset();
    }
}

/// A request, with what it needs to move data.
struct Request<'a, M> {
    memory: &'a M,
    chain: &'a Chain,
    piece: &'a mut [u8],
    offset: u64,
}

impl Disk {
    /// Does one request; gives the bytes written into its chain.
    fn handle<M: Memory>(
        &self,
        memory: &M,
        chain: &Chain,
        piece: &mut [u8],
    ) -> Result<u32, QueueError> {
        let mut header = [0; HEADER_BYTES];
        if chain.read(memory, 0, &mut header)? < HEADER_BYTES || chain.writable_len() == 0 {
            return Err(chain.short());
        }
        let [kind, _reserved] = [0, 4].map(|at| le32(&header[at..]));
        let sector = u64::from(le32(&header[8..])) | u64::from(le32(&header[12..])) << 32;
        // A sector that cannot be an offset is far beyond every disk, and stays so.
        let offset = sector.saturating_mul(SECTOR);
        let mut request = Request {
            memory,
            chain,
            piece,
            offset,
        };
        let room = chain.writable_len() - 1;
        let (status, written) = match kind {
            request::IN => self.read(&mut request, room)?,
            request::OUT => (self.write(&mut request)?, 0),
            request::FLUSH => (self.flush(), 0),
            request::GET_ID => self.identify(&request, room)?,
            request::DISCARD | request::WRITE_ZEROES => (self.zero(&request, kind)?, 0),
            _ => (Status::Unsupported, 0),
        };
        chain.write(memory, room, &[status as u8])?;
        // The length counts from the chain's start; a failed request promises nothing.
        Ok(u32::try_from(written + 1).unwrap_or(u32::MAX))
    }

    fn fits(&self, offset: u64, length: u64) -> bool {
        let end = offset.checked_add(length);
        length.is_multiple_of(SECTOR) && end.is_some_and(|end| end <= self.backend.capacity())
    }

    fn read<M: Memory>(
        &self,
        request: &mut Request<'_, M>,
        length: u64,
    ) -> Result<(Status, u64), QueueError> {
        if !self.fits(request.offset, length) {
            return Ok((Status::IoErr, 0));
        }
        let mut done = 0;
        while done < length {
            let here = (length - done).min(PIECE as u64) as usize;
            let piece = &mut request.piece[..here];
            if let Err(error) = self.backend.read_at(piece, request.offset + done) {
                return Ok((error.into(), done));
            }
            request.chain.write(request.memory, done, piece)?;
            done += here as u64;
        }
        Ok((Status::Ok, done))
    }

    fn write<M: Memory>(&self, request: &mut Request<'_, M>) -> Result<Status, QueueError> {
        let length = request.chain.readable_len() - HEADER_BYTES as u64;
        if self.backend.read_only() || !self.fits(request.offset, length) {
            return Ok(Status::IoErr);
        }
        let mut done = 0;
        while done < length {
            let here = (length - done).min(PIECE as u64) as usize;
            let piece = &mut request.piece[..here];
            request
                .chain
                .read(request.memory, HEADER_BYTES as u64 + done, piece)?;
            if let Err(error) = self.backend.write_at(piece, request.offset + done) {
                return Ok(error.into());
            }
            done += here as u64;
        }
        Ok(self.settle())
    }

    fn flush(&self) -> Status {
        match self.cache {
            Cache::Unsafe => Status::Ok,
            _ => status_of(self.backend.flush()),
        }
    }

    /// Keeps the promise of a write.
    fn settle(&self) -> Status {
        match self.cache {
            Cache::WriteThrough => self.flush(),
            Cache::WriteBack | Cache::Unsafe => Status::Ok,
        }
    }

    fn identify<M: Memory>(
        &self,
        request: &Request<'_, M>,
        room: u64,
    ) -> Result<(Status, u64), QueueError> {
        let length = room.min(ID_BYTES as u64);
        request
            .chain
            .write(request.memory, 0, &self.serial[..length as usize])?;
        Ok((Status::Ok, length))
    }

    /// Discard and write-zeroes: a list of ranges, each checked before any is done (§5.2.6.2).
    fn zero<M: Memory>(&self, request: &Request<'_, M>, kind: u32) -> Result<Status, QueueError> {
        let length = request.chain.readable_len() - HEADER_BYTES as u64;
        let count = length / SEGMENT_BYTES;
        if count == 0
            || !length.is_multiple_of(SEGMENT_BYTES)
            || count > u64::from(MAX_ZERO_SEGMENTS)
        {
            return Ok(Status::IoErr);
        }
        if self.backend.read_only() {
            return Ok(Status::IoErr);
        }
        let mut bytes = vec![0; length as usize];
        request
            .chain
            .read(request.memory, HEADER_BYTES as u64, &mut bytes)?;
        let segments: Vec<_> = bytes
            .chunks_exact(SEGMENT_BYTES as usize)
            .map(Segment::new)
            .collect();
        for segment in &segments {
            if segment.flags & !1 != 0 || (kind == request::DISCARD && segment.flags != 0) {
                return Ok(Status::Unsupported);
            }
            let sectors = segment.length / SECTOR;
            let too_many = sectors > u64::from(MAX_ZERO_SECTORS);
            if too_many || !self.fits(segment.offset, segment.length) {
                return Ok(Status::IoErr);
            }
        }
        for segment in &segments {
            let Segment {
                offset,
                length,
                flags,
            } = *segment;
            let done = if kind == request::DISCARD {
                self.backend.discard(offset, length)
            } else {
                self.backend.write_zeroes(offset, length, flags & 1 != 0)
            };
            if let Err(error) = done {
                return Ok(error.into());
            }
        }
        Ok(self.settle())
    }
}

struct Segment {
    offset: u64,
    length: u64,
    flags: u32,
}

impl Segment {
    fn new(bytes: &[u8]) -> Self {
        let sector = u64::from(le32(bytes)) | u64::from(le32(&bytes[4..])) << 32;
        Segment {
            offset: sector.saturating_mul(SECTOR),
            length: u64::from(le32(&bytes[8..])) * SECTOR,
            flags: le32(&bytes[12..]),
        }
    }
}

fn status_of(result: Result<(), BlockError>) -> Status {
    result.map_or_else(Status::from, |()| Status::Ok)
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
