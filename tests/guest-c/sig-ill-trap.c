// SIGILL and SIGTRAP: code, address and program counter of the instruction itself.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <ucontext.h>

static volatile int step;
static uintptr_t wanted;

static void handler(int signal, siginfo_t *info, void *context)
{
    uintptr_t *pc = (uintptr_t *)&((ucontext_t *)context)->uc_mcontext.__gregs[0];
    const char *address = (uintptr_t)info->si_addr == wanted ? "exact" : "wrong";
    printf("signal %d code %d address %s pc %s\n", signal, info->si_code, address,
           *pc == wanted ? "exact" : "wrong");
    step++;
    *pc += (*(uint16_t *)wanted & 3) == 3 ? 4 : 2;
}

#define AT(name, code)                                                     \
    do {                                                                   \
        extern char label_##name[];                                        \
        wanted = (uintptr_t)label_##name;                                  \
        __asm__ volatile(".globl label_" #name "\nlabel_" #name ": " code ::: "memory"); \
    } while (0)

int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, 0);
    sigaction(SIGTRAP, &action, 0);
    AT(zeros, ".2byte 0");
    AT(ones, ".4byte 0xffffffff");
    AT(machine, ".4byte 0x30200073");    /* mret */
    AT(supervisor, ".4byte 0x18001073"); /* csrw satp, zero */
    AT(readonly, ".4byte 0xc0001073");   /* csrw cycle, zero */
    AT(reserved, ".4byte 0x0000700b");   /* custom-0 */
    AT(ebreak, ".4byte 0x00100073");
    AT(cebreak, ".2byte 0x9002");
    printf("%d steps\n", step);
    return 0;
}
