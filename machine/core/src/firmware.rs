//! What an accelerator gives to firmware that is not guest code, and asks of it.

use std::sync::Arc;

/// Work for another vCPU, done on its own thread while it is stopped; wakes it if it sleeps.
pub type Work<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Work for several vCPUs.
pub type Everyone<S> = Arc<dyn Fn(&mut S) + Send + Sync>;

/// The other vCPUs of the machine, as firmware sees them.
///
/// A reset drops all work that is still to be done.
pub trait Peers<S> {
    /// Number of vCPUs.
    fn count(&self) -> u32;

    /// Has `work` done on vCPU `id`, soon.
    fn post(&self, id: u32, work: Work<S>);

    /// Has `work` done on each of `ids` before this returns, or before it next executes a guest
    /// instruction (a vCPU that sleeps or is itself in firmware counts as done). Never deadlocks
    /// against the same call from another vCPU. It is an instruction fence for them, too.
    fn run_on(&self, ids: &[u32], work: Everyone<S>);

    /// Starts a vCPU that has stopped; `work` sets its state. The vCPU may still be on its way
    /// from the call that answered [`After::Stop`]: then it starts as soon as it has stopped.
    fn start(&self, id: u32, work: Work<S>);

    /// Ticks of the machine's counter now.
    fn ticks(&self) -> u64;
}

/// What the vCPU does after a call. In each case its flushes, pending interrupts and timer are
/// looked at before the next guest instruction, for the call may have changed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It goes on at the pc in the state.
    Continue,
    /// It has stopped until it is started.
    Stop,
    /// It waits for an interrupt as `wfi` does, then goes on at the pc.
    Wait,
}

/// Firmware that answers the guest's environment calls. `S` is a vCPU's state.
pub trait Firmware<S>: Send + Sync {
    /// The guest on vCPU `id` has made a call; the pc is still at the instruction, and what the
    /// counters count has been noted. `None`: not for the firmware, the guest takes its exception.
    fn call(&self, id: u32, state: &mut S, peers: &dyn Peers<S>) -> Option<After>;

    /// vCPU `id` goes on after [`After::Wait`]. May be left out: its next call tells as well.
    fn resumed(&self, _id: u32) {}

    /// The machine was reset; `started` tells which vCPUs run.
    fn reset(&self, started: &[bool]);
}
