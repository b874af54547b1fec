//! Opening an image: locks, formats, overlays.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::{BlockBackend, BlockError, Overlay, Qcow2, Raw};

/// The first bytes of a qcow2 image.
pub(crate) const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";

/// The format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Byte n of the disk is byte n of the file.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
}

/// How to open an image.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// The image's format; found from its first bytes if not given. A guest that may write to a
    /// raw image decides what the next look at those bytes finds: give the format of raw images.
    pub format: Option<Format>,
    /// Refuse writes.
    pub read_only: bool,
    /// Keep writes in a temporary file that is gone with the process.
    pub snapshot: bool,
}

/// Opens the image `path`.
///
/// # Errors
/// The file cannot be opened, is in use, or is not a usable image.
pub fn open(path: &Path, options: OpenOptions) -> Result<Arc<dyn BlockBackend>, BlockError> {
    let read_only = options.read_only || options.snapshot;
    let format = match options.format {
        Some(format) => format,
        None => probe(path)?,
    };
    let image: Arc<dyn BlockBackend> = match format {
        Format::Raw => Arc::new(Raw::open(path, read_only)?),
        Format::Qcow2 => Arc::new(Qcow2::open(path, read_only)?),
    };
    if options.snapshot && !options.read_only {
        return Ok(Arc::new(Overlay::temporary(image)?));
    }
    Ok(image)
}

fn probe(path: &Path) -> Result<Format, BlockError> {
    let failed = |source| BlockError::Open {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut magic = [0; QCOW2_MAGIC.len()];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if magic == QCOW2_MAGIC => Ok(Format::Qcow2),
        Ok(()) => Ok(Format::Raw),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Format::Raw),
        Err(source) => Err(failed(source)),
    }
}

/// Opens and locks a file: one writer, or any number of readers.
pub(crate) fn open_file(path: &Path, read_only: bool) -> Result<File, BlockError> {
    let opened = File::options().read(true).write(!read_only).open(path);
    let file = opened.map_err(|source| BlockError::Open {
        path: path.to_owned(),
        source,
    })?;
    let locked = if read_only {
        file.try_lock_shared()
    } else {
        file.try_lock()
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BlockError::InUse {
            path: path.to_owned(),
        }),
        // A file system without locks cannot say that someone else is there.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(BlockError::Open {
            path: path.to_owned(),
            source,
        }),
    }
}
