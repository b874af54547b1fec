// The user program. It shares nothing with the kernel but system.h: the linker script puts all of
// it onto pages of its own, which user mode sees at another address.
#include <stdint.h>

#include "layout.h"
#include "system.h"

__asm__(".section .user.entry, \"ax\"\n"
        "    call user_main\n"
        "    li a7, 2\n" // SYS_EXIT
        "    ecall\n"
        ".text\n");

static long call(long number, long a, long b, long c, long d, long e, long f) {
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;
    register long a7 __asm__("a7") = number;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
                     : "memory");
    return a0;
}

static uint64_t ticks(void) {
    uint64_t time;
    __asm__ volatile("rdtime %0" : "=r"(time));
    return time;
}

// Each level has half a page on the stack: the kernel adds pages as they are touched.
static long __attribute__((noinline)) deep(long level) {
    volatile long room[PAGE_SIZE / 16];
    room[0] = level;
    return level ? deep(level - 1) + room[0] : 0;
}

// A half, a quarter, … : exactly 1 - 2^-40 in double precision, whatever interrupts it.
static int halves(void) {
    double sum = 0, part = 1;
    for (int i = 0; i < 40; i++) {
        part /= 2;
        sum += part;
    }
    return sum == 1 - part;
}

static int work(void) {
    static const char text[] = "  the user program speaks\n";
    if (call(SYS_WRITE, (long)text, sizeof text - 1, 0, 0, 0, 0) != sizeof text - 1)
        return 1;
    for (long i = 0; i < 1000; i++)
        if (call(SYS_WEIGH, i, 1, 2, 3, 4, 5) != i + 2 + 6 + 12 + 20 + 30)
            return 2;
    if (deep(12) != 78)
        return 3;
    // Until the timer has interrupted three times: neither numbers nor the time suffer.
    for (uint64_t start = ticks(); call(SYS_TICKS, 0, 0, 0, 0, 0, 0) < 3;) {
        if (!halves())
            return 4;
        if (ticks() < start)
            return 5;
    }
    return WORK_DONE;
}

int user_main(int what) {
    int here = 0;
    switch (what) {
    case RUN_WORK:
        return work();
    case RUN_BAD_POINTER:
        return call(SYS_WRITE, (long)IMAGE_VIRTUAL, 8, 0, 0, 0, 0) == -1 ? WORK_DONE : 1;
    case RUN_LOAD_KERNEL:
        return *(volatile char *)IMAGE_VIRTUAL;
    case RUN_STORE_CODE:
        *(volatile char *)USER_CODE = 0;
        break;
    case RUN_CALL_STACK:
        __asm__ volatile("jalr %0" : : "r"(&here) : "ra", "memory");
        break;
    case RUN_CALL_NULL:
        __asm__ volatile("jalr zero" : : : "ra", "memory");
        break;
    case RUN_PRIVILEGED:
        __asm__ volatile("csrr a0, sstatus" : : : "a0");
        break;
    }
    return 1;
}
