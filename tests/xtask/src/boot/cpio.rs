//! Archives in cpio's "newc" format, as the kernel reads them at boot
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

/// File types and permissions, as in `st_mode`.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER: u32 = 0o020_600;

/// An archive that grows entry by entry; a folder comes before what lies in it.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, (0, 0), &[]);
    }

    /// Adds an executable file.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, (0, 0), content);
    }

    /// Adds a character device of this major and minor number.
    pub fn device(&mut self, name: &str, number: (u32, u32)) {
        self.entry(name, CHARACTER, number, &[]);
    }

    /// The whole archive with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize
        // check
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents end on a multiple of four bytes.
    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_padding() {
        let mut archive = Archive::default();
        archive.folder("d");
        archive.file("d/f", b"hello");
        archive.device("n", (5, 1));
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let at = |offset: usize, length: usize| &bytes[offset..offset + length];
        // The folder: 110 bytes of header, 2 of name.
        assert_eq!(at(0, 14), b"07070100000001");
        assert_eq!(at(110, 2), b"d\0");
        // The file: header, 4 of name, 2 of padding, 5 of content, 3 of padding.
        assert_eq!(at(112 + 6 + 8, 8), b"000081ED");
        assert_eq!(at(112 + 54, 8), b"00000005");
        assert_eq!(at(112 + 116, 5), b"hello");
        assert_eq!(at(112 + 124, 6), b"070701");
    }
}
