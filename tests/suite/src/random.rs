//! Random straight-line programs: the same from the same seed.
//!
//! A program is a run of instructions with forward branches over some of them. It touches only its
//! data window, through `s0` and `sp`, and never writes those two nor `tp`; every instruction is
//! one that the CPU model has, so control leaves at the end.

use isomorph_ir::interp::FlatMemory;
use isomorph_riscv::decode::{Kind, Op, ext};
use isomorph_riscv::{Features, Riscv64, State};

use crate::rows::{MEMORY, MEMORY_BYTES, Situation};

/// Registers that hold the addresses of data.
const SP: usize = 2;
const TP: usize = 4;
const S0: usize = 8;

/// What `s0` and `sp` point to: the middle and an early part of the data, aligned to 64 bytes.
const S0_OFFSET: u64 = 0x800;
const SP_OFFSET: u64 = 0x100;

/// Registers that straight-line programs never write.
const KEPT: u32 = 1 << SP | 1 << TP | 1 << S0;

/// Operands that one choice of an instruction may try.
const TRIES: u32 = 200;

/// A generator of random numbers (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds should not begin alike; 0 is a fixed point of the generator.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() >> 33) as usize % bound
    }
}

/// A program and what it starts from.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its instructions, to lie at the state's program counter.
    pub code: Vec<u8>,
    /// Number of instructions.
    pub insns: usize,
    /// Registers and data before.
    pub start: Situation,
}

/// Makes programs of the instructions that some CPU model has.
pub struct Generator {
    ops: Vec<Op>,
}

/// Leave the program, wait, count, depend on another hart, or write what must stay.
const EXCLUDED: &[&str] = &[
    "jal",
    "jalr",
    "ecall",
    "ebreak",
    "fence.i",
    "wrs.nto",
    "wrs.sto",
    "lr.w",
    "lr.d",
    "sc.w",
    "sc.d",
    "cbo.inval",
    "c.j",
    "c.jr",
    "c.jalr",
    "c.ebreak",
    "c.addi16sp",
];

/// Their `rs1` is an address.
fn is_memory(op: Op) -> bool {
    let info = op.info();
    info.operands.contains("({rs1})") && !info.semantic.starts_with("prefetch")
}

/// Bytes of an instruction.
fn length(op: Op) -> usize {
    if op.info().value & 3 == 3 { 4 } else { 2 }
}

fn is_branch(op: Op) -> bool {
    op.info().args.iter().any(|arg| arg.kind == Kind::Target)
}

fn argument(op: Op, name: &str, bits: u32) -> Option<i64> {
    let arg = op.info().args.iter().find(|arg| arg.name == name)?;
    Some((arg.value)(bits))
}

impl Generator {
    /// A generator for this set of extensions.
    pub fn new(features: Features) -> Self {
        let usable = |op: &Op| {
            let info = op.info();
            features.has(info.exts) && !EXCLUDED.contains(&info.name)
        };
        Self {
            ops: Op::ALL.iter().copied().filter(usable).collect(),
        }
    }

    /// The same without these instructions.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.ops.retain(|op| !names.contains(&op.info().semantic));
        self
    }

    /// The program of a seed: `insns` instructions at `pc`; `tp` holds `tp`.
    pub fn program(&self, seed: u64, insns: usize, pc: u64, tp: u64) -> Program {
        let mut random = Random::new(seed);
        let start = start(&mut random, pc, tp);
        let mut code = Vec::new();
        let mut done = 0;
        while done < insns {
            let op = self.ops[random.below(self.ops.len())];
            let Some(bits) = operands(op, &mut random, KEPT) else {
                continue;
            };
            let len = length(op);
            if is_branch(op) {
                done += self.branch(op, bits, &mut random, &mut code);
            } else {
                code.extend_from_slice(&bits.to_le_bytes()[..len]);
                done += 1;
            }
        }
        Program {
            code,
            insns: done,
            start,
        }
    }

    /// An instruction that is no branch, and writes none of the `kept` registers (a bit each).
    pub fn instruction(&self, random: &mut Random, kept: u32) -> Vec<u8> {
        loop {
            let op = self.ops[random.below(self.ops.len())];
            if !is_branch(op)
                && let Some(bits) = operands(op, random, kept)
            {
                return bits.to_le_bytes()[..length(op)].to_vec();
            }
        }
    }

    /// A branch over one instruction that is no branch; answers how many were added.
    fn branch(&self, op: Op, bits: u32, random: &mut Random, code: &mut Vec<u8>) -> usize {
        let skipped = self.instruction(random, KEPT);
        let wide = op.info().value & 3 == 3;
        let own = if wide { 4 } else { 2 };
        let distance = (own + skipped.len()) as u32;
        // Bits 4 to 1 of the offset, at 11:8, or 2 to 1 at 4:3 with bit 3 at 10; the rest is 0.
        let bits = if wide {
            bits & 0x01ff_f07f | (distance >> 1) << 8
        } else {
            bits & 0xe383 | (distance >> 1 & 3) << 3 | (distance >> 3 & 1) << 10
        };
        code.extend_from_slice(&bits.to_le_bytes()[..own]);
        code.extend_from_slice(&skipped);
        2
    }
}

/// Random operands that keep the program's promises.
fn operands(op: Op, random: &mut Random, kept: u32) -> Option<u32> {
    let info = op.info();
    for _ in 0..TRIES {
        let bits = random.word() as u32 & !info.mask | info.value;
        let bits = if info.value & 3 == 3 {
            bits
        } else {
            bits & 0xffff
        };
        if keeps_promises(op, bits, kept) {
            return Some(bits);
        }
    }
    None
}

fn keeps_promises(op: Op, bits: u32, kept: u32) -> bool {
    let info = op.info();
    let decoded = if info.value & 3 == 3 {
        isomorph_riscv::decode::decode_w32(bits)
    } else {
        isomorph_riscv::decode::decode_c16(bits)
    };
    if decoded != Some(op) {
        return false;
    }
    let rd = info
        .args
        .iter()
        .find(|arg| arg.name == "rd" && arg.kind == Kind::Xreg);
    if rd.is_some_and(|rd| kept >> (rd.value)(bits) & 1 != 0) {
        return false;
    }
    if is_memory(op) {
        return address_is_inside(op, bits);
    }
    csr_is_harmless(op, bits)
}

fn address_is_inside(op: Op, bits: u32) -> bool {
    let base = match argument(op, "rs1", bits).map(|n| n as usize) {
        Some(SP) => SP_OFFSET,
        Some(S0) => S0_OFFSET,
        _ => return false,
    };
    let offset = base as i64 + argument(op, "imm", bits).unwrap_or(0);
    offset >= 0 && offset + 16 <= MEMORY_BYTES as i64
}

/// Counters differ from run to run, other registers are not there, and reserved rounding modes
/// make later instructions illegal.
fn csr_is_harmless(op: Op, bits: u32) -> bool {
    let Some(csr) = argument(op, "csr", bits) else {
        return true;
    };
    let reads = argument(op, "rs1", bits) == Some(0) && op.info().name != "csrrw";
    match csr {
        1 => true,
        2 if op.info().name == "csrrwi" => argument(op, "uimm", bits) < Some(5),
        2 | 3 => reads,
        _ => false,
    }
}

/// Random registers and data; `sp` and `s0` hold addresses of data.
pub(crate) fn start(random: &mut Random, pc: u64, tp: u64) -> Situation {
    let mut state = State::new();
    for x in state.x.iter_mut().skip(1) {
        *x = integer(random);
    }
    for f in &mut state.f {
        *f = float(random);
    }
    state.x[SP] = MEMORY + SP_OFFSET;
    state.x[S0] = MEMORY + S0_OFFSET;
    state.x[TP] = tp;
    state.pc = pc;
    state.frm = random.below(5) as u64;
    state.fflags = random.below(32) as u64;
    let mut memory = FlatMemory::new(MEMORY, MEMORY_BYTES);
    for chunk in memory.bytes.chunks_mut(8) {
        let value = if random.below(2) == 0 {
            integer(random)
        } else {
            float(random)
        };
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    Situation { state, memory }
}

/// An integer register's value: often one at an edge.
fn integer(random: &mut Random) -> u64 {
    const EDGES: [u64; 12] = [
        0,
        1,
        u64::MAX,
        1 << 63,
        i64::MAX as u64,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0xffff_ffff_8000_0000,
        0x1_0000_0000,
        0x80,
        63,
    ];
    match random.below(4) {
        0 => EDGES[random.below(EDGES.len())],
        1 => random.word() >> random.below(64),
        2 => random.word() as i32 as u64,
        _ => random.word(),
    }
}

/// A floating-point register's value: a double, a boxed single or half, or no box at all.
fn float(random: &mut Random) -> u64 {
    const SIGN: u64 = 1 << 63;
    // Exponents: zero and subnormal, one, two, large, infinite; fractions likewise at edges.
    let (exponent_bits, fraction_bits, boxed) = match random.below(8) {
        0 => return random.word(),
        1..4 => (8, 23, 0xffff_ffff_0000_0000),
        4 => (5, 10, 0xffff_ffff_ffff_0000),
        _ => (11, 52, 0),
    };
    let top = (1u64 << exponent_bits) - 1;
    let exponent = match random.below(8) {
        0 => 0,
        1 => 1,
        2 => top,
        3 => top - 1,
        4 | 5 => top / 2 + random.below(8) as u64 - 3,
        6 => top / 2 + random.below(2 * fraction_bits) as u64 / 2,
        _ => random.word() & top,
    };
    let all = (1u64 << fraction_bits) - 1;
    let fraction = match random.below(5) {
        0 => 0,
        1 => all,
        2 => 1 << (fraction_bits - 1),
        3 => 1,
        _ => random.word() & all,
    };
    let sign = random.word() & SIGN;
    let sign = sign >> (63 - exponent_bits - fraction_bits as u64);
    boxed | sign | (exponent.min(top)) << fraction_bits | fraction
}

/// All extensions whose results are the same on every implementation.
pub fn every_feature() -> Features {
    Riscv64::default().cpu.features()
}

/// Those without floating point, and of them those that are no atomics, registers or caches.
pub fn integer_features(features: Features) -> (Features, Features) {
    let integer = features.without(ext::F | ext::D | ext::ZFA | ext::ZFHMIN);
    let others = ext::A | ext::ZACAS | ext::ZAWRS | ext::ZICSR | ext::ZICBOM | ext::ZICBOZ;
    (integer, integer.without(others))
}

/// What the emulators of Debian's older packages have.
pub fn common_features() -> Features {
    Features::new(
        ext::I
            | ext::M
            | ext::A
            | ext::F
            | ext::D
            | ext::C
            | ext::ZICSR
            | ext::ZBA
            | ext::ZBB
            | ext::ZBC
            | ext::ZBS,
    )
}
