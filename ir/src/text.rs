//! The text form of a block: one operation per line.
//!
//! ```text
//! block 0x10000 flags 0x0 insns 2 end 0x10008
//! -- 0x10000                              ; a guest instruction starts
//!   %0:i64 = add a0, 0x10                 ; temporaries are %n, typed where they are written
//!   a1 = load s32.acquire [%0+0x8]        ; globals have the guest's names
//!   %1:i64 = setcond.i32 lts a1, 0x0      ; the type, where it is not the result's
//! -- 0x10004
//!   exitif ne %1, 0x0 -> 0x10020
//!   exit -> 0x10008
//! ```
//!
//! A type suffix is absent where it is the type of the first result, or `i64` for an operation
//! without results. A region's locals are `$n` (I64). Attributes stand before the operands. `-> pc`
//! is where an exit leads, `@ pc` where a trap happens, `#n` the number of a helper, `;` begins a
//! comment.
//!
//! Printing is total: what a broken block names and does not have is printed with a `?`, which the
//! parser refuses. [`parse`] of a printed valid block gives an equal block but for the numbering
//! of its constants, which the text does not show.

mod parse;
mod print;

pub use parse::{ParseError, ParseErrorKind, parse};
pub use print::{BlockText, InstText};

#[cfg(test)]
mod tests;
