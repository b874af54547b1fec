//! What a guest instruction set gives in addition when a whole machine runs: address translation,
//! exceptions and interrupts.

use crate::Guest;
use isomorph_ir::TrapKind;

/// What the guest does with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryAccess {
    /// An instruction fetch.
    Fetch,
    /// A load, a load-reserved included.
    Load,
    /// A store, a store-conditional included.
    Store,
    /// An atomic read-modify-write.
    Amo,
}

/// What address translation found: an address, and what may be done around it.
///
/// `read`, `write` and `exec` tell what the same virtual page allows in the same state, so that one
/// walk can serve later accesses of other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Guest-physical address of the access itself.
    pub physical: u64,
    /// Bytes around it that share this translation and its rights: a power of two. Less than the
    /// size of a page means that the translation must not be remembered for the page.
    pub size: u64,
    /// Loads are allowed.
    pub read: bool,
    /// Stores and atomics are allowed, and need no further note in the page table.
    pub write: bool,
    /// Fetches are allowed.
    pub exec: bool,
    /// The translation holds in every address space.
    pub global: bool,
}

/// Guest-physical memory as a page walk sees it.
pub trait PhysicalMemory {
    /// Reads 8 aligned bytes, little-endian, in one piece; `None` if no memory answers.
    fn load_u64(&mut self, physical: u64) -> Option<u64>;

    /// Writes `new` to 8 aligned bytes if they hold `old`, in one step that all vCPUs agree on;
    /// what they held before, or `None` if that memory cannot do it.
    fn compare_exchange_u64(&mut self, physical: u64, old: u64, new: u64) -> Option<u64>;
}

/// Remembered translations that the guest has asked to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlbFlush {
    /// All of them.
    All,
    /// Those of one address space that are not global.
    Space {
        /// The address space.
        asid: u64,
    },
    /// Those of the page at an address.
    Page {
        /// An address in the page.
        address: u64,
        /// Only what is not global in this address space; `None`: in all, global ones too.
        asid: Option<u64>,
    },
}

impl TlbFlush {
    /// A request that covers this one and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::All }
    }
}

/// What remembered translations depend on besides the page tables: each pair has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlbContext {
    /// Privilege and all else that decides what a page allows.
    pub mode: u8,
    /// The address space; 0 while addresses are not translated.
    pub asid: u64,
}

/// How the machine's time follows from the counter that translated code reads
/// ([`isomorph_ir::Op::ReadCounter`], number 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TimeScale {
    /// Ticks of the machine for each of the counter, times 2³².
    pub multiplier: u64,
    /// Ticks to add.
    pub offset: u64,
}

impl Default for TimeScale {
    /// The counter itself.
    fn default() -> Self {
        Self {
            multiplier: 1 << 32,
            offset: 0,
        }
    }
}

impl TimeScale {
    /// The machine's time when the counter is `raw`.
    pub fn of(self, raw: u64) -> u64 {
        let ticks = (u128::from(raw) * u128::from(self.multiplier)) >> 32;
        (ticks as u64).wrapping_add(self.offset)
    }
}

/// A guest instruction set with its privileged architecture.
///
/// All functions work on the state of a stopped vCPU, on its own thread.
///
/// What the engine owes: after a trap of translated code (other than for instruction memory or to
/// give way), after an exception, and whenever it has changed the state (a pin, the time), it
/// - tells the vCPU's timer what time it is and notes when it is wanted next,
/// - takes an interrupt ([`SystemGuest::take_interrupt`]),
/// - forgets what [`SystemGuest::take_flush`] names,
/// - goes on with the blocks of [`Guest::mode`] and the translations of
///   [`SystemGuest::tlb_context`],
///
/// in this order, before the next instruction.
///
/// What the guest owes: these answers change only behind a trap that leaves translated code
/// ([`TrapKind::Mode`], [`TrapKind::Return`] and those that end in an exception). State that they
/// do not depend on, translated code changes without notice. It may mask interrupts so; it unmasks
/// them so too if none is pending, else with `Mode`. Hence an interrupt that is pending but not
/// taken need not be asked for again.
pub trait SystemGuest: Guest {
    /// A synchronous exception with all that the guest is told about it.
    type Exception: Copy + std::fmt::Debug + Send + 'static;

    /// The state that a vCPU starts in: number `id`, at `pc` with `arguments` in the registers that
    /// the boot convention names, at privilege `level` as the instruction set numbers it.
    fn start(&self, id: u32, level: u8, pc: u64, arguments: [u64; 2]) -> Self::State;

    /// Version of the layout of [`SystemGuest::registers`].
    const REGISTERS_VERSION: u32;

    /// Registers of one kind as bytes: 0 integer registers and program counter, 1 floating point,
    /// 2 everything else. Little-endian, in the manual's order.
    fn registers(state: &Self::State, kind: u8) -> Vec<u8>;

    /// Sets what [`SystemGuest::registers`] gave; false (and nothing is set) if it has another
    /// length.
    fn set_registers(state: &mut Self::State, kind: u8, bytes: &[u8]) -> bool;

    /// Every register by name with its value, for dumps.
    fn dump(state: &Self::State) -> Vec<(String, u64)>;

    /// Translates `address` for an access of `bytes` bytes that lies in one 4 KiB page.
    ///
    /// # Errors
    /// The exception that the access raises.
    fn translate_address(
        state: &Self::State,
        address: u64,
        bytes: u64,
        access: MemoryAccess,
        memory: &mut dyn PhysicalMemory,
    ) -> Result<Translation, Self::Exception>;

    /// The exception of an access at `address` that nothing in guest-physical space answers.
    fn bus_error(address: u64, access: MemoryAccess) -> Self::Exception;

    /// The exception that a trap of translated code stands for; `None` if the trap is none, and
    /// for [`TrapKind::Fetch`], whose exception [`SystemGuest::translate_address`] tells.
    ///
    /// `info` is the trap's value, `insn` the bytes of the trapping instruction (wanted for
    /// [`TrapKind::Misaligned`] only).
    fn exception_of(
        state: &Self::State,
        kind: TrapKind,
        info: u64,
        insn: &[u8],
    ) -> Option<Self::Exception>;

    /// Takes an exception of the instruction at the program counter: sets registers, privilege and
    /// program counter.
    fn take_exception(state: &mut Self::State, exception: Self::Exception);

    /// Takes the pending and enabled interrupt of highest priority before the instruction at the
    /// program counter; false if there is none.
    fn take_interrupt(state: &mut Self::State) -> bool;

    /// Whether a vCPU that waits for interrupts goes on: one is pending and enabled locally, be it
    /// masked or not.
    fn wakes(state: &Self::State) -> bool;

    /// Sets the level of an interrupt pin; numbers are the instruction set's.
    fn set_pin(state: &mut Self::State, pin: u32, level: bool);

    /// Tells the vCPU's own timer what time it is, in ticks of the machine's counter.
    fn set_time(state: &mut Self::State, ticks: u64);

    /// Tells how time follows from the counter that translated code reads.
    fn set_time_scale(state: &mut Self::State, scale: TimeScale);

    /// When the vCPU's own timer wants [`SystemGuest::set_time`] next, in ticks; `None`: never.
    fn timer(state: &Self::State) -> Option<u64>;

    /// The translations that are in force.
    fn tlb_context(state: &Self::State) -> TlbContext;

    /// Tells what the counters that translated code reads ([`isomorph_ir::Op::ReadCounter`]) say
    /// now, before firmware outside the guest stops or sets what the guest counts by them.
    fn note_counters(state: &mut Self::State, raw: u64);

    /// What is to be forgotten before the guest goes on; the request is taken from the state.
    fn take_flush(state: &mut Self::State) -> Option<TlbFlush>;
}
