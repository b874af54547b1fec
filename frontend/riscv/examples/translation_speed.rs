//! Nanoseconds an instruction for decoding and for translating to IR:
//! `translation_speed FILE`, where FILE is flat code (`objcopy -O binary -j .text`).

use std::hint::black_box;
use std::time::Instant;

use isomorph_frontend::{CodeSource, Guest, Limits, translate_block};
use isomorph_ir::Builder;
use isomorph_riscv::Riscv64;
use isomorph_riscv::decode::{decode_c16, decode_w32};

const ROUNDS: u32 = 5;

struct Flat(Vec<u8>);

impl CodeSource for Flat {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let rest = self.0.get(pc as usize..).unwrap_or_default();
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        len
    }

    fn may_change(&self, _: u64) -> bool {
        false
    }
}

fn words(code: &[u8]) -> Vec<u32> {
    let mut at = 0;
    let mut words = Vec::new();
    while at + 4 <= code.len() {
        let word = u32::from_le_bytes([code[at], code[at + 1], code[at + 2], code[at + 3]]);
        let long = word & 3 == 3;
        words.push(if long { word } else { word & 0xffff });
        at += if long { 4 } else { 2 };
    }
    words
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("usage: translation_speed FILE")?;
    let flat = Flat(std::fs::read(file)?);
    let words = words(&flat.0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for &word in &words {
            black_box(if word & 3 == 3 {
                decode_w32(word)
            } else {
                decode_c16(word)
            });
        }
        let decode = start.elapsed().as_nanos() as f64 / words.len() as f64;

        let guest = Riscv64::default();
        let mut b = Builder::new(Riscv64::globals());
        let (mut pc, mut insns, mut ops) = (0, 0, 0);
        let start = Instant::now();
        while (pc as usize) < flat.0.len() {
            translate_block(&guest, &mut b, &flat, pc, 0, Limits::default());
            let block = b.block();
            pc = block.end.max(pc + 2);
            insns += u64::from(block.insns);
            ops += block.insts.len();
        }
        let translate = start.elapsed().as_nanos() as f64 / insns as f64;
        let live = ops as f64 / insns as f64 - 1.0;
        println!("decode {decode:.1} ns, translate {translate:.1} ns, {live:.2} operations");
    }
    Ok(())
}
