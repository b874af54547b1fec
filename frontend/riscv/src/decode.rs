//! The decoder that the build script makes from `riscv64.spec`.

#![allow(clippy::all, reason = "generated code is judged by its generator")]

include!(concat!(env!("OUT_DIR"), "/riscv64.rs"));
