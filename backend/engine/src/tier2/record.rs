//! What a vCPU went through since a counter ran out.

use super::choose::{Choice, may_join};
use crate::blocks::Tripped;
use crate::config::Refusal;
use crate::site::Site;

/// Most blocks that are recorded.
const STEPS: usize = 512;
/// Most times that the head is met again.
const ROUNDS: u32 = 64;
/// Blocks after which the head must have been met again.
const PATIENCE: usize = 160;

/// A block that was entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered {
    pub pc: u64,
    /// By a computed jump or a return.
    pub computed: bool,
    /// It may be part of the region.
    pub inside: bool,
}

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(super) tripped: Tripped,
    pub(super) steps: Vec<Entered>,
    rounds: u32,
}

impl Recording {
    /// One that begins at the block whose counter ran out.
    pub fn new(tripped: Tripped) -> Self {
        Self {
            tripped,
            steps: Vec::with_capacity(PATIENCE),
            rounds: 0,
        }
    }

    /// Where it began.
    pub fn head(&self) -> Site {
        self.tripped.site
    }

    /// Notes that the block at `site` is entered next. True if that is enough.
    pub fn step(&mut self, site: Site, computed: bool) -> bool {
        let head = self.head();
        let inside = may_join(head, site.pc) && head.inside(site.pc).space == site.space;
        self.steps.push(Entered {
            pc: site.pc,
            computed,
            inside,
        });
        self.rounds += u32::from(inside && site.pc == head.pc);
        self.rounds > ROUNDS
            || self.steps.len() >= STEPS
            || (self.rounds < 2 && self.steps.len() >= PATIENCE)
    }

    /// The block at `pc`, entered last, was left before its first instruction: it is entered again.
    /// True if that was by a computed jump.
    pub fn undo(&mut self, pc: u64) -> bool {
        let Some(step) = self.steps.pop_if(|step| step.pc == pc) else {
            return false;
        };
        self.rounds -= u32::from(step.inside && pc == self.head().pc);
        step.computed
    }

    /// The region that it shows.
    pub fn choose(&self) -> Result<Choice, Refusal> {
        Choice::from_steps(self)
    }
}
