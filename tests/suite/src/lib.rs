//! Cross-crate tests: instruction rows, random programs, real programs, habits.
