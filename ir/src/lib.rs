//! The block IR: typed operations, builder, text form, verifier and reference interpreter.
