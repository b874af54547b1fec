// The sieve of Eratosthenes over one byte per number.
#include "bench.h"

#define LIMIT 400000
static uint8_t composite[LIMIT];

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        memset(composite, 0, sizeof composite);
        uint64_t primes = 0;
        for (uint32_t i = 2; i < LIMIT; i++) {
            if (composite[i])
                continue;
            primes++;
            for (uint32_t j = i * 2; j < LIMIT; j += i)
                composite[j] = 1;
        }
        hash = mix(hash, primes + (uint64_t)r);
    }
    return report(hash);
}
