// Gaussian elimination with partial pivoting; REAL is the type of a number.
#include "bench.h"

#define N 120
static REAL a[N][N], b[N];

static NOINLINE void fill(void) {
    for (int i = 0; i < N; i++) {
        b[i] = 0;
        for (int j = 0; j < N; j++) {
            a[i][j] = (REAL)(int32_t)(next_random() >> 40) / (REAL)8388608 - (REAL)0.5;
            b[i] += a[i][j];
        }
    }
}

static NOINLINE void axpy(REAL *y, const REAL *x, REAL k, int n) {
    for (int i = 0; i < n; i++)
        y[i] -= k * x[i];
}

static NOINLINE void solve(void) {
    for (int k = 0; k < N; k++) {
        int pivot = k;
        for (int i = k + 1; i < N; i++) {
            REAL x = a[i][k] < 0 ? -a[i][k] : a[i][k];
            REAL y = a[pivot][k] < 0 ? -a[pivot][k] : a[pivot][k];
            if (x > y)
                pivot = i;
        }
        for (int j = 0; j < N; j++) {
            REAL t = a[k][j];
            a[k][j] = a[pivot][j];
            a[pivot][j] = t;
        }
        REAL t = b[k];
        b[k] = b[pivot];
        b[pivot] = t;
        for (int i = k + 1; i < N; i++) {
            REAL factor = a[i][k] / a[k][k];
            axpy(&a[i][k], &a[k][k], factor, N - k);
            b[i] -= factor * b[k];
        }
    }
    for (int k = N - 1; k >= 0; k--) {
        for (int j = k + 1; j < N; j++)
            b[k] -= a[k][j] * b[j];
        b[k] /= a[k][k];
    }
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    double sum = 0;
    for (long r = 0; r < rounds; r++) {
        fill();
        solve();
        for (int i = 0; i < N; i++)
            sum += b[i];
    }
    return report_real(sum);
}
