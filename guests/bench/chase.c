// A random ring of pointers over 16 MiB: nothing but the latency of memory.
#include "bench.h"

#define N (1 << 21)
static uint64_t next[N];

int main(int argc, char **argv) {
    long steps = size_argument(argc, argv);
    for (uint64_t i = 0; i < N; i++)
        next[i] = i;
    for (uint64_t i = N - 1; i > 0; i--) { // Sattolo: one cycle through all
        uint64_t j = next_random() % i, t = next[i];
        next[i] = next[j];
        next[j] = t;
    }
    uint64_t at = 0;
    for (long s = 0; s < steps; s++)
        at = next[at];
    return report(at);
}
