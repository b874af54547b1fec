// What the user program and the kernel agree on.
#ifndef SYSTEM_H
#define SYSTEM_H

// System calls: the number in a7, arguments from a0 on, the result in a0.
enum {
    SYS_WRITE = 1, // (text, length): length, or -1 for memory that is not the user's
    SYS_EXIT = 2,  // (code)
    SYS_WEIGH = 3, // (a, b, c, d, e, f): a + 2 b + 3 c + 4 d + 5 e + 6 f
    SYS_TICKS = 4, // (): how often the timer has interrupted the program
};

// What the program does, as its argument says.
enum {
    RUN_WORK, // system calls, floating point, a deep stack, and time that passes
    RUN_BAD_POINTER,
    RUN_LOAD_KERNEL, // from here on: faults
    RUN_STORE_CODE,
    RUN_CALL_STACK,
    RUN_CALL_NULL,
    RUN_PRIVILEGED,
};

enum { WORK_DONE = 42 };
#endif
