// libm's functions in turn.
#include "bench.h"
#include <math.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    double sum = 0;
    for (long r = 0; r < rounds; r++) {
        double x = (double)(next_random() >> 40) / 4194304 + 0.001;
        sum += sin(x) + cos(x * 3) + tan(x / 5);
        sum += exp(-x) + log(x) + pow(x, 0.7);
        sum += atan2(x, 2) + asin(x / 5) + sinh(x / 4);
        sum += cbrt(x) + hypot(x, 1) + fmod(x * 100, 1.7);
        sum += erf(x) + tgamma(x / 2 + 1) + log1p(x) + expm1(x / 8);
        sum += sinf((float)x) + expf((float)-x) + logf((float)x);
    }
    return report_real(sum);
}
