//! The hot tier: samples of time, what is recorded of what they find hot, what is chosen from it,
//! and the threads that compile.
//!
//! What is hot makes its vCPU *record*: it goes on block by block, in translations all
//! of whose exits leave generated code, and notes where each leads. The blocks that the recording
//! went through again and again become a region (`isomorph_ir::Region`), which a thread of its own
//! compiles.

mod budget;
mod choose;
mod cut;
mod gain;
mod queue;
mod record;
mod sampler;
mod thread;

pub(crate) use budget::Budget;
pub(crate) use choose::{Choice, ChosenBlock};
pub(crate) use cut::{Way, behind};
pub(crate) use gain::Mix;
pub(crate) use queue::{Queue, QueueGuard, compile_region, cpu_time, process_time};
pub(crate) use record::Recording;
pub(crate) use sampler::{Sampler, SamplerGuard};
