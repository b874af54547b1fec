//! The registers of a machine's hart that translated code has as IR globals.
//!
//! Those of programs come first and have the numbers of [`state::TABLE`]; the privileged ones live
//! in memory always: each use is one load or store.

use std::mem::{offset_of, size_of};

use isomorph_ir::{Global, GlobalTable, Type, Val};

use super::{HartState, Privilege};
use crate::state::{self, State};

macro_rules! privileged {
    ($($(#[$doc:meta])* $name:ident $text:literal $($field:ident).+;)+) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Number {
            $($name,)+
            PRIVILEGE,
        }

        /// The number of a [`Privilege`].
        pub(crate) const PRIVILEGE: Val =
            Val::global(state::COUNT as u16 + Number::PRIVILEGE as u16);

        $($(#[$doc])* pub(crate) const $name: Val =
            Val::global(state::COUNT as u16 + Number::$name as u16);)+

        const PRIVILEGED: &[Global] = &[$(Global {
            name: $text,
            ty: Type::I64,
            offset: offset_of!(HartState, sys.$($field).+) as u32,
            rank: 255,
        },)+ Global {
            name: "privilege",
            ty: Type::I64,
            offset: offset_of!(HartState, sys.privilege) as u32,
            rank: 255,
        }];

        impl HartState {
            /// The state as the bytes that the IR's reference interpreter works on: what globals
            /// name and `fflags`, each at its offset.
            pub fn to_bytes(&self) -> Vec<u8> {
                let mut bytes = vec![0; size_of::<Self>()];
                let regs = &self.regs;
                let rest = [regs.pc, regs.frm, regs.fflags];
                for (at, word) in regs.x.iter().chain(&regs.f).chain(&rest).enumerate() {
                    put(&mut bytes, 8 * at, *word);
                }
                $(put(&mut bytes, offset_of!(Self, sys.$($field).+), self.sys.$($field).+);)+
                put(&mut bytes, offset_of!(Self, sys.privilege), self.sys.privilege as u64);
                bytes
            }

            /// Takes what [`Self::to_bytes`] gives.
            pub fn set_bytes(&mut self, bytes: &[u8]) {
                let mut regs = State::new();
                regs.x = std::array::from_fn(|n| get(bytes, 8 * n));
                regs.f = std::array::from_fn(|n| get(bytes, 256 + 8 * n));
                regs.pc = get(bytes, 512);
                (regs.frm, regs.fflags) = (get(bytes, 520), get(bytes, 528));
                self.regs = regs;
                let privilege = get(bytes, offset_of!(Self, sys.privilege));
                self.sys.privilege = Privilege::from_bits(privilege).unwrap_or_default();
                $(self.sys.$($field).+ = get(bytes, offset_of!(Self, sys.$($field).+));)+
            }
        }
    };
}

privileged! {
    /// `mstatus` without [`FLOAT_DIRTY`].
    MSTATUS "mstatus" mstatus;
    /// What is to be set in `mstatus.FS`: nothing, or Dirty.
    FLOAT_DIRTY "fs_dirty" float_dirty;
    MEDELEG "medeleg" medeleg;
    MIE "mie" mie;
    /// Bits of `mip` that software has written.
    MIP "mip" mip;
    /// Bits of `mip` that interrupt controllers drive.
    PINS "pins" pins;
    /// The bit of `mip` that `stimecmp` drives.
    TIMER "timer" timer;
    MTVEC "mtvec" mtvec;
    MSCRATCH "mscratch" mscratch;
    MEPC "mepc" mepc;
    MCAUSE "mcause" mcause;
    MTVAL "mtval" mtval;
    STVEC "stvec" stvec;
    SSCRATCH "sscratch" sscratch;
    SEPC "sepc" sepc;
    SCAUSE "scause" scause;
    STVAL "stval" stval;
    MCOUNTEREN "mcounteren" mcounteren;
    SCOUNTEREN "scounteren" scounteren;
    CYCLE "cycle" cycle.value;
    CYCLE_RUNS "cycle_runs" cycle.runs;
    INSTRET "instret" instret.value;
    INSTRET_RUNS "instret_runs" instret.runs;
    TIME_MULTIPLIER "time_multiplier" time.multiplier;
    TIME_OFFSET "time_offset" time.offset;
    /// Not 0 while a cache-block management instruction accesses memory.
    CACHE_BLOCK "cache_block" cache_block;
}

fn put(bytes: &mut [u8], at: usize, word: u64) {
    if let Some(to) = bytes.get_mut(at..at + 8) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}

/// What lies beyond the end is 0.
fn get(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

const COUNT: usize = state::COUNT + PRIVILEGED.len();

const GLOBALS: [Global; COUNT] = {
    let mut all = [PRIVILEGED[0]; COUNT];
    let mut n = 0;
    while n < COUNT {
        all[n] = if n < state::COUNT {
            state::GLOBALS[n]
        } else {
            PRIVILEGED[n - state::COUNT]
        };
        n += 1;
    }
    all
};

/// All registers of a machine's hart that are IR globals.
pub(super) static TABLE: GlobalTable = GlobalTable {
    globals: &GLOBALS,
    pc: state::TABLE.pc,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RiscvMachine;

    #[test]
    fn programs_and_machines_agree_on_the_first_globals() {
        assert_eq!(offset_of!(HartState, regs), 0);
        assert_eq!(TABLE.globals[..state::COUNT], state::GLOBALS);
        assert_eq!(TABLE.pc, state::TABLE.pc);
    }

    #[test]
    fn no_two_globals_overlap() {
        let mut offsets: Vec<u32> = GLOBALS.iter().map(|global| global.offset).collect();
        offsets.sort_unstable();
        assert!(offsets.windows(2).all(|pair| pair[0] + 8 <= pair[1]));
        assert_eq!(
            TABLE.get(COUNT - 1).map(|last| last.name),
            Some("privilege")
        );
    }

    #[test]
    fn bytes_hold_the_globals() {
        let machine = RiscvMachine::default();
        let mut bytes: Vec<u8> = (0..size_of::<HartState>()).map(|at| at as u8).collect();
        put(&mut bytes, offset_of!(HartState, sys.privilege), 1);
        let mut state = machine.hart(0, 0);
        state.set_bytes(&bytes);
        let back = state.to_bytes();
        for global in &GLOBALS {
            let at = global.offset as usize..global.offset as usize + 8;
            assert_eq!(back[at.clone()], bytes[at], "{}", global.name);
        }
        let mut other = machine.hart(0, 0);
        other.set_bytes(&back);
        assert_eq!(other, state);
    }
}
