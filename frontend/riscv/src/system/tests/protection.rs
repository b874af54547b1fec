//! Physical memory protection.

use super::super::pmp::{Allowed, R, W, X};
use super::super::{Pmp, Privilege};
use super::{get, hart, set};

const S: Privilege = Privilege::Supervisor;
const M: Privilege = Privilege::Machine;
const ALL: u8 = R | W | X;
const TOR: u64 = 1 << 3;
const NA4: u64 = 2 << 3;
const NAPOT: u64 = 3 << 3;
const L: u64 = 1 << 7;

/// Entries as (config, address register).
fn pmp(entries: &[(u64, u64)]) -> Pmp {
    let mut state = hart();
    for (at, (_, addr)) in entries.iter().enumerate() {
        set(&mut state.sys, &format!("pmpaddr{at}"), *addr);
    }
    let cfg = entries.iter().rev().fold(0, |all, e| all << 8 | e.0);
    set(&mut state.sys, "pmpcfg0", cfg);
    state.sys.pmp
}

#[test]
fn nothing_matches() {
    let none = Pmp::default();
    assert_eq!(none.check(S, 0x1000, 8, 4096).rights, 0);
    assert_eq!(none.check(M, 0x1000, 8, 4096).rights, ALL);
}

#[test]
fn ranges() {
    let (r, rwx) = (u64::from(R), u64::from(ALL));
    // Mode and address register, then the first address and the end.
    for (cfg, addr, first, end) in [
        (NA4, 0x400, 0x1000, 0x1004),
        (NAPOT, 0x400, 0x1000, 0x1008),
        (NAPOT, 0x401, 0x1000, 0x1010),
        (NAPOT, 0x5ff, 0x1000, 0x2000),
        (TOR, 0x400, 0, 0x1000),
    ] {
        let p = pmp(&[(cfg | r, addr), (NAPOT | rwx, u64::MAX)]);
        let at = |address| p.check(S, address, 4, 4).rights;
        assert_eq!(at(first), R, "{cfg:#x} {addr:#x}");
        assert_eq!(at(end - 4), R);
        assert_eq!(at(end), ALL);
        if first > 0 {
            assert_eq!(at(first - 4), ALL);
        }
    }
    let p = pmp(&[(0, 0x400), (TOR | r, 0x800), (TOR | r, 0x600)]);
    assert_eq!(p.check(S, 0x0ffc, 4, 4).rights, 0);
    assert_eq!(p.check(S, 0x1000, 4, 4).rights, R);
    assert_eq!(p.check(S, 0x2000, 4, 4).rights, 0);
}

#[test]
fn the_first_entry_that_matches_decides() {
    let p = pmp(&[(NA4, 0x400), (NAPOT | 7, u64::MAX)]);
    assert_eq!(p.check(S, 0x1000, 4, 4).rights, 0);
    // A part of the access matches: it fails.
    assert_eq!(p.check(S, 0x0ffc, 8, 4096).rights, 0);
    assert_eq!(p.check(S, 0x1004, 8, 4096).rights, ALL);
}

#[test]
fn grain_of_what_is_allowed() {
    let p = pmp(&[(NAPOT | 7, 0x2000_0000 | 0xffff), (NAPOT | 1, u64::MAX)]);
    let gigabyte = 1 << 30;
    let inside = p.check(S, 0x8000_1000, 8, gigabyte);
    assert_eq!(
        inside,
        Allowed {
            rights: ALL,
            size: 0x8_0000
        }
    );
    let above = p.check(S, 0x8008_0000, 8, gigabyte);
    assert_eq!(
        above,
        Allowed {
            rights: R,
            size: 0x8_0000
        }
    );
    let beyond = p.check(S, 0xc000_0000, 8, gigabyte);
    assert_eq!(
        beyond,
        Allowed {
            rights: R,
            size: gigabyte
        }
    );
    let p = pmp(&[(NA4 | 1, 0x400), (NAPOT | 7, u64::MAX)]);
    assert!(p.check(S, 0x1800, 8, 4096).size < 4096);
    assert_eq!(p.check(S, 0x2000, 8, 4096).size, 4096);
}

#[test]
fn machine_mode_obeys_locked_entries_only() {
    let open = pmp(&[(NAPOT, u64::MAX)]);
    assert_eq!(open.check(M, 0, 8, 4096).rights, ALL);
    assert_eq!(open.check(S, 0, 8, 4096).rights, 0);
    let shut = pmp(&[(NAPOT | L | 4, u64::MAX)]);
    assert_eq!(shut.check(M, 0, 8, 4096).rights, X);
    // An entry that is not locked still comes first.
    let both = pmp(&[(NA4, 0x400), (NAPOT | L, u64::MAX)]);
    assert_eq!(both.check(M, 0x1000, 4, 4).rights, ALL);
    assert_eq!(both.check(M, 0x1004, 4, 4).rights, 0);
}

#[test]
fn locked_registers_keep_their_value() {
    let mut state = hart();
    let sys = &mut state.sys;
    set(sys, "pmpaddr0", 0x100);
    set(sys, "pmpaddr1", 0x200);
    set(sys, "pmpaddr2", u64::MAX);
    set(sys, "pmpcfg0", (TOR | L | 1) << 8 | NA4);
    for (at, value) in [(0, 0x100), (1, 0x200)] {
        // The bottom of a locked range is locked too.
        set(sys, &format!("pmpaddr{at}"), 0x999);
        assert_eq!(get(sys, &format!("pmpaddr{at}")), value);
    }
    set(sys, "pmpcfg0", 0);
    assert_eq!(get(sys, "pmpcfg0"), (TOR | L | 1) << 8);
    assert_eq!(get(sys, "pmpaddr2"), (1 << 54) - 1);
}

#[test]
fn illegal_configurations_become_legal() {
    let mut state = hart();
    set(&mut state.sys, "pmpcfg2", 0xffff_ffff_ffff_ff62);
    assert_eq!(get(&state.sys, "pmpcfg2"), 0x9f9f_9f9f_9f9f_9f00);
}
