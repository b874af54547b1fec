//! The privileged architecture against the tables of the manual.

mod csrs;
mod inline;
mod protection;
mod traps;
mod walks;

use super::csr::{self, Request};
use super::{HartState, How, RiscvMachine, System};
use isomorph_frontend::PhysicalMemory;
use std::collections::BTreeMap;

/// A hart at reset.
fn hart() -> HartState {
    RiscvMachine::default().hart(0, 0x8000_0000)
}

fn number(name: &str) -> u16 {
    let named = csr::all().find(|(number, row, _)| row.name_of(*number) == name);
    named.unwrap_or_else(|| panic!("no register {name}")).0
}

fn access(sys: &mut System, name: &str, how: Option<How>, operand: u64) -> Option<u64> {
    let number = number(name);
    csr::access(sys, Request { number, rd: 0, how }, operand)
}

/// Writes a register as machine mode does.
fn set(sys: &mut System, name: &str, value: u64) {
    let who = std::mem::replace(&mut sys.privilege, super::Privilege::Machine);
    access(sys, name, Some(How::Write), value).expect("a register of machine mode");
    sys.privilege = who;
}

/// Reads a register as machine mode does.
fn get(sys: &System, name: &str) -> u64 {
    let mut sys = *sys;
    sys.privilege = super::Privilege::Machine;
    access(&mut sys, name, None, 0).expect("a register of machine mode")
}

/// Memory of some words; the others do not answer.
#[derive(Default)]
struct Words {
    words: BTreeMap<u64, u64>,
    /// Changes the next word before a compare-exchange sees it, once.
    race: Option<u64>,
}

impl PhysicalMemory for Words {
    fn load_u64(&mut self, physical: u64) -> Option<u64> {
        self.words.get(&physical).copied()
    }

    fn compare_exchange_u64(&mut self, physical: u64, old: u64, new: u64) -> Option<u64> {
        let word = self.words.get_mut(&physical)?;
        if let Some(other) = self.race.take() {
            *word = other;
        }
        let found = *word;
        if found == old {
            *word = new;
        }
        Some(found)
    }
}
