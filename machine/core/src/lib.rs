//! Machines: interrupt lines, clocks, life cycle, and what an accelerator must give.
