// Indirect calls through a table: one target, few in a pattern, many at random.
#include "bench.h"

typedef uint64_t operation(uint64_t, uint64_t);
#define OP(name, expression) \
    static NOINLINE uint64_t name(uint64_t a, uint64_t b) { return expression; }
OP(op0, a + b)
OP(op1, a ^ b)
OP(op2, a - b)
OP(op3, a * 3 + b)
OP(op4, (a << 7 | a >> 57) ^ b)
OP(op5, a | b)
OP(op6, a + (b >> 3))
OP(op7, ~a ^ b)
static operation *volatile const table[8] = {op0, op1, op2, op3, op4, op5, op6, op7};

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t value = 1;
    for (long r = 0; r < rounds; r++) {
        value = table[0](value, (uint64_t)r);
        value = table[r & 3](value, (uint64_t)r);
        value = table[next_random() >> 61](value, (uint64_t)r);
    }
    return report(value);
}
