//! State and behaviour of the flash.

use super::regs::*;
use crate::sync::lock;
use isomorph_block::{BlockBackend, BlockError};
use isomorph_machine::Device;
use isomorph_softmmu::{Mmio, RamBlock, RomSwitch};
use std::sync::{Arc, Mutex, OnceLock};

/// What reads show, and what the next write means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Array,
    Status,
    Id,
    Query,
    /// The next write names the block and must confirm.
    Erase,
    /// The next write is programmed.
    Program,
    /// The next write is the number of words, minus one.
    Count,
    /// So many more words come.
    Buffer(u32),
    /// The next write must confirm the buffer.
    Confirm,
    /// The next write says whether to lock.
    Lock,
}

/// State of a flash beside its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlashState {
    mode: Mode,
    status: u8,
    /// Buffered writes: offset, size, value.
    buffer: Vec<(u64, u32, u64)>,
}

/// Hears why changes did not reach the image.
pub type OnError = Box<dyn Fn(&BlockError) + Send + Sync>;

/// Where changes are kept.
struct Store {
    image: Arc<dyn BlockBackend>,
    on_error: OnError,
}

impl Store {
    /// False, and someone was told, if the host failed.
    fn check(&self, result: Result<(), BlockError>) -> bool {
        let Err(error) = result else { return true };
        (self.on_error)(&error);
        false
    }
}

struct Inner {
    state: FlashState,
    switch: RomSwitch,
}

/// A flash bank over its contents.
pub struct Flash {
    inner: Mutex<Inner>,
    ram: Arc<RamBlock>,
    /// Where its contents begin in the block, and how many bytes there are.
    offset: u64,
    len: u64,
    query: Vec<u8>,
    store: OnceLock<Store>,
    /// Programming and erasing fail.
    read_only: bool,
}

impl Flash {
    /// A flash whose contents are `len` bytes at `offset` of `ram`.
    pub fn new(ram: Arc<RamBlock>, offset: u64, len: u64, read_only: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                state: FlashState {
                    status: STATUS_READY,
                    ..FlashState::default()
                },
                switch: RomSwitch::default(),
            }),
            ram,
            offset,
            len,
            query: query(len),
            store: OnceLock::new(),
            read_only,
        })
    }

    /// Gives it the switch of its region, once that is in the address space.
    pub fn connect(&self, switch: RomSwitch) {
        let mut inner = lock(&self.inner);
        inner.switch = switch;
        inner.switch.set_direct(inner.state.mode == Mode::Array);
    }

    /// Keeps changes of the contents in `image` too, from which they were loaded. What the guest
    /// programs or erases is written at once, and flushed when the machine is reset and at the
    /// end; what the image does not take is an error of that command, for the guest and for
    /// `on_error`. Only the first call counts.
    pub fn write_back(&self, image: Arc<dyn BlockBackend>, on_error: OnError) {
        // One bank has one image.
        let _ = self.store.set(Store { image, on_error });
    }

    /// Writes `len` changed bytes at `offset` to the image; false if that fails.
    fn save(&self, offset: u64, len: u64) -> bool {
        let Some(store) = self.store.get().filter(|_| len != 0) else {
            return true;
        };
        let mut bytes = vec![0; len as usize];
        self.ram.read(self.offset + offset, &mut bytes)
            && store.check(store.image.write_at(&bytes, offset))
    }

    fn flush(&self) {
        if let Some(store) = self.store.get() {
            store.check(store.image.flush());
        }
    }

    /// The state beside the contents.
    pub fn state(&self) -> FlashState {
        lock(&self.inner).state.clone()
    }

    /// Sets the state beside the contents.
    pub fn restore(&self, state: FlashState) {
        let mut inner = lock(&self.inner);
        inner.state = state;
        inner.switch.set_direct(inner.state.mode == Mode::Array);
    }

    /// Clears bits of the contents, in memory only: a flash cell is set by erasing.
    fn clear(&self, offset: u64, size: u32, value: u64) -> bool {
        let at = self.offset.wrapping_add(offset);
        let inside = offset
            .checked_add(u64::from(size))
            .is_some_and(|end| end <= self.len);
        if self.read_only || !inside {
            return false;
        }
        let old = self.ram.load(at, size);
        old.is_some_and(|old| self.ram.store(at, size, old & value))
    }

    fn program(&self, offset: u64, size: u32, value: u64) -> bool {
        self.clear(offset, size, value) && self.save(offset, size.into())
    }

    /// Programs a whole buffer; the image gets words that follow each other in one piece.
    fn program_all(&self, buffer: &[(u64, u32, u64)]) -> bool {
        let mut run = 0..0;
        let mut good = true;
        for &(offset, size, value) in buffer {
            if !self.clear(offset, size, value) {
                good = false;
                break;
            }
            if offset != run.end {
                good &= self.save(run.start, run.end - run.start);
                run.start = offset;
            }
            run.end = offset + u64::from(size);
        }
        good & self.save(run.start, run.end - run.start)
    }

    fn erase(&self, offset: u64) -> bool {
        let start = offset & !(BLOCK - 1);
        if self.read_only || start >= self.len {
            return false;
        }
        let bytes = vec![0xff; BLOCK.min(self.len - start) as usize];
        self.ram.write(self.offset + start, &bytes) && self.save(start, bytes.len() as u64)
    }

    /// A command, outside of any sequence.
    fn command(&self, state: &mut FlashState, command: u8) {
        state.mode = match command {
            READ_ID => Mode::Id,
            QUERY => Mode::Query,
            READ_STATUS => Mode::Status,
            ERASE => Mode::Erase,
            PROGRAM | PROGRAM_ALTERNATE => Mode::Program,
            WRITE_BUFFER => Mode::Count,
            LOCK_SETUP => Mode::Lock,
            CLEAR_STATUS => {
                state.status = STATUS_READY;
                Mode::Status
            }
            // Read array, and what is no command.
            _ => Mode::Array,
        };
    }

    fn advance(&self, state: &mut FlashState, offset: u64, size: u32, value: u64) {
        let byte = value as u8;
        let mut failed = 0;
        state.mode = match state.mode {
            Mode::Erase => {
                if byte != CONFIRM || !self.erase(offset) {
                    failed = STATUS_ERASE_ERROR;
                }
                Mode::Status
            }
            Mode::Program => {
                if !self.program(offset, size, value) {
                    failed = STATUS_PROGRAM_ERROR;
                }
                Mode::Status
            }
            Mode::Count => {
                state.buffer.clear();
                // One word of each chip at a time; no more than the buffer holds.
                let words = (value & 0xffff) + 1;
                if words * 4 > BUFFER {
                    failed = STATUS_PROGRAM_ERROR;
                    Mode::Status
                } else {
                    Mode::Buffer(words as u32)
                }
            }
            Mode::Buffer(left) => {
                state.buffer.push((offset, size, value));
                if left > 1 {
                    Mode::Buffer(left - 1)
                } else {
                    Mode::Confirm
                }
            }
            Mode::Confirm => {
                let buffer = std::mem::take(&mut state.buffer);
                if byte != CONFIRM || !self.program_all(&buffer) {
                    failed = STATUS_PROGRAM_ERROR;
                }
                Mode::Status
            }
            // Blocks have no locks that hold.
            Mode::Lock => Mode::Status,
            _ => return self.command(state, byte),
        };
        state.status |= failed;
    }
}

/// The same value from both chips, cut to what an access at `offset` sees.
fn both(value: u8, offset: u64) -> u64 {
    let wide = u64::from(value) | u64::from(value) << 16;
    wide >> ((offset & 3) * 8)
}

impl Mmio for Flash {
    fn read(&self, offset: u64, size: u32) -> u64 {
        let inner = lock(&self.inner);
        let word = offset / 4;
        let value = match inner.state.mode {
            Mode::Array => {
                let inside = offset < self.len;
                let at = self.offset.wrapping_add(offset);
                return self.ram.load(at, size).filter(|_| inside).unwrap_or(0);
            }
            Mode::Id => match word & 0xff {
                id @ 0..=1 => IDS[id as usize],
                _ => 0,
            },
            Mode::Query => {
                let entry = (word & 0xff).checked_sub(0x10);
                let entry = entry.and_then(|entry| self.query.get(entry as usize));
                entry.copied().unwrap_or(0)
            }
            _ => inner.state.status,
        };
        both(value, offset)
    }

    fn write(&self, offset: u64, size: u32, value: u64) {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        self.advance(&mut inner.state, offset, size, value);
        inner.switch.set_direct(inner.state.mode == Mode::Array);
    }
}

impl Device for Flash {
    fn reset(&self) {
        let status = STATUS_READY;
        self.restore(FlashState {
            status,
            ..FlashState::default()
        });
        self.flush();
    }
}

impl Drop for Flash {
    fn drop(&mut self) {
        self.flush();
    }
}
