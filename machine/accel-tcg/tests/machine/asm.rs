//! An assembler of the few instructions that the programs need (RISC-V Unprivileged and Privileged
//! manuals, chapters "RV32/64G Instruction Set Listings").

pub const ZERO: u32 = 0;
pub const RA: u32 = 1;
pub const SP: u32 = 2;
pub const T0: u32 = 5;
pub const T1: u32 = 6;
pub const T2: u32 = 7;
pub const A0: u32 = 10;
pub const A1: u32 = 11;
pub const A2: u32 = 12;
pub const A3: u32 = 13;
pub const A4: u32 = 14;
pub const A5: u32 = 15;
pub const S2: u32 = 18;
pub const S3: u32 = 19;
pub const S4: u32 = 20;
/// Where the handler of [`crate::bench`] goes on, if not 0: else behind the instruction.
pub const RESUME: u32 = 29;
/// The handler's own.
pub const TMP: u32 = 30;
/// The test device.
pub const DEV: u32 = 31;

pub const SSTATUS: u32 = 0x100;
pub const SIE: u32 = 0x104;
pub const STVEC: u32 = 0x105;
pub const SSCRATCH: u32 = 0x140;
pub const SEPC: u32 = 0x141;
pub const SCAUSE: u32 = 0x142;
pub const STVAL: u32 = 0x143;
pub const SIP: u32 = 0x144;
pub const STIMECMP: u32 = 0x14d;
pub const SATP: u32 = 0x180;
pub const MSTATUS: u32 = 0x300;
pub const MTVEC: u32 = 0x305;
pub const MSCRATCH: u32 = 0x340;
pub const MEPC: u32 = 0x341;
pub const MCAUSE: u32 = 0x342;
pub const MTVAL: u32 = 0x343;
pub const PMPCFG0: u32 = 0x3a0;
pub const PMPADDR0: u32 = 0x3b0;
pub const TIME: u32 = 0xc01;

pub const ECALL: u32 = 0x0000_0073;
pub const SRET: u32 = 0x1020_0073;
pub const MRET: u32 = 0x3020_0073;
pub const WFI: u32 = 0x1050_0073;
/// `wrs.nto`: gives way.
pub const YIELD: u32 = 0x00d0_0073;
pub const FENCE_I: u32 = 0x0000_100f;
pub const FENCE: u32 = 0x0ff0_000f;
pub const NOP: u32 = 0x0000_0013;
pub const RET: u32 = jalr(ZERO, RA, 0);
pub const C_NOP: u16 = 1;
/// `c.jr ra`
pub const C_RET: u16 = 0x8082;

pub const fn r_type(op: u32, funct: u32, funct7: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    funct7 << 25 | rs2 << 20 | rs1 << 15 | funct << 12 | rd << 7 | op
}

pub const fn i_type(op: u32, funct: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | funct << 12 | rd << 7 | op
}

const fn s_type(funct: u32, rs2: u32, rs1: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | funct << 12 | (imm & 31) << 7 | 0x23
}

const fn branch_offset(imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 12 & 1) << 31 | (imm >> 5 & 0x3f) << 25 | (imm >> 1 & 15) << 8 | (imm >> 11 & 1) << 7
}

const fn jump_offset(imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 20 & 1) << 31 | (imm >> 1 & 0x3ff) << 21 | (imm >> 11 & 1) << 20 | imm & 0xf_f000
}

pub const fn lui(rd: u32, imm: u32) -> u32 {
    imm << 12 | rd << 7 | 0x37
}

pub const fn auipc(rd: u32, imm: u32) -> u32 {
    imm << 12 | rd << 7 | 0x17
}

pub const fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, 0, rd, rs1, imm)
}

pub const fn addiw(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x1b, 0, rd, rs1, imm)
}

pub const fn slli(rd: u32, rs1: u32, by: i32) -> u32 {
    i_type(0x13, 1, rd, rs1, by)
}

pub const fn andi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, 7, rd, rs1, imm)
}

pub const fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    r_type(0x33, 0, 0, rd, rs1, rs2)
}

pub const fn sub(rd: u32, rs1: u32, rs2: u32) -> u32 {
    r_type(0x33, 0, 0x20, rd, rs1, rs2)
}

pub const fn mv(rd: u32, rs: u32) -> u32 {
    addi(rd, rs, 0)
}

pub const fn jalr(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x67, 0, rd, rs1, imm)
}

/// `jal` to a place `offset` bytes on.
pub const fn jal(rd: u32, offset: i32) -> u32 {
    jump_offset(offset) | rd << 7 | 0x6f
}

/// A load of `1 << size` bytes, sign-extended.
pub const fn load(size: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, size, rd, rs1, imm)
}

pub const fn store(size: u32, rs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(size, rs2, rs1, imm)
}

pub const fn ld(rd: u32, rs1: u32, imm: i32) -> u32 {
    load(3, rd, rs1, imm)
}

pub const fn lw(rd: u32, rs1: u32, imm: i32) -> u32 {
    load(2, rd, rs1, imm)
}

pub const fn sd(rs2: u32, rs1: u32, imm: i32) -> u32 {
    store(3, rs2, rs1, imm)
}

pub const fn sw(rs2: u32, rs1: u32, imm: i32) -> u32 {
    store(2, rs2, rs1, imm)
}

/// An atomic of `1 << size` bytes, with acquire and release.
pub const fn amo(kind: u32, size: u32, rd: u32, rs2: u32, rs1: u32) -> u32 {
    r_type(0x2f, size, kind << 2 | 3, rd, rs1, rs2)
}

pub const fn amoadd(size: u32, rd: u32, rs2: u32, rs1: u32) -> u32 {
    amo(0, size, rd, rs2, rs1)
}

pub const fn amoswap(size: u32, rd: u32, rs2: u32, rs1: u32) -> u32 {
    amo(1, size, rd, rs2, rs1)
}

pub const fn lr(size: u32, rd: u32, rs1: u32) -> u32 {
    amo(2, size, rd, 0, rs1)
}

pub const fn sc(size: u32, rd: u32, rs2: u32, rs1: u32) -> u32 {
    amo(3, size, rd, rs2, rs1)
}

pub const fn csrrw(rd: u32, csr: u32, rs1: u32) -> u32 {
    i_type(0x73, 1, rd, rs1, csr as i32)
}

pub const fn csrw(csr: u32, rs1: u32) -> u32 {
    csrrw(ZERO, csr, rs1)
}

pub const fn csrs(csr: u32, rs1: u32) -> u32 {
    i_type(0x73, 2, ZERO, rs1, csr as i32)
}

pub const fn csrc(csr: u32, rs1: u32) -> u32 {
    i_type(0x73, 3, ZERO, rs1, csr as i32)
}

pub const fn csrr(rd: u32, csr: u32) -> u32 {
    i_type(0x73, 2, rd, ZERO, csr as i32)
}

pub const fn csrsi(csr: u32, bits: u32) -> u32 {
    i_type(0x73, 6, ZERO, bits, csr as i32)
}

pub const fn csrci(csr: u32, bits: u32) -> u32 {
    i_type(0x73, 7, ZERO, bits, csr as i32)
}

pub const fn sfence(address: u32, asid: u32) -> u32 {
    r_type(0x73, 0, 9, ZERO, address, asid)
}

/// A place in a program.
#[derive(Clone, Copy)]
pub struct Label(usize);

/// A program under construction.
pub struct Asm {
    base: u64,
    bytes: Vec<u8>,
    labels: Vec<Option<u64>>,
    /// Instructions without their offsets, and where they lead.
    open: Vec<(usize, Label)>,
}

impl Asm {
    pub fn at(base: u64) -> Self {
        Self {
            base,
            bytes: Vec::new(),
            labels: Vec::new(),
            open: Vec::new(),
        }
    }

    pub fn pc(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub fn w(&mut self, words: &[u32]) -> &mut Self {
        for word in words {
            self.bytes.extend(word.to_le_bytes());
        }
        self
    }

    pub fn h(&mut self, half: u16) -> &mut Self {
        self.bytes.extend(half.to_le_bytes());
        self
    }

    /// Two-byte nops up to an address.
    pub fn pad_to(&mut self, address: u64) -> &mut Self {
        assert!(self.pc() <= address, "{:#x} {address:#x}", self.pc());
        while self.pc() < address {
            self.h(C_NOP);
        }
        self
    }

    /// Loads a constant.
    pub fn li(&mut self, rd: u32, value: u64) -> &mut Self {
        if value as i64 == i64::from(value as i32) {
            let low = (value as i32) << 20 >> 20;
            let high = (value as u32).wrapping_sub(low as u32) >> 12;
            if high == 0 {
                return self.w(&[addi(rd, ZERO, low)]);
            }
            return self.w(&[lui(rd, high), addiw(rd, rd, low)]);
        }
        let low = (value as i64) << 52 >> 52;
        let rest = (value.wrapping_sub(low as u64) as i64) >> 12;
        self.li(rd, rest as u64);
        self.w(&[slli(rd, rd, 12), addi(rd, rd, low as i32)])
    }

    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub fn bind(&mut self, label: Label) -> &mut Self {
        self.labels[label.0] = Some(self.pc());
        self
    }

    /// A label here.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    fn to(&mut self, word: u32, label: Label) -> &mut Self {
        self.open.push((self.bytes.len(), label));
        self.w(&[word])
    }

    pub fn branch(&mut self, funct: u32, a: u32, b: u32, to: Label) -> &mut Self {
        self.to(r_type(0x63, funct, 0, 0, a, b), to)
    }

    pub fn beq(&mut self, a: u32, b: u32, to: Label) -> &mut Self {
        self.branch(0, a, b, to)
    }

    pub fn bne(&mut self, a: u32, b: u32, to: Label) -> &mut Self {
        self.branch(1, a, b, to)
    }

    pub fn blt(&mut self, a: u32, b: u32, to: Label) -> &mut Self {
        self.branch(4, a, b, to)
    }

    pub fn bltu(&mut self, a: u32, b: u32, to: Label) -> &mut Self {
        self.branch(6, a, b, to)
    }

    pub fn jal(&mut self, rd: u32, to: Label) -> &mut Self {
        self.to(jal(rd, 0), to)
    }

    pub fn j(&mut self, to: Label) -> &mut Self {
        self.jal(ZERO, to)
    }

    pub fn finish(mut self) -> Vec<u8> {
        for (at, label) in &self.open {
            let target = self.labels[label.0].expect("bound");
            let offset = target.wrapping_sub(self.base + *at as u64) as i32;
            let place = &mut self.bytes[*at..*at + 4];
            let word = u32::from_le_bytes(place.try_into().expect("4 bytes"));
            let bits = if word & 0x7f == 0x6f {
                jump_offset(offset)
            } else {
                branch_offset(offset)
            };
            place.copy_from_slice(&(word | bits).to_le_bytes());
        }
        self.bytes
    }
}
