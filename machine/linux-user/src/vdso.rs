//! The vDSO: a small shared object that isomorph makes at start and maps into the guest.
//!
//! Its functions are plain system calls (vdso(7)): a call costs the same as without it, but
//! programs that insist on it find it, and signal handlers return through it.

use crate::abi::riscv64 as arch;

/// The pieces of the image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file's bytes, to be mapped readable and executable.
    pub bytes: Vec<u8>,
    /// Offset of the code that a signal handler returns to.
    pub sigreturn: u64,
}

const EHDR: usize = 64;
const PHDR: usize = 56;
const SYM: usize = 24;
const TEXT: usize = 0x800;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;

/// Little-endian bytes being put together.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, v: u16) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }
    fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }
    fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }
    fn align(&mut self, to: usize) -> usize {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self.0.len()
    }
}

/// The strings of the dynamic symbol table.
#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at
    }
}

/// The System V ABI's hash of symbol names (gABI, "Hash Table").
fn sysv_hash(name: &str) -> u32 {
    name.bytes().fold(0_u32, |h, byte| {
        let h = (h << 4).wrapping_add(u32::from(byte));
        let high = h & 0xf000_0000;
        (h ^ (high >> 24)) & !high
    })
}

/// Puts the image together.
#[must_use]
pub fn build() -> Image {
    let functions = arch::VDSO_FUNCTIONS;
    let mut text = Bytes::default();
    let mut places = Vec::new();
    for (_, code) in functions {
        let at = text.align(16);
        for word in *code {
            text.u32(*word);
        }
        places.push((at as u64, text.0.len() as u64 - at as u64));
    }
    let mut strings = Strings::default();
    strings.add("");
    let soname = strings.add("linux-vdso.so.1");
    let version = strings.add(arch::VDSO_VERSION);
    let names: Vec<u32> = functions
        .iter()
        .map(|(name, _)| strings.add(name))
        .collect();

    let mut body = Bytes(vec![0; EHDR + 3 * PHDR]);
    let symtab = body.align(8);
    symbols(&mut body, &names, &places);
    let hash = body.align(8);
    hash_table(&mut body);
    let versym = body.align(8);
    body.u16(0);
    functions.iter().for_each(|_| {
        body.u16(2);
    });
    let verdef = body.align(8);
    version_definitions(&mut body, soname, version);
    let strtab = body.align(8);
    body.0.extend_from_slice(&strings.0);
    let dynamic = body.align(8);
    let tags = [
        (5, strtab),           // DT_STRTAB
        (6, symtab),           // DT_SYMTAB
        (10, strings.0.len()), // DT_STRSZ
        (11, SYM),             // DT_SYMENT
        (4, hash),             // DT_HASH
        (14, soname as usize), // DT_SONAME
        (0x6fff_fff0, versym), // DT_VERSYM
        (0x6fff_fffc, verdef), // DT_VERDEF
        (0x6fff_fffd, 2),      // DT_VERDEFNUM
        (0, 0),
    ];
    for (tag, value) in tags {
        body.u64(tag).u64(value as u64);
    }
    let dynamic_end = body.0.len();
    let note = body.align(4);
    // The note that the kernel's vDSO has: name "Linux", type 0, the kernel's version.
    body.u32(6)
        .u32(4)
        .u32(0)
        .u64(u64::from_le_bytes(*b"Linux\0\0\0"))
        .u32(0x0006_0c00);
    let note_end = body.0.len();
    debug_assert!(note_end <= TEXT);
    body.0.resize(TEXT, 0);
    body.0.extend_from_slice(&text.0);
    let total = body.0.len();
    let head = headers(total, (dynamic, dynamic_end), (note, note_end));
    body.0[..head.len()].copy_from_slice(&head);
    let sigreturn = functions
        .iter()
        .position(|(name, _)| *name == arch::VDSO_SIGRETURN);
    let sigreturn = sigreturn.map_or(0, |index| TEXT as u64 + places[index].0);
    Image {
        bytes: body.0,
        sigreturn,
    }
}

fn headers(total: usize, dynamic: (usize, usize), note: (usize, usize)) -> Vec<u8> {
    let mut head = Bytes::default();
    head.0
        .extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    head.u16(3)
        .u16(arch::ELF_MACHINE)
        .u32(1)
        .u64(TEXT as u64)
        .u64(EHDR as u64)
        .u64(0);
    head.u32(arch::ELF_FLAGS)
        .u16(EHDR as u16)
        .u16(PHDR as u16)
        .u16(3)
        .u16(64)
        .u16(0)
        .u16(0);
    let mut phdr = |kind: u32, flags: u32, range: (usize, usize), align: u64| {
        let (start, len) = (range.0 as u64, (range.1 - range.0) as u64);
        head.u32(kind)
            .u32(flags)
            .u64(start)
            .u64(start)
            .u64(start)
            .u64(len)
            .u64(len)
            .u64(align);
    };
    phdr(PT_LOAD, 5, (0, total), 4096);
    phdr(PT_DYNAMIC, 4, dynamic, 8);
    phdr(PT_NOTE, 4, note, 4);
    head.0
}

fn symbols(body: &mut Bytes, names: &[u32], places: &[(u64, u64)]) {
    body.0.resize(body.0.len() + SYM, 0);
    for (name, (at, size)) in names.iter().zip(places) {
        // Global function in section 1 (any but 0: defined).
        body.u32(*name).0.extend_from_slice(&[0x12, 0, 1, 0]);
        body.u64(TEXT as u64 + at).u64(*size);
    }
}

/// One bucket that chains all symbols: there are few.
fn hash_table(body: &mut Bytes) {
    let count = arch::VDSO_FUNCTIONS.len() as u32 + 1;
    body.u32(1).u32(count).u32(count - 1);
    for index in 0..count {
        body.u32(index.saturating_sub(1));
    }
}

fn version_definitions(body: &mut Bytes, soname: u32, version: u32) {
    let base = sysv_hash("linux-vdso.so.1");
    body.u16(1)
        .u16(1)
        .u16(1)
        .u16(1)
        .u32(base)
        .u32(20)
        .u32(28)
        .u32(soname)
        .u32(0);
    let hash = sysv_hash(arch::VDSO_VERSION);
    body.u16(1)
        .u16(0)
        .u16(2)
        .u16(1)
        .u32(hash)
        .u32(20)
        .u32(0)
        .u32(version)
        .u32(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_abis() {
        assert_eq!(sysv_hash("LINUX_2.6"), 0x03ae_75f6);
        assert_eq!(sysv_hash("printf"), 0x0779_05a6);
    }

    #[test]
    fn the_image_parses_and_names_its_functions() -> Result<(), goblin::error::Error> {
        let image = build();
        assert!(image.bytes.len() <= 4096);
        let elf = goblin::elf64::header::Header::parse(&image.bytes)?;
        assert_eq!((elf.e_phnum, elf.e_machine), (3, arch::ELF_MACHINE));
        let at = image.sigreturn as usize;
        assert_eq!(image.bytes[at..at + 8], *b"\x93\x08\xb0\x08\x73\0\0\0");
        Ok(())
    }
}
