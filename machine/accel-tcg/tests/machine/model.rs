//! The reference: one hart on the IR's interpreter, without a TLB, blocks or devices.

use crate::bench::BASE;
use isomorph_frontend::{
    CodeSource, Guest, Limits, MemoryAccess, PhysicalMemory, SystemGuest, translate_block,
};
use isomorph_ir::interp::{Exit, FpEnv, Helpers, Interp, MemFault, Memory};
use isomorph_ir::{Builder, Order, TrapKind};
use isomorph_riscv::system::{Exception, System};
use isomorph_riscv::{HartState, RiscvMachine, State};
use std::cell::{Cell, RefCell};

/// Physical memory from [`BASE`] on.
pub struct Ram(pub Vec<u8>);

impl Ram {
    pub fn slice(&mut self, physical: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(physical.checked_sub(BASE)?).ok()?;
        self.0.get_mut(at..at.checked_add(len)?)
    }
}

impl PhysicalMemory for Ram {
    fn load_u64(&mut self, physical: u64) -> Option<u64> {
        let bytes = self.slice(physical, 8)?;
        Some(u64::from_le_bytes((&*bytes).try_into().ok()?))
    }

    fn compare_exchange_u64(&mut self, physical: u64, old: u64, new: u64) -> Option<u64> {
        let found = self.load_u64(physical)?;
        if found == old {
            self.slice(physical, 8)?.copy_from_slice(&new.to_le_bytes());
        }
        Some(found)
    }
}

/// Memory as translated code sees it.
struct Virtual<'a> {
    state: HartState,
    ram: &'a RefCell<Ram>,
    fault: Cell<Option<Exception>>,
}

impl Virtual<'_> {
    fn physical(&self, va: u64, bytes: u64, access: MemoryAccess) -> Result<u64, Exception> {
        let ram = &mut *self.ram.borrow_mut();
        let found = RiscvMachine::translate_address(&self.state, va, bytes, access, ram)?;
        let inside = ram.slice(found.physical, bytes as usize).is_some();
        let bus = || RiscvMachine::bus_error(va, access);
        inside.then_some(found.physical).ok_or_else(bus)
    }

    /// The physical addresses of the bytes of an access.
    fn places(&self, va: u64, bytes: u32, access: MemoryAccess) -> Result<Vec<u64>, MemFault> {
        let bytes = u64::from(bytes);
        let room = (4096 - va % 4096).min(bytes);
        let mut all = Vec::new();
        for (from, count) in [(0, room), (room, bytes - room)] {
            if count == 0 {
                continue;
            }
            let address = va.wrapping_add(from);
            match self.physical(address, count, access) {
                Ok(physical) => all.extend(physical..physical + count),
                Err(exception) => {
                    self.fault.set(Some(exception));
                    let write = access != MemoryAccess::Load;
                    return Err(MemFault { address, write });
                }
            }
        }
        Ok(all)
    }

    fn read_places(&self, places: &[u64]) -> u128 {
        let mut ram = self.ram.borrow_mut();
        let byte = |at: &u64| ram.slice(*at, 1).map_or(0, |byte| u128::from(byte[0]));
        places
            .iter()
            .map(byte)
            .rev()
            .fold(0, |all, byte| all << 8 | byte)
    }

    fn write_places(&self, places: &[u64], value: u128) {
        let mut ram = self.ram.borrow_mut();
        for (at, byte) in places.iter().zip(value.to_le_bytes()) {
            if let Some(to) = ram.slice(*at, 1) {
                to[0] = byte;
            }
        }
    }
}

impl Memory for Virtual<'_> {
    fn load(&mut self, address: u64, bytes: u32, _: Order) -> Result<u128, MemFault> {
        let places = self.places(address, bytes, MemoryAccess::Load)?;
        Ok(self.read_places(&places))
    }

    fn store(&mut self, address: u64, bytes: u32, _: Order, value: u128) -> Result<(), MemFault> {
        let places = self.places(address, bytes, MemoryAccess::Store)?;
        self.write_places(&places, value);
        Ok(())
    }

    fn cas(
        &mut self,
        address: u64,
        bytes: u32,
        _: Order,
        expected: u128,
        new: u128,
    ) -> Result<u128, MemFault> {
        let places = self.places(address, bytes, MemoryAccess::Store)?;
        let old = self.read_places(&places);
        if old == expected {
            self.write_places(&places, new);
        }
        Ok(old)
    }

    fn rmw(
        &mut self,
        address: u64,
        bytes: u32,
        _: Order,
        update: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, MemFault> {
        let places = self.places(address, bytes, MemoryAccess::Amo)?;
        let old = self.read_places(&places);
        self.write_places(&places, update(old));
        Ok(old)
    }

    fn fence(&mut self, _: Order) {}
}

impl CodeSource for Virtual<'_> {
    fn read(&self, pc: u64, out: &mut [u8]) -> usize {
        for (at, byte) in out.iter_mut().enumerate() {
            let place = self.physical(pc.wrapping_add(at as u64), 1, MemoryAccess::Fetch);
            let Ok(place) = place else { return at };
            *byte = self.read_places(&[place]) as u8;
        }
        out.len()
    }

    fn may_change(&self, _: u64) -> bool {
        true
    }
}

/// The part of the state that the interpreter has not.
struct Calls(System);

impl Helpers for Calls {
    fn helper(&mut self, index: u32, bytes: &mut [u8], fp: &mut FpEnv, args: [u64; 3]) -> u64 {
        let (regs, sys) = (State::new(), self.0);
        let mut state = HartState { regs, sys };
        state.set_bytes(bytes);
        RiscvMachine::set_fp_flags(&mut state, fp.flags.0);
        let helper = &RiscvMachine::helpers()[index as usize];
        let answer = (helper.func)(&mut state, args[0], args[1], args[2]);
        bytes.copy_from_slice(&state.to_bytes());
        self.0 = state.sys;
        answer
    }

    fn counter(&mut self, _: u8) -> u64 {
        0
    }
}

pub struct Model {
    guest: RiscvMachine,
    builder: Builder,
    interp: Interp,
    pub state: HartState,
    pub ram: RefCell<Ram>,
}

impl Model {
    /// A hart as the accelerator starts it.
    pub fn new(level: u8, ram: Vec<u8>) -> Self {
        let guest = RiscvMachine::default();
        Self {
            state: guest.start(0, level, BASE, [0; 2]),
            guest,
            builder: Builder::new(RiscvMachine::globals()),
            interp: Interp::new(RiscvMachine::globals()),
            ram: RefCell::new(Ram(ram)),
        }
    }

    /// Runs until the program counter is one of `ends`; false if that takes too long.
    pub fn run(&mut self, ends: &[u64]) -> bool {
        self.run_blocks(ends, 3000)
    }

    /// The same, for so many blocks at most.
    pub fn run_blocks(&mut self, ends: &[u64], most: u32) -> bool {
        for _ in 0..most {
            if ends.contains(&self.state.regs.pc) {
                return true;
            }
            self.block();
            let _ = RiscvMachine::take_flush(&mut self.state);
        }
        false
    }

    fn block(&mut self) {
        let (pc, mode) = (self.state.regs.pc, RiscvMachine::mode(&self.state));
        let mut memory = Virtual {
            state: self.state,
            ram: &self.ram,
            fault: Cell::new(None),
        };
        let limits = Limits::default();
        translate_block(&self.guest, &mut self.builder, &memory, pc, mode, limits);
        let mut bytes = self.state.to_bytes();
        let mut calls = Calls(self.state.sys);
        let block = self.builder.block();
        let exit = self.interp.run(block, &mut bytes, &mut memory, &mut calls);
        self.state.sys = calls.0;
        self.state.set_bytes(&bytes);
        match exit.expect("the state has the size of its globals") {
            Exit::Trap { kind, info, .. } => self.trap(kind, info),
            Exit::Fault { .. } => {
                let exception = memory.fault.take().expect("an exception");
                RiscvMachine::take_exception(&mut self.state, exception);
            }
            Exit::Direct { .. } | Exit::Indirect { .. } | Exit::Call { .. } => {}
        }
    }

    fn trap(&mut self, kind: TrapKind, info: u64) {
        let code = Virtual {
            state: self.state,
            ram: &self.ram,
            fault: Cell::new(None),
        };
        let exception = match kind {
            TrapKind::Return => {
                self.state.regs.pc = info;
                None
            }
            TrapKind::Mode | TrapKind::InsnSync | TrapKind::Yield => None,
            TrapKind::Fetch => code.physical(info, 1, MemoryAccess::Fetch).err(),
            _ => {
                let mut insn = [0; 4];
                let have = code.read(self.state.regs.pc, &mut insn);
                RiscvMachine::exception_of(&self.state, kind, info, &insn[..have])
            }
        };
        if let Some(exception) = exception {
            RiscvMachine::take_exception(&mut self.state, exception);
        }
    }
}
