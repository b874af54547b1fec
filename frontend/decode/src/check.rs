//! What a specification must promise before code is made of it.

use crate::error::SpecError;
use crate::spec::{Cube, Insn, Source, Spec};

/// Checks coverage, emptiness and overlaps.
pub(crate) fn check(spec: &Spec) -> Result<(), SpecError> {
    for (at, insn) in spec.insns.iter().enumerate() {
        covered(spec, insn)?;
        if witness(insn.cube, &insn.except).is_none() {
            return Err(SpecError::Empty {
                line: insn.line,
                insn: insn.name.clone(),
            });
        }
        for other in spec.insns[..at].iter().filter(|o| o.space == insn.space) {
            disjoint(insn, other)?;
        }
    }
    Ok(())
}

fn covered(spec: &Spec, insn: &Insn) -> Result<(), SpecError> {
    let space = &spec.spaces[insn.space];
    let mut mask = insn.cube.mask;
    for source in &spec.formats[insn.format].sources {
        if let Source::Field(field) = source {
            mask |= space.fields[*field].mask();
        }
    }
    let all = ((1u64 << space.width) - 1) as u32;
    let bits = all & !mask;
    if bits == 0 {
        return Ok(());
    }
    Err(SpecError::Uncovered {
        line: insn.line,
        insn: insn.name.clone(),
        bits,
    })
}

fn disjoint(insn: &Insn, other: &Insn) -> Result<(), SpecError> {
    let Some(both) = insn.cube.and(other.cube) else {
        return Ok(());
    };
    let except: Vec<Cube> = insn.except.iter().chain(&other.except).copied().collect();
    match witness(both, &except) {
        None => Ok(()),
        Some(word) => Err(SpecError::Overlap {
            line: insn.line,
            insn: insn.name.clone(),
            other: other.name.clone(),
            other_line: other.line,
            word,
        }),
    }
}

/// A word of `cube` that is in none of `except`.
fn witness(cube: Cube, except: &[Cube]) -> Option<u32> {
    let Some(hole) = except.iter().find(|e| e.and(cube).is_some()) else {
        return Some(cube.value);
    };
    if hole.contains(cube) {
        return None;
    }
    let free = hole.mask & !cube.mask;
    let bit = free & free.wrapping_neg();
    let zero = Cube {
        mask: cube.mask | bit,
        value: cube.value,
    };
    let one = Cube {
        mask: cube.mask | bit,
        value: cube.value | bit,
    };
    witness(zero, except).or_else(|| witness(one, except))
}
