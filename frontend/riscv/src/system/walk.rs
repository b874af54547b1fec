//! Address translation (section "Virtual Address Translation Process", chapters "Svnapot",
//! "Svpbmt", "Svadu").

use super::pmp::{self, Allowed};
use super::trap::{Exception, cause};
use super::{Privilege, System, envcfg, status};
use isomorph_frontend::{MemoryAccess, PhysicalMemory, TlbContext, Translation};

const PAGE: u64 = 4096;
const PHYSICAL_BITS: u32 = 56;

/// Modes of `satp` other than Bare, with their number of levels.
const MODES: [(u64, u32); 3] = [(8, 3), (9, 4), (10, 5)];

const V: u64 = 1;
const R: u64 = 1 << 1;
const W: u64 = 1 << 2;
const X: u64 = 1 << 3;
const U: u64 = 1 << 4;
const G: u64 = 1 << 5;
const A: u64 = 1 << 6;
const D: u64 = 1 << 7;
const PPN_SHIFT: u32 = 10;
const PPN: u64 = (1 << 44) - 1;
const RESERVED: u64 = 0x7f << 54;
const PBMT_SHIFT: u32 = 61;
const PBMT: u64 = 3 << PBMT_SHIFT;
const N: u64 = 1 << 63;
/// Encoding of a 64 KiB range in the low bits of the page number, and their number.
const NAPOT: (u64, u32) = (0b1000, 4);

const ASID_SHIFT: u32 = 44;
const ASID: u64 = 0xffff;

fn levels(satp: u64) -> Option<u32> {
    let mode = satp >> 60;
    MODES.iter().find(|m| m.0 == mode).map(|m| m.1)
}

/// Whether addresses of this privilege are translated.
pub(super) fn is_paged(sys: &System, who: Privilege) -> bool {
    who < Privilege::Machine && sys.satp >> 60 != 0
}

/// A write with an unsupported mode has no effect (section "Supervisor Address Translation and
/// Protection Register").
pub(super) fn set_satp(sys: &mut System, _: usize, value: u64) {
    let known = value >> 60 == 0 || levels(value).is_some();
    if known && value >> 60 <= sys.satp_max {
        sys.satp = value;
    }
}

fn page_fault(access: MemoryAccess, value: u64) -> Exception {
    let cause = match access {
        MemoryAccess::Fetch => cause::FETCH_PAGE,
        MemoryAccess::Load => cause::LOAD_PAGE,
        MemoryAccess::Store | MemoryAccess::Amo => cause::STORE_PAGE,
    };
    Exception { cause, value }
}

/// The exception of an access that protection or the bus refuses.
pub(super) fn access_fault(access: MemoryAccess, value: u64) -> Exception {
    let cause = match access {
        MemoryAccess::Fetch => cause::FETCH_ACCESS,
        MemoryAccess::Load => cause::LOAD_ACCESS,
        MemoryAccess::Store | MemoryAccess::Amo => cause::STORE_ACCESS,
    };
    Exception { cause, value }
}

/// What remembered translations depend on: privileges, SUM, MXR, translation; the address space.
pub(super) fn context(sys: &System) -> TlbContext {
    let (code, data) = (sys.privilege, sys.data_privilege());
    let paged = is_paged(sys, code) || is_paged(sys, data);
    let flag = |on: bool, bit: u32| u8::from(on) << bit;
    let sum = data == Privilege::Supervisor && sys.mstatus & status::SUM != 0;
    let mxr = sys.mstatus & status::MXR != 0;
    let mode = code as u8
        | (data as u8) << 2
        | flag(paged && sum, 4)
        | flag(paged && mxr, 5)
        | flag(paged, 6);
    let asid = if paged {
        sys.satp >> ASID_SHIFT & ASID
    } else {
        0
    };
    TlbContext { mode, asid }
}

/// One translation under way.
struct Walk<'a> {
    sys: &'a System,
    address: u64,
    bytes: u64,
    access: MemoryAccess,
    /// Privilege of the access.
    who: Privilege,
}

/// A valid leaf.
struct Leaf {
    pte: u64,
    /// Where it lies.
    at: u64,
    physical: u64,
    size: u64,
    global: bool,
}

/// Translates an access of `bytes` bytes that lies in one page.
pub(super) fn translate(
    sys: &System,
    address: u64,
    bytes: u64,
    access: MemoryAccess,
    memory: &mut dyn PhysicalMemory,
) -> Result<Translation, Exception> {
    let who = match access {
        MemoryAccess::Fetch => sys.privilege,
        _ => sys.data_privilege(),
    };
    let walk = Walk {
        sys,
        address,
        bytes,
        access,
        who,
    };
    match levels(sys.satp) {
        Some(levels) if is_paged(sys, who) => walk.paged(levels, memory),
        _ => walk.bare(),
    }
}

impl Walk<'_> {
    fn bare(&self) -> Result<Translation, Exception> {
        if self.address >> PHYSICAL_BITS != 0 {
            return Err(access_fault(self.access, self.address));
        }
        let rights = pmp::R | pmp::W | pmp::X;
        self.protected(self.address, PAGE, rights, true)
    }

    fn paged(
        &self,
        levels: u32,
        memory: &mut dyn PhysicalMemory,
    ) -> Result<Translation, Exception> {
        let unused = 64 - (12 + 9 * levels);
        let canonical = ((self.address << unused) as i64 >> unused) as u64;
        if canonical != self.address {
            return Err(self.page_fault());
        }
        loop {
            let leaf = self.leaf(levels, memory)?;
            let rights = self.rights(leaf.pte);
            let wanted = self.wanted();
            if rights & wanted != wanted {
                return Err(self.page_fault());
            }
            let needs = A | if wanted & pmp::W != 0 { D } else { 0 };
            let mut pte = leaf.pte;
            if pte & needs != needs {
                // Svadu, or else a fault; the access itself must be allowed for the update.
                if self.sys.menvcfg & envcfg::ADUE == 0 {
                    return Err(self.page_fault());
                }
                self.protected(leaf.physical, leaf.size, rights, leaf.global)?;
                self.check_table(leaf.at, pmp::W)?;
                let found = memory.compare_exchange_u64(leaf.at, pte, pte | needs);
                if found.ok_or_else(|| self.access_fault())? != pte {
                    continue; // somebody changed it: look again
                }
                pte |= needs;
            }
            let clean = if pte & D == 0 { pmp::W } else { 0 };
            return self.protected(leaf.physical, leaf.size, rights & !clean, leaf.global);
        }
    }

    /// Steps 1 to 4 and the checks of the leaf's form.
    fn leaf(&self, levels: u32, memory: &mut dyn PhysicalMemory) -> Result<Leaf, Exception> {
        let mut table = (self.sys.satp & PPN) * PAGE;
        let mut global = false;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let at = table + (self.address >> shift & 0x1ff) * 8;
            self.check_table(at, pmp::R)?;
            let pte = memory.load_u64(at).ok_or_else(|| self.access_fault())?;
            if !self.is_well_formed(pte) {
                return Err(self.page_fault());
            }
            global |= pte & G != 0;
            let ppn = pte >> PPN_SHIFT & PPN;
            if pte & (R | X) == 0 {
                table = ppn * PAGE;
                continue;
            }
            let mut size = 1 << shift;
            if pte & N != 0 {
                let (code, bits) = NAPOT;
                if level != 0 || ppn & ((1 << bits) - 1) != code {
                    return Err(self.page_fault());
                }
                size = PAGE << bits;
            } else if !(ppn * PAGE).is_multiple_of(size) {
                return Err(self.page_fault());
            }
            let physical = ppn * PAGE / size * size + self.address % size;
            return Ok(Leaf {
                pte,
                at,
                physical,
                size,
                global,
            });
        }
        Err(self.page_fault())
    }

    /// Step 3: valid, no reserved bit or encoding.
    fn is_well_formed(&self, pte: u64) -> bool {
        let leaf = pte & (R | X) != 0;
        let memory_type = pte & PBMT;
        let bad_type = if self.sys.menvcfg & envcfg::PBMTE != 0 && leaf {
            memory_type == PBMT
        } else {
            memory_type != 0
        };
        let bad_pointer = !leaf && pte & (A | D | U | N) != 0;
        let bad_range = pte & N != 0 && !self.sys.napot;
        pte & V != 0
            && !bad_range
            && pte & (R | W) != W
            && pte & RESERVED == 0
            && !bad_type
            && !bad_pointer
    }

    /// What the leaf allows at the privilege of the access.
    fn rights(&self, pte: u64) -> u8 {
        let status = self.sys.mstatus;
        let user = pte & U != 0;
        let supervisor = self.who == Privilege::Supervisor;
        let (data, code) = if supervisor {
            (!user || status & status::SUM != 0, !user)
        } else {
            (user, user)
        };
        let readable = pte & R != 0 || status & status::MXR != 0 && pte & X != 0;
        let mut rights = 0;
        if data && readable {
            rights |= pmp::R;
        }
        if data && pte & W != 0 {
            rights |= pmp::W;
        }
        if code && pte & X != 0 {
            rights |= pmp::X;
        }
        rights
    }

    fn wanted(&self) -> u8 {
        match self.access {
            MemoryAccess::Fetch => pmp::X,
            MemoryAccess::Load => pmp::R,
            MemoryAccess::Store => pmp::W,
            MemoryAccess::Amo => pmp::R | pmp::W,
        }
    }

    /// Page tables are read and written with supervisor privilege.
    fn check_table(&self, at: u64, right: u8) -> Result<(), Exception> {
        let allowed = self.sys.pmp.check(Privilege::Supervisor, at, 8, 8);
        if allowed.rights & right == 0 {
            return Err(self.access_fault());
        }
        Ok(())
    }

    /// The translation, as far as physical memory protection allows.
    fn protected(
        &self,
        physical: u64,
        size: u64,
        rights: u8,
        global: bool,
    ) -> Result<Translation, Exception> {
        let allowed = self.sys.pmp.check(self.who, physical, self.bytes, size);
        let Allowed { rights: more, size } = allowed;
        let wanted = self.wanted();
        if more & wanted != wanted {
            return Err(self.access_fault());
        }
        let mut rights = rights & more;
        // Code and data of different privilege: what this one finds does not hold for the other.
        if self.sys.privilege != self.sys.data_privilege() {
            rights &= if self.access == MemoryAccess::Fetch {
                pmp::X
            } else {
                pmp::R | pmp::W
            };
        }
        Ok(Translation {
            physical,
            size,
            read: rights & pmp::R != 0,
            write: rights & pmp::W != 0,
            exec: rights & pmp::X != 0,
            global,
        })
    }

    fn page_fault(&self) -> Exception {
        page_fault(self.access, self.address)
    }

    fn access_fault(&self) -> Exception {
        access_fault(self.access, self.address)
    }
}
