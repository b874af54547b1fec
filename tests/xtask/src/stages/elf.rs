//! Small ELF files, made from bytes: the guests of the crash tests.

/// `e_machine` of RISC-V (the RISC-V ELF specification §"File Header").
pub const EM_RISCV: u16 = 243;
/// `e_machine` of x86-64.
pub const EM_X86_64: u16 = 62;

/// Where the one segment is loaded.
pub const BASE: u64 = 0x10_0000;

/// The size of the ELF header and the one program header before the code.
pub const HEADERS: usize = 64 + 56;

/// A static executable with one readable, writable, executable segment that holds `code`.
///
/// `entry` is an offset into the code.
pub fn executable(machine: u16, code: &[u8], entry: u64) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEADERS + code.len());
    let size = (HEADERS + code.len()) as u64;
    // e_ident: magic, 64 bits, little endian, version 1, System V.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put16(&mut file, &[2, machine]); // e_type = ET_EXEC
    put32(&mut file, &[1]); // e_version
    put64(&mut file, &[BASE + HEADERS as u64 + entry, 64, 0]); // e_entry, e_phoff, e_shoff
    // EF_RISCV_RVC | EF_RISCV_FLOAT_ABI_DOUBLE; other machines have no flags.
    put32(&mut file, &[if machine == EM_RISCV { 5 } else { 0 }]);
    put16(&mut file, &[64, 56, 1, 64, 0, 0]); // sizes and counts of the headers
    put32(&mut file, &[1, 7]); // p_type = PT_LOAD, p_flags = RWX
    put64(&mut file, &[0, BASE, BASE, size, size + 0x1000, 0x1000]);
    file.extend_from_slice(code);
    file
}

fn put16(file: &mut Vec<u8>, values: &[u16]) {
    values
        .iter()
        .for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
}

fn put32(file: &mut Vec<u8>, values: &[u32]) {
    values
        .iter()
        .for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
}

fn put64(file: &mut Vec<u8>, values: &[u64]) {
    values
        .iter()
        .for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
}

/// A 64-bit generator (Steele, Lea, Flood: SplitMix64), so that a seed names a whole run.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_their_size() {
        let file = executable(EM_RISCV, &[1, 2, 3], 0);
        assert_eq!(file.len(), HEADERS + 3);
        assert_eq!(&file[HEADERS..], [1, 2, 3]);
    }
}
