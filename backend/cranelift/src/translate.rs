//! A region's way to CLIF: blocks, operands, the guest state.

use crate::exits::{self, Dispatch, ExitKind};
use crate::flow::{self, Flow, Set};
use crate::locate::Access;
use crate::mem::{self, Page};
use crate::plan::Plan;
use crate::streams::{Stream, streams};
use crate::{CompileError, Stats, Ways};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, DebugTag, ExtFuncData, ExternalName, FuncRef, InstBuilder, MemFlagsData,
    SigRef, Signature, SourceLoc, UserExternalName, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, Variable};
use isomorph_baseline::{GUEST_OFFSET, Layout, Memory, RBP_BIAS};
use isomorph_ir::passes::Cfg;
use isomorph_ir::{Block, Cond, Global, GlobalTable, Inst, Op, Region, Site, Type, Val};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A step of the translation.
pub(crate) type Step<T = ()> = Result<T, CompileError>;

/// Flags of accesses to the header and the guest state.
pub(crate) const TRUSTED: MemFlagsData = MemFlagsData::trusted();

/// Displacement off [`Translate::base`] of what is at `offset` in the header or behind it.
pub(crate) const fn at(offset: usize) -> i32 {
    offset as i32 - RBP_BIAS as i32
}

/// A region on its way to CLIF.
pub(crate) struct Translate<'a> {
    pub(crate) f: FunctionBuilder<'a>,
    pub(crate) region: &'a Region,
    pub(crate) memory: Memory,
    pub(crate) ways: Ways,
    /// [`RBP_BIAS`] beyond the header.
    pub(crate) base: Value,
    /// The CLIF block of each block.
    pub(crate) blocks: Vec<ir::Block>,
    pub(crate) exits: Vec<ExitKind>,
    /// The operation that is being translated.
    pub(crate) at: Site,
    /// Address of the current guest instruction.
    pub(crate) pc: u64,
    /// Whether computed jumps share tables.
    pub(crate) shares: bool,
    pub(crate) dispatches: Vec<Dispatch>,
    table: &'static GlobalTable,
    used: Set,
    globals: Vec<Option<Variable>>,
    locals: Vec<Variable>,
    temps: Vec<Option<Value>>,
    /// Globals that may be newer than memory.
    pub(crate) dirty: Set,
    /// What is written before accesses.
    plan: &'a Plan,
    /// The accesses whose guest state is to be recovered.
    accesses: Vec<Access>,
    /// Guest pc by source location.
    pcs: Vec<u64>,
    /// The runtime's `region_slow`.
    slow: Option<FuncRef>,
    /// Accesses whose page is known from one before, which comes with the distance from it.
    pub(crate) followers: HashMap<Site, (Site, i64)>,
    /// What is known of the pages of those before.
    pub(crate) pages: HashMap<Site, Page>,
    /// Accesses that are likely to stay in the page that is known of them.
    pub(crate) streams: HashMap<Site, Stream>,
    /// Each of those pages once.
    pub(crate) noted: Vec<Page>,
    /// Passes through the entry so far, and where their number is added to on leaving.
    rounds: Option<(Variable, usize)>,
    stats: Stats,
}

/// What a region became, beside its CLIF.
pub(crate) struct Built {
    pub(crate) exits: Vec<ExitKind>,
    pub(crate) accesses: Vec<Access>,
    pub(crate) pcs: Vec<u64>,
    /// See [`plain`].
    pub(crate) plain: bool,
    pub(crate) stats: Stats,
}

/// Builds the CLIF of `region` with `f`.
pub(crate) fn translate(
    mut f: FunctionBuilder<'_>,
    (region, cfg, plan): (&Region, &Cfg, &Plan),
    layout: Layout,
    ways: Ways,
    config: TargetFrontendConfig,
) -> Step<Built> {
    let flow = Flow::new(region, cfg, layout.memory, plan);
    let start = f.create_block();
    f.append_block_params_for_function_params(start);
    f.switch_to_block(start);
    let base = f.block_params(start)[0];
    let blocks = region.blocks.iter().map(|_| f.create_block()).collect();
    let mut t = Translate {
        f,
        region,
        memory: layout.memory,
        ways,
        base,
        blocks,
        exits: Vec::new(),
        at: Site { block: 0, inst: 0 },
        pc: region.blocks[region.entry].pc,
        shares: exits::shares(region),
        dispatches: Vec::new(),
        table: layout.globals,
        used: flow.used.clone(),
        globals: vec![None; layout.globals.globals.len()],
        locals: Vec::new(),
        temps: Vec::new(),
        dirty: Set::default(),
        plan,
        accesses: Vec::new(),
        pcs: Vec::new(),
        slow: None,
        followers: HashMap::new(),
        pages: HashMap::new(),
        streams: HashMap::new(),
        noted: Vec::new(),
        rounds: None,
        stats: Stats::default(),
    };
    if let Some(word) = ways.rounds {
        let (count, zero) = (t.f.declare_var(types::I64), t.word(0));
        t.f.def_var(count, zero);
        t.rounds = Some((count, word));
    }
    if layout.memory != Memory::Identity {
        t.note_pages(cfg);
    }
    t.entry()?;
    for &n in cfg.order() {
        t.dirty.clone_from(&flow.dirty[n]);
        t.block(n, cfg.is_loop_head(n))?;
    }
    t.dispatches();
    t.f.seal_all_blocks();
    t.f.finalize(config);
    Ok(Built {
        exits: t.exits,
        accesses: t.accesses,
        pcs: t.pcs,
        plain: plain(region, cfg, &flow.used, layout.globals),
        stats: t.stats,
    })
}

/// True if a region calls no function of the host but for slow paths, and has to do with neither
/// MXCSR nor globals that may live in vector registers.
fn plain(region: &Region, cfg: &Cfg, used: &Set, table: &GlobalTable) -> bool {
    let integer = |n| table.get(n).is_some_and(|g: &Global| g.ty.is_int());
    let float = |op: Op| (Op::Bitcast..=Op::SetRound).contains(&op);
    let calls = |i: &Inst| i.op == Op::CallHelper || float(i.op);
    let blocks = cfg.order().iter().map(|&n| &region.blocks[n]);
    used.iter().all(integer) && !blocks.flat_map(flow::body).any(calls)
}

/// The CLIF type of a value: floating-point numbers are bits.
pub(crate) fn clif(ty: Type) -> Option<ir::Type> {
    Some(match ty {
        Type::I8 => types::I8,
        Type::I16 => types::I16,
        Type::I32 | Type::F32 => types::I32,
        Type::I64 | Type::F64 => types::I64,
        Type::V128 => return None,
    })
}

impl Translate<'_> {
    /// Finds the accesses whose pages are noted, and makes room for those.
    fn note_pages(&mut self, cfg: &Cfg) {
        self.streams = streams(self.region, cfg);
        let numbers = self.streams.values().map(|s| s.number + 1);
        let count = numbers.max().unwrap_or(0);
        self.noted = (0..count).map(|_| Page::none(&mut self.f)).collect();
        for (&site, stream) in &self.streams {
            self.pages.insert(site, self.noted[stream.number]);
        }
        self.followers = mem::followers(self.region);
        let mut leaders: Vec<Site> = self.followers.values().map(|f| f.0).collect();
        leaders.sort_unstable();
        for leader in leaders {
            if let Entry::Vacant(free) = self.pages.entry(leader) {
                self.noted.push(*free.insert(Page::none(&mut self.f)));
            }
        }
    }

    /// Brings the globals and locals into being, and goes to the entry.
    fn entry(&mut self) -> Step {
        for n in self.used.clone().iter() {
            let Some(ty) = self.table.get(n).and_then(|g| clif(g.ty)) else {
                // A vector global; what names it is refused where it stands.
                continue;
            };
            self.globals[n] = Some(self.f.declare_var(ty));
        }
        self.load_globals();
        for _ in 0..self.region.locals {
            let zero = self.word(0);
            let local = self.f.declare_var(types::I64);
            self.f.def_var(local, zero);
            self.locals.push(local);
        }
        let to = self.blocks[self.region.entry];
        self.f.ins().jump(to, &[]);
        Ok(())
    }

    /// Whether block `n` is that of the entry, and no preheader of it.
    fn is_round(&self, n: usize) -> bool {
        let region = self.region;
        let before = region.preheaders.iter().any(|p| p.block == n);
        !before && region.blocks[n].pc == region.blocks[region.entry].pc
    }

    /// Counts a pass through the entry.
    fn count_round(&mut self) {
        if let Some((rounds, _)) = self.rounds {
            let count = self.f.use_var(rounds);
            let more = self.offset(count, 1);
            self.f.def_var(rounds, more);
        }
    }

    /// Adds the passes to their number in memory.
    pub(crate) fn note_rounds(&mut self) {
        if let Some((rounds, word)) = self.rounds {
            let count = self.f.use_var(rounds);
            let count = self.resize(count, types::I32);
            let old = self.f.ins().load(types::I32, TRUSTED, self.base, at(word));
            let new = self.f.ins().iadd(old, count);
            self.f.ins().store(TRUSTED, new, self.base, at(word));
        }
    }

    fn block(&mut self, n: usize, poll: bool) -> Step {
        let region = self.region;
        let block = &region.blocks[n];
        self.at = Site { block: n, inst: 0 };
        self.pc = block.pc;
        self.temps.clear();
        self.temps.resize(block.temps.len(), None);
        self.f.switch_to_block(self.blocks[n]);
        self.mark();
        if poll {
            self.poll(block.pc);
        }
        if self.is_round(n) {
            self.count_round();
        }
        self.stats.blocks += 1;
        let body = flow::body(block);
        for (at, inst) in body.iter().enumerate() {
            self.at.inst = at;
            if inst.op == Op::InsnStart {
                self.insn_start(inst);
                self.stats.insns += 1;
                continue;
            }
            self.stats.ops += 1;
            if flow::syncs(inst.op, self.memory, &self.dirty) {
                self.sync();
            }
            if let Some(written) = self.plan.at(self.at) {
                let written = self.dirty.take(written);
                self.store_globals(&written);
            }
            self.inst(inst)?;
        }
        if !body.last().is_some_and(|i| flow::ends(i.op)) {
            return self.malformed();
        }
        Ok(())
    }

    fn insn_start(&mut self, i: &Inst) {
        self.pc = i.pc();
        self.mark();
    }

    /// What follows is code of the current guest instruction.
    fn mark(&mut self) {
        self.f.set_srcloc(SourceLoc::new(self.pcs.len() as u32));
        self.pcs.push(self.pc);
    }

    fn inst(&mut self, i: &Inst) -> Step {
        match i.op {
            Op::Nop | Op::InsnStart => Ok(()),
            Op::Load => self.load(i),
            Op::Store => self.store(i),
            Op::Fence => self.fence(i),
            Op::AtomicRmw => self.rmw(i),
            Op::Cas => self.cas(i),
            Op::CasPair => self.cas_pair(i),
            Op::LoadReserved => self.load_reserved(i),
            Op::StoreCond => self.store_cond(i),
            Op::CallHelper => self.call_helper(i),
            Op::TrapIf => self.trap_if(i),
            Op::ExitIf => self.exit_if(i),
            Op::Call => self.call(i),
            Op::CallInd => self.call_indirect(i),
            Op::Exit => self.exit(i),
            Op::Jump => self.jump(i),
            Op::Trap => self.trap(i),
            // CLIF has no operation for it.
            Op::ReadCounter => self.refuse(),
            op if (Op::Mov..=Op::Select).contains(&op) => self.integer(i),
            _ => self.float(i),
        }
    }

    /// The operation has no code here.
    pub(crate) fn refuse<T>(&self) -> Step<T> {
        let site = self.at;
        let op = self.region.inst(site).map_or(Op::Nop, |i| i.op);
        Err(CompileError::Refused { site, op })
    }

    pub(crate) fn malformed<T>(&self) -> Step<T> {
        Err(CompileError::Malformed(self.at))
    }

    /// The CLIF type of `ty`, or a refusal.
    pub(crate) fn clif(&self, ty: Type) -> Step<ir::Type> {
        clif(ty).map_or_else(|| self.refuse(), Ok)
    }

    fn current(&self) -> &Block {
        &self.region.blocks[self.at.block]
    }

    /// The value of a constant operand.
    pub(crate) fn constant(&self, v: Val) -> Option<u64> {
        self.current().const_value(v)
    }

    /// An operand, truncated to `ty`; nothing reads as 0.
    pub(crate) fn read(&mut self, v: Val, ty: Type) -> Step<Value> {
        let want = self.clif(ty)?;
        if v.is_none() {
            return Ok(self.f.ins().iconst(want, 0));
        }
        if let Some(x) = self.constant(v) {
            let bits = want.bits();
            let x = x << (64 - bits) >> (64 - bits);
            return Ok(self.f.ins().iconst(want, x as i64));
        }
        let var = match (v.as_global(), v.as_local()) {
            (Some(n), _) if self.globals.get(n).is_some_and(Option::is_none) => {
                return self.refuse();
            }
            (Some(n), _) => self.globals.get(n).copied().flatten(),
            (_, Some(n)) => self.locals.get(n).copied(),
            _ => None,
        };
        let value = match var {
            Some(var) => Some(self.f.use_var(var)),
            None => v.as_temp().and_then(|n| *self.temps.get(n)?),
        };
        match value {
            Some(value) => Ok(self.resize(value, want)),
            None => self.malformed(),
        }
    }

    /// `value` truncated or zero-extended.
    pub(crate) fn resize(&mut self, value: Value, to: ir::Type) -> Value {
        let have = self.type_of(value);
        match have.bits().cmp(&to.bits()) {
            std::cmp::Ordering::Greater => self.f.ins().ireduce(to, value),
            std::cmp::Ordering::Less => self.f.ins().uextend(to, value),
            std::cmp::Ordering::Equal => value,
        }
    }

    pub(crate) fn type_of(&self, value: Value) -> ir::Type {
        self.f.func.dfg.value_type(value)
    }

    /// Writes a result.
    pub(crate) fn write(&mut self, v: Val, value: Value) -> Step {
        if v.is_none() {
            return Ok(());
        }
        if let Some(n) = v.as_temp() {
            let Some(temp) = self.temps.get_mut(n) else {
                return self.malformed();
            };
            *temp = Some(value);
            return Ok(());
        }
        if let Some(n) = v.as_local() {
            let Some(&local) = self.locals.get(n) else {
                return self.malformed();
            };
            let value = self.resize(value, types::I64);
            self.f.def_var(local, value);
            return Ok(());
        }
        let Some(n) = v.as_global() else {
            return self.malformed();
        };
        let (Some(global), Some(&var)) = (self.table.get(n), self.globals.get(n)) else {
            return self.malformed();
        };
        let Some(var) = var else {
            return self.refuse();
        };
        let ty = self.clif(global.ty)?;
        let value = self.resize(value, ty);
        self.f.def_var(var, value);
        self.dirty.insert(n);
        Ok(())
    }

    /// A constant of 64 bits.
    pub(crate) fn word(&mut self, x: u64) -> Value {
        self.f.ins().iconst(types::I64, x as i64)
    }

    /// `value + by`.
    pub(crate) fn offset(&mut self, value: Value, by: i64) -> Value {
        if by == 0 {
            return value;
        }
        self.f.ins().iadd_imm_s(value, by)
    }

    /// Whether `a cond b` of a conditional operation holds.
    pub(crate) fn condition(&mut self, i: &Inst, ty: Type) -> Step<Value> {
        let Some(cond) = Cond::from_u8(i.aux) else {
            return self.malformed();
        };
        let (a, b) = (self.read(i.a, ty)?, self.read(i.b, ty)?);
        let code = match cond {
            Cond::Eq => IntCC::Equal,
            Cond::Ne => IntCC::NotEqual,
            Cond::LtS => IntCC::SignedLessThan,
            Cond::GeS => IntCC::SignedGreaterThanOrEqual,
            Cond::LeS => IntCC::SignedLessThanOrEqual,
            Cond::GtS => IntCC::SignedGreaterThan,
            Cond::LtU => IntCC::UnsignedLessThan,
            Cond::GeU => IntCC::UnsignedGreaterThanOrEqual,
            Cond::LeU => IntCC::UnsignedLessThanOrEqual,
            Cond::GtU => IntCC::UnsignedGreaterThan,
            Cond::TestEq | Cond::TestNe => {
                let both = self.f.ins().band(a, b);
                let code = match cond {
                    Cond::TestEq => IntCC::Equal,
                    _ => IntCC::NotEqual,
                };
                return Ok(self.f.ins().icmp_imm_s(code, both, 0));
            }
        };
        Ok(self.f.ins().icmp(code, a, b))
    }

    /// A block that is laid out behind the others.
    pub(crate) fn cold_block(&mut self) -> ir::Block {
        let block = self.f.create_block();
        self.f.set_cold_block(block);
        block
    }

    /// Writes what may be newer than memory to the guest state.
    pub(crate) fn write_back(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        self.store_globals(&dirty);
        self.dirty = dirty;
    }

    fn store_globals(&mut self, which: &Set) {
        for n in which.iter() {
            let global = self.table.get(n);
            if let (Some(global), Some(var)) = (global, self.globals[n]) {
                let value = self.f.use_var(var);
                let at = at(GUEST_OFFSET + global.offset as usize);
                self.f.ins().store(TRUSTED, value, self.base, at);
            }
        }
    }

    /// The access before this may fault: what is newer than memory has to be found again.
    pub(crate) fn may_fault(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let globals = dirty.iter().filter_map(|n| Some((n, self.globals[n]?)));
        let dirty_values = globals.map(|(n, var)| (n, self.f.use_var(var)));
        let tag = DebugTag::User(self.accesses.len() as u32);
        self.accesses.push(Access {
            site: self.at,
            dirty: dirty_values.collect(),
        });
        self.dirty = dirty;
        let point = self.f.ins().sequence_point();
        self.f.func.debug_tags.set(point, [tag]);
    }

    /// As `write_back`, on the way that goes on.
    pub(crate) fn sync(&mut self) {
        self.write_back();
        self.dirty.clear();
    }

    /// Brings the globals from the guest state.
    pub(crate) fn load_globals(&mut self) {
        for n in 0..self.globals.len() {
            let global = self.table.get(n);
            if let (Some(global), Some(var)) = (global, self.globals[n])
                && let Some(ty) = clif(global.ty)
            {
                let at = at(GUEST_OFFSET + global.offset as usize);
                let value = self.f.ins().load(ty, TRUSTED, self.base, at);
                self.f.def_var(var, value);
            }
        }
    }

    /// The word of the header at `offset`.
    pub(crate) fn header_word(&mut self, offset: usize) -> Value {
        self.f
            .ins()
            .load(types::I64, TRUSTED, self.base, at(offset))
    }

    pub(crate) fn set_header(&mut self, offset: usize, value: Value) {
        self.f.ins().store(TRUSTED, value, self.base, at(offset));
    }

    /// Calls a host function that takes words and gives `results` of them.
    pub(crate) fn call_host(&mut self, at: Value, args: &[Value], results: usize) -> Vec<Value> {
        let sig = self.signature(CallConv::SystemV, args.len(), results);
        let call = self.f.ins().call_indirect(sig, at, args);
        self.f.inst_results(call).to_vec()
    }

    fn signature(&mut self, conv: CallConv, params: usize, results: usize) -> SigRef {
        let mut sig = Signature::new(conv);
        sig.params = vec![AbiParam::new(types::I64); params];
        sig.returns = vec![AbiParam::new(types::I64); results];
        self.f.import_signature(sig)
    }

    /// Calls the runtime's slow path, which changes no register.
    pub(crate) fn call_slow(&mut self) {
        let slow = self.slow.unwrap_or_else(|| {
            let signature = self.signature(CallConv::PreserveAll, 1, 0);
            let name = self
                .f
                .func
                .declare_imported_user_function(UserExternalName::new(0, 0));
            self.f.import_function(ExtFuncData {
                name: ExternalName::user(name),
                signature,
                colocated: true,
                patchable: false,
            })
        });
        self.slow = Some(slow);
        self.f.ins().call(slow, &[self.base]);
    }
}
