// A signal sent to itself and handled, on the ordinary stack.
#include "bench.h"
#include <signal.h>

static volatile sig_atomic_t seen;

static void handler(int number) {
    seen += number;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    signal(SIGUSR1, handler);
    for (long r = 0; r < rounds; r++)
        raise(SIGUSR1);
    return report((uint64_t)(seen == rounds * SIGUSR1));
}
