// The Mandelbrot set: double precision, a picture and a count.
#include "runtime.h"

static unsigned escape(double cx, double cy, unsigned limit) {
    double x = 0, y = 0;
    unsigned i = 0;
    while (i < limit && x * x + y * y <= 4) {
        double t = x * x - y * y + cx;
        y = 2 * x * y + cy;
        x = t;
        i++;
    }
    return i;
}

int run(void) {
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 60; column++)
            print("%c", " .:-=+*%#@"[escape(column * 0.05 - 2.25, row * 0.15 - 1.125, 63) / 7]);
        print("\n");
    }
    uint64_t steps = 0;
    for (int row = 0; row < 500; row++)
        for (int column = 0; column < 500; column++)
            steps += escape(column * 0.006 - 2.25, row * 0.005 - 1.25, 200);
    print("%lu steps\n", steps);
    return 0;
}
