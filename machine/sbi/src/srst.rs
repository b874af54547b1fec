//! Chapter "System Reset Extension".

use crate::call::{Answer, Call, Error, Function, Reply};
use isomorph_machine::{After, Reset, Shutdown};

pub(crate) const FUNCTIONS: &[Function] = &[system_reset];

const SHUTDOWN: u32 = 0;
const COLD_REBOOT: u32 = 1;
const WARM_REBOOT: u32 = 2;
/// "No reason" and "system failure"; the others are reserved or not implemented.
const REASONS: std::ops::RangeInclusive<u32> = 0..=1;

/// Section "Function: System reset".
///
/// A shutdown is one without an exit status, whatever its reason: with OpenSBI 1.6 too, QEMU exits
/// with 0 after a system failure.
fn system_reset(call: &mut Call<'_>) -> Answer {
    // Both parameters are 32 bits wide.
    let [kind, reason] = [call.args[0] as u32, call.args[1] as u32];
    if !REASONS.contains(&reason) {
        return Err(Error::InvalidParam);
    }
    let life = &call.sbi.services.life;
    match kind {
        SHUTDOWN => life.shutdown(Shutdown::Guest(0)),
        COLD_REBOOT | WARM_REBOOT => life.reset(Reset::Guest),
        _ => return Err(Error::InvalidParam),
    }
    Reply::gone(After::Stop)
}
