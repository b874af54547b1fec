//! Random privileged programs of loops, calls and tables, under page tables and code that change,
//! with a timer that interrupts them anywhere: the accelerator must do what the interpreter does.

use crate::asm::*;
use crate::bench::*;
use crate::model::Model;
use crate::random::{
    CODE, ENDS, HANDLERS, REACH, Random, VA, integer, map_all, memory, put_handler,
};
use crate::random::{seeds, start_registers};
use isomorph_engine::{Policy, Tier2};
use isomorph_frontend::SystemGuest;
use isomorph_machine::Exit;
use isomorph_riscv::RiscvMachine;
use std::collections::HashMap;

/// Programs per setting, unless `ISOMORPH_PROGRAMS` says.
const PROGRAMS: u64 = 60;
/// How often each runs on the same engine: what was compiled meanwhile runs the next time.
const RUNS: u32 = 4;
/// Blocks that a program runs, loops within loops and all.
const BUDGET: u64 = 12_000;
/// More than that is no end.
const MOST_BLOCKS: u32 = 60_000;

/// Traps after which a program ends.
const MOST_TRAPS: i32 = 2000;

/// The settings of the hot tier.
const POLICIES: [Policy; 3] = [Policy::Off, Policy::Hot(Some(8)), Policy::Always];

/// A page that is one of two, and its functions.
const SWAPPED: u64 = VA + 0x8000;
const VERSIONS: [u64; 2] = [BASE + 0x10_8000, BASE + 0x10_a000];

/// Counters of loops, which nothing else writes.
const COUNTERS: [u32; 3] = [24, 25, 30];
/// Free between instructions that may fault.
const TEMPORARY: [u32; 2] = [28, 29];
/// What the handler of the timer works with, and gives back: it may come between any two
/// instructions, those of a program's end included.
const TICK: u32 = 31;
/// Links of functions that call others, and of those that do not.
const LINKS: [u32; 2] = [RA, T0];

/// The machine's handler of the timer, in front of that of exceptions.
fn put_timer_handler(bench: &Bench, at: u64, exceptions: u64, ticks: u64) {
    let mut asm = Asm::at(at);
    let timer = asm.label();
    let swap = csrrw(TICK, MSCRATCH, TICK);
    asm.w(&[swap, csrr(TICK, MCAUSE)]).blt(TICK, ZERO, timer);
    asm.w(&[swap]);
    let away = exceptions.wrapping_sub(asm.pc()) as i32;
    asm.w(&[jal(ZERO, away)]).bind(timer);
    asm.w(&[csrr(TICK, TIME), addi(TICK, TICK, ticks as i32)]);
    asm.w(&[csrw(STIMECMP, TICK), swap, MRET]);
    bench.put(at, &asm.finish());
}

/// Where the machine's traps go first.
const FIRST: u64 = BASE + 0x3_2000;

/// Sets everything, and enters `level` at `pc`.
fn prologue(r: &mut Random, level: u64, pc: u64, satps: [u64; 2], data: u64) -> Vec<u8> {
    let mut asm = Asm::at(BASE);
    asm.li(T0, u64::MAX).w(&[csrw(PMPADDR0, T0)]);
    asm.li(T0, 0x1f).w(&[csrw(PMPCFG0, T0)]);
    asm.li(T0, FIRST).w(&[csrw(MTVEC, T0)]);
    asm.li(T0, HANDLERS[1]).w(&[csrw(STVEC, T0)]);
    // All exceptions or none go to the supervisor; the timer interrupts the machine.
    asm.li(T0, r.pick(&[0, 0xffff]))
        .w(&[csrw(0x302, T0), csrw(0x303, ZERO)]);
    asm.li(T0, 1 << 63 | 1 << 61 | 0xf0);
    asm.w(&[csrw(0x30a, T0), csrw(0x10a, T0)]);
    let late = r.pick(&[u64::MAX, 0, 0]);
    asm.li(T0, late).w(&[csrw(STIMECMP, T0)]).li(T0, 1 << 5);
    asm.w(&[csrw(0x304, T0)]);
    asm.li(T0, satps[0]).w(&[csrw(SATP, T0)]);
    let interrupts = if level == 3 { 1 << 7 } else { 0 };
    asm.li(T0, level << 11 | 1 << 18 | 1 << 13 | interrupts);
    asm.w(&[csrw(MSTATUS, T0)]);
    asm.li(T0, pc).w(&[csrw(MEPC, T0)]);
    start_registers(r, &mut asm, satps, data);
    asm.li(24, 0).li(25, 0).li(30, 0).w(&[MRET]);
    asm.finish()
}

/// A program in the making.
struct Body<'a> {
    r: &'a mut Random,
    asm: Asm,
    /// It is the supervisor's, who may change page tables.
    supervisor: bool,
    /// Where the page table has the page that is one of two.
    entry: u64,
    /// How far physical addresses of code are from its own.
    physical: u64,
    /// Functions that are called by each of [`LINKS`], and the blocks that a call takes.
    functions: [Vec<(Label, u64)>; 2],
    /// Loops around the code at hand, and jumps that may still be made.
    depth: usize,
    left: u32,
    /// The function at hand is called by this one of [`LINKS`]; 2 in the program itself.
    rank: usize,
}

impl Body<'_> {
    fn temporary(&mut self) -> u32 {
        self.r.pick(&TEMPORARY)
    }

    /// A register that programs may write: neither of the links.
    fn keep_links(&self, word: u32) -> u32 {
        let rd = word >> 7 & 31;
        match LINKS.contains(&rd) {
            true => word & !(31 << 7) | 6 << 7,
            false => word,
        }
    }

    fn straight(&mut self, most: u64) {
        for _ in 0..1 + self.r.below(most) {
            let word = match self.r.below(64) {
                // Some of these fault.
                0 => memory(self.r),
                1..16 => memory(self.r) & !(31 << 15) | 16 << 15,
                _ => integer(self.r),
            };
            // Stores have no destination: their bits 11 to 7 are an offset.
            let stores = word & 0x7f == 0x23;
            let word = if stores { word } else { self.keep_links(word) };
            self.asm.w(&[word]);
        }
    }

    fn maybe(&mut self, to: Label) {
        if self.depth > 0 && self.r.below(2) == 0 {
            let counter = COUNTERS[self.r.below(self.depth as u64) as usize];
            let mask = self.r.pick(&[1, 3, 7]);
            self.asm.w(&[andi(29, counter, mask)]).bne(29, ZERO, to);
            return;
        }
        let (a, b, funct) = (self.r.rs(), self.r.rs(), self.r.pick(&[0, 1, 4, 5, 6, 7]));
        self.asm.branch(funct, a, b, to);
    }

    fn sequence(&mut self, budget: u64) -> u64 {
        let mut cost = 1;
        self.straight(5);
        for _ in 0..1 + self.r.below(5) {
            if self.left == 0 || cost >= budget {
                break;
            }
            self.left -= 1;
            cost += self.statement(budget - cost);
        }
        cost
    }

    fn statement(&mut self, budget: u64) -> u64 {
        match self.r.below(16) {
            0..3 => self.branch(budget),
            3..7 if self.depth < COUNTERS.len() && self.rank == 2 => self.counted_loop(budget),
            7 | 8 => self.switch(),
            9..12 => self.call(budget),
            12 if self.supervisor => self.swap(),
            13 if self.supervisor => self.change_space(),
            14 => self.patch(),
            15 => self.odd_jump(),
            _ => {
                self.straight(8);
                1
            }
        }
    }

    fn branch(&mut self, budget: u64) -> u64 {
        let (other, end) = (self.asm.label(), self.asm.label());
        self.maybe(other);
        let mut cost = self.sequence(budget / 2);
        if self.r.below(2) == 0 {
            self.asm.j(end).bind(other);
            cost += self.sequence(budget / 2);
        } else {
            self.asm.bind(other);
        }
        self.asm.bind(end);
        cost + 1
    }

    /// A counted loop, sometimes with a second entry.
    fn counted_loop(&mut self, budget: u64) -> u64 {
        let counter = COUNTERS[self.depth];
        let wanted = self.r.pick(&[2, 10, 20, 40, 100]);
        let rounds = wanted.min(budget / 4).max(1);
        let (inner, end) = (self.asm.label(), self.asm.label());
        self.asm.li(counter, rounds);
        self.depth += 1;
        let entries = self.r.below(3) == 0;
        if entries {
            self.maybe(inner);
        }
        let top = self.asm.here();
        let mut cost = self.sequence(budget / rounds / 2);
        if entries {
            self.asm.bind(inner);
            cost += self.sequence(budget / rounds / 2);
        } else if self.r.below(3) == 0 {
            self.maybe(end);
        }
        self.depth -= 1;
        self.asm
            .w(&[addi(counter, counter, -1)])
            .blt(ZERO, counter, top);
        if !entries {
            self.asm.bind(inner);
        }
        self.asm.bind(end);
        (cost + 2) * rounds
    }

    /// A jump by a table of code: two instructions for each case.
    fn switch(&mut self) -> u64 {
        let index = match self.depth {
            0 => self.r.rs(),
            depth => COUNTERS[depth - 1],
        };
        let labels: Vec<Label> = (0..4).map(|_| self.asm.label()).collect();
        let end = self.asm.label();
        self.asm
            .w(&[andi(28, index, 3), slli(28, 28, 2), auipc(29, 0)]);
        self.asm.w(&[add(28, 28, 29), jalr(ZERO, 28, 12)]);
        for label in &labels {
            self.asm.j(*label);
        }
        for label in labels {
            self.asm.bind(label);
            self.straight(4);
            if self.r.below(4) != 0 {
                self.asm.j(end);
            }
        }
        self.asm.bind(end);
        4
    }

    fn call(&mut self, budget: u64) -> u64 {
        let link = self.r.below(2) as usize;
        // Only those who keep their own link may call.
        let may = self.rank == 2 || self.rank == 0 && link == 1;
        let all: Vec<_> = self.functions[link]
            .iter()
            .filter(|f| f.1 <= budget)
            .copied()
            .collect();
        if !may || all.is_empty() {
            self.straight(3);
            return 1;
        }
        let (label, cost) = self.r.pick(&all);
        self.go_to_page_end();
        self.asm.jal(LINKS[link], label);
        cost + 1
    }

    /// Where a page ends soon, goes on to its last instruction, now and then: a call there returns
    /// to the next page, which is elsewhere.
    fn go_to_page_end(&mut self) {
        let room = 0xffc - self.asm.pc() % 0x1000;
        if room <= 0x180 && room.is_multiple_of(4) && self.r.below(2) == 0 {
            for _ in 0..room / 4 {
                let word = integer(self.r);
                let word = self.keep_links(word);
                self.asm.w(&[word]);
            }
        }
    }

    /// Maps the other version of a page, and calls it.
    fn swap(&mut self) -> u64 {
        if self.rank != 2 {
            return 0;
        }
        let counter = COUNTERS[self.depth.saturating_sub(1)];
        let leaf = |n: usize| pte(VERSIONS[n], RX | ACCESSED);
        self.asm.w(&[andi(28, counter, 1)]);
        let (other, write) = (self.asm.label(), self.asm.label());
        self.asm.bne(28, ZERO, other);
        self.asm.li(28, leaf(0)).j(write);
        self.asm.bind(other).li(28, leaf(1));
        self.asm.bind(write).li(29, self.entry);
        let page = self.r.pick(&[0, 29]);
        self.asm.w(&[sd(28, 29, 0)]);
        self.asm
            .li(29, SWAPPED)
            .w(&[sfence(page, 0), jalr(RA, 29, 0)]);
        6
    }

    /// The same code over other data.
    fn change_space(&mut self) -> u64 {
        let space = self.r.pick(&[22, 23]);
        self.asm.w(&[csrw(SATP, space)]);
        if self.r.below(3) == 0 {
            self.asm.w(&[sfence(0, 0)]);
        }
        2
    }

    /// Writes an instruction ahead, where the machine may: by its physical address.
    fn patch(&mut self) -> u64 {
        let user = !self.supervisor && self.physical != 0;
        if user {
            return 0;
        }
        let skip = self.asm.label();
        if self.depth > 0 {
            let mask = self.r.pick(&[3, 7, 31]);
            self.asm
                .w(&[andi(29, COUNTERS[self.depth - 1], mask)])
                .bne(29, ZERO, skip);
        }
        // li of an instruction with a random immediate, the address of the site, the store.
        let word = i_type(
            0x13,
            self.r.pick(&[0, 4, 6, 7]),
            6 + self.r.below(4) as u32,
            self.r.rs(),
            0,
        );
        self.asm.li(28, u64::from(word));
        if self.depth > 0 {
            self.asm
                .w(&[slli(29, COUNTERS[self.depth - 1], 20), add(28, 28, 29)]);
        }
        let site = self.asm.pc() + 4 * 24;
        // Code may be on its second page, which is elsewhere.
        let second = site >= VA + 0x1000 && self.physical != 0;
        let physical = if second {
            CODE[1] - VA - 0x1000
        } else {
            self.physical
        };
        self.asm.li(29, site.wrapping_add(physical));
        self.asm.w(&[sw(28, 29, 0), FENCE_I]);
        assert!(self.asm.pc() < site - 16);
        self.asm.bind(skip);
        while self.asm.pc() < site {
            let word = integer(self.r);
            let word = self.keep_links(word);
            self.asm.w(&[word]);
        }
        self.asm.w(&[NOP]);
        2
    }

    /// A call without a return, or a return without a call.
    fn odd_jump(&mut self) -> u64 {
        if self.rank != 2 {
            return 0;
        }
        let to = self.asm.label();
        let register = self.temporary();
        match self.r.below(3) {
            0 => drop(self.asm.jal(RA, to)),
            1 => drop(self.asm.w(&[auipc(RA, 0), jalr(ZERO, RA, 12), NOP])),
            _ => drop(
                self.asm
                    .w(&[auipc(register, 0), jalr(T0, register, 12), NOP]),
            ),
        }
        self.asm.bind(to);
        1
    }

    fn function(&mut self, rank: usize) {
        self.rank = rank;
        self.left = 4;
        let label = self.asm.here();
        let cost = self.sequence(60);
        let link = LINKS[rank];
        if self.r.below(4) == 0 && rank == 0 {
            let over = self.asm.label();
            self.maybe(over);
            self.asm.bind(over);
        }
        self.asm.w(&[jalr(ZERO, link, 0)]);
        self.functions[rank].push((label, cost + 1));
    }

    /// Functions, and the program that calls them; where it begins.
    fn program(&mut self) -> u64 {
        for rank in [1, 1, 0, 0] {
            self.function(rank);
        }
        let start = self.asm.pc();
        self.rank = 2;
        self.left = 30;
        let mut cost = 0;
        while cost < BUDGET / 2 && self.left > 0 {
            cost += self.counted_loop(BUDGET - cost) + 50;
        }
        // ebreak
        self.asm.w(&[0x0010_0073; 2]);
        start
    }
}

/// The functions that are mapped in turn.
fn put_versions(bench: &Bench, r: &mut Random) {
    for at in VERSIONS {
        let mut asm = Asm::at(SWAPPED);
        for _ in 0..1 + r.below(8) {
            let word = integer(r);
            let link = LINKS.contains(&(word >> 7 & 31));
            asm.w(&[if link { NOP } else { word }]);
        }
        asm.w(&[RET]);
        bench.put(at, &asm.finish());
    }
}

/// What both must agree on: what programs compute, not what the timer leaves.
fn visible(all: HashMap<String, u64>) -> Vec<(String, u64)> {
    let named = |name: &str| {
        let x = name.strip_prefix('x').and_then(|n| n.parse::<u32>().ok());
        let x = x.is_some_and(|n| n < 28);
        x || matches!(name, "sepc" | "scause" | "stval" | "satp")
    };
    let mut all: Vec<_> = all.into_iter().filter(|(name, _)| named(name)).collect();
    all.sort_unstable();
    all
}

/// Runs the program of a seed; false if it does not end.
fn try_one(bench: &mut Bench, seed: u64) -> bool {
    let r = &mut Random::new(seed);
    let level = r.pick(&[0, 1, 1, 1, 3]);
    assert!(bench.ram.write(0, &vec![0; REACH]));
    bench.forget_tables();
    put_handler(
        bench,
        HANDLERS[0],
        ENDS[0],
        [MCAUSE, MTVAL, MEPC],
        MRET,
        MOST_TRAPS,
    );
    put_handler(
        bench,
        HANDLERS[1],
        ENDS[1],
        [SCAUSE, STVAL, SEPC],
        SRET,
        MOST_TRAPS,
    );
    let ticks = r.pick(&[300, 700, 1500]);
    put_timer_handler(bench, FIRST, HANDLERS[0], ticks);
    let satps = map_all(bench, r, level);
    let user = if level == 0 { USER } else { 0 };
    let entries = satps.map(|satp| {
        let root = (satp & 0xfff_ffff_ffff) << 12;
        bench.map(root, SWAPPED, VERSIONS[0], RX | ACCESSED | user)
    });
    put_versions(bench, r);
    let (code, data) = match level {
        3 => (CODE[0], DATA),
        _ => (VA, VA + 0x10_0000),
    };
    // Some programs begin near the end of their page.
    let at = code + r.pick(&[0, 0, 0, 0x800, 0xa00, 0xc00, 0xd00]);
    let mut body = Body {
        r,
        asm: Asm::at(at),
        supervisor: level == 1,
        entry: entries[0],
        physical: CODE[0].wrapping_sub(code),
        functions: Default::default(),
        depth: 0,
        left: 0,
        rank: 2,
    };
    let start = body.program();
    let bytes = body.asm.finish();
    assert!(at - code + bytes.len() as u64 <= 0x2000, "seed {seed}");
    let (first, second) = bytes.split_at(bytes.len().min((0x1000 - (at - code)) as usize));
    bench.put(CODE[0] + (at - code), first);
    let next = if level == 3 {
        CODE[0] + 0x1000
    } else {
        CODE[1]
    };
    bench.put(next, second);
    let noise: Vec<u8> = (0..0x1_0000).map(|_| r.next() as u8).collect();
    bench.put(DATA, &noise);
    bench.put(BASE, &prologue(r, level, start, satps, data));
    let mut before = vec![0; RAM_BYTES as usize];
    assert!(bench.ram.read(0, &mut before[..REACH]));
    let mut model = Model::new(3, before.clone());
    if !model.run_blocks(&ENDS, MOST_BLOCKS) {
        return false;
    }
    let want = visible(RiscvMachine::dump(&model.state).into_iter().collect());
    for run in 0..RUNS {
        if run > 0 {
            assert!(bench.ram.write(0, &before[..REACH]));
        }
        bench.reset();
        assert_eq!(bench.vcpus[0].run().expect("no failure"), Exit::Kicked);
        let got = visible(registers(&*bench.vcpus[0]));
        let differ: Vec<_> = want.iter().zip(&got).filter(|(a, b)| a != b).collect();
        assert!(
            differ.is_empty(),
            "seed {seed} run {run} level {level}: {differ:x?}"
        );
        let mut memory = vec![0; 0x1_0000];
        assert!(bench.ram.read(DATA - BASE, &mut memory));
        let mut expected = model.ram.borrow_mut();
        let expected = expected.slice(DATA, memory.len()).expect("RAM");
        let at = memory.iter().zip(&*expected).position(|(a, b)| a != b);
        assert_eq!(
            at, None,
            "seed {seed} run {run} level {level}: memory differs"
        );
    }
    true
}

#[test]
fn random_control_flow_does_what_the_interpreter_does() {
    for policy in POLICIES {
        let mut bench = Bench::new(Setup {
            level: 3,
            tier2: Tier2 {
                policy,
                code_bytes: 4 << 20,
                ..Tier2::default()
            },
            ..Setup::default()
        });
        let seeds = seeds(PROGRAMS);
        let count = seeds.end - seeds.start;
        let end = bench.ends_after(600);
        let ran = seeds.filter(|seed| try_one(&mut bench, *seed)).count() as u64;
        drop(end);
        let (recordings, regions) = {
            let stats = bench.tcg.stats();
            (stats.recordings, stats.regions)
        };
        println!("{policy:?}: {recordings} recordings, {regions} regions");
        assert!(
            ran * 10 > count * 8,
            "{policy:?}: only {ran} of {count} end"
        );
    }
}
