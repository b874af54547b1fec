// libc's qsort and bsearch with a comparison function: calls back and forth across libc.
#include "bench.h"

#define COUNT 20000
static uint32_t values[COUNT];

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < COUNT; i++)
            values[i] = (uint32_t)(next_random() >> 33);
        qsort(values, COUNT, sizeof *values, compare);
        for (int i = 0; i < COUNT; i++) {
            uint32_t key = values[(i * 7919) % COUNT];
            uint32_t *at = bsearch(&key, values, COUNT, sizeof *values, compare);
            hash = mix(hash, at ? *at : 0);
        }
    }
    return report(hash);
}
