//! Disk images: raw and qcow2 files that lie, opened, read and written.

use crate::{Input, Script};
use isomorph_block::{BlockBackend, Format, OpenOptions, open};
use std::path::Path;

/// Most requests of an input.
const REQUESTS: u8 = 16;
/// Most bytes of a request.
const LENGTH: u64 = 1 << 16;
/// Most bytes that a request gives up or zeroes.
const RANGE: u64 = 1 << 22;
/// The other image, for a backing chain or for data outside.
const OTHER: &str = "base";

/// The input: how to open, how many requests, the requests, the image.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (how, count) = (input.u8(), input.u8() % REQUESTS);
    let mut requests = Input::new(input.bytes(usize::from(count) * 12));
    // Names in the image stay in the folder: nothing else of the host is to be opened.
    let name = |&byte: &u8| if byte == b'/' { b'_' } else { byte };
    let image: Vec<u8> = input.rest().iter().map(name).collect();
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    let path = folder.path().join("image");
    let other = std::fs::write(folder.path().join(OTHER), [0x42; 0x600]);
    if other.and_then(|()| std::fs::write(&path, &image)).is_err() {
        return;
    }
    let Some(disk) = open_as(&path, how) else {
        return;
    };
    assert!(
        how & 1 == 0 || disk.read_only(),
        "a read-only image takes writes"
    );
    for _ in 0..count {
        request(&*disk, &mut requests);
    }
    let _ = disk.flush();
}

fn open_as(path: &Path, how: u8) -> Option<std::sync::Arc<dyn BlockBackend>> {
    let formats = [None, Some(Format::Raw), Some(Format::Qcow2), None];
    let options = OpenOptions {
        format: formats[usize::from(how >> 2 & 3)],
        read_only: how & 1 != 0,
        snapshot: how & 2 != 0,
    };
    open(path, options).ok()
}

/// One request, anywhere or on the disk; that it fails is an answer.
fn request(disk: &dyn BlockBackend, input: &mut Input<'_>) {
    let (kind, length) = (input.u8(), input.u16());
    let offset = input.u64();
    input.u8();
    let inside = offset % disk.capacity().max(1);
    let offset = if kind & 0x80 == 0 { inside } else { offset };
    let mut data = vec![kind; (u64::from(length) % LENGTH) as usize];
    let range = (u64::from(length) << (kind >> 4 & 7)).min(RANGE);
    let _ = match kind % 6 {
        0 => disk.read_at(&mut data, offset),
        1 => disk.write_at(&data, offset),
        2 => disk.write_zeroes(offset, range, false),
        3 => disk.write_zeroes(offset, range, true),
        4 => disk.discard(offset, range),
        _ => disk.flush(),
    };
}

/// Clusters of the smallest size, in bytes.
const CLUSTER: usize = 512;

/// A qcow2 image of version 3 with clusters of 512 bytes: header, first-level table, second-level
/// table, reference table and block, data (the specification's "General", "Cluster mapping").
fn qcow2(version: u32, backing: &str, size: u64) -> Vec<u8> {
    let at = |cluster: usize| (cluster * CLUSTER) as u64;
    let header = [
        &b"QFI\xfb"[..],
        &version.to_be_bytes(),
        &(if backing.is_empty() { 0u64 } else { 0x180 }).to_be_bytes(),
        &(backing.len() as u32).to_be_bytes(),
        &9u32.to_be_bytes(),
        &size.to_be_bytes(),
        &0u32.to_be_bytes(),
        &1u32.to_be_bytes(),
        &at(1).to_be_bytes(),
        &at(3).to_be_bytes(),
        &1u32.to_be_bytes(),
        &0u32.to_be_bytes(),
        &0u64.to_be_bytes(),
        // Features: incompatible, compatible, of automatic clearing; reference counts of 16 bits.
        &[0; 24],
        &4u32.to_be_bytes(),
        &104u32.to_be_bytes(),
    ];
    let mut image = header.concat();
    image.resize(0x180, 0);
    image.extend(backing.as_bytes());
    image.resize(6 * CLUSTER, 0);
    let mut put = |offset: usize, bytes: &[u8]| {
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    const COPIED: u64 = 1 << 63;
    const COMPRESSED: u64 = 1 << 62;
    put(CLUSTER, &(at(2) | COPIED).to_be_bytes());
    put(2 * CLUSTER, &(at(5) | COPIED).to_be_bytes());
    put(2 * CLUSTER + 8, &1u64.to_be_bytes());
    put(2 * CLUSTER + 16, &(at(5) | COMPRESSED).to_be_bytes());
    put(3 * CLUSTER, &at(4).to_be_bytes());
    for cluster in 0..6 {
        put(4 * CLUSTER + 2 * cluster, &1u16.to_be_bytes());
    }
    put(5 * CLUSTER, b"data of a cluster");
    image
}

/// Good images of each kind with every request, and one whose size is a lie.
pub fn seeds() -> Vec<Vec<u8>> {
    let requests = |how: u8| {
        let script = Script::new().u8(how).u8(10);
        (0..10).fold(script, |script, kind| {
            let (length, offset) = (700, 512 * u64::from(kind % 7) + 100);
            script.u8(kind).u16(length).number(8, offset).u8(0)
        })
    };
    let image = |how: u8, bytes: &[u8]| requests(how).bytes(bytes).end();
    let sound = qcow2(3, "", 0x4000);
    vec![
        image(8, &sound),
        image(9, &sound),
        image(2, &sound),
        image(8, &qcow2(2, "", 0x4000)),
        image(8, &qcow2(3, OTHER, 0x4000)),
        image(8, &qcow2(3, "image", 0x4000)),
        image(10, &qcow2(3, "", 1 << 60)),
        image(4, &[1; 1000]),
        image(6, &[2; 5000]),
    ]
}
