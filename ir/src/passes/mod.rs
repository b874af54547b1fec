//! Passes over regions: what tier 2 does to the IR before the host compiler sees it.

mod cfg;

pub use cfg::{Cfg, Loop, targets};
