//! ELF files.

/// What is wrong with an ELF file.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It is none.
    #[error("it is not an ELF file")]
    NotElf,
}
