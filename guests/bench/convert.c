// Conversions, comparisons, classification, minimum and maximum, roundings.
#include "bench.h"
#include <math.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    double last = 0;
    for (long r = 0; r < rounds; r++) {
        int64_t i = (int64_t)next_random() >> (r & 31);
        double d = (double)i / 1024;
        float f = (float)d;
        hash = mix(hash, (uint64_t)(int64_t)(d / 3));
        hash = mix(hash, (uint64_t)(int32_t)(f / 8589934592.0f / 1048576.0f));
        hash = mix(hash, (uint64_t)llrint(d / 7) + (uint64_t)(d > last) + 2 * (uint64_t)(d != d));
        int64_t least = (int64_t)fmin(d, last), most = (int64_t)fmax(f, (float)last);
        hash = mix(hash, (uint64_t)(least ^ most));
        hash += (uint64_t)(isfinite(d) && !signbit(d)) + (uint64_t)(int64_t)copysign(3.0, d);
        last = d;
    }
    return report(hash);
}
