//! Text to [`Spec`].

use crate::error::SpecError;
use crate::spec::{
    Alias, Args, Condition, Cube, Field, Format, Insn, Segment, Source, Space, Spec,
};

/// Reads the whole text.
pub(crate) fn parse(text: &str) -> Result<Spec, SpecError> {
    let mut parser = Parser {
        spec: Spec::default(),
        group: 0,
        line: 0,
    };
    for (index, raw) in text.lines().enumerate() {
        parser.line = index + 1;
        let statement = strip_comment(raw).trim();
        if !statement.is_empty() {
            parser.statement(statement)?;
        }
    }
    Ok(parser.spec)
}

/// A `#` inside quotes is text.
fn strip_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

struct Parser {
    spec: Spec,
    /// The group of the next instruction.
    group: usize,
    line: usize,
}

type Words<'a> = std::str::SplitWhitespace<'a>;

impl Parser {
    fn statement(&mut self, statement: &str) -> Result<(), SpecError> {
        let (head, tail) = match statement.split_once(" : ") {
            Some((head, tail)) => (head, Some(tail.trim())),
            None => (statement, None),
        };
        let mut words = head.split_whitespace();
        match words.next().unwrap_or_default() {
            "ext" => self.exts(words),
            "args" => self.args(words),
            "group" => self.group(words),
            "space" => self.space(words),
            "field" => self.field(words, tail),
            "format" => self.format(words),
            "insn" => self.insn(words, tail),
            "alias" => self.alias(words, tail),
            other => Err(self.syntax(other, "a statement of the grammar")),
        }
    }

    fn syntax(&self, text: &str, expected: &'static str) -> SpecError {
        SpecError::Syntax {
            line: self.line,
            text: text.to_owned(),
            expected,
        }
    }

    fn word<'a>(
        &self,
        words: &mut Words<'a>,
        expected: &'static str,
    ) -> Result<&'a str, SpecError> {
        words.next().ok_or_else(|| self.syntax("", expected))
    }

    fn unknown(&self, user: &str, what: &'static str, name: &str) -> SpecError {
        let (user, name) = (user.to_owned(), name.to_owned());
        SpecError::Unknown {
            line: self.line,
            user,
            what,
            name,
        }
    }

    fn fresh(&self, what: &'static str, name: &str, first: Option<usize>) -> Result<(), SpecError> {
        match first {
            None => Ok(()),
            Some(first) => Err(SpecError::Duplicate {
                line: self.line,
                what,
                name: name.to_owned(),
                first,
            }),
        }
    }

    fn number(&self, text: &str) -> Result<i64, SpecError> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let value = match digits.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        value
            .map(|v| sign * v)
            .map_err(|_| self.syntax(text, "a number"))
    }

    fn exts(&mut self, words: Words) -> Result<(), SpecError> {
        for name in words {
            let first = self.spec.exts.iter().find(|e| e.1 == name).map(|e| e.0);
            self.fresh("extension", name, first)?;
            self.spec.exts.push((self.line, name.to_owned()));
        }
        Ok(())
    }

    fn args(&mut self, mut words: Words) -> Result<(), SpecError> {
        let name = self.word(&mut words, "a name for the arguments")?;
        let first = self
            .spec
            .args
            .iter()
            .find(|a| a.name == name)
            .map(|a| a.line);
        self.fresh("arguments", name, first)?;
        let mut members = Vec::new();
        for member in words {
            let (member, ty) = member
                .split_once(':')
                .ok_or_else(|| self.syntax(member, "name:type"))?;
            if !matches!(ty, "u8" | "u16" | "u32" | "i32" | "i64") {
                return Err(self.syntax(ty, "u8, u16, u32, i32 or i64"));
            }
            members.push((member.to_owned(), ty.to_owned()));
        }
        self.spec.args.push(Args {
            line: self.line,
            name: name.to_owned(),
            members,
        });
        Ok(())
    }

    /// Opens a group, or opens it again.
    fn group(&mut self, mut words: Words) -> Result<(), SpecError> {
        let name = self.word(&mut words, "a name for the group")?.to_owned();
        match self.spec.groups.iter().position(|g| *g == name) {
            Some(at) => self.group = at,
            None => {
                self.group = self.spec.groups.len();
                self.spec.groups.push(name);
            }
        }
        Ok(())
    }

    fn space(&mut self, mut words: Words) -> Result<(), SpecError> {
        let name = self.word(&mut words, "a name for the space")?;
        let first = self
            .spec
            .spaces
            .iter()
            .find(|s| s.name == name)
            .map(|s| s.line);
        self.fresh("space", name, first)?;
        let width = self.word(&mut words, "the width in bits")?;
        let width = match width.parse() {
            Ok(bits @ 1..=32) => bits,
            _ => return Err(self.syntax(width, "a width from 1 to 32")),
        };
        let (line, name) = (self.line, name.to_owned());
        self.spec.spaces.push(Space {
            line,
            name,
            width,
            fields: Vec::new(),
        });
        Ok(())
    }

    /// The space that the current line belongs to.
    fn here(&self) -> Result<usize, SpecError> {
        let count = self.spec.spaces.len();
        count
            .checked_sub(1)
            .ok_or_else(|| self.syntax("", "a `space` line before this one"))
    }

    fn field(&mut self, mut words: Words, kind: Option<&str>) -> Result<(), SpecError> {
        let space = self.here()?;
        let width = self.spec.spaces[space].width;
        let name = self.word(&mut words, "a name for the field")?;
        let first = self.spec.spaces[space]
            .fields
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.line);
        self.fresh("field", name, first)?;
        let kind = kind
            .ok_or_else(|| self.syntax(name, "` : kind` at the end"))?
            .to_owned();
        let (line, name) = (self.line, name.to_owned());
        let mut field = Field {
            line,
            name,
            signed: false,
            segments: vec![],
            shift: 0,
            plus: 0,
            kind,
        };
        for word in words {
            if word == "signed" {
                field.signed = true;
            } else if let Some(by) = word.strip_prefix("<<") {
                field.shift = self.number(by)? as u32;
            } else if let Some(by) = word.strip_prefix('+') {
                field.plus = self.number(by)? as u32;
            } else {
                field.segments.push(self.segment(word, width)?);
            }
        }
        if field.segments.is_empty() {
            return Err(self.syntax(&field.name, "at least one bit range"));
        }
        self.spec.spaces[space].fields.push(field);
        Ok(())
    }

    fn segment(&self, word: &str, width: u32) -> Result<Segment, SpecError> {
        let (hi, lo) = word.split_once(':').unwrap_or((word, word));
        match (hi.parse(), lo.parse()) {
            (Ok(hi), Ok(lo)) if lo <= hi && hi < width => Ok(Segment { hi, lo }),
            _ => Err(self.syntax(word, "a bit or a range hi:lo inside the word")),
        }
    }

    fn format(&mut self, mut words: Words) -> Result<(), SpecError> {
        let space = self.here()?;
        let name = self.word(&mut words, "a name for the format")?;
        let first = self
            .spec
            .formats
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.line);
        self.fresh("format", name, first)?;
        let args_name = self.word(&mut words, "the name of its arguments")?;
        let args = self.spec.args.iter().position(|a| a.name == args_name);
        let args = args.ok_or_else(|| self.unknown(name, "arguments", args_name))?;
        let bad = |why| SpecError::Arguments {
            line: self.line,
            user: name.to_owned(),
            args: args_name.to_owned(),
            why,
        };
        let mut sources = vec![None; self.spec.args[args].members.len()];
        let mut except = Vec::new();
        for word in words {
            if word.contains("!=") {
                except.push(self.exclusion(space, name, word)?);
                continue;
            }
            let (member, from) = word
                .split_once('=')
                .ok_or_else(|| self.syntax(word, "argument=field"))?;
            let slot = self.spec.args[args]
                .members
                .iter()
                .position(|m| m.0 == member);
            let slot = slot.ok_or_else(|| self.unknown(name, "argument", member))?;
            if sources[slot].is_some() {
                return Err(bad("an argument is set twice"));
            }
            sources[slot] = Some(self.source(space, name, from)?);
        }
        let sources: Option<Vec<_>> = sources.into_iter().collect();
        let sources = sources.ok_or_else(|| bad("an argument is not set"))?;
        self.spec.formats.push(Format {
            line: self.line,
            name: name.to_owned(),
            space,
            args,
            sources,
            except,
        });
        Ok(())
    }

    /// `field`, or `number:kind`, a constant printed like a field of that kind.
    fn source(&self, space: usize, user: &str, from: &str) -> Result<Source, SpecError> {
        if let Some((number, kind)) = from.split_once(':') {
            return Ok(Source::Constant(self.number(number)?, kind.to_owned()));
        }
        let field = self.spec.spaces[space]
            .fields
            .iter()
            .position(|f| f.name == from);
        field
            .map(Source::Field)
            .ok_or_else(|| self.unknown(user, "field", from))
    }

    fn insn(&mut self, mut words: Words, tail: Option<&str>) -> Result<(), SpecError> {
        let space = self.here()?;
        let name = self
            .word(&mut words, "a name for the instruction")?
            .to_owned();
        let first = self
            .spec
            .insns
            .iter()
            .find(|i| i.name == name)
            .map(|i| i.line);
        self.fresh("instruction", &name, first)?;
        let pattern = self.word(&mut words, "a bit pattern")?;
        let cube = self.pattern(space, &name, pattern)?;
        let format_name = self.word(&mut words, "a format")?;
        let format = self
            .spec
            .formats
            .iter()
            .position(|f| f.name == format_name && f.space == space);
        let format = format.ok_or_else(|| self.unknown(&name, "format", format_name))?;
        let exts = self.requires(&name, self.word(&mut words, "extensions, or -")?)?;
        let (same_as, mut except) = self.clauses(space, &name, &mut words)?;
        except.extend(&self.spec.formats[format].except);
        if let Some(other) = same_as
            && self.spec.formats[self.spec.insns[other].format].args
                != self.spec.formats[format].args
        {
            return Err(SpecError::Arguments {
                line: self.line,
                user: name,
                args: self.spec.args_of(other).name.clone(),
                why: "the two instructions take different arguments",
            });
        }
        let operands = match (tail, same_as) {
            (Some(tail), _) => self.quoted(tail)?,
            (None, Some(other)) => self.spec.insns[other].operands.clone(),
            (None, None) => return Err(self.syntax(&name, "` : \"operands\"` at the end")),
        };
        self.check_operands(&name, format, &operands)?;
        if self.spec.groups.is_empty() {
            self.spec.groups.push("Translate".to_owned());
        }
        let (line, group) = (self.line, self.group);
        let insn = Insn {
            line,
            name,
            space,
            group,
            cube,
            format,
            exts,
            same_as,
            except,
            operands,
        };
        self.spec.insns.push(insn);
        Ok(())
    }

    fn pattern(&self, space: usize, name: &str, pattern: &str) -> Result<Cube, SpecError> {
        let want = self.spec.spaces[space].width;
        let mut cube = Cube { mask: 0, value: 0 };
        let mut got = 0;
        for c in pattern.chars().filter(|c| *c != '_') {
            let (mask, value) = match c {
                '0' => (1, 0),
                '1' => (1, 1),
                '.' => (0, 0),
                _ => return Err(self.syntax(pattern, "a pattern of 0, 1, . and _")),
            };
            cube = Cube {
                mask: cube.mask << 1 | mask,
                value: cube.value << 1 | value,
            };
            got += 1;
        }
        if got != want as usize {
            let insn = name.to_owned();
            return Err(SpecError::Width {
                line: self.line,
                insn,
                got,
                want,
            });
        }
        Ok(cube)
    }

    fn requires(&self, user: &str, text: &str) -> Result<Vec<usize>, SpecError> {
        if text == "-" {
            return Ok(Vec::new());
        }
        let find = |name: &str| {
            let at = self.spec.exts.iter().position(|e| e.1 == name);
            at.ok_or_else(|| self.unknown(user, "extension", name))
        };
        text.split('&').map(find).collect()
    }

    fn clauses(
        &self,
        space: usize,
        user: &str,
        words: &mut Words,
    ) -> Result<(Option<usize>, Vec<Cube>), SpecError> {
        let mut same_as = None;
        let mut except = Vec::new();
        while let Some(word) = words.next() {
            let value = self.word(words, "a value after =>, where or except")?;
            match word {
                "=>" => {
                    let other = self.find_insn(user, value)?;
                    same_as = Some(self.spec.semantic_of(other));
                }
                "where" => except.push(self.exclusion(space, user, value)?),
                "except" => except.push(self.spec.insns[self.find_insn(user, value)?].cube),
                other => return Err(self.syntax(other, "=>, where or except")),
            }
        }
        Ok((same_as, except))
    }

    /// `field!=value`: the words that it excludes.
    fn exclusion(&self, space: usize, user: &str, text: &str) -> Result<Cube, SpecError> {
        let (name, number) = text
            .split_once("!=")
            .ok_or_else(|| self.syntax(text, "field!=value"))?;
        let field = self.spec.spaces[space]
            .fields
            .iter()
            .find(|f| f.name == name);
        let field = field.ok_or_else(|| self.unknown(user, "field", name))?;
        Ok(field.equals(self.number(number)? as u32))
    }

    fn find_insn(&self, user: &str, name: &str) -> Result<usize, SpecError> {
        let found = self.spec.insns.iter().position(|i| i.name == name);
        found.ok_or_else(|| self.unknown(user, "instruction", name))
    }

    fn quoted(&self, text: &str) -> Result<String, SpecError> {
        let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        inner
            .map(str::to_owned)
            .ok_or_else(|| self.syntax(text, "operands in quotes"))
    }

    /// Every `{name}` of the operands is an argument.
    fn check_operands(&self, user: &str, format: usize, operands: &str) -> Result<(), SpecError> {
        let args = &self.spec.args[self.spec.formats[format].args];
        for part in operands.split('{').skip(1) {
            let (name, _) = part
                .split_once('}')
                .ok_or_else(|| self.syntax(operands, "a closing brace"))?;
            if !args.members.iter().any(|m| m.0 == name) {
                return Err(self.unknown(user, "argument", name));
            }
        }
        Ok(())
    }

    fn alias(&mut self, mut words: Words, tail: Option<&str>) -> Result<(), SpecError> {
        let name = self.word(&mut words, "a name for the alias")?.to_owned();
        let insn_name = self.word(&mut words, "the instruction it stands for")?;
        let insn = self.find_insn(&name, insn_name)?;
        match self.word(&mut words, "when")? {
            "when" => {}
            other => return Err(self.syntax(other, "when")),
        }
        let members = &self.spec.args_of(insn).members;
        let find = |member: &str| members.iter().position(|m| m.0 == member);
        let mut conditions = Vec::new();
        for word in words {
            let (left, right) = word
                .split_once('=')
                .ok_or_else(|| self.syntax(word, "argument=value"))?;
            let left_at = find(left).ok_or_else(|| self.unknown(&name, "argument", left))?;
            conditions.push(match find(right) {
                Some(right_at) => Condition::Same(left_at, right_at),
                None => Condition::Value(left_at, self.number(right)?),
            });
        }
        let operands = self.quoted(tail.ok_or_else(|| self.syntax(&name, "` : \"operands\"`"))?)?;
        self.check_operands(&name, self.spec.insns[insn].format, &operands)?;
        self.spec.aliases.push(Alias {
            name,
            insn,
            conditions,
            operands,
        });
        Ok(())
    }
}
