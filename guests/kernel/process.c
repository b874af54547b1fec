// The kernel's side of the user program: its memory, its system calls and its end.
#include "kernel.h"
#include "system.h"

// Counted in traps, where the compiler does not see it.
static volatile u64 calls, stack_pages;
static u64 ticks_before;

static const u64 stack_bottom = USER_STACK_TOP - USER_STACK_PAGES * PAGE_SIZE;

static bool is_users(u64 address) {
    u64 *entry = address >> 38 ? NULL : page_entry(address);
    u64 want = PTE_V | PTE_R | PTE_U;
    return entry && (*entry & want) == want;
}

static u64 system_write(u64 text, u64 length) {
    char copy[128];
    if (length >= sizeof copy || !is_users(text) || !is_users(text + length))
        return ~(u64)0;
    csr_set(sstatus, STATUS_SUM);
    memcpy(copy, (const void *)text, length);
    csr_clear(sstatus, STATUS_SUM);
    copy[length] = 0;
    print("%s", copy);
    return length;
}

u64 system_call(struct frame *frame) {
    u64 *a = frame->x + 10;
    calls += frame->x[17] != SYS_TICKS; // how often it asks is a matter of time
    switch (frame->x[17]) {
    case SYS_WRITE:
        return system_write(a[0], a[1]);
    case SYS_EXIT:
        user_leave(a[0] & 0xff);
    case SYS_WEIGH:
        return a[0] + 2 * a[1] + 3 * a[2] + 4 * a[3] + 5 * a[4] + 6 * a[5];
    case SYS_TICKS:
        return self()->user_timers - ticks_before;
    default:
        return ~(u64)0;
    }
}

// Serves a fault of user mode if it is the stack that wants to grow.
bool process_fault(struct frame *frame) {
    u64 at = frame->value & ~(u64)(PAGE_SIZE - 1);
    bool access = frame->cause == CAUSE_LOAD_PAGE || frame->cause == CAUSE_STORE_PAGE;
    if (!access || at < stack_bottom || at >= USER_STACK_TOP || is_users(at))
        return false;
    u64 page = page_new();
    if (!page)
        return false;
    map(at, page, PAGE_SIZE, PTE_R | PTE_W | PTE_U | PTE_A | PTE_D);
    flush_page(at);
    stack_pages++;
    return true;
}

// Runs the program; its exit code, or the cause of its fault with the highest bit set.
static u64 run(u64 what) {
    u64 size = (u64)(user_end - user_start);
    map(USER_CODE, physical(user_start), size, PTE_R | PTE_X | PTE_U | PTE_A | PTE_D);
    __asm__ volatile("sfence.vma" : : : "memory");
    csr_clear(sstatus, STATUS_SIE);
    u64 result = user_run(USER_CODE, USER_STACK_TOP, what);
    csr_set(sstatus, STATUS_SIE | STATUS_FS_INITIAL);
    for (u64 at = USER_CODE; at < USER_CODE + size; at += PAGE_SIZE)
        unmap(at);
    for (u64 at = stack_bottom; at < USER_STACK_TOP; at += PAGE_SIZE) {
        u64 *entry = page_entry(at);
        if (entry && *entry & PTE_V)
            page_free(*entry >> 10 << 12);
        unmap(at);
    }
    return result;
}

static bool faults(u64 what, u64 cause, const char *name) {
    u64 result = run(what);
    bool good = result == (cause | (u64)1 << 63);
    print("  %-40s %s\n", name, good ? "caught" : "NOT CAUGHT");
    return good;
}

bool command_user(void) {
    u64 left = pages_left();
    ticks_before = self()->user_timers;
    calls = stack_pages = 0;
    timer_every(machine.timebase / 1000);
    u64 code = run(RUN_WORK);
    timer_every(0);
    print("  %lu system calls, %lu pages of stack on demand, exit code %lu\n", calls, stack_pages,
          code);
    bool good = check(code == WORK_DONE) && check(calls == 1002) && check(stack_pages >= 6);
    good &= check(run(RUN_BAD_POINTER) == WORK_DONE);
    good &= faults(RUN_LOAD_KERNEL, CAUSE_LOAD_PAGE, "load from the kernel's memory");
    good &= faults(RUN_STORE_CODE, CAUSE_STORE_PAGE, "store into its own code");
    good &= faults(RUN_CALL_STACK, CAUSE_FETCH_PAGE, "jump onto its stack");
    good &= faults(RUN_CALL_NULL, CAUSE_FETCH_PAGE, "jump to address 0");
    good &= faults(RUN_PRIVILEGED, CAUSE_ILLEGAL, "a supervisor's register");
    // The tables stay, two below the root for each of code and stack; the rest came back.
    return good & check(left - pages_left() <= 4);
}
