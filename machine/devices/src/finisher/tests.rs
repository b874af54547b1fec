//! The finisher: what ends the machine and what does not.

use super::*;
use crate::testing::{batter, play, space};
use isomorph_machine::Step::{NoRead, NoWrite, Read, Write};
use isomorph_machine::{Life, Reset, RunState, Shutdown};

fn after(value: u64) -> RunState {
    let life = Life::new(false);
    life.resume();
    let space = space(Finisher::new(life.clone()), 0, LEN, RULES);
    play(&space, &[Read(0, 4, 0), Write(0, 4, value)]);
    play(&space, &[NoRead(0, 1), NoWrite(0, 8), Read(0xffc, 4, 0)]);
    life.state()
}

#[test]
fn the_guest_says_how_it_ended() {
    assert_eq!(after(PASS), RunState::Shutdown(Shutdown::Guest(0)));
    assert_eq!(
        after(3 << 16 | FAIL),
        RunState::Shutdown(Shutdown::Guest(3))
    );
    assert_eq!(after(RESET), RunState::Resetting(Reset::Guest));
    assert_eq!(after(0), RunState::Running);
    batter(&*Finisher::new(Life::new(true)), LEN);
}

#[test]
fn other_offsets_do_nothing() {
    let life = Life::new(false);
    let space = space(Finisher::new(life.clone()), 0, LEN, RULES);
    play(&space, &[Write(4, 4, PASS)]);
    assert_eq!(life.state(), RunState::Paused);
}
