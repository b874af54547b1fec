//! Runs a region before and after passes on the same random states and compares what can be seen.

use super::super::{Cfg, Context, Faults};
use crate::Region;
use crate::interp::{Exit, FpEnv, Helpers, Interp, MemFault, Memory};
use crate::testing::{Random, STATE_LEN, TABLE};
use crate::{Order, TrapKind};

/// Bytes of memory; addresses wrap around.
const MEMORY_LEN: usize = 512;

/// Memory that is everywhere, and refuses one access of the run.
#[derive(Clone, Debug, PartialEq)]
struct Wrapped {
    bytes: Vec<u8>,
    /// The access to refuse, counted down.
    refuse: u32,
    /// Each access: address, bytes, order and, for stores, the value.
    trace: Vec<(u64, u32, Order, Option<u128>)>,
}

impl Wrapped {
    fn access(&mut self, entry: (u64, u32, Order, Option<u128>)) -> Result<(), MemFault> {
        self.trace.push(entry);
        self.refuse = self.refuse.wrapping_sub(1);
        match self.refuse {
            0 => Err(MemFault {
                address: entry.0,
                write: entry.3.is_some(),
            }),
            _ => Ok(()),
        }
    }

    fn byte(&mut self, address: u64, i: u32) -> &mut u8 {
        let at = address.wrapping_add(i.into()) as usize % MEMORY_LEN;
        &mut self.bytes[at]
    }
}

impl Memory for Wrapped {
    fn load(&mut self, address: u64, bytes: u32, order: Order) -> Result<u128, MemFault> {
        self.access((address, bytes, order, None))?;
        let byte = |value, i| value << 8 | u128::from(*self.byte(address, i));
        Ok((0..bytes).rev().fold(0, byte))
    }

    fn store(&mut self, at: u64, bytes: u32, order: Order, value: u128) -> Result<(), MemFault> {
        self.access((at, bytes, order, Some(value)))?;
        (0..bytes).for_each(|i| *self.byte(at, i) = (value >> (8 * i)) as u8);
        Ok(())
    }

    fn cas(
        &mut self,
        address: u64,
        bytes: u32,
        order: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault> {
        let old = self.load(address, bytes, order)?;
        if old == expected {
            self.store(address, bytes, order, new)?;
        }
        Ok(old)
    }

    fn fence(&mut self, order: Order) {
        self.trace.push((0, 0, order, None));
    }
}

/// Helpers that see the whole guest state and change some of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    calls: Vec<(u32, [u64; 3], Vec<u8>)>,
    time: u64,
}

impl Helpers for Seen {
    fn helper(&mut self, index: u32, state: &mut [u8], _: &mut FpEnv, args: [u64; 3]) -> u64 {
        self.calls.push((index, args, state[8..].to_vec()));
        let at = 8 + index as usize % (STATE_LEN - 8);
        state[at] = state[at].wrapping_add(args[0] as u8 | 1);
        args[1] ^ u64::from(index)
    }

    fn counter(&mut self, _: u8) -> u64 {
        self.time += 3;
        self.time
    }
}

/// What a run shows.
#[derive(Debug, PartialEq)]
struct Outcome {
    exit: Exit,
    state: Vec<u8>,
    memory: Wrapped,
    helpers: Seen,
    fp: FpEnv,
    insns: u64,
}

fn run(region: &Region, heads: &[bool], seed: u64, faults: Faults) -> Outcome {
    let mut random = Random(seed);
    let mut interp = Interp::new(&TABLE);
    let mut state: Vec<u8> = (0..STATE_LEN / 8)
        .flat_map(|_| random.number().to_le_bytes())
        .collect();
    state[..8].copy_from_slice(&region.blocks[region.entry].pc.to_le_bytes());
    let mut memory = Wrapped {
        bytes: (0..MEMORY_LEN).map(|_| random.next() as u8).collect(),
        refuse: random.below(40) as u32,
        trace: Vec::new(),
    };
    let mut helpers = Seen::default();
    let mut fuel = 30;
    let mut blocks = 0;
    let stop = |block: usize| {
        blocks += 1;
        assert!(
            blocks < 10_000,
            "a loop without a head\n{}",
            region.text(&TABLE)
        );
        fuel -= i32::from(heads.get(block) == Some(&true));
        fuel < 0
    };
    let exit = interp
        .run_region(region, &mut state, &mut memory, &mut helpers, stop)
        .unwrap();
    // A computed jump with a known target becomes a direct exit.
    let exit = match exit {
        Exit::Indirect { pc, .. } => Exit::Direct { pc },
        exit => exit,
    };
    let misaligned = TrapKind::Misaligned;
    let access = matches!(exit, Exit::Fault { .. })
        || matches!(exit, Exit::Trap { kind, .. } if kind == misaligned);
    if access && faults == Faults::Recovered {
        state.clear();
    }
    Outcome {
        exit,
        state,
        memory,
        helpers,
        fp: interp.fp,
        insns: interp.insns,
    }
}

/// That both regions do the same from many random states.
pub fn same(before: &Region, after: &Region, context: &Context, seed: u64, runs: u64) {
    // An interrupt may come at the loop heads that are left, except at a block of the passes.
    let cfg = Cfg::new(after);
    let polled = |n: usize| {
        let before = after.preheaders.iter().filter(|p| p.head == n);
        cfg.is_loop_head(n) || before.map(|p| p.block).any(|p| cfg.is_loop_head(p))
    };
    let heads: Vec<bool> = (0..before.blocks.len()).map(polled).collect();
    for i in 0..runs {
        let seed = seed.wrapping_mul(1000).wrapping_add(i) | 1 << 40;
        let want = run(before, &heads, seed, context.faults);
        let have = run(after, &heads, seed, context.faults);
        let short = |o: &Outcome| (o.exit, o.state.clone(), o.memory.trace.clone());
        assert!(
            want == have,
            "seed {seed:#x}\nbefore\n{}\nafter\n{}\nwant {:?}\nhave {:?}",
            before.text(&TABLE),
            after.text(&TABLE),
            short(&want),
            short(&have),
        );
    }
}
