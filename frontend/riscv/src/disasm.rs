//! Assembly text of an instruction, as `objdump -d` spells it.

use std::fmt::Write;

use crate::cpu::Features;
use crate::decode::{ALIASES, Condition, Kind, Op, Operand};
use crate::semantics::fli_name;
use crate::state::{F_NAMES, X_NAMES};
use crate::system::csr;
use crate::translate::{Fetched, decode, fetch};

const ROUNDINGS: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "?", "?", "dyn"];

/// Appends to a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let _ = write!($out, $($arg)*);
    }};
}

/// Writes the instruction at `pc` and returns its length in bytes. Bytes that are no instruction
/// are written as data.
pub(crate) fn disassemble(features: Features, pc: u64, window: &[u8], out: &mut String) -> u32 {
    let Fetched::Whole { bits, len } = fetch(window) else {
        put!(out, ".byte");
        for byte in window.iter().take(1) {
            put!(out, "\t{byte:#04x}");
        }
        return 1;
    };
    match decode(bits, len, features) {
        Some(op) => instruction(op, bits, pc, out),
        None if len == 2 => put!(out, ".short\t{bits:#06x}"),
        None => put!(out, ".word\t{bits:#010x}"),
    }
    len
}

fn instruction(op: Op, bits: u32, pc: u64, out: &mut String) {
    let info = op.info();
    let values: Vec<i64> = info.args.iter().map(|arg| (arg.value)(bits)).collect();
    let alias = ALIASES.iter().find(|alias| {
        alias.op.info().name == info.semantic && alias.when.iter().all(|c| holds(c, &values))
    });
    let (name, operands) = match alias {
        Some(alias) => (alias.name, alias.operands),
        None => (info.semantic, info.operands),
    };
    out.push_str(name);
    if operands.is_empty() {
        return;
    }
    // The ordering suffix of atomics comes before the space that separates the operands.
    let separator = if operands.contains(' ') { "" } else { "\t" };
    out.push_str(separator);
    let mut rest = operands;
    while let Some((text, more)) = rest.split_once('{') {
        out.push_str(&text.replace(' ', "\t"));
        let Some((argument, after)) = more.split_once('}') else {
            break;
        };
        if let Some(at) = info.args.iter().position(|a| a.name == argument) {
            operand(&info.args[at], values[at], pc, out);
        }
        rest = after;
    }
    out.push_str(rest);
}

fn holds(condition: &Condition, values: &[i64]) -> bool {
    match *condition {
        Condition::Value(at, value) => values.get(at) == Some(&value),
        Condition::Same(left, right) => values.get(left) == values.get(right),
    }
}

fn operand(operand: &Operand, value: i64, pc: u64, out: &mut String) {
    match operand.kind {
        Kind::Xreg => out.push_str(X_NAMES[(value & 31) as usize]),
        Kind::Freg => out.push_str(F_NAMES[(value & 31) as usize]),
        Kind::Dec => put!(out, "{value}"),
        Kind::Shamt => put!(out, "{value:#x}"),
        Kind::Target => put!(out, "{:x}", pc.wrapping_add(value as u64)),
        Kind::Upper => put!(out, "{:#x}", value >> 12 & 0xf_ffff),
        Kind::Csr => match csr::name(value as u16) {
            Some(name) => out.push_str(&name),
            None => put!(out, "{value:#x}"),
        },
        Kind::Order => {
            let letters = [(8, 'i'), (4, 'o'), (2, 'r'), (1, 'w')];
            out.extend(letters.iter().filter(|l| value & l.0 != 0).map(|l| l.1));
            if value == 0 {
                out.push_str("unknown");
            }
        }
        Kind::Flag if value == 0 => {}
        Kind::Flag if operand.name == "aq" => out.push_str(".aq"),
        // After `.aq` it continues the same suffix.
        Kind::Flag if out.ends_with(".aq") => out.push_str("rl"),
        Kind::Flag => out.push_str(".rl"),
        Kind::Rm if value == 7 => {}
        Kind::Rm => put!(out, ",{}", ROUNDINGS[(value & 7) as usize]),
        Kind::Fli => out.push_str(&fli_name(value)),
    }
}
