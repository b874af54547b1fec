// Atomic operations of both widths, with and without another thread: AMO and LR/SC loops.
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>

static _Atomic uint64_t total, best, bits;
static _Atomic uint32_t narrow;
static _Atomic uint16_t tiny;
static long rounds;

static void *work(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    for (long r = 0; r < rounds; r++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        atomic_fetch_add(&total, seed >> 60);
        atomic_fetch_xor(&bits, seed);
        atomic_fetch_add_explicit(&narrow, 3, memory_order_relaxed);
        atomic_fetch_add_explicit(&tiny, 1, memory_order_acq_rel);
        uint64_t seen = atomic_load(&best);
        while (seed > seen && !atomic_compare_exchange_weak(&best, &seen, seed))
            ;
    }
    return NULL;
}

int main(int argc, char **argv) {
    rounds = size_argument(argc, argv);
    pthread_t other;
    pthread_create(&other, NULL, work, (void *)1);
    work((void *)2);
    pthread_join(other, NULL);
    uint64_t hash = mix(mix(0, total), best);
    return report(mix(mix(mix(hash, bits), narrow), tiny));
}
