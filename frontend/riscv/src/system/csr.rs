//! The control and status registers: the one list. Access checks, reads, writes, disassembly and
//! dumps derive from it (chapter "Control and Status Registers (CSRs)").
//!
//! A number that is not in the list is an illegal instruction. Absent on purpose: triggers
//! (`tselect` and its like), `mseccfg`, `mstateen`, the hypervisor's and the AIA's registers.

use super::pmp::PMP_ENTRIES;
use super::trap::{DELEGABLE, INTERRUPTS, SUPERVISOR_INTERRUPTS, interrupt};
use super::{How, Privilege, System, envcfg, globals, status, walk};
use isomorph_ir::Val;

type Read = fn(&System, usize) -> u64;
type Write = fn(&mut System, usize, u64);

/// One register, or `count` of one kind at successive numbers.
pub(crate) struct Csr {
    pub number: u16,
    pub count: u16,
    name: &'static str,
    /// Value by index.
    pub read: Read,
    /// What `csrrs` and `csrrc` modify, where that is not what is read.
    modify: Option<Read>,
    write: Write,
    /// Condition beyond the privilege in the number, without which an access is illegal.
    pub gate: Option<fn(&System) -> bool>,
    /// A write may change the translation mode, translation, interrupts or the timer.
    pub changes: bool,
    /// Concerns counters: the raw ones are to be noted first.
    pub counts: bool,
    /// What translated code does by itself.
    pub inline: Inline,
}

/// What translated code does by itself of the accesses to a register; the others are a helper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inline {
    /// Nothing.
    None,
    /// All: a global holds it, and a write sets the bits of the mask and clears the others.
    Stored(Val, u64),
    /// All, likewise, with a mask for the addresses of instructions.
    StoredPc(Val),
    /// Reads: a counter's number, its value and whether it runs.
    Counter(u8, [Val; 2]),
    /// Reads, and writes to the writable bits but MPP.
    Status { writable: u64, visible: u64 },
}

const fn csr(number: u16, name: &'static str, read: Read, write: Write) -> Csr {
    Csr {
        number,
        count: 1,
        name,
        read,
        modify: None,
        write,
        gate: None,
        changes: false,
        counts: false,
        inline: Inline::None,
    }
}

impl Csr {
    const fn times(mut self, count: u16) -> Self {
        self.count = count;
        self
    }

    const fn changes(mut self) -> Self {
        self.changes = true;
        self
    }

    const fn counts(mut self) -> Self {
        self.counts = true;
        self
    }

    const fn inline(mut self, inline: Inline) -> Self {
        self.inline = inline;
        self
    }

    const fn gate(mut self, gate: fn(&System) -> bool) -> Self {
        self.gate = Some(gate);
        self
    }

    const fn modify(mut self, modify: Read) -> Self {
        self.modify = Some(modify);
        self
    }

    /// The name of register `number` of this row.
    pub fn name_of(&self, number: u16) -> String {
        if self.count == 1 {
            return self.name.to_owned();
        }
        let (name, first) = self.name.split_once('#').unwrap_or((self.name, "0"));
        let first = first.parse::<u16>().unwrap_or(0);
        format!("{name}{}", first + number - self.number)
    }

    /// What `csrrs` and `csrrc` would modify of register number `at` of this row.
    pub fn value(&self, sys: &System, at: usize) -> u64 {
        (self.modify.unwrap_or(self.read))(sys, at)
    }

    /// Writes register number `at` of this row.
    pub fn set(&self, sys: &mut System, at: usize, value: u64) {
        (self.write)(sys, at, value);
    }

    /// A 64-bit hart has only the even `pmpcfg`.
    fn step(&self) -> u16 {
        if self.name == "pmpcfg" { 2 } else { 1 }
    }

    fn index(&self, number: u16) -> usize {
        usize::from((number - self.number) / self.step())
    }
}

/// A register whose bits under a mask can be written.
macro_rules! field {
    ($number:literal, $name:ident, $mask:expr) => {
        csr(
            $number,
            stringify!($name),
            |s, _| s.$name,
            |s, _, value| s.$name = s.$name & !$mask | value & $mask,
        )
    };
}

/// As [`field`], inline.
macro_rules! stored {
    ($number:literal, $name:ident, $mask:expr, $global:ident) => {
        field!($number, $name, $mask).inline(Inline::Stored(globals::$global, $mask))
    };
}

/// A register with a value that writes do not change.
macro_rules! fixed {
    ($number:literal, $name:literal, $value:expr) => {
        csr($number, $name, $value, |_, _, _| {})
    };
}

/// Counters that exist: CY, TM, IR.
pub(crate) const COUNTERS: u64 = 7;
/// The base of a trap vector is aligned to 4 bytes; its mode is direct or vectored.
const VECTOR: u64 = !2;
const INHIBIT: u64 = 0b101;

fn may_use_satp(sys: &System) -> bool {
    sys.privilege == Privilege::Machine || sys.mstatus & status::TVM == 0
}

/// Section "Supervisor Timer Register" of Sstc.
fn may_use_stimecmp(sys: &System) -> bool {
    let enabled = sys.menvcfg & envcfg::STCE != 0 && sys.mcounteren & 2 != 0;
    sys.menvcfg_legal & envcfg::STCE != 0 && (sys.privilege == Privilege::Machine || enabled)
}

/// Event counters are never enabled below machine mode: they count nothing.
fn is_machine(sys: &System) -> bool {
    sys.privilege == Privilege::Machine
}

/// `CBIE` 2 is reserved: the field keeps its value then.
fn write_envcfg(old: u64, value: u64, mask: u64) -> u64 {
    let reserved = value & envcfg::CBIE == 2 << 4;
    let mask = if reserved { mask & !envcfg::CBIE } else { mask };
    old & !mask | value & mask
}

/// While the comparator drives STIP, software's bit is gone.
pub(super) fn set_menvcfg(sys: &mut System, value: u64) {
    let old = sys.menvcfg;
    sys.menvcfg = write_envcfg(old, value, sys.menvcfg_legal);
    if sys.menvcfg & envcfg::STCE != 0 {
        sys.mip &= !(1 << interrupt::STI);
    } else {
        sys.timer = 0;
    }
    if (old ^ sys.menvcfg) & (envcfg::ADUE | envcfg::PBMTE) != 0 {
        sys.request(isomorph_frontend::TlbFlush::All);
    }
}

fn set_pmp(sys: &mut System, write: impl FnOnce(&mut super::Pmp)) {
    let old = sys.pmp;
    write(&mut sys.pmp);
    if old != sys.pmp {
        sys.request(isomorph_frontend::TlbFlush::All);
    }
}

fn set_mcountinhibit(sys: &mut System, _: usize, value: u64) {
    sys.mcountinhibit = value & INHIBIT;
    sys.cycle.stop(value & 1 != 0);
    sys.instret.stop(value & 4 != 0);
}

/// In the order of the numbers.
#[rustfmt::skip]
static CSRS: &[Csr] = &[
    csr(0x100, "sstatus", status::sstatus, status::set_sstatus).changes()
        .inline(status::SSTATUS),
    csr(0x104, "sie", |s, _| s.mie & s.mideleg, |s, _, v| {
        s.mie = s.mie & !s.mideleg | v & s.mideleg;
    }).changes(),
    stored!(0x105, stvec, VECTOR, STVEC),
    stored!(0x106, scounteren, COUNTERS, SCOUNTEREN),
    csr(0x10a, "senvcfg", |s, _| s.senvcfg, |s, _, v| {
        s.senvcfg = write_envcfg(s.senvcfg, v, envcfg::SENVCFG);
    }).changes(),
    stored!(0x140, sscratch, u64::MAX, SSCRATCH),
    csr(0x141, "sepc", |s, _| s.sepc, |s, _, v| s.sepc = v & !s.pc_mask())
        .inline(Inline::StoredPc(globals::SEPC)),
    stored!(0x142, scause, u64::MAX, SCAUSE),
    stored!(0x143, stval, u64::MAX, STVAL),
    csr(0x144, "sip", |s, _| s.pending() & s.mideleg, |s, _, v| s.set_supervisor_pending(v))
        .changes(),
    csr(0x14d, "stimecmp", |s, _| s.stimecmp, |s, _, v| {
        (s.stimecmp, s.timer) = (v, 0);
    }).changes().gate(may_use_stimecmp),
    csr(0x180, "satp", |s, _| s.satp, walk::set_satp).changes().gate(may_use_satp),
    csr(0x300, "mstatus", status::mstatus, status::set_mstatus).changes()
        .inline(status::MSTATUS),
    fixed!(0x301, "misa", |s, _| s.misa),
    stored!(0x302, medeleg, DELEGABLE, MEDELEG),
    field!(0x303, mideleg, SUPERVISOR_INTERRUPTS).changes(),
    field!(0x304, mie, INTERRUPTS).changes(),
    stored!(0x305, mtvec, VECTOR, MTVEC),
    stored!(0x306, mcounteren, COUNTERS, MCOUNTEREN),
    csr(0x30a, "menvcfg", |s, _| s.menvcfg, |s, _, v| set_menvcfg(s, v)).changes(),
    csr(0x320, "mcountinhibit", |s, _| s.mcountinhibit, set_mcountinhibit).counts(),
    fixed!(0x323, "mhpmevent#3", |_, _| 0).times(29),
    stored!(0x340, mscratch, u64::MAX, MSCRATCH),
    csr(0x341, "mepc", |s, _| s.mepc, |s, _, v| s.mepc = v & !s.pc_mask())
        .inline(Inline::StoredPc(globals::MEPC)),
    stored!(0x342, mcause, u64::MAX, MCAUSE),
    stored!(0x343, mtval, u64::MAX, MTVAL),
    csr(0x344, "mip", |s, _| s.pending(), |s, _, v| s.set_pending(v))
        .modify(|s, _| s.pending_to_modify()).changes(),
    csr(0x3a0, "pmpcfg", |s, at| s.pmp.config(at), |s, at, v| {
        set_pmp(s, |pmp| pmp.set_config(at, v));
    }).times(PMP_ENTRIES as u16 / 8).changes(),
    csr(0x3b0, "pmpaddr", |s, at| s.pmp.address(at), |s, at, v| {
        set_pmp(s, |pmp| pmp.set_address(at, v));
    }).times(PMP_ENTRIES as u16).changes(),
    csr(0xb00, "mcycle", |s, _| s.cycle.get(), |s, _, v| s.cycle.set(v)).counts(),
    csr(0xb02, "minstret", |s, _| s.instret.get(), |s, _, v| s.instret.set(v)).counts(),
    fixed!(0xb03, "mhpmcounter#3", |_, _| 0).times(29),
    fixed!(0xc00, "cycle", |s, _| s.cycle.get())
        .inline(Inline::Counter(0, [globals::CYCLE, globals::CYCLE_RUNS])),
    fixed!(0xc02, "instret", |s, _| s.instret.get())
        .inline(Inline::Counter(2, [globals::INSTRET, globals::INSTRET_RUNS])),
    fixed!(0xc03, "hpmcounter#3", |_, _| 0).times(29).gate(is_machine),
    fixed!(0xf11, "mvendorid", |_, _| 0),
    fixed!(0xf12, "marchid", |_, _| 0),
    fixed!(0xf13, "mimpid", |_, _| 0),
    fixed!(0xf14, "mhartid", |s, _| s.hart_id),
    fixed!(0xf15, "mconfigptr", |_, _| 0),
];

/// Registers of programs, which translated code has inline.
const INLINE: [(u16, &str); 4] = [(1, "fflags"), (2, "frm"), (3, "fcsr"), (0xc01, "time")];

/// The row of a number.
pub(crate) fn find(number: u16) -> Option<&'static Csr> {
    let at = CSRS.partition_point(|row| row.number <= number);
    let row = CSRS.get(at.checked_sub(1)?)?;
    let offset = number - row.number;
    (offset.is_multiple_of(row.step()) && offset / row.step() < row.count).then_some(row)
}

/// All registers: number, row, index in the row.
pub(crate) fn all() -> impl Iterator<Item = (u16, &'static Csr, usize)> {
    CSRS.iter().flat_map(|row| {
        (0..row.count).map(move |at| (row.number + at * row.step(), row, usize::from(at)))
    })
}

/// The name of a register.
pub(crate) fn name(number: u16) -> Option<String> {
    let inline = INLINE.iter().find(|row| row.0 == number);
    let inline = inline.map(|row| row.1.to_owned());
    inline.or_else(|| find(number).map(|row| row.name_of(number)))
}

/// Whether code of this privilege may name the register: bits 9 and 8 of the number.
pub(crate) fn reachable(number: u16, who: Privilege) -> bool {
    who as u16 >= number >> 8 & 3
}

/// Whether the register cannot be written: bits 11 and 10 of the number.
pub(crate) fn is_read_only(number: u16) -> bool {
    number >> 10 == 3
}

/// An access as the helper gets it, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub number: u16,
    pub rd: u8,
    /// `None` only reads.
    pub how: Option<How>,
}

impl Request {
    pub fn pack(self) -> u64 {
        let how = self.how.map_or(0, |how| how as u64);
        u64::from(self.number) | u64::from(self.rd) << 16 | how << 24
    }

    pub fn unpack(word: u64) -> Self {
        let how = match word >> 24 {
            1 => Some(How::Write),
            2 => Some(How::Set),
            3 => Some(How::Clear),
            _ => None,
        };
        Self {
            number: word as u16 & 0xfff,
            rd: (word >> 16) as u8 & 31,
            how,
        }
    }
}

/// Reads a register and writes it as asked; the old value, or `None` if that is illegal.
pub(crate) fn access(sys: &mut System, request: Request, operand: u64) -> Option<u64> {
    let number = request.number;
    let row = find(number).filter(|_| reachable(number, sys.privilege))?;
    if row.gate.is_some_and(|gate| !gate(sys)) {
        return None;
    }
    let at = row.index(number);
    let old = (row.read)(sys, at);
    if let Some(how) = request.how {
        if is_read_only(number) {
            return None;
        }
        let base = row.modify.map_or(old, |modify| modify(sys, at));
        let new = match how {
            How::Write => operand,
            How::Set => base | operand,
            How::Clear => base & !operand,
        };
        (row.write)(sys, at, new);
    }
    Some(old)
}
