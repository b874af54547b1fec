// The Mandelbrot set; REAL is the type of a number.
#include "bench.h"

static NOINLINE int escape(REAL cx, REAL cy) {
    REAL x = 0, y = 0;
    int i = 0;
    for (; i < 100; i++) {
        REAL xx = x * x, yy = y * y;
        if (xx + yy > 4)
            break;
        y = 2 * x * y + cy;
        x = xx - yy + cx;
    }
    return i;
}

int main(int argc, char **argv) {
    long side = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < side; r++)
        for (long c = 0; c < side; c++)
            hash = mix(hash, (uint64_t)escape((REAL)c * 3 / (REAL)side - 2,
                                              (REAL)r * 3 / (REAL)side - (REAL)1.5));
    return report(hash);
}
