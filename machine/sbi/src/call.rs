//! A call: who asks what, and how it is answered (chapter "Binary Encoding").

use crate::hart::Hart;
use crate::pmu::Event;
use crate::{base, dbcn, hsm, ipi, pmu, rfence, srst, time};
use isomorph_machine::{After, Firmware, Life, Peers};
use isomorph_riscv::HartState;
use isomorph_riscv::system::Privilege;
use isomorph_softmmu::AddressSpace;
use std::fmt;
use std::sync::Arc;

/// Errors that a call can answer (table "Standard SBI Errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum Error {
    Failed = -1,
    NotSupported = -2,
    InvalidParam = -3,
    InvalidAddress = -5,
    AlreadyAvailable = -6,
    AlreadyStarted = -7,
    AlreadyStopped = -8,
    NoSharedMemory = -9,
}

/// How a call ends that does not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// `a1`, with `a0` 0 and behind the instruction; `None`: the registers are set already.
    value: Option<u64>,
    after: After,
}

impl Reply {
    /// The call returns `value`.
    pub fn value(value: u64) -> Answer {
        Self::then(value, After::Continue)
    }

    /// The call returns nothing but success.
    pub fn done() -> Answer {
        Self::value(0)
    }

    /// The call returns `value` after what `after` says.
    pub fn then(value: u64, after: After) -> Answer {
        let value = Some(value);
        Ok(Self { value, after })
    }

    /// The call does not return; the hart does as `after` says.
    pub fn gone(after: After) -> Answer {
        Ok(Self { value: None, after })
    }
}

pub(crate) type Answer = Result<Reply, Error>;

/// A function of an extension.
pub(crate) type Function = fn(&mut Call<'_>) -> Answer;

/// The extensions that exist, by their numbers (EID), with their functions in the order of the
/// numbers (FID).
const EXTENSIONS: &[(u64, &[Function])] = &[
    (0x10, base::FUNCTIONS),
    (0x5449_4d45, time::FUNCTIONS),
    (0x0073_5049, ipi::FUNCTIONS),
    (0x5246_4e43, rfence::FUNCTIONS),
    (0x0048_534d, hsm::FUNCTIONS),
    (0x5352_5354, srst::FUNCTIONS),
    (0x4442_434e, dbcn::FUNCTIONS),
    (0x0050_4d55, pmu::FUNCTIONS),
];

/// The legacy extensions answer in `a0` alone (chapter "Legacy Extensions").
const LEGACY: std::ops::RangeInclusive<u64> = 0..=0xf;

/// The functions of an extension.
pub(crate) fn extension(id: u64) -> Option<&'static [Function]> {
    let row = EXTENSIONS.iter().find(|row| row.0 == id)?;
    Some(row.1)
}

/// Bytes of an `ecall`.
const CALL_BYTES: u64 = 4;
const A0: usize = 10;
const A1: usize = 11;
const A6: usize = 16;
const A7: usize = 17;

/// The console failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the debug console failed")]
pub struct ConsoleError;

/// Where the debug console leads.
pub trait Console: Send + Sync {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The host failed.
    fn write(&self, bytes: &[u8]) -> Result<(), ConsoleError>;

    /// Reads what is there to be read, without waiting; the number of bytes, from the start of
    /// `out`.
    ///
    /// # Errors
    /// The host failed.
    fn read(&self, out: &mut [u8]) -> Result<usize, ConsoleError>;
}

/// What the firmware works with.
pub struct Services {
    /// Number of harts; their ids count from 0.
    pub harts: u32,
    /// Ended and reset by SRST.
    pub life: Arc<Life>,
    /// Guest-physical memory.
    pub memory: Arc<AddressSpace>,
    /// Of DBCN.
    pub console: Arc<dyn Console>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Services {{ harts: {} }}", self.harts)
    }
}

/// The supervisor binary interface of one machine.
#[derive(Debug)]
pub struct Sbi {
    pub(crate) services: Services,
    pub(crate) harts: Arc<[Hart]>,
}

impl Sbi {
    /// The interface of a machine whose first hart runs; the kernel starts the others.
    pub fn new(services: Services) -> Arc<Self> {
        let harts = (0..services.harts).map(|id| Hart::new(id == 0)).collect();
        Arc::new(Self { services, harts })
    }
}

impl Firmware<HartState> for Sbi {
    fn call(&self, id: u32, state: &mut HartState, peers: &dyn Peers<HartState>) -> Option<After> {
        if state.sys.privilege != Privilege::Supervisor {
            return None;
        }
        let hart = self.harts.get(id as usize)?;
        hart.resumed();
        let x = &state.regs.x;
        let (extension_id, function) = (x[A7], x[A6]);
        let args = std::array::from_fn(|n| x[A0 + n]);
        let mut call = Call {
            sbi: self,
            hart,
            id,
            state,
            peers,
            args,
        };
        let functions = extension(extension_id).unwrap_or(&[]);
        let function = usize::try_from(function)
            .ok()
            .and_then(|n| functions.get(n));
        let answer = function.map_or(Err(Error::NotSupported), |function| function(&mut call));
        let (error, value, after) = match answer {
            Ok(Reply { value: None, after }) => return Some(after),
            Ok(Reply {
                value: Some(value),
                after,
            }) => (0, value, after),
            Err(error) => (error as i64 as u64, 0, After::Continue),
        };
        let regs = &mut state.regs;
        regs.pc = regs.pc.wrapping_add(CALL_BYTES);
        regs.x[A0] = error;
        if !LEGACY.contains(&extension_id) {
            regs.x[A1] = value;
        }
        Some(after)
    }

    fn resumed(&self, id: u32) {
        if let Some(hart) = self.harts.get(id as usize) {
            hart.resumed();
        }
    }

    fn reset(&self, started: &[bool]) {
        for (at, hart) in self.harts.iter().enumerate() {
            hart.reset(started.get(at).copied().unwrap_or(false));
        }
    }
}

/// A call while it is answered.
pub(crate) struct Call<'a> {
    pub sbi: &'a Sbi,
    /// The calling hart.
    pub hart: &'a Hart,
    /// Its id.
    pub id: u32,
    /// Its registers.
    pub state: &'a mut HartState,
    pub peers: &'a dyn Peers<HartState>,
    /// `a0` to `a5`.
    pub args: [u64; 6],
}

/// The harts of a hart mask that can be interrupted.
pub(crate) struct Targets {
    /// The caller is one of them.
    pub caller: bool,
    pub others: Vec<u32>,
}

impl Call<'_> {
    /// A hart by its id.
    pub fn hart_by_id(&self, id: u64) -> Result<(u32, &Hart), Error> {
        let at = u32::try_from(id).map_err(|_| Error::InvalidParam)?;
        let hart = self.sbi.harts.get(at as usize);
        hart.map(|hart| (at, hart)).ok_or(Error::InvalidParam)
    }

    /// The harts that the first two arguments name (section "Hart list parameter"). A stopped hart
    /// is a valid one, but there is nothing to interrupt: it starts afresh.
    pub fn targets(&self) -> Result<Targets, Error> {
        let [mask, base, ..] = self.args;
        let mut targets = Targets {
            caller: false,
            others: Vec::new(),
        };
        let mut add = |id: u32, hart: &Hart| {
            if id == self.id {
                targets.caller = true;
            } else if hart.is_alive() {
                targets.others.push(id);
            }
        };
        if base == u64::MAX {
            let harts = self.sbi.harts.iter().enumerate();
            harts.for_each(|(id, hart)| add(id as u32, hart));
            return Ok(targets);
        }
        for bit in (0..u64::BITS).filter(|bit| mask >> bit & 1 != 0) {
            let id = base
                .checked_add(u64::from(bit))
                .ok_or(Error::InvalidParam)?;
            let (id, hart) = self.hart_by_id(id)?;
            add(id, hart);
        }
        Ok(targets)
    }

    /// Counts a firmware event of the calling hart, `times` times.
    pub fn count(&self, event: Event, times: usize) {
        self.hart.count(event, times as u64);
    }
}
