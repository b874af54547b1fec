//! Random privileged programs: the accelerator must do what the interpreter does.

use crate::asm::*;
use crate::bench::*;
use crate::model::Model;
use isomorph_frontend::SystemGuest;
use isomorph_machine::Exit;
use isomorph_riscv::RiscvMachine;
use std::collections::HashMap;
use std::ops::Range;

/// Programs per run, unless `ISOMORPH_PROGRAMS` says; `ISOMORPH_SEED` is the first one's seed.
const PROGRAMS: u64 = 1000;

/// The seeds of a run.
pub fn seeds(programs: u64) -> Range<u64> {
    let first = setting("ISOMORPH_SEED").unwrap_or(1);
    first..first + setting("ISOMORPH_PROGRAMS").unwrap_or(programs)
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub const VA: u64 = 0x4012_3000;
/// Where [`VA`]'s pages of code are, and those of data.
pub const CODE: [u64; 2] = [BASE + 0x10_0000, BASE + 0x10_3000];
pub const HANDLERS: [u64; 2] = [BASE + 0x3_0000, BASE + 0x4_0000];
/// Where the handlers go at the end, in machine and in supervisor mode.
pub const ENDS: [u64; 2] = [BASE + 0x3_1000, BASE + 0x4_1000];
/// Bytes of RAM that programs can reach.
pub const REACH: usize = 0x41_0000;

/// Traps so far, and a hash of what they told.
const TRAPS: u32 = 26;
const HASH: u32 = 27;

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// A register that programs may write.
    fn rd(&mut self) -> u32 {
        self.below(16) as u32
    }

    pub fn rs(&mut self) -> u32 {
        self.below(23) as u32
    }
}

/// What the handlers of both modes do: count, note, go on behind the instruction; after so many
/// traps they end the program.
pub fn put_handler(bench: &Bench, at: u64, end: u64, csrs: [u32; 3], back: u32, most: i32) {
    let [cause, value, pc] = csrs;
    let mut asm = Asm::at(at);
    let over = asm.label();
    for csr in [cause, value, pc] {
        asm.w(&[
            csrr(28, csr),
            slli(29, HASH, 5),
            add(HASH, HASH, 29),
            add(HASH, HASH, 28),
        ]);
    }
    asm.w(&[csrr(28, cause), addi(29, ZERO, 3)])
        .beq(28, 29, over);
    asm.w(&[addi(TRAPS, TRAPS, 1), addi(29, ZERO, most)])
        .beq(TRAPS, 29, over);
    asm.w(&[csrr(28, pc), addi(28, 28, 4), csrw(pc, 28), back]);
    asm.bind(over).li(28, end).w(&[jalr(ZERO, 28, 0)]);
    bench.put(at, &asm.finish());
    let mut asm = Asm::at(end);
    if cause == MCAUSE {
        // MPRV off
        asm.li(28, 1 << 17).w(&[csrc(MSTATUS, 28)]);
    }
    asm.li(DEV, DEVICE);
    crate::bench::end(&mut asm);
    bench.put(end, &asm.finish());
}

/// Entries that set registers, traps and protection, and enter `level` at `pc`.
fn prologue(r: &mut Random, level: u64, pc: u64, satps: [u64; 2], data: u64) -> Vec<u8> {
    let mut asm = Asm::at(BASE);
    asm.li(T0, u64::MAX)
        .w(&[csrw(PMPADDR0, T0)])
        .li(T0, 0x1f)
        .w(&[csrw(PMPCFG0, T0)]);
    asm.li(T0, HANDLERS[0])
        .w(&[csrw(MTVEC, T0)])
        .li(T0, HANDLERS[1])
        .w(&[csrw(STVEC, T0)]);
    asm.li(T0, r.next()).w(&[csrw(0x302, T0)]);
    asm.li(T0, r.next() & 7)
        .w(&[csrw(0x306, T0), csrw(0x106, T0)]);
    // Sometimes hardware does not set A and D.
    asm.li(T0, r.pick(&[1 << 61, 1 << 61, 0]) | 0xf0)
        .w(&[csrw(0x30a, T0)]);
    asm.w(&[csrw(0x10a, T0)]);
    asm.li(T0, satps[0]).w(&[csrw(SATP, T0)]);
    let bits = r.pick(&[0, 1 << 18, 1 << 19, 1 << 18 | 1 << 19]);
    asm.li(T0, level << 11 | bits | r.below(4) << 13)
        .w(&[csrw(MSTATUS, T0)]);
    asm.li(T0, pc).w(&[csrw(MEPC, T0)]);
    start_registers(r, &mut asm, satps, data);
    asm.w(&[MRET]);
    asm.finish()
}

/// What programs start with: numbers, addresses of data, two address spaces.
pub fn start_registers(r: &mut Random, asm: &mut Asm, satps: [u64; 2], data: u64) {
    for n in 1..16 {
        let value = match r.below(4) {
            0 => r.next(),
            1 => r.below(64),
            2 => r.next() as i32 as u64,
            _ => 1 << r.below(64),
        };
        asm.li(n, value);
    }
    let offsets = [0x100, 0xffc, 0x1ffd, 0x3004, 0x4008, 0x2ff8];
    for (n, offset) in (16..).zip(offsets) {
        asm.li(n, data + offset + r.pick(&[0, 0, 8, 16, 3]));
    }
    // Pages of tables behind the other ones: x22 and x23.
    asm.li(22, satps[0]).li(23, satps[1]);
    asm.li(TRAPS, 0).li(HASH, 0).li(28, 0).li(29, 0);
}

pub fn integer(r: &mut Random) -> u32 {
    let (rd, a, b) = (r.rd(), r.rs(), r.rs());
    let funct = r.below(8) as u32;
    match r.below(5) {
        0 => r_type(0x33, funct, r.pick(&[0, 1, 1]), rd, a, b),
        1 => r_type(0x3b, r.pick(&[0, 5]), r.pick(&[0, 0x20]), rd, a, b),
        2 => r_type(0x33, r.pick(&[0, 5]), 0x20, rd, a, b),
        3 => i_type(0x13, r.pick(&[0, 2, 3, 4, 6, 7]), rd, a, r.next() as i32),
        _ => i_type(0x1b, 0, rd, a, r.next() as i32),
    }
}

pub fn memory(r: &mut Random) -> u32 {
    let base = 16 + r.below(6) as u32;
    let (rd, rs) = (r.rd(), r.rs());
    let offset = r.below(40) as i32 - 20;
    match r.below(8) {
        0..=2 => load(r.pick(&[0, 1, 2, 3, 3, 4, 5, 6]), rd, base, offset),
        3..=5 => store(r.pick(&[0, 1, 2, 3, 3]), rs, base, offset),
        6 => {
            let kind = r.pick(&[0, 1, 4, 8, 12, 16, 20, 24, 28]);
            amo(kind, r.pick(&[2, 3]), rd, rs, base)
        }
        _ => lr(r.pick(&[2, 3]), rd, base),
    }
}

fn control(r: &mut Random) -> u32 {
    let csrs = [
        SSTATUS, SSCRATCH, SCAUSE, STVAL, MSTATUS, 0x340, MCAUSE, MTVAL, 0x106, 0x306, 0x302, SATP,
        0x10a, 0x30a, 0x003, 0x001, 0xf14, 0x301, 0x3a0, SIP, SIE,
    ];
    let csr = r.pick(&csrs);
    // What could end in an interrupt, or in nothing at all, is only read.
    let reads = matches!(csr, SIP | SIE | 0x3a0);
    let source = if csr == SATP {
        r.pick(&[0, 22, 23])
    } else {
        r.rs()
    };
    let (funct, source) = match (reads, csr) {
        (true, _) => (2, 0),
        (_, SATP) => (1, source),
        // Interrupt enables stay as they are: none is pending anyway.
        _ => (r.pick(&[1, 2, 3, 5, 6, 7]), source),
    };
    i_type(0x73, funct, r.rd(), source, csr as i32)
}

fn other(r: &mut Random) -> u32 {
    let fence = [sfence(0, 0), sfence(16, 0), sfence(0, 5), sfence(17, 5)];
    let base = 16 + r.below(6) as u32;
    let all = [FENCE, FENCE_I, ECALL, SRET, MRET, 0, 0x0220_000f, YIELD];
    match r.below(4) {
        0 => r.pick(&fence),
        // cbo.zero, cbo.flush
        1 => r.pick(&[4, 2]) << 20 | base << 15 | 2 << 12 | 0x0f,
        // fld, fsd, fmv.d.x, fmv.x.d
        2 => r.pick(&[
            i_type(0x07, 3, 1, base, 8),
            store(3, 1, 17, 0) & !0x7f | 0x27,
            r_type(0x53, 0, 0x79, 1, 5, 0),
            r_type(0x53, 0, 0x71, 6, 1, 0),
        ]),
        _ => r.pick(&all),
    }
}

/// A program's body, which goes forward only.
fn body(r: &mut Random, at: u64) -> Vec<u8> {
    let mut asm = Asm::at(at);
    if !at.is_multiple_of(4) {
        asm.h(C_NOP);
    }
    let count = 10 + r.below(50);
    for n in 0..count {
        let left = (count - n).min(8);
        let word = match r.below(20) {
            0..=4 => integer(r),
            5..=11 => memory(r),
            12..=14 => control(r),
            15 | 16 => other(r),
            17 => {
                let skip = 4 * (1 + r.below(left)) as u32;
                // Bits 11 to 8 of the word are bits 4 to 1 of the offset.
                let offset = (skip >> 1 & 15) << 8 | (skip >> 5 & 0x3f) << 25;
                r_type(0x63, r.pick(&[0, 1, 4, 5, 6, 7]), 0, 0, r.rs(), r.rs()) | offset
            }
            18 => jal(r.rd(), 4 * (1 + r.below(left)) as i32),
            _ => {
                asm.w(&[auipc(RA, 0)]);
                jalr(r.rd(), RA, 8 + 4 * r.below(left) as i32)
            }
        };
        asm.w(&[word]);
    }
    // ebreak
    asm.w(&[0x0010_0073; 12]);
    asm.finish()
}

pub fn map_all(bench: &mut Bench, r: &mut Random, level: u64) -> [u64; 2] {
    let user = if level == 0 { USER } else { 0 };
    let ad = |r: &mut Random| r.pick(&[ACCESSED, ACCESSED, 0, 0x40]);
    [5, 6].map(|asid| {
        let root = bench.root();
        for (n, code) in CODE.into_iter().enumerate() {
            bench.map(root, VA + 0x1000 * n as u64, code, RX | user | ACCESSED);
        }
        let other = r.pick(&[0, USER]);
        let pages = [RW | user, RW | user, 0, RW | other, VALID | EXEC | user];
        for (n, flags) in (0..).zip(pages) {
            let flags = if flags == 0 { 0 } else { flags | ad(r) };
            // The second space has other pages there.
            let physical = DATA + (n + 8 * (asid - 5)) * 0x1000;
            bench.map(root, VA + 0x10_0000 + n * 0x1000, physical, flags);
        }
        satp(root, asid)
    })
}

/// What both must agree on, by name.
fn visible(all: HashMap<String, u64>) -> Vec<(String, u64)> {
    let counters = ["cycle", "instret", "counter", "x28", "x29", "x31", "pc"];
    let counts = |name: &str| counters.iter().any(|part| name.contains(part));
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|(name, _)| !counts(name) || matches!(&name[..], "mepc" | "sepc"))
        .collect();
    for (name, value) in &mut all {
        // The end clears MPRV.
        if name == "mstatus" {
            *value &= !(1 << 17);
        }
    }
    all.sort_unstable();
    all
}

/// Runs the program of a seed; false if it does not end.
fn try_one(bench: &mut Bench, seed: u64) -> bool {
    let r = &mut Random(seed);
    let level = r.pick(&[0, 1, 1, 3]);
    assert!(bench.ram.write(0, &vec![0; REACH]));
    bench.forget_tables();
    put_handler(bench, HANDLERS[0], ENDS[0], [MCAUSE, MTVAL, MEPC], MRET, 60);
    put_handler(bench, HANDLERS[1], ENDS[1], [SCAUSE, STVAL, SEPC], SRET, 60);
    let satps = map_all(bench, r, level);
    let start = 0x1000 - 2 * r.below(100) - 2;
    let (code, data) = match level {
        3 => (CODE[0], DATA),
        _ => (VA, VA + 0x10_0000),
    };
    let body = body(r, code + start);
    let (first, second) = body.split_at(body.len().min((0x1000 - start) as usize));
    bench.put(CODE[0] + start, first);
    bench.put(
        if level == 3 {
            CODE[0] + 0x1000
        } else {
            CODE[1]
        },
        second,
    );
    let noise: Vec<u8> = (0..0x1_0000).map(|_| r.next() as u8).collect();
    bench.put(DATA, &noise);
    bench.put(BASE, &prologue(r, level, code + start, satps, data));
    let mut ram = vec![0; RAM_BYTES as usize];
    assert!(bench.ram.read(0, &mut ram[..REACH]));
    let mut model = Model::new(3, ram);
    if !model.run(&ENDS) {
        return false;
    }
    bench.reset();
    let vcpu = &mut bench.vcpus[0];
    assert_eq!(vcpu.run().expect("no failure"), Exit::Kicked);
    let want = visible(RiscvMachine::dump(&model.state).into_iter().collect());
    let got = visible(registers(&*bench.vcpus[0]));
    let differ: Vec<_> = want.iter().zip(&got).filter(|(a, b)| a != b).collect();
    assert!(differ.is_empty(), "seed {seed} level {level}: {differ:x?}");
    let mut memory = vec![0; 0x1_0000];
    assert!(bench.ram.read(DATA - BASE, &mut memory));
    let mut expected = model.ram.borrow_mut();
    let expected = expected.slice(DATA, memory.len()).expect("RAM");
    let at = memory.iter().zip(&*expected).position(|(a, b)| a != b);
    assert_eq!(at, None, "seed {seed}: memory differs");
    true
}

#[test]
fn random_programs_do_what_the_interpreter_does() {
    let seeds = seeds(PROGRAMS);
    let count = seeds.end - seeds.start;
    let mut bench = Bench::machine();
    let done = bench.ends_after(300);
    let ran = seeds.filter(|seed| try_one(&mut bench, *seed)).count() as u64;
    drop(done);
    assert!(ran * 10 > count * 6, "only {ran} of {count} end");
}
