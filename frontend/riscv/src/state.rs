//! The registers of one hart, and how the IR names them.

use isomorph_ir::{Global, GlobalTable, Type, Val};

/// Unprivileged registers of a hart. Plain data; the IR reaches it through [`TABLE`].
///
/// Invariants: `x[0]` is 0; `f` holds single- and half-precision values NaN-boxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// Integer registers.
    pub x: [u64; 32],
    /// Floating-point registers, as bits.
    pub f: [u64; 32],
    /// Program counter.
    pub pc: u64,
    /// Dynamic rounding mode: the `frm` field, 0–7.
    pub frm: u64,
    /// Accrued exceptions: the `fflags` field. Up to date while the hart is stopped; running code
    /// keeps them where the host does.
    pub fflags: u64,
}

impl State {
    /// Registers at reset: all zero.
    pub const fn new() -> Self {
        Self {
            x: [0; 32],
            f: [0; 32],
            pc: 0,
            frm: 0,
            fflags: 0,
        }
    }

    /// The `fcsr` register, as the kernel's signal frame holds it.
    pub const fn fcsr(&self) -> u32 {
        (self.frm << 5 | self.fflags) as u32
    }

    /// Sets the `fcsr` register; its upper bits are ignored.
    pub const fn set_fcsr(&mut self, fcsr: u32) {
        self.frm = (fcsr >> 5 & 7) as u64;
        self.fflags = (fcsr & 31) as u64;
    }
}

impl AsMut<State> for State {
    fn as_mut(&mut self) -> &mut State {
        self
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// ABI names of the integer registers (RISC-V ELF psABI, "Integer Register Convention").
pub const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// ABI names of the floating-point registers.
pub const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

/// Integer registers from the most to the least used in compiled code: their count as operands
/// in glibc's libc.so.6 and libm.so.6 built by gcc -O2, with ra raised for its calls.
const X_RANKS: [u8; 31] = [
    15, 2, 14, 10, 8, 13, 11, 12, 9, 18, 1, 19, 20, 21, 22, 16, 23, 24, 25, 26, 27, 17, 28, 6, 29,
    30, 31, 5, 7, 4, 3,
];

/// Floating-point registers from the most to the least used, likewise.
const F_RANKS: [u8; 32] = [
    15, 10, 14, 13, 11, 8, 12, 9, 18, 0, 19, 1, 2, 3, 16, 17, 4, 5, 6, 7, 20, 21, 22, 23, 24, 25,
    26, 27, 28, 29, 30, 31,
];

/// The global of integer register `n`, which is not 0.
pub(crate) const fn x(n: u8) -> Val {
    Val::global(n as u16)
}

/// The global of floating-point register `n`.
pub(crate) const fn f(n: u8) -> Val {
    Val::global(32 + n as u16)
}

/// The dynamic rounding mode.
pub(crate) const FRM: Val = Val::global(65);

/// Number of globals.
pub(crate) const COUNT: usize = 66;

pub(crate) const GLOBALS: [Global; COUNT] = {
    const NONE: Global = Global {
        name: "",
        ty: Type::I64,
        offset: 0,
        rank: 255,
    };
    let mut all = [NONE; COUNT];
    let mut n = 0;
    while n < 32 {
        all[n] = Global {
            name: X_NAMES[n],
            ty: Type::I64,
            offset: 8 * n as u32,
            rank: 255,
        };
        all[32 + n] = Global {
            name: F_NAMES[n],
            ty: Type::F64,
            offset: 256 + 8 * n as u32,
            rank: 255,
        };
        n += 1;
    }
    let mut rank = 0;
    while rank < 32 {
        if rank < X_RANKS.len() {
            all[X_RANKS[rank] as usize].rank = rank as u8;
        }
        all[32 + F_RANKS[rank] as usize].rank = rank as u8;
        rank += 1;
    }
    all[64] = Global {
        name: "pc",
        ty: Type::I64,
        offset: 512,
        rank: 255,
    };
    all[65] = Global {
        name: "frm",
        ty: Type::I64,
        offset: 520,
        rank: 255,
    };
    all
};

/// The registers as IR globals: 0–31 integer (0 is never named), 32–63 floating-point, 64 the
/// program counter, 65 the rounding mode.
pub static TABLE: GlobalTable = GlobalTable {
    globals: &GLOBALS,
    pc: Val::global(64),
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn globals_lie_where_the_structure_has_them() {
        assert_eq!(GLOBALS[1].offset as usize, offset_of!(State, x) + 8);
        assert_eq!(GLOBALS[32].offset as usize, offset_of!(State, f));
        assert_eq!(GLOBALS[64].offset as usize, offset_of!(State, pc));
        assert_eq!(GLOBALS[65].offset as usize, offset_of!(State, frm));
    }

    #[test]
    fn each_register_has_its_own_rank() {
        for half in [&GLOBALS[1..32], &GLOBALS[32..64]] {
            let mut ranks: Vec<u8> = half.iter().map(|g| g.rank).collect();
            ranks.sort_unstable();
            assert!(
                ranks
                    .iter()
                    .enumerate()
                    .all(|(at, rank)| at == usize::from(*rank))
            );
        }
    }

    #[test]
    fn fcsr_holds_mode_and_flags() {
        let mut state = State::new();
        state.set_fcsr(0xffff_ff9f);
        assert_eq!((state.frm, state.fflags, state.fcsr()), (4, 31, 0x9f));
    }
}
