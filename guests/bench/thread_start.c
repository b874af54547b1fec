// Threads created and joined one after the other.
#include "bench.h"
#include <pthread.h>

static void *work(void *argument) {
    return (void *)((uintptr_t)argument * 3 + 1);
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        pthread_t thread;
        void *result = NULL;
        if (pthread_create(&thread, NULL, work, (void *)r) != 0)
            return 1;
        pthread_join(thread, &result);
        hash = mix(hash, (uint64_t)(uintptr_t)result);
    }
    return report(hash);
}
