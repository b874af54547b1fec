//! What runs a region on the reference interpreter and on both tiers.

mod memory;

use super::common::{Left, Machine, Random};
use isomorph_baseline::{Compiled, ExitReason, Layout, Memory};
use isomorph_cranelift::{CompiledRegion, Compiler, Floats};
use isomorph_ir::interp::{Exit, FpEnv, Helpers, Interp};
use isomorph_ir::{Block, Global, GlobalTable, Inst, Op, Region, Temp, TrapKind, Type, Val};
use memory::{PAGE, Page, Shared};
use std::cell::RefCell;

const fn global(name: &'static str, ty: Type, offset: u32) -> Global {
    Global {
        name,
        ty,
        offset,
        rank: 255,
    }
}

/// The guest of `ir/tests/passes`, with registers of every type; none is in a host register.
pub static GUEST: GlobalTable = GlobalTable {
    globals: &[
        global("pc", Type::I64, 0),
        global("r1", Type::I64, 8),
        global("r2", Type::I64, 16),
        global("r3", Type::I64, 24),
        global("w1", Type::I32, 32),
        global("w2", Type::I32, 36),
        global("h1", Type::I16, 40),
        global("b1", Type::I8, 42),
        global("s1", Type::F32, 44),
        global("d1", Type::F64, 48),
        global("d2", Type::F64, 56),
        global("v1", Type::V128, 64),
        global("v2", Type::V128, 80),
    ],
    pc: Val::global(0),
};

/// Atomic accesses.
pub const ATOMICS: [Op; 5] = [
    Op::AtomicRmw,
    Op::Cas,
    Op::CasPair,
    Op::LoadReserved,
    Op::StoreCond,
];

/// Blocks that a run may take.
const FUEL: usize = 400;
/// Helpers that the files may call.
const HELPERS: usize = 4;

/// How guest memory is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At its own address; addresses are computed so that they lie in a page.
    Identity,
    /// Through the slow path, each access. All pages are one.
    Misses,
    /// Through a TLB that the slow path fills.
    Fills,
}

/// What a run begins with.
#[derive(Clone)]
pub struct Start {
    state: Vec<u8>,
    page: Vec<u8>,
    /// Number of the access that faults; 0: none.
    refuse: u32,
    flags: u8,
    rounding: u8,
}

/// Where control goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Pc(u64),
    Trap(TrapKind, u64, u64),
    Fault { pc: u64, address: u64 },
}

/// What a run shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    to: To,
    /// But for the pc.
    state: Vec<u8>,
    page: Vec<u8>,
    flags: u8,
    /// Address, bytes and value of each access that takes the slow path, if all do.
    accesses: Vec<(u64, u32, Option<u64>)>,
    calls: Vec<Call>,
}

impl Outcome {
    /// What of it is not as it should be.
    pub fn difference(&self, want: &Self) -> String {
        let mut text = format!("left for {:x?}, should {:x?}\n", self.to, want.to);
        let pairs = [(&self.state, &want.state, 8), (&self.page, &want.page, 0)];
        for (have, want, first) in pairs {
            let both = have.iter().zip(want).enumerate();
            for (n, (have, want)) in both.filter(|(_, (have, want))| have != want).take(16) {
                text += &format!("byte {:#x} is {have:#x}, should be {want:#x}\n", first + n);
            }
        }
        let rest = |o: &Self| format!("{:#x}, {:x?}, {:x?}", o.flags, o.accesses, o.calls);
        text + &format!("{}\nshould be\n{}", rest(self), rest(want))
    }
}

/// A call of a helper: its number, arguments, and the guest state that it saw.
type Call = (usize, [u64; 3], Vec<u8>);

/// A block that the interpreter ran.
pub struct Step {
    pub block: usize,
    pub start: Start,
    pub outcome: Outcome,
}

thread_local! {
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

/// Notes what it sees, and changes some of the state.
fn helper(number: usize, state: &mut [u8], args: [u64; 3]) -> u64 {
    let seen = state[8..].to_vec();
    CALLS.with_borrow_mut(|calls| calls.push((number, args, seen)));
    state[8 + number] = state[8 + number].wrapping_add(args[0] as u8 | 1);
    // Loops that count by it end.
    args[0].wrapping_mul(5).wrapping_add(number as u64) ^ args[1]
}

/// Bytes of guest state that helpers see: as many as both guests have.
const SEEN: usize = 96;

extern "C" fn compiled<const N: usize>(state: *mut u8, a: u64, b: u64, c: u64) -> u64 {
    // SAFETY: generated code hands over its own guest state and waits.
    let state = unsafe { std::slice::from_raw_parts_mut(state, SEEN) };
    helper(N, state, [a, b, c])
}

struct Noting;

impl Helpers for Noting {
    fn helper(&mut self, index: u32, state: &mut [u8], _: &mut FpEnv, args: [u64; 3]) -> u64 {
        helper(index as usize, &mut state[..SEEN], args)
    }

    fn counter(&mut self, _: u8) -> u64 {
        0
    }
}

fn calls() -> Vec<Call> {
    CALLS.take()
}

/// Runs the region on the interpreter; `None` if it takes too long.
pub fn lockstep(region: &Region, start: &Start, tiers: &Tiers) -> Option<(Vec<Step>, Outcome)> {
    let mut interp = Interp::new(tiers.table);
    interp.fp.flags.0 = start.flags;
    interp.fp.set_rounding(start.rounding.into());
    let (mut state, mut at) = (start.state.clone(), region.entry);
    let mut memory = Shared::new(tiers.base(), start.page.clone(), start.refuse);
    let mut steps: Vec<Step> = Vec::new();
    while steps.len() < FUEL {
        let here = Start {
            state: state.clone(),
            page: memory.page.clone(),
            refuse: memory.refuse,
            flags: interp.fp.flags.0,
            ..*start
        };
        let block = &region.blocks[at];
        let exit = interp.run(block, &mut state, &mut memory, &mut Noting);
        let exit = exit.expect("a state");
        let outcome = Outcome {
            to: to(exit),
            state: state[8..].to_vec(),
            page: memory.page.clone(),
            flags: interp.fp.flags.0,
            accesses: tiers.seen(std::mem::take(&mut memory.accesses)),
            calls: calls(),
        };
        steps.push(Step {
            block: at,
            start: here,
            outcome,
        });
        match next(region, at, exit) {
            Some(next) => at = next,
            None => return Some(whole(steps)),
        }
    }
    None
}

/// The steps, and what they show together.
fn whole(steps: Vec<Step>) -> (Vec<Step>, Outcome) {
    let last = steps.last().expect("a block").outcome.clone();
    let all = || steps.iter().map(|step| &step.outcome);
    let outcome = Outcome {
        accesses: all().flat_map(|o| o.accesses.clone()).collect(),
        calls: all().flat_map(|o| o.calls.clone()).collect(),
        ..last
    };
    (steps, outcome)
}

/// The block after block `at` of the region.
fn next(region: &Region, at: usize, exit: Exit) -> Option<usize> {
    let computed = |inst: &Inst| inst.op == Op::CallInd;
    match exit {
        Exit::Direct { pc } => region.successor(at, pc),
        Exit::Call { pc, .. } if !region.blocks[at].insts.iter().any(computed) => {
            region.successor(at, pc)
        }
        Exit::Call { pc, .. } | Exit::Indirect { pc, .. } => region.computed_successor(at, pc),
        Exit::Trap { .. } | Exit::Fault { .. } => None,
    }
}

fn to(exit: Exit) -> To {
    match exit {
        Exit::Trap { kind, pc, info } => To::Trap(kind, pc, info),
        Exit::Fault { pc, fault } => To::Fault {
            pc,
            address: fault.address,
        },
        other => To::Pc(other.pc()),
    }
}

/// Both tiers over one guest and one kind of memory.
pub struct Tiers {
    table: &'static GlobalTable,
    way: Way,
    m: Machine,
    compiler: Compiler,
    region: Option<CompiledRegion>,
    page: Page,
}

impl Tiers {
    pub fn new(table: &'static GlobalTable, way: Way) -> Self {
        let memory = match way {
            Way::Identity => Memory::Identity,
            Way::Misses | Way::Fills => Memory::Tlb {
                bits: memory::BITS,
                longest: 4,
            },
        };
        let layout = Layout {
            globals: table,
            memory,
        };
        let helpers: [extern "C" fn(*mut u8, u64, u64, u64) -> u64; HELPERS] =
            [compiled::<0>, compiled::<1>, compiled::<2>, compiled::<3>];
        let helpers = helpers.iter().map(|&h| h as *const () as usize);
        let mut m = Machine::with_layout(helpers.collect(), layout);
        // As it is made, the jump cache has an entry for 1, which a computed jump may lead to.
        m.cache(1 << 63, 0);
        let page = Page::new(m.header());
        let mut compiler = Compiler::new(layout, Floats::Call).expect("a compiler");
        compiler.alone(true);
        Self {
            table,
            way,
            m,
            compiler,
            region: None,
            page,
        }
    }

    pub fn table(&self) -> &'static GlobalTable {
        self.table
    }

    /// Where the page is if that matters.
    fn base(&self) -> Option<u64> {
        (self.way == Way::Identity).then(|| self.page.address())
    }

    /// What is seen of accesses.
    fn seen(&self, accesses: memory::Accesses) -> memory::Accesses {
        match self.way {
            Way::Misses => accesses,
            Way::Identity | Way::Fills => Vec::new(),
        }
    }

    /// The region as it can be run: all its accesses in the page.
    pub fn prepared(&self, region: &Region) -> Region {
        let Some(base) = self.base() else {
            return region.clone();
        };
        let mut region = region.clone();
        // Accesses are no longer off one base.
        region.reprobes.clear();
        region
            .blocks
            .iter_mut()
            .for_each(|block| confine(block, base));
        assert_eq!(region.verify(self.table), Ok(()));
        region
    }

    pub fn start(&mut self, region: &Region, seed: u64) -> Start {
        let mut r = Random(seed << 20);
        let words = self.m.state().len();
        let mut word = || match r.below(4) {
            0 => r.next(),
            1 => r.next() as i8 as u64,
            2 => region.blocks[r.below(region.blocks.len())].pc,
            _ => r.below(20) as u64,
        };
        let mut state: Vec<u8> = (0..words).flat_map(|_| word().to_le_bytes()).collect();
        state[..8].copy_from_slice(&region.blocks[region.entry].pc.to_le_bytes());
        Start {
            state,
            page: (0..PAGE).map(|_| r.next() as u8).collect(),
            refuse: match self.way {
                Way::Misses => r.below(30) as u32,
                Way::Identity | Way::Fills => 0,
            },
            flags: r.below(32) as u8,
            rounding: r.below(4) as u8,
        }
    }

    /// Compiles a region for tier 2.
    pub fn compile(&mut self, region: &Region) {
        let compiled = self.compiler.compile(region);
        let text = || region.text(self.table).to_string();
        let compiled = compiled.unwrap_or_else(|e| panic!("{e}\n{}", text()));
        self.region = Some(compiled);
    }

    /// Runs the region that was compiled. `want` tells how long traces may be.
    pub fn region(&mut self, start: &Start, want: &Outcome) -> Outcome {
        let region = self.region.as_ref().expect("a region");
        let mut out = Compiled::default();
        region.place(self.m.runtime(), self.m.block_address(), 0, &mut out);
        self.m.put(out, 0);
        self.run(start, want)
    }

    /// Runs a block on tier 1; `None` if it has what only regions have.
    pub fn block(&mut self, block: &Block, start: &Start, want: &Outcome) -> Option<Outcome> {
        let local = |i: &Inst| [i.d, i.d2, i.a, i.b, i.c, i.e].map(Val::as_local);
        if block.insts.iter().flat_map(local).any(|n| n.is_some()) {
            return None;
        }
        let text = || block.text(self.table).to_string();
        let loaded = self.m.load(block);
        loaded.unwrap_or_else(|e| panic!("{e}\n{}", text()));
        Some(self.run(start, want))
    }

    fn run(&mut self, start: &Start, want: &Outcome) -> Outcome {
        self.m.reset();
        for (word, bytes) in self.m.state().iter_mut().zip(start.state.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        }
        self.m.set_fp(start.flags, start.rounding);
        let most = want.accesses.len();
        self.page
            .begin(&start.page, start.refuse, self.way == Way::Fills, most);
        let left = self.m.run();
        let (page, accesses) = self.page.end();
        let words = self.m.state()[1..].iter();
        let state = words.flat_map(|w| w.to_le_bytes()).collect();
        Outcome {
            to: self.to(left),
            state,
            page,
            flags: self.m.fp_flags(),
            accesses: self.seen(accesses),
            calls: calls(),
        }
    }

    fn to(&self, left: Left) -> To {
        match left.reason {
            ExitReason::Edge => To::Pc(self.m.compiled.edges[left.payload as usize].target),
            ExitReason::Indirect => To::Pc(left.pc),
            ExitReason::Trap => {
                let kind = TrapKind::from_u8(left.payload as u8).expect("a trap");
                To::Trap(kind, left.pc, left.info)
            }
            ExitReason::Fault => To::Fault {
                pc: left.pc,
                address: left.info,
            },
            ExitReason::Irq => panic!("nobody interrupts"),
        }
    }
}

/// Computes the addresses of all accesses so that they lie in the page at `base`.
fn confine(block: &mut Block, base: u64) {
    let insts = std::mem::take(&mut block.insts);
    for mut inst in insts {
        let plain = matches!(inst.op, Op::Load | Op::Store);
        let atomic = ATOMICS.contains(&inst.op);
        if plain || atomic {
            // What is atomic is aligned, and nothing reaches over the page's end.
            let mask = if plain { 0xfef } else { 0xff0 };
            let disp = if plain { inst.imm as u64 } else { 0 };
            let mut address = inst.a;
            for (op, number) in [(Op::Add, disp), (Op::And, mask), (Op::Add, base)] {
                address = append(block, op, address, number);
            }
            inst.a = address;
            if plain {
                inst.imm = 0;
            }
        }
        block.insts.push(inst);
    }
}

/// Appends `a op number`.
fn append(block: &mut Block, op: Op, a: Val, number: u64) -> Val {
    block.consts.push(number);
    block.temps.push(Temp {
        ty: Type::I64,
        uses: 1,
    });
    let d = Val::temp(block.temps.len() as u16 - 1);
    let b = Val::constant(block.consts.len() as u16 - 1);
    let inst = Inst {
        d,
        a,
        b,
        ..Inst::new(op, Type::I64)
    };
    block.insts.push(inst);
    d
}
