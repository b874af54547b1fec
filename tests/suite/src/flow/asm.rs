//! An assembler for control flow: instructions, labels and tables in three pieces of memory.
//!
//! Encodings: RISC-V Unprivileged ISA, "RV32/64G Instruction Set Listings" and "C Extension".

/// Where something is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Code that stays as it is.
    Text,
    /// Code that may be written.
    Patched,
    /// Tables.
    Data,
}

impl Place {
    /// The address of its beginning.
    pub(super) const fn base(self) -> u64 {
        match self {
            Self::Text => 0x10_0000,
            Self::Patched => 0x40_0000,
            Self::Data => 0x1000_0000,
        }
    }
}

/// A place in the program, perhaps one that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// How an instruction or a table names a label.
#[derive(Clone, Copy, Debug)]
enum Fixup {
    Branch,
    ShortBranch,
    Jump,
    /// `auipc` and an instruction with the lower bits.
    Pair,
    Address,
}

pub(super) const ZERO: u32 = 0;
pub(super) const RA: u32 = 1;
pub(super) const SP: u32 = 2;
pub(super) const GP: u32 = 3;
pub(super) const TP: u32 = 4;
pub(super) const T0: u32 = 5;
pub(super) const T1: u32 = 6;
pub(super) const T2: u32 = 7;
pub(super) const S0: u32 = 8;
pub(super) const A0: u32 = 10;
pub(super) const A1: u32 = 11;
pub(super) const A2: u32 = 12;
pub(super) const A3: u32 = 13;
pub(super) const A4: u32 = 14;
pub(super) const A5: u32 = 15;
pub(super) const A7: u32 = 17;
pub(super) const S2: u32 = 18;
pub(super) const S5: u32 = 21;
pub(super) const T5: u32 = 30;
pub(super) const T6: u32 = 31;

pub(super) const ECALL: u32 = 0x0000_0073;
pub(super) const EBREAK: u32 = 0x0010_0073;
pub(super) const FENCE_I: u32 = 0x0000_100f;
/// `csrrw zero, cycle, zero`, which is never legal.
pub(super) const UNIMP: u32 = 0xc000_1073;
pub(super) const C_NOP: u16 = 0x0001;
pub(super) const C_EBREAK: u16 = 0x9002;
pub(super) const C_ILLEGAL: u16 = 0x0000;
pub(super) const RET: u32 = i_type(0x67, 0, ZERO, RA, 0);

pub(super) const fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

pub(super) const fn r_type(opcode: u32, funct3: u32, funct7: u32, rd: u32, a: u32, b: u32) -> u32 {
    funct7 << 25 | b << 20 | a << 15 | funct3 << 12 | rd << 7 | opcode
}

pub(super) const fn s_type(opcode: u32, funct3: u32, rs1: u32, rs2: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | opcode
}

pub(super) const fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, 0, rd, rs1, imm)
}

pub(super) const fn andi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, 7, rd, rs1, imm)
}

pub(super) const fn slli(rd: u32, rs1: u32, by: i32) -> u32 {
    i_type(0x13, 1, rd, rs1, by)
}

pub(super) const fn add(rd: u32, a: u32, b: u32) -> u32 {
    r_type(0x33, 0, 0, rd, a, b)
}

pub(super) const fn sub(rd: u32, a: u32, b: u32) -> u32 {
    r_type(0x33, 0, 0x20, rd, a, b)
}

pub(super) const fn ld(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, 3, rd, rs1, imm)
}

pub(super) const fn lw(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, 2, rd, rs1, imm)
}

pub(super) const fn lbu(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, 4, rd, rs1, imm)
}

pub(super) const fn sd(rs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(0x23, 3, rs1, rs2, imm)
}

pub(super) const fn sw(rs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(0x23, 2, rs1, rs2, imm)
}

pub(super) const fn fld(fd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x07, 3, fd, rs1, imm)
}

pub(super) const fn fsd(fs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(0x27, 3, rs1, fs2, imm)
}

pub(super) const fn jalr(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x67, 0, rd, rs1, imm)
}

/// Conditions of branches, by `funct3`.
pub(super) const BEQ: u32 = 0;
pub(super) const BNE: u32 = 1;
pub(super) const BLT: u32 = 4;
pub(super) const BGE: u32 = 5;

/// A program in the making.
#[derive(Debug)]
pub(super) struct Asm {
    pieces: [Vec<u8>; 3],
    place: Place,
    labels: Vec<Option<u64>>,
    fixups: Vec<(Place, usize, Fixup, Label)>,
    /// Jumps and branches so far, each of which ends a block.
    pub(super) blocks: usize,
}

impl Asm {
    pub(super) fn new() -> Self {
        Self {
            pieces: Default::default(),
            place: Place::Text,
            labels: Vec::new(),
            fixups: Vec::new(),
            blocks: 0,
        }
    }

    /// Where the next instructions go.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Goes on at another place; answers where it was.
    pub(super) fn go(&mut self, place: Place) -> Place {
        std::mem::replace(&mut self.place, place)
    }

    fn piece(&mut self) -> &mut Vec<u8> {
        &mut self.pieces[self.place as usize]
    }

    /// The address of what comes next.
    pub(super) fn pc(&self) -> u64 {
        self.place.base() + self.pieces[self.place as usize].len() as u64
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.piece().extend_from_slice(bytes);
    }

    pub(super) fn half(&mut self, half: u16) {
        self.bytes(&half.to_le_bytes());
    }

    /// Instructions of four bytes.
    pub(super) fn words(&mut self, words: &[u32]) {
        for word in words {
            self.bytes(&word.to_le_bytes());
        }
    }

    pub(super) fn align(&mut self, to: usize) {
        while !self.pc().is_multiple_of(to as u64) {
            match self.place {
                Place::Data => self.bytes(&[0]),
                _ => self.half(C_NOP),
            }
        }
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub(super) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.pc());
    }

    /// A label here.
    pub(super) fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// A value below 2^31, in at most two instructions.
    pub(super) fn li(&mut self, rd: u32, value: u64) {
        let low = (value as i32) << 20 >> 20;
        let high = (value as i32).wrapping_sub(low) as u32;
        let from = if high == 0 { ZERO } else { rd };
        if high != 0 {
            self.words(&[high | rd << 7 | 0x37]);
        }
        if high == 0 || low != 0 {
            self.words(&[i_type(
                if high == 0 { 0x13 } else { 0x1b },
                0,
                rd,
                from,
                low,
            )]);
        }
    }

    fn fix(&mut self, kind: Fixup, label: Label) {
        let at = self.piece().len();
        self.fixups.push((self.place, at, kind, label));
    }

    /// The address of a label.
    pub(super) fn la(&mut self, rd: u32, label: Label) {
        self.fix(Fixup::Pair, label);
        self.words(&[rd << 7 | 0x17, addi(rd, rd, 0)]);
    }

    pub(super) fn branch(&mut self, condition: u32, a: u32, b: u32, to: Label) {
        self.blocks += 1;
        self.fix(Fixup::Branch, to);
        self.words(&[b << 20 | a << 15 | condition << 12 | 0x63]);
    }

    /// `c.beqz` or `c.bnez` of a register from `s0` to `a5`, to a place within 256 bytes.
    pub(super) fn short_branch(&mut self, not_zero: bool, a: u32, to: Label) {
        self.blocks += 1;
        self.fix(Fixup::ShortBranch, to);
        let funct3 = if not_zero { 7 } else { 6 };
        self.half(funct3 << 13 | (a as u16 - 8) << 7 | 1);
    }

    /// `jal`.
    pub(super) fn jump(&mut self, link: u32, to: Label) {
        self.blocks += 1;
        self.fix(Fixup::Jump, to);
        self.words(&[link << 7 | 0x6f]);
    }

    /// A jump to any distance; `by` is lost.
    pub(super) fn far_jump(&mut self, link: u32, by: u32, to: Label) {
        self.blocks += 1;
        self.fix(Fixup::Pair, to);
        self.words(&[by << 7 | 0x17, jalr(link, by, 0)]);
    }

    /// `jalr`.
    pub(super) fn jump_register(&mut self, link: u32, to: u32) {
        self.blocks += 1;
        self.words(&[jalr(link, to, 0)]);
    }

    pub(super) fn system_call(&mut self, number: u64) {
        self.li(A7, number);
        self.words(&[ECALL]);
    }

    /// Eight bytes that are the address of a label.
    pub(super) fn address(&mut self, label: Label) {
        self.fix(Fixup::Address, label);
        self.bytes(&[0; 8]);
    }

    /// The pieces, every label in its place.
    pub(super) fn finish(mut self) -> [Vec<u8>; 3] {
        for (place, at, kind, label) in std::mem::take(&mut self.fixups) {
            let to = self.labels[label.0].expect("every label is bound");
            let from = place.base() + at as u64;
            let piece = &mut self.pieces[place as usize];
            put(&mut piece[at..], kind, from, to);
        }
        self.pieces
    }
}

fn put(at: &mut [u8], kind: Fixup, from: u64, to: u64) {
    let offset = to.wrapping_sub(from) as i64;
    let fits = |bits: u32| assert!(offset >> (bits - 1) == offset >> 63, "{kind:?} {offset}");
    let by = offset as u32;
    match kind {
        Fixup::Branch => {
            fits(13);
            let bits = (by >> 12 & 1) << 31 | (by >> 5 & 63) << 25;
            or(at, bits | (by >> 1 & 15) << 8 | (by >> 11 & 1) << 7);
        }
        Fixup::ShortBranch => {
            fits(9);
            let high = (by >> 8 & 1) << 12 | (by >> 3 & 3) << 10;
            let low = (by >> 6 & 3) << 5 | (by >> 1 & 3) << 3 | (by >> 5 & 1) << 2;
            let half = u16::from_le_bytes([at[0], at[1]]) | (high | low) as u16;
            at[..2].copy_from_slice(&half.to_le_bytes());
        }
        Fixup::Jump => {
            fits(21);
            let bits = (by >> 20 & 1) << 31 | (by >> 1 & 0x3ff) << 21;
            or(at, bits | (by >> 11 & 1) << 20 | by & 0xf_f000);
        }
        Fixup::Pair => {
            let low = by << 20;
            or(at, by.wrapping_add(0x800) & 0xffff_f000);
            or(&mut at[4..], low);
        }
        Fixup::Address => at[..8].copy_from_slice(&to.to_le_bytes()),
    }
}

fn or(at: &mut [u8], bits: u32) {
    let word = u32::from_le_bytes([at[0], at[1], at[2], at[3]]) | bits;
    at[..4].copy_from_slice(&word.to_le_bytes());
}
