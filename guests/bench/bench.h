// What every workload shares: its size from the command line, a generator of numbers, one result.
// The result is printed so that two runs can be compared; nothing else may be printed.
#ifndef BENCH_H
#define BENCH_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

static inline long size_argument(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s SIZE\n", argv[0]);
        exit(2);
    }
    return strtol(argv[1], NULL, 10);
}

// xorshift64*: the same numbers on every machine.
static uint64_t random_state = 0x9e3779b97f4a7c15u;
static inline uint64_t next_random(void) {
    uint64_t x = random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random_state = x;
    return x * 0x2545f4914f6cdd1du;
}

static inline uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x100000001b3u;
}

static inline int report(uint64_t value) {
    printf("%016llx\n", (unsigned long long)value);
    return 0;
}

// Ten digits: libm may round its last bit differently on two machines, nothing more.
static inline int report_real(double value) {
    printf("%.9e\n", value);
    return 0;
}
#endif
