// Copies written as loops: bytes, words, reversed, with a stride and with a translation table.
#include "bench.h"

#define SIZE 32768
static uint8_t from[SIZE + 8], to[SIZE + 8], map[256];

static NOINLINE void copy_bytes(uint8_t *restrict d, const uint8_t *restrict s, long n) {
    for (long i = 0; i < n; i++) {
        d[i] = s[i];
        __asm__ volatile("" ::: "memory");
    }
}

static NOINLINE void copy_words(uint64_t *d, const uint64_t *s, long n) {
    for (long i = 0; i < n; i++)
        d[i] = s[i] + 0x0101010101010101u;
}

static NOINLINE void copy_reversed(uint8_t *d, const uint8_t *s, long n) {
    for (long i = 0; i < n; i++)
        d[n - 1 - i] = s[i];
}

static NOINLINE void copy_mapped(uint8_t *d, const uint8_t *s, long n) {
    for (long i = 0; i < n; i++)
        d[i] = map[s[i]];
}

static NOINLINE void copy_strided(uint16_t *d, const uint16_t *s, long n) {
    for (long i = 0; i < n; i++)
        d[i] = s[i * 17 & (n - 1)];
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (int i = 0; i < SIZE; i++)
        from[i] = (uint8_t)next_random();
    for (int i = 0; i < 256; i++)
        map[i] = (uint8_t)(i * 167 + 13);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        copy_bytes(to, from, SIZE);
        copy_words((uint64_t *)from, (const uint64_t *)to, SIZE / 8);
        copy_reversed(to, from, SIZE);
        copy_mapped(from, to, SIZE);
        copy_strided((uint16_t *)to, (const uint16_t *)from, SIZE / 2);
        copy_bytes(from, to, SIZE);
        hash = mix(hash, from[r & (SIZE - 1)]);
    }
    return report(hash);
}
