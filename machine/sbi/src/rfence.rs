//! Chapter "RFENCE Extension".
//!
//! A remote `FENCE.I` has nothing to do on its harts but to be there: reaching other harts is an
//! instruction fence for all of them, which drops the translations of code that has changed. There
//! is no hypervisor extension, so its fences are not supported.

use crate::call::{Answer, Call, Error, Function, Reply, Targets};
use crate::pmu::Event;
use isomorph_frontend::TlbFlush;
use isomorph_riscv::HartState;
use std::sync::Arc;

pub(crate) const FUNCTIONS: &[Function] = &[
    remote_fence_i,
    remote_sfence_vma,
    remote_sfence_vma_asid,
    // The four HFENCE functions are not supported, whatever their arguments are.
];

const PAGE_SHIFT: u32 = 12;
/// As wide as `satp` has it.
const ASID_MASK: u64 = 0xffff;

/// Section "Function: Remote FENCE.I".
fn remote_fence_i(call: &mut Call<'_>) -> Answer {
    let targets = call.targets()?;
    let events = (Event::FENCE_I_SENT, Event::FENCE_I_RECEIVED);
    fence(call, &targets, events, |_| {});
    Reply::done()
}

/// Section "Function: Remote SFENCE.VMA".
fn remote_sfence_vma(call: &mut Call<'_>) -> Answer {
    let events = (Event::SFENCE_VMA_SENT, Event::SFENCE_VMA_RECEIVED);
    remote_sfence(call, None, events)
}

/// Section "Function: Remote SFENCE.VMA with ASID".
fn remote_sfence_vma_asid(call: &mut Call<'_>) -> Answer {
    let events = (Event::SFENCE_VMA_ASID_SENT, Event::SFENCE_VMA_ASID_RECEIVED);
    let asid = call.args[4] & ASID_MASK;
    remote_sfence(call, Some(asid), events)
}

fn remote_sfence(call: &mut Call<'_>, asid: Option<u64>, events: (Event, Event)) -> Answer {
    let targets = call.targets()?;
    let [_, _, start, size, ..] = call.args;
    if let Some(flush) = flush(start, size, asid)? {
        fence(call, &targets, events, move |state| state.sys.fence(flush));
    }
    Reply::done()
}

/// What covers a range of addresses; `None` if it is empty.
///
/// A hart keeps one request, and two different ones make it forget all: so a range within one page
/// is that page, any other the whole address space.
fn flush(start: u64, size: u64, asid: Option<u64>) -> Result<Option<TlbFlush>, Error> {
    let whole = asid.map_or(TlbFlush::All, |asid| TlbFlush::Space { asid });
    if (start, size) == (0, 0) || size == u64::MAX {
        return Ok(Some(whole));
    }
    let Some(more) = size.checked_sub(1) else {
        return Ok(None);
    };
    let last = start.checked_add(more).ok_or(Error::InvalidAddress)?;
    let page = TlbFlush::Page {
        address: start,
        asid,
    };
    let one = start >> PAGE_SHIFT == last >> PAGE_SHIFT;
    Ok(Some(if one { page } else { whole }))
}

/// Has `work` done on all targets before the call returns, and counts what was sent and received.
fn fence(
    call: &mut Call<'_>,
    targets: &Targets,
    (sent, received): (Event, Event),
    work: impl Fn(&mut HartState) + Send + Sync + 'static,
) {
    if targets.caller {
        work(call.state);
    }
    if targets.others.is_empty() {
        return;
    }
    call.count(sent, targets.others.len());
    let harts = Arc::clone(&call.sbi.harts);
    let everyone = move |state: &mut HartState| {
        work(state);
        if let Some(hart) = harts.get(state.sys.hart_id() as usize) {
            hart.count(received, 1);
        }
    };
    call.peers.run_on(&targets.others, Arc::new(everyone));
}
