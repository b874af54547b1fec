//! The decoder that the build script makes from `riscv64.spec`.

#![allow(
    clippy::unnecessary_cast,
    clippy::identity_op,
    clippy::unusual_byte_groupings
)]

include!(concat!(env!("OUT_DIR"), "/riscv64.rs"));
