//! From one instruction's bytes to IR: length, decoding, extension gating.

use isomorph_frontend::Step;
use isomorph_ir::{Builder, Cond, Dst, Rm, TrapKind, Type, Val};

use crate::cpu::Features;
use crate::decode::{self, Op, ext};
use crate::state;
use crate::system::{globals, mode, status};

/// Translation mode: `frm` is 0–3, what the host's rounding control can hold.
pub(crate) const MODE_HOST_ROUNDING: u32 = 0;
/// Translation mode: `frm` is 4, round to nearest with ties to maximum magnitude.
pub(crate) const MODE_RMM: u32 = 1;
/// Translation mode: `frm` is reserved; an instruction with dynamic rounding is illegal.
pub(crate) const MODE_BAD_FRM: u32 = 2;

/// The bits of the translation mode that these are; the others are those of [`mode`].
pub(crate) const MODE_ROUNDING: u32 = 3;

/// Extensions with floating-point registers.
const FLOAT: u64 = ext::F | ext::D | ext::ZFA | ext::ZFHMIN;

/// The translation mode for a value of `frm`.
pub(crate) const fn mode_of(frm: u64) -> u32 {
    match frm {
        0..=3 => MODE_HOST_ROUNDING,
        4 => MODE_RMM,
        _ => MODE_BAD_FRM,
    }
}

/// An instruction as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Its bits and length in bytes.
    Whole { bits: u32, len: u32 },
    /// This many bytes are wanted.
    Short(u32),
}

/// Takes the first instruction of `window` (section "Base Instruction-Length Encoding"). Longer
/// encodings than 32 bits are none that we know: they count as their first 32 bits.
pub(crate) fn fetch(window: &[u8]) -> Fetched {
    match *window {
        [a, b, c, d, ..] if a & 3 == 3 => Fetched::Whole {
            bits: u32::from_le_bytes([a, b, c, d]),
            len: 4,
        },
        [a, b, ..] if a & 3 != 3 => Fetched::Whole {
            bits: u32::from(u16::from_le_bytes([a, b])),
            len: 2,
        },
        [a, ..] if a & 3 == 3 => Fetched::Short(4),
        _ => Fetched::Short(2),
    }
}

/// The instruction that `bits` of length `len` are, if `features` has it.
#[inline]
pub(crate) fn decode(bits: u32, len: u32, features: Features) -> Option<Op> {
    let op = if len == 2 {
        decode::decode_c16(bits)
    } else {
        decode::decode_w32(bits)
    }?;
    features.has(op.exts()).then_some(op)
}

/// The context of a semantic function: the instruction and where its IR goes.
pub(crate) struct Translator<'a> {
    pub b: &'a mut Builder,
    pub features: Features,
    pub pc: u64,
    pub len: u32,
    pub bits: u32,
    pub mode: u32,
}

impl Translator<'_> {
    /// Emits the instruction and says what follows.
    pub fn run(&mut self) -> Step {
        match decode(self.bits, self.len, self.features) {
            Some(op) if self.in_machine() && op.exts() & FLOAT != 0 => self.float(op),
            Some(op) => decode::dispatch(op, self.bits, self),
            None => self.illegal(),
        }
        let len = self.len;
        if self.b.ended() {
            Step::End { len }
        } else {
            Step::Next { len }
        }
    }

    /// Whether this is a whole machine's code, not a program's.
    pub fn in_machine(&self) -> bool {
        self.mode & mode::MACHINE != 0
    }

    /// The part of the translation mode that `frm` decides.
    pub fn rounding_mode(&self) -> u32 {
        self.mode & MODE_ROUNDING
    }

    /// A floating-point instruction of a machine (privileged manual, section "Extension Context
    /// Status in mstatus Register"): illegal while `FS` is Off, else it makes that Dirty.
    fn float(&mut self, op: Op) {
        let store = matches!(op.info().semantic, "fsw" | "fsd" | "fsh");
        if self.float_allowed() {
            decode::dispatch(op, self.bits, self);
            if !store && !self.b.ended() {
                self.mark_float_dirty();
            }
        }
    }

    /// False, and the block is ended, if floating-point state is known to be off; where only the
    /// running hart knows, the instruction is illegal then.
    pub fn float_allowed(&mut self) -> bool {
        match self.mode & mode::FS {
            _ if !self.in_machine() => true,
            mode::FS_OFF => {
                self.illegal();
                false
            }
            mode::FS_ON => true,
            _ => {
                if !self.is_float_dirty() {
                    let mask = self.b.c(status::FS);
                    let (ty, dst) = (Type::I64, Dst::Temp);
                    let fs = self
                        .b
                        .binary(isomorph_ir::Op::And, ty, dst, globals::MSTATUS, mask);
                    self.illegal_if(Cond::Eq, fs, 0);
                }
                true
            }
        }
    }

    /// Whether this block has already marked floating-point state dirty, which it was allowed to.
    fn is_float_dirty(&self) -> bool {
        self.b.known(globals::FLOAT_DIRTY) == Some(status::FS)
    }

    /// Marks floating-point state dirty, in a machine.
    pub fn mark_float_dirty(&mut self) {
        if self.in_machine() && !self.is_float_dirty() {
            let dirty = Dst::To(globals::FLOAT_DIRTY);
            self.b.constant(Type::I64, dirty, status::FS);
        }
    }

    /// The instruction is illegal if `value cond bound`.
    pub fn illegal_if(&mut self, cond: Cond, value: Val, bound: u64) {
        let (bound, bits) = (self.b.c(bound), self.b.c(u64::from(self.bits)));
        self.b
            .trap_if(cond, value, bound, TrapKind::Illegal, self.pc, bits);
    }

    /// Address of the next instruction.
    pub fn next(&self) -> u64 {
        self.pc.wrapping_add(u64::from(self.len))
    }

    /// Ends the block with the illegal-instruction exception.
    pub fn illegal(&mut self) {
        let bits = self.b.c(u64::from(self.bits));
        self.b.trap(TrapKind::Illegal, self.pc, bits);
    }

    /// A constant.
    pub fn imm(&mut self, value: i64) -> Val {
        self.b.c(value as u64)
    }

    /// An integer register as operand: x0 is the constant 0.
    #[inline]
    pub fn x(&mut self, n: u8) -> Val {
        if n == 0 { self.b.c(0) } else { state::x(n) }
    }

    /// An integer register as destination: what goes to x0 is dropped.
    #[inline]
    pub fn xd(&self, n: u8) -> Dst {
        if n == 0 {
            Dst::Discard
        } else {
            Dst::To(state::x(n))
        }
    }

    /// Writes a value of another width, sign-extended from 32 bits.
    pub fn set_w(&mut self, rd: u8, value: Val) {
        let d = self.xd(rd);
        self.b.sext(Type::I64, Type::I32, d, value);
    }

    /// The rounding mode that the `rm` field selects now; `None`, and the instruction is illegal,
    /// if it is the dynamic one and that is reserved.
    pub fn rounding(&mut self, rm: u8) -> Option<Rm> {
        let mode = match (rm, self.rounding_mode()) {
            (0, _) => Rm::Rne,
            (1, _) => Rm::Rtz,
            (2, _) => Rm::Rdn,
            (3, _) => Rm::Rup,
            (4, _) => Rm::Rmm,
            (7, MODE_HOST_ROUNDING) => Rm::Dyn,
            (7, MODE_RMM) => Rm::Rmm,
            _ => {
                self.illegal();
                return None;
            }
        };
        Some(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetch_needs_four_bytes_only_for_long_instructions() {
        assert_eq!(fetch(&[0x13]), Fetched::Short(4));
        assert_eq!(fetch(&[0x13, 0, 0]), Fetched::Short(4));
        assert_eq!(fetch(&[0x01]), Fetched::Short(2));
        assert_eq!(fetch(&[0x01, 0, 9]), Fetched::Whole { bits: 1, len: 2 });
        assert_eq!(
            fetch(&[0x13, 0, 0, 0, 9]),
            Fetched::Whole { bits: 0x13, len: 4 }
        );
    }

    #[test]
    fn disabled_extensions_are_illegal() {
        let mul = 0x02c5_8533;
        assert_eq!(decode(mul, 4, Features::ALL), Some(Op::Mul));
        assert_eq!(
            decode(mul, 4, Features::ALL.without(crate::decode::ext::M)),
            None
        );
    }
}
