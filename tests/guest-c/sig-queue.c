// Real-time signals queue in order with their values; standard ones merge; masks and sigwait.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int usr;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (signal == SIGUSR1)
        usr++;
    else
        printf("rt+%d value %d code %d\n", signal - SIGRTMIN, info->si_value.sival_int,
               info->si_code);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t set, old, pending;
    sigfillset(&action.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    for (int i = 0; i < 4; i++) {
        sigaction(SIGRTMIN + i, &action, 0);
        sigaddset(&set, SIGRTMIN + i);
    }
    sigaction(SIGUSR1, &action, 0);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 8; i++)
        sigqueue(getpid(), SIGRTMIN + (7 - i) % 4, (union sigval){.sival_int = i});
    for (int i = 0; i < 5; i++)
        kill(getpid(), SIGUSR1);
    sigpending(&pending);
    printf("pending: usr1 %d rt0 %d int %d\n", sigismember(&pending, SIGUSR1),
           sigismember(&pending, SIGRTMIN), sigismember(&pending, SIGINT));
    sigprocmask(SIG_SETMASK, &old, 0);
    printf("usr1 merged: %d\n", usr);

    sigprocmask(SIG_BLOCK, &set, 0);
    pid_t child = fork();
    if (child == 0) {
        sigqueue(getppid(), SIGRTMIN + 1, (union sigval){.sival_int = 77});
        _exit(0);
    }
    siginfo_t info;
    struct timespec limit = {10, 0}, none = {0, 1000};
    int got = sigtimedwait(&set, &info, &limit);
    printf("waited: rt+%d value %d from child %d\n", got - SIGRTMIN, info.si_value.sival_int,
           info.si_pid == child);
    waitpid(child, 0, 0);
    got = sigtimedwait(&set, &info, &none);
    printf("nothing: %d %s\n", got, strerror(errno));
    usr = 0;
    kill(getpid(), SIGUSR1);
    sigset_t open = set;
    sigdelset(&open, SIGUSR1);
    got = sigsuspend(&open);
    printf("suspended: %d %s, usr1 %d\n", got, strerror(errno), usr);
    return 0;
}
