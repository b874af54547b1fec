//! State and behaviour of the 16550.

use super::regs::*;
use crate::sync::lock;
use isomorph_machine::{Device, IrqLine};
use isomorph_softmmu::Mmio;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

/// The other end of the line.
pub trait SerialBackend: Send + Sync {
    /// The guest sends a character. Must not wait long.
    fn send(&self, byte: u8);

    /// [`Serial::receive`] takes characters again after it had refused some.
    fn room(&self) {}

    /// This is the UART that [`Serial::receive`] is to be called of.
    fn connect(&self, _serial: Weak<Serial>) {}
}

/// Registers of a 16550.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialState {
    divisor: u16,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    /// The error bits; the others follow from the rest of the state.
    lsr: u8,
    msr: u8,
    scr: u8,
    /// The transmitter-empty interrupt is pending.
    thre: bool,
    rx: VecDeque<u8>,
    /// Characters were refused.
    full: bool,
}

impl Default for SerialState {
    fn default() -> Self {
        Self {
            divisor: 12,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            lsr: 0,
            msr: MSR_CTS | MSR_DSR | MSR_DCD,
            scr: 0,
            thre: false,
            rx: VecDeque::with_capacity(FIFO),
            full: false,
        }
    }
}

/// What is left to do when the lock is open again.
#[derive(Default)]
struct Effects {
    send: Option<u8>,
    room: bool,
}

impl SerialState {
    fn capacity(&self) -> usize {
        if self.fcr & FCR_ENABLE != 0 { FIFO } else { 1 }
    }

    /// Characters that the line can bring now; in loop-back it is cut off.
    fn room(&self) -> usize {
        match self.mcr & MCR_LOOP {
            0 => self.capacity().saturating_sub(self.rx.len()),
            _ => 0,
        }
    }

    fn trigger(&self) -> usize {
        match self.fcr & (FCR_ENABLE | 0xc0) {
            0x41 => 4,
            0x81 => 8,
            0xc1 => 14,
            _ => 1,
        }
    }

    /// The pending interrupt of the highest priority, as IIR shows it.
    fn cause(&self) -> u8 {
        let on = |bit| self.ier & bit != 0;
        if on(IER_LINE) && self.lsr & LSR_ERRORS != 0 {
            IIR_LINE
        } else if on(IER_RX) && self.rx.len() >= self.trigger() {
            IIR_RX
        } else if on(IER_RX) && !self.rx.is_empty() {
            IIR_TIMEOUT
        } else if on(IER_THRE) && self.thre {
            IIR_THRE
        } else if on(IER_MODEM) && self.msr & 0xf != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    fn push(&mut self, byte: u8) {
        if self.rx.len() < self.capacity() {
            self.rx.push_back(byte);
        } else {
            // Data sheet: the receiver overwrites without a FIFO, and drops with one.
            self.lsr |= LSR_OE;
            if self.capacity() == 1 {
                self.rx.clear();
                self.rx.push_back(byte);
            }
        }
    }

    /// Lets the line go on once all was read: a whole FIFO at a time comes cheaper.
    fn freed(&mut self, effects: &mut Effects) {
        if self.rx.is_empty() {
            effects.room |= std::mem::take(&mut self.full);
        }
    }

    /// The modem inputs: in loop-back the outputs, else a line that is always ready.
    fn inputs(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return MSR_CTS | MSR_DSR | MSR_DCD;
        }
        let pairs = [
            (MCR_RTS, MSR_CTS),
            (MCR_DTR, MSR_DSR),
            (MCR_OUT1, MSR_RI),
            (MCR_OUT2, MSR_DCD),
        ];
        let set = pairs.iter().filter(|(output, _)| self.mcr & output != 0);
        set.fold(0, |inputs, (_, input)| inputs | input)
    }

    fn update_modem(&mut self) {
        let inputs = self.inputs();
        let changed = (self.msr ^ inputs) >> 4;
        // TERI tells of the trailing edge only.
        let ring = self.msr & !inputs & MSR_RI != 0;
        let delta = changed & !MSR_TERI | if ring { MSR_TERI } else { 0 };
        self.msr = inputs | self.msr & 0xf | delta;
    }

    fn read(&mut self, offset: u64, effects: &mut Effects) -> u8 {
        let dlab = self.lcr & LCR_DLAB != 0;
        match offset {
            RBR_THR if dlab => self.divisor as u8,
            IER if dlab => (self.divisor >> 8) as u8,
            RBR_THR => {
                let byte = self.rx.pop_front().unwrap_or(0);
                self.freed(effects);
                byte
            }
            IER => self.ier,
            IIR_FCR => {
                let cause = self.cause();
                if cause == IIR_THRE {
                    self.thre = false;
                }
                let fifo = self.fcr & FCR_ENABLE != 0;
                cause | if fifo { IIR_FIFO } else { 0 }
            }
            LCR => self.lcr,
            MCR => self.mcr,
            LSR => {
                let ready = if self.rx.is_empty() { 0 } else { LSR_DR };
                let errors = std::mem::take(&mut self.lsr);
                LSR_THRE | LSR_TEMT | ready | errors
            }
            MSR => {
                let value = self.msr;
                self.msr &= 0xf0;
                value
            }
            SCR => self.scr,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, value: u8, effects: &mut Effects) {
        let dlab = self.lcr & LCR_DLAB != 0;
        match offset {
            RBR_THR if dlab => self.divisor = self.divisor & 0xff00 | u16::from(value),
            IER if dlab => self.divisor = self.divisor & 0xff | u16::from(value) << 8,
            RBR_THR => {
                if self.mcr & MCR_LOOP != 0 {
                    self.push(value);
                } else {
                    effects.send = Some(value);
                }
                // The character is gone at once: the transmitter is empty again.
                self.thre = true;
            }
            IER => {
                let enabled = value & !self.ier & IER_THRE != 0;
                self.ier = value & 0xf;
                self.thre |= enabled;
            }
            IIR_FCR => self.write_fcr(value, effects),
            LCR => {
                let broken = value & !self.lcr & LCR_BREAK != 0;
                self.lcr = value;
                if broken && self.mcr & MCR_LOOP != 0 {
                    self.push(0);
                    self.lsr |= LSR_BI;
                }
            }
            MCR => {
                self.mcr = value & 0x1f;
                self.update_modem();
            }
            SCR => self.scr = value,
            // LSR and MSR: for factory tests only.
            _ => {}
        }
    }

    fn write_fcr(&mut self, value: u8, effects: &mut Effects) {
        let toggled = (value ^ self.fcr) & FCR_ENABLE != 0;
        if toggled || value & FCR_CLEAR_RX != 0 {
            self.rx.clear();
            self.freed(effects);
        }
        if toggled || value & FCR_CLEAR_TX != 0 {
            self.thre = true;
        }
        // The other bits are programmed only while the FIFOs are enabled.
        let kept = FCR_ENABLE | 0xc8;
        self.fcr = if value & FCR_ENABLE != 0 {
            value & kept
        } else {
            0
        };
    }
}

/// A 16550 UART.
pub struct Serial {
    state: Mutex<SerialState>,
    irq: IrqLine,
    backend: Arc<dyn SerialBackend>,
}

impl Serial {
    /// A UART with `backend` at the other end of its line.
    pub fn new(irq: IrqLine, backend: Arc<dyn SerialBackend>) -> Arc<Self> {
        let serial = Arc::new(Self {
            state: Mutex::default(),
            irq,
            backend,
        });
        serial.backend.connect(Arc::downgrade(&serial));
        serial
    }

    /// How many characters [`Serial::receive`] takes now. After a 0 the backend hears
    /// [`SerialBackend::room`].
    pub fn room(&self) -> usize {
        self.change(|state, _| {
            let room = state.room();
            state.full |= room == 0;
            room
        })
    }

    /// Hands characters to the guest; how many it has taken. When it takes more again after it
    /// refused some, the backend hears [`SerialBackend::room`].
    pub fn receive(&self, bytes: &[u8]) -> usize {
        self.change(|state, _| {
            let taken = state.room().min(bytes.len());
            state.rx.extend(&bytes[..taken]);
            state.full |= taken < bytes.len();
            taken
        })
    }

    /// A break on the line.
    pub fn receive_break(&self) {
        self.change(|state, _| {
            if state.mcr & MCR_LOOP == 0 {
                state.push(0);
                state.lsr |= LSR_BI;
            }
        });
    }

    /// All registers.
    pub fn state(&self) -> SerialState {
        lock(&self.state).clone()
    }

    /// Sets all registers.
    pub fn restore(&self, new: SerialState) {
        self.change(|state, _| *state = new);
    }

    fn change<R>(&self, act: impl FnOnce(&mut SerialState, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let mut state = lock(&self.state);
        let looped = state.mcr & MCR_LOOP != 0;
        let result = act(&mut state, &mut effects);
        if looped && state.mcr & MCR_LOOP == 0 {
            state.freed(&mut effects);
        }
        self.irq.set(state.cause() != IIR_NONE);
        drop(state);
        if let Some(byte) = effects.send {
            self.backend.send(byte);
        }
        if effects.room {
            self.backend.room();
        }
        result
    }
}

impl Mmio for Serial {
    fn read(&self, offset: u64, _: u32) -> u64 {
        self.change(|state, effects| state.read(offset, effects))
            .into()
    }

    fn write(&self, offset: u64, _: u32, value: u64) {
        self.change(|state, effects| state.write(offset, value as u8, effects));
    }
}

impl Device for Serial {
    fn reset(&self) {
        self.change(|state, effects| {
            let full = state.full;
            *state = SerialState::default();
            effects.room = full;
        });
    }
}
