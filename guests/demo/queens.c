// All placements of queens on boards up to 13 by 13: recursion and bit masks.
#include "runtime.h"

static unsigned place(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
    if (columns == all)
        return 1;
    unsigned count = 0;
    for (uint32_t free = all & ~(columns | left | right); free; free &= free - 1) {
        uint32_t bit = free & -free;
        count += place(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return count;
}

int run(void) {
    print("queens:");
    for (unsigned n = 1; n <= 13; n++)
        print(" %u", place((1u << n) - 1, 0, 0, 0));
    print("\n");
    return 0;
}
