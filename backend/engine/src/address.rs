//! The address of a faulting access.

use crate::memory::HostFault;
use iced_x86::{Decoder, DecoderOptions, Register};

/// The guest address whose access faulted.
///
/// The kernel gives it, except for an address that is not canonical: the processor then raises a
/// general-protection fault without one (Intel SDM vol. 3A, 6.15), and it is computed from the
/// instruction's `bytes` and the registers.
pub(crate) fn of_fault(fault: &HostFault, bytes: &[u8]) -> u64 {
    if fault.code != SI_KERNEL || bytes.is_empty() {
        return fault.address;
    }
    let insn = Decoder::with_ip(64, bytes, fault.host, DecoderOptions::NONE).decode();
    let operand = (0..insn.op_count()).find(|&i| insn.op_kind(i) == iced_x86::OpKind::Memory);
    operand
        .and_then(|i| insn.virtual_address(i, 0, |register, _, _| value(fault, register)))
        .unwrap_or(fault.address)
}

const SI_KERNEL: i32 = 0x80;

/// Value of a general register at the fault; segments are flat.
fn value(fault: &HostFault, register: Register) -> Option<u64> {
    if register.is_segment_register() {
        return Some(0);
    }
    if register == Register::RIP {
        return Some(fault.host);
    }
    register.is_gpr64().then(|| fault.regs[register.number()])
}
