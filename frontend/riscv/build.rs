//! Compiles the decode specification.

use std::path::PathBuf;
use std::process::ExitCode;

const SPEC: &str = "riscv64.spec";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed={SPEC}");
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={SPEC}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(SPEC)?;
    let source = isomorph_decode::compile(&text)?;
    let dir = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    std::fs::write(PathBuf::from(dir).join("riscv64.rs"), source)?;
    Ok(())
}
