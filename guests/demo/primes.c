// The sieve of Eratosthenes: memory and simple loops.
#include "runtime.h"

enum { LIMIT = 8000000 };
static uint8_t composite[LIMIT];

int run(void) {
    unsigned count = 0, last = 0;
    for (uint32_t i = 2; i < LIMIT; i++) {
        if (composite[i])
            continue;
        count++;
        last = i;
        for (uint32_t j = i * 2; j < LIMIT; j += i)
            composite[j] = 1;
    }
    print("%u primes below %u, the last is %u\n", count, LIMIT, last);
    return 0;
}
