//! A specification as data.

/// A set of words: those whose bits under `mask` equal `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cube {
    pub mask: u32,
    pub value: u32,
}

impl Cube {
    /// The words in both, if there are any.
    pub fn and(self, other: Cube) -> Option<Cube> {
        let both = self.mask & other.mask;
        ((self.value ^ other.value) & both == 0).then_some(Cube {
            mask: self.mask | other.mask,
            value: self.value | other.value,
        })
    }

    /// Whether every word of `other` is in `self`.
    pub fn contains(self, other: Cube) -> bool {
        self.mask & !other.mask == 0 && (self.value ^ other.value) & self.mask == 0
    }
}

/// A bit range `hi:lo` of the instruction word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub hi: u32,
    pub lo: u32,
}

impl Segment {
    pub fn width(self) -> u32 {
        self.hi - self.lo + 1
    }

    pub fn mask(self) -> u32 {
        (((1u64 << self.width()) - 1) << self.lo) as u32
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub line: usize,
    pub name: String,
    pub signed: bool,
    pub segments: Vec<Segment>,
    pub shift: u32,
    pub plus: u32,
    pub kind: String,
}

impl Field {
    pub fn mask(&self) -> u32 {
        self.segments.iter().fold(0, |mask, s| mask | s.mask())
    }

    /// The words whose raw field bits (before sign, shift and offset) are `raw`.
    pub fn equals(&self, raw: u32) -> Cube {
        let mut left = raw;
        let mut value = 0;
        for segment in self.segments.iter().rev() {
            value |= (left << segment.lo) & segment.mask();
            left = left.checked_shr(segment.width()).unwrap_or(0);
        }
        Cube {
            mask: self.mask(),
            value,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub line: usize,
    pub name: String,
    /// Name and Rust type.
    pub members: Vec<(String, String)>,
}

/// Where a format takes an argument from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Index into the fields of the space.
    Field(usize),
    /// The same value in every word, printed as the kind of the second member.
    Constant(i64, String),
}

#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub line: usize,
    pub name: String,
    pub space: usize,
    pub args: usize,
    /// In the order of the arguments.
    pub sources: Vec<Source>,
    /// Words that no instruction of this format is.
    pub except: Vec<Cube>,
}

#[derive(Clone, Debug)]
pub(crate) struct Insn {
    pub line: usize,
    pub name: String,
    pub space: usize,
    pub group: usize,
    pub cube: Cube,
    pub format: usize,
    /// Indices into the extensions; all of them are required.
    pub exts: Vec<usize>,
    /// The instruction whose semantic function and operands are shared.
    pub same_as: Option<usize>,
    /// Words that the pattern matches and the instruction does not.
    pub except: Vec<Cube>,
    pub operands: String,
}

/// A condition on the arguments of an instruction.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Argument index equals value.
    Value(usize, i64),
    /// Two arguments are equal.
    Same(usize, usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub name: String,
    pub insn: usize,
    pub conditions: Vec<Condition>,
    pub operands: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Space {
    pub line: usize,
    pub name: String,
    pub width: u32,
    pub fields: Vec<Field>,
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    pub exts: Vec<(usize, String)>,
    pub args: Vec<Args>,
    /// Names of the traits that hold the semantic functions.
    pub groups: Vec<String>,
    pub spaces: Vec<Space>,
    pub formats: Vec<Format>,
    pub insns: Vec<Insn>,
    pub aliases: Vec<Alias>,
}

impl Spec {
    /// The arguments of an instruction.
    pub fn args_of(&self, insn: usize) -> &Args {
        &self.args[self.formats[self.insns[insn].format].args]
    }

    /// The instruction that owns the semantic function of `insn`.
    pub fn semantic_of(&self, insn: usize) -> usize {
        self.insns[insn].same_as.unwrap_or(insn)
    }
}
