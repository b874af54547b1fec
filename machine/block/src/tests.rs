//! Images made by qemu-img, read and written by us, and the other way round.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Fixture {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A raw file with a pattern that no two sectors share.
    fn raw(&self, name: &str, length: u64) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, pattern(length)).unwrap();
        path
    }

    fn image(&self, arguments: &[&str]) {
        let output = Command::new("qemu-img")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("qemu-img (package qemu-utils) makes the images of these tests");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn pattern(length: u64) -> Vec<u8> {
    let word = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 13).to_le_bytes();
    (0..length / 8).flat_map(word).collect()
}

fn contents(disk: &dyn BlockBackend) -> Vec<u8> {
    let mut data = vec![0; disk.capacity() as usize];
    disk.read_at(&mut data, 0).unwrap();
    data
}

fn open_as(path: &Path, format: Format) -> Arc<dyn BlockBackend> {
    open(
        path,
        OpenOptions {
            format: Some(format),
            ..OpenOptions::default()
        },
    )
    .unwrap()
}

/// The operations that every writable disk must do, against a plain vector.
fn exercise(disk: &dyn BlockBackend) -> Vec<u8> {
    let mut model = contents(disk);
    let length = model.len() as u64;
    let mut seed = 1u64;
    for round in 0..200u64 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(round | 1);
        let offset = (seed >> 20) % length / 512 * 512;
        let size = ((seed >> 9) % 0x20000 / 512 * 512).min(length - offset);
        let range = offset as usize..(offset + size) as usize;
        match seed >> 61 {
            0 | 1 => {
                disk.write_zeroes(offset, size, seed & 1 != 0).unwrap();
                model[range].fill(0);
            }
            2 => disk.flush().unwrap(),
            3 => {
                let mut data = vec![0; range.len()];
                disk.read_at(&mut data, offset).unwrap();
                assert!(data == model[range], "round {round}");
            }
            _ => {
                let data = vec![round as u8 | 1; range.len()];
                disk.write_at(&data, offset).unwrap();
                model[range].copy_from_slice(&data);
            }
        }
    }
    assert!(contents(disk) == model);
    model
}

#[test]
fn raw_reads_writes_and_punches() {
    let fixture = Fixture::new();
    let path = fixture.raw("disk", 4 * MIB);
    let disk = open_as(&path, Format::Raw);
    assert_eq!(disk.capacity(), 4 * MIB);
    let model = exercise(&*disk);
    disk.flush().unwrap();
    assert!(std::fs::read(&path).unwrap() == model);
    disk.discard(0, MIB).unwrap();
    disk.discard(0, 0).unwrap();
}

#[test]
fn ranges_are_checked() {
    let fixture = Fixture::new();
    let disk = open_as(&fixture.raw("disk", MIB), Format::Raw);
    let mut data = [0; 512];
    for offset in [MIB, MIB - 511, u64::MAX, u64::MAX - 511] {
        assert!(matches!(
            disk.read_at(&mut data, offset),
            Err(BlockError::Range { .. })
        ));
        assert!(matches!(
            disk.write_at(&data, offset),
            Err(BlockError::Range { .. })
        ));
        assert!(matches!(
            disk.discard(offset, 512),
            Err(BlockError::Range { .. })
        ));
        let zeroed = disk.write_zeroes(offset, 512, true);
        assert!(matches!(zeroed, Err(BlockError::Range { .. })));
    }
}

#[test]
fn a_read_only_disk_refuses_writes() {
    let fixture = Fixture::new();
    let path = fixture.raw("disk", MIB);
    fixture.image(&["convert", "-O", "qcow2", "disk", "image"]);
    for path in [path, fixture.path("image")] {
        let options = OpenOptions {
            read_only: true,
            ..OpenOptions::default()
        };
        let disk = open(&path, options).unwrap();
        assert!(disk.read_only());
        assert!(matches!(
            disk.write_at(&[0; 512], 0),
            Err(BlockError::ReadOnly)
        ));
        assert!(matches!(
            disk.write_zeroes(0, 512, true),
            Err(BlockError::ReadOnly)
        ));
        assert!(matches!(disk.discard(0, 512), Err(BlockError::ReadOnly)));
        disk.flush().unwrap();
        assert!(contents(&*disk) == pattern(MIB));
        // Readers share.
        open(&path, options).unwrap();
    }
}

#[test]
fn an_image_has_one_writer() {
    let fixture = Fixture::new();
    let raw = fixture.raw("disk", MIB);
    fixture.image(&["convert", "-O", "qcow2", "disk", "image"]);
    for path in [raw, fixture.path("image")] {
        let _first = open(&path, OpenOptions::default()).unwrap();
        let second = open(&path, OpenOptions::default());
        assert!(matches!(second, Err(BlockError::InUse { .. })));
        let reader = open(
            &path,
            OpenOptions {
                read_only: true,
                ..OpenOptions::default()
            },
        );
        assert!(matches!(reader, Err(BlockError::InUse { .. })));
    }
}

#[test]
fn an_image_that_does_not_count_its_header_is_not_written() {
    let fixture = Fixture::new();
    fixture.image(&["create", "-f", "qcow2", "a.qcow2", "1M"]);
    let path = fixture.path("a.qcow2");
    let mut bytes = std::fs::read(&path).unwrap();
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    bytes[table..table + 8].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        Qcow2::open(&path, false),
        Err(BlockError::Format { .. })
    ));
    assert!(Qcow2::open(&path, true).is_ok());
    bytes[48] = 0xff;
    std::fs::write(&path, &bytes).unwrap();
    assert!(Qcow2::open(&path, false).is_err());
    // Cut off within its header.
    std::fs::write(&path, &bytes[..55]).unwrap();
    assert!(Qcow2::open(&path, false).is_err());
}

/// A disk of any size that reads as zeros.
struct Endless;

impl BlockBackend for Endless {
    fn capacity(&self) -> u64 {
        1 << 60
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read_at(&self, data: &mut [u8], _: u64) -> Result<(), BlockError> {
        data.fill(0);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }

    fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }
}

#[test]
fn a_snapshot_costs_what_is_written_not_what_an_image_claims() {
    let disk = Overlay::temporary(Arc::new(Endless)).unwrap();
    disk.write_at(b"new", 70_000).unwrap();
    let mut data = [1; 4];
    disk.read_at(&mut data, 69_999).unwrap();
    assert_eq!(&data, b"\0new");
    disk.read_at(&mut data, (1 << 60) - 4).unwrap();
    assert_eq!(data, [0; 4]);
}

#[test]
fn a_snapshot_leaves_the_image_alone() {
    let fixture = Fixture::new();
    let path = fixture.raw("disk", 4 * MIB);
    let options = OpenOptions {
        snapshot: true,
        ..OpenOptions::default()
    };
    exercise(&*open(&path, options).unwrap());
    assert!(std::fs::read(&path).unwrap() == pattern(4 * MIB));
}

#[test]
fn qcow2_is_read_and_written_both_ways() {
    for create in [
        &["-o", "compat=1.1"][..],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=4096,refcount_bits=64"],
        &["-o", "compat=1.1,lazy_refcounts=on"],
        &["-c"],
    ] {
        let fixture = Fixture::new();
        fixture.raw("disk", 4 * MIB);
        let mut arguments = vec!["convert", "-O", "qcow2"];
        arguments.extend(create);
        arguments.extend(["disk", "image"]);
        fixture.image(&arguments);
        let disk = open(&fixture.path("image"), OpenOptions::default()).unwrap();
        assert!(contents(&*disk) == pattern(4 * MIB), "{create:?}");
        let model = exercise(&*disk);
        disk.flush().unwrap();
        drop(disk);
        fixture.image(&["check", "-f", "qcow2", "image"]);
        fixture.image(&["convert", "-f", "qcow2", "-O", "raw", "image", "back"]);
        assert!(
            std::fs::read(fixture.path("back")).unwrap() == model,
            "{create:?}"
        );
    }
}

#[test]
fn a_backing_chain_is_read_through() {
    let fixture = Fixture::new();
    fixture.raw("base", 2 * MIB);
    fixture.image(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", "middle"]);
    fixture.image(&[
        "create", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "top",
    ]);
    let disk = open(&fixture.path("top"), OpenOptions::default()).unwrap();
    assert!(contents(&*disk) == pattern(2 * MIB));
    let model = exercise(&*disk);
    disk.flush().unwrap();
    drop(disk);
    fixture.image(&["convert", "-f", "qcow2", "-O", "raw", "top", "back"]);
    assert!(std::fs::read(fixture.path("back")).unwrap() == model);
    assert!(std::fs::read(fixture.path("base")).unwrap() == pattern(2 * MIB));
}

#[test]
fn a_chain_that_bites_its_tail_is_an_error() {
    let fixture = Fixture::new();
    fixture.raw("base", MIB);
    fixture.image(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", "one"]);
    fixture.image(&["create", "-f", "qcow2", "-b", "one", "-F", "qcow2", "two"]);
    fixture.image(&[
        "rebase", "-u", "-f", "qcow2", "-b", "two", "-F", "qcow2", "one",
    ]);
    let options = OpenOptions {
        read_only: true,
        ..OpenOptions::default()
    };
    let opened = open(&fixture.path("two"), options);
    assert!(matches!(opened, Err(BlockError::Format { .. })));
}

/// Header and tables with bytes changed: a named error or a readable disk, never a panic.
#[test]
fn a_lying_image_is_an_error() {
    let fixture = Fixture::new();
    fixture.raw("disk", MIB);
    fixture.image(&["convert", "-O", "qcow2", "disk", "image"]);
    let good = std::fs::read(fixture.path("image")).unwrap();
    let path = fixture.path("bad");
    let mut seed = 7u64;
    for round in 0..300usize {
        let mut bad = good.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The header, then the first entries of each table of the first clusters.
            let at = match round % 3 {
                0 => (seed >> 33) % 104,
                _ => (seed >> 33) % 5 * 65536 + (seed >> 40) % 256,
            };
            if let Some(byte) = bad.get_mut(at as usize) {
                *byte = (seed >> 56) as u8;
            }
        }
        std::fs::write(&path, &bad).unwrap();
        let format = Some(Format::Qcow2);
        let Ok(disk) = open(
            &path,
            OpenOptions {
                format,
                ..OpenOptions::default()
            },
        ) else {
            continue;
        };
        let mut data = vec![0; 65536];
        for offset in [0, 65536, 131_072] {
            let _ = disk.read_at(&mut data, offset);
            let _ = disk.write_at(&data, offset);
        }
        let _ = disk.flush();
    }
}
