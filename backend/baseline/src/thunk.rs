//! What counts how often a block is entered, on the way to it.

use crate::compiled::Runtime;
use crate::header::RBP_BIAS;

/// Bytes of a [`counting_thunk`].
pub const THUNK_LEN: usize = 24;

/// Code for executable address `base` that counts the 32-bit word at `counter` (an offset from
/// the start of [`crate::Header`]) down: while it stays positive, control goes on at `entry`; else
/// generated code is left by edge `edge`. `runtime` is the stubs and their address.
pub fn counting_thunk(
    runtime: (&Runtime, u64),
    base: u64,
    counter: usize,
    entry: u64,
    edge: u32,
) -> [u8; THUNK_LEN] {
    let mut code = [0; THUNK_LEN];
    let mut put = |at: usize, bytes: &[u8]| code[at..at + bytes.len()].copy_from_slice(bytes);
    let rel = |end: u64, to: u64| (to.wrapping_sub(base + end) as i32).to_le_bytes();
    // sub dword [rbp + counter], 1
    put(0, &[0x83, 0xad]);
    put(2, &(counter as i32 - RBP_BIAS as i32).to_le_bytes());
    put(6, &[1]);
    // jle +5; jmp entry
    put(7, &[0x7e, 5, 0xe9]);
    put(10, &rel(14, entry));
    // mov eax, edge; jmp exit_edge
    put(14, &[0xb8]);
    put(15, &edge.to_le_bytes());
    put(19, &[0xe9]);
    let (stubs, at) = runtime;
    put(20, &rel(24, at + u64::from(stubs.exit_edge)));
    code
}
