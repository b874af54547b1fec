//! Random programs as one static executable, to run under any emulator.
//!
//! For each program the executable sets the data and the registers from a record, runs the
//! program, and writes registers, `fcsr` and data to its standard output.

use isomorph_riscv::State;

use crate::random::{Generator, Program};
use crate::rows::{MEMORY, MEMORY_BYTES, Situation};

/// Where code begins.
const CODE: u64 = 0x10_0000;
/// Where records begin.
const RECORDS: u64 = 0x1000_0000;
/// Bytes from one record to the next: registers, then the data.
const RECORD_BYTES: u64 = RECORD_DATA + MEMORY_BYTES as u64;
/// Offset of the data in a record.
const RECORD_DATA: u64 = 1024;
/// Offsets of registers in a record.
const RECORD_F: i32 = 256;
const RECORD_FCSR: i32 = 512;
/// Bytes of registers that are written out.
const REGISTER_BYTES: usize = 520;
/// Bytes of output for each program.
const OUTPUT_BYTES: usize = REGISTER_BYTES + MEMORY_BYTES;

const PAGE: u64 = 0x1000;
const TP: u32 = 4;
const T0: u32 = 5;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const A3: u32 = 13;
const A7: u32 = 17;
const SYS_WRITE: i32 = 64;
const SYS_EXIT: i32 = 93;

/// The executable, the programs in it and what each starts from.
pub struct Batch {
    /// The ELF file.
    pub file: Vec<u8>,
    /// The programs, in the order of their output.
    pub programs: Vec<Program>,
}

/// Instructions, one after the other.
struct Code(Vec<u8>);

impl Code {
    fn word(&mut self, word: u32) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    fn i_type(&mut self, opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) {
        self.word((imm as u32) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode);
    }

    fn s_type(&mut self, opcode: u32, rs1: u32, rs2: u32, imm: i32) {
        let imm = imm as u32;
        let (high, low) = (imm >> 5 & 0x7f, imm & 0x1f);
        self.word(high << 25 | rs2 << 20 | rs1 << 15 | 3 << 12 | low << 7 | opcode);
    }

    /// `lui` and `addiw`: a value below 2^31.
    fn li(&mut self, rd: u32, value: u64) {
        let low = (value as i32) << 20 >> 20;
        let high = (value as i32).wrapping_sub(low) as u32;
        self.word(high | rd << 7 | 0x37);
        self.i_type(0x1b, 0, rd, rd, low);
    }

    fn addi(&mut self, rd: u32, rs1: u32, imm: i32) {
        self.i_type(0x13, 0, rd, rs1, imm);
    }

    fn ld(&mut self, rd: u32, rs1: u32, imm: i32) {
        self.i_type(0x03, 3, rd, rs1, imm);
    }

    fn sd(&mut self, rs2: u32, rs1: u32, imm: i32) {
        self.s_type(0x23, rs1, rs2, imm);
    }

    fn ecall(&mut self, number: i32) {
        self.addi(A7, 0, number);
        self.word(0x73);
    }

    /// Everything from the record at `record`.
    fn set_up(&mut self, record: u64) {
        self.li(TP, record);
        self.li(A0, MEMORY);
        self.li(A1, record + RECORD_DATA);
        self.li(A2, MEMORY + MEMORY_BYTES as u64);
        self.ld(A3, A1, 0);
        self.sd(A3, A0, 0);
        self.addi(A1, A1, 8);
        self.addi(A0, A0, 8);
        self.word(0xfec5_18e3); // bne a0, a2, -16
        for f in 0..32 {
            self.i_type(0x07, 3, f, TP, RECORD_F + 8 * f as i32);
        }
        self.ld(T0, TP, RECORD_FCSR);
        self.word(3 << 20 | T0 << 15 | 1 << 12 | 0x73); // csrrw zero, fcsr, t0
        for x in (1..32).filter(|x| *x != TP) {
            self.ld(x, TP, 8 * x as i32);
        }
    }

    /// Everything back to the record, and out.
    fn report(&mut self) {
        for x in (1..32).filter(|x| *x != TP) {
            self.sd(x, TP, 8 * x as i32);
        }
        for f in 0..32 {
            self.s_type(0x27, TP, f, RECORD_F + 8 * f as i32);
        }
        self.word(3 << 20 | 2 << 12 | T0 << 7 | 0x73); // csrrs t0, fcsr, zero
        self.sd(T0, TP, RECORD_FCSR);
        self.addi(A1, TP, 0);
        self.li(A2, REGISTER_BYTES as u64);
        self.addi(A0, 0, 1);
        self.ecall(SYS_WRITE);
        self.li(A1, MEMORY);
        self.li(A2, MEMORY_BYTES as u64);
        self.addi(A0, 0, 1);
        self.ecall(SYS_WRITE);
    }
}

/// The programs of `count` seeds from `first` on, each of `insns` instructions.
pub fn batch(generator: &Generator, first: u64, count: u64, insns: usize) -> Batch {
    let mut code = Code(Vec::new());
    let mut records = Vec::new();
    let mut programs = Vec::new();
    for index in 0..count {
        let record = RECORDS + index * RECORD_BYTES;
        code.set_up(record);
        let pc = CODE + code.0.len() as u64;
        let program = generator.program(first + index, insns, pc, record);
        code.0.extend_from_slice(&program.code);
        code.report();
        let start = &program.start;
        records.extend(registers(&start.state));
        records.resize((index * RECORD_BYTES + RECORD_DATA) as usize, 0);
        records.extend_from_slice(&start.memory.bytes);
        programs.push(program);
    }
    code.addi(A0, 0, 0);
    code.ecall(SYS_EXIT);
    Batch {
        file: elf(&code.0, &records),
        programs,
    }
}

/// What the program at `index` left, from the output of the executable.
pub fn result(batch: &Batch, output: &[u8], index: usize) -> Option<Situation> {
    let output = output.get(index * OUTPUT_BYTES..(index + 1) * OUTPUT_BYTES)?;
    let (registers, data) = output.split_at(REGISTER_BYTES);
    let mut words = registers.chunks_exact(8).map(|chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let mut next = || words.next().unwrap_or(0);
    let program = batch.programs.get(index)?;
    let mut situation = program.start.clone();
    situation.state.x.fill_with(&mut next);
    situation.state.f.fill_with(&mut next);
    situation.state.set_fcsr(next() as u32);
    situation.state.pc += program.code.len() as u64;
    situation.memory.bytes.copy_from_slice(data);
    Some(situation)
}

fn registers(state: &State) -> impl Iterator<Item = u8> {
    let fcsr = u64::from(state.fcsr());
    let words = state.x.into_iter().chain(state.f).chain([fcsr]);
    words.flat_map(u64::to_le_bytes)
}

/// A static executable of three segments: code, records and the empty data window.
fn elf(code: &[u8], records: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = PAGE;
    let records_at = (HEADERS + code.len() as u64).next_multiple_of(PAGE);
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Executable, RISC-V, version; entry, program headers; flags: C and double floats.
    for half in [2u16, 243] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [CODE, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&5u32.to_le_bytes());
    for half in [64u16, 56, 3, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let data = MEMORY_BYTES as u64;
    for (flags, offset, address, in_file, in_memory) in [
        (5u32, HEADERS, CODE, code.len() as u64, code.len() as u64),
        (
            6,
            records_at,
            RECORDS,
            records.len() as u64,
            records.len() as u64,
        ),
        (6, 0, MEMORY, 0, data),
    ] {
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&flags.to_le_bytes());
        for word in [offset, address, address, in_file, in_memory, PAGE] {
            file.extend_from_slice(&word.to_le_bytes());
        }
    }
    file.resize(HEADERS as usize, 0);
    file.extend_from_slice(code);
    file.resize(records_at as usize, 0);
    file.extend_from_slice(records);
    file
}
