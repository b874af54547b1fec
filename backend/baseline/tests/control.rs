//! Control between blocks: edges, calls and returns, the jump cache, traps, interrupts, helpers.

mod common;

use common::{Machine, TABLE, x};
use isomorph_baseline::{ExitReason, GUEST_OFFSET, Header};
use isomorph_ir::{Builder, Cond, Dst, JumpKind, MemOp, Op, TrapKind, Type, Val};

const I64: Type = Type::I64;
/// Where tests put a second block.
const SECOND: usize = 4096;

fn builder(pc: u64) -> Builder {
    let mut b = Builder::new(&TABLE);
    b.start(pc, 0);
    b.insn_start(pc);
    b
}

/// `x[n] += by`.
fn bump(b: &mut Builder, n: usize, by: u64) {
    let by = b.c(by);
    b.add(I64, Dst::To(x(n)), x(n), by);
}

/// A caller at 0x1000 whose return point 0x1004 adds 1 to x2 and leaves for 0x1008.
fn caller(target: Option<Val>) -> Builder {
    let mut b = builder(0x1000);
    b.constant(I64, Dst::To(x(0)), 0x1004);
    match target {
        Some(to) => b.call_indirect(to, 0x1004),
        None => b.call(0x2000, 0x1004),
    }
    b.insn_start(0x1004);
    bump(&mut b, 2, 1);
    b.exit(0x1008);
    b
}

/// A callee at 0x2000: adds 10 to x2 and returns to x0.
fn callee() -> Builder {
    let mut b = builder(0x2000);
    bump(&mut b, 2, 10);
    b.jump(JumpKind::Ret, x(0));
    b
}

fn machine() -> Machine {
    let mut m = Machine::new(Vec::new());
    m.state().fill(0);
    m
}

#[test]
fn a_linked_call_returns_inline() {
    let mut m = machine();
    m.load_at(callee().block(), SECOND).expect("compiles");
    let callee_fast = m.block_address() + SECOND as u64 + u64::from(m.compiled.fast_entry);
    m.load(caller(None).block()).expect("compiles");
    assert!(m.compiled.edges[0].call);
    assert!(!m.compiled.edges[0].polled);
    let left = m.run();
    assert_eq!((left.reason, left.payload), (ExitReason::Edge, 0));
    assert_eq!(m.depth(), 1, "the return point stays on the stack");
    // The callee, entered by the engine, finds the way back.
    let left = m.enter(callee_fast);
    assert_eq!((left.reason, left.payload), (ExitReason::Edge, 1));
    assert_eq!((m.state()[3], m.depth()), (11, 0));
    m.link(0, callee_fast);
    let left = m.run();
    assert_eq!((left.reason, left.payload), (ExitReason::Edge, 1));
    assert_eq!((m.state()[3], m.depth()), (22, 0));
}

#[test]
fn a_stale_landing_is_refused() {
    let mut m = machine();
    m.load_at(callee().block(), SECOND).expect("compiles");
    let callee_fast = m.block_address() + SECOND as u64 + u64::from(m.compiled.fast_entry);
    m.load(caller(None).block()).expect("compiles");
    m.link(0, callee_fast);
    let landing = m.compiled.landings[0];
    assert_eq!(landing.ret_pc, 0x1004);
    m.write_word(landing.cell, 1);
    let left = m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Indirect, 0x1004));
    assert_eq!(m.state()[3], 10);
}

#[test]
fn a_return_to_elsewhere_goes_there() {
    let mut m = machine();
    let mut b = builder(0x2000);
    b.constant(I64, Dst::To(x(0)), 0x5000);
    let unknown = b.load(I64, MemOp::U64, Dst::Temp, x(1), 0);
    b.jump(JumpKind::Ret, unknown);
    m.load_at(b.block(), SECOND).expect("compiles");
    let callee_fast = m.block_address() + SECOND as u64 + u64::from(m.compiled.fast_entry);
    m.load(caller(None).block()).expect("compiles");
    m.link(0, callee_fast);
    let cell = Box::new(0x7000_u64);
    m.state()[2] = &raw const *cell as u64;
    let left = m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Indirect, 0x7000));
}

#[test]
fn an_empty_return_stack_ends_at_the_sentinel() {
    let mut m = machine();
    m.load(callee().block()).expect("compiles");
    m.state()[1] = 0x7000;
    for _ in 0..3 {
        let left = m.run();
        assert_eq!((left.reason, left.pc), (ExitReason::Indirect, 0x7000));
        assert_eq!(m.depth(), 0);
    }
}

#[test]
fn an_indirect_call_uses_the_jump_cache() {
    let mut m = machine();
    m.load_at(callee().block(), SECOND).expect("compiles");
    let callee_entry = m.block_address() + SECOND as u64;
    m.load(caller(Some(x(3))).block()).expect("compiles");
    m.state()[4] = 0x2000;
    let left = m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Indirect, 0x2000));
    assert_eq!(m.depth(), 1);
    let left = m.enter(callee_entry);
    assert_eq!((left.reason, left.payload), (ExitReason::Edge, 0));
    assert_eq!((m.state()[3], m.depth()), (11, 0));
    m.cache(0x2000, callee_entry);
    let left = m.run();
    assert_eq!((left.reason, left.payload), (ExitReason::Edge, 0));
    assert_eq!((m.state()[3], m.depth()), (22, 0));
}

#[test]
fn an_interrupt_stops_a_linked_loop() {
    let mut m = machine();
    let mut b = builder(0x1000);
    bump(&mut b, 0, 1);
    b.exit_if(I64, Cond::Ne, x(0), x(1), 0x1000);
    b.exit(0x1004);
    m.load(b.block()).expect("compiles");
    assert!(m.compiled.edges[0].polled);
    let entry = m.block_address();
    m.link(0, entry);
    m.state()[2] = 1000;
    let left = m.run();
    assert_eq!((left.reason, left.payload), (ExitReason::Edge, 1));
    assert_eq!(m.state()[1], 1000);
    m.interrupt(true);
    let left = m.run();
    assert_eq!((left.reason, left.pc), (ExitReason::Irq, 0x1000));
    assert_eq!(m.state()[1], 1000);
    // The fast entry does not ask.
    let fast = entry + u64::from(m.compiled.fast_entry);
    let left = m.enter(fast);
    assert_eq!(left.reason, ExitReason::Irq);
    assert_eq!(m.state()[1], 1001);
}

#[test]
fn traps_carry_pc_and_information() {
    let mut m = machine();
    let mut b = builder(0x1000);
    let c = b.c(7);
    b.trap_if(Cond::GtU, x(0), c, TrapKind::Illegal, 0x1000, x(13));
    b.trap(TrapKind::Syscall, 0x1002, Val::NONE);
    m.load(b.block()).expect("compiles");
    let left = m.run();
    assert_eq!(
        (left.reason, left.payload),
        (ExitReason::Trap, TrapKind::Syscall as u64)
    );
    assert_eq!((left.pc, left.info), (0x1002, 0));
    m.state()[1] = 8;
    m.state()[14] = 0xdead;
    let left = m.run();
    assert_eq!(
        (left.reason, left.payload),
        (ExitReason::Trap, TrapKind::Illegal as u64)
    );
    assert_eq!((left.pc, left.info), (0x1000, 0xdead));
}

#[test]
fn misaligned_atomics_trap() {
    let mut m = machine();
    let mut b = builder(0x1000);
    let mem = MemOp::U64.with_alignment();
    b.load_reserved(I64, mem, Dst::To(x(1)), x(0));
    b.exit(0x1004);
    m.load(b.block()).expect("compiles");
    let word = Box::new([5_u64, 6]);
    let at = &raw const *word as u64;
    m.state()[1] = at + 4;
    let left = m.run();
    assert_eq!(
        (left.reason, left.payload),
        (ExitReason::Trap, TrapKind::Misaligned as u64)
    );
    assert_eq!((left.pc, left.info), (0x1000, at + 4));
    m.state()[1] = at;
    assert_eq!(m.run().reason, ExitReason::Edge);
    assert_eq!(m.state()[2], 5);
}

extern "C" fn helper(state: *mut u64, a: u64, b: u64, c: u64) -> u64 {
    // SAFETY: generated code passes the guest state, which has more than three words.
    unsafe { *state.add(1) += 1 };
    a * 100 + b * 10 + c
}

#[test]
fn helpers_see_and_change_the_state() {
    let mut m = Machine::new(vec![0, helper as *const () as usize]);
    m.state().fill(0);
    let mut b = builder(0x1000);
    bump(&mut b, 0, 5);
    let kept = b.binary(Op::Mul, I64, Dst::Temp, x(0), x(0));
    let two = b.c(2);
    b.helper(1, Dst::To(x(2)), [x(1), two, Val::NONE]);
    b.add(I64, Dst::To(x(3)), kept, x(0));
    b.exit(0x1004);
    m.load(b.block()).expect("compiles");
    m.state()[2] = 3;
    assert_eq!(m.run().reason, ExitReason::Edge);
    assert_eq!(m.state()[1], 6);
    assert_eq!(m.state()[3], 320);
    assert_eq!(m.state()[4], 31);
}

#[test]
fn the_header_is_what_the_code_expects() {
    assert_eq!(size_of::<Header>(), GUEST_OFFSET);
    assert_eq!(isomorph_baseline::host_supported(), Ok(()));
}
