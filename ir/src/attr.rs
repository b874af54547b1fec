//! Types and attributes that operations carry.

/// Declares a `repr(u8)` enum with its text names and a total `from_u8`.
macro_rules! named_enum {
    ($(#[$m:meta])* $name:ident { $($(#[$vm:meta])* $v:ident = $text:literal,)+ }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vm])* $v,)+ }

        impl $name {
            /// Every variant, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$v),+];

            /// The spelling in the text form.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$v => $text),+ }
            }

            /// The variant with this number, if there is one.
            pub const fn from_u8(n: u8) -> Option<Self> {
                if (n as usize) < Self::ALL.len() { Some(Self::ALL[n as usize]) } else { None }
            }

            /// The variant spelled so.
            pub fn from_name(s: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == s)
            }
        }
    };
}

named_enum! {
    /// The type of an operation. Integers have no sign; the operation says how it reads them.
    Type {
        /// 8-bit integer.
        I8 = "i8",
        /// 16-bit integer.
        I16 = "i16",
        /// 32-bit integer.
        I32 = "i32",
        /// 64-bit integer.
        I64 = "i64",
        /// IEEE 754 binary32.
        F32 = "f32",
        /// IEEE 754 binary64.
        F64 = "f64",
        /// 128-bit vector.
        V128 = "v128",
    }
}

impl Type {
    /// Size in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
            Self::V128 => 16,
        }
    }

    /// Size in bits.
    pub const fn bits(self) -> u32 {
        self.bytes() * 8
    }

    /// True for the integer types.
    pub const fn is_int(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// True for the floating-point types.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

named_enum! {
    /// A comparison of two integers.
    Cond {
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Signed less than.
        LtS = "lts",
        /// Signed greater or equal.
        GeS = "ges",
        /// Signed less or equal.
        LeS = "les",
        /// Signed greater than.
        GtS = "gts",
        /// Unsigned less than.
        LtU = "ltu",
        /// Unsigned greater or equal.
        GeU = "geu",
        /// Unsigned less or equal.
        LeU = "leu",
        /// Unsigned greater than.
        GtU = "gtu",
        /// `a & b == 0`.
        TestEq = "teq",
        /// `a & b != 0`.
        TestNe = "tne",
    }
}

impl Cond {
    /// The condition that holds exactly when `self` does not.
    pub const fn negate(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::LtS => Self::GeS,
            Self::GeS => Self::LtS,
            Self::LeS => Self::GtS,
            Self::GtS => Self::LeS,
            Self::LtU => Self::GeU,
            Self::GeU => Self::LtU,
            Self::LeU => Self::GtU,
            Self::GtU => Self::LeU,
            Self::TestEq => Self::TestNe,
            Self::TestNe => Self::TestEq,
        }
    }

    /// The condition that holds for `(b, a)` exactly when `self` holds for `(a, b)`.
    pub const fn swap(self) -> Self {
        match self {
            Self::LtS => Self::GtS,
            Self::GtS => Self::LtS,
            Self::GeS => Self::LeS,
            Self::LeS => Self::GeS,
            Self::LtU => Self::GtU,
            Self::GtU => Self::LtU,
            Self::GeU => Self::LeU,
            Self::LeU => Self::GeU,
            other => other,
        }
    }

    /// Evaluates the condition on the low bits of `a` and `b` that `ty` (an integer type) holds.
    pub const fn eval(self, ty: Type, a: u64, b: u64) -> bool {
        let shift = 64 - ty.bits();
        let (ua, ub) = (a << shift >> shift, b << shift >> shift);
        let (sa, sb) = ((a << shift) as i64 >> shift, (b << shift) as i64 >> shift);
        match self {
            Self::Eq => ua == ub,
            Self::Ne => ua != ub,
            Self::LtS => sa < sb,
            Self::GeS => sa >= sb,
            Self::LeS => sa <= sb,
            Self::GtS => sa > sb,
            Self::LtU => ua < ub,
            Self::GeU => ua >= ub,
            Self::LeU => ua <= ub,
            Self::GtU => ua > ub,
            Self::TestEq => ua & ub == 0,
            Self::TestNe => ua & ub != 0,
        }
    }
}

named_enum! {
    /// A rounding mode of a floating-point operation.
    Rm {
        /// To nearest, ties to even.
        Rne = "rne",
        /// Towards zero.
        Rtz = "rtz",
        /// Towards minus infinity.
        Rdn = "rdn",
        /// Towards plus infinity.
        Rup = "rup",
        /// To nearest, ties away from zero.
        Rmm = "rmm",
        /// The mode last set by `setround` (one of the first four).
        Dyn = "dyn",
    }
}

named_enum! {
    /// Memory order of an access, in C++ terms.
    Order {
        /// No order beyond coherence.
        Relaxed = "relaxed",
        /// Acquire.
        Acquire = "acquire",
        /// Release.
        Release = "release",
        /// Sequentially consistent.
        SeqCst = "seqcst",
    }
}

named_enum! {
    /// What an atomic read-modify-write does with the old value and its operand.
    AtomicOp {
        /// Store the operand.
        Swap = "swap",
        /// Sum.
        Add = "add",
        /// Bitwise and.
        And = "and",
        /// Bitwise or.
        Or = "or",
        /// Bitwise exclusive or.
        Xor = "xor",
        /// Signed minimum.
        MinS = "mins",
        /// Signed maximum.
        MaxS = "maxs",
        /// Unsigned minimum.
        MinU = "minu",
        /// Unsigned maximum.
        MaxU = "maxu",
    }
}

named_enum! {
    /// Why an indirect jump is taken: a hint for prediction, never for meaning.
    JumpKind {
        /// A plain computed jump.
        Jump = "jump",
        /// A return from a function.
        Ret = "ret",
    }
}

named_enum! {
    /// Why a block hands control to the engine's owner.
    TrapKind {
        /// A system call instruction; the pc is that instruction's.
        Syscall = "syscall",
        /// A breakpoint instruction; the pc is that instruction's.
        Breakpoint = "breakpoint",
        /// Not an instruction, or not allowed; the info operand holds its bits.
        Illegal = "illegal",
        /// Instruction bytes could not be fetched; the info operand holds the address.
        Fetch = "fetch",
        /// An access that must be aligned was not; the info operand holds the address.
        Misaligned = "misaligned",
        /// Instruction memory changed (fence.i); the pc is the next instruction's.
        InsnSync = "insnsync",
        /// What the guest state asks of the engine may have changed (rounding or processor mode,
        /// address translation, interrupts); the pc is where to go on.
        Mode = "mode",
        /// The guest waits in a loop and offers the host thread; the pc is the next one.
        Yield = "yield",
        /// The guest waits for an interrupt; the pc is the next one.
        Wfi = "wfi",
        /// A return from a trap handler, which changes the translation mode; the info operand
        /// holds where to go on.
        Return = "return",
    }
}

/// How a memory operation accesses memory, packed into a byte.
///
/// Bits 0–2 size (log2 bytes, 0–4), 3 sign-extending load, 4 big-endian, 5–6 [`Order`],
/// 7 must be naturally aligned.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemOp(pub u8);

impl MemOp {
    /// One byte, zero-extended.
    pub const U8: Self = Self(0);
    /// Two bytes, little-endian, zero-extended.
    pub const U16: Self = Self(1);
    /// Four bytes, little-endian, zero-extended.
    pub const U32: Self = Self(2);
    /// Eight bytes, little-endian.
    pub const U64: Self = Self(3);
    /// Sixteen bytes, little-endian.
    pub const V128: Self = Self(4);
    /// One byte, sign-extended.
    pub const S8: Self = Self(8);
    /// Two bytes, little-endian, sign-extended.
    pub const S16: Self = Self(9);
    /// Four bytes, little-endian, sign-extended.
    pub const S32: Self = Self(10);

    /// Size as log2 of bytes.
    pub const fn size_log2(self) -> u32 {
        (self.0 & 7) as u32
    }

    /// Size in bytes.
    pub const fn bytes(self) -> u32 {
        1 << self.size_log2()
    }

    /// True if a load extends the sign.
    pub const fn signed(self) -> bool {
        self.0 & 8 != 0
    }

    /// True if the bytes in memory are in big-endian order.
    pub const fn big_endian(self) -> bool {
        self.0 & 16 != 0
    }

    /// Memory order.
    pub const fn order(self) -> Order {
        Order::ALL[(self.0 >> 5 & 3) as usize]
    }

    /// True if a misaligned address is a `Misaligned` trap rather than a slower access.
    pub const fn aligned(self) -> bool {
        self.0 & 128 != 0
    }

    /// The same access with another order.
    pub const fn with_order(self, order: Order) -> Self {
        Self(self.0 & !0x60 | (order as u8) << 5)
    }

    /// The same access, sign-extending.
    pub const fn with_sign(self) -> Self {
        Self(self.0 | 8)
    }

    /// The same access in big-endian order.
    pub const fn with_big_endian(self) -> Self {
        Self(self.0 | 16)
    }

    /// The same access, naturally aligned or trapping.
    pub const fn with_alignment(self) -> Self {
        Self(self.0 | 128)
    }
}

impl std::fmt::Debug for MemOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.signed() { 's' } else { 'u' };
        let end = if self.big_endian() { ".be" } else { "" };
        let align = if self.aligned() { ".aligned" } else { "" };
        write!(
            f,
            "{sign}{}{end}.{}{align}",
            self.bytes() * 8,
            self.order().name()
        )
    }
}

impl AtomicOp {
    /// What a read-modify-write makes of `old`, both numbers having `bits` bits (8 to 64); bits
    /// above them are ignored, and zero in the result.
    pub fn apply(self, old: u64, operand: u64, bits: u32) -> u64 {
        // In the upper bits, so that comparisons see the sign.
        let up = 64 - bits.clamp(1, 64);
        let (a, b) = (old << up, operand << up);
        let (sa, sb) = (a as i64, b as i64);
        let new = match self {
            Self::Swap => b,
            Self::Add => a.wrapping_add(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::MinS => sa.min(sb) as u64,
            Self::MaxS => sa.max(sb) as u64,
            Self::MinU => a.min(b),
            Self::MaxU => a.max(b),
        };
        new >> up
    }
}
