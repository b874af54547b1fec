//! One function for each instruction of the specification, by group.
//!
//! A function reads its operands, emits IR and writes the destination; whether the instruction
//! ends the block is in what it emits. Names and behaviour are the unprivileged manual's.

mod atomic;
mod bits;
mod csr;
mod float;
mod half;
mod integer;
mod privileged;
mod system;

pub(crate) use half::fli_name;

use crate::decode::Semantics;
use crate::translate::Translator;

impl Semantics for Translator<'_> {
    type Out = ();
}
