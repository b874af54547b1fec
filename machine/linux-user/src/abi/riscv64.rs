//! riscv64 Linux: registers of a system call, signal frames, the auxiliary vector.

use crate::cpu::State;
use crate::errno::{Errno, SysResult};
use crate::syscall::uaccess;
use crate::task::Task;
use isomorph_riscv::HwprobeMachine;

/// `e_machine` of executables (psABI, "ELF Object Files").
pub const ELF_MACHINE: u16 = 243;
/// `e_flags` of our vDSO: compressed instructions, double-float ABI.
pub const ELF_FLAGS: u32 = 5;
/// `uname -m`.
pub const UNAME_MACHINE: &str = "riscv64";
/// Bytes of address space: sv39 gives user programs half of 2^39.
pub const SV39_CEILING: u64 = 1 << 38;
/// Bytes of address space with sv48.
pub const SV48_CEILING: u64 = 1 << 47;
/// Length of `ecall`.
pub const SYSCALL_INSN_LEN: u64 = 4;
/// Number of the system call that ends a signal handler.
pub const RT_SIGRETURN: u64 = 139;
/// Least size of an alternate signal stack (`AT_MINSIGSTKSZ`): a frame and a half.
pub const MINSIGSTKSZ: u64 = 2048;

const RA: usize = 1;
const SP: usize = 2;
const TP: usize = 4;
const A0: usize = 10;
const A7: usize = 17;

/// Number and arguments of the system call that the registers ask for (psABI: a7, a0–a5).
#[must_use]
pub fn syscall_args(state: &State) -> (u64, [u64; 6]) {
    let x = &state.x;
    (
        x[A7],
        [x[A0], x[A0 + 1], x[A0 + 2], x[A0 + 3], x[A0 + 4], x[A0 + 5]],
    )
}

/// Stores what a system call answers.
pub fn set_result(state: &mut State, value: u64) {
    state.x[A0] = value;
}

/// The stack pointer.
#[must_use]
pub fn stack_pointer(state: &State) -> u64 {
    state.x[SP]
}

/// Sets the stack pointer.
pub fn set_stack_pointer(state: &mut State, value: u64) {
    state.x[SP] = value;
}

/// Sets the thread pointer (`CLONE_SETTLS`).
pub fn set_thread_pointer(state: &mut State, value: u64) {
    state.x[TP] = value;
}

/// Registers as a signal handler finds them.
pub fn enter_handler(state: &mut State, call: &HandlerCall) {
    state.x[RA] = call.restorer;
    state.x[SP] = call.frame;
    state.x[A0] = call.signo;
    state.x[A0 + 1] = call.info;
    state.x[A0 + 2] = call.ucontext;
    state.pc = call.handler;
}

/// Arguments of a signal handler.
#[derive(Clone, Copy, Debug)]
pub struct HandlerCall {
    /// Address of the handler.
    pub handler: u64,
    /// Where it returns to.
    pub restorer: u64,
    /// Its stack pointer.
    pub frame: u64,
    /// The signal.
    pub signo: u64,
    /// Address of its `siginfo_t`.
    pub info: u64,
    /// Address of its `ucontext_t`.
    pub ucontext: u64,
}

/// `struct ucontext` of riscv Linux (asm/ucontext.h, asm/sigcontext.h).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct UContext {
    /// 0.
    pub flags: u64,
    /// 0.
    pub link: u64,
    /// The alternate stack: base, flags, size.
    pub stack: [u64; 3],
    /// The mask to restore.
    pub sigmask: u64,
    unused: [u64; 15],
    pad: u64,
    /// pc, then x1 to x31.
    regs: [u64; 32],
    /// f0 to f31.
    fp: [u64; 32],
    fcsr: u32,
    /// Zero: room of the Q state, then the header that ends the extensions.
    rest: [u32; 67],
}

const _: () = assert!(size_of::<UContext>() == 176 + 784);
const _: () = assert!(std::mem::offset_of!(UContext, regs) == 176);

/// A signal frame: `siginfo_t`, then `struct ucontext`.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct Frame {
    /// What the handler is told.
    pub info: [u64; 16],
    /// What is restored afterwards.
    pub uc: UContext,
}

// SAFETY: integers only, and the assertions above leave no room for padding.
unsafe impl uaccess::Plain for Frame {}

impl Frame {
    /// The frame that saves `state`.
    #[must_use]
    pub fn save(state: &State, info: [u64; 16], stack: [u64; 3], sigmask: u64) -> Self {
        let mut regs = state.x;
        regs[0] = state.pc;
        let uc = UContext {
            flags: 0,
            link: 0,
            stack,
            sigmask,
            unused: [0; 15],
            pad: 0,
            regs,
            fp: state.f,
            fcsr: state.fcsr(),
            rest: [0; 67],
        };
        Self { info, uc }
    }

    /// The registers that it holds.
    pub fn restore(&self, state: &mut State) {
        state.x[1..].copy_from_slice(&self.uc.regs[1..]);
        state.pc = self.uc.regs[0];
        state.f = self.uc.fp;
        state.set_fcsr(self.uc.fcsr);
    }
}

/// Version of the vDSO's symbols.
pub const VDSO_VERSION: &str = "LINUX_4.15";
/// The vDSO's function that ends a signal handler. The unwinder knows its two instructions.
pub const VDSO_SIGRETURN: &str = "__vdso_rt_sigreturn";

const ECALL: u32 = 0x0000_0073;
const RET: u32 = 0x0000_8067;

/// `li a7, number`
const fn li_a7(number: u32) -> u32 {
    number << 20 | 17 << 7 | 0x13
}

/// Names and code of the vDSO's functions.
pub const VDSO_FUNCTIONS: &[(&str, &[u32])] = &[
    (VDSO_SIGRETURN, &[li_a7(RT_SIGRETURN as u32), ECALL]),
    ("__vdso_gettimeofday", &[li_a7(169), ECALL, RET]),
    ("__vdso_clock_gettime", &[li_a7(113), ECALL, RET]),
    ("__vdso_clock_getres", &[li_a7(114), ECALL, RET]),
    ("__vdso_getcpu", &[li_a7(168), ECALL, RET]),
    ("__vdso_flush_icache", &[li_a7(259), ECALL, RET]),
    ("__vdso_riscv_hwprobe", &[li_a7(258), ECALL, RET]),
];

/// `riscv_flush_icache(start, end, flags)`: always for all threads, which is never wrong.
pub fn sys_riscv_flush_icache(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [start, end, flags, ..] = args;
    if flags & !1 != 0 {
        return Err(Errno::EINVAL);
    }
    let range = (start < end).then_some((start, end));
    task.process.engine.insn_sync(range);
    Ok(0)
}

/// `RISCV_HWPROBE_WHICH_CPUS`: tell which processors are so, not how all are.
const WHICH_CPUS: u64 = 1;
/// The `time` counter's frequency that programs are told: that of QEMU's and of most boards.
const TIME_HERTZ: u64 = 10_000_000;

/// `riscv_hwprobe(pairs, pair_count, cpusetsize, cpus, flags)` (Linux,
/// `Documentation/arch/riscv/hwprobe.rst`). All processors are alike.
pub fn sys_riscv_hwprobe(task: &mut Task, args: [u64; 6]) -> SysResult {
    let [pairs, count, set_size, set, flags, _] = args;
    if flags & !WHICH_CPUS != 0 || (flags & WHICH_CPUS != 0 && (set == 0 || set_size == 0)) {
        return Err(Errno::EINVAL);
    }
    let machine = HwprobeMachine {
        highest_address: task.process.mm.ceiling() - 1,
        time_hertz: TIME_HERTZ,
    };
    let mut all_match = true;
    for index in 0..count {
        let at = pairs.wrapping_add(index.wrapping_mul(16));
        let [key, wanted] = uaccess::read::<[u64; 2]>(task, at)?;
        let answer = task
            .process
            .engine
            .guest()
            .cpu
            .hwprobe(key as i64, &machine);
        if flags & WHICH_CPUS == 0 {
            let key = if answer.is_some() { key } else { u64::MAX };
            uaccess::write(task, at, &[key, answer.unwrap_or(0)])?;
        } else {
            all_match &= match answer {
                None => false,
                Some(bits) if key == KEY_EXTENSIONS => bits & wanted == wanted,
                Some(value) => value == wanted,
            };
        }
    }
    if flags & WHICH_CPUS != 0 && !all_match {
        let none = vec![0_u8; set_size.min(1024) as usize];
        uaccess::write_slice(task, set, &none)?;
    }
    Ok(0)
}

/// `RISCV_HWPROBE_KEY_IMA_EXT_0`: a set of bits.
const KEY_EXTENSIONS: u64 = 4;
