//! State and behaviour of the PLIC.

use super::regs::*;
use crate::sync::lock;
use isomorph_machine::{Device, IrqLine, IrqSink};
use isomorph_softmmu::Mmio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Registers of a PLIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlicState {
    /// By source; source 0 does not exist.
    priority: Vec<u32>,
    /// 32 sources per word, here and below.
    pending: Vec<u32>,
    /// Claimed and not yet completed: the gateway sends nothing.
    claimed: Vec<u32>,
    /// The levels of the lines.
    level: Vec<u32>,
    contexts: Vec<Context>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    enable: Vec<u32>,
    threshold: u32,
}

impl PlicState {
    fn new(sources: u32, contexts: usize) -> Self {
        let count = sources.min(MAX_SOURCES) as usize + 1;
        let words = vec![0; count.div_ceil(32)];
        let context = Context {
            enable: words.clone(),
            threshold: 0,
        };
        Self {
            priority: vec![0; count],
            pending: words.clone(),
            claimed: words.clone(),
            level: words,
            contexts: vec![context; contexts],
        }
    }

    /// The bits of a word that stand for sources.
    fn sources(&self, word: usize) -> u32 {
        let count = self.priority.len();
        let mut mask = match count.saturating_sub(word * 32) {
            0 => 0,
            bits @ 1..32 => (1 << bits) - 1,
            _ => u32::MAX,
        };
        if word == 0 {
            mask &= !1;
        }
        mask
    }

    /// The pending and enabled source of the highest priority, the lowest number among equals;
    /// 0: none.
    fn best(&self, context: &Context) -> usize {
        let mut best = 0;
        let mut priority = 0;
        for (word, (pending, enable)) in self.pending.iter().zip(&context.enable).enumerate() {
            let mut bits = pending & enable;
            while bits != 0 {
                let source = word * 32 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(&this) = self.priority.get(source)
                    && this > priority
                {
                    (best, priority) = (source, this);
                }
            }
        }
        best
    }

    /// True if the context's interrupt is raised.
    fn raised(&self, context: &Context) -> bool {
        let best = self.best(context);
        best != 0 && self.priority[best] > context.threshold
    }

    /// Lets the gateways of one word send what they may.
    fn forward(&mut self, word: usize) {
        if let (Some(level), Some(claimed), Some(pending)) = (
            self.level.get(word),
            self.claimed.get(word),
            self.pending.get_mut(word),
        ) {
            *pending |= level & !claimed;
        }
    }

    fn set_level(&mut self, source: u32, level: bool) {
        let word = source as usize / 32;
        let bit = 1u32 << (source % 32) & self.sources(word);
        let Some(levels) = self.level.get_mut(word) else {
            return;
        };
        if level {
            *levels |= bit;
        } else {
            *levels &= !bit;
        }
        self.forward(word);
    }

    fn claim(&mut self, context: usize) -> u32 {
        let Some(context) = self.contexts.get(context) else {
            return 0;
        };
        let source = self.best(context);
        if source != 0 {
            let bit = 1 << (source % 32);
            self.pending[source / 32] &= !bit;
            self.claimed[source / 32] |= bit;
        }
        source as u32
    }

    fn complete(&mut self, context: usize, source: u64) {
        let word = (source / 32) as usize;
        let bit = 1u32 << (source % 32);
        let context = self.contexts.get(context);
        let enabled = context.and_then(|context| context.enable.get(word));
        if enabled.is_some_and(|enabled| enabled & bit != 0) {
            self.claimed[word] &= !bit;
            self.forward(word);
        }
    }

    fn read(&mut self, register: Register) -> u32 {
        let value = match register {
            Register::Priority(source) => self.priority.get(source),
            Register::Pending(word) => self.pending.get(word),
            Register::Enable(context, word) => {
                let context = self.contexts.get(context);
                context.and_then(|context| context.enable.get(word))
            }
            Register::Threshold(context) => self.contexts.get(context).map(|c| &c.threshold),
            Register::Claim(context) => return self.claim(context),
        };
        value.copied().unwrap_or(0)
    }

    fn write(&mut self, register: Register, value: u32) {
        let mask = match register {
            Register::Enable(_, word) => self.sources(word),
            Register::Priority(0) => 0,
            _ => PRIORITY_MASK,
        };
        let cell = match register {
            Register::Priority(source) => self.priority.get_mut(source),
            Register::Enable(context, word) => {
                let context = self.contexts.get_mut(context);
                context.and_then(|context| context.enable.get_mut(word))
            }
            Register::Threshold(context) => {
                let context = self.contexts.get_mut(context);
                context.map(|context| &mut context.threshold)
            }
            Register::Claim(context) => return self.complete(context, value.into()),
            Register::Pending(_) => None,
        };
        if let Some(cell) = cell {
            *cell = value & mask;
        }
    }
}

/// A PLIC. Its inputs are its sources, by number.
pub struct Plic {
    state: Mutex<PlicState>,
    /// By source: how often its line has gone high.
    raised: Vec<AtomicU64>,
    outputs: Vec<IrqLine>,
}

impl Plic {
    /// A PLIC with sources 1 to `sources` and one context per output.
    pub fn new(sources: u32, outputs: Vec<IrqLine>) -> Arc<Self> {
        let state = PlicState::new(sources, outputs.len());
        Arc::new(Self {
            raised: state.priority.iter().map(|_| AtomicU64::new(0)).collect(),
            state: Mutex::new(state),
            outputs,
        })
    }

    /// The sources whose lines have gone high, and how often each.
    pub fn raised(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let counts = self
            .raised
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        (0..).zip(counts).filter(|&(_, count)| count != 0)
    }

    /// A line to source `number`.
    pub fn line(self: &Arc<Self>, number: u32) -> IrqLine {
        IrqLine::new(self.clone(), number)
    }

    /// All registers.
    pub fn state(&self) -> PlicState {
        lock(&self.state).clone()
    }

    /// Sets all registers; false if they are those of a PLIC of another shape.
    pub fn restore(&self, new: PlicState) -> bool {
        self.change(|state| {
            let same = new.priority.len() == state.priority.len()
                && new.contexts.len() == state.contexts.len();
            if same {
                *state = new;
            }
            same
        })
    }

    fn change<R>(&self, act: impl FnOnce(&mut PlicState) -> R) -> R {
        let mut state = lock(&self.state);
        let result = act(&mut state);
        for (context, output) in state.contexts.iter().zip(&self.outputs) {
            output.set(state.raised(context));
        }
        result
    }
}

impl IrqSink for Plic {
    fn set_irq(&self, number: u32, level: bool) {
        if let (true, Some(count)) = (level, self.raised.get(number as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.change(|state| state.set_level(number, level));
    }
}

impl Mmio for Plic {
    fn read(&self, offset: u64, _: u32) -> u64 {
        let register = Register::at(offset);
        register.map_or(0, |register| {
            self.change(|state| state.read(register)).into()
        })
    }

    fn write(&self, offset: u64, _: u32, value: u64) {
        if let Some(register) = Register::at(offset) {
            self.change(|state| state.write(register, value as u32));
        }
    }
}

impl Device for Plic {
    fn reset(&self) {
        self.change(|state| {
            // The lines keep their levels: their drivers are reset by themselves.
            let fresh = PlicState::new(state.priority.len() as u32 - 1, state.contexts.len());
            let level = std::mem::take(&mut state.level);
            *state = PlicState { level, ..fresh };
            (0..state.level.len()).for_each(|word| state.forward(word));
        });
    }
}
