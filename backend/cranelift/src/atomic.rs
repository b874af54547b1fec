//! Atomic read-modify-writes, compare-and-swap, load-reserved and store-conditional.

use crate::mem::{Access, GUEST};
use crate::translate::{Step, TRUSTED, Translate};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, AtomicRmwOp, BlockArg, InstBuilder, Value, types};
use isomorph_baseline::{Header, MemKind, Memory, RESERVE_LEN};
use isomorph_ir::{AtomicOp, Inst, MemOp, Type, Val};
use std::mem::offset_of;

impl Translate<'_> {
    /// The CLIF type of an atomic, which this tier has little-endian only.
    fn atomic_unit(&self, i: &Inst) -> Step<ir::Type> {
        let mem = MemOp(i.aux);
        let unit = self.unit(mem)?;
        if mem.big_endian() && mem.bytes() > 1 || !i.ty.is_int() {
            return self.refuse();
        }
        Ok(unit)
    }

    /// An atomic with these new values; its result goes to `d`.
    fn atomic(
        &mut self,
        i: &Inst,
        kind: MemKind,
        values: &[Value],
        fast: impl FnOnce(&mut Self, Value) -> Step<Value>,
    ) -> Step {
        let access = Access {
            kind,
            mem: MemOp(i.aux),
            ty: i.ty,
            atomic: i.aux2,
        };
        let address = self.read(i.a, Type::I64)?;
        let result = self.access(access, (address, 0), values, |t, host| {
            fast(t, host).map(Some)
        })?;
        match result {
            Some(value) => self.write(i.d, value),
            None => self.malformed(),
        }
    }

    pub(crate) fn rmw(&mut self, i: &Inst) -> Step {
        let (unit, mem) = (self.atomic_unit(i)?, MemOp(i.aux));
        let Some(op) = AtomicOp::from_u8(i.aux2) else {
            return self.malformed();
        };
        let op = match op {
            AtomicOp::Swap => AtomicRmwOp::Xchg,
            AtomicOp::Add => AtomicRmwOp::Add,
            AtomicOp::And => AtomicRmwOp::And,
            AtomicOp::Or => AtomicRmwOp::Or,
            AtomicOp::Xor => AtomicRmwOp::Xor,
            AtomicOp::MinS => AtomicRmwOp::Smin,
            AtomicOp::MaxS => AtomicRmwOp::Smax,
            AtomicOp::MinU => AtomicRmwOp::Umin,
            AtomicOp::MaxU => AtomicRmwOp::Umax,
        };
        let whole = self.read(i.b, i.ty)?;
        self.atomic(i, MemKind::Rmw, &[whole], |t, host| {
            let value = t.resize(whole, unit);
            let old = t.f.ins().atomic_rmw(unit, GUEST, op, host, value);
            t.extended(i.ty, mem, old)
        })
    }

    pub(crate) fn cas(&mut self, i: &Inst) -> Step {
        let (unit, mem) = (self.atomic_unit(i)?, MemOp(i.aux));
        let (expected, new) = (self.read(i.b, i.ty)?, self.read(i.c, i.ty)?);
        self.atomic(i, MemKind::Cas, &[expected, new], |t, host| {
            let (expected, new) = (t.resize(expected, unit), t.resize(new, unit));
            let old = t.f.ins().atomic_cas(GUEST, host, expected, new);
            t.extended(i.ty, mem, old)
        })
    }

    pub(crate) fn cas_pair(&mut self, i: &Inst) -> Step {
        if MemOp(i.aux).big_endian() {
            return self.refuse();
        }
        let vals = [i.b, i.c, i.e, Val::from_raw(i.imm as u16)];
        let mut words = [self.base; 4];
        for (word, val) in words.iter_mut().zip(vals) {
            *word = self.read(val, Type::I64)?;
        }
        if matches!(self.memory, Memory::Tlb { .. }) {
            for (n, &word) in words.iter().enumerate() {
                self.set_header(offset_of!(Header, args) + n * 8, word);
            }
        }
        let mem = MemOp(i.aux & !7 | 4).with_alignment();
        let access = Access {
            kind: MemKind::CasPair,
            mem,
            ty: Type::I64,
            atomic: 0,
        };
        let address = self.read(i.a, Type::I64)?;
        // The high half of the old pair goes where the slow path leaves it.
        const HIGH: usize = offset_of!(Header, args) + 8;
        let low = self.access(access, (address, 0), &[], |t, host| {
            let expected = t.f.ins().iconcat(words[0], words[1]);
            let new = t.f.ins().iconcat(words[2], words[3]);
            let old = t.f.ins().atomic_cas(GUEST, host, expected, new);
            let (low, high) = t.f.ins().isplit(old);
            t.set_header(HIGH, high);
            Ok(Some(low))
        })?;
        let high = self.header_word(HIGH);
        match low {
            Some(low) => self.write(i.d, low)?,
            None => return self.malformed(),
        }
        self.write(i.d2, high)
    }

    /// Address of the reservation bucket of a host address.
    fn bucket(&mut self, host: Value) -> Value {
        let mask = ((RESERVE_LEN - 1) << 4) as i64;
        let index = self.f.ins().band_imm_u(host, mask);
        let index = self.f.ins().ushr_imm_u(index, 1);
        let table = self.header_word(offset_of!(Header, reserve_table));
        self.f.ins().iadd(table, index)
    }

    /// As tier 1's: the version is read before the value.
    pub(crate) fn load_reserved(&mut self, i: &Inst) -> Step {
        let (unit, mem) = (self.atomic_unit(i)?, MemOp(i.aux));
        self.atomic(i, MemKind::LoadReserved, &[], |t, host| {
            let bucket = t.bucket(host);
            let version = t.f.ins().atomic_load(types::I64, TRUSTED, bucket);
            let version = t.f.ins().band_imm_s(version, !1);
            let value = t.f.ins().atomic_load(unit, GUEST, host);
            let value = t.extended(i.ty, mem, value)?;
            let whole = t.resize(value, types::I64);
            t.set_header(offset_of!(Header, reserve_version), version);
            t.set_header(offset_of!(Header, reserve_value), whole);
            t.set_header(offset_of!(Header, reserve_addr), host);
            Ok(value)
        })
    }

    /// As tier 1's: address, bucket's version and value must all be those of the reservation.
    pub(crate) fn store_cond(&mut self, i: &Inst) -> Step {
        let unit = self.atomic_unit(i)?;
        let whole = self.read(i.b, i.ty)?;
        self.atomic(i, MemKind::StoreCond, &[whole], |t, host| {
            let held = t.header_word(offset_of!(Header, reserve_addr));
            let none = t.word(1);
            t.set_header(offset_of!(Header, reserve_addr), none);
            let same = t.f.ins().icmp(IntCC::Equal, host, held);
            let (try_it, done) = (t.f.create_block(), t.f.create_block());
            let failed = t.f.append_block_param(done, types::I64);
            let args = [BlockArg::Value(none)];
            t.f.ins().brif(same, try_it, &[], done, &args);
            t.f.switch_to_block(try_it);
            t.store_locked(host, whole, unit, done);
            t.f.switch_to_block(done);
            Ok(failed)
        })
    }

    /// Stores if the bucket can be locked and the value is the one reserved; goes to `done`.
    fn store_locked(&mut self, host: Value, whole: Value, unit: ir::Type, done: ir::Block) {
        const LOCK: usize = offset_of!(Header, sc_lock);
        let bucket = self.bucket(host);
        let version = self.header_word(offset_of!(Header, reserve_version));
        let odd = self.offset(version, 1);
        self.set_header(LOCK, bucket);
        let seen = self.f.ins().atomic_cas(TRUSTED, bucket, version, odd);
        let ours = self.f.ins().icmp(IntCC::Equal, seen, version);
        let (locked, lost) = (self.f.create_block(), self.cold_block());
        self.f.ins().brif(ours, locked, &[], lost, &[]);

        self.f.switch_to_block(locked);
        let expected = self.header_word(offset_of!(Header, reserve_value));
        let expected = self.resize(expected, unit);
        let value = self.resize(whole, unit);
        let old = self.f.ins().atomic_cas(GUEST, host, expected, value);
        let even = self.offset(version, 2);
        self.f.ins().store(TRUSTED, even, bucket, 0);
        let zero = self.word(0);
        self.set_header(LOCK, zero);
        let failed = self.f.ins().icmp(IntCC::NotEqual, old, expected);
        let failed = self.f.ins().uextend(types::I64, failed);
        self.f.ins().jump(done, &[BlockArg::Value(failed)]);

        self.f.switch_to_block(lost);
        let zero = self.word(0);
        self.set_header(LOCK, zero);
        let one = self.word(1);
        self.f.ins().jump(done, &[BlockArg::Value(one)]);
    }
}
