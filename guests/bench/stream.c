// Copy, scale, add and triad over arrays larger than the caches close to the core.
#include "bench.h"

#define N 300000
static double a[N], b[N], c[N];

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (int i = 0; i < N; i++)
        a[i] = i % 17;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) c[i] = a[i];
        for (int i = 0; i < N; i++) b[i] = 0.5 * c[i];
        for (int i = 0; i < N; i++) c[i] = a[i] + b[i];
        for (int i = 0; i < N; i++) a[i] = b[i] + 0.25 * c[i];
    }
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += a[i];
    return report_real(sum);
}
