// Two threads share a counter under a mutex.
#include "bench.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t counter;
static long rounds;

static void *work(void *argument) {
    uint64_t step = (uint64_t)(uintptr_t)argument;
    for (long r = 0; r < rounds; r++) {
        pthread_mutex_lock(&lock);
        counter += step;
        pthread_mutex_unlock(&lock);
        for (volatile int i = 0; i < 20; i++)
            ;
    }
    return NULL;
}

int main(int argc, char **argv) {
    rounds = size_argument(argc, argv);
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return report(counter);
}
