//! Random programs whose control flow is the point, as static executables for Linux.
//!
//! A program is a row of *sections*. Each has its own seed, sets all registers and its data, runs
//! some functions that call each other, and writes registers, a log of its signals and its data to
//! the standard output. So a section alone does what it does among the others, but for its
//! addresses, and a difference is made small by leaving out sections and blocks. All sections run
//! some times over, so that what was compiled in the background meanwhile runs too.
//!
//! Every program ends: loops are counted, functions call only those made before them, recursion
//! has a depth, and a budget of instructions holds for the whole. What is written does not depend
//! on time: the handler of the alarm only counts, where no result shows it.
//!
//! Registers that random instructions never write: `sp` and `s0` point into the data, `gp` to
//! memory that is not there, `tp` to the frames of functions; `s2` to `s4` count loops, `s5` is a
//! depth or the place in a bytecode program.

mod asm;
mod body;
mod interp;
mod kernel;
mod result;
mod runtime;
mod tricks;

use std::ops::Range;

use crate::random::{Generator, Random, common_features, every_feature, integer_features, start};
use asm::{Asm, Place};

pub use interp::{Ending, run};
pub use result::{BYTES as SECTION_BYTES, compare};

/// Nothing is mapped here.
const FAULT: u64 = 0x3000_0000;
/// Pages that programs map.
const MAPS: u64 = 0x5000_0000;
/// What is written of registers and signals.
const RESULT: u64 = 0x2000_0000;
const RESULT_BYTES: usize = 576 + 16 + 24 * LOG_ENTRIES;
const LOG_ENTRIES: usize = 64;
/// The end of the frames of functions.
const STACK: u64 = RESULT + 0x3_0000;

/// How large programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Which sections a program has.
    pub sections: Range<u64>,
    /// About how many blocks a section has.
    pub blocks: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            sections: 0..8,
            blocks: 50,
        }
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub file: Vec<u8>,
    /// Blocks in it, those around the random code left out.
    pub blocks: usize,
    /// How often it runs all its sections.
    pub rounds: usize,
}

/// Makes programs of the instructions that some CPU model has.
pub struct Flow {
    simple: Generator,
    integer: Generator,
    all: Generator,
}

impl Flow {
    /// Programs of all instructions, or of what older emulators get right too.
    pub fn new(every: bool) -> Self {
        let features = match every {
            true => every_feature(),
            false => common_features(),
        };
        let (integer, simple) = integer_features(features);
        let generator = |features| Generator::new(features).without(WRONG_IN_QEMU);
        Self {
            simple: generator(simple),
            integer: generator(integer),
            all: generator(features),
        }
    }

    /// The program of a seed.
    pub fn program(&self, seed: u64, size: &Size) -> Program {
        let mut asm = Asm::new();
        let mut blocks = 0;
        // Some programs have an alarm clock, some of these a fast one.
        let alarm = [0, 0, 997, 4003][Random::new(seed).below(4)];
        let rounds = [1, 3, 6, 9][Random::new(!seed).below(4)];
        runtime::program(&mut asm, alarm, rounds, |asm, routines| {
            for number in size.sections.clone() {
                let mut random = Random::new(seed.rotate_left(20) ^ number);
                let mut start = start(&mut random, 0, 0);
                runtime::fixed_registers(&mut start);
                runtime::set_up(asm, &start);
                let before = asm.blocks;
                body::section(asm, self, random, routines, size.blocks);
                blocks += asm.blocks - before;
                runtime::report(asm);
            }
        });
        Program {
            file: elf(&asm.finish()),
            blocks,
            rounds: rounds as usize,
        }
    }

    /// The programs' instructions as `floats` wants them.
    fn instruction(&self, random: &mut Random, floats: bool, kept: u32) -> Vec<u8> {
        let generator = match random.below(8) {
            0 => &self.integer,
            1..4 if floats => &self.all,
            _ => &self.simple,
        };
        generator.instruction(random, kept)
    }
}

/// QEMU 7.2 counts beyond bit 31, and programs under 10.0 have no instructions for caches.
const WRONG_IN_QEMU: &[&str] = &["ctzw", "cbo.clean", "cbo.flush"];

/// A segment: flags, address, bytes in the file, bytes in memory.
type Segment<'a> = (u32, u64, &'a [u8], u64);

/// A static executable (System V ABI, "Object Files"; the RISC-V ELF specification).
fn elf([text, patched, data]: &[Vec<u8>; 3]) -> Vec<u8> {
    const PAGE: u64 = 0x1000;
    let segments: [Segment; 5] = [
        (5, Place::Text.base(), text, 0),
        (7, Place::Patched.base(), patched, 0),
        (6, Place::Data.base(), data, 0),
        (6, RESULT, &[], STACK - RESULT),
        (
            6,
            crate::rows::MEMORY,
            &[],
            crate::rows::MEMORY_BYTES as u64,
        ),
    ];
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let halves = |file: &mut Vec<u8>, halves: &[u16]| {
        file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, words: &[u64]| {
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    // Executable, RISC-V, version 1; entry, program headers; flags: C and double floats.
    halves(&mut file, &[2, 243, 1, 0]);
    words(&mut file, &[Place::Text.base(), 64, 0]);
    halves(&mut file, &[5, 0, 64, 56, segments.len() as u16, 64, 0, 0]);
    let mut offset = PAGE;
    for (flags, address, bytes, more) in segments {
        halves(&mut file, &[1, 0, flags as u16, 0]);
        let len = bytes.len() as u64;
        words(
            &mut file,
            &[offset, address, address, len, len + more, PAGE],
        );
        offset = (offset + len).next_multiple_of(PAGE);
    }
    file.resize(PAGE as usize, 0);
    for (_, _, bytes, _) in segments {
        file.extend_from_slice(bytes);
        file.resize(file.len().next_multiple_of(PAGE as usize), 0);
    }
    file
}
