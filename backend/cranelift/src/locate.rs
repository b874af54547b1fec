//! Finds where the code generator left the values that a [`Recovery`] needs.
//!
//! Each such value gets a debug label of its own before code is made, and ranges of code in which
//! it is in a register or in the frame afterwards. An access is followed by a `sequence_point`,
//! which has no code, keeps the access from being moved, and bears a tag with the access's number.

use crate::flow::Set;
use crate::plan::DEPTH;
use crate::recovery::{Compute, Place, Point, Recovery, Source};
use cranelift_codegen::ir::{
    DataFlowGraph, DebugTag, InstructionData, Opcode, RelSourceLoc, TrapCode, Value, ValueDef,
    ValueLabel, ValueLabelAssignments, ValueLabelStart,
};
use cranelift_codegen::{CompiledCode, LabelValueLoc, RegClass};
use isomorph_ir::{GlobalTable, Site};

/// The trap code of accesses whose state is recovered.
pub(crate) const RECOVERED: TrapCode = TrapCode::unwrap_user(1);

/// The globals that are newer than memory at an access, and their values.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) site: Site,
    pub(crate) dirty: Vec<(usize, Value)>,
}

/// Labels what the accesses need, and what that may be computed from.
pub(crate) fn label(dfg: &mut DataFlowGraph, accesses: &mut [Access]) {
    dfg.collect_debug_info();
    let mut seen = Set::default();
    for (_, value) in accesses.iter_mut().flat_map(|a| &mut a.dirty) {
        *value = dfg.resolve_aliases(*value);
        label_value(dfg, *value, 2 * DEPTH, &mut seen);
    }
}

fn label_value(dfg: &mut DataFlowGraph, value: Value, depth: u32, seen: &mut Set) {
    if !seen.insert(value.as_u32() as usize) {
        return;
    }
    let start = ValueLabelStart {
        from: RelSourceLoc::default(),
        label: ValueLabel::from_u32(value.as_u32()),
    };
    if let Some(labels) = &mut dfg.values_labels {
        labels.insert(value, ValueLabelAssignments::Starts(vec![start]));
    }
    if let Some((_, _, args)) = definition(dfg, value).filter(|_| depth > 0) {
        for arg in args.into_iter().flatten() {
            let arg = dfg.resolve_aliases(arg);
            label_value(dfg, arg, depth - 1, seen);
        }
    }
}

/// The operation that gives a value, with its width and operands, if it can be done again.
fn definition(dfg: &DataFlowGraph, value: Value) -> Option<(Compute, u8, [Option<Value>; 2])> {
    let ValueDef::Result(inst, 0) = dfg.value_def(value) else {
        return None;
    };
    let bits = |v: Value| u8::try_from(dfg.value_type(v).bits()).ok();
    match dfg.insts[inst] {
        InstructionData::Binary { opcode, args } => {
            let op = match opcode {
                Opcode::Iadd => Compute::Add,
                Opcode::Isub => Compute::Sub,
                Opcode::Imul => Compute::Mul,
                Opcode::Band => Compute::And,
                Opcode::Bor => Compute::Or,
                Opcode::Bxor => Compute::Xor,
                Opcode::Ishl => Compute::Shl,
                Opcode::Ushr => Compute::Shr,
                Opcode::Sshr => Compute::Sar,
                Opcode::Rotl => Compute::Rotl,
                Opcode::Rotr => Compute::Rotr,
                _ => return None,
            };
            Some((op, bits(value)?, args.map(Some)))
        }
        InstructionData::Unary { opcode, arg } => {
            let op = match opcode {
                Opcode::Bnot => Compute::Not,
                Opcode::Ineg => Compute::Neg,
                Opcode::Sextend => Compute::Sext(bits(arg)?),
                Opcode::Uextend => Compute::Zext(bits(arg)?),
                Opcode::Ireduce => Compute::Zext(bits(value)?),
                _ => return None,
            };
            Some((op, bits(value)?, [Some(arg), None]))
        }
        _ => None,
    }
}

/// Where everything is, or what was lost: global `usize` at an access.
pub(crate) fn find(
    code: &CompiledCode,
    dfg: &DataFlowGraph,
    accesses: &[Access],
    table: &GlobalTable,
) -> Result<Recovery, Vec<(Site, usize)>> {
    let mut finder = Finder {
        code,
        dfg,
        recovery: Recovery::default(),
        known: Vec::new(),
    };
    let mut lost = Vec::new();
    let mut traps = code.buffer.traps();
    let mut last = 0;
    for tags in code.buffer.debug_tags() {
        let [DebugTag::User(n)] = *tags.tags else {
            continue;
        };
        let Some(access) = accesses.get(n as usize) else {
            continue;
        };
        // The one instruction between the last tag and this that may fault.
        let since = traps
            .iter()
            .filter(|t| t.code == RECOVERED && t.offset >= last);
        let hosts: Vec<u32> = since
            .map(|t| t.offset)
            .take_while(|&t| t < tags.offset)
            .collect();
        last = tags.offset;
        let [host] = hosts[..] else {
            lost.extend(access.dirty.iter().map(|&(g, _)| (access.site, g)));
            continue;
        };
        let done = traps.partition_point(|t| t.offset <= host);
        traps = &traps[done..];
        finder.access(host, access, table, &mut lost);
    }
    if !lost.is_empty() {
        return Err(lost);
    }
    Ok(finder.recovery)
}

struct Finder<'a> {
    code: &'a CompiledCode,
    dfg: &'a DataFlowGraph,
    recovery: Recovery,
    /// The sources of values at the current access.
    known: Vec<(Value, u32)>,
}

impl Finder<'_> {
    fn access(
        &mut self,
        host: u32,
        access: &Access,
        table: &GlobalTable,
        lost: &mut Vec<(Site, usize)>,
    ) {
        self.known.clear();
        for &(n, value) in &access.dirty {
            let source = self.source(value, host, 2 * DEPTH);
            let (Some(global), Some(source)) = (table.get(n), source) else {
                lost.push((access.site, n));
                continue;
            };
            self.recovery.places.push(Place {
                offset: global.offset,
                bytes: (self.dfg.value_type(value).bits() / 8) as u8,
                source,
            });
        }
        let end = self.recovery.places.len() as u32;
        self.recovery.points.push(Point { host, end });
    }

    /// Where `value` is, or what it can be computed from, at this offset.
    fn source(&mut self, value: Value, host: u32, depth: u32) -> Option<u32> {
        if let Some(&(_, known)) = self.known.iter().find(|k| k.0 == value) {
            return Some(known);
        }
        let source = match self.constant(value).or_else(|| self.place(value, host)) {
            Some(source) => source,
            None => {
                let (op, bits, [a, b]) = definition(self.dfg, value).filter(|_| depth > 0)?;
                let a = self.source(a?, host, depth - 1)?;
                let b = match b {
                    Some(b) => self.source(b, host, depth - 1)?,
                    None => a,
                };
                Source::Compute(op, bits, a, b)
            }
        };
        let n = self.recovery.sources.len() as u32;
        self.recovery.sources.push(source);
        self.known.push((value, n));
        Some(n)
    }

    fn constant(&self, value: Value) -> Option<Source> {
        let ValueDef::Result(inst, _) = self.dfg.value_def(value) else {
            return None;
        };
        match self.dfg.insts[inst] {
            InstructionData::UnaryImm { imm, .. } => Some(Source::Const(imm.bits() as u64)),
            _ => None,
        }
    }

    /// The register or word of the frame.
    fn place(&mut self, value: Value, host: u32) -> Option<Source> {
        let label = ValueLabel::from_u32(value.as_u32());
        let ranges = self.code.value_labels_ranges.get(&label)?;
        let range = ranges.iter().find(|r| r.start <= host && host < r.end)?;
        match range.loc {
            LabelValueLoc::Reg(reg) => {
                let reg = reg.to_real_reg().filter(|r| r.class() == RegClass::Int)?;
                Some(Source::Register(reg.hw_enc()))
            }
            LabelValueLoc::CFAOffset(offset) => {
                // The frame pointer is two words below the canonical frame address.
                let off = i32::try_from(offset + 16).ok()?;
                let frame = self.code.buffer.frame_layout()?.frame_to_fp_offset;
                let end = i64::from(frame) + i64::from(off) + 8;
                let end = u32::try_from(end).ok()?;
                self.recovery.frame_bytes = self.recovery.frame_bytes.max(end);
                (off <= -8).then_some(Source::Frame(off))
            }
        }
    }
}
