//! Chapter "Performance Monitoring Unit Extension".
//!
//! A counter's number is its CSR's distance from `cycle`, which kernels rely on for the first
//! three: 0 is `cycle`, 2 is `instret`, and 1, which would be `time`, does not exist, for it cannot
//! be stopped. Firmware counters follow. Shared memory for snapshots is not available, and event
//! filters, which are hints, are ignored.

use crate::call::{Answer, Call, Error, Function, Reply};
use isomorph_riscv::system::HardwareCounter;

pub(crate) const FUNCTIONS: &[Function] = &[
    |_| Reply::value(COUNTERS),
    counter_get_info,
    counter_config_matching,
    counter_start,
    counter_stop,
    counter_fw_read,
    counter_fw_read_hi,
    // Optional: `sbi_pmu_snapshot_set_shmem`.
];

/// Number of firmware counters.
const FIRMWARE: usize = 16;
/// Number of the first one.
const FIRST_FIRMWARE: u64 = 3;
const COUNTERS: u64 = FIRST_FIRMWARE + FIRMWARE as u64;

/// Flags of `counter_config_matching`.
mod config {
    pub const SKIP_MATCH: u64 = 1;
    pub const CLEAR_VALUE: u64 = 1 << 1;
    pub const AUTO_START: u64 = 1 << 2;
    pub const ALL: u64 = 0xff;
}

/// Flags of `counter_start`.
mod start {
    pub const SET_INIT_VALUE: u64 = 1;
    pub const INIT_SNAPSHOT: u64 = 1 << 1;
    pub const ALL: u64 = SET_INIT_VALUE | INIT_SNAPSHOT;
}

/// Flags of `counter_stop`.
mod stop {
    pub const RESET: u64 = 1;
    pub const TAKE_SNAPSHOT: u64 = 1 << 1;
    pub const ALL: u64 = RESET | TAKE_SNAPSHOT;
}

/// A firmware event by its code (table "PMU Firmware Events"). Those of traps and of HFENCE never
/// happen: no trap comes to the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event(u8);

impl Event {
    pub const SET_TIMER: Self = Self(5);
    pub const IPI_SENT: Self = Self(6);
    pub const IPI_RECEIVED: Self = Self(7);
    pub const FENCE_I_SENT: Self = Self(8);
    pub const FENCE_I_RECEIVED: Self = Self(9);
    pub const SFENCE_VMA_SENT: Self = Self(10);
    pub const SFENCE_VMA_RECEIVED: Self = Self(11);
    pub const SFENCE_VMA_ASID_SENT: Self = Self(12);
    pub const SFENCE_VMA_ASID_RECEIVED: Self = Self(13);
    /// `SBI_PMU_FW_HFENCE_VVMA_ASID_RECEIVED`
    const LAST: u64 = 21;
}

/// What a counter is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Monitored {
    Hardware(HardwareCounter),
    Firmware(Event),
}

impl Monitored {
    /// The event of `event_idx` with its `event_data`, which must be 0 for all of these.
    fn new(index: u64, data: u64) -> Option<Self> {
        if data != 0 {
            return None;
        }
        match (index >> 16, index & 0xffff) {
            (0, 1) => Some(Self::Hardware(HardwareCounter::Cycle)),
            (0, 2) => Some(Self::Hardware(HardwareCounter::Instret)),
            (0xf, code) if code <= Event::LAST => Some(Self::Firmware(Event(code as u8))),
            _ => None,
        }
    }
}

/// A counter that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Hardware(HardwareCounter),
    /// By its place in [`Pmu`].
    Firmware(usize),
}

impl Counter {
    fn new(index: u64) -> Result<Self, Error> {
        match index {
            0 => Ok(Self::Hardware(HardwareCounter::Cycle)),
            2 => Ok(Self::Hardware(HardwareCounter::Instret)),
            FIRST_FIRMWARE..COUNTERS => Ok(Self::Firmware((index - FIRST_FIRMWARE) as usize)),
            _ => Err(Error::InvalidParam),
        }
    }

    fn index(self) -> u64 {
        match self {
            Self::Hardware(counter) => u64::from(counter.index()),
            Self::Firmware(at) => FIRST_FIRMWARE + at as u64,
        }
    }

    fn can_count(self, what: Monitored) -> bool {
        match (self, what) {
            (Self::Hardware(counter), Monitored::Hardware(event)) => counter == event,
            (Self::Firmware(_), Monitored::Firmware(_)) => true,
            _ => false,
        }
    }
}

/// One firmware counter.
#[derive(Clone, Copy, Debug, Default)]
struct FirmwareCounter {
    event: Option<Event>,
    value: u64,
    started: bool,
}

/// The firmware counters of a hart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pmu {
    counters: [FirmwareCounter; FIRMWARE],
}

impl Pmu {
    /// An event has happened `times` times.
    pub fn count(&mut self, event: Event, times: u64) {
        for counter in &mut self.counters {
            if counter.started && counter.event == Some(event) {
                counter.value = counter.value.wrapping_add(times);
            }
        }
    }
}

impl Call<'_> {
    /// The counters of `counter_idx_base` and `counter_idx_mask`, the first two arguments.
    fn counters(&self) -> Result<Vec<Counter>, Error> {
        let [base, mask, ..] = self.args;
        let bits = (0..u64::BITS).filter(|bit| mask >> bit & 1 != 0);
        let counter = |bit| Counter::new(base.saturating_add(u64::from(bit)));
        bits.map(counter).collect()
    }

    /// Works on a firmware counter of the calling hart.
    fn firmware<T>(&self, at: usize, work: impl FnOnce(&mut FirmwareCounter) -> T) -> Option<T> {
        self.hart.pmu().counters.get_mut(at).map(work)
    }

    fn is_started(&self, counter: Counter) -> bool {
        match counter {
            Counter::Hardware(counter) => !self.state.sys.is_stopped(counter),
            Counter::Firmware(at) => self.firmware(at, |c| c.started).unwrap_or(false),
        }
    }

    fn set_started(&mut self, counter: Counter, started: bool) {
        match counter {
            Counter::Hardware(counter) => self.state.sys.stop_counter(counter, !started),
            Counter::Firmware(at) => {
                self.firmware(at, |c| c.started = started);
            }
        }
    }

    /// What the counter counts now, or would.
    fn event(&self, counter: Counter) -> Option<Monitored> {
        match counter {
            Counter::Hardware(counter) => Some(Monitored::Hardware(counter)),
            Counter::Firmware(at) => {
                let event = self.firmware(at, |c| c.event).flatten();
                event.map(Monitored::Firmware)
            }
        }
    }

    /// Sets what a firmware counter counts; the event of a hardware counter is always its own.
    fn set_event(&mut self, counter: Counter, event: Option<Monitored>) {
        if let Counter::Firmware(at) = counter {
            let event = match event {
                Some(Monitored::Firmware(event)) => Some(event),
                _ => None,
            };
            self.firmware(at, |c| c.event = event);
        }
    }

    fn set_value(&mut self, counter: Counter, value: u64) {
        match counter {
            Counter::Hardware(counter) => self.state.sys.set_counter(counter, value),
            Counter::Firmware(at) => {
                self.firmware(at, |c| c.value = value);
            }
        }
    }
}

/// Section "Function: Get details of a counter".
fn counter_get_info(call: &mut Call<'_>) -> Answer {
    const FIRST_CSR: u64 = 0xc00;
    const WIDTH_64: u64 = 63 << 12;
    const FIRMWARE_TYPE: u64 = 1 << 63;
    let counter = Counter::new(call.args[0])?;
    Reply::value(match counter {
        Counter::Hardware(_) => WIDTH_64 | (FIRST_CSR + counter.index()),
        Counter::Firmware(_) => WIDTH_64 | FIRMWARE_TYPE,
    })
}

/// Section "Function: Find and configure a matching counter". Of those that are not started, one
/// that is not configured yet comes first.
fn counter_config_matching(call: &mut Call<'_>) -> Answer {
    let [_, _, flags, event, data, _] = call.args;
    let counters = call.counters()?;
    if flags & !config::ALL != 0 {
        return Err(Error::InvalidParam);
    }
    let event = Monitored::new(event, data).ok_or(Error::NotSupported)?;
    let fits = |counter: &Counter| counter.can_count(event);
    let found = if flags & config::SKIP_MATCH != 0 {
        counters.first().copied().filter(fits)
    } else {
        let mut free = counters.into_iter().filter(fits).collect::<Vec<_>>();
        free.retain(|counter| !call.is_started(*counter));
        free.into_iter()
            .min_by_key(|counter| call.event(*counter).is_some())
    };
    let counter = found.ok_or(Error::NotSupported)?;
    call.set_event(counter, Some(event));
    if flags & config::CLEAR_VALUE != 0 {
        call.set_value(counter, 0);
    }
    if flags & config::AUTO_START != 0 {
        call.set_started(counter, true);
    }
    Reply::value(counter.index())
}

/// Section "Function: Start a set of counters". Those that can be started are, also if another one
/// has been before.
fn counter_start(call: &mut Call<'_>) -> Answer {
    let [_, _, flags, value, ..] = call.args;
    let counters = call.counters()?;
    let configured = counters.iter().all(|c| call.event(*c).is_some());
    if flags & !start::ALL != 0 || !configured {
        return Err(Error::InvalidParam);
    }
    if flags & start::INIT_SNAPSHOT != 0 {
        return Err(Error::NoSharedMemory);
    }
    let mut already = false;
    for counter in counters {
        if call.is_started(counter) {
            already = true;
            continue;
        }
        if flags & start::SET_INIT_VALUE != 0 {
            call.set_value(counter, value);
        }
        call.set_started(counter, true);
    }
    if already {
        return Err(Error::AlreadyStarted);
    }
    Reply::done()
}

/// Section "Function: Stop a set of counters". A reset forgets the event of a counter that was
/// stopped before, too.
fn counter_stop(call: &mut Call<'_>) -> Answer {
    let flags = call.args[2];
    let counters = call.counters()?;
    if flags & !stop::ALL != 0 {
        return Err(Error::InvalidParam);
    }
    if flags & stop::TAKE_SNAPSHOT != 0 {
        return Err(Error::NoSharedMemory);
    }
    let mut already = false;
    for counter in counters {
        already |= !call.is_started(counter);
        call.set_started(counter, false);
        if flags & stop::RESET != 0 {
            call.set_event(counter, None);
        }
    }
    if already {
        return Err(Error::AlreadyStopped);
    }
    Reply::done()
}

/// Section "Function: Read a firmware counter".
fn counter_fw_read(call: &mut Call<'_>) -> Answer {
    let Counter::Firmware(at) = Counter::new(call.args[0])? else {
        return Err(Error::InvalidParam);
    };
    let value = call.firmware(at, |counter| counter.value);
    value.map_or(Err(Error::InvalidParam), Reply::value)
}

/// Section "Function: Read a firmware counter high bits": there are none on a 64-bit hart.
fn counter_fw_read_hi(call: &mut Call<'_>) -> Answer {
    counter_fw_read(call)?;
    Reply::done()
}
