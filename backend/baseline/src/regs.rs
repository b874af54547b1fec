//! Where values are: the static map of globals and the allocation of scratch registers.

use crate::asm::{Asm, MOV_STORE8, MOV_STORE16, Mem, RAX, RBP, RBX, RCX, RDI, RDX, RSI, Rm, v};
use crate::header::{GUEST_OFFSET, Header, RBP_BIAS, SPILL_SLOTS};
use isomorph_ir::{Block, GlobalTable, Type, Val};
use std::mem::offset_of;

/// Host registers of mapped integer globals, in order of rank.
pub(crate) const MAPPED_GPR: [u8; 11] = [RBX, RSI, RDI, 8, 9, 10, 11, 14, 15, 13, 12];
/// First of the vector registers of mapped floating-point globals (up to 15).
pub(crate) const FIRST_MAPPED_XMM: u8 = 3;
/// Scratch registers, in order of preference.
const SCRATCH_GPR: [u8; 3] = [RAX, RCX, RDX];

/// No owner of a scratch register.
const FREE: u16 = 0xffff;

/// The header field at `offset`.
pub(crate) const fn header(offset: usize) -> Mem {
    Mem::base(RBP, offset as i32 - RBP_BIAS as i32)
}

/// The guest state byte at `offset`.
pub(crate) const fn state(offset: u32) -> Mem {
    Mem::base(RBP, GUEST_OFFSET as i32 - RBP_BIAS as i32).offset(offset as i32)
}

/// Spill slot `n`.
const fn spill_slot(n: u8) -> Mem {
    header(offset_of!(Header, spills)).offset(n as i32 * 8)
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opnd {
    /// A general register.
    R(u8),
    /// A vector register.
    X(u8),
    /// Memory.
    M(Mem),
    /// A constant.
    I(u64),
}

/// Where a global is, for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) opnd: Opnd,
    pub(crate) slot: Mem,
    pub(crate) ty: Type,
}

/// Assigns host registers to the globals of lowest rank.
pub(crate) fn place_globals(table: &GlobalTable) -> Vec<Place> {
    let mut places: Vec<Place> = table
        .globals
        .iter()
        .map(|g| Place {
            opnd: Opnd::M(state(g.offset)),
            slot: state(g.offset),
            ty: g.ty,
        })
        .collect();
    let mut order: Vec<usize> = (0..places.len())
        .filter(|&n| table.globals[n].rank != 255)
        .collect();
    order.sort_by_key(|&n| table.globals[n].rank);
    let of = |ty: Type| {
        order
            .iter()
            .copied()
            .filter(move |&n| table.globals[n].ty == ty)
    };
    let ints: Vec<usize> = of(Type::I64).take(MAPPED_GPR.len()).collect();
    let floats: Vec<usize> = of(Type::F64).take(16 - FIRST_MAPPED_XMM as usize).collect();
    for (n, &reg) in ints.into_iter().zip(&MAPPED_GPR) {
        places[n].opnd = Opnd::R(reg);
    }
    for (n, reg) in floats.into_iter().zip(FIRST_MAPPED_XMM..) {
        places[n].opnd = Opnd::X(reg);
    }
    places
}

/// Where a temporary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loc {
    Nowhere,
    R(u8),
    X(u8),
    Spill(u8),
}

#[derive(Clone, Copy, Debug)]
struct TempState {
    loc: Loc,
    uses: u16,
    /// An F32 whose upper half (bits 32–63 of the register) is known to be all ones.
    boxed: bool,
}

/// The registers while a block is compiled.
#[derive(Debug, Default)]
pub(crate) struct Regs {
    places: Vec<Place>,
    /// Their operands, by global.
    opnds: Vec<Opnd>,
    temps: Vec<TempState>,
    /// Temporary in each scratch register: general 0–2, vector 0–2.
    gpr: [u16; 3],
    xmm: [u16; 3],
    /// Registers that the current operation reads (general and vector, by number).
    locked: (u16, u16),
    /// Scratch registers that the current operation has taken.
    busy: (u16, u16),
    free_spills: u32,
    /// Slots whose last read is in the current operation.
    dying_spills: u32,
    /// Globals known to hold a NaN-boxed F32, by vector register.
    boxed: u16,
    /// Temporaries that stand for a mapped global's register.
    aliases: Vec<u16>,
    /// The IR named something that does not exist.
    pub(crate) malformed: bool,
    /// No scratch register or spill slot was left.
    pub(crate) exhausted: bool,
}

impl Regs {
    pub(crate) fn new(places: Vec<Place>) -> Self {
        Self {
            opnds: places.iter().map(|p| p.opnd).collect(),
            places,
            ..Self::default()
        }
    }

    /// Forgets the last block.
    pub(crate) fn start(&mut self, block: &Block) {
        self.temps.clear();
        self.temps.extend(block.temps.iter().map(|t| TempState {
            loc: Loc::Nowhere,
            uses: t.uses,
            boxed: false,
        }));
        self.gpr = [FREE; 3];
        self.xmm = [FREE; 3];
        self.free_spills = (1 << SPILL_SLOTS) - 1;
        self.boxed = 0;
        self.aliases.clear();
        self.malformed = false;
        self.exhausted = false;
        self.next_op();
    }

    /// Begins an operation: nothing is locked or taken.
    #[inline(always)]
    pub(crate) fn next_op(&mut self) {
        self.locked = (0, 0);
        self.busy = (0, 0);
        if self.dying_spills != 0 {
            self.free_spills |= self.dying_spills;
            self.dying_spills = 0;
        }
    }

    /// The mapped globals with their registers.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where global `n` is.
    #[inline]
    pub(crate) fn place(&mut self, n: usize) -> Opnd {
        match self.opnds.get(n) {
            Some(&o) => o,
            None => {
                self.malformed = true;
                Opnd::I(0)
            }
        }
    }

    /// Type of global `n`.
    pub(crate) fn type_of(&self, n: usize) -> Type {
        self.places.get(n).map_or(Type::I64, |p| p.ty)
    }

    /// Remaining reads of temporary `v`; 0 for anything else.
    pub(crate) fn uses(&self, v: Val) -> u16 {
        v.as_temp()
            .and_then(|n| self.temps.get(n))
            .map_or(0, |t| t.uses)
    }

    /// Reads an operand: where it is. Its register stays valid to the end of the operation, also
    /// if this was the temporary's last read.
    #[inline(always)]
    pub(crate) fn take(&mut self, v: Val, block: &Block) -> Opnd {
        if let Some(n) = v.as_global()
            && let Some(&o) = self.opnds.get(n)
        {
            return o;
        }
        if let Some(value) = block.const_value(v) {
            return Opnd::I(value);
        }
        self.take_other(v)
    }

    #[inline(never)]
    fn take_other(&mut self, v: Val) -> Opnd {
        if let Some(n) = v.as_temp() {
            return self.take_temp(n);
        }
        self.malformed = true;
        Opnd::I(0)
    }

    fn take_temp(&mut self, n: usize) -> Opnd {
        let Some(t) = self.temps.get_mut(n) else {
            self.malformed = true;
            return Opnd::I(0);
        };
        t.uses = t.uses.saturating_sub(1);
        let (loc, dead) = (t.loc, t.uses == 0);
        let opnd = match loc {
            Loc::R(r) => {
                self.locked.0 |= 1 << r;
                Opnd::R(r)
            }
            Loc::X(x) => {
                self.locked.1 |= 1 << x;
                Opnd::X(x)
            }
            Loc::Spill(s) => Opnd::M(spill_slot(s)),
            Loc::Nowhere => {
                self.malformed = true;
                Opnd::I(0)
            }
        };
        if dead {
            self.release(n, loc);
        }
        opnd
    }

    fn release(&mut self, n: usize, loc: Loc) {
        match loc {
            Loc::R(r) if r < 3 => self.gpr[r as usize] = FREE,
            Loc::X(x) if x < 3 => self.xmm[x as usize] = FREE,
            // This very operation still reads the slot.
            Loc::Spill(s) => self.dying_spills |= 1 << s,
            _ if self.aliases.is_empty() => {}
            _ => self.aliases.retain(|&t| usize::from(t) != n),
        }
    }

    /// True if the F32 value of `v` has ones above it in its register.
    pub(crate) fn is_boxed(&self, v: Val) -> bool {
        match (v.as_global(), v.as_temp()) {
            (Some(n), _) => match self.opnds.get(n) {
                Some(Opnd::X(x)) => self.boxed >> x & 1 != 0,
                _ => false,
            },
            (_, Some(n)) => self.temps.get(n).is_some_and(|t| t.boxed),
            _ => false,
        }
    }

    /// Notes whether the value of `v` has ones above its low half.
    pub(crate) fn set_boxed(&mut self, v: Val, boxed: bool) {
        if let Some(n) = v.as_global() {
            if let Opnd::X(x) = self.place(n) {
                self.boxed = self.boxed & !(1 << x) | u16::from(boxed) << x;
            }
        } else if let Some(t) = v.as_temp().and_then(|n| self.temps.get_mut(n)) {
            t.boxed = boxed;
        }
    }

    /// Forgets what was known of globals' values.
    pub(crate) fn clobber(&mut self) {
        self.boxed = 0;
    }

    /// A free general scratch register for this operation's own use.
    pub(crate) fn scratch(&mut self, asm: &mut Asm) -> u8 {
        let taken = self.locked.0 | self.busy.0;
        let free = SCRATCH_GPR
            .into_iter()
            .find(|&r| taken >> r & 1 == 0 && self.gpr[r as usize] == FREE)
            .or_else(|| {
                let r = SCRATCH_GPR.into_iter().find(|&r| taken >> r & 1 == 0)?;
                self.evict(asm, r);
                Some(r)
            });
        let r = free.unwrap_or_else(|| {
            self.exhausted = true;
            RAX
        });
        self.busy.0 |= 1 << r;
        r
    }

    /// Gives back the general scratch registers taken so far and the locks on all operands but
    /// `keep`.
    pub(crate) fn restart_scratch(&mut self, keep: [Opnd; 2]) {
        self.busy.0 = 0;
        self.locked.0 = 0;
        for o in keep {
            if let Opnd::R(r) = o {
                self.locked.0 |= 1 << r;
            }
        }
    }

    /// A vector scratch register that is neither `d` nor one of the operands, if there is one.
    pub(crate) fn try_scratch_x(&mut self, asm: &mut Asm, args: &[Opnd], d: u8) -> Option<u8> {
        self.busy.1 |= 1 << d;
        for o in args {
            if let Opnd::X(x) = o {
                self.locked.1 |= 1 << x;
            }
        }
        let free = (self.busy.1 | self.locked.1) & 7 != 7;
        free.then(|| self.scratch_x(asm))
    }

    /// Takes scratch register `r`, whatever is in it.
    pub(crate) fn reserve_scratch(&mut self, r: u8) {
        self.busy.0 |= 1 << r;
    }

    /// Gives scratch register `r` back, so that a result may be in it.
    pub(crate) fn release_scratch(&mut self, r: u8) {
        self.busy.0 &= !(1 << r);
    }

    /// Keeps register `r` to the end of the operation.
    pub(crate) fn lock(&mut self, r: u8) {
        self.locked.0 |= 1 << r;
    }

    /// A free vector scratch register for this operation's own use.
    pub(crate) fn scratch_x(&mut self, asm: &mut Asm) -> u8 {
        let taken = self.locked.1 | self.busy.1;
        let free = (0..3)
            .find(|&x| taken >> x & 1 == 0 && self.xmm[x as usize] == FREE)
            .or_else(|| {
                let x = (0..3).find(|&x| taken >> x & 1 == 0)?;
                self.evict_x(asm, x);
                Some(x)
            });
        let x = free.unwrap_or_else(|| {
            self.exhausted = true;
            0
        });
        self.busy.1 |= 1 << x;
        x
    }

    fn spill(&mut self) -> u8 {
        if self.free_spills == 0 {
            self.exhausted = true;
            return 0;
        }
        let s = self.free_spills.trailing_zeros() as u8;
        self.free_spills &= self.free_spills - 1;
        s
    }

    /// Stores the temporary in general scratch register `r`, if there is one; the register keeps
    /// its value.
    pub(crate) fn evict(&mut self, asm: &mut Asm, r: u8) {
        let n = std::mem::replace(&mut self.gpr[r as usize], FREE);
        if n != FREE {
            let s = self.spill();
            asm.store(true, spill_slot(s), r);
            self.temps[n as usize].loc = Loc::Spill(s);
        }
    }

    fn evict_x(&mut self, asm: &mut Asm, x: u8) {
        let n = std::mem::replace(&mut self.xmm[x as usize], FREE);
        if n != FREE {
            let s = self.spill();
            asm.vex(v::MOVSD_STORE, false, x, 0, Rm::M(spill_slot(s)));
            self.temps[n as usize].loc = Loc::Spill(s);
        }
    }

    /// Stores every temporary that lives beyond this operation (whose operands were taken), so
    /// that it may use all general scratch registers as it likes. They keep their values.
    pub(crate) fn flush(&mut self, asm: &mut Asm) {
        for r in SCRATCH_GPR {
            self.evict(asm, r);
        }
        self.busy.0 |= 7;
    }

    /// [`Self::flush`] for both classes, and for aliases.
    pub(crate) fn flush_all(&mut self, asm: &mut Asm) {
        self.flush(asm);
        for x in 0..3 {
            self.evict_x(asm, x);
        }
        self.busy.1 |= 7;
        while let Some(n) = self.aliases.pop() {
            self.spill_alias(asm, n);
        }
    }

    fn spill_alias(&mut self, asm: &mut Asm, n: u16) {
        let s = self.spill();
        match self.temps[n as usize].loc {
            Loc::X(x) => {
                let m = Rm::M(spill_slot(s));
                asm.vex(v::MOVSD_STORE, false, x, 0, m);
            }
            Loc::R(r) => asm.store(true, spill_slot(s), r),
            _ => {}
        }
        self.temps[n as usize].loc = Loc::Spill(s);
    }

    /// A general register for a result that dies with this operation or lives in temporary `n`:
    /// `prefer` if it is a scratch register that is free by now.
    fn result_gpr(&mut self, asm: &mut Asm, prefer: Opnd) -> u8 {
        if let Opnd::R(r) = prefer
            && r < 3
            && self.gpr[r as usize] == FREE
            && self.busy.0 >> r & 1 == 0
        {
            return r;
        }
        let busy = self.busy.0;
        let free = |gpr: &[u16; 3], r: u8| gpr[r as usize] == FREE && busy >> r & 1 == 0;
        // A register that is not read is best; one whose last read this is comes second.
        let locked = self.locked.0;
        let found = SCRATCH_GPR
            .into_iter()
            .find(|&r| free(&self.gpr, r) && locked >> r & 1 == 0)
            .or_else(|| SCRATCH_GPR.into_iter().find(|&r| free(&self.gpr, r)));
        if let Some(r) = found {
            return r;
        }
        match SCRATCH_GPR.into_iter().find(|&r| busy >> r & 1 == 0) {
            Some(r) => {
                self.evict(asm, r);
                r
            }
            None => {
                self.exhausted = true;
                RAX
            }
        }
    }

    fn result_xmm(&mut self, asm: &mut Asm, prefer: Opnd) -> u8 {
        let (busy, locked) = (self.busy.1, self.locked.1);
        let free = |xmm: &[u16; 3], x: u8| xmm[x as usize] == FREE && busy >> x & 1 == 0;
        if let Opnd::X(x) = prefer
            && x < 3
            && free(&self.xmm, x)
        {
            return x;
        }
        let found = (0..3)
            .find(|&x| free(&self.xmm, x) && locked >> x & 1 == 0)
            .or_else(|| (0..3).find(|&x| free(&self.xmm, x)));
        if let Some(x) = found {
            return x;
        }
        match (0..3).find(|&x| busy >> x & 1 == 0) {
            Some(x) => {
                self.evict_x(asm, x);
                x
            }
            None => {
                self.exhausted = true;
                0
            }
        }
    }

    /// The general register to compute result `d` in; may be one of the operands' registers.
    /// [`Self::finish`] follows once it is written. `hint` is a register that the next operation
    /// would move a temporary to.
    #[inline(always)]
    pub(crate) fn dst(&mut self, asm: &mut Asm, d: Val, prefer: Opnd, hint: Option<u8>) -> u8 {
        if let Some(n) = d.as_global()
            && let Some(&Opnd::R(r)) = self.opnds.get(n)
        {
            self.overwrite_gpr(asm, r);
            return r;
        }
        self.dst_other(asm, d, prefer, hint)
    }

    #[inline(never)]
    fn dst_other(&mut self, asm: &mut Asm, d: Val, prefer: Opnd, hint: Option<u8>) -> u8 {
        if d.as_global().is_some() {
            let r = self.result_gpr(asm, prefer);
            self.busy.0 |= 1 << r;
            return r;
        }
        let Some(n) = d.as_temp().filter(|&n| n < self.temps.len()) else {
            self.malformed = true;
            return RAX;
        };
        if let Some(r) = hint {
            self.overwrite_gpr(asm, r);
            self.temps[n].loc = Loc::R(r);
            return r;
        }
        let r = self.result_gpr(asm, prefer);
        self.busy.0 |= 1 << r;
        if self.temps[n].uses != 0 {
            self.gpr[r as usize] = n as u16;
            self.temps[n].loc = Loc::R(r);
        }
        r
    }

    /// The vector register to compute result `d` in, as [`Self::dst`].
    #[inline(never)]
    pub(crate) fn dst_x(&mut self, asm: &mut Asm, d: Val, prefer: Opnd, hint: Option<u8>) -> u8 {
        if let Some(n) = d.as_global() {
            if let Opnd::X(x) = self.place(n) {
                self.overwrite_xmm(asm, x);
                self.boxed &= !(1 << x);
                return x;
            }
            let x = self.result_xmm(asm, prefer);
            self.busy.1 |= 1 << x;
            return x;
        }
        let Some(n) = d.as_temp().filter(|&n| n < self.temps.len()) else {
            self.malformed = true;
            return 0;
        };
        self.temps[n].boxed = false;
        if let Some(x) = hint {
            self.overwrite_xmm(asm, x);
            self.temps[n].loc = Loc::X(x);
            return x;
        }
        let x = self.result_xmm(asm, prefer);
        self.busy.1 |= 1 << x;
        if self.temps[n].uses != 0 {
            self.xmm[x as usize] = n as u16;
            self.temps[n].loc = Loc::X(x);
        }
        x
    }

    /// Lets temporary `d` stand for the vector register `x` of a mapped global.
    pub(crate) fn alias_x(&mut self, d: Val, x: u8, boxed: bool) {
        let Some(n) = d.as_temp().filter(|&n| n < self.temps.len()) else {
            self.malformed = true;
            return;
        };
        if self.temps[n].uses != 0 {
            self.temps[n].loc = Loc::X(x);
            self.temps[n].boxed = boxed;
            if x >= 3 {
                self.aliases.push(n as u16);
            } else {
                self.xmm[x as usize] = n as u16;
            }
        }
    }

    fn overwrite_gpr(&mut self, asm: &mut Asm, r: u8) {
        if !self.aliases.is_empty() {
            self.save_aliases(asm, Loc::R(r));
        }
    }

    fn overwrite_xmm(&mut self, asm: &mut Asm, x: u8) {
        if !self.aliases.is_empty() {
            self.save_aliases(asm, Loc::X(x));
        }
    }

    /// Spills the temporaries that stand for a register about to be written.
    #[cold]
    fn save_aliases(&mut self, asm: &mut Asm, loc: Loc) {
        let mut i = 0;
        while i < self.aliases.len() {
            let n = self.aliases[i];
            if self.temps[n as usize].loc == loc {
                self.aliases.swap_remove(i);
                self.spill_alias(asm, n);
            } else {
                i += 1;
            }
        }
    }

    /// Stores result `d`, computed in general register `r`, if it lives in the guest state.
    #[inline]
    pub(crate) fn finish(&mut self, asm: &mut Asm, d: Val, r: u8) {
        if let Some(n) = d.as_global()
            && let Opnd::M(m) = self.place(n)
        {
            match self.type_of(n) {
                Type::I8 => asm.op8(MOV_STORE8, false, r, Rm::M(m)),
                Type::I16 => asm.op(MOV_STORE16, false, r, Rm::M(m)),
                ty => asm.store(ty == Type::I64, m, r),
            }
        }
    }

    /// Stores result `d`, computed in vector register `x`, if it lives in the guest state.
    #[inline]
    pub(crate) fn finish_x(&mut self, asm: &mut Asm, d: Val, x: u8) {
        if let Some(n) = d.as_global()
            && let Opnd::M(m) = self.place(n)
        {
            let op = match self.type_of(n) {
                Type::F32 => v::MOVSS_STORE,
                _ => v::MOVSD_STORE,
            };
            asm.vex(op, false, x, 0, Rm::M(m));
        }
    }

    /// True if temporaries are alive (they must not be across a call).
    pub(crate) fn any_live(&self) -> bool {
        self.gpr != [FREE; 3] || self.xmm != [FREE; 3] || !self.aliases.is_empty()
    }
}
