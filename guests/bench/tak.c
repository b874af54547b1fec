// Takeuchi's and Ackermann's functions: deep, irregular recursion.
#include "bench.h"

static NOINLINE long tak(long x, long y, long z) {
    return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

static NOINLINE long ackermann(long m, long n) {
    if (m == 0)
        return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        hash = mix(hash, (uint64_t)tak(18 + (r & 1), 12, 6));
        hash = mix(hash, (uint64_t)ackermann(2, 200 + r));
    }
    return report(hash);
}
