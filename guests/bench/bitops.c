// Bit counting, byte swaps, rotations and Morton codes: what the bit-manipulation sets speed up.
#include "bench.h"

static NOINLINE uint64_t spread(uint64_t x) {
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x << 2) & 0x3333333333333333u;
    return (x | x << 1) & 0x5555555555555555u;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        uint64_t x = next_random() | 1;
        hash += (uint64_t)__builtin_popcountll(x) + (uint64_t)__builtin_clzll(x);
        hash ^= __builtin_bswap64(x) + (uint64_t)__builtin_ctzll(x & -16);
        hash = hash << (r & 31) | hash >> ((64 - (r & 31)) & 63);
        hash += spread(x & 0xffffffff) | spread(x >> 32) << 1;
    }
    return report(hash);
}
