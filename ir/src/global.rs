//! Guest registers as the IR sees them.

use crate::{Type, Val};

/// One guest register: a typed slot of the guest state structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global {
    /// The manual's name, as printed.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Byte offset from the start of the guest state structure.
    pub offset: u32,
    /// Rank for a host register among globals of its class: 0 is mapped first, 255 never.
    pub rank: u8,
}

/// All globals of a guest; [`Val::global`] indexes it.
#[derive(Clone, Copy, Debug)]
pub struct GlobalTable {
    /// The globals, in index order.
    pub globals: &'static [Global],
    /// The global that holds the guest program counter. Written only when a block is left.
    pub pc: Val,
}

impl GlobalTable {
    /// The description of global number `n`.
    pub fn get(&self, n: usize) -> Option<&'static Global> {
        self.globals.get(n)
    }
}
