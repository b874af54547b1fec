// Division and remainder in all widths: gcd, digits, modular powers, signed corner cases.
#include "bench.h"

static NOINLINE uint64_t gcd(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static NOINLINE uint32_t power_mod(uint64_t base, uint32_t exponent, uint32_t modulus) {
    uint64_t result = 1;
    for (base %= modulus; exponent; exponent >>= 1) {
        if (exponent & 1)
            result = result * base % modulus;
        base = base * base % modulus;
    }
    return (uint32_t)result;
}

static NOINLINE int32_t digits(int32_t value, int32_t base) {
    int32_t sum = 0;
    for (; value; value /= base)
        sum += value % base;
    return sum;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        uint64_t x = next_random(), y = next_random();
        hash = mix(hash, gcd(x, y));
        hash = mix(hash, power_mod(x, (uint32_t)y, (uint32_t)(y >> 32) | 1));
        hash = mix(hash, (uint64_t)digits((int32_t)x, (int32_t)(y & 15) + 2));
    }
    return report(hash);
}
