//! Rows and programs on the engine, with one of the tiers and with guest memory at its own address
//! in this process.

// Generated code touches memory by address, so its data must really be there, and its faults
// reach us as signals. Nothing else here is unsafe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use isomorph_engine::{
    CodeSource, Config, Engine, Exit, Observer, Policy, RegionEvent, Tier2, Translation, TrapKind,
    Vcpu, handle_host_signal,
};
use isomorph_riscv::{Riscv64, State};
use isomorph_tests::rows::{Executor, Left, MEMORY, MEMORY_BYTES, Situation};

/// The guest's code and its address, as the test sets them.
#[derive(Clone, Default)]
struct Code(Arc<Mutex<(u64, Vec<u8>)>>);

impl Code {
    fn lock(&self) -> MutexGuard<'_, (u64, Vec<u8>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CodeSource for Code {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        let code = self.lock();
        let start = usize::try_from(pc.wrapping_sub(code.0)).unwrap_or(usize::MAX);
        let rest = code.1.get(start..).unwrap_or_default();
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        len
    }

    fn may_change(&self, _: u64) -> bool {
        false
    }
}

/// The one window of guest data of this process.
static WINDOW: Mutex<()> = Mutex::new(());
static MAP: Once = Once::new();

fn map_window() {
    // SAFETY: a fresh anonymous mapping where nothing is mapped (the kernel refuses otherwise).
    let at = unsafe {
        libc::mmap(
            MEMORY as *mut libc::c_void,
            MEMORY_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    assert_eq!(at as u64, MEMORY, "the row's data can be mapped");
    for signo in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: zero is a valid sigaction; the handler is async-signal-safe and keeps to the
        // thread's alternate stack.
        let done = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(signo, &action, std::ptr::null_mut())
        };
        assert_eq!(done, 0);
    }
}

extern "C" fn on_fault(signo: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: called by the kernel with the handler's own arguments, on the faulting thread.
    if !unsafe { handle_host_signal(signo, info, context) } {
        // SAFETY: not generated code: ends the process, as the fault would have.
        unsafe { libc::abort() };
    }
}

/// Gives this thread an alternate signal stack: generated code runs on a private one.
fn alternate_stack() -> Vec<u8> {
    let mut stack = vec![0; 64 << 10];
    let description = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: stack.len(),
    };
    // SAFETY: the buffer lives as long as the executor that holds it, which stays on its thread.
    let done = unsafe { libc::sigaltstack(&description, std::ptr::null_mut()) };
    assert_eq!(done, 0);
    stack
}

/// The data window, as a slice.
fn window<'a>(_guard: &'a mut MutexGuard<'_, ()>) -> &'a mut [u8] {
    // SAFETY: mapped by `map_window` and never unmapped; the guard makes the borrow exclusive.
    unsafe { std::slice::from_raw_parts_mut(MEMORY as *mut u8, MEMORY_BYTES) }
}

/// Counts what tier 2 compiled, and what it refused.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<(usize, BTreeMap<String, usize>)>>);

impl Observer for Counts {
    fn translated(&self, _: &Translation<'_>) {}

    fn region(&self, event: &RegionEvent<'_>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            RegionEvent::Installed { .. } => counts.0 += 1,
            RegionEvent::Refused { why, .. } => {
                *counts.1.entry(why.to_string()).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// The real engine with one of the tiers.
pub struct Native {
    name: &'static str,
    counts: Counts,
    code: Code,
    engine: Arc<Engine<Riscv64>>,
    vcpu: Vcpu<Riscv64>,
    _stack: Vec<u8>,
}

impl Native {
    /// Tier 1 alone.
    pub fn tier_1() -> Self {
        Self::new("tier 1", Policy::Off, 1 << 20)
    }

    /// Everything compiled by tier 2 before it runs.
    pub fn tier_2() -> Self {
        Self::new("tier 2", Policy::Always, 256 << 20)
    }

    /// Regions that were compiled, and those that were refused by reason.
    #[allow(dead_code, reason = "not every test counts them")]
    pub fn regions(&self) -> (usize, BTreeMap<String, usize>) {
        let counts = self.counts.0.lock();
        counts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new engine; stays on this thread.
    fn new(name: &'static str, policy: Policy, code_bytes: usize) -> Self {
        MAP.call_once(map_window);
        let (code, counts) = (Code::default(), Counts::default());
        let config = Config {
            code_bytes,
            tier2: Tier2 {
                policy,
                code_bytes: code_bytes / 2,
                ..Tier2::default()
            },
            observer: Some(Box::new(counts.clone())),
            ..Config::default()
        };
        let source = Box::new(code.clone());
        let engine = Engine::new(Riscv64::default(), config, source).expect("an engine");
        let vcpu = engine.new_vcpu(State::new()).expect("a vCPU");
        Self {
            name,
            counts,
            code,
            engine,
            vcpu,
            _stack: alternate_stack(),
        }
    }
}

impl Executor for Native {
    fn name(&self) -> &'static str {
        self.name
    }

    fn serves(&self, kind: TrapKind) -> bool {
        matches!(kind, TrapKind::InsnSync | TrapKind::Mode)
    }

    fn execute(&mut self, code: &[u8], situation: &mut Situation) -> Left {
        let mut guard = WINDOW.lock().unwrap_or_else(PoisonError::into_inner);
        window(&mut guard).copy_from_slice(&situation.memory.bytes);
        *self.code.lock() = (situation.state.pc, code.to_vec());
        self.engine.invalidate(0, u64::MAX);
        *self.vcpu.state_mut() = situation.state;
        let left = match self.vcpu.run().expect("runs") {
            // There is no code behind the code: that is how we know that it is over.
            Exit::Trap {
                kind: TrapKind::Fetch,
                ..
            } => Left::Next,
            Exit::Trap { kind, info, .. } => Left::Trap(kind, info),
            Exit::Fault(fault) => Left::Fault(fault.address),
            Exit::Interrupted => panic!("nobody interrupts"),
        };
        situation.state = *self.vcpu.state();
        situation.memory.bytes.copy_from_slice(window(&mut guard));
        left
    }
}
