//! Build-time decoder generator: an instruction specification becomes a decision tree.
//!
//! A guest instruction set calls [`compile`] from its build script with the text of its
//! specification and includes the Rust source it returns.
//!
//! # The specification
//!
//! One statement a line; `#` starts a comment. Statements before they are used:
//!
//! ```text
//! ext    M F D                              names of the extensions that lines may require
//! group  Integer                            the trait of the semantic functions that follow
//! args   I rd:u8 rs1:u8 imm:i64             the arguments of a semantic function
//! space  w32 32                             a decode space; what follows belongs to it
//! field  imm_b signed 31 7 30:25 11:8 <<1 : target
//! format I I rd=rd rs1=rs1 imm=imm_i        arguments from fields or constants
//! insn   addi ............_....._000_....._0010011 I I : "{rd},{rs1},{imm}"
//! insn   c.li 010_._....._....._01 CLI C => addi [where FIELD!=VALUE] [except INSN]
//! alias  li addi when rs1=0 : "{rd},{imm}"
//! ```
//!
//! A field is its bit segments, most significant first, concatenated, sign-extended when `signed`,
//! shifted left by `<<n`, then increased by `+n`. What follows the colon is its *kind*: how the
//! disassembler prints it. `=> addi` shares the semantic function, the operands and the aliases of
//! another instruction with the same arguments. A format may carry exclusions too (`rm!=5`).
//!
//! # What is generated
//!
//! * one `Args…` struct for each `args` line, with one constructor for each format;
//! * `enum Op`, one variant an instruction, and for each space `decode_<space>(word) ->
//!   Option<Op>`: nested `match`es over groups of bits that the generator chose. Decoding is total:
//!   every word that no line matches is `None`;
//! * one trait for each `group` (`Translate` if there is none), with one required function for
//!   each instruction that has no `=>`, and `dispatch`, which calls the function of an `Op` with
//!   its arguments;
//! * `INSNS` and `ALIASES`: the tables from which names, extensions and disassembly come.
//!
//! # Invariants
//!
//! * No two lines of a space match the same word; each bit of a pattern is a constant or belongs
//!   to a field of its format. Everything else fails the build with the line and the name.
//! * A missing semantic function is a compile error of the guest's crate, never a run-time one.

#![forbid(unsafe_code)]

mod check;
mod emit;
mod error;
mod parse;
mod spec;
mod tree;

pub use error::SpecError;

/// Compiles a specification to Rust source.
///
/// # Errors
///
/// The first fault found, with its line: see [`SpecError`].
///
/// # Examples
///
/// ```
/// let spec = "
/// args N
/// space byte 8
/// format N N
/// insn nop 00000000 N - : \"\"
/// ";
/// let source = isomorph_decode::compile(spec).unwrap();
/// assert!(source.contains("fn decode_byte(w: u32) -> Option<Op>"));
/// ```
pub fn compile(text: &str) -> Result<String, SpecError> {
    let spec = parse::parse(text)?;
    check::check(&spec)?;
    emit::emit(&spec)
}
