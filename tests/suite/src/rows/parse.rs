//! Text to rows.

use isomorph_ir::TrapKind;
use thiserror::Error;

use super::{Item, Left, MEMORY, MEMORY_BYTES, Row, value};

/// A line that is not a row.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: cannot read `{text}`: {expected}")]
pub struct RowError {
    /// The line, from 1.
    pub line: usize,
    /// What cannot be read.
    pub text: String,
    /// What was expected.
    pub expected: &'static str,
}

/// Reads a file of rows; empty lines and those that begin with `#` are none.
///
/// # Errors
///
/// The first line that is not a row.
pub fn parse(text: &str) -> Result<Vec<Row>, RowError> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()));
    lines
        .filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
        .map(|(at, l)| row(at, l))
        .collect()
}

fn row(line: usize, text: &str) -> Result<Row, RowError> {
    let error = |text: &str, expected| RowError {
        line,
        text: text.to_owned(),
        expected,
    };
    let (head, items) = text.split_once('|').ok_or_else(|| error(text, "a `|`"))?;
    let (before, after) = items
        .split_once("=>")
        .ok_or_else(|| error(items, "a `=>`"))?;
    let head = head.trim();
    let (name, rest) = head
        .split_once(' ')
        .ok_or_else(|| error(head, "a name and a word"))?;
    let rest = rest.trim_start();
    let (word, disassembly) = rest
        .split_once(' ')
        .ok_or_else(|| error(rest, "a disassembly"))?;
    let bits = u32::from_str_radix(word, 16).map_err(|_| error(word, "an instruction word"))?;
    let all = |text: &str| -> Result<Vec<Item>, RowError> {
        text.split_whitespace().map(|i| item(line, i)).collect()
    };
    Ok(Row {
        line,
        name: name.to_owned(),
        bits,
        len: (word.len() / 2) as u32,
        text: disassembly.trim().to_owned(),
        before: all(before)?,
        after: all(after)?,
    })
}

fn item(line: usize, text: &str) -> Result<Item, RowError> {
    let fault = |expected| RowError {
        line,
        text: text.to_owned(),
        expected,
    };
    let (name, value) = text.split_once('=').ok_or(fault("an item with `=`"))?;
    let (item, expected) = if name.starts_with('[') {
        (memory(name, value), "bytes at an address in the data")
    } else if let Some(n) = value::x_register(name) {
        let item = match value {
            "*" => Some(Item::AnyX(n)),
            _ => value::integer(value).map(|v| Item::X(n, v)),
        };
        (item, "an integer")
    } else if let Some(n) = value::f_register(name) {
        let item = value::float(value).map(|v| Item::F(n, v));
        (item, "a floating-point value")
    } else {
        let item = match name {
            "frm" => value::integer(value).map(Item::Frm),
            "flags" => value::flags(value).map(Item::Flags),
            "pc" => value::integer(value).map(Item::Pc),
            "trap" => trap(value).map(Item::Trap),
            _ => None,
        };
        (item, "a register, [address], frm, flags, pc or trap")
    };
    item.ok_or(fault(expected))
}

/// `[ADDRESS]=BYTES`, inside the data.
fn memory(name: &str, value: &str) -> Option<Item> {
    let address = name.strip_prefix('[')?.strip_suffix(']')?;
    let address = value::integer(address)?;
    let bytes = value::bytes(value)?;
    let end = address.checked_add(bytes.len() as u64)?;
    let inside = address >= MEMORY && end <= MEMORY + MEMORY_BYTES as u64;
    inside.then_some(Item::Memory(address, bytes))
}

fn trap(text: &str) -> Option<Left> {
    let (name, info) = match text.split_once(':') {
        Some((name, info)) => (name, value::integer(info)?),
        None => (text, 0),
    };
    match name {
        "fault" => Some(Left::Fault(info)),
        _ => TrapKind::from_name(name).map(|kind| Left::Trap(kind, info)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_line_and_word() {
        for (text, message) in [
            (
                "addi 00150513 addi a0,a0,1 a0=1 => a0=2",
                "line 1: cannot read",
            ),
            (
                "\naddi 00150513 x | a0=q =>",
                "line 2: cannot read `a0=q`: an integer",
            ),
            (
                "addi 00150513 x | q=1 =>",
                "line 1: cannot read `q=1`: a register",
            ),
            (
                "addi 00150513 x | [0x1]=00 =>",
                "line 1: cannot read `[0x1]=00`: bytes at an",
            ),
            ("addi 001505x3 x | =>", "line 1: cannot read `001505x3`"),
        ] {
            let error = parse(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
