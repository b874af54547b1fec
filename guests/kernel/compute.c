// Work for the processor alone. The only file of the kernel that is compiled for floating point:
// so traps need not save its registers.
#include "kernel.h"

// The sieve of Eratosthenes over the odd numbers, a bit each.
bool command_prime(void) {
    enum { LIMIT = 1000000, BITS = LIMIT / 2, PAGES = (BITS / 8 + PAGE_SIZE) / PAGE_SIZE };
    static u8 *sieve;
    if (!sieve)
        sieve = pages_new(PAGES);
    if (!check(sieve))
        return false;
    memset(sieve, 0, PAGES * PAGE_SIZE);
    u64 primes = 1, last = 2; // 2 is the one that is not odd
    for (u64 i = 1; i < BITS; i++) {
        if (sieve[i / 8] & 1 << i % 8)
            continue;
        u64 prime = 2 * i + 1;
        primes++;
        last = prime;
        for (u64 j = prime * prime / 2; j < BITS; j += prime)
            sieve[j / 8] |= (u8)(1 << j % 8);
    }
    print("  %lu primes below %lu, the last is %lu\n", primes, (u64)LIMIT, last);
    return check(primes == 78498) & check(last == 999983);
}

static u32 escape(double cx, double cy, u32 limit) {
    double x = 0, y = 0;
    u32 i = 0;
    while (i < limit && x * x + y * y <= 4) {
        double next = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = next;
        i++;
    }
    return i;
}

bool command_mandel(void) {
    u64 steps = 0;
    for (int row = 0; row < 16; row++) {
        char line[61];
        for (int column = 0; column < 60; column++) {
            u32 count = escape(column * 0.05 - 2.25, row * 0.15 - 1.125, 63);
            line[column] = " .:-=+*%#@"[count / 7];
            steps += count;
        }
        line[60] = 0;
        print("  %s\n", line);
    }
    print("  %lu steps\n", steps);
    return check(steps == 16858);
}
