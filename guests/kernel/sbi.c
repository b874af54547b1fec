// The supervisor binary interface: what the firmware, or the emulator in its place, does for us.
#include "kernel.h"

struct sbi_result sbi(u64 extension, u64 function, u64 a, u64 b, u64 c, u64 d) {
    register u64 a0 __asm__("a0") = a;
    register u64 a1 __asm__("a1") = b;
    register u64 a2 __asm__("a2") = c;
    register u64 a3 __asm__("a3") = d;
    register u64 a6 __asm__("a6") = function;
    register u64 a7 __asm__("a7") = extension;
    __asm__ volatile("ecall"
                     : "+r"(a0), "+r"(a1)
                     : "r"(a2), "r"(a3), "r"(a6), "r"(a7)
                     : "memory");
    return (struct sbi_result){(long)a0, (long)a1};
}

// Base extension, probe_extension.
bool sbi_has(u64 extension) {
    struct sbi_result found = sbi(SBI_BASE, 3, extension, 0, 0, 0);
    return found.error == 0 && found.value != 0;
}

static _Noreturn void stop(void) {
    csr_clear(sstatus, STATUS_SIE);
    while (true)
        __asm__ volatile("wfi");
}

// The test finisher of the machine `virt`: the emulator ends with the code as its exit status.
_Noreturn void power_fail(u32 code) {
    if (machine.finisher)
        *(volatile u32 *)direct(machine.finisher) = code << 16 | 0x3333;
    sbi(SBI_SRST, 0, 0, 1, 0, 0); // shutdown, reason: system failure
    stop();
}

_Noreturn void power_off(void) {
    sbi(SBI_SRST, 0, 0, 0, 0, 0);
    print("the firmware cannot power off\n");
    power_fail(3);
}

_Noreturn void reboot(void) {
    sbi(SBI_SRST, 0, 1, 0, 0, 0); // cold reboot
    print("the firmware cannot reboot\n");
    power_fail(3);
}
