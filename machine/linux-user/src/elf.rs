//! ELF executables: what they say, and their segments mapped into the guest.

use crate::abi;
use crate::errno::Errno;
use crate::mm::{AddressSpace, Kind, MIN_ADDR, PAGE, Request, page_down, page_up};
use goblin::elf::header;
use goblin::elf64::header::Header;
use goblin::elf64::program_header::{
    PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR, ProgramHeader, SIZEOF_PHDR,
};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What is wrong with an ELF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It has no ELF header.
    #[error("it is not an ELF file")]
    NotElf,
    /// It is for another processor.
    #[error("it is for {found}; this guest is {wanted}")]
    Machine {
        /// What the header says.
        found: String,
        /// What the guest is.
        wanted: &'static str,
    },
    /// It is an object file, a core dump or the like.
    #[error("it is not an executable (ELF type {0})")]
    Type(u16),
    /// Its headers contradict themselves or the file.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It cannot be mapped where it must lie.
    #[error("it does not fit into the guest's address space: {0}")]
    Map(Errno),
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Read(Errno),
}

impl ElfError {
    /// What execve answers for such a file.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::NotElf | Self::Machine { .. } | Self::Type(_) | Self::Damaged(_) => {
                Errno::ENOEXEC
            }
            Self::Map(errno) | Self::Read(errno) => *errno,
        }
    }
}

/// Most program headers bytes, as the kernel allows.
const PHDRS_MAX: usize = 65536;

/// An executable's headers.
#[derive(Clone, Debug)]
pub struct Elf {
    header: Header,
    phdrs: Vec<ProgramHeader>,
    /// The dynamic linker it names.
    pub interpreter: Option<PathBuf>,
    /// `PT_GNU_STACK` asks for an executable stack.
    pub executable_stack: bool,
}

/// An executable in the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What is added to the addresses in the file.
    pub bias: u64,
    /// Address of the first instruction.
    pub entry: u64,
    /// Address of the program headers.
    pub phdr: u64,
    /// Number of program headers.
    pub phnum: u64,
    /// Lowest and highest address of code.
    pub code: (u64, u64),
    /// Lowest and highest address of data from the file.
    pub data: (u64, u64),
    /// End of everything: the program break starts behind it.
    pub end: u64,
}

/// True if a file that starts so is an ELF file for this guest.
#[must_use]
pub fn is_guest_elf(start: &[u8]) -> bool {
    parse_header(start).is_ok()
}

/// The header, if the file is an executable of this guest.
fn parse_header(start: &[u8]) -> Result<Header, ElfError> {
    let bytes = start.first_chunk::<64>().ok_or(ElfError::NotElf)?;
    if bytes[..4] != *header::ELFMAG {
        return Err(ElfError::NotElf);
    }
    let wanted = abi::riscv64::UNAME_MACHINE;
    let header = *Header::from_bytes(bytes);
    let class = (bytes[header::EI_CLASS], bytes[header::EI_DATA]);
    let machine = if class.1 == header::ELFDATA2MSB {
        header.e_machine.swap_bytes()
    } else {
        header.e_machine
    };
    if class != (header::ELFCLASS64, header::ELFDATA2LSB) || machine != abi::riscv64::ELF_MACHINE {
        return Err(ElfError::Machine {
            found: machine_name(machine, class),
            wanted,
        });
    }
    if header.e_type != header::ET_EXEC && header.e_type != header::ET_DYN {
        return Err(ElfError::Type(header.e_type));
    }
    Ok(header)
}

/// An architecture's name with what sets it apart.
fn machine_name(machine: u16, (class, data): (u8, u8)) -> String {
    let name = match machine {
        header::EM_X86_64 => "x86_64",
        header::EM_386 => "i386",
        header::EM_AARCH64 => "aarch64",
        header::EM_ARM => "arm",
        header::EM_RISCV => "riscv",
        header::EM_PPC64 => "ppc64",
        header::EM_S390 => "s390x",
        header::EM_MIPS => "mips",
        258 => "loongarch",
        other => return format!("machine number {other}"),
    };
    let bits = if class == header::ELFCLASS32 {
        "32-bit"
    } else {
        "64-bit"
    };
    let order = if data == header::ELFDATA2MSB {
        "big-endian"
    } else {
        "little-endian"
    };
    format!("{name} ({bits}, {order})")
}

impl Elf {
    /// Reads an executable's headers.
    pub fn read(file: &File) -> Result<Self, ElfError> {
        let mut start = [0_u8; 64];
        let have = read_at(file, &mut start, 0)?;
        let header = parse_header(&start[..have])?;
        let count = usize::from(header.e_phnum);
        if usize::from(header.e_phentsize) != SIZEOF_PHDR {
            return Err(ElfError::Damaged(
                "the size of its program headers is wrong",
            ));
        }
        if count == 0 || count * SIZEOF_PHDR > PHDRS_MAX {
            return Err(ElfError::Damaged(
                "the number of its program headers is wrong",
            ));
        }
        let mut table = vec![0_u8; count * SIZEOF_PHDR];
        if read_at(file, &mut table, header.e_phoff)? != table.len() {
            return Err(ElfError::Damaged("its program headers are cut off"));
        }
        let phdrs = ProgramHeader::from_bytes(&table, count);
        let interpreter = match phdrs.iter().find(|ph| ph.p_type == PT_INTERP) {
            Some(ph) => Some(read_interpreter(file, ph)?),
            None => None,
        };
        let stack = phdrs.iter().find(|ph| ph.p_type == PT_GNU_STACK);
        let executable_stack = stack.is_some_and(|ph| ph.p_flags & PF_X != 0);
        check_segments(&phdrs)?;
        Ok(Self {
            header,
            phdrs,
            interpreter,
            executable_stack,
        })
    }

    /// True if it may lie anywhere.
    #[must_use]
    pub fn position_independent(&self) -> bool {
        self.header.e_type == header::ET_DYN
    }

    fn loads(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.phdrs.iter().filter(|ph| ph.p_type == PT_LOAD)
    }

    /// First and last address in the file's terms, in whole pages.
    fn extent(&self) -> Result<(u64, u64), ElfError> {
        let low = self.loads().map(|ph| page_down(ph.p_vaddr)).min();
        let high = self
            .loads()
            .filter_map(|ph| page_up(ph.p_vaddr + ph.p_memsz))
            .max();
        let none = ElfError::Damaged("it has nothing to load");
        low.zip(high).filter(|(low, high)| low < high).ok_or(none)
    }

    /// The strictest alignment that a segment asks for.
    fn alignment(&self) -> u64 {
        let wanted = self
            .loads()
            .map(|ph| ph.p_align)
            .filter(|align| align.is_power_of_two());
        wanted.max().unwrap_or(PAGE).clamp(PAGE, 1 << 30)
    }

    /// Maps the segments. `place` is where a position-independent file shall lie if it is free
    /// there; `None` for anywhere.
    pub fn load(
        &self,
        file: &File,
        mm: &AddressSpace,
        place: Option<u64>,
    ) -> Result<Loaded, ElfError> {
        let (low, high) = self.extent()?;
        let bias = self.bias(mm, place, low, high)?;
        if high.checked_add(bias).is_none_or(|end| end > mm.ceiling()) {
            return Err(ElfError::Map(Errno::ENOMEM));
        }
        let size = file.metadata().map_err(|e| ElfError::Read(e.into()))?.len();
        let mut loaded = Loaded {
            bias,
            entry: self.header.e_entry.wrapping_add(bias),
            phdr: self.phdr_address().wrapping_add(bias),
            phnum: u64::from(self.header.e_phnum),
            code: (u64::MAX, 0),
            data: (u64::MAX, 0),
            end: high + bias,
        };
        let mut end = 0;
        for ph in self.loads().filter(|ph| ph.p_memsz > 0) {
            if ph
                .p_offset
                .checked_add(ph.p_filesz)
                .is_none_or(|end| end > size)
            {
                return Err(ElfError::Damaged("a segment is cut off"));
            }
            load_segment(file, mm, ph, bias)?;
            let start = ph.p_vaddr + bias;
            let part = if ph.p_flags & PF_X != 0 {
                &mut loaded.code
            } else {
                &mut loaded.data
            };
            *part = (part.0.min(start), part.1.max(start + ph.p_filesz));
            end = end.max(start + ph.p_memsz);
        }
        loaded.end = end;
        Ok(loaded)
    }

    fn bias(
        &self,
        mm: &AddressSpace,
        place: Option<u64>,
        low: u64,
        high: u64,
    ) -> Result<u64, ElfError> {
        if !self.position_independent() {
            return Ok(0);
        }
        let (len, align) = (high - low, self.alignment());
        let wanted = place.map(|at| at & !(align - 1)).filter(|&at| {
            at >= MIN_ADDR
                && at
                    .checked_add(len)
                    .is_some_and(|end| end <= mm.ceiling() && mm.is_free(at, end))
        });
        let at = match wanted {
            Some(at) => at,
            None => mm.find_free(len, align).map_err(ElfError::Map)?,
        };
        Ok(at.wrapping_sub(low))
    }

    /// The program headers' address in the file's terms.
    fn phdr_address(&self) -> u64 {
        if let Some(ph) = self.phdrs.iter().find(|ph| ph.p_type == PT_PHDR) {
            return ph.p_vaddr;
        }
        let at = self.header.e_phoff;
        self.loads()
            .find(|ph| ph.p_offset <= at && at - ph.p_offset < ph.p_filesz)
            .map_or(0, |ph| ph.p_vaddr + (at - ph.p_offset))
    }
}

/// Refuses what would overflow later.
fn check_segments(phdrs: &[ProgramHeader]) -> Result<(), ElfError> {
    for ph in phdrs.iter().filter(|ph| ph.p_type == PT_LOAD) {
        if ph.p_filesz > ph.p_memsz {
            return Err(ElfError::Damaged(
                "a segment is larger in the file than in memory",
            ));
        }
        if ph
            .p_vaddr
            .checked_add(ph.p_memsz)
            .and_then(page_up)
            .is_none()
        {
            return Err(ElfError::Damaged("a segment's address is too high"));
        }
        if ph.p_filesz > 0 && ph.p_vaddr % PAGE != ph.p_offset % PAGE {
            return Err(ElfError::Damaged("a segment is not aligned to pages"));
        }
    }
    Ok(())
}

fn read_interpreter(file: &File, ph: &ProgramHeader) -> Result<PathBuf, ElfError> {
    let damaged = ElfError::Damaged("the name of its dynamic linker is wrong");
    if ph.p_filesz < 2 || ph.p_filesz > libc::PATH_MAX as u64 {
        return Err(damaged);
    }
    let mut name = vec![0; ph.p_filesz as usize];
    if read_at(file, &mut name, ph.p_offset)? != name.len() || name.pop() != Some(0) {
        return Err(damaged);
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(name)))
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, ElfError> {
    if i64::try_from(offset).is_err() {
        return Ok(0);
    }
    let mut have = 0;
    while have < buffer.len() {
        match file.read_at(&mut buffer[have..], offset + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ElfError::Read(e.into())),
        }
    }
    Ok(have)
}

fn protection(flags: u32) -> u32 {
    let bit = |flag: u32, prot: i32| if flags & flag != 0 { prot as u32 } else { 0 };
    bit(PF_R, libc::PROT_READ) | bit(PF_W, libc::PROT_WRITE) | bit(PF_X, libc::PROT_EXEC)
}

/// Maps one segment: its bytes from the file, zeros for the rest.
fn load_segment(
    file: &File,
    mm: &AddressSpace,
    ph: &ProgramHeader,
    bias: u64,
) -> Result<(), ElfError> {
    let start = ph.p_vaddr.wrapping_add(bias);
    let (file_end, mem_end) = (start + ph.p_filesz, start + ph.p_memsz);
    let prot = protection(ph.p_flags);
    let pages = |at: u64| page_up(at).ok_or(ElfError::Map(Errno::ENOMEM));
    let mut zero_from = page_down(start);
    let request = Request {
        addr: zero_from,
        len: 0,
        prot,
        flags: libc::MAP_PRIVATE | libc::MAP_FIXED,
        fd: file.as_raw_fd(),
        offset: page_down(ph.p_offset),
        kind: Kind::Plain,
    };
    if ph.p_filesz > 0 {
        zero_from = pages(file_end)?;
        let len = zero_from - request.addr;
        mm.map(Request { len, ..request }).map_err(ElfError::Map)?;
        if ph.p_memsz > ph.p_filesz && ph.p_flags & PF_W != 0 {
            zero(file_end, zero_from - file_end)?;
        }
    }
    let end = pages(mem_end)?;
    if end > zero_from {
        let flags = request.flags | libc::MAP_ANONYMOUS;
        let (addr, len) = (zero_from, end - zero_from);
        let rest = Request {
            addr,
            len,
            flags,
            fd: -1,
            offset: 0,
            ..request
        };
        mm.map(rest).map_err(ElfError::Map)?;
    }
    Ok(())
}

/// Zeroes the end of a page that was just mapped writable.
fn zero(addr: u64, len: u64) -> Result<(), ElfError> {
    let zeros = [0_u8; PAGE as usize];
    let left = crate::mm::copy_to_guest(addr, &zeros[..len as usize]);
    if left == 0 {
        Ok(())
    } else {
        Err(ElfError::Damaged("a segment is cut off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(machine: u16, class: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(header::ELFMAG);
        bytes[4] = class;
        bytes[5] = 1;
        bytes[16] = 2;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes
    }

    #[test]
    fn other_machines_are_named() {
        let found = parse_header(&header(62, 2)).err();
        let text = found.map(|e| e.to_string()).unwrap_or_default();
        assert!(
            text.contains("x86_64") && text.contains("riscv64"),
            "{text}"
        );
    }

    #[test]
    fn only_the_guests_class_and_machine_pass() {
        assert!(is_guest_elf(&header(243, 2)));
        assert!(!is_guest_elf(&header(243, 1)));
        assert!(!is_guest_elf(b"#!/bin/sh\n"));
        assert!(!is_guest_elf(&header(243, 2)[..63]));
    }
}
