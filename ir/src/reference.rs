//! `docs/ir.md`, written from the list of operations.

use crate::{
    AtomicOp, Aux, Cond, Imm, JumpKind, Op, OpFlags, OpInfo, Order, Rm, TrapKind, Type, sig,
};
use std::fmt::Write;

const HEAD: &str = "\
# The IR

*Written from the list of operations in `ir/src/op.rs`; `BLESS=1 cargo test -p isomorph-ir` \
rewrites it.*

A block is a straight line of operations with side exits. Operands are guest registers (globals), \
temporaries of the block, and constants. An integer operand that is wider than its operation is \
read truncated; a result has exactly the type that the operation gives. Constants are bits: they \
serve as integers and as floating-point data. The text form is described in `ir/src/text.rs`, the \
rules are checked by `ir/src/verify.rs`, and `ir/src/interp.rs` says what each operation means.

## Operations

`ty` is the operation's type. In the columns, *types* are those on which the operation is \
defined; *attributes* stand between its name and its operands. Properties: **p**ure, **b**arrier \
(guest state is precise here), **e**nds the block, **c**lobbers globals, uses the \
**f**loating-point environment.

| name | types | attributes | results | operands | | meaning |
|---|---|---|---|---|---|---|
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for &op in Op::ALL {
        let info = op.info();
        let OpInfo {
            name,
            results,
            operands,
            doc,
            ..
        } = info;
        let (types, attributes, properties) = (types(op), attributes(op), properties(info.flags));
        let operands = operands + u8::from(info.imm == Imm::Val);
        let doc = doc.replace('|', "\\|");
        let counts = format!("{results} | {operands}");
        let _ = writeln!(
            page,
            "| `{name}` | {types} | {attributes} | {counts} | {properties} | {doc} |"
        );
    }
    page.push_str("\n## Attributes\n\n");
    let mut list = |what: &str, names: Vec<&str>| {
        let _ = writeln!(page, "- {what}: `{}`.", names.join("`, `"));
    };
    list("condition", Cond::ALL.iter().map(|v| v.name()).collect());
    list("rounding mode", Rm::ALL.iter().map(|v| v.name()).collect());
    list(
        "memory order",
        Order::ALL.iter().map(|v| v.name()).collect(),
    );
    list(
        "atomic operation",
        AtomicOp::ALL.iter().map(|v| v.name()).collect(),
    );
    list(
        "kind of jump",
        JumpKind::ALL.iter().map(|v| v.name()).collect(),
    );
    list(
        "kind of trap",
        TrapKind::ALL.iter().map(|v| v.name()).collect(),
    );
    list("type", Type::ALL.iter().map(|v| v.name()).collect());
    page.push_str(
        "- memory access: `u` or `s` (zero- or sign-extending) and the size in bits, then `.be` \
         for big-endian, `.` and the memory order unless it is `relaxed`, and `.aligned` where \
         a misaligned address is a trap.\n",
    );
    page
}

fn types(op: Op) -> String {
    let types = Type::ALL.iter().filter(|&&ty| sig::types(op).contains(ty));
    let names: Vec<&str> = types.map(|ty| ty.name()).collect();
    if names.len() == Type::ALL.len() {
        "any".to_owned()
    } else {
        names.join(" ")
    }
}

fn attributes(op: Op) -> String {
    let info = op.info();
    let immediate = match info.imm {
        Imm::Helper => Some("helper number"),
        Imm::Pc => Some("pc"),
        Imm::Disp => Some("displacement"),
        Imm::None | Imm::Val => None,
    };
    let attributes = [attribute(info.aux), attribute(op.aux2()), immediate];
    attributes
        .into_iter()
        .flatten()
        .collect::<Vec<&str>>()
        .join(", ")
}

fn attribute(kind: Aux) -> Option<&'static str> {
    Some(match kind {
        Aux::None => return None,
        Aux::Cond => "condition",
        Aux::Mem => "memory access",
        Aux::Rm => "rounding mode",
        Aux::Jump => "kind of jump",
        Aux::Trap => "kind of trap",
        Aux::Order => "memory order",
        Aux::Type => "type",
        Aux::Atomic => "atomic operation",
        Aux::Number => "number",
    })
}

fn properties(flags: OpFlags) -> String {
    let letters = [
        (OpFlags::PURE, 'p'),
        (OpFlags::BARRIER, 'b'),
        (OpFlags::END, 'e'),
        (OpFlags::CLOBBER, 'c'),
        (OpFlags::FPENV, 'f'),
    ];
    letters
        .into_iter()
        .filter(|l| flags.has(l.0))
        .map(|l| l.1)
        .collect()
}

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ir.md");
    let page = page();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page,
        "docs/ir.md is out of date: BLESS=1 cargo test -p isomorph-ir"
    );
}
