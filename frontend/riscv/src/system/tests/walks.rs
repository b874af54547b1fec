//! Page walks: every level, permission, A and D, reserved bits.

use super::super::trap::{Exception, cause};
use super::super::{HartState, Privilege, System, walk};
use super::{Words, get, hart, set};
use isomorph_frontend::{
    MemoryAccess::{self, Amo, Fetch, Load, Store},
    Translation,
};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const U: u64 = 16;
const G: u64 = 32;
const A: u64 = 64;
const D: u64 = 128;
const ALL: u64 = V | R | W | X | A | D;
const N: u64 = 1 << 63;
const ROOT: u64 = 0x8010_0000;
/// No two of its page-number fields are equal.
const VA: u64 = 0x0000_0012_4568_9abc;

fn pte(physical: u64, flags: u64) -> u64 {
    physical >> 12 << 10 | flags
}

/// A hart in supervisor mode with tables of this many levels, A and D by trap.
fn paged(levels: u32) -> HartState {
    let mut state = hart();
    let sys = &mut state.sys;
    sys.pmp.allow_all();
    set(sys, "menvcfg", 0);
    set(
        sys,
        "satp",
        u64::from(levels + 5) << 60 | 7 << 44 | ROOT >> 12,
    );
    sys.privilege = Privilege::Supervisor;
    state
}

/// Tables that lead to `leaf` at `level`.
fn tables(levels: u32, level: u32, leaf: u64) -> Words {
    let mut memory = Words::default();
    let mut table = ROOT;
    for at in (level..levels).rev() {
        let index = VA >> (12 + 9 * at) & 0x1ff;
        let next = table + 0x1000;
        let entry = if at == level { leaf } else { pte(next, V) };
        memory.words.insert(table + 8 * index, entry);
        table = next;
    }
    memory
}

fn go(state: &HartState, memory: &mut Words, access: MemoryAccess) -> Result<Translation, u64> {
    let result = walk::translate(&state.sys, VA, 4, access, memory);
    result.map_err(|Exception { cause, value }| {
        assert_eq!(value, VA);
        cause
    })
}

fn page_fault(access: MemoryAccess) -> u64 {
    match access {
        Fetch => cause::FETCH_PAGE,
        Load => cause::LOAD_PAGE,
        Store | Amo => cause::STORE_PAGE,
    }
}

#[test]
fn leaves_at_every_level() {
    for levels in [3, 4, 5] {
        let state = paged(levels);
        for level in 0..levels {
            let size = 1 << (12 + 9 * level);
            let base = size.max(0x9000_0000) & !(size - 1);
            let mut memory = tables(levels, level, pte(base, ALL));
            let found = go(&state, &mut memory, Load).expect("a leaf");
            let physical = base | VA & (size - 1);
            assert_eq!((found.physical, found.size), (physical, size));
            assert!(found.read && found.write && found.exec && !found.global);
            if level > 0 {
                let mut memory = tables(levels, level, pte(base | 1 << 12, ALL));
                assert_eq!(go(&state, &mut memory, Load), Err(cause::LOAD_PAGE));
            }
        }
        let mut memory = tables(levels, 0, pte(0x9000_0000, V));
        assert_eq!(go(&state, &mut memory, Fetch), Err(cause::FETCH_PAGE));
    }
}

#[test]
fn addresses_must_be_canonical() {
    for (levels, good, bad) in [
        (3, 0xffff_ffc0_0000_0000, 0x0000_0040_0000_0000),
        (4, 0xffff_8000_0000_0000, 0x0000_8000_0000_0000),
        (5, 0xff00_0000_0000_0000, 0x0100_0000_0000_0000_u64),
    ] {
        let state = paged(levels);
        let mut memory = Words::default();
        memory.words.insert(ROOT + 8 * 0x100, pte(0, ALL));
        let mut at = |va| walk::translate(&state.sys, va, 1, Load, &mut memory).map(|t| t.physical);
        assert_eq!(at(good), Ok(0));
        let value = bad;
        let cause = cause::LOAD_PAGE;
        assert_eq!(at(bad), Err(Exception { cause, value }));
    }
}

#[test]
fn permissions() {
    let s = Privilege::Supervisor;
    let u = Privilege::User;
    // Privilege, SUM, MXR, leaf, then what fetch, load and store may do.
    let table = [
        (s, 0, 0, R, "-r-"),
        (s, 0, 0, X, "x--"),
        (s, 0, 1, X, "xr-"),
        (s, 0, 0, R | X, "xr-"),
        (s, 0, 0, R | W, "-rw"),
        (s, 0, 0, R | W | X, "xrw"),
        (s, 0, 0, R | W | X | U, "---"),
        (s, 1, 0, R | W | X | U, "-rw"),
        (s, 1, 0, X | U, "---"),
        (s, 1, 1, X | U, "-r-"),
        (u, 0, 0, R | W | X, "---"),
        (u, 1, 1, R | W | X, "---"),
        (u, 0, 0, R | U, "-r-"),
        (u, 0, 0, X | U, "x--"),
        (u, 0, 1, X | U, "xr-"),
        (u, 1, 0, R | W | X | U, "xrw"),
        // Reserved.
        (s, 0, 0, W, "---"),
        (s, 0, 0, W | X, "---"),
    ];
    for (who, sum, mxr, leaf, want) in table {
        let mut state = paged(3);
        set(&mut state.sys, "mstatus", sum << 18 | mxr << 19);
        state.sys.privilege = who;
        for (access, letter) in [(Fetch, 'x'), (Load, 'r'), (Store, 'w'), (Amo, 'w')] {
            let mut memory = tables(3, 0, pte(0x9000_0000, leaf | V | A | D));
            let found = go(&state, &mut memory, access);
            let case = format!("{who:?} sum {sum} mxr {mxr} leaf {leaf:#x} {access:?}");
            if want.contains(letter) {
                let found = found.unwrap_or_else(|cause| panic!("{case}: {cause}"));
                let has = |letter| want.contains(letter);
                let rights = (found.exec, found.read, found.write);
                assert_eq!(rights, (has('x'), has('r'), has('w')), "{case}");
            } else {
                assert_eq!(found, Err(page_fault(access)), "{case}");
            }
        }
    }
}

#[test]
fn accessed_and_dirty_by_trap() {
    let state = paged(3);
    for (flags, access, good) in [
        (0, Load, false),
        (D, Fetch, false),
        (A, Load, true),
        (A, Fetch, true),
        (A, Store, false),
        (A, Amo, false),
        (A | D, Store, true),
    ] {
        let mut memory = tables(3, 0, pte(0x9000_0000, V | R | W | X | flags));
        let found = go(&state, &mut memory, access);
        match found {
            Ok(found) => assert!(good && found.write == (flags & D != 0)),
            Err(cause) => assert!(!good && cause == page_fault(access)),
        }
    }
}

#[test]
fn accessed_and_dirty_by_update() {
    let mut state = paged(3);
    set(&mut state.sys, "menvcfg", 1 << 61);
    let leaf = pte(0x9000_0000, V | R | W);
    for (access, flags) in [(Load, A), (Store, A | D), (Amo, A | D)] {
        let mut memory = tables(3, 0, leaf);
        let found = go(&state, &mut memory, access).expect("an update");
        assert_eq!(found.write, flags & D != 0);
        assert!(memory.words.values().any(|word| *word == leaf | flags));
    }
    // Somebody takes the page away meanwhile: the walk starts again.
    let mut memory = tables(3, 0, leaf);
    memory.race = Some(0);
    assert_eq!(go(&state, &mut memory, Store), Err(cause::STORE_PAGE));
    // A store that is not allowed marks nothing.
    let mut memory = tables(3, 0, pte(0x9000_0000, V | R));
    assert_eq!(go(&state, &mut memory, Store), Err(cause::STORE_PAGE));
    assert!(!memory.words.values().any(|word| word & (A | D) != 0));
}

#[test]
fn reserved_bits_fault() {
    let state = paged(3);
    let leaf = pte(0x9000_0000, ALL);
    for bit in (54..=62).map(|n| 1 << n).chain([N]) {
        let mut memory = tables(3, 0, leaf | bit);
        assert_eq!(go(&state, &mut memory, Load), Err(cause::LOAD_PAGE));
    }
    for bit in [A, D, U, N, 1 << 54, 1 << 61] {
        let mut memory = tables(3, 0, leaf);
        let root = memory.words.iter_mut().next().expect("the root's entry");
        *root.1 |= bit;
        assert_eq!(
            go(&state, &mut memory, Load),
            Err(cause::LOAD_PAGE),
            "{bit:#x}"
        );
    }
    let mut memory = tables(3, 0, leaf & !V);
    assert_eq!(go(&state, &mut memory, Load), Err(cause::LOAD_PAGE));
}

#[test]
fn global_at_any_level() {
    let state = paged(3);
    let mut memory = tables(3, 0, pte(0x9000_0000, ALL | G));
    assert!(go(&state, &mut memory, Load).expect("a leaf").global);
    let mut memory = tables(3, 0, pte(0x9000_0000, ALL));
    *memory.words.iter_mut().next().expect("the root's entry").1 |= G;
    assert!(go(&state, &mut memory, Load).expect("a leaf").global);
}

#[test]
fn memory_types() {
    let mut state = paged(3);
    set(&mut state.sys, "menvcfg", 1 << 62);
    for (kind, good) in [(0, true), (1, true), (2, true), (3, false)] {
        let mut memory = tables(3, 0, pte(0x9000_0000, ALL | kind << 61));
        assert_eq!(go(&state, &mut memory, Load).is_ok(), good);
    }
}

#[test]
fn napot_pages() {
    let mut state = paged(3);
    let mut memory = tables(3, 0, pte(0x9000_8000, ALL | N));
    let found = go(&state, &mut memory, Load).expect("a leaf");
    assert_eq!(
        (found.physical, found.size),
        (0x9000_0000 | VA & 0xffff, 0x1_0000)
    );
    for bad in [0x9000_0000, 0x9000_4000, 0x9000_9000] {
        let mut memory = tables(3, 0, pte(bad, ALL | N));
        assert_eq!(go(&state, &mut memory, Load), Err(cause::LOAD_PAGE));
    }
    let mut memory = tables(3, 1, pte(0x9000_8000, ALL | N));
    assert_eq!(go(&state, &mut memory, Load), Err(cause::LOAD_PAGE));
    // The bit is reserved without Svnapot.
    state.sys.napot = false;
    let mut memory = tables(3, 0, pte(0x9000_8000, ALL | N));
    assert_eq!(go(&state, &mut memory, Load), Err(cause::LOAD_PAGE));
}

#[test]
fn tables_that_do_not_answer() {
    let state = paged(3);
    for (access, want) in [
        (Fetch, cause::FETCH_ACCESS),
        (Load, cause::LOAD_ACCESS),
        (Store, cause::STORE_ACCESS),
    ] {
        assert_eq!(go(&state, &mut Words::default(), access), Err(want));
    }
    let mut state = paged(3);
    let mut memory = tables(3, 0, pte(0x9000_0000, ALL));
    // Protection takes the last table away: entry 0 covers it with no rights, 1 all the rest.
    set(&mut state.sys, "pmpaddr1", u64::MAX);
    set(&mut state.sys, "pmpaddr0", (ROOT + 0x2000) >> 2 | 0x1ff);
    set(&mut state.sys, "pmpcfg0", 0x1f18);
    assert_eq!(go(&state, &mut memory, Store), Err(cause::STORE_ACCESS));
}

#[test]
fn modified_privilege_of_data() {
    let mut state = paged(3);
    state.sys.privilege = Privilege::Machine;
    let mut memory = tables(3, 0, pte(0x9000_0000, ALL));
    let bare = go(&state, &mut memory, Load).expect("no translation");
    assert_eq!((bare.physical, bare.size), (VA, 4096));
    let plain = walk::context(&state.sys);
    // MPRV with MPP = S.
    set(&mut state.sys, "mstatus", 1 << 17 | 1 << 11);
    let data = go(&state, &mut memory, Load).expect("a leaf");
    assert_eq!(data.physical, 0x9000_0000 | VA & 0xfff);
    assert!(data.read && data.write && !data.exec);
    let code = go(&state, &mut memory, Fetch).expect("no translation");
    assert!(code.physical == VA && code.exec && !code.read && !code.write);
    assert_ne!(walk::context(&state.sys), plain);
}

#[test]
fn physical_addresses_have_56_bits() {
    let state = hart();
    let mut memory = Words::default();
    let found = walk::translate(&state.sys, 1 << 56, 1, Load, &mut memory);
    assert_eq!(found.map_err(|e| e.cause), Err(cause::LOAD_ACCESS));
    assert!(walk::translate(&state.sys, (1 << 56) - 8, 8, Load, &mut memory).is_ok());
}

#[test]
fn satp_refuses_unknown_modes() {
    let mut state = hart();
    let good = 8 << 60 | 0xffff << 44 | 0xfff_ffff_ffff;
    set(&mut state.sys, "satp", good);
    for mode in [1, 2, 7, 11, 15] {
        set(&mut state.sys, "satp", mode << 60 | 1);
        assert_eq!(get(&state.sys, "satp"), good);
    }
    set(&mut state.sys, "satp", 0);
    assert_eq!(get(&state.sys, "satp"), 0);
}

#[test]
fn satp_refuses_modes_that_the_model_has_not() {
    for (text, largest) in [
        ("rv64,sv57=off", 9),
        ("rv64,sv48=off", 8),
        ("rv64,mmu=off", 0),
    ] {
        let cpu = crate::CpuModel::parse(text).expect("valid");
        let mut sys = System::new(&cpu, 0);
        for mode in [0, 8, 9, 10] {
            set(&mut sys, "satp", 0);
            set(&mut sys, "satp", mode << 60 | 1);
            let want = if mode <= largest { mode << 60 | 1 } else { 0 };
            assert_eq!(get(&sys, "satp"), want, "{text} {mode}");
        }
    }
}
