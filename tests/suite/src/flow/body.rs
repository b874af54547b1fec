//! Sections: functions of nested loops, branches, tables and calls.

use super::Flow;
use super::asm::*;
use super::runtime::Routines;
use crate::random::Random;

/// Guest instructions that a section runs at most, more or less.
const SECTION: u64 = 120_000;
/// Guest instructions that a call and the function's frame take.
const CALL: u64 = 24;
/// Bytes of a function's frame.
const FRAME: i32 = 64;
/// Loops within loops of one function.
const DEPTH: u32 = 3;

/// Registers that no random instruction writes, a bit each.
const KEPT: u32 = 1 << SP | 1 << GP | 1 << TP | 1 << S0 | 0xf << S2;

/// A function that others may call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) label: Label,
    place: Place,
    /// Guest instructions that a call takes at most.
    cost: u64,
    /// It returns by this register.
    link: u32,
    /// It may jump to where the jump buffer says instead of returning.
    jumps: bool,
    /// It may set the jump buffer.
    sets: bool,
}

/// A section in the making.
pub(super) struct Body<'a> {
    pub(super) asm: &'a mut Asm,
    flow: &'a Flow,
    pub(super) random: Random,
    pub(super) routines: Routines,
    functions: Vec<Function>,
    /// Data among the code that may be written.
    pub(super) cell: Label,
    /// Of the function at hand: whether it has floating point and a frame, what it may do.
    floats: bool,
    pub(super) framed: bool,
    recursive: bool,
    pub(super) jumps: bool,
    sets: bool,
    /// Registers that its random instructions do not write.
    pub(super) kept: u32,
    /// Loops around the code at hand.
    pub(super) depth: u32,
    /// Jumps and branches of `asm` at which the function should come to an end.
    last_block: usize,
}

/// The code of a section, to be run from its beginning to its end.
pub(super) fn section(
    asm: &mut Asm,
    flow: &Flow,
    random: Random,
    routines: Routines,
    blocks: usize,
) {
    let cell = asm.label();
    let mut body = Body {
        asm,
        cell,
        flow,
        random,
        routines,
        functions: Vec::new(),
        floats: false,
        framed: false,
        recursive: false,
        jumps: false,
        sets: false,
        kept: KEPT,
        depth: 0,
        last_block: 0,
    };
    body.asm.go(Place::Patched);
    body.asm.align(8);
    body.cell = body.asm.here();
    body.asm.bytes(&[0; 16]);
    body.asm.go(Place::Text);
    let over = body.asm.label();
    body.asm.jump(ZERO, over);
    let patched = body.random.below(4) == 0;
    let count = 2 + body.random.below(6);
    let mut budget = 60;
    for _ in 0..count {
        if patched || body.random.below(6) == 0 {
            body.asm.go(Place::Patched);
        }
        body.function(budget, blocks / (count + 1));
        body.asm.go(Place::Text);
        budget = (budget * 4).min(SECTION / 4);
    }
    if patched {
        body.asm.go(Place::Patched);
    }
    body.jumps = false;
    let main = body.main(blocks / (count + 1));
    body.asm.go(Place::Text);
    body.asm.bind(over);
    body.asm.far_jump(RA, RA, main);
}

impl Body<'_> {
    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.random.below(bound) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len())]
    }

    /// A register that code may write.
    pub(super) fn rd(&mut self) -> u32 {
        loop {
            let x = 1 + self.random.below(31) as u32;
            if self.kept >> x & 1 == 0 {
                return x;
            }
        }
    }

    pub(super) fn rs(&mut self) -> u32 {
        self.random.below(32) as u32
    }

    /// One random instruction.
    pub(super) fn instruction(&mut self) -> Vec<u8> {
        self.flow
            .instruction(&mut self.random, self.floats, self.kept)
    }

    /// One of four bytes.
    pub(super) fn word(&mut self) -> Vec<u8> {
        loop {
            let bytes = self.instruction();
            if bytes.len() == 4 {
                return bytes;
            }
        }
    }

    /// Up to `most` random instructions; answers how many.
    pub(super) fn straight(&mut self, most: usize) -> u64 {
        let count = 1 + self.random.below(most);
        for _ in 0..count {
            let bytes = self.instruction();
            self.asm.bytes(&bytes);
        }
        count as u64
    }

    /// A branch that may or may not be taken.
    pub(super) fn maybe(&mut self, to: Label) -> u64 {
        if self.depth > 0 && self.one_in(3) {
            // Every few rounds of a loop.
            let counter = S2 + self.random.below(self.depth as usize) as u32;
            let mask = self.pick(&[1, 3, 7, 15]);
            self.asm.words(&[andi(T6, counter, mask)]);
            let condition = self.pick(&[BEQ, BNE]);
            self.asm.branch(condition, T6, ZERO, to);
            return 2;
        }
        let condition = self.pick(&[BEQ, BNE, BLT, BGE, 6, 7]);
        let (a, b) = (self.rs(), self.rs());
        self.asm.branch(condition, a, b, to);
        1
    }

    /// Saves what the frame is for.
    fn enter(&mut self) {
        self.asm.words(&[addi(TP, TP, -FRAME), sd(RA, TP, 0)]);
        for n in 0..4 {
            self.asm.words(&[sd(S2 + n, TP, 8 + 8 * n as i32)]);
        }
    }

    fn leave(&mut self) {
        self.asm.words(&[ld(RA, TP, 0)]);
        for n in 0..4 {
            self.asm.words(&[ld(S2 + n, TP, 8 + 8 * n as i32)]);
        }
        self.asm.words(&[addi(TP, TP, FRAME)]);
    }

    /// Begins a function; its kind is random.
    fn begin(&mut self, blocks: usize) {
        self.floats = self.one_in(5);
        self.depth = 0;
        self.recursive = false;
        self.sets = false;
        self.kept = KEPT;
        self.last_block = self.asm.blocks + blocks.max(1);
    }

    /// The function that a section runs.
    fn main(&mut self, blocks: usize) -> Label {
        self.begin(blocks);
        let label = self.asm.here();
        self.framed = true;
        self.enter();
        let mut cost = 0;
        while cost < SECTION / 4 {
            self.last_block = self.asm.blocks + blocks.max(1);
            cost += self.counted_loop(SECTION - cost) + 4000;
            self.depth = 0;
        }
        self.leave();
        self.asm.jump_register(ZERO, RA);
        label
    }

    /// Adds a function.
    fn function(&mut self, budget: u64, blocks: usize) {
        self.begin(blocks);
        self.jumps = self.one_in(5);
        match self.random.below(6) {
            0 => self.leaf(budget),
            1 => self.recursion(budget),
            2 => self.patched_leaf(),
            _ => self.framed_function(budget),
        }
    }

    pub(super) fn add(&mut self, label: Label, place: Place, cost: u64, link: u32) {
        self.functions.push(Function {
            label,
            place,
            cost: cost + CALL,
            link,
            jumps: self.jumps,
            sets: self.sets,
        });
    }

    /// A function without a frame, which returns by `ra` or `t0`.
    fn leaf(&mut self, budget: u64) {
        self.framed = false;
        self.jumps = false;
        let link = self.pick(&[RA, RA, T0]);
        self.kept |= 1 << link;
        let label = self.asm.here();
        let cost = self.sequence(budget);
        match link {
            RA if self.one_in(2) => self.asm.half(0x8082),
            _ => self.asm.words(&[jalr(ZERO, link, 0)]),
        }
        self.asm.blocks += 1;
        self.add(label, self.asm.place(), cost, link);
    }

    fn framed_function(&mut self, budget: u64) {
        self.framed = true;
        let label = self.asm.here();
        self.enter();
        let mut cost = self.sequence(budget);
        self.leave();
        cost += self.end(budget.saturating_sub(cost));
        self.add(label, self.asm.place(), cost, RA);
    }

    /// A return, perhaps behind the caller's next instruction, or a jump to another function.
    fn end(&mut self, budget: u64) -> u64 {
        if self.one_in(4)
            && let Some(next) = self.callee(budget, true)
        {
            if next.place == self.asm.place() && self.one_in(2) {
                self.asm.jump(ZERO, next.label);
            } else {
                self.asm.far_jump(ZERO, T1, next.label);
            }
            self.sets |= next.sets;
            return next.cost;
        }
        if self.one_in(5) {
            let over = self.asm.label();
            self.maybe(over);
            self.asm.words(&[addi(RA, RA, 4)]);
            self.asm.bind(over);
        }
        self.asm.jump_register(ZERO, RA);
        4
    }

    /// A function that calls itself, `s5` times deep, once or twice each time.
    fn recursion(&mut self, budget: u64) {
        (self.framed, self.recursive) = (true, true);
        let twice = self.one_in(3);
        let depth = if twice {
            2 + self.random.below(4)
        } else {
            2 + self.random.below(30)
        } as u64;
        let times = if twice { 1 << depth } else { depth };
        let each = budget / times;
        let (label, entry, deepest) = (self.asm.label(), self.asm.here(), self.asm.label());
        // The depth is set by an entry of its own, which is no frame of its own.
        self.enter();
        self.asm.words(&[addi(S5, ZERO, depth as i32)]);
        self.call_label(RA, label);
        self.leave();
        self.asm.jump_register(ZERO, RA);
        self.asm.bind(label);
        self.enter();
        self.asm.words(&[addi(S5, S5, -1)]);
        self.asm.branch(BGE, ZERO, S5, deepest);
        let mut cost = self.sequence(each / 2);
        self.call_label(RA, label);
        if twice {
            cost += self.straight(4);
            self.call_label(RA, label);
        }
        self.asm.bind(deepest);
        cost += self.sequence(each / 2);
        self.leave();
        self.asm.jump_register(ZERO, RA);
        self.add(entry, self.asm.place(), (cost + CALL) * times, RA);
    }

    /// Calls; what follows may be skipped by the function called.
    fn call_label(&mut self, link: u32, to: Label) {
        self.asm.jump(link, to);
        let word = self.word();
        self.asm.bytes(&word);
    }

    /// A function that may be called from here; `plain` if only by `ra`, and if nobody waits for
    /// it to jump out.
    fn callee(&mut self, budget: u64, plain: bool) -> Option<Function> {
        let jumps = self.jumps;
        let fits = |f: &&Function| {
            // A function that may jump out must not set the buffer that it jumps by.
            let buffer = if jumps { !f.sets } else { !plain || !f.jumps };
            f.cost <= budget && buffer && (!plain || f.link == RA)
        };
        let all: Vec<Function> = self.functions.iter().filter(fits).copied().collect();
        (self.framed && !all.is_empty()).then(|| self.pick(&all))
    }

    fn call(&mut self, budget: u64) -> u64 {
        let Some(function) = self.callee(budget, false) else {
            return self.straight(4);
        };
        let catches = function.jumps && !self.jumps;
        if catches {
            self.sets = true;
            let landing = self.set_landing();
            self.call_one(&function);
            self.land(landing);
        } else {
            self.sets |= function.sets;
            self.call_one(&function);
        }
        function.cost + 16
    }

    fn call_one(&mut self, function: &Function) {
        let near = function.place == self.asm.place();
        match self.random.below(4) {
            0..2 if near => self.asm.jump(function.link, function.label),
            0..3 => self
                .asm
                .far_jump(function.link, function.link, function.label),
            _ => {
                let pointer = self.pick(&[T1, T2, A5]);
                self.asm.la(pointer, function.label);
                self.asm.jump_register(function.link, pointer);
            }
        }
        let word = self.word();
        self.asm.bytes(&word);
    }

    /// A call through a table of functions.
    fn call_by_table(&mut self, budget: u64) -> u64 {
        let all: Vec<Function> = (0..4).filter_map(|_| self.callee(budget, true)).collect();
        if all.len() < 4 {
            return self.straight(4);
        }
        let labels: Vec<Label> = all.iter().map(|f| f.label).collect();
        self.sets |= all.iter().any(|f| f.sets);
        self.table_entry(&labels);
        self.asm.jump_register(RA, T6);
        let word = self.word();
        self.asm.bytes(&word);
        all.iter().map(|f| f.cost).max().unwrap_or(0) + 10
    }

    /// Loads one of the labels, a power of two of them, into `t6`.
    fn table_entry(&mut self, labels: &[Label]) {
        let place = self.asm.go(Place::Data);
        self.asm.align(8);
        let table = self.asm.here();
        labels.iter().for_each(|label| self.asm.address(*label));
        self.asm.go(place);
        let index = match self.depth {
            depth if depth > 0 && self.random.below(2) == 0 => S2 + depth - 1,
            _ => self.rs(),
        };
        self.asm.words(&[andi(T6, index, labels.len() as i32 - 1)]);
        self.asm.la(T5, table);
        self.asm
            .words(&[slli(T6, T6, 3), add(T6, T6, T5), ld(T6, T6, 0)]);
    }

    /// Statements until the budget or the function's blocks are used up; at least one.
    pub(super) fn sequence(&mut self, budget: u64) -> u64 {
        let mut cost = self.straight(5);
        let count = 1 + self.random.below(6);
        for _ in 0..count {
            if self.asm.blocks >= self.last_block || cost + 8 > budget {
                break;
            }
            cost += self.statement(budget - cost);
        }
        cost
    }

    fn statement(&mut self, budget: u64) -> u64 {
        match self.random.below(40) {
            0..6 => self.branch(budget),
            6..15 if self.can_loop() => self.counted_loop(budget),
            15..18 if self.can_loop() => self.irreducible(budget),
            18..21 => self.switch(budget),
            21..23 if self.can_loop() && !self.recursive => self.bytecode(budget),
            23..28 => self.call(budget),
            28..30 => self.call_by_table(budget),
            30..32 if self.framed => self.odd_jump(),
            32..39 => self.trick(budget),
            _ => self.straight(8),
        }
    }

    /// Loops count in registers that the frame saves.
    fn can_loop(&self) -> bool {
        self.framed && self.depth < DEPTH
    }

    fn branch(&mut self, budget: u64) -> u64 {
        let (other, end) = (self.asm.label(), self.asm.label());
        if self.one_in(3) {
            let (register, not_zero) = (8 + self.random.below(8) as u32, self.one_in(2));
            self.asm.short_branch(not_zero, register, end);
            let cost = self.straight(6);
            self.asm.bind(end);
            return cost + 1;
        }
        let mut cost = self.maybe(other);
        cost += self.sequence(budget / 2);
        if self.one_in(2) {
            self.asm.jump(ZERO, end);
            self.asm.bind(other);
            cost += self.sequence(budget / 2);
        } else {
            self.asm.bind(other);
        }
        self.asm.bind(end);
        cost
    }

    /// Rounds of a loop whose body has about `least` instructions.
    fn rounds(&mut self, budget: u64, least: u64) -> u64 {
        let wanted = match self.random.below(4) {
            0 => 1 + self.random.below(6),
            1 | 2 => 8 + self.random.below(40),
            _ => 40 + self.random.below(160),
        };
        (wanted as u64).min(budget / least).clamp(1, 2000)
    }

    fn counted_loop(&mut self, budget: u64) -> u64 {
        let counter = S2 + self.depth;
        let rounds = self.rounds(budget, 20);
        let (top, test, end) = (self.asm.label(), self.asm.label(), self.asm.label());
        let upwards = self.one_in(3);
        let start = if upwards { 0 } else { rounds };
        self.asm.li(counter, start);
        let tests_first = self.one_in(3);
        if tests_first {
            self.asm.jump(ZERO, test);
        }
        self.asm.bind(top);
        self.depth += 1;
        let mut cost = self.sequence(budget / rounds);
        if self.one_in(4) {
            cost += self.maybe(end);
            cost += self.straight(4);
        }
        self.depth -= 1;
        if upwards {
            self.asm.words(&[addi(counter, counter, 1)]);
            self.asm.bind(test);
            self.asm.li(T6, rounds);
            self.asm.branch(BLT, counter, T6, top);
        } else {
            self.asm.words(&[addi(counter, counter, -1)]);
            self.asm.bind(test);
            self.asm.branch(BLT, ZERO, counter, top);
        }
        self.asm.bind(end);
        (cost + 4) * (rounds + 1)
    }

    /// A loop with two entries, and perhaps two places that it comes back to.
    fn irreducible(&mut self, budget: u64) -> u64 {
        let counter = S2 + self.depth;
        let rounds = self.rounds(budget, 30);
        let [first, second, third, end] = std::array::from_fn(|_| self.asm.label());
        self.asm.li(counter, rounds);
        self.depth += 1;
        let mut cost = self.maybe(second);
        self.asm.bind(first);
        cost += self.sequence(budget / rounds / 3);
        self.asm.bind(second);
        cost += self.sequence(budget / rounds / 3);
        cost += self.maybe(third);
        cost += self.straight(6);
        self.asm.bind(third);
        self.depth -= 1;
        self.asm.words(&[addi(counter, counter, -1)]);
        self.asm.branch(BGE, ZERO, counter, end);
        let mask = self.pick(&[1, 2, 3, 7]);
        self.asm.words(&[andi(T6, counter, mask)]);
        self.asm.branch(BEQ, T6, ZERO, second);
        self.asm.jump(ZERO, first);
        self.asm.bind(end);
        (cost + 5) * rounds
    }

    fn switch(&mut self, budget: u64) -> u64 {
        let count = self.pick(&[2, 4, 8]);
        let labels: Vec<Label> = (0..count).map(|_| self.asm.label()).collect();
        let end = self.asm.label();
        self.table_entry(&labels);
        self.asm.jump_register(ZERO, T6);
        let mut cost = 0;
        for label in labels {
            self.asm.bind(label);
            cost += match self.one_in(3) {
                true => self.sequence(budget / count),
                false => self.straight(4),
            };
            // Some cases fall through to the next one.
            if !self.one_in(4) {
                self.asm.jump(ZERO, end);
            }
        }
        self.asm.bind(end);
        cost + 8
    }

    /// An interpreter of bytes whose handlers each jump to the next one's handler.
    fn bytecode(&mut self, budget: u64) -> u64 {
        let counter = S2 + self.depth;
        let handlers: [Label; 8] = std::array::from_fn(|_| self.asm.label());
        let len = 4 + self.random.below(20) as u64;
        let rounds = self.rounds(budget, 12 * len);
        let place = self.asm.go(Place::Data);
        let code = self.asm.here();
        let ops: Vec<u8> = (0..len).map(|_| self.random.below(6) as u8).collect();
        self.asm.bytes(&ops);
        self.asm.bytes(&[6, 7]);
        self.asm.align(8);
        let table = self.asm.here();
        handlers.iter().for_each(|label| self.asm.address(*label));
        self.asm.go(place);
        self.asm.li(counter, rounds);
        self.asm.la(S5, code);
        self.dispatch(table);
        self.depth += 1;
        let mut cost = 0;
        for (n, handler) in handlers.into_iter().enumerate() {
            self.asm.bind(handler);
            match n {
                0..6 => {
                    cost = cost.max(self.straight(4));
                    self.dispatch(table);
                }
                6 => {
                    let over = self.asm.label();
                    self.asm.words(&[addi(counter, counter, -1)]);
                    self.asm.branch(BGE, ZERO, counter, over);
                    self.asm.la(S5, code);
                    self.asm.bind(over);
                    self.dispatch(table);
                }
                _ => {}
            }
        }
        self.depth -= 1;
        rounds * (len + 1) * (cost + 8)
    }

    fn dispatch(&mut self, table: Label) {
        self.asm
            .words(&[lbu(T6, S5, 0), addi(S5, S5, 1), slli(T6, T6, 3)]);
        self.asm.la(T5, table);
        self.asm.words(&[add(T6, T6, T5), ld(T6, T6, 0)]);
        self.asm.jump_register(ZERO, T6);
    }

    /// Calls without a return, and returns without a call.
    fn odd_jump(&mut self) -> u64 {
        let to = self.asm.label();
        match self.random.below(4) {
            0 => self.asm.jump(RA, to),
            1 => {
                self.asm.la(RA, to);
                self.asm.jump_register(ZERO, RA);
                self.straight(3);
            }
            2 => {
                self.asm.la(T0, to);
                self.asm.jump_register(T0, T0);
                self.straight(3);
            }
            _ if self.jumps => {
                self.maybe(to);
                self.jump_out();
            }
            _ => {
                self.asm.la(T1, to);
                self.asm.jump_register(RA, T1);
                self.straight(3);
            }
        }
        self.asm.bind(to);
        8
    }
}
