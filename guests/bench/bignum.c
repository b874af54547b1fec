// Schoolbook multiplication of big numbers: 64 by 64 to 128 bits with carries.
#include "bench.h"

#define LIMBS 48
typedef unsigned __int128 wide;
static uint64_t a[LIMBS], b[LIMBS], product[LIMBS * 2];

static NOINLINE void multiply(void) {
    memset(product, 0, sizeof product);
    for (int i = 0; i < LIMBS; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < LIMBS; j++) {
            wide t = (wide)a[i] * b[j] + product[i + j] + carry;
            product[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        product[i + LIMBS] = carry;
    }
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (int i = 0; i < LIMBS; i++) {
        a[i] = next_random();
        b[i] = next_random();
    }
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        multiply();
        a[r % LIMBS] ^= product[LIMBS + r % LIMBS];
        hash = mix(hash, product[LIMBS]);
    }
    return report(hash);
}
