//! The table of `--stats`.

use std::fmt::Write;

use isomorph_boards::Virt;
use isomorph_machine::Ended;

use crate::system::accel::Accelerator;

/// Everything that was counted: by the accelerator, by each vCPU, and by device.
pub fn table(ended: &Ended, board: &Virt, accelerator: &dyn Accelerator) -> String {
    let mut text = String::new();
    section(&mut text, "translator", accelerator.stats());
    for vcpu in &ended.vcpus {
        section(&mut text, &format!("vCPU {}", vcpu.id()), vcpu.stats());
    }
    section(&mut text, "interrupts", board.interrupts());
    let accesses = board.space().accesses().into_iter();
    section(
        &mut text,
        "device accesses",
        accesses.filter(|(_, count)| *count != 0).collect(),
    );
    text
}

/// What was counted beside the accelerator, by name.
pub fn counts(ended: &Ended, board: &Virt) -> Vec<(String, u64)> {
    let mut counts = Vec::new();
    for vcpu in &ended.vcpus {
        for (name, count) in vcpu.stats() {
            counts.push((format!("vCPU {}: {name}", vcpu.id()), count));
        }
    }
    let accesses = board.space().accesses().into_iter();
    let accesses = accesses.filter(|(_, count)| *count != 0);
    counts.extend(accesses.map(|(name, count)| (format!("accesses: {name}"), count)));
    counts
}

fn section<N: AsRef<str>>(text: &mut String, title: &str, rows: Vec<(N, u64)>) {
    if rows.is_empty() {
        return;
    }
    // Writing to a string does not fail.
    let _ = writeln!(text, "{title}:");
    for (name, count) in rows {
        let _ = writeln!(text, "  {:24} {count:>16}", name.as_ref());
    }
}
