//! A hart's registers as plain bytes, for snapshots and debuggers.

use super::{HartState, Privilege, csr};

/// Version of the layouts below.
pub(crate) const VERSION: u32 = 1;

fn words(bytes: &[u8]) -> Vec<u64> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

fn values(state: &HartState, kind: u8) -> Vec<u64> {
    let (regs, sys) = (&state.regs, &state.sys);
    match kind {
        0 => regs.x.iter().copied().chain([regs.pc]).collect(),
        1 => regs
            .f
            .iter()
            .copied()
            .chain([regs.frm, regs.fflags])
            .collect(),
        _ => {
            let csrs = csr::all().map(|(_, row, at)| row.value(sys, at));
            [sys.privilege as u64, sys.pins]
                .into_iter()
                .chain(csrs)
                .collect()
        }
    }
}

/// Kind 0: `x0`–`x31`, `pc`. Kind 1: `f0`–`f31`, `frm`, `fflags`. Kind 2: privilege, interrupt
/// pins, then every CSR in the order of their numbers.
pub(crate) fn registers(state: &HartState, kind: u8) -> Vec<u8> {
    let values = values(state, kind);
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Sets what [`registers`] gave; false (and nothing is set) if it has another length or privilege.
pub(crate) fn set_registers(state: &mut HartState, kind: u8, bytes: &[u8]) -> bool {
    let new = words(bytes);
    if bytes.len() != 8 * new.len() || new.len() != values(state, kind).len() {
        return false;
    }
    let regs = &mut state.regs;
    match kind {
        0 => {
            regs.x.copy_from_slice(&new[..32]);
            (regs.x[0], regs.pc) = (0, new[32]);
        }
        1 => {
            regs.f.copy_from_slice(&new[..32]);
            (regs.frm, regs.fflags) = (new[32] & 7, new[33] & 31);
        }
        _ => {
            let Some(privilege) = Privilege::from_bits(new[0]).filter(|_| new[0] < 4) else {
                return false;
            };
            let sys = &mut state.sys;
            (sys.privilege, sys.pins) = (privilege, new[1]);
            // Backward: views (`sstatus`) come before what they show (`mstatus`) in the list, and
            // `pmpcfg`, which may lock addresses, before those.
            let rows: Vec<_> = csr::all().zip(&new[2..]).collect();
            for ((_, row, at), &value) in rows.into_iter().rev() {
                row.set(sys, at, value);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RiscvMachine;

    #[test]
    fn what_is_read_can_be_set() {
        let guest = RiscvMachine::default();
        let mut one = guest.supervisor_hart(0, 0x8020_0000, 7);
        one.regs.f[3] = 9;
        one.sys.sscratch = 0x1234;
        let mut other = guest.hart(0, 0);
        for kind in 0..3 {
            let bytes = registers(&one, kind);
            assert!(!set_registers(&mut other, kind, &bytes[8..]));
            assert!(set_registers(&mut other, kind, &bytes));
            assert_eq!(registers(&other, kind), bytes);
        }
        assert_eq!(other.sys.privilege, Privilege::Supervisor);
        assert_eq!((other.regs.f[3], other.regs.x[11]), (9, 7));
    }
}
