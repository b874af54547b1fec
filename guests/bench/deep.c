// Recursion 20 000 calls deep: more returns in flight than any return predictor holds.
#include "bench.h"

static NOINLINE uint64_t down(uint64_t depth, uint64_t value) {
    if (depth == 0)
        return value;
    return down(depth - 1, value * 5 + depth) ^ value;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++)
        hash = mix(hash, down(20000, (uint64_t)r));
    return report(hash);
}
