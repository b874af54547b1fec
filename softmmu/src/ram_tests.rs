//! RAM: sizes, edges, marks.

use super::*;
use std::sync::Mutex;

#[test]
fn every_size_reads_what_was_written() {
    let ram = RamBlock::new("ram", 8192).expect("memory");
    for offset in [0, 1, 7, 4090, 4093, 4095] {
        for size in [1, 2, 4, 8] {
            let value = 0x8877_6655_4433_2211_u64 >> (64 - size * 8);
            assert!(ram.store(offset, size, u64::MAX));
            assert!(ram.store(offset, size, value));
            assert_eq!(ram.load(offset, size), Some(value), "{offset} {size}");
        }
    }
}

#[test]
fn nothing_beyond_the_end() {
    let ram = RamBlock::new("ram", 1).expect("memory");
    assert_eq!(ram.len(), 4096);
    for offset in [4089, 4096, u64::MAX, u64::MAX - 7] {
        assert_eq!(ram.load(offset, 8), None);
        assert!(!ram.store(offset, 8, 1));
        assert_eq!(ram.compare_exchange(offset, 8, 0, 1), None);
        assert!(!ram.read(offset, &mut [0; 8]));
        assert!(!ram.write(offset, &[0; 8]));
    }
    assert_eq!(ram.load(0, 3), None);
    assert_eq!(ram.load(0, 0), None);
    assert!(!ram.store(0, 16, 0) && !ram.store(1, 16, 0));
    assert!(ram.dirty().take().is_empty());
}

#[test]
fn slices_of_any_alignment_arrive_whole() {
    let ram = RamBlock::new("ram", 4096).expect("memory");
    let bytes: Vec<u8> = (0..100).collect();
    for start in 0..9 {
        for len in [0, 1, 7, 8, 9, 23, 100] {
            assert!(ram.write(start, &bytes[..len]));
            let mut back = vec![0; len];
            assert!(ram.read(start, &mut back));
            assert_eq!(back, bytes[..len]);
        }
    }
}

#[test]
fn compare_exchange_only_when_equal() {
    let ram = RamBlock::new("ram", 4096).expect("memory");
    ram.store(8, 8, u64::MAX);
    ram.dirty().take();
    assert_eq!(ram.compare_exchange(8, 4, 5, 6), Some(0xffff_ffff));
    assert!(ram.dirty().take().is_empty());
    assert_eq!(ram.compare_exchange(8, 4, u64::MAX, 6), Some(0xffff_ffff));
    assert_eq!(ram.load(8, 8), Some(0xffff_ffff_0000_0006));
    assert_eq!(ram.compare_exchange(9, 4, 0, 0), None);
    assert_eq!(ram.compare_exchange(8, 2, 0, 0), None);
}

struct Seen(Mutex<Vec<(u64, u64)>>);

impl CodeWatch for Seen {
    fn code_written(&self, _: &RamBlock, offset: u64, len: u64) {
        self.0.lock().expect("lock").push((offset, len));
    }
}

#[test]
fn writes_to_code_pages_are_told_per_page() {
    let ram = RamBlock::new("ram", 16384).expect("memory");
    let seen = Arc::new(Seen(Mutex::new(Vec::new())));
    ram.watch_code(seen.clone());
    ram.code().set(4096);
    ram.store(0, 8, 1);
    ram.write(4094, &[0; 5000]);
    ram.store(8191, 1, 1);
    assert_eq!(*seen.0.lock().expect("lock"), [(4096, 4096), (8191, 1)]);
    assert_eq!(ram.dirty().take(), [0, 4096, 8192]);
}

#[test]
fn volatile_slices_mark_dirty() {
    use vm_memory::Bytes;
    let ram = RamBlock::new("ram", 8192).expect("memory");
    let slice = ram.volatile(4000, 200).expect("inside");
    slice.write_slice(&[1, 2, 3], 96).expect("inside");
    assert_eq!(ram.load(4096, 2), Some(0x0201));
    assert_eq!(ram.dirty().take(), [4096]);
    assert!(ram.volatile(8000, 200).is_none());
}

#[test]
fn discarded_bytes_are_zero_and_their_code_is_dropped() {
    let ram = RamBlock::new("ram", 16384).expect("memory");
    let seen = Arc::new(Seen(Mutex::new(Vec::new())));
    ram.watch_code(seen.clone());
    ram.write(0, &[7; 16384]);
    ram.code().set(8192);
    ram.dirty().take();
    assert!(ram.discard(4000, 8292));
    let mut bytes = [1; 16384];
    assert!(ram.read(0, &mut bytes));
    assert!(bytes[..4000].iter().all(|&byte| byte == 7));
    assert!(bytes[4000..12292].iter().all(|&byte| byte == 0));
    assert!(bytes[12292..].iter().all(|&byte| byte == 7));
    assert_eq!(*seen.0.lock().expect("lock"), [(8192, 4096)]);
    assert_eq!(ram.dirty().take(), [0, 4096, 8192, 12288]);
    assert!(ram.discard(16384, 0));
    assert!(!ram.discard(16384, 1) && !ram.discard(u64::MAX, 2));
    assert!(ram.dirty().take().is_empty());
}
