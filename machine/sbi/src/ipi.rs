//! Chapter "IPI Extension".

use crate::call::{Answer, Call, Function, Reply};
use crate::pmu::Event;
use std::sync::Arc;

pub(crate) const FUNCTIONS: &[Function] = &[send_ipi];

/// Section "Function: Send IPI".
fn send_ipi(call: &mut Call<'_>) -> Answer {
    let targets = call.targets()?;
    call.count(Event::IPI_SENT, targets.others.len());
    for id in targets.others {
        let harts = Arc::clone(&call.sbi.harts);
        call.peers.post(
            id,
            Box::new(move |state| {
                state.sys.raise_software_interrupt();
                if let Some(hart) = harts.get(id as usize) {
                    hart.count(Event::IPI_RECEIVED, 1);
                }
            }),
        );
    }
    if targets.caller {
        call.state.sys.raise_software_interrupt();
    }
    Reply::done()
}
