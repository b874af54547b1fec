//! What can be wrong with a specification.

use thiserror::Error;

/// A fault of a specification. Every variant names the line (counted from 1).
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// A statement that the grammar does not know.
    #[error("line {line}: cannot read `{text}`: {expected}")]
    Syntax {
        /// Line of the statement.
        line: usize,
        /// The offending word or statement.
        text: String,
        /// What was expected there.
        expected: &'static str,
    },
    /// A name that is defined twice.
    #[error("line {line}: {what} `{name}` is already defined on line {first}")]
    Duplicate {
        /// Line of the second definition.
        line: usize,
        /// What kind of thing it names.
        what: &'static str,
        /// The name.
        name: String,
        /// Line of the first definition.
        first: usize,
    },
    /// A name that is used and not defined.
    #[error("line {line}: `{user}` uses the unknown {what} `{name}`")]
    Unknown {
        /// Line of the use.
        line: usize,
        /// The instruction, format or alias that uses it.
        user: String,
        /// What kind of thing it should name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A pattern whose length is not the width of its space.
    #[error("line {line}: pattern of `{insn}` has {got} bits, the space has {want}")]
    Width {
        /// Line of the instruction.
        line: usize,
        /// The instruction.
        insn: String,
        /// Bits in the pattern.
        got: usize,
        /// Bits of the space.
        want: u32,
    },
    /// Bits that neither a constant nor a field covers.
    #[error("line {line}: `{insn}` leaves bits {bits:#x} to neither a constant nor a field")]
    Uncovered {
        /// Line of the instruction.
        line: usize,
        /// The instruction.
        insn: String,
        /// Mask of the bits.
        bits: u32,
    },
    /// Two instructions that match the same word.
    #[error("line {line}: `{insn}` and `{other}` (line {other_line}) both match {word:#x}")]
    Overlap {
        /// Line of the later instruction.
        line: usize,
        /// The later instruction.
        insn: String,
        /// The earlier instruction.
        other: String,
        /// Line of the earlier instruction.
        other_line: usize,
        /// A word that both match.
        word: u32,
    },
    /// An instruction whose exclusions leave no word.
    #[error("line {line}: `{insn}` can never match")]
    Empty {
        /// Line of the instruction.
        line: usize,
        /// The instruction.
        insn: String,
    },
    /// A format that sets an argument twice or not at all, or `=>` between unlike arguments.
    #[error("line {line}: `{user}` does not fit the arguments `{args}`: {why}")]
    Arguments {
        /// Line of the format or instruction.
        line: usize,
        /// The format or instruction.
        user: String,
        /// Name of the arguments.
        args: String,
        /// What does not fit.
        why: &'static str,
    },
    /// Candidates that no group of bits tells apart.
    #[error("line {line}: no bits tell `{insn}` from the lines that it excludes")]
    Undecidable {
        /// Line of one of the candidates.
        line: usize,
        /// Its name.
        insn: String,
    },
}
