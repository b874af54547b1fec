//! [`Spec`] to Rust source.

use std::fmt::Write;

use crate::error::SpecError;
use crate::spec::{Condition, Field, Format, Source, Spec};
use crate::tree::{self, Group, Leaf, Node};

/// All generated items, in one string.
pub(crate) fn emit(spec: &Spec) -> Result<String, SpecError> {
    let mut out = String::from("// Generated from the decode specification.\n\n");
    kinds(&mut out, spec);
    args(&mut out, spec);
    ops(&mut out, spec);
    for (at, space) in spec.spaces.iter().enumerate() {
        let root = tree::build(spec, at)?;
        decoder(&mut out, spec, &space.name, &root);
    }
    translate(&mut out, spec);
    tables(&mut out, spec);
    Ok(out)
}

/// Appends one line; writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        let _ = writeln!($out, $($arg)*);
    }};
}

/// `c.addi4spn` becomes `CAddi4spn`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in name.split(['.', '_']) {
        let mut chars = part.chars();
        if let Some(first) = chars.next() {
            out.extend(first.to_uppercase());
            out.push_str(chars.as_str());
        }
    }
    out
}

/// `amoadd.w` becomes `amoadd_w`.
fn snake(name: &str) -> String {
    name.replace('.', "_")
}

fn kinds(out: &mut String, spec: &Spec) {
    let mut kinds: Vec<String> = Vec::new();
    let fields = spec.spaces.iter().flat_map(|s| &s.fields).map(|f| &f.kind);
    let constants = spec
        .formats
        .iter()
        .flat_map(|f| &f.sources)
        .filter_map(|s| match s {
            Source::Constant(_, kind) => Some(kind),
            Source::Field(_) => None,
        });
    for kind in fields.chain(constants) {
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }
    line!(out, "/// How an operand is printed.");
    line!(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum Kind {{"
    );
    for kind in kinds {
        line!(
            out,
            "    /// Kind `{kind}` of the specification.\n    {},",
            camel(&kind)
        );
    }
    line!(out, "}}\n");
    line!(
        out,
        "/// Extensions that instructions require, as a set of bits."
    );
    line!(out, "pub mod ext {{");
    for (bit, (_, name)) in spec.exts.iter().enumerate() {
        line!(
            out,
            "    /// Extension {name}.\n    pub const {}: u64 = 1 << {bit};",
            name.to_uppercase()
        );
    }
    line!(out, "    /// Names, in the order of the bits.");
    let names: Vec<&str> = spec.exts.iter().map(|e| e.1.as_str()).collect();
    line!(out, "    pub const NAMES: &[&str] = &{names:?};\n}}\n");
}

fn args(out: &mut String, spec: &Spec) {
    for (at, args) in spec.args.iter().enumerate() {
        line!(out, "/// Arguments `{}`.", args.name);
        line!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]");
        line!(
            out,
            "#[allow(missing_docs)]\npub struct Args{} {{",
            args.name
        );
        for (member, ty) in &args.members {
            line!(out, "    pub {member}: {ty},");
        }
        line!(out, "}}\n\nimpl Args{} {{", args.name);
        for format in spec.formats.iter().filter(|f| f.args == at) {
            line!(
                out,
                "    /// Reads format `{}`.\n    #[inline(always)]",
                format.name
            );
            let word = if format.sources.iter().any(|s| matches!(s, Source::Field(_))) {
                "w"
            } else {
                "_w"
            };
            line!(
                out,
                "    pub fn {}({word}: u32) -> Self {{",
                format_fn(format)
            );
            line!(out, "        Self {{");
            for ((member, ty), source) in args.members.iter().zip(&format.sources) {
                let value = match source {
                    Source::Constant(value, _) => format!("{value}"),
                    Source::Field(at) => extract(&spec.spaces[format.space].fields[*at], ty),
                };
                line!(out, "            {member}: {value},");
            }
            line!(out, "        }}\n    }}");
        }
        line!(out, "}}\n");
    }
}

fn format_fn(format: &Format) -> String {
    format!("from_{}", format.name.to_lowercase())
}

/// The expression that reads a field from `w`.
fn extract(field: &Field, ty: &str) -> String {
    let total: u32 = field.segments.iter().map(|s| s.width()).sum();
    let mut at = total;
    let mut parts = Vec::new();
    for segment in &field.segments {
        at -= segment.width();
        let low = format!(
            "(w >> {}) & {:#x}",
            segment.lo,
            (1u64 << segment.width()) - 1
        );
        parts.push(if at == 0 {
            format!("({low})")
        } else {
            format!("(({low}) << {at})")
        });
    }
    let mut value = parts.join(" | ");
    if field.signed {
        let up = 32 - total;
        value = format!("((({value}) << {up}) as i32 >> {up})");
    } else if parts.len() > 1 {
        value = format!("({value})");
    }
    if field.shift != 0 {
        value = format!("({value} << {})", field.shift);
    }
    if field.plus != 0 {
        value = format!("({value} + {})", field.plus);
    }
    format!("{value} as {ty}")
}

fn ops(out: &mut String, spec: &Spec) {
    line!(out, "/// Every instruction of the specification.");
    line!(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]"
    );
    line!(out, "#[repr(u16)]\npub enum Op {{");
    for insn in &spec.insns {
        line!(out, "    /// `{}`\n    {},", insn.name, camel(&insn.name));
    }
    line!(out, "}}\n\nimpl Op {{");
    line!(out, "    /// Every instruction, in the order of [`INSNS`].");
    line!(out, "    pub const ALL: &[Op] = &[");
    for insn in &spec.insns {
        line!(out, "        Op::{},", camel(&insn.name));
    }
    line!(out, "    ];\n");
    line!(
        out,
        "    /// Its line of the specification.\n    #[inline(always)]"
    );
    line!(
        out,
        "    pub fn info(self) -> &'static InsnInfo {{\n        &INSNS[self as usize]\n    }}\n"
    );
    line!(
        out,
        "    /// The extensions that it requires: bits of [`ext`]."
    );
    line!(
        out,
        "    #[inline(always)]\n    pub fn exts(self) -> u64 {{"
    );
    line!(out, "        const EXTS: &[u64] = &[");
    for insn in &spec.insns {
        line!(out, "            {:#x},", ext_bits(&insn.exts));
    }
    line!(out, "        ];\n        EXTS[self as usize]\n    }}");
    line!(out, "}}\n");
}

/// A set of extensions.
fn ext_bits(exts: &[usize]) -> u64 {
    exts.iter().fold(0, |set, bit| set | 1 << bit)
}

fn decoder(out: &mut String, spec: &Spec, space: &str, root: &Node) {
    line!(
        out,
        "/// The instruction that `w` is in space `{space}`, if it is one."
    );
    line!(out, "#[allow(clippy::all)]");
    line!(out, "pub fn decode_{space}(w: u32) -> Option<Op> {{");
    node(out, spec, root, 1);
    line!(out, "}}\n");
}

fn node(out: &mut String, spec: &Spec, at: &Node, depth: usize) {
    let pad = "    ".repeat(depth);
    match at {
        Node::Illegal => line!(out, "{pad}None"),
        Node::Leaves(leaves) => {
            for leaf in leaves {
                let op = camel(&spec.insns[leaf.insn].name);
                match test(leaf) {
                    None => return line!(out, "{pad}Some(Op::{op})"),
                    Some(test) => line!(out, "{pad}if {test} {{ return Some(Op::{op}); }}"),
                }
            }
            line!(out, "{pad}None");
        }
        Node::Switch {
            group,
            arms,
            default,
        } => {
            line!(out, "{pad}match {} {{", scrutinee(group));
            for (value, arm) in arms {
                line!(out, "{pad}    {value:#x} => {{");
                node(out, spec, arm, depth + 2);
                line!(out, "{pad}    }}");
            }
            line!(out, "{pad}    _ => {{");
            node(out, spec, default, depth + 2);
            line!(out, "{pad}    }}\n{pad}}}");
        }
    }
}

/// The value of a group in `w`.
fn scrutinee(group: &Group) -> String {
    let low = format!("(w >> {}) & {:#x}", group.shift, tree::window(group.bits));
    if group.high_bits == 0 {
        return low;
    }
    let high = tree::window(group.high_bits);
    format!(
        "({low}) | ((w >> {}) & {high:#x}) << {}",
        group.high_shift, group.bits
    )
}

/// The condition under which the word is the instruction, if it needs one.
fn test(leaf: &Leaf) -> Option<String> {
    let mut tests = Vec::new();
    if leaf.rest.mask != 0 {
        tests.push(format!(
            "w & {:#x} == {:#x}",
            leaf.rest.mask, leaf.rest.value
        ));
    }
    for hole in &leaf.except {
        tests.push(format!("w & {:#x} != {:#x}", hole.mask, hole.value));
    }
    (!tests.is_empty()).then(|| tests.join(" && "))
}

fn translate(out: &mut String, spec: &Spec) {
    line!(out, "/// What every semantic function answers.");
    line!(
        out,
        "pub trait Semantics {{\n    /// The answer.\n    type Out;\n}}\n"
    );
    for (group, name) in spec.groups.iter().enumerate() {
        line!(out, "/// Semantic functions of group `{name}`.");
        line!(
            out,
            "#[allow(missing_docs)]\npub trait {name}: Semantics {{"
        );
        for (at, insn) in spec.insns.iter().enumerate() {
            if insn.same_as.is_none() && insn.group == group {
                let (name, args) = (snake(&insn.name), &spec.args_of(at).name);
                line!(
                    out,
                    "    fn {name}(&mut self, a: &Args{args}) -> Self::Out;"
                );
            }
        }
        line!(out, "}}\n");
    }
    let bounds = spec.groups.join(" + ");
    line!(
        out,
        "/// Calls the semantic function of `op` with the arguments that `w` holds."
    );
    line!(out, "#[inline]");
    line!(
        out,
        "pub fn dispatch<T: {bounds}>(op: Op, w: u32, t: &mut T) -> T::Out {{"
    );
    line!(out, "    match op {{");
    for (at, insn) in spec.insns.iter().enumerate() {
        let semantic = &spec.insns[spec.semantic_of(at)].name;
        let read = format_fn(&spec.formats[insn.format]);
        let args = &spec.args_of(at).name;
        let op = camel(&insn.name);
        line!(
            out,
            "        Op::{op} => t.{}(&Args{args}::{read}(w)),",
            snake(semantic)
        );
    }
    line!(out, "    }}\n}}\n");
}

fn tables(out: &mut String, spec: &Spec) {
    out.push_str(TABLE_TYPES);
    line!(out, "/// Every instruction, in the order of [`Op`].");
    line!(out, "pub static INSNS: &[InsnInfo] = &[");
    for (at, insn) in spec.insns.iter().enumerate() {
        let semantic = &spec.insns[spec.semantic_of(at)].name;
        let exts = ext_bits(&insn.exts);
        line!(out, "    InsnInfo {{");
        line!(
            out,
            "        name: {:?},\n        semantic: {semantic:?},",
            insn.name
        );
        line!(
            out,
            "        mask: {:#x},\n        value: {:#x},",
            insn.cube.mask,
            insn.cube.value
        );
        line!(
            out,
            "        exts: {exts:#x},\n        operands: {:?},",
            insn.operands
        );
        line!(
            out,
            "        args: FORMAT_{},",
            spec.formats[insn.format].name.to_uppercase()
        );
        line!(out, "    }},");
    }
    line!(out, "];\n");
    for format in &spec.formats {
        let name = format.name.to_uppercase();
        line!(out, "const FORMAT_{name}: &[Operand] = &[");
        for ((member, _), source) in spec.args[format.args].members.iter().zip(&format.sources) {
            operand(out, spec, format, member, source);
        }
        line!(out, "];\n");
    }
    line!(out, "/// Other spellings, the first that fits is printed.");
    line!(out, "pub static ALIASES: &[AliasInfo] = &[");
    for alias in &spec.aliases {
        let op = camel(&spec.insns[alias.insn].name);
        line!(
            out,
            "    AliasInfo {{\n        name: {:?},\n        op: Op::{op},",
            alias.name
        );
        line!(out, "        when: &[");
        for condition in &alias.conditions {
            match condition {
                Condition::Value(at, value) => {
                    line!(out, "            Condition::Value({at}, {value}),");
                }
                Condition::Same(left, right) => {
                    line!(out, "            Condition::Same({left}, {right}),");
                }
            }
        }
        line!(
            out,
            "        ],\n        operands: {:?},\n    }},",
            alias.operands
        );
    }
    line!(out, "];");
}

fn operand(out: &mut String, spec: &Spec, format: &Format, member: &str, source: &Source) {
    let (kind, value) = match source {
        Source::Constant(value, kind) => (kind, format!("|_| {value}")),
        Source::Field(at) => {
            let field = &spec.spaces[format.space].fields[*at];
            (&field.kind, format!("|w| {}", extract(field, "i64")))
        }
    };
    let kind = camel(kind);
    line!(
        out,
        "    Operand {{ name: {member:?}, kind: Kind::{kind}, value: {value} }},"
    );
}

const TABLE_TYPES: &str = r#"/// One argument of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Name of the argument.
    pub name: &'static str,
    /// How it is printed.
    pub kind: Kind,
    /// Reads it from the instruction word.
    pub value: fn(u32) -> i64,
}

/// One line of the specification.
#[derive(Clone, Copy, Debug)]
pub struct InsnInfo {
    /// Its name there.
    pub name: &'static str,
    /// The instruction whose semantic function and spelling it has.
    pub semantic: &'static str,
    /// The bits that are constant.
    pub mask: u32,
    /// Their values.
    pub value: u32,
    /// The extensions that it requires: bits of [`ext`].
    pub exts: u64,
    /// Operands, with `{name}` for an argument.
    pub operands: &'static str,
    /// The arguments.
    pub args: &'static [Operand],
}

/// When an alias is printed.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    /// The argument of this index has this value.
    Value(usize, i64),
    /// Two arguments are equal.
    Same(usize, usize),
}

/// Another spelling of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct AliasInfo {
    /// The other name.
    pub name: &'static str,
    /// The instruction whose semantic function it has.
    pub op: Op,
    /// All must hold.
    pub when: &'static [Condition],
    /// Operands, with `{name}` for an argument.
    pub operands: &'static str,
}

"#;
