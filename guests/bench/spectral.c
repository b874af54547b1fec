// The spectral norm of an infinite matrix: divisions and conversions from integers.
#include "bench.h"
#include <math.h>

#define N 160
static double u[N], v[N], t[N];

static inline double element(int i, int j) {
    return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static NOINLINE void times(const double *x, double *y, int transposed) {
    for (int i = 0; i < N; i++) {
        y[i] = 0;
        for (int j = 0; j < N; j++)
            y[i] += (transposed ? element(j, i) : element(i, j)) * x[j];
    }
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (int i = 0; i < N; i++)
        u[i] = 1;
    for (long r = 0; r < rounds; r++) {
        times(u, t, 0); times(t, v, 1);
        times(v, t, 0); times(t, u, 1);
    }
    double uv = 0, vv = 0;
    for (int i = 0; i < N; i++) {
        uv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    return report_real(sqrt(uv / vv));
}
