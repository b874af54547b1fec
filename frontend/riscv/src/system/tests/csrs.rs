//! The table of registers: order, access, legal values.

use super::super::csr;
use super::super::{How, Privilege};
use super::{access, get, hart, number, set};

#[test]
fn the_table_is_ordered_and_names_are_unique() {
    let all: Vec<_> = csr::all().map(|(n, row, _)| (n, row.name_of(n))).collect();
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for (number, name) in &all {
        assert_eq!(csr::name(*number).as_deref(), Some(name.as_str()));
        assert_eq!(all.iter().filter(|row| row.1 == *name).count(), 1, "{name}");
    }
    for (name, want) in [
        ("pmpcfg2", 0x3a2),
        ("pmpaddr15", 0x3bf),
        ("hpmcounter31", 0xc1f),
    ] {
        assert_eq!(number(name), want);
    }
    assert!(csr::find(0x3a1).is_none() && csr::find(0x3a4).is_none());
    assert!(csr::find(0x7a0).is_none() && csr::find(0xfff).is_none());
}

#[test]
fn privilege_is_in_the_number() {
    for (number, row, _) in csr::all() {
        for who in [Privilege::User, Privilege::Supervisor, Privilege::Machine] {
            let mut state = hart();
            state.sys.privilege = who;
            let request = csr::Request {
                number,
                rd: 0,
                how: None,
            };
            let read = csr::access(&mut state.sys, request, 0);
            let least = number >> 8 & 3;
            let gate = row.gate.is_some() && who != Privilege::Machine;
            if (who as u16) < least {
                assert_eq!(read, None, "{number:#x} {who:?}");
            } else if !gate {
                assert!(read.is_some(), "{number:#x} {who:?}");
            }
            let how = Some(How::Write);
            let write = csr::access(&mut state.sys, csr::Request { how, ..request }, 0);
            assert!(write.is_none() || number >> 10 != 3);
        }
    }
}

#[test]
fn legal_values() {
    // Register, written, read back.
    for (name, written, read) in [
        ("mstatus", u64::MAX, 0x8000_000a_007e_79aa),
        ("mstatus", 2 << 11, 0xa << 32),
        ("sstatus", u64::MAX, 0x8000_0002_000c_6122),
        ("misa", 0, 0x8000_0000_0014_112d),
        ("medeleg", u64::MAX, 0xb3ff),
        ("mideleg", u64::MAX, 0x222),
        ("mie", u64::MAX, 0xaaa),
        ("mip", u64::MAX, 0x222),
        ("mtvec", 0x1003, 0x1001),
        ("stvec", 0x1002, 0x1000),
        ("mepc", 0x1003, 0x1002),
        ("sepc", u64::MAX, u64::MAX - 1),
        ("mscratch", 0x1234, 0x1234),
        ("mcounteren", u64::MAX, 7),
        ("scounteren", u64::MAX, 7),
        ("mcountinhibit", u64::MAX, 5),
        ("menvcfg", u64::MAX, 0xe000_0000_0000_00f1),
        ("senvcfg", u64::MAX, 0xf1),
        ("senvcfg", 2 << 4, 0),
        ("mhpmcounter3", 1, 0),
        ("mhpmevent31", 1, 0),
        ("sie", u64::MAX, 0),
        ("sip", u64::MAX, 0),
    ] {
        let mut state = hart();
        set(&mut state.sys, name, written);
        assert_eq!(get(&state.sys, name), read, "{name} {written:#x}");
    }
}

#[test]
fn supervisor_views_follow_delegation() {
    let mut state = hart();
    let sys = &mut state.sys;
    set(sys, "mideleg", 1 << 1 | 1 << 5);
    set(sys, "sie", u64::MAX);
    assert_eq!((get(sys, "sie"), get(sys, "mie")), (0x22, 0x22));
    set(sys, "mip", 0x222);
    assert_eq!(get(sys, "sip"), 0x22);
    set(sys, "sip", 0);
    assert_eq!(get(sys, "mip"), 0x220);
}

#[test]
fn gates() {
    let mut state = hart();
    let sys = &mut state.sys;
    let reads = |sys: &mut super::System, name| {
        sys.privilege = Privilege::Supervisor;
        let read = access(sys, name, None, 0).is_some();
        sys.privilege = Privilege::Machine;
        read
    };
    assert!(reads(sys, "satp"));
    set(sys, "mstatus", 1 << 20);
    assert!(!reads(sys, "satp"));
    set(sys, "menvcfg", 1 << 63);
    assert!(!reads(sys, "stimecmp"));
    set(sys, "mcounteren", 2);
    assert!(reads(sys, "stimecmp"));
    assert!(!reads(sys, "hpmcounter3"));
}

#[test]
fn counters_can_be_set_and_stopped() {
    let mut state = hart();
    let sys = &mut state.sys;
    sys.cycle.raw = 1000;
    assert_eq!(get(sys, "cycle"), 1000);
    set(sys, "mcycle", 5);
    sys.cycle.raw = 1010;
    assert_eq!(get(sys, "mcycle"), 15);
    set(sys, "mcountinhibit", 1);
    sys.cycle.raw = 2000;
    assert_eq!(get(sys, "mcycle"), 15);
    set(sys, "mcycle", 50);
    assert_eq!(get(sys, "mcycle"), 50);
    set(sys, "mcountinhibit", 0);
    sys.cycle.raw = 2001;
    assert_eq!(get(sys, "mcycle"), 51);
    set(sys, "mcountinhibit", 5);
    assert_eq!(get(sys, "minstret"), 0);
}

#[test]
fn requests_pack() {
    for how in [None, Some(How::Write), Some(How::Set), Some(How::Clear)] {
        let request = csr::Request {
            number: 0xfff,
            rd: 31,
            how,
        };
        assert_eq!(csr::Request::unpack(request.pack()), request);
    }
}
