// A hot loop under a timer's signals: the result must not notice them.
#include "bench.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int number) {
    (void)number;
    ticks++;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    struct itimerval every = {{0, 500}, {0, 500}};
    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &every, NULL);
    uint64_t hash = 1;
    for (long r = 0; r < rounds; r++)
        hash = (hash ^ (uint64_t)r) * 0x9e3779b97f4a7c15u + (hash >> 29);
    while (ticks < 3)
        ;
    return report(hash);
}
