//! Chapter "RFENCE Extension".

use super::*;
use isomorph_frontend::TlbFlush;

const FENCE_I: (u64, u64) = (RFENCE, 0);
const SFENCE: (u64, u64) = (RFENCE, 1);
const SFENCE_ASID: (u64, u64) = (RFENCE, 2);

fn flushes(machine: &Machine, id: u32) -> Option<TlbFlush> {
    machine.with(id, RiscvMachine::take_flush)
}

fn page(address: u64, asid: Option<u64>) -> Option<TlbFlush> {
    Some(TlbFlush::Page { address, asid })
}

#[test]
fn ranges() {
    let (all, space) = (Some(TlbFlush::All), Some(TlbFlush::Space { asid: 5 }));
    let rows = [
        (0, 0, all, space),
        (0, ALL, all, space),
        (0x1000, ALL, all, space),
        (0x5000, 0x1000, page(0x5000, None), page(0x5000, Some(5))),
        (0x5008, 8, page(0x5008, None), page(0x5008, Some(5))),
        (0x5ff8, 16, all, space),
        (0x5000, 0x1001, all, space),
        (0, 0x4000_0000, all, space),
        (0x5000, 0, None, None),
        (
            ALL - 0xfff,
            0x1000,
            page(ALL - 0xfff, None),
            page(ALL - 0xfff, Some(5)),
        ),
        (ALL - 0x1fff, 0x2000, all, space),
    ];
    for (start, size, without, with) in rows {
        let machine = Machine::new(3);
        let args = [0b110, 0, start, size, 5];
        assert_eq!(machine.call(1, SFENCE, &args[..4]), (SUCCESS, 0));
        for (id, expected) in [(0, None), (1, without), (2, without)] {
            assert_eq!(flushes(&machine, id), expected, "{start:#x} {size:#x}");
        }
        assert_eq!(machine.call(1, SFENCE_ASID, &args), (SUCCESS, 0));
        for (id, expected) in [(0, None), (1, with), (2, with)] {
            assert_eq!(flushes(&machine, id), expected, "{start:#x} {size:#x}");
        }
    }
}

#[test]
fn errors() {
    let machine = Machine::new(2);
    // Function, mask, start, size, answer.
    let rows = [
        (FENCE_I, 0b100, 0, 0, INVALID_PARAM),
        (SFENCE, 0b100, 0, 0, INVALID_PARAM),
        (SFENCE_ASID, 0b100, 0, 0, INVALID_PARAM),
        (SFENCE, 0b11, ALL - 0xfff, 0x1001, INVALID_ADDRESS),
        (SFENCE_ASID, 0b11, ALL - 0xfff, 0x1001, INVALID_ADDRESS),
        (SFENCE, 0b11, 3, ALL - 1, INVALID_ADDRESS),
        // HFENCE.GVMA with VMID, HFENCE.GVMA, HFENCE.VVMA with ASID, HFENCE.VVMA: no hart has
        // the hypervisor extension.
        ((RFENCE, 3), 0b11, 0, 0, NOT_SUPPORTED),
        ((RFENCE, 4), 0b11, 0, 0, NOT_SUPPORTED),
        ((RFENCE, 5), 0b11, 0, 0, NOT_SUPPORTED),
        ((RFENCE, 6), 0b11, 0, 0, NOT_SUPPORTED),
    ];
    for (function, mask, start, size, error) in rows {
        let answer = machine.call(0, function, &[mask, 0, start, size, 0]);
        assert_eq!(answer, (error, 0), "{function:x?}");
        assert_eq!((flushes(&machine, 0), flushes(&machine, 1)), (None, None));
    }
}

#[test]
fn an_identifier_is_as_wide_as_that_of_satp() {
    let machine = Machine::new(1);
    machine.call(0, SFENCE_ASID, &[1, 0, 0, 0, 0xabcd_0007]);
    assert_eq!(flushes(&machine, 0), Some(TlbFlush::Space { asid: 7 }));
}

#[test]
fn fence_i_forgets_no_translations() {
    let machine = Machine::new(2);
    assert_eq!(machine.call(0, FENCE_I, &[0, ALL]), (SUCCESS, 0));
    assert_eq!((flushes(&machine, 0), flushes(&machine, 1)), (None, None));
}
