// Fused multiply-add as an instruction: polynomials and dot products.
#include "bench.h"
#include <math.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    static const double c[8] = {1,         -0.5,       1.0 / 6, -1.0 / 24,
                                1.0 / 120, -1.0 / 720, 0.0002,  -0.00002};
    double sum = 0, a = 0, b = 0;
    for (long r = 0; r < rounds; r++) {
        double x = (double)(r & 1023) / 1024, p = c[7];
        for (int i = 6; i >= 0; i--)
            p = fma(p, x, c[i]);
        a = fma(p, x, a * 0.5);
        b = fma(-p, a, b * 0.25);
        sum += a - b;
    }
    return report_real(sum);
}
