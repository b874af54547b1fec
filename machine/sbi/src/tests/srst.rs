//! Chapter "System Reset Extension".

use super::*;
use isomorph_machine::{Reset, RunState, Shutdown};

const RESET: (u64, u64) = (SRST, 0);

#[test]
fn ends() {
    let off = RunState::Shutdown(Shutdown::Guest(0));
    let again = RunState::Resetting(Reset::Guest);
    // Shutdown, cold and warm reboot; without a reason, after a failure.
    let rows = [
        (0, 0, off),
        (0, 1, off),
        (1, 0, again),
        (1, 1, again),
        (2, 0, again),
        (2, 1, again),
        // 32 bits count.
        (1 << 32, 1 << 32, off),
    ];
    for (kind, reason, end) in rows {
        let machine = Machine::new(1);
        let after = machine.call_after(0, RESET, &[kind, reason]);
        assert_eq!(after, Some(After::Stop), "{kind:#x} {reason:#x}");
        assert_eq!(machine.life.state(), end, "{kind:#x} {reason:#x}");
    }
}

/// Tables "SRST System Reset Types" and "SRST System Reset Reasons".
#[test]
fn errors() {
    let machine = Machine::new(1);
    let rows = [
        (3, 0),
        (0xefff_ffff, 0),
        (0xf000_0000, 0),
        (0xffff_ffff, 0),
        (0, 2),
        (0, 0xdfff_ffff),
        (1, 0xe000_0000),
        (2, 0xf000_0000),
        (0, ALL),
    ];
    for (kind, reason) in rows {
        let answer = machine.call(0, RESET, &[kind, reason]);
        assert_eq!(answer, (INVALID_PARAM, 0), "{kind:#x} {reason:#x}");
        assert_eq!(machine.life.state(), RunState::Running);
    }
}
