//! Chapter "Timer Extension".

use super::*;

fn due(machine: &Machine) -> bool {
    machine.with(0, |state| state.sys.pending() >> 5 & 1 != 0)
}

#[test]
fn set_timer() {
    // Now is 1000.
    for (at, pending, timer) in [
        (1001, false, Some(1001)),
        (1000, true, None),
        (0, true, None),
        (ALL, false, None),
    ] {
        let machine = Machine::new(1);
        // What was pending is cleared first.
        machine.with(0, |state| state.sys.set_timer(0, 1));
        assert!(due(&machine));
        assert_eq!(machine.call(0, (TIME, 0), &[at]), (SUCCESS, 0));
        assert_eq!(due(&machine), pending, "{at}");
        let next = machine.with(0, |state| RiscvMachine::timer(state));
        assert_eq!(next, timer, "{at}");
    }
}

#[test]
fn the_timer_comes_due() {
    let machine = Machine::new(1);
    machine.call(0, (TIME, 0), &[2000]);
    machine.with(0, |state| RiscvMachine::set_time(state, 2000));
    assert!(due(&machine));
}
