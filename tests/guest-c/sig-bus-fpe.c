// SIGBUS beyond the end of a mapped file; division never traps on RISC-V; SIGFPE when sent.
#define _GNU_SOURCE
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf back;
static siginfo_t seen;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(back, 1);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, 0);
    sigaction(SIGFPE, &action, 0);
    int file = memfd_create("short", 0);
    if (ftruncate(file, 100) != 0)
        return 1;
    volatile uint8_t *map = mmap(0, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    map[50] = 7;
    printf("inside: %d, tail of the page: %d\n", map[50], map[4000]);
    if (sigsetjmp(back, 1) == 0)
        map[4096 + 33] = 1;
    else
        printf("beyond: signal %d code %s address %s\n", seen.si_signo,
               seen.si_code == BUS_ADRERR ? "ADRERR" : "other",
               seen.si_addr == map + 4096 + 33 ? "exact" : "wrong");

    volatile long zero = 0, minus = -1, least = LONG_MIN, seven = 7;
    volatile int zero32 = 0, least32 = INT_MIN, minus32 = -1;
    long quotient, remainder;
    __asm__("div %0, %1, %2" : "=r"(quotient) : "r"(seven), "r"(zero));
    __asm__("rem %0, %1, %2" : "=r"(remainder) : "r"(seven), "r"(zero));
    printf("7 / 0 = %ld, 7 %% 0 = %ld\n", quotient, remainder);
    __asm__("div %0, %1, %2" : "=r"(quotient) : "r"(least), "r"(minus));
    __asm__("rem %0, %1, %2" : "=r"(remainder) : "r"(least), "r"(minus));
    printf("min / -1 = %ld, min %% -1 = %ld\n", quotient, remainder);
    __asm__("divw %0, %1, %2" : "=r"(quotient) : "r"(least32), "r"(minus32));
    __asm__("remuw %0, %1, %2" : "=r"(remainder) : "r"(minus32), "r"(zero32));
    printf("min32 / -1 = %ld, -1 %%u32 0 = %ld\n", quotient, remainder);

    if (sigsetjmp(back, 1) == 0)
        kill(getpid(), SIGFPE);
    else
        printf("sent: signal %d from %s\n", seen.si_signo,
               seen.si_code == SI_USER && seen.si_pid == getpid() ? "kill" : "elsewhere");
    return 0;
}
