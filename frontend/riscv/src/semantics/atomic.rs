//! A, Zacas and the cache-block operations.

use isomorph_ir::{AtomicOp, Dst, MemOp, Op, Order, Type};

use crate::cpu::CACHE_BLOCK_BYTES;
use crate::decode::{ArgsAmo, ArgsCbo, ArgsLr, Atomic};
use crate::system::{globals, mode};
use crate::translate::Translator;

const I64: Type = Type::I64;

/// The access of an instruction with these `aq` and `rl` bits. Without Zama16b a misaligned one
/// is an exception (section "Atomic Memory Operations").
fn access(mem: MemOp, aq: u8, rl: u8) -> MemOp {
    let order = match (aq, rl) {
        (0, 0) => Order::Relaxed,
        (_, 0) => Order::Acquire,
        (0, _) => Order::Release,
        _ => Order::SeqCst,
    };
    mem.with_order(order).with_alignment()
}

macro_rules! amos {
    ($($w:ident $d:ident $op:ident;)+) => {$(
        fn $w(&mut self, a: &ArgsAmo) {
            self.amo(AtomicOp::$op, MemOp::S32, a);
        }

        fn $d(&mut self, a: &ArgsAmo) {
            self.amo(AtomicOp::$op, MemOp::U64, a);
        }
    )+};
}

impl Translator<'_> {
    fn amo(&mut self, op: AtomicOp, mem: MemOp, a: &ArgsAmo) {
        let (d, addr, value) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        self.b.rmw(op, I64, access(mem, a.aq, a.rl), d, addr, value);
    }

    fn load_reserved(&mut self, mem: MemOp, a: &ArgsLr) {
        let (d, addr) = (self.xd(a.rd), self.x(a.rs1));
        self.b.load_reserved(I64, access(mem, a.aq, a.rl), d, addr);
    }

    fn store_conditional(&mut self, mem: MemOp, a: &ArgsAmo) {
        let (d, addr, value) = (self.xd(a.rd), self.x(a.rs1), self.x(a.rs2));
        self.b
            .store_cond(I64, access(mem, a.aq, a.rl), d, addr, value);
    }

    fn compare_and_swap(&mut self, mem: MemOp, a: &ArgsAmo) {
        let (d, addr) = (self.xd(a.rd), self.x(a.rs1));
        let (expected, new) = (self.x(a.rd), self.x(a.rs2));
        self.b
            .cas(I64, access(mem, a.aq, a.rl), d, addr, expected, new);
    }

    /// Whether `menvcfg` and `senvcfg` allow the operation (in a machine).
    fn block_allowed(&self, enable: u32) -> bool {
        !self.in_machine() || self.mode & enable != 0
    }

    /// Raises the exceptions of an access to the block and does nothing else: all of memory is
    /// coherent with itself.
    ///
    /// Permission to load or to store suffices (section "Cache-Block Management Instructions"),
    /// and there is none to store without one to load: a load tells, but its exception is that of
    /// a store.
    fn check_block(&mut self, enable: u32, a: &ArgsCbo) {
        if !self.block_allowed(enable) {
            return self.illegal();
        }
        let base = self.x(a.rs1);
        if !self.in_machine() {
            self.b.load(I64, MemOp::U8, Dst::Discard, base, 0);
            return;
        }
        let probes = Dst::To(globals::CACHE_BLOCK);
        self.b.constant(I64, probes, 1);
        self.b.load(I64, MemOp::U8, Dst::Discard, base, 0);
        self.b.constant(I64, probes, 0);
    }
}

impl Atomic for Translator<'_> {
    fn lr_w(&mut self, a: &ArgsLr) {
        self.load_reserved(MemOp::S32, a);
    }

    fn lr_d(&mut self, a: &ArgsLr) {
        self.load_reserved(MemOp::U64, a);
    }

    fn sc_w(&mut self, a: &ArgsAmo) {
        self.store_conditional(MemOp::U32, a);
    }

    fn sc_d(&mut self, a: &ArgsAmo) {
        self.store_conditional(MemOp::U64, a);
    }

    amos! {
        amoadd_w amoadd_d Add;
        amoswap_w amoswap_d Swap;
        amoxor_w amoxor_d Xor;
        amoor_w amoor_d Or;
        amoand_w amoand_d And;
        amomin_w amomin_d MinS;
        amomax_w amomax_d MaxS;
        amominu_w amominu_d MinU;
        amomaxu_w amomaxu_d MaxU;
    }

    fn amocas_w(&mut self, a: &ArgsAmo) {
        self.compare_and_swap(MemOp::S32, a);
    }

    fn amocas_d(&mut self, a: &ArgsAmo) {
        self.compare_and_swap(MemOp::U64, a);
    }

    /// The pair of x0 reads as zero and is not written (section "Zacas").
    fn amocas_q(&mut self, a: &ArgsAmo) {
        let high = |low: u8| if low == 0 { 0 } else { low + 1 };
        let addr = self.x(a.rs1);
        let expected = (self.x(a.rd), self.x(high(a.rd)));
        let new = (self.x(a.rs2), self.x(high(a.rs2)));
        let mem = access(MemOp::V128, a.aq, a.rl);
        let old = self.b.cas_pair(mem, addr, expected, new);
        let (low, up) = (self.xd(a.rd), self.xd(high(a.rd)));
        self.b.mov(I64, low, old.0);
        self.b.mov(I64, up, old.1);
    }

    fn cbo_inval(&mut self, a: &ArgsCbo) {
        self.check_block(mode::CBI, a);
    }

    fn cbo_clean(&mut self, a: &ArgsCbo) {
        self.check_block(mode::CBCF, a);
    }

    fn cbo_flush(&mut self, a: &ArgsCbo) {
        self.check_block(mode::CBCF, a);
    }

    fn cbo_zero(&mut self, a: &ArgsCbo) {
        if !self.block_allowed(mode::CBZ) {
            return self.illegal();
        }
        let (addr, mask) = (self.x(a.rs1), self.imm(-(CACHE_BLOCK_BYTES as i64)));
        let base = self.b.binary(Op::And, I64, Dst::Temp, addr, mask);
        let zero = self.imm(0);
        for offset in (0..CACHE_BLOCK_BYTES).step_by(8) {
            self.b.store(I64, MemOp::U64, zero, base, offset as i64);
        }
    }
}
