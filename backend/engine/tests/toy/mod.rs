//! A guest of eight instructions, enough to drive the engine without a real front end.
//!
//! An instruction is 4 bytes: opcode, d, then 16 bits `imm` (or a, b as bytes).

#![allow(dead_code, reason = "each test uses a part of it")]

use isomorph_engine::{CodeSource, Config, Engine, Guest, Vcpu};
use isomorph_frontend::{Helper, Step};
use isomorph_ir::{
    Builder, Cond, Dst, Global, GlobalTable, JumpKind, MemOp, Op, TrapKind, Type, Val,
};
use std::sync::{Arc, Mutex};

/// Registers: r0 … r7 and the pc.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct State {
    pub r: [u64; 8],
    pub pc: u64,
}

const fn register(n: u32, name: &'static str) -> Global {
    // r6 and r7 stay in memory, to cover unmapped globals.
    Global {
        name,
        ty: Type::I64,
        offset: n * 8,
        rank: if n < 6 { n as u8 } else { 255 },
    }
}

static GLOBALS: &[Global] = &[
    register(0, "r0"),
    register(1, "r1"),
    register(2, "r2"),
    register(3, "r3"),
    register(4, "r4"),
    register(5, "r5"),
    register(6, "r6"),
    register(7, "r7"),
    Global {
        name: "pc",
        ty: Type::I64,
        offset: 64,
        rank: 255,
    },
];
static TABLE: GlobalTable = GlobalTable {
    globals: GLOBALS,
    pc: Val::global(8),
};

/// r7 is the link register.
pub const LINK: u8 = 7;

/// An instruction as its 4 bytes.
pub type Insn = [u8; 4];

pub fn addi(d: u8, imm: i16) -> Insn {
    let [lo, hi] = imm.to_le_bytes();
    [1, d, lo, hi]
}

pub fn add(d: u8, a: u8, b: u8) -> Insn {
    [2, d, a, b]
}

/// Branch to `offset` instructions from here if d != 0.
pub fn bnez(d: u8, offset: i16) -> Insn {
    let [lo, hi] = offset.to_le_bytes();
    [3, d, lo, hi]
}

/// Call `offset` instructions from here.
pub fn call(offset: i16) -> Insn {
    let [lo, hi] = offset.to_le_bytes();
    [4, 0, lo, hi]
}

pub fn ret(a: u8) -> Insn {
    [5, a, 0, 0]
}

pub fn load(d: u8, a: u8) -> Insn {
    [6, d, a, 0]
}

pub fn store(b: u8, a: u8) -> Insn {
    [7, b, a, 0]
}

pub fn ecall() -> Insn {
    [8, 0, 0, 0]
}

pub fn fence_i() -> Insn {
    [9, 0, 0, 0]
}

/// Calls through register a.
pub fn call_register(a: u8) -> Insn {
    [10, a, 0, 0]
}

pub struct Toy;

impl Guest for Toy {
    type State = State;
    const NAME: &'static str = "toy";
    const INSN_ALIGN: u64 = 4;
    const INSN_MAX: u64 = 4;

    fn globals() -> &'static GlobalTable {
        &TABLE
    }
    fn helpers() -> &'static [Helper<State>] {
        &[]
    }
    fn new_state(&self) -> State {
        State { r: [0; 8], pc: 0 }
    }
    fn pc(state: &State) -> u64 {
        state.pc
    }
    fn set_pc(state: &mut State, pc: u64) {
        state.pc = pc;
    }
    fn mode(_: &State) -> u32 {
        0
    }
    fn rounding(_: &State) -> u8 {
        0
    }
    fn fp_flags(_: &State) -> u8 {
        0
    }
    fn set_fp_flags(_: &mut State, _: u8) {}

    fn translate(&self, b: &mut Builder, pc: u64, window: &[u8], _: u32) -> Step {
        let [op, d, x, y, ..] = *window else {
            return Step::Short { need: 4 };
        };
        let imm = i64::from(i16::from_le_bytes([x, y]));
        let r = |n: u8| Val::global(u16::from(n & 7));
        let target = pc.wrapping_add((imm * 4) as u64);
        let next = pc + 4;
        match op {
            1 => {
                let c = b.c(imm as u64);
                b.add(Type::I64, Dst::To(r(d)), r(d), c);
            }
            2 => {
                b.add(Type::I64, Dst::To(r(d)), r(x), r(y));
            }
            3 => {
                let zero = b.c(0);
                b.exit_if(Type::I64, Cond::Ne, r(d), zero, target);
            }
            4 => {
                b.constant(Type::I64, Dst::To(r(LINK)), next);
                b.call(target, next);
            }
            5 => b.jump(JumpKind::Ret, r(d)),
            6 => {
                b.load(Type::I64, MemOp::U64, Dst::To(r(d)), r(x), 0);
            }
            7 => b.store(Type::I64, MemOp::U64, r(d), r(x), 0),
            8 => b.trap(TrapKind::Syscall, pc, Val::NONE),
            9 => b.trap(TrapKind::InsnSync, next, Val::NONE),
            10 => {
                let zero = b.c(0);
                let target = b.binary(Op::Add, Type::I64, Dst::Temp, r(d), zero);
                b.constant(Type::I64, Dst::To(r(LINK)), next);
                b.call_indirect(target, next);
            }
            _ => b.trap(TrapKind::Illegal, pc, Val::NONE),
        }
        if b.ended() {
            Step::End { len: 4 }
        } else {
            Step::Next { len: 4 }
        }
    }

    fn disassemble(&self, _: u64, _: &[u8], out: &mut String) -> u32 {
        out.push_str("toy");
        4
    }
}

/// Guest code, at `BASE`.
#[derive(Clone, Default)]
pub struct Code(pub Arc<Mutex<Vec<u8>>>);

pub const BASE: u64 = 0x10000;

impl Code {
    pub fn set(&self, at: usize, insns: &[Insn]) {
        let mut bytes = self.0.lock().expect("code");
        let end = (at + insns.len()) * 4;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at * 4..end].copy_from_slice(insns.as_flattened());
    }
}

impl CodeSource for Code {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let bytes = self.0.lock().expect("code");
        let Some(tail) = pc.checked_sub(BASE).and_then(|at| bytes.get(at as usize..)) else {
            return 0;
        };
        let n = tail.len().min(out.len());
        out[..n].copy_from_slice(&tail[..n]);
        n
    }

    fn may_change(&self, _: u64) -> bool {
        true
    }
}

pub fn engine(insns: &[Insn], config: Config) -> (Arc<Engine<Toy>>, Code) {
    install_handler();
    let code = Code::default();
    code.set(0, insns);
    (
        Engine::new(Toy, config, Box::new(code.clone())).expect("engine"),
        code,
    )
}

pub fn vcpu(engine: &Arc<Engine<Toy>>) -> Vcpu<Toy> {
    use_signal_stack();
    engine
        .new_vcpu(State {
            r: [0; 8],
            pc: BASE,
        })
        .expect("vcpu")
}

extern "C" fn on_fault(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: installed below with SA_SIGINFO | SA_ONSTACK; the arguments are the kernel's.
    if !unsafe { isomorph_engine::handle_host_signal(signo, info, context) } {
        std::process::abort();
    }
}

fn install_handler() {
    // SAFETY: a zeroed sigaction is a valid start, and the handler has the SA_SIGINFO signature.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(
            libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()),
            0
        );
    }
}

/// Rust's threads have a small signal stack; give this one room.
fn use_signal_stack() {
    let stack = Box::leak(vec![0u8; 64 << 10].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: 64 << 10,
    };
    // SAFETY: the stack is leaked, so it outlives the thread.
    let set = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

/// Counts r0 down from `count` and sums it up in r1, in two blocks.
pub fn sum(count: i16) -> Vec<Insn> {
    vec![
        addi(0, count),
        add(1, 1, 0),
        bnez(6, 2), // never: r6 is 0
        addi(0, -1),
        bnez(0, -3),
        ecall(),
    ]
}
