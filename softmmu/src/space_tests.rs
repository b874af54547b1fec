//! Regions that come, go, move; the watches that hear of it.

use super::*;
use crate::ram::RamBlock;
use crate::region::{AccessRules, Backing, Mmio};

struct Nine;

impl Mmio for Nine {
    fn read(&self, _: u64, _: u32) -> u64 {
        9
    }

    fn write(&self, _: u64, _: u32, _: u64) {}
}

#[derive(Default)]
struct Count(AtomicU64);

impl ViewWatch for Count {
    fn view_changed(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn nine(base: u64, len: u64) -> Region {
    let backing = Backing::Mmio(Arc::new(Nine), AccessRules::ANY);
    Region::new("nine", base, len, 0, backing).expect("region")
}

#[test]
fn regions_come_go_and_move() {
    let space = AddressSpace::new();
    let count = Arc::new(Count::default());
    space.watch(count.clone());
    let id = space.add_disabled(nine(0x100, 0x10));
    assert!(space.read(0x100, 1).is_err());
    space.set_enabled(id, true);
    assert_eq!(space.read(0x100, 1), Ok(9));
    let old = space.snapshot();
    assert!(space.relocate(id, 0x200));
    assert!(space.read(0x100, 1).is_err());
    assert_eq!(space.read(0x20f, 1), Ok(9));
    assert_eq!(old.read(0x100, 1), Ok(9), "an old view stays as it was");
    assert!(!space.relocate(id, u64::MAX - 1));
    assert!(space.relocate(id, 0x200));
    space.remove(id);
    assert!(space.read(0x200, 1).is_err());
    space.set_enabled(id, true);
    assert_eq!(count.0.load(Ordering::Relaxed), 3);
    assert_eq!(space.generation(), 3);
}

#[test]
fn a_flash_answers_from_memory_or_from_its_device() {
    let ram = RamBlock::new("flash", 4096).expect("memory");
    ram.store(0, 4, 0x1234);
    let space = AddressSpace::new();
    let backing = Backing::Flash {
        ram: ram.clone(),
        offset: 0,
        device: Arc::new(Nine),
        rules: AccessRules::sized(1, 4),
    };
    let id = space.add(Region::new("flash", 0, 4096, 0, backing).expect("region"));
    let switch = RomSwitch::new(&space, id);
    assert_eq!(space.read(0, 4), Ok(0x1234));
    switch.set_direct(false);
    assert_eq!(space.read(0, 4), Ok(9));
    assert!(space.read(0, 8).is_err());
    switch.set_direct(true);
    assert_eq!(space.read(0, 4), Ok(0x1234));
    assert_eq!(space.write(0, 4, 5), Ok(()));
    assert_eq!(ram.load(0, 4), Some(0x1234));
    RomSwitch::default().set_direct(true);
}

#[test]
fn copies_in_pieces() {
    let space = AddressSpace::new();
    let ram = RamBlock::new("ram", 0x8000).expect("memory");
    let backing = Backing::Ram(ram.clone(), 0);
    space.add(Region::new("ram", 0, 0x8000, 0, backing).expect("region"));
    let bytes: Vec<u8> = (0..9000u32).map(|n| n as u8).collect();
    space.write_bytes(3, &bytes).expect("RAM");
    space.copy(3, 0x5001, 9000).expect("RAM");
    let mut back = vec![0; 9000];
    space.read_bytes(0x5001, &mut back).expect("RAM");
    assert_eq!(back, bytes);
    assert!(space.copy(0, 0x7fff, 2).is_err());
}

#[test]
fn bad_regions_are_refused() {
    let ram = RamBlock::new("ram", 4096).expect("memory");
    let backing = || Backing::Ram(ram.clone(), 1);
    assert!(Region::new("r", 0, 0, 0, backing()).is_err());
    assert!(Region::new("r", 0, 4096, 0, backing()).is_err());
    assert!(Region::new("r", u64::MAX, 2, 0, backing()).is_err());
    assert!(RamBlock::new("ram", 0).is_err());
    assert!(RamBlock::new("ram", u64::MAX).is_err());
}

#[test]
fn accesses_are_counted_by_name() {
    let space = AddressSpace::new();
    let ram = RamBlock::new("ram", 4096).expect("memory");
    space.add(Region::new("ram", 0, 4096, 0, Backing::Ram(ram, 0)).expect("region"));
    space.add(nine(0x1000, 8));
    space.add(nine(0x2000, 8));
    space.write(0, 4, 1).expect("RAM");
    space.read(0x1000, 4).expect("a device");
    space.write(0x2000, 8, 1).expect("a device");
    let counts: Vec<_> = space.accesses().into_iter().collect();
    assert_eq!(counts, [("nine".to_owned(), 2)]);
}
