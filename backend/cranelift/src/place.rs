//! From a compiled region to code for an address: the entry, the exits, then the body.
//!
//! ```text
//! 0      polled entry: to the interrupt's exit if one is pending
//! fast   to the runtime's border, with the addresses of body and exits
//! exits  8 bytes each: a jump (its displacement inside an aligned word), or a return
//! calls  behind exits that are calls: the call, its landing, the edge to the return point
//! stubs  of unlinked edges
//! cells  of landings
//! body
//! ```

use crate::CompiledRegion;
use crate::exits::{ExitKind, Return};
use isomorph_baseline::{Compiled, EdgeSite, Header, Landing, MapEntry, RBP_BIAS, Runtime};
use std::mem::offset_of;

/// Displacement of the interrupt flag off `rbp`: fits a byte by the choice of `RBP_BIAS`.
const IRQ: i8 = (offset_of!(Header, irq) as isize - RBP_BIAS as isize) as i8;

const CALL: u8 = 0xe8;
const JMP: u8 = 0xe9;
const RET: u8 = 0xc3;
const INT3: u8 = 0xcc;
const NOP: u8 = 0x90;

struct Placer<'a> {
    out: &'a mut Compiled,
    /// Runtime's address minus the code's.
    runtime: i64,
    rt: &'a Runtime,
    /// Displacements to landing cells, by landing.
    cells: Vec<u32>,
    /// Displacement to the body.
    body: u32,
}

/// See [`CompiledRegion::place`].
pub(crate) fn place(
    region: &CompiledRegion,
    (rt, runtime_base): (&Runtime, u64),
    base: u64,
    first_edge: u32,
    out: &mut Compiled,
) {
    out.clear();
    let runtime = runtime_base.wrapping_sub(base) as i64;
    let mut p = Placer {
        out,
        runtime,
        rt,
        cells: Vec::new(),
        body: 0,
    };
    p.entry(region);
    p.edge_stubs(first_edge);
    p.landing_cells();
    p.body(region);
}

/// Where the body begins in the code.
pub(crate) fn body_offset(region: &CompiledRegion) -> u32 {
    let mut out = Compiled::default();
    place(region, (&Runtime::default(), 0), 0, 0, &mut out);
    (out.code.len() - region.body.len()) as u32
}

impl Placer<'_> {
    fn pos(&self) -> u32 {
        self.out.code.len() as u32
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.code.extend_from_slice(bytes);
    }

    fn align(&mut self, to: usize, with: u8) {
        let len = self.out.code.len().next_multiple_of(to);
        self.out.code.resize(len, with);
    }

    fn align_by(&mut self, bytes: u32) {
        let len = self.out.code.len() + bytes as usize;
        self.out.code.resize(len, INT3);
    }

    /// An instruction that ends with a displacement, to be bound; gives the displacement's place.
    fn with_rel32(&mut self, opcode: &[u8]) -> u32 {
        self.put(opcode);
        self.put(&[0; 4]);
        self.pos() - 4
    }

    /// Lets the displacement at `rel32` lead to `target`, relative to the code's start.
    fn bind(&mut self, rel32: u32, target: i64) {
        let rel = (target - i64::from(rel32) - 4) as i32;
        self.out.code[rel32 as usize..][..4].copy_from_slice(&rel.to_le_bytes());
    }

    fn bind_here(&mut self, rel32: u32) {
        self.bind(rel32, self.pos().into());
    }

    /// `opcode` with a displacement to the runtime's stub.
    fn stub_jump(&mut self, opcode: &[u8], stub: u32) {
        let rel32 = self.with_rel32(opcode);
        self.bind(rel32, self.runtime + i64::from(stub));
    }

    fn edge(&mut self, rel32: u32, target: u64, polled: bool, call: bool) {
        self.out.edges.push(EdgeSite {
            rel32,
            stub: 0,
            target,
            polled,
            call,
        });
    }

    /// Entry, exits and calls.
    fn entry(&mut self, region: &CompiledRegion) {
        // cmp dword [rbp + IRQ], 0
        self.put(&[0x83, 0x7d, IRQ as u8, 0]);
        let poll = self.with_rel32(&[0x0f, 0x85]);
        self.out.fast_entry = self.pos();
        let exits = self.with_rel32(&[0x48, 0x8d, 0x15]);
        self.body = self.with_rel32(&[0x48, 0x8d, 0x0d]);
        let border = match region.plain {
            true => self.rt.region_plain,
            false => self.rt.region,
        };
        self.stub_jump(&[JMP], border);
        self.bind_here(poll);
        self.put(&[0x48, 0xb8]);
        self.put(&region.pc.to_le_bytes());
        self.stub_jump(&[JMP], self.rt.exit_irq);
        self.align(8, INT3);
        // The body counts exits from 1.
        self.bind(exits, i64::from(self.pos()) - 8);
        let calls = self.exits(region);
        for (rel32, kind) in calls {
            self.call(rel32, kind);
        }
    }

    /// The jumps to where exits lead; gives those that lead to calls.
    fn exits(&mut self, region: &CompiledRegion) -> Vec<(u32, ExitKind)> {
        let mut calls = Vec::new();
        for &kind in &region.exits {
            match kind {
                ExitKind::Edge { target, polled } => {
                    let rel32 = self.with_rel32(&[JMP]);
                    self.edge(rel32, target, polled, false);
                }
                ExitKind::Lookup => self.stub_jump(&[JMP], self.rt.lookup),
                ExitKind::Ret => self.put(&[RET]),
                ExitKind::Call { .. } | ExitKind::CallInd { .. } => {
                    calls.push((self.with_rel32(&[JMP]), kind));
                }
            }
            self.align(8, INT3);
        }
        calls
    }

    /// A call and its landing, from which the code for the return address is reached.
    fn call(&mut self, from: u32, kind: ExitKind) {
        self.align(8, INT3);
        self.bind_here(from);
        let ret = match kind {
            ExitKind::Call {
                target,
                polled,
                ret,
            } => {
                let rel32 = self.with_rel32(&[CALL]);
                self.edge(rel32, target, polled, true);
                ret
            }
            ExitKind::CallInd { ret } => {
                self.stub_jump(&[CALL], self.rt.lookup);
                ret
            }
            _ => return,
        };
        let Return::Edge { pc, polled } = ret else {
            return self.stub_jump(&[JMP], self.rt.lookup);
        };
        // cmp rax, [rip + cell]
        let cell = self.with_rel32(&[0x48, 0x3b, 0x05]);
        self.cells.push(cell);
        let landing = Landing {
            cell: 0,
            ret_pc: pc,
        };
        self.out.landings.push(landing);
        self.stub_jump(&[0x0f, 0x85], self.rt.lookup);
        self.align(8, NOP);
        let rel32 = self.with_rel32(&[JMP]);
        self.edge(rel32, pc, polled, false);
    }

    fn edge_stubs(&mut self, first_edge: u32) {
        for n in 0..self.out.edges.len() {
            let stub = self.pos();
            self.out.edges[n].stub = stub;
            self.bind(self.out.edges[n].rel32, stub.into());
            self.put(&[0xb8]);
            self.put(&first_edge.wrapping_add(n as u32).to_le_bytes());
            self.stub_jump(&[JMP], self.rt.exit_edge);
        }
    }

    fn landing_cells(&mut self) {
        self.align(8, INT3);
        for n in 0..self.out.landings.len() {
            self.out.landings[n].cell = self.pos();
            self.bind_here(self.cells[n]);
            self.put(&self.out.landings[n].ret_pc.to_le_bytes());
        }
    }

    fn body(&mut self, region: &CompiledRegion) {
        self.align(16, INT3);
        let pad = region.align.pad(self.pos());
        self.align_by(pad);
        self.bind_here(self.body);
        let at = self.pos();
        self.put(&region.body);
        let slow = match region.plain {
            true => self.rt.region_plain_slow,
            false => self.rt.region_slow,
        };
        for &rel32 in &region.slow_calls {
            self.bind(at + rel32, self.runtime + i64::from(slow));
        }
        let entry = MapEntry {
            host: 0,
            guest_pc: region.pc,
        };
        let entries = region.map.iter().map(|e| MapEntry {
            host: e.host + at,
            ..*e
        });
        self.out.map.extend([entry].into_iter().chain(entries));
    }
}
