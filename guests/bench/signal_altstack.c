// Signals with information on an alternate stack, left by siglongjmp and by return in turn.
#define _GNU_SOURCE
#include "bench.h"
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile long returned, jumped;
static char stack[65536];

static void handler(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    char here;
    int on_stack = &here >= stack && &here < stack + sizeof stack;
    if (info->si_value.sival_int & 1) {
        jumped += on_stack;
        siglongjmp(back, 1);
    }
    returned += on_stack;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&alternate, NULL);
    sigaction(SIGRTMIN, &action, NULL);
    for (volatile long r = 0; r < rounds; r++)
        if (sigsetjmp(back, 1) == 0)
            sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = (int)r});
    return report(mix((uint64_t)returned, (uint64_t)jumped));
}
