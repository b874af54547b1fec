//! Writes kept apart from the image, in a file without a name.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nix::fcntl::OFlag;

use crate::{BlockBackend, BlockError, check_range};

/// Writes are kept in pieces of this size.
const CLUSTER: u64 = 1 << 16;

/// One bit per cluster, 64 to a word: the clusters that were written. Words that are all clear are
/// left out, for an image's size may be a lie.
#[derive(Default)]
struct Present(HashMap<u64, u64>);

impl Present {
    fn has(&self, cluster: u64) -> bool {
        let word = self.0.get(&(cluster / 64));
        word.is_some_and(|word| word >> (cluster % 64) & 1 != 0)
    }

    fn add(&mut self, cluster: u64) {
        *self.0.entry(cluster / 64).or_default() |= 1 << (cluster % 64);
    }
}

/// A disk whose changes are gone with the process.
pub struct Overlay {
    base: Arc<dyn BlockBackend>,
    file: File,
    /// What is in `file`.
    present: RwLock<Present>,
}

impl Overlay {
    /// Puts a temporary file over `base`.
    ///
    /// # Errors
    /// The host's temporary folder gives no file.
    pub fn temporary(base: Arc<dyn BlockBackend>) -> Result<Self, BlockError> {
        let folder = std::env::temp_dir();
        let mut how = File::options();
        how.read(true)
            .write(true)
            .custom_flags(OFlag::O_TMPFILE.bits())
            .mode(0o600);
        let file = how.open(&folder);
        let file = file.map_err(|source| BlockError::Open {
            path: folder,
            source,
        })?;
        Ok(Overlay {
            base,
            file,
            present: RwLock::default(),
        })
    }

    fn shared(&self) -> RwLockReadGuard<'_, Present> {
        self.present.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Present> {
        self.present.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the base's contents of a cluster that `offset..offset + length` covers in part.
    fn prepare(
        &self,
        present: &Present,
        cluster: u64,
        offset: u64,
        length: u64,
    ) -> Result<(), BlockError> {
        let start = cluster * CLUSTER;
        let size = CLUSTER.min(self.capacity() - start);
        let whole = offset == start && length == size;
        if !present.has(cluster) && !whole {
            let mut data = vec![0; size as usize];
            self.base.read_at(&mut data, start)?;
            self.file.write_all_at(&data, start)?;
        }
        Ok(())
    }
}

/// The parts of a range, cluster by cluster: cluster, offset, length.
fn clusters(offset: u64, length: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        let cluster = at / CLUSTER;
        let here = (end - at).min(CLUSTER - at % CLUSTER);
        let part = (cluster, at, here);
        at += here;
        (here != 0).then_some(part)
    })
}

impl BlockBackend for Overlay {
    fn capacity(&self) -> u64 {
        self.base.capacity()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> Result<(), BlockError> {
        check_range(offset, data.len() as u64, self.capacity())?;
        let present = self.shared();
        for (cluster, at, length) in clusters(offset, data.len() as u64) {
            let start = (at - offset) as usize;
            let piece = &mut data[start..start + length as usize];
            if present.has(cluster) {
                self.file.read_exact_at(piece, at)?;
            } else {
                self.base.read_at(piece, at)?;
            }
        }
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), BlockError> {
        check_range(offset, data.len() as u64, self.capacity())?;
        let mut present = self.exclusive();
        for (cluster, at, length) in clusters(offset, data.len() as u64) {
            self.prepare(&present, cluster, at, length)?;
            let start = (at - offset) as usize;
            self.file
                .write_all_at(&data[start..start + length as usize], at)?;
            present.add(cluster);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        // Nothing of this disk is to survive.
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, length: u64, _unmap: bool) -> Result<(), BlockError> {
        check_range(offset, length, self.capacity())?;
        let zeros = [0; CLUSTER as usize];
        for (_, at, length) in clusters(offset, length) {
            self.write_at(&zeros[..length as usize], at)?;
        }
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), BlockError> {
        check_range(offset, length, self.capacity())
    }
}
