//! qcow2 images, through `imago`.
//!
//! The image is somebody's file and may lie. Each call into the format's code is guarded: if an
//! inconsistency makes it panic, that is the request's error, and the image takes no more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use imago::file::File as Storage;
use imago::format::gate::ImplicitOpenGate;
use imago::{FormatAccess, FormatDriverBuilder, StorageOpenOptions};

use crate::open::{QCOW2_MAGIC, open_file};
use crate::{BlockBackend, BlockError, check_range, write_plain_zeroes};

/// The most images in a backing chain.
const CHAIN_MAX: u32 = 64;
const FORMAT: &str = "qcow2";

/// A qcow2 image with its backing chain.
pub struct Qcow2 {
    /// Reads and writes share it; what takes mappings away has it alone.
    image: RwLock<FormatAccess<Storage>>,
    capacity: u64,
    read_only: bool,
    failed: AtomicBool,
}

impl Qcow2 {
    /// Opens and locks `path` and the images it stands on.
    ///
    /// # Errors
    /// A file cannot be opened or is in use, or the image is no usable qcow2 image.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, BlockError> {
        // Once by ourselves, so that "in use" and "no such file" are told from a bad image.
        let file = open_file(path, read_only)?;
        let checked = match read_only {
            true => Ok(()),
            false => check_references(&file),
        };
        drop(file);
        let open = || {
            let builder = imago::qcow2::Qcow2::<Storage>::builder_path(path).write(!read_only);
            builder.open(Gate { depth: 0 }).map(FormatAccess::new)
        };
        let opened = checked.and_then(|()| guard(open));
        let image = opened.map_err(|source| BlockError::Format {
            path: path.to_owned(),
            format: FORMAT,
            source,
        })?;
        let capacity = image.size();
        Ok(Qcow2 {
            image: RwLock::new(image),
            capacity,
            read_only,
            failed: AtomicBool::new(false),
        })
    }

    fn shared(
        &self,
        call: impl FnOnce(&FormatAccess<Storage>) -> io::Result<()>,
    ) -> Result<(), BlockError> {
        self.check_usable()?;
        let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
        self.settle(guard(|| call(&image)))
    }

    fn exclusive(
        &self,
        call: impl FnOnce(&mut FormatAccess<Storage>) -> io::Result<()>,
    ) -> Result<(), BlockError> {
        self.check_usable()?;
        let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
        self.settle(guard(|| call(&mut image)))
    }

    fn check_usable(&self) -> Result<(), BlockError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(BlockError::Io(Panicked.into()));
        }
        Ok(())
    }

    fn settle(&self, result: io::Result<()>) -> Result<(), BlockError> {
        result.map_err(|error| {
            if error.get_ref().is_some_and(|inner| inner.is::<Panicked>()) {
                self.failed.store(true, Ordering::Release);
            }
            BlockError::Io(error)
        })
    }

    fn check_write(&self, offset: u64, length: u64) -> Result<(), BlockError> {
        check_range(offset, length, self.capacity)?;
        if self.read_only {
            Err(BlockError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

impl BlockBackend for Qcow2 {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> Result<(), BlockError> {
        check_range(offset, data.len() as u64, self.capacity)?;
        self.shared(|image| image.read(data, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError> {
        self.check_write(offset, data.len() as u64)?;
        self.shared(|image| image.write(data, offset))
    }

    fn flush(&self) -> Result<(), BlockError> {
        if self.read_only {
            return Ok(());
        }
        self.shared(|image| {
            image.flush()?;
            image.sync()
        })
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> Result<(), BlockError> {
        self.check_write(offset, length)?;
        let done = if unmap {
            self.exclusive(|image| image.discard_to_zero(offset, length))
        } else {
            self.shared(|image| image.write_zeroes(offset, length))
        };
        match done {
            // Version 2 has no zero clusters.
            Err(BlockError::Io(error)) if error.kind() == io::ErrorKind::Unsupported => {
                write_plain_zeroes(self, offset, length)
            }
            done => done,
        }
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), BlockError> {
        self.check_write(offset, length)?;
        match self.exclusive(|image| image.discard_to_any(offset, length)) {
            Err(BlockError::Io(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            done => done,
        }
    }
}

/// The format's code met something that it had ruled out.
#[derive(Debug, thiserror::Error)]
#[error("the image is not consistent")]
struct Panicked;

impl From<Panicked> for io::Error {
    fn from(panicked: Panicked) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, panicked)
    }
}

fn guard<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(Panicked.into()))
}

/// The header's fields that say where the reference table is (the format's specification,
/// "Header").
const HEADER_BYTES: usize = 72;
const TABLE_OFFSET: usize = 48;
const TABLE_CLUSTERS: usize = 56;
/// Bits of an entry of the reference table that are no part of the offset.
const ENTRY_FLAGS: u64 = 0x1ff;

/// Refuses an image whose own header is not counted as used: the format's code would take the
/// header's cluster for a new table, find no table for it, and so on until the stack is full.
/// What is no image at all is left to the format's code.
fn check_references(file: &File) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    let mut entry = [0; 8];
    // Behind the end of the file the format's code sees zeros.
    let _ = file.read_at(&mut header, 0)?;
    if !header.starts_with(&QCOW2_MAGIC) {
        return Ok(());
    }
    let field = |at: usize| header[at..].iter().take(8);
    let offset = field(TABLE_OFFSET).fold(0, |value, &byte| value << 8 | u64::from(byte));
    let clusters = field(TABLE_CLUSTERS).take(4).any(|&byte| byte != 0);
    // A table beyond the end of the file, or beyond what a file can have, is empty.
    if i64::try_from(offset).is_ok() {
        let _ = file.read_at(&mut entry, offset)?;
    }
    if clusters && u64::from_be_bytes(entry) & !ENTRY_FLAGS != 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, Unreferenced))
}

#[derive(Debug, thiserror::Error)]
#[error("its header is not counted as used")]
struct Unreferenced;

/// Opens what an image names: locked, and not without end.
struct Gate {
    depth: u32,
}

impl ImplicitOpenGate<Storage> for Gate {
    fn open_format<F: FormatDriverBuilder<Storage>>(
        &mut self,
        builder: F,
    ) -> io::Result<FormatAccess<Storage>> {
        if self.depth >= CHAIN_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, ChainTooLong));
        }
        Ok(FormatAccess::new(builder.open(Gate {
            depth: self.depth + 1,
        })?))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        let path = options.get_filename().map(Path::to_owned);
        let path = path.ok_or(io::ErrorKind::NotFound)?;
        let file = open_file(&path, !options.get_writable()).map_err(io::Error::other)?;
        Storage::from_open_file(file, options)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {CHAIN_MAX} images in the backing chain")]
struct ChainTooLong;
