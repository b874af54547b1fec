// sigaltstack(2): a handler for stack overflow, nested signals, SS_ONSTACK, SS_AUTODISARM absent.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static sigjmp_buf back;
static char *alternate;
static size_t size = 64 * 1024;

static int on_alternate(void)
{
    char here;
    return &here >= alternate && &here < alternate + size;
}

static void inner(int signal)
{
    stack_t now;
    sigaltstack(0, &now);
    printf("inner %d: alternate %d flag %d\n", signal, on_alternate(), now.ss_flags == SS_ONSTACK);
}

static void handler(int signal)
{
    printf("handler %d: alternate %d\n", signal, on_alternate());
    if (signal == SIGSEGV)
        siglongjmp(back, 1);
    raise(SIGUSR2);
}

static int deep(int n)
{
    volatile char big[4096];
    big[0] = n;
    return deep(n + 1) + big[0];
}

int main(void)
{
    alternate = malloc(size);
    stack_t stack = {.ss_sp = alternate, .ss_size = size};
    printf("set: %d\n", sigaltstack(&stack, 0));
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGUSR1, &action, 0);
    action.sa_handler = inner;
    action.sa_flags = 0;
    sigaction(SIGUSR2, &action, 0);
    raise(SIGUSR1);
    raise(SIGUSR2);
    for (int i = 0; i < 3; i++)
        if (sigsetjmp(back, 1) == 0)
            deep(0);
        else
            printf("back %d\n", i);
    stack.ss_size = 10;
    printf("too small: %d\n", sigaltstack(&stack, 0));
    stack.ss_flags = SS_DISABLE;
    printf("disable: %d\n", sigaltstack(&stack, 0));
    raise(SIGUSR1);
    return 0;
}
