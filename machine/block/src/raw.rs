//! Raw images: byte n of the disk is byte n of the file.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::open::open_file;
use crate::{BlockBackend, BlockError, check_range, write_plain_zeroes};

/// A raw image.
#[derive(Debug)]
pub struct Raw {
    file: File,
    capacity: u64,
    read_only: bool,
}

impl Raw {
    /// Opens and locks `path`: a regular file or a block device.
    ///
    /// # Errors
    /// The file cannot be opened, or another process has it.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, BlockError> {
        let file = open_file(path, read_only)?;
        Self::from_file(file, read_only).map_err(|source| BlockError::Open {
            path: path.to_owned(),
            source,
        })
    }

    /// Takes an open file, without a lock.
    ///
    /// # Errors
    /// The file's size cannot be found.
    pub fn from_file(file: File, read_only: bool) -> io::Result<Self> {
        // A seek finds the size of block devices too; their metadata says 0.
        let capacity = io::Seek::seek(&mut &file, io::SeekFrom::End(0))?;
        Ok(Raw {
            file,
            capacity,
            read_only,
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

    /// Asks the host; false if the host's file system cannot.
    fn allocate(
        &self,
        flags: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> Result<bool, BlockError> {
        let (Ok(start), Ok(bytes)) = (i64::try_from(offset), i64::try_from(length)) else {
            return Ok(false);
        };
        match fallocate(self.file.as_fd(), flags, start, bytes) {
            Ok(()) => Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENODEV | Errno::EINVAL) => Ok(false),
            Err(errno) => Err(BlockError::Io(errno.into())),
        }
    }
}

impl BlockBackend for Raw {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> Result<(), BlockError> {
        check_range(offset, data.len() as u64, self.capacity)?;
        Ok(self.file.read_exact_at(data, offset)?)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError> {
        self.check_write(offset, data.len() as u64)?;
        Ok(self.file.write_all_at(data, offset)?)
    }

    fn flush(&self) -> Result<(), BlockError> {
        if self.read_only {
            return Ok(());
        }
        Ok(self.file.sync_data()?)
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> Result<(), BlockError> {
        self.check_write(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let how = if unmap {
            FallocateFlags::FALLOC_FL_PUNCH_HOLE
        } else {
            FallocateFlags::FALLOC_FL_ZERO_RANGE
        };
        if self.allocate(how | keep, offset, length)? {
            return Ok(());
        }
        write_plain_zeroes(self, offset, length)
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), BlockError> {
        self.check_write(offset, length)?;
        if length != 0 {
            let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            self.allocate(punch, offset, length)?;
        }
        Ok(())
    }
}
