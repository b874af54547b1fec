//! Kernels and firmware as files: the riscv `Image` header, ELF, or plain bytes.

use goblin::elf::Elf;
use goblin::elf::header::EM_RISCV;
use goblin::elf::program_header::PT_LOAD;

/// What kind of file an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A Linux kernel with the header of Documentation/arch/riscv/boot-image-header.
    Linux,
    /// An executable.
    Elf,
    /// Bytes that run from the first.
    Raw,
}

/// A file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// An ELF file that is broken.
    #[error("it is a broken ELF file")]
    Elf(#[from] goblin::error::Error),
    /// An ELF file for another machine.
    #[error("it is an ELF file for machine {machine}, not for 64-bit RISC-V")]
    Machine {
        /// The number in its header.
        machine: u16,
    },
    /// A segment lies outside the file.
    #[error("its segment for {address:#x} is cut off")]
    Segment {
        /// Where the segment belongs.
        address: u64,
    },
    /// It holds nothing to load.
    #[error("it is empty")]
    Empty,
    /// A Linux kernel that is compressed.
    #[error("it is compressed: unpack it first")]
    Compressed,
}

/// A file, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// What kind of file it is.
    pub kind: ImageKind,
    /// Where it starts to run.
    pub entry: u64,
    /// First address after it, with memory that it wants zeroed.
    pub end: u64,
    /// Where bytes go.
    pub parts: Vec<(u64, &'a [u8])>,
}

const LINUX_MAGIC: &[u8] = b"RSC\x05";
const LINUX_MAGIC_AT: usize = 0x38;
const LINUX_IMAGE_SIZE_AT: usize = 0x10;
const GZIP: &[u8] = &[0x1f, 0x8b];

impl<'a> Image<'a> {
    /// Takes `bytes` apart; what has no address of its own goes to `base`.
    ///
    /// # Errors
    /// The file is broken or made for something else.
    pub fn parse(bytes: &'a [u8], base: u64) -> Result<Self, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        if bytes.starts_with(b"\x7fELF") {
            return Self::parse_elf(bytes);
        }
        if bytes.starts_with(GZIP) {
            return Err(ImageError::Compressed);
        }
        let magic = bytes.get(LINUX_MAGIC_AT..LINUX_MAGIC_AT + 4);
        let linux = magic == Some(LINUX_MAGIC);
        let size = bytes
            .get(LINUX_IMAGE_SIZE_AT..LINUX_IMAGE_SIZE_AT + 8)
            .and_then(|field| field.try_into().ok())
            .map(u64::from_le_bytes)
            .filter(|_| linux);
        let size = size.unwrap_or(0).max(bytes.len() as u64);
        Ok(Self {
            kind: if linux {
                ImageKind::Linux
            } else {
                ImageKind::Raw
            },
            entry: base,
            end: base.saturating_add(size),
            parts: vec![(base, bytes)],
        })
    }

    fn parse_elf(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let elf = Elf::parse(bytes)?;
        let machine = elf.header.e_machine;
        if machine != EM_RISCV || !elf.is_64 || !elf.little_endian {
            return Err(ImageError::Machine { machine });
        }
        let mut parts = Vec::new();
        let mut end = 0;
        let mut entry = elf.entry;
        for header in elf.program_headers.iter().filter(|h| h.p_type == PT_LOAD) {
            let address = header.p_paddr;
            let start = usize::try_from(header.p_offset).ok();
            let len = usize::try_from(header.p_filesz).ok();
            let part = start
                .zip(len)
                .and_then(|(start, len)| bytes.get(start..start.checked_add(len)?))
                .ok_or(ImageError::Segment { address })?;
            parts.push((address, part));
            end = end.max(address.saturating_add(header.p_memsz));
            // A kernel linked high is entered at its physical address.
            let inside = elf.entry.checked_sub(header.p_vaddr);
            if let Some(offset) = inside.filter(|&offset| offset < header.p_memsz) {
                entry = address.saturating_add(offset);
            }
        }
        if parts.is_empty() {
            return Err(ImageError::Empty);
        }
        Ok(Self {
            kind: ImageKind::Elf,
            entry,
            end,
            parts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linux_image_says_how_much_memory_it_wants() {
        let mut bytes = vec![0; 64];
        bytes[16..24].copy_from_slice(&0x1000u64.to_le_bytes());
        let raw = Image::parse(&bytes, 0x100).expect("raw");
        assert_eq!((raw.kind, raw.end), (ImageKind::Raw, 0x140));
        bytes[0x38..0x3c].copy_from_slice(b"RSC\x05");
        let linux = Image::parse(&bytes, 0x100).expect("linux");
        assert_eq!((linux.kind, linux.end), (ImageKind::Linux, 0x1100));
        assert!(matches!(Image::parse(&[], 0), Err(ImageError::Empty)));
        let gzip = Image::parse(&[0x1f, 0x8b, 0], 0);
        assert!(matches!(gzip, Err(ImageError::Compressed)));
    }

    /// One PT_LOAD segment of four bytes, linked at 0xffffffff80000000 for 0x80200000.
    pub(crate) fn elf() -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend([2, 0, 243, 0, 1, 0, 0, 0]);
        bytes.extend(0xffff_ffff_8000_0002u64.to_le_bytes());
        bytes.extend(64u64.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        let fields = [120, 0xffff_ffff_8000_0000, 0x8020_0000, 4, 0x2000, 1u64];
        fields
            .iter()
            .for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend([1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn an_elf_is_entered_at_its_physical_address() {
        let bytes = elf();
        let image = Image::parse(&bytes, 0).expect("an ELF");
        let parts: Vec<(u64, &[u8])> = vec![(0x8020_0000, &[1, 2, 3, 4])];
        assert_eq!(image.parts, parts);
        assert_eq!((image.entry, image.end), (0x8020_0002, 0x8020_2000));
    }

    #[test]
    fn broken_elfs_are_refused() {
        let good = elf();
        for len in 4..good.len() {
            assert!(Image::parse(&good[..len], 0).is_err(), "{len}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = Image::parse(&bytes, 0);
            }
        }
        let mut other = good;
        other[18] = 62;
        assert!(matches!(
            Image::parse(&other, 0),
            Err(ImageError::Machine { machine: 62 })
        ));
    }
}
