//! Chapter "Timer Extension".

use crate::call::{Answer, Call, Function, Reply};
use crate::pmu::Event;

pub(crate) const FUNCTIONS: &[Function] = &[set_timer];

/// Section "Function: Set Timer".
fn set_timer(call: &mut Call<'_>) -> Answer {
    call.count(Event::SET_TIMER, 1);
    let now = call.peers.ticks();
    call.state.sys.set_timer(call.args[0], now);
    Reply::done()
}
