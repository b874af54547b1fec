//! Files by which `perf` names generated code.
//!
//! The map is what perf reads as `/tmp/perf-PID.map` (Linux, `tools/perf/Documentation/
//! jit-interface.txt`): lines `START SIZE name` in hexadecimal. The dump follows `tools/perf/
//! Documentation/jitdump-specification.txt`, version 1; its clock is `CLOCK_MONOTONIC`, so that
//! `perf record` needs `-k mono`. Each record is written in one piece, since a guest may end its
//! process at any time, and the file of a full disk ends with a whole one.
//!
//! A forked child has another number: it writes nothing, and perf finds no names for it.

use crate::{GrowingFile, Symbols, Warn};
use isomorph_engine::{Observer, RegionEvent, Translation};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// "JiTD" in the writer's byte order.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
/// Bytes of the file's header.
const HEADER: u32 = 40;
/// ELF's number of x86-64.
const EM_X86_64: u32 = 62;
/// Record types.
const JIT_CODE_LOAD: u32 = 0;
const JIT_CODE_CLOSE: u32 = 3;

/// What messages call the two.
pub const PERFMAP: &str = "perfmap";
/// See [`PERFMAP`].
pub const JITDUMP: &str = "jitdump";

/// The map's path for this process.
#[must_use]
pub fn map_path() -> PathBuf {
    format!("/tmp/perf-{}.map", std::process::id()).into()
}

/// The dump's path for this process: in the current folder.
#[must_use]
pub fn dump_path() -> PathBuf {
    format!("jit-{}.dump", std::process::id()).into()
}

/// Code that was installed.
struct Code<'a> {
    pc: u64,
    tier: u8,
    host: u64,
    bytes: &'a [u8],
}

impl Code<'_> {
    fn name(&self, symbols: &Symbols) -> String {
        format!("{}@tier{}", symbols.name(self.pc), self.tier)
    }
}

fn block<'a>(translation: &Translation<'a>) -> Code<'a> {
    Code {
        pc: translation.block.pc,
        tier: 1,
        host: translation.host,
        bytes: translation.code,
    }
}

fn region<'a>(event: &RegionEvent<'a>) -> Option<Code<'a>> {
    match event {
        RegionEvent::Installed { pc, code, host, .. } => Some(Code {
            pc: *pc,
            tier: 2,
            host: *host,
            bytes: code,
        }),
        _ => None,
    }
}

/// The map.
pub(crate) struct PerfMap {
    file: GrowingFile,
    pid: u32,
    symbols: Arc<Symbols>,
}

impl PerfMap {
    pub(crate) fn new(file: (PathBuf, File), symbols: Arc<Symbols>, warn: Warn) -> Self {
        let pid = std::process::id();
        let file = GrowingFile::new(PERFMAP, file, warn);
        Self { file, pid, symbols }
    }

    fn write(&self, code: &Code<'_>) {
        if std::process::id() != self.pid {
            return;
        }
        let name = code.name(&self.symbols);
        let line = format!("{:x} {:x} {name}\n", code.host, code.bytes.len());
        self.file.write_whole(line.as_bytes());
    }
}

impl Observer for PerfMap {
    fn translated(&self, translation: &Translation<'_>) {
        self.write(&block(translation));
    }

    fn region(&self, event: &RegionEvent<'_>) {
        if let Some(code) = region(event) {
            self.write(&code);
        }
    }
}

/// The dump.
pub(crate) struct JitDump {
    file: GrowingFile,
    pid: u32,
    index: AtomicU64,
    symbols: Arc<Symbols>,
}

impl JitDump {
    /// Writes the header, and maps the file so that perf notes it.
    ///
    /// # Errors
    /// The host does neither.
    pub(crate) fn new(
        (path, file): (PathBuf, File),
        symbols: Arc<Symbols>,
        warn: Warn,
    ) -> io::Result<Self> {
        let pid = std::process::id();
        let mut header = Vec::new();
        for word in [MAGIC, VERSION, HEADER, EM_X86_64, 0, pid] {
            header.extend(word.to_ne_bytes());
        }
        header.extend(isomorph_probe::monotonic_ns().to_ne_bytes());
        // No flags: the clock is not the processor's.
        header.extend(0_u64.to_ne_bytes());
        (&file).write_all(&header)?;
        isomorph_probe::announce(&file)?;
        Ok(Self {
            file: GrowingFile::new(JITDUMP, (path, file), warn),
            pid,
            index: AtomicU64::new(0),
            symbols,
        })
    }

    fn load(&self, code: &Code<'_>) {
        let mut body = Vec::new();
        for word in [self.pid, isomorph_probe::thread_id()] {
            body.extend(word.to_ne_bytes());
        }
        let index = self.index.fetch_add(1, Ordering::Relaxed);
        let len = code.bytes.len() as u64;
        for word in [code.host, code.host, len, index] {
            body.extend(word.to_ne_bytes());
        }
        body.extend(code.name(&self.symbols).bytes().chain([0]));
        body.extend(code.bytes);
        self.record(JIT_CODE_LOAD, &body);
    }

    /// A record: its type, its size with this header, its time, its body.
    fn record(&self, kind: u32, body: &[u8]) {
        if std::process::id() != self.pid {
            return;
        }
        let mut record = Vec::with_capacity(16 + body.len());
        record.extend(kind.to_ne_bytes());
        record.extend((16 + body.len() as u32).to_ne_bytes());
        record.extend(isomorph_probe::monotonic_ns().to_ne_bytes());
        record.extend(body);
        self.file.write_whole(&record);
    }
}

impl Observer for JitDump {
    fn translated(&self, translation: &Translation<'_>) {
        self.load(&block(translation));
    }

    fn region(&self, event: &RegionEvent<'_>) {
        if let Some(code) = region(event) {
            self.load(&code);
        }
    }
}

impl Drop for JitDump {
    fn drop(&mut self) {
        self.record(JIT_CODE_CLOSE, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, installed};
    use isomorph_ir::Block;

    fn written(observer: impl FnOnce((PathBuf, File)) -> Box<dyn Observer>) -> Vec<u8> {
        let path = testing::scratch("profilers");
        let options = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let observer = observer((path.clone(), options.unwrap()));
        let block = Block {
            pc: 0x8000_0024,
            ..Block::default()
        };
        observer.translated(&Translation {
            guest: &[],
            plain: None,
            block: &block,
            code: &[0x90, 0xc3],
            host: 0x7000,
            map: &[],
        });
        observer.region(&installed());
        drop(observer);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        bytes
    }

    fn warn() -> Warn {
        Arc::new(|text| panic!("{text}"))
    }

    fn symbols() -> Arc<Symbols> {
        let table = crate::Table::of_map("80000000 T _start\n80000020 t loop\n").unwrap();
        Arc::new(Symbols::of_tables(vec![table]))
    }

    #[test]
    fn the_map_has_a_line_for_each_piece_of_code() {
        let bytes = written(|file| Box::new(PerfMap::new(file, symbols(), warn())));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "7000 2 loop+0x4@tier1\n9000 3 loop@tier2\n");
    }

    #[test]
    fn the_dump_is_as_specified() {
        let bytes = written(|file| Box::new(JitDump::new(file, symbols(), warn()).unwrap()));
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(&bytes[..4], b"DTiJ", "little endian");
        assert_eq!((u32_at(4), u32_at(8), u32_at(12)), (1, 40, 62));
        assert_eq!(u32_at(20), std::process::id());
        let mut found = Vec::new();
        let (mut at, mut time) = (40, u64_at(24));
        while at < bytes.len() {
            let (kind, size) = (u32_at(at), u32_at(at + 4) as usize);
            assert!(u64_at(at + 8) >= time, "records are in order of time");
            time = u64_at(at + 8);
            if kind == JIT_CODE_LOAD {
                assert_eq!(u64_at(at + 24), u64_at(at + 32), "vma and address");
                let (len, index) = (u64_at(at + 40) as usize, u64_at(at + 48));
                let rest = &bytes[at + 56..at + size];
                let end = rest.iter().position(|&byte| byte == 0).unwrap();
                assert_eq!(rest.len(), end + 1 + len, "name and code fill the record");
                let name = String::from_utf8(rest[..end].to_vec()).unwrap();
                found.push((u64_at(at + 24), index, name, rest[end + 1..].to_vec()));
            } else {
                assert_eq!((kind, size), (JIT_CODE_CLOSE, 16));
            }
            at += size;
        }
        assert_eq!(at, bytes.len());
        assert_eq!(
            found,
            [
                (0x7000, 0, "loop+0x4@tier1".into(), vec![0x90, 0xc3]),
                (0x9000, 1, "loop@tier2".into(), vec![0x31, 0xc0, 0xc3]),
            ]
        );
    }
}
