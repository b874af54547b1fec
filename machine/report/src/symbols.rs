//! Names of guest code: function symbols of the guest's ELF files.

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file whose symbols are read.
const FILE_MAX: u64 = 1 << 30;

/// Why a file gives no symbols.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is neither an ELF file with symbols nor a list as in `System.map`.
    #[error(
        "{} has no symbols: it is no ELF file with a symbol table, and no System.map",
        .0.display()
    )]
    None(PathBuf),
}

/// Function symbols of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Start to size (0: up to the next one) and name.
    symbols: BTreeMap<u64, (u64, String)>,
    /// Loaded parts: offset in the file, length, address.
    parts: Vec<(u64, u64, u64)>,
}

impl Table {
    /// The function symbols of an ELF file; `None` if it is none.
    #[must_use]
    pub fn of_elf(bytes: &[u8]) -> Option<Self> {
        let elf = Elf::parse(bytes).ok()?;
        let mut table = Self::default();
        for ph in elf.program_headers.iter().filter(|ph| ph.p_type == PT_LOAD) {
            table.parts.push((ph.p_offset, ph.p_filesz, ph.p_vaddr));
        }
        let dynamic = elf.dynsyms.iter().map(|sym| (sym, &elf.dynstrtab));
        // The full table last: it wins.
        for (sym, names) in dynamic.chain(elf.syms.iter().map(|sym| (sym, &elf.strtab))) {
            let code = matches!(sym.st_type(), STT_FUNC | STT_NOTYPE) && sym.st_shndx != 0;
            let Some(name) = names.get_at(sym.st_name) else {
                continue;
            };
            // `$x` and the like mark code and data; `.L` are local labels.
            if code && !name.is_empty() && !name.starts_with('$') && !name.starts_with(".L") {
                table.add(sym.st_value, sym.st_size, name);
            }
        }
        Some(table)
    }

    /// A list `address type name`, as the kernel's `System.map`.
    #[must_use]
    pub fn of_map(text: &str) -> Option<Self> {
        let mut table = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
            let address = u64::from_str_radix(address, 16).ok()?;
            if matches!(kind, "t" | "T" | "w" | "W") {
                table.add(address, 0, name);
            }
        }
        (!table.symbols.is_empty()).then_some(table)
    }

    /// The symbols of a file of either kind.
    ///
    /// # Errors
    /// It cannot be read, or has none.
    pub fn of_file(path: &Path) -> Result<Self, SymbolError> {
        let bytes = fs::read(path).map_err(|source| SymbolError::Read {
            path: path.to_owned(),
            source,
        })?;
        let map = || Self::of_map(std::str::from_utf8(&bytes).ok()?);
        let table = Self::of_elf(&bytes).or_else(map);
        let table = table.filter(|table| !table.symbols.is_empty());
        table.ok_or_else(|| SymbolError::None(path.to_owned()))
    }

    fn add(&mut self, address: u64, size: u64, name: &str) {
        let sized = size != 0 || !self.symbols.contains_key(&address);
        if sized {
            self.symbols.insert(address, (size, name.to_owned()));
        }
    }

    /// The function at an address of the file, and the distance from its start.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<(&str, u64)> {
        let (start, (size, name)) = self.symbols.range(..=address).next_back()?;
        let offset = address - start;
        (*size == 0 || offset < *size).then_some((name, offset))
    }

    /// The address of a place in the file.
    fn address(&self, offset: u64) -> Option<u64> {
        let within = |(start, len, _): &&(u64, u64, u64)| {
            (*start & !0xfff..start.saturating_add(*len)).contains(&offset)
        };
        let (start, _, address) = self.parts.iter().find(within)?;
        Some(address.wrapping_add(offset).wrapping_sub(*start))
    }
}

/// A mapped file.
#[derive(Clone)]
struct Mapped {
    end: u64,
    offset: u64,
    path: Option<PathBuf>,
}

/// What is known of the maps.
#[derive(Default)]
struct Maps {
    ranges: BTreeMap<u64, Mapped>,
    tables: BTreeMap<PathBuf, Option<Arc<Table>>>,
}

/// Names of guest code. May be asked from every thread.
pub struct Symbols {
    /// Files of fixed address.
    fixed: Vec<Table>,
    /// Files that are mapped into this process, whose addresses are the guest's.
    maps: Option<Mutex<Maps>>,
}

impl Symbols {
    /// Of the files that are mapped into this process at the time of asking: user mode's.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            fixed: Vec::new(),
            maps: Some(Mutex::default()),
        }
    }

    /// Of files whose addresses are the guest's: a machine's kernel.
    #[must_use]
    pub fn of_tables(fixed: Vec<Table>) -> Self {
        Self { fixed, maps: None }
    }

    /// The function at `pc` with the distance from its start.
    #[must_use]
    pub fn find(&self, pc: u64) -> Option<(String, u64)> {
        let owned = |(name, offset): (&str, u64)| (name.to_owned(), offset);
        let fixed = self.fixed.iter().find_map(|table| table.at(pc));
        if let Some(found) = fixed {
            return Some(owned(found));
        }
        let mut maps = self
            .maps
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (start, mapped) = maps.find(pc)?;
        let table = maps.table(mapped.path?)?;
        let address = table.address(pc - start + mapped.offset)?;
        table.at(address).map(owned)
    }

    /// `name+0x12`, or the address if the function is not known.
    #[must_use]
    pub fn name(&self, pc: u64) -> String {
        match self.find(pc) {
            Some((name, 0)) => name,
            Some((name, offset)) => format!("{name}+{offset:#x}"),
            None => format!("{pc:#x}"),
        }
    }
}

impl Maps {
    fn find(&mut self, pc: u64) -> Option<(u64, Mapped)> {
        if let Some(found) = self.known(pc) {
            return Some(found);
        }
        self.read();
        if self.known(pc).is_none() {
            // Asked for again and again otherwise.
            let page = pc & !0xfff;
            let nothing = Mapped {
                end: page.saturating_add(0x1000),
                offset: 0,
                path: None,
            };
            self.ranges.insert(page, nothing);
        }
        self.known(pc)
    }

    fn known(&self, pc: u64) -> Option<(u64, Mapped)> {
        let (start, mapped) = self.ranges.range(..=pc).next_back()?;
        (pc < mapped.end).then(|| (*start, mapped.clone()))
    }

    /// Reads the maps (proc_pid_maps(5)): `start-end perms offset dev inode path`.
    fn read(&mut self) {
        let Ok(text) = fs::read("/proc/self/maps") else {
            return;
        };
        self.ranges.clear();
        for line in String::from_utf8_lossy(&text).lines() {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        let offset = number(words.nth(1)?)?;
        let path = words.nth(2)?.trim_start();
        let mapped = Mapped {
            end,
            offset,
            path: path.starts_with('/').then(|| path.into()),
        };
        self.ranges.insert(start, mapped);
        Some(())
    }

    fn table(&mut self, path: PathBuf) -> Option<Arc<Table>> {
        let read = |path: &PathBuf| {
            let data = fs::metadata(path).ok()?;
            if !data.is_file() || data.len() > FILE_MAX {
                return None;
            }
            Table::of_elf(&fs::read(path).ok()?).map(Arc::new)
        };
        let known = self.tables.entry(path);
        known.or_insert_with_key(read).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_finds_its_own_functions() {
        let symbols = Symbols::of_this_process();
        let pc = super::super::testing::landmark as *const () as u64;
        let (name, offset) = symbols.find(pc).unwrap();
        assert!(name.contains("landmark"), "{name}");
        assert_eq!(offset, 0);
        assert!(symbols.name(pc + 1).ends_with("+0x1"));
        let stack = 0_u64;
        assert_eq!(symbols.find(&raw const stack as u64), None);
        assert_eq!(symbols.name(0x10), "0x10");
    }

    #[test]
    fn lists_of_symbols_are_read() {
        let table = Table::of_map("80000000 T _start\n80000010 d data\n80000020 t f\n").unwrap();
        assert_eq!(table.at(0x8000_0018), Some(("_start", 0x18)));
        assert_eq!(table.at(0x8000_0021), Some(("f", 1)));
        assert_eq!(table.at(0x7fff_ffff), None);
        assert!(Table::of_map("no map").is_none());
        let symbols = Symbols::of_tables(vec![table]);
        assert_eq!(symbols.name(0x8000_0022), "f+0x2");
    }

    #[test]
    fn hostile_files_give_nothing() {
        let path = std::env::current_exe().unwrap();
        let bytes = fs::read(path).unwrap();
        for end in [0, 4, 16, 64, 100, 4096] {
            let _ = Table::of_elf(&bytes[..end]);
        }
        let mut damaged = bytes[..8192].to_vec();
        for n in 0..damaged.len() {
            damaged[n] ^= 0xff;
            if n % 7 == 0 {
                let _ = Table::of_elf(&damaged);
            }
        }
        assert!(matches!(
            Table::of_file(Path::new("/no/such")),
            Err(SymbolError::Read { .. })
        ));
    }
}
