//! Disassembles a flat binary: `disassemble FILE [ADDRESS]` prints one instruction a line.

use isomorph_frontend::Guest;
use isomorph_riscv::Riscv64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: disassemble FILE [ADDRESS]")?;
    let hex = args.next().unwrap_or_else(|| "0".into());
    let mut pc = u64::from_str_radix(hex.trim_start_matches("0x"), 16)?;
    let bytes = std::fs::read(file)?;
    let guest = Riscv64::default();
    let mut window = &bytes[..];
    while !window.is_empty() {
        let mut text = String::new();
        let len = guest.disassemble(pc, window, &mut text);
        println!("{pc:x}\t{text}");
        pc += u64::from(len);
        window = window.get(len as usize..).unwrap_or_default();
    }
    Ok(())
}
