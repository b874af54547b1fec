//! The privileged architecture: machine, supervisor and user mode of a whole machine's harts.
//!
//! Section names are those of "The RISC-V Instruction Set Manual, Volume II: Privileged
//! Architecture". [`csr`] is the one list of control and status registers.
//!
//! Translated code has what a kernel does all the time inline (see `semantics/csr.rs`): registers
//! that are storage (`sscratch`, `sepc`, `scause`, `stval`, `stvec`, `scounteren`, their equals of
//! machine mode, `medeleg`), `sstatus`, `mstatus` where MPP is not concerned, `time`, `cycle`,
//! `instret`, and the returns from traps. `globals` lists the fields that it uses. All else is in
//! the table of [`csr`] and called.
//!
//! Invariants:
//! - Every register holds a legal value at all times: writes make it so (WARL).
//! - What depends on the outside — time, counters, interrupt pins — is told to the state, never
//!   asked for.

mod blob;
pub mod csr;
mod firmware;
pub(crate) mod globals;
mod guest;
mod helpers;
pub mod mode;
mod pmp;
pub(crate) mod status;
mod trap;
mod walk;

#[cfg(test)]
mod tests;

pub use firmware::HardwareCounter;
pub use guest::RiscvMachine;
pub use pmp::Pmp;
pub use trap::{Exception, cause, interrupt};

use crate::cpu::CpuModel;
use crate::decode::ext;
use crate::state::State;
use isomorph_frontend::{TimeScale, TlbFlush};

pub(crate) use helpers::{HELPERS, Outcome};

/// What a CSR instruction does with its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `csrrw`
    Write = 1,
    /// `csrrs`
    Set = 2,
    /// `csrrc`
    Clear = 3,
}

/// Privilege of a hart (section "Privilege Levels").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u64)]
pub enum Privilege {
    /// U
    User = 0,
    /// S
    Supervisor = 1,
    /// M
    #[default]
    Machine = 3,
}

impl Privilege {
    /// The level of a two-bit encoding; `None` is the reserved one.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::User),
            1 => Some(Self::Supervisor),
            3 => Some(Self::Machine),
            _ => None,
        }
    }
}

/// All registers of a machine's hart. Plain data; those of programs come first, so that the same
/// globals name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HartState {
    /// Unprivileged registers.
    pub regs: State,
    /// Privileged state.
    pub sys: System,
}

impl AsMut<State> for HartState {
    fn as_mut(&mut self) -> &mut State {
        &mut self.regs
    }
}

/// Bits of `menvcfg` and `senvcfg`.
pub(crate) mod envcfg {
    use crate::cpu::Features;
    use crate::decode::ext;

    pub const FIOM: u64 = 1;
    pub const CBIE: u64 = 3 << 4;
    pub const CBCFE: u64 = 1 << 6;
    pub const CBZE: u64 = 1 << 7;
    pub const ADUE: u64 = 1 << 61;
    pub const PBMTE: u64 = 1 << 62;
    pub const STCE: u64 = 1 << 63;
    pub const SENVCFG: u64 = FIOM | CBIE | CBCFE | CBZE;
    pub const MENVCFG: u64 = SENVCFG | ADUE | PBMTE | STCE;

    /// The bits of `menvcfg` that a hart with these extensions has.
    pub fn legal(features: Features) -> u64 {
        let rows = [(ext::SSTC, STCE), (ext::SVADU, ADUE), (ext::SVPBMT, PBMTE)];
        let has = rows.iter().filter(|row| features.has(row.0));
        has.fold(SENVCFG, |legal, row| legal | row.1)
    }
}

/// Privileged state of a hart, by the registers' names in the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct System {
    /// Current privilege.
    pub privilege: Privilege,
    /// `svnapot` is on.
    pub(crate) napot: bool,
    /// `mstatus` without what [`System::float_dirty`] says.
    pub(crate) mstatus: u64,
    /// Set by translated code that writes floating-point state, until `mstatus` is written: the
    /// FS field is Dirty then. 0 or all of the field.
    pub(crate) float_dirty: u64,
    pub(crate) misa: u64,
    pub(crate) medeleg: u64,
    pub(crate) mideleg: u64,
    pub(crate) mie: u64,
    /// Bits of `mip` that software has written.
    pub(crate) mip: u64,
    /// Bits of `mip` that interrupt controllers drive.
    pub(crate) pins: u64,
    /// The bit of `mip` that `stimecmp` drives: STIP, not set without `menvcfg.STCE`.
    pub(crate) timer: u64,
    pub(crate) mtvec: u64,
    pub(crate) mscratch: u64,
    pub(crate) mepc: u64,
    pub(crate) mcause: u64,
    pub(crate) mtval: u64,
    pub(crate) stvec: u64,
    pub(crate) sscratch: u64,
    pub(crate) sepc: u64,
    pub(crate) scause: u64,
    pub(crate) stval: u64,
    pub(crate) satp: u64,
    /// Largest mode that `satp` takes.
    pub(crate) satp_max: u64,
    pub(crate) mcounteren: u64,
    pub(crate) scounteren: u64,
    pub(crate) mcountinhibit: u64,
    pub(crate) menvcfg: u64,
    /// Bits of `menvcfg` that can be written.
    pub(crate) menvcfg_legal: u64,
    pub(crate) senvcfg: u64,
    pub(crate) stimecmp: u64,
    pub(crate) hart_id: u64,
    pub(crate) cycle: Counter,
    pub(crate) instret: Counter,
    /// Not 0 while translated code probes the address of a cache-block management instruction
    /// by a load: its exceptions are those of a store.
    pub(crate) cache_block: u64,
    pub(crate) pmp: Pmp,
    pub(crate) time: TimeScale,
    /// What the engine is to forget before it goes on.
    pub(crate) flush: Option<TlbFlush>,
}

/// A counter that the guest can set and stop, over one that it cannot.
///
/// Its value is `value + (raw & runs)`, which translated code computes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Counter {
    /// The counter beneath, as last noted.
    raw: u64,
    value: u64,
    /// All ones while it counts, 0 while it is stopped.
    runs: u64,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            raw: 0,
            value: 0,
            runs: u64::MAX,
        }
    }
}

impl Counter {
    fn get(&self) -> u64 {
        self.value.wrapping_add(self.raw & self.runs)
    }

    fn set(&mut self, value: u64) {
        self.value = value.wrapping_sub(self.raw & self.runs);
    }

    fn stop(&mut self, stopped: bool) {
        let value = self.get();
        self.runs = if stopped { 0 } else { u64::MAX };
        self.set(value);
    }
}

impl System {
    /// State at reset (section "Reset").
    pub fn new(cpu: &CpuModel, hart_id: u64) -> Self {
        let supervisor = 1 << 18;
        let legal = envcfg::legal(cpu.features());
        Self {
            privilege: Privilege::Machine,
            napot: cpu.features().has(ext::SVNAPOT),
            mstatus: status::RESET,
            float_dirty: 0,
            misa: cpu.misa() | supervisor,
            medeleg: 0,
            mideleg: 0,
            mie: 0,
            mip: 0,
            pins: 0,
            timer: 0,
            mtvec: 0,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            stvec: 0,
            sscratch: 0,
            sepc: 0,
            scause: 0,
            stval: 0,
            satp: 0,
            satp_max: cpu.paging().satp_mode(),
            mcounteren: 0,
            scounteren: 0,
            mcountinhibit: 0,
            // Without Svade the page-table walker updates A and D from the start.
            menvcfg: envcfg::ADUE & legal,
            menvcfg_legal: legal,
            senvcfg: 0,
            stimecmp: u64::MAX,
            hart_id,
            cycle: Counter::default(),
            instret: Counter::default(),
            cache_block: 0,
            pmp: Pmp::default(),
            time: TimeScale::default(),
            flush: Some(TlbFlush::All),
        }
    }

    /// Puts the hart where firmware starts a kernel: supervisor mode without translation, all that
    /// can be delegated delegated, counters and extensions on, all of memory allowed.
    pub fn enter_supervisor(&mut self) {
        self.privilege = Privilege::Supervisor;
        // Calls from supervisor mode are the firmware's.
        self.medeleg = trap::DELEGABLE & !(1 << (cause::ECALL_USER + 1));
        self.mideleg = trap::SUPERVISOR_INTERRUPTS;
        self.mcounteren = csr::COUNTERS;
        csr::set_menvcfg(self, envcfg::MENVCFG & !envcfg::FIOM);
        self.satp = 0;
        (self.mstatus, self.float_dirty) = (status::RESET, 0);
        self.pmp = Pmp::default();
        self.pmp.allow_all();
        self.request(TlbFlush::All);
    }

    /// Asks the engine to forget translations.
    pub(crate) fn request(&mut self, flush: TlbFlush) {
        self.flush = Some(self.flush.map_or(flush, |old| old.and(flush)));
    }

    pub(crate) fn has_float(&self) -> bool {
        self.misa >> 5 & 1 != 0
    }

    /// Bits of a program counter that are always zero.
    pub(crate) fn pc_mask(&self) -> u64 {
        if self.misa >> 2 & 1 != 0 { 1 } else { 3 }
    }

    /// The privilege that loads and stores have (`mstatus.MPRV`).
    pub(crate) fn data_privilege(&self) -> Privilege {
        if self.mstatus & status::MPRV != 0 {
            Privilege::from_bits(self.mstatus >> status::MPP_SHIFT).unwrap_or_default()
        } else {
            self.privilege
        }
    }

    /// Counters that code at the current privilege may read, bits as in `mcounteren`.
    pub(crate) fn counters_enabled(&self) -> u64 {
        match self.privilege {
            Privilege::Machine => csr::COUNTERS,
            Privilege::Supervisor => self.mcounteren,
            Privilege::User => self.mcounteren & self.scounteren,
        }
    }

    /// The `envcfg` bits that hold at the current privilege.
    pub(crate) fn environment(&self) -> u64 {
        match self.privilege {
            Privilege::Machine => u64::MAX,
            Privilege::Supervisor => self.menvcfg,
            // CBIE: either register's 0 forbids.
            Privilege::User => {
                let both = self.menvcfg & self.senvcfg & !envcfg::CBIE;
                let inval = self.menvcfg & envcfg::CBIE != 0;
                both | if inval {
                    self.senvcfg & envcfg::CBIE
                } else {
                    0
                }
            }
        }
    }

    /// Every register by name with its value, in the order of the numbers, for dumps.
    pub fn dump(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        csr::all().map(|(number, row, at)| (row.name_of(number), (row.read)(self, at)))
    }
}

/// Extensions that a machine's harts decode in addition to a program's.
pub(crate) const MACHINE_EXTENSIONS: u64 = ext::S;
