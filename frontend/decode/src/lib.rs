//! Build-time decoder generator: an instruction specification becomes a decision tree.
