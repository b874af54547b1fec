//! Chapter "IPI Extension"; masks are in the module above.

use super::*;

/// A stopped hart is a valid target, but starts without the interrupt.
#[test]
fn harts_that_do_not_run() {
    let machine = Machine::new(3);
    machine.call_after(1, (HSM, 1), &[]);
    machine.call_after(2, (HSM, 3), &[0]);
    let answer = machine.call(0, (IPI, 0), &[0, ALL]);
    assert_eq!(answer, (SUCCESS, 0));
    let hit: Vec<bool> = (0..3).map(|id| interrupted(&machine, id)).collect();
    assert_eq!(hit, [true, false, true]);
}
