//! Tier 1: one pass from the block IR to x86-64.
