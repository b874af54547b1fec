// Interrupted system calls: SA_RESTART, EINTR, and signals in the middle of hot loops.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ticks;
static int pipe_fd[2];

static void tick(int signal)
{
    (void)signal;
    if (++ticks == 5 && write(pipe_fd[1], "x", 1) != 1)
        ticks = -1000;
}

static void timer(int ms)
{
    struct itimerval each = {{0, ms * 1000}, {0, ms * 1000}};
    setitimer(ITIMER_REAL, &each, 0);
}

static void install(int flags)
{
    struct sigaction action = {.sa_handler = tick, .sa_flags = flags};
    sigaction(SIGALRM, &action, 0);
    ticks = 0;
}

int main(void)
{
    char byte = '?';
    if (pipe(pipe_fd) != 0)
        return 1;
    install(SA_RESTART);
    timer(5);
    ssize_t n = read(pipe_fd[0], &byte, 1);
    printf("restarted read: %zd %c\n", n, byte);
    install(0);
    n = read(pipe_fd[0], &byte, 1);
    printf("plain read: %zd %s\n", n, strerror(errno));
    install(SA_RESTART);
    struct timespec rest = {10, 0}, left = {0, 0};
    n = nanosleep(&rest, &left);
    printf("sleep: %zd %s, time left %d\n", n, strerror(errno), left.tv_sec >= 5);
    n = poll(0, 0, 10000);
    printf("poll: %zd %s\n", n, strerror(errno));

    /* A hot loop of arithmetic must come out right however often it is interrupted. */
    install(SA_RESTART);
    timer(1);
    uint64_t sum = 0, turns = 0;
    while (ticks < 50) {
        for (uint64_t i = 0; i < 1000; i++)
            sum += i * i ^ turns;
        turns++;
    }
    uint64_t again = 0;
    for (uint64_t t = 0; t < turns; t++)
        for (uint64_t i = 0; i < 1000; i++)
            again += i * i ^ t;
    printf("hot loop: %s\n", sum == again ? "right" : "wrong");

    /* The shortest loop there is. */
    install(0);
    while (ticks < 10)
        ;
    timer(0);
    puts("empty loop left");

    /* Floating-point state survives a handler. */
    double x = 1;
    install(SA_RESTART);
    timer(1);
    for (int i = 0; i < 3000000 || ticks < 3; i++)
        x = x * 0.5 + 1;
    timer(0);
    printf("fp: %.17g\n", x);
    return 0;
}
