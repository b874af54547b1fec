//! Parsing.

use super::print::{has_address, pc_mark};
use crate::{
    AtomicOp, Aux, Block, Cond, GlobalTable, Imm, Inst, JumpKind, MemOp, Op, Order, Rm, Temp,
    TrapKind, Type, Val,
};

/// Why a text is no block, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ParseError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    #[source]
    pub kind: ParseErrorKind,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The text does not begin with a block header.
    #[error("expected `block <pc> flags <n> insns <n> end <pc>`")]
    Header,
    /// The line ends too early, or has something else where this is wanted.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Something follows what should be the end of the line.
    #[error("`{0}` is one too many")]
    Trailing(String),
    /// There is no such operation.
    #[error("`{0}` is no operation")]
    UnknownOp(String),
    /// There is no such type.
    #[error("`{0}` is no type")]
    UnknownType(String),
    /// There is no such attribute of the kind that the operation has.
    #[error("`{word}` is no {kind:?} attribute")]
    UnknownAttribute {
        /// The kind.
        kind: Aux,
        /// The word.
        word: String,
    },
    /// The word is neither a temporary nor a constant nor a global of the guest.
    #[error("`{0}` is no operand")]
    UnknownOperand(String),
    /// The word is no number of 64 bits.
    #[error("`{0}` is no number")]
    BadNumber(String),
    /// Results stand before an operation that has another number of them.
    #[error("`{op}` has {wanted} results")]
    ResultCount {
        /// The operation's name.
        op: &'static str,
        /// Its number of results.
        wanted: u8,
    },
    /// A temporary is given two types.
    #[error("%{0} has two types")]
    TwoTypes(usize),
    /// A temporary is read that has no type before this line.
    #[error("%{0} is not written before")]
    Untyped(usize),
    /// More constants or temporaries than a block can hold.
    #[error("too many values")]
    TooMany,
}

use ParseErrorKind as Kind;

/// Reads the text form of one block, over the globals of `table`.
///
/// Checks the form only: whether the block keeps the IR's rules is [`crate::verify`]'s to say.
pub fn parse(text: &str, table: &GlobalTable) -> Result<Block, ParseError> {
    let mut parser = Parser {
        table,
        block: Block::default(),
        types: Vec::new(),
    };
    let mut seen_header = false;
    for (i, line) in text.lines().enumerate() {
        let words = tokens(line.split(';').next().unwrap_or(""));
        if words.is_empty() {
            continue;
        }
        let mut line = Line { words: &words };
        let result = if seen_header {
            parser.inst(&mut line)
        } else {
            parser.header(&mut line)
        };
        result.map_err(|kind| ParseError { line: i + 1, kind })?;
        seen_header = true;
    }
    if !seen_header {
        return Err(ParseError {
            line: 1,
            kind: Kind::Header,
        });
    }
    parser.block.temps = parser
        .types
        .iter()
        .map(|&(ty, uses)| Temp {
            ty: ty.unwrap_or(Type::I64),
            uses,
        })
        .collect();
    Ok(parser.block)
}

/// Splits a line into words; `, [ ] =` are words of their own, as are `+` and `-` in an address.
fn tokens(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    let mut in_address = false;
    while let Some(first) = rest.chars().next() {
        let alone = matches!(first, ',' | '[' | ']' | '=') || in_address && "+-".contains(first);
        let end = |c: char| c.is_whitespace() || ",[]=".contains(c);
        let len = if alone {
            1
        } else {
            let stop = |c: char| end(c) || in_address && "+-".contains(c);
            rest.find(stop).unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(len);
        in_address = (in_address || first == '[') && first != ']';
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The words of a line that are still to be read.
struct Line<'a> {
    words: &'a [&'a str],
}

impl<'a> Line<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.first().copied()
    }

    fn next(&mut self, what: &'static str) -> Result<&'a str, Kind> {
        let (first, rest) = self.words.split_first().ok_or(Kind::Expected(what))?;
        self.words = rest;
        Ok(first)
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn expect(&mut self, word: &'static str) -> Result<(), Kind> {
        if self.accept(word) {
            Ok(())
        } else {
            Err(Kind::Expected(word))
        }
    }

    fn number(&mut self) -> Result<u64, Kind> {
        let word = self.next("a number")?;
        number(word).ok_or_else(|| Kind::BadNumber(word.to_owned()))
    }

    fn end(&self) -> Result<(), Kind> {
        self.peek()
            .map_or(Ok(()), |word| Err(Kind::Trailing(word.to_owned())))
    }
}

/// A decimal or hexadecimal number with an optional sign, as 64 bits.
fn number(word: &str) -> Option<u64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    })
}

struct Parser<'a> {
    table: &'a GlobalTable,
    block: Block,
    /// Type, once it is known, and number of uses of each temporary.
    types: Vec<(Option<Type>, u16)>,
}

impl Parser<'_> {
    fn header(&mut self, line: &mut Line) -> Result<(), Kind> {
        let mut field = |name| {
            if line.accept(name) {
                line.number()
            } else {
                Err(Kind::Header)
            }
        };
        self.block.pc = field("block")?;
        self.block.flags = u32::try_from(field("flags")?).map_err(|_| Kind::Header)?;
        self.block.insns = u32::try_from(field("insns")?).map_err(|_| Kind::Header)?;
        self.block.end = field("end")?;
        line.end()
    }

    fn inst(&mut self, line: &mut Line) -> Result<(), Kind> {
        if line.accept("--") {
            let imm = line.number()? as i64;
            self.block.insts.push(Inst {
                imm,
                ..Inst::new(Op::InsnStart, Type::I64)
            });
            return line.end();
        }
        let mut results = [Val::NONE; 2];
        let count = self.results(line, &mut results)?;
        let [d, d2] = results;
        let (op, ty) = op_and_type(line.next("an operation")?)?;
        let info = op.info();
        if count != usize::from(info.results) {
            return Err(Kind::ResultCount {
                op: info.name,
                wanted: info.results,
            });
        }
        let ty = ty.or_else(|| self.type_of(d)).unwrap_or(Type::I64);
        let mut inst = Inst {
            d,
            d2,
            ..Inst::new(op, ty)
        };
        inst.aux = attribute(line, info.aux)?;
        inst.aux2 = attribute(line, op.aux2())?;
        if info.imm == Imm::Helper {
            inst.imm = helper_number(line)?;
        }
        self.operands(line, &mut inst)?;
        if info.imm == Imm::Pc {
            line.expect(pc_mark(op))?;
            inst.imm = line.number()? as i64;
        }
        self.block.insts.push(inst);
        line.end()
    }

    /// `d =` or `d, d2 =`, if there is one on the line; the number of results.
    fn results(&mut self, line: &mut Line, results: &mut [Val; 2]) -> Result<usize, Kind> {
        if !line.words.contains(&"=") {
            return Ok(0);
        }
        for (i, result) in results.iter_mut().enumerate() {
            let word = line.next("a result")?;
            *result = match word.strip_prefix('%') {
                Some(rest) => self.written_temp(word, rest)?,
                None => self.global(word)?,
            };
            if line.accept("=") {
                return Ok(i + 1);
            }
            line.expect(",")?;
        }
        Err(Kind::Expected("="))
    }

    fn written_temp(&mut self, word: &str, rest: &str) -> Result<Val, Kind> {
        let (n, ty) = rest.split_once(':').ok_or(Kind::Expected("%number:type"))?;
        let n = self.temp_number(word, n)?;
        let ty = Type::from_name(ty).ok_or_else(|| Kind::UnknownType(ty.to_owned()))?;
        if self.types.len() <= n {
            self.types.resize(n + 1, (None, 0));
        }
        if *self.types[n].0.get_or_insert(ty) != ty {
            return Err(Kind::TwoTypes(n));
        }
        Ok(Val::temp(n as u16))
    }

    fn temp_number(&self, word: &str, n: &str) -> Result<usize, Kind> {
        match n.parse() {
            Ok(n @ 0..0x7fff) => Ok(n),
            Ok(_) => Err(Kind::TooMany),
            Err(_) => Err(Kind::UnknownOperand(word.to_owned())),
        }
    }

    fn global(&self, word: &str) -> Result<Val, Kind> {
        if let Some(n) = word.strip_prefix('$').and_then(|n| n.parse::<u8>().ok()) {
            return Ok(Val::local(n.into()));
        }
        let found = self.table.globals.iter().position(|g| g.name == word);
        found
            .map(|n| Val::global(n as u16))
            .ok_or_else(|| Kind::UnknownOperand(word.to_owned()))
    }

    fn type_of(&self, val: Val) -> Option<Type> {
        if val.as_local().is_some() {
            return Some(Type::I64);
        }
        match (val.as_global(), val.as_temp()) {
            (Some(n), _) => self.table.get(n).map(|g| g.ty),
            (_, Some(n)) => self.types.get(n).and_then(|t| t.0),
            _ => None,
        }
    }

    fn operands(&mut self, line: &mut Line, inst: &mut Inst) -> Result<(), Kind> {
        let mut vals = [Val::NONE; 5];
        let info = inst.op.info();
        let count = usize::from(info.operands) + usize::from(info.imm == Imm::Val);
        for (i, val) in vals[..count].iter_mut().enumerate() {
            if i > 0 {
                line.expect(",")?;
            }
            if i == 0 && has_address(inst.op) {
                (*val, inst.imm) = self.address(line, info.imm == Imm::Disp)?;
            } else {
                *val = self.operand(line)?;
            }
        }
        [inst.a, inst.b, inst.c, inst.e, _] = vals;
        if info.imm == Imm::Val {
            inst.imm = i64::from(vals[4].raw());
        }
        Ok(())
    }

    fn address(&mut self, line: &mut Line, with_disp: bool) -> Result<(Val, i64), Kind> {
        line.expect("[")?;
        // The sign of a constant address is a word of its own here.
        let base = if line.accept("-") {
            let value = line.number()?;
            self.constant(value.wrapping_neg())?
        } else {
            self.operand(line)?
        };
        let mut disp = 0;
        if with_disp && line.accept("+") {
            disp = line.number()? as i64;
        } else if with_disp && line.accept("-") {
            disp = (line.number()? as i64).wrapping_neg();
        }
        line.expect("]")?;
        Ok((base, disp))
    }

    fn operand(&mut self, line: &mut Line) -> Result<Val, Kind> {
        let word = line.next("an operand")?;
        if word == "none" {
            return Ok(Val::NONE);
        }
        if let Some(rest) = word.strip_prefix('%') {
            let n = self.temp_number(word, rest)?;
            let temp = self.types.get_mut(n).filter(|t| t.0.is_some());
            let temp = temp.ok_or(Kind::Untyped(n))?;
            temp.1 = temp.1.checked_add(1).ok_or(Kind::TooMany)?;
            return Ok(Val::temp(n as u16));
        }
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let value = number(word).ok_or_else(|| Kind::BadNumber(word.to_owned()))?;
            return self.constant(value);
        }
        self.global(word)
    }

    fn constant(&mut self, value: u64) -> Result<Val, Kind> {
        let consts = &mut self.block.consts;
        let n = consts.iter().position(|&c| c == value).unwrap_or_else(|| {
            consts.push(value);
            consts.len() - 1
        });
        if n < 0x4000 {
            Ok(Val::constant(n as u16))
        } else {
            Err(Kind::TooMany)
        }
    }
}

fn op_and_type(word: &str) -> Result<(Op, Option<Type>), Kind> {
    let (name, suffix) = match word.split_once('.') {
        Some((name, ty)) => (name, Some(ty)),
        None => (word, None),
    };
    let op = Op::from_name(name).ok_or_else(|| Kind::UnknownOp(name.to_owned()))?;
    let ty = match suffix {
        Some(s) => Some(Type::from_name(s).ok_or_else(|| Kind::UnknownType(s.to_owned()))?),
        None => None,
    };
    Ok((op, ty))
}

fn helper_number(line: &mut Line) -> Result<i64, Kind> {
    let word = line.next("#number")?;
    let digits = word.strip_prefix('#').ok_or(Kind::Expected("#number"))?;
    let n: u32 = digits
        .parse()
        .map_err(|_| Kind::BadNumber(word.to_owned()))?;
    Ok(i64::from(n))
}

fn attribute(line: &mut Line, kind: Aux) -> Result<u8, Kind> {
    if kind == Aux::None {
        return Ok(0);
    }
    let word = line.next("an attribute")?;
    let value = match kind {
        Aux::None => None,
        Aux::Mem => memory(word).map(|m| m.0),
        Aux::Number => word.parse().ok(),
        Aux::Cond => Cond::from_name(word).map(|v| v as u8),
        Aux::Rm => Rm::from_name(word).map(|v| v as u8),
        Aux::Jump => JumpKind::from_name(word).map(|v| v as u8),
        Aux::Trap => TrapKind::from_name(word).map(|v| v as u8),
        Aux::Order => Order::from_name(word).map(|v| v as u8),
        Aux::Type => Type::from_name(word).map(|v| v as u8),
        Aux::Atomic => AtomicOp::from_name(word).map(|v| v as u8),
    };
    value.ok_or_else(|| Kind::UnknownAttribute {
        kind,
        word: word.to_owned(),
    })
}

/// The inverse of [`MemOp`]'s `Display`.
fn memory(word: &str) -> Option<MemOp> {
    let mut parts = word.split('.');
    let size = parts.next()?;
    let (signed, bits) = match size.strip_prefix('s') {
        Some(bits) => (true, bits),
        None => (false, size.strip_prefix('u')?),
    };
    let log2 = (0..8u8).find(|n| bits.parse() == Ok(8u32 << n))?;
    let mut mem = MemOp(log2);
    if signed {
        mem = mem.with_sign();
    }
    for part in parts {
        mem = match part {
            "be" => mem.with_big_endian(),
            "aligned" => mem.with_alignment(),
            order => mem.with_order(Order::from_name(order)?),
        };
    }
    Some(mem)
}
