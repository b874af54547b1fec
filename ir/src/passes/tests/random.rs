//! Random regions through each pass alone, and through all of them.

use super::super::edit::{constant, finish, mov, temp};
use super::super::{Context, Faults, PASSES, PassSet, probes, run};
use super::compare::same;
use super::generate::region;
use crate::testing::{Random, TABLE};
use crate::{Block, Cond, Inst, Op, Region, Site, TrapKind, Type, Val};

fn contexts() -> [Context<'static>; 2] {
    [Faults::Precise, Faults::Recovered].map(|faults| Context {
        table: &TABLE,
        faults,
    })
}

/// Regions per test; `PASSES_REGIONS` says how many more rounds of them.
fn regions() -> u64 {
    let set = std::env::var("PASSES_REGIONS").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(3000)
}

#[test]
fn each_pass_alone_changes_nothing_that_can_be_seen() {
    for seed in 1..=regions() {
        let before = region(&mut Random(seed * 0x9e37_79b9));
        let context = &contexts()[seed as usize & 1];
        for pass in &PASSES {
            let mut after = before.clone();
            (pass.run)(&mut after, context);
            assert_eq!(after.verify(&TABLE), Ok(()), "{} {seed}", pass.name);
            same(&before, &after, context, seed, 3);
        }
    }
}

#[test]
fn all_passes_change_nothing_that_can_be_seen() {
    let mut done = [0; PASSES.len()];
    for seed in 1..=4 * regions() {
        let before = region(&mut Random(seed * 0x85eb_ca6b));
        let context = &contexts()[seed as usize & 1];
        let mut after = before.clone();
        let stats = run(&mut after, context, PassSet::ALL);
        same(&before, &after, context, seed, 4);
        done.iter_mut()
            .zip(stats.changes)
            .for_each(|(d, c)| *d += c);
    }
    assert!(done.iter().all(|&d| d > 100), "{done:?}");
}

#[test]
fn noted_probes_have_run_and_their_distance_is_right() {
    let mut noted = 0;
    for seed in 1..=regions() {
        let mut before = region(&mut Random(seed * 0xc2b2_ae35));
        let context = &contexts()[0];
        if seed % 2 == 0 {
            run(
                &mut before,
                context,
                PassSet::ALL.without("probes").unwrap(),
            );
        }
        let mut after = before.clone();
        noted += probes(&mut after, context).0;
        let checked = with_checks(&after);
        assert_eq!(checked.verify(&TABLE), Ok(()));
        same(&before, &checked, context, seed, 4);
    }
    assert!(noted > 100, "{noted}");
}

/// The region with traps where an access is not as far from its leader's last address as noted,
/// or where something that may empty the TLB ran between.
fn with_checks(region: &Region) -> Region {
    let mut out = region.clone();
    let mut leaders: Vec<Site> = region.reprobes.iter().map(|r| r.leader).collect();
    leaders.sort();
    leaders.dedup();
    out.locals += leaders.len();
    out.reprobes.clear();
    let local = |leader: Site| {
        let n = leaders.iter().position(|&l| l == leader)?;
        Some(Val::local((region.locals + n) as u16))
    };
    for (n, block) in out.blocks.iter_mut().enumerate() {
        for (i, inst) in std::mem::take(&mut block.insts).into_iter().enumerate() {
            let site = Site { block: n, inst: i };
            if let Some(d) = local(site) {
                address(block, d, &inst);
            }
            if let Some(noted) = region.reprobes.iter().find(|r| r.access == site) {
                check(block, &inst, local(noted.leader).unwrap(), noted.delta);
            }
            if inst.op == Op::CallHelper {
                let a = constant(block, 0x7ead_beef_0bad_f00d).unwrap();
                let garbage = |&l: &Site| mov(Type::I64, local(l).unwrap(), a);
                block.insts.extend(leaders.iter().map(garbage));
            }
            block.insts.push(inst);
        }
    }
    finish(&mut out);
    out
}

/// `d =` the address of the access `inst`.
fn address(block: &mut Block, d: Val, inst: &Inst) {
    let b = constant(block, inst.imm as u64).unwrap();
    block.insts.push(Inst {
        d,
        a: inst.a,
        b,
        ..Inst::new(Op::Add, Type::I64)
    });
}

/// A trap if the address of the access `inst` is not `delta` after `leader`.
fn check(block: &mut Block, inst: &Inst, leader: Val, delta: i64) {
    let (a, d) = (
        temp(block, Type::I64).unwrap(),
        temp(block, Type::I64).unwrap(),
    );
    address(block, a, inst);
    block.insts.push(Inst {
        d,
        a,
        b: leader,
        ..Inst::new(Op::Sub, Type::I64)
    });
    let c = constant(block, delta as u64).unwrap();
    block.insts.push(Inst {
        a: d,
        b: c,
        c,
        aux: Cond::Ne as u8,
        aux2: TrapKind::InsnSync as u8,
        ..Inst::new(Op::TrapIf, Type::I64)
    });
}
