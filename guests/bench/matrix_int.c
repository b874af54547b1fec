// Integer matrix multiplication.
#include "bench.h"

#define N 96
static int64_t a[N][N], b[N][N], c[N][N];

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (int32_t)next_random();
            b[i][j] = (int32_t)next_random();
        }
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int64_t sum = 0;
                for (int k = 0; k < N; k++)
                    sum += a[i][k] * b[k][j];
                c[i][j] = sum;
            }
        memcpy(a[r % N], c[r % N], sizeof a[0]);
        hash = mix(hash, (uint64_t)c[r % N][(r * 7) % N]);
    }
    return report(hash);
}
