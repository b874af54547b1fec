// A radix-2 Fourier transform there and back.
#include "bench.h"
#include <math.h>

#define N 4096
static double re[N], im[N], cosine[N / 2], sine[N / 2];

static NOINLINE void transform(int sign) {
    for (int i = 1, j = 0; i < N; i++) {
        int bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = re[i]; re[i] = re[j]; re[j] = t;
            t = im[i]; im[i] = im[j]; im[j] = t;
        }
    }
    for (int half = 1; half < N; half *= 2)
        for (int base = 0; base < N; base += half * 2)
            for (int k = 0; k < half; k++) {
                double c = cosine[k * (N / 2 / half)], s = sign * sine[k * (N / 2 / half)];
                int p = base + k, q = p + half;
                double x = re[q] * c - im[q] * s, y = re[q] * s + im[q] * c;
                re[q] = re[p] - x; im[q] = im[p] - y;
                re[p] += x; im[p] += y;
            }
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (int i = 0; i < N / 2; i++) {
        cosine[i] = cos(2 * M_PI * i / N);
        sine[i] = sin(2 * M_PI * i / N);
    }
    for (int i = 0; i < N; i++)
        re[i] = (double)(next_random() >> 40) / 16777216;
    for (long r = 0; r < rounds; r++) {
        transform(1);
        transform(-1);
        for (int i = 0; i < N; i++) {
            re[i] /= N;
            im[i] /= N;
        }
    }
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += re[i] * (i % 5);
    return report_real(sum);
}
