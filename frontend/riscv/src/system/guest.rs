//! A machine's hart as the translator and the engine see it.

use isomorph_frontend::{
    Guest, Helper, MemoryAccess, PhysicalMemory, Step, SystemGuest, TimeScale, TlbContext,
    TlbFlush, Translation,
};
use isomorph_ir::{Builder, GlobalTable, TrapKind};

use super::trap::{self, Exception, cause};
use super::{HELPERS, HartState, MACHINE_EXTENSIONS, System, envcfg, globals, mode, walk};
use crate::cpu::{CpuModel, Features};
use crate::decode::Op;
use crate::state::State;
use crate::translate::{self, Fetched, Translator};

/// The 64-bit RISC-V guest with its privileged architecture.
#[derive(Clone, Debug, Default)]
pub struct RiscvMachine {
    /// What the harts can do.
    pub cpu: CpuModel,
}

impl RiscvMachine {
    /// A guest of this CPU model.
    pub const fn new(cpu: CpuModel) -> Self {
        Self { cpu }
    }

    /// The state of hart `hart_id` at reset, in machine mode, about to run at `pc`.
    pub fn hart(&self, hart_id: u64, pc: u64) -> HartState {
        HartState {
            regs: State { pc, ..State::new() },
            sys: System::new(&self.cpu, hart_id),
        }
    }

    /// The hart as firmware starts a kernel on it (SBI, "Hart State Management Extension"): in
    /// supervisor mode at `pc`, `a0` the hart's number, `a1` an opaque value.
    pub fn supervisor_hart(&self, hart_id: u64, pc: u64, opaque: u64) -> HartState {
        let mut state = self.hart(hart_id, pc);
        state.sys.enter_supervisor();
        (state.regs.x[10], state.regs.x[11]) = (hart_id, opaque);
        state
    }

    fn features(&self) -> Features {
        self.cpu.features().with(MACHINE_EXTENSIONS)
    }
}

impl Guest for RiscvMachine {
    type State = HartState;

    const NAME: &'static str = "riscv64";

    const INSN_ALIGN: u64 = 2;

    const INSN_MAX: u64 = 4;

    fn globals() -> &'static GlobalTable {
        &globals::TABLE
    }

    fn helpers() -> &'static [Helper<HartState>] {
        HELPERS
    }

    fn new_state(&self) -> HartState {
        self.hart(0, 0)
    }

    fn pc(state: &HartState) -> u64 {
        state.regs.pc
    }

    fn set_pc(state: &mut HartState, pc: u64) {
        state.regs.pc = pc;
    }

    fn mode(state: &HartState) -> u32 {
        mode::of(state)
    }

    fn rounding(state: &HartState) -> u8 {
        crate::Riscv64::rounding(&state.regs)
    }

    fn fp_flags(state: &HartState) -> u8 {
        crate::Riscv64::fp_flags(&state.regs)
    }

    fn set_fp_flags(state: &mut HartState, flags: u8) {
        crate::Riscv64::set_fp_flags(&mut state.regs, flags);
    }

    #[inline]
    fn translate(&self, b: &mut Builder, pc: u64, window: &[u8], mode: u32) -> Step {
        let (bits, len) = match translate::fetch(window) {
            Fetched::Whole { bits, len } => (bits, len),
            Fetched::Short(need) => return Step::Short { need },
        };
        let features = self.features();
        Translator {
            b,
            features,
            pc,
            len,
            bits,
            mode,
        }
        .run()
    }

    fn disassemble(&self, pc: u64, window: &[u8], out: &mut String) -> u32 {
        crate::disasm::disassemble(self.features(), pc, window, out)
    }
}

/// Whether the instruction is a load-reserved, the only load that can be misaligned.
fn is_load_reserved(insn: &[u8]) -> bool {
    let Fetched::Whole { bits, len } = translate::fetch(insn) else {
        return false;
    };
    let op = translate::decode(bits, len, Features::ALL);
    matches!(op, Some(Op::LrW | Op::LrD))
}

impl SystemGuest for RiscvMachine {
    type Exception = Exception;

    fn start(&self, id: u32, level: u8, pc: u64, arguments: [u64; 2]) -> HartState {
        let mut state = self.hart(id.into(), pc);
        if level < super::Privilege::Machine as u8 {
            state.sys.enter_supervisor();
        }
        (state.regs.x[10], state.regs.x[11]) = (arguments[0], arguments[1]);
        state
    }

    const REGISTERS_VERSION: u32 = super::blob::VERSION;

    fn registers(state: &HartState, kind: u8) -> Vec<u8> {
        super::blob::registers(state, kind)
    }

    fn set_registers(state: &mut HartState, kind: u8, bytes: &[u8]) -> bool {
        super::blob::set_registers(state, kind, bytes)
    }

    fn dump(state: &HartState) -> Vec<(String, u64)> {
        let regs = &state.regs;
        let integer = regs.x.iter().enumerate().skip(1);
        let integer = integer.map(|(n, value)| (format!("x{n}"), *value));
        let pc = std::iter::once(("pc".to_owned(), regs.pc));
        pc.chain(integer).chain(state.sys.dump()).collect()
    }

    fn translate_address(
        state: &HartState,
        address: u64,
        bytes: u64,
        access: MemoryAccess,
        memory: &mut dyn PhysicalMemory,
    ) -> Result<Translation, Exception> {
        walk::translate(&state.sys, address, bytes, access, memory)
    }

    fn bus_error(address: u64, access: MemoryAccess) -> Exception {
        walk::access_fault(access, address)
    }

    fn exception_of(
        state: &HartState,
        kind: TrapKind,
        info: u64,
        insn: &[u8],
    ) -> Option<Exception> {
        let (cause, value) = match kind {
            TrapKind::Syscall => (cause::ECALL_USER + state.sys.privilege as u64, 0),
            TrapKind::Breakpoint => (cause::BREAKPOINT, state.regs.pc),
            TrapKind::Illegal => (cause::ILLEGAL, info),
            TrapKind::Misaligned if is_load_reserved(insn) => (cause::LOAD_MISALIGNED, info),
            TrapKind::Misaligned => (cause::STORE_MISALIGNED, info),
            _ => return None,
        };
        Some(Exception { cause, value })
    }

    fn take_exception(state: &mut HartState, exception: Exception) {
        trap::take_trap(state, exception.cause, exception.value);
    }

    fn take_interrupt(state: &mut HartState) -> bool {
        let Some(number) = state.sys.pending_interrupt() else {
            return false;
        };
        trap::take_trap(state, cause::INTERRUPT | u64::from(number), 0);
        true
    }

    fn wakes(state: &HartState) -> bool {
        state.sys.pending() & state.sys.mie != 0
    }

    fn set_pin(state: &mut HartState, pin: u32, level: bool) {
        let bit = trap::INTERRUPTS & 1u64.checked_shl(pin).unwrap_or(0);
        let pins = &mut state.sys.pins;
        *pins = if level { *pins | bit } else { *pins & !bit };
    }

    fn set_time(state: &mut HartState, ticks: u64) {
        let sys = &mut state.sys;
        let due = sys.menvcfg & envcfg::STCE != 0 && ticks >= sys.stimecmp;
        sys.timer = u64::from(due) << trap::interrupt::STI;
    }

    fn set_time_scale(state: &mut HartState, scale: TimeScale) {
        state.sys.time = scale;
    }

    fn timer(state: &HartState) -> Option<u64> {
        let sys = &state.sys;
        let on = sys.menvcfg & envcfg::STCE != 0 && sys.timer == 0;
        (on && sys.stimecmp != u64::MAX).then_some(sys.stimecmp)
    }

    fn tlb_context(state: &HartState) -> TlbContext {
        walk::context(&state.sys)
    }

    fn note_counters(state: &mut HartState, raw: u64) {
        state.sys.note_counters(raw, raw);
    }

    fn take_flush(state: &mut HartState) -> Option<TlbFlush> {
        state.sys.flush.take()
    }
}
