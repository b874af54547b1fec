//! Random blocks on an engine and on the reference interpreter.

use super::blocks::{BUFFER, build, double, word};
use super::paging::{BITS, Paging, addend};
use super::{FLOATS, INTS, Left, Machine, Random, TABLE, disassemble};
use isomorph_baseline::{ExitReason, Memory};
use isomorph_ir::interp::{Exit, FlatMemory, FpEnv, Helpers, Interp};
use isomorph_ir::{Block, Builder, JumpKind, TrapKind};

/// A guest without helpers.
pub struct NoHelpers;

impl Helpers for NoHelpers {
    fn helper(&mut self, _: u32, _: &mut [u8], _: &mut FpEnv, _: [u64; 3]) -> u64 {
        0
    }

    fn counter(&mut self, _: u8) -> u64 {
        0
    }
}

/// The exit as the interpreter would describe it.
pub fn as_exit(m: &Machine, left: Left) -> Exit {
    match left.reason {
        ExitReason::Edge => Exit::Direct {
            pc: m.compiled.edges[left.payload as usize].target,
        },
        ExitReason::Indirect => Exit::Indirect {
            pc: left.pc,
            kind: JumpKind::Jump,
        },
        ExitReason::Trap => Exit::Trap {
            kind: TrapKind::from_u8(left.payload as u8).expect("a trap"),
            pc: left.pc,
            info: left.info,
        },
        other => panic!("left by {other:?}"),
    }
}

/// Memory for blocks.
#[repr(align(16))]
pub struct Aligned(pub [u8; 2 * BUFFER]);

/// A number from the environment, or else `usual`.
pub fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(usual)
}

/// The exit that the interpreter took, as generated code takes it: with pages, a direct exit to
/// another page is looked up, too.
pub fn expected_exit(exit: Exit, left: &Left, paged: bool) -> Exit {
    match exit {
        Exit::Direct { pc } if left.reason == ExitReason::Indirect => {
            assert!(
                paged && pc >> 12 != 1,
                "an exit within the page was looked up"
            );
            let kind = JumpKind::Jump;
            Exit::Indirect { pc, kind }
        }
        exit => exit,
    }
}

/// Runs random blocks that `load` puts in place, if it can; they have to do as the interpreter
/// says. Gives the number of those that were run.
pub fn run_rounds<E: std::fmt::Display>(
    rounds: u64,
    kinds: usize,
    paged: bool,
    mut load: impl FnMut(&mut Machine, &Block) -> Result<bool, E>,
) -> u64 {
    let mut ran = 0;
    let seed = setting("ISOMORPH_SEED", 0x15_0501);
    let rounds = setting("ISOMORPH_ROUNDS", rounds);
    println!("ISOMORPH_SEED={seed}");
    let memory = if paged {
        Memory::Tlb {
            bits: BITS,
            longest: 4,
        }
    } else {
        Memory::Identity
    };
    let mut m = Machine::with_memory(Vec::new(), memory);
    let mut paging = Paging::new(&mut m);
    let mut b = Builder::new(&TABLE);
    let mut buffer = Box::new(Aligned([0; 2 * BUFFER]));
    let host = buffer.0.as_ptr() as u64;
    // The middle of the buffer is where a page ends.
    let address = if paged { 0x12_3456_7f80 } else { host };
    let place = |n: usize| match paged {
        true => n + addend(0, address + n as u64) as usize,
        false => n,
    };
    for round in 0..rounds {
        let mut r = Random(seed.wrapping_add(round << 20));
        build(&mut r, &mut b, address, kinds);
        let block = b.block();
        let text = || block.text(&TABLE).to_string();
        match load(&mut m, block) {
            Ok(true) => ran += 1,
            Ok(false) => continue,
            Err(e) => panic!("round {round}: {e}\n{}", text()),
        }
        let mut memory = FlatMemory::new(address, BUFFER);
        for byte in &mut memory.bytes {
            *byte = r.next() as u8;
        }
        for (n, byte) in memory.bytes.iter().enumerate() {
            buffer.0[place(n)] = *byte;
        }
        if paged {
            paging.host = host.wrapping_sub(address);
            paging.keep = r.below(2) == 0;
            paging.fill_some(address, &mut r);
        }
        let mut state: Vec<u64> = (0..=INTS).map(|_| word(&mut r)).collect();
        state.extend((0..FLOATS).map(|_| double(&mut r)));
        state[0] = 0;
        m.state().copy_from_slice(&state);
        let (flags, rounding) = (r.below(32) as u8, r.below(4) as u8);
        m.set_fp(flags, rounding);
        if std::env::var_os("ISOMORPH_TRACE").is_some() {
            eprintln!("round {round}\n{}", text());
            eprintln!("{}", disassemble(&m.compiled.code, m.block_address()));
        }
        let left = m.run();
        let mut interp = Interp::new(&TABLE);
        interp.fp.flags.0 = flags;
        interp.fp.set_rounding(rounding.into());
        let mut bytes: Vec<u8> = state.iter().flat_map(|w| w.to_le_bytes()).collect();
        let exit = interp
            .run(block, &mut bytes, &mut memory, &mut NoHelpers)
            .expect("state");
        let want: Vec<u64> = bytes
            .chunks(8)
            .map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes")))
            .collect();
        let exit = expected_exit(exit, &left, paged);
        assert_eq!(as_exit(&m, left), exit, "round {round}\n{}", text());
        for n in 1..want.len() {
            let name = TABLE.globals[n].name;
            let (before, got) = (state[n], m.state()[n]);
            assert_eq!(
                got,
                want[n],
                "round {round}: {name} was {before:#x}, is {got:#x}, should be {:#x}\n{}",
                want[n],
                text()
            );
        }
        assert!(
            (0..BUFFER).all(|n| buffer.0[place(n)] == memory.bytes[n]),
            "round {round}: memory differs\n{}",
            text()
        );
        assert_eq!(
            m.fp_flags(),
            interp.fp.flags.0,
            "round {round}: flags\n{}",
            text()
        );
    }
    ran
}
