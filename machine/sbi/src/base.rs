//! Chapter "Base Extension".

use crate::call::{Answer, Call, Function, Reply, extension};

pub(crate) const FUNCTIONS: &[Function] = &[
    |_| Reply::value(SPECIFICATION),
    |_| Reply::value(IMPLEMENTATION),
    |_| Reply::value(version()),
    probe_extension,
    // `mvendorid`, `marchid` and `mimpid`, as the harts have them.
    |_| Reply::value(0),
    |_| Reply::value(0),
    |_| Reply::value(0),
];

/// Version 2.0: the minor number in 24 bits, above it the major one.
const SPECIFICATION: u64 = 2 << 24;
/// Not in the table "SBI Implementation IDs": "ISOM".
const IMPLEMENTATION: u64 = 0x4953_4f4d;

/// Of this crate: major and minor number, 16 bits each.
fn version() -> u64 {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    number(env!("CARGO_PKG_VERSION_MAJOR")) << 16 | number(env!("CARGO_PKG_VERSION_MINOR"))
}

/// Section "Function: Probe SBI extension".
fn probe_extension(call: &mut Call<'_>) -> Answer {
    Reply::value(u64::from(extension(call.args[0]).is_some()))
}
