//! What translated code of a machine calls.

use isomorph_frontend::{Helper, TlbFlush};

use super::csr::{self, Request};
use super::{HartState, Privilege, mode, status, walk};
use crate::helpers::float_helpers;

/// How an access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Outcome {
    /// As asked; go on.
    Done = 0,
    /// The instruction is illegal, nothing has changed.
    Illegal = 1,
    /// As asked; the engine must look at the state before the next instruction.
    Changed = 2,
}

const FLOAT: usize = 5;
const COUNT: usize = FLOAT + 4;

/// In the order of [`crate::helpers::HelperId`].
pub(crate) static HELPERS: &[Helper<HartState>] = &{
    let [a, b, c, d, e] = float_helpers::<HartState>();
    let all: [Helper<HartState>; COUNT] = [
        a,
        b,
        c,
        d,
        e,
        named("csr", csr_access),
        named("note-counters", note_counters),
        named("wfi", wfi),
        named("fence-vma", fence_vma),
    ];
    all
};

const fn named(
    name: &'static str,
    func: extern "C" fn(&mut HartState, u64, u64, u64) -> u64,
) -> Helper<HartState> {
    Helper { name, func }
}

/// What the engine would have to look at.
fn view(state: &HartState) -> (u32, isomorph_frontend::TlbContext) {
    (mode::of(state), walk::context(&state.sys))
}

extern "C" fn csr_access(state: &mut HartState, request: u64, operand: u64, _: u64) -> u64 {
    let request = Request::unpack(request);
    let watched = request.how.is_some() && csr::find(request.number).is_some_and(|r| r.changes);
    let before = watched.then(|| (view(state), state.sys.stimecmp, state.sys.menvcfg));
    let Some(old) = csr::access(&mut state.sys, request, operand) else {
        return Outcome::Illegal as u64;
    };
    if request.rd != 0 {
        state.regs.x[usize::from(request.rd)] = old;
    }
    let Some(before) = before else {
        return Outcome::Done as u64;
    };
    let changed = before != (view(state), state.sys.stimecmp, state.sys.menvcfg)
        || state.sys.flush.is_some()
        || state.sys.pending_interrupt().is_some();
    if changed {
        Outcome::Changed as u64
    } else {
        Outcome::Done as u64
    }
}

extern "C" fn note_counters(state: &mut HartState, cycle: u64, retired: u64, _: u64) -> u64 {
    (state.sys.cycle.raw, state.sys.instret.raw) = (cycle, retired);
    0
}

/// With `mstatus.TW`, waiting below machine mode is illegal at once: the time limit is 0.
extern "C" fn wfi(state: &mut HartState, _: u64, _: u64, _: u64) -> u64 {
    let sys = &state.sys;
    if sys.privilege < Privilege::Machine && sys.mstatus & status::TW != 0 {
        Outcome::Illegal as u64
    } else {
        Outcome::Done as u64
    }
}

/// Operands: address, address-space identifier, and by bit which of them is named.
extern "C" fn fence_vma(state: &mut HartState, address: u64, asid: u64, named: u64) -> u64 {
    let sys = &mut state.sys;
    if sys.privilege == Privilege::Supervisor && sys.mstatus & status::TVM != 0 {
        return Outcome::Illegal as u64;
    }
    let asid = asid & 0xffff;
    sys.request(match named & 3 {
        0 => TlbFlush::All,
        1 => TlbFlush::Page {
            address,
            asid: None,
        },
        2 => TlbFlush::Space { asid },
        _ => TlbFlush::Page {
            address,
            asid: Some(asid),
        },
    });
    Outcome::Changed as u64
}
