//! Loads, stores and atomics.

use super::*;

fn filled() -> Vm {
    let mut vm = Vm::new();
    for (i, byte) in vm.memory.bytes.iter_mut().enumerate() {
        *byte = 0x80 + i as u8;
    }
    vm
}

/// `r1` after loading `attribute` from `BASE` + 1 on I64.
fn load(attribute: &str) -> u64 {
    let mut vm = filled();
    vm.set("r2", BASE)
        .run(&format!("r1 = load {attribute} [r2+0x1]"));
    vm.get("r1")
}

#[test]
fn loads_extend() {
    assert_eq!(load("u8"), 0x81);
    assert_eq!(load("s8"), 0x81 | ONES << 8);
    assert_eq!(load("u16"), 0x8281);
    assert_eq!(load("s16"), 0x8281 | ONES << 16);
    assert_eq!(load("u32"), 0x8483_8281);
    assert_eq!(load("s32"), 0x8483_8281 | ONES << 32);
    assert_eq!(load("u64"), 0x8887_8685_8483_8281);
    assert_eq!(load("s32.be"), 0x8182_8384 | ONES << 32);
    assert_eq!(load("u64.be.acquire"), 0x8182_8384_8586_8788);
    let mut vm = filled();
    vm.run("w1 = load s8 [0x4000]\nh1 = load s8 [0x4000]\nb1 = load u8 [0x4002]");
    assert_eq!(
        (vm.get("w1"), vm.get("h1"), vm.get("b1")),
        (0xffff_ff80, 0xff80, 0x82)
    );
    vm.run("d1 = load u64 [0x4000]\ns1 = load u32 [0x4004]");
    assert_eq!(
        (vm.get("d1"), vm.get("s1")),
        (0x8786_8584_8382_8180, 0x8786_8584)
    );
}

#[test]
fn stores_truncate() {
    let mut vm = Vm::new();
    vm.set("r1", 0x1122_3344_5566_7788)
        .set("d1", 0x3ff0_0000_0000_0000);
    vm.run("store u16 [0x4000], r1\nstore u32.be [0x4008], r1\nstore.f64 u64 [0x4010], d1");
    assert_eq!(vm.memory.bytes[..4], [0x88, 0x77, 0, 0]);
    assert_eq!(vm.memory.bytes[8..13], [0x55, 0x66, 0x77, 0x88, 0]);
    assert_eq!(vm.memory.bytes[22..24], [0xf0, 0x3f]);
    vm.set("r2", BASE + 0x20).run("store u8 [r2-0x1], -0x1");
    assert_eq!(vm.memory.bytes[0x1e..0x21], [0, 0xff, 0]);
}

#[test]
fn faults_are_precise() {
    let mut vm = Vm::new();
    vm.set("r1", 7);
    let exit = vm.run("r2 = mov 0x1\n-- 0x1004\nr1 = load u32 [0x403e]\nr2 = mov 0x2");
    let fault = MemFault {
        address: 0x4040,
        write: false,
    };
    assert_eq!(exit, Exit::Fault { pc: 0x1004, fault });
    assert_eq!((vm.get("r1"), vm.get("r2")), (7, 1));
    assert_eq!(fault.to_string(), "cannot read 0x4040");
    let exit = vm.run("store u8 [0x3fff], r1");
    let fault = MemFault {
        address: 0x3fff,
        write: true,
    };
    assert_eq!(exit, Exit::Fault { pc: 0x1000, fault });
    // An atomic fails as a write.
    let fault = MemFault {
        address: 0,
        write: true,
    };
    let want = Exit::Fault { pc: 0x1000, fault };
    assert_eq!(vm.run("r1 = rmw u64 add [0x0], r1"), want);
    assert_eq!(vm.run("r1 = cas u64 [0x0], r1, r1"), want);
    assert_eq!(
        vm.run("%0:i64, %1:i64 = caspair u64 [0x0], r1, r1, r1, r1"),
        want
    );
    let fault = MemFault {
        address: 0,
        write: false,
    };
    assert_eq!(
        vm.run("r1 = lr u64 [0x0]"),
        Exit::Fault { pc: 0x1000, fault }
    );
}

#[test]
fn alignment_is_checked_where_asked() {
    let misaligned = |info| Exit::Trap {
        kind: TrapKind::Misaligned,
        pc: 0x1000,
        info,
    };
    let mut vm = Vm::new();
    assert_eq!(
        vm.run("r1 = load u32.aligned [0x4000+0x2]"),
        misaligned(0x4002)
    );
    assert_eq!(vm.run("store u16.aligned [0x4001], r1"), misaligned(0x4001));
    assert_eq!(
        vm.run("r1 = rmw u64.aligned add [0x4004], r1"),
        misaligned(0x4004)
    );
    assert_eq!(
        vm.run("r1 = sc u64.aligned [0x4004], r1"),
        misaligned(0x4004)
    );
    let pair = "%0:i64, %1:i64 = caspair u64 [0x4008], r1, r1, r1, r1";
    assert_eq!(vm.run(pair), misaligned(0x4008));
    assert_eq!(
        vm.run("r1 = load u8.aligned [0x4001]"),
        Exit::Direct { pc: 0x2000 }
    );
}

/// Old value given and new value in memory of `op` on a 32-bit cell, the type being I64.
fn rmw(attribute: &str, op: AtomicOp, cell: u32, operand: u64) -> (u64, u32) {
    let mut vm = Vm::new();
    vm.memory.bytes[4..8].copy_from_slice(&cell.to_le_bytes());
    vm.set("r2", operand);
    vm.run(&format!("r1 = rmw {attribute} {} [0x4004], r2", op.name()));
    let new: [u8; 4] = vm.memory.bytes[4..8].try_into().unwrap();
    assert_eq!(vm.memory.bytes[8], 0);
    (vm.get("r1"), u32::from_le_bytes(new))
}

#[test]
fn read_modify_writes() {
    let minus = |n: u32| n.wrapping_neg();
    let cases = [
        (AtomicOp::Swap, 1, 0xf_0000_0002, 2),
        (AtomicOp::Add, minus(1), 0xf_0000_0002, 1),
        (AtomicOp::And, 0b1100, 0b1010, 0b1000),
        (AtomicOp::Or, 0b1100, 0b1010, 0b1110),
        (AtomicOp::Xor, 0b1100, 0b1010, 0b0110),
        (AtomicOp::MinS, minus(1), 1, minus(1)),
        (AtomicOp::MaxS, minus(1), 1, 1),
        (AtomicOp::MinU, minus(1), 1, 1),
        (AtomicOp::MaxU, minus(1), 0xf_0000_0001, minus(1)),
        (AtomicOp::MinS, 5, 0xf_ffff_fff0, minus(16)),
    ];
    for (op, cell, operand, new) in cases {
        let signed = i64::from(cell as i32) as u64;
        assert_eq!(
            rmw("s32.seqcst", op, cell, operand),
            (signed, new),
            "{op:?}"
        );
        assert_eq!(rmw("u32", op, cell, operand), (cell.into(), new), "{op:?}");
        let (old, swapped) = rmw("u32.be", op, cell.swap_bytes(), operand);
        assert_eq!(
            (old, swapped.swap_bytes()),
            (cell.into(), new),
            "{op:?} big-endian"
        );
    }
}

#[test]
fn compare_and_swap() {
    let mut vm = Vm::new();
    vm.memory.bytes[..4].copy_from_slice(&0x8000_0001_u32.to_le_bytes());
    // Only the low bytes of the expected value count.
    vm.set("r2", 0xabcd_8000_0001).set("r3", 0x1_0000_0007);
    vm.run("r1 = cas s32 [0x4000], r2, r3");
    assert_eq!(vm.get("r1"), 0x8000_0001 | ONES << 32);
    assert_eq!(vm.memory.bytes[..5], [7, 0, 0, 0, 0]);
    vm.run("r1 = cas s32 [0x4000], r2, r3");
    assert_eq!(vm.get("r1"), 7);
}

#[test]
fn compare_and_swap_of_a_pair() {
    let mut vm = Vm::new();
    vm.memory.bytes[0] = 1;
    vm.memory.bytes[8] = 2;
    let pair = "r1, r2 = caspair u64 [0x4000], 0x1, 0x2, 0x3, 0x4";
    vm.run(pair);
    assert_eq!((vm.get("r1"), vm.get("r2")), (1, 2));
    assert_eq!((vm.memory.bytes[0], vm.memory.bytes[8]), (3, 4));
    vm.run(pair);
    assert_eq!((vm.get("r1"), vm.get("r2")), (3, 4));
    assert_eq!((vm.memory.bytes[0], vm.memory.bytes[8]), (3, 4));
    vm.run("r1, r2 = caspair u64.be [0x4000], 0x300000000000000, 0x400000000000000, 0x1, 0x2");
    assert_eq!(vm.get("r1"), 3 << 56);
    assert_eq!((vm.memory.bytes[7], vm.memory.bytes[15]), (1, 2));
}

#[test]
fn reservations() {
    let mut vm = Vm::new();
    vm.memory.bytes[3] = 0x80;
    vm.set("r3", 9);
    let store = "r2 = sc u32 [0x4000], r3";
    vm.run(store);
    assert_eq!(vm.get("r2"), 1, "no reservation");
    vm.run("r1 = lr s32 [0x4000]");
    assert_eq!(vm.get("r1"), 0x8000_0000 | ONES << 32);
    vm.run(store);
    assert_eq!((vm.get("r2"), vm.memory.bytes[0]), (0, 9));
    vm.run(store);
    assert_eq!(vm.get("r2"), 1, "a reservation ends with its store");
    vm.run(&format!(
        "r1 = lr u32 [0x4000]\nstore u8 [0x4001], -0x1\n{store}"
    ));
    assert_eq!(vm.get("r2"), 1, "the memory was written between");
    vm.run("r1 = lr u32 [0x4000]\nr2 = sc u32 [0x4004], r3");
    assert_eq!(vm.get("r2"), 1, "another address");
    vm.run("r1 = lr u32 [0x4000]\nr2 = sc u64 [0x4000], r3");
    assert_eq!(vm.get("r2"), 1, "another size");
}

/// Memory that another thread writes between each load and its compare-and-swap.
struct Contended {
    inner: FlatMemory,
    fences: Vec<Order>,
    interference: u32,
}

impl Memory for Contended {
    fn load(&mut self, address: u64, bytes: u32, order: Order) -> Result<u128, MemFault> {
        self.inner.load(address, bytes, order)
    }

    fn store(&mut self, address: u64, bytes: u32, o: Order, value: u128) -> Result<(), MemFault> {
        self.inner.store(address, bytes, o, value)
    }

    fn cas(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault> {
        if self.interference > 0 {
            self.interference -= 1;
            let old = self.inner.load(address, bytes, order)?;
            self.inner.store(address, bytes, order, old + 10)?;
        }
        self.inner.cas(address, bytes, order, expected, new)
    }

    fn fence(&mut self, order: Order) {
        self.fences.push(order);
    }
}

#[test]
fn read_modify_writes_retry_and_fences_arrive() {
    let inner = FlatMemory::new(BASE, 8);
    let mut memory = Contended {
        inner,
        fences: Vec::new(),
        interference: 3,
    };
    let text = "block 0 flags 0 insns 0 end 0\nfence seqcst\nfence acquire
        r1 = rmw u64 add [0x4000], 0x1\nexit -> 0";
    let block = parse(text, &TABLE).unwrap();
    let mut vm = Vm::new();
    vm.cpu
        .run(&block, &mut vm.state, &mut memory, &mut vm.calls)
        .unwrap();
    assert_eq!((vm.get("r1"), memory.inner.bytes[0]), (30, 31));
    assert_eq!(memory.fences, [Order::SeqCst, Order::Acquire]);
}
