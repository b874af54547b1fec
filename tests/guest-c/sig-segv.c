// Access faults: SIGSEGV with the exact address and the reason (siginfo, sigaction(2)).
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;
static uintptr_t seen_pc;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    seen = *info;
    seen_pc = ((ucontext_t *)context)->uc_mcontext.__gregs[0];
    siglongjmp(back, 1);
}

static const char *reason(int code)
{
    return code == SEGV_MAPERR ? "MAPERR" : code == SEGV_ACCERR ? "ACCERR" : "other";
}

#define TRY(name, address, access)                                                  \
    do {                                                                            \
        volatile uint8_t *p = (volatile uint8_t *)(address);                        \
        memset(&seen, 0, sizeof seen);                                              \
        if (sigsetjmp(back, 1) == 0) {                                              \
            access;                                                                 \
            puts(name ": no fault");                                                \
        } else {                                                                    \
            printf("%s: signal %d %s address %s\n", name, seen.si_signo,            \
                   reason(seen.si_code), seen.si_addr == (void *)p ? "exact" : "wrong"); \
        }                                                                           \
    } while (0)

int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    uint8_t *pages = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_READ);
    mprotect(pages + 2 * 4096, 4096, PROT_NONE);
    munmap(pages + 3 * 4096, 4096);
    volatile uint8_t sink;

    TRY("load from null", 0, sink = *p);
    TRY("store to null", 8, *p = 1);
    TRY("load from an unmapped page", pages + 3 * 4096 + 5, sink = *p);
    TRY("store to a read-only page", pages + 4096 + 123, *p = 1);
    TRY("load from a read-only page", pages + 4096 + 123, sink = *p);
    TRY("load from a page without access", pages + 2 * 4096 + 7, sink = *p);
    TRY("jump to an unmapped page", pages + 3 * 4096, ((void (*)(void))p)());
    printf("pc at the fault: %s\n", seen_pc == (uintptr_t)(pages + 3 * 4096) ? "exact" : "wrong");
    TRY("jump to a page without execute", pages, ((void (*)(void))p)());
    TRY("jump to null", 0, ((void (*)(void))p)());
    TRY("store after mprotect back", pages + 4096 + 1,
        mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE); *p = 1);

    /* A load that crosses into a page without access faults at the first byte that fails. */
    uint64_t *crossing = (uint64_t *)(pages + 2 * 4096 - 4);
    if (sigsetjmp(back, 1) == 0) {
        (void)*(volatile uint64_t *)crossing;
        puts("crossing load: no fault");
    } else {
        uintptr_t at = (uintptr_t)seen.si_addr - (uintptr_t)pages;
        printf("crossing load: signal %d %s\n", seen.si_signo,
               at >= 2 * 4096 - 4 && at <= 2 * 4096 ? "address in range" : "address wrong");
    }
    (void)sink;
    return 0;
}
