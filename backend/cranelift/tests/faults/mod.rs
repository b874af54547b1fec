//! Host faults in a region's body, as an engine serves them.

use super::common::Machine;
use isomorph_baseline::RBP_BIAS;
use isomorph_cranelift::Recovery;
use std::cell::Cell;
use std::sync::Once;

/// What the handler knows, then what it noted.
#[derive(Clone, Copy, Default)]
struct Watch {
    code: (u64, u64),
    header: u64,
    resume: u64,
    host: u64,
    address: u64,
    regs: [u64; 16],
}

thread_local! {
    static WATCH: Cell<Watch> = const {
        Cell::new(Watch { code: (0, 0), header: 0, resume: 0, host: 0, address: 0, regs: [0; 16] })
    };
    static FRAME: Cell<[u8; Recovery::FRAME_LIMIT]> = const {
        Cell::new([0; Recovery::FRAME_LIMIT])
    };
}

static HANDLER: Once = Once::new();

/// Serves this thread's faults in the machine's code from now on.
pub fn watch(m: &mut Machine) {
    HANDLER.call_once(install);
    let (runtime, base) = m.runtime();
    let resume = base + u64::from(runtime.region_fault);
    WATCH.set(Watch {
        code: (base, base + (1 << 20)),
        header: m.header() as u64,
        resume,
        ..Watch::default()
    });
}

/// Host pc and address of the last fault.
pub fn last() -> (u64, u64) {
    let watch = WATCH.get();
    (watch.host, watch.address)
}

/// Completes the guest state after the last fault, as an engine does.
pub fn restore(m: &mut Machine, recovery: &Recovery) {
    let watch = WATCH.get();
    let offset = (watch.host - m.block_address()) as u32;
    let frame = FRAME.get();
    let frame = &frame[..recovery.frame_bytes()];
    let words = m.state();
    let mut state: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    recovery.restore(offset, &watch.regs, frame, &mut state);
    for (word, bytes) in words.iter_mut().zip(state.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    }
}

/// The general registers in the order of the processor's numbers.
const REGS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

fn install() {
    for signo in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: zero is a valid sigaction; the handler touches a thread-local cell only.
        let done = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(signo, &action, std::ptr::null_mut())
        };
        assert_eq!(done, 0);
    }
}

extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over the thread's context and what happened.
    let (gregs, address) = unsafe {
        let context = context.cast::<libc::ucontext_t>();
        (&mut (*context).uc_mcontext.gregs, (*info).si_addr() as u64)
    };
    let mut watch = WATCH.get();
    let host = gregs[libc::REG_RIP as usize] as u64;
    if host < watch.code.0 || host >= watch.code.1 {
        // SAFETY: ends the process, as the fault would have.
        unsafe { libc::abort() };
    }
    (watch.host, watch.address) = (host, address);
    watch.regs = REGS.map(|r| gregs[r as usize] as u64);
    // SAFETY: the stack goes on above the body's frame, for more than this in every test.
    FRAME.set(unsafe { (watch.regs[4] as *const [u8; Recovery::FRAME_LIMIT]).read_unaligned() });
    gregs[libc::REG_RIP as usize] = watch.resume as i64;
    gregs[libc::REG_RBP as usize] = (watch.header + RBP_BIAS as u64) as i64;
    WATCH.set(watch);
}
