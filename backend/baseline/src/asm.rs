//! The x86-64 byte encoder (Intel SDM Vol. 2). Encodes what the emitter needs, in the shortest
//! form; checked against a disassembler in the tests.

/// General registers by their encoding.
pub(crate) const RAX: u8 = 0;
pub(crate) const RCX: u8 = 1;
pub(crate) const RDX: u8 = 2;
pub(crate) const RBX: u8 = 3;
pub(crate) const RSP: u8 = 4;
pub(crate) const RBP: u8 = 5;
pub(crate) const RSI: u8 = 6;
pub(crate) const RDI: u8 = 7;

/// [`Mem::base`] of an absolute address.
const NO_REG: u8 = 0xff;
/// [`Mem::base`] of an offset into the runtime.
const RUNTIME: u8 = 0xfe;

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mem {
    base: u8,
    index: u8,
    scale: u8,
    disp: i32,
}

impl Mem {
    /// `[base + disp]`.
    pub(crate) const fn base(base: u8, disp: i32) -> Self {
        Self {
            base,
            index: NO_REG,
            scale: 0,
            disp,
        }
    }

    /// `[base + index * 2^scale + disp]`; `index` is not `rsp`.
    pub(crate) const fn index(base: u8, index: u8, scale: u8, disp: i32) -> Self {
        Self {
            base,
            index,
            scale,
            disp,
        }
    }

    /// `[disp]`, sign-extended.
    pub(crate) const fn absolute(disp: i32) -> Self {
        Self::base(NO_REG, disp)
    }

    /// The runtime's byte at `offset`.
    pub(crate) const fn runtime(offset: u32) -> Self {
        Self::base(RUNTIME, offset as i32)
    }

    /// The operand with `index` added.
    pub(crate) const fn plus(self, index: u8) -> Self {
        Self { index, ..self }
    }

    /// The operand `by` bytes further.
    pub(crate) const fn offset(self, by: i32) -> Self {
        Self {
            disp: self.disp.wrapping_add(by),
            ..self
        }
    }
}

/// A register (general or vector, as the instruction says) or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rm {
    R(u8),
    M(Mem),
}

impl From<Mem> for Rm {
    fn from(m: Mem) -> Self {
        Self::M(m)
    }
}

/// Two-operand arithmetic by its `/n` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    Adc = 2,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotates by their `/n` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Condition codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cc {
    O = 0,
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    S = 8,
    Ns = 9,
    P = 10,
    Np = 11,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

/// An instruction's first bytes: mandatory prefix, REX, opcode; first byte lowest. Above them
/// REX's position, their number, and flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opc(u64);

impl Opc {
    const REX_SHIFT: u32 = 48;
    const LEN: u32 = 52;
    /// REX.W is set (bit 3 of the top byte).
    const WIDE: u64 = 1 << 59;
    /// REX stays even if nothing in it is set.
    const KEEP_REX: u64 = 1 << 56;

    const fn make(prefix: u8, opcode: u64, len: u64) -> Self {
        if prefix == 0 {
            return Self(0x40 | opcode << 8 | (len + 1) << Self::LEN);
        }
        let bytes = prefix as u64 | 0x4000 | opcode << 16;
        Self(bytes | 8 << Self::REX_SHIFT | (len + 2) << Self::LEN | Self::KEEP_REX)
    }

    pub(crate) const fn one(op: u8) -> Self {
        Self::make(0, op as u64, 1)
    }

    /// Map 0F.
    pub(crate) const fn two(prefix: u8, op: u8) -> Self {
        Self::make(prefix, 0x0f | (op as u64) << 8, 2)
    }

    /// Map 0F38.
    pub(crate) const fn three(prefix: u8, op: u8) -> Self {
        Self::make(prefix, 0x380f | (op as u64) << 16, 3)
    }

    /// The one-byte opcode behind an operand-size prefix.
    pub(crate) const fn word(op: u8) -> Self {
        Self::make(0x66, op as u64, 1)
    }

    /// This instruction of 32 to 64 bits (without prefix) with an operand-size prefix.
    const fn as_word(self) -> Self {
        let len = (self.0 >> Self::LEN & 15) - 1;
        let opcode = self.0 >> 8 & ((1 << (8 * len)) - 1);
        Self::make(0x66, opcode, len)
    }

    /// The form for bytes of an instruction of 16 to 64 bits: the next lower opcode.
    const fn as_byte(self) -> Self {
        let last = (self.0 >> Self::LEN & 15) - 1;
        Self(self.0 - (1 << (8 * last)))
    }

    #[inline(always)]
    const fn wide(self, w: bool) -> Self {
        Self(self.0 | ((w as u64) * Self::WIDE))
    }

    /// With REX in any case, for 8-bit registers 4–7 would else mean `ah`–`bh`.
    #[inline(always)]
    const fn keep_rex(self) -> Self {
        Self(self.0 | Self::KEEP_REX)
    }

    /// The bytes for these registers in REX, and their number. REX stays.
    #[inline(always)]
    fn full_head(self, reg: u8, x: u8, b: u8) -> (u64, u32) {
        let ext = u64::from(reg >> 3) << 2 | u64::from(x >> 3) << 1 | u64::from(b >> 3);
        let rex = self.0 >> 56 & 8 | ext;
        let bytes = self.0 & ((1 << Self::REX_SHIFT) - 1);
        let bytes = bytes | rex << (self.0 >> Self::REX_SHIFT & 15);
        (bytes, (self.0 >> Self::LEN) as u32 & 15)
    }

    /// As [`Self::full_head`], without REX if it says nothing.
    #[inline(always)]
    fn head(self, reg: u8, b: u8) -> (u64, u32) {
        let (bytes, len) = self.full_head(reg, 0, b);
        let omit = u32::from(bytes as u8 == 0x40 && self.0 & Self::KEEP_REX == 0);
        (bytes >> (8 * omit), len - omit)
    }
}

pub(crate) const LZCNT: Opc = Opc::two(0xf3, 0xbd);
pub(crate) const TZCNT: Opc = Opc::two(0xf3, 0xbc);
pub(crate) const POPCNT: Opc = Opc::two(0xf3, 0xb8);
pub(crate) const IMUL: Opc = Opc::two(0, 0xaf);
pub(crate) const MOVZX8: Opc = Opc::two(0, 0xb6);
pub(crate) const MOVZX16: Opc = Opc::two(0, 0xb7);
pub(crate) const MOVSX8: Opc = Opc::two(0, 0xbe);
pub(crate) const MOVSX16: Opc = Opc::two(0, 0xbf);
pub(crate) const MOVSXD: Opc = Opc::one(0x63);
pub(crate) const MOV_LOAD: Opc = Opc::one(0x8b);
pub(crate) const MOV_STORE: Opc = Opc::one(0x89);
pub(crate) const MOV_STORE8: Opc = Opc::one(0x88);
pub(crate) const MOV_STORE16: Opc = Opc::word(0x89);
pub(crate) const MOVBE_LOAD: Opc = Opc::three(0, 0xf0);
pub(crate) const MOVBE_STORE: Opc = Opc::three(0, 0xf1);
pub(crate) const MOVBE_LOAD16: Opc = Opc::three(0x66, 0xf0);
pub(crate) const MOVBE_STORE16: Opc = Opc::three(0x66, 0xf1);
pub(crate) const XCHG: Opc = Opc::one(0x87);
pub(crate) const TEST: Opc = Opc::one(0x85);
pub(crate) const LEA: Opc = Opc::one(0x8d);
pub(crate) const XADD: Opc = Opc::two(0, 0xc1);
pub(crate) const CMPXCHG: Opc = Opc::two(0, 0xb1);

/// A VEX opcode: map (1 0F, 2 0F38, 3 0F3A), implied prefix (0 none, 1 66, 2 F3, 3 F2), opcode.
#[derive(Clone, Copy)]
pub(crate) struct Vex {
    map: u8,
    pp: u8,
    op: u8,
}

impl Vex {
    pub(crate) const fn new(map: u8, pp: u8, op: u8) -> Self {
        Self { map, pp, op }
    }
}

/// Where a forward jump's displacement is to be filled in.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Fix(pub(crate) u32);

/// Buffer kept free beyond the position before each operation is emitted.
const SLACK: usize = 4096;

/// The encoder and its buffer.
#[derive(Debug, Default)]
pub(crate) struct Asm {
    buf: Vec<u8>,
    pos: usize,
    /// Address of the buffer's first byte when executed.
    pub(crate) base: u64,
    /// Address of the runtime.
    pub(crate) runtime: u64,
}

impl Asm {
    /// Starts over at `base`.
    pub(crate) fn start(&mut self, base: u64, runtime: u64) {
        self.pos = 0;
        self.base = base;
        self.runtime = runtime;
        self.reserve();
    }

    /// Makes room for one more operation.
    #[inline(always)]
    pub(crate) fn reserve(&mut self) {
        if self.buf.len() < self.pos + SLACK {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.buf.resize((self.pos + SLACK) * 2, 0);
    }

    /// Offset of the next byte.
    #[inline(always)]
    pub(crate) fn pos(&self) -> u32 {
        self.pos as u32
    }

    /// What was emitted.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[..self.pos]
    }

    /// Appends the low `len` (≤ 8) bytes of `x`.
    #[inline(always)]
    fn put(&mut self, x: u64, len: usize) {
        self.buf[self.pos..self.pos + 8].copy_from_slice(&x.to_le_bytes());
        self.pos += len;
    }

    pub(crate) fn byte(&mut self, b: u8) {
        self.put(u64::from(b), 1);
    }

    pub(crate) fn dword(&mut self, x: u32) {
        self.put(u64::from(x), 4);
    }

    pub(crate) fn qword(&mut self, x: u64) {
        self.put(x, 8);
    }

    /// Pads with zeros (data) to a multiple of `n`.
    pub(crate) fn align_data(&mut self, n: usize) {
        while !self.pos.is_multiple_of(n) {
            self.byte(0);
        }
    }

    /// Moves the bytes from `start` on so that the next byte's address plus `ahead` is at most 4
    /// modulo 8; fills with no operation before them.
    #[inline(never)]
    pub(crate) fn align_rel32(&mut self, start: u32, ahead: u64) {
        let at = self.base.wrapping_add(self.pos as u64).wrapping_add(ahead) & 7;
        if at > 4 {
            self.shift(start as usize, (8 - at) as usize);
        }
    }

    fn shift(&mut self, start: usize, n: usize) {
        self.buf.copy_within(start..self.pos, start + n);
        let end = self.pos + n;
        // Not through `nop`: it stores whole words, over the bytes just moved.
        self.buf[start..start + n].copy_from_slice(&NOPS[n].to_le_bytes()[..n]);
        self.pos = end;
    }

    /// Appends `n` (≤ 7) bytes of `head`, then `len` (≤ 8) bytes of `rest`.
    #[inline(always)]
    fn put_two(&mut self, head: u64, n: u32, rest: u64, len: u32) {
        let (n, len) = (n as usize, len as usize);
        let to = &mut self.buf[self.pos..self.pos + 16];
        to[..8].copy_from_slice(&head.to_le_bytes());
        to[n & 7..(n & 7) + 8].copy_from_slice(&rest.to_le_bytes());
        self.pos += n + len;
    }

    /// Appends head, ModRM, SIB, displacement and `imm_len` bytes of immediate of a memory form.
    #[inline(always)]
    fn mem(&mut self, head: u64, n: u32, reg: u8, m: Mem, imm: u32, imm_len: u32) {
        let reg = u64::from(reg & 7) << 3;
        if m.base >= RUNTIME || m.index != NO_REG || m.base & 7 == RSP {
            return self.mem_rare(head, n, reg, m, imm, imm_len);
        }
        let base = u64::from(m.base & 7);
        let (mode, len) = Self::displacement(m);
        let modrm = mode << 6 | reg | base;
        let rest = u64::from(m.disp as u32) & ((1 << (8 * len)) - 1) | u64::from(imm) << (8 * len);
        self.put_two(head | modrm << (8 * n), n + 1, rest, len + imm_len);
    }

    /// ModRM's mode and the size of the displacement in bytes.
    #[inline(always)]
    fn displacement(m: Mem) -> (u64, u32) {
        if m.disp == 0 && m.base & 7 != RBP {
            (0, 0)
        } else if m.disp as i8 as i32 == m.disp {
            (1, 1)
        } else {
            (2, 4)
        }
    }

    fn mem_rare(&mut self, head: u64, n: u32, reg: u64, m: Mem, imm: u32, imm_len: u32) {
        let shift = 8 * n;
        if m.base == RUNTIME {
            let end = self.pos as u64 + u64::from(n + 5 + imm_len);
            let to = self.runtime.wrapping_add(m.disp as u64);
            let rel = to.wrapping_sub(self.base.wrapping_add(end)) as u32;
            let rest = u64::from(rel) | u64::from(imm) << 32;
            return self.put_two(head | (reg | 5) << shift, n + 1, rest, 4 + imm_len);
        }
        let index = if m.index == NO_REG { RSP } else { m.index & 7 };
        let sib = u64::from(m.scale) << 6 | u64::from(index) << 3;
        let (mode, len, base) = if m.base == NO_REG {
            (0, 4, 5)
        } else {
            let (mode, len) = Self::displacement(m);
            (mode, len, u64::from(m.base & 7))
        };
        let modrm = mode << 6 | reg | 4 | (sib | base) << 8;
        let disp = u64::from(m.disp as u32) & ((1 << (8 * len)) - 1);
        let rest = disp | u64::from(imm) << (8 * len);
        self.put_two(head | modrm << shift, n + 2, rest, len + imm_len);
    }

    /// REX's X and B sources of a memory operand.
    #[inline(always)]
    fn xb(m: Mem) -> (u8, u8) {
        let x = if m.index == NO_REG { 0 } else { m.index };
        let b = if m.base >= RUNTIME { 0 } else { m.base };
        (x, b)
    }

    #[inline(never)]
    fn op_reg(&mut self, op: Opc, reg: u8, r: u8, imm: u32, imm_len: u32) {
        let (h, n) = op.head(reg, r);
        let modrm = 0xc0 | u64::from(reg & 7) << 3 | u64::from(r & 7);
        self.put_two(h | modrm << (8 * n), n + 1, u64::from(imm), imm_len);
    }

    #[inline(never)]
    fn op_mem(&mut self, op: Opc, reg: u8, m: Mem, imm: u32, imm_len: u32) {
        let (x, b) = Self::xb(m);
        let (h, n) = op.full_head(reg, x, b);
        self.mem(h, n, reg, m, imm, imm_len);
    }

    /// [`Self::op_mem`] without immediate: mostly a register and a short displacement.
    #[inline(never)]
    fn op_mem_plain(&mut self, op: Opc, reg: u8, m: Mem) {
        let simple = m.index == NO_REG && m.base < RUNTIME && m.base & 7 != RSP;
        if !simple || m.disp as i8 as i32 != m.disp {
            return self.op_mem(op, reg, m, 0, 0);
        }
        let (h, n) = op.full_head(reg, 0, m.base);
        let disp = u64::from(m.disp != 0 || m.base & 7 == RBP);
        let modrm = disp << 6 | u64::from(reg & 7) << 3 | u64::from(m.base & 7);
        let tail = modrm | u64::from(m.disp as u8) << 8;
        self.put(h | tail << (8 * n), (n + 1) as usize + disp as usize);
    }

    /// `op reg, rm` (or `op rm, reg`, as the opcode says) with an immediate of `imm_len` bytes.
    #[inline(always)]
    fn op_imm(&mut self, op: Opc, reg: u8, rm: Rm, imm: u32, imm_len: u32) {
        match rm {
            Rm::R(r) => self.op_reg(op, reg, r, imm, imm_len),
            Rm::M(m) => self.op_mem(op, reg, m, imm, imm_len),
        }
    }

    /// An instruction with a register and a register-or-memory operand.
    #[inline]
    pub(crate) fn op(&mut self, op: Opc, w: bool, reg: u8, rm: Rm) {
        match rm {
            Rm::R(r) => self.op_reg(op.wide(w), reg, r, 0, 0),
            Rm::M(m) => self.op_mem_plain(op.wide(w), reg, m),
        }
    }

    /// As [`Self::op`], the operand `rm` (or `reg` of a byte store) being an 8-bit register.
    #[inline]
    pub(crate) fn op8(&mut self, op: Opc, w: bool, reg: u8, rm: Rm) {
        self.op_imm(op.wide(w).keep_rex(), reg, rm, 0, 0);
    }

    /// An instruction whose opcode is given for 16–64 bits, on an operand of `2^size` bytes.
    pub(crate) fn op_sized(&mut self, op: Opc, size: u32, reg: u8, rm: Rm) {
        match size {
            0 => self.op8(op.as_byte(), false, reg, rm),
            1 => self.op(op.as_word(), false, reg, rm),
            _ => self.op(op, size == 3, reg, rm),
        }
    }

    /// `mov d, s` (nothing if they are equal and the move is of 64 bits).
    #[inline(never)]
    pub(crate) fn mov(&mut self, w: bool, d: u8, s: u8) {
        if d != s || !w {
            self.op(MOV_LOAD, w, d, Rm::R(s));
        }
    }

    #[inline]
    pub(crate) fn load(&mut self, w: bool, d: u8, m: Mem) {
        self.op(MOV_LOAD, w, d, Rm::M(m));
    }

    #[inline]
    pub(crate) fn store(&mut self, w: bool, m: Mem, s: u8) {
        self.op(MOV_STORE, w, s, Rm::M(m));
    }

    /// `mov d, value` in the shortest form; changes no flags.
    #[inline(never)]
    pub(crate) fn mov_imm(&mut self, d: u8, value: u64) {
        if value >> 32 == 0 {
            let (h, n) = Opc::one(0xb8 | d & 7).wide(false).head(0, d);
            self.put_two(h, n, value, 4);
        } else if value as i32 as i64 as u64 == value {
            let (h, n) = Opc::one(0xc7).wide(true).head(0, d);
            let modrm = 0xc0 | u64::from(d & 7);
            self.put_two(h | modrm << (8 * n), n + 1, value, 4);
        } else {
            let (h, n) = Opc::one(0xb8 | d & 7).wide(true).head(0, d);
            self.put_two(h, n, value, 8);
        }
    }

    /// `mov qword/dword [m], imm32`.
    pub(crate) fn store_imm(&mut self, w: bool, m: Mem, imm: i32) {
        self.op_mem(Opc::one(0xc7).wide(w), 0, m, imm as u32, 4);
    }

    /// `mov [m], imm` of `2^size` bytes.
    pub(crate) fn store_const(&mut self, size: u32, m: Mem, imm: i32) {
        match size {
            0 => {
                self.op_mem(Opc::one(0xc6), 0, m, u32::from(imm as u8), 1);
            }
            1 => {
                self.op_mem(Opc::word(0xc7), 0, m, u32::from(imm as u16), 2);
            }
            _ => self.store_imm(size == 3, m, imm),
        }
    }

    /// `op d, rm`.
    #[inline]
    pub(crate) fn alu(&mut self, op: Alu, w: bool, d: u8, rm: Rm) {
        self.op(Opc::one((op as u8) << 3 | 3), w, d, rm);
    }

    /// `op [m], s`.
    pub(crate) fn alu_mem(&mut self, op: Alu, w: bool, m: Mem, s: u8) {
        self.op(Opc::one((op as u8) << 3 | 1), w, s, Rm::M(m));
    }

    /// `op rm, imm`.
    #[inline(never)]
    pub(crate) fn alu_imm(&mut self, op: Alu, w: bool, rm: Rm, imm: i32) {
        if imm as i8 as i32 == imm {
            self.op_imm(Opc::one(0x83).wide(w), op as u8, rm, imm as u32, 1);
        } else if rm == Rm::R(RAX) {
            let (h, n) = Opc::one((op as u8) << 3 | 5).wide(w).head(0, 0);
            self.put_two(h, n, u64::from(imm as u32), 4);
        } else {
            self.op_imm(Opc::one(0x81).wide(w), op as u8, rm, imm as u32, 4);
        }
    }

    /// `test rm, imm32`.
    pub(crate) fn test_imm(&mut self, w: bool, rm: Rm, imm: i32) {
        if let (Rm::R(r), 0..=127) = (rm, imm) {
            let op = Opc::one(0xf6);
            let op = if r >= 4 { op.keep_rex() } else { op };
            self.op_reg(op, 0, r, imm as u32, 1);
        } else {
            self.op_imm(Opc::one(0xf7).wide(w), 0, rm, imm as u32, 4);
        }
    }

    /// Group 3 (`/2` not, `/3` neg, `/4` mul, `/5` imul, `/6` div, `/7` idiv).
    pub(crate) fn group3(&mut self, n: u8, w: bool, rm: Rm) {
        self.op(Opc::one(0xf7), w, n, rm);
    }

    /// `op r, imm8`.
    #[inline(never)]
    pub(crate) fn shift_imm(&mut self, op: Shift, w: bool, r: u8, imm: u8) {
        if imm == 1 {
            self.op(Opc::one(0xd1), w, op as u8, Rm::R(r));
        } else {
            self.op_reg(Opc::one(0xc1).wide(w), op as u8, r, u32::from(imm), 1);
        }
    }

    /// `op r, cl`.
    pub(crate) fn shift_cl(&mut self, op: Shift, w: bool, r: u8) {
        self.op(Opc::one(0xd3), w, op as u8, Rm::R(r));
    }

    /// `imul d, rm, imm`.
    pub(crate) fn imul_imm(&mut self, w: bool, d: u8, rm: Rm, imm: i32) {
        if imm as i8 as i32 == imm {
            self.op_imm(Opc::one(0x6b).wide(w), d, rm, imm as u32, 1);
        } else {
            self.op_imm(Opc::one(0x69).wide(w), d, rm, imm as u32, 4);
        }
    }

    /// `lea d, [m]`.
    #[inline]
    pub(crate) fn lea(&mut self, w: bool, d: u8, m: Mem) {
        self.op(LEA, w, d, Rm::M(m));
    }

    /// `bswap r`.
    pub(crate) fn bswap(&mut self, w: bool, r: u8) {
        let (h, n) = Opc::two(0, 0xc8 | r & 7).wide(w).head(0, r);
        self.put_two(h, n, 0, 0);
    }

    /// `setcc r8`.
    pub(crate) fn setcc(&mut self, cc: Cc, r: u8) {
        self.op8(Opc::two(0, 0x90 | cc as u8), false, 0, Rm::R(r));
    }

    /// `cmovcc d, rm`.
    pub(crate) fn cmov(&mut self, cc: Cc, w: bool, d: u8, rm: Rm) {
        self.op(Opc::two(0, 0x40 | cc as u8), w, d, rm);
    }

    /// `jcc rel32` to come.
    #[inline(never)]
    pub(crate) fn jcc(&mut self, cc: Cc) -> Fix {
        self.put(0x0f | (0x80 | cc as u64) << 8, 6);
        Fix(self.pos as u32 - 4)
    }

    /// `jmp rel32` to come.
    pub(crate) fn jmp(&mut self) -> Fix {
        self.put(0xe9, 5);
        Fix(self.pos as u32 - 4)
    }

    /// `call rel32` to come.
    pub(crate) fn call(&mut self) -> Fix {
        self.put(0xe8, 5);
        Fix(self.pos as u32 - 4)
    }

    /// Lets a displacement lead to the next byte.
    #[inline]
    pub(crate) fn bind(&mut self, fix: Fix) {
        self.bind_to(fix, self.pos as u32);
    }

    /// Lets a displacement lead to offset `to`.
    #[inline(never)]
    pub(crate) fn bind_to(&mut self, fix: Fix, to: u32) {
        let at = fix.0 as usize;
        let rel = to.wrapping_sub(fix.0 + 4);
        self.buf[at..at + 4].copy_from_slice(&rel.to_le_bytes());
    }

    /// `jcc rel8` to come.
    pub(crate) fn jcc8(&mut self, cc: Cc) -> Fix {
        self.put(0x70 | cc as u64, 2);
        Fix(self.pos as u32 - 1)
    }

    /// `jmp rel8` to come.
    pub(crate) fn jmp8(&mut self) -> Fix {
        self.put(0xeb, 2);
        Fix(self.pos as u32 - 1)
    }

    /// Lets a short displacement lead to the next byte (at most 127 bytes away).
    pub(crate) fn bind8(&mut self, fix: Fix) {
        let rel = self.pos as u32 - fix.0 - 1;
        debug_assert!(rel < 128, "short jump too far");
        self.buf[fix.0 as usize] = rel as u8;
    }

    /// `jcc rel8` back to offset `to`.
    pub(crate) fn jcc8_back(&mut self, cc: Cc, to: u32) {
        let rel = to.wrapping_sub(self.pos as u32 + 2);
        self.put(0x70 | cc as u64 | u64::from(rel as u8) << 8, 2);
    }

    /// `jmp rel32` to offset `to` of this code.
    pub(crate) fn jmp_to(&mut self, to: u32) {
        let fix = self.jmp();
        self.bind_to(fix, to);
    }

    fn runtime_rel(&self, offset: u32, len: u64) -> u32 {
        let end = self.base.wrapping_add(self.pos as u64).wrapping_add(len);
        self.runtime
            .wrapping_add(u64::from(offset))
            .wrapping_sub(end) as u32
    }

    /// `jmp` to a stub of the runtime.
    pub(crate) fn jmp_runtime(&mut self, offset: u32) {
        let rel = u64::from(self.runtime_rel(offset, 5));
        self.put(0xe9 | rel << 8, 5);
    }

    /// `call` of a stub of the runtime.
    pub(crate) fn call_runtime(&mut self, offset: u32) {
        let rel = u64::from(self.runtime_rel(offset, 5));
        self.put(0xe8 | rel << 8, 5);
    }

    /// `jcc` to a stub of the runtime.
    pub(crate) fn jcc_runtime(&mut self, cc: Cc, offset: u32) {
        let rel = u64::from(self.runtime_rel(offset, 6));
        self.put(0x0f | (0x80 | cc as u64) << 8 | rel << 16, 6);
    }

    /// `cmp rax, [rip + …]` of a constant to be placed; the fix is its displacement.
    pub(crate) fn cmp_rax_const(&mut self) -> Fix {
        self.put(0x05_3b48, 7);
        Fix(self.pos as u32 - 4)
    }

    /// `jmp`/`call qword [m]` (`/4`, `/2`).
    pub(crate) fn jmp_mem(&mut self, m: Mem) {
        self.op(Opc::one(0xff), false, 4, Rm::M(m));
    }

    pub(crate) fn call_mem(&mut self, m: Mem) {
        self.op(Opc::one(0xff), false, 2, Rm::M(m));
    }

    pub(crate) fn jmp_reg(&mut self, r: u8) {
        self.op(Opc::one(0xff), false, 4, Rm::R(r));
    }

    pub(crate) fn push(&mut self, r: u8) {
        let (h, n) = Opc::one(0x50 | r & 7).wide(false).head(0, r);
        self.put_two(h, n, 0, 0);
    }

    pub(crate) fn pop(&mut self, r: u8) {
        let (h, n) = Opc::one(0x58 | r & 7).wide(false).head(0, r);
        self.put_two(h, n, 0, 0);
    }

    pub(crate) fn ret(&mut self) {
        self.byte(0xc3);
    }

    pub(crate) fn rdtsc(&mut self) {
        self.put(0x310f, 2);
    }

    /// `cqo` / `cdq`.
    pub(crate) fn sign_rax(&mut self, w: bool) {
        if w {
            self.put(0x9948, 2)
        } else {
            self.put(0x99, 1)
        }
    }

    /// `stmxcsr` / `ldmxcsr` (VEX forms).
    pub(crate) fn stmxcsr(&mut self, m: Mem) {
        self.vex(Vex::new(1, 0, 0xae), false, 3, 0, Rm::M(m));
    }

    pub(crate) fn ldmxcsr(&mut self, m: Mem) {
        self.vex(Vex::new(1, 0, 0xae), false, 2, 0, Rm::M(m));
    }

    /// A VEX instruction (128-bit or scalar) with an immediate of `imm_len` bytes.
    #[inline(never)]
    fn vex_full(&mut self, op: Vex, w: bool, reg: u8, v: u8, rm: Rm, imm: Option<u8>) {
        let (imm, imm_len) = (u32::from(imm.unwrap_or(0)), u32::from(imm.is_some()));
        let (x, b) = match rm {
            Rm::R(r) => (0, r),
            Rm::M(m) => Self::xb(m),
        };
        let low = u64::from(!v & 15) << 3 | u64::from(op.pp);
        let r_bar = u64::from(!reg & 8) << 4;
        let (h, n) = if op.map == 1 && !w && (x | b) & 8 == 0 {
            (0xc5 | (r_bar | low) << 8 | u64::from(op.op) << 16, 3)
        } else {
            let x_bar = u64::from(!x & 8) << 3;
            let b_bar = u64::from(!b & 8) << 2;
            let second = r_bar | x_bar | b_bar | u64::from(op.map);
            let third = u64::from(w) << 7 | low;
            let bytes = 0xc4 | second << 8 | third << 16 | u64::from(op.op) << 24;
            (bytes, 4)
        };
        match rm {
            Rm::R(r) => {
                let modrm = 0xc0 | u64::from(reg & 7) << 3 | u64::from(r & 7);
                self.put_two(h | modrm << (8 * n), n + 1, u64::from(imm), imm_len);
            }
            Rm::M(m) => self.mem(h, n, reg, m, imm, imm_len),
        }
    }

    /// A VEX instruction: `op reg, v, rm` (`v` = 0 if it has no such operand).
    #[inline]
    pub(crate) fn vex(&mut self, op: Vex, w: bool, reg: u8, v: u8, rm: Rm) {
        self.vex_full(op, w, reg, v, rm, None);
    }

    /// A VEX instruction with an 8-bit immediate.
    pub(crate) fn vex_imm(&mut self, op: Vex, w: bool, reg: u8, v: u8, rm: Rm, imm: u8) {
        self.vex_full(op, w, reg, v, rm, Some(imm));
    }

    /// `rorx d, rm, imm`.
    pub(crate) fn rorx(&mut self, w: bool, d: u8, rm: Rm, imm: u8) {
        self.vex_imm(Vex::new(3, 3, 0xf0), w, d, 0, rm, imm);
    }

    /// `shlx`, `shrx` or `sarx d, rm, count`.
    pub(crate) fn shift_x(&mut self, op: Shift, w: bool, d: u8, rm: Rm, count: u8) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            _ => 3,
        };
        self.vex(Vex::new(2, pp, 0xf7), w, d, count, rm);
    }

    /// `andn d, not, rm` (d = !not & rm).
    pub(crate) fn andn(&mut self, w: bool, d: u8, not: u8, rm: Rm) {
        self.vex(Vex::new(2, 0, 0xf2), w, d, not, rm);
    }
}

/// No operations of 0–7 bytes (SDM Vol. 2, NOP, recommended sequences).
const NOPS: [u64; 8] = [
    0,
    0x90,
    0x9066,
    0x001f0f,
    0x0040_1f0f,
    0x00_0044_1f0f,
    0x0000_441f_0f66,
    0x0080_1f0f,
];

/// VEX opcodes.
pub(crate) mod v {
    use super::Vex;

    pub(crate) const MOVSD_LOAD: Vex = Vex::new(1, 3, 0x10);
    pub(crate) const MOVSD_STORE: Vex = Vex::new(1, 3, 0x11);
    pub(crate) const MOVSS_LOAD: Vex = Vex::new(1, 2, 0x10);
    pub(crate) const MOVSS_STORE: Vex = Vex::new(1, 2, 0x11);
    pub(crate) const MOVAPS: Vex = Vex::new(1, 0, 0x28);
    /// `vmovd/q xmm, rm`.
    pub(crate) const MOV_FROM_INT: Vex = Vex::new(1, 1, 0x6e);
    /// `vmovd/q rm, xmm`.
    pub(crate) const MOV_TO_INT: Vex = Vex::new(1, 1, 0x7e);
    pub(crate) const AND: Vex = Vex::new(1, 0, 0x54);
    pub(crate) const OR: Vex = Vex::new(1, 0, 0x56);
    pub(crate) const XOR: Vex = Vex::new(1, 0, 0x57);
    pub(crate) const PEXTRD: Vex = Vex::new(3, 1, 0x16);
    pub(crate) const PCLMULQDQ: Vex = Vex::new(3, 1, 0x44);
    pub(crate) const PSRLDQ: Vex = Vex::new(1, 1, 0x73);
}

#[cfg(test)]
#[path = "asm_tests.rs"]
mod tests;
