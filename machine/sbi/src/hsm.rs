//! Chapter "Hart State Management Extension".

use crate::call::{Answer, Call, Error, Function, Reply};
use crate::hart::Status;
use crate::memory::is_entry;
use isomorph_machine::After;
use std::sync::Arc;

pub(crate) const FUNCTIONS: &[Function] = &[hart_start, hart_stop, hart_get_status, hart_suspend];

/// Of the table "HSM Hart Suspend Types" only the default ones.
const RETENTIVE: u32 = 0;
const NON_RETENTIVE: u32 = 1 << 31;

/// Section "Function: Hart start".
fn hart_start(call: &mut Call<'_>) -> Answer {
    let [id, start, opaque, ..] = call.args;
    let (id, hart) = call.hart_by_id(id)?;
    if !is_entry(&call.sbi.services.memory.view(), start) {
        return Err(Error::InvalidAddress);
    }
    if !hart.change_status(Status::Stopped, Status::StartPending) {
        return Err(Error::AlreadyAvailable);
    }
    let harts = Arc::clone(&call.sbi.harts);
    call.peers.start(
        id,
        Box::new(move |state| {
            state.start_supervisor(start, opaque);
            if let Some(hart) = harts.get(id as usize) {
                hart.change_status(Status::StartPending, Status::Started);
            }
        }),
    );
    Reply::done()
}

/// Section "Function: Hart stop". From here on others may start the hart, which waits until it has
/// arrived ([`isomorph_machine::Peers::start`]).
fn hart_stop(call: &mut Call<'_>) -> Answer {
    call.hart.set_status(Status::Stopped);
    Reply::gone(After::Stop)
}

/// Section "Function: Hart get status".
fn hart_get_status(call: &mut Call<'_>) -> Answer {
    let (_, hart) = call.hart_by_id(call.args[0])?;
    Reply::value(u64::from(hart.status()))
}

/// Section "Function: Hart suspend". The hart sleeps either way; without retention it awakes as
/// one that has lost all that it may lose.
fn hart_suspend(call: &mut Call<'_>) -> Answer {
    let [kind, resume, opaque, ..] = call.args;
    match kind as u32 {
        RETENTIVE => {
            call.hart.set_status(Status::Suspended);
            Reply::then(0, After::Wait)
        }
        NON_RETENTIVE => {
            if !is_entry(&call.sbi.services.memory.view(), resume) {
                return Err(Error::InvalidAddress);
            }
            call.hart.set_status(Status::Suspended);
            call.state.resume_supervisor(resume, opaque);
            Reply::gone(After::Wait)
        }
        _ => Err(Error::InvalidParam),
    }
}
