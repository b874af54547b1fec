//! The one list of operations. The enum, its names, the verifier's table, the text form and the
//! documentation all derive from it.

/// What an operation's `aux` byte holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aux {
    /// Nothing (0).
    None,
    /// A [`crate::Cond`].
    Cond,
    /// A [`crate::MemOp`].
    Mem,
    /// A [`crate::Rm`].
    Rm,
    /// A [`crate::JumpKind`].
    Jump,
    /// A [`crate::TrapKind`].
    Trap,
    /// A [`crate::Order`].
    Order,
    /// A source [`crate::Type`].
    Type,
    /// An [`crate::AtomicOp`].
    Atomic,
    /// A small number whose meaning the operation's documentation gives.
    Number,
}

/// What an operation's `imm` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imm {
    /// Nothing (0).
    None,
    /// A signed byte displacement added to the address operand.
    Disp,
    /// A guest program counter.
    Pc,
    /// An index into the guest's helper table.
    Helper,
    /// A fifth operand ([`crate::Val`] in the low 16 bits).
    Val,
}

/// Properties of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpFlags(pub u8);

impl OpFlags {
    /// Result depends on the operands alone; may be folded, merged or dropped.
    pub const PURE: Self = Self(1);
    /// May leave the block or be seen from outside: guest state must be precise here.
    pub const BARRIER: Self = Self(2);
    /// Ends the block.
    pub const END: Self = Self(4);
    /// Globals may hold anything afterwards.
    pub const CLOBBER: Self = Self(8);
    /// Reads or writes the floating-point environment (sticky flags, rounding mode).
    pub const FPENV: Self = Self(16);

    /// True if all of `other`'s bits are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The description of one operation.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// Spelling in the text form.
    pub name: &'static str,
    /// Number of results (`d`, `d2`).
    pub results: u8,
    /// Number of operands (`a`, `b`, `c`, `e`).
    pub operands: u8,
    /// Meaning of the `aux` byte.
    pub aux: Aux,
    /// Meaning of `imm`.
    pub imm: Imm,
    /// Properties.
    pub flags: OpFlags,
    /// Meaning, for the documentation.
    pub doc: &'static str,
}

const PURE: OpFlags = OpFlags::PURE;
const FP: OpFlags = OpFlags::FPENV;
const BAR: OpFlags = OpFlags::BARRIER;
const CALL: OpFlags = OpFlags::BARRIER.and(OpFlags::CLOBBER);
const END: OpFlags = OpFlags::BARRIER.and(OpFlags::END);
const NONE: OpFlags = OpFlags(0);

macro_rules! ops {
    ($($v:ident $name:literal $results:literal $operands:literal $aux:ident $imm:ident
       $flags:ident $doc:literal;)+) => {
        /// An operation. Its full meaning is in [`Op::info`]'s `doc`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Op { $(#[doc = $doc] $v,)+ }

        impl Op {
            /// Every operation, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            const INFO: &'static [OpInfo] = &[$(OpInfo {
                name: $name, results: $results, operands: $operands, aux: Aux::$aux,
                imm: Imm::$imm, flags: $flags, doc: $doc,
            }),+];
        }
    };
}

// `ty` is the type of operands and result unless the text says otherwise. An integer operand that
// is wider than `ty` is read truncated; a result has exactly type `ty` unless the text says so.
ops! {
    Nop "nop" 0 0 None None NONE "Nothing.";
    InsnStart "insn" 0 0 None Pc NONE "The guest instruction at `imm` starts here.";

    Mov "mov" 1 1 None None PURE "d = a.";
    Add "add" 1 2 None None PURE "d = a + b, modulo 2^n.";
    Sub "sub" 1 2 None None PURE "d = a - b, modulo 2^n.";
    Mul "mul" 1 2 None None PURE "d = a * b, modulo 2^n.";
    And "and" 1 2 None None PURE "d = a & b.";
    Or "or" 1 2 None None PURE "d = a | b.";
    Xor "xor" 1 2 None None PURE "d = a ^ b.";
    Andc "andc" 1 2 None None PURE "d = a & !b.";
    Shl "shl" 1 2 None None PURE "d = a << (b mod n).";
    Shr "shr" 1 2 None None PURE "d = a >> (b mod n), zeros shifted in.";
    Sar "sar" 1 2 None None PURE "d = a >> (b mod n), the sign shifted in.";
    Rotl "rotl" 1 2 None None PURE "d = a rotated left by b mod n.";
    Rotr "rotr" 1 2 None None PURE "d = a rotated right by b mod n.";
    MulHiS "mulhs" 1 2 None None PURE "d = high half of the signed product (I32, I64).";
    MulHiU "mulhu" 1 2 None None PURE "d = high half of the unsigned product (I32, I64).";
    MulHiSU "mulhsu" 1 2 None None PURE "d = high half of signed a times unsigned b (I32, I64).";
    DivS "divs" 1 2 None None PURE "d = a / b, signed, towards zero; -1 if b = 0; a if it overflows (I32, I64).";
    DivU "divu" 1 2 None None PURE "d = a / b, unsigned; all ones if b = 0 (I32, I64).";
    RemS "rems" 1 2 None None PURE "d = a mod b with a's sign; a if b = 0; 0 if a / b overflows (I32, I64).";
    RemU "remu" 1 2 None None PURE "d = a mod b, unsigned; a if b = 0 (I32, I64).";
    DivWideU "divwu" 2 3 None None PURE "d, d2 = quotient, remainder of the unsigned double-width (b:a) / c (b is the high half); all ones and a if the quotient does not fit (I32, I64).";
    DivWideS "divws" 2 3 None None PURE "d, d2 = quotient, remainder of the signed double-width (b:a) / c, towards zero; all ones and a if the quotient does not fit (I32, I64).";
    Sext "sext" 1 1 Type None PURE "d = the low bits of a that type `aux` holds, sign-extended to `ty`.";
    Zext "zext" 1 1 Type None PURE "d = the low bits of a that type `aux` holds, zero-extended to `ty`.";
    Bswap "bswap" 1 1 None None PURE "d = a with its bytes reversed (I16, I32, I64).";
    Clz "clz" 1 1 None None PURE "d = number of leading zeros of a; n if a = 0 (I32, I64).";
    Ctz "ctz" 1 1 None None PURE "d = number of trailing zeros of a; n if a = 0 (I32, I64).";
    Popcnt "popcnt" 1 1 None None PURE "d = number of ones in a (I32, I64).";
    Clmul "clmul" 1 2 None None PURE "d = low half of the carry-less product (I64).";
    ClmulHi "clmulh" 1 2 None None PURE "d = high half of the carry-less product (I64).";
    SetCond "setcond" 1 2 Cond None PURE "d (I64) = 1 if `a cond b` holds on type `ty`, else 0.";
    Select "select" 1 4 Cond None PURE "d = c if `a cond b` holds, else e; all of type `ty` (I32, I64).";

    Load "load" 1 1 Mem Disp BAR "d = memory at a + imm (a is I64), extended to `ty` as `aux` says. F32, F64 and V128 load their bits.";
    Store "store" 0 2 Mem Disp BAR "Memory at a + imm = low bytes of b (of type `ty`), as `aux` says.";
    Fence "fence" 0 0 Order None BAR "Orders earlier accesses before later ones.";
    AtomicRmw "rmw" 1 2 Mem None BAR "d = old memory at a; memory = old `aux2` b, atomically. d is extended to `ty` as `aux` says.";
    Cas "cas" 1 3 Mem None BAR "d = old memory at a; if it equals the low bytes of b, memory = c, atomically. d is extended to `ty` as `aux` says.";
    CasPair "caspair" 2 4 Mem Val BAR "d, d2 = the old pair of I64 at a (low address first); if equal to b, c, the pair becomes e, imm, atomically. 16-byte aligned.";
    LoadReserved "lr" 1 1 Mem None BAR "d = memory at a, extended to `ty`; registers a reservation on it.";
    StoreCond "sc" 1 2 Mem None BAR "If the reservation is on a and the memory was not written since, memory at a = b and d (I64) = 0, else d = 1. The reservation ends.";

    Bitcast "bitcast" 1 1 Type None PURE "d = the bits of a, whose type is `aux` of the same size (I64-F64, I32-F32).";
    NanBox "nanbox" 1 1 None None PURE "d (F64) = F32 a in the low half, ones in the high half.";
    Unbox "unbox" 1 1 None None PURE "d (F32) = low half of F64 a if its high half is all ones, else the canonical NaN.";
    FAdd "fadd" 1 2 Rm None FP "d = a + b rounded; raises flags. A NaN result is the canonical quiet NaN, here and in every operation below unless it says otherwise.";
    FSub "fsub" 1 2 Rm None FP "d = a - b.";
    FMul "fmul" 1 2 Rm None FP "d = a * b.";
    FDiv "fdiv" 1 2 Rm None FP "d = a / b.";
    FSqrt "fsqrt" 1 1 Rm None FP "d = square root of a.";
    FMadd "fmadd" 1 3 Rm None FP "d = a * b + c, rounded once; infinity times zero raises invalid even if c is a quiet NaN.";
    FMsub "fmsub" 1 3 Rm None FP "d = a * b - c, as fmadd.";
    FNmadd "fnmadd" 1 3 Rm None FP "d = -(a * b) - c, as fmadd.";
    FNmsub "fnmsub" 1 3 Rm None FP "d = -(a * b) + c, as fmadd.";
    FMinNum "fminnum" 1 2 None None FP "d = IEEE 754-2019 minimumNumber: -0 < +0, a NaN operand loses.";
    FMaxNum "fmaxnum" 1 2 None None FP "d = IEEE 754-2019 maximumNumber.";
    FMin "fmin" 1 2 None None FP "d = IEEE 754-2019 minimum: a NaN operand wins.";
    FMax "fmax" 1 2 None None FP "d = IEEE 754-2019 maximum.";
    FCopySign "fsgnj" 1 2 None None PURE "d = a with b's sign bit. No flags, NaNs are bits.";
    FCopySignNot "fsgnjn" 1 2 None None PURE "d = a with the opposite of b's sign bit.";
    FXorSign "fsgnjx" 1 2 None None PURE "d = a with the exclusive or of both sign bits.";
    FCmpEq "feq" 1 2 None None FP "d (I64) = a == b, quiet: invalid only for a signaling NaN.";
    FCmpLt "flt" 1 2 None None FP "d (I64) = a < b, signaling: invalid for any NaN.";
    FCmpLe "fle" 1 2 None None FP "d (I64) = a <= b, signaling.";
    FCmpLtQ "fltq" 1 2 None None FP "d (I64) = a < b, quiet.";
    FCmpLeQ "fleq" 1 2 None None FP "d (I64) = a <= b, quiet.";
    FClass "fclass" 1 1 None None PURE "d (I64) = one bit by class of a: 0 -inf, 1 -normal, 2 -subnormal, 3 -0, 4 +0, 5 +subnormal, 6 +normal, 7 +inf, 8 signaling NaN, 9 quiet NaN.";
    FRound "fround" 1 1 Rm None FP "d = a rounded to an integral value; never inexact. NaN: canonical, invalid if signaling.";
    FRoundX "froundx" 1 1 Rm None FP "d = a rounded to an integral value; inexact if it differs.";
    FToI32S "ftos32" 1 1 Rm None FP "d (I32) = F a as a signed integer; out of range saturates and NaN gives the maximum, with invalid.";
    FToI32U "ftou32" 1 1 Rm None FP "d (I32) = F a as an unsigned integer, likewise.";
    FToI64S "ftos64" 1 1 Rm None FP "d (I64) = F a as a signed integer, likewise.";
    FToI64U "ftou64" 1 1 Rm None FP "d (I64) = F a as an unsigned integer, likewise.";
    FFromI32S "ffroms32" 1 1 Rm None FP "d (F) = signed I32 a.";
    FFromI32U "ffromu32" 1 1 Rm None FP "d (F) = unsigned I32 a.";
    FFromI64S "ffroms64" 1 1 Rm None FP "d (F) = signed I64 a.";
    FFromI64U "ffromu64" 1 1 Rm None FP "d (F) = unsigned I64 a.";
    FWiden "fwiden" 1 1 None None FP "d (F64) = F32 a.";
    FNarrow "fnarrow" 1 1 Rm None FP "d (F32) = F64 a.";
    GetFlags "getflags" 1 0 None None FP "d (I64) = sticky flags: bit 0 inexact, 1 underflow, 2 overflow, 3 divide by zero, 4 invalid.";
    SetFlags "setflags" 0 1 None None FP "Sticky flags = low 5 bits of a.";
    OrFlags "orflags" 0 1 None None FP "Sticky flags |= low 5 bits of a.";
    SetRound "setround" 0 1 None None FP "Dynamic rounding mode = a (0-3 as Rm's numbers; any other value selects 0).";

    ReadCounter "counter" 1 0 Number None NONE "d (I64) = counter `aux`: 0 cycles, 1 time, 2 instructions retired (all three tick with the host's time-stamp counter in user mode).";
    CallHelper "helper" 1 3 None Helper CALL "d (I64) = helper `imm` of the guest's table, called with the guest state and a, b, c (NONE = 0).";

    TrapIf "trapif" 0 3 Cond Pc BAR "If `a cond b` (I64), trap of kind `aux2` with info c at pc `imm`.";
    ExitIf "exitif" 0 2 Cond Pc BAR "If `a cond b` on type `ty`, leave for the guest instruction at `imm`.";
    Call "call" 0 1 None Pc CALL "Leave for the function at `imm`; constant a is the return address (already written to the guest's link register). What follows is the code at the return address.";
    CallInd "callind" 0 2 None None CALL "Leave for the function at a; constant b is the return address, as in call.";
    Exit "exit" 0 0 None Pc END "Leave for the guest instruction at `imm`.";
    Jump "jump" 0 1 Jump None END "Leave for the guest instruction at a.";
    Trap "trap" 0 1 Trap Pc END "Leave with a trap of kind `aux` and info a at pc `imm`.";
}

impl Op {
    /// The description of this operation.
    pub const fn info(self) -> &'static OpInfo {
        &Self::INFO[self as usize]
    }

    /// What the `aux2` byte of this operation holds.
    pub const fn aux2(self) -> Aux {
        match self {
            Self::AtomicRmw => Aux::Atomic,
            Self::TrapIf => Aux::Trap,
            _ => Aux::None,
        }
    }

    /// The operation spelled so.
    pub fn from_name(s: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.info().name == s)
    }
}
