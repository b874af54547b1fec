// Five bodies under gravity, integrated with a fixed step; REAL is the type of a number.
#include "bench.h"
#include <math.h>

typedef struct { REAL x[3], v[3], mass; } body;
static body bodies[5] = {
    {{0, 0, 0}, {0, 0, 0}, 39.5f},
    {{4.84f, -1.16f, -0.1f}, {0.6f, 2.8f, -0.02f}, 0.037f},
    {{8.34f, 4.12f, -0.4f}, {-1.01f, 1.82f, 0.008f}, 0.011f},
    {{12.9f, -15.1f, -0.22f}, {1.08f, 0.87f, -0.01f}, 0.0017f},
    {{15.4f, -25.9f, 0.18f}, {0.98f, 0.59f, -0.03f}, 0.002f},
};

static NOINLINE void advance(REAL dt) {
    for (int i = 0; i < 5; i++)
        for (int j = i + 1; j < 5; j++) {
            REAL d[3], square = 0;
            for (int k = 0; k < 3; k++) {
                d[k] = bodies[i].x[k] - bodies[j].x[k];
                square += d[k] * d[k];
            }
            REAL magnitude = dt / (square * SQRT(square));
            for (int k = 0; k < 3; k++) {
                bodies[i].v[k] -= d[k] * bodies[j].mass * magnitude;
                bodies[j].v[k] += d[k] * bodies[i].mass * magnitude;
            }
        }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].x[k] += dt * bodies[i].v[k];
}

int main(int argc, char **argv) {
    long steps = size_argument(argc, argv);
    for (long s = 0; s < steps; s++)
        advance((REAL)0.001);
    double sum = 0;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            sum += bodies[i].x[k];
    return report_real(sum);
}
