//! Tier 2: regions of IR blocks to x86-64 through Cranelift.
//!
//! Only bytes are produced here: [`Compiler::compile`] on any thread, then
//! [`CompiledRegion::place`] for an address. What comes out is a [`Compiled`] like tier 1's, to be
//! placed, linked and dropped in the same way.
//!
//! Invariants:
//! - This crate alone names Cranelift.
//! - A region is entered and left as a block of tier 1 is: the globals in tier 1's registers. Its
//!   body is a function `extern "C" fn(base) -> (payload, exit)`, `base` being tier 1's `rbp`,
//!   that runs on the host's stack and MXCSR with the globals as values; [`Runtime::region`] is
//!   the border between the two. One that neither calls functions of the host nor has to do with
//!   floating point is reached by [`Runtime::region_plain`] and leaves MXCSR and the vector
//!   registers alone.
//! - The body is position-independent but for calls of [`Runtime::region_slow`], and holds no host
//!   address: everything else is reached through the [`Header`](isomorph_baseline::Header).
//! - Guest state is complete in memory on the slow path of every access, at every helper call and
//!   at every exit. Where an access faults on the host, it is with what [`Recovery`] finds.
//! - Every loop head polls [`Header::irq`](isomorph_baseline::Header::irq), with a load that stays
//!   where it is: nothing is moved at `opt_level=none`.
//! - Floating-point arithmetic is never CLIF's, whose operations lose flags: it is a call of the
//!   runtime's function, or the region is refused ([`Floats`]).
//! - No value of the body lives in a vector register, which borders and slow paths rely on.
#![forbid(unsafe_code)]

mod align;
mod atomic;
mod exits;
mod flow;
mod fp;
mod int;
mod locate;
mod mem;
mod pc_hash;
mod place;
mod plan;
mod recovery;
mod streams;
mod translate;

use align::Align;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Function, Signature, UserFuncName, types};
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, SetError};
use cranelift_codegen::{CodegenError, Context};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use isomorph_baseline::{Compiled, Layout, MapEntry, Runtime};
use isomorph_ir::passes::Cfg;
use isomorph_ir::{Op, Region, Site};
use locate::Access;
use plan::Plan;
use std::time::{Duration, Instant};
use translate::Built;

pub(crate) use exits::ExitKind;
pub use recovery::Recovery;
pub use streams::steady_accesses;

/// What becomes of floating-point arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// A region that has any is refused: tier 1's way, on the host's unit, is faster.
    Refuse,
    /// Calls of the runtime's function: exact, and slow.
    Call,
}

/// Why there is no code for a region. The region stays with tier 1.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The operation has no code here.
    #[error("operation {site} ({op:?}) has no code in tier 2")]
    Refused {
        /// Where it is.
        site: Site,
        /// The operation.
        op: Op,
    },
    /// The IR breaks its rules.
    #[error("malformed IR at operation {0}")]
    Malformed(Site),
    /// The region has no block at its entry.
    #[error("the region has no entry")]
    NoEntry,
    /// The guest state at an access could not be made sure of.
    #[error("the guest state at an access is lost")]
    Unrecoverable,
    /// Cranelift refused a setting.
    #[error("the code generator's settings")]
    Settings(#[from] SetError),
    /// Cranelift does not have the host's instruction set.
    #[error("the code generator's instruction set")]
    Host(#[from] isa::LookupError),
    /// Cranelift failed.
    #[error("the code generator")]
    Codegen(#[from] CodegenError),
    /// The code refers to something that does not exist at run time.
    #[error("the code generator left a relocation that is none of ours")]
    Relocation,
}

/// What compiling a region took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks of the region that control can reach.
    pub blocks: u32,
    /// Guest instructions in them, without those that only a return would lead to.
    pub insns: u32,
    /// IR operations in them, but for `insn` marks.
    pub ops: u32,
    /// CLIF instructions they became.
    pub clif: u32,
    /// Bytes of the body.
    pub bytes: u32,
    /// How often code was made: again if the state at an access could not be recovered.
    pub attempts: u32,
    /// Time to build the CLIF.
    pub build: Duration,
    /// Time that Cranelift took.
    pub codegen: Duration,
}

/// Code of one region, for no address yet.
#[derive(Clone, Debug)]
pub struct CompiledRegion {
    /// Guest pc of the entry.
    pub(crate) pc: u64,
    /// The function's bytes.
    pub(crate) body: Vec<u8>,
    /// Whether [`Runtime::region_plain`] is its border.
    pub(crate) plain: bool,
    /// Offsets in the body of displacements to [`Runtime::region_slow`], or to
    /// [`Runtime::region_plain_slow`].
    pub(crate) slow_calls: Vec<u32>,
    /// What the function's second result names, counted from 1.
    pub(crate) exits: Vec<ExitKind>,
    /// Guest pc by offset in the body.
    pub(crate) map: Vec<MapEntry>,
    pub(crate) recovery: Recovery,
    /// Where the body should begin in a line of the instruction cache.
    pub(crate) align: Align,
    /// What it took.
    pub stats: Stats,
}

impl CompiledRegion {
    /// The alignment of code that loops like best.
    pub const ALIGN: u64 = align::LINE as u64;

    /// The code for executable address `base`, given where the runtime is. Edge ids count up from
    /// `first_edge`. The code's length does not depend on them. The address has to be 16-byte
    /// aligned; loops run faster if it is a multiple of [`CompiledRegion::ALIGN`].
    pub fn place(&self, runtime: (&Runtime, u64), base: u64, first_edge: u32, out: &mut Compiled) {
        place::place(self, runtime, base, first_edge, out);
    }

    fn set(&mut self, pc: u64, exits: Vec<ExitKind>, mut recovery: Recovery) {
        (self.pc, self.exits) = (pc, exits);
        recovery.body = place::body_offset(self);
        self.recovery = recovery;
    }

    /// How to bring the guest state up to date where the code has faulted on the host.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

/// How a compiler makes code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    floats: Floats,
    /// See [`Compiler::count_rounds`].
    rounds: Option<usize>,
    /// See [`Compiler::alone`].
    alone: bool,
}

/// Compiles regions, one after the other. Keeps its storage from region to region.
pub struct Compiler {
    isa: OwnedTargetIsa,
    context: Context,
    builder: FunctionBuilderContext,
    layout: Layout,
    ways: Ways,
    /// Guest instructions by source location, of the region that was compiled last.
    pcs: Vec<u64>,
}

impl Compiler {
    /// A compiler for guests of this layout, for hosts that tier 1 supports.
    ///
    /// # Errors
    /// [`CompileError`] if Cranelift lacks what is asked of it.
    pub fn new(layout: Layout, floats: Floats) -> Result<Self, CompileError> {
        let mut flags = settings::builder();
        flags.set("opt_level", "none")?;
        flags.set("is_pic", "true")?;
        flags.set("enable_probestack", "false")?;
        flags.set("unwind_info", "false")?;
        flags.set("enable_table_access_spectre_mitigation", "false")?;
        // Tells where loops are.
        flags.set("machine_code_cfg_info", "true")?;
        let verifier = if cfg!(debug_assertions) {
            "true"
        } else {
            "false"
        };
        flags.set("enable_verifier", verifier)?;
        let mut isa = isa::lookup_by_name("x86_64-unknown-linux-gnu")?;
        for feature in FEATURES {
            isa.enable(feature)?;
        }
        Ok(Self {
            isa: isa.finish(settings::Flags::new(flags))?,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            layout,
            ways: Ways {
                floats,
                rounds: None,
                alone: false,
            },
            pcs: Vec::new(),
        })
    }

    /// From now on bodies count how often control passes through their entry, and where they are
    /// left add that to the 32-bit word at this offset from the start of the header (accesses that
    /// fault aside).
    pub fn count_rounds(&mut self, word: Option<usize>) {
        self.ways.rounds = word;
    }

    /// Whether regions from now on have no tier 1 beside them: what an access that misses the
    /// software TLB needs is then done in the region, which is slower code. Else the region leaves
    /// for the instruction of such an access, unless it begins with it.
    pub fn alone(&mut self, alone: bool) {
        self.ways.alone = alone;
    }

    /// Compiles `region`.
    ///
    /// # Errors
    /// [`CompileError`] if the region has to stay with tier 1.
    pub fn compile(&mut self, region: &Region) -> Result<CompiledRegion, CompileError> {
        let Some(entry) = region.blocks.get(region.entry) else {
            return Err(CompileError::NoEntry);
        };
        let mut build = Duration::ZERO;
        let mut codegen = Duration::ZERO;
        let start = Instant::now();
        let cfg = Cfg::new(region);
        let mut plan = Plan::new(region, &cfg, self.layout);
        build += start.elapsed();
        for attempt in 1.. {
            let start = Instant::now();
            let mut built = self.build(region, &cfg, &plan)?;
            build += start.elapsed();
            let start = Instant::now();
            self.label(&mut built.accesses)?;
            self.context
                .compile(&*self.isa, &mut ControlPlane::default())
                .map_err(|e| e.inner)?;
            codegen += start.elapsed();
            match self.recovery(&built.accesses) {
                Ok(recovery) => {
                    let mut compiled = self.finish(&built.pcs)?;
                    compiled.plain = built.plain;
                    self.pcs = built.pcs;
                    compiled.set(entry.pc, built.exits, recovery);
                    compiled.stats = Stats {
                        bytes: compiled.body.len() as u32,
                        attempts: attempt,
                        build,
                        codegen,
                        ..built.stats
                    };
                    return Ok(compiled);
                }
                Err(_) if attempt == ATTEMPTS => plan = Plan::all(region, self.layout.memory),
                Err(_) if attempt > ATTEMPTS => break,
                Err(lost) => lost
                    .into_iter()
                    .for_each(|(at, global)| plan.add(at, global)),
            }
        }
        Err(CompileError::Unrecoverable)
    }

    /// Brings the function in the form in which code is made from it, and labels the values that
    /// a fault has to find.
    fn label(&mut self, accesses: &mut [Access]) -> Result<(), CompileError> {
        if accesses.iter().all(|a| a.dirty.is_empty()) {
            return Ok(());
        }
        let context = &mut self.context;
        context.compute_cfg();
        context.compute_domtree();
        context.eliminate_unreachable_code(&*self.isa)?;
        context.remove_constant_phis(&*self.isa)?;
        locate::label(&mut context.func.dfg, accesses);
        Ok(())
    }

    /// Where the guest state of each access is, or what of it is lost.
    fn recovery(&self, accesses: &[Access]) -> Result<Recovery, Vec<(Site, usize)>> {
        let Some(code) = self.context.compiled_code() else {
            return Err(Vec::new());
        };
        let dfg = &self.context.func.dfg;
        let recovery = locate::find(code, dfg, accesses, self.layout.globals)?;
        match recovery.frame_bytes() <= Recovery::FRAME_LIMIT {
            true => Ok(recovery),
            false => Err(Vec::new()),
        }
    }

    /// The CLIF of the region that was compiled last, as text. The source location of an
    /// instruction is its guest instruction's address: `@80000020`.
    pub fn clif(&self) -> String {
        let text = self.context.func.display().to_string();
        let lines = text.lines().map(|line| self.located(line));
        lines.map(|line| line + "\n").collect()
    }

    /// A line of CLIF with the guest's address for the number of its source location.
    fn located(&self, line: &str) -> String {
        let pc = |rest: &str| {
            let number = rest.split(' ').next()?;
            let n = usize::from_str_radix(number, 16).ok()?;
            Some(format!("@{:x}{}", self.pcs.get(n)?, &rest[number.len()..]))
        };
        let located = line.strip_prefix('@').and_then(pc);
        located.unwrap_or_else(|| line.to_owned())
    }

    /// Brings the region's CLIF to the context.
    fn build(&mut self, region: &Region, cfg: &Cfg, plan: &Plan) -> Result<Built, CompileError> {
        self.context.clear();
        let mut sig = Signature::new(CallConv::SystemV);
        sig.params.push(AbiParam::new(types::I64));
        sig.returns = vec![AbiParam::new(types::I64); 2];
        self.context.func = Function::with_name_signature(UserFuncName::default(), sig);
        // A region that was refused leaves the storage in use.
        let mut storage = std::mem::take(&mut self.builder);
        let builder = FunctionBuilder::new(&mut self.context.func, &mut storage);
        let config = self.isa.frontend_config();
        let what = (region, cfg, plan);
        let mut built = translate::translate(builder, what, self.layout, self.ways, config)?;
        self.builder = storage;
        built.stats.clif = self.context.func.dfg.num_insts() as u32;
        Ok(built)
    }

    /// The bytes that Cranelift made, and what they refer to.
    fn finish(&self, pcs: &[u64]) -> Result<CompiledRegion, CompileError> {
        use cranelift_codegen::binemit::Reloc;
        let code = self
            .context
            .compiled_code()
            .ok_or(CompileError::Relocation)?;
        let mut slow_calls = Vec::new();
        for reloc in code.buffer.relocs() {
            if reloc.kind != Reloc::X86CallPCRel4 {
                return Err(CompileError::Relocation);
            }
            slow_calls.push(reloc.offset);
        }
        let mut map: Vec<MapEntry> = Vec::new();
        for range in code.buffer.get_srclocs_sorted() {
            let Some(&guest_pc) = pcs.get(range.loc.bits() as usize) else {
                continue;
            };
            if map.last().is_none_or(|last| last.guest_pc != guest_pc) {
                let host = range.start;
                map.push(MapEntry { host, guest_pc });
            }
        }
        Ok(CompiledRegion {
            pc: 0,
            plain: false,
            body: code.buffer.data().to_vec(),
            slow_calls,
            exits: Vec::new(),
            map,
            recovery: Recovery::default(),
            align: Align::new(code.buffer.data().len(), &code.bb_starts, &code.bb_edges),
            stats: Stats::default(),
        })
    }
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler")
            .field("layout", &self.layout)
            .field("ways", &self.ways)
            .finish_non_exhaustive()
    }
}

/// How often code is made before all guest state is written before all accesses.
const ATTEMPTS: u32 = 2;

/// What [`isomorph_baseline::host_supported`] checks for, as Cranelift names it.
const FEATURES: [&str; 12] = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_bmi1",
    "has_bmi2",
    "has_fma",
    "has_lzcnt",
    "has_cmpxchg16b",
];
