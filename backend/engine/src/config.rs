//! What the engine's owner chooses.

use isomorph_baseline::Memory;
use isomorph_frontend::Limits;
use isomorph_ir::Block;

/// Settings of an engine.
pub struct Config {
    /// Bytes of code memory; a full region is flushed.
    pub code_bytes: usize,
    /// Bytes of each vCPU's return stack.
    pub return_stack_bytes: usize,
    /// Bounds of a block.
    pub limits: Limits,
    /// How guest addresses become host addresses. A machine's engine has a software TLB.
    pub memory: Memory,
    /// Patch blocks to jump straight to each other.
    pub chain: bool,
    /// Is told of every translation, for dumps.
    pub observer: Option<Box<dyn Observer>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            code_bytes: 128 << 20,
            return_stack_bytes: 256 << 10,
            limits: Limits::default(),
            memory: Memory::Identity,
            chain: true,
            observer: None,
        }
    }
}

/// One translation, as an [`Observer`] sees it.
#[derive(Debug)]
pub struct Translation<'a> {
    /// The guest's bytes from the block's first instruction to its last.
    pub guest: &'a [u8],
    /// The block as the front end emitted it, nothing folded.
    pub plain: &'a Block,
    /// The block that was compiled.
    pub block: &'a Block,
    /// The host code.
    pub code: &'a [u8],
    /// Address at which `code` executes.
    pub host: u64,
}

/// Is told of every translation.
pub trait Observer: Send + Sync {
    /// A block was translated. Called under the engine's lock: must not call the engine.
    fn translated(&self, translation: &Translation<'_>);
}
